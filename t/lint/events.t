# NDES's event ids, in both directions: what the NDES column of docs/operations.md promises of a line
# stands in it, what a line holds stands in its row, and each event that a runbook may know has both.
use strict;
use warnings;
use SCEPRun qw(slurp);
use Test::More;

my $top = $ENV{srcdir} // '.';

# ndes.md 6: NDES's events.
my %meaning = (
    1  => 'started',                2  => 'cannot be started',     3  => 'stopped',
    4  => 'cannot be stopped',      6  => 'no permission to enroll', 7 => 'GetCACert cannot be answered',
    8  => 'cannot retrieve information', 10 => 'a required certificate', 16 => 'cannot decode the message',
    17 => 'required information',   18 => 'cannot decrypt',        28 => 'a renewal failed',
    29 => 'password not verified',  31 => 'cannot submit',         49 => 'the stored password cannot be decrypted',
    53 => 'a policy module cannot be loaded',
);

# What keeps scep-ca from starting reaches these lines with the event that it has itself, behind NDES-2.
my @start = qw(SCEP0001 SCEP0002 SCEP0100 SCEP0200);

# Lines whose event is that of an error: the codes that reach them, and a file that fails with each.
my %reaches = (
    SCEP0010 => { UNAVAILABLE => 'mod_scep_known.c', INTERNAL => 'lib/certs.c' },
    SCEP0011 => { INTERNAL => 'lib/certrep.c' },
    SCEP0075 => { UNAVAILABLE => 'lib/ca_client.c', INTERNAL => 'mod_scep_pages.c', CONFIG => 'ca/office_module.c',
        BAD_REQUEST => 'ca/office_module.c', SINGLE_PASSWORD => 'ca/single.c' },
);

# Refused before the kind of the message is known; and a renewal has no challenge.
my @never_of_a_renewal = qw(UNDECODABLE TOO_LARGE CHALLENGE CHALLENGE_ABSENT);

# ---- the code

# The event of each code: the table that scep_event() looks into.
my %event_of = slurp("$top/lib/err.h") =~ /^\s*X\((\w+), -?\d+, \d+, (\d+),/mg;
cmp_ok(scalar keys %event_of, '>', 10, 'the codes were found');
like(slurp("$top/mod_scep_reply.c"), qr/scep_event\(request_rec[^{]*\{[^}]*scep_code_describe\(code\);[^}]*"NDES-%d [^}]*row->event/,
    'scep_event() says the event of the code');

# Statements, each as one line without comments; a directive of the preprocessor is one of its own.
sub statements {
    my ($text) = @_;
    my $quoted = qr/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/s;
    $text =~ s{($quoted)|/\*.*?\*/}{$1 // ' '}gse;
    my @all = ('');
    while ($text =~ /\G(?:($quoted)|(^[ \t]*#(?:[^\n]*\\\n)*[^\n]*\n)|([;{}])|([^"';{}\n]+|\n))/gcm) {
        if (defined $2) { push @all, $2, '' }
        elsif (defined $3) { push @all, '' }
        else { $all[-1] .= $1 // $4 }
    }
    return map { s/\s+/ /gr } @all;
}

my (%line, %says, %of_an_error, %code_of, @renewal, @stray);
for my $file (glob("$top/*.c $top/ca/*.c $top/lib/*.c")) {
    my $text = slurp($file);
    while ($text =~ /\[SCEP_(\w+)\]\s*=\s*\{\s*"(SCEP\d{4})"/g) { $code_of{$2} = $1 }
    for my $statement (statements($text)) {
        my @ids = $statement =~ /\b(SCEP\d{4})\b/g;
        my @events = $statement =~ /NDES-(\d+)/g;
        if (@ids == 1) {
            $line{ $ids[0] } = $statement;
            $says{ $ids[0] }{$_} = 1 for @events;
        }
        elsif ($statement =~ /\bfaults\[code\]\.id\b/) {
            push @renewal, $statement;
        }
        elsif (@events && !@ids && $statement =~ /\bscep_fail\(/) {
            $of_an_error{$_} = 1 for @events;
        }
        elsif (@events) {
            push @stray, "$file: $statement";
        }
    }
}
is_deeply(\@stray, [], 'each NDES-n stands in a line that has an id, or in an error');
cmp_ok(scalar keys %line, '>', 50, 'the lines were found');

# Of an error that keeps scep-ca from starting.
like($line{$_} // '', qr/->detail|\berr ?\)/, "$_ holds what keeps scep-ca from starting") for @start;
for my $id (@start) { $says{$id}{$_} = 1 for keys %of_an_error }

# Of any other error: by its code.
is_deeply([sort grep { $line{$_} =~ /\bscep_event\(/ } keys %line], [sort keys %reaches],
    'of each line with the event of an error it is known which errors reach it');
for my $id (sort keys %reaches) {
    for my $code (sort keys %{ $reaches{$id} }) {
        like(slurp("$top/$reaches{$id}{$code}"), qr/\bscep_fail\([^;"]*, $code,/, "$id: $reaches{$id}{$code} fails with $code");
        $says{$id}{ $event_of{$code} } = 1;
    }
}

# The faults of a request: by their codes, and a renewal that is refused has NDES-28 beside it.
is(scalar @renewal, 1, 'the faults have one line');
like($renewal[0] // '', qr/\bscep_event\(x->r, code\)/, 'which holds the event of the code');
like($renewal[0] // '', qr/x->renews && is_refusal\(code\) \? "[^"]*NDES-28" : ""/, 'and that of a renewal that is refused');
my ($broken) = slurp("$top/mod_scep_reply.c") =~ /\bis_refusal\(int code\)\s*\{\s*return ([^;]*);/;
my %no_renewal = map { $_ => 1 } @never_of_a_renewal, ($broken // '') =~ /code != SCEP_(\w+)/g;
for my $id (sort keys %code_of) {
    $says{$id} = { $event_of{ $code_of{$id} } => 1, $no_renewal{ $code_of{$id} } ? () : (28 => 1) };
}

# ---- the page

my %row;
for (split /\n/, slurp("$top/docs/operations.md")) {
    my ($id, $events) = /^\|\s*(SCEP\d{4})\s*\|[^|]*\|\s*([^|]*?)\s*\|/ or next;
    like($events, qr/^(?:\d+(?:, \d+)*)?$/, "$id: the NDES column holds events alone") if $events ne '';
    $row{$id}{$_} = 1 for $events =~ /\d+/g;
}

sub listed { my ($of) = @_; return join ', ', sort { $a <=> $b } keys %{ $of // {} } }
my %either = (%row, %says);
is(listed($row{$_}), listed($says{$_}), "$_: the row has the events that the line has")
    for grep { listed($row{$_}) ne '' || listed($says{$_}) ne '' } sort keys %either;

for my $event (sort { $a <=> $b } keys %meaning) {
    my @by = grep { $says{$_}{$event} } sort keys %says;
    ok(@by, "event $event ($meaning{$event}) has a line: @by");
    ok((grep { $row{$_}{$event} } keys %row), "event $event ($meaning{$event}) has a row");
}
my %known = map { $_ => 1 } map { keys %$_ } values %says;
is(listed(\%known), listed(\%meaning), 'there is no event beside these');
done_testing();
