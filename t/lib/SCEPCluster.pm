# Two nodes, each an httpd and a scep-ca of its own, with the same CA, RAs and store.key and one
# database; clients that post every challenge to both at once; and what must be true of it.
package SCEPCluster;
use strict;
use warnings;
use File::Path ();
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use SCEPPostgreSQL;
use SCEPRun qw(run wait_for halt slow slurp spew);
use SCEPServer;
use SCEPTest;
use Test::More;
use Time::HiRes qw(time);

# ---- the nodes

# One for load, with room for all of it; one with NDES's own limit; and those with a single password.
my @single = map { "single$_" } 0 .. 24;
my $hosts = join '', map {
    my ($port, $name, $more) = @$_;
    "<VirtualHost 127.0.0.1:\@PORT$port\@>\nServerName $name.test\nSCEPEngine on\nSCEPFailedMax 1000000\n"
        . "SCEPMintMax 1000000\n$more" . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n"
} [1, 'scep', "SCEPPasswordMax 100000\n"], [2, 'small', ''], map { [3, $_, "SCEPUseSinglePassword on\n"] } @single;

# Both running. postgresql: a SCEPPostgreSQL; without it they share a SQLite file.
sub up {
    my ($class, %o) = @_;
    my $self = bless {%o}, $class;
    $self->{nodes} = [map { SCEPTest->ready(ports => 3, hosts => $hosts, ca => 'p256') } 1, 2];
    my ($first, $second) = $self->nodes;
    # the losers of each pair, and an endpoint that is full
    $_->expect_log('SCEP0026: NDES-29 CHALLENGE: ', 'SCEP0073: .*small\.test') for $self->nodes;
    my $place = $o{postgresql} ? $o{postgresql}->place : 'sqlite3:' . $first->database;
    share($first, $second);
    for my $node ($self->nodes) {
        my $text = slurp($node->ca_conf);
        $text =~ s/^store +=.*$/store = $place/m or die $node->ca_conf . ": names no store\n";
        spew($node->ca_conf, $text);
        my $why = $node->start;
        BAIL_OUT("a node is not up: $why") if defined $why;
    }
    return $self;
}

sub nodes { return @{ $_[0]{nodes} } }

# What an administrator copies from one node to the next.
sub share {
    my ($from, $to) = @_;
    my $source = "$from->{dir}/ca";
    for my $file (grep { -f } glob "$source/*") {
        my $copy = run(['cp', '-p', $file, "$to->{dir}/ca/"]);
        die "cp: $copy->{output}\n" if $copy->{status} != 0;
    }
    return;
}

sub at_single { my ($node, $name) = @_; return (port => $node->port(2), host => "$name.test") }
sub at_small { my ($node) = @_; return (port => $node->port(1), host => 'small.test') }

# Rows of the common database.
sub query {
    my ($self, $sql) = @_;
    return $self->{nodes}[0]->query($sql) if !$self->{postgresql};
    my $json = $self->{postgresql}->psql("SELECT coalesce(json_agg(t), '[]') FROM ($sql) t");
    return @{ JSON::PP::decode_json($json) };
}

sub number { my ($self, $sql) = @_; return ($self->query("SELECT $sql AS n"))[0]{n} }

sub unused {
    my ($self, $endpoint) = @_;
    return $self->number("(SELECT unused FROM scep_endpoint WHERE name = '$endpoint')");
}

sub finish {
    my ($self) = @_;
    $_->finish for $self->nodes;
    my $pg = $self->{postgresql} or return;
    ok($pg->stop, 'PostgreSQL stopped by itself');
    # The first node asks for the schema before it makes it; and a stopped one is cut off.
    my $good   = qr/"scep_meta" does not exist|idle-in-transaction timeout/;
    my @errors = grep { /\b(?:ERROR|FATAL|PANIC): / && !/$good/ } $pg->log_lines;
    is(scalar @errors, 0, 'and has no error in its log') or diag(first_of(10, @errors));
    is_deeply([SCEPTest::files_with($pg, @{ $self->{minted} })], [], 'no challenge stands in its files');
    $pg->end;
    return;
}

# ---- the load

