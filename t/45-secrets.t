# What httpd's workers, and programs that run as the same user, can get at: nothing.
# SECURITY.md, scep.md S-28.
use SCEPTest;
use Cwd ();

# With a CoreDumpDirectory httpd makes its processes dumpable again after it has changed the user.
my $s   = SCEPTest->up(server => is_root() ? 'CoreDumpDirectory "@DIR@/run"' : '');
my $dir   = $s->dir;
my $reply = $s->enrol(subject => 'CN=secrets');
issued($reply, 'an enrolment, so that every file is there and the workers have keys');

my ($ca)     = $s->ca_pids;
my @workers  = $s->worker_pids;
ok($ca && @workers, 'there are processes to look at');

# ---- as httpd's user

my @user = is_root() ? (user => [(getpwnam SCEPServer::worker_user())[2, 3]]) : ();

sub opens {
    my ($path, @as) = @_;
    my $tried = run(
        ['perl', '-e', 'opendir(my $d, $ARGV[0]) and exit 0; open(my $f, "<", $ARGV[0]) ? exit 0 : exit 3', $path],
        @as, chdir => '/');
    BAIL_OUT("perl as another user: $tried->{output}") if $tried->{status} != 0 && $tried->{status} != 3;
    return $tried->{status} == 0;
}

my $sleeper = spawn(['sleep', '600'], @user);
ok(opens("$dir/users", @user), 'httpd\'s user opens what it may') if is_root();
ok(wait_for(sub { opens("/proc/$sleeper/mem", @user) }, 5), 'and the memory of its own processes');

SKIP: {
    skip('only as root scep-ca has a user of its own', 7) if !is_root();
    for my $file (qw(ca.key ra-sign.key ra-decrypt.key store.key state state/store.db)) {
        ok(-e "$dir/ca/$file", "$file is there");
        ok(!opens("$dir/ca/$file", @user), "$file cannot be read by httpd's user");
    }
}
for my $what (qw(mem maps environ fd)) {
    ok(!opens("/proc/$ca/$what", @user), "nor scep-ca's $what");
    is_deeply([grep { opens("/proc/$_/$what", @user) } @workers], [], "nor a worker's $what");
    ok(!opens('/proc/' . $s->pid . "/$what", @user), "nor the parent's $what");
}
SCEPRun::end_child($sleeper);

# ---- what scep-ca holds

