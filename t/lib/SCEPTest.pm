# What the tests t/*.t share: a private httpd that is judged by its error log too.
package SCEPTest;
use strict;
use warnings;
use File::Find ();
use JSON::PP ();
use SCEPClient;
use SCEPReply;
use SCEPNamespace;
use SCEPRun qw(run spawn wait_for pid_lives halt slow slurp spew have);
use SCEPServer;
use Test::More;

our @ISA = qw(SCEPServer SCEPClient);

# use SCEPTest; gives strict, warnings, Test::More and the tools of SCEPRun.
sub import {
    my $caller = caller;
    strict->import;
    warnings->import;
    Test::More->export_to_level(1, $caller);
    no strict 'refs';
    *{"${caller}::$_"} = \&{"SCEPRun::$_"} for qw(run spawn wait_for pid_lives halt slow slurp spew have);
    *{"${caller}::$_"} = \&{$_} for qw(need_program is_root issued failed pending);
    return;
}

my (%unfinished, @minted);

# Everything is several times slower under the sanitizers, and a machine of a CI's has other work, too.
$ENV{SCEP_TEST_SLOW} //= SCEPServer::is_sanitized() ? 4 : $ENV{CI} ? 2 : 1;

sub is_root { return SCEPServer::as_root() }

# Leaves the test file out where the program is missing, except in CI.
sub need_program {
    SCEPNamespace::unable("$_ is not installed") for grep { !defined have($_) } @_;
    return;
}

# A running server; without one no test makes sense.
sub up {
    my ($class, %o) = @_;
    my $self = $class->ready(%o);
    my $why = $self->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
    return $self;
}

# The same, not started.
sub ready {
    my ($class, %o) = @_;
    my $self = $class->new(%o);
    my $why = $self->prepare;
    BAIL_OUT($why) if defined $why;
    $self->{expected} = {};
    $self->{allowed}  = [];
    $unfinished{ $self->{dir} } = $self;
    return $self;
}

# Options of up() for virtual hosts NAME => DIRECTIVES: each has an address, an endpoint NAME.test and
# a challenge page of its own, room for many challenges and for many failures.
sub hosts {
    my (@pairs) = @_;
    my ($text, @names) = ('');
    while (my ($name, $directives) = splice @pairs, 0, 2) {
        push @names, $name;
        $text .= "<VirtualHost 127.0.0.1:\@PORT" . @names . "\@>\nServerName $name.test\nSCEPEngine on\n"
            . "SCEPPasswordMax 100000\nSCEPFailedMax 100000\n$directives"
            . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n";
    }
    return (ports => scalar @names, names => \@names, hosts => $text);
}

# Where such a host is: for at =>.
sub place {
    my ($self, $name) = @_;
    my @names = @{ $self->{names} };
    my ($index) = grep { $names[$_] eq $name } 0 .. $#names;
    return { port => $self->port($index), host => "$name.test" };
}

# Patterns of log lines that must come, and of ones that may.
sub expect_log { my ($self, @patterns) = @_; $self->{expected}{$_} = 0 for @patterns; return }
sub allow_log { my ($self, @patterns) = @_; push @{ $self->{allowed} }, @patterns; return }

