# Runs the fuzz targets that `make fuzz` and `make fuzz-coverage` built, in the build tree.
#   run.pl fuzz SRCDIR SECONDS JOBS TARGET...
#   run.pl cover SRCDIR TARGET...
# Ends with 1 where there is a finding, where a target did not run, or where it reaches too little.
use strict;
use warnings;
use File::Path qw(make_path);

use constant LEAST_COVERED => 85;

# The rooms of each target: what its inputs are for.
my %room = (
    message   => [qw(lib/message*.c lib/algorithm*.c lib/ber.c)],
    certrep   => [qw(lib/certrep*.c lib/certs*.c)],
    csr       => [qw(lib/csr.c)],
    spki      => [qw(lib/spki.c lib/cert.c lib/asn1.c)],
    query     => [qw(lib/query.c)],
    wire      => [qw(lib/wire.c)],
    conf      => [qw(ca/conf*.c)],
    proof     => [qw(lib/proof*.c)],
    reference => [qw(lib/reference.c)],
    registry  => [qw(lib/registry*.c)],
    ndr       => [qw(ca/ndr.c)],
    dcerpc    => [qw(ca/dcerpc_pdu.c ca/dcerpc_map.c)],
    icpr      => [qw(ca/icpr*.c)],
);

sub findings { my ($target) = @_; return grep { -f } glob("fuzz/findings/$target/*") }

# Starts a target; its output goes to a file.
sub start {
    my ($src, $seconds, $target) = @_;
    make_path("fuzz/findings/$target", "fuzz/corpus/$target");
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    open STDOUT, '>', "fuzz/$target.log" or die "fuzz/$target.log: $!\n";
    open STDERR, '>&', \*STDOUT or die "stderr: $!\n";
    exec "fuzz/obj/fuzz_$target", "-max_total_time=$seconds", '-max_len=16384', '-timeout=10',
        '-rss_limit_mb=2048', '-print_final_stats=1', "-dict=$src/t/fuzz/der.dict",
        "-artifact_prefix=fuzz/findings/$target/", "fuzz/corpus/$target",
        "$src/t/fuzz/seeds/$target"
        or die "fuzz/obj/fuzz_$target: $!\n";
}

# One line of what a target's log says; false where it is not a clean run.
sub report {
    my ($target, $status, @new) = @_;
    open my $in, '<', "fuzz/$target.log" or die "fuzz/$target.log: $!\n";
    my ($runs, $speed, $seen) = (0, 0, 0);
    while (<$in>) {
        $runs  = $1 if /^stat::number_of_executed_units:\s+(\d+)/;
        $speed = $1 if /^stat::average_exec_per_sec:\s+(\d+)/;
        $seen  = $1 if /\bcov: (\d+)/;
    }
    close $in;
    my $good = $status == 0 && !@new && $runs > 0;
    printf "%-10s %10d executions, %6d a second, %6d edges: %s\n", $target, $runs, $speed, $seen,
        $good ? 'no finding' : 'FOUND ' . (join(' ', @new) || "something: fuzz/$target.log");
    return $good;
}

sub fuzz {
    my ($src, $seconds, $jobs, @waiting) = @_;
    my (%running, %before, $bad);
    die "run.pl: no target is named\n" unless @waiting;
    while (@waiting || %running) {
        while (@waiting && keys %running < $jobs) {
            my $target = shift @waiting;
            $before{$target} = { map { $_ => 1 } findings($target) };
            $running{ start($src, $seconds, $target) } = $target;
        }
        my $pid    = wait;
        my $target = delete $running{$pid} // next;
        my @new    = grep { !$before{$target}{$_} } findings($target);
        $bad = 1 unless report($target, $?, @new);
    }
    return !$bad;
}

# Line coverage of one file, in percent, and what stands behind it.
sub lines_covered {
    my ($src, $target, $file) = @_;
    my @command = ('llvm-cov', 'report', "fuzz/cover/fuzz_$target",
        "-instr-profile=fuzz/cover/$target.profdata", '--summary-only', "$src/$file");
    open my $in, '-|', @command or die "llvm-cov: $!\n";
    my @total = map { split } grep { /^TOTAL/ } <$in>;
    close $in or die "llvm-cov failed for $target\n";
    # TOTAL regions missed % functions missed % lines missed % ...
    die "llvm-cov says nothing of $file\n" unless @total >= 10 && $total[7] > 0;
    return (100 * (1 - $total[8] / $total[7]), $total[7]);
}

sub cover {
    my ($src, @targets) = @_;
    my $bad;
    die "run.pl: no target is named\n" unless @targets;
    for my $target (@targets) {
        my @folders = ("$src/t/fuzz/seeds/$target", grep { -d } "fuzz/corpus/$target");
        my $raw = "fuzz/cover/$target.profraw";
        local $ENV{LLVM_PROFILE_FILE} = $raw;
        system("fuzz/cover/fuzz_$target @folders >fuzz/cover/$target.log 2>&1") == 0
            or die "the replay of $target failed: fuzz/cover/$target.log\n";
        system('llvm-profdata', 'merge', '-sparse', '-o', "fuzz/cover/$target.profdata", $raw) == 0
            or die "llvm-profdata failed\n";
        my @files = map { s{^\Q$src\E/}{}r } map { sort glob("$src/$_") }
            @{ $room{$target} // die "run.pl: no target $target\n" };
        die "run.pl: no room of $target is there\n" unless @files;
        for my $file (@files) {
            my ($percent, $lines) = lines_covered($src, $target, $file);
            my $few = $percent < LEAST_COVERED;
            $bad = 1 if $few;
            printf "%-10s %-20s %5.1f %% of %4d lines%s\n", $target, $file, $percent, $lines,
                $few ? ', at least ' . LEAST_COVERED . ' are wanted' : '';
        }
    }
    return !$bad;
}

$| = 1;
my $command = shift // '';
exit(fuzz(@ARGV) ? 0 : 1)  if $command eq 'fuzz';
exit(cover(@ARGV) ? 0 : 1) if $command eq 'cover';
die "run.pl: fuzz or cover\n";
