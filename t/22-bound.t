# A challenge that is bound to a name when it is minted: a POST of JSON on the challenge page.
# scep.md S-04, CERT VU#971035.
use SCEPTest;
use JSON::PP ();
use POSIX ();

my $admin = '/certsrv/mscep_admin/';
my $s     = SCEPTest->ready(
    SCEPTest::hosts(
        bound  => "SCEPTemplate SignatureTemplate WiFiClient\n",
        few    => "SCEPPasswordMax 1\n",
        often  => "SCEPMintMax 2\n",
        single => "SCEPUseSinglePassword on\n",
        shut   => "SCEPTemplate All Alice\n"));
my $conf = slurp($s->ca_conf) =~ s/^(templates\s*=.*)/$1, Alice/mr;
spew($s->ca_conf, "$conf\n[template Alice]\ndays = 30\nkey_usage = digitalSignature, keyEncipherment\n"
        . "extended_key_usage = clientAuth\nenroll = alice\n");
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
my %at = (at => $s->place('bound'));

$s->expect_log('SCEP0028: NDES-31 BAD_SUBJECT: the challenge is bound to',
    'SCEP0026: NDES-29 CHALLENGE', 'AH01617: user admin: authentication failure',
    'SCEP0072: no challenge for a page that was fetched ahead',
    'SCEP0073: no challenge .* SCEPPasswordMax', 'SCEP0074: NDES-6 no challenge for user admin', 'SCEP0078: no challenge .* SCEPMintMax',
    'SCEP0079: no challenge for user admin, who asked for one to be bound: ');

sub minted { return scalar $s->query('SELECT 1 FROM scep_challenge') }

