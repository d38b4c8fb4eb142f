# Which RA answers, and how: RAs that come and go while httpd serves, the chain in an answer, the
# presets for kinds of clients, limits that never refuse a good request, and what is refused at start.
# scep.md 0.3, 1.4, 2.2, 2.3; RFC 8894 2.3, 3.3.2, 5.1.
use SCEPTest;
use SCEPAuthority;

my @one_process = (server => "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\nMinSpareThreads 5\n");
my $dll = '/certsrv/mscep/mscep.dll';
my $s = SCEPTest->ready(
    @one_process,
    modules => ['remoteip'],
    SCEPTest::hosts(
        plain   => "SCEPAuthority inter\n<Location \"/full\">\nSetHandler scep\nSCEPResponseChain full\n</Location>\n",
        apple   => "SCEPAuthority inter\nSCEPClientProfile apple\n",
        cisco   => "SCEPAuthority inter\nSCEPClientProfile cisco\n",
        juniper => "SCEPAuthority inter\nSCEPClientProfile juniper\n",
        windows => "SCEPAuthority inter\nSCEPClientProfile windows\n",
        own     => "SCEPAuthority inter\nSCEPClientProfile cisco\nSCEPResponseChain none\nSCEPRenewalByPKCSReq off\n",
        second  => "SCEPEndpoint cisco.test\n",
        few     => "SCEPFailedMax 3\n",
        each    => "SCEPFailedMax 3\nSCEPRenewalByPKCSReq on\nRemoteIPHeader X-Device\n",
        waits   => "SCEPFailedMax 3\nSCEPApproval enrol\n",
        quiet   => "SCEPFailInfoText off\n",
        mints   => "SCEPMintMax 3\n",
        open    => "SCEPEnforcePassword off\n",
        aged    => "SCEPAuthority aged\n"));
$s->allow_log('SCEP00\d\d: NDES-');
my $partner = $s->work('partner');
SCEPAuthority::certificate($s->work('trusted'), '/CN=trusted', 'ca');
SCEPAuthority::certificate($partner, '/CN=partner', 'device', $s->work('trusted'));
my $inter = SCEPAuthority::make($s, 'inter', lines => 'renewal_ca = ' . $s->work('trusted.pem') . "\n");
# Ten days of eleven are over: scep-ca makes another RA as soon as it starts.
my $aged = SCEPAuthority::make($s, 'aged', ra => [-10, 1]);
my $stranger = $s->work('stranger');
SCEPAuthority::certificate($s->work('foreign'), '/CN=foreign', 'ca');
SCEPAuthority::certificate($stranger, '/CN=stranger', 'sign', $s->work('foreign'));
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}
my %at = map { $_ => $s->place($_) } @{ $s->{names} };
my ($key, $other_key) = map { $s->work("key$_.pem") } 1, 2;
SCEPAuthority::openssl('genrsa', '-out', $_, '2048') for $key, $other_key;

sub at { my ($name, $target, %o) = @_; return $s->get($target, %{ $at{$name} }, %o) }

my $number = 0;

sub enrol { my ($name, %o) = @_; return $s->enrol(at => $at{$name}, key => $key, subject => 'CN=device ' . ++$number, %o) }

# ---- the presets, seen from outside

my %wanted = (    # certificates in an answer, the root in GetCACert, PKCSReq as renewal
    plain   => [1, 1, 0],
    apple   => [1, 1, 1],
    cisco   => [2, 1, 1],
    juniper => [1, 0, 0],
    windows => [1, 1, 1],
    own     => [1, 1, 0]);
my %who = (
    plain => 'no preset', apple => 'Q-41, Q-25, Q-65: Apple', cisco => 'Q-41, Q-65: Cisco', juniper => 'Q-41: Juniper',
    windows => 'Q-25, Q-65: Windows', own => 'Q-41: what is written wins over Cisco\'s preset');
