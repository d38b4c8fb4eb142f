# Enrolment: what succeeds, what is refused and how, and that a challenge is good once.
# scep.md 1.5, 1.6, 5.1; ndes.md 4.
use SCEPTest;
use MIME::Base64 qw(encode_base64);

my $s = SCEPTest->up(
    ports => 4,
    # The templates ask for more days than this CA has left.
    init  => ['--ca-days', '20', '--ra-days', '10'],
    hosts => join '',
    <<'END', SCEPServer::guard('/certsrv/mscep_admin'), <<'END2', SCEPServer::guard('/certsrv/mscep_admin'), <<'END3', SCEPServer::guard('/certsrv/mscep_admin'), '</VirtualHost>');
<VirtualHost 127.0.0.1:@PORT@>
ServerName scep.test
SCEPEngine on
SCEPPasswordMax 1000
SCEPFailedMax 1000
<Location "/chain">
SetHandler scep
SCEPResponseChain chain
</Location>
<Location "/free">
SetHandler scep
SCEPEndpoint free
SCEPEnforcePassword off
</Location>
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
ServerName manage.test
SCEPEngine on
SCEPEndpoint scep.test
END
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT3@>
ServerName other.test
SCEPEngine on
END2
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT4@>
ServerName strict.test
SCEPEngine on
SCEPMinimumHash sha256
SCEPCompatibility rfc8894
END3

$s->expect_log('SCEP0294: '); # 20 days are few
$s->expect_log(map { "SCEP00$_: " } '20: NDES-17 UNDECODABLE', '22: NDES-17 BAD_ALG',
    '23: NDES-17 BAD_MESSAGE', '24: NDES-17 BAD_REQUEST', '25: NDES-18 UNREADABLE',
    '26: NDES-29 CHALLENGE', '27: NDES-29 CHALLENGE_ABSENT', '28: NDES-31 BAD_SUBJECT',
    '29: NDES-31 REFUSED', '34: NDES-31 BAD_CERT_ID');

# Challenges of the endpoint scep.test come from another address than the one devices use.
my %manage = (port => $s->port(1), host => 'manage.test');
my %other  = (port => $s->port(2), host => 'other.test');
my %strict = (port => $s->port(3), host => 'strict.test');

my ($key, $second_key) = map { $s->work("key$_.pem") } 1, 2;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $second_key;

sub challenge { return $s->mint(%manage) }

# A request with a key that is there already: RSA keys take long to make.
sub enrol {
    my (%o) = @_;
    $o{challenge} = challenge() if !exists $o{challenge};
    return $s->enrol(key => $key, %o);
}

sub certificates { return $s->certificates }

sub text_of {
    my ($reply, @what) = @_;
    my $out = run(['openssl', 'x509', '-in', $reply->{certificate}, '-noout', @what]);
    return $out->{output};
}

# ---- what succeeds

