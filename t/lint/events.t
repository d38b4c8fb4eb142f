# NDES's event ids: each that a runbook may know has its row in docs/operations.md, and what a row
# promises stands in the line that the code writes.
use strict;
use warnings;
use SCEPRun qw(slurp);
use Test::More;

my $top = $ENV{srcdir} // '.';

# What a line of the log says of each code: the event in the table of lib/err.h.
my %event_of = slurp("$top/lib/err.h") =~ /^\s*X\((\w+), -?\d+, \d+, (\d+),/mg;
cmp_ok(scalar keys %event_of, '>', 10, 'the codes were found');

# The text of the code from an id to the end of its statement; of the table of faults, the code's event.
my (%statement, %by_code);
for my $file (glob("$top/*.c $top/ca/*.c")) {
    my $text = slurp($file);
    while ($text =~ /\b(SCEP\d{4})\b/g) {
        my ($id, $from) = ($1, pos $text);
        $statement{$id} = substr($text, $from, 400) =~ s/;\s*\n.*//sr;
        my $before = substr $text, 0, $from;
        $by_code{$id} = $event_of{$1} if $before =~ /\[SCEP_(\w+)\]\s*=\s*\{\s*"SCEP\d{4}$/;
    }
}

my (%rows, @broken);
for my $line (split /\n/, slurp("$top/docs/operations.md")) {
    my ($id, $events) = $line =~ /^\|\s*(SCEP\d{4})\s*\|[^|]*\|\s*([\d, ]*)\|/ or next;
    for my $event ($events =~ /\d+/g) {
        push @{ $rows{$event} }, $id;
        next if ($statement{$id} // '') =~ /NDES-$event\b|scep_event\(/;
        push @broken, "$id: NDES-$event" if ($by_code{$id} // '') ne $event && $event != 28;
    }
}
is_deeply(\@broken, [], 'a line holds the event that its row promises');
like(slurp("$top/mod_scep_reply.c"), qr/x->renews && is_refusal\(code\) \? "[^"]*NDES-28"/,
    'a renewal that is refused holds NDES-28 beside it');

my %meaning = (
    1  => 'started',                2  => 'cannot be started',     3  => 'stopped',
    4  => 'cannot be stopped',      6  => 'no permission to enroll', 7 => 'GetCACert cannot be answered',
    8  => 'cannot retrieve information', 10 => 'a required certificate', 16 => 'cannot decode the message',
    17 => 'required information',   18 => 'cannot decrypt',        28 => 'a renewal failed',
    29 => 'password not verified',  31 => 'cannot submit',         49 => 'the stored password cannot be decrypted',
);
ok($rows{$_}, "event $_ ($meaning{$_}) has a line: " . join ' ', @{ $rows{$_} // [] })
    for sort { $a <=> $b } keys %meaning;
done_testing();
