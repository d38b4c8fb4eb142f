# The directory: a real Active Directory, Samba's, asked as scep-ca asks it, and behind the challenge
# page of a real httpd with Kerberos. Servers that are down, slow or odd: t/89-directory-servers.t.
use strict;
use warnings;
use SCEPSamba;
BEGIN { SCEPSamba::enter() }
use SCEPTest;
use SCEPDirectory;
use SCEPRecipe;

need_server(qw(curl kinit));
need_modules(qw(ssl auth_gssapi));
SCEPSamba::unable('the connector adcs was not built') if !-x "$ENV{builddir}/t/tool/icpr-call";

my @users = qw(ndes alice bob carol dave mallory former);
my $ad    = SCEPSamba->up(accounts => \@users);
my $realm = SCEPSamba::REALM;
my $dc    = SCEPSamba::HOST;
{
    my %environment = $ad->environment;
    @ENV{ keys %environment } = values %environment;
}

# as Samba's own samba_spnupdate would add it, which is not started here
$ad->tool('spn', 'add', "ldap/$dc", 'DC1$');

# alice enrols by a group in a group, dave is in a group that is denied
$ad->group('Enrollees', qw(alice dave former));
$ad->group('All Enrollees', 'Enrollees');
$ad->group('Suspended', 'dave');
$ad->tool('user', 'disable', 'former', '-H', $ad->database);
my @access = (SCEPSamba::deny('Suspended'), SCEPSamba::allow('All Enrollees'));
$ad->template('Device', access => \@access, 'pKIExpirationPeriod:' => SCEPSamba::filetime(45 * 86400), 'msPKI-Minimal-Key-Size' => 3072);
$ad->template('Late Denial', access => [reverse @access]);
$ad->template('Nobody');
$ad->template('All', access => ['(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;DA)']);

# ---- questions

my $work = $ad->dir . '/work';
mkdir $work or die "$work: $!\n";
spew("$work/password", "Pw-$ad->{password}\n", 0600);
spew("$work/wrong", "wrong\n", 0600);

my %gssapi = (bind => 'gssapi', principal => "ndes\@$realm", keytab => 'file:' . $ad->keytab('ndes'));
my %simple = (bind => 'simple', user => "ndes\@corp.test", password => 'file:password');
my %tls    = (tls_ca => $ad->directory_ca);

sub ask {
    my ($keys, @questions) = @_;
    return SCEPDirectory::ask($work, { timeout => slow(10), %$keys }, @questions);
}

sub says {
    my ($got, $wanted, $name) = @_;
    return like($got, $wanted, $name);
}

# ---- each way of logging on

my %way = (
    'Kerberos, sealed'        => { url => "ldap://$dc",  %gssapi },
    'Kerberos below StartTLS' => { url => "ldap://$dc",  %gssapi, %tls, starttls => 'yes' },
    'Kerberos below TLS'      => { url => "ldaps://$dc", %gssapi, %tls },
    'a password below TLS'    => { url => "ldaps://$dc", %simple, %tls },
    'a password below StartTLS' => { url => "ldap://$dc", %simple, %tls, starttls => 'yes' },
);
for my $name (sort keys %way) {
    says(ask($way{$name}, may => 'alice', 'Device'), qr/^yes$/m, "$name: a member of the group may enrol");
    says(ask($way{$name}, may => 'bob', 'Device'), qr/^no=template Device of the directory does not allow/m,
        "$name: somebody else may not");
}
says(ask({ %{ $way{'a password below TLS'} }, password => 'file:wrong' }, may => 'alice', 'Device'),
    qr/^error=CONFIG: .*the password of ndes\@corp\.test/m, 'a wrong password is no yes, and is said');
says(ask({ url => "ldaps://$dc", %simple, tls_ca => $ad->ca . '/ca.pem' }, may => 'alice', 'Device'),
    qr/^error=UNAVAILABLE: /m, 'nor is a server whose certificate is not trusted');
says(ask({ url => 'ldaps://corp.test', %simple, %tls }, may => 'alice', 'Device'),
    qr/^error=UNAVAILABLE: /m, 'nor one whose certificate has another name');
