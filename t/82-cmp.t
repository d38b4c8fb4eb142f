# The connector cmp against `openssl cmp -port`: OpenSSL's own CMP server, which listens on every
# address, hence the namespace. It answers with one certificate, whatever it is asked for: so each
# enrolment here has a server of its own, started with a certificate of the device's key.
use SCEPTest;
use IO::Socket::INET;
use SCEPAuthority;
use SCEPNamespace;
use SCEPStrongSwan;

SCEPNamespace::enter();
need_program('openssl');
SCEPStrongSwan::need();

my %authority = (
    mac      => "reference = ra\nsecret = file:\@DIR\@/cmp/secret\n",
    implicit => "reference = ra\nsecret = file:\@DIR\@/cmp/secret\nimplicit_confirm = yes\n",
    sign     => "client_cert = \@DIR\@/cmp/client.pem\nclient_key = file:\@DIR\@/cmp/client.key\n",
    ir       => "reference = ra\nsecret = file:\@DIR\@/cmp/secret\ncommand = ir\n",
    cr       => "client_cert = \@DIR\@/cmp/client.pem\nclient_key = file:\@DIR\@/cmp/client.key\ncommand = cr\n",
    profile  => "reference = ra\nsecret = file:\@DIR\@/cmp/secret\nprofile = yes\n",
    wrong    => "reference = ra\nsecret = file:\@DIR\@/cmp/wrong\n",
    hang     => "reference = ra\nsecret = file:\@DIR\@/cmp/secret\ntimeout = 1\n");
my @names = sort keys %authority;
my $s = SCEPTest->ready(SCEPTest::hosts(map { $_ => "SCEPAuthority $_\n" } @names));
$s->allow_log('SCEP00\d\d: NDES-\d+ (?:BAD_REQUEST|REFUSED)');
my $dir = $s->dir;
mkdir "$dir/cmp" or die "$dir/cmp: $!\n";

# ---- the CA and its servers

