# The challenge page: what clients read from it, who may see it, and what mints.
# ndes.md 3, scep.md S-28, S-30.
use SCEPTest;
use Encode ();

# A page for each digest.
sub thumbprints {
    return join '', map { SCEPServer::guard("/$_") =~ s{(?=</Location>)}{SetHandler scep-admin\nSCEPThumbprint $_\n}r } @_;
}

my $admin = '/certsrv/mscep_admin/';
my $s     = SCEPTest->up(
    ports  => 4,
    hosts  => <<"END" . SCEPServer::guard('/certsrv/mscep_admin') . thumbprints('sha1', 'sha256') . <<'END2');
<VirtualHost 127.0.0.1:\@PORT\@>
ServerName scep.test
SCEPEngine on
SCEPPasswordMax 1000
SCEPTemplate All IPSECIntermediateOffline
<Location "/ask">
SetHandler scep-admin
AuthType Basic
AuthName "NDES"
AuthUserFile "\@DIR\@/users"
Require valid-user
</Location>
END
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
ServerName few.test
SCEPEngine on
SCEPPasswordMax 2
SCEPPasswordLength 16
SCEPPasswordValidity 90
<Location "/certsrv/mscep_admin">
AuthType Basic
AuthName "NDES"
AuthUserFile "@DIR@/users"
Require valid-user
</Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
ServerName open.test
SCEPEngine on
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT4@>
ServerName named.test
SCEPEngine on
SCEPPasswordVDir "Pki <1>/Admin"
<Location "/pki <1>/admin">
AuthType Basic
AuthName "NDES"
AuthUserFile "@DIR@/users"
Require valid-user
</Location>
</VirtualHost>
END2

$s->expect_log(
    'SCEP0007: method DELETE',
    'AH01617: user admin: authentication failure', 'SCEP0071: NDES-6 nobody was authenticated',
    'SCEP0072: no challenge for a page that was fetched ahead',
    'SCEP0073: no challenge .* SCEPPasswordMax',
    'SCEP0091: an operation of policy modules was asked for by user admin');

# Challenges that this server has given out, by its own counter.
sub minted { return scalar $s->query("SELECT 1 FROM scep_challenge") }

# ---- the page

