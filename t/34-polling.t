# Requests that wait for an administrator, CertPoll, and requests that are sent again.
# RFC 8894 3.3.2.3, 3.3.3, 4.4, 5.2; scep.md 1.8.
use SCEPTest;

my $s = SCEPTest->up(SCEPTest::hosts(
    plain  => '',
    wait   => "SCEPApproval enrol\nSCEPRenewalFrom plain.test\n",
    always => "SCEPApproval always\nSCEPRenewalFrom plain.test\n",
    few    => "SCEPApproval enrol\nSCEPPendingMax 2\n"));
$s->allow_log('SCEP\d{4}: NDES-');
my %at = map { $_ => { at => $s->place($_) } } qw(plain wait always few);
my ($key, $other_key, $third_key) = map { $s->work("key$_.pem") } 1 .. 3;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $other_key, $third_key;

my $number = 0;

# An enrolment with a transactionID of its own.
sub enrol {
    my ($where, %o) = @_;
    $number++;
    return $s->enrol(%{ $at{$where} }, key => $key, transaction_id => "polling $number", subject => "CN=polling $number", %o);
}

sub poll { my ($where, $earlier, %o) = @_; return $s->poll($earlier, %{ $at{$where} }, %o) }

my $base;

sub clean {
    my ($where, $reply, $name) = @_;
    my @faults = $s->faults($reply, via => $at{$where}{at}, csr => slurp("$base.csr"));
    return is_deeply(\@faults, [], "$name: nothing against the answer");
}

sub fresh { return ($s->query("SELECT count(*) AS n FROM scep_challenge WHERE state = 'fresh'"))[0]{n} }

# ---- waiting

my $count = $s->certificates;
my $asked = enrol('wait');
$base = $asked->{request}{base};
pending($asked, 'R-110, R-087: under SCEPApproval a good request is PENDING');
clean('wait', $asked, 'R-110: without content and failInfo');
failed(enrol('wait', challenge => 'wrong'), 2, 'R-084, R-087: a bad challenge does not get as far');
failed(enrol('wait', challenge => undef), 2, 'R-086, R-087: nor does a request without one');
my $listed = $s->waiting($asked);
is_deeply(
    [@$listed{qw(state endpoint transaction_id subject from message_type)}],
    ['pending', 'wait.test', 'polling 1', 'CN=polling 1', '127.0.0.1', 19],
    'R-087: scepctl shows what waits') or diag(explain($listed));
is(scalar @{ $s->scepctl_must('requests', '--json') }, 1, 'R-084: and nothing else does');

my $unused = $s->mint(%{ $at{wait}{at} });
my $before = fresh();
my $again  = $s->again($asked, %{ $at{wait} });
pending($again, 'R-117, D-09, Q-77, S-23: the same PKCSReq again while it waits is PENDING');
is(fresh(), $before, 'R-117: and no second challenge is used');
is(scalar @{ $s->scepctl_must('requests', '--json') }, 1, 'R-117: nor does a second request wait');

my @ra = split /(?<=-----END CERTIFICATE-----\n)/,
    run(['openssl', 'pkcs7', '-inform', 'DER', '-print_certs', '-in', $s->ca_ra(%{ $at{wait}{at} })])->{output};
my @recipient;
for my $pem (grep { /BEGIN/ } @ra) {
    my $file = $s->work('ra' . @recipient . '.pem');
    spew($file, $pem);
    push @recipient, $file if run(['openssl', 'x509', '-in', $file, '-noout', '-subject'])->{output} =~ /MSCEP-RA/;
}
is(scalar @recipient, 2, 'there are two RA certificates');
my %contents = (
    'what belongs there'       => {},
    'subject and issuer swapped' => { data => 'swapped' },
    'nonsense'                 => { data => 'nonsense' },
    'another subject'          => { subject => 'CN=somebody else' },
    'a CSR'                    => { data => 'csr' },
    'the RA\'s first certificate as recipient'  => { recipient => $recipient[0] },
    'the RA\'s second certificate as recipient' => { recipient => $recipient[1] });
