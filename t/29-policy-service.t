# A policy module behind https: what it is told, how it proves itself, and that nothing else counts.
# The service is a CGI of the very httpd, behind mod_ssl.
use SCEPTest;

BAIL_OUT('mod_ssl is missing, and CI=true allows no test to be left out')
    if !-e "$ENV{HTTPD_MODULES}/mod_ssl.so" && ($ENV{CI} // '') eq 'true';
plan(skip_all => 'mod_ssl is not installed') if !-e "$ENV{HTTPD_MODULES}/mod_ssl.so";

my $cgi = -e "$ENV{HTTPD_MODULES}/mod_cgid.so" ? 'cgid' : 'cgi';
my %module = (
    good     => 'https://127.0.0.1:@PORT12@/service/good',
    no       => 'https://127.0.0.1:@PORT12@/service/no',
    rubbish  => 'https://127.0.0.1:@PORT12@/service/rubbish',
    words    => 'https://127.0.0.1:@PORT12@/service/words',
    loud     => 'https://127.0.0.1:@PORT12@/service/loud',
    slow     => 'https://127.0.0.1:@PORT12@/service/slow',
    error    => 'https://127.0.0.1:@PORT12@/service/error',
    moved    => 'https://127.0.0.1:@PORT12@/service/moved',
    stranger => 'https://127.0.0.1:@PORT13@/service/good',
    othername => 'https://localhost:@PORT12@/service/good',
    nobody   => 'https://127.0.0.1:1/service/good');
my @names = sort keys %module;
is(scalar @names, 11, 'eleven endpoints');
my $tls = "SSLEngine on\nScriptAlias /service \"\@DIR\@/cgi-bin/service\"\n<Location \"/service\">\nRequire all granted\n"
    . "SSLOptions +StdEnvVars\n</Location>\n";
my $s = SCEPTest->ready(
    SCEPTest::hosts(map { $_ => "SCEPPolicyModule $module{$_}\nSCEPPolicyModuleTimeout @{[ slow(3) ]}\n" } @names),
    ports   => 13,
    modules => ['ssl', 'alias', 'env', $cgi],
    server  => 'SSLSessionCache none');
$s->{hosts} .= <<"END";
<VirtualHost 127.0.0.1:\@PORT12\@>
ServerName service.test
$tls
SSLCertificateFile "\@DIR\@/tls/server.pem"
SSLCertificateKeyFile "\@DIR\@/tls/server.key"
SSLCACertificateFile "\@DIR\@/tls/ca.pem"
SSLVerifyClient require
</VirtualHost>
<VirtualHost 127.0.0.1:\@PORT13\@>
ServerName stranger.test
$tls
SSLCertificateFile "\@DIR\@/tls/stranger.pem"
SSLCertificateKeyFile "\@DIR\@/tls/stranger.key"
</VirtualHost>
END
my $dir = $s->dir;

# ---- certificates and the service

sub openssl {
    my $ran = run(['openssl', @_]);
    die "openssl @_: $ran->{output}\n" if $ran->{status} != 0;
    return;
}
mkdir "$dir/$_" or die "$_: $!\n" for qw(tls notes);
openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=service-ca -keyout), "$dir/tls/ca.key", '-out', "$dir/tls/ca.pem");
openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout),
    "$dir/tls/stranger.key", '-out', "$dir/tls/stranger.pem");
for (['server', 'IP:127.0.0.1'], ['client', 'DNS:scep-ca']) {
    my ($name, $san) = @$_;
    openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name", '-keyout', "$dir/tls/$name.key", '-out', "$dir/tls/$name.csr");
    spew("$dir/tls/$name.ext", "subjectAltName=$san\n");
    openssl(qw(x509 -req -days 2 -CAcreateserial -in), "$dir/tls/$name.csr", '-CA', "$dir/tls/ca.pem", '-CAkey', "$dir/tls/ca.key",
        '-extfile', "$dir/tls/$name.ext", '-out', "$dir/tls/$name.pem");
}
my $secret = SCEPServer::random_hex(16);
spew("$dir/tls/secret", "$secret\n", 0600);
chmod 0600, "$dir/tls/client.key";
chmod 01777, "$dir/notes";
my $conf = slurp($s->ca_conf);
my $sections = join '', map {
    "\n[policy_module $_.test]\nsecret = file:$dir/tls/secret\nclient_cert = $dir/tls/client.pem\n"
        . "client_key = file:$dir/tls/client.key\nca_file = $dir/tls/ca.pem\n" } @names;
