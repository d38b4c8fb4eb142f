# Single messages: every messageType, nonces and times, algorithms beyond the matrix, keys that
# nothing can be encrypted to. scep.md 1.5, 2.3, 2.4, 5.1.
use SCEPTest;

my $s = SCEPTest->up(SCEPTest::hosts(
    plain  => '',
    legacy => "SCEPLegacyAlgorithms on\n",
    nonce  => "SCEPRequireNonce on\n",
    time   => "SCEPSigningTime 5\n",
    free   => "SCEPEnforcePassword off\n",
    silent => "SCEPFailInfoText off\n"));
$s->expect_log('SCEPLegacyAlgorithms');
$s->allow_log('SCEP\d{4}: NDES-');

my %at = map { $_ => { at => $s->place($_) } } qw(plain legacy nonce time free silent);
my ($key, $new_key) = map { $s->work("key$_.pem") } 1, 2;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $new_key;

sub enrol { my ($where, %o) = @_; return $s->enrol(%{ $at{$where} }, key => $key, %o) }

sub clean {
    my ($where, $reply, $name, %o) = @_;
    my @faults = $s->faults($reply, via => $at{$where}{at}, %o);
    return is_deeply(\@faults, [], "$name: nothing against the answer");
}

# What a failed check shows of a list of replies.
sub wrong {
    my ($good, @replies) = @_;
    return map { SCEPTest::describe($_) } grep { !$good->($_) } @replies;
}

# ---- messageType: everything but 17 and 19 issues nothing, with a good challenge and a good CSR

my $challenge = $s->mint(%{ $at{plain}{at} });
my $count     = $s->certificates;
my @requests  = $s->build(
    via => $at{plain}{at}, key => $key, count => 255, type => '{}', transaction_id => 'type {}', challenges => [($challenge) x 255]);