says(ask({ %{ $way{'Kerberos, sealed'} }, keytab => 'file:' . $ad->keytab('bob') }, may => 'alice', 'Device'),
    qr/^error=UNAVAILABLE: .*no ticket for ndes/m, q{nor another account's keytab});

# ---- who is who

my $sealed = $way{'Kerberos, sealed'};
for my $name ('alice', 'ALICE', "alice\@$realm", 'alice@corp.test', 'CORP\\alice', 'corp\\Alice') {
    says(ask($sealed, may => $name, 'Device'), qr/^yes$/m, "$name may: she is in a group of a group");
}
for my $name ("alice\@OTHER.TEST", 'OTHER\\alice', '\\alice', 'CORP\\', '@corp.test', "alice\@", 'nobody', '*', 'al*',
    'alice)(cn=*', 'alice)', 'CORP\\CORP\\alice', 'CORP\\alice@corp.test', 'a' x 300, 'Enrollees')
{
    says(ask($sealed, may => $name, 'Device'), qr/^no=the directory has no such user/m, "'$name' is nobody");
}
says(ask($sealed, may => '', 'Device'), qr/^no=/m, 'nor is who has no name');
says(ask($sealed, may => 'former', 'Device'), qr/^no=.*disabled/m, 'a disabled account may not');
says(ask($sealed, may => 'dave', 'Device'), qr/^no=template Device of the directory denies/m,
    'a deny ACE wins over the permission of another group');
says(ask($sealed, may => 'dave', 'Late Denial'), qr/^yes$/m, 'which it does not where it stands behind it');
says(ask($sealed, may => 'alice', 'Nobody'), qr/^no=template Nobody of the directory does not allow/m,
    'reading is not enrolling');
says(ask($sealed, may => 'Administrator', 'All'), qr/^yes$/m, 'full control is');
says(ask($sealed, may => 'alice', 'Device,Nobody'), qr/^no=template Nobody/m, 'of two templates each has to allow it');
says(ask($sealed, may => 'alice', 'Device,Absent'), qr/^no=the directory has no template Absent/m, 'and be there');
says(ask($sealed, may => 'alice', 'Dev*'), qr/^no=the directory has no template Dev\*/m, 'by its whole name');

$ad->ldif('modify', "dn: CN=carol,CN=Users,{BASE}\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: c.smith\@corp.example\n");
says(ask($sealed, may => $_, 'Device'), qr/^no=template Device/m, "$_ is carol") for 'c.smith@corp.example', 'carol@corp.test', 'CORP\\carol';
says(ask($sealed, may => $_, 'Device'), qr/^no=the directory has no such user/m, "$_ is nobody")
    for 'carol@corp.example', 'c.smith', 'CORP\\c.smith';

# ---- what is published

$ad->enrollment_service('Corp CA', $ad->ca . '/ca.pem', 'Device', 'Nobody');
my $view = ask($sealed, look => 'Corp CA', 'device,Nobody,Absent');
says($view, qr/^certificate=\d{3,}$/m, q{the CA's certificate is read});
says($view, qr/^offered=Device\noffered=Nobody$|^offered=Nobody\noffered=Device$/m, 'and the templates it offers');
says($view, qr/^template=Device seconds=3888000 usage=a0 bits=3072 purposes=1 descriptor=1$/m,
    'and what a template says');
says($view, qr/^template=$/m, 'one that is not there has no name');
says(ask($sealed, look => 'Other CA', 'Device'), qr/^error=CONFIG: .*no pKIEnrollmentService "Other CA"/m,
    'a CA that is not there is said');

# ---- SIDs

my $sid = $ad->sid_of('alice');
says(ask($sealed, sid => $sid, 'upn:alice@corp.test'), qr/^yes$/m, 'S-12: the SID is that of the account with that UPN');
says(ask($sealed, sid => $sid, 'cn:alice'), qr/^yes$/m, 'S-12: or of that common name');
says(ask($sealed, sid => $sid, 'upn:bob@corp.test'), qr/^no=a user principal name/m, q{S-12: another's UPN is not});
says(ask($sealed, sid => $ad->sid_of('bob'), 'cn:alice'), qr/^no=the subject names another/m, q{S-12: nor another's SID});
says(ask($sealed, sid => "${sid}9", 'cn:alice'), qr/^no=the directory has no account/m, 'S-12: nor one of nobody');
says(ask($sealed, sid => $ad->sid_of('former'), 'cn:former'), qr/^no=the account is disabled/m, 'S-12: nor a disabled one');
says(ask($sealed, sid => $ad->sid_of('DC1$'), "dns:$dc"), qr/^yes$/m, q{S-12: a computer's SID goes with its DNS name});
says(ask($sealed, sid => $ad->sid_of('DC1$'), 'dns:ws1.corp.test'), qr/^no=a DNS name/m, 'S-12: and with no other');
# ---- the challenge page

# an account of httpd's, as the page is called scep.test
$ad->tool('user', 'create', 'httpd', "Pw-$ad->{password}", '-H', $ad->database);
$ad->tool('spn', 'add', 'HTTP/scep.test', 'httpd');
$ad->tool('domain', 'exportkeytab', "$work/http.keytab", "--principal=HTTP/scep.test\@$realm");

my $s = recipes(
    recipes => ['kerberos'],
    modules => [qw(authz_groupfile auth_gssapi)],
    define  => { SCEP_KEYTAB => '@DIR@/http.keytab', SCEP_GROUPS => '@DIR@/groups' });
my ($uid, $gid) = (getpwnam SCEPServer::worker_user())[2, 3];
my ($ca_uid)    = (getpwnam SCEPServer::ca_user())[2];
spew($s->dir . '/http.keytab', slurp("$work/http.keytab"), 0600);
chown $uid, $gid, $s->dir . '/http.keytab';
# httpd lets them all in: the directory decides
spew($s->dir . '/groups', 'scep: ' . join(' ', map { "$_\@$realm" } @users) . "\n", 0644);
spew($s->dir . '/ca/directory.keytab', slurp($ad->keytab('ndes')), 0600);
chown $ca_uid, -1, $s->dir . '/ca/directory.keytab';
mkdir $s->dir . '/replay';
chown $uid, $gid, $s->dir . '/replay';
$ENV{KRB5RCACHEDIR} = $s->dir . '/replay';

my $plain = slurp($s->ca_conf);
my $cache = slow(6);

# ca.conf with a directory, and its template taken from there.
sub with_directory {
    my (%o) = (ca_template => 'Device', service => 'Scep CA', from_directory => 'yes', cache => $cache, %{ $_[0] // {} });
    my $text = $plain;
    $text =~ s/^(\[\s*authority\s+default\s*\]\n)/$1directory = corp\n/m or die "no authority\n";
    $text =~ s/^(directory = corp\n)/$1enrollment_service = $o{service}\n/m if $o{service};
    $text =~ s/^(?:days|key_usage|extended_key_usage)\s*=.*\n//mg if $o{from_directory} eq 'yes';
    $text =~ s/^(\[\s*template\s.*\]\n)/$1ca_template = $o{ca_template}\nfrom_directory = $o{from_directory}\nallow_sid = directory\n/mg;
    return "$text\n[directory corp]\n"
        . SCEPDirectory::keys_of(url => "ldap://$dc", %gssapi, keytab => 'file:directory.keytab', cache => $o{cache}, timeout => slow(5));
}

# scep-ca check of a ca.conf.
sub check {
    my ($text) = @_;
    spew($s->ca_conf, $text, 0644);
    return $s->ca_check->{output};
}

# ---- what is refused at the start

my %unfit = (
    'Own Subject' => [{ 'msPKI-Certificate-Name-Flag' => -2147483648 }, qr/the subject is not taken from the request/],
    'Sub CA'      => [{ flags => 131264 },                              qr/it makes CA certificates/],
    'Cross CA'    => [{ flags => 133184 },                              qr/it makes cross certificates/],
    'Archived'    => [{ 'msPKI-Private-Key-Flag' => 16842753 },         qr/private key archived/],
    'Attested'    => [{ 'msPKI-Private-Key-Flag' => 8192 },             qr/key attested/],
    'Signed'      => [{ 'msPKI-RA-Signature' => 1 },                    qr/signed by 1 enrolment agents .* there is no agent_cert/],
    'Hours'       => [{ 'pKIExpirationPeriod:' => SCEPSamba::filetime(3600) }, qr/last less than a day/],
);
$ad->template($_, %{ $unfit{$_}[0] }) for sort keys %unfit;
$ad->template('Not Offered');
$ad->enrollment_service('Scep CA', $s->ca_cert, 'Device', sort keys %unfit);
for my $name (sort keys %unfit) {
    says(check(with_directory({ ca_template => $name })), $unfit{$name}[1], "template $name is refused at the start, with the reason");
}
says(check(with_directory({ ca_template => 'Not Offered' })), qr/the CA does not offer it \(certificateTemplates\)/,
    'so is one that the CA does not offer');
says(check(with_directory({ ca_template => 'Absent' })), qr/the directory has no template Absent/, 'and one that is not there');
says(check(with_directory({ service => 'Absent' })), qr/no pKIEnrollmentService "Absent"/, 'and a CA that is not there');
my %thumb = map { $_ => run(['openssl', 'x509', '-in', $_, '-noout', '-fingerprint', '-sha1'])->{output} =~ s/.*=|:|\s//gr } $s->ca_cert, $ad->ca . '/ca.pem';
says(check(with_directory({ service => 'Corp CA' })),
    qr/thumbprint \Q$thumb{ $ad->ca . '\/ca.pem' }\E for the CA "Corp CA".*thumbprint \Q$thumb{ $s->ca_cert }\E/,
    'and a CA with another certificate, both thumbprints being said');
says(check(with_directory()), qr/: ok$/m, 'what is as it should be is not refused');

# ---- with Kerberos

$s->{hosts} =~ s/^SCEPPasswordMax 100$/SCEPPasswordMax 100000\nSCEPMintMax 100000/m or die "no SCEPPasswordMax\n";
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

my %ticket;

sub challenge_of {
    my ($name) = @_;
    my $tickets = $ticket{$name} //= do {
        my $made = run(['kinit', '-k', '-t', $ad->keytab($name), '-c', "FILE:$work/tickets-$name", "$name\@$realm"]);
        die "kinit: $made->{output}\n" if $made->{status} != 0;
        # the service's ticket, too, as it is wanted when the domain controller is away
        "FILE:$work/tickets-$name";
    };
    local $ENV{KRB5CCNAME} = $tickets;
    return page($s, curl => ['--negotiate', '-u', ':']);
}

sub refused {
    my ($name, $why, $title) = @_;
    my $page = challenge_of($name);
    ok($page->{status} == 200 && !$page->{challenge} && $page->{text} =~ /You do not have sufficient permission to enroll with SCEP\./, $title)
        or diag("$page->{status} $page->{text}");
    ok(scalar(grep { /SCEP0241: .*verdict=not-permitted reason="$why.*user="\Q$name\E\@$realm"/ } $s->log_lines), "the audit line says why")
        or diag($s->log_tail);
    return;
}

my $page = challenge_of('alice');
audited($s, $page, "alice\@$realm", '127.0.0.1', 'a user in the enrolling group gets a challenge page');
$s->expect_log('SCEP0074: NDES-6 no challenge for user');
refused('bob', 'template Device of the directory does not allow', q{one outside it gets NDES's no-permission page});
refused('dave', 'template Device of the directory denies', 'a deny ACE wins');

# ---- with the template's attributes

my %at = (at => { port => $s->port, host => 'scep.test' });

sub key_of {
    my ($bits) = @_;
    my $key = $s->work("key-$bits.pem");
    SCEPAuthority::openssl('genrsa', '-out', $key, $bits);
    return $key;
}

failed($s->enrol(%at, key => key_of(2048), challenge => $page->{challenge}, subject => 'CN=a'), 2,
    q{a key below the template's msPKI-Minimal-Key-Size is refused});
$s->expect_log('SCEP0029: NDES-31 REFUSED: the RSA key has 2048 bits');
my $issued = $s->enrol(%at, key => key_of(3072), challenge => $page->{challenge}, subject => 'CN=a');
issued($issued, 'the challenge is good') or BAIL_OUT('nothing is issued');
my $text = run(['openssl', 'x509', '-in', $issued->{certificate}, '-noout', '-text'])->{output};
like($text, qr/Key Usage: critical\n\s*Digital Signature, Key Encipherment\n/, 'the key usage is the directory\'s');
like($text, qr/Extended Key Usage: *\n\s*TLS Web Client Authentication\n/, 'so is the extended key usage');
my $lasts = sub { run(['openssl', 'x509', '-in', $issued->{certificate}, '-noout', '-checkend', $_[0] * 86400])->{status} };
is_deeply([map { $lasts->($_) } 44, 46], [0, 1], 'and the certificate lasts 45 days');

# ---- a SID

# szOID_NTDS_CA_SECURITY_EXT with that SID
sub sid_extension {
    my ($sid) = @_;
    my $der = sub { pack('C C', $_[0], length $_[1]) . $_[1] };
    my $name = pack('H*', '060a2b060104018237190201') . $der->(0xA0, $der->(0x04, $sid));
    return '1.3.6.1.4.1.311.25.2=DER:' . unpack 'H*', $der->(0x30, $der->(0xA0, $name));
}

my $challenge = challenge_of('alice')->{challenge};
my @of        = (%at, key => $s->work('key-3072.pem'), challenge => $challenge);
failed($s->enrol(@of, subject => 'CN=bob', ext => sid_extension($sid)), 2, q{S-12: alice's SID is refused with bob's name});
failed($s->enrol(@of, subject => 'CN=alice', ext => sid_extension('S-1-5-32-544')), 2, 'S-12: so is one of nobody');
failed($s->enrol(@of, subject => 'CN=alice', ext => '1.3.6.1.4.1.311.25.2=DER:0400'), 2, 'S-12: and what is no SID');
my $sided = $s->enrol(@of, subject => 'CN=alice', ext => sid_extension($sid));
issued($sided, 'S-12: with the name of the account the SID is issued');
like(run(['openssl', 'x509', '-in', $sided->{certificate}, '-noout', '-text'])->{output}, qr/1\.3\.6\.1\.4\.1\.311\.25\.2/,
    'and stands in the certificate');
$s->expect_log('SCEP0029: NDES-31 REFUSED: a Microsoft SID is claimed, and the subject names another account',
    'SCEP0029: NDES-31 REFUSED: a Microsoft SID is claimed, and the directory has no account with that SID',
    'SCEP0028: NDES-31 BAD_SUBJECT: the Microsoft SID of the request is of an unknown form');

# the account may change while the request waits
$ad->tool('user', 'create', 'erin', "Pw-$ad->{password}", '-H', $ad->database);
$s->{hosts} =~ s/^(SCEPPasswordMax)/SCEPApproval enrol\n$1/m or die "no SCEPPasswordMax\n";
$s->graceful;
my $waits;
ok(wait_for(sub {
        my $fresh = challenge_of('alice')->{challenge} or return 0;
        $waits = $s->enrol(@of, challenge => $fresh, subject => 'CN=erin', ext => sid_extension($ad->sid_of('erin')));
        return ($waits->{pki_status} // '') eq '3';
    }, slow(30)), 'S-12: a request with a SID waits for an administrator');
my $id = $s->waiting($waits)->{id};
$ad->tool('user', 'disable', 'erin', '-H', $ad->database);
my $approved = $s->scepctl('approve', $id);
ok($approved->{status} != 0 && $approved->{output} =~ /a Microsoft SID is claimed, and the account is disabled/,
    'S-12: his yes comes too late, as the account is disabled') or diag($approved->{output});
$ad->tool('user', 'enable', 'erin', '-H', $ad->database);
$s->scepctl_must('approve', $id);
issued($s->poll($waits, %at), 'S-12: when it is not any more he may say it again');

# ---- the list of access is changed, and the domain controller goes

my $began = time;
ok(challenge_of('alice')->{challenge}, 'whoever may is asked for again');
$ad->access('Device', SCEPSamba::deny('All Enrollees'), @access);
my $held = wait_for(sub { !challenge_of('alice')->{challenge} }, $cache + slow(10));
ok($held, 'a permission that was taken away ends');
cmp_ok(time - $began, '<=', $cache + slow(3), 'no later than the time of the cache');
challenge_of('carol'); # has her ticket, and no permission
$ad->access('Device', @access);
ok(challenge_of('alice')->{challenge}, 'one that is given holds at once');
$began = time;
$ad->stop;
ok(challenge_of('alice')->{challenge}, 'the domain controller is stopped: what is remembered holds on');
cmp_ok(time - $began, '<', $cache, 'within the time of the cache');
$s->expect_log('SCEP0075: .*\[directory corp\]: ');
no_challenge(challenge_of('carol'), 503, 'who is not remembered is put off, with neither a yes nor a no');
ok(wait_for(sub { !challenge_of('alice')->{challenge} }, $cache + slow(10)), 'then nothing is remembered any more');
no_challenge(challenge_of('alice'), 503, 'and she is put off, too');
ok(scalar(grep { /SCEP0241: .*verdict=failed reason="\[directory corp\].*user="alice/ } $s->log_lines), 'which the audit line says');

# ---- a start without the domain controller

says(check(with_directory()), qr/^\[directory corp\]: /m, 'without it nothing starts that has its templates from there');
my $alone = check(with_directory({ from_directory => 'no' }));
says($alone, qr/: ok$/m, 'what stands in ca.conf serves without it');
says($alone, qr/SCEP0380: NDES-8 \[authority default\]: its CA and templates are not checked yet: \[directory corp\]/, 'and says so');

$ad->start;
ok(wait_for(sub { challenge_of('alice')->{challenge} }, slow(20)), 'when it is back, alice gets a challenge again');

# once a minute it is looked whether anything has changed there
$ad->ldif('modify', 'dn: ' . SCEPSamba::template_dn('Device') . "\nchangetype: modify\nreplace: pKIKeyUsage\npKIKeyUsage:: "
        . SCEPSamba::b64("\x80\0") . "\n");
ok($s->logs('SCEP0381: .*pKIKeyUsage of template Device was changed in the directory', 90),
    'a template that is changed in the directory is noticed');
$s->allow_log('AH01631: user \S+: authorization failure', 'mag_', 'In Negotiate Auth', 'GSS ERROR', 'NO AUTH DATA', 'AH0180[12]', 'SCEP0381: ');
finish($s);
done_testing();