SKIP: {
    skip('only root sees the descriptors of a process that is not dumpable', 6) if !is_root();
    my %fd;
    my $foreign = sub {
        %fd = map { m{(\d+)$} ? ($1 => readlink) : () } glob "/proc/$ca/fd/*";
        my @files = grep { defined && m{^/} && !m{^/dev/(?:null|urandom)$} } values %fd;
        return grep { !m{^\Q$dir\E/ca/state/} && $_ ne $s->log_file } @files;
    };
    wait_for(sub { !$foreign->() }, slow(5)); # a CRL may be written just now
    is_deeply([$foreign->()], [], 'scep-ca has open only its database and the log') or diag(explain(\%fd));
    open my $in, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";
    my %tcp;
    while (<$in>) {
        my @field = split;
        $tcp{"socket:[$field[9]]"} = $field[1] if @field > 9;
    }
    is_deeply([grep { exists $tcp{$_} } values %fd], [], 'and no TCP socket');
    my %status = map { /^(\w+):\s*(.*?)\s*$/ ? ($1 => $2) : () } split /\n/, slurp("/proc/$ca/status");
    my ($uid, $gid) = (getpwnam SCEPServer::ca_user())[2, 3];
    is($status{Uid}, join("\t", ($uid) x 4), 'it has given up root for good');
    is($status{Gid}, join("\t", ($gid) x 4), 'the group too');
    ok(!grep({ $_ != $gid } split ' ', $status{Groups}), 'and has no other groups');
    is($status{NoNewPrivs}, 1, 'it gets no new privileges');
    is($status{CapEff} =~ tr/0//cdr, $status{CapEff}, 'it has no capability');
    is(sprintf('%o', (stat "$dir/ca/ca.key")[2] & 07777), '600', 'ca.key is its owner\'s alone');
    is(sprintf('%o', (stat "$dir/ca/state")[2] & 07777), '700', 'so is the folder of the database');
    my $environ = slurp("/proc/$ca/environ") . slurp("/proc/$ca/cmdline");
    my $challenge = $s->mint;
    ok(index($environ, $challenge) < 0 && index($environ, $s->{password}) < 0,
        'S-28: neither arguments nor environment hold a challenge or password');
    unlike($environ, qr/[0-9a-fA-F]{32}/, 'nor anything that looks like a secret');
}

# ---- as whoever runs the tests: argv is everybody's to read

for my $pid ($ca, $s->pid, @workers) {
    my $command = SCEPRun::command_of($pid) // '';
    unlike($command, qr/[0-9a-fA-F]{32}/, "the command line of $pid has no secret");
}

$s->finish;

# ---- a CGI script of the same httpd

SKIP: {
    skip('mod_cgid is not there', 8) if !-e "$ENV{HTTPD_MODULES}/mod_cgid.so";
    $s = SCEPTest->up(
        modules => [qw(alias cgid)],
        server  => 'CoreDumpDirectory "@DIR@/run"',
        host    => "ScriptAlias \"/cgi-bin/\" \"\@DIR\@/cgi-bin/\"\n");
    $dir = $s->dir;
    ($ca) = $s->ca_pids;
    # After a restart mod_cgid's daemon is forked from a parent that has the secrets.
    $s->graceful;
    ok(wait_for(sub { my @pids = $s->ca_pids; @pids == 1 && $pids[0] != $ca }, slow(20)), 'a restart');
    ($ca) = $s->ca_pids;
    my ($socket) = grep { -S && !/cgisock/ } glob "$dir/run/*";
    ok($socket, 'the workers\' socket is found') or BAIL_OUT('no socket in ' . join ' ', glob "$dir/run/*");
    spew("$dir/cgi-bin/call", <<'END' =~ s/SOCKET/$socket/r, 0755);
#!/usr/bin/perl
use strict;
use IO::Socket::UNIX;
print "Content-Type: text/plain\r\n\r\n";
my $frame = sub { "SCEP" . pack('CCnN', 3, $_[0], 0, length $_[1]) . $_[1] };
my $bytes = sub { pack('N', length $_[0]) . $_[0] };
my $hello  = $frame->(5, $bytes->("\0" x 32) . $bytes->("\0" x 32));
my $device = $frame->(5, $bytes->("\0" x 32) . $bytes->(''));
my $bundle = $frame->(6, $bytes->('scep.test'));
my $mint   = $frame->(8, $bytes->('scep.test') . $bytes->('admin') . $bytes->('127.0.0.1'));
for my $what ($hello, $device, $bundle, $mint, "$device$bundle", "$hello$mint", 'GET / HTTP/1.0', "SCEP\1") {
    my $s = IO::Socket::UNIX->new(Peer => 'SOCKET') or do { print "no connection: $!\n"; next };
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "open\n" };
    syswrite $s, $what;
    shutdown $s, 1;
    my $got = '';
    eval { alarm 10; 1 while sysread $s, $got, 4096, length $got; alarm 0; };
    print $@ ? "left open\n" : length $got ? "answered: " . unpack('H*', $got) . "\n" : "closed\n";
}
open(my $daemon, '<', '/proc/' . getppid . '/mem') and print "reads its parent's memory\n";
print "fd $_ ", readlink("/proc/self/fd/$_") // '-', "\n" for map { m{(\d+)$} } glob '/proc/self/fd/*';
print "env $_=$ENV{$_}\n" for sort keys %ENV;
END
    my $called = $s->get('/cgi-bin/call', timeout => 90);
    is($called->{status}, 200, 'a CGI script runs');
    my @lines  = split /\n/, $called->{body};
    my @closed = grep { /^(?:closed|no connection)/ } @lines;
    my @got    = grep { /^(?:answered|left open)/ } @lines;
    is_deeply(\@got, [], 'whatever it sends to the socket, it gets nothing') or diag($called->{body});
    is(scalar @closed, 8, 'every connection was closed') or diag($called->{body});
    ok(!grep({ /memory/ } @lines), 'it cannot read the memory of the daemon that started it');
    my @sockets = grep { /^fd \d+ socket:/ && !/^fd [012] / } @lines;
    # mod_cgid's own connection to the worker is its standard output.
    is_deeply(\@sockets, [], 'it inherits no socket') or diag($called->{body});
    $s->expect_log('SCEP0220: worker turned away: wrong secret');
    my $alive = $s->enrol(subject => 'CN=alive');
    issued($alive, 'and scep-ca lives');
    is(($s->ca_pids)[0], $ca, 'it is the same one');
    $s->finish;
}
done_testing();
