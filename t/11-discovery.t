# What a device learns before it enrols: GetCACaps, GetCACert in all its forms, GetCACertChain, the
# next CA, CA identifiers, the thumbprint. RFC 8894 3.5, 4.2, 4.7; scep.md 1.2-1.4, 2.1.
use SCEPTest;
use SCEPAuthority;

my $dll = '/certsrv/mscep/mscep.dll';
my $locations = join '', map { "<Location \"/$_->[0]\">\nSetHandler scep\n$_->[1]\n</Location>\n" }
    ['chain', 'SCEPCACert chain'], ['ca', 'SCEPCACert ca'], ['sha512', 'SCEPHashAlgorithm sha512'];
my $s = SCEPTest->ready(
    modules => ['ssl'],
    SCEPTest::hosts(
        root   => $locations,
        inter  => "SCEPAuthority inter\n$locations",
        sha1   => "SCEPAuthority inter\nSCEPThumbprint sha1\n",
        sha256 => "SCEPAuthority inter\nSCEPThumbprint sha256\n",
        strict => "SCEPMinimumHash sha256\nSCEPRenewal off\n",
        two    => "SCEPAuthority two\nSCEPMinimumHash sha256\nSCEPRenewal off\n",
        router => "SCEPCAIdentifiers \"Two=two.test Below=Inter.Test\"\n",
        weak   => "SCEPAuthority weak\nSCEPEnforcePassword off\nSCEPCAIdentifiers \"Two=two.test\"\n",
        tls    => "SSLEngine on\nSSLCertificateFile \"work/tls.pem\"\nSSLCertificateKeyFile \"work/tls.key\"\n"));
$s->expect_log('SCEP0022: NDES-17 BAD_ALG: ', 'SCEP0025: NDES-18 UNREADABLE: ', 'SCEP0026: NDES-29 CHALLENGE: ',
    'SCEP0027: NDES-29 CHALLENGE_ABSENT: ', 'SCEP0007: method get ');
$s->allow_log(qr/\[ssl:warn\]/); # the certificate made here, no session cache, the build of mod_ssl
my %dir = map { $_ => SCEPAuthority::make($s, $_) } qw(inter later);
$dir{two} = SCEPAuthority::make($s, 'two', root => 0);
SCEPAuthority::make($s, 'weak', lines => "next = two\n");
SCEPAuthority::add_lines($s, 'default', 'next = later');
SCEPAuthority::certificate($s->work('tls'), '/CN=tls.test', 'sign');
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}
my %at = map { $_ => $s->place($_) } @{ $s->{names} };

sub at { my ($name, $target, %o) = @_; return $s->get($target, %{ $at{$name} }, %o) }

sub fingerprint {
    my ($file, $digest) = @_;
    my ($hex) = run(['openssl', 'x509', '-in', $file, '-noout', '-fingerprint', "-$digest"])->{output} =~ /=(.*)/;
    return $hex =~ s/://gr;
}

# The certificates of a degenerate SignedData, by fingerprint, as the openssl command lists them.
my $number = 0;

sub listed {
    my ($body) = @_;
    my $file = $s->work('list' . ++$number);
    spew($file, $body);
    my $all = run(['openssl', 'pkcs7', '-inform', 'DER', '-in', $file, '-print_certs'])->{output};
    my @prints;
    for my $pem ($all =~ /(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)/sg) {
        spew("$file.pem", $pem);
        push @prints, fingerprint("$file.pem", 'sha256');
    }
    return @prints;
}

my %print = (
    (map { my $name = $_; map { ("$name $_" => fingerprint("$dir{$name}/$_.pem", 'sha256')) } qw(issuing ra-sign ra-decrypt) } keys %dir),
    (map { ("$_ root" => fingerprint("$dir{$_}/root.pem", 'sha256')) } qw(inter later)),
    'root issuing' => fingerprint($s->ca_cert, 'sha256'));
my %who = reverse %print;

