# More devices than can be served, or a scep-ca that hangs: who has no place is turned away at once,
# before anything was done for him, and all else is answered. The same under each MPM, however its
# workers are spread over processes.
use SCEPTest;
use SCEPSupervision;
use Time::HiRes qw(time);

my $dll = '/certsrv/mscep/mscep.dll';
my $garbage = "no message\n";
my @children;

# Devices that send the same request and wait, and come again where they were the last to come to a
# process, which waits for a second only; ended by waited_for().
sub devices {
    my ($s, $n, $request) = @_;
    for (1 .. $n) {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
            for (1 .. 100) {
                last if $s->send_request($request, timeout => 60)->{status} != 503;
                Time::HiRes::sleep(0.05);
            }
            POSIX::_exit(0);
        }
        push @children, $pid;
    }
    return;
}

sub waited_for { waitpid $_, 0 for splice @children; return }

sub garbage { my ($s) = @_; return $s->post("$dll?operation=PKIOperation", $garbage, timeout => 30) }

sub is_full { my ($s) = @_; return garbage($s)->{status} == 503 }

sub turned_away {
    my ($s) = @_;
    return JSON::PP::decode_json($s->get('/scep-status?auto', timeout => 30)->{body})->{turned_away};
}

# All places are held by devices that wait for a scep-ca that hangs: for longer than a second, after
# which one that is a process's last to wait is turned away, and comes again.
sub fill {
    my ($s, $places, $request, $name) = @_;
    my $ca = one_ca($s, $name) or return;
    halt($ca);
    devices($s, $places, $request);
    my $since;
    my $full = sub { $since = is_full($s) ? $since // time : undef; return $since && time - $since > 1.5 };
    ok(wait_for($full, slow(20)), "$name: $places requests take all places")
        or diag(scalar(grep { waitpid($_, POSIX::WNOHANG()) == $_ } @children) . ' of them were answered');
    return $ca;
}

# What is told to one that has no place.
sub is_turned_away {
    my ($s, $name, $answer, $took) = @_;
    is($answer->{status}, 503, "$name is turned away");
    like($answer->{header}{'retry-after'} // '', qr/^[1-9]\d*$/, "$name: Retry-After says when to come again");
    isnt($answer->{header}{'content-type'}, 'application/x-pki-message', "$name: nothing is signed");
    cmp_ok($took, '<', slow(2), "$name: soon");
    return;
}

sub timed { my ($what) = @_; my $begin = time; my $answer = $what->(); return ($answer, time - $begin) }

my $places = 6;
for my $case (
    # MPM, settings, what a process has
    ['event',   "StartServers 2\nServerLimit 2\nThreadLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\n"],
    ['worker',  "StartServers 2\nServerLimit 2\nThreadLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\n"],
    ['prefork', "StartServers 8\nServerLimit 8\nMinSpareServers 1\nMaxSpareServers 8\nMaxRequestWorkers 8\n"],
    ) {
    my ($mpm, $text) = @$case;
    my $s = SCEPTest->up(
        mpm    => $mpm,
        server => "SCEPCATimeout 30\nKeepAlive Off\n$text<Location \"/scep-status\">\nSetHandler scep-status\n</Location>\n",
        host   => "SCEPPasswordMax 1000\n");
    $s->expect_log('SCEP0106: NDES-31 UNAVAILABLE: \d+ requests were turned away', 'SCEP0020: ');
    $s->allow_log(qr/SCEP0030: /, qr/AH00(?:052|288|161|159)|AH03490/);
    enrols($s, "$mpm: before");
    my $request = $s->build(subject => 'CN=waits', challenge => $s->mint);
    my $before = turned_away($s);
    is($before, 0, "$mpm: nobody was turned away yet");
    is(garbage($s)->{status}, 200, "$mpm: rubbish is told so while there are places");

    # three quarters of eight workers
    my $ca = fill($s, $places, $request, $mpm) or next;
    is_turned_away($s, "$mpm: a device that comes now", timed(sub { $s->send_request($request, timeout => 30) }));
    is_turned_away($s, "$mpm: by GET", timed(sub { $s->send_request($request, method => 'GET', timeout => 30) }));
    is_turned_away($s, "$mpm: rubbish, which nobody looks at", timed(sub { garbage($s) }));
    is_turned_away($s, "$mpm: one of 10 MB", timed(sub { $s->raw("POST $dll?operation=PKIOperation HTTP/1.1\r\n"
            . "Host: scep.test\r\nContent-Length: 10000000\r\n\r\nonly the begin") }));
    for my $operation (qw(GetCACaps GetCACert)) {
        my ($answer, $took) = timed(sub { $s->get("$dll?operation=$operation", timeout => 30) });
        is($answer->{status}, 200, "$mpm: $operation is answered");
        cmp_ok($took, '<', slow(2), "$mpm: $operation: soon");
    }
    kill 'CONT', $ca;
    waited_for();
    issued($s->open_reply($request, $s->send_request($request)), "$mpm: all is well when scep-ca goes on");
    cmp_ok(turned_away($s), '>=', 4, "$mpm: the status page counts those who were turned away");

    # processes that die take nothing with them
    $ca = fill($s, $places, $request, "$mpm, before its workers are killed") or next;
    my @dead = $s->worker_pids;
    kill 'KILL', @dead;
    waited_for();
    ok(wait_for(sub { garbage($s)->{status} == 200 }, slow(10)), "$mpm: workers are killed: their places are free");
    kill 'CONT', $ca;
    $ca = fill($s, $places, $request, "$mpm, after its workers were killed") or next;
    kill 'CONT', $ca;
    waited_for();
    enrols($s, "$mpm: after");
    ok($s->logs(qr/SCEP0106: /, slow(25)), "$mpm: the log says how many were turned away");
    $s->graceful;
    ok(wait_for(sub { grep { $_ != $ca } $s->ca_pids }, slow(20)), "$mpm: a restart");
    cmp_ok(turned_away($s), '>=', 4, "$mpm: the count goes on over a restart");
    is(scalar(grep { /SCEP0106: / } $s->log_lines), 1, "$mpm: one line a minute at most");
    $s->finish;
}

# ---- the number that somebody writes

my $s = SCEPTest->up(server => "SCEPConcurrentMax 1\n");
$s->expect_log('SCEP0106: NDES-31 UNAVAILABLE: \d+ requests were turned away by 503 with Retry-After, since 1 were in progress');
# sent to find out whether all places are taken
$s->allow_log(qr/SCEP0020: /);
enrols($s, 'SCEPConcurrentMax 1: one after the other');
my $request = $s->build(subject => 'CN=waits', challenge => $s->mint);
my $ca = fill($s, 1, $request, 'SCEPConcurrentMax 1');
if ($ca) {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        my $ok = eval { $s->mint; 1 };
        POSIX::_exit($ok ? 0 : 1);
    }
    kill 'CONT', $ca;
    waitpid $pid, 0;
    is($?, 0, 'the challenge page needs no place of a device');
}
waited_for();
ok($s->logs(qr/SCEP0106: /, slow(25)), 'the log says how many were turned away');
$s->finish;
done_testing();
