# Length of functions and files, white space, and words that must not stay.
use strict;
use warnings;
use File::Find;
use Test::More;

use constant { FUNCTION_MOST => 100, FUNCTION_AIM => 60, FILE_MOST => 600, FILE_AIM => 400 };

my $top = $ENV{srcdir} // '.';

my @files = map { s{^\Q$top\E/}{}r } grep { -f } glob("$top/*.[ch] $top/*.md $top/bootstrap");
push @files, '.ci/run' if -e "$top/.ci/run";
find(
    {   no_chdir => 1,
        wanted   => sub {
            (my $name = $_) =~ s{^\Q$top\E/}{};
            push @files, $name if -f && $name =~ /\.(?:[ch]|pm|pl|t|am|md|conf)$/;
        }
    },
    map { "$top/$_" } qw(lib ca t conf docs));
@files = sort grep { !/^config\.h/ } @files;
my @code = grep { /\.[ch]$/ } @files;
cmp_ok(scalar @code, '>', 50, 'the sources were found');
cmp_ok(scalar(grep { /\.(?:t|pm|pl)$/ } @files), '>', 10, 'the Perl files were found');

# Written so that this file does not find itself.
my $words    = join '|', 'TO' . 'DO', 'FIX' . 'ME', 'XX' . 'X', 'not ' . 'implemented', 'for ' . 'now';
my $leftover = qr/\b(?:$words)\b/;
my $places   = join '|', qw(home root work Users);
my $machine  = '(?<![\w.})$/])/(?:' . $places . ')/\w';

# APR's printf, which makes every error's text, knows no "z".
my $size = qr/%[-+ #0-9.*]*z/;

my (@long, @files_long, @white, @words, @paths, @sizes, $functions);
for my $name (@files) {
    open my $in, '<', "$top/$name" or die "$name: $!\n";
    my ($begin, $title, $previous) = (0, '', '');
    while (<$in>) {
        chomp;
        push @words, "$name:$.: $_" if /$leftover/;
        push @paths, "$name:$.: $_" if /$machine/;
        next if $name !~ /\.[ch]$/;
        push @sizes, "$name:$.: $_" if $name =~ /\.c$/ && $name !~ m{^t/} && /$size/;
        push @white, "$name:$." if /\t|\s$/;
        if (/^\{/) {
            ($begin, $title) = ($., $previous);
        } elsif (/^\}/ && $begin) {
            my $lines = $. - $begin + 1;
            $functions++;
            push @long, "$name:$begin: $lines lines: $title" if $lines > FUNCTION_MOST;
            diag("$name:$begin: $lines lines, the aim is " . FUNCTION_AIM . ": $title")
                if $lines > FUNCTION_AIM;
            $begin = 0;
        }
        $previous = $_ if /\S/;
    }
    my $lines = $.;
    close $in;
    next if $name =~ /\.md$/;
    push @files_long, "$name: $lines lines" if $lines > FILE_MOST;
    diag("$name: $lines lines, the aim is " . FILE_AIM)
        if $name =~ /\.[ch]$/ && $lines > FILE_AIM && $lines <= FILE_MOST;
}
cmp_ok($functions // 0, '>', 100, 'the functions were found');
is_deeply(\@long, [], 'no function is longer than ' . FUNCTION_MOST . ' lines')
    or diag(join("\n", @long));
is_deeply(\@files_long, [], 'no file is longer than ' . FILE_MOST . ' lines')
    or diag(join("\n", @files_long));
is_deeply(\@white, [], 'no tab and no space at the end of a line of C') or diag(join("\n", @white));
is_deeply(\@words, [], 'nothing was left for later') or diag(join("\n", @words));
is_deeply(\@sizes, [], 'no "%z" for APR to print') or diag(join("\n", @sizes));
is_deeply(\@paths, [], 'no path of one machine') or diag(join("\n", @paths));

done_testing();
