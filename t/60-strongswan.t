# strongSwan's pki enrols (it posts).
use SCEPTest;

need_program('pki');
my $plugins = run(['pki', '--scepca', '--url', 'http://127.0.0.1:9/', '--caout', '/dev/null']);
if ($plugins->{output} =~ /curl.*failed to load/) {
    BAIL_OUT('pki has no fetcher, and CI=true allows no test to be left out') if ($ENV{CI} // '') eq 'true';
    plan(skip_all => 'pki has no fetcher: the plugin curl is missing');
}

my $s    = SCEPTest->up;
$s->expect_log('SCEP0026: NDES-29 CHALLENGE: ');
my $work = $s->work('pki');
mkdir $work;
my $got = run(
    ['pki', '--scepca', '--url', $s->url, '--caout', "$work/ca.pem", '--raout', "$work/ra.pem",
        '--outform', 'pem', '--force'],
    chdir => $work);
is($got->{status}, 0, 'pki --scepca gets the certificates') or diag($got->{output});
my %ra;
for my $file (glob "$work/ra*.pem") {
    my $usage = run(['openssl', 'x509', '-in', $file, '-noout', '-ext', 'keyUsage'])->{output};
    $ra{sig} = $file if $usage =~ /Digital Signature/;
    $ra{enc} = $file if $usage =~ /Key Encipherment/;
}
ok($ra{sig} && $ra{enc}, 'it knows both RA certificates apart') or diag($got->{output});
my ($ca) = glob "$work/ca*.pem";

for my $case (
    ['with its defaults', []],
    ['with 3DES and SHA-1', ['--cipher', 'des3', '--digest', 'sha1']],
    ['with SHA-512', ['--digest', 'sha512']],
    ['with a name besides the subject', ['--san', 'moon.example']])
{
    my ($name, $options) = @$case;
    run(['sh', '-c', 'pki --gen --type rsa --size 2048 --outform pem > "$1"', 'sh', "$work/key.pem"]);
    my $challenge = $s->mint;
    my @command = ('pki', '--scep', '--url', $s->url, '--in', "$work/key.pem", '--dn', 'C=CH, O=Example, CN=moon',
        '--password', $challenge, '--cacert-enc', $ra{enc}, '--cacert-sig', $ra{sig}, '--cacert', $ca,
        '--outform', 'pem', @$options);
    my $made = run(['sh', '-c', 'out=$1; shift; exec "$@" > "$out"', 'sh', "$work/cert.pem", @command]);
    is($made->{status}, 0, "pki --scep enrols $name") or diag($made->{output});
    my $verified = run(['openssl', 'verify', '-CAfile', $s->ca_cert, "$work/cert.pem"]);
    is($verified->{status}, 0, 'the certificate verifies') or diag($verified->{output});
    my $again = run(['sh', '-c', 'out=$1; shift; exec "$@" > "$out"', 'sh', "$work/cert2.pem",
        map { $_ eq 'C=CH, O=Example, CN=moon' ? 'C=CH, O=Example, CN=sun' : $_ } @command]);
    isnt($again->{status}, 0, 'a second time with the same challenge it is refused') or diag($again->{output});
}
ok((grep { /POST .*PKIOperation/ } split /\n/, slurp($s->dir . '/logs/access.log')), 'by POST');

$s->finish;
done_testing();