for my $name (sort keys %wanted) {
    my $reply = enrol($name);
    issued($reply, "$who{$name}: enrols");
    my $list = at($name, "$dll?operation=GetCACert")->{body};
    spew($s->work('list'), $list);
    my $printed = run(['openssl', 'pkcs7', '-inform', 'DER', '-in', $s->work('list'), '-print_certs', '-noout'])->{output};
    my $again = $s->renew($reply, at => $at{$name}, type => 19, challenge => undef);
    is_deeply([$reply->{certs}, $printed =~ /^subject=CN = inter root$/m ? 1 : 0, ($again->{pki_status} // '') eq '0' ? 1 : 0],
        $wanted{$name}, "$who{$name}: the chain it gets, the root it sees, its way to renew")
        or diag($printed, SCEPTest::describe($again));
}
is(enrol('second')->{certs}, 2, 'Q-41: a preset is its endpoint\'s, in every section of it');
my $full = enrol('plain', send => { path => '/full' });
is($full->{certs}, 3, 'Q-41: SCEPResponseChain full adds the CA and its root');
my @subjects = run(['openssl', 'crl2pkcs7', '-nocrl', '-certfile', $full->{chain}])->{output};
spew($s->work('chain.p7'), @subjects);
@subjects = run(['openssl', 'pkcs7', '-in', $s->work('chain.p7'), '-print_certs', '-noout'])->{output} =~ /^subject=(.*)$/mg;
is_deeply(\@subjects, ["CN = device $number", 'CN = inter CA', 'CN = inter root'], 'Q-42, D-04: the device\'s first, and no RA among them');

# ---- PKCSReq signed by the certificate of another CA

my %as_stranger = (signer => "$stranger.pem", signer_key => "$stranger.key");
issued(enrol($_, %as_stranger, key => "$stranger.key"),
    "R-094, S-10: $_: signed with the key that is asked for: an enrolment, whoever issued the signer's certificate")
    for qw(plain cisco);
for my $name (qw(plain cisco)) {
    my $challenge = $s->mint(%{ $at{$name} });
    my %reply = map { $_ => enrol($name, %as_stranger, key => $other_key, challenge => $challenge, spoil => $_) } qw(encrypted-key padding csr);
    $reply{none} = enrol($name, %as_stranger, key => $other_key, challenge => $challenge);
    failed($reply{$_}, 2, "R-082, R-094, S-10: $name: another's key, envelope spoiled: $_") for sort keys %reply;
    my %different = map { length($_->{http}{body}) . ($_->{fail_info_text} // '') => 1 } values %reply;
    is(scalar keys %different, 1, "S-15, S-16: $name: whatever is in the envelope, the answer is one") or diag(explain(\%different));
    issued(enrol($name, challenge => $challenge), "S-10: $name: the challenge was not used up");
}

my %as_partner = (signer => "$partner.pem", signer_key => "$partner.key", key => $other_key, subject => 'CN=partner', challenge => undef);
issued(enrol('cisco', %as_partner), 'R-103, R-104: a PKCSReq signed by a certificate of renewal_ca renews where PKCSReq may');
failed(enrol('plain', %as_partner), 2, 'R-094, S-06: and not where it may not');

# ---- keys that cannot be encrypted to

my $ec = enrol('plain', key => undef, key_type => 'p256');
issued($ec, 'R-092, Q-60: an EC client with a challenge is answered');
is($ec->{recipient}, 'password', 'R-092, Q-60: by that password');
my $count = $s->certificates;
failed(enrol('open', key => undef, key_type => 'p256', challenge => undef), 0, 'R-092, Q-60: without one it is badAlg');
is($s->certificates, $count, 'R-092: and nothing was issued that could not be delivered');
issued(enrol('open', challenge => undef), 'an RSA client needs none there');
$count = $s->certificates;
# a CSR that somebody changed on its way, with the challenge of whoever made it
for my $what ([], [data => 'nonsense'], [challenge => 'captured', spoil => 'csr']) {
    failed($s->renew($ec, at => $at{plain}, @$what), 0, "R-092, Q-60, S-15: nor can its renewal be answered, whatever is inside: @$what");
}
is($s->certificates, $count, 'R-092: and nothing was issued');
is($s->renew($ec, at => $at{plain}, challenge => 'any')->{recipient}, 'password', 'R-092, Q-60: with a challenge its renewal is, by that password');

# ---- what is said of a failure

my $quiet = enrol('quiet', challenge => 'wrong');
failed($quiet, 2, 'R-144: SCEPFailInfoText off: refused all the same');
is($quiet->{fail_info_text}, undef, 'R-144, S-29: without a text');
like(enrol('plain', challenge => 'wrong')->{fail_info_text}, qr/challenge/, 'R-144: otherwise with one');
my $odd = enrol('plain', challenge => 'wrong', transaction_id => 'back\\slash');
failed($odd, 2, 'S-13: an odd transactionID is refused as any');
ok($s->logs(qr/SCEP0026: .*\(transaction back\\\\slash, /), 'S-13: its backslash is escaped once in the log')
    or diag(grep { /back/ } $s->log_lines);

# ---- limits that refuse no good request

my @wrong = map { enrol('few', challenge => 'wrong') } 1 .. 8;
my @over = grep { $_->{http}{status} == 429 } @wrong;
cmp_ok(scalar @over, '>=', 4, 'S-27: beyond SCEPFailedMax a wrong challenge is answered by 429');
like($over[0]{http}{header}{'retry-after'} // '', qr/^[1-9]\d*$/, 'S-27: with Retry-After') if @over;
issued(enrol('few'), 'S-27: a good request from the same address is served');
# one may have become free by the time that has gone
ok((grep { enrol('few', challenge => 'wrong')->{http}{status} == 429 } 1, 2), 'S-27: which changes nothing for the bad ones');
my $kept = $s->mint(%{ $at{few} });
my @junk = map { enrol('few', challenge => $kept, spoil => 'padding') } 1 .. 8;
cmp_ok(scalar(grep { $_->{http}{status} == 429 } @junk), '>=', 4, 'S-15, S-27, S-45: so is what does not decrypt');
failed($junk[0], 2, 'S-15: the first few are refused as ever');
issued(enrol('few', challenge => $kept), 'S-27: a good request is served, with the same challenge');

# Whatever a refusal is for, its signature is not to be had without end, nor an answer on what an
# envelope holds. Each kind comes from an address of its own.
my ($ec_key, $ec_cert) = map { $s->work("ec.$_") } qw(key pem);
SCEPAuthority::openssl(qw(genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out), $ec_key);
SCEPAuthority::openssl(qw(req -x509 -new -subj /CN=nobody -days 3 -key), $ec_key, '-out', $ec_cert);
my %as_nobody = (type => 17, challenge => undef, signer => $ec_cert, signer_key => $ec_key);
my $unsent = $s->build(via => $at{each}, subject => 'CN=unsent', challenge => 'unsent');
my @limited = (
    ['a RenewalReq of a self-signed EC certificate', 2, %as_nobody],
    ['the same with an envelope that cannot be read', 2, %as_nobody, data => 'nonsense'],
    ['a PKCSReq of another CA\'s certificate with an envelope that cannot be read', 2, %as_stranger, challenge => undef, data => 'nonsense'],
    ['a RenewalReq of another CA\'s certificate', 2, %as_stranger, type => 17, challenge => undef],
    ['an algorithm that is not accepted', 0, digest => 'md5', challenge => 'x'],
    ['a service that is off', 2, type => 21, serial => '01', challenge => undef],
    ['a CertPoll of what was never asked for', 4, poll => $unsent, key => undef, subject => undef, challenge => undef],
    ['a name that is not acceptable', 2, subject => ''],
);
my $last = 0;

sub from { return (at => { %{ $at{each} }, headers => ["X-Device: $_[0]"] }) }

for my $case (@limited) {
    my ($name, $fail_info, %o) = @$case;
    my %from = from('192.0.2.' . ++$last);
    my @answers = map { $s->enrol(key => $key, subject => 'CN=refused', %o, %from) } 1 .. 8;
    failed($answers[0], $fail_info, "S-27: $name: refused as ever at first");
    my @late = grep { $_->{http}{status} == 429 } @answers;
    cmp_ok(scalar @late, '>=', 4, "S-15, S-27, S-45: $name: 429 beyond SCEPFailedMax");
    is_deeply([grep { !($_->{http}{header}{'retry-after'} // '') || $_->{http}{body} =~ /^\x30/ } @late], [],
        "S-27: $name: with Retry-After and without a signature");
    issued($s->enrol(key => $key, subject => "CN=good $last", %from), "S-27: $name: a good request from that address is served");
}
my %nobody = map { my ($n, @data) = @$_; $n => $s->ask(%as_nobody, key => $key, subject => 'CN=x', @data, from("192.0.2.10$n")) }
    [1], [2, data => 'nonsense'], [3, challenge => 'captured'];
is(scalar(keys %{ { map { join(' ', @$_{qw(pki_status fail_info fail_info_text)}) => 1 } values %nobody } }), 1,
    'S-15, S-16: whatever a nobody\'s RenewalReq with an EC key holds, the answer is one')
    or diag(map { SCEPTest::describe($_) . "\n" } values %nobody);

# Who has an IPv6 address has 2^64 of them.
for my $case (['challenges', challenge => 'wrong'], ['envelopes', challenge => 'x', data => 'nonsense']) {
    my ($name, %o) = @$case;
    my $net = '2001:db8:' . ++$last;
    my @answers = map { $s->enrol(key => $key, subject => 'CN=six', %o, from("${net}::$_:1")) } 1 .. 8;
    cmp_ok(scalar(grep { $_->{http}{status} == 429 } @answers), '>=', 4, "S-27: wrong $name: an IPv6 network of 64 bits is one address");
    failed($s->enrol(key => $key, subject => 'CN=six', %o, from("${net}:1::1:1")), 2, "S-27: wrong $name: and another is another");
}

my @polled = map { $s->poll({ request => $unsent }, at => $at{waits}) } 1 .. 8;
cmp_ok(scalar(grep { $_->{http}{status} == 429 } @polled), '>=', 4, 'S-27: beyond SCEPFailedMax a CertPoll of nothing is 429');
my $waits = enrol('waits');
pending($waits, 'S-27: what waits for approval is no failure');
pending($s->poll($waits, at => $at{waits}), "S-27: nor is asking after it: $_") for 1 .. 8;
$s->expect_log('SCEP0035: NDES-31 TOO_OFTEN: ', 'SCEP0078: ');
my @minted = map { $s->admin_page(%{ $at{mints} }) } 1 .. 5;
is_deeply([map { $_->{status} } @minted], [200, 200, 200, 429, 429], 'S-27: beyond SCEPMintMax the challenge page is 429');
like($minted[4]{header}{'retry-after'} // '', qr/^[1-9]\d*$/, 'S-27: with Retry-After');

# ---- RAs that come and go

my $former = SCEPAuthority::list($s, $aged);
my $current = $s->ca_ra(%{ $at{aged} });
my $had = $s->tool('certs', '--ca-ra', $former)->{output};
my $has = $s->tool('certs', '--ca-ra', $current)->{output};
is(scalar(grep { index($had, $_) >= 0 } grep { /ca=0/ } split /\n/, $has), 0, 'Q-37: scep-ca replaced an RA that is about to end');
my $new_ra = enrol('aged');
is_deeply([@$new_ra{qw(pki_status signer_in_ca_ra)}], [0, 1], 'Q-37, R-147: what is enveloped to the new RA is answered by it');
my $old_ra = enrol('aged', ca_ra => $former);
is_deeply([@$old_ra{qw(pki_status signer_in_ca_ra)}], [0, 1], 'Q-37, R-147: what is enveloped to the former one still is, by that one');
my $foreign_ra = enrol('aged', ca_ra => $former, recipient => "$stranger.pem");
failed($foreign_ra, 2, 'R-063, Q-53: what is enveloped to somebody else is refused');
is($s->open_reply($foreign_ra->{request}, $foreign_ra->{http}, ca_ra => $current)->{signer_in_ca_ra}, 1,
    'Q-37: and the current RA says so');
my $signing = enrol('plain', recipient => "$inter/ra-sign.pem");
issued($signing, 'Q-53: a client may take the wrong one of two RA certificates');

# Another scep-ca with another RA, as another node may have one: the workers, which live on, know the
# old one. What is enveloped to the new one makes them ask.
my $before = at('plain', "$dll?operation=GetCACert")->{body};
my @old_ca = $s->ca_pids;
my @workers = $s->worker_pids;
SCEPAuthority::make_ra($inter, 'inter');
my $list = SCEPAuthority::list($s, $inter);
my $request = $s->build(
    ca_ra => $list, key => $key, subject => 'CN=newer RA', challenge => $s->mint(%{ $at{plain} }));
kill 'KILL', @old_ca;
$s->expect_log('SCEP0102: ');
ok($s->logs(qr/SCEP0104: /, 20), 'another scep-ca serves');
my $reply;
my $sent = $s->send_request($request, %{ $at{plain} });
$reply = $s->open_reply($request, $sent, ca_ra => $list);
issued($reply, 'Q-37: a request enveloped to an RA that the workers do not know yet is served');
is($reply->{signer_in_ca_ra}, 1, 'Q-37: by that RA');
my $after = at('plain', "$dll?operation=GetCACert")->{body};
ok($after ne $before && $after eq slurp($list), 'Q-37: and GetCACert gives it from then on')
    or diag($s->tool('certs', '--ca-ra', $list)->{output});
# Nobody enrols at this endpoint any more: its worker looks by itself, once a minute.
my $seen = wait_for(sub { select undef, undef, undef, 0.5; at('apple', "$dll?operation=GetCACert")->{body} eq slurp($list) }, slow(75));
ok($seen, 'Q-37: an endpoint where nothing is enrolled gives it within a minute');
is_deeply([sort $s->worker_pids], [sort @workers], 'Q-37: no worker was started anew for it');
my $lost = enrol('plain', ca_ra => $list, recipient => "$stranger.pem");
failed($lost, 2, 'R-063: an unknown recipient is refused as ever');

$s->finish;

# ---- what is refused at start

my $c = SCEPTest->ready(SCEPTest::hosts(a => ''));
SCEPAuthority::make($c, 'second', root => 0);

# Two hosts: a.test with the given lines, and b.test.
sub tested {
    my ($lines, $b) = @_;
    my %hosts = SCEPTest::hosts(a => $lines);
    my $first = $hosts{hosts};
    (my $other = $first) =~ s/a\.test/b.test/;
    $other =~ s/\Q$lines\E/$b/;
    $c->{hosts} = $first . $other;
    return $c->configtest;
}

my $second = "SCEPAuthority second\n";
my $good = tested("SCEPCAIdentifiers \"x=b.test y=B.test z=a.test\"\n", $second);
is($good->{status}, 0, 'D-10: identifiers of endpoints that can be told apart are accepted') or diag($good->{output});
for my $case (
    ['x=c.test', $second, qr/'x=c\.test': no section belongs to such an endpoint/, 'an endpoint that does not exist'],
    ['b.test', $second, qr/'b\.test' is not IDENTIFIER=ENDPOINT/, 'a word that is no pair'],
    ['=b.test', $second, qr/is not IDENTIFIER=ENDPOINT/, 'a pair without an identifier'],
    ['x=', $second, qr/is not IDENTIFIER=ENDPOINT/, 'a pair without an endpoint'],
    ['x=b.test X=a.test', $second, qr/'X' stands there twice/, 'an identifier that stands there twice'],
    ['x=b.test', '', qr/'a\.test' and 'b\.test' share the authority 'default'/, 'an endpoint of the same authority'])
{
    my ($text, $b, $says, $name) = @$case;
    my $refused = tested("SCEPCAIdentifiers \"$text\"\n", $b);
    isnt($refused->{status}, 0, "D-10: $name is refused");
    like($refused->{output}, $says, "D-10: $name: the line says so");
    like($refused->{output}, qr/SCEPCAIdentifiers \(\S+:\d+\): /, "D-10: $name: and where it stands");
}
my $located = tested("<Location \"/x\">\nSetHandler scep\nSCEPCAIdentifiers \"x=nowhere\"\n</Location>\n", $second);
like($located->{output}, qr/'x=nowhere'/, 'D-10: a <Location> is looked at too');
my $legacy = tested("SCEPLegacyAlgorithms on\n", $second);
is($legacy->{status}, 0, 'D-16, R-163: SCEPLegacyAlgorithms is accepted');
is(scalar(() = $legacy->{output} =~ /SCEP0041: SCEPLegacyAlgorithms is on for a\.test: /g), 1, 'D-16, R-163: with one warning');
unlike($good->{output}, qr/SCEP0041/, 'D-16: which is not there without it');
$c->end;
done_testing();
