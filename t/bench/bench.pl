# What an enrolment costs, beside what it must cost: the floor and the server in one run, on private
# httpds on 127.0.0.1. Prints tables and writes bench.json. `make bench`; docs/performance.md says
# what the figures mean. Ends with 1 where any answer was wrong or a serial number came twice.
use strict;
use warnings;
use JSON::PP ();
use IO::Socket::INET;
use List::Util qw(max min sum0);
use SCEPBench;
use SCEPRun qw(run slurp spew have);

sub setting {
    my ($name, $default) = @_;
    my $value = length($ENV{"BENCH_$name"} // '') ? $ENV{"BENCH_$name"} : $default;
    die "bench: BENCH_$name=$value is not a number\n" if $value !~ /^\d{1,9}$/;
    return $value;
}

my $quick    = setting('QUICK',    0);
my $rounds   = setting('ROUNDS',   5) || 1;
my $requests = setting('REQUESTS', 2000) || 1;
my $seconds  = setting('SECONDS',  2) || 1;
my $long     = setting('LONG',     0);
my $devices  = setting('KEYS',     8) || 1;
my @stores   = split ' ', $ENV{BENCH_STORES} // '100000 1000000';
my $revoked  = setting('REVOKED',  100000) || 1;
my @parts    = split ' ', $ENV{BENCH_PARTS}
    // ($quick ? 'enrol' : 'enrol clients renewal get stores crl hung overload' . ($long ? ' long' : ''));
my %wanted = map { $_ => 1 } @parts;
my @kinds  = qw(rsa2048 p256);
my %called = (rsa2048 => 'RSA-2048', p256 => 'P-256');

my %result = (
    floor    => {},
    runs     => [],
    targets  => [],
    settings => { rounds => $rounds, requests => $requests, seconds => $seconds, keys => $devices, parts => \@parts });
my (%server, %floor);

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return @sorted % 2 ? $sorted[$#sorted / 2] : ($sorted[@sorted / 2] + $sorted[@sorted / 2 - 1]) / 2;
}

sub progress { print STDERR "bench: @_\n"; return }

# ---- measuring

sub measure_floor {
    for my $kind (@_) {
        push @{ $floor{$kind} }, SCEPBench::floor_of($kind, $seconds);
        progress(sprintf 'floor, %s CA: %.0f us', $called{$kind}, $floor{$kind}[-1]);
    }
    return;
}

sub server_of {
    my ($kind) = @_;
    return $server{$kind} //= do {
        my $s = SCEPBench->up($kind);
        $s->keys_file($devices);
        # nothing is cold afterwards
        $s->enrolments(200, 16);
        $s;
    };
}

my @numbers = qw(rate p50_ms p99_ms max_ms steady_p99_ms httpd_us ca_us together_us client_us peak_kib rss_kib pss_kib
    others_seconds good refused wrong missed);

# The medians of some rounds, recorded under what they are of.
sub record {
    my ($what, @said) = @_;
    my %row = (%$what, rounds => scalar @said);
    for my $name (@numbers) {
        $row{$name} = 0 + sprintf '%.3f', median(map { $_->{$name} } @said);
    }
    $row{all_us} = [map { $_->{together_us} + 0 } @said];
    push @{ $result{runs} }, \%row;
    progress(sprintf '%s: %.0f/s, p99 %.1f ms, CPU %.0f us, of which scep-ca %.0f',
        join(', ', map { "$_ $what->{$_}" } sort keys %$what), @row{qw(rate p99_ms together_us ca_us)});
    return \%row;
}

# Concurrency 16, the floor before, between and after.
sub headline {
    my ($kind) = @_;
    my $s = server_of($kind);
    my @said;
    measure_floor($kind);
    for (1 .. $rounds) {
        push @said, $s->enrolments($requests, 16);
        measure_floor($kind);
    }
    return record({ ca => $kind, store => 0, operation => 'enrol', clients => 16 }, @said);
}

sub other_clients {
    my ($kind) = @_;
    for my $clients (1, 4, 64) {
        record({ ca => $kind, store => 0, operation => 'enrol', clients => $clients },
            # more clients than it has places for may be told to come again; all are served in the end
            server_of($kind)->enrolments($requests, $clients, $clients > 16 ? (refusals => 'again') : ()));
    }
    measure_floor($kind);
    return;
}

sub renewals {
    my ($kind) = @_;
    my $s    = server_of($kind);
    my $said = $s->enrolments($requests, 16, keep => 1);
    record({ ca => $kind, store => 0, operation => 'renew', clients => 16 }, $s->renewals($said->{run}, 16));
    unlink glob "$said->{run}.*";
    return;
}

