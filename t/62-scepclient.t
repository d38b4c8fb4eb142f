# micromdm's scepclient 2.1.0 sends single DES: refused, and the log says why; with
# SCEPLegacyAlgorithms it enrols.
use SCEPTest;

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
spew("$ca/ra.ext", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n");
for my $command (
    [qw(openssl req -new -newkey rsa:2048 -nodes -subj /CN=RA -keyout), "$ca/ra.key", '-out', "$ca/ra.csr"],
    [qw(openssl x509 -req -days 30 -in), "$ca/ra.csr", '-CA', "$ca/ca.pem", '-CAkey', "$ca/ca.key", '-extfile',
        "$ca/ra.ext", '-out', "$ca/ra.pem"])
{
    my $made = run($command);
    BAIL_OUT($made->{output}) if $made->{status} != 0;
}
chmod 0600, "$ca/ra.key";
(my $conf = slurp($s->ca_conf)) =~ s/\bra-(?:sign|decrypt)\.(pem|key)/ra.$1/g;
spew($s->ca_conf, $conf);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('SCEP0041: SCEPLegacyAlgorithms is on for legacy');
my $work = $s->work('scepclient');
mkdir $work;
my $challenge = $s->mint;
my $shown = run(['openssl', 'x509', '-in', "$ca/ra.pem", '-noout', '-fingerprint', '-sha256']);
(my $fingerprint = ($shown->{output} =~ /=(\S+)/)[0]) =~ tr/://d;
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
