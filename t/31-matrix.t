# {GET, POST} x {AES-128, AES-256, 3DES} x {SHA-1, SHA-256, SHA-512} x {challenge, renewal,
# approval}: every answer, also the PENDING ones, is judged attribute by attribute by SCEPReply,
# which knows neither libscep nor the test tool. scep.md 1.10, 2.2.
use SCEPTest;

my $s = SCEPTest->up(SCEPTest::hosts(
    # A renewal has to be signed with SHA-256 or better unless this says otherwise.
    plain    => "SCEPRenewalMinimumHash sha1\n",
    approval => "SCEPApproval enrol\n"));

my ($plain, $approval) = map { $s->place($_) } qw(plain approval);
my ($key, $new_key) = map { $s->work("key$_.pem") } 1, 2;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $new_key;

my (@all, %cells, $number, $last);

# What the reader has against a reply, remembered with the name of the case.
sub judge {
    my ($reply, $name, %o) = @_;
    my @faults = $s->faults($reply, csr => slurp("$reply->{request}{base}.csr"), %o);
    push @all, map { "$name: $_" } @faults;
    is_deeply(\@faults, [], "$name: nothing against the answer") or diag(SCEPTest::describe($reply));
    return;
}

my $old = $s->enrol(at => $plain, key => $key, subject => 'CN=renewed,O=Matrix', san => 'DNS:renewed.example');
issued($old, 'a certificate to be renewed');

my %column = (
    challenge => sub {
        my ($name, %o) = @_;
        my $reply = $s->enrol(%o, at => $plain, key => $key, subject => "CN=$name");
        issued($reply, "$name: issued");
        judge($reply, $name);
        return $last = $reply;
    },
    renewal => sub {
        my ($name, %o) = @_;
        my $reply = $s->renew($old, %o, at => $plain, key => $new_key);
        issued($reply, "$name: issued");
        judge($reply, $name);
        isnt($reply->{serial}, $old->{serial}, "$name: another certificate");
        return $reply;
    },
    approval => sub {
        my ($name, %o) = @_;
        my $asked = $s->enrol(%o, at => $approval, key => $key, subject => "CN=$name");
        pending($asked, "$name: it waits");
        judge($asked, "$name, PENDING");
        my %poll = (at => $approval, map { $_ => $o{$_} } qw(send cipher digest));
        my $early = $s->poll($asked, %poll);
        pending($early, "$name: asked after, it still waits");
        judge($early, "$name, PENDING again", via => $approval);
        $s->approve($asked);
        my $reply = $s->poll($asked, %poll);
        issued($reply, "$name: issued after approval");
        judge($reply, "$name, polled", via => $approval, csr => slurp("$asked->{request}{base}.csr"));
        return $reply;
    });

for my $method (qw(GET POST)) {
    for my $cipher (qw(aes128 aes256 3des)) {
        for my $digest (qw(sha1 sha256 sha512)) {
            for my $way (qw(challenge renewal approval)) {
                my $reply = $column{$way}->(
                    "$method $cipher $digest $way",
                    cipher         => $cipher,
                    digest         => $digest,
                    transaction_id => 'matrix ' . ++$number,
                    send           => { method => $method });
                $cells{$way}++ if ($reply->{key_matches} // 0) && ($reply->{issued_by_ca_ra} // 0);
            }
        }
    }
}
is_deeply(\%cells, { challenge => 18, renewal => 18, approval => 18 },
    'R-004, R-066, R-067, R-089: 54 enrolments, each with a certificate of this CA for the key asked for');

my %says = (
    'R-140' => 'every attribute has its type and one value (Q-35)',
    'R-141' => 'every attribute that a CertRep must have is there',
    'R-142' => 'content stands in a SUCCESS only',
    'R-143' => 'failInfo is one of five',
    'R-144' => 'failInfoText comes with a failure only',
    'R-145' => 'no senderNonce came twice (Q-36)',
    'R-146' => 'the versions are as RFC 5652 says',
    'R-147' => 'the signer\'s certificate is sent and the answer verifies with GetCACert\'s',
    'R-148' => 'the content type is exactly application/x-pki-message',
    'R-149' => 'DER with definite lengths to the last byte, and a Content-Length',
    'R-032' => 'the list of certificates is degenerate',
    'R-090' => 'it is encrypted to who asked, and opens with his key',
    'Q-32'  => 'recipientNonce is what was sent',
    'Q-35'  => 'PrintableString and OCTET STRING, nothing else',
    'Q-37'  => 'the signer is one that GetCACert gave',
    'Q-38'  => 'the signer\'s certificate is inside',
    'Q-39'  => 'digestAlgorithm is a pure hash',
    'Q-40'  => 'digest and cipher are those of the request',
    'Q-42'  => 'the leaf is first, and no RA certificate is beside it',
    'Q-52'  => 'key transport is that of the request',
    'D-04'  => 'the first certificate is the one asked for; no CRL beside it',
    'D-05'  => 'both nonces in every answer');
is_deeply([grep { /\b$_\b/ } @all], [], "$_: $says{$_}") for sort keys %says;

# ---- the judge judges: an answer that was changed on its way is not found good

sub found {
    my ($change, $pattern, $name, %o) = @_;
    my %changed = (%$last, http => { %{ $last->{http} } });
    $change->($changed{http});
    my @faults = $s->faults(\%changed, via => $plain, %o);
    ok(scalar(grep { /$pattern/ } @faults), "the reader finds $name") or diag(join "\n", 'found:', @faults);
    return;
}

found(sub { }, qr/R-145/, 'a nonce that it has seen already');
found(sub { substr($_[0]{body}, -1, 1) ^= "\x01" }, qr/R-147/, 'a signature with one bit changed');
found(sub { substr($_[0]{body}, 900, 1) ^= "\x01" }, qr/./, 'a bit changed in the middle');
found(sub { $_[0]{body} .= "\0" }, qr/cannot be read/, 'a byte too many');
found(sub { chop $_[0]{body} }, qr/cannot be read/, 'a byte too few');
found(sub { substr($_[0]{body}, 0, 4, "\x30\x80") ; $_[0]{body} .= "\0\0" }, qr/indefinite/, 'BER');
found(sub { $_[0]{header} = { %{ $_[0]{header} }, 'content-type' => 'application/x-pki-message; charset=utf-8' } },
    qr/R-148/, 'a content type with a parameter');
found(sub { }, qr/R-089/, 'a certificate for another key',
    csr => slurp($s->build(via => $plain, key => $new_key)->{base} . ".csr"));
found(sub { }, qr/R-090/, 'an answer for somebody else', signer_cert => $s->ca_cert);
my $other = $s->build(via => $plain, key => $new_key, cipher => 'aes192', digest => 'sha384', challenge => 'x');
found(sub { }, qr/$_/, "$_: an answer to another request", request => $other->{der})
    for qw(R-090 Q-32 Q-40 transactionID);
found(sub { $_[0]{body} = $last->{request}{der} }, qr/R-141: pkiStatus/, 'a request in place of an answer');

$s->finish;
done_testing();
