# Every id of a log line stands in exactly one place of the code and in docs/operations.md.
use strict;
use warnings;
use Test::More;

my $top = $ENV{srcdir} // '.';

my %at;
my @files = sort glob("$top/*.c $top/ca/*.c $top/lib/*.c");
cmp_ok(scalar @files, '>', 20, 'the sources were found');
for my $file (@files) {
    (my $name = $file) =~ s{^\Q$top\E/}{};
    open my $in, '<', $file or die "$file: $!\n";
    while (<$in>) {
        push @{ $at{$1} }, "$name:$." while /\b(SCEP\d{4})\b/g;
    }
    close $in;
}
cmp_ok(scalar keys %at, '>', 10, 'ids were found in the code');

my @library = grep { grep { m{^lib/} } @{ $at{$_} } } sort keys %at;
is_deeply(\@library, [], 'the library does not log');

my @twice = map { "$_: " . join(', ', @{ $at{$_} }) } grep { @{ $at{$_} } > 1 } sort keys %at;
is_deeply(\@twice, [], 'an id stands in one place') or diag(join("\n", @twice));

# In the page each id begins a row of a table: "| SCEP0042 | …".
my %row;
open my $in, '<', "$top/docs/operations.md" or BAIL_OUT("docs/operations.md: $!");
while (<$in>) {
    $row{$1}++ if /^\|\s*`?(SCEP\d{4})`?\s*\|/;
}
close $in;
my @undocumented = grep { !$row{$_} } sort keys %at;
is_deeply(\@undocumented, [], 'every id is explained in docs/operations.md');
my @gone = grep { !$at{$_} } sort keys %row;
is_deeply(\@gone, [], 'docs/operations.md explains no id that is gone');
my @rows = grep { $row{$_} > 1 } sort keys %row;
is_deeply(\@rows, [], 'each id has one row');

done_testing();