spew($s->ca_conf, $conf . $sections);
spew("$dir/cgi-bin/service", <<"END" . <<'END2', 0755);
#!$^X
use strict; use warnings; use JSON::PP; use Digest::SHA 'hmac_sha256_hex'; use MIME::Base64;
my (\$secret, \$notes, \$too_long) = ('$secret', '$dir/notes', @{[ slow(3) + 2 ]});
END
my ($kind) = $ENV{PATH_INFO} =~ m{(\w+)};
local $/; binmode STDIN; my $body = <STDIN>;
my $q = decode_json($body);
my $time = $ENV{HTTP_X_SCEP_TIMESTAMP} // '';
my $signed = ($ENV{HTTP_X_SCEP_SIGNATURE} // '') eq 'sha256=' . hmac_sha256_hex("$time.$body", $secret)
    && $time =~ /^[0-9]+$/ && abs(time - $time) < 60 ? 1 : 0;
open my $out, '>>', "$notes/calls" or die;
print $out encode_json({ %$q, signed => $signed, client => $ENV{SSL_CLIENT_S_DN_CN} // '', kind => $kind,
    method => $ENV{REQUEST_METHOD}, type => $ENV{CONTENT_TYPE} }), "\n";
close $out;
sub answer { my ($text, $status) = @_; print "Status: ", $status // 200, "\nContent-Type: application/json\n\n$text"; exit 0 }
if ($q->{call} eq 'notify') { answer('{}') }
if ($q->{call} eq 'generate') { answer(encode_json({ challenge => "from-$q->{params}" })) }
answer('{"allow":true}') if $kind eq 'good';
answer('{"allow":false,"reason":"no \"such\" device"}') if $kind eq 'no';
answer('{"allow":true') if $kind eq 'rubbish';
answer('{"allow":"true"}') if $kind eq 'words';
answer('{"allow":true,"reason":"' . 'x' x 70000 . '"}') if $kind eq 'loud';
answer('{"allow":true}', 500) if $kind eq 'error';
if ($kind eq 'moved') { print "Status: 307\nLocation: good\nContent-Type: application/json\n\n{\"allow\":true}"; exit 0 }
sleep $too_long if $kind eq 'slow';
END2

# ---- what stops the start

sub refused {
    my ($name, $change, $pattern) = @_;
    (my $changed = $sections) =~ s/^(\[policy_module good.*?)(?=^\[|\z)/$change->($1)/mse;
    spew($s->ca_conf, $conf . $changed);
    my $test = $s->configtest;
    isnt($test->{status}, 0, "$name is refused");
    like($test->{output}, $pattern, '… with a sentence');
    return spew($s->ca_conf, $conf . $sections);
}
refused('a secret that is missing', sub { $_[0] =~ s{tls/secret}{tls/nothing}r }, qr/NDES-53 .*No such file/);
refused('a client certificate without its key', sub { $_[0] =~ s/client_key.*\n//r }, qr/go together/);
refused('an unknown key', sub { $_[0] =~ s/secret =/password =/r }, qr/is not known here/);
spew("$dir/tls/empty.pem", '');
spew("$dir/tls/words.pem", "no certificate\n");
for my $file (qw(empty words)) {
    for my $what (qw(ca_file client_cert)) {
        refused("a $what without a certificate ($file)", sub { $_[0] =~ s{^$what = .*}{$what = $dir/tls/$file.pem}mr },
            qr/NDES-53 .*$file\.pem holds no certificate/);
    }
}
refused('a client certificate of another key', sub { $_[0] =~ s{tls/client\.pem}{tls/server.pem}r },
    qr/NDES-53 .*is not of the key/);
chmod 0644, "$dir/tls/secret";
refused('a secret that others may read', sub { $_[0] }, qr/NDES-53 .*others may read/);
chmod 0600, "$dir/tls/secret";

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
my $failed = 'SCEP0321: the policy module of endpoint';
$s->expect_log(
    'SCEP0322: the policy module of endpoint no\.test says no: verify .*reason="no \\\\x22such\\\\x22 device"',
    "$failed rubbish\\.test failed: verify .*no JSON", "$failed words\\.test failed: verify .*no boolean",
    "$failed loud\\.test failed: verify .*more than 65536 bytes", "$failed slow\\.test failed: verify .*timed out",
    "$failed error\\.test failed: verify .*HTTP status 500", "$failed moved\\.test failed: verify .*HTTP status 307",
    "$failed stranger\\.test failed: verify .*(?:self.signed|certificate)",
    "$failed othername\\.test failed: verify .*(?:match|altname|name)",
    "$failed nobody\\.test failed: verify .*(?:connect|refused)",
    'SCEP0242: NDES-31 a request is put off', 'SCEP0026: NDES-29 CHALLENGE', 'SCEP0030: NDES-31 UNAVAILABLE');
$s->allow_log('AH00045: ', 'AH01909', 'ssl:warn', 'cgid?:error', 'AH02040');

my $key = $s->work('key.pem');
run(['openssl', 'genrsa', '-out', $key, '2048']);
sub enrol {
    my ($name, %o) = @_;
    return $s->enrol(key => $key, challenge => 'secret "word"', subject => "CN=$name", send => $s->place($name), %o);
}
sub calls {
    my ($kind) = @_;
    return () if !-e "$dir/notes/calls";
    return grep { $_->{kind} eq $kind } map { JSON::PP::decode_json($_) } split /\n/, slurp("$dir/notes/calls");
}

# ---- yes

my $reply = enrol('good');
issued($reply, 'a service that allows it: issued');
my ($verify, $notify, @more) = calls('good');
is(scalar @more, 0, 'two calls');
is_deeply([@$verify{qw(call method type signed client endpoint renewal peer template challenge)}],
    ['verify', 'POST', 'application/json', 1, 'client', 'good.test', JSON::PP::false(), '127.0.0.1',
        'IPSECIntermediateOffline', 'secret "word"'],
    'verify: a signed POST with a client certificate says what it is about');
is($verify->{transaction_id}, $reply->{request}{transaction_id}, 'which transaction');
spew($s->work('csr.der'), MIME::Base64::decode_base64($verify->{csr}));
like(run(['openssl', 'req', '-inform', 'DER', '-in', $s->work('csr.der'), '-noout', '-subject'])->{output}, qr/CN ?= ?good/,
    'with the CSR');
is_deeply([@$notify{qw(call signed disposition hresult challenge)}], ['notify', 1, 0, '0x00000000', 'secret "word"'],
    'notify: success');
spew($s->work('cert.der'), MIME::Base64::decode_base64($notify->{certificate}));
like(run(['openssl', 'x509', '-inform', 'DER', '-in', $s->work('cert.der'), '-noout', '-serial'])->{output},
    qr/^serial=0*$reply->{serial}$/mi, 'with the certificate');
is($s->get('/certsrv/mscep_admin/?operation=NDESGenerateChallenge&params=abc', %{ $s->place('good') }, user => $s->credentials)->{body},
    'from-abc', 'it makes challenges');

# ---- everything else issues nothing

my $before = $s->certificates;
failed(enrol('no'), 2, 'a service that says no: refused', qr/0x80070490/i);
my ($told) = grep { $_->{call} eq 'notify' } calls('no');
is_deeply([@{ $told // {} }{qw(disposition hresult)}], [2, '0x80070490'], 'and told so');
for my $name (qw(rubbish words loud slow error moved stranger othername nobody)) {
    my $answer = enrol($name);
    is($answer->{http}{status}, 503, "a service that fails ($name): 503, ask again");
    ok(!$answer->{serial}, '… and no certificate');
}
is($s->certificates, $before, 'nothing was issued');
is(scalar(grep { $_->{call} eq 'verify' } calls('good')), 1,
    'nothing was sent to a service of another certificate or name, and no redirect was followed');
is_deeply([sort $s->files_with($secret)], ["$dir/cgi-bin/service", "$dir/tls/secret"],
    'the secret stands in its file (and the service\'s)')
    or diag(explain([$s->files_with($secret)]));

$s->finish;
done_testing();
