# conf/recipes/proxy-front.conf and behind-proxy.conf: through a reverse proxy, with the addresses of
# those who ask.
use SCEPTest;
use SCEPRecipe;

need_server('curl');
need_modules(qw(ssl proxy_http remoteip));

my $s = recipes(recipes => ['basic'], proxied => 1, define => { SCEP_USERS => '@DIR@/users' });
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('AH01617: user admin: authentication failure', 'AH01630: client denied by server configuration');

sub through {
    my (%o) = @_;
    return page($s, port => $s->port(3), %o, curl => ['--interface', '127.0.0.7', @{ $o{curl} // [] }]);
}

my @false = ('-H', 'X-Forwarded-For: 203.0.113.5');
my @login = (user => $s->credentials);

no_challenge(through(), 401, 'through the proxy: without credentials there is no challenge');
no_challenge(through(user => 'admin:wrong'), 401, 'nor with a wrong password');
my $page = through(@login);
audited($s, $page, 'admin', '127.0.0.7', 'with the password there is one');
audited($s, through(@login, curl => \@false), 'admin', '127.0.0.7',
    'what a client says of its address is not passed on');
audited($s, page($s, @login, curl => ['--interface', '127.0.0.8', @false]),
    'admin', '127.0.0.8', 'who is not the proxy is not believed');
audited($s, page($s, @login, curl => ['--interface', '127.0.0.1', @false]), 'admin', '203.0.113.5', 'the proxy is');

for my $path (qw(/certsrv/mscep_admin /CertSrv/MSCEP_Admin/ /certsrv/mscep_admin/mscep.dll /certsrv//mscep_admin/)) {
    my $plain = $s->get($path, port => $s->port(2), user => $s->credentials);
    is($plain->{status}, 403, "the proxy does not pass $path on without TLS");
    ok(index($plain->{body}, "\xFF\xFE") < 0, 'and there is no page');
}
my $at = { port => $s->port(2) };
issued($s->enrol(at => $at, challenge => $page->{challenge}, subject => 'CN=recipe'),
    'a device enrols through the proxy');
$page = through(@login);
issued($s->enrol(at => $at, challenge => $page->{challenge}, subject => 'CN=by-get', send => { method => 'GET' }),
    'and by GET, in one long line');

# A device that knows https, with an address of its own.
my ($port, $reply) = ($s->port(3), $s->work('reply'));
my $request = $s->build(challenge => through(@login)->{challenge}, subject => 'CN=far');
my $sent = run(['curl', '-sS', '--noproxy', '*', '--interface', '127.0.0.7', '--cacert', $s->dir . '/tls-ca.pem',
        '--resolve', "scep.test:$port:127.0.0.1", '-o', $reply, '--data-binary', "\@$request->{base}.der", '-H',
        'Content-Type: application/x-pki-message',
        "https://scep.test:$port/certsrv/mscep/mscep.dll?operation=PKIOperation"]);
is($sent->{status}, 0, 'a request by https is answered') or diag($sent->{output});
issued($s->open_reply($request, { body => slurp($reply), status => 200, header => {} }), 'with a certificate');
ok($s->logs('SCEP0240: enrol .*subject="CN=far".* from="127\.0\.0\.7"'), "and the audit line has the device's address");

finish($s);
done_testing();