# Each of `clients` mints `each` challenges at one node, and posts each in two different requests to
# both nodes at once. Returns the pairs: { challenge's number, replies => [at node 1, at node 2] }.
sub race {
    my ($self, %o) = @_;
    my $dir = $self->{nodes}[0]->work('race');
    mkdir $dir or die "$dir: $!\n";
    # A key for each node's requests: making them takes longer than all else.
    $o{keys} = [map { $_->work('race.key') } $self->nodes];
    for my $key (@{ $o{keys} }) {
        my $made = run(['openssl', 'genrsa', '-out', $key, '2048']);
        die "openssl: $made->{output}\n" if $made->{status} != 0;
    }
    my @pids = map { $self->fork_client($dir, $_, %o) } 1 .. $o{clients};
    my $left = @pids;
    wait_for(sub { $left -= grep { waitpid($_, POSIX::WNOHANG()) == $_ } @pids; $left <= 0 }, slow(300));
    kill 'KILL', @pids if $left > 0;
    return map { -e "$dir/$_.json" ? @{ JSON::PP::decode_json(slurp("$dir/$_.json")) } : () } 1 .. $o{clients};
}

sub fork_client {
    my ($self, $dir, $client, %o) = @_;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    eval { $self->client($dir, $client, %o); 1 } or print STDERR "# client $client: $@";
    POSIX::_exit(0);
}

