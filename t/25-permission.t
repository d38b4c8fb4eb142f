# Who gets a challenge for which template, the single password, and what scepctl shows and takes back.
use SCEPTest;
use JSON::PP ();

my $s = SCEPTest->ready(
    SCEPTest::hosts(
        shut   => "SCEPTemplate SignatureTemplate WiFiClient\n",
        single => "SCEPUseSinglePassword on\n"));
my %at = map { $_ => $s->place($_) } qw(shut single);

# bob may enrol on one of the two templates of the endpoint, alice on both
my %enroll = (IPSECIntermediateOffline => 'alice, admin', WiFiClient => 'alice, @staff');
my $conf = slurp($s->ca_conf);
$conf =~ s/^(\[\s*template\s+\Q$_\E\s*\]\n)/$1enroll = $enroll{$_}\n/m or die "no template $_\n" for keys %enroll;
spew($s->ca_conf, "$conf\n[group staff]\nmembers = bob\n");
for my $user (qw(alice bob)) {
    my $set = run(['htpasswd', '-i', '-B', $s->dir . '/users', $user], stdin => "secret-$user\n");
    die "htpasswd: $set->{output}\n" if $set->{status} != 0;
}
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('SCEP0074: NDES-6 no challenge for user bob', 'SCEP0026: NDES-29 CHALLENGE',
    'SCEP0028: NDES-31 BAD_SUBJECT: the challenge is bound to template WiFiClient');

my ($key, $other_key) = map { $s->work("key$_.pem") } 1, 2;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $other_key;
my @passwords;

sub page {
    my ($host, $user, %o) = @_;
    return $s->http('GET', '/certsrv/mscep_admin/', user => $user eq 'admin' ? $s->credentials : "$user:secret-$user",
        %{ $at{$host} }, %o);
}

# The password of a page of either kind; undef: it has none.
sub password {
    my ($answer) = @_;
    my ($found) = $s->decode_page($answer->{body}) =~ /password is: <B> ([0-9A-F]{16}) /;
    push @passwords, $found // ();
    return $found;
}

sub enrol {
    my ($host, $challenge, %o) = @_;
    return $s->enrol(key => $key, challenge => $challenge, at => $at{$host}, subject => 'CN=a', %o);
}

sub challenges { return @{ $s->scepctl_must('challenges', '--json', @_) } }

# ---- who may

my $alices = password(page(shut => 'alice'));
ok($alices, 'whom both templates name gets a challenge');
my $no = page(shut => 'bob');
is($no->{status}, 200, 'whom one of them does not name gets 200');
like($s->decode_page($no->{body}), qr/You do not have sufficient permission to enroll with SCEP\./,
    q{with NDES's sentence});
is(password($no), undef, 'and no challenge');
ok(scalar(grep { /SCEP0241: .*verdict=not-permitted reason="template IPSECIntermediateOffline .*user="bob"/ } $s->log_lines),
    'the audit line names the template');

my $answer = $s->http('POST', '/certsrv/mscep_admin/', user => 'bob:secret-bob', type => 'application/json',
    body => '{"template":"WiFiClient"}', %{ $at{shut} });
is($answer->{status}, 200, 'S-04: bound to the template that names bob: 200');
my $bobs = JSON::PP::decode_json($answer->{body})->{password};
push @passwords, $bobs;

my @out = challenges('--endpoint', 'shut.test', '--user', 'bob');
is(scalar @out, 1, 'scepctl challenges shows what bob has');
is_deeply([@{ $out[0] }{qw(endpoint user from templates single)}],
    ['shut.test', 'bob', '127.0.0.1', 'WiFiClient', JSON::PP::false()], 'who asked, from where, for which template');
is((challenges('--user', 'alice'))[0]{templates}, 'WiFiClient, IPSECIntermediateOffline', 'for which templates');
issued(enrol(shut => $bobs, key_usage => 'digitalSignature'), 'S-04: it gives the template that it is bound to');
is(scalar challenges('--user', 'bob'), 0, 'a used one is not out');

# ---- taken back

my ($id) = map { $_->{id} } challenges('--user', 'alice');
like($s->scepctl_must('revoke-challenge', $id), qr/^a challenge of shut\.test, fetched by alice, was revoked/,
    'scepctl revoke-challenge takes one back');
failed(enrol(shut => $alices), 2, 'a revoked challenge is refused', qr/challenge password not valid/);
is($s->scepctl('revoke-challenge', $id)->{status}, 1, 'a second time it is not there');
is($s->scepctl('revoke-challenge')->{status}, 2, 'without an id: usage');
is($s->scepctl('revoke-challenge', '--single')->{status}, 2, 'without an endpoint: usage');

my $printed = $s->scepctl_must('challenge', '--endpoint', 'shut.test');
like($printed, qr/\A[0-9A-F]{16}\n\z/, 'scepctl challenge prints a challenge alone');
chomp $printed;
push @passwords, $printed;
issued(enrol(shut => $printed, subject => 'CN=b'), 'that is good, and asks nobody for permission');
my $one = $s->scepctl_must('challenge', '--endpoint', 'shut.test', '--template', 'WiFiClient', '--json');
push @passwords, $one->{challenge};
like($one->{expires}, qr/^20\d\d-/, 'and in JSON with its end');
failed(enrol(shut => $one->{challenge}, subject => 'CN=c'), 2, 'S-04: bound to a template');
is($s->scepctl('challenge', '--endpoint', 'nobody.test')->{status}, 1, 'none for an endpoint that is not there');

# ---- the single password

my $single = password(page(single => 'alice'))
    // do { diag($s->decode_page(page(single => 'alice')->{body})); '' };
ok($single, 'the page has the single password');
is(password(page(single => 'alice')), $single, 'the same the next time');

sub both {
    my ($name) = @_;
    my @made = map { $s->build(key => $_, challenge => $single, subject => "CN=$name") } $key, $other_key;
    my @answers = $s->many([map { $s->request_bytes($_, at => $at{single}) } @made], %{ $at{single} });
    for my $i (0, 1) {
        issued($s->open_reply($made[$i], $answers[$i]), "$name: two devices at once, number " . ($i + 1));
    }
    return;
}
both('first');

my ($before) = $s->ca_pids;
$s->graceful;
ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && $now[0] != $before }, 60), 'a graceful restart gives another scep-ca');
is(password(page(single => 'alice')), $single, 'the single password survives it');
is_deeply([$s->stop], [], 'httpd stops');
$why = $s->start;
BAIL_OUT("httpd is not up again: $why") if defined $why;
is(password(page(single => 'alice')), $single, 'and a restart');
both('second');

my ($row) = grep { $_->{single} } challenges();
is_deeply([@{$row}{qw(endpoint user expires)}], ['single.test', 'alice', undef], 'scepctl challenges shows it, without an end');
$s->scepctl_must('revoke-challenge', '--single', '--endpoint', 'single.test');
failed(enrol(single => $single), 2, 'revoked it is refused', qr/challenge password not valid/);
my $next = password(page(single => 'alice'));
isnt($next, $single, 'the next visit makes another');
failed(enrol(single => $single, subject => 'CN=d'), 2, 'the old one stays refused', qr/challenge password not valid/);
issued(enrol(single => $next, subject => 'CN=e'), 'the new one is good');

is_deeply([$s->files_with(@passwords)], [], 'S-28: no challenge and no single password can be read in any file');
ok(scalar(grep { /SCEP0249: revoke-challenge .*verdict=revoked .*single=yes .*by="/ } $s->log_lines), 'who took it back is in the log');

$s->finish;
done_testing();