# POST a body (a reference is written as JSON). Options: those of http(), and name of the host.
sub post {
    my ($body, %o) = @_;
    my $place = $s->place(delete $o{name} // 'bound');
    return $s->http('POST', $admin, user => $s->credentials, type => 'application/json', %$place,
        body => ref $body ? JSON::PP::encode_json($body) : $body, %o);
}

my @passwords;

sub bound {
    my ($body, %o) = @_;
    my $answer = post($body, %o);
    my $said = eval { JSON::PP::decode_json($answer->{body}) } // {};
    die "no challenge: $answer->{status} $answer->{body}\n" if !defined $said->{password};
    push @passwords, $said->{password};
    return $said->{password};
}

my $key = $s->work('key.pem');
run(['openssl', 'genrsa', '-out', $key, '2048']);

sub enrol {
    my ($challenge, %o) = @_;
    return $s->enrol(key => $key, challenge => $challenge, %at, %o);
}

# A digest of the root.
sub thumbprint {
    my ($digest) = @_;
    my $printed = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-fingerprint', "-$digest"]);
    return uc(($printed->{output} =~ /=(.*)/)[0]) =~ tr/://dr;
}

# ---- the answer

my $device = { subject => 'CN=a,O=b', names => ['DNS:A.example', 'email:a@b.example'] };
my $begin  = time;
my $answer = post($device);
is($answer->{status}, 200, 'a POST of JSON is answered');
is($answer->{header}{'content-type'}, 'application/json', 'as JSON');
like($answer->{header}{'cache-control'} // '', qr/no-store/, 'that is not to be stored');
my $said = JSON::PP::decode_json($answer->{body});
is_deeply([sort keys %$said], [qw(expires password thumbprints url)], 'with four members');
like($said->{password}, qr/^[0-9A-F]{16}$/, 'a challenge like any other');
push @passwords, $said->{password};
my ($ends) = grep { $said->{expires} eq POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_) }
    map { $begin + 3600 + $_ } 0 .. 60;
ok($ends, 'when it expires') or diag($said->{expires});
like($said->{url}, qr{^http://bound\.test(?::$at{at}{port})?/certsrv/mscep/mscep\.dll$}, 'and where it is good');
is($s->get($said->{url} =~ s{^http://[^/]+}{}r . '?operation=GetCACaps', %{ $at{at} })->{status}, 200,
    'an address that answers');

is_deeply($said->{thumbprints}, { map { $_ => thumbprint($_) } qw(md5 sha1 sha256) },
    'Q-74: and three digests of the root, each as one run of digits');

# ---- the same for whoever accepts JSON

# POST of a form or GET, with this Accept.
sub accepting {
    my ($accept, %o) = @_;
    my $place = $s->place(delete $o{name} // 'bound');
    return $s->http($o{method} // 'GET', $admin, user => $s->credentials, %$place,
        headers => [defined $accept ? map { "Accept: $_" } ref $accept ? @$accept : $accept : ()], %o);
}

my %form = (method => 'POST', type => 'application/x-www-form-urlencoded', body => 'operation=GetCACaps');
for my $accept ('application/json', 'APPLICATION/JSON', 'application/json, text/plain, */*', 'text/html, application/json;q=0.001',
    'application/json;version="1;q=0;"', 'application/json;version="\\";q=0;"', 'application/json ; q=1.000', ['text/html', 'application/json'])
{
    my $shown = ref $accept ? join ' and ', @$accept : $accept;
    for my $way ([], [%form]) {
        my $got = accepting($accept, @$way);
        is($got->{header}{'content-type'}, 'application/json', "Accept: $shown: JSON") or diag($got->{head});
        like($got->{header}{'cache-control'} // '', qr/no-store/, 'that is not to be stored');
        my $read = eval { JSON::PP::decode_json($got->{body}) } // {};
        like($read->{password} // '', qr/^[0-9A-F]{16}$/, 'with a challenge');
        is_deeply([$read->{thumbprints}, $read->{url}], [$said->{thumbprints}, $said->{url}], 'and all the rest');
        push @passwords, $read->{password} // ();
    }
}
issued(enrol($passwords[-1], subject => 'CN=anything'), 'a challenge that is good for any name');
for my $accept (undef, '*/*', 'application/*', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'application/json;q=0', 'application/json;q=0.000, */*', 'application/json;x="a;b";q=0', 'application/jsonp', 'application/json-seq', '')
{
    my $got = accepting($accept);
    like($s->decode_page($got->{body}), qr/password is: <B> [0-9A-F]{16} /, 'Accept: ' . ($accept // 'none') . ': the page')
        or diag($got->{head});
}
is(accepting('application/json', method => 'HEAD')->{header}{'content-type'}, 'application/json', 'HEAD tells the type');
like(accepting('application/json', host => 'a.example:8443')->{body}, qr{"http://a\.example:8443/certsrv/mscep/mscep\.dll"},
    'the address is under the name that was asked for');
for my $way ([], [method => 'POST', type => 'application/json', body => '{}']) {
    my ($one, $two) = map { JSON::PP::decode_json(accepting('application/json', name => 'single', @$way)->{body}) } 1, 2;
    is($one->{password}, $two->{password}, 'the single password is always the same');
    ok(exists $one->{expires} && !defined $one->{expires}, 'and never expires');
    push @passwords, $one->{password};
}

# ---- what it is good for

issued(enrol($said->{password}, subject => 'O=b,CN=a', san => 'DNS:a.example'),
    'S-04: the device that was named gets its certificate, with fewer names too');
for my $case (
    ['another CN',     subject => 'O=b,CN=b'],
    ['an extra SAN',   subject => 'O=b,CN=a', san => 'DNS:a.example,DNS:c.example'],
    ['a longer subject', subject => 'O=b,OU=c,CN=a'])
{
    my ($name, %asks) = @$case;
    my $challenge = bound($device);
    failed(enrol($challenge, %asks), 2, "S-04: $name is refused", qr/^(?:0x80094001: )?subject name not acceptable/);
    failed(enrol($challenge, %asks), 2, "S-04, S-23: $name: the same request again is refused",
        qr/challenge password not valid/);
    failed(enrol($challenge, subject => 'O=b,CN=a'), 2, "S-04: $name: the challenge is used up",
        qr/challenge password not valid/);
}
failed(enrol(bound({ template => 'WiFiClient' }), subject => 'CN=a'), 2, 'S-04: another template is refused');
issued(enrol(bound({ template => 'WiFiClient' }), subject => 'CN=a', key_usage => 'digitalSignature'),
    'S-04: the template that was named is given');
issued(enrol(bound({}, type => 'application/json; charset=utf-8'), subject => 'CN=free', san => 'DNS:free'),
    'an empty object binds to nothing');
issued(enrol(bound('{"subject": "CN=Ger\u00e4t"}', type => 'Application/JSON'), subject => "CN=Ger\xc3\xa4t"),
    'a name outside ASCII can be bound');

# ---- what is refused, and mints nothing

my $before = minted();
for my $case (
    ['no JSON',              'subject=CN=a',             qr/^the body is no JSON: line 1/],
    ['nothing',              '',                         qr/^the body is no JSON/],
    ['a list',               '[]',                       qr/^the body is no JSON object/],
    ['two documents',        '{}{}',                     qr/^the body is no JSON/],
    ['a member twice',       '{"subject":"CN=a","subject":"CN=b"}', qr/^the body is no JSON/],
    ['an unknown member',    { subjekt => 'CN=a' },      qr/unknown member/],
    ['a number as subject',  { subject => 1 },           qr/^subject is no text/],
    ['null as subject',      { subject => undef },       qr/^subject is no text/],
    ['an empty subject',     { subject => '' },          qr/^subject is no text, or an empty one/],
    ['NUL in a subject',     '{"subject":"CN=a\u0000b"}', qr/^the body is no JSON/],
    ['one name, no list',    { names => 'DNS:a' },       qr/^names is no list/],
    ['no name in the list',  { names => [] },            qr/^names is no list/],
    ['a list in the list',   { names => [['DNS:a']] },   qr/^names is no list/],
    ['65 names',             { names => [('DNS:a') x 65] }, qr/^names is no list of 1 to 64/],
    ['a list as template',   { template => [] },         qr/^template is no text/],
    ['a subject that is none', { subject => 'a' },       qr/^the subject cannot be read/],
    ['a name of no kind',    { names => ['a.example'] }, qr/^name 1 cannot be read/],
    ['a template of nobody', { template => 'Nobody' },   qr/no template "Nobody"/],
    ['8193 bytes',           '{}' . ' ' x 8191,          qr/^the body has over 8192 bytes/],
    ['many bytes',           '{}' . ' ' x 100_000,       qr/^the body has over 8192 bytes/],
    ['deep lists',           '[' x 4000,                 qr/^the body is no JSON/])
{
    my ($name, $body, $says) = @$case;
    my $got = post($body);
    is($got->{status}, 400, "$name is refused") or diag($got->{head});
    my $error = (eval { JSON::PP::decode_json($got->{body}) } // {})->{error};
    like($error // '', $says, "$name: the answer says why");
    unlike($got->{body}, qr/error:|[0-9A-F]{16}/, "$name: in one plain sentence");
    like($got->{header}{'cache-control'} // '', qr/no-store/, "$name: not to be stored");
}
my $chunks = $s->raw($s->request_text('POST', $admin, user => $s->credentials, type => 'application/json',
        host => 'bound.test', headers => ['Transfer-Encoding: chunked'])
        . join('', ("1000\r\n" . ' ' x 4096 . "\r\n") x 3) . "0\r\n\r\n", %{ $at{at} });
is($chunks->{status}, 400, 'over 8192 bytes in chunks are refused');
is(minted(), $before, 'and nothing of that minted');
is(post('{}' . ' ' x 8190)->{status}, 200, '8192 bytes are taken');
is(post({ names => [('DNS:a') x 64] })->{status}, 200, '64 names are taken');

# ---- the guards of the page

$before = minted();
is(post($device, user => undef)->{status}, 401, 'without credentials there is none');
is(post($device, user => 'admin:wrong')->{status}, 401, 'nor with wrong ones');
is(post($device, headers => ['Sec-Fetch-Site: cross-site'])->{status}, 403, 'nor for another site');
is($s->http('HEAD', $admin, user => $s->credentials, type => 'application/json', %{ $at{at} })->{body}, '',
    'HEAD mints nothing');
is(minted(), $before, 'nothing of that minted');
for my $type ('text/plain', 'application/jsonp', 'application/x-www-form-urlencoded') {
    like($s->decode_page(post($device, type => $type)->{body}), qr/password is: <B> [0-9A-F]{16} /,
        "$type is answered with the page");
}

# ---- the limits

is(post($device, name => 'few')->{status}, 200, 'the first of SCEPPasswordMax');
my $full = post($device, name => 'few');
is($full->{status}, 409, 'no place: 409');
like(JSON::PP::decode_json($full->{body})->{error}, qr/SCEPPasswordMax/, 'with the reason');
post($device, name => 'often') for 1 .. 2;
$full = accepting('application/json', name => 'few');
is($full->{status}, 409, 'and 409 for whoever accepts JSON');
like(JSON::PP::decode_json($full->{body})->{error}, qr/SCEPPasswordMax/, 'with the reason');
for my $way ([], [method => 'POST', type => 'application/json', body => '{}']) {
    my $shut = accepting('application/json', name => 'shut', @$way);
    is($shut->{status}, 403, 'not permitted: 403');
    is_deeply(JSON::PP::decode_json($shut->{body}), { error => 'this user may not enroll' }, 'with the reason');
}
my $often = post($device, name => 'often');
is($often->{status}, 429, 'too often: 429');
like($often->{header}{'retry-after'} // '', qr/^[1-9]\d*$/, 'with Retry-After');
like(JSON::PP::decode_json($often->{body})->{error}, qr/^too many challenges/, 'and the reason');

is_deeply([$s->files_with(@passwords)], [], 'S-28: no challenge can be read in any file');
ok(!(grep { /CN=a/ && !/SCEP02|SCEP0028/ } $s->log_lines), 'the body is not logged as it came');

$s->finish;
done_testing();
