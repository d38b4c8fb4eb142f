# Watching it: the status page, mod_status's section, notes for the access log, and the events of NDES.
use SCEPTest;
use IO::Handle ();
use JSON::PP ();
use Time::HiRes ();

need_program('sqlite3');
my $guard = SCEPServer::guard('/certsrv/mscep_admin');
my $s     = SCEPTest->up(
    modules => ['status'],
    ports   => 4,
    server  => <<'END',
LogFormat "%U %>s %{scep-endpoint}n %{scep-transid}n %{scep-status}n %{scep-serial}n" notes
CustomLog "@DIR@/logs/notes.log" notes
<Location "/scep-status">
SetHandler scep-status
</Location>
<Location "/server-status">
SetHandler server-status
</Location>
END
    hosts => <<"END");
<VirtualHost 127.0.0.1:\@PORT1\@>
ServerName scep.test
SCEPEngine on
SCEPFailedMax 100000
SCEPPasswordMax 50
CustomLog "\@DIR\@/logs/notes.log" notes
$guard</VirtualHost>
<VirtualHost 127.0.0.1:\@PORT2\@>
ServerName manual.test
SCEPEngine on
SCEPFailedMax 100000
SCEPApproval enrol
SCEPCompatibility rfc8894
CustomLog "\@DIR\@/logs/notes.log" notes
$guard</VirtualHost>
<VirtualHost 127.0.0.1:\@PORT3\@>
ServerName plain.test
</VirtualHost>
<VirtualHost 127.0.0.1:\@PORT4\@>
ServerName full.test
SCEPEngine on
SCEPPasswordMax 1
CustomLog "\@DIR\@/logs/notes.log" notes
$guard</VirtualHost>
END
my %manual = (port => $s->port(1), host => 'manual.test');
my %plain  = (port => $s->port(2), host => 'plain.test');
my %full   = (port => $s->port(3), host => 'full.test');
$s->expect_log(
    'SCEP0026: NDES-29 CHALLENGE:', 'SCEP0030: NDES-31 UNAVAILABLE:', 'SCEP0073: ',
    'SCEP0029: NDES-31 REFUSED: .*, a renewal: NDES-28\)');
$s->allow_log(qr/SCEP0027:/, qr/SCEP0028:/, qr/SCEP0102:/, qr/SCEP0200: NDES-2 /);

