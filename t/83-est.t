# The connector est. Debian has no EST server, so there is a small one here: a CGI program that signs
# with openssl, behind a real httpd with mod_ssl, whose client certificates, passwords and TLS are what
# an EST server has. RFC 7030.
use SCEPTest;
use SCEPAuthority;
use SCEPStrongSwan;

need_program('openssl', 'htpasswd');
BAIL_OUT('mod_ssl is missing, and CI=true allows no test to be left out')
    if !-e "$ENV{HTTPD_MODULES}/mod_ssl.so" && ($ENV{CI} // '') eq 'true';
plan(skip_all => 'mod_ssl is not installed') if !-e "$ENV{HTTPD_MODULES}/mod_ssl.so";
SCEPStrongSwan::need();

my $tls   = "tls_ca = \@DIR\@/est/chain.pem\n";
my $basic = "user = ra\npassword = file:\@DIR\@/est/password\n$tls";
my $cert  = "client_cert = \@DIR\@/est/client.pem\nclient_key = file:\@DIR\@/est/client.key\n";
my %authority = (
    cert     => $cert,
    basic    => $basic,
    manual   => "${cert}label = manual\n",
    profile  => "${basic}profile = yes\n",
    deny     => "${cert}label = deny\n",
    busy     => "${cert}label = busy\n",
    broken   => "${cert}label = broken\n",
    again    => "${cert}label = broken\nresubmit = yes\n",
    odd      => "${cert}label = odd\n",
    hang     => "${cert}label = hang\ntimeout = 1\n",
    wrong    => "user = ra\npassword = file:\@DIR\@/est/wrong\n$tls",
    stranger => "${cert}tls_ca = \@DIR\@/est/stranger.pem\n");
my @names = sort keys %authority;
my $last  = @names + 1;
my $cgi   = -e "$ENV{HTTPD_MODULES}/mod_cgid.so" ? 'cgid' : 'cgi';
my $s     = SCEPTest->ready(
    SCEPTest::hosts(map { $_ => "SCEPAuthority $_\n" } @names),
    ports   => $last,
    modules => ['ssl', 'alias', $cgi],
    server  => 'SSLSessionCache none');
$s->allow_log('SCEP00\d\d: NDES-\d+ (?:BAD_REQUEST|REFUSED)', 'AH00045: ', 'AH01909', 'AH02040', 'ssl:warn', 'cgid?:error',
    'AH01617', 'AH02008', 'AH01998');
$s->{hosts} .= <<"END";
<VirtualHost 127.0.0.1:\@PORT$last\@>
ServerName est.test
SSLEngine on
SSLCertificateFile "\@DIR\@/est/server.pem"
SSLCertificateKeyFile "\@DIR\@/est/server.key"
SSLCACertificateFile "\@DIR\@/est/chain.pem"
SSLVerifyClient optional
SSLVerifyDepth 3
ScriptAlias /.well-known/est "\@DIR\@/cgi-bin/est"
<Location "/.well-known/est">
AuthType Basic
AuthName "EST"
AuthBasicProvider file
AuthUserFile "\@DIR\@/est/users"
<RequireAny>
Require ssl-verify-client
Require valid-user
</RequireAny>
</Location>
</VirtualHost>
END
my $dir = $s->dir;
mkdir "$dir/$_" or die "$dir/$_: $!\n" for qw(est est/notes);
chmod 01777, "$dir/est/notes";

# ---- the CA and its server

sub openssl {
    my $ran = run(['openssl', @_]);
    die "openssl @_: $ran->{output}\n" if $ran->{status} != 0;
    return $ran->{output};
}
my $ca = SCEPAuthority::make($s, 'template');
my ($section) = slurp($s->ca_conf) =~ /^\[authority template\]\n(.*?)(?=^\[|\z)/ms;
spew("$dir/est/chain.pem", slurp("$ca/chain.pem"));
spew("$dir/est/issuing.$_", slurp("$ca/issuing.$_"), 0600) for qw(pem key);
chown((getpwnam SCEPServer::worker_user())[2], -1, "$dir/est/issuing.key", "$dir/est/issuing.pem") if is_root();
SCEPAuthority::certificate("$dir/est/client", '/CN=the RA', 'sign', "$ca/issuing");
SCEPAuthority::certificate("$dir/est/stranger", '/CN=stranger', 'ca');
SCEPAuthority::certificate("$dir/est/device", '/CN=another', 'device', "$ca/issuing");
chmod 0600, "$dir/est/client.key";
spew("$dir/est/ext", "subjectAltName=IP:127.0.0.1\n");
openssl(qw(req -new -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout), "$dir/est/server.key", '-out', "$dir/est/server.csr");
openssl(qw(x509 -req -days 2 -set_serial 1 -in), "$dir/est/server.csr", '-CA', "$ca/issuing.pem", '-CAkey', "$ca/issuing.key",
    '-extfile', "$dir/est/ext", '-out', "$dir/est/server.pem");
my $password = SCEPServer::random_hex(12);
spew("$dir/est/password", "$password\n", 0600);
spew("$dir/est/wrong", SCEPServer::random_hex(12) . "\n", 0600);
run(['htpasswd', '-i', '-B', '-c', "$dir/est/users", 'ra'], stdin => "$password\n");
chmod 0644, "$dir/est/users";

my ($template) = $section =~ /^templates\s*=\s*(\S+?),?\s/m;
my $url = 'https://127.0.0.1:' . $s->port($last - 1);
my ($conf) = slurp($s->ca_conf) =~ /\A(.*?)^\[authority template\]/ms;
for my $name (@names) {
    (my $lines = $section) =~ s/^connector = .*\n|^ca_key = .*\n//mg;
    $conf .= "\n[authority $name]\nconnector = est\nurl = $url\npoll = 1\n" . ($authority{$name} =~ s/\@DIR\@/$dir/gr) . $lines;
}
spew($s->ca_conf, $conf);

spew("$dir/cgi-bin/est", <<"END" . <<'END2', 0755);
#!$^X
use strict; use warnings; use MIME::Base64; use Digest::SHA 'sha256_hex';
my \$dir = '$dir/est';
END
my ($label, $operation) = $ENV{PATH_INFO} =~ m{^(?:/([^/]+))?/(\w+)$};
$label //= 'none';
sub say_it { my ($status, $type, $text, @more) = @_; print "Status: $status\n", map({ "$_\n" } @more), "Content-Type: $type\n\n$text"; exit 0 }
sub certs { my ($file) = @_; my $der = `openssl crl2pkcs7 -nocrl -outform DER -certfile $file`; say_it(200, 'application/pkcs7-mime; smime-type=certs-only', encode_base64($der), 'Content-Transfer-Encoding: base64') }
certs("$dir/chain.pem") if $operation eq 'cacerts' && $ENV{REQUEST_METHOD} eq 'GET';
say_it(404, 'text/plain', "no such operation\n") if $operation ne 'simpleenroll' || ($ENV{CONTENT_TYPE} // '') ne 'application/pkcs10';
local $/; binmode STDIN; my $der = decode_base64(<STDIN>);
my $id = "$dir/notes/" . sha256_hex($der);
open my $calls, '>>', "$dir/notes/calls"; print $calls "$label ", ($ENV{REMOTE_USER} || $ENV{SSL_CLIENT_VERIFY} || 'by certificate'), "\n"; close $calls;
say_it(400, 'text/plain', "no \"such\" device\n") if $label eq 'deny';
say_it(503, 'text/plain', "later\n", 'Retry-After: 1') if $label eq 'busy' && !-e "$dir/notes/ready";
sleep 6 if $label eq 'hang';
certs("$dir/device.pem") if $label eq 'odd';
say_it(202, 'text/plain', '', 'Retry-After: 1') if $label eq 'manual' && !-e "$dir/notes/approved";
open my $out, '>:raw', "$id.der"; print $out $der; close $out;
my $serial = '0x' . unpack 'H*', do { open my $in, '<:raw', '/dev/urandom'; read $in, my $raw, 8; "\x4f$raw" };
system("openssl x509 -req -inform DER -in $id.der -CA $dir/issuing.pem -CAkey $dir/issuing.key -days 30 -copy_extensions copy "
    . "-set_serial $serial -out $id.pem 2>> $dir/notes/errors") == 0 or say_it(400, 'text/plain', "cannot be signed\n");
unlink "$id.der"; # which holds the challenge
open my $made, '>>', "$dir/notes/issued"; print $made "$label\n"; close $made;
if ($label eq 'broken' && !-e "$dir/notes/mended") { open my $once, '>', "$dir/notes/mended"; say_it(500, 'text/plain', "out of order\n") }
certs("$id.pem");
END2

sub counted {
    my ($file, $label) = @_;
    return 0 if !-e "$dir/est/notes/$file";
    return scalar grep { /^\Q$label\E\b/ } split /\n/, slurp("$dir/est/notes/$file");
}

sub state_of {
    my ($name) = @_;
    my ($found) = grep { $_->{subject} =~ /\bCN=\Q$name\E\b/ } @{ $s->scepctl_must('requests', '--all', '--json') };
    return $found // { state => 'none' };
}

sub enrol { my ($authority) = @_; return $s->enrol(at => $s->place($authority), subject => "CN=$authority") }

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

# ---- issued

for my $name (qw(cert basic profile)) {
    my $reply = enrol($name);
    issued($reply, "$name: issued");
    is($reply->{key_matches}, 1, "$name: for its key");
    is(run(['openssl', 'verify', '-CAfile', "$ca/chain.pem", $reply->{certificate} // '/dev/null'])->{status}, 0,
        "$name: by that CA");
}
like(slurp("$dir/est/notes/calls"), qr/^none by certificate\nnone ra\n\Q$template\E ra\n$/m, 'by a certificate, by a password, with a label');

# ---- strongSwan

my $work = $s->work('pki');

sub pki {
    my ($name, $out, @more) = @_;
    my $client = SCEPStrongSwan->new($s, $name);
    is($client->{status}, 0, "$name: pki --scepca gets the certificates") or diag($client->{output});
    return $client->enrolment($out, '--in', SCEPStrongSwan::new_key("$out.key"), '--password', $s->mint(%{ $s->place($name) }),
        @more);
}

my $done = run(pki('cert', "$work/moon.pem", '--dn', 'CN=moon', '--san', 'moon.example'), timeout => slow(60));
is($done->{status}, 0, 'pki --scep enrols') or diag($done->{output});
my $text = run(['openssl', 'x509', '-in', "$work/moon.pem", '-noout', '-text'])->{output};
like($text, qr/DNS:moon\.example/, '… with the name that it asked for');

my $pki = spawn(pki('manual', "$work/sun.pem", '--dn', 'CN=sun', '--interval', 1, '--maxpolltime', 90), output => "$work/sun.log");
ok(wait_for(sub { state_of('sun')->{state} eq 'waits' }, slow(20)), 'the request waits at the CA') or diag(slurp("$work/sun.log"));
ok(wait_for(sub { counted('calls', 'manual') >= 3 }, slow(30)), '… and is asked after');
spew("$dir/est/notes/approved", '');
is(SCEPRun::wait_child($pki, slow(120)) // 'it did not end', 0, '… until pki has its certificate') or diag(slurp("$work/sun.log"));
is(run(['openssl', 'verify', '-CAfile', "$ca/chain.pem", "$work/sun.pem"])->{status}, 0, '… that of the CA');
is(counted('issued', 'manual'), 1, '… one was issued');

# ---- refused

failed(enrol('deny'), 2, 'what the CA rejects is badRequest');
ok($s->logs('HTTP status 400: no .*such.* device'), '… its words are in the log');
is(state_of('deny')->{state}, 'denied', '… and it is decided');

# ---- not now

$s->expect_log('SCEP0253: \[authority busy\] .*did not get it: HTTP status 503',
    'SCEP0253: \[authority wrong\] .*did not get it: HTTP status 401', 'SCEP0253: \[authority stranger\] .*did not get it: ');
$s->allow_log('SCEP0251: ');
my $busy = enrol('busy');
pending($busy, 'a CA without time decides nothing: the device waits');
spew("$dir/est/notes/ready", '');
my $reply;
ok(wait_for(sub { ($reply = $s->poll($busy, at => $s->place('busy')))->{serial} }, slow(60)), '… until it has')
    or diag(SCEPTest::describe($reply));
is(counted('issued', 'busy'), 1, '… one was issued');
pending(enrol('wrong'), 'a wrong password is no decision on a device');
pending(enrol('stranger'), 'a server that is not trusted decides nothing');
is(counted('calls', 'none'), 3, '… and is told nothing');

# ---- lost

$s->expect_log('SCEP0253: \[authority broken\] .*may have got it: HTTP status 500',
    'SCEP0255: \[authority broken\] .*whether there is a certificate for .*CN=broken');
pending(enrol('broken'), 'a CA that breaks at it may have issued: the device waits');
ok(wait_for(sub { state_of('broken')->{state} eq 'lost' }, slow(40)), '… it is not asked again');
is(counted('issued', 'broken'), 1, '… one was issued, and only one');
$s->expect_log('SCEP0253: \[authority hang\] .*may have got it: timed out', 'SCEP0255: \[authority hang\] ');
pending(enrol('hang'), 'a CA that hangs: the device waits');
unlink "$dir/est/notes/mended";
$s->expect_log('SCEP0253: \[authority again\] .*may have got it: HTTP status 500',
    'SCEP0350: \[authority again\]: submission [0-9A-F]{16} is sent again, as ca\.conf says \(resubmit\): .*CN=again');
my $again = enrol('again');
pending($again, 'where ca.conf allows a second one, too');
ok(wait_for(sub { ($reply = $s->poll($again, at => $s->place('again')))->{serial} }, slow(60)), '… it is asked again')
    or diag(SCEPTest::describe($reply));
is(counted('issued', 'broken'), 3, '… and that made two');
ok(wait_for(sub { state_of('hang')->{state} eq 'lost' }, slow(40)), 'what was asked of a CA that hangs is lost');

# ---- what is unfit

$s->expect_log('SCEP0254: \[authority odd\] sent a certificate that is withheld');
pending(enrol('odd'), 'a certificate of another key is not given to a device');
is(state_of('odd')->{state}, 'withheld', '… it is withheld');

# ---- scep-ca check

sub checked { return $s->ca_check(undef, is_root() ? ('--user', SCEPServer::ca_user()) : ()) }
my $whole = slurp($s->ca_conf);
spew($s->ca_conf, $whole =~ s/^tls_ca = .*chain\.pem\n//mgr);
my $checked = checked();
is($checked->{status}, 1, 'a password for a server of the CA that certifies devices is refused');
like($checked->{output}, qr/\[authority basic\]: user and password need tls_ca/, '… it says what to do');
spew($s->ca_conf, $whole);
$checked = checked();
my %reached = $checked->{output} =~ /^authority (\w+), connector est\n.*?^  reached +(\w+)/msg;
is_deeply([map { $reached{$_} // 'nothing' } qw(cert basic wrong stranger)], [qw(yes yes no no)], 'scep-ca check says whom it reaches')
    or diag($checked->{output});
like($checked->{output}, qr/^authority cert, .*?^  RA renewal +none: replace its files/ms, 'it says that an RA from files is not renewed');
SCEPAuthority::make_ra($ca, 'template', -10, -1);
$checked = checked();
is($checked->{status}, 1, 'an RA from files that ended is no ca.conf to start with');
like($checked->{output}, qr/^\[authority \w+\]: RA signing certificate is expired; .*replace the files/m, '… it says what to do');

is_deeply([sort $s->files_with($password)], ["$dir/est/password"], 'the password stands in its file')
    or diag(explain([$s->files_with($password)]));
$s->finish;
done_testing();