sub client {
    my ($self, $dir, $client, %o) = @_;
    my $each  = $o{each};
    my @nodes = $self->nodes;
    my $mints = $nodes[$client % 2];
    my @challenges = map { $mints->mint } 1 .. $each;
    my @requests = map {
        [$nodes[$_]->build(
            count          => $each,
            key            => $o{keys}[$_],
            subject        => "CN=client $client node $_ number {}",
            transaction_id => "$client.$_.{}",
            challenges     => \@challenges)]
    } 0, 1;
    # All begin together, when the last one is ready.
    spew("$dir/$client.ready", '');
    wait_for(sub { getppid == 1 || !grep { !-e "$dir/$_.ready" } 1 .. $o{clients} }, slow(200));
    my (@pairs, @list);
    for my $i (0 .. $each - 1) {
        my @answers = $self->both(map { $requests[$_][$i] } 0, 1);
        my @replies = map { { status => $answers[$_]{status}, request => $requests[$_][$i] } } 0, 1;
        push @pairs, { name => "$client.$i", replies => \@replies };
        for (0, 1) {
            my $file = "$requests[$_][$i]{base}.reply";
            spew($file, $answers[$_]{body});
            push @list, [$replies[$_], $file];
        }
    }
    open_all($nodes[0], @list);
    delete $_->{request}{der} for map { @{ $_->{replies} } } @pairs;
    # Not of the first and the last, which are sent again. So many files are slow to look through.
    for my $reply (map { @{ $_->{replies} } } @pairs[1 .. $#pairs - 1]) {
        unlink map { "$reply->{request}{base}.$_" } qw(der csr sent key signer.key crt reply);
    }
    spew("$dir/$client.json", JSON::PP::encode_json(\@pairs));
    return;
}

# Two requests, one to each node, at once.
sub both {
    my ($self, @requests) = @_;
    my @nodes = $self->nodes;
    return $self->answers($self->at_once(map { [$nodes[$_], $nodes[$_]->request_bytes($requests[$_])] } 0, 1));
}

# Requests, each [node, bytes, port]: all but the last byte of them, then the last bytes. The sockets.
sub at_once {
    my ($self, @requests) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my @sockets = map {
        my ($node, undef, $port) = @$_;
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port // $node->port, Timeout => slow(10))
            or die "a node is not there: $!\n"
    } @requests;
    $sockets[$_]->autoflush(1) for 0 .. $#sockets;
    print { $sockets[$_] } substr $requests[$_][1], 0, -1 for 0 .. $#sockets;
    print { $sockets[$_] } substr $requests[$_][1], -1 for 0 .. $#sockets;
    return @sockets;
}

sub answers {
    my ($self, @sockets) = @_;
    return map {
        local $/;
        my $socket = $_;
        # A node that does not answer shall not stop the test.
        local $SIG{ALRM} = sub { shutdown $socket, 2 };
        alarm slow(60);
        my $raw = readline $socket;
        alarm 0;
        $self->{nodes}[0]->parse($raw // '')
    } @sockets;
}

# Open all replies with one call of the tool; its words go into the first of each pair.
sub open_all {
    my ($node, @list) = @_;
    my $lines = join '', map { "$_->[0]{request}{base} $_->[1]\n" } @list;
    my $opened = $node->tool(\$lines, 'open', '--list', '-', '--ca-ra', $node->ca_ra);
    my @records = split /\n\n/, $opened->{output};
    die "scep-request open: $opened->{output}\n" if $opened->{status} != 0 || @records != @list;
    for my $i (0 .. $#list) {
        my $reply = $list[$i][0];
        my %words = map { /^(\w+)=(.*)/ && length $2 ? ($1 => $2) : () } split /\n/, $records[$i];
        $words{pki_status} = delete $words{status};
        $reply->{$_} = $words{$_} for grep { defined $words{$_} } keys %words;
    }
    return;
}

# ---- what must be true

sub is_issued {
    my ($reply) = @_;
    return ($reply->{pki_status} // '') eq '0' && $reply->{serial} && $reply->{verified} && $reply->{key_matches}
        && $reply->{issued_by_ca_ra} && $reply->{transaction_id_matches};
}

sub is_refused {
    my ($reply) = @_;
    return ($reply->{pki_status} // '') eq '2' && ($reply->{fail_info} // '') eq '2' && $reply->{verified}
        && ($reply->{fail_info_text} // '') =~ /0x80070490/i && !$reply->{serial};
}

sub first_of { my ($n, @all) = @_; return join "\n", @all > $n ? @all[0 .. $n - 1] : @all }

# A whole test of 8 clients with 500 challenges each.
sub judge_race {
    my ($self, %o) = @_;
    my $begin = time;
    my @pairs = $self->race(%o);
    diag(sprintf '%d pairs in %.0f s', scalar @pairs, time - $begin);
    my $all = $o{clients} * $o{each};
    is(scalar @pairs, $all, 'every challenge was posted to both nodes at once');

    my (@wrong, %serials, @wins);
    for my $pair (@pairs) {
        my @issued  = grep { is_issued($pair->{replies}[$_]) } 0, 1;
        my @refused = grep { is_refused($pair->{replies}[$_]) } 0, 1;
        if (@issued != 1 || @refused != 1) {
            push @wrong, "$pair->{name}: " . join ' | ', map { SCEPTest::describe($_) } @{ $pair->{replies} };
            next;
        }
        $pair->{winner} = $issued[0];
        $wins[$issued[0]]++;
        $serials{ $pair->{replies}[$issued[0]]{serial} } = 1;
    }
    is(scalar @wrong, 0, 'S-07: of each pair one got a certificate and the other a refusal of its challenge')
        or diag(first_of(10, @wrong));
    diag('certificates by node: ' . join ', ', map { $_ // 0 } @wins[0, 1]);
    cmp_ok($wins[$_] // 0, '>', 0, 'node ' . ($_ + 1) . ' won some of them') for 0, 1;
    is(scalar keys %serials, $all, 'no serial number was given twice');

    is($self->number('(SELECT count(*) FROM scep_certificate)'), $all, 'as many certificates as challenges');
    my %known = map { $_->{serial} => 1 } $self->query('SELECT DISTINCT serial FROM scep_certificate');
    is_deeply([grep { !$known{$_} } keys %serials], [], 'and they are those that were sent');
    is($self->number("(SELECT count(*) FROM scep_challenge WHERE state = '$_->[0]')"), $_->[1],
        "$_->[1] challenges are $_->[0]") for ['used', $all], ['fresh', 0];
    is($self->unused('scep.test'), 0, 'the counter of unused challenges is back at 0');
    $self->judge_again($pairs[$_]) for 0, $#pairs;
    return;
}

# The same request is answered by either node.
sub judge_again {
    my ($self, $pair) = @_;
    return if !defined $pair->{winner};
    my ($win, $lose) = @{ $pair->{replies} }[$pair->{winner}, 1 - $pair->{winner}];
    my $number = 1;
    for my $node ($self->nodes) {
        my @answers;
        for my $reply ($win, $lose) {
            $reply->{request}{der} = slurp("$reply->{request}{base}.der");
            push @answers, $node->open_reply($reply->{request}, $node->send_request($reply->{request}));
        }
        is($answers[0]{serial}, $win->{serial},
            "$pair->{name}: R-117: sent again to node $number, it is answered with the same certificate");
        failed($answers[1], 2, "$pair->{name}: R-084: the other is refused by node $number, as before",
            qr/0x80070490/i);
        $number++;
    }
    return;
}

# PostgreSQL only: a node that stops in the middle of a transaction, as one whose machine hangs,
# holds the others up for seconds, not for ever; and loses nothing when it goes on.
sub judge_stopped {
    my ($self) = @_;
    my ($first, $second) = $self->nodes;
    my $pg = $self->{postgresql};
    $first->expect_log('SCEP0280: the database failed');
    my $waits = sub { $pg->psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'scep' AND $_[0]") > 0 };
    my $one = $first->build(subject => 'CN=stopped', challenge => $first->mint);
    my $two = $second->build(subject => 'CN=goes on', challenge => $second->mint(at_small($second)));

    # A locked row keeps the first in its transaction until scep-ca is stopped.
    my $lock = $pg->open_session;
    print $lock "BEGIN; SELECT 1 FROM scep_challenge WHERE endpoint = 'scep.test' AND state = 'fresh' FOR UPDATE;\n";
    ok(wait_for(sub { $waits->("state = 'idle in transaction'") }, slow(10)), 'the challenge is locked');
    my $file = $first->work('stopped.reply');
    my $pid  = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        POSIX::close(fileno $lock); # psql ends when nobody holds it any more
        spew($file, $first->send_request($one, timeout => 60)->{raw});
        POSIX::_exit(0);
    }
    ok(wait_for(sub { $waits->("wait_event = 'transactionid'") }, slow(10)), 'the first node is in a transaction');
    my ($ca) = $first->ca_pids;
    halt($ca);
    close $lock;
    ok(wait_for(sub { $waits->("state = 'idle in transaction'") }, slow(10)), 'and stops there');
    my $begin = time;
    issued($second->open_reply($two, $second->send_request($two, at_small($second))), 'the second node goes on');
    cmp_ok(time - $begin, '<', slow(10), 'within seconds');
    kill 'CONT', $ca;
    waitpid $pid, 0;
    my $reply = $first->open_reply($one, $first->parse(slurp($file)));
    issued($reply, 'the first goes on too, and gives the certificate');
    is($second->open_reply($one, $second->send_request($one))->{serial}, $reply->{serial}, 'which both nodes know');
    is($self->unused($_), 0, "no challenge of $_ is left") for qw(scep.test small.test);
    return;
}

# One counter: PasswordMax (5) holds for both together.
sub judge_full {
    my ($self) = @_;
    my ($first, $second) = $self->nodes;
    my $full  = qr/The password cache is full/;
    my $mints = sub {
        my ($node) = @_;
        return eval { $node->mint(at_small($node)) } // ($@ =~ $full ? 'full' : $@);
    };
    my @kept = map { $mints->($_) } $first, $first, $first, $second, $second;
    is(scalar(grep { /^[0-9A-F]{16}$/ } @kept), 5, 'PasswordMax 5: three at one node and two at the other');
    push @{ $self->{minted} }, @kept;
    is($mints->($_), 'full', 'then both are full') for $first, $second;
    my $reply = $first->enrol(challenge => $kept[4], subject => 'CN=makes room', at => { at_small($first) });
    issued($reply, 'one of the second is used at the first');
    like($mints->($second), qr/^[0-9A-F]{16}$/, 'which makes room at the second');
    is($mints->($_), 'full', 'for one') for $first, $second;
    is($self->unused('small.test'), 5, 'and five are counted');
    for (@kept[0 .. 3]) {
        issued($second->enrol(challenge => $_, subject => 'CN=uses up', at => { at_small($second) }),
            'used at the second');
    }
    $self->judge_mints_at_once;
    return;
}

# One stands already: four of forty that come at once find room.
sub judge_mints_at_once {
    my ($self) = @_;
    is($self->unused('small.test'), 1, 'one is left');
    my $dir = $self->{nodes}[0]->work('mints');
    mkdir $dir or die "$dir: $!\n";
    my @pids = map {
        my $node = $_;
        my $pid  = fork // die "fork: $!\n";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
            my $bytes = $node->request_text('GET', '/certsrv/mscep_admin/', user => $node->credentials,
                at_small($node));
            my @pages = map { $node->decode_page($_->{body}) } $node->many([($bytes) x 20], at_small($node));
            spew("$dir/$$", join "\n", map { /password is: <B> (\S*)/ ? $1 : () } @pages);
            POSIX::_exit(0);
        }
        $pid
    } $self->nodes;
    waitpid $_, 0 for @pids;
    my @got = map { -e "$dir/$_" ? split /\n/, slurp("$dir/$_") : () } @pids;
    is(scalar @got, 4, 'forty mints at both at once: PasswordMax is not passed, and all of it is given')
        or diag(join ' ', map { length } @got);
    is($self->unused('small.test'), 5, 'nor does the counter pass it');
    push @{ $self->{minted} }, @got;
    return;
}

# Several who ask at both nodes at once where there is no single password yet get the same one, which
# is good at both and stays.
sub judge_single {
    my ($self) = @_;
    my @nodes = $self->nodes;
    my ($locked, @raced) = @single;
    my %password;
    for my $name (@raced) {
        my @given = passwords($self->answers($self->ask_for_single($name)));
        $password{$name} = $given[0] if same($name, @given);
    }
    $password{$locked} = $self->single_behind_lock($locked) if $self->{postgresql};
    delete $password{$locked} if !defined $password{$locked};
    my @names = sort keys %password;
    my %distinct = map { $_ => 1 } values %password;
    is(scalar keys %distinct, scalar @names, 'no two endpoints have the same single password');
    push @{ $self->{minted} }, values %password;

    my @enrolling = @names > 2 ? @names[0, 1] : @names;
    $self->enrols_with_single("$_ at once", $_, $password{$_}) for @enrolling;
    is_deeply([$nodes[0]->stop], [], 'the first node stops');
    my $why = $nodes[0]->start;
    is($why, undef, 'and starts') or BAIL_OUT("a node is not up again: $why");
    my @changed = grep {
        my $name = $_;
        grep { $_ ne $password{$name} } passwords($self->answers($self->ask_for_single($name)))
    } @names;
    is_deeply(\@changed, [], 'then both nodes show what they showed before, at each endpoint');
    $self->enrols_with_single("$_ after a restart", $_, $password{$_}) for @enrolling;
    is($self->number('(SELECT count(*) FROM scep_single_password)'), scalar @names, 'the database has one for each endpoint');
    is_deeply([map { $_->files_with(values %password) } @nodes], [], 'S-28: a single password stands in no file');
    return;
}

# Two ask at each node.
sub ask_for_single {
    my ($self, $name) = @_;
    return $self->at_once(
        map { [$_, $_->request_text('GET', '/certsrv/mscep_admin/', user => $_->credentials, at_single($_, $name)), $_->port(2)] }
            ($self->nodes) x 2);
}

# Of pages; where there is none, what came instead.
sub passwords {
    my (@answers) = @_;
    return map {
        my $text = $_->{status} == 200 ? SCEPClient->decode_page($_->{body}) : '';
        $text =~ /password is: <B> (\S*)/ ? $1 : "$_->{status} $_->{reason}"
    } @answers;
}

sub same {
    my ($name, @given) = @_;
    my %given = map { $_ => 1 } @given;
    my $same = @given == 4 && keys %given == 1 && $given[0] =~ /^[0-9A-F]{16}$/;
    ok($same, "$name: all who ask first, at both nodes at once, get one password")
        or diag(scalar(keys %given) . ' different ones: ' . join ' | ', map { tr/0-9A-F//c ? $_ : 'a password' } @given);
    return $same;
}

# PostgreSQL only, whose lock on the nodes is fair: both wait for it before they look, so each looks
# before the other writes.
sub single_behind_lock {
    my ($self, $name) = @_;
    my $pg    = $self->{postgresql};
    my $lock  = $pg->open_session;
    my $locks = sub { $pg->psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND $_[0]") };
    print $lock "BEGIN; SELECT pg_advisory_xact_lock(1935893872);\n";
    ok(wait_for(sub { $locks->('granted') == 1 }, slow(10)), 'no node can look into the database');
    my @sockets = $self->ask_for_single($name);
    ok(wait_for(sub { $locks->('NOT granted') == 2 }, slow(4)), 'both are about to look for a single password');
    close $lock;
    my @given = passwords($self->answers(@sockets));
    return same("$name, held up", @given) ? $given[0] : undef;
}

sub enrols_with_single {
    my ($self, $name, $endpoint, $password) = @_;
    my $number = 0;
    for my $node ($self->nodes) {
        $number++;
        my $key   = $node->work('race.key');
        my $reply = $node->enrol(
            (-e $key ? (key => $key) : ()), subject => "CN=$name $number", challenge => $password,
            at => { at_single($node, $endpoint) });
        issued($reply, "$name: the password enrols at node $number");
    }
    return;
}

1;
