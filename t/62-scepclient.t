# micromdm's scepclient 2.1.0 sends single DES: refused, and the log says why; with
# SCEPLegacyAlgorithms it enrols.
use SCEPTest;
use SCEPAuthority;

need_program('scepclient');

# It knows one certificate of the server's, by its fingerprint, so that one has to sign and to
# decrypt.
my $s = SCEPTest->ready(host => <<'END');
<Location "/legacy">
SetHandler scep
SCEPEndpoint legacy
SCEPLegacyAlgorithms on
SCEPEnforcePassword off
</Location>
END
my $ca = $s->dir . '/ca';
# Near its end, so that scep-ca makes a new one as it starts.
SCEPAuthority::certificate("$ca/ra", '/CN=RA', 'device', "$ca/ca", -10, 1);
(my $conf = slurp($s->ca_conf)) =~ s/\bra-(?:sign|decrypt)\.(pem|key)/ra.$1/g;
spew($s->ca_conf, $conf);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('SCEP0041: SCEPLegacyAlgorithms is on for legacy');
my $work = $s->work('scepclient');
mkdir $work;
my $challenge = $s->mint;
spew("$work/list", $s->get('/certsrv/mscep/mscep.dll?operation=GetCACert')->{body});
run(['openssl', 'pkcs7', '-inform', 'DER', '-in', "$work/list", '-print_certs', '-out', "$work/list.pem"]);
my @list = slurp("$work/list.pem") =~ /(-----BEGIN.*?END CERTIFICATE-----\n)/gs;
is(scalar @list, 2, 'one RA certificate for both is renewed as one');
spew("$work/ra.pem", $list[0]);
isnt(slurp("$work/ra.pem"), slurp("$ca/ra.pem"), 'and is a new one');
my $shown = run(['openssl', 'x509', '-in', "$work/ra.pem", '-noout', '-fingerprint', '-sha256']);
(my $fingerprint = ($shown->{output} =~ /=(\S+)/)[0]) =~ tr/://d;
my $tried = run(
    ['scepclient', '-private-key', "$work/client.key", '-certificate', "$work/client.pem", '-server-url',
        $s->url, '-challenge', $challenge, '-cn', 'moon', '-ca-fingerprint', lc $fingerprint],
    chdir => $work);
isnt($tried->{status}, 0, 'scepclient does not enrol');
ok(wait_for(sub { slurp($s->dir . '/logs/access.log') =~ /POST .*PKIOperation/ }, slow(5)), 'it sent its request')
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
