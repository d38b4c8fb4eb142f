# Every test that was written is also run.
use strict;
use warnings;
use Test::More;

my $top = $ENV{srcdir} // '.';

sub text {
    my ($name) = @_;
    open my $in, '<', "$top/$name" or BAIL_OUT("$name: $!");
    local $/;
    return scalar <$in>;
}

sub names {
    my ($pattern) = @_;
    return map { s{^\Q$top\E/}{}r } sort glob("$top/$pattern");
}

my @suites = names('t/unit/test_*.c');
cmp_ok(scalar @suites, '>', 10, 'the suites were found');
my $makefile = text('Makefile.am');
my $unit     = text('t/unit/tests.am');
my $server   = text('t/server.am');

my (@unlisted, @unregistered, $tests);
for my $name (@suites) {
    push @unlisted, $name if $unit !~ /\Q$name\E(?=\s|$)/;
    my $c = text($name);
    my %written = map { $_ => 1 } $c =~ /^\s*START_TEST\(\s*(\w+)\s*\)/mg;
    $tests += keys %written;
    my %added = map { $_ => 1 } $c =~ /\btcase_add_\w*test\w*\(\s*\w+\s*,\s*(\w+)/g;
    push @unregistered, map { "$name: $_" } grep { !$added{$_} } sort keys %written;
    push @unregistered, "$name: no test at all" if !%written;
}
is_deeply(\@unlisted, [], 'every suite is built');
is_deeply([grep { $makefile !~ m{\Q$_\E(?=\s)} } map { s{t_unit_}{t/unit/}r }
               $unit =~ /^(\w+)_SOURCES/mg], [], 'every suite is run');
is_deeply(\@unregistered, [], 'every test is in a suite') or diag(join("\n", @unregistered));
cmp_ok($tests // 0, '>', 50, 'the tests were found');

my @lints = names('t/lint/*.t');
cmp_ok(scalar @lints, '>', 3, 'the lints were found');
is_deeply([grep { $makefile !~ /\Q$_\E(?=\s|$)/ } @lints], [], 'every lint is run');

my @servers = names('t/*.t');
cmp_ok(scalar @servers, '>', 5, 'the server tests were found');
is_deeply([grep { $server !~ /\Q$_\E(?=\s|$)/ } @servers], [], 'every server test is run');

done_testing();
