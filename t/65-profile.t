# scepctl profile: what it prints is what the clients take, and two of them enrol with it.
use SCEPTest;
use Digest::SHA ();
use MIME::Base64 ();
use SCEPAuthority;

# On a second port, and by https on a third, an issuing CA below a root serves with an RA that others made.
my $tls = -e "$ENV{HTTPD_MODULES}/mod_ssl.so";
BAIL_OUT('mod_ssl is missing, and CI=true allows no test to be left out') if !$tls && ($ENV{CI} // '') eq 'true';
sub host {
    my ($port, $name, $more) = @_;
    return "<VirtualHost 127.0.0.1:\@PORT$port\@>\nServerName $name.test\nSCEPEngine on\nSCEPAuthority inter\n"
        . ($more // '') . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n";
}
my $s = SCEPTest->ready(
    ports   => 3,
    modules => [$tls ? 'ssl' : ()],
    server  => host(2, 'inter') . ($tls ? host(3, 'tls', <<'END') : ''));
SSLEngine on
SSLCertificateFile @DIR@/web.pem
SSLCertificateKeyFile @DIR@/web.key
END
my $inter = SCEPAuthority::make($s, 'inter');
SCEPAuthority::openssl(qw(req -x509 -newkey rsa:2048 -nodes -subj /CN=web -days 3 -addext subjectAltName=IP:127.0.0.1),
    '-keyout', $s->dir . '/web.key', '-out', $s->dir . '/web.pem');
my $unready = $s->start;
BAIL_OUT("httpd is not up: $unready") if defined $unready;
$s->allow_log('ssl:warn');
my $work = $s->work('profiles');
mkdir $work, 0700;

my $der    = der_of($s->ca_cert);
my $sha1   = uc Digest::SHA::sha1_hex($der);
my $sha256 = uc Digest::SHA::sha256_hex($der);
my $tag    = substr $sha1, 0, 16;
my $named  = 'CN=moon,O=Ex & "Q" <\'b\'>\, Inc';
(my $subject = $named) =~ s/(["<>])/\\$1/g;

sub der_of { my ($pem) = slurp($_[0]) =~ /BEGIN CERT[^\n]*\n(.*?)-----END/s; return MIME::Base64::decode_base64($pem) }

# Runs without any --conf, so that only what is asked for is read.
sub profile {
    my ($words, %o) = @_;
    return run([SCEPServer::built('tools/scepctl'), 'profile', @$words],
        %o, env => { ASAN_OPTIONS => 'detect_leaks=0' });
}

sub printed {
    my ($kind, @words) = @_;
    my $got = profile([$kind, '--url', $s->url, '--ca', $s->ca_cert, @words]);
    is($got->{status}, 0, "a profile for $kind is printed") or diag($got->{output});
    return $got->{output};
}

# ---- XML, read strictly: a parser of the little that these two documents use

# Elements as [name, {attributes}, children...], texts as they are; dies where it is not well-formed.
sub parse_xml {
    my ($xml) = @_;
    my @open = (['', {}]);
    $xml =~ s/^<\?xml version="1\.0" encoding="UTF-8"\?>\n(?:<!DOCTYPE [^<>]*>\n)?//;
    die "a control character\n" if $xml =~ /[\x00-\x08\x0b\x0c\x0e-\x1f]/;
    while ($xml =~ /\G(?:<(\/?)(\w+)((?: \w+="[^"<&]*")*)>|([^<]+))/gc) {
        my ($end, $name, $attributes, $text) = ($1, $2, $3, $4);
        if (defined $text) {
            die "a bare &: $text\n" if $text =~ /&(?!(?:amp|lt|gt|quot|apos);)/;
            die "a bare >: $text\n" if $text =~ />/;
            my %is = (amp => '&', lt => '<', gt => '>', quot => '"', apos => "'");
            $text =~ s/&(\w+);/$is{$1}/g;
            push @{ $open[-1] }, $text;
        } elsif ($end) {
            die "</$name> ends <$open[-1][0]>\n" if $open[-1][0] ne $name;
            pop @open;
        } else {
            my $new = [$name, {$attributes =~ / (\w+)="([^"]*)"/g}];
            push @{ $open[-1] }, $new;
            push @open, $new;
        }
    }
    die 'no XML from ' . substr($xml, pos $xml // 0, 40) . "\n" if (pos $xml // 0) != length $xml;
    die "<$open[-1][0]> does not end\n" if @open != 1;
    my @roots = elements($open[0]);
    die scalar(@roots) . " roots\n" if @roots != 1;
    return $roots[0];
}
sub elements { my ($e) = @_; return grep { ref } @$e[2 .. $#$e] }
sub text_of { my ($e) = @_; return join '', grep { !ref } @$e[2 .. $#$e] }
sub child { my ($e, @way) = @_; for my $n (@way) { ($e) = grep { $_->[0] eq $n } elements($e) } return $e }

# A property list's value.
sub value_of {
    my ($e) = @_;
    my @in = elements($e);
    if ($e->[0] eq 'dict') {
        die "a dict of odd length\n" if @in % 2 || grep { $in[$_ * 2][0] ne 'key' } 0 .. @in / 2 - 1;
        return { map { text_of($in[$_ * 2]) => value_of($in[$_ * 2 + 1]) } 0 .. @in / 2 - 1 };
    }
    return [map { value_of($_) } @in] if $e->[0] eq 'array';
    return MIME::Base64::decode_base64(text_of($e)) if $e->[0] eq 'data';
    die "a plist has no <$e->[0]>\n" if $e->[0] !~ /^(?:string|integer)$/;
    return text_of($e);
}

sub well_formed {
    my ($xml, $name) = @_;
    if (have('xmllint')) {
        spew("$work/x.xml", $xml);
        my $linted = run(['xmllint', '--nonet', '--noout', "$work/x.xml"]);
        is($linted->{status}, 0, "$name: xmllint takes it") or diag($linted->{output});
    }
    my $root = eval { parse_xml($xml) };
    ok($root, "$name is well-formed") or BAIL_OUT($@);
    return $root;
}

my $uuid = qr/^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$/;

# ---- apple

spew("$work/challenge", "8CE317021F690069\n", 0600);
{
    my $xml   = printed('apple', '--subject', $subject, '--challenge-file', "$work/challenge");
    my $outer = value_of(child(well_formed($xml, 'the mobileconfig'), 'dict'));
    my $inner = $outer->{PayloadContent}[0];
    my $again = value_of(child(parse_xml(printed('apple')), 'dict'));
    my @uuids = map { $_->{PayloadUUID}, $_->{PayloadContent}[0]{PayloadUUID} } $outer, $again;
    is(scalar(grep { /$uuid/ } @uuids), 4, 'its identifiers are random UUIDs') or diag("@uuids");
    my %seen = map { $_ => 1 } @uuids;
    is(scalar keys %seen, 4, 'other ones each time');
    is_deeply(
        [@$outer{qw(PayloadType PayloadVersion PayloadIdentifier)}, @$inner{qw(PayloadType PayloadVersion)}],
        ['Configuration', 1, "scep.$tag", 'com.apple.security.scep', 1],
        'it is a profile with one SCEP payload');
    is($again->{PayloadIdentifier}, $outer->{PayloadIdentifier}, 'it replaces the one before it');
    my $ca = $inner->{PayloadContent}{Name};
    ok(length $ca && $outer->{PayloadDisplayName} =~ /\Q$ca\E/, 'the CA is called by its name');
    is_deeply(
        $inner->{PayloadContent},
        {   URL => $s->url, Name => $ca, Keysize => 2048, 'Key Type' => 'RSA', 'Key Usage' => 5,
            Challenge => '8CE317021F690069', CAFingerprint => Digest::SHA::sha1($der),
            Subject => [[['O', 'Ex & "Q" <\'b\'>, Inc']], [['CN', 'moon']]]
        },
        'with the very values, the subject in the order of its encoding');
    is_deeply([grep { exists $again->{PayloadContent}[0]{PayloadContent}{$_} } qw(Challenge Subject)],
        [], 'what is not given is left out');
}

# A chain of three: the top is compared, wherever it stands in the file.
{
    my @names = qw(root middle issuing);
    for my $i (0 .. $#names) {
        my ($n, @by) = ($names[$i], $i ? ('-CA', "$work/$names[$i - 1].pem", '-CAkey', "$work/$names[$i - 1].key") : ());
        my $made = run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
            '-subj', "/CN=The $n", '-keyout', "$work/$n.key", '-out', "$work/$n.csr",
            '-addext', 'basicConstraints=critical,CA:TRUE']) ;
        if (@by) {
            run(['openssl', 'req', '-new', '-key', "$work/$n.key", '-subj', "/CN=The $n", '-out', "$work/$n.req"]);
            spew("$work/ext", "basicConstraints=critical,CA:TRUE\n");
            $made = run(['openssl', 'x509', '-req', '-in', "$work/$n.req", @by, '-CAcreateserial',
                '-extfile', "$work/ext", '-out', "$work/$n.pem"]);
        } else {
            rename "$work/$n.csr", "$work/$n.pem";
        }
        is($made->{status}, 0, "the $n CA is made") or diag($made->{output});
    }
    spew("$work/chain.pem", join '', map { slurp("$work/$_.pem") } qw(issuing root middle));
    my %sha1 = map { $_ => uc Digest::SHA::sha1_hex(der_of("$work/$_.pem")) } @names;
    my @of   = ('--url', $s->url, '--ca', "$work/chain.pem", '--subject', 'CN=moon');
    like(profile(['windows', @of])->{output}, qr{<Data>$sha1{root}</Data>},
        'Windows compares the root');
    my $top = MIME::Base64::encode_base64(pack('H*', $sha1{root}), '');
    like(profile(['apple', @of])->{output}, qr{<key>CAFingerprint</key><data>\Q$top\E</data>},
        'Q-74: Apple gets the fingerprint of the top of the chain');
    like(profile(['apple', @of])->{output}, qr{<string>The issuing</string>}, 'and the name of the issuing CA');
    like(profile(['cisco', @of])->{output}, qr/^ fingerprint $sha1{issuing}$/m, 'IOS compares the issuing CA');
}

# ---- windows

{
    my $xml  = printed('windows', '--subject', $subject, '--challenge-file', "$work/challenge");
    my $root = well_formed($xml, 'the SyncML');
    my (%node, @verbs, @ids);
    for my $e (grep { $_->[0] ne 'CmdID' } elements($root)) {
        my $way = text_of(child($e, 'Item', 'Target', 'LocURI'));
        $way =~ s{^\./Device/Vendor/MSFT/ClientCertificateInstall/SCEP/scep-$tag}{} or $way = "wrong: $way";
        my $format = child($e, 'Item', 'Meta', 'Format');
        my $data   = child($e, 'Item', 'Data');
        $node{$way} = [$e->[0], $format && text_of($format), $data && text_of($data)];
        push @verbs, $e->[0];
        push @ids, text_of(child($e, 'CmdID'));
    }
    is($root->[0], 'Atomic', 'it is all or nothing');
    is_deeply(\@ids, [2 .. @ids + 1], 'each command has a number of its own');
    is($verbs[-1], 'Exec', 'the order to enrol comes last');
    is_deeply(
        \%node,
        {   ''                       => ['Add',  'node', undef],
            '/Install/ServerURL'     => ['Add',  'chr',  $s->url],
            '/Install/Challenge'     => ['Add',  'chr',  '8CE317021F690069'],
            '/Install/EKUMapping'    => ['Add',  'chr',  '1.3.6.1.5.5.7.3.2'],
            '/Install/KeyUsage'      => ['Add',  'int',  160],
            '/Install/SubjectName'   => ['Add',  'chr',  'CN=moon,O="Ex & ""Q"" <\'b\'>, Inc"'],
            '/Install/KeyLength'     => ['Add',  'int',  2048],
            '/Install/HashAlgorithm' => ['Add',  'chr',  'SHA-2'],
            '/Install/CAThumbprint'  => ['Add',  'chr',  $sha1],
            '/Install/Enroll'        => ['Exec', undef,  undef]
        },
        'with the very values');
    unlike(printed('windows', '--subject', 'CN=moon'), qr/Challenge/, 'without a challenge there is none');
}

# ---- cisco

is(printed('cisco', '--subject', 'CN=moon,O=Example', '--challenge-file', "$work/challenge"),
    join("\n", 'crypto pki trustpoint SCEP', ' enrollment mode ra', ' enrollment url ' . $s->url,
        ' subject-name CN=moon,O=Example', " fingerprint $sha1", ' password 8CE317021F690069',
        ' hash sha256', ' rsakeypair SCEP 2048', ' exit', 'crypto pki authenticate SCEP',
        'crypto pki enroll SCEP', ''),
    'the trustpoint has the very lines');

# ---- the authority of ca.conf, and a fresh challenge

like(profile(['cisco', '--url', $s->url, '--conf', $s->ca_conf, '--authority', 'default'])->{output},
    qr/^ fingerprint $sha1$/m, 'the CA is found in ca.conf');

my $fresh = profile(['cisco', '--url', $s->url, '--conf', $s->ca_conf, '--endpoint', 'scep.test']);
is($fresh->{status}, 0, 'a fresh challenge comes from scep-ca') or diag($fresh->{output});
my ($minted) = $fresh->{output} =~ /^ password ([0-9A-F]{16})$/m;
ok(defined $minted, 'it stands in the profile') or diag($fresh->{output});
issued($s->enrol(subject => 'CN=fresh', challenge => $minted // 'none'), 'it is good for one certificate');
my $nowhere = profile(['cisco', '--url', $s->url, '--conf', $s->ca_conf, '--endpoint', 'nowhere.test']);
is($nowhere->{status}, 1, 'an endpoint that is not served gives none');
unlike($nowhere->{output}, qr/trustpoint/, 'and nothing is printed');

# ---- what is refused, with a line and without a profile

spew("$work/two-lines", "ABC\nDEF\n", 0600);
spew("$work/quote", "AB'C\n", 0600);
spew("$work/nothing", "\n", 0600);
spew("$work/long", 'A' x 257, 0600);
spew("$work/nul", "ABC\0DEF", 0600);
my @ca = ('--ca', $s->ca_cert);
my @to = ('--url', $s->url);
for my $case (
    ['no URL', 2, qr/--url/, 'apple', @ca],
    ['another kind', 2, qr/apple, windows/, 'android', @to, @ca],
    ['windows without a subject', 2, qr/--subject/, 'windows', @to, @ca],
    ['two CAs', 2, qr/--ca and --authority/, 'apple', @to, @ca, '--authority', 'default'],
    ['two challenges', 2, qr/--challenge-file and --endpoint/, 'apple', @to, @ca,
        '--challenge-file', '-', '--endpoint', 'scep.test'],
    ['a URL with a quote', 1, qr/--url/, 'strongswan', '--url', "http://h/'; id '", @ca, '--subject', 'CN=a'],
    ['a URL with a line break', 1, qr/--url/, 'cisco', '--url', "http://h/\nexit", @ca],
    ['a URL with a query', 1, qr/--url/, 'cisco', '--url', 'http://h/scep?a=b', @ca],
    ['a URL that is a file', 1, qr/--url/, 'apple', '--url', 'file:///h', @ca],
    ['a URL without a host', 1, qr/--url/, 'apple', '--url', 'http:///h', @ca],
    ['a subject that is no name', 1, qr/TYPE=VALUE/, 'apple', @to, @ca, '--subject', 'moon'],
    ['a type that is not known to all', 1, qr/TYPE=VALUE/, 'apple', @to, @ca, '--subject', 'X=moon'],
    ['a comma at the end', 1, qr/TYPE=VALUE/, 'apple', @to, @ca, '--subject', 'CN=moon,'],
    ['an empty value', 1, qr/1 to 64/, 'apple', @to, @ca, '--subject', 'CN= ,O=a'],
    ['a long value', 1, qr/1 to 64/, 'apple', @to, @ca, '--subject', 'CN=' . 'a' x 65],
    ['a control character', 1, qr/control/, 'windows', @to, @ca, '--subject', "CN=mo\non"],
    ['another one, in UTF-8', 1, qr/control/, 'windows', @to, @ca, '--subject', "CN=mo\xc2\x85on"],
    ['what is no UTF-8', 1, qr/UTF-8/, 'apple', @to, @ca, '--subject', "CN=mo\xffon"],
    ['a noncharacter', 1, qr/UTF-8/, 'apple', @to, @ca, '--subject', "CN=mo\xef\xbf\xbfon"],
    ['a bare quote', 1, qr/write \\"/, 'apple', @to, @ca, '--subject', 'CN="moon"'],
    ['a bare plus', 1, qr/write \\\+/, 'apple', @to, @ca, '--subject', 'CN=a+O=b'],
    ['a backslash at the end', 1, qr/behind a backslash/, 'apple', @to, @ca, '--subject', 'CN=a\\'],
    ['a question mark for IOS', 1, qr/for cisco/, 'cisco', @to, @ca, '--subject', 'CN=moon?'],
    ['a comma for IOS', 1, qr/for cisco/, 'cisco', @to, @ca, '--subject', 'CN=a\\, b'],
    ['a comma and a slash for strongSwan', 1, qr/comma and a slash/, 'strongswan', @to, @ca,
        '--subject', 'CN=a/b,O=c\\, d'],
    ['a challenge of two lines', 1, qr/one line/, 'apple', @to, @ca, '--challenge-file', "$work/two-lines"],
    ['a challenge with a quote', 1, qr/one line/, 'apple', @to, @ca, '--challenge-file', "$work/quote"],
    ['an empty challenge', 1, qr/one line/, 'apple', @to, @ca, '--challenge-file', "$work/nothing"],
    ['a challenge that is too long', 1, qr/one line/, 'apple', @to, @ca, '--challenge-file', "$work/long"],
    ['a challenge with a NUL', 1, qr/one line/, 'apple', @to, @ca, '--challenge-file', "$work/nul"],
    ['a challenge that is not there', 1, qr/No such file/, 'apple', @to, @ca, '--challenge-file', "$work/none"],
    ['a CA that is not there', 1, qr{none\.pem}, 'apple', @to, '--ca', "$work/none.pem"],
    ['a CA without its root for certmonger', 1, qr/up to the self-signed/, 'certmonger', @to,
        '--ca', "$inter/issuing.pem"],
    ['an authority that is not there', 1, qr/no \[authority other\]/, 'apple', @to,
        '--conf', $s->ca_conf, '--authority', 'other'])
{
    my ($name, $status, $says, @words) = @$case;
    my $got = profile(\@words);
    ok($got->{status} == $status && $got->{output} =~ $says, "refused: $name")
        or diag("$got->{status}: $got->{output}");
    unlike($got->{output}, qr/plist version|<Atomic|crypto pki trust|umask/, 'nothing is printed');
    unlike($got->{output}, qr/ABC|AAAA/, 'and no challenge told') if "@words" =~ /challenge-file/;
}

# ---- standard input; and what a shell reads is what was said

my $script = profile(['strongswan', @to, @ca, '--subject', $subject, '--challenge-file', '-'],
    stdin => "8CE317021F690069\r\n")->{output};
{
    my ($head) = $script =~ /\A(.*?)\nfail\(\)/s;
    my $read = run(['sh', '-c', "$head\nprintf '%s|%s|%s|%s' \"\$url\" \"\$dn\" \"\$root_sha256\" \"\$challenge\""]);
    is($read->{output}, $s->url . "|/O=Ex & \"Q\" <'b'>, Inc/CN=moon|$sha256|8CE317021F690069",
        'a challenge from standard input, and a subject that a shell cannot get wrong');
}

# What the subject of an issued certificate is, in RFC 4514 order.
sub subject_of {
    my ($file) = @_;
    my $got = run(['openssl', 'x509', '-in', $file, '-noout', '-subject', '-nameopt', 'RFC2253,-esc_2253,sep_comma_plus']);
    return $got->{output} =~ s/^subject=//r =~ s/\s+\z//r;
}

# The certificate of a device: by the same CA as the RA's, and good for encryption.
sub device {
    my $reply = $s->enrol(subject => 'CN=device');
    issued($reply, 'a device has a certificate');
    return $reply->{certificate};
}

# ---- strongswan: what is printed is run

SKIP: {
    my $plugins = have('pki') && run(['pki', '--scepca', '--url', 'http://127.0.0.1:9/', '--caout', '/dev/null']);
    if (!$plugins || $plugins->{output} =~ /curl.*failed to load/) {
        BAIL_OUT('pki is missing or has no fetcher, and CI=true allows no test to be left out')
            if ($ENV{CI} // '') eq 'true';
        skip('no pki with a fetcher', 1);
    }
    for my $asked (0, 1) {
        my $home = "$work/strongswan$asked";
        mkdir $home, 0700;
        my $challenge = $s->mint;
        spew("$home/challenge", "$challenge\n", 0600);
        my $file = printed('strongswan', '--subject', $subject, $asked ? () : ('--challenge-file', "$home/challenge"));
        is(index($file, $challenge) >= 0, !$asked, $asked ? 'a challenge is asked for' : 'a challenge stands in it');
        spew("$home/enrol", $file, 0600);
        my $ran = run(['sh', "$home/enrol"], chdir => $home, timeout => slow(60), $asked ? (stdin => "$challenge\n") : ());
        is($ran->{status}, 0, 'strongSwan enrols with what was printed') or diag($ran->{output});
        is(-e "$home/scep/cert.pem" && subject_of("$home/scep/cert.pem"), "CN=moon,O=Ex & \"Q\" <'b'>, Inc",
            'the certificate has that subject');
        ok(!-e "$home/scep/options", 'the challenge is not left in a file');
    }
    my $home = "$work/strongswan-other";
    mkdir $home, 0700;
    my $other = profile(['strongswan', @to, '--ca', "$work/root.pem", '--subject', 'CN=moon',
        '--challenge-file', "$work/challenge"])->{output};
    spew("$home/enrol", $other, 0600);
    my $ran = run(['sh', "$home/enrol"], chdir => $home, timeout => slow(60));
    ok($ran->{status} && $ran->{output} =~ /another fingerprint/ && !-e "$home/scep/key.pem",
        'where the CA has another fingerprint it stops before it asks for anything')
        or diag($ran->{output});

    # Of the right CA, and good for encryption, but anybody's.
    $home = "$work/strongswan-device";
    mkdir $_, 0700 for $home, "$home/bin";
    spew("$home/bin/pki", '#!/bin/sh' . "\n[ \"\$1\" = --scepca ] || exec " . have('pki') . " \"\$@\"\n"
        . "cp '" . $s->ca_cert . "' ca.pem && cp '" . device() . "' ra.pem\n", 0700);
    spew("$home/enrol", printed('strongswan', '--subject', 'CN=moon', '--challenge-file', "$work/challenge"), 0600);
    $ran = run(['sh', "$home/enrol"], chdir => $home, env => { PATH => "$home/bin:$ENV{PATH}" }, timeout => slow(60));
    ok($ran->{status} && $ran->{output} =~ /is no RA certificate/ && !-e "$home/scep/key.pem",
        'nor does it encrypt to a certificate of a device') or diag($ran->{output});
}

# ---- certmonger: the same, its daemon on a bus of its own

sub list_of {
    my ($name, @files) = @_;
    SCEPAuthority::openssl(qw(crl2pkcs7 -nocrl -outform DER -out), "$work/$name.p7", map { ('-certfile', $_) } @files);
    return "$work/$name.p7";
}

SKIP: {
    my @missing = grep { !have($_) } qw(getcert certmonger-session dbus-run-session curl);
    if (@missing) {
        BAIL_OUT("@missing: missing, and CI=true allows no test to be left out") if ($ENV{CI} // '') eq 'true';
        skip("@missing: not installed", 1);
    }
    my $home = "$work/certmonger";
    mkdir $_, 0700 for $home, map { "$home/$_" } qw(bin keys inter tls other foreign);
    # The session's bus in place of the system's is all that differs from what an administrator does.
    my $getcert = have('getcert');
    spew("$home/bin/getcert", "#!/bin/sh\nverb=\$1\nshift\nexec $getcert \"\$verb\" -s \"\$@\"\n", 0700);
    # Gives the file of INSTEAD in place of what the server would give.
    spew("$home/bin/curl", "#!/bin/sh\n[ -n \"\${INSTEAD-}\" ] || exec " . have('curl') . " \"\$@\"\n"
        . "for last; do :; done\ncp \"\$INSTEAD\" \"\$last\"\n", 0700);
    my %env = (HOME => $home, XDG_RUNTIME_DIR => $home, XDG_CONFIG_HOME => "$home/.config",
        PATH => "$home/bin:$ENV{PATH}");

    my $ca_dir  = $s->dir . '/ca';
    my $right   = list_of('right', "$ca_dir/ra-sign.pem", "$ca_dir/ra-decrypt.pem", $s->ca_cert);
    my $foreign = SCEPTest->up;
    my $false   = $foreign->dir . '/ca';

    # Nothing but an RA of this CA is taken from the network.
    spew("$home/first", printed('certmonger', '--challenge-file', "$work/challenge"), 0600);
    my $byo = $inter . '/ra-decrypt.pem';
    my $unknown = profile(['certmonger', @to, '--ca', "$inter/chain.pem", '--challenge-file', "$work/challenge"]);
    spew("$home/unknown", $unknown->{output}, 0600);
    for my $case (
        ['another CA and its RA', 'first', "$false/ra-sign.pem", "$false/ra-decrypt.pem", "$false/ca.pem"],
        ['the right CA and the RA of another', 'first', "$false/ra-sign.pem", "$false/ra-decrypt.pem", $s->ca_cert],
        ['a device in place of the RA', 'first', device(), $s->ca_cert],
        ['an RA that may only sign', 'first', "$ca_dir/ra-sign.pem", $s->ca_cert],
        ['no RA', 'first', $s->ca_cert],
        ['an RA that neither says it is one nor is known', 'unknown', $byo, "$inter/chain.pem"])
    {
        my ($name, $file, @certs) = @$case;
        my $ran = run(['sh', "$home/$file", "$home/other"], env => { %env, INSTEAD => list_of('false', @certs) });
        ok($ran->{status} && $ran->{output} =~ /no RA certificate of this CA/ && !glob("$home/other/*"),
            "refused before certmonger knows of it: $name") or diag($ran->{output});
    }
    spew("$work/known.pem", slurp("$inter/chain.pem") . slurp($byo));
    my $known = uc Digest::SHA::sha256_hex(der_of($byo));
    like(profile(['certmonger', @to, '--ca', "$work/known.pem"])->{output}, qr/ $known /,
        'an RA in the file of --ca is known');

    my $challenge = $s->mint;
    spew("$home/challenge", "$challenge\n", 0600);
    spew("$home/enrol", printed('certmonger', '--subject', $subject, '--challenge-file', "$home/challenge"), 0600);
    for my $case (['inter', 'http', 1], $tls ? ['tls', 'https', 2] : ()) {
        my ($name, $scheme, $port) = @$case;
        my $file = profile(['certmonger', '--url', "$scheme://127.0.0.1:" . $s->port($port) . '/certsrv/mscep/mscep.dll',
            '--subject', "CN=$name", '--conf', $s->ca_conf, '--authority', 'inter', '--endpoint', "$name.test"]);
        is($file->{status}, 0, "a profile for $name is printed") or diag($file->{output});
        spew("$home/enrol-$name", $file->{output}, 0600);
    }
    # It passes at the moment of the set-up, and is another server's from then on.
    my $lost = $foreign->mint;
    spew("$home/lost", "$lost\n", 0600);
    spew("$home/foreign.sh", profile(['certmonger', '--url', $foreign->url, '--ca', $s->ca_cert, '--subject', 'CN=lost',
        '--challenge-file', "$home/lost"])->{output}, 0600);
    spew("$home/session", <<'END', 0700);
#!/bin/sh
# $1: certmonger-session, $2: what GetCACert should have given, $3: the web server's certificate or ''
cd "$HOME" || exit 1
"$1" -n -d 2 > daemon.log 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT
tries=0
until getcert list-cas > cas 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || exit 1
    sleep 0.2
done
worked() { "$@" || { status=$?; getcert list; tail -50 daemon.log; exit $status; }; }
worked sh enrol keys
: > keys/ra.pem
worked sh enrol keys < /dev/null
worked sh enrol-inter inter
if [ -n "$3" ]; then
    if sh enrol-tls tls; then exit 1; fi
    [ ! -e tls/ra.pem ] || exit 1
    # It believes its -R, but when it sends it believes the system alone: so it does not get its way.
    sh enrol-tls tls "$3"
fi
getcert list-cas
INSTEAD=$2 sh foreign.sh foreign
getcert list -f "$HOME/foreign/cert.pem"
[ ! -e foreign/cert.pem ]
END
    my $ran = run(
        ['dbus-run-session', '--', "$home/session", have('certmonger-session'), $right, $tls ? $s->dir . '/web.pem' : ''],
        env => \%env, timeout => slow(120));
    is($ran->{status}, 0, 'certmonger enrols with what was printed') or diag($ran->{output});
    is(-e "$home/keys/cert.pem" && subject_of("$home/keys/cert.pem"), "CN=moon,O=Ex & \"Q\" <'b'>, Inc",
        'the certificate has that subject');
    is_deeply([map { -e $_ && der_of($_) } map { "$home/keys/$_.pem" } qw(root ra)],
        [map { der_of($_) } $s->ca_cert, "$ca_dir/ra-decrypt.pem"],
        'it trusts the CA, and encrypts to its RA, to the very one when run again');
    is(-e "$home/inter/cert.pem" && subject_of("$home/inter/cert.pem"), 'CN=inter',
        'so it does below a root, with an RA that is known from ca.conf');
    is_deeply([map { -e $_ && der_of($_) } map { "$home/inter/$_.pem" } qw(root chain ra)],
        [map { der_of($_) } "$inter/root.pem", "$inter/issuing.pem", $byo], 'with the root, the CA below it and that RA');
    like($ran->{output}, qr{helper-location: \S+ -u https:\S+ .*-R \Q$home\E/tls/web\.pem +-r \Q$home\E/tls/ra\.pem },
        'an https server is believed by the certificate that is named, and by no other') if $tls;
    # Encrypted to the RA that it was told of, not to the one that the server has.
    ok($foreign->logs('SCEP0025: .*does not decrypt'), 'what another server gets from it, it cannot open');
    ok(!(grep { /verdict=issued/ } $foreign->log_lines) && $ran->{output} =~ /ca-error/,
        'so the challenge is safe, and certmonger says that there is an error') or diag($ran->{output});
    $foreign->expect_log('SCEP0025');
    $foreign->finish;
}

unlink glob "$work/*/challenge $work/*/enrol* $work/*/lost $work/*/*.sh $work/*/*/challenge";
$s->finish;
done_testing();
