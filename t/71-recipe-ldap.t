# conf/recipes/ldap.conf: members of a group of a directory, a real slapd, in three spellings.
use SCEPTest;
use SCEPRecipe;
use SCEPDirectory;

need_server(qw(curl slapd slapadd));
need_modules(qw(ssl ldap authnz_ldap lua proxy_http remoteip));

my %password = map { $_ => SCEPServer::random_hex(8) } qw(alice carol mallory);
# A colon and what LDAP filters and base64 make something of.
$password{alice} .= ':(*)\\';
my $s = recipes(
    recipes => ['ldap'],
    lua     => ['ldap-names'],
    proxied => 1,
    modules => [qw(setenvif ldap authnz_ldap lua)],
    define  => {
        SCEP_LDAP_HOST     => '127.0.0.1',
        SCEP_LDAP_PORT     => '@LDAP@',
        SCEP_LDAP_CA       => '@DIR@/tls-ca.pem',
        SCEP_LDAP_BASE     => SCEPDirectory::base(),
        SCEP_LDAP_GROUP    => SCEPDirectory::group(),
        SCEP_LDAP_DOMAIN   => 'EXAMPLE',
        SCEP_LDAP_BIND     => SCEPDirectory::bind_dn(),
        SCEP_LDAP_PASSWORD => '@DIR@/slapd/secret'
    });
my $directory = SCEPDirectory->start(
    dir      => $s->dir,
    users    => \%password,
    members  => [qw(alice carol)],
    nameless => ['carol']);
$s->{hosts} =~ s/\@LDAP\@/$directory->port/e;
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('AH01617: user \S+ authentication failure', 'AH01618: user \S+ not found');
$s->allow_log('AH01631: user \S+ authorization failure', 'AH0169\d', 'AH017\d\d');

no_challenge(page($s), 401, 'without credentials there is no challenge');
for my $name ('alice', 'Alice', 'alice@example.test', 'EXAMPLE\alice', 'example\alice') {
    audited($s, page($s, user => "$name:$password{alice}"), 'alice@example.test', '127.0.0.1', "$name gets one");
    no_challenge(page($s, user => "$name:wrong"), 401, "$name with a wrong password does not");
    no_challenge(page($s, user => "$name:"), 401, "$name without a password does not");
}
for my $name ('OTHER\alice', '\alice', 'EXAMPLE\\', 'EXAMPLE\EXAMPLE\alice', 'alice@other.test', 'EXAMPLE/alice', '*',
    'al*', 'alice)(cn=*')
{
    no_challenge(page($s, user => "$name:$password{alice}"), 401, "$name is nobody");
}
for my $name ('mallory', 'mallory@example.test', 'EXAMPLE\mallory') {
    no_challenge(page($s, user => "$name:$password{mallory}"), 401, "$name is not in the group");
}

no_challenge(page($s, user => "carol:$password{carol}"), 500, 
    'a user of the group without userPrincipalName gets none');
$s->expect_log('AH00027: No authentication done but request not allowed');

my @proxied = (port => $s->port(3), curl => ['--interface', '127.0.0.7']);
audited($s, page($s, @proxied, user => "EXAMPLE\\alice:$password{alice}"),
    'alice@example.test', '127.0.0.7', 'through a reverse proxy there is one, too');

$directory->stop;
$s->allow_log('AH0\d+: .*(?:LDAP|ldap)', 'Can.t contact LDAP server');
$why = page($s, user => "EXAMPLE\\bob:$password{alice}");
no_challenge($why, $why->{status}, "without the directory there is no challenge: $why->{status}");

finish($s);
done_testing();