my $ca = SCEPAuthority::make($s, 'template', root => 0);
my ($section) = slurp($s->ca_conf) =~ /^\[authority template\]\n(.*?)(?=^\[|\z)/ms;
my $secret = SCEPServer::random_hex(12);
spew("$dir/cmp/secret", "$secret\n", 0600);
spew("$dir/cmp/server-secret", $secret, 0600);
spew("$dir/cmp/wrong", SCEPServer::random_hex(12) . "\n", 0600);
SCEPAuthority::certificate("$dir/cmp/client", '/CN=the RA', 'sign', "$ca/issuing");
SCEPAuthority::certificate("$dir/cmp/server", '/CN=the CMP server', 'sign', "$ca/issuing");
chmod 0600, "$dir/cmp/client.key";

my ($port) = SCEPServer::free_ports(1);
my ($conf) = slurp($s->ca_conf) =~ /\A(.*?)^\[authority template\]/ms;
for my $name (@names) {
    (my $lines = $section) =~ s/^connector = .*\n|^ca_key = .*\n//mg;
    $conf .= "\n[authority $name]\nconnector = cmp\nurl = http://127.0.0.1:$port/pkix/\npoll = 1\n"
        . ($authority{$name} =~ s/\@DIR\@/$dir/gr)
        . ($authority{$name} =~ /client_cert/ ? "server_cert = $dir/cmp/server.pem\n" : '') . $lines;
}
spew($s->ca_conf, $conf);

my ($server, $count) = (undef, 0);

sub server_down {
    SCEPRun::end_child($server) if $server;
    undef $server;
    return;
}

# The device's key and certificate, as the CA is going to issue it, and the server that does. Options:
# sign: it signs; other: what it issues instead; more: words of its command line.
sub server_up {
    my ($name, %o) = @_;
    server_down();
    my $device = "$dir/cmp/device" . ++$count;
    SCEPAuthority::certificate($device, "/CN=$name", 'device', "$ca/issuing");
    my $issues = $o{other} // $device;
    my @how = $o{sign} ? ('-srv_cert', "$dir/cmp/server.pem", '-srv_key', "$dir/cmp/server.key", '-srv_trusted', "$ca/issuing.pem")
        : ('-srv_ref', 'ra', '-srv_secret', "file:$dir/cmp/server-secret");
    $server = spawn(['openssl', 'cmp', '-port', $port, @how, '-rsp_cert', "$issues.pem", @{ $o{more} // [] }],
        output => "$dir/cmp/log$count");
    wait_for(sub { said() =~ /^ACCEPT /m }, slow(10)) or BAIL_OUT('no CMP server: ' . said());
    return $device;
}

sub said { return -e "$dir/cmp/log$count" ? slurp("$dir/cmp/log$count") : q{} }

# How many came.
sub messages { return scalar(() = said() =~ /^cmp: Received request, /mg) }

sub serial_of {
    my ($file) = @_;
    return run(['openssl', 'x509', '-in', $file, '-noout', '-serial'])->{output} =~ /^serial=0*(\w+)/ ? $1 : 'none';
}

sub enrol {
    my ($authority, $device, %o) = @_;
    return $s->enrol(at => $s->place($authority), key => "$device.key", subject => 'CN=' . ($o{name} // $authority));
}

sub state_of {
    my ($name) = @_;
    my ($found) = grep { $_->{subject} eq "CN=$name" } @{ $s->scepctl_must('requests', '--all', '--json') };
    return $found // { state => 'none' };
}

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

# ---- issued

for my $case (
    ['mac',      0, 2],
    ['implicit', 0, 1, '-grant_implicitconf'],
    ['sign',     1, 2],
    ['ir',       0, 2, '-accept_raverified'],
    ['cr',       1, 2, '-accept_raverified'],
    ['profile',  0, 2])
{
    my ($name, $signs, $messages, @more) = @$case;
    my $device = server_up($name, sign => $signs, more => \@more);
    my $reply  = enrol($name, $device);
    issued($reply, "$name: issued");
    is(serial_of($reply->{certificate} // '/dev/null'), serial_of("$device.pem"), "$name: what the CA sent");
    is(messages(), $messages, "$name: " . ($messages == 1 ? 'by one message' : 'by a request and a confirmation'));
}

# ---- strongSwan

my $work   = $s->work('pki');
my $client = SCEPStrongSwan->new($s, 'mac');
is($client->{status}, 0, 'pki --scepca gets the certificates') or diag($client->{output});

sub pki {
    my ($out, $device, $dn, @more) = @_;
    return $client->enrolment($out, '--in', "$device.key", '--dn', $dn, '--password', $s->mint(%{ $s->place('mac') }), @more);
}

my $moon = server_up('moon');
my $done = run(pki("$work/moon.pem", $moon, 'CN=moon'), timeout => slow(60));
is($done->{status}, 0, 'pki --scep enrols') or diag($done->{output});
is(serial_of("$work/moon.pem"), serial_of("$moon.pem"), '… its certificate is the one of the CA');

# ---- it waits at the CA

my $sun = server_up('sun', more => ['-poll_count', 8, '-check_after', 1]);
my $pki = spawn(pki("$work/sun.pem", $sun, 'CN=sun', '--interval', 1, '--maxpolltime', 90), output => "$work/sun.log");
ok(wait_for(sub { state_of('sun')->{state} eq 'waits' }, slow(20)), 'the request waits at the CA') or diag(slurp("$work/sun.log"));
ok(wait_for(sub { messages() >= 4 }, slow(30)), '… and is asked after');
my ($former) = $s->ca_pids;
$s->graceful;
ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && $now[0] != $former }, slow(40)), '… another scep-ca takes over');
my $status = SCEPRun::wait_child($pki, slow(120)) // 'it did not end';
is($status, 0, '… and pki has its certificate') or diag(slurp("$work/sun.log"));
is(serial_of("$work/sun.pem"), serial_of("$sun.pem"), '… that of the CA');
unlike(said(), qr/got aborted|CMP error/, '… for which it was one transaction from its beginning to its end');
is(messages(), 1 + 8 + 1, '… of a request, polls and a confirmation');

# ---- refused

server_up('refused', more => ['-pkistatus', 2, '-failure', 2, '-statusstring', 'not in the list']);
failed(enrol('mac', "$dir/cmp/device$count", name => 'refused'), 2, 'what the CA rejects is badRequest');
ok($s->logs('not in the list'), '… its words are in the log');
is(state_of('refused')->{state}, 'denied', '… and it is decided');

$s->expect_log('SCEP0253: \[authority mac\] .*did not get it: .*systemUnavail');
my $busy = server_up('busy', more => ['-pkistatus', 2, '-failure', 24]);
my $waits = enrol('mac', $busy, name => 'busy');
pending($waits, 'a CA that is out of order decides nothing: the device waits');
# the server knows one transaction at a time, and what follows is not to be crossed by this one
ok(wait_for(sub { $s->scepctl('deny', state_of('busy')->{id}, '--reason', 'enough')->{status} == 0 }, slow(10)),
    '… unless an administrator decides');

$s->expect_log('SCEP0253: \[authority wrong\] ');
$s->allow_log('SCEP0255: \[authority wrong\]');
server_up('wrong');
pending(enrol('wrong', "$dir/cmp/device$count"), 'a wrong secret is no decision on a device');
like(said(), qr/wrong pbm value|bad password based mac|error validating protection/i, '… the CA does not believe it');

# ---- nobody there, and then somebody

server_down();
$s->expect_log('SCEP0253: \[authority implicit\] .*did not get it: .*(?:connect|refused)');
$count++;
my $late = "$dir/cmp/late";
SCEPAuthority::certificate($late, '/CN=late', 'device', "$ca/issuing");
my $asked = enrol('implicit', $late, name => 'late');
pending($asked, 'without a CA the device waits');
server_up('late-server', other => $late);
my $reply;
ok(wait_for(sub { ($reply = $s->poll($asked, at => $s->place('implicit')))->{serial} }, slow(60)), '… until there is one')
    or diag(SCEPTest::describe($reply));
is(serial_of($reply->{certificate} // '/dev/null'), serial_of("$late.pem"), '… and has its certificate');

# ---- revoked

my $before = messages();
is($s->scepctl('revoke', $reply->{serial}, '--reason', 'superseded')->{status}, 0, 'a revocation');
is(messages(), $before + 1, '… is told to the CA');
server_down();
my $vain = $s->scepctl('revoke', serial_of("$work/moon.pem"), '--reason', 'superseded');
isnt($vain->{status}, 0, 'without a CA nothing is revoked') or diag($vain->{output});

# ---- what is unfit

$s->expect_log('SCEP0254: \[authority mac\] sent a certificate that is withheld');
my $odd = server_up('odd', other => $moon);
pending(enrol('mac', $odd, name => 'odd'), 'a certificate of another key is not given to a device');
ok(wait_for(sub { state_of('odd')->{state} eq 'withheld' }, slow(20)), '… it is withheld') or diag(state_of('odd')->{state});
server_down();

# ---- it hears and never answers

my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 8, ReuseAddr => 1) or BAIL_OUT("$!");
$s->expect_log('SCEP0255: \[authority hang\] .*CMP transaction [0-9A-F]{32}');
$s->allow_log('SCEP0253: \[authority hang\] .*may have got it: timed out', 'SCEP025[13]: \[authority (?:mac|wrong)\]');
pending(enrol('hang', $odd, name => 'hang'), 'a CA that does not answer: the device waits');
ok(wait_for(sub { state_of('hang')->{state} eq 'lost' }, slow(40)), '… it is not asked again, as it may have issued');
like(state_of('hang')->{reason}, qr/CMP transaction [0-9A-F]{32}/, '… and an administrator knows what to look for');
close $silent;

is_deeply([sort $s->files_with($secret)], ["$dir/cmp/secret", "$dir/cmp/server-secret"], 'the secret stands in its file')
    or diag(explain([$s->files_with($secret)]));
$s->finish;
done_testing();
