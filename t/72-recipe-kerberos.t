# conf/recipes/kerberos.conf: users of a real MIT KDC.
use SCEPTest;
use SCEPRecipe;
use SCEPKerberos;

need_server(qw(curl krb5kdc kdb5_util kadmin.local kinit));
need_modules(qw(ssl auth_gssapi proxy_http remoteip));

my %password = map { $_ => SCEPServer::random_hex(8) } qw(alice mallory);
my $s = recipes(
    recipes => ['kerberos'],
    proxied => 1,
    modules => [qw(authz_groupfile auth_gssapi)],
    define  => { SCEP_KEYTAB => '@DIR@/kerberos/http.keytab', SCEP_GROUPS => '@DIR@/groups' });
my $kdc = SCEPKerberos->start(dir => $s->dir, users => \%password, services => ['HTTP/scep.test']);
spew($s->dir . '/groups', "scep: bob\@SCEP.TEST alice\@SCEP.TEST\n", 0644);
my %environment = $kdc->environment;
@ENV{ keys %environment } = values %environment;
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

# curl with the tickets of a cache.
sub negotiate {
    my ($cache, %o) = @_;
    local $ENV{KRB5CCNAME} = $cache;
    return page($s, %o, curl => ['--negotiate', '-u', ':', @{ $o{curl} // [] }]);
}

my $page = page($s);
no_challenge($page, 401, 'without a ticket there is no challenge');
like($page->{headers}, qr/^WWW-Authenticate: Negotiate\r?$/mi, 'and the answer asks for one');
unlike($page->{headers}, qr/^WWW-Authenticate: (?:Basic|NTLM)/mi, 'and for nothing else');
no_challenge(negotiate('FILE:' . $s->work('none')), 401, 'nor with an empty cache');
no_challenge(page($s, user => "alice:$password{alice}"), 401, 'nor with the password itself');
my $ticket = $kdc->ticket('alice', $password{alice});
audited($s, negotiate($ticket), 'alice@SCEP.TEST', '127.0.0.1', 'with a ticket there is one');
audited($s, negotiate($ticket, port => $s->port(3), curl => ['--interface', '127.0.0.7']),
    'alice@SCEP.TEST', '127.0.0.7', 'through a reverse proxy, too');
no_challenge(negotiate($kdc->ticket('mallory', $password{mallory})), 401, 'a user outside of the group gets none');
ok(!eval { $kdc->ticket('alice', 'wrong') }, 'with a wrong password there is no ticket');
for my $token ('AAAA', 'YIIB') {
    no_challenge(page($s, curl => ['-H', "Authorization: Negotiate $token"]), 401, "the token '$token' gets none");
}
$s->allow_log('AH01631: user mallory\@SCEP.TEST: authorization failure', 'GSS ERROR', 'NO AUTH DATA',
    'AH0180[12]', 'mag_', 'In Negotiate Auth');

$kdc->stop;
finish($s);
done_testing();
