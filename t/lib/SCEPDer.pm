# A small reader of DER, bounded and strict: definite and shortest lengths, no value twice as long
# as it need be. An element is { tag, der: all of it, body: what it holds }. Everything dies with a
# sentence where the bytes are not what they should be.
package SCEPDer;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(der_one der_list der_oid der_walk is_sorted);

use constant { MOST_BYTES => 1 << 20, MOST_ELEMENTS => 4096, MOST_DEPTH => 40 };

# The element at the front of bytes; what follows it is left in them.
sub take {
    my ($bytes, $offset) = @_;
    my $left = length($$bytes) - $offset;
    die "an element without a length\n" if $left < 2;
    my ($tag, $first) = unpack "\@$offset C2", $$bytes;
    die "a tag number above 30\n" if ($tag & 0x1F) == 0x1F;
    my ($length, $header) = ($first, 2);
    if ($first >= 0x80) {
        my $n = $first & 0x7F;
        die "an indefinite length\n" if !$n;
        die "a length of $n bytes\n" if $n > 3;
        die "a length that is cut short\n" if $left < 2 + $n;
        $length = 0;
        $length = $length << 8 | $_ for unpack "\@$offset x2 C$n", $$bytes;
        die "a length longer than it need be\n"
            if $length < 0x80 || $n > 1 && $length < 1 << 8 * ($n - 1);
        $header += $n;
    }
    die "an element that is cut short\n" if $header + $length > $left;
    return {
        tag  => $tag,
        der  => substr($$bytes, $offset, $header + $length),
        body => substr($$bytes, $offset + $header, $length)
    };
}

# All elements of bytes, to the last byte; with a list of tags exactly these, undef for any.
sub der_list {
    my ($bytes, @tags) = @_;
    die "too long\n" if length $bytes > MOST_BYTES;
    my ($offset, @found) = (0);
    while ($offset < length $bytes) {
        push @found, take(\$bytes, $offset);
        $offset += length $found[-1]{der};
        die "too many elements\n" if @found > MOST_ELEMENTS;
    }
    return @found if !@tags;
    die sprintf("%d elements instead of %d\n", scalar @found, scalar @tags) if @found != @tags;
    for my $i (0 .. $#tags) {
        next if !defined $tags[$i] || $found[$i]{tag} == $tags[$i];
        die sprintf("tag %02X instead of %02X\n", $found[$i]{tag}, $tags[$i]);
    }
    return @found;
}

# The one element that bytes are, of this tag.
sub der_one {
    my ($bytes, $tag) = @_;
    return (der_list($bytes, $tag))[0];
}

# The contents of an OBJECT IDENTIFIER with dots.
sub der_oid {
    my ($element) = @_;
    die sprintf("tag %02X instead of an OBJECT IDENTIFIER\n", $element->{tag})
        if $element->{tag} != 0x06 || $element->{body} eq '';
    my @numbers = unpack 'w*', $element->{body};
    my $first = shift @numbers;
    my $arc = $first < 80 ? int $first / 40 : 2;
    return join '.', $arc, $first - 40 * $arc, @numbers;
}

# Are the elements of a SET OF in the order DER gives them?
sub is_sorted {
    my @der = map { $_->{der} } @_;
    return !grep { $der[$_ - 1] gt $der[$_] } 1 .. $#der;
}

# Every element within, down to the last: dies where one is not DER.
sub der_walk {
    my ($bytes, $depth) = @_;
    $depth //= 0;
    die "nested too deep\n" if $depth > MOST_DEPTH;
    for my $element (der_list($bytes)) {
        my ($tag, $body) = @$element{qw(tag body)};
        if ($tag & 0x20) {
            die sprintf("a string in pieces, tag %02X\n", $tag)
                if !($tag & 0xC0) && $tag != 0x30 && $tag != 0x31;
            der_walk($body, $depth + 1);
            die "a SET that is not sorted\n" if $tag == 0x31 && !is_sorted(der_list($body));
            next;
        }
        die "a SEQUENCE or SET that is primitive\n" if $tag == 0x10 || $tag == 0x11;
        die "a BOOLEAN that is neither 00 nor FF\n" if $tag == 0x01 && $body !~ /\A[\x00\xFF]\z/;
        die "an INTEGER that is not the shortest\n"
            if ($tag == 0x02 || $tag == 0x0A)
            && ($body eq '' || $body =~ /\A\x00[\x00-\x7F]/s || $body =~ /\A\xFF[\x80-\xFF]/s);
        die "a NULL with contents\n" if $tag == 0x05 && $body ne '';
    }
    return;
}

1;
