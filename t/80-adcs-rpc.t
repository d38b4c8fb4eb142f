# Calls to a certification authority of Active Directory, by the rooms dcerpc and icpr: Kerberos,
# endpoint mapper and RPC are a real Samba domain controller's, the CA is t/ad/ca.pl inside of it.
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes qw(time);
use SCEPRelay;
use SCEPRun qw(run slow slurp spew have);
use SCEPSamba;
use Test::More;

SCEPSamba::enter();
my $tool = "$ENV{builddir}/t/tool/icpr-call";
SCEPSamba::unable('the connector adcs was not built') if !-x $tool;

my $ad = SCEPSamba->up(accounts => [qw(ndes outsider)]);
my $dir = $ad->dir;
{
    my %environment = $ad->environment;
    @ENV{ keys %environment } = values %environment;
}

# ---- tools

my %usual = (
    host      => SCEPSamba::HOST,
    authority => SCEPSamba::CA_NAME,
    principal => 'ndes@' . SCEPSamba::REALM,
    keytab    => $ad->keytab('ndes'),
    deadline  => slow(20) * 1000,
);

use constant { ISSUED => 0, DENIED => 2, PENDING => 3, NONE => 4, LATER => 5, NO_ANSWER => 6 };

# The tool with these options: what it printed, its exit status, the seconds it took.
sub icpr {
    my (%o) = (%usual, @_);
    unlink "$dir/cert", "$dir/chain";
    my $began = time;
    my $ran = run([$tool, map({ defined $o{$_} ? ("--$_", $o{$_}) : () } sort keys %o), '--cert', "$dir/cert", '--chain', "$dir/chain"],
        timeout => slow(120));
    my %said = $ran->{output} =~ /^([a-z]+)=(.*)$/mg;
    return { %said, status => $ran->{status}, output => $ran->{output}, took => time - $began };
}

sub openssl { my $ran = run(['openssl', @_]); die "openssl @_: $ran->{output}\n" if $ran->{status}; return $ran->{output} }

# A request of a new key: its path. The configuration is for what a subject cannot hold.
sub request {
    my ($name, @extensions) = @_;
    my $path = "$dir/$name";
    openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$path.key",
        '-subj', "/CN=$name", '-outform', 'DER', '-out', "$path.csr", map { ('-addext', $_) } @extensions);
    return "$path.csr";
}

sub key_of_request { return openssl('req', '-inform', 'DER', '-in', $_[0], '-noout', '-pubkey') }

sub key_of_cert { return -s "$dir/cert" ? openssl('x509', '-inform', 'DER', '-in', "$dir/cert", '-noout', '-pubkey') : '' }

sub is_status {
    my ($answer, $status, $name) = @_;
    is($answer->{status}, $status, $name) or diag($answer->{output});
    return;
}

sub is_issued {
    my ($answer, $csr, $name) = @_;
    is_status($answer, ISSUED, $name);
    is(key_of_cert(), key_of_request($csr), 'with the key of the request');
    return;
}

# The PDU with the byte at an offset changed by a bit mask.
sub flip { my ($pdu, $at, $mask) = @_; substr($pdu, $at, 1) ^= chr $mask; return $pdu }

# ---- issued

my $csr = request('device');
for my $mechanism (qw(spnego kerberos)) {
    my $type = $mechanism eq 'spnego' ? 9 : 16;
    my $answer = icpr(request => $csr, template => 'Device', mechanism => $mechanism);
    is_issued($answer, $csr, "$mechanism: a certificate is issued");
    is($ad->request_file($answer->{id}, 'caller'), "ndes $type 6", 'to the account of the keytab, with packet privacy');
    is($ad->request_file($answer->{id}, 'request'), slurp($csr), 'the request arrived as it is');
    is($ad->request_file($answer->{id}, 'attributes'), "CertificateTemplate:Device\n", 'with its template and nothing else');
    cmp_ok($answer->{port}, '>', 1024, 'on the port that the endpoint mapper said');
    like(openssl('pkcs7', '-inform', 'DER', '-in', "$dir/chain", '-print_certs', '-noout'), qr/subject=.*Test CA/,
        'and its chain comes along');
}
is_issued(icpr(request => $csr, template => 'Geräte'), $csr, 'names beyond ASCII, of CA and template, arrive');
is_issued(icpr(request => $csr, template => 'Device', service => 'host/' . SCEPSamba::HOST . '@' . SCEPSamba::REALM),
    $csr, 'the service may be named by its principal');

# ---- a kept connection, and what can be seen of it