sub names { return map { $who{$_} // 'unknown' } listed(@_) }

# ---- GetCACert: full, chain, ca

my $full = at('inter', "$dll?operation=GetCACert");
is($full->{header}{'content-type'}, 'application/x-x509-ca-ra-cert', 'R-031: the chain of an intermediate CA is a list');
is_deeply([names($full->{body})], ['inter ra-sign', 'inter ra-decrypt', 'inter issuing', 'inter root'],
    'R-031, R-033, R-035, D-07, Q-25: the RA, the CA and its root, in this order');
my $shorter = at('inter', '/chain?operation=GetCACert');
is($shorter->{header}{'content-type'}, 'application/x-x509-ca-ra-cert', 'R-031: without the root it is a list too');
is_deeply([names($shorter->{body})], ['inter ra-sign', 'inter ra-decrypt', 'inter issuing'],
    'Q-25: SCEPCACert chain leaves the root out');
is(scalar listed(at('root', '/chain?operation=GetCACert')->{body}), 3, 'R-035: a CA that is its own root stays');
for my $case (['inter', "$dir{inter}/issuing.pem"], ['root', $s->ca_cert]) {
    my ($name, $pem) = @$case;
    my $one = at($name, '/ca?operation=GetCACert');
    is($one->{header}{'content-type'}, 'application/x-x509-ca-cert', "R-030, Q-75: $name: one certificate has its own type");
    spew($s->work('one.der'), $one->{body});
    my $again = run(['openssl', 'x509', '-inform', 'DER', '-in', $s->work('one.der'), '-outform', 'DER', '-out', $s->work('again.der')]);
    is($again->{status}, 0, "R-030: $name: it is a certificate");
    ok(slurp($s->work('again.der')) eq $one->{body}, "R-030: $name: to the last byte");
    spew($s->work('one.pem'), run(['openssl', 'x509', '-inform', 'DER', '-in', $s->work('one.der')])->{output});
    is(fingerprint($s->work('one.pem'), 'sha256'), fingerprint($pem, 'sha256'), "R-030, R-036: $name: the issuing CA's");
}

# ---- GetCACertChain, which only certmonger asks for

for my $case (['inter', $dll, $full], ['inter', '/chain', $shorter], ['inter', '/ca', $full]) {
    my ($name, $path, $like) = @$case;
    my $chain = at($name, "$path?operation=GetCACertChain");
    is($chain->{status}, 200, "Q-21: $path: GetCACertChain answers");
    is($chain->{header}{'content-type'}, 'application/x-x509-ca-ra-cert-chain', "Q-21: $path: with the type of others");
    ok($chain->{body} eq $like->{body}, "Q-21: $path: with the RA and the chain");
}

# ---- every answer is the same bytes, whoever gives it

for my $operation (qw(GetCACaps GetCACert GetCACertChain)) {
    my $first = at('inter', "$dll?operation=$operation")->{body};
    my $same  = grep { $_->{body} eq $first }
        $s->many([map { $s->request_text('GET', "$dll?operation=$operation", %{ $at{inter} }) } 1 .. 60], %{ $at{inter} });
    is($same, 60, "R-038, Q-22: $operation gives the same bytes each time");
}

# ---- GetCACaps follows the settings

my %caps = map { my $name = $_; ($name => { map { $_ => 1 } split /\n/, at($name, "$dll?operation=GetCACaps")->{body} }) }
    qw(root inter strict);
is_deeply([map { $caps{$_}{GetNextCACert} // 0 } qw(root inter)], [1, 0], 'R-024: GetNextCACert is listed where there is a next CA');
is_deeply([map { $caps{$_}{Renewal} // 0 } qw(root strict)], [1, 0], 'R-024: Renewal is listed where it is served');
is_deeply([map { $caps{$_}{'SHA-1'} // 0 } qw(root strict)], [1, 0], 'R-024, S-18: SHA-1 where it is accepted');
ok($caps{$_}{"SHA-256"} && $caps{$_}{AES} && $caps{$_}{POSTPKIOperation} && $caps{$_}{SCEPStandard},
    "R-023, R-028: $_: SCEPStandard, and what it means by name") for qw(root inter strict);
ok($caps{$_}{'SHA-384'}, "Q-02: $_: SHA-384, without which strongSwan 5.9.8 does not enrol") for qw(root inter strict);
is_deeply([grep { /\./ } map { keys %$_ } values %caps], [], 'R-027: no private keyword without its prefix');
issued($s->enrol(at => $at{strict}, cipher => 'aes128', digest => 'sha256', subject => 'CN=standard'),
    'R-023: AES-128-CBC, SHA-256 and POST are enough to enrol');

# ---- GetNextCACert

my $next = $s->next_ca_ra(%{ $at{root} });
is($next->{http}{status}, 200, 'R-040: GetNextCACert answers where there is a next CA') or diag($next->{why});
is($next->{http}{header}{'content-type'}, 'application/x-x509-next-ca-cert', 'R-040: with its type');
is($next->{why}, undef, 'R-040, R-045: it is signed by a certificate of GetCACert');
is_deeply([@$next{qw(content_type signer_sent certs next_in_outer)}], ['pkcs7-data', 1, 4, 4],
    'R-040, R-041, Q-43: content, signer and the new certificates, outside as well');
spew($s->work('next.der'), $next->{http}{body});
my $verified = run(['openssl', qw(cms -verify -inform DER -purpose any -in), $s->work('next.der'), '-CAfile', $s->ca_cert,
    '-out', $s->work('next.p7')]);
is($verified->{status}, 0, 'R-040, D-11: the openssl command verifies it with the current CA') or diag($verified->{output});
is_deeply([names(slurp($s->work('next.p7')))], ['later issuing', 'later root', 'later ra-sign', 'later ra-decrypt'],
    'R-041: it holds the next CA, its chain and its RA');
my $inner = run(['openssl', qw(cms -inform DER -cmsout -print -noout -in), $s->work('next.p7')])->{output};
like($inner, qr/eContent: <ABSENT>/, 'R-042: what is inside has no content');
like($inner, qr/signerInfos:\s*<EMPTY>/, 'R-042: and nobody signed it');
is(at('root', "$dll?operation=$_")->{header}{'content-type'}, 'application/x-x509-next-ca-cert', "D-10, Q-15: operation=$_ too")
    for 'getnextcacert', 'GetNextCACert&message=x';
spew($s->work('next512.der'), at('root', '/sha512?operation=GetNextCACert')->{body});
like(run(['openssl', qw(cms -inform DER -cmsout -print -noout -in), $s->work('next512.der')])->{output},
    qr/signerInfos:.*?digestAlgorithm:\s*algorithm: sha512/s, 'R-040: SCEPHashAlgorithm chooses its digest');
my $none = at('inter', "$dll?operation=GetNextCACert");
is($none->{status}, 404, 'R-043, R-024, R-045, D-11: without a next CA it is refused');
unlike($none->{header}{'content-type'}, qr/x509/, 'R-045: and nothing like a certificate is sent');

# ---- a request enveloped to the next CA is answered by the next CA

my %to_next = (at => $at{root}, ca_ra => $next->{ca_ra});
my $rolled = $s->enrol(%to_next, subject => 'CN=rolled over');
issued($rolled, 'R-044: a request enveloped to the next RA is granted');
is_deeply([@$rolled{qw(issued_by_ca_ra signer_in_ca_ra verified)}], [1, 1, 1],
    'R-044, Q-37: by the next CA, and its RA signs the answer');
is(run(['openssl', 'verify', '-CAfile', "$dir{later}/chain.pem", $rolled->{certificate}])->{status}, 0,
    'R-044: the openssl command finds the next CA above it');
my $stays = $s->enrol(at => $at{root}, subject => 'CN=stays');
is_deeply([@$stays{qw(issued_by_ca_ra signer_in_ca_ra)}], [1, 1], 'R-044: one enveloped to the current RA by the current one');
failed($s->enrol(%to_next, challenge => 'wrong', subject => 'CN=wrong'), 2, 'R-044: the next CA asks for a challenge too');

# ---- CA identifiers

for my $operation (qw(GetCACaps GetCACert GetCACertChain)) {
    my %own = map { $_ => at($_, "$dll?operation=$operation") } qw(router two inter);
    my $ask = sub { return at('router', "$dll?operation=$operation&message=$_[0]") };
    ok($ask->($_)->{body} eq $own{two}{body}, "D-10, Q-20, R-037: $operation, message=$_ chooses its endpoint") for qw(Two two TWO %54wo);
    ok($ask->('Below')->{body} eq $own{inter}{body}, "D-10: $operation: a second identifier chooses another");
    for my $unknown ('', 'CAIdentifier', '0', 'Two%20', 'Tw', 'two.test', 'root') {
        my $got = $ask->($unknown);
        ok($got->{status} == 200 && $got->{body} eq $own{router}{body},
            "D-10, Q-20, R-037: $operation: '$unknown' is nobody's, the section's own endpoint answers");
    }
}
is(at('router', "$dll?operation=GetNextCACert&message=two")->{status}, 404, 'D-10, R-043: GetNextCACert is chosen too: this one has no next');
is(at('router', "$dll?operation=GetNextCACert&message=other")->{status}, 200, 'D-10, R-043: and the section\'s own has one');
ok(at('inter', "$dll?operation=GetCACert&message=Two")->{body} eq $full->{body},
    'Q-20: where no identifiers are configured there are none');

# A PKIOperation names nobody: its envelope does.
my %via_router = (via => $at{two}, send => $at{router});
issued($s->enrol(%via_router, challenge => $s->mint(%{ $at{two} }), subject => 'CN=two'),
    'D-10: what is enveloped to an endpoint of the list is served at the common address');
failed($s->enrol(%via_router, challenge => $s->mint(%{ $at{router} }), subject => 'CN=two'), 2,
    'D-10: by that endpoint\'s challenges only');
failed($s->enrol(%via_router, challenge => 'x', digest => 'sha1', subject => 'CN=two'), 0,
    'D-10, S-18: and by its rules: SHA-1 is not accepted there');
issued($s->enrol(at => $at{router}, digest => 'sha1', subject => 'CN=own'), 'D-10: the section\'s own endpoint has its own');
failed($s->enrol(via => $at{two}, send => $at{inter}, challenge => 'x', subject => 'CN=two'), 2,
    'R-063: without identifiers the RA of another endpoint is nobody\'s');

# The other endpoint's CA is also the next one of this section, whose own endpoint asks for no challenge.
my $chosen = $s->work('chosen');
spew($chosen, at('weak', "$dll?operation=GetCACert&message=two")->{body});
my %via_weak = (ca_ra => $chosen, send => $at{weak});
failed($s->enrol(%via_weak, challenge => undef, subject => 'CN=two'), 2,
    'D-10, S-04: what is enveloped to an identifier\'s RA is held to that endpoint\'s rules, even where its CA is the next one');
issued($s->enrol(%via_weak, challenge => $s->mint(%{ $at{two} }), subject => 'CN=two'), 'D-10: and served by them');
is(($s->query('SELECT endpoint FROM scep_certificate ORDER BY rowid DESC LIMIT 1'))[0]{endpoint}, 'two.test',
    'D-10: as a request of that endpoint');
issued($s->enrol(at => $at{weak}, challenge => undef, subject => 'CN=own'), 'D-10: the section\'s own endpoint asks for none');

# ---- thumbprints: of the top of the chain, by which Apple compares

for my $case (['inter', 'md5'], ['sha1', 'sha1'], ['sha256', 'sha256']) {
    my ($name, $digest) = @$case;
    my $page = $s->decode_page($s->admin_page(%{ $at{$name} })->{body});
    my ($shown) = $page =~ /The thumbprint \(hash value\) for the CA certificate is: <B> ([0-9A-F ]*) </;
    is(($shown // '') =~ s/ //gr, fingerprint("$dir{inter}/root.pem", $digest),
        "R-036, D-15, Q-74: the challenge page shows the $digest fingerprint of the root");
}

# ---- what no module can mend

is($s->raw("GET $dll?operation=GetCACaps HTTP/1.1\r\nConnection: close\r\n\r\n")->{status}, 400,
    'Q-06: HTTP/1.1 without Host is refused by httpd');
is($s->raw("GET $dll?operation=GetCACaps&message=a\nb HTTP/1.1\r\nHost: root.test\r\nConnection: close\r\n\r\n")->{status}, 400,
    'Q-19: so is a line break in a request line');
is($s->raw("get $dll?operation=GetCACaps HTTP/1.1\r\nHost: root.test\r\nConnection: close\r\n\r\n")->{status}, 405,
    'Q-26: a method in lower case is another method');

SKIP: {
    skip('curl is not installed', 2) if !have('curl') && ($ENV{CI} // '') ne 'true';
    my $tls = run(['curl', '-sk', '--max-time', 20, "https://127.0.0.1:$at{tls}{port}$dll?operation=GetCACaps"]);
    is($tls->{status}, 0, 'R-165: https is served') or diag($tls->{output});
    is($tls->{output}, join("\n", sort keys %{ $caps{root} }), 'R-165: with the same answers');
}

$s->finish;
done_testing();