# GetCACaps and GetCACert, and a file of GetCACert's size, one after the other in each round.
sub gets {
    my $s = server_of('rsa2048');
    my $scep = '/certsrv/mscep/mscep.dll?operation';
    my $size = length slurp($s->ca_ra);
    spew("$s->{dir}/htdocs/file", 'x' x $size, 0644);
    my @places = (['GetCACaps', "$scep=GetCACaps"], ['GetCACert', "$scep=GetCACert"], ["a file of $size bytes", '/file']);
    my %row;
    for my $clients (1, 16) {
        my @said;
        for (1 .. $rounds) {
            push @{ $said[$_] }, $s->gets($places[$_][1], $clients, $seconds) for 0 .. $#places;
        }
        $row{$_} = record({ ca => 'rsa2048', store => 0, operation => $places[$_][0], clients => $clients }, @{ $said[$_] })
            for 0 .. $#places;
    }
    $result{cacert_ratio} = $row{1}{rate} / $row{2}{rate};
    return;
}

# Servers with more and more certificates, asked in turn.
sub stores {
    my %at = (0 => server_of('rsa2048'));
    for my $n (@stores) {
        $at{$n} = SCEPBench->up('rsa2048');
        $at{$n}->enrolments(200, 16);
        progress("filling a store: $n certificates");
        $at{$n}->fill($n);
        $server{"store $n"} = $at{$n};
    }
    my %said;
    for (1 .. $rounds) {
        push @{ $said{$_} }, $at{$_}->enrolments($requests, 16) for 0, @stores;
    }
    my $empty = record({ ca => 'rsa2048', store => 0, operation => 'enrol in turn', clients => 16 }, @{ $said{0} });
    for my $n (@stores) {
        my $row = record({ ca => 'rsa2048', store => $n, operation => 'enrol in turn', clients => 16 }, @{ $said{$n} });
        $row->{to_empty} = $row->{together_us} / $empty->{together_us};
    }
    return;
}

# With as many revoked certificates: alone, and while one CRL after the other is made of them.
sub crls {
    my $s = SCEPBench->up('rsa2048');
    $server{crl} = $s;
    $s->enrolments(200, 16);
    progress("revoking $revoked certificates");
    $s->fill($revoked);
    $s->revoke_filled;
    my (@alone, @beside);
    my ($made, $time) = (0, 0);
    for (1 .. $rounds) {
        push @alone, $s->enrolments($requests, 16);
        my ($said, $crls) = $s->while_signing(sub { $s->enrolments($requests, 16) });
        push @beside, $said;
        $made += $crls;
        $time += $said->{good} / $said->{rate} if $said->{rate};
    }
    my %row = (ca => 'rsa2048', store => $revoked, clients => 16);
    my $alone = record({ %row, operation => 'enrol, all of them revoked' }, @alone);
    my $row = record({ %row, operation => 'enrol, beside CRLs of them' }, @beside);
    $row->{to_alone} = $row->{rate} / $alone->{rate};
    @$row{qw(crls crl_bytes seconds)} = ($made, -s $s->crl_file, $time);
    return;
}

# A CA that accepts connections and never answers, behind one endpoint; what the others get meanwhile.
sub hung {
    my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1024) or die "bench: no socket: $!\n";
    my $s = SCEPBench->up('rsa2048',
        host => "<Location \"/hung\">\nSetHandler scep\nSCEPEndpoint hung\nSCEPEnforcePassword off\nSCEPAuthority hung\n</Location>\n",
        arrange => sub {
            my ($s) = @_;
            my $conf = slurp($s->ca_conf);
            my ($section) = $conf =~ /^\[authority default\]\n(.*?)(?=^\[)/ms or die "bench: $conf\n";
            $section =~ s/^\s*(?:connector|ca_key|crl_file|crl_days)\s*=.*\n//mg;
            spew($s->dir . '/ca/hung.password', "nobody asks\n", 0600);
            chown +(stat $s->dir . '/ca/ca.key')[4, 5], $s->dir . '/ca/hung.password';
            spew($s->ca_conf, "$conf\n[authority hung]\nconnector = est\nurl = https://127.0.0.1:" . $silent->sockport
                    . "\nuser = bench\npassword = file:hung.password\ntls_ca = ca.pem\n$section");
        });
    $server{hung} = $s;
    $s->enrolments(200, 16);
    my $get = sub { $s->gets('/certsrv/mscep/mscep.dll?operation=GetCACert', 4, $seconds) };
    my $enrol = sub { $s->enrolments($requests, 4) };
    my (%alone, %beside);
    for (1 .. $rounds) {
        for my $what (['enrol', $enrol], ['GetCACert', $get]) {
            push @{ $alone{ $what->[0] } }, $what->[1]->();
            push @{ $beside{ $what->[0] } }, $s->while_sending('/hung', 5, 200, $what->[1]);
        }
    }
    for my $what (sort keys %alone) {
        my %row = (ca => 'rsa2048', store => 0, clients => 4);
        my $alone = record({ %row, operation => "$what, alone" }, @{ $alone{$what} });
        my $row = record({ %row, operation => "$what, beside a CA that hangs" }, @{ $beside{$what} });
        $row->{p99_to_alone} = $row->{p99_ms} / $alone->{p99_ms};
    }
    return;
}