unshift @requests, $s->build(via => $at{plain}{at}, key => $key, type => 0, challenge => $challenge);
my @types = grep { $_ != 19 } 0 .. 255;
my (@http, @rest);
# A few at a time: a server that has just begun answers more than it has room for with 503.
@rest = @types;
while (@rest) {
    push @http, $s->many([map { $s->request_bytes($requests[$_], %{ $at{plain}{at} }) } splice @rest, 0, 8]);
}
my %reply = map { $types[$_] => $s->open_reply($requests[$types[$_]], $http[$_], via => $at{plain}{at}) } 0 .. $#types;
my @found = wrong(sub { ($_[0]{pki_status} // '') eq '2' && !$_[0]{serial} }, @reply{@types});
is_deeply(\@found, [], 'R-054, S-01: every messageType from 0 to 255 but 19 is a FAILURE');
@found = wrong(sub { ($_[0]{fail_info} // '') eq '2' }, @reply{ grep { $_ < 20 || $_ > 22 } @types });
is_deeply(\@found, [], 'R-054, R-105, S-01: badRequest for those that RFC 8894 does not define, and for 3, 17 and 18');
my @odd = ('019', '19 ', ' 19', '+19', '-1', '19.0', '0x13', '1e1', '4294967315', '18446744073709551635', '19' x 40, 'PKCSReq', 'x' x 10240);
@found = map { enrol('plain', challenge => $challenge, type => $_) } @odd;
is_deeply([wrong(sub { ($_[0]{fail_info} // '') eq '2' && !$_[0]{serial} }, @found)], [],
    'R-053, R-054: words that are not quite 19 are badRequest');
my $none = enrol('plain', challenge => $challenge, type => '');
ok(!$none->{serial}, 'R-053: without a messageType nothing is issued') or diag(SCEPTest::describe($none));
is($s->certificates, $count, 'S-01: none of them got a certificate');
my $good = enrol('plain', challenge => $challenge, subject => 'CN=after all');
issued($good, 'R-054: and the challenge is as good as before');

my %odd_data = (19 => 'issuer-and-serial', 21 => 'csr', 22 => 'nonsense');
for my $type (sort keys %odd_data) {
    my $reply = $s->ask(%{ $at{plain} }, key => $key, type => $type, data => $odd_data{$type}, serial => '01');
    failed($reply, 2, "R-062: $type with $odd_data{$type} inside is badRequest");
}

# ---- nonces and times

for my $bytes (8, 16, 32, 64) {
    my $reply = enrol('plain', nonce_length => $bytes, subject => "CN=nonce $bytes");
    issued($reply, "R-057, Q-33: a senderNonce of $bytes bytes is fine");
    clean('plain', $reply, "R-057: $bytes bytes come back as they were");
}
failed(enrol('plain', nonce_length => 65), 2, 'R-057: more than 64 bytes are not');
my $without = enrol('plain', spoil => 'no-nonce', subject => 'CN=no nonce');
issued($without, 'R-056, Q-33: without senderNonce a request is served');
clean('plain', $without, 'R-056: and its answer has no recipientNonce');
failed(enrol('nonce', spoil => 'no-nonce'), 2, 'R-056: SCEPRequireNonce refuses it');
issued(enrol('nonce', subject => 'CN=with nonce'), 'R-056: and serves those that have one');

failed(enrol('time', signing_time => $_), 3, "R-068: with SCEPSigningTime $_ minutes are badTime") for -100, -7, 7, 100;
issued(enrol('time', signing_time => $_, subject => "CN=time $_"), "R-068: $_ minutes are not") for -3, 0, 3;
issued(enrol('plain', signing_time => -100000, subject => 'CN=no clock'), 'R-068: by default nobody looks at signingTime');

my $silent = enrol('silent', challenge => 'wrong');
failed($silent, 2, 'R-144: SCEPFailInfoText off: a FAILURE');
ok(!defined $silent->{fail_info_text}, 'R-144: without failInfoText');
clean('silent', $silent, 'R-144');

# ---- algorithms

for my $cipher (qw(aes192 aes256)) {
    for my $digest (qw(sha224 sha384 sha512)) {
        my $reply = enrol('plain', cipher => $cipher, digest => $digest, subject => "CN=$cipher $digest");
        issued($reply, "Q-50: $cipher and $digest are served");
        clean('plain', $reply, "Q-50, Q-40: $cipher and $digest mirrored");
    }
}
my $oaep = enrol('plain', oaep => 1, subject => 'CN=oaep');
issued($oaep, 'Q-52: a request with RSA-OAEP is served');
is($oaep->{recipient}, 'rsaesOaep', 'Q-52: and answered with RSA-OAEP');
clean('plain', $oaep, 'Q-52');
is($good->{recipient}, 'rsaEncryption', 'Q-52: one with PKCS #1 v1.5 is answered with that');
my $pss = enrol('plain', pss => 1, subject => 'CN=pss');
issued($pss, 'S-31: an RSA-PSS signature verifies');
clean('plain', $pss, 'S-31, Q-39: the answer to RSA-PSS');

my %weak = (
    'DES'         => { cipher => 'des',    digest => 'sha1' },
    'MD5'         => { cipher => 'aes128', digest => 'md5' },
    'MD5 and DES' => { cipher => 'des',    digest => 'md5', csr_digest => 'md5' });
$challenge = $s->mint(%{ $at{plain}{at} });
$count     = $s->certificates;
for my $name (sort keys %weak) {
    my $refused = enrol('plain', %{ $weak{$name} }, challenge => $challenge);
    failed($refused, 0, "Q-46, Q-47, R-064, R-065, R-163, D-16: $name is badAlg");
    clean('plain', $refused, "R-064: $name");
    my $served = enrol('legacy', %{ $weak{$name} }, subject => "CN=$name");
    issued($served, "Q-46, Q-47, R-065, D-16: $name is served with SCEPLegacyAlgorithms");
    clean('legacy', $served, "Q-40, Q-46, Q-47: $name mirrored");
}
ok($s->logs('badAlg|BAD_ALG.*SCEPLegacyAlgorithms'), 'Q-46: the log names the directive that would allow it');
is($s->certificates, $count + keys %weak, 'R-065: only those were issued');
issued(enrol('plain', challenge => $challenge, subject => 'CN=strong'), 'S-18: the challenge is still good');
for my $where (qw(plain legacy)) {
    my $caps = $s->get('/certsrv/mscep/mscep.dll?operation=GetCACaps', %{ $at{$where}{at} })->{body};
    unlike($caps, qr/^(?:DES|MD5)$/mi, "R-025: GetCACaps never offers DES or MD5 ($where)");
    like($caps, qr/^SHA-256$/m, "R-028: it does offer SHA-256 ($where)");
}

# ---- keys that cannot have a key transported

for my $type (qw(p256 p384)) {
    my $curve = $s->enrol(%{ $at{plain} }, key_type => $type, subject => "CN=$type");
    issued($curve, "R-092, Q-60: $type with a challenge gets a certificate");
    is($curve->{recipient}, 'password', "R-092, Q-60: $type: encrypted by the challenge");
    is($curve->{key_matches}, 1, "R-092: $type: for its key");
    clean('plain', $curve, "R-092, R-146: $type");
    next if $type ne 'p256';
    failed($s->renew($curve, %{ $at{plain} }, key_type => $type), 0,
        'R-092, Q-60: a renewal, which has no challenge, is badAlg');
    my %deaf = (%$curve, request => { %{ $curve->{request} }, challenge => 'another' });
    ok($s->open_reply($deaf{request}, $curve->{http}, via => $at{plain}{at})->{why},
        'R-092: it does not open with another password');
}
$count = $s->certificates;
my $bare = $s->enrol(%{ $at{free} }, key_type => 'p256', challenge => undef, subject => 'CN=bare');
failed($bare, 0, 'R-092, Q-60: without a challenge it is badAlg');
clean('free', $bare, 'R-092');
is($s->certificates, $count, 'R-092: and nothing was issued');

$s->finish;
done_testing();
