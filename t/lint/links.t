# The pages that were promised are there and installed, each client's page says whether it was
# tried, and links between pages lead somewhere.
use strict;
use warnings;
use File::Basename qw(dirname);
use Test::More;

my $top = $ENV{srcdir} // '.';

sub text {
    my ($name) = @_;
    open my $in, '<', "$top/$name" or BAIL_OUT("$name: $!");
    local $/;
    return scalar(<$in>) // '';
}

my @clients = qw(android apple certmonger cisco fleet intune ivanti jamf juniper sophos strongswan
    windows workspace-one);
my $makefile = text('Makefile.am');
my $index    = text('docs/clients/README.md');
for my $name ((map { "docs/clients/$_.md" } @clients), 'docs/clients/README.md', 'docs/ndes-migration.md') {
    ok(-s "$top/$name", "there is a page $name");
    like($makefile, qr/^dist_\w*doc_DATA = (?:[^\n]*\\\n)*[^\n]*\Q$name\E(?=\s)/m, 'it is installed');
}
for my $name (@clients) {
    my $page  = text("docs/clients/$name.md");
    my ($row) = $index =~ /^(\|[^\n]*\(\Q$name.md\E\)[^\n]*)$/m;
    my ($word) = $page =~ /\A# [^\n]+\n\n\*\*(Tried|Untried)\*\*/;
    ok($word, "$name.md says first of all whether it was tried") or next;
    ok($row && $row =~ /^\|[^|]*\| \L$word\E \|/, 'and so does the index') or diag($row // 'no row');
    next if $word eq 'Untried';
    my @tests = $row =~ m{\b(t/[\w-]+\.t)\b}g;
    ok(@tests && !(grep { !-e "$top/$_" } @tests), 'with the tests that try it') or diag($row);
}

# As GitHub and others make anchors of headings.
sub anchors {
    my ($page) = @_;
    my %seen;
    for my $line (split /\n/, $page) {
        next if $line !~ /^#{1,6} +(.*)$/;
        (my $anchor = lc $1) =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
        $anchor =~ s/[^\w\- ]//g;
        $anchor =~ s/ /-/g;
        $seen{$anchor} = 1;
    }
    return \%seen;
}

my @pages = sort map { s{^\Q$top\E/}{}r } glob("$top/*.md $top/docs/*.md $top/docs/*/*.md $top/t/*/*.md");
my ($links, @broken) = (0);
for my $name (@pages) {
    my $page = text($name) =~ s/^(?: {4}|\t)[^\n]*$//mgr =~ s/`[^`\n]*`//gr;
    while ($page =~ /\]\(([^)\s]+)\)/g) {
        my $to = $1;
        next if $to =~ /^(?:https?|mailto):/;
        $links++;
        my ($file, $anchor) = $to =~ /^([^#]*)(?:#(.*))?$/;
        my $target = $file eq '' ? $name : dirname($name) . "/$file";
        if (!-e "$top/$target") {
            push @broken, "$name: $to is not there";
        } elsif (defined $anchor && !anchors(text($target))->{$anchor}) {
            push @broken, "$name: $to: no such heading";
        }
    }
}
cmp_ok($links, '>', 40, 'the links were found');
is_deeply(\@broken, [], 'every link leads somewhere') or diag(join "\n", @broken);

done_testing();
