# With curl and openssl: what an administrator can do by hand.
use SCEPTest;

need_program('curl');

my $s    = SCEPTest->up;
my $work = $s->work('curl');
mkdir $work;

sub curl {
    my ($out, @arguments) = @_;
    my $got = run(['curl', '-sS', '--noproxy', '*', '-o', $out, '-w', '%{http_code} %{content_type}', @arguments]);
    return $got->{output};
}

is(curl("$work/ca-ra.p7", $s->url . '?operation=GetCACert'), '200 application/x-x509-ca-ra-cert', 'GetCACert');
spew("$work/curlrc", 'user = "' . $s->credentials . "\"\n", 0600);
is(curl("$work/page", '-K', "$work/curlrc", $s->admin_url), '200 text/html', 'the challenge page');
my $page = run(['iconv', '-f', 'UTF-16', '-t', 'UTF-8', "$work/page"])->{output};
my ($challenge) = $page =~ /challenge password is: <B> ([0-9A-F]{16}) /;
ok($challenge, 'has a challenge') or diag($page);

for my $header ([], ['-H', 'Expect: 100-continue'], ['-H', 'Transfer-Encoding: chunked'], ['-H', 'Content-Type:'])
{
    my $name    = join(' ', @$header) || 'as it is';
    my $request = $s->build(challenge => $challenge // '', subject => "CN=curl");
    my $said    = curl("$work/reply", @$header, '--data-binary', "\@$request->{base}.der",
        $s->url . '?operation=PKIOperation');
    is($said, '200 application/x-pki-message', "Q-07, Q-08, Q-24: posted with curl, $name");
    my $reply = $s->open_reply($request, { body => slurp("$work/reply"), status => 200, header => {} });
    issued($reply, 'a certificate came');
    my $verified = run(['openssl', 'verify', '-CAfile', $s->ca_cert, $reply->{certificate} // '/dev/null']);
    is($verified->{status}, 0, 'openssl verifies it') or diag($verified->{output});
    my $csr  = run(['openssl', 'req', '-inform', 'DER', '-in', "$request->{base}.csr", '-noout', '-pubkey']);
    my $cert = run(['openssl', 'x509', '-in', $reply->{certificate} // '/dev/null', '-noout', '-pubkey']);
    is($cert->{output}, $csr->{output}, 'it is for the key of the request');
    $challenge = $s->mint;
}

$s->finish;
done_testing();
