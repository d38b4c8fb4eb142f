# What must not take SCEP, or httpd with it, down for longer than it lasts.
use SCEPTest;
use SCEPSupervision;
use Time::HiRes qw(time);

my $dll = '/certsrv/mscep/mscep.dll';
# One worker process of four threads: three of them may wait for scep-ca.
my $s = SCEPTest->up(
    server => "SCEPCATimeout 8\nStartServers 1\nServerLimit 1\nThreadsPerChild 4\nMaxRequestWorkers 4\n"
        . "MinSpareThreads 1\nMaxSpareThreads 4\n",
    host => "SCEPPasswordMax 100000\n");
$s->expect_log(
    'SCEP0106: NDES-31 UNAVAILABLE: \d+ requests were turned away by 503 with Retry-After, since 3 were in progress',
    'SCEP0030: NDES-31 UNAVAILABLE: ', 'SCEP0102: scep-ca .* ended with status');
$s->allow_log(qr/SCEP02\d\d:.*ca\.conf/, qr/SCEP0104: /);

# ---- scep-ca hangs, and more devices come than there are threads

sub hangs {
    my ($name) = @_;
    my $request = $s->build(subject => 'CN=waits', challenge => 'A' x 16);
    my $ca = one_ca($s, $name) or return;
    halt($ca);
    my @devices = map {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
            $s->send_request($request, timeout => 60);
            POSIX::_exit(0);
        }
        $pid
    } 1 .. 16;
    # all of them have come
    sleep 2;
    my $begin = time;
    is($s->get("$dll?operation=GetCACaps", timeout => 60)->{status}, 200, "$name: GetCACaps is answered");
    cmp_ok(time - $begin, '<', slow(3), "$name: at once");
    waitpid $_, 0 for @devices;
    kill 'CONT', $ca;
    return;
}

hangs('scep-ca hangs before a worker knows the RA');
enrols($s, 'and goes on');
hangs('scep-ca hangs when workers know the RA');
enrols($s, 'and goes on again');

# ---- the socket's file is gone, or httpd's User another one

my ($socket) = glob $s->dir . '/run/scep.*.sock';
ok($socket && -S $socket, 'the socket is there');

sub restarts {
    my %old = map { $_ => 1 } $s->ca_pids;
    $s->graceful;
    ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && !$old{ $now[0] } }, slow(20)), 'a restart');
    return;
}

unlink $socket or die "$socket: $!\n";
restarts();
ok(-S $socket, 'a socket that was removed is made again');
enrols($s, 'and serves');
SKIP: {
    skip('needs root', 4) if !is_root();
    my ($other) = grep { $_ ne SCEPServer::worker_user() && $_ ne SCEPServer::ca_user() }
        grep { defined getpwnam $_ } qw(nobody games man);
    my $before = $s->{server};
    $s->{server} .= "User $other\n";
    restarts();
    is((stat $socket)[4], scalar getpwnam($other), 'the socket is given to a new User');
    is((stat $socket)[2] & 0777, 0600, 'and to nobody else');
    enrols($s, 'whose workers are served');
    $s->{server} = $before;
}

# ---- quick deaths: a pause is no life, and neither is a start that fails

sub pauses { return map { /SCEP0102: .* in (\d+) seconds?/ ? $1 : () } $s->log_lines }

# Kill the one that lives, wait for the next, and say the pause in between.
sub pause_after_kill {
    # httpd tells of a death just before it starts the next one
    my $old = wait_for(sub { ($s->ca_pids)[0] }, slow(10)) or return 'none was started';
    my $known = pauses();
    kill 'KILL', $old;
    wait_for(sub { pauses() > $known }, slow(10));
    wait_for(sub { grep { $_ != $old } $s->ca_pids }, slow(5));
    return (pauses())[-1];
}

restarts();
my $request = $s->build(subject => 'CN=after a pause', challenge => $s->mint);
rename $s->ca_conf, $s->ca_conf . '.away' or die "$!\n";
is(pause_after_kill(), 1, 'one second after a quick death');
my $known = pauses();
ok(wait_for(sub { pauses() > $known }, slow(30)), 'a start that fails ends by itself');
is((pauses())[-1], 2, 'and counts as a quick death');
rename $s->ca_conf . '.away', $s->ca_conf or die "$!\n";
is(pause_after_kill(), $_, "then $_ seconds") for 4, 8, 16;
ok(wait_for(sub { $s->send_request($request)->{status} == 200 }, slow(40)), 'it serves after its pause');
is(pause_after_kill(), 30, 'and thirty seconds when it ends soon after that');
restarts();
enrols($s, 'a restart makes up for all that');
$s->finish;

# ---- more endpoints than a buffer of the control channel holds, and than httpd is told of

sub endpoints { return join '', map { "<Location \"/e$_\">\nSetHandler scep\nSCEPEndpoint \"endpoint-$_\"\n</Location>\n" } 1 .. $_[0] }

my $many = SCEPTest->up(host => endpoints(200));
$many->expect_log('SCEP0102: scep-ca .* ended with status 9');
$many->allow_log(qr/SCEP0030: NDES-31 UNAVAILABLE: /);
$request = $many->build(subject => 'CN=one of many', challenge => $many->mint);
my $reply;
my $old = one_ca($many, '200 endpoints') or BAIL_OUT('no scep-ca');
kill 'KILL', $old;
ok(wait_for(sub { grep { $_ != $old } $many->ca_pids }, slow(10)), 'scep-ca is started again');
# when it sleeps again it has told scep-ca all; then it reads nothing that scep-ca says
ok(wait_for(sub { slurp('/proc/' . $many->pid . '/stat') =~ /\) S / }, slow(10)), 'httpd has told it what it serves');
halt($many->pid);
ok(wait_for(sub { ($reply = $many->open_reply($request, $many->send_request($request)))->{serial} }, slow(8)),
    'it serves before httpd has read that it is ready');
kill 'CONT', $many->pid;
ok($many->logs(qr/SCEP0104: /, 30), 'which it does later');
$many->graceful;
ok(wait_for(sub { my @now = $many->ca_pids; @now == 1 && pid_lives($now[0]) }, slow(20)), 'a restart');
is($many->get('/e200/mscep.dll?operation=GetCACert')->{status}, 200, 'every endpoint has its certificates');
$many->finish;

my $most = SCEPTest->ready(host => endpoints(2000));
ok(defined $most->start, '2000 endpoints: httpd does not start');
$most->expect_log('2001 endpoints and their certificates are \d+ bytes, httpd takes at most 2097152');
$most->finish;
done_testing();
