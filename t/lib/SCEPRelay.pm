# A relay on loopback between a client and a DCE/RPC server: it records what passes, and can change
# or cut what the server says.
package SCEPRelay;
use strict;
use warnings;
use Errno ();
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use SCEPRun qw(slurp spew);

# Options: to: the server's port; record: a path, to which .up, .down and .connections are appended;
# change: called with a PDU of the server's, the count of PDUs and of connections before it; returns
# the PDU, or undef to end the connection there. Each connection has a process of its own, so what
# change remembers is that connection's; its random numbers follow from this process's.
sub start {
    my ($class, %o) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die "no socket: $!\n";
    my $self = bless { record => $o{record}, port => $listener->sockport }, $class;
    spew("$self->{record}.$_", '') for qw(up down connections);
    $self->{pid} = fork // die "fork: $!\n";
    return $self if $self->{pid};
    $SIG{$_} = 'DEFAULT' for qw(INT TERM);
    $SIG{CHLD} = 'IGNORE';
    setpgrp;
    for (my $count = 0; my $client = accept_one($listener); $count++) {
        append("$self->{record}.connections", '.');
        my $seed = int rand 2**31;
        my $child = fork // die "fork: $!\n";
        next if $child;
        srand $seed;
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $o{to}) or POSIX::_exit(1);
        eval { pass($self, $client, $server, $o{change} // sub { $_[0] }, $count) };
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

# A child's end interrupts it.
sub accept_one {
    my ($listener) = @_;
    while (1) {
        my $client = $listener->accept;
        return $client if $client || !$!{EINTR};
    }
}

sub port        { return $_[0]{port} }
sub connections { return length slurp("$_[0]{record}.connections") }
sub recorded    { my ($self) = @_; return slurp("$self->{record}.up") . slurp("$self->{record}.down") }

sub append {
    my ($path, $data) = @_;
    open my $out, '>>:raw', $path or die "$path: $!\n";
    print $out $data;
    close $out or die "$path: $!\n";
    return;
}

sub send_all {
    my ($socket, $data) = @_;
    while (length $data) {
        my $n = syswrite($socket, $data) or die "send: $!\n";
        substr($data, 0, $n) = '';
    }
    return;
}

# One connection, until either side ends it.
sub pass {
    my ($self, $client, $server, $change, $connection) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $both = IO::Select->new($client, $server);
    my ($waiting, $count) = ('', 0);
    while (1) {
        for my $from ($both->can_read) {
            sysread($from, my $data, 65536) or return;
            if ($from == $client) {
                append("$self->{record}.up", $data);
                send_all($server, $data);
                next;
            }
            append("$self->{record}.down", $data);
            $waiting .= $data;
            while (length $waiting >= 16) {
                my $length = unpack 'x8 v', $waiting;
                last if length $waiting < $length;
                my $pdu = $change->(substr($waiting, 0, $length, ''), $count++, $connection);
                return if !defined $pdu;
                send_all($client, $pdu);
            }
        }
    }
}

sub stop {
    my ($self) = @_;
    # its group, the connections' processes too; of which there is one once it has begun
    kill 'TERM', -$self->{pid} or kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
