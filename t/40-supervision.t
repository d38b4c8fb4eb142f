# The life of scep-ca: each rule, broken on purpose. docs/architecture.md, "The life of scep-ca".
use SCEPTest;
use SCEPSupervision;

my @cgid = -e "$ENV{HTTPD_MODULES}/mod_cgid.so" ? 'cgid' : ();
my $s    = SCEPTest->up(
    modules => [@cgid],
    server  => "SCEPCATimeout 3\n",
    host    => "SCEPPasswordMax 100000\n");
$s->expect_log(
    'SCEP0030: NDES-31 UNAVAILABLE: ', 'SCEP0100: NDES-2 the new scep-ca cannot start',
    'SCEP0102: scep-ca .* ended with status 9');
# -X leaves mod_cgid's socket to a process that may not remove it, the killed parent its file, and
# mod_cgid tells that its daemon was killed.
$s->allow_log(qr/SCEP01\d\d:/, qr/AH01240: /, qr/AH00098: /, qr/AH01239: /);

enrols($s, 'an enrolment');
kill_once($s);
kill_under_load($s, 4);
graceful_under_load($s, 10);

# ---- scep-ca is there, but does not answer

my $dll = '/certsrv/mscep/mscep.dll';
my $ca  = one_ca($s, 'before a stop');
my $request = $s->build(subject => 'CN=patient', challenge => $s->mint);
halt($ca);
my $later = $s->send_request($request);
is($later->{status}, 503, 'S-02, S-47: scep-ca hangs: a device is told to come again');
like($later->{header}{'retry-after'} // '', qr/^\d+$/, 'with Retry-After');
is($s->get("$dll?operation=$_")->{status}, 200, "Q-22: $_ is answered meanwhile") for qw(GetCACaps GetCACert);
kill 'CONT', $ca;
my $reply;
wait_for(sub { ($reply = $s->open_reply($request, $s->send_request($request)))->{serial} }, slow(10));
issued($reply, 'and it gets its certificate afterwards');

# ---- scep-ca is away, because it cannot start

rename $s->ca_conf, $s->ca_conf . '.away' or die "$!\n";
$request = $s->build(subject => 'CN=very patient', challenge => $s->mint);
kill 'KILL', one_ca($s, 'before it goes away');
my $away = wait_for(sub { my $got = $s->send_request($request); $got->{status} == 503 && $got }, slow(20));
ok($away, 'S-02: scep-ca is away: a device is told to come again');
like($away->{header}{'retry-after'} // '', qr/^\d+$/, 'with Retry-After') if $away;
is($s->get("$dll?operation=$_")->{status}, 200, "Q-22: $_ is answered meanwhile") for qw(GetCACaps GetCACert);
ok($s->logs(qr/SCEP0[12]\d\d:.*ca\.conf/, 20), 'the log says what is wrong');
rename $s->ca_conf . '.away', $s->ca_conf or die "$!\n";
wait_for(sub { ($reply = $s->open_reply($request, $s->send_request($request)))->{serial} }, slow(60));
issued($reply, 'ca.conf is back: service resumes by itself');
$s->allow_log(qr/SCEP02\d\d:.*ca\.conf/);

# ---- a restart with a configuration that does not work

rename $s->ca_conf, $s->ca_conf . '.away' or die "$!\n";
my $old  = one_ca($s, 'before a failing restart');
my $crit = sub { scalar grep { /\[(?:\w+:)?crit\]/ } $s->log_lines };
my $before = $crit->();
$s->graceful;
ok(wait_for(sub { $crit->() > $before }, slow(20)), 'a restart that cannot start scep-ca is told');
ok(pid_lives($s->pid), 'httpd goes on');
enrols($s, 'and the old scep-ca serves');
is((one_ca($s, 'after the failing restart')), $old, 'it is the old one');
is($crit->(), $before + 1, 'in one line');
rename $s->ca_conf . '.away', $s->ca_conf or die "$!\n";
$s->graceful;
ok(wait_for(sub { scalar grep { $_ != $old } $s->ca_pids }, slow(20)), 'the next restart works');
one_ca($s, 'after the next restart');
enrols($s, 'and serves');

# ---- stop, with whatever configuration

rename $s->ca_conf, $s->ca_conf . '.away' or die "$!\n";
my $pid     = $s->pid;
my @ca      = $s->ca_pids;
my $stopped = $s->httpd('-k', 'stop');
is($stopped->{status}, 0, 'stop works with a broken configuration') or diag($stopped->{output});
ok(wait_for(sub { !pid_lives($pid) }, slow(20)), 'httpd is gone');
ok(wait_for(sub { !grep { pid_lives($_) } @ca }, slow(10)), 'scep-ca is gone');
rename $s->ca_conf . '.away', $s->ca_conf or die "$!\n";

# ---- one process in the foreground

my $why = $s->start_x;
is($why, undef, 'httpd -X starts') or BAIL_OUT($why);
enrols($s, 'under -X');
one_ca($s, 'under -X');
is_deeply([$s->stop], [], 'and stops');

# ---- the parent is killed; workers and mod_cgid's daemon hold what they inherited

SKIP: {
    skip('mod_cgid is not there', 5) if !@cgid;
    BAIL_OUT($why) if defined($why = $s->start);
    # mod_cgid's daemon, the one child with a single thread: one that httpd had to start again was
    # forked when scep-ca lived, and so holds the other end of its control channel.
    my $daemon = sub { (grep { 1 == (() = glob "/proc/$_/task/*") } $s->worker_pids)[0] // 0 };
    my $first  = wait_for($daemon, slow(5));
    kill 'KILL', $first if $first;
    ok(wait_for(sub { my $now = $daemon->(); $now && $now != $first }, slow(20)), 'a new daemon of mod_cgid');
    enrols($s, 'before the parent is killed');
    my @workers = $s->worker_pids;
    my $left    = one_ca($s, 'before the parent is killed');
    kill 'KILL', $s->pid;
    ok(wait_for(sub { !pid_lives($left) }, slow(10)), 'the parent is killed: scep-ca leaves by itself');
    is_deeply([$s->ca_pids], [], 'none is left');
    kill 'KILL', grep { pid_lives($_) } @workers;
    wait_for(sub { !grep { pid_lives($_) } @workers }, 5);
    unlink $s->dir . '/run/httpd.pid';
    delete $s->{pid};
}
$s->finish;
done_testing();
