# conf/recipes/client-certificate.conf: a certificate instead of a password.
use SCEPTest;
use SCEPRecipe;

need_server('curl');
need_modules('ssl');

# With another name at the same address, which comes first and asks for no certificate.
my $s = recipes(
    recipes => [qw(basic client-certificate)],
    define  => {
        SCEP_ADMIN_NAME => 'admin.test',
        SCEP_CLIENT_CA  => '@DIR@/tls-ca.pem',
        SCEP_CLIENT_CRL => '@DIR@/client.crl',
        SCEP_USERS      => '@DIR@/certificates'
    });
my ($dir, $work) = ($s->dir, $s->work('tls'));
mkdir $work;
run(['cp', "$dir/tls-ca.pem", "$dir/tls-ca.key", $work]);
tls_certificate($work, $_, "/O=Example/CN=$_", 'client') for qw(mdm lost other);
# One value that reads like two: OpenSSL 3 writes O=Example\/CN=mdm.
tls_certificate($work, 'slash', '/O=Example\/CN=mdm', 'client');
# Signed by itself, with the name that may.
SCEPAuthority::openssl(qw(req -x509 -newkey rsa:2048 -nodes -keyout), "$work/false.key", '-subj', '/O=Example/CN=mdm',
    '-days', 3, '-out', "$work/false.pem");
write_crl($dir, "$work/lost.pem");
# As the file's head says.
for my $name (qw(mdm lost)) {
    my $subject = run([qw(openssl x509 -noout -subject -nameopt compat -in), "$work/$name.pem"])->{output};
    my ($dn) = $subject =~ /^subject=(.*)$/m;
    is($dn, "/O=Example/CN=$name", 'openssl prints the name as the file has it');
    my $set = run(['htpasswd', '-b', '-B', $name eq 'mdm' ? '-c' : (), "$dir/certificates", $dn, 'password']);
    is($set->{status}, 0, 'htpasswd takes it') or diag($set->{output});
}
chmod 0644, "$dir/certificates";
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

sub with { return page($s, host => 'admin.test', curl => ['--cert', "$work/$_[0].pem", '--key', "$work/$_[0].key"]) }

no_challenge(page($s, host => 'admin.test'), 0, 'without a certificate there is no connection');
no_challenge(page($s, host => 'admin.test', user => '/O=Example/CN=mdm:password'), 0,
    'nor with its name and the known password');
no_challenge(with('lost'), 0, 'nor with a revoked certificate');
no_challenge(with('false'), 0, 'nor with one of the right name by another CA');
no_challenge(with('other'), 401, 'a certificate that is not in the file gets no challenge');
no_challenge(with('slash'), 401, 'nor one whose only value looks like the two in the file');
no_challenge(
    page($s, host => 'admin.test', user => '/O=Example/CN=mdm:password',
        curl => ['--cert', "$work/other.pem", '--key', "$work/other.key"]),
    403, 'nor with the name of one that is');
for my $user ('admin:wrong', '/O=Example/CN=mdm:password') {
    no_challenge(page($s, user => $user, curl => ['-H', 'Host: admin.test']), 421,
        "a connection to the other name leads nowhere, as $user");
}
my $page = with('mdm');
audited($s, $page, '/O=Example/CN=mdm', '127.0.0.1', 'the one in the file gets it');
issued($s->enrol(challenge => $page->{challenge}, subject => 'CN=recipe'), 'a device enrols with it at the other name');
$s->expect_log(
    'AH01618: user /O=Example/CN=other not found',
    'AH01618: user /O=Example\S+CN=mdm not found',
    'AH02032: Hostname scep.test provided via SNI');
$s->allow_log('AH02276: Certificate Verification: Error', 'AH02039: Certificate Verification: Error', 'AH02036',
    'Encountered FakeBasicAuth spoof');

finish($s);
done_testing();