for my $name (sort keys %contents) {
    pending(poll('wait', $asked, %{ $contents{$name} }), "R-111, Q-57: CertPoll with $name");
}
my ($one, $two) = map { poll('wait', $asked, method => 'GET') } 1, 2;
clean('wait', $_, 'R-120, D-05: each CertPoll has its own nonces in its answer') for $one, $two;
isnt($one->{sender_nonce}, $two->{sender_nonce}, 'R-120, R-145: senderNonce is another one each time');

# ---- who may ask

my $unknown = poll('wait', $asked, transaction_id => 'unknown 1');
failed($unknown, 4, 'R-112, D-08: CertPoll for an unknown transactionID is badCertId');
my $thief = poll('wait', $asked, key => $other_key);
failed($thief, 4, 'R-121, S-22: with another key it is badCertId too');
is_deeply([$thief->{fail_info_text}, length $thief->{http}{body}], [$unknown->{fail_info_text}, length $unknown->{http}{body}],
    'R-121, S-22: and not to be told from an unknown one');
failed(poll('always', $asked), 4, 'R-112: it belongs to its endpoint');
my $taken = enrol('wait', key => $other_key, transaction_id => 'polling 1');
failed($taken, 2, 'R-119, S-22: a PKCSReq with its transactionID and another key is refused');
my $second = enrol('wait');
pending($second, 'R-115: a new PKCSReq with a new transactionID waits beside it');
isnt($s->waiting($second)->{id}, $s->waiting($asked)->{id}, 'R-115: as a request of its own');
is($s->certificates, $count, 'R-110: no certificate was issued so far');

# ---- approved

my $id = $s->waiting($asked)->{id};
$s->approve($asked);
isnt($s->scepctl('approve', $id)->{status}, 0, 'R-113: it cannot be approved twice');
isnt($s->scepctl('approve', 'nothing')->{status}, 0, 'R-113: nor can what does not wait');
my $got = poll('wait', $asked);
issued($got, 'R-113: CertPoll after approval is SUCCESS');
clean('wait', $got, 'R-113');
is($got->{key_matches}, 1, 'R-113: for the key of the request');
is(poll('wait', $asked, data => 'nonsense')->{serial}, $got->{serial}, 'R-114: asked after again, the same certificate');
is($s->again($asked, %{ $at{wait} })->{serial}, $got->{serial}, 'R-117, Q-78, D-09, S-23: the PKCSReq again gets the same certificate');
failed(poll('wait', $asked, key => $other_key), 4, 'R-121, S-22: another key does not get it');
is($s->certificates, $count + 1, 'R-114, R-117: one certificate was issued');
pending(poll('wait', $second), 'R-115: the other request waits still');
my $more = enrol('plain', subject => 'CN=polling 1');
issued($more, 'R-116: a new request for the same name, with a challenge, gets a new certificate');
isnt($more->{serial}, $got->{serial}, 'R-116: another one');

# ---- denied

