# conf/recipes/ntlm.conf: gss-ntlmssp with a file of users.
use SCEPTest;
use SCEPRecipe;

need_server('curl');
need_modules(qw(ssl lua auth_gssapi));
need_ntlm();

my %password = map { $_ => SCEPServer::random_hex(8) } qw(alice mallory);
my $s = recipes(
    recipes => ['ntlm'],
    lua     => ['ntlm-version'],
    modules => [qw(authz_groupfile lua auth_gssapi)],
    define  => { SCEP_ADMIN_NET => '127.0.0.0/8', SCEP_GROUPS => '@DIR@/groups' });
spew($s->dir . '/groups', "scep: EXAMPLE\\bob EXAMPLE\\alice\n", 0644);
write_ntlm_users($s->dir, %password);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

sub ntlm { return page($s, user => $_[0], curl => ['--ntlm']) }

my $page = page($s);
no_challenge($page, 401, 'without credentials there is no challenge');
like($page->{headers}, qr/^WWW-Authenticate: NTLM\r?$/mi, 'and the answer offers NTLM');
no_challenge(page($s, user => "EXAMPLE\\alice:$password{alice}"), 401, 'nor with the password by Basic');
audited($s, ntlm("EXAMPLE\\alice:$password{alice}"), 'EXAMPLE\alice', '127.0.0.1', 'with NTLM there is one');
no_challenge(ntlm('EXAMPLE\alice:wrong'), 401, 'not with a wrong password');
no_challenge(ntlm("EXAMPLE\\nobody:$password{alice}"), 401, 'not for a user who is not in the file');
no_challenge(ntlm("EXAMPLE\\mallory:$password{mallory}"), 401, 'not for a user outside of the group');
$s->allow_log('AH01631: user ', 'GSS ERROR', 'NO AUTH DATA', 'In Negotiate Auth');

finish($s);
done_testing();
