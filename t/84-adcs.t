# The connector adcs: devices enrol through httpd at a CA of Active Directory. Kerberos, endpoint
# mapper and RPC are a real Samba domain controller's, the CA is t/ad/ca.pl inside of it.
use SCEPTest;
use IO::Socket::INET;
use SCEPRelay;
use SCEPSamba;
use SCEPStrongSwan;
use Time::HiRes qw(time sleep);

SCEPSamba::enter();
SCEPSamba::unable('the connector adcs was not built') if !-x "$ENV{builddir}/t/tool/icpr-call";
need_program('sqlite3');
SCEPStrongSwan::need();

my $ad = SCEPSamba->up(accounts => [qw(ndes outsider)]);
{
    my %environment = $ad->environment;
    @ENV{ keys %environment } = values %environment;
}

sub must {
    my ($command, %o) = @_;
    my $ran = run($command, timeout => slow(60), %o);
    BAIL_OUT("@$command: $ran->{output}") if $ran->{status} != 0;
    return $ran->{output};
}

# ---- the server

my @names = qw(spnego kerberos pending signed nobody nowhere denied via silent);
my $s = SCEPTest->ready(
    SCEPTest::hosts((map { $_ => "SCEPAuthority $_\nSCEPTemplate All $_\n" } @names), plain => ''),
    server => "SCEPCATimeout 10\n");
my $dir = $s->dir;
my $ca_pem = $ad->ca . '/ca.pem';

# A file for scep-ca's user alone.
sub for_ca {
    my ($name, $text) = @_;
    spew("$dir/$name", $text, 0400);
    chown((getpwnam SCEPServer::ca_user())[2, 3], "$dir/$name");
    return "$dir/$name";
}

