# Enrolments without pause by several processes, while the test breaks things; and what must be
# true afterwards whatever was broken.
package SCEPLoad;
use strict;
use warnings;
use POSIX ();
use SCEPRun qw(wait_for pid_lives slow slurp spew);
use Test::More;
use Time::HiRes qw(time);

use constant { REQUESTS => 160, PROCESSES => 8 };

my $loads = 0;

# Begin. Every request has a challenge and a name of its own, "CN=load L N"; one that was answered
# is sent again when its turn comes, which must give the same certificate.
sub start {
    my ($class, $s) = @_;
    my $self = bless { s => $s, dir => $s->work('load-' . ++$loads), name => "load $loads", pids => [] }, $class;
    mkdir $self->{dir} or die "$self->{dir}: $!\n";
    $self->{requests} = [
        $s->build(
            count          => REQUESTS,
            keys           => 4,
            subject        => "CN=$self->{name} {}",
            transaction_id => "$self->{name} {}",
            challenges     => [map { $s->mint } 1 .. REQUESTS])];
    for my $process (0 .. PROCESSES - 1) {
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            eval { $self->work($process); 1 } or print STDERR "# load: $@";
            POSIX::_exit(0);
        }
        push @{ $self->{pids} }, $pid;
    }
    return $self;
}

sub work {
    my ($self, $process) = @_;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    open my $log, '>', "$self->{dir}/log.$process" or die "$!\n";
    $log->autoflush(1);
    my @mine = grep { $_ % PROCESSES == $process } 0 .. REQUESTS - 1;
    for (my $round = 0; !-e "$self->{dir}/stop"; $round++) {
        for my $i (@mine) {
            last if -e "$self->{dir}/stop" || getppid == 1;
            my $begin  = time;
            my $answer = $self->{s}->send_request($self->{requests}[$i], timeout => 40);
            my $body   = "$self->{dir}/$i.$round";
            spew($body, $answer->{body});
            printf $log "%d %d %d %d %s %.3f %s\n", $i, $round, $answer->{sent}, $answer->{status},
                $answer->{header}{'content-type'} // '-', time - $begin, $answer->{error} || '-';
        }
    }
    return;
}

# Answers so far.
sub answers {
    my ($self) = @_;
    my @all;
    for my $file (glob "$self->{dir}/log.*") {
        for (split /\n/, slurp($file)) {
            my %a;
            @a{qw(index round sent status type seconds error)} = split ' ', $_, 7;
            push @all, \%a;
        }
    }
    return @all;
}

# Wait until this many more CertReps came.
sub progress {
    my ($self, $n, $seconds) = @_;
    my $from = grep { $_->{status} == 200 } $self->answers;
    return wait_for(sub { (grep { $_->{status} == 200 } $self->answers) >= $from + $n }, slow($seconds));
}

sub stop {
    my ($self) = @_;
    spew("$self->{dir}/stop", '');
    for my $pid (@{ $self->{pids} }) {
        my $gone = wait_for(sub { waitpid($pid, POSIX::WNOHANG()) != 0 }, slow(60));
        kill 'KILL', $pid if !$gone;
    }
    $self->{pids} = [];
    return;
}

sub DESTROY {
    my ($self) = @_;
    kill 'KILL', @{ $self->{pids} } if @{ $self->{pids} };
    return;
}

# Every certificate that was sent is in the inventory, and every row of the inventory is what its
# request gets when it is sent again.
sub agree {
    my ($self, $name) = @_;
    my $s = $self->{s};
    my %row;
    push @{ $row{ $_->{subject} } }, $_->{serial}
        for $s->query("SELECT subject, serial FROM scep_certificate WHERE subject LIKE 'CN=$self->{name} %'");
    my %known = map { $_ => 1 } map { @$_ } values %row;

    my (%first, %last);
    for my $a (sort { $a->{round} <=> $b->{round} } grep { $_->{status} == 200 } $self->answers) {
        $first{ $a->{index} } //= $a;
        $last{ $a->{index} } = $a;
    }
    my (@lost, @refused, %got);
    for my $a (values %first, grep { $first{ $_->{index} } != $_ } values %last) {
        my $reply = $s->open_reply($self->{requests}[ $a->{index} ],
            { body => slurp("$self->{dir}/$a->{index}.$a->{round}") });
        push @refused, "$a->{index}.$a->{round}: " . SCEPTest::describe($reply) if !$reply->{serial};
        next if !$reply->{serial};
        push @lost, "$a->{index}.$a->{round}: $reply->{serial}" if !$known{ $reply->{serial} };
        push @lost, "$a->{index}.$a->{round}: two certificates"
            if ($got{ $a->{index} } //= $reply->{serial}) ne $reply->{serial};
    }
    cmp_ok(scalar keys %got, '>', 20, "$name: certificates were issued meanwhile");
    is_deeply(\@refused, [], "$name: no request was refused") or diag(join "\n", @refused > 9 ? @refused[0 .. 9] : @refused);
    is_deeply(\@lost, [], "$name: every certificate sent is in the inventory") or diag(join "\n", @lost);

    my @wrong;
    for my $subject (sort keys %row) {
        my ($number) = $subject =~ /(\d+)$/;
        my $request = $self->{requests}[ $number - 1 ];
        my $reply = $s->open_reply($request, $s->send_request($request));
        push @wrong, "$subject: @{ $row{$subject} }, answered: " . SCEPTest::describe($reply)
            if @{ $row{$subject} } != 1 || ($reply->{serial} // '') ne $row{$subject}[0];
    }
    is_deeply(\@wrong, [], "$name: every row's request gets that certificate again")
        or diag(join "\n", @wrong > 9 ? @wrong[0 .. 9] : @wrong);
    return;
}

1;