# an end of a line, a letter beyond ASCII, quotes and a backslash: escaped once wherever they are read
my $reason = qq(not in the "office" register\n of M\xC3\xBCller, EXAMPLE\\mueller);
my $shown  = 'not in the "office" register\x0A of M\xC3\xBCller, EXAMPLE\mueller';
my $logged = 'not in the \x22office\x22 register\x0A of M\xC3\xBCller, EXAMPLE\x5Cmueller';
isnt($s->scepctl('deny', $s->waiting($second)->{id})->{status}, 0, 'R-113: a denial needs a reason');
$s->deny($second, $reason);
my $denied = poll('wait', $second);
failed($denied, 2, 'R-113: CertPoll after a denial is badRequest');
clean('wait', $denied, 'R-113: a denial');
unlike($denied->{fail_info_text} // '', qr/register/, 'R-144, S-29: the reason stays with the administrator');
failed($s->again($second, %{ $at{wait} }), 2, 'R-117: the same PKCSReq again is denied as well');
my ($record) = grep { $_->{transaction_id} eq $second->{request}{transaction_id} }
    @{ $s->scepctl_must('requests', '--all', '--json') };
is_deeply([@$record{qw(state reason)}], ['denied', $shown], 'R-113: the reason is kept');
like($s->scepctl_must('requests', '--all'), qr/ \Q$shown\E$/m, 'R-113: … and shown');
ok($s->logs(qr/verdict=denied .*reason="\Q$logged\E" /), 'R-113, R-162: and logged');
is($s->certificates, $count + 2, 'R-113: a denied request has no certificate');

# ---- revoked

$s->revoke($got, 'superseded');
my $late = $s->again($asked, %{ $at{wait} });
failed($late, 2, 'R-118, S-23: the PKCSReq of a revoked certificate gets neither it nor another one');
$late = poll('wait', $asked);
ok(!defined $late->{serial}, 'R-118: nor does CertPoll') or diag(SCEPTest::describe($late));
isnt($s->scepctl('revoke', $got->{serial}, '--reason', 'mood')->{status}, 0, 'R-118: a reason is one of RFC 5280');
isnt($s->scepctl('revoke', '0BAD', '--reason', 'superseded')->{status}, 0, 'R-131: what was never issued cannot be revoked');

# ---- renewals

my $straight = $s->renew($more, %{ $at{wait} }, key => $other_key, transaction_id => 'straight');
issued($straight, 'R-087, R-100: SCEPApproval enrol lets a renewal pass');
my $renewal = $s->renew($more, %{ $at{always} }, key => $third_key, transaction_id => 'slow');
pending($renewal, 'R-087, R-100: SCEPApproval always lets it wait');
pending(poll('always', $renewal), 'R-111: asked after with the old certificate, it waits');
is($s->waiting($renewal)->{message_type}, 17, 'R-087: it is listed as what it is');
$s->approve($renewal);
my $renewed = poll('always', $renewal);
issued($renewed, 'R-113: and is issued after approval');
is($renewed->{key_matches}, 1, 'R-113: for its new key');
is_deeply([$s->faults($renewed, via => $at{always}{at}, csr => slurp("$renewal->{request}{base}.csr"))], [],
    'R-090, R-113: encrypted to the old certificate');

my $vain = $s->renew($more, %{ $at{always} }, key => $third_key, transaction_id => 'vain');
pending($vain, 'R-087, R-100: another renewal waits');
$s->revoke($more, 'keyCompromise');
my $tried = $s->scepctl('approve', $s->waiting($vain)->{id});
isnt($tried->{status}, 0, 'R-106, S-08: it cannot be approved after its old certificate was revoked');
like($tried->{output}, qr/is revoked/, 'R-106: the operator reads why');
$s->deny($vain, 'its certificate was revoked');
failed(poll('always', $vain), 2, 'R-106, R-113: it can be denied');

# ---- too many

my @many = map { enrol('few', key => $_, subject => qq(CN=M\xC3\xBCller "Inc.")) } $key, $other_key;
pending($_, 'S-24: within SCEPPendingMax a request waits') for @many;
is($s->waiting($many[0])->{subject}, 'CN=M\C3\BCller \"Inc.\"', 'R-087: a subject is shown as RFC 4514 writes it');
my $spare = $s->mint(%{ $at{few}{at} });
my $third = enrol('few', key => $third_key, challenge => $spare);
ok(($third->{pki_status} // '') ne '3' && !$third->{serial}, 'S-24: beyond it it does not') or diag(SCEPTest::describe($third));
$s->deny($many[0], 'room is needed');
pending(enrol('few', key => $third_key, challenge => $spare), 'S-24: when there is room again it waits, with the same challenge');

$s->finish;
done_testing();
