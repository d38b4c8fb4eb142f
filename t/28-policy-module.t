# Policy modules: whatever goes wrong with one, no certificate is issued and the log says which.
# ndes.md 2.3, 5.1, 5.2.
use SCEPTest;

# What each of the programs does; the last one looks around. A program's own notes go where only it
# writes.
my $notes = '@DIR@/notes';
my %exec = (
    yes => <<'END',
read -r challenge
{ printf '%s challenge=%s disposition=%s renewal=%s\n' "$1" "$challenge" "$SCEP_DISPOSITION" "$SCEP_RENEWAL"; } >> @NOTES@/calls
case $1 in generate) echo "made-for-$SCEP_TEMPLATE-$SCEP_PARAMS";; esac
cat > @NOTES@/input.$1
exit 0
END
    no      => "cat > /dev/null\necho 'not \"today\"'\nexit 1\n",
    odd     => "cat > /dev/null\necho 'cannot reach the directory' >&2\nexit 3\n",
    crash   => 'kill -SEGV $$' . "\nsleep 20\n",
    hang    => "sleep 60\n",
    loud    => "exec yes rubbish\n",
    rubbish => <<'END',
case $1 in generate) printf 'two\nlines\n';; verify) exit 77;; esac
END
    child => <<'END',
(sleep 60; echo late) &
echo $! > @NOTES@/child
exit 0
END
    deaf => <<'END',
case $1 in notify) test "$SCEP_DISPOSITION" != 0 || test -e @NOTES@/hears || exit 9;; esac
exit 0
END
    look => <<'END',
