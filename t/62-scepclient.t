# micromdm's scepclient 2.1.0 sends single DES: refused, and the log says why; with
# SCEPLegacyAlgorithms it enrols.
use SCEPTest;

need_program('scepclient');

my $s    = SCEPTest->up(host => <<'END');
<Location "/legacy">
SetHandler scep
SCEPEndpoint legacy
SCEPLegacyAlgorithms on
SCEPEnforcePassword off
</Location>
END
my $work = $s->work('scepclient');
mkdir $work;
my $challenge = $s->mint;
# Of several certificates it takes the one with this fingerprint as the recipient.
my $decrypt = run(['openssl', 'x509', '-in', $s->dir . '/ca/ra-decrypt.pem', '-noout', '-fingerprint', '-sha256']);
(my $fingerprint = ($decrypt->{output} =~ /=(\S+)/)[0]) =~ tr/://d;
my $tried = run(
    ['scepclient', '-private-key', "$work/client.key", '-certificate', "$work/client.pem", '-server-url',
        $s->url, '-challenge', $challenge, '-cn', 'moon', '-ca-fingerprint', lc $fingerprint],
    chdir => $work);
isnt($tried->{status}, 0, 'scepclient does not enrol');
ok((grep { /POST .*PKIOperation/ } split /\n/, slurp($s->dir . '/logs/access.log')), 'it sent its request')
    or diag($tried->{output});
ok(!-e "$work/client.pem", 'it has no certificate');
# badAlg, and the cipher by its name.
$s->expect_log('SCEP0022: NDES-17 BAD_ALG: .*\bdes-cbc\b');
is($s->certificates, 0, 'nothing was issued');
issued($s->enrol(challenge => $challenge, subject => 'CN=sun'), 'and its challenge is still good');

my $legacy = run(
    ['scepclient', '-private-key', "$work/client.key", '-certificate', "$work/client.pem", '-server-url',
        'http://127.0.0.1:' . $s->port . '/legacy', '-cn', 'moon', '-ca-fingerprint', lc $fingerprint],
    chdir => $work);
is($legacy->{status}, 0, 'Q-46: where legacy algorithms are accepted it enrols') or diag($legacy->{output});
is(run(['openssl', 'verify', '-CAfile', $s->ca_cert, "$work/client.pem"])->{status}, 0, 'the certificate verifies');

$s->finish;
done_testing();