my $port = icpr(request => $csr, template => 'Device')->{port};
{
    # where NTLM would have something to log on with
    spew("$dir/ntlm", "CORP:ndes:secret\n", 0600);
    local $ENV{NTLM_USER_FILE} = "$dir/ntlm";
    my $relay  = SCEPRelay->start(to => $port, record => "$dir/kept");
    my $before = $ad->last_request;
    my $answer = icpr(request => $csr, template => 'Device', port => $relay->port, repeat => 10);
    is_issued($answer, $csr, 'a connection is used again');
    is($ad->last_request - $before, 10, 'for each of ten calls');
    is($relay->connections, 1, 'and it was one connection');
    unlike($answer->{output}, qr/usable=0/, 'usable after each of them');
    $relay->stop;
    my $seen = $relay->recorded;
    my $interface = pack 'H*', '2060ae913c9ecf118d7c00aa00c091be';
    cmp_ok(index($seen, $interface), '>=', 0, 'whoever listens sees which interface is called');
    my %mechanism = (Kerberos => '2a864886f712010202', NTLM => '2b06010401823702020a');
    cmp_ok(index($seen, pack 'H*', $mechanism{Kerberos}), '>=', 0, 'and that Kerberos is offered');
    is(index($seen, pack 'H*', $mechanism{NTLM}), -1, 'and NTLM is not');
    my $key = substr slurp($csr), -120, 60;
    my $cert = substr slurp("$dir/cert"), -60;
    my $wide = sub { join '', map { "$_\0" } split //, $_[0] };
    my %secret = ('the request' => $key, 'the certificate' => $cert, 'the template' => $wide->('CertificateTemplate'),
        "the CA's name" => $wide->('Test CA'));
    is(index($seen, $secret{$_}), -1, "but not $_") for sort keys %secret;
}

# ---- tickets

{
    local $ENV{KRB5_TRACE} = "$dir/trace";
    my $fetched = sub { my $n = () = slurp("$dir/trace") =~ /Getting initial credentials for ndes/g; unlink "$dir/trace"; return $n };
    is_issued(icpr(request => $csr, template => 'Device', reopen => 3), $csr, 'connection after connection');
    is($fetched->(), 1, 'with tickets that are kept');
    my $relay = SCEPRelay->start(
        to     => $port,
        record => "$dir/tickets",
        change => sub { my ($pdu, $n, $connection) = @_; return $connection == 0 && ord(substr $pdu, 2, 1) == 12 ? flip($pdu, length($pdu) - 1, 1) : $pdu });
    my $answer = icpr(request => $csr, template => 'Device', reopen => 3, port => $relay->port);
    $relay->stop;
    like($answer->{output}, qr/error=UNAVAILABLE: Kerberos.*port=/s, 'a server that does not get along with a ticket');
    is_issued($answer, $csr, 'is asked again');
    is($fetched->(), 2, 'with new ones');
    $answer = icpr(request => $csr, template => 'Device', threads => 6, reopen => 3);
    is(scalar(() = $answer->{output} =~ /^outcome=issued$/mg), 18, 'threads share a login') or diag($answer->{output});
    is($fetched->(), 1, 'and its tickets');
}

# ---- fragments

{
    my $long = request('long', 'subjectAltName=' . join ',', map { "DNS:a-device-with-a-long-name-$_.corp.test" } 1 .. 330);
    cmp_ok(-s $long, '>', 13_000, 'a request of more than 13,000 bytes');
    is_issued(icpr(request => $long, template => 'Device'), $long, 'goes and comes back in fragments');
    cmp_ok(-s "$dir/cert", '>', 13_000, 'its certificate being as long');
}

# ---- pending

{
    my $held = request('held');
    my $answer = icpr(request => $held, template => 'Pending');
    is_status($answer, PENDING, 'a request is held');
    my $id = $answer->{id};
    is($id, $ad->last_request, 'under the number that the CA gave it');
    is($answer->{said}, 'Taken Under Submission', 'with the words of the CA');
    is_status(icpr(retrieve => $id), PENDING, 'asked for, it still is');
    $ad->request_file($id, 'approved', '');
    $answer = icpr(retrieve => $id);
    is_issued($answer, $held, 'approved, it is handed out');
    is($answer->{id}, $id, 'under the same number');
    my $other = icpr(request => $held, template => 'Pending')->{id};
    $ad->request_file($other, 'denied', '');
    $answer = icpr(retrieve => $other);
    is_status($answer, DENIED, 'another one is denied by the administrator');
    is($answer->{hresult}, '0x80094014', 'with his HRESULT');
}

# ---- denied, and what is no decision

{
    my $answer = icpr(request => $csr, template => 'Denied');
    is_status($answer, DENIED, 'a request is denied');
    is($answer->{hresult}, '0x80094802', 'for the reason that is named in the words of the CA');
    is($answer->{said}, "Denied by Policy Module 0x80094802, The request names \xe2\x80\x9eanother\xe2\x80\x9c template [1m.",
        'which are one line without control characters');
    $answer = icpr(request => $csr, template => 'Nowhere');
    is_status($answer, DENIED, 'an unknown template is a denial');
    like($answer->{reason}, qr/does not offer the template/, 'in a sentence');
    spew($ad->ca . '/outsiders', "outsider\n");
    $answer = icpr(request => $csr, template => 'Device', principal => 'outsider@' . SCEPSamba::REALM, keytab => $ad->keytab('outsider'));
    is_status($answer, DENIED, 'an account without the right to enrol gets nothing');
    like($answer->{reason}, qr/Read and Enroll/, 'and a sentence that says what it needs');
    $answer = icpr(request => $csr, template => 'Device', authority => 'Another CA');
    is_status($answer, LATER, 'a wrong name of the CA decides nothing');
    like($answer->{reason}, qr/configured name/, 'and is said');
    spew($ad->ca . '/result', 0x800706ba);
    is_status(icpr(request => $csr, template => 'Device'), LATER, 'an interface that is switched off decides nothing');
    unlink $ad->ca . '/result' or die "result: $!\n";
    for my $name ("Device\nSAN:dns=dc1.corp.test", '', "a\tb", "\xff", 'x' x 257) {
        my $before = $ad->last_request;
        is_status(icpr(request => $csr, template => $name), 1, 'such a name of a template is not sent');
        is($ad->last_request, $before, 'not at all');
    }
}

# ---- signed by an enrolment agent

{
    spew("$dir/agent.ext", "extendedKeyUsage=1.3.6.1.4.1.311.20.2.1\n");
    my $agent = request('agent');
    openssl('x509', '-req', '-inform', 'DER', '-in', $agent, '-CA', $ad->ca . '/ca.pem', '-CAkey', $ad->ca . '/ca.key',
        '-set_serial', 99999, '-extfile', "$dir/agent.ext", '-out', "$dir/agent.pem");
    openssl('cms', '-sign', '-binary', '-nodetach', '-md', 'sha256', '-in', $csr, '-signer', "$dir/agent.pem",
        '-inkey', "$dir/agent.key", '-outform', 'DER', '-out', "$dir/signed.cms");
    my $answer = icpr(request => $csr, template => 'Signed');
    is_status($answer, DENIED, 'a template that wants a signature is refused without one');
    like($answer->{reason}, qr/enrolment agent/, 'and the sentence says what to configure');
    is_issued(icpr(request => "$dir/signed.cms", template => 'Signed', format => 'pkcs7'), $csr, 'signed, it is issued');
}

# ---- an answer that was lost is found again

{
    my $lost  = request('lost');
    my $known = $ad->last_request;
    # the bind takes three PDUs of SPNEGO's at most: the first response is the answer
    my $relay = SCEPRelay->start(to => $port, record => "$dir/lost", change => sub { ord(substr $_[0], 2, 1) == 2 ? undef : $_[0] });
    my $answer = icpr(request => $lost, template => 'Device', port => $relay->port);
    is_status($answer, NO_ANSWER, 'an answer that was lost is no answer');
    is($answer->{asked}, 1, 'and the CA may have acted upon the request');
    is($answer->{usable}, 0, 'the connection is given up');
    $relay->stop;
    icpr(request => request('other'), template => 'Device');
    my $walk = icpr(walk => $known + 1);
    is_status($walk, NONE, 'the walk through the later numbers ends where there is no such request');
    is($walk->{hresult}, '0x80094004', 'which the CA says by an HRESULT');
    is($walk->{id}, $ad->last_request + 1, 'behind the last one');
    my @found = grep { icpr(retrieve => $_)->{status} == ISSUED && key_of_cert() eq key_of_request($lost) }
        $known + 1 .. $ad->last_request;
    is_deeply(\@found, [$known + 1], 'and the key tells which of them it was');
}

# ---- who it is

{
    my $before = $ad->last_request;
    my $answer = icpr(request => $csr, template => 'Device', host => 'other.corp.test');
    is_status($answer, NO_ANSWER, 'a server without a principal is not asked');
    like($answer->{error}, qr/no ticket for the server: Server not found/, 'and Kerberos says why');
    run([have('samba-tool'), 'spn', 'add', 'http/other.corp.test', 'outsider', '-H', $ad->database, '-s', $ad->conf]);
    $answer = icpr(request => $csr, template => 'Device', service => 'http/other.corp.test@' . SCEPSamba::REALM);
    is_status($answer, NO_ANSWER, 'nor one that is another than the one the ticket is for');
    is_status(icpr(request => $csr, template => 'Device', keytab => $ad->keytab('outsider')), NO_ANSWER,
        'a keytab without the account does not log on');
    is_status(icpr(request => $csr, template => 'Device', keytab => "$dir/nothing"), 1, 'a keytab that is not there is said');
    is($ad->last_request, $before, 'none of it reached the CA');
}

# ---- changed on the way

my %change = (
    'a byte of the sealed stub'     => [2,  sub { flip($_[0], 40, 1) }, qr/not sealed by the server, or changed/],
    'a byte of the header'          => [2,  sub { flip($_[0], 16, 1) }, qr/not sealed by the server, or changed/],
    'the last byte of the token'    => [2,  sub { flip($_[0], length($_[0]) - 1, 1) }, qr/not sealed by the server, or changed/],
    'the level of the token'        => [2,  sub { flip($_[0], length($_[0]) - unpack('x10 v', $_[0]) - 7, 3) }, qr/not sealed$/],
    'the number of the call'        => [2,  sub { flip($_[0], 12, 1) }, qr/was not expected/],
    'the signing of headers'        => [12, sub { flip($_[0], 3, 4) }, qr/does not sign headers/],
    'the answer of the other side'  => [12, sub { flip($_[0], length($_[0]) - 1, 1) }, qr/Kerberos/],
    'the length of a fragment'      => [2,  sub { flip($_[0], 9, 0x40) }, qr/a PDU of \d+ bytes/],
    'the response, which is doubled' => [15, sub { $_[0] . $_[0] }, qr/was not expected/],
);
for my $what (sort keys %change) {
    my ($type, $change, $error) = @{ $change{$what} };
    my $relay = SCEPRelay->start(to => $port, record => "$dir/change", change => sub { ord(substr $_[0], 2, 1) == $type ? $change->($_[0]) : $_[0] });
    my $answer = icpr(request => $csr, template => 'Device', port => $relay->port);
    is_status($answer, NO_ANSWER, "$what is changed on the way: no answer");
    like($answer->{error} // '', $error, 'and that is said');
    $relay->stop;
}

# Whatever is changed, there is a certificate as it was issued, or none.
{
    my $seed = $ENV{SCEP_TEST_SEED} // 6;
    srand $seed;
    my $relay = SCEPRelay->start(
        to     => $port,
        record => "$dir/mutate",
        change => sub {
            my ($pdu) = @_;
            $pdu = flip($pdu, int rand length $pdu, 1 << int rand 8) for 1 .. int rand 3;
            return rand() < 0.05 ? substr $pdu, 0, int rand length $pdu : $pdu;
        });
    my (%seen, @wrong);
    for my $round (1 .. 40) {
        my $answer = icpr(request => $csr, template => 'Device', port => $relay->port, deadline => 1000);
        $seen{ $answer->{status} }++;
        push @wrong, $answer->{output} if $answer->{status} == ISSUED && key_of_cert() ne key_of_request($csr);
        push @wrong, $answer->{output} if $answer->{status} != ISSUED && $answer->{status} != NO_ANSWER;
    }
    $relay->stop;
    is_deeply(\@wrong, [], "with bytes changed at random (seed $seed) there is an intact certificate, or no answer");
    cmp_ok($seen{ +NO_ANSWER } // 0, '>', 10, 'and no answer was what came of most');
}

# ---- a server that says nothing

{
    my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die "no socket: $!\n";
    my $late = sub {
        my ($what, %o) = @_;
        my $answer = icpr(request => $csr, template => 'Device', deadline => 700, %o);
        is_status($answer, NO_ANSWER, "$what that accepts and never answers is no answer");
        like($answer->{error}, qr/no answer in time/, 'in time');
        cmp_ok($answer->{took}, '<', slow(3), 'and not much later');
    };
    $late->('a CA', port => $silent->sockport);
    $late->('an endpoint mapper', 'map-port' => $silent->sockport);
    my $conf = slurp($ENV{KRB5_CONFIG});
    $conf =~ s/kdc = 127\.0\.0\.1$/"kdc = 127.0.0.1:" . $silent->sockport/me or die "no KDC in $conf\n";
    $conf =~ s/^default_realm/udp_preference_limit = 1\ndefault_realm/m;
    spew("$dir/krb5-silent.conf", $conf);
    local $ENV{KRB5_CONFIG} = "$dir/krb5-silent.conf";
    $late->('a KDC', port => $port);
}

$ad->stop;
is_status(icpr(request => $csr, template => 'Device'), NO_ANSWER, 'a server that is gone is no answer');
done_testing();
