# Renewal: an existing certificate stands for a challenge, and nothing else does. RFC 8894 2.3 to
# 2.5, scep.md 1.7, 1.12, 5.1.
use SCEPTest;
use POSIX ();

# The CA has 20 days left, so everything it issues ends within that time.
my $s = SCEPTest->ready(
    init => ['--ca-days', '20', '--ra-days', '10'],
    SCEPTest::hosts(
        plain  => '',
        pkcs   => "SCEPRenewalByPKCSReq on\nSCEPRenewalFrom plain.test\n",
        names  => "SCEPDisableRenewalSubjectNameMatch on\nSCEPRenewalFrom \"none.test plain.test\"\n",
        early  => "SCEPRenewalWindow 5\nSCEPRenewalFrom plain.test\n",
        within => "SCEPRenewalWindow 30\nSCEPRenewalFrom PLAIN.test\n",
        never  => "SCEPRenewal off\nSCEPRenewalFrom plain.test\n",
        other  => '',
        sha1   => "SCEPRenewalMinimumHash sha1\nSCEPRenewalFrom plain.test\n"));
$s->allow_log('SCEP\d{4}: NDES-');
$s->expect_log('SCEP0294: '); # 20 days are few
my %at = map { $_ => { at => $s->place($_) } } qw(plain pkcs names early within never other sha1);

my ($key, $new_key, $stranger) = map { $s->work("key$_.pem") } 1 .. 3;
run(['openssl', 'genrsa', '-out', $_, '2048']) for $key, $new_key, $stranger;

# ---- certificates that no enrolment gives: CAs of the test's own, made with the openssl command

my $number = 0;

sub openssl {
    my (@words) = @_;
    my $ran = run(['openssl', @words]);
    die "openssl @words: $ran->{output}\n" if $ran->{status} != 0;
    return;
}

# A CA of this name: its certificate and key.
sub make_ca {
    my ($subject) = @_;
    my ($cert, $ca_key) = map { $s->work('ca' . $number . ".$_") } qw(pem key);
    $number++;
    openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 30 -subj), $subject, '-keyout', $ca_key, '-out', $cert);
    return ($cert, $ca_key);
}