my %cipher = (aes128 => 'AES-128-CBC', aes256 => 'AES-256-CBC', '3des' => 'DES-EDE3-CBC');
my $number = 0;
for my $method (qw(POST GET)) {
    for my $cipher (sort keys %cipher) {
        for my $digest (qw(sha1 sha256 sha384 sha512)) {
            my $reply = enrol(
                cipher  => $cipher,
                digest  => $digest,
                subject => 'CN=device ' . ++$number,
                send    => { method => $method });
            issued($reply, "R-003, R-004, R-066, R-067, R-080, Q-50: $method $cipher $digest: issued");
            is_deeply(
                [@$reply{qw(verified signer_in_ca_ra message_type transaction_id_matches
                    recipient_nonce_matches certs key_matches issued_by_ca_ra cipher digest)}],
                [1, 1, 3, 1, 1, 1, 1, 1, $cipher{$cipher}, uc $digest],
                "R-089, R-091, Q-32, Q-37, Q-40: $method $cipher $digest: the answer mirrors the request")
                or diag(explain({ map { $_ => $reply->{$_} } grep { !ref $reply->{$_} } keys %$reply }));
            is($reply->{http}{header}{'content-type'}, 'application/x-pki-message',
                "R-003, R-148, Q-23: $method $cipher $digest: with its content type");
            like($reply->{http}{header}{'cache-control'} // '', qr/no-store/,
                "R-012: $method $cipher $digest: not to be stored");
        }
    }
}
my $nonces = enrol(subject => 'CN=nonces');
like($nonces->{sender_nonce} // '', qr/^[0-9A-F]{32}$/, 'an answer has a nonce of its own');

# The same message by GET as clients write it.
for my $case (
    ['nothing escaped', sub { encode_base64($_[0], '') }],
    ['base64url', sub { encode_base64($_[0], '') =~ tr{+/}{-_}r }],
    ['escaped line breaks', sub { encode_base64($_[0], '%0A') =~ s/\+/%2B/gr }],
    ['blanks for plus', sub { encode_base64($_[0], '') =~ s/\+/%20/gr }],
    ['padding left out', sub { encode_base64($_[0], '') =~ s/=+$//r }])
{
    my $request = $s->build(key => $key, challenge => challenge(), subject => "CN=$case->[0]");
    my $message = $case->[1]->($request->{der});
    my $got = $s->get("/certsrv/mscep/mscep.dll?message=$message&operation=PKIOperation");
    issued($s->open_reply($request, $got), "R-005, Q-10, Q-11, Q-12, Q-13, Q-14: GET, $case->[0]: issued");
}
my $request = $s->build(key => $key, challenge => challenge(), subject => 'CN=no operation');
issued($s->open_reply($request, $s->post('/certsrv/mscep/mscep.dll', $request->{der})),
    'R-007: a POST without operation is a PKIOperation');
$request = $s->build(key => $key, challenge => challenge(), subject => 'CN=chunked');
my $pieces = join '', map { sprintf("%x\r\n%s\r\n", length, $_) } unpack '(a700)*', $request->{der};
issued(
    $s->open_reply(
        $request,
        $s->raw("POST /certsrv/mscep/mscep.dll?operation=PKIOperation HTTP/1.1\r\nHost: scep.test\r\n"
                . "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${pieces}0\r\n\r\n")),
    'Q-24: a chunked POST is served');
$request = $s->build(key => $key, challenge => challenge(), subject => 'CN=1.0');
issued($s->open_reply($request, $s->send_request($request, version => '1.0')),
    'Q-01, D-14: HTTP/1.0 without Host is served');
issued(enrol(ber => 1, subject => 'CN=ber'), 'Q-45: BER is read');
issued(enrol(spoil => 'no-nonce', subject => 'CN=no nonce'), 'R-056, Q-33: a request without a nonce is served');
is(enrol(subject => 'CN=chain', send => { path => '/chain' })->{certs}, 2, 'Q-41: SCEPResponseChain chain adds the CA');

my $full = enrol(
    subject => 'CN=full,O=Example',
    san     => 'DNS:full.example,IP:192.0.2.1',
    ext     => 'basicConstraints=critical,CA:TRUE;extendedKeyUsage=OCSPSigning');
issued($full, 'a request for more than it may have is served');
# RFC 2253 writes the last name first.
is($full->{subject}, 'O=Example,CN=full', 'the subject is as asked');
like(text_of($full, '-ext', 'subjectAltName'), qr/DNS:full\.example, IP Address:192\.0\.2\.1/, 'the names too');
my $constraints = text_of($full, '-ext', 'basicConstraints');
like($constraints, qr/CA:FALSE/, 'S-12: CA:TRUE is not given');
unlike(text_of($full, '-ext', 'extendedKeyUsage'), qr/OCSP/, 'S-12: nor is the extended key usage asked for');
unlike(text_of($full, '-ext', 'keyUsage'), qr/Certificate Sign/, 'S-12: nor is it a CA by key usage');
my $end = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-enddate'])->{output};
is(text_of($full, '-enddate'), $end, 'it ends when the CA does');
is(run(['openssl', 'verify', '-CAfile', $s->ca_cert, $full->{certificate}])->{status}, 0, 'it verifies');

my %ku = (
    digitalSignature => qr/Digital Signature/,
    keyEncipherment  => qr/Key Encipherment/,
    both             => qr/Digital Signature, Key Encipherment/);
issued(enrol(subject => "CN=$_", key_usage => $_), "key usage $_ gets a template") for sort keys %ku;
issued(enrol(subject => 'CN=free', challenge => undef, send => { path => '/free' }),
    'S-03: EnforcePassword off asks for no challenge');
issued(enrol(subject => 'CN=free 2', challenge => 'whatever', send => { path => '/free' }),
    'Q-68: and ignores one that is sent');

# ---- a challenge is good once

my $once  = challenge();
my $first = enrol(challenge => $once, subject => 'CN=once');
issued($first, 'R-084: the first use of a challenge');
my $used = enrol(challenge => $once, subject => 'CN=twice');
failed($used, 2, 'R-084, R-085: the second use is refused', qr/0x80070490/i);

my $count = certificates();
my $again = $s->again($first);
issued($again, 'the same request again is answered');
is($again->{serial}, $first->{serial}, 'R-117, S-23: with the same certificate');
is($s->again($first, method => 'GET')->{serial}, $first->{serial}, 'by GET too');
is(certificates(), $count, 'R-117, S-23: and nothing new is issued');

my $other_key = enrol(
    key            => $second_key,
    transaction_id => $first->{request}{transaction_id},
    subject        => 'CN=thief');
failed($other_key, 2, 'R-119, S-22: the same transactionID with another key is refused');
my $guess = enrol(
    key            => $second_key,
    challenge      => undef,
    transaction_id => $first->{request}{transaction_id},
    subject        => 'CN=thief');
failed($guess, 2, 'S-22 without a challenge it is as if nobody had it', qr/0x80096004/i);
is($s->again($first)->{serial}, $first->{serial}, 'the first is still answered');

my $wrong = enrol(challenge => '0123456789ABCDEF', subject => 'CN=wrong');
failed($wrong, 2, 'R-084: a wrong challenge is refused', qr/0x80070490/i);
my $expired = challenge();
run(['sqlite3', '-cmd', '.timeout 5000', $s->database,
    "UPDATE scep_challenge SET expires = 1000 WHERE state = 'fresh'"]);
my $late = enrol(challenge => $expired, subject => 'CN=late');
failed($late, 2, 'R-084, S-05: an expired challenge is refused', qr/0x80070490/i);
is($late->{fail_info_text}, $_->{fail_info_text}, 'S-27: all with one text') for $wrong, $used;
my $absent = enrol(challenge => undef, subject => 'CN=absent');
failed($absent, 2, 'R-084, R-086: none at all is refused', qr/0x80096004/i);
unlike($wrong->{fail_info_text} // '', qr/[0-9A-F]{16}/, 'S-28, S-29: no text repeats the challenge');

# ---- what is refused uses nothing up: one challenge, offered again and again

my $kept = challenge();
$count = certificates();
my @types = grep { $_ != 19 } 0 .. 99;
my @requests = map { scalar $s->build(key => $key, challenge => $kept, type => $_, transaction_id => "type $_") } @types;
# no more at one time than httpd has places for
my @rest     = map { $s->request_bytes($_) } @requests;
my @answers;
push @answers, $s->many([splice @rest, 0, 50]) while @rest;
my @served;
for my $i (0 .. $#types) {
    my $reply = $s->open_reply($requests[$i], $answers[$i]);
    # A CertPoll (20) is understood, and asks after what never was.
    my $fail_info = $types[$i] == 20 ? 4 : 2;
    push @served, "$types[$i]: " . SCEPTest::describe($reply)
        if ($reply->{pki_status} // '') ne '2' || $reply->{fail_info} ne $fail_info;
}
is_deeply(\@served, [], 'S-01: every messageType but 19 is refused') or diag(join "\n", @served);
for my $type ('019', '19 ', '-1', 'x') {
    my $reply = enrol(challenge => $kept, type => $type);
    ok(!$reply->{serial}, "messageType '$type' is refused") or diag(SCEPTest::describe($reply));
}

# Between a good outer signature and an accepted CSR there is one answer for every fault.
my %length;
for my $fault (qw(csr encrypted-key padding signer-key recipient message-data two-challenges)) {
    my $reply = enrol(challenge => $kept, spoil => $fault);
    failed($reply, 2, "$fault: refused");
    $length{ length $reply->{http}{body} }{ $reply->{fail_info_text} // '' } = 1;
}
is(scalar(map { keys %$_ } values %length), 1, 'R-063, R-082, R-088, S-10, S-15, S-16: one text and one length for all of them')
    or diag(explain(\%length));
failed(enrol(challenge => $kept, spoil => $_), 1, "R-058, R-059: $_: badMessageCheck") for qw(signature content no-signer-cert);
failed(enrol(challenge => $kept, spoil => $_), 2, "$_: badRequest") for qw(not-enveloped password-recipient no-content);
failed(enrol(challenge => $kept, digest => 'md5'), 0, 'R-065, R-163: MD5: badAlg');
failed(enrol(challenge => $kept, cipher => 'des'), 0, 'R-065, R-163: DES: badAlg');
for my $fault (qw(two-signers no-transaction-id no-attributes unsigned-attributes)) {
    my $reply = enrol(challenge => $kept, spoil => $fault);
    ok($reply->{why} && $reply->{http}{status} == 200, "$fault: 200 without a pkiMessage")
        or diag(SCEPTest::describe($reply));
}
my $sid_value = '040a532d312d352d32312d31';
my $sid_uri   = 'tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-500';
my $san_der   = sprintf '30%02x86%02x%s', 2 + length $sid_uri, length $sid_uri, unpack 'H*', $sid_uri;
failed(enrol(challenge => $kept, ext => "1.3.6.1.4.1.311.25.2=DER:$sid_value"), 2, 'S-12: a SID extension is refused');
failed(enrol(challenge => $kept, ext => "subjectAltName=DER:$san_der"), 2, 'S-12: a SID in a name is refused');
failed(enrol(challenge => $kept, subject => ''), 2, 'R-083: no name at all is refused');
my $small = $s->work('small.pem');
run(['openssl', 'genrsa', '-out', $small, '1024']);
failed(enrol(challenge => $kept, key => $small), 2, 'a key of 1024 bits is refused');
is(certificates(), $count, 'S-10: none of these got a certificate');
issued(enrol(challenge => $kept, subject => 'CN=kept'), 'S-10: and the challenge is still good');

# ---- at one time

my @race = $s->build(
    count          => 40,
    keys           => 4,
    subject        => 'CN=race {}',
    transaction_id => 'race-{}',
    challenges     => [(challenge()) x 40]);
$count = certificates();
my @raced = $s->many([map { $s->request_bytes($_) } @race]);
my @replies = map { $s->open_reply($race[$_], $raced[$_]) } 0 .. $#race;
is(scalar(grep { $_->{serial} } @replies), 1, 'S-07: 40 requests with one challenge: one certificate');
# A process that has too many of them at once sends some away before anything is decided.
$s->allow_log(qr/SCEP0030: NDES-31 UNAVAILABLE: \d+ threads of this process wait for scep-ca already/);
is(scalar(grep { (($_->{fail_info} // '') eq '2' && ($_->{fail_info_text} // '') =~ /0x80070490/i)
                || $_->{http}{status} == 503 } @replies),
    39, 'and 39 refusals');
is(certificates(), $count + 1, 'one more in the inventory');

my $one = $s->build(key => $key, subject => 'CN=impatient', challenge => challenge());
my @impatient = map { $s->open_reply($one, $_) } $s->many([($s->request_bytes($one)) x 20]);
my %serials = map { ($_->{serial} // 'none') => 1 } @impatient;
is_deeply([length join(',', keys %serials) > 8, scalar keys %serials],
    [1, 1], 'R-117: 20 times the same request at once: one certificate for all')
    or diag(join "\n", map { SCEPTest::describe($_) } @impatient);
is(certificates(), $count + 2, 'one more in the inventory');

# ---- endpoints

my $foreign = $s->mint(%other);
failed(enrol(challenge => $foreign, subject => 'CN=foreign'),
    2, 'S-04: a challenge of another endpoint is no good', qr/0x80070490/i);
issued(enrol(challenge => $foreign, subject => 'CN=foreign', via => {%other}, send => {%other}),
    'it is at its own');
failed(enrol(challenge => challenge(), subject => 'CN=ours', via => {%other}, send => {%other}),
    2, 'and the other way round', qr/0x80070490/i);

my $sha1 = enrol(challenge => $s->mint(%strict), digest => 'sha1', via => {%strict}, send => {%strict});
failed($sha1, 0, 'S-18: MinimumHash sha256 refuses SHA-1');
my $refused = enrol(challenge => 'x', subject => 'CN=x', via => {%strict}, send => {%strict});
failed($refused, 2, 'where RFC 8894 is followed too a wrong challenge is refused');
unlike($refused->{fail_info_text} // '', qr/0x/, 'without an HRESULT');
my $undecodable = enrol(spoil => 'two-signers', challenge => 'x', via => {%strict}, send => {%strict});
is($undecodable->{http}{status}, 400, 'R-060: there what cannot be decoded is 400');

$s->finish;

my $conflict = SCEPTest->ready(
    ports => 2,
    hosts => <<'END');
<VirtualHost 127.0.0.1:@PORT@>
ServerName scep.test
SCEPEngine on
SCEPPasswordMax 7
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT2@>
ServerName manage.test
SCEPEngine on
SCEPEndpoint scep.test
SCEPPasswordMax 8
</VirtualHost>
END
my $tested = $conflict->configtest;
isnt($tested->{status}, 0, 'sections of one endpoint must agree');
my @lines = $tested->{output} =~ /httpd\.conf:(\d+)/g;
is(scalar @lines, 2, 'both lines are named') or diag($tested->{output});
$conflict->end;
done_testing();
