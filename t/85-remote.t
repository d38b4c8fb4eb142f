# Authorities whose CA is elsewhere, whichever connector asks it: what is recorded before it is asked
# survives a kill -9, what it sends is checked, one that hangs holds up nobody. The CA is a program of
# the connector exec, which does what a file says.
use SCEPTest;
use SCEPAuthority;
use SCEPSupervision qw(one_ca);
use Time::HiRes qw(time);

my $exec_user = is_root() ? (grep { defined getpwnam $_ && $_ ne SCEPServer::ca_user()
        && $_ ne SCEPServer::worker_user() } qw(nobody games man))[0] : undef;
my $s = SCEPTest->ready(
    SCEPTest::hosts(
        plain  => '',
        away   => "SCEPAuthority away\n",
        manual => "SCEPAuthority away\nSCEPApproval enrol\n",
        down   => "SCEPAuthority down\n",
        far    => "SCEPAuthority far\n"),
    server => "SCEPCATimeout 6\n" . (defined $exec_user ? "SCEPExecUser $exec_user\n" : ''));
$s->allow_log('SCEP00\d\d: NDES-\d+ (?:BAD_REQUEST|REFUSED|CHALLENGE|UNAVAILABLE)', 'SCEP010[24]: ', 'SCEP0259: ',
    'SCEP025[15]: \[authority away\]',
    'SCEP0242: NDES-31 ');
my $dir = $s->dir;

# ---- the CA elsewhere: its keys, its program, and what it has done

my $folder = "$dir/elsewhere";
mkdir $folder, 0755 or die "$folder: $!\n";
my %timeout = (away => 3, down => slow(3), far => 30);
for my $name (sort keys %timeout) {
    my $ca = SCEPAuthority::make($s, $name);
    my $conf = slurp($s->ca_conf);
    $conf =~ s{(\[authority $name\]\n)connector = local\n(.*\n)ca_key = .*\n}
              {$1connector = exec\nprogram = $folder/program\narguments = $folder/$name\ntimeout = $timeout{$name}\nconcurrency = 4\npoll = 1\n$2}
        or die "no [authority $name]: $conf\n";
    spew($s->ca_conf, $conf);
    mkdir "$folder/$name" or die "$!\n";
    spew("$folder/$name/ca.$_", slurp("$ca/issuing.$_")) for qw(pem key);
    SCEPAuthority::certificate("$folder/$name/other", '/CN=Another CA', 'ca');
}
# One certificate for each request that it was asked about, however often it is asked: as CAs are to
# whom a cookie belongs. What it is asked for the first time it takes for a new request each time.
spew("$folder/program", <<'END', 0755);
#!/bin/sh
cd "$1" || exit 4
umask 022
mode=$(cat mode)
say() { echo "$1" >> "$2"; }
issue() {
    [ -s "made.$1" ] || {
        openssl x509 -req -in "csr.$1" -CA "${2:-ca}.pem" -CAkey "${2:-ca}.key" -days "${3:-30}" \
            -set_serial "0x1$(openssl rand -hex 9)" > "made.$1.new" 2> /dev/null || exit 4
        mv "made.$1.new" "made.$1" # first: it is killed now and then
        say "$1" issued
    }
    cat "made.$1"
    exit 0
}
case $CERTMONGER_OPERATION in
SUBMIT)
    id=$(openssl rand -hex 6)
    printf '%s\n' "$CERTMONGER_CSR" > "csr.$id"
    say "$id" asked
    case $mode in
    issue) issue "$id" ;;
    other-ca) issue "$id" other ;;
    ended) openssl x509 -req -in "csr.$id" -CA ca.pem -CAkey ca.key -days -1 -set_serial "0x1$(openssl rand -hex 9)" 2> /dev/null; exit 0 ;;
    other-key) cat ../other-key.pem; exit 0 ;;
    no) echo 'not this one'; exit 2 ;;
    down) echo 'nobody answers'; exit 3 ;;
    hang) say "$id" hung; exec sleep 30 ;;
    late) sleep 12; issue "$id" ;;
    *) printf '1\n%s\n' "$id"; exit 5 ;;
    esac ;;