# A certificate for the first key, by a CA or by itself: good from day `from` to day `to`, with the
# extended key usage of the template that `scep-ca init` writes unless eku is given; ca: a CA's.
sub make_cert {
    my ($ca, $ca_key, %o) = @_;
    my $dir = $s->work('issued' . $number++);
    mkdir $dir or die "$dir: $!\n";
    spew("$dir/index", '');
    spew("$dir/serial", sprintf "%032X\n", 0x5A0000 + $number);
    spew("$dir/conf", "[ca]\ndefault_ca = d\n[d]\nnew_certs_dir = $dir\ndatabase = $dir/index\nserial = $dir/serial\n"
        . "default_md = sha256\npolicy = p\nunique_subject = no\nx509_extensions = e\n[p]\ncommonName = supplied\n"
        . "[e]\nbasicConstraints = critical, CA:" . ($o{ca} ? 'TRUE' : 'FALSE') . "\nkeyUsage = digitalSignature, keyEncipherment\n"
        . ($o{eku} // "extendedKeyUsage = 1.3.6.1.5.5.8.2.2\n"));
    my @day = map { POSIX::strftime('%Y%m%d%H%M%SZ', gmtime(time + 86400 * $_)) } $o{from} // -2, $o{to} // 9;
    openssl(qw(req -new -subj /CN=old -key), $key, '-out', "$dir/csr");
    openssl(qw(ca -batch -notext -config), "$dir/conf", '-in', "$dir/csr", '-out', "$dir/cert.pem", '-startdate', $day[0],
        '-enddate', $day[1], $o{self} ? ('-selfsign', '-keyfile', $key) : ('-cert', $ca, '-keyfile', $ca_key));
    return "$dir/cert.pem";
}

my ($trusted, $trusted_key) = make_ca('/CN=Former CA');
my $conf = slurp($s->ca_conf);
$conf =~ s/^(ca_key\s*=.*\n)/$1renewal_ca = former.pem\n/m or BAIL_OUT('ca.conf has no ca_key');
spew($s->ca_conf, $conf);
spew("$s->{dir}/ca/former.pem", slurp($trusted), 0644);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

sub enrol { my ($where, %o) = @_; return $s->enrol(%{ $at{$where} }, key => $key, %o) }
sub renew { my ($where, $old, %o) = @_; return $s->renew($old, %{ $at{$where} }, key => $new_key, %o) }

# A renewal signed by any certificate, for its subject.
sub signed_by {
    my ($where, $cert, $cert_key, %o) = @_;
    return $s->ask(%{ $at{$where} }, type => 17, key => $new_key, subject => 'CN=old', signer => $cert, signer_key => $cert_key, %o);
}

sub text_of { my ($reply, $what) = @_; return run(['openssl', 'x509', '-in', $reply->{certificate}, '-noout', '-ext', $what])->{output} }

# ---- what is renewed

my $challenge = $s->mint(%{ $at{plain}{at} });
my $old = enrol('plain', challenge => $challenge, subject => 'CN=device,O=Office', san => 'DNS:a.example,DNS:b.example');
issued($old, 'a certificate to be renewed');
my $new = renew('plain', $old);
issued($new, 'R-100, Q-66: RenewalReq with a new key and without a challenge is granted');
is($new->{key_matches}, 1, 'R-100: for the new key');
is($new->{subject}, 'O=Office,CN=device', 'R-100: for the same subject');
isnt($new->{serial}, $old->{serial}, 'R-100: it is another certificate');
is_deeply([$s->faults($new, csr => slurp("$new->{request}{base}.csr"))],
    [], 'R-100, R-090: encrypted to the old certificate, and nothing against the answer');
is($s->again($new)->{serial}, $new->{serial}, 'R-117: the same renewal again gets the same certificate');
my $same = renew('plain', $old, key => $key);
issued($same, 'R-101: the old key may be used again');
isnt($same->{serial}, $old->{serial}, 'R-101: for another certificate');
issued(renew('plain', $old, challenge => $challenge, transaction_id => 'used'),
    'R-102, Q-66: a challenge that was used up does no harm');
issued(renew('plain', $old, challenge => 'stale', transaction_id => 'stale'), 'R-102, Q-66: nor does one that never was');
issued(renew('plain', $new, key => $stranger), 'R-100: what was renewed can be renewed');
issued(renew('plain', $old, challenge => $s->mint(%{ $at{plain}{at} }), transaction_id => 'fresh'),
    'R-102: with a fresh challenge it is granted too');
my $ca = enrol('plain', subject => 'CN=modest', key => $key);
my $wide = renew('plain', $ca, ext => 'basicConstraints=critical,CA:TRUE;extendedKeyUsage=OCSPSigning');
issued($wide, 'S-09: a renewal that asks to be a CA');
like(text_of($wide, 'basicConstraints'), qr/CA:FALSE/, 'S-09: is none');
is(text_of($wide, 'extendedKeyUsage'), text_of($ca, 'extendedKeyUsage'), 'S-09: its extended key usage stays');

# ---- who may not renew

my $kept  = $s->mint(%{ $at{plain}{at} });
my $count = $s->certificates;
my ($foreign, $foreign_key) = make_ca('/CN=Foreign CA');
my $dn = run(['openssl', 'x509', '-in', $s->ca_cert, '-noout', '-subject', '-nameopt', 'RFC2253'])->{output};
my @dn = reverse split /,/, $dn =~ /^subject=(.*)/ ? $1 : BAIL_OUT("the CA's subject: $dn");
my ($twin, $twin_key) = make_ca('/' . join '/', @dn);
my ($own, $own_key) = ($s->ca_cert, "$s->{dir}/ca/ca.key");

my $self = $s->ask(%{ $at{plain} }, type => 17, key => $new_key, subject => 'CN=device,O=Office');
failed($self, 2, 'R-105, S-08: signed by a certificate of its own, without a challenge: refused');
failed($s->ask(%{ $at{plain} }, type => 17, key => $new_key, challenge => $kept, subject => 'CN=device,O=Office'),
    2, 'R-105, S-01: even with a good challenge');
my %refused = (
    'R-106: an expired certificate'                  => make_cert($own, $own_key, to => -1),
    'R-106: one that is not valid yet'               => make_cert($own, $own_key, from => 1),
    'R-106, R-104: one of a CA that nobody trusts'   => make_cert($foreign, $foreign_key),
    'R-106, S-08: one of another CA of the same name' => make_cert($twin, $twin_key),
    'R-106, S-08: a subordinate CA\'s certificate'    => make_cert($own, $own_key, ca => 1),
    'S-08, S-09: one with less extended key usage than it would get' => make_cert($own, $own_key, eku => ''),
    'R-105, S-08: one that it signed itself'         => make_cert($own, $own_key, self => 1));
for my $name (sort keys %refused) {
    failed(signed_by('plain', $refused{$name}, $key), 2, "$name does not renew");
}
failed(signed_by('plain', $own, $own_key, subject => join(',', @dn)), 2, 'R-106, S-08: the CA\'s own does not renew');
my $lost = enrol('plain', subject => 'CN=lost');
issued($lost, 'a certificate that gets lost');
$s->revoke($lost, 'keyCompromise');
failed(renew('plain', $lost), 2, 'R-106: a revoked certificate does not renew');
$s->revoke($same, 'keyCompromise');
failed($s->again($same), 2, 'R-118, S-23: the request whose certificate was revoked does not get another one');
failed(renew('plain', $old, spoil => 'csr'), 2, 'R-109, R-164, S-11: nor does a CSR that its key did not sign');
failed(renew('plain', $old, subject => 'CN=other,O=Office'), 2, 'R-108, S-09: nor one with another subject');
failed(renew('plain', $old, subject => 'CN=device,O=Office,OU=Board'), 2, 'R-108, S-09: nor with one name more');
failed(renew('plain', $old, san => 'DNS:a.example,DNS:b.example,DNS:c.example'), 2, 'R-108, S-09: nor with another alternative name');
failed(renew('plain', $ca, san => 'DNS:modest.example'), 2, 'R-108, S-09: nor with a first one');
is($s->certificates, $count + 1, 'R-106, S-08: none of these was issued');
issued(signed_by('plain', make_cert($own, $own_key), $key), 'R-106: a good certificate that the CA issued by other means renews');
issued(signed_by('plain', make_cert($trusted, $trusted_key), $key), 'R-104: so does one of a CA that renewal_ca names');

# ---- switches

issued(renew('names', $old, subject => 'CN=other,O=Office'),
    'R-108: SCEPDisableRenewalSubjectNameMatch lets the subject change');
issued(renew('names', $old, san => 'DNS:c.example', transaction_id => 'san'), 'R-108: and the alternative names');
failed(renew('other', $old), 2, 'S-08: another endpoint of the same CA does not renew it');
failed($s->again($new, %{ $at{other} }), 2, 'S-08, S-23: nor does it where the same request is sent to it');
issued(signed_by('other', make_cert($own, $own_key), $key), 'S-08: one that no endpoint issued it does');
failed(renew('early', $old), 2, 'R-107: SCEPRenewalWindow 5 refuses what ends in 20 days');
issued(renew('within', $old), 'R-107: SCEPRenewalWindow 30 does not');
failed(renew('never', $old), 2, 'R-024: SCEPRenewal off refuses renewals');
my %caps = map { $_ => $s->get('/certsrv/mscep/mscep.dll?operation=GetCACaps', %{ $at{$_}{at} })->{body} } qw(plain never);
like($caps{plain}, qr/^Renewal$/m, 'R-024, D-01: GetCACaps says Renewal where it is on');
unlike($caps{never}, qr/^Renewal$/m, 'R-024: and not where it is off');
failed(renew('plain', $old, digest => 'sha1', transaction_id => 'sha1'), 0, 'R-166: a renewal signed with SHA-1 is badAlg');
issued(enrol('plain', digest => 'sha1', subject => 'CN=sha1'), 'R-166: an enrolment with a challenge is not');
issued(renew('sha1', $old, digest => 'sha1'), 'R-166: SCEPRenewalMinimumHash sha1 lets it pass');

# ---- PKCSReq signed by an existing certificate

my %as_pkcs = (type => 19, challenge => undef);
failed(renew('plain', $old, %as_pkcs, transaction_id => '19'),
    2, 'R-094, R-103, D-01, Q-65, S-06: PKCSReq signed by an existing certificate, no challenge: refused');
failed(renew('plain', $old, %as_pkcs, key => $key, transaction_id => '19 same'),
    2, 'R-094, R-103, S-06: nor where it has the key of that certificate', qr/0x80096004/i);
failed(renew('plain', $old, type => 19, challenge => '', transaction_id => '19 empty'),
    2, 'R-103, D-01, Q-69, S-06: nor with an empty challenge');
my $pkcs = renew('pkcs', $old, %as_pkcs);
issued($pkcs, 'R-094, R-103, D-01, D-02, Q-65: with SCEPRenewalByPKCSReq it renews');
is_deeply([$s->faults($pkcs, via => $at{pkcs}{at})], [], 'R-103: and nothing is against the answer');
issued(renew('pkcs', $old, type => 19, challenge => '', transaction_id => '19 empty'), 'R-103, D-01, Q-69: with an empty challenge too');
$count = $s->certificates;
failed($s->ask(%{ $at{pkcs} }, key => $new_key, subject => 'CN=device,O=Office'), 2, 'S-06: one signed by its own certificate does not');
failed(signed_by('pkcs', $refused{$_}, $key, type => 19), 2, "D-02, S-06: $_ does not renew as PKCSReq") for sort keys %refused;
failed(renew('pkcs', $lost, %as_pkcs), 2, 'D-02, S-06: nor does a revoked one');
failed(renew('pkcs', $old, %as_pkcs, subject => 'CN=other,O=Office', transaction_id => '19 other'), 2, 'S-06, S-09: nor another subject');
failed(renew('pkcs', $old, %as_pkcs, digest => 'sha1', transaction_id => '19 sha1'), 0, 'R-166, S-06: nor SHA-1');
is($s->certificates, $count, 'S-06: none of these was issued');
issued(enrol('pkcs', subject => 'CN=first'), 'R-103: a first enrolment works as ever');
issued(enrol('plain', challenge => $kept, subject => 'CN=kept'), 'R-102, R-105: the fresh challenge was not used up by any of it');

$s->finish;
done_testing();