sub by_ca {
    my ($name, $extensions) = @_;
    spew("$dir/$name.ext", $extensions);
    must(['openssl', 'req', '-new', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$name", '-keyout', "$dir/$name.key", '-out',
        "$dir/$name.csr"]);
    must(['openssl', 'x509', '-req', '-in', "$dir/$name.csr", '-CA', $ca_pem, '-CAkey', $ad->ca . '/ca.key', '-days', '300',
        '-set_serial', '0x' . SCEPServer::random_hex(8), '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem"]);
    return;
}
by_ca('file-sign',    "keyUsage=critical,digitalSignature\n");
by_ca('file-decrypt', "keyUsage=critical,keyEncipherment\n");
by_ca('agent',        "keyUsage=critical,digitalSignature\nextendedKeyUsage=1.3.6.1.4.1.311.20.2.1\n");
my $files = join '', map { "ra_${_}_cert = $dir/file-$_.pem\nra_${_}_key = file:$dir/file-$_.key\n" } qw(sign decrypt);
my %keytab = map { $_ => for_ca("$_.keytab", slurp($ad->keytab($_))) } qw(ndes outsider);
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128) or die "no socket: $!\n";

# Each answer that comes after a new request is held back where the file `hold` says so: the number
# of the last request before it. Answers are changed where `mutate` is there.
my ($hold, $mutate) = ("$dir/hold", "$dir/mutate");
my $port = must(["$ENV{builddir}/t/tool/icpr-call", '--host', SCEPSamba::HOST, '--authority', SCEPSamba::CA_NAME, '--principal',
    'ndes@' . SCEPSamba::REALM, '--keytab', $ad->keytab('ndes'), '--deadline', slow(20) * 1000, '--request', first_request(),
    '--template', 'Device']) =~ /^port=(\d+)$/m ? $1 : BAIL_OUT('no port');
srand($ENV{SCEP_TEST_SEED} // 84);

# So that the CA has issued before, as any has.
sub first_request {
    must(['openssl', 'req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', "$dir/first.key", '-subj', '/CN=first', '-outform',
        'DER', '-out', "$dir/first.csr"]);
    return "$dir/first.csr";
}
my $relay = SCEPRelay->start(
    to     => $port,
    record => "$dir/relay",
    change => sub {
        my ($pdu) = @_;
        return $pdu if ord(substr $pdu, 2, 1) != 2;
        if (-e $hold && $ad->last_request > slurp($hold)) {
            spew("$dir/answered", '');
            my $until = time + slow(20);
            sleep 0.02 while -e $hold && time < $until;
        }
        return $pdu if !-e $mutate;
        my $kind = rand;
        return substr $pdu, 0, int rand length $pdu if $kind < 0.1;
        return undef if $kind < 0.3;
        return $pdu if $kind > 0.7;
        substr($pdu, int rand length $pdu, 1) ^= chr 1 << int rand 8;
        return $pdu;
    });

sub authority {
    my ($name, %o) = @_;
    my $account = $o{account} // 'ndes';
    spew($s->ca_conf, slurp($s->ca_conf) . "\n[authority $name]\nconnector = adcs\nca_cert = $ca_pem\nserver = " . SCEPSamba::HOST
        . "\nca_name = " . SCEPSamba::CA_NAME . "\nprincipal = $account\@" . SCEPSamba::REALM . "\nkeytab = file:$keytab{$account}\n"
        . "templates = $name\nforeign_crl = none\npoll = 1\n" . ($o{lines} // $files)
        . "[template $name]\nca_template = $o{template}\n");
    return;
}
authority('spnego',   template => 'Device', lines => "timeout = 20\n");
authority('kerberos', template => 'Geräte', lines => "mechanism = kerberos\nra_subject = CN=RA of the test\\\\, second, O=Example\n");
authority('pending',  template => 'Pending');
authority('signed',   template => 'Signed', lines => "${files}agent_cert = $dir/agent.pem\nagent_key = file:$dir/agent.key\n");
authority('nobody',   template => 'Device', account => 'outsider');
authority('nowhere',  template => 'Nowhere');
authority('denied',   template => 'Denied');
authority('via',      template => 'Device', lines => "${files}timeout = 2\nport = " . $relay->port . "\n");
authority('silent',   template => 'Device', lines => "${files}timeout = 2\nconcurrency = 2\nport = " . $silent->sockport . "\n");
spew($ad->ca . '/outsiders', "outsider\n");

# ---- what stops the start

chmod 0444, $keytab{ndes};
my $test = $s->configtest;
isnt($test->{status}, 0, 'a keytab that everybody can read stops the start');
like($test->{output}, qr/keytab .*everybody: chmod 0400/, '… with a sentence');
chmod 0400, $keytab{ndes};
{
    my $before = $ad->last_request;
    $test = $s->configtest;
    is($test->{status}, 0, 'without that it does not') or diag($test->{output});
    is($ad->last_request, $before, '… and a check of the configuration asks the CA for no RA yet');
}
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}

# ---- tools

# What the CA has of a subject: the numbers of its requests.
sub requests_of {
    my ($cn) = @_;
    return grep { index($ad->request_file($_, 'request'), $cn) >= 0 } 1 .. $ad->last_request;
}

# Of these, those with a certificate.
sub issued_of { return grep { $ad->request_file($_, 'disposition') eq '3' } requests_of(@_) }

sub enrol { my ($name, $cn, %o) = @_; return $s->enrol(at => $s->place($name), subject => "CN=$cn", %o) }

# Ask again until it is something else than PENDING.
sub decided {
    my ($reply, $name, $seconds) = @_;
    wait_for(sub { ($reply->{pki_status} // '3') ne '3' || ($reply = $s->again($reply, at => $s->place($name)), 0) }, slow($seconds));
    return $reply;
}

# ---- RAs from the CA's templates

sub ra_of {
    my ($name) = @_;
    my $file = $s->ca_ra(%{ $s->place($name) });
    return must(['openssl', 'pkcs7', '-inform', 'DER', '-in', $file, '-print_certs', '-text', '-noout']);
}
{
    my $ra = ra_of('spnego');
    like($ra, qr/CN\s*=\s*spnego-MSCEP-RA/, 'R-160: the RA was enrolled at the CA');
    is(scalar(() = $ra =~ /1\.3\.6\.1\.4\.1\.311\.20\.2\.1|Microsoft Enrol/g) > 0, 1, '… as an enrolment agent');
    my @mine = requests_of('spnego-MSCEP-RA');
    is_deeply([map { $ad->request_file($_, 'attributes') } @mine],
        ["CertificateTemplate:EnrollmentAgentOffline\n", "CertificateTemplate:CEPEncryption\n"], '… by two requests, one for each template');
    like(ra_of('kerberos'), qr/RA of the test.*second/, 'another one has the subject of ca.conf');
    is(scalar(issued_of('second')), 2, '… and its two certificates once');
}

# ---- strongSwan

my $work = $s->work('pki');

sub pki {
    my ($name, $out, @more) = @_;
    my $client = SCEPStrongSwan->new($s, $name);
    BAIL_OUT("pki --scepca: $client->{output}") if $client->{status} != 0;
    return $client->enrolment($out, '--in', SCEPStrongSwan::new_key("$out.key"), '--password', $s->mint(%{ $s->place($name) }),
        @more);
}

sub verifies { return -s $_[0] && run(['openssl', 'verify', '-CAfile', $ca_pem, $_[0]])->{status} == 0 }

for my $case (['spnego', 9], ['kerberos', 16]) {
    my ($name, $type) = @$case;
    my $done = run(pki($name, "$work/$name.pem", '--dn', "C=CH, O=Example, CN=moon-$name", '--san', 'moon.example'), timeout => slow(60));
    is($done->{status}, 0, "$name: pki --scep enrols") or diag($done->{output});
    ok(verifies("$work/$name.pem"), '… its certificate is of that CA');
    my ($id) = requests_of("moon-$name");
    is($ad->request_file($id, 'caller'), "ndes $type 6", '… asked by the account of the keytab, with packet privacy');
    is(scalar(issued_of("moon-$name")), 1, '… once');
}

for my $decision (qw(approved denied)) {
    my $out = "$work/$decision.pem";
    my $pki = spawn(pki('pending', $out, '--dn', "O=Example, CN=$decision", '--interval', '1', '--maxpolltime', '60'),
        output => "$work/$decision.log");
    my ($id) = wait_for(sub { (requests_of($decision))[0] }, slow(20));
    ok($id, "$decision: the request waits at the CA") or diag(slurp("$work/$decision.log"));
    ok(wait_for(sub { scalar grep { /SCEP0240: poll .*verdict=pending/ } $s->log_lines }, slow(20)), 'R-111: pki polls');
    $ad->request_file($id, $decision, '');
    my $status = SCEPRun::wait_child($pki, slow(60)) // 'it did not end';
    is($status ? 1 : 0, $decision eq 'denied' ? 1 : 0, "R-113: its manager has $decision it, and pki hears of it")
        or diag(slurp("$work/$decision.log"));
    is(verifies($out) ? 1 : 0, $decision eq 'denied' ? 0 : 1, '… and so it is');
    is(scalar(requests_of($decision)), 1, '… of one request');
}

# ---- what the CA says

$s->allow_log('SCEP00\d\d: NDES-\d+ ', 'SCEP025\d: ');
my $reply = enrol('signed', 'signed by an agent');
issued(decided($reply, 'signed', 10), 'a template that wants an enrolment agent gets its signature');
$reply = decided(enrol('denied', 'other template'), 'denied', 10);
failed($reply, 2, 'R-113: what the CA denies is a failure');
ok($s->logs('names another template than the configuration \(0x80094802\).*The request names'), '… with its reason, and its words, in the log');

# the account loses its right while a request waits
$reply = enrol('pending', 'right lost');
pending($reply, 'a request waits at the CA');
spew($ad->ca . '/result', 0x80094011);
ok($s->logs('SCEP0253: .*\(0x80094011\)', 20), '… and cannot be asked about, as the account lost its right') or diag($s->log_tail);
pending($s->again($reply, at => $s->place('pending')), '… which denies no device');
unlink $ad->ca . '/result' or die "result: $!\n";

for my $case (['nobody', qr/needs the permissions Read and Enroll \(0x80094012\)/], ['nowhere', qr/does not offer the template.*0x80094800/]) {
    my ($name, $says) = @$case;
    $reply = enrol($name, "at-$name");
    pending($reply, "$name: what an administrator has to mend is no failure of the device's") or diag($s->log_tail);
    ok($s->logs($says), '… and the log says what to do');
}
unlink $ad->ca . '/outsiders' or die "outsiders: $!\n";
issued(decided($reply = enrol('nobody', 'mended'), 'nobody', 90), 'once it is mended, devices enrol');

# ---- an answer that is lost

# A CA that accepts and never answers: nobody else waits.
{
    my @children = map {
        my $request = $s->build(subject => "CN=silent $_", via => $s->place('silent'), challenge => $s->mint(%{ $s->place('silent') }));
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            $s->send_request($request, %{ $s->place('silent') });
            POSIX::_exit(0);
        }
        $pid;
    } 1 .. 6;
    my $longest = 0;
    for my $n (1 .. 5) {
        for my $name (qw(plain spnego)) {
            my %how = (subject => "CN=beside $n", challenge => $s->mint(%{ $s->place($name) }));
            my $request = $s->build(%how, via => $s->place($name));
            my $begin   = time;
            my $answer  = $s->open_reply($request, $s->send_request($request, %{ $s->place($name) }), via => $s->place($name));
            $longest = time - $begin if time - $begin > $longest;
            issued($answer, "beside a CA that says nothing, $name issues");
        }
    }
    cmp_ok($longest, '<', slow(1.5), 'and nobody waits for it');
    waitpid $_, 0 for @children;
}

# kill -9 of scep-ca between the CA's answer and its being recorded.
my $kills = $ENV{SCEP_TEST_KILLS} // 100;
$s->allow_log('SCEP01\d\d: ', 'SCEP02\d\d: ');
my @killed = map {
    my $cn = sprintf 'kill-%03d', $_;
    { cn => $cn, request => scalar $s->build(subject => "CN=$cn", via => $s->place('via'), challenge => $s->mint(%{ $s->place('via') })) };
} 1 .. $kills;

# Until httpd has an answer: while scep-ca is started again it may have none.
sub send_until_answered {
    my ($request) = @_;
    wait_for(sub { $s->send_request($request, %{ $s->place('via') }, timeout => 15)->{status} == 200 }, slow(60));
    return;
}

sub unsettled {
    my @rows = $s->query(q{SELECT id, state, subject, reason FROM scep_request WHERE authority = 'via' AND state NOT IN ('issued')});
    return map { "$_->{id} $_->{state} $_->{subject}: $_->{reason}" } @rows;
}

for my $n (1 .. $kills) {
    my $device = $killed[$n - 1];
    unlink "$dir/answered";
    spew($hold, $ad->last_request);
    my $child = fork // die "fork: $!\n";
    if (!$child) {
        send_until_answered($device->{request});
        POSIX::_exit(0);
    }
    # now and then earlier, at whatever it does then
    $device->{seen} = $n % 5 ? wait_for(sub { -e "$dir/answered" }, slow(60)) : (sleep(rand 0.05), 1);
    kill 'KILL', $s->ca_pids;
    unlink $hold;
    waitpid $child, 0;
    $s->graceful;
    wait_for(sub { my @pids = $s->ca_pids; scalar @pids }, slow(10));
}
is(scalar(grep { !$_->{seen} } @killed), 0, "scep-ca was killed $kills times while it asked") or diag($s->log_tail);
my (@lost, @twice);
for my $device (@killed) {
    my $answer = $s->open_reply($device->{request}, $s->send_request($device->{request}, %{ $s->place('via') }), via => $s->place('via'));
    $answer = decided($answer, 'via', 60);
    my @made = issued_of($device->{cn});
    push @lost, $device->{cn} if !$answer->{serial};
    push @twice, "$device->{cn}: @made" if @made != 1;
}
is_deeply(\@lost,  [], 'R-113: no certificate is lost');
is_deeply(\@twice, [], 'and none was issued twice') or diag($s->log_tail(60));
is_deeply([unsettled()], [], 'all of them are settled');

# ---- a CA that is restored from a backup: it gives numbers a second time

{
    issued(decided(enrol('via', 'before the restore'), 'via', 60), 'a device enrols');
    my $restored = $ad->last_request - 8;
    must(['rm', '-r', map { $ad->ca . "/requests/$_" } $restored + 1 .. $ad->last_request]);
    spew($ad->ca . '/last', $restored);
    issued(decided(enrol('via', 'after the restore'), 'via', 60), 'after the CA was restored, too');
    spew($hold, $ad->last_request);
    $reply = enrol('via', 'lost after the restore');
    pending($reply, 'and an answer that is then lost');
    unlink $hold;
    issued(decided($reply, 'via', 60), '… is found') or diag($s->log_tail(40));
    is(scalar(requests_of('lost after the restore')), 1, '… among the new numbers: it is not asked for once more');
}

# The row that a check of the configuration asks for may be a failure, which is no fault of the CA's.
{
    my $disposition = $ad->request_file(1, 'disposition');
    for my $case ([$disposition, 'issued'], [0x800706ba, 'a failure']) {
        $ad->request_file(1, 'disposition', $case->[0]);
        my $check = $s->ca_check->{output};
        like($check, qr/^authority via,(?: .*\n)+?  reached +yes$/m, "scep-ca check: the CA is reached, and its first request is $case->[1]")
            or diag($check);
        like($check, qr/^authority silent,(?: .*\n)+?  reached +no: /m, '… and one that says nothing is not');
    }
    $ad->request_file(1, 'disposition', $disposition);
}

# ---- answers that are changed on the way

{
    my ($pid) = wait_for(sub { my @pids = $s->ca_pids; @pids == 1 ? $pids[0] : 0 }, slow(20));
    spew($mutate, '');
    my %reply = map { $_ => eval { enrol('via', "mutated-$_") } } map { sprintf '%02d', $_ } 1 .. 15;
    sleep slow(5);
    unlink $mutate;
    my (@wrong, @not);
    for my $n (sort keys %reply) {
        my $answer = decided($reply{$n}, 'via', 60);
        push @not, $n if !$answer->{serial};
        push @wrong, $n if issued_of("mutated-$n") != 1;
    }
    is_deeply(\@not, [], 'with answers that are changed on the way, all devices have a certificate in the end')
        or diag(explain([unsettled()]), $s->log_tail(200));
    is_deeply(\@wrong, [], 'and no two');
    is_deeply([$s->ca_pids], [$pid], 'scep-ca is the same');
}

$relay->stop;
$s->finish;
done_testing();