sub state_of {
    my (%o) = @_;
    my $page = $s->get('/scep-status?auto', %o);
    my $json = eval { JSON::PP->new->utf8->decode($page->{body}) };
    return ($page, $json // {});
}

my @top = qw(authorities endpoints scep_ca status turned_away uptime version);
my @endpoint =
    qw(authority challenges_most challenges_unused issued later minted name pending refused waiting);

# ---- it is up

my ($page, $state) = state_of();
is($page->{status}, 200, 'scep-ca and its store answer: 200');
is($page->{header}{'content-type'}, 'application/json', '?auto is JSON');
is($page->{header}{'cache-control'}, 'no-store', 'and nobody keeps it');
is_deeply([sort keys %$state], \@top, 'it has these members');
is($state->{status}, 'ok', 'all is well');
ok($state->{scep_ca}{answers} && $state->{scep_ca}{store}, 'scep-ca answers, and its store');
is($state->{scep_ca}{version}, $state->{version}, 'module and scep-ca are of one version');
is_deeply([map { $_->{name} } @{ $state->{endpoints} }], [qw(full.test manual.test scep.test)], 'each endpoint is there');
is_deeply([sort keys %{ $state->{endpoints}[0] }], \@endpoint, 'with these members');
is($state->{endpoints}[2]{challenges_most}, 50, 'and its own settings');
my ($authority) = @{ $state->{authorities} };
my $ends = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-enddate', '-dateopt', 'iso_8601'])->{output};
(my $iso = ($ends =~ /=(.*)/)[0]) =~ tr/ /T/;
is($authority->{name}, 'default', 'the authority is there');
is_deeply([sort keys %$authority], [qw(ca_asks ca_ends ca_left_alone crl_next crl_number name ra_ends subject)], 'with these members');
is($authority->{ca_ends}, $iso, 'with the end of its CA');
like($authority->{ra_ends}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'and of its RA');

for my $name (['a server of its own', %manual], ['a server without SCEPEngine', %plain]) {
    my ($what, %o) = @$name;
    is((state_of(%o))[0]{status}, 200, "the page works in $what");
}
my $html = $s->get('/scep-status');
is($html->{status}, 200, 'without ?auto it is for people');
is($html->{header}{'content-type'}, 'text/html; charset=utf-8', 'in HTML');
like($html->{body}, qr{Status: <b>ok</b>.*<td>scep\.test</td>}s, 'and tells the same');
for my $target ('/scep-status', '/scep-status?auto') {
    my $head = $s->http('HEAD', $target);
    is($head->{status}, 200, "HEAD $target answers");
    is($head->{body},   '',  'without a body');
}
is($s->post('/scep-status', 'x')->{status}, 405, 'a POST is refused');
is($s->get('/scep-status?automatic')->{header}{'content-type'}, 'text/html; charset=utf-8', 'auto is a whole word');

# ---- what is counted, and what the access log gets

my $challenge = $s->mint;
my $issued    = $s->enrol(subject => 'CN=counted', challenge => $challenge);
issued($issued, 'an enrolment');
my $refused = $s->enrol(subject => 'CN=wrong', challenge => '0123456789ABCDEF');
failed($refused, 2, 'an unknown challenge is refused with 0x80070490 under ndes', qr/\(0x80070490\)/);
my $waits = $s->enrol(at => \%manual, via => \%manual, subject => 'CN=waits', challenge => $s->mint(%manual), %manual);
pending($waits, 'a request that waits');
$s->mint(%full);
is($s->admin_page(%full)->{status}, 200, 'a page without a challenge');
$s->get('/certsrv/mscep/mscep.dll?operation=GetCACaps');

# Each worker process tells what it heard within the last second.
my %at;
wait_for(sub {
    (undef, $state) = state_of();
    %at = map { $_->{name} => $_ } @{ $state->{endpoints} };
    $at{'full.test'}{minted} && $at{'manual.test'}{waiting};
}, slow(10));
is_deeply([@{ $at{'scep.test'} }{qw(issued refused pending minted challenges_unused waiting)}],
    [1, 1, 0, 1, 0, 0], 'what scep.test answered is counted');
is_deeply([@{ $at{'manual.test'} }{qw(issued refused pending minted challenges_unused waiting)}],
    [0, 0, 1, 1, 0, 1], 'what waits at manual.test as well');
is_deeply([@{ $at{'full.test'} }{qw(minted challenges_unused challenges_most)}], [1, 1, 1], 'and what full.test minted');

my $dll   = '/certsrv/mscep/mscep\.dll\S*';
my $notes = sub { join '', grep { !/^\/s/ } map { "$_\n" } split /\n/, slurp($s->dir . '/logs/notes.log') };
my %line = (
    'an issued certificate'      => "$dll 200 scep\\.test \Q$issued->{request}{transaction_id}\E issued \Q$issued->{serial}\E\n",
    'a refused request'          => "$dll 200 scep\\.test \Q$refused->{request}{transaction_id}\E refused -\n",
    'one that waits'             => "$dll 200 manual\\.test \Q$waits->{request}{transaction_id}\E pending -\n",
    'a challenge page'           => "/certsrv/mscep_admin\\S* 200 scep\\.test - minted -\n",
    'one without a challenge'    => "/certsrv/mscep_admin\\S* 200 full\\.test - full -\n",
    'a request without an event' => "$dll 200 scep\\.test - - -\n",
);
wait_for(sub { my $all = $notes->(); !grep { $all !~ /^$_/m } values %line }, slow(5));
like($notes->(), qr/^$line{$_}/m, "the access log tells of $_") for sort keys %line;
unlike($notes->(), qr/\Q$challenge\E/, 'and of no challenge');

my $shown = $s->scepctl_must('status', '--json');
$_->{uptime} = 0 for $state->{scep_ca};
is_deeply($shown->{authorities}, $state->{authorities}, 'scepctl status tells the same of authorities');
is_deeply($shown->{endpoints},   $state->{endpoints},   'and of endpoints');
is($shown->{status}, 'ok', 'and that all is well');
like($s->scepctl_must('status'), qr/^status ok\n.*endpoint scep\.test.*\n.*\n  issued 1, refused 1,/ms, 'as text, too');

# ---- mod_status

my $section = $s->get('/server-status', %plain);
like($section->{body}, qr{<h2>SCEP</h2>.*<b>ok</b>.*<td>scep\.test</td>}s, "mod_status's page has a section");
my $short;
wait_for(sub { ($short = $s->get('/server-status?auto', %plain)->{body}) =~ /^SCEPMinted: 3$/m }, slow(10));
like($short, qr/^SCEPStatus: ok$/m, '?auto has lines');
my %short = $short =~ /^(SCEP\w+): (\d+)$/mg;
is_deeply(
    [@short{qw(SCEPEndpoints SCEPIssued SCEPRefused SCEPPending SCEPMinted SCEPWaiting SCEPChallengesUnused)}],
    [3, 1, 1, 1, 3, 1, 1], 'with sums');

# ---- NDES's texts and events

# A request as it is written here: enrol() would fetch a challenge by itself.
sub answer_to {
    my ($at, %o) = @_;
    my $request = $s->build(via => $at, %o);
    return $s->open_reply($request, $s->send_request($request, %$at));
}
for my $one (
    ['an unknown challenge', qr/\(0x80070490\)$/, sub { (subject => 'CN=x', challenge => '0' x 16) }],
    ['no challenge',         qr/\(0x80096004\)$/, sub { (subject => 'CN=x') }],
    ['no name',              qr/\(0x80094001\)$/, sub { (subject => '', challenge => $s->mint(%{ $_[0] })) }])
{
    my ($what, $hresult, $request) = @$one;
    failed(answer_to({}, $request->({})), 2, "$what: its HRESULT under ndes", $hresult);
    failed(answer_to(\%manual, $request->(\%manual)), 2, "$what: no HRESULT under rfc8894", qr/^[^(]*$/);
}
$s->revoke($issued, 'keyCompromise');
my $renewal = $s->renew($issued);
failed($renewal, 2, 'a renewal of a revoked certificate is refused');
ok($s->logs(qr/SCEP0029: NDES-31 REFUSED: .*, a renewal: NDES-28\)/), 'and the log names the event of a failed renewal');
ok(!grep({ /NDES-28/ && /SCEP0026/ } $s->log_lines), 'which no enrolment has');
ok($s->logs(qr/SCEP0203: NDES-1 scep-ca \S+ serves; endpoints: 3$/), 'the log tells that scep-ca serves');

# ---- scep-ca hangs

# Ask until it is down. @param since when scep-ca answered no more
sub hangs {
    my ($what, $since, $wanted) = @_;
    my ($page, $json, @late, @slow);
    wait_for(sub {
        my $begin = Time::HiRes::time();
        ($page, $json) = state_of();
        push @slow, $begin - $since if Time::HiRes::time() - $begin > slow(3.5);
        push @late, $begin - $since if $page->{status} == 200 && $begin - $since > 2;
        $page->{status} == 503;
    }, slow(10));
    is($page->{status}, 503, "$what: 503");
    is_deeply(\@late, [], 'within two seconds: what was told before is not told for longer');
    is_deeply(\@slow, [], 'each answer comes soon, whatever SCEPCATimeout is');
    is_deeply([sort keys %$json], \@top, 'with the same members');
    is($json->{status}, 'down', 'down');
    ok(!$json->{scep_ca}{answers}, 'scep-ca does not answer');
    like($json->{scep_ca}{detail}, $wanted, 'and why');
    is_deeply([map { $_->{name} } @{ $json->{endpoints} }], [qw(full.test manual.test scep.test)], 'the endpoints are known all the same');
    is_deeply([sort keys %{ $json->{endpoints}[0] }], \@endpoint, 'with the same members');
    is($json->{endpoints}[0]{issued}, undef, 'but nothing is counted');
    is($json->{authorities}[0]{ca_ends}, $iso, 'and when the CA ends');
    # by then each of httpd's processes says so
    wait_for(sub { Time::HiRes::time() - $since > 2 }, 3);
    is($s->http('HEAD', '/scep-status')->{status}, 503, 'HEAD is 503, too');
    return;
}
my ($ca) = $s->ca_pids;
halt($ca);
hangs('scep-ca hangs', Time::HiRes::time(), qr/no answer in time|time/);
like($s->get('/server-status?auto', %plain)->{body}, qr/^SCEPStatus: down$/m, "mod_status's line says so");
kill 'CONT', $ca;
ok(wait_for(sub { (state_of())[0]{status} == 200 }, slow(20)), 'it is well again');

# ---- scep-ca cannot start

rename $s->ca_conf, $s->ca_conf . '.away' or die "$!\n";
my $unsent = $s->build(subject => 'CN=unsent', challenge => '0123456789ABCDEF');
my $elsewhere = $s->build(subject => 'CN=unsent', challenge => '0123456789ABCDEF', via => \%manual);
kill 'KILL', $ca;
my $killed = Time::HiRes::time();
ok(wait_for(sub { $s->logs(qr/SCEP0200: NDES-2 .*ca\.conf/, 1) }, slow(30)), 'the log says that scep-ca cannot start');
hangs('scep-ca cannot start', $killed, qr/./);
my $later = $s->send_request($unsent);
is($later->{status}, 503, 'a device is told to come again');
is($later->{body}, "try again later (0x800706ba)\n", 'CA unreachable: 0x800706ba under ndes');
is($later->{header}{'content-type'}, 'text/plain', 'as text');
like($later->{header}{'retry-after'} // '', qr/^\d+$/, 'with Retry-After');
$later = $s->send_request($elsewhere, %manual);
is($later->{status}, 503, 'under rfc8894 as well');
unlike($later->{body}, qr/0x800706ba/, 'without an HRESULT');
like($later->{header}{'retry-after'} // '', qr/^\d+$/, 'with Retry-After');
ok(wait_for(sub { $notes->() =~ /^$dll 503 scep\.test \Q$unsent->{transaction_id}\E later -$/m }, slow(5)),
    'the access log tells of one that was put off');
rename $s->ca_conf . '.away', $s->ca_conf or die "$!\n";
ok(wait_for(sub { (state_of())[0]{status} == 200 }, slow(60)), 'ca.conf is back: 200 again');
ok($s->logs(qr/SCEP0104: NDES-1 /, 20), 'the log says that it serves again');

# ---- the database does not answer

$s->allow_log(qr/SCEP028[01]:/, qr/SCEP029\d:/);
open my $holder, '|-', 'sqlite3', $s->database or die "sqlite3: $!\n";
$holder->autoflush(1);
print $holder ".timeout 20000\nBEGIN EXCLUSIVE;\n";
ok(wait_for(sub { (state_of())[0]{status} == 503 }, slow(20)), 'somebody holds the database: 503');
print $holder "ROLLBACK;\n";
close $holder or die "sqlite3: $?\n";
ok(wait_for(sub { (state_of())[0]{status} == 200 }, slow(60)), 'and 200 when it is free again');
$s->stop;
like(join("\n", $s->log_lines), qr/SCEP0204: NDES-3 scep-ca has stopped/, 'the log tells that scep-ca has stopped');
$s->finish;

# ---- one process, and many who ask

my $one = SCEPTest->up(
    server => "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\n"
        . "MaxSpareThreads 16\n<Location \"/scep-status\">\nSetHandler scep-status\n</Location>\n");

# One question for the page. @param since what `begin` counts from
sub told {
    my ($server, $since) = @_;
    my $begin = Time::HiRes::time();
    my $page  = $server->get('/scep-status?auto', timeout => 30);
    my $json  = eval { JSON::PP->new->utf8->decode($page->{body}) } // {};
    return { begin => $begin - ($since // 0), took => Time::HiRes::time() - $begin, status => $page->{status}, json => $json };
}

# Processes that ask all at once, and again while $more says so.
sub asked_by {
    my ($number, $server, $more, $since) = @_;
    return map {
        my $file = $server->work("asker-$_");
        my $pid  = fork // die "fork: $!\n";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
            my @seen;
            do {
                push @seen, told($server, $since);
                Time::HiRes::sleep(0.05);
            } while ($more->());
            spew($file, JSON::PP::encode_json(\@seen));
            POSIX::_exit(0);
        }
        [$pid, $file]
    } 1 .. $number;
}

# What each of them was told: references to lists.
sub answers_to {
    my (@askers) = @_;
    waitpid $_->[0], 0 for @askers;
    return map { JSON::PP::decode_json(slurp($_->[1])) } @askers;
}

sub is_well { return wait_for(sub { told($one)->{status} == 200 }, slow(20)) }

# Connections to scep-ca that it did not close: those that nobody took yet are among them.
sub connections {
    my ($socket) = glob $one->dir . '/run/scep.*.sock';
    return scalar grep { /\Q$socket\E$/ } split /\n/, slurp('/proc/net/unix');
}

ok(is_well(), 'a server of one process is up');
my ($only) = $one->ca_pids;
my $again;
for my $try (1 .. 10) {
    is_well();
    halt($only);
    $again = told($one);
    kill 'CONT', $only;
    # the answer before may have been a second old already
    last if $again->{status} == 200 && $again->{took} < 1;
}
is($again->{status}, 200, 'what was told within a second is told again');
cmp_ok($again->{took}, '<', 1, 'and nobody is asked for it');
is($again->{json}{status}, 'ok', 'in the same words');

is_well();
halt($only);
my $stopped = Time::HiRes::time();
my $before  = connections();
my @askers  = asked_by(12, $one, sub { Time::HiRes::time() < $stopped + 5 }, $stopped);
my @seen    = map { @$_ } answers_to(@askers);
my $questions = connections() - $before; # but for one over a connection that was kept
cmp_ok(scalar(grep { $_->{status} == 200 } @seen), '>', 0, 'scep-ca hangs, and twelve ask: they are told what it said last');
is_deeply([grep { $_->{status} == 200 && $_->{begin} > 2 } @seen], [], 'for two seconds at most');
cmp_ok(scalar(grep { $_->{status} == 503 } @seen), '>', 12, 'and 503 then');
is_deeply([grep { $_->{status} != 200 && $_->{status} != 503 } @seen], [], 'and nothing else');
is_deeply([grep { $_->{took} > slow(3.5) } @seen], [], 'soon');
cmp_ok($questions, '<=', 4, scalar(@seen) . " requests are $questions questions");
kill 'CONT', $only;
ok(is_well(), 'and it is well again');

$one->finish;

# ---- scep-ca has too many questions already

# A question of each process: more than scep-ca takes at one time.
my $many = SCEPTest->up(
    mpm    => 'prefork',
    server => "StartServers 14\nMinSpareServers 14\nMaxSpareServers 40\nMaxRequestWorkers 64\n"
        . "<Location \"/scep-status\">\nSetHandler scep-status\n</Location>\n");
$many->allow_log(qr/SCEP028[01]:/, qr/SCEP029\d:/);

sub asked_at_once {
    my @askers = asked_by(14, $many, sub { 0 });
    my @told   = map { @$_ } answers_to(@askers);
    return @told;
}

wait_for(sub { !grep { $_->{status} != 200 } asked_at_once() }, slow(20));
open my $locker, '|-', 'sqlite3', $many->database or die "sqlite3: $!\n";
$locker->autoflush(1);
print $locker ".timeout 20000\nBEGIN EXCLUSIVE;\n";
# until each process has asked anew
my (@busy, @down);
wait_for(sub {
    my @told = asked_at_once();
    push @busy, grep { ($_->{json}{scep_ca}{detail} // '') =~ /too many calls/ } @told;
    push @down, grep { ($_->{json}{scep_ca}{detail} // '') =~ /no answer/ } @told;
    grep { $_->{status} == 200 } @busy;
}, slow(8));
print $locker "ROLLBACK;\n";
close $locker or die "sqlite3: $?\n";
cmp_ok(scalar @down, '>', 0, 'the database hangs: those who wait for an answer in vain say so');
is_deeply([grep { $_->{status} != 503 || $_->{json}{status} ne 'down' } @down], [], 'with 503');
cmp_ok(scalar(grep { $_->{status} == 200 && $_->{json}{status} eq 'busy' } @busy), '>', 0,
    'others are refused, as scep-ca has too many questions: busy is 200, the node is not dead');
# a process that waited in vain before, and is refused now
is_deeply([grep { "$_->{status} $_->{json}{status}" !~ /^(200 busy|503 down)$/ } @busy], [], 'unless it was down before');
is_deeply([grep { $_->{status} == 200 && !$_->{json}{scep_ca}{answers} } @busy], [], 'for scep-ca is there');
is_deeply([grep { "@{[sort keys %{ $_->{json} }]}" ne "@top" } @busy], [], 'the members are the same');
my @numbered = grep { $_->{json}{scep_ca}{detail} =~ /^scep-ca is busy: .*; the numbers are \d+ seconds? old$/ } @busy;
is(scalar(grep { defined $_->{json}{endpoints}[0]{issued} } @busy), scalar @numbered, 'numbers of before are said to be so');
$many->finish;

# ---- where SCEP is off

my $off = SCEPTest->up(connector => '', hosts => <<'END');
<VirtualHost 127.0.0.1:@PORT@>
<Location "/scep-status">
SetHandler scep-status
</Location>
</VirtualHost>
END
$off->expect_log('SCEP0090: SetHandler scep-status, but no server has SCEPEngine on');
is($off->get('/scep-status')->{status}, 404, 'no server has SCEPEngine on: there is nothing to tell');
$off->finish;
done_testing();