# What 16 clients get: more of them would wait for each other.
sub capacity {
    my ($s) = @_;
    my $said = $s->enrolments($requests, 16);
    progress(sprintf 'capacity: %.0f/s', $said->{rate});
    return $said->{rate};
}

# More than can be served, each beside what is served without it just before and just after: clients
# beyond what httpd has workers, which ask again at once when they are refused; then four times as many
# new connections as are served.
sub overload {
    my $s = server_of('rsa2048');
    my ($time, $warm, $most) = (8, 2, 4000);
    my $before = capacity($s);
    for my $arrives (0, 1) {
        my $arrivals = $arrives ? int(4 * $before) : undef;
        my $clients  = $arrives ? $most : 600;
        my $said = $s->enrolments(int(1.5 * $before * $time) + $clients, $clients,
            seconds => $time, warm => $warm, refusals => 'again', arrivals => $arrivals);
        my $after = capacity($s);
        my $row = record({
            ca => 'rsa2048', store => 0, clients => $clients,
            operation => 'overload: ' . ($arrives ? "$arrivals connections a second" : 'kept connections')
        }, $said);
        $row->{capacity} = ($before + $after) / 2;
        $row->{to_capacity} = $row->{rate} / $row->{capacity};
        $before = $after;
    }
    return;
}

# Memory after many enrolments: looked at after each of twenty runs.
sub long_run {
    my $s = SCEPBench->up('rsa2048');
    $server{long} = $s;
    my (@said, @rss);
    for my $i (1 .. 20) {
        push @said, $s->enrolments(int($long / 20) || 1, 16);
        push @rss, $said[-1]{rss_kib};
        progress("after $i of 20: $rss[-1] KiB");
    }
    record({ ca => 'rsa2048', store => 'growing', operation => "$long enrolments", clients => 16 }, @said);
    $result{long} = {
        rss_kib => \@rss,
        pss_kib => [map { $_->{pss_kib} + 0 } @said],
        first   => median(@rss[0 .. 9]),
        last    => median(@rss[10 .. 19])
    };
    return;
}

# ---- saying

sub thousands { my ($n) = @_; 1 while $n =~ s/^(\d+)(\d{3})/$1,$2/; return $n }

sub print_table {
    print "\n| what | CA key | store | clients | rate | p50 ms | p99 ms | httpd us | scep-ca us | together us | x floor | refused | RSS MiB | PSS MiB |\n"
        . '|' . '---|' x 14 . "\n";
    for my $row (@{ $result{runs} }) {
        my $enrols = $row->{operation} =~ /^(?:enrol|renew|\d)/;
        my $floor  = $result{floor}{ $row->{ca} };
        $row->{to_floor} = 0 + sprintf '%.3f', $row->{together_us} / $floor if $enrols && $floor;
        printf "| %s | %s | %s | %d | %.0f/s | %.2f | %.2f | %.0f | %.0f | %.0f | %s | %d | %.0f | %.0f |\n", $row->{operation},
            $called{ $row->{ca} }, thousands($row->{store}), @$row{qw(clients rate p50_ms p99_ms httpd_us ca_us together_us)},
            defined $row->{to_floor} ? sprintf('%.2f', $row->{to_floor}) : '', $row->{refused}, map { $_ / 1024 } @$row{qw(peak_kib pss_kib)};
    }
    for my $row (grep { $_->{operation} =~ /^overload/ } @{ $result{runs} }) {
        my $all = sum0(@$row{qw(good refused wrong)});
        printf "\n%s: %d good, %d refused by 503 with Retry-After (%.0f %%), %d without an answer, %d not tried: all places taken; "
            . "capacity %.0f/s, p99 after two seconds %.0f ms\n",
            $row->{operation}, @$row{qw(good refused)}, $all ? 100 * $row->{refused} / $all : 0, @$row{qw(wrong missed)},
            @$row{qw(capacity steady_p99_ms)};
    }
    return;
}

sub print_crls {
    for my $row (grep { defined $_->{crls} } @{ $result{runs} }) {
        printf "\n%s: %d CRLs of %s bytes in %.1f s, issued at %.2f times the rate without\n", $row->{operation}, $row->{crls},
            thousands($row->{crl_bytes}), @$row{qw(seconds to_alone)};
    }
    return;
}