# Does such a line come?
sub logs {
    my ($self, $pattern, $seconds) = @_;
    return wait_for(sub { scalar grep { /$pattern/ } $self->log_lines }, slow($seconds // 5));
}

sub unexpected_lines {
    my ($self) = @_;
    my @found;
    for my $line ($self->log_lines) {
        if ($line =~ /AddressSanitizer|LeakSanitizer|runtime error:/
            || $line =~ /exit signal (?!Killed|Terminated)/) {
            push @found, $line;
            next;
        }
        next if $line !~ /\[(?:\w+:)?(?:warn|error|crit|alert|emerg)\]/;
        # SIGTERM: httpd closes a socket while its worker is about to wait for the client's last word
        next if $line =~ /\(9\)Bad file descriptor: AH03092: /;
        # when many ask at once: the workers are nearly all busy, or all
        next if $line =~ /AH(?:10159|00484|00287|00286): /;
        my @expected = grep { $line =~ /$_/ } keys %{ $self->{expected} };
        $self->{expected}{$_}++ for @expected;
        next if @expected || grep { $line =~ /$_/ } @{ $self->{allowed} };
        push @found, $line;
    }
    return @found;
}

sub mint {
    my ($self, %o) = @_;
    my $challenge = $self->SCEPClient::mint(%o);
    push @minted, $challenge;
    return $challenge;
}

# Files of the server that hold one of the texts; the tests' own folder is left out.
sub files_with {
    my ($self, @texts) = @_;
    return () if !@texts;
    my $any = join '|', map { quotemeta } @texts;
    my @found;
    File::Find::find(
        {   no_chdir => 1,
            wanted   => sub {
                return if !-f || m{^\Q$self->{dir}\E/work/};
                open my $in, '<:raw', $_ or return;
                local $/;
                my $all = <$in> // '';
                push @found, $_ if $all =~ /$any/;
            }
        },
        $self->{dir});
    return @found;
}

# The end of every test file: nothing is left running, nothing unexpected was logged, and no
# challenge can be read in any file of the server.
sub finish {
    my ($self) = @_;
    delete $unfinished{ $self->{dir} };
    my @forced = $self->stop;
    is_deeply(\@forced, [], 'httpd and scep-ca stopped by themselves');
    is_deeply([$self->ca_pids], [], 'no scep-ca is left');
    my @lines = $self->unexpected_lines;
    # The first few tell enough.
    is(scalar @lines, 0, 'no unexpected line in the error log')
        or diag(join "\n", @lines > 20 ? @lines[0 .. 19] : @lines);
    for my $pattern (sort keys %{ $self->{expected} }) {
        ok($self->{expected}{$pattern}, "$pattern was logged");
    }
    is_deeply([$self->files_with(@minted)], [], 'no challenge stands in a file')
        if @minted;
    diag('the error log ends: ' . $self->log_tail(25))
        if !Test::More->builder->is_passing;
    $self->end;
    return;
}

END {
    if (%unfinished && $? == 0 && grep { $_->{owner} == $$ } values %unfinished) {
        print STDERR "# a server was started and never judged: finish() is missing\n";
        $? = 1;
    }
}

# ---- what a SCEP answer should be ----

sub issued {
    my ($reply, $name) = @_;
    my $good = ok(($reply->{pki_status} // '') eq '0' && $reply->{serial}, $name);
    $good or diag(describe($reply));
    return $good;
}

# A signed FAILURE with this failInfo, and a text that matches where one is given.
sub failed {
    my ($reply, $fail_info, $name, $text) = @_;
    my $good = ok(
        ($reply->{pki_status} // '') eq '2'
            && ($reply->{fail_info} // '') eq $fail_info
            && (!defined $text || ($reply->{fail_info_text} // '') =~ $text),
        $name);
    $good or diag(describe($reply));
    return $good;
}

# A signed PENDING.
sub pending {
    my ($reply, $name) = @_;
    my $good = ok(($reply->{pki_status} // '') eq '3' && !defined $reply->{fail_info}, $name);
    $good or diag(describe($reply));
    return $good;
}

sub describe {
    my ($reply) = @_;
    my %show = map { $_ => $reply->{$_} } grep { defined $reply->{$_} && !ref $reply->{$_} } keys %$reply;
    delete @show{qw(der certificate chain crl)};
    $show{http} = "$reply->{http}{status} " . ($reply->{http}{header}{'content-type'} // '')
        . ' ' . substr($reply->{http}{error} || '', 0, 200)
        if $reply->{http};
    return join ', ', map { "$_=$show{$_}" } sort keys %show;
}

# Stop and forget, where nothing is to be judged.
sub end {
    my ($self) = @_;
    delete $unfinished{ $self->{dir} };
    return $self->SCEPServer::end;
}

# What an independent reader has against the answer; nothing where it is as it should be. Options
# as for SCEPReply.
sub faults {
    my ($self, $reply, %o) = @_;
    my ($http, $base) = ($reply->{http}, $reply->{request}{base});
    my $type   = $http->{header}{'content-type'} // 'none';
    my $length = $http->{header}{'content-length'};
    my @faults;
    push @faults, "R-148: Content-Type is $type" if $type ne 'application/x-pki-message';
    push @faults, 'R-149: no Content-Length, or in chunks' if !defined $length || $http->{chunked};
    push @faults, "HTTP status $http->{status}" if $http->{status} != 200;
    my $read = SCEPReply->new(
        $http->{body},
        request     => $reply->{request}{der},
        signer_cert => "$base.crt",
        signer_key  => "$base.signer.key",
        ca_ra       => slurp($self->ca_ra(%{ $o{via} // {} })),
        %o);
    $reply->{read} = $read;
    return (@faults, $read->faults);
}

# ---- the administrator's desk ----

sub scepctl {
    my ($self, @words) = @_;
    return run([SCEPServer::built('tools/scepctl'), '--conf', $self->ca_conf, @words],
        timeout => slow(60), env => { ASAN_OPTIONS => 'detect_leaks=0' });
}

# The same, where it has to work: what it printed, read as JSON where --json is among the words.
sub scepctl_must {
    my ($self, @words) = @_;
    my $ran = $self->scepctl(@words);
    die "scepctl @words: $ran->{output}\n" if $ran->{status} != 0;
    return $ran->{output} if !grep { $_ eq '--json' } @words;
    return JSON::PP::decode_json($ran->{output});
}

# The waiting request with this transactionID: a hash as scepctl has it. Dies where there is none.
sub waiting {
    my ($self, $reply) = @_;
    my $listed = $self->scepctl_must('requests', '--json');
    my $id = $reply->{request}{transaction_id};
    my ($found) = grep { $_->{transaction_id} eq $id } ref $listed eq 'ARRAY' ? @$listed : @{ $listed->{requests} };
    die "no request $id waits\n" if !$found;
    return $found;
}

sub approve { my ($self, $reply) = @_; return $self->scepctl_must('approve', $self->waiting($reply)->{id}) }

sub deny {
    my ($self, $reply, $reason) = @_;
    return $self->scepctl_must('deny', $self->waiting($reply)->{id}, '--reason', $reason);
}

sub revoke {
    my ($self, $reply, $reason) = @_;
    return $self->scepctl_must('revoke', $reply->{serial}, '--reason', $reason);
}

# ---- the inventory ----

sub database { return "$_[0]{dir}/ca/state/store.db" }

sub certificates {
    my ($self) = @_;
    return ($self->query('SELECT count(*) AS n FROM scep_certificate'))[0]{n};
}

sub query {
    my ($self, $sql) = @_;
    my $answer = run(['sqlite3', '-readonly', '-json', '-cmd', '.timeout 5000', $self->database, $sql]);
    die "sqlite3: $answer->{output}\n" if $answer->{status} != 0;
    return $answer->{output} =~ /\S/ ? @{ JSON::PP::decode_json($answer->{output}) } : ();
}

1;
