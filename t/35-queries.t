# GetCert and GetCRL: off unless switched on, for holders of a certificate of the CA only.
# RFC 8894 3.3.4, 3.3.5, 4.5, 4.6; scep.md 1.9, D-17, S-26, Q-79.
use SCEPTest;

my $s = SCEPTest->up(SCEPTest::hosts(
    off  => '',
    both => "SCEPGetCert on\nSCEPGetCRL on\n",
    cert => "SCEPGetCert on\n",
    crl  => "SCEPGetCRL on\n"));
$s->allow_log('SCEP\d{4}: NDES-');
my %at = map { $_ => { at => $s->place($_) } } qw(off both cert crl);
my ($key, $other_key, $foreign_key, $foreign, $guest, $request) = map { $s->work("$_.pem") }
    qw(key other foreign-key foreign guest request);
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $other_key;
# A foreign CA, and a certificate that it issued for the other key.
run(['openssl', qw(req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=Foreign -keyout), $foreign_key, '-out', $foreign]);
run(['openssl', qw(req -new -subj /CN=guest -key), $other_key, '-out', $request]);
run(['openssl', qw(x509 -req -days 9 -CAcreateserial -CA), $foreign, '-CAkey', $foreign_key, '-in', $request, '-out', $guest]);

my $holder = $s->enrol(%{ $at{both} }, key => $key, subject => 'CN=holder');
my $other  = $s->enrol(%{ $at{off} }, key => $other_key, subject => 'CN=other');
issued($_, 'a certificate') for $holder, $other;
my $ca_serial = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-serial'])->{output} =~ /serial=(\w+)/ ? $1 : die;
my $unknown = '4D2F' . '17' x 16;

sub get_cert { my ($where, %o) = @_; return $s->get_cert($holder, %{ $at{$where} }, %o) }
sub get_crl  { my ($where, %o) = @_; return $s->get_crl($holder, %{ $at{$where} }, %o) }

sub clean {
    my ($where, $kind, $reply, $name) = @_;
    my @faults = $s->faults($reply, via => $at{$where}{at}, kind => $kind);
    return is_deeply(\@faults, [], "$name: nothing against the answer");
}

# ---- off by default

failed(get_cert('off'), 2, 'R-135, S-26: GetCert is off by default');
failed(get_crl('off'),  2, 'R-135, D-17, S-26: so is GetCRL');
failed(get_crl('cert'), 2, 'R-135: SCEPGetCert does not switch GetCRL on');
failed(get_cert('crl'), 2, 'R-135: nor the other way round');

# ---- GetCert

my $own = get_cert('both');
ok(($own->{pki_status} // '') eq '0', 'R-130: GetCert is SUCCESS') or diag(SCEPTest::describe($own));
is($own->{serial}, $holder->{serial}, 'R-130: with the certificate asked for first');
clean('both', 'cert', $own, 'R-130');
my $another = get_cert('both', serial => $other->{serial});
is_deeply([@$another{qw(pki_status serial subject)}], [0, $other->{serial}, 'CN=other'],
    'R-130: it gives another\'s certificate as well');
is(get_cert('cert', serial => $other->{serial}, send => { method => 'GET' })->{serial}, $other->{serial}, 'R-130: by GET too');
for my $cipher (qw(aes256 3des)) {
    clean('both', 'cert', get_cert('both', cipher => $cipher, digest => 'sha512'), "R-130, Q-40: $cipher and sha512 mirrored");
}
my $nowhere = get_cert('both', serial => $unknown);
failed($nowhere, 4, 'R-131: an unknown serial number is badCertId');
clean('both', 'cert', $nowhere, 'R-131');
failed(get_cert('both', issuer => $foreign), 4, 'R-131: so is another issuer');
failed(get_cert('both', serial => "-$holder->{serial}"), 4, 'R-131: the serial number with a minus sign is another one');
failed(get_cert('both', data => $_), 2, "R-062: GetCert with $_ inside is badRequest") for qw(csr nonsense empty issuer-and-subject);

# ---- GetCRL

$s->scepctl_must('crl');
my $crl = get_crl('both');
is_deeply([@$crl{qw(pki_status crls certs crl_issued_by_ca_ra)}], [0, 1, 0, 1],
    'R-132, D-04: GetCRL is SUCCESS with one CRL and no certificate') or diag(SCEPTest::describe($crl));
clean('both', 'crl', $crl, 'R-132');
ok(!defined $crl->{crl_revoked}, 'R-133: nothing is revoked so far');
my $by_ca = get_crl('both', serial => $ca_serial);
is_deeply([@$by_ca{qw(pki_status crls)}], [0, 1], 'R-135, Q-79: the serial number may be the CA\'s');
is(get_crl('both', serial => $other->{serial})->{crls}, 1, 'R-135, Q-79: or any certificate\'s');
failed(get_crl('both', issuer => $foreign), 4, 'R-134: an unknown issuer is badCertId');
failed(get_crl('both', data => 'nonsense'), 2, 'R-062: nonsense is badRequest');

$s->revoke($other, 'keyCompromise');
my $newer = get_crl('both');
is($newer->{crl_revoked}, "$other->{serial}=1", 'R-133: after a revocation the CRL holds the serial number and the reason');
cmp_ok(hex($newer->{crl_number} // 0), '>', hex($crl->{crl_number} // 0), 'R-133: it is a later one');
clean('both', 'crl', $newer, 'R-133');
$s->scepctl_must('crl', '--json');
cmp_ok(hex(get_crl('crl')->{crl_number} // 0), '>', hex($newer->{crl_number} // 0), 'R-133: only the most recent CRL is given');

# ---- who may ask

my %as = (
    'a self-signed certificate'      => { signer => undef, signer_key => undef, key => $other_key },
    'a certificate of a foreign CA'  => { signer => $guest, signer_key => $other_key });
for my $who (sort keys %as) {
    my $cert = get_cert('both', %{ $as{$who} });
    ok(($cert->{pki_status} // '') eq '2' && !$cert->{serial}, "R-136, S-26: $who gets no certificate")
        or diag(SCEPTest::describe($cert));
    my $list = get_crl('both', %{ $as{$who} });
    ok(($list->{pki_status} // '') eq '2' && !$list->{crls}, "R-136, S-26: nor a CRL") or diag(SCEPTest::describe($list));
    is($cert->{fail_info}, get_cert('both', %{ $as{$who} }, serial => $unknown)->{fail_info},
        'S-26: nor does it learn which serial numbers there are');
}
my $enrolled = $s->enrol(%{ $at{both} }, key => $other_key, subject => 'CN=last');
issued($enrolled, 'an enrolment after all this');
clean('both', 'enrol', $enrolled, 'D-04: no CRL beside its certificate');

$s->finish;
done_testing();
