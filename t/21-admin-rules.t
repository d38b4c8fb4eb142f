# Rules around the challenge page that would let in somebody whom nobody authenticated for it.
use SCEPTest;
use Digest::SHA qw(sha1_base64);

my $admin = '/certsrv/mscep_admin/';
my $s     = SCEPTest->ready(
    ports   => 3,
    modules => [qw(dir rewrite)],
    hosts   => <<'END' . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n");
<VirtualHost 127.0.0.1:@PORT@>
ServerName scep.test
SCEPEngine on
<Location "/certsrv/mscep_admin">
AuthType Basic
AuthName "NDES"
AuthUserFile "@DIR@/users"
Require valid-user
ErrorDocument 401 /certsrv/mscep_admin/
</Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
ServerName theirs.test
SCEPEngine on
SCEPEndpoint scep.test
<Directory "@DIR@/htdocs">
AllowOverride None
Require all granted
</Directory>
<Directory "@DIR@/htdocs/theirs">
AllowOverride All
</Directory>
<Location "/ask">
SetHandler scep-admin
AuthType Basic
AuthName "NDES"
AuthUserFile "@DIR@/users"
Require valid-user
</Location>
<Location "/theirs/index">
AuthType Basic
AuthName "NDES"
AuthUserFile "@DIR@/users"
Require valid-user
DirectoryIndex inside/page
</Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
ServerName rewritten.test
SCEPEngine on
SCEPEndpoint scep.test
RewriteEngine on
RewriteRule "^/certsrv/mscep_admin/?$" "-" [F]
RewriteRule "^/short$" "/CertSrv/MSCEP/mscep.dll" [PT]
END
$s->expect_log('AH01617: user admin: authentication failure', 'AH01618: user nobody not found',
    'SCEP0076: NDES-6 no challenge .* redirected', 'SCEP0077: NDES-6 no challenge .*AllowOverride None');

# What the author of a folder writes.
my $dir = $s->dir;
mkdir "$dir/htdocs/$_" or die "$dir/htdocs/$_: $!\n"
    for qw(theirs theirs/page theirs/index theirs/index/inside);
my $own = "AuthType Basic\nAuthName \"own\"\nAuthUserFile \"$dir/htdocs/theirs/users\"\nRequire valid-user\n";
spew("$dir/htdocs/theirs/users", 'author:{SHA}' . sha1_base64('own') . "=\n", 0644);
spew("$dir/htdocs/theirs/index/inside/page", "a page\n", 0644);
spew("$dir/htdocs/theirs/page/.htaccess", "SetHandler scep-admin\n$own", 0644);
spew("$dir/htdocs/theirs/index/inside/.htaccess", "SetHandler scep-admin\n", 0644);

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

sub minted { return scalar $s->query('SELECT 1 FROM scep_challenge') }

# ---- an error page that is the challenge page

like($s->mint, qr/^[0-9A-F]{16}$/, 'the right password gets a challenge');
for my $case (['a wrong password', 'admin:wrong'], ['an unknown user', 'nobody:x'], ['no user', undef]) {
    my ($name, $user) = @$case;
    my $got = $s->get($admin, defined $user ? (user => $user) : ());
    is($got->{status}, 401, "$name is refused where ErrorDocument 401 is the challenge page");
    unlike($got->{body}, qr/[0-9A-F]{16}|p\0a\0s\0s\0w\0o\0r\0d/, 'without a challenge');
}

# ---- a .htaccess

my %theirs = (port => $s->port(1), host => 'theirs.test');
for my $case (
    ['a page of its own',                   '/theirs/page/',  'author:own'],
    ['a page behind the index of a folder', '/theirs/index/', $s->credentials])
{
    my ($name, $path, $user) = @$case;
    my $got = $s->get($path, user => $user, %theirs);
    is($got->{status}, 403, "$name, by a .htaccess, is refused") or diag($got->{head});
    unlike($got->{body}, qr/p\0a\0s\0s\0w\0o\0r\0d/, 'without a challenge');
    ok($s->logs(qr/SCEP0077: /), 'the log says why');
}
is(minted(), 1, 'nothing of that minted');
like($s->mint(path => '/ask', %theirs), qr/^[0-9A-F]{16}$/, 'a page of the server configuration works');

# ---- mod_rewrite

my %rewritten = (port => $s->port(2), host => 'rewritten.test');
for my $path (qw(/certsrv/mscep_admin /certsrv/mscep_admin/ /CertSrv/mscep_admin/ /CERTSRV/MSCEP_ADMIN
    /certsrv/mscep_admi%4E/))
{
    is($s->get($path, user => $s->credentials, %rewritten)->{status}, 403, "a rule in lower case holds for $path");
}
like($s->mint(path => '/CertSrv/MSCEP_Admin/mscep.dll', %rewritten), qr/^[0-9A-F]{16}$/,
    'a rule for the folder leaves the longer address alone');
is($s->get('/short?operation=GetCACaps', %rewritten)->{status}, 200, 'a rule may lead to an address in any case');

$s->finish;
done_testing();
