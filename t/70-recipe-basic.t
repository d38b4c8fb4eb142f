# conf/recipes/basic.conf: users of a password file, over TLS.
use SCEPTest;
use SCEPRecipe;

need_server('curl');
need_modules('ssl');

my $s = recipes(recipes => ['basic'], define => { SCEP_USERS => '@DIR@/users' });
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('AH01617: user admin: authentication failure', 'AH01618: user nobody not found',
    'SCEP0071: NDES-6 nobody was authenticated');

no_challenge(page($s), 401, 'without credentials there is no challenge');
no_challenge(page($s, user => 'admin:wrong'), 401, 'nor with a wrong password');
no_challenge(page($s, user => "nobody:$s->{password}"), 401, 'nor with a name that is not in the file');
for my $path (qw(/certsrv/mscep_admin /CertSrv/mscep_admin/mscep.dll /certsrv/MSCEP_Admin/)) {
    no_challenge(page($s, path => $path), 401, "$path is guarded");
}
my $plain = $s->get('/certsrv/mscep_admin/', user => $s->credentials);
is($plain->{status}, 403, 'without TLS nobody gets the page');
ok(index($plain->{body}, "\xFF\xFE") < 0, 'nor anything that begins like one');

my $page = page($s, user => $s->credentials);
audited($s, $page, 'admin', '127.0.0.1', 'with the password there is one');
issued($s->enrol(challenge => $page->{challenge}, subject => 'CN=recipe'),
    'a device enrols with it at the address without TLS: both are one endpoint');
failed($s->enrol(challenge => $page->{challenge}, subject => 'CN=again'), 2, 'and only once');
$s->expect_log('SCEP0026: NDES-29');

finish($s);
done_testing();