POLL)
    id=$CERTMONGER_CA_COOKIE
    say "$id" polled
    case $mode in
    wait) printf '1\n%s\n' "$id"; exit 5 ;;
    slow) sleep 1; issue "$id" ;;
    no) echo 'not any more'; exit 2 ;;
    *) issue "$id" ;;
    esac ;;
esac
exit 6
END
SCEPAuthority::certificate("$dir/leaf", '/CN=leaf', 'device', "$dir/ca-away/issuing");
spew("$folder/other-key.pem", slurp("$dir/leaf.pem"), 0644);
mode($_, 'issue') for sort keys %timeout;
if (defined $exec_user) {
    my @id = (getpwnam $exec_user)[2, 3];
    for my $path (map { ("$folder/$_", glob "$folder/$_/*") } sort keys %timeout) {
        chown @id, $path or die "$path: $!\n";
    }
}

sub mode {
    my ($name, $mode) = @_;
    spew("$folder/$name/mode.new", "$mode\n", 0644);
    rename "$folder/$name/mode.new", "$folder/$name/mode" or die "$!\n";
    return;
}

# What it noted: ids.
sub noted {
    my ($what, $name) = @_;
    my $file = "$folder/" . ($name // 'away') . "/$what";
    my @ids = -e $file ? split(/\n/, slurp($file)) : ();
    return @ids;
}

my %at = map { $_ => { at => $s->place($_) } } qw(plain away manual down far);
my $number = 0;

sub enrol {
    my ($where, %o) = @_;
    $number++;
    return $s->enrol(%{ $at{$where} }, subject => "CN=remote $number", %o);
}

sub poll { my ($where, $earlier) = @_; return $s->poll($earlier, %{ $at{$where} }) }

# The certificate, when it is there; or whatever came last.
sub polled {
    my ($where, $earlier, $seconds) = @_;
    my $reply;
    wait_for(sub { ($reply = poll($where, $earlier))->{serial} }, slow($seconds // 20));
    return $reply // {};
}

# The row of a reply's request.
sub row {
    my ($reply) = @_;
    my ($found) = grep { $_->{transaction_id} eq $reply->{request}{transaction_id} }
        @{ $s->scepctl_must('requests', '--all', '--json') };
    return $found // {};
}

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

# ---- the straight way

my $first = enrol('away');
issued($first, 'a CA elsewhere issues at once');
is($first->{key_matches}, 1, '… for the key of the request');
is($s->again($first, %{ $at{away} })->{serial}, $first->{serial}, 'R-117: the same request again gets the same certificate');
is(scalar noted('asked'), 1, '… and the CA was asked once');
is(row($first)->{state}, 'issued', '… as its record says');
my $renewed = $s->renew($first, %{ $at{away} });
issued($renewed, 'a renewal goes there, too');

mode('away', 'wait');
my $later = enrol('away');
pending($later, 'R-110: a CA that decides later: PENDING');
is(row($later)->{state}, 'waits', '… its record waits');
pending(poll('away', $later), 'R-110: a CertPoll is PENDING');
ok(wait_for(sub { noted('polled') > 1 }, slow(20)), '… scep-ca asks it again and again');
mode('away', 'issue');
issued(polled('away', $later), 'R-113: until it has issued, and a CertPoll gets the certificate');

mode('away', 'no');
my $no = enrol('away');
failed($no, 2, 'R-113: what the CA denies is badRequest');
failed(poll('away', $no), 2, 'R-113: … for a CertPoll, too');
is_deeply([@{ row($no) }{qw(state reason by)}], ['denied', 'not this one', 'the CA'], '… and its reason is kept');
failed(enrol('away', challenge => $no->{request}{challenge}), 2, 'S-07: its challenge is used up');

mode('away', 'issue');
my $approval = enrol('manual');
my $asked = noted('asked');
pending($approval, 'R-087: SCEPApproval comes first');
is($asked, scalar noted('asked'), '… and the CA has not heard of it');
like($s->approve($approval), qr/certificate \S+ was issued/, '… approve asks it');
issued(poll('manual', $approval), '… and the device has its certificate');

# ---- what is unfit

my %unfit = ('other-ca' => qr/does not chain/, 'ended' => qr/has ended already/, 'other-key' => qr/another key/);
my $count = $s->certificates;
for my $case (sort keys %unfit) {
    $s->expect_log("SCEP0254: .*$unfit{$case}");
    mode('away', $case);
    my $reply = enrol('away');
    pending($reply, "R-089: $case: the device waits");
    my $waits = $s->waiting($reply); # among those that an administrator has to decide
    is($waits->{state}, 'withheld', '… what came is withheld');
    like($waits->{reason}, $unfit{$case}, '… for its reason');
    is($s->certificates, $count, '… and is not in the inventory');
    mode('away', 'issue');
    if ($case eq 'ended') {
        $s->deny($reply, 'a wrong clock');
        failed(poll('away', $reply), 2, '… denied by an administrator');
    } else {
        $s->approve($reply);
        issued(poll('away', $reply), '… approve asks anew');
        $count++;
    }
}

# ---- a CA that hangs

$s->expect_log('SCEP0253: \[authority away\] is asked again .*may have got it', 'SCEP0255: \[authority away\] may have issued');
mode('away', 'hang');
my @hung = map { my $n = $_; scalar $s->build(via => $at{away}{at}, subject => "CN=hung $n", challenge => $s->mint(%{ $at{away}{at} })) } 1 .. 12;
my @local = map { my $n = $_; scalar $s->build(via => $at{plain}{at}, subject => "CN=local $n", challenge => $s->mint(%{ $at{plain}{at} })) } 1 .. 12;
my $child = fork // die "fork: $!\n";
if (!$child) {
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    my @answers = $s->many([map { $s->request_bytes($_, %{ $at{away}{at} }) } @hung], %{ $at{away}{at} }, timeout => 20);
    spew($s->work("hung-$_"), $answers[$_]{body}) for 0 .. $#answers;
    POSIX::_exit(0);
}
ok(wait_for(sub { noted('hung') }, slow(10)), 'a CA that hangs');
my @times;
for my $request (@local) {
    my $begin = time;
    issued($s->open_reply($request, $s->send_request($request, %{ $at{plain}{at} }), via => $at{plain}{at}), '… another authority issues meanwhile');
    push @times, time - $begin;
}
cmp_ok((sort { $a <=> $b } @times)[-1], '<', slow(2), '… at once');
waitpid $child, 0;
for my $n (0 .. $#hung) {
    my $reply = $s->open_reply($hung[$n], { body => slurp($s->work("hung-$n")), status => 200, header => {} }, via => $at{away}{at});
    pending($reply, '… a device that waits for it gets PENDING within its time');
}
cmp_ok(scalar noted('hung'), '<=', 12, '… each was asked once at most');
mode('away', 'issue');

# ---- the breaker

$s->expect_log('SCEP0251: \[authority down\] is left alone', 'SCEP0253: \[authority down\] is asked again .*did not get it');
mode('down', 'down');
my $key = $s->work('down.key'); # five in a row: before scep-ca asks anew for the first of them
SCEPAuthority::openssl('genrsa', '-out', $key, '2048');
my @waits = map { enrol('down', key => $key) } 1 .. 5;
pending($_, 'a CA that is down: PENDING') for @waits;
my $challenge = $s->mint(%{ $at{down}{at} });
my $refused = enrol('down', key => $key, challenge => $challenge);
is($refused->{http}{status}, 503, 'after five in a row: 503 at once');
my $state = $s->scepctl_must('status', '--json');
my %alone = map { $_->{name} => $_->{ca_left_alone} ? 1 : 0 } @{ $state->{authorities} };
is_deeply([$state->{status}, @alone{qw(down default)}], ['degraded', 1, 0], '… and the state says which CA is left alone');
like($s->scepctl_must('status'), qr/^authority down: .*\n.*; the CA failed too often and is left alone/m, '… in words, too');
mode('down', 'issue');
ok($s->logs('SCEP0252: \[authority down\]', 40), 'it is tried again, and answers');
unlike($s->scepctl_must('status'), qr/^authority down: .*\n.*left alone/m, '… which the state tells as well');
issued(enrol('down', challenge => $challenge), '… the challenge that met 503 is good still');
issued(polled('down', $_, 40), '… what waited gets its certificate') for @waits;
is(scalar(@{[ noted('issued', 'down') ]}), 6, '… one each');

# ---- a graceful restart between asking and answering

mode('far', 'late');
my $late = enrol('far');
pending($late, 'a CA that takes its time: PENDING');
my $asking = one_ca($s, '… from');
$s->graceful;
ok(wait_for(sub { grep { $_ != $asking } $s->ca_pids }, slow(20)), '… httpd restarts meanwhile: another one serves');
my ($second) = grep { $_ != $asking } $s->ca_pids;
$s->graceful;
ok(wait_for(sub { grep { $_ != $asking && $_ != $second } $s->ca_pids }, slow(20)), '… httpd restarts once more');
ok(!!(grep { $_ == $asking } $s->ca_pids), '… and it is still being asked');
issued(polled('far', $late, 40), '… and the device gets what the first one asked for');
is(scalar(@{[ noted('asked', 'far') ]}), 1, '… which was once');
ok(wait_for(sub { !grep { $_ == $asking } $s->ca_pids }, slow(20)), '… it has ended then');

# ---- kill -9 between asking and answering

# What hung is lost, and an administrator's; what was not asked yet is asked now.
ok(wait_for(sub { !grep { $_->{state} =~ /^(?:queued|asked)$/ } @{ $s->scepctl_must('requests', '--all', '--json') } }, slow(90)),
    'all that hung have been looked after') or diag(explain([map { $_->{state} } @{ $s->scepctl_must('requests', '--all', '--json') }]));
mode('away', 'wait');
my @killed;
for my $n (1 .. 10) {
    mode('away', 'wait');
    my $reply = enrol('away');
    pending($reply, "kill $n: a request waits at the CA");
    mode('away', 'slow');
    my $polls = noted('polled');
    ok(wait_for(sub { noted('polled') > $polls }, slow(10)), '… and is being asked about');
    my $ca = one_ca($s, '… by');
    kill 'KILL', $ca;
    $s->graceful; # a death in the first seconds is followed by a pause otherwise
    ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && $now[0] != $ca }, slow(20)), '… which was killed: another one serves');
    push @killed, $reply;
}
my $all = [map { polled('away', $_, 60) } @killed];
issued($_, '… and finds what was asked: the device has its certificate') for @$all;
my %serial = map { ($_->{serial} // '') => 1 } @$all;
is(scalar keys %serial, 10, '… each its own');
my %made;
$made{$_}++ for noted('issued');
is_deeply([grep { $made{$_} > 1 } keys %made], [], 'none was issued twice');

mode('away', 'hang');
my $hangs = noted('hung');
my $lost = $s->build(via => $at{away}{at}, subject => 'CN=lost', challenge => $s->mint(%{ $at{away}{at} }));
my $device = fork // die "fork: $!\n";
if (!$device) {
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $s->send_request($lost, %{ $at{away}{at} });
    POSIX::_exit(0);
}
ok(wait_for(sub { noted('hung') > $hangs }, slow(20)), 'a CA is asked for the first time');
my $ca = one_ca($s, '… by');
kill 'KILL', $ca;
waitpid $device, 0;
$s->graceful;
mode('away', 'issue');
ok(wait_for(sub { my ($row) = grep { $_->{subject} eq 'CN=lost' } @{ (eval { $s->scepctl_must('requests', '--json') }) // [] };
        $row && $row->{state} eq 'lost' }, slow(60)), '… which was killed: nobody knows what came of it, and scepctl says so');
is(scalar noted('hung'), $hangs + 1, '… it was not asked again');
my $of_lost = $s->open_reply($lost, $s->send_request($lost, %{ $at{away}{at} }), via => $at{away}{at});
pending($of_lost, '… the same request again waits');
$s->approve($of_lost);
issued(poll('away', $of_lost), '… until an administrator has it asked anew');

$s->finish;
done_testing();
