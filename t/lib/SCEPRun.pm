# Running programs with a bound on their time, and looking at processes.
package SCEPRun;
use strict;
use warnings;
use Exporter 'import';
use File::Temp ();
use POSIX ();
use Time::HiRes ();

our @EXPORT_OK = qw(run spawn wait_for pid_lives parent_of command_of halt slow slurp spew have);

# Every child of spawn() that was not waited for.
my %children;
my $owner = $$;

# A number of seconds; more where a sanitizer or the machine makes everything slow.
sub slow { return $_[0] * ($ENV{SCEP_TEST_SLOW} // 1) }

# Call until true or the time is over; returns what it returned last.
sub wait_for {
    my ($condition, $seconds) = @_;
    my $until = Time::HiRes::time() + $seconds;
    while (1) {
        my $got = $condition->();
        return $got if $got || Time::HiRes::time() > $until;
        Time::HiRes::sleep(0.02);
    }
}

sub slurp {
    my ($path) = @_;
    open my $in, '<:raw', $path or die "$path: $!\n";
    local $/;
    my $text = <$in>;
    return $text // '';
}

sub spew {
    my ($path, $text, $mode) = @_;
    open my $out, '>:raw', $path or die "$path: $!\n";
    chmod $mode, $path if defined $mode;
    print $out $text;
    close $out or die "$path: $!\n";
    return;
}

# Is there such a program? Its path.
sub have {
    my ($name) = @_;
    for my $dir (split(/:/, $ENV{PATH}), qw(/usr/sbin /sbin /usr/lib/certmonger /usr/libexec/certmonger)) {
        return "$dir/$name" if -x "$dir/$name" && !-d _;
    }
    return undef;
}

# Start a program. Options: stdin (a path), output (a path for both streams), env (a hash on top),
# user (a uid and gid to become), group: own process group. Returns its pid.
sub spawn {
    my ($command, %o) = @_;
    my $pid = fork // die "fork: $!\n";
    if ($pid) {
        $children{$pid} = 1;
        return $pid;
    }
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
    open STDIN, '<', $o{stdin} // '/dev/null' or POSIX::_exit(126);
    open STDOUT, '>>', $o{output} // '/dev/null' or POSIX::_exit(126);
    open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
    if ($o{user}) {
        POSIX::setgid($o{user}[1]);
        $) = "$o{user}[1] $o{user}[1]";
        POSIX::setuid($o{user}[0]);
        POSIX::_exit(125) if $> != $o{user}[0] || $< != $o{user}[0];
    }
    local %ENV = (%ENV, %{ $o{env} // {} });
    chdir $o{chdir} or POSIX::_exit(126) if defined $o{chdir};
    exec { $command->[0] } @$command or POSIX::_exit(127);
}

# Run a program to its end: { status, output, signal, timed_out }. Options as spawn(); stdin is
# text here; timeout in seconds, default 60.
sub run {
    my ($command, %o) = @_;
    my $out = File::Temp->new(TEMPLATE => 'scep-out-XXXXXX', TMPDIR => 1);
    chmod 0666, $out->filename if $o{user};
    my $in;
    if (defined $o{stdin}) {
        $in = File::Temp->new(TEMPLATE => 'scep-in-XXXXXX', TMPDIR => 1);
        binmode $in;
        print $in $o{stdin};
        $in->flush;
    }
    my $pid = spawn($command, %o, output => $out->filename, stdin => $in ? $in->filename : undef);
    my $gone = wait_for(sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, $o{timeout} // 60);
    my $status = $?;
    if (!$gone) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
        $status = $?;
    }
    delete $children{$pid};
    return {
        status    => $gone ? ($status & 127 ? 128 + ($status & 127) : $status >> 8) : 124,
        timed_out => !$gone,
        output    => slurp($out->filename)
    };
}

# Wait for a child of spawn(): its status, or undef when the time is over.
sub wait_child {
    my ($pid, $seconds) = @_;
    return undef if !wait_for(sub { waitpid($pid, POSIX::WNOHANG()) == $pid }, $seconds);
    delete $children{$pid};
    return $?;
}

sub end_child {
    my ($pid, $signal) = @_;
    return if !$children{$pid};
    kill $signal // 'TERM', $pid;
    return if defined wait_child($pid, 5);
    kill 'KILL', $pid;
    waitpid $pid, 0;
    delete $children{$pid};
    return;
}

# State letter and parent; nothing for a process that is gone.
sub stat_of {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/stat" or return;
    my $line = <$in> // return;
    return $line =~ /\)\s+(\S)\s+(\d+)/;
}

sub pid_lives {
    my ($pid) = @_;
    my ($state) = stat_of($pid) or return 0;
    return $state ne 'Z' && $state ne 'X';
}

sub parent_of {
    my ($pid) = @_;
    my (undef, $parent) = stat_of($pid);
    return $parent;
}

# SIGSTOP, and wait until each of the process's threads has obeyed: until then one that was awake may
# do as if nothing had happened. SIGCONT lets it go on.
sub halt {
    my ($pid) = @_;
    my $moves = sub { ((stat_of("$pid/task/$_[0]"))[0] // 'T') ne 'T' };
    kill 'STOP', $pid or die "$pid cannot be stopped: $!\n";
    wait_for(sub { !grep { $moves->($_) } map { m{(\d+)$} } glob "/proc/$pid/task/*" }, slow(10))
        or die "$pid was told to stop and goes on\n";
    return;
}

# The command line with blanks between the arguments; undef for a zombie or one that is gone.
sub command_of {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/cmdline" or return undef;
    local $/;
    my $text = <$in>;
    return undef if !defined $text || $text eq '';
    $text =~ s/\0+$//;
    $text =~ s/\0/ /g;
    return $text;
}

END {
    if ($$ == $owner) {
        my $status = $?;
        end_child($_) for keys %children;
        $? = $status;
    }
}

1;
