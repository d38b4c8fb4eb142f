# docs/conformance.md has one row for every requirement, and what it says is true: each row is
# done, by tests that cite its id in the name of a test that passed, or not applicable, and why.
#
# This runs after all other tests (Makefile.am) and reads their logs. TESTS_RUN lists what this
# build runs; where a test is not among them, its source has to cite the id instead.
use strict;
use warnings;
use Test::More;

my $top   = $ENV{srcdir} // '.';
my $build = $ENV{builddir} // '.';
my %run   = map { $_ => 1 } split ' ', $ENV{TESTS_RUN} // '';

# ---- the ids there are, by section, and how many that makes

my @sections = (
    [R => '%03d', 118, [1, 12], [20, 28], [30, 38], [40, 45], [50, 70], [80, 94], [100, 121],
        [130, 136], [140, 149], [160, 166]],
    [D => '%02d', 17, [1, 17]],
    [Q => '%02d', 74, [1, 26], [30, 57], [60, 79]],
    [S => '%02d', 44, [1, 34], [40, 49]],
);
my @ids;
for (@sections) {
    my ($letter, $form, $count, @ranges) = @$_;
    my @these = map { sprintf "$letter-$form", $_ } map { $_->[0] .. $_->[1] } @ranges;
    is(scalar @these, $count, "there are $count ids $letter");
    push @ids, @these;
}
my %expected = map { $_ => 1 } @ids;
is(scalar keys %expected, 253, 'there are 253 ids, none twice');

# ---- the rows: | id | what is asked | done or not applicable | where, or why |

sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or return;
    local $/;
    return scalar <$in>;
}

my $page = slurp("$top/docs/conformance.md") // BAIL_OUT("docs/conformance.md: $!");
my (%row, @bad);
for my $line (grep { /^\|/ } split /\n/, $page) {
    next if $line =~ /^\|\s*(?:id\s*\||[-:]+)/;
    my ($id, $asks, $state, $where, @more) = map { s/^\s+|\s+$//gr } split /\|/, substr($line, 1);
    $_ //= '' for $id, $asks, $state, $where;
    push @bad, "$id: there is no such id"                 unless $expected{$id};
    push @bad, "$id: stands twice"                        if $row{$id};
    push @bad, "$id: four columns are wanted"             if @more || $where eq '';
    push @bad, "$id: says not what is asked"              if length $asks < 10;
    push @bad, "$id: neither done nor not applicable"     unless $state =~ /^(?:done|not applicable)$/;
    push @bad, "$id: is put off: $line"                   if $line =~ /\b(?:later|todo|tbd|planned|partly)\b/i;
    push @bad, "$id: a reason is a sentence"              if $state eq 'not applicable' && length $where < 30;
    push @bad, "$id: no test is named"                    if $state eq 'done' && $where !~ m{`t/};
    $row{$id} = { state => $state, tests => $state eq 'done' ? [$where =~ m{`(t/[^`]+)`}g] : [] };
}
is_deeply(\@bad, [], 'every row is what a row has to be') or diag(join("\n", @bad));
is_deeply([grep { !$row{$_} } @ids], [], 'every id has its row');
my $done = grep { $_->{state} eq 'done' } values %row;
cmp_ok($done, '>', 200, "$done rows are done");

# ---- the tests that the rows name

my $built = slurp("$top/t/unit/tests.am") // '';
my $lists = join "\n", map { slurp("$top/$_") // '' } qw(Makefile.am t/server.am t/fuzz/fuzz.am);

# The source that a test is made of: t/unit/test_x is t/unit/test_x.c and the files it is built with.
sub sources_of {
    my ($test) = @_;
    return "$top/$test" if $test =~ /\.t$/;
    (my $name = $test) =~ tr{/}{_};
    my ($files) = $built =~ /^\Q$name\E_SOURCES\s*=((?:[^\n]*\\\n)*[^\n]*)/m;
    return map { "$top/$_" } $test =~ m{^t/fuzz/} ? 't/fuzz/replay.c' : ($files // '') =~ /(\S+\.c)\b/g;
}

# A test cites R-054 as R-054, or in the name of a function of C as R_054.
sub cites {
    my ($text, $id) = @_;
    my $word = $id =~ s/-/[-_]/r;
    return $text =~ /(?<![A-Za-z0-9-])$word(?![0-9])/;
}

# What a source says outside of comments: the names of a suite's functions, the text of a script.
sub said_in {
    my ($file) = @_;
    my $text = slurp($file);
    return join "\n", $text =~ /START_TEST\(\s*(\w+)/g if $file =~ m{/test_\w+\.c$};
    return join "\n", grep { !/^\s*#/ } split /\n/, $text;
}

# Written so that t/lint/shape.t does not take it for work that was left.
my $excused = qr/#\s*(?:SKIP|${\ ('TO' . 'DO')})\b/i;

my (%passed, %skipped, %source);
sub passed_of {
    my ($test) = @_;
    return $passed{$test} if exists $passed{$test};
    my $log = slurp("$build/" . $test =~ s/\.t$//r . '.log');
    return $passed{$test} = undef if !defined $log;
    $skipped{$test} = 1 if $log =~ /^1\.\.0 # SKIP/mi;
    return $passed{$test} = join "\n", grep { !/$excused/ } $log =~ /^\s*(ok \d.*)$/mg;
}

# What is wrong with a row's naming of a test; nothing: that test shows it.
sub fault_of {
    my ($id, $test) = @_;
    my @sources = sources_of($test);
    return "$test does not exist" if !@sources || grep { !-e } @sources;
    return "$test is not in TESTS" if $lists !~ m{(?<![\w/.-])\Q$test\E(?![\w/.-])};
    if (!$run{$test}) {
        $source{$test} //= join "\n", map { said_in($_) } @sources;
        return cites($source{$test}, $id) ? undef : "$test does not cite it";
    }
    my $passed = passed_of($test);
    return "$test did not run: there is no log" if !defined $passed;
    return undef if $skipped{$test};
    return cites($passed, $id) ? undef : "no passed test of $test cites it";
}

my (@faults, $looked);
for my $id (grep { $row{$_} && $row{$_}{state} eq 'done' } @ids) {
    my @tests = @{ $row{$id}{tests} };
    for my $test (@tests) {
        my $fault = fault_of($id, $test);
        push @faults, "$id: $fault" if $fault;
        $looked++;
    }
    push @faults, "$id: all of its tests were skipped" if @tests && !grep { !$skipped{$_} } @tests;
}
is_deeply(\@faults, [], 'every row that is done is shown by passed tests') or diag(join("\n", @faults));
cmp_ok($looked // 0, '>', 200, 'tests were looked at');

done_testing();
