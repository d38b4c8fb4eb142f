# What a challenge costs where many are out: private httpds on 127.0.0.1, their stores filled with
# none, 100,000 and a million of them, then with a million expired ones. Prints a table: the median
# time of the page that mints, and of an enrolment with what it minted. `make bench-challenges`.
use strict;
use warnings;
use Digest::SHA ();
use SCEPClient;
use SCEPRun qw(run wait_for spew have);
use SCEPServer;
use Time::HiRes qw(time sleep);

our @ISA = qw(SCEPServer SCEPClient);

my $requests = $ENV{BENCH_REQUESTS} || 300;
my $most     = 1_000_000;                     # the largest that SCEPPasswordMax may be

sub host {
    my ($number, $name, $max) = @_;
    return "<VirtualHost 127.0.0.1:\@PORT$number\@>\nServerName $name.test\nSCEPEngine on\n"
        . "SCEPPasswordMax $max\nSCEPPasswordValidity 1440\nSCEPMintMax 1000000\nSCEPFailedMax 100000\n"
        . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n";
}

sub database { return "$_[0]{dir}/ca/state/store.db" }

sub sql {
    my ($s, $sql) = @_;
    my $answer = run(['sqlite3', '-bail', '-cmd', '.timeout 30000', $s->database], stdin => $sql, timeout => 600);
    die "sqlite3: $answer->{output}\n" if $answer->{status} != 0;
    return $answer->{output};
}

# Challenges that nobody knows, in one transaction; they expire $from to $from + 1000 seconds from
# now on. What the server does next is not to pay for it: the log is written back.
sub fill {
    my ($s, $endpoint, $n, $from) = @_;
    $s->sql(<<"END") if $n > 0;
BEGIN IMMEDIATE;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $n)
INSERT INTO scep_challenge (endpoint, hash, state, username, peer, created, expires, templates)
SELECT '$endpoint', hex(randomblob(22)), 'fresh', 'admin', '127.0.0.1', unixepoch() - 1000,
unixepoch() + $from + abs(random() % 1000), 'IPSECIntermediateOffline' FROM n;
UPDATE scep_endpoint SET unused = unused + $n WHERE name = '$endpoint';
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
END
    return;
}

# Fresh ones, or also those that expired and are there yet, as the server counts them.
sub counted {
    my ($s, $endpoint) = @_;
    return $s->sql("SELECT unused FROM scep_endpoint WHERE name = '$endpoint';") + 0;
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[$#sorted / 2];
}

# A server whose both hosts have been used, so that nothing is cold.
sub up {
    my $s = main->new(ports => 2, hosts => host(1, 'bench', $most) . host(2, 'lowered', $requests));
    my $why = $s->prepare;
    # no slow hash in what is measured
    spew("$s->{dir}/users", "$s->{user}:{SHA}" . Digest::SHA::sha1_base64($s->{password}) . "=\n") if !defined $why;
    $why //= $s->start;
    die "bench: $why\n" if defined $why;
    measure(map { [$s, $_] } 'bench', 'lowered');
    return $s;
}

# Do it $requests times at each place, one place after the other, so that they have the same share
# of whatever else the machine does. Returns the medians in ms.
sub alternate {
    my ($what, @places) = @_;
    my @ms;
    for my $i (0 .. $requests - 1) {
        for my $k (0 .. $#places) {
            my $begin = time;
            $what->($places[$k], $i);
            push @{ $ms[$k] }, 1000 * (time - $begin);
        }
    }
    return map { median(@$_) } @ms;
}

sub requests_for {
    my ($place) = @_;
    return $place->{s}->build(
        challenges     => $place->{challenges},
        count          => $requests,
        keys           => 4,
        subject        => 'CN=bench {}',
        transaction_id => 'bench ' . time . ' {}',
        via            => $place->{at});
}

# Mint at each place, then enrol with what was minted. Each place is a server and the name of a
# host. Returns [the median of a mint, of an enrolment] of each place.
sub measure {
    my @places = map {
        my ($s, $name) = @$_;
        { s => $s, at => { host => "$name.test", port => $s->port($name eq 'bench' ? 0 : 1) } }
    } @_;
    my @mint = alternate(sub { push @{ $_[0]{challenges} }, $_[0]{s}->mint(%{ $_[0]{at} }) }, @places);
    $_->{requests} = [requests_for($_)] for @places;
    my @enrol = alternate(
        sub {
            my ($place, $i) = @_;
            $place->{answers}[$i] = $place->{s}->send_request($place->{requests}[$i], %{ $place->{at} });
        },
        @places);
    for my $place (@places) {
        my $reply = $place->{s}->open_reply($place->{requests}[-1], $place->{answers}[-1], via => $place->{at});
        die "an enrolment failed: " . ($reply->{why} // $reply->{http}{status}) . "\n" if !$reply->{certificate};
        my $other = grep { $_->{status} != 200 } @{ $place->{answers} };
        die "$other enrolments failed\n" if $other;
    }
    return map { [$mint[$_], $enrol[$_]] } 0 .. $#places;
}

# The first place is the empty store.
sub print_rows {
    my ($names, @places) = @_;
    my @ms = measure(@places);
    printf "| %s | %.2f ms | %.2f | %.2f ms | %.2f |\n", $names->[$_], $ms[$_][0], $ms[$_][0] / $ms[0][0],
        $ms[$_][1], $ms[$_][1] / $ms[0][1]
        for 0 .. $#ms;
    return;
}

defined have('sqlite3') or die "sqlite3 is not installed: it fills the store\n";
$| = 1;
my @servers = map { up() } 1 .. 3;
$servers[1]->fill('bench.test', 100_000, 80_000);
# the last mint of a million takes the last place
$servers[2]->fill('bench.test', $most - $requests, 80_000);
print "| outstanding | a mint | ratio | an enrolment | ratio |\n|---|---|---|---|---|\n";
print_rows(['0', '100,000', '1,000,000'], map { [$_, 'bench'] } @servers);

my $full = $servers[2];
$full->fill('lowered.test', $most, -1001);
my $begin = time;
print_rows(['0, once more', "1,000,000 expired, SCEPPasswordMax lowered to $requests"], map { [$_, 'lowered'] } @servers[0, 2]);
my $gone = wait_for(sub { sleep 1; $full->counted('lowered.test') == 0 }, 900);
printf "\nThe expired ones %s\n", $gone ? sprintf 'were removed within %d s.', time - $begin : 'were not removed in 900 s.';
$_->stop for @servers;
