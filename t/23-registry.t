# A registry export of NDES: each value of it has its effect on a running server.
# ndes.md 1; scep.md Q-68, R-040, R-108, R-112, R-114, R-117.
use SCEPTest;
use SCEPAuthority;
use Encode ();

my $mscep = 'HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography\MSCEP';
my %data = (text => sub { '"' . $_[0] =~ s/([\\"])/\\$1/gr . '"' }, dword => sub { sprintf 'dword:%08x', $_[0] });

# An export as regedit writes it. Values: NAME => number or text, of a subkey of the same name;
# "KEY\NAME" for another one, and "\NAME" for one of the MSCEP key itself.
sub export {
    my (@pairs) = @_;
    my $text = "Windows Registry Editor Version 5.00\r\n\r\n[$mscep]\r\n";
    while (my ($name, $value) = splice @pairs, 0, 2) {
        my ($key, $last) = $name =~ /^(.*)\\(.*)$/ ? ($1, $2) : ($name, $name);
        $text .= '[' . join('\\', $mscep, grep { length } $key) . "]\r\n\"$last\"="
            . (ref $value ? $$value : $data{ $value =~ /^\d+$/ ? 'dword' : 'text' }->($value)) . "\r\n\r\n";
    }
    return $text;
}

sub utf16 { return "\xFF\xFE" . Encode::encode('UTF-16LE', $_[0]) }

# Every value of NDES's that one endpoint can have at one time, none of them its default.
my @whole = (
    '\SignatureTemplate' => 'Sig', '\EncryptionTemplate' => 'Enc', '\GeneralPurposeTemplate' => 'Gen',
    'CAInfo\Configuration' => 'host.example\Second CA', CAType => 1, CertsInMYStore => 1,
    EncryptedPassword => \"hex:01,02,\\\r\n  03,04",
    EnforcePassword => 1, UseSinglePassword => 0, PasswordLength => 16, PasswordMax => 2, PasswordValidity => 7,
    PasswordVDir => 'Tools/Otp', CacheRequest => 30, Refresh => 3, HashAlgorithm => 'SHA512',
    DisableRenewalSubjectNameMatch => 1);
my @directives = split /\n/, <<'END';
SCEPTemplate SignatureTemplate Sig
SCEPTemplate EncryptionTemplate Enc
SCEPTemplate GeneralPurposeTemplate Gen
SCEPConfiguration "host.example\\Second CA"
SCEPEnforcePassword on
SCEPUseSinglePassword off
SCEPPasswordLength 16
SCEPPasswordMax 2
SCEPPasswordValidity 7
SCEPPasswordVDir Tools/Otp
SCEPCacheRequest 30
SCEPRefresh 3
SCEPHashAlgorithm sha512
SCEPDisableRenewalSubjectNameMatch on
END

my (@names, $hosts) = ();

sub host {
    my ($name, $directives, $admin) = @_;
    push @names, $name;
    $hosts .= "<VirtualHost 127.0.0.1:\@PORT" . @names . "\@>\nServerName $name.test\nSCEPEngine on\nSCEPFailedMax 100000\n"
        . $directives . SCEPServer::guard($admin // '/certsrv/mscep_admin') . "</VirtualHost>\n";
    return;
}
host(whole  => "SCEPRegistry work/whole.reg\n", '/tools/otp');
host(waits  => "SCEPRegistry work/whole.reg\nSCEPApproval enrol\nSCEPPasswordVDir CertSrv/mscep_admin\n");
host(open   => "SCEPRegistry work/open.reg\n");
host(single => "SCEPRegistry work/single.reg\n");
host(plain  => "SCEPAuthority second\nSCEPPasswordMax 1000\n");
host(before => "SCEPPasswordValidity 90\nSCEPAuthority default\nSCEPRegistry work/beside.reg\n");
host(after  => "SCEPRegistry work/beside.reg\nSCEPAuthority default\nSCEPPasswordValidity 90\n");
my $s = SCEPTest->ready(ports => scalar @names, names => \@names, hosts => $hosts, server => "SCEPPasswordValidity 45\n");
$s->expect_log('SCEP0073: ');
$s->allow_log('SCEP00\d\d: NDES-');

# ---- the CA: another authority, which has a successor, and a template for each key usage

sub add { my ($text) = @_; spew($s->ca_conf, slurp($s->ca_conf) . $text); return }
my %template = (    # name => days, key usage, purpose
    Sig => [11, 'digitalSignature', 'clientAuth'],
    Enc => [12, 'keyEncipherment', 'emailProtection'],
    Gen => [13, 'digitalSignature, keyEncipherment', 'serverAuth']);
(my $conf = slurp($s->ca_conf)) =~ s/^(\s*templates\s*=.*)$/$1, Sig, Enc, Gen/m;
spew($s->ca_conf, $conf);
add("\n[template $_]\ndays = $template{$_}[0]\nkey_usage = $template{$_}[1]\nextended_key_usage = $template{$_}[2]\n")
    for sort keys %template;
SCEPAuthority::make($s, 'second', lines => "next = third\nconfiguration = HOST.example\\\\Second CA\n");
SCEPAuthority::make($s, 'third');
spew($s->work('whole.reg'), utf16(export(@whole)));
spew($s->work('open.reg'), "REGEDIT4\n\n[$mscep\\EnforcePassword]\n\"EnforcePassword\"=dword:00000000\n");
spew($s->work('single.reg'), "\xEF\xBB\xBF" . export(UseSinglePassword => 1));
spew($s->work('beside.reg'), export(PasswordValidity => 7, PasswordLength => 16, 'CAInfo\Configuration' => 'host.example\Second CA'));

my $tested = $s->configtest;
is($tested->{status}, 0, 'a registry export is taken as it is') or BAIL_OUT($tested->{output});
my @left = $tested->{output} =~ /SCEP0042: work\/whole\.reg:(\d+): (\S+) is not carried over: /g;
# httpd's log doubles a backslash.
my @names_left = map { $left[2 * $_ + 1] =~ s/\\\\/\\/r } 0 .. $#left / 2;
is_deeply([sort @names_left], [map { ($_) x 2 } map { "$_\\$_" } qw(CAType CertsInMYStore EncryptedPassword)],
    'what is not carried over is named, once for each SCEPRegistry') or diag($tested->{output});
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}
my %at = map { $_ => $s->place($_) } @names;
my %otp = (%{ $at{whole} }, path => '/tools/otp');
my @keys = map { $s->work("key$_.pem") } 1, 2;
SCEPAuthority::openssl('genrsa', '-out', $_, '2048') for @keys;
my $number = 0;

sub page { my ($name, %o) = @_; return $s->decode_page($s->admin_page(%{ $at{$name} }, %o)->{body}) }

sub password { my ($text) = @_; return ($text =~ /The enrollment challenge password is: <B> (\S*)/)[0] }

sub enrol {
    my ($name, %o) = @_;
    $number++;
    return $s->enrol(at => $at{$name}, key => $keys[0], subject => "CN=device $number", transaction_id => "registry $number", %o);
}

sub text_of {
    my ($reply, @what) = @_;
    return run(['openssl', 'x509', '-in', $reply->{certificate} // '/dev/null', '-noout', @what])->{output};
}

# ---- PasswordVDir, PasswordLength, PasswordValidity, PasswordMax

my $first = page('whole', path => '/tools/otp');
like(password($first) // '', qr/^[0-9A-F]{32}$/, 'PasswordLength 16: 32 hex digits, on the page where PasswordVDir puts it');
like($first, qr/will expire within 7 minutes/, 'PasswordValidity 7: the page says so');
is($s->get('/certsrv/mscep_admin/', %{ $at{whole} }, user => $s->credentials)->{status}, 404,
    'PasswordVDir: and there is no page at the default address');
like(page('plain'), qr/will expire within 45 minutes/, 'without a registry the main server\'s directive holds');
my $challenge = $s->mint(%otp);
my $full = $s->admin_page(%otp);
is($full->{status}, 200, 'PasswordMax 2: the third unused password') or diag($full->{body});
like($s->decode_page($full->{body}), qr/The password cache is full\./, 'PasswordMax 2: is not given: the cache is full');

# ---- the templates, the CA

my %picks = (digitalSignature => 'Sig', keyEncipherment => 'Enc', both => 'Gen', none => 'Gen');
my %hex = (digitalSignature => '0x80', keyEncipherment => '0x20', both => '0xA0', none => 'none');
my %eku = (Sig => 'TLS Web Client Authentication', Enc => 'E-mail Protection', Gen => 'TLS Web Server Authentication');
my @open = ($challenge, password($first));
my %got;
for my $usage (sort keys %picks) {
    my $reply = $got{$usage} = enrol('whole', challenge => pop @open // $s->mint(%otp), $usage eq 'none' ? () : (key_usage => $usage));
    issued($reply, "key usage $hex{$usage}: enrols");
    my $name = $picks{$usage};
    like(text_of($reply, '-ext', 'extendedKeyUsage'), qr/\b$eku{$name}\b/, "key usage $hex{$usage}: by the template $name");
    like(text_of($reply, '-issuer'), qr/CN = second CA$/, "CAInfo\\Configuration: by the authority of that configuration");
    unlike(text_of($reply, '-checkend', 86400 * ($template{$name}[0] - 1)), qr/will expire/, "key usage $hex{$usage}: for its days");
    like(text_of($reply, '-checkend', 86400 * $template{$name}[0]), qr/will expire/, "key usage $hex{$usage}: and no longer");
}
failed(enrol('whole', challenge => undef), 2, 'EnforcePassword 1: no challenge, no certificate');
issued(enrol('open', challenge => undef), 'EnforcePassword 0: everybody who comes enrols');
issued(enrol('open', challenge => 'nobody asked'), 'Q-68: EnforcePassword 0: a challenge that comes along is ignored');
ok($s->logs('SCEP0043: endpoint .open\S* SCEPEnforcePassword is off \(\S+open\.reg:\d+\): '),
    'and the start says so, with the line of the export');

# ---- DisableRenewalSubjectNameMatch

issued($s->renew($got{both}, at => $at{whole}, subject => 'CN=another name'),
    'R-108: DisableRenewalSubjectNameMatch 1: a renewal may ask for another subject');
my $plain = enrol('plain');
issued($plain, 'without a registry: enrols');
failed($s->renew($plain, at => $at{plain}, subject => 'CN=another name'), 2, 'R-108: without it, it may not');

# ---- HashAlgorithm: where no request dictates a digest

for my $case (['whole', 'sha512'], ['plain', 'sha256']) {
    my ($name, $digest) = @$case;
    my $next = $s->get('/certsrv/mscep/mscep.dll?operation=GetNextCACert', %{ $at{$name} });
    spew($s->work("next-$name"), $next->{body});
    like(run(['openssl', qw(cms -inform DER -cmsout -print -noout -in), $s->work("next-$name")])->{output},
        qr/signerInfos:.*?digestAlgorithm:\s*algorithm: $digest/s, "R-040: HashAlgorithm: $name signs GetNextCACert by $digest");
}

# ---- Refresh, CacheRequest

my $pending = enrol('waits');
pending($pending, 'a directive beside the registry adds to it: the request waits');
my $waiting = $s->waiting($pending);
my @days = $s->query("SELECT (ends - created) / 86400 AS days FROM scep_request WHERE id = '$waiting->{id}'");
is($days[0]{days}, 3, 'Refresh 3: it is kept for three days');
like($waiting->{ends}, qr/^\d{4}-\d\d-\d\dT/, 'Refresh 3: scepctl shows until when');

sub make_older {
    my ($minutes) = @_;
    my $ran = run(['sqlite3', '-cmd', '.timeout 5000', $s->database, "UPDATE scep_transaction SET created = created - 60 * $minutes"]);
    BAIL_OUT("sqlite3: $ran->{output}") if $ran->{status} != 0;
    return;
}

sub asked_again { my ($name, $reply) = @_; return $s->poll($reply, at => $at{$name}) }
issued(asked_again('whole', $got{none}), 'R-114: what was answered at once is answered to a CertPoll');
make_older(25);
issued(asked_again('whole', $got{none}), 'R-114: CacheRequest 30: after 25 minutes, too');
failed(asked_again('plain', $plain), 4, 'R-112: by default not after 25');
make_older(6);
failed(asked_again('whole', $got{none}), 4, 'R-112: CacheRequest 30: not after 31 minutes');
issued($s->again($got{none}, at => $at{whole}), 'R-117: the same PKCSReq again is answered still');

# ---- UseSinglePassword

my ($single, $again) = map { page('single') } 1, 2;
like($single, qr{ </B> <P> This password can be used multiple times and will not expire\.}, 'UseSinglePassword 1: NDES\'s page of it');
like(password($single) // '', qr/^[0-9A-F]{16}$/, 'UseSinglePassword 1: with a password');
is(password($again), password($single), 'UseSinglePassword 1: which is the same each time');
issued(enrol('single', challenge => password($single), key => $keys[$_]), "UseSinglePassword 1: device $_ enrols with it") for 0, 1;
failed(enrol('plain', challenge => password($single)), 2, 'UseSinglePassword 1: no other endpoint takes it');

# ---- directives beside it win, whatever the order

for my $name (qw(before after)) {
    my $text = page($name);
    like($text, qr/will expire within 90 minutes/, "$name: a directive beside the registry wins");
    like(password($text) // '', qr/^[0-9A-F]{32}$/, "$name: what no directive sets is the registry's");
    my $reply = enrol($name, challenge => password($text));
    unlike(text_of($reply, '-issuer'), qr/second/, "$name: SCEPAuthority wins over CAInfo\\Configuration");
}
$s->finish;

# ---- scepctl import-registry

my $c = SCEPTest->ready(SCEPTest::hosts(a => ''));
spew($c->work('whole.reg'), utf16(export(@whole)));
my $printed = $c->scepctl('import-registry', $c->work('whole.reg'));
is($printed->{status}, 0, 'scepctl import-registry reads it too') or diag($printed->{output});
is_deeply([grep { !/^#/ } split /\n/, $printed->{output}], \@directives, 'and prints the equivalent directives');
like($printed->{output}, qr/^# Not carried over: $_->[0]\\$_->[0] \(line \d+\): .*$_->[1]/m, "and says of $_->[0] why it is none")
    for ['CAType', 'ca\.conf'], ['CertsInMYStore', 'ca\.conf'], ['EncryptedPassword', 'UseSinglePassword 1'];
my $json = $c->scepctl_must('--json', 'import-registry', $c->work('whole.reg'));
is_deeply([map { $_->{directive} } @{ $json->{carried} }], \@directives, '--json: the same directives');
is_deeply([map { $_->{name} } @{ $json->{left} }], [map { "$_\\$_" } qw(CAType CertsInMYStore EncryptedPassword)],
    '--json: what is not carried over');
my @some = grep { !/Template|Configuration|VDir/ } @directives;
(my $usual = $c->{hosts}) =~ s/SCEPPasswordMax.*\n//;
$c->{hosts} = $usual =~ s/SCEPEngine on\n/join "\n", 'SCEPEngine on', @some, ''/er;
is($c->configtest->{status}, 0, 'httpd takes what was printed');

# ---- what is refused

my $file = $c->work('bad.reg');
for my $case (
    ['a line that is none', export() . "PasswordMax=5\r\n", 4, qr/"NAME"=VALUE, \S+ or a comment behind ; is expected/],
    ['another key', "REGEDIT4\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\n", 3, qr/a key that ends in Cryptography\\+MSCEP is expected/],
    ['no export', "<html>\n", 1, qr/'REGEDIT4' is expected/])
{
    my ($name, $text, $line, $says) = @$case;
    for my $bytes ($text, utf16($text)) {
        spew($file, $bytes);
        $c->{hosts} = $usual =~ s/SCEPEngine on\n/SCEPEngine on\nSCEPRegistry work\/bad.reg\n/r;
        my $refused = $c->configtest;
        isnt($refused->{status}, 0, "$name: configtest fails");
        like($refused->{output}, qr/\Q$file:$line: \E.*$says/, "$name: names file and line, and says what is expected");
        my $tool = $c->scepctl('import-registry', $file);
        is($tool->{status}, 1, "$name: so does scepctl");
        like($tool->{output}, qr/^scepctl: \Q$file:$line: \E.*$says/, "$name: in the same words");
    }
}
my $reads_bad = $c->{hosts};

# REGEDIT4: what Windows writes in a code page that the file does not name, and what another program writes in UTF-8.
spew($file, "REGEDIT4\r\n\r\n[$mscep]\r\n\"SignatureTemplate\"=\"Ger\xE4t\"\r\n");
my $ansi = qr/\Q$file:4: \Ea letter outside ASCII in a REGEDIT4 file, whose code page is not known: .*'reg export'/;
like($c->configtest->{output}, $ansi, 'REGEDIT4 in a code page: httpd says which line, and what to do');
my $tool = $c->scepctl('import-registry', $file);
is($tool->{status}, 1, 'REGEDIT4 in a code page: scepctl fails');
like($tool->{output}, $ansi, 'REGEDIT4 in a code page: in the same words');
spew($file, "REGEDIT4\r\n\r\n[$mscep]\r\n\"SignatureTemplate\"=\"Ger\xC3\xA4t\"\r\n");
is($c->scepctl('import-registry', $file)->{status}, 0, 'REGEDIT4 in UTF-8 is taken');

# Values out of range: httpd refuses them, scepctl names each of them beside what it prints.
spew($file, utf16(export(Refresh => 3, PasswordLength => 4, CAType => 1, CacheRequest => 0, HashAlgorithm => 'MD5', PasswordMax => 7)));
my $refused = $c->configtest;
isnt($refused->{status}, 0, 'values out of range: configtest fails');
like($refused->{output}, qr/\Q$file:8: \ESCEPPasswordLength: '4' is not a whole number from 8 to 64 .*beside it: 2;/,
    'values out of range: with the line of the first, its range, and how many more there are');
$tool = $c->scepctl('import-registry', $file);
is($tool->{status}, 1, 'values out of range: scepctl\'s status says so');
is_deeply([sort grep { /^SCEP/ } split /\n/, $tool->{output}], ['SCEPPasswordMax 7', 'SCEPRefresh 3'],
    'values out of range: it prints everything else');
like($tool->{output}, qr/^# Not carried over: $_->[0]\\$_->[0] \(line $_->[1]\): .*$_->[2]/m, "values out of range: $_->[0] with line and range")
    for ['PasswordLength', 8, 'from 8 to 64'], ['CacheRequest', 14, 'from 1 to'], ['HashAlgorithm', 17, 'not one of sha1'],
    ['CAType', 11, 'ca\.conf'];
like($tool->{output}, qr/^# From \Q$file\E\. SCEPRegistry refuses it/m, 'values out of range: its head says so');
like($tool->{output}, qr/^scepctl: \Q$file:8: \ESCEPPasswordLength: /m, 'values out of range: an error names the first');
like($c->scepctl('--json', 'import-registry', $file)->{output},
    qr/"fatal": true[^}]*\}[^}]*"fatal": false[^}]*\}[^}]*"fatal": true[^}]*\}[^}]*"fatal": true/s, '--json: which of them are out of range');

# One SCEPRegistry at server level: httpd hands it on to each virtual host that has no directive of ours.
spew($file, utf16(export(CAType => 1)));
$c->{hosts} = "SCEPRegistry work/bad.reg\n"
    . join('', map { "<VirtualHost 127.0.0.1:9>\nServerName $_.test\n</VirtualHost>\n" } qw(p q)) . $usual;
my $once = $c->configtest;
is($once->{status}, 0, 'one SCEPRegistry for all servers is taken') or diag($once->{output});
is(scalar(() = $once->{output} =~ /SCEP0042: /g), 1, 'and what it does not carry over is named once') or diag($once->{output});
$c->{hosts} = $reads_bad;
unlink $file;
like($c->configtest->{output}, qr/SCEPRegistry: \Q$file\E: No such file/, 'a file that is not there is named');
$c->{hosts} = "<Location \"/x\">\nSCEPRegistry work/whole.reg\n</Location>\n$usual";
like($c->configtest->{output}, qr/SCEPRegistry not allowed in <Location> context/, 'SCEPRegistry belongs to a server');

# ---- CAInfo\Configuration that no authority has, or another one than SCEPAuthority says

for my $case (
    ["SCEPConfiguration \"host.example\\\\Second CA\"\n",
        qr/endpoint a\.test: SCEPConfiguration host\.example\\+Second CA: no \[authority\].*\[authority default\] has none\).*'configuration = host\.example\\+Second CA'/,
        'a configuration that no authority has'],
    ["SCEPConfiguration \"HOST\\\\other ca\"\nSCEPAuthority default\n",
        qr/SCEPConfiguration HOST\\+other ca is \[authority other\].* but SCEPAuthority is default/, 'two names of two CAs'])
{
    my ($lines, $says, $name) = @$case;
    $c->{hosts} = $usual =~ s/SCEPEngine on\n/SCEPEngine on\n$lines/r;
    like($c->configtest->{output}, $says, "$name: configtest says so");
    SCEPAuthority::make($c, 'other', root => 0, lines => "configuration = host\\\\Other CA\n") if $name =~ /no authority/;
}
$c->{hosts} =~ s/SCEPAuthority default/SCEPAuthority other/;
is($c->configtest->{status}, 0, 'two names of one CA are accepted');
$c->end;
done_testing();
