# No restart and no crash loses an unused challenge, or makes a used one good again.
use SCEPTest;
use SCEPCluster;
use SCEPSupervision;

my $s = SCEPTest->up(
    ca     => 'p256',
    server => "SCEPCATimeout 5\n",
    host   => "SCEPPasswordMax 100000\nSCEPMintMax 1000000\n");
$s->expect_log('SCEP0026: NDES-29 CHALLENGE: ', 'SCEP0102: scep-ca .* ended with status 9');
# A killed parent leaves its file behind; pages and requests meet a scep-ca that is away.
$s->allow_log(qr/SCEP01\d\d:/, qr/AH00098: /, qr/AH00052: /, qr/SCEP0030: NDES-31 UNAVAILABLE: /,
    qr/SCEP007\d: .*(?:UNAVAILABLE|scep-ca)/);

my $key = $s->work('key.pem');
run(['openssl', 'genrsa', '-out', $key, '2048'])->{status} == 0 or BAIL_OUT('openssl makes no key');

sub number { my ($sql) = @_; return ($s->query("SELECT $sql AS n"))[0]{n} }
sub fresh { return number("(SELECT count(*) FROM scep_challenge WHERE state = 'fresh')") }
sub unused { return number("(SELECT unused FROM scep_endpoint WHERE name = 'scep.test')") }

# Enrol with each challenge; the replies.
my $rounds = 0;

sub enrol_all {
    my (@challenges) = @_;
    $rounds++;
    my @requests = $s->build(
        key            => $key,
        count          => scalar @challenges,
        subject        => "CN=round $rounds number {}",
        transaction_id => "$rounds.{}",
        challenges     => \@challenges);
    my @replies = map { { request => $_ } } @requests;
    my @list;
    for my $reply (@replies) {
        # Just after a crash a device is told to come again.
        wait_for(sub { $reply->{http} = $s->send_request($reply->{request}); $reply->{http}{status} == 200 }, slow(30));
        my $file = "$reply->{request}{base}.reply";
        spew($file, $reply->{http}{body});
        push @list, [$reply, $file];
    }
    SCEPCluster::open_all($s, @list);
    return @replies;
}

# What must be true after a break: @$kept were minted before it and not used, @$used were used.
sub good_once {
    my ($name, $kept, $used) = @_;
    my @lost = grep { !SCEPCluster::is_issued($_) } enrol_all(@$kept);
    is(scalar @lost, 0, "$name: every one of the " . @$kept . ' unused challenges is good')
        or diag(join "\n", map { SCEPTest::describe($_) } @lost);
    my @twice = grep { !SCEPCluster::is_refused($_) } enrol_all(@$kept > 4 ? @$kept[0 .. 3] : @$kept);
    is(scalar @twice, 0, "$name: once") or diag(join "\n", map { SCEPTest::describe($_) } @twice);
    my @again = grep { !SCEPCluster::is_refused($_) } enrol_all(@$used);
    is(scalar @again, 0, "$name: and what was used before stays used")
        or diag(join "\n", map { SCEPTest::describe($_) } @again);
    is(unused(), fresh(), "$name: the counter agrees");
    return;
}

sub new_ca {
    my ($name, %old) = @_;
    ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && !$old{ $now[0] } }, slow(30)), "$name: a new scep-ca")
        or diag(join ' ', $s->ca_pids);
    return;
}

sub begin_again {
    my ($name) = @_;
    my $why = $s->start;
    is($why, undef, "$name: httpd starts") or BAIL_OUT($why);
    return;
}

# Parent and workers at once, so that nobody can tell scep-ca anything.
sub kill_httpd {
    my ($name, @also) = @_;
    my @ca  = $s->ca_pids;
    halt($s->pid); # no worker is born after they were counted
    my @all = ($s->pid, $s->worker_pids);
    kill 'KILL', @all, @also;
    ok(wait_for(sub { !grep { pid_lives($_) } @all, @ca }, slow(15)), "$name: httpd is dead, and scep-ca gone");
    # Where nobody waits for the dead, their pids still seem to live.
    unlink $s->dir . '/run/httpd.pid';
    delete $s->{pid};
    begin_again($name);
    return;
}

my @breaks = (
    ['restart', sub { is_deeply([$s->stop], [], "$_[0]: httpd and scep-ca stop"); begin_again($_[0]) }],
    ['httpd -k restart', sub { my %old = map { $_ => 1 } $s->ca_pids; kill 'HUP', $s->pid; new_ca($_[0], %old) }],
    ['graceful restart', sub { my %old = map { $_ => 1 } $s->ca_pids; $s->graceful; new_ca($_[0], %old) }],
    ['kill -9 of scep-ca', sub { my @old = $s->ca_pids; kill 'KILL', @old; new_ca($_[0], map { $_ => 1 } @old) }],
    ['kill -9 of the parent and all workers', sub { kill_httpd($_[0]) }],
    ['kill -9 of everything', sub { kill_httpd($_[0], $s->ca_pids) }],
);

for (@breaks) {
    my ($name, $break) = @$_;
    my @used = map { $s->mint } 1 .. 2;
    my @before = grep { !SCEPCluster::is_issued($_) } enrol_all(@used);
    is(scalar @before, 0, "$name: two are used before") or diag(join "\n", map { SCEPTest::describe($_) } @before);
    # The last one is minted at the last moment.
    my @kept = map { $s->mint } 1 .. 8;
    $break->($name);
    good_once($name, \@kept, \@used);
}

# ---- at whatever moment: what a page has shown is good, wherever the crash fell

sub under_fire {
    my ($name, $break) = @_;
    my $dir = $s->work("minters-" . ++$rounds);
    mkdir $dir or die "$dir: $!\n";
    my @minters = map {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
            open my $out, '>', "$dir/$$" or POSIX::_exit(1);
            $out->autoflush(1);
            my $n = 0;
            while ($n < 100 && !-e "$dir/stop" && getppid != 1) {
                my $got = eval { $s->mint(timeout => 10) } or next;
                print $out "$got\n";
                $n++;
            }
            POSIX::_exit(0);
        }
        $pid
    } 1 .. 4;
    my $shown = sub { map { split /\n/, slurp($_) } grep { /\d$/ } glob "$dir/*" };
    ok(wait_for(sub { $shown->() >= 12 }, slow(20)), "$name: challenges are minted");
    $break->($name);
    my $then = $shown->();
    wait_for(sub { $shown->() >= $then + 12 }, slow(20));
    spew("$dir/stop", '');
    for my $pid (@minters) {
        kill 'KILL', $pid if !wait_for(sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, slow(30));
    }
    # a killed one's last line may be half a challenge
    my @kept = grep { /^[0-9A-F]{16}$/ } $shown->();
    cmp_ok(scalar @kept, '>', 12, "$name: before and after it");
    good_once($name, \@kept, [$kept[0]]);
    return;
}

under_fire("$_->[0], while challenges are minted", $_->[1]) for @breaks[2, 3, 5];

$s->finish;
done_testing();