# A figure that is wanted, and whether it was reached.
sub target {
    my ($what, $value, $at_most, $limit) = @_;
    my $met = ($at_most ? $value <= $limit : $value >= $limit) ? 1 : 0;
    push @{ $result{targets} }, { what => $what, value => $value, limit => $limit, met => $met ? JSON::PP::true() : JSON::PP::false() };
    printf "%s: %.3f, wanted at %s %s: %s\n", $what, $value, $at_most ? 'most' : 'least', $limit, $met ? 'yes' : 'NO';
    return;
}

sub print_targets {
    my %limit = (rsa2048 => 1.3, p256 => 1.45);
    print "\n";
    for my $row (grep { $_->{operation} eq 'enrol' && $_->{clients} == 16 } @{ $result{runs} }) {
        target("CPU to the floor, $called{ $row->{ca} } CA, 16 clients", $row->{to_floor}, 1, $limit{ $row->{ca} })
            if defined $row->{to_floor};
    }
    target('GetCACert to a static file', $result{cacert_ratio}, 0, 0.97) if $result{cacert_ratio};
    target('CPU with ' . thousands($_->{store}) . ' certificates to the empty store', $_->{to_empty}, 1, 1.1)
        for grep { defined $_->{to_empty} } @{ $result{runs} };
    for my $row (grep { defined $_->{to_capacity} } @{ $result{runs} }) {
        target("p99 in seconds, after two of them, $row->{operation}", $row->{steady_p99_ms} / 1000, 1, 1);
        target("without an answer, $row->{operation}", $row->{wrong} + $row->{missed}, 1, 0);
    }
    for my $row (grep { $_->{operation} eq 'enrol' && $_->{clients} == 64 } @{ $result{runs} }) {
        target("refused, $called{ $row->{ca} } CA, 64 clients", $row->{refused}, 1, 0);
    }
    target("p99 of $_->{operation} to alone", $_->{p99_to_alone}, 1, 1.1) for grep { defined $_->{p99_to_alone} } @{ $result{runs} };
    target("RSS of the last half of $long to the first", $result{long}{last} / $result{long}{first}, 1, 1.02) if $result{long};
    return;
}

sub machine {
    my ($cpu) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/m;
    my ($httpd) = run([$ENV{HTTPD}, '-v'])->{output} =~ m{Apache/(\S+)};
    my ($openssl) = run(['openssl', 'version'])->{output} =~ /^(OpenSSL \S+)/;
    my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    chomp(my $kernel = run(['uname', '-r'])->{output});
    return { cpu => $cpu // '', cores => $cores, httpd => $httpd, openssl => $openssl, kernel => $kernel };
}

# ---- all of it

defined have('sqlite3') or die "bench: sqlite3 is not installed: it puts challenges and certificates into the store\n";
$| = 1;
$result{machine} = machine();
print "$result{machine}{cpu}, $result{machine}{cores} cores with the client; $result{machine}{openssl}, httpd $result{machine}{httpd}\n";
for my $kind (@kinds) {
    headline($kind)      if $wanted{enrol};
    other_clients($kind) if $wanted{clients};
    renewals($kind)      if $wanted{renewal};
}
gets()     if $wanted{get};
stores()   if $wanted{stores};
crls()     if $wanted{crl};
hung()     if $wanted{hung};
overload() if $wanted{overload};
long_run() if $wanted{long};
measure_floor(grep { $server{$_} } @kinds);
$result{floor} = { map { $_ => median(@{ $floor{$_} }) } keys %floor };
$result{floor_all} = \%floor;

printf "The floor, %s CA: %.0f us CPU (%.0f to %.0f, %d times)\n", $called{$_}, $result{floor}{$_}, min(@{ $floor{$_} }),
    max(@{ $floor{$_} }), scalar @{ $floor{$_} }
    for grep { $floor{$_} } @kinds;
print_table();
print_crls();
print_targets();
my @wrong = map { $_->wrong } values %server;
my $serials = sum0(map { scalar keys %{ $_->{serials} // {} } } values %server);
$result{certificates} = $serials;
$result{wrong}        = \@wrong;
printf "\n%s certificates were opened, each with a serial number of its own; wrong: %d\n", thousands($serials), scalar @wrong;
print STDERR "bench: WRONG: $_\n" for @wrong;
my $json = ($ENV{builddir} // '.') . '/bench.json';
spew($json, JSON::PP->new->pretty->canonical->encode(\%result));
print "$json\n";
$_->end for values %server;
exit(@wrong ? 1 : 0);