my $page = $s->admin_page;
is($page->{status}, 200, 'the page is shown to an authenticated user');
is($page->{header}{'content-type'}, 'text/html', 'as text/html without a charset');
like($page->{header}{'cache-control'} // '', qr/no-store/, 'and is not to be stored');
is(substr($page->{body}, 0, 2), "\xFF\xFE", 'it begins with the mark of UTF-16LE');
my $text = $s->decode_page($page->{body});
is(Encode::encode('UTF-16LE', $text), substr($page->{body}, 2), 'and is UTF-16LE to its last byte');
my ($challenge) = $text =~ /The enrollment challenge password is: <B> (\S*) <\/B>/;
like($challenge // '', qr/^[0-9A-F]{16}$/, 'the challenge is 8 bytes in upper-case hex');
my $grouped = grouped('md5');
like($text, qr{<P> The thumbprint \(hash value\) for the CA certificate is: <B> $grouped </B>},
    'R-036, D-15, Q-74: the thumbprint is the MD5 of the root in four groups');
like($text, qr/Network Device Enrollment Service/, 'the heading is there');
like($text, qr{ </B> <P> This password can be used only once and will expire within 60 minutes\.},
    'the minutes are as configured');
like($text, qr/Each enrollment requires a new challenge password\. You can refresh this web page to obtain a new challenge password\./,
    'the page says what to do for the next one');

like($text, qr{<A HREF="http://go\.microsoft\.com/fwlink/\?LinkId=67852">Using Network Device Enrollment Service </A>},
    'and where to read on');

# The CA's digest in groups of eight digits.
sub grouped {
    my ($digest) = @_;
    my $printed = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-fingerprint', "-$digest"]);
    (my $digits = uc(($printed->{output} =~ /=(.*)/)[0])) =~ tr/://d;
    return join ' ', $digits =~ /(.{8})/g;
}

my $sha256 = grouped('sha256');
like($text, qr{password is: <B> .*</B>.*\r\n<P> The SHA-256 [^<]*: <B> $sha256 </B>}s,
    'the SHA-256 of the root stands behind the password');
for my $digest (qw(sha1 sha256)) {
    my $shown = $s->decode_page($s->admin_page(path => "/$digest")->{body});
    my $groups = grouped($digest);
    like($shown, qr{<P> The thumbprint \(hash value\) for the CA certificate is: <B> $groups </B>},
        "SCEPThumbprint $digest shows that one");
}

my $second = $s->mint;
isnt($second, $challenge, 'the next page has another challenge');
like($s->mint(path => '/ask'), qr/^[0-9A-F]{16}$/, 'SetHandler scep-admin is such a page too');

# ---- who may see it: every spelling is under the same rules

my @spellings = (
    qw(/certsrv/mscep_admin /certsrv/mscep_admin/ /certsrv/mscep_admin/mscep.dll
    /CertSrv/mscep_admin /CertSrv/MSCEP_ADMIN /CERTSRV/MSCEP_ADMIN/ /CertSrv/MSCEP_Admin/MSCEP.DLL
    /certsrv//mscep_admin //certsrv/mscep_admin/ /certsrv/mscep%5Fadmin /certsrv/mscep_admi%6E/
    /%63ertsrv/mscep_admin/mscep%2Edll /certsrv/./mscep_admin /certsrv/x/../mscep_admin/
    /certsrv/mscep/../mscep_admin));
for my $spelling (@spellings) {
    my $without = $s->get($spelling);
    is($without->{status}, 401, "$spelling asks for credentials") or diag($without->{head});
    my $with = $s->get($spelling, user => $s->credentials);
    my $shown = $with->{status} == 200 ? $s->decode_page($with->{body}) : '';
    like($shown, qr/challenge password is: <B> [0-9A-F]{16} /, "$spelling is the page with them")
        or diag($with->{head});
}
for my $other (qw(/certsrv/mscep_admin/x /certsrv/mscep_admin;a /certsrv/mscep_admin%00
    /certsrv/mscep_admin%2f /certsrv%2fmscep_admin /certsrv/mscep_admin/mscep.dll/x /certsrv/mscep_admin%20))
{
    my $got = $s->get($other);
    ok($got->{status} >= 400 && $got->{body} !~ /challenge/, "$other without credentials shows nothing")
        or diag($got->{head});
}
is($s->get($admin, user => 'admin:wrong')->{status}, 401, 'a wrong password is refused');

my $open = $s->get($admin, port => $s->port(2), host => 'open.test');
ok($open->{status} >= 400, 'S-30: a page that nobody guards is refused')
    or diag($open->{head});
unlike($open->{body}, qr/[0-9A-F]{16}/, 'without a challenge');
ok($s->logs(qr/SCEP\d{4}:.*Require/), 'and the log names the missing Require');

my %named = (port => $s->port(3), host => 'named.test');
like($s->decode_page($s->get('/certsrv/mscep/', %named)->{body}), qr{"http://named\.test(?::\d+)?(/Pki%20%3c1%3e/Admin)"}i,
    'the information page names a page of another address, escaped');
like($s->mint(path => '/Pki%20%3C1%3E/Admin', %named), qr/^[0-9A-F]{16}$/, 'and there it is');

# ---- what mints

my $before = minted();
my $head = $s->http('HEAD', $admin, user => $s->credentials);
is($head->{status}, 200, 'HEAD answers');
is($head->{body},   '',  'without a body');
for my $headers (
    ['Sec-Fetch-Site: cross-site'], ['Sec-Fetch-Site: same-site'], ['Sec-Fetch-Dest: image'],
    ['Sec-Fetch-Dest: iframe'], ['Sec-Purpose: prefetch'],
    ['Sec-Purpose: prefetch;prerender'], ['Purpose: prefetch'])
{
    my $got = $s->get($admin, user => $s->credentials, headers => $headers);
    unlike($got->{body}, qr/p\0a\0s\0s\0w\0o\0r\0d\0 \0i\0s\0:\0 \0<\0B\0/, "@$headers shows no challenge");
}
is($s->get("$admin?operation=$_", user => $s->credentials)->{status}, 404, "there is no policy module to ask: $_")
    for qw(NDESGenerateChallenge NDESGetCACertThumbprint);
is(minted(), $before, 'and nothing of that mints');
like($s->mint(headers => ["Sec-Fetch-Site: $_"]), qr/^[0-9A-F]{16}$/, "Sec-Fetch-Site: $_ mints")
    for qw(same-origin none);
like($s->mint(method => 'POST', body => 'operation=GetCACaps', type => 'application/x-www-form-urlencoded'),
    qr/^[0-9A-F]{16}$/, 'a form that is posted mints, whatever stands in it');
is(minted(), $before + 3, 'one challenge each');
is($s->http('DELETE', $admin, user => $s->credentials)->{status}, 405, 'DELETE is refused');

# ---- the limits of an endpoint

my %few = (port => $s->port(1), host => 'few.test');
my $long = $s->decode_page($s->admin_page(%few)->{body});
like($long, qr/challenge password is: <B> [0-9A-F]{32} </, 'PasswordLength 16 gives 32 digits');
like($long, qr/expire within 90 minutes\./, 'PasswordValidity is shown');
$s->mint(%few);
my $full = $s->admin_page(%few);
is($full->{status}, 200, 'the page of a full cache is 200');
my $says = $s->decode_page($full->{body});
like($says, qr/<P> The password cache is full\. <P>/, 'it says so in the words of NDES');
unlike($says, qr/[0-9A-F]{16}/, 'it shows no challenge');
like($s->mint, qr/^[0-9A-F]{16}$/, 'another endpoint has its own cache');

# ---- what stays secret

ok(!$s->files_with($challenge, $second), 'S-28, R-161: no challenge can be read in any file')
    or diag(join ' ', $s->files_with($challenge, $second));

$s->finish;
done_testing();