if [ "$1" = verify ]; then
cat > /dev/null
id -u > @NOTES@/uid
id -G > @NOTES@/groups
# the shell has its script open, too
(ls -l /proc/$$/fd > @NOTES@/fds.all) # in a pipeline the shell's own pipes might be seen
grep -v /programs/look @NOTES@/fds.all | sed -n 's/.* \([0-9][0-9]*\) -> .*/\1/p' | tr '\n' ' ' > @NOTES@/fds
env | sort > @NOTES@/env
ps -o pgid= -p $$ | tr -d ' ' > @NOTES@/group; echo $$ >> @NOTES@/group
grep -E '^(NoNewPrivs|SigBlk|SigIgn|CapEff)' /proc/self/status > @NOTES@/status
for f in @DIR@/ca/state/store.db @DIR@/ca/ca.key @DIR@/ca/store.key; do
cat $f > /dev/null 2>&1 && echo "read $f" ; done > @NOTES@/reached
fi
exit 0
END
);
# Kept programs: JSON, a line each.
my %prg = (
    kept => <<'END',
use JSON::PP; $| = 1; my $n = 0;
while (<STDIN>) { my $q = decode_json($_); $n++;
open my $out, '>>', '@NOTES@/kept'; print $out "$$ $n $q->{call} ", ($q->{disposition} // '-'), ' ', ($q->{csr} ? 1 : 0), "\n"; close $out;
my $c = $q->{challenge} // '';
kill KILL => $$ if $c eq 'die';
sleep 60 if $c eq 'sleep';
print "[1]\n" and next if $c eq 'rubbish';
my $yes = encode_json({ id => $q->{id}, allow => JSON::PP::true });
print "$yes\n$yes\n" and next if $c eq 'twice';
$q->{id}-- if $c eq 'late';
print encode_json({ id => $q->{id}, $q->{call} eq 'verify' ? (allow => $c eq 'open' || $c eq 'late' ? JSON::PP::true : JSON::PP::false,
reason => 'because') : $q->{call} eq 'generate' ? (challenge => "kept $q->{params}") : () }), "\n"; }
END
);
my @names = (sort(keys %exec), sort keys %prg);
my $exec_user = is_root() ? (grep { defined getpwnam $_ && $_ ne SCEPServer::ca_user()
        && $_ ne SCEPServer::worker_user() } qw(nobody games man))[0] : undef;

my $s = SCEPTest->ready(
    SCEPTest::hosts(
        (map { $_ => "SCEPPolicyModule exec:\@DIR\@/programs/$_\nSCEPPolicyModuleTimeout @{[ slow(2) ]}\n"
        . "SCEPRenewalFrom yes.test\n" } sort keys %exec),
        (map { $_ => "SCEPPolicyModule prg:\@DIR\@/programs/$_\nSCEPPolicyModuleTimeout @{[ slow(2) ]}\n" } sort keys %prg),
        manual => "SCEPPolicyModule exec:\@DIR\@/programs/yes\nSCEPApproval enrol\n",
        sample => "SCEPPolicyModule exec:\@DIR\@/programs/sample\nSCEPApproval enrol\n",
        plain  => ''),
    server => defined $exec_user ? "SCEPExecUser $exec_user" : '');
my $dir = $s->dir;
mkdir "$dir/$_" or die "$_: $!\n" for qw(programs notes);
chmod 0755, "$dir/programs";
if (defined $exec_user) {
    my ($uid, $gid) = (getpwnam $exec_user)[2, 3];
    chown $uid, $gid, "$dir/notes";
}
sub program {
    my ($name, $text, $mode) = @_;
    $text =~ s/\@NOTES\@/$dir\/notes/g;
    $text =~ s/\@DIR\@/$dir/g;
    spew("$dir/programs/$name", $text, $mode // 0755);
    return;
}
program($_, "#!/bin/sh\n$exec{$_}") for keys %exec;
program($_, "#!$^X\n$prg{$_}") for keys %prg;

# The script that docs/policy-module.md shows, with another folder.
my ($sample) = slurp("$ENV{srcdir}/docs/policy-module.md") =~ /^    (#!\/bin\/sh\n(?:    .*\n|\n)+)/m
    or BAIL_OUT('docs/policy-module.md shows no script');
$sample =~ s/^    //gm;
$sample =~ s{^dir=.*}{dir=$notes}m or BAIL_OUT('the script names no folder');
program('sample', $sample);

# ---- what stops the start

sub refused {
    my ($name, $pattern) = @_;
    my $test = $s->configtest;
    isnt($test->{status}, 0, "$name is refused");
    like($test->{output}, $pattern, '… with a sentence');
    return;
}
rename "$dir/programs/yes", "$dir/programs/gone" or die $!;
refused('a program that is missing', qr/NDES-53 .*No such file/);
rename "$dir/programs/gone", "$dir/programs/yes" or die $!;
chmod 0644, "$dir/programs/yes";
refused('a program that nobody may execute', qr/NDES-53 .*not executable/);
chmod 0775, "$dir/programs/yes";
refused('a program that its group may write', qr/NDES-53 .*may write/);
chmod 0755, "$dir/programs/yes";
if (defined $exec_user) {
    for my $owner ($exec_user, SCEPServer::ca_user(), SCEPServer::worker_user()) {
        chown((getpwnam $owner)[2], -1, "$dir/programs/yes");
        refused("a program that belongs to $owner", qr/NDES-53 .*belongs to user \d+, .*give it to root/);
    }
    chown 0, -1, "$dir/programs/yes";
    for my $case (
        ['no SCEPExecUser', '', qr/NDES-53 .*needs a user of its own/],
        ['an SCEPExecUser that there is not', 'SCEPExecUser no-such-user-here', qr/there is no user/],
        ['root as SCEPExecUser', 'SCEPExecUser root', qr/is root/],
        ["SCEPCAUser as SCEPExecUser", 'SCEPExecUser ' . SCEPServer::ca_user(), qr/is SCEPCAUser too/],
        ["httpd's User as SCEPExecUser", 'SCEPExecUser ' . SCEPServer::worker_user(), qr/httpd's own User/],
        ["SCEPExecUser in httpd's Group", "SCEPExecUser $exec_user\nGroup #" . (getpwnam $exec_user)[3], qr/httpd's own Group/])
    {
        local $s->{server} = $case->[1];
        refused($case->[0], $case->[2]);
    }
}
for my $text ('exec:programs/yes', 'exec:', 'http://127.0.0.1/', 'whatever', 'https://', 'https://user:word@h/') {
    local $s->{server} = "$s->{server}\nSCEPPolicyModule $text";
    local $s->{hosts}  = "$s->{hosts}<VirtualHost 127.0.0.1:1>\nServerName more.test\nSCEPEngine on\n</VirtualHost>\n";
    refused("SCEPPolicyModule $text", qr/NDES-53/);
}

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
my $failed = 'SCEP0321: the policy module of endpoint';
$s->expect_log(
    'SCEP0322: the policy module of endpoint no\.test says no: verify .*reason="not \\\\x22today\\\\x22"',
    "$failed odd\\.test failed: verify .*ended with status 3: cannot reach the directory",
    "$failed crash\\.test failed: verify .*ended by signal 11",
    "$failed hang\\.test failed: verify .*timed out",
    "$failed loud\\.test failed: verify .*printed more than 65536 bytes",
    "$failed rubbish\\.test failed: verify .*ended with status 77",
    "$failed rubbish\\.test failed: generate .*no challenge",
    "$failed deaf\\.test failed: notify .*ended with status 9",
    "$failed kept\\.test failed: verify .*ended by signal 9",
    "$failed kept\\.test failed: verify .*timed out",
    "$failed kept\\.test failed: verify .*no JSON object",
    "$failed kept\\.test failed: verify .*more than one line",
    "$failed kept\\.test failed: verify .*does not repeat",
    'SCEP0322: the policy module of endpoint kept\.test says no: verify .*reason="because"',
    'SCEP0242: NDES-31 a request is put off: .*the policy module failed',
    'SCEP0026: NDES-29 CHALLENGE', 'SCEP0027: NDES-29 CHALLENGE_ABSENT', 'SCEP0030: NDES-31 UNAVAILABLE',
    'SCEP0075: .*no challenge was made', 'SCEP0074: NDES-6', 'SCEP0087: ', 'SCEP0089: ', 'SCEP0029: NDES-31 REFUSED',
    'SCEP0322: the policy module of endpoint no\.test says no: generate',
    'SCEP0322: the policy module of endpoint sample\.test says no: verify .*reason="another request waits with it"',
    'SCEP0322: the policy module of endpoint sample\.test says no: verify .*reason="the challenge was used"',
    "$failed sample\\.test failed: notify .*another certificate was had with it", 'SCEP0232: endpoint hang\.test');
# A module that fails at verify may fail at notify, too.
$s->allow_log("$failed (?:no|odd|crash|hang|loud|rubbish)\\.test failed: notify", 'SCEP0007: ', 'SCEP0071: NDES-6');

my $key = $s->work('key.pem');
run(['openssl', 'genrsa', '-out', $key, '2048']);
sub enrol {
    my ($name, %o) = @_;
    return $s->enrol(key => $key, challenge => 'secret-word', subject => "CN=$name", send => $s->place($name), %o);
}
sub notes { my ($name) = @_; return -e "$dir/notes/$name" ? slurp("$dir/notes/$name") : '' }

# ---- yes

my $reply = enrol('yes');
issued($reply, 'a module that says yes: issued');
is(notes('calls'), "verify challenge=secret-word disposition= renewal=0\n"
    . "notify challenge=secret-word disposition=0 renewal=0\n", 'verify, then notify with success');
my ($csr, $cert) = map { notes("input.$_") } qw(verify notify);
like($csr, qr/^-----BEGIN CERTIFICATE REQUEST-----\n/, 'verify reads the CSR behind the challenge');
unlike($csr, qr/BEGIN CERTIFICATE-----/, 'and no certificate');
like($cert, qr/^-----BEGIN CERTIFICATE-----\n/, 'notify reads the certificate that was issued');
spew($s->work('told.pem'), $cert);
like(run(['openssl', 'x509', '-in', $s->work('told.pem'), '-noout', '-serial'])->{output},
    qr/^serial=0*$reply->{serial}$/mi, 'the very one');
my $again = $s->again($reply, %{ $s->place('yes') });
is($again->{serial}, $reply->{serial}, 'the same request again gets the same certificate');
is(scalar(() = notes('calls') =~ /^notify/mg), 2, 'and the module is told again');
is(scalar(() = notes('calls') =~ /^verify/mg), 1, 'but not asked again');
failed(enrol('yes', challenge => undef, subject => 'CN=absent'), 2, 'without a challenge it is not asked',
    qr/0x80096004/i);
is(scalar(() = notes('calls') =~ /^verify/mg), 1, '… really not');
like(notes('calls'), qr/^notify challenge= disposition=2/m, 'but told of the failure');

my $renewed = $s->renew($reply, at => $s->place('yes'));
issued($renewed, 'a renewal is asked about, too');
like(notes('calls'), qr/^verify challenge= disposition= renewal=1$/m, 'as one');
like(notes('input.verify'), qr/BEGIN CERTIFICATE REQUEST-----.*BEGIN CERTIFICATE-----/s,
    'with the certificate that stands for it');
failed($s->renew($reply, at => $s->place('no')), 2, 'a module that says no to a renewal: refused');

# ---- everything else issues nothing

my $before = $s->certificates;
failed(enrol('no'), 2, 'a module that says no: refused', qr/0x80070490/i);
for my $name (qw(odd crash hang loud rubbish)) {
    my $answer = enrol($name);
    is($answer->{http}{status}, 503, "a module that fails ($name): 503, ask again");
    ok(!$answer->{serial}, '… and no certificate');
}
is($s->certificates, $before, 'nothing was issued');
my $begin = time;
issued(enrol('child'), 'a grandchild that keeps the output open holds nobody up');
cmp_ok(time - $begin, '<', 10, '… not for long');
ok(wait_for(sub { notes('child') =~ /(\d+)/ && !pid_lives($1) }, slow(5)), 'and is killed with its group');

# ---- a success that is not heard of is not delivered

my $unheard = enrol('deaf');
is($unheard->{http}{status}, 503, 'a certificate that the module did not hear of is not delivered');
is($s->certificates, $before + 2, '… it is there');
spew("$dir/notes/hears", '');
issued($s->again($unheard, %{ $s->place('deaf') }), 'and delivered when the module hears of it');
is($s->certificates, $before + 2, 'the same one');

# ---- what a program sees

issued(enrol('look'), 'a program looks around');
is(notes('fds'), '0 1 2 ', 'its descriptors are 0, 1 and 2') or diag(notes('fds'));
my %env = map { split /=/, $_, 2 } split /\n/, notes('env');
delete @env{qw(PWD OLDPWD SHLVL _)};
is_deeply([sort keys %env],
    [qw(PATH SCEP_CALL SCEP_ENDPOINT SCEP_PEER SCEP_RENEWAL SCEP_TEMPLATE SCEP_TRANSACTION_ID)],
    'its environment holds the facts and a PATH');
is_deeply([@env{qw(SCEP_CALL SCEP_ENDPOINT SCEP_PEER SCEP_RENEWAL SCEP_TEMPLATE)}],
    ['verify', 'look.test', '127.0.0.1', 0, 'IPSECIntermediateOffline'], 'as they are');
unlike(notes('env'), qr/secret-word/, 'S-28: no challenge is in it');
my ($group, $pid) = split /\n/, notes('group');
is($group, $pid, 'it has a process group of its own') if $group;
like(notes('status'), qr/^NoNewPrivs:\s1$/m, 'it gets no new privileges');
like(notes('status'), qr/^SigBlk:\s0+$/m, 'no signal is blocked');
if (defined $exec_user) {
    is(notes('uid'), (getpwnam $exec_user)[2] . "\n", 'it runs as SCEPExecUser');
    is(notes('groups'), (getpwnam $exec_user)[3] . "\n", 'in the one group of that user');
    is(notes('reached'), '', 'it reads neither the store nor a key');
    like(notes('status'), qr/^CapEff:\s0+$/m, 'it has no capability');
}

# ---- kept

sub kept { return enrol('kept', subject => "CN=$_[0]", challenge => $_[0]) }
issued(kept('open'), 'a kept program that says yes: issued');
failed(kept('shut'), 2, 'that says no: refused', qr/0x80070490/i);
my @first = split /\n/, notes('kept');
like($first[0], qr/ 1 verify - 1$/, 'it is asked');
like($first[1], qr/ 2 notify 0 /, '… and told, the same program');
is((split / /, $first[0])[0], (split / /, $first[-1])[0], 'all the time');
for my $word (qw(die sleep rubbish twice late)) {
    $before = $s->certificates;
    is(kept($word)->{http}{status}, 503, "a kept program that goes wrong ($word): 503");
    is($s->certificates, $before, '… nothing is issued');
    $s->{fresh}++;
    issued($s->enrol(key => $key, challenge => 'open', subject => "CN=after $word", send => $s->place('kept')),
        '… and the next call gets a fresh program');
}

# ---- approval

my $waits = enrol('manual');
pending($waits, 'a request that waits');
like(notes('calls'), qr/disposition=3/, 'the module is told that it waits');
my $told = () = notes('calls') =~ /disposition=0/g;
$s->approve($waits);
is(scalar(() = notes('calls') =~ /disposition=0/g), $told + 1, 'it is told of the approval');
my $denied = enrol('manual', subject => 'CN=denied');
my $failures = () = notes('calls') =~ /disposition=2/g;
$s->deny($denied, 'not here');
is(scalar(() = notes('calls') =~ /disposition=2/g), $failures + 1, 'and of the denial');

# ---- the operations of the admin side

sub admin { my ($name, $query) = @_; return $s->get("/certsrv/mscep_admin/$query", %{ $s->place($name) }, user => $s->credentials) }
my $made = admin('yes', '?operation=NDESGenerateChallenge&keyUsage=0xA0&params=some%20thing');
is($made->{status}, 200, 'NDESGenerateChallenge is answered');
is($made->{body}, 'made-for-IPSECIntermediateOffline-some thing', 'with what the module makes');
is($made->{header}{'content-type'}, 'text/plain', 'as text');
like($made->{header}{'cache-control'} // '', qr/no-store/, 'not to be stored');
is(admin('kept', '?OPERATION=ndesgeneratechallenge&params=x')->{body}, 'kept x', 'a kept program makes them, too');
is(admin('no', '?operation=NDESGenerateChallenge')->{status}, 403, 'a module that says no: 403');
is(admin('rubbish', '?operation=NDESGenerateChallenge')->{status}, 503, 'one that prints rubbish: 503');
is(admin('yes', '?operation=NDESGenerateChallenge&keyUsage=odd')->{status}, 400, 'a keyUsage that is no number: 400');
is(admin('yes', '?operation=NDESGenerateChallenge&keyUsage=160')->{status}, 200, 'a decimal one is');
my $root = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-fingerprint', '-md5']);
(my $md5 = uc(($root->{output} =~ /=(.*)/)[0])) =~ tr/://d;
is(admin('yes', '?operation=NDESGetCACertThumbprint')->{body}, $md5, 'NDESGetCACertThumbprint is the MD5 of the root');
is(admin('yes', '')->{status}, 403, 'there is no challenge page');
is($s->get('/certsrv/mscep_admin/?operation=NDESGenerateChallenge', %{ $s->place('yes') })->{status}, 401,
    'nor anything without a password');
is($s->get('/certsrv/mscep/mscep.dll', %{ $s->place('yes') })->{status}, 403, 'a plain GET of the device address is 403');
is($s->get('/certsrv/mscep/mscep.dll', %{ $s->place('plain') })->{status}, 200, 'and 200 without a module');
is($s->get('/certsrv/mscep/mscep.dll?operation=GetCACaps', %{ $s->place('yes') })->{status}, 200,
    'operations are served');

# ---- one challenge, one certificate: the script of the documentation

is(admin('yes', '?operation=NDESGenerateChallenge&params=caf%E9')->{status}, 400, 'params that are no UTF-8: 400');
unlike(notes('calls'), qr/^generate.*\n.*generate.*\n.*generate/, 'and nobody is asked');
my $challenge = admin('sample', '?operation=NDESGenerateChallenge')->{body};
like($challenge, qr/^[0-9a-f]{32}$/, 'the documented script makes a challenge');
my ($one, @others) = map {
    $s->build(challenge => $challenge, subject => "CN=sample $_", via => $s->place('sample'))
} 1 .. 3;
sub send_it { my ($request) = @_; return $s->open_reply($request, $s->send_request($request, %{ $s->place('sample') })) }
my $first_one = send_it($one);
pending($first_one, 'a request with it waits');
failed(send_it($others[0]), 2, 'a second request with the same challenge is refused', qr/0x80070490/i);
# As if nobody had heard that the first one waits.
my ($bound) = glob "$dir/notes/*.waits";
ok($bound && unlink($bound), 'the challenge is bound to the request that waits');
my $second_one = send_it($others[0]);
pending($second_one, 'where that was lost, a second one waits, too');
unlink glob "$dir/notes/*.waits" or die $!;
my $third_one = send_it($others[1]);
pending($third_one, 'and a third one');
$before = $s->certificates;
$s->approve($third_one);
for my $late ($first_one, $second_one) {
    my $ran = $s->scepctl('approve', $s->waiting($late)->{id});
    isnt($ran->{status}, 0, 'an approval asks again: the challenge was used');
    like($ran->{output}, qr/the policy module says no: the challenge was used/, '… and says so');
}
is($s->certificates, $before + 1, 'one certificate');
issued($s->poll($third_one, at => $s->place('sample')), 'which is fetched');
my ($used) = glob "$dir/notes/*.used";
ok($used && unlink($used) && symlink('another', $used), 'where another certificate was had with the challenge');
is($s->poll($third_one, at => $s->place('sample'))->{http}{status}, 503, 'none is delivered');

# ---- a module that hangs holds up nobody else

my @flood = map { $s->build(key => $key, challenge => "made-up $_", subject => "CN=hanging $_", via => $s->place('hang')) } 1 .. 40;
my $quiet = $s->build(key => $key, challenge => $s->mint(%{ $s->place('plain') }), subject => 'CN=plain', via => $s->place('plain'));
my $flooding = fork // die $!;
if (!$flooding) {
    my @answers = $s->many([map { $s->request_bytes($_, %{ $s->place('hang') }) } @flood], %{ $s->place('hang') });
    spew("$dir/work/flood", join "\n", map { $_->{status} } @answers);
    require POSIX;
    POSIX::_exit(0);
}
ok($s->logs('SCEP0232: endpoint hang\.test: a call was put off: busy'), 'more than a few calls are put off at once');
my $plain = $s->send_request($quiet, %{ $s->place('plain') });
ok(!-e "$dir/work/flood", 'while the others wait');
issued($s->open_reply($quiet, $plain, via => $s->place('plain')), '… an endpoint without a module issues');
waitpid $flooding, 0;
is_deeply([grep { $_ != 503 } split /\n/, slurp("$dir/work/flood")], [], 'all of them: 503');

# ---- the runner's end

sub runner_of {
    my ($parent) = @_;
    return (grep { (SCEPRun::parent_of($_) // 0) == $parent } map { m{^/proc/(\d+)$} ? $1 : () } glob '/proc/[0-9]*')[0];
}
my ($ca) = $s->ca_pids;
my $runner = runner_of($ca);
ok($runner, 'the runner is a child of scep-ca');
$s->expect_log('SCEP0323: the runner of programs ended', 'SCEP0102: scep-ca \(pid \d+\) ended with status 0');
$s->allow_log('SCEP0104: ');
kill 'KILL', $runner;
ok(wait_for(sub { !pid_lives($ca) }, slow(10)), 'without it scep-ca ends');
ok(wait_for(sub { (enrol('yes', subject => 'CN=after')->{serial} // '') ne '' }, slow(20)),
    'and is started again, with another');

# ---- the runner is stopped, as a program may do

($ca) = $s->ca_pids;
$runner = runner_of($ca);
$s->expect_log("$failed yes\\.test failed: .*the runner of programs does not answer");
halt($runner);
is(enrol('yes', subject => 'CN=stopped')->{http}{status}, 503, 'a runner that was stopped runs nothing');
ok(wait_for(sub { !pid_lives($ca) }, slow(10)), '… scep-ca ends');
ok(wait_for(sub { !pid_lives($runner) }, slow(10)), '… and the runner with it');
ok(wait_for(sub { (enrol('yes', subject => 'CN=goes on')->{serial} // '') ne '' }, slow(20)), '… and all goes on');

$s->finish;
is_deeply([grep { (SCEPRun::command_of($_) // '') =~ m{\Q$dir\E/programs} } map { m{(\d+)} } glob '/proc/[0-9]*'],
    [], 'no program is left');
done_testing();
