# strongSwan's pki enrols (it posts).
use SCEPTest;
use SCEPStrongSwan;

SCEPStrongSwan::need();

my $s    = SCEPTest->up;
$s->expect_log('SCEP0026: NDES-29 CHALLENGE: ');
my $work = $s->work('pki');
my $pki  = SCEPStrongSwan->new($s);
is($pki->{status}, 0, 'pki --scepca gets the certificates') or diag($pki->{output});
ok($pki->{sig} && $pki->{enc}, 'it knows both RA certificates apart') or diag($pki->{output});

for my $case (
    ['with its defaults', []],
    ['with 3DES and SHA-1', ['--cipher', 'des3', '--digest', 'sha1']],
    ['with SHA-512', ['--digest', 'sha512']],
    ['with a name besides the subject', ['--san', 'moon.example']])
{
    my ($name, $options) = @$case;
    my @with = ('--in', SCEPStrongSwan::new_key("$work/key.pem"), '--password', $s->mint, @$options);
    my $made = run($pki->enrolment("$work/cert.pem", '--dn', 'C=CH, O=Example, CN=moon', @with));
    is($made->{status}, 0, "pki --scep enrols $name") or diag($made->{output});
    my $verified = run(['openssl', 'verify', '-CAfile', $s->ca_cert, "$work/cert.pem"]);
    is($verified->{status}, 0, 'the certificate verifies') or diag($verified->{output});
    my $again = run($pki->enrolment("$work/cert2.pem", '--dn', 'C=CH, O=Example, CN=sun', @with));
    isnt($again->{status}, 0, 'a second time with the same challenge it is refused') or diag($again->{output});
}
ok(wait_for(sub { slurp($s->dir . '/logs/access.log') =~ /POST .*PKIOperation/ }, slow(5)), 'by POST');

$s->finish;
done_testing();
