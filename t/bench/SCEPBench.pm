# A server that is measured: httpd as a distribution has it, a durable store, and what fills, asks
# and judges it. It returns numbers and dies where something cannot be measured; an answer that is
# wrong is counted, in wrong().
package SCEPBench;
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256_base64);
use SCEPClient;
use SCEPRun qw(run spawn slurp spew have);
use SCEPServer;
use Time::HiRes qw(time);

our @ISA = qw(SCEPServer SCEPClient);

# What Debian's packages set; the modules beside these are only those that are needed.
my $distribution = <<'END';
StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
MaxConnectionsPerChild 0
Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
LogLevel warn
LogFormat "%h %l %u %t \"%r\" %>s %B \"%{Referer}i\" \"%{User-Agent}i\"" combined
END

# Options: host: more text within the virtual host; arrange: called with it before it starts.
sub up {
    my ($class, $kind, %o) = @_;
    my $s = $class->new(
        ca     => $kind,
        server => $distribution,
        host   => "SCEPPasswordMax 1000000\nCustomLog \"\@DIR\@/logs/access.log\" combined\n" . ($o{host} // ''));
    my $why = $s->prepare;
    $o{arrange}->($s) if !defined $why && $o{arrange};
    $why //= $s->start;
    die "bench: $why\n" if defined $why;
    $s->{wrong} = [];
    $s->{key}   = pack 'H64', slurp("$s->{dir}/ca/store.key");
    $s->mint;    # a row of each kind to copy from
    return $s;
}

# ---- the tool

# What a command printed, as a hash; `why` a list. A status above 1 is the end.
sub bench {
    my (@words) = @_;
    my $ran = run([SCEPServer::built('t/bench/scep-bench'), @words], timeout => 3600,
        env => { ASAN_OPTIONS => 'detect_leaks=0' });
    die "scep-bench $words[0]: $ran->{output}\n" if $ran->{status} > 1;
    my %said = (status => $ran->{status}, why => []);
    for (split /\n/, $ran->{output}) {
        next if !/^(\w+)=(.*)/;
        $1 eq 'why' ? push @{ $said{why} }, $2 : ($said{$1} = $2);
    }
    return \%said;
}

sub floor_of {
    my ($kind, $seconds) = @_;
    return bench('floor', '--ca', $kind, '--seconds', $seconds)->{cpu_us};
}

# The keys of all devices, made once for all servers.
my $keys;

sub keys_file {
    my ($s, $count) = @_;
    $keys //= do {
        my $file = $s->work('keys');
        bench('keys', '--count', $count // 8, '--out', $file);
        slurp($file);
    };
    my $file = $s->work('keys');
    spew($file, $keys, 0600) if !-e $file;
    return $file;
}

# ---- the store

sub sql {
    my ($s, $sql) = @_;
    my $answer = run(
        ['sqlite3', '-bail', '-cmd', '.timeout 60000', "$s->{dir}/ca/state/store.db"],
        stdin   => $sql,
        timeout => 1800);
    die "sqlite3: $answer->{output}\n" if $answer->{status} != 0;
    return $answer->{output};
}

# So many fresh challenges, as the page would mint them and by one transaction; a file, a line each.
sub challenges {
    my ($s, $n) = @_;
    my ($endpoint) = $s->sql('SELECT endpoint FROM scep_challenge LIMIT 1;') =~ /(\S+)/;
    my @made = map { uc SCEPServer::random_hex(16) } 1 .. $n;
    my @hashes = map {
        my $hash = hmac_sha256_base64(pack('Q>', length $endpoint) . $endpoint . $_, $s->{key});
        "('$hash=')"
    } @made;
    my $values = '';
    $values .= 'INSERT INTO h VALUES ' . join(',', splice @hashes, 0, 500) . ";\n" while @hashes;
    $s->sql(<<"END");
CREATE TEMP TABLE h (hash TEXT);
$values
BEGIN IMMEDIATE;
INSERT INTO scep_challenge (endpoint, hash, state, username, peer, created, expires, templates)
SELECT m.endpoint, h.hash, 'fresh', m.username, m.peer, m.created, m.expires, m.templates FROM h,
(SELECT * FROM scep_challenge WHERE state = 'fresh' ORDER BY created LIMIT 1) AS m;
UPDATE scep_endpoint SET unused = unused + $n WHERE name = '$endpoint';
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
END
    my $file = $s->work('challenges');
    spew($file, join('', map { "$_\n" } @made), 0600);
    return $file;
}

# So many certificates more, each with its transaction: copies of one that was issued, with serial
# numbers and names of their own. The log is written back before anything is measured.
sub fill {
    my ($s, $n) = @_;
    $s->sql(<<"END");
PRAGMA cache_size = -400000;
BEGIN IMMEDIATE;
CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $n)
SELECT i, hex(randomblob(20)) AS id, '5' || substr(hex(randomblob(20)), 2) AS serial FROM n;
CREATE TEMP TABLE c AS SELECT * FROM scep_certificate LIMIT 1;
CREATE TEMP TABLE t AS SELECT * FROM scep_transaction WHERE serial <> '' LIMIT 1;
INSERT INTO scep_certificate (authority, serial, subject, template_name, endpoint, transaction_id, key_hash,
der, not_before, not_after, issued)
SELECT authority, substr(n.serial, 1, length(c.serial)), 'CN=filled ' || i || ',O=bench', template_name,
endpoint, id, key_hash, der, not_before, not_after, issued FROM n, c;
INSERT INTO scep_transaction (endpoint, transaction_id, key_hash, csr_hash, authority, serial, created, ends,
state, request_id, bound)
SELECT endpoint, id, key_hash, csr_hash, authority, substr(n.serial, 1, length(t.serial)), created, ends,
state, request_id, bound FROM n, t;
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
END
    return $s->issued_count;
}

# All of those, as `scepctl revoke` would, one at a time.
sub revoke_filled {
    my ($s) = @_;
    $s->sql(<<'END');
BEGIN IMMEDIATE;
UPDATE scep_certificate SET revoked = issued, reason = 4 WHERE subject LIKE 'CN=filled %' AND revoked = 0;
INSERT INTO scep_crl (authority, wanted, holds, crl_number, this_update, next_update, der)
SELECT authority, 1, 0, 0, 0, 0, '' FROM scep_certificate LIMIT 1
ON CONFLICT (authority) DO UPDATE SET wanted = scep_crl.wanted + 1;
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
END
    return;
}

sub crl_file { return "$_[0]{dir}/ca/public/ca.crl" }

sub crl_number { return $_[0]->sql('SELECT max(crl_number) FROM scep_crl;') + 0 }

# Do something while scep-ca signs one CRL after the other: what came of it, and how many.
sub while_signing {
    my ($s, $do) = @_;
    my $before = $s->crl_number;
    my $pid = spawn(
        ['/bin/sh', '-c', 'while "$0" --conf "$1" crl; do :; done', SCEPServer::built('tools/scepctl'), $s->ca_conf],
        output => $s->work('scepctl'),
        group  => 1);
    my $came = eval { $do->() };
    my $why  = $@;
    kill 'TERM', -$pid;
    SCEPRun::end_child($pid);
    die $why if !$came;
    my $made = $s->crl_number - $before;
    $s->remember_wrong('CRLs', slurp($s->work('scepctl'))) if !$made;
    return ($came, $made);
}

# Do something while an address is sent so many messages a second, whatever it answers.
sub while_sending {
    my ($s, $path, $a_second, $n, $do) = @_;
    my $base = $s->messages($n);
    my $pid = spawn(
        [SCEPServer::built('t/bench/scep-bench'), 'load', '--url', 'http://127.0.0.1:' . $s->port . $path, '--messages',
            "$base.messages", '--replies', "$base.replies", '--clients', 64, '--arrivals', $a_second, '--seconds', 3600],
        output => "$base.load");
    my $came = eval { $do->() };
    my $why  = $@;
    kill 'TERM', $pid;
    SCEPRun::end_child($pid);
    die $why if !$came;
    unlink glob "$base.*";
    return $came;
}

sub issued_count { return $_[0]->sql('SELECT count(*) FROM scep_certificate;') + 0 }

# ---- a run: made, sent, opened

my $runs = 0;

sub remember_wrong {
    my ($s, $what, @why) = @_;
    push @{ $s->{wrong} }, map { "$what: $_" } @why;
    return;
}

sub wrong { return @{ $_[0]{wrong} } }

# Send a file of messages. Options: clients, seconds, warm, arrivals, refusals. Every answer is opened
# afterwards; what is wrong and serial numbers that were seen before are remembered. Returns what
# the load said, with `run`: the files' names before their endings.
sub send_all {
    my ($s, $base, %o) = @_;
    my @options = map { ("--$_", $o{$_}) } grep { defined $o{$_} } qw(clients seconds warm arrivals refusals);
    my $said = bench('load', '--url', $s->url, '--messages', "$base.messages", '--replies', "$base.replies",
        '--pid', $s->pid, @options);
    $said->{run} = $base;
    my $checked = $s->check_all($base);
    $said->{checked} = $checked->{good};
    $s->remember_wrong($base =~ s{.*/}{}r, "$said->{good} good answers, $checked->{good} right certificates")
        if $checked->{good} != $said->{good};
    return $said;
}

sub check_all {
    my ($s, $base) = @_;
    my $checked = bench('check', '--keys', $s->keys_file, '--ca-ra', $s->ca_ra, '--messages', "$base.messages",
        '--replies', "$base.replies", '--serials', "$base.serials");
    $s->remember_wrong($base =~ s{.*/}{}r, @{ $checked->{why} });
    for my $serial (split /\n/, slurp("$base.serials")) {
        $s->remember_wrong($base =~ s{.*/}{}r, "serial number $serial came twice") if $s->{serials}{$serial}++;
    }
    return $checked;
}

sub messages {
    my ($s, $n) = @_;
    my $base = $s->work('run-' . ++$runs);
    bench('make', '--keys', $s->keys_file, '--ca-ra', $s->ca_ra, '--challenges', $s->challenges($n), '--count',
        $n, '--name', "bench $runs", '--out', "$base.messages");
    return $base;
}

# $n enrolments by so many connections; all of them, unless seconds are given. keep: the files stay,
# for renewals().
sub enrolments {
    my ($s, $n, $clients, %o) = @_;
    my $keep = delete $o{keep};
    my $base = $s->messages($n);
    my $said = $s->send_all($base, clients => $clients, seconds => 3600, %o);
    $s->remember_wrong($base =~ s{.*/}{}r, "$said->{good} of $n enrolled") if !$o{seconds} && $said->{good} != $n;
    unlink glob "$base.*" if !$keep;
    return $said;
}

# Renewals of what an earlier run enrolled.
sub renewals {
    my ($s, $old, $clients) = @_;
    my $base = $s->work('run-' . ++$runs);
    bench('renew', '--keys', $s->keys_file, '--ca-ra', $s->ca_ra, '--messages', "$old.messages", '--replies',
        "$old.replies", '--name', "renewed $runs", '--out', "$base.messages");
    my $said = $s->send_all($base, clients => $clients, seconds => 300);
    unlink glob "$base.*";
    return $said;
}

# GET of a path for some seconds; every answer must be the same as the first.
sub gets {
    my ($s, $path, $clients, $seconds) = @_;
    my $said = bench('load', '--url', 'http://127.0.0.1:' . $s->port . $path, '--clients', $clients, '--seconds',
        $seconds, '--pid', $s->pid);
    $s->remember_wrong("GET $path", "$said->{wrong} wrong answers") if $said->{wrong} || !$said->{good};
    return $said;
}

1;
