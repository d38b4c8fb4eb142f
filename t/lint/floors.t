# A file includes its own floor or a lower one, and the rooms have no circles.
# docs/architecture.md, "Floors".
use strict;
use warnings;
use Test::More;

my $top = $ENV{srcdir} // '.';

my %lib = (
    0 => [qw(err own bytes ber clock der fetched)],
    1 => [qw(asn1 cert spki message certrep caps csr oid algorithm legacy certs query limit proof
        reference)],
    2 => [qw(key ra registry settings)],
    3 => [qw(wire ca_client scep)],
);
my %ca = (
    0 => [qw(conf log runner deadline aside ndr breaker subject file http)],
    1 => [qw(policy template issue dcerpc)],
    2 => [qw(store icpr)],
    3 => [qw(challenge transaction request inventory reservation renewal foreign identities seal single connector
        directory crl policy_module received submission clerks)],
    4 => [qw(office)],
    5 => [qw(main check process server ctl chores ending init runner_main)],
);
# Files of a room whose names do not begin with the room's.
my %part = map { ("ca/$_" => 'ca/server') } qw(call connection desk hands);
# The library lies below the whole of ca/. A room may have further files: store_writer is store's.
my %floor;
for my $n (keys %lib) { $floor{"lib/$_"} = $n for @{ $lib{$n} } }
for my $n (keys %ca)  { $floor{"ca/$_"}  = $n + 10 for @{ $ca{$n} } }

sub room_of {
    my ($name) = @_;
    (my $room = $name) =~ s/\.[ch]$//;
    return $part{$room} if $part{$room};
    my $short = $room;
    while (!exists $floor{$short}) {
        $short =~ s/_[^_\/]*$// or return $room;
    }
    return $short;
}

my @files;
for my $file (sort glob("$top/lib/*.[ch] $top/ca/*.[ch] $top/*.[ch]")) {
    (my $name = $file) =~ s{^\Q$top\E/}{};
    next if $name =~ /^config\.h/;
    push @files, $name;
}
cmp_ok(scalar @files, '>', 30, 'the sources were found');

my (@wrong, %edge);
for my $name (@files) {
    my ($dir) = $name =~ m{^(lib|ca)/};
    $dir //= '';
    my $room = room_of($name);
    my $own = $dir ? $floor{$room} : 99;
    push @wrong, "$name: no floor is known for this file; add it to this lint" if !defined $own;
    $own //= 0;
    open my $in, '<', "$top/$name" or die "$name: $!\n";
    while (<$in>) {
        if (/^\s*#\s*include\s+"([^"]+)"/) {
            my $what = $1;
            next if $what eq 'config.h';
            my $target;
            for my $at ($dir, 'lib', $dir eq 'lib' ? () : ('ca', '')) {
                my $path = $at eq '' ? $what : "$at/$what";
                if (-e "$top/$path") { $target = $path; last }
            }
            if (!defined $target) {
                push @wrong, "$name:$.: \"$what\" is not found";
                next;
            }
            push @wrong, "$name:$.: the module includes $target, but talks to ca/ over the wire only"
                if $dir eq '' && $target =~ m{^ca/};
            my $to = room_of($target);
            my $theirs = $target =~ m{/} ? $floor{$to} : 99;
            push @wrong, "$name:$.: floor $own includes $target of floor $theirs"
                if defined $theirs && $theirs > $own;
            $edge{$room}{$to} = 1 if $to ne $room;
        } elsif (/^\s*#\s*include\s+<([^>]+)>/) {
            my $what = $1;
            push @wrong, "$name:$.: <$what> belongs to the module only"
                if $dir && $what =~ /^(?:httpd|http_\w+|ap_\w+|util_\w+|mpm_\w+|scoreboard)\.h$/;
            push @wrong, "$name:$.: only ca/directory*.c may know <$what>"
                if $what =~ /^ldap\w*\.h$/ && $name !~ m{^ca/directory};
            push @wrong, "$name:$.: only ca/dcerpc_auth.c and ca/directory_gssapi.c may know <$what>"
                if $what =~ m{^(?:gssapi|krb5)} && $name !~ m{^ca/(?:dcerpc_auth|directory_gssapi)\.c$};
            push @wrong, "$name:$.: only ca/store*.c may know <$what>"
                if $what =~ /^apr_dbd\.h$/ && $name !~ m{^ca/store\w*\.[ch]$};
        }
    }
    close $in;
}
is_deeply(\@wrong, [], 'every file includes its own floor or a lower one')
    or diag(join("\n", @wrong));

# Circles: depth first, a room that is met again while it is still open.
my (%state, @circles);
sub visit {
    my ($room, @way) = @_;
    return if ($state{$room} // '') eq 'done';
    if (($state{$room} // '') eq 'open') {
        push @circles, join(' -> ', @way, $room);
        return;
    }
    $state{$room} = 'open';
    visit($_, @way, $room) for sort keys %{ $edge{$room} || {} };
    $state{$room} = 'done';
    return;
}
visit($_) for sort keys %edge;
is_deeply(\@circles, [], 'no circles') or diag(join("\n", @circles));

done_testing();
