# Where SCEP answers, and what plain HTTP asks of it. scep.md 1.1-1.3, ndes.md 2.2.
use SCEPTest;
use Encode ();
use MIME::Base64 ();

my $s = SCEPTest->up(
    host => <<'END');
AddDefaultCharset utf-8
<Location "/scep">
SetHandler scep
</Location>
<Location "/cgi-bin/pkiclient.exe">
SetHandler scep
</Location>
<Location "/strict">
SetHandler scep
SCEPCompatibility rfc8894
</Location>
<Location "/utf-16le">
SetHandler scep
SCEPPageEncoding utf-16le
</Location>
<Location "/utf-8">
SetHandler scep
SCEPPageEncoding utf-8
</Location>
<Location "/small">
SetHandler scep
SCEPMaxMessage 1024
</Location>
END
$s->expect_log('SCEP0007: method ', 'SCEP0008: operation ', 'SCEP0020: NDES-17 UNDECODABLE: ', 'SCEP0021: NDES-16 TOO_LARGE: ');
my $caps = '?operation=GetCACaps';
my $dll  = '/certsrv/mscep/mscep.dll';

# ---- every form that is in the wild

my $first = $s->get("$dll$caps");
is($first->{status}, 200, 'R-001: GetCACaps answers');
for my $form (
    qw(/certsrv/mscep /certsrv/mscep/ /certsrv/mscep/mscep.dll
    /certsrv/mscep/mscep.dll/ /certsrv/mscep/mscep.dll/pkiclient.exe
    /CertSrv/MSCEP /CERTSRV/MSCEP/MSCEP.DLL /CertSrv/mscep/mscep.dll/PkiClient.EXE
    //certsrv//mscep//mscep.dll /cert%73rv/msce%70/ /certsrv/./mscep/x/../mscep.dll
    /scep /scep/ /scep/pkiclient.exe /cgi-bin/pkiclient.exe /strict)
    )
{
    my $got = $s->get("$form$caps");
    ok($got->{status} == 200 && $got->{body} eq $first->{body}, "R-006, Q-17, Q-18: $form answers")
        or diag("$got->{status} $got->{body}");
}
# Each form that NDES's clients use, as they write it and in either letter case.
for my $form (
    qw(/certsrv/mscep/mscep.dll /certsrv/mscep/mscep.dll/pkiclient.exe /certsrv/mscep/ /certsrv/mscep
    /CertSrv/MSCEP /certsrv/mscep_admin /certsrv/mscep_admin/ /CertSrv/MSCEP_ADMIN /certsrv/mscep_admin/mscep.dll))
{
    my @who = $form =~ /admin/i ? (user => $s->credentials) : ();
    for my $spelling ($form, lc $form, uc $form) {
        is($s->get("$spelling$caps", @who)->{body}, $first->{body}, "Q-17, Q-18: $spelling answers");
        like($s->get("$spelling?operation=GetCACerts", @who)->{header}{'content-type'} // '',
            qr{^application/x-x509-ca-ra-cert$}, "$spelling answers GetCACerts too");
    }
}
for my $form (qw(/certsrv /certsrv/ /certsrv/mscepx /certsrv/mscep.dll /mscep/mscep.dll /scepx)) {
    is($s->get("$form$caps")->{status}, 404, "$form is not SCEP's");
}
is($s->get("/certsrv/mscep_admin/mscep.dll$caps")->{status},
    401, 'SCEP under the challenge page needs its credentials');
is($s->get("/certsrv/mscep_admin/mscep.dll$caps", user => $s->credentials)->{body},
    $first->{body}, 'and answers with them');

my $old = $s->get("$dll$caps", version => '1.0');
is($old->{status}, 200, 'Q-01, D-14: HTTP/1.0 without Host answers');
ok(!$old->{chunked} && $old->{whole} && defined $old->{header}{'content-length'},
    'with a Content-Length and not chunked');

# ---- GetCACaps

my @words = split /\n/, $first->{body};
is($first->{header}{'content-type'}, 'text/plain', 'R-022, Q-31: GetCACaps is text/plain, without a charset');
my %known = map { $_ => 1 } qw(AES DES3 POSTPKIOperation Renewal SCEPStandard SHA-1 SHA-256 SHA-384 SHA-512);
is_deeply([grep { !$known{$_} } @words], [], 'R-020, R-024: only what works is listed');
for my $word (qw(AES POSTPKIOperation SHA-256 SHA-384 SCEPStandard)) {
    is(scalar(grep { $_ eq $word } @words), 1, "$word is listed once");
}
unlike($first->{body}, qr/\r|^\n|\n\n|\n$/, 'R-021, Q-03: one word a line, no empty line, none at the end');
unlike($first->{body}, qr/\b(?:DES|MD5)\b/, 'R-025: neither DES nor MD5 is offered');
cmp_ok(length $first->{body}, '<', 1024, 'Q-04: short enough for certmonger');
is($s->get("$dll?operation=$_")->{body}, $first->{body}, "D-10, Q-15, Q-16, Q-20: operation=$_ is the same")
    for 'getcacaps', 'GETCACAPS', 'GetCACaps&message=', 'GetCACaps&message=ca;x=?y', 'GetCACaps&message=default',
    'GetCACaps&message=qa', 'GetCACaps&message=SCEP%20Authority%5C', 'GetCACaps&message=%00%ff%zz', 'GetCACaps&message=' . 'x' x 30_000;
is($s->get("$dll?message=x&Operation=GetCACaps")->{body},
    $first->{body}, 'Q-13, Q-15: the order of parameters and the case of names do not matter');

# ---- GetCACert

my $certs = $s->get("$dll?operation=GetCACert");
is($certs->{status}, 200, 'R-002: GetCACert answers');
is($certs->{header}{'content-type'}, 'application/x-x509-ca-ra-cert', 'R-031, Q-30: as a CA and RA list');
ok($certs->{whole} && defined $certs->{header}{'content-length'} && !$certs->{chunked},
    'with a Content-Length and not chunked');
for my $form ('GetCACerts', 'GETCACERTS', 'GetCACerts&message=1', 'getcacert', 'GetCACert&message=', 'GetCACert&message',
    'GetCACert&message=anything', 'GetCACert&message=0', 'GetCACert&message=default', 'GetCACert&message=%00%ff%zz',
    'GetCACert&message=SCEP%20Authority%5C')
{
    my $got = $s->get("$dll?operation=$form");
    ok($got->{status} == 200 && $got->{body} eq $certs->{body}
            && $got->{header}{'content-type'} eq $certs->{header}{'content-type'},
        "R-037, D-10, Q-20: operation=$form gives the same bytes");
}
my $same = grep { $_->{body} eq $certs->{body} }
    $s->many([map { $s->request_text('GET', "$dll?operation=GetCACert") } 1 .. 40]);
is($same, 40, 'R-038, Q-22: every worker gives the same bytes');

my $file = $s->work('certs.p7');
spew($file, $certs->{body});
my $printed = run(['openssl', 'cms', '-inform', 'DER', '-in', $file, '-cmsout', '-print', '-noout']);
like($printed->{output}, qr/eContentType: pkcs7-data/, 'the content type is data');
like($printed->{output}, qr/eContent: <ABSENT>/,       'R-032: the content is left out');
like($printed->{output}, qr/signerInfos:\s*<EMPTY>/,   'R-032: nobody signed it');

my $listed = $s->tool('certs', '--ca-ra', $file);
my @certs = map { { map { split /=/, $_, 2 } split /\t/ } } split /\n/, $listed->{output};
my ($ca)      = grep { $_->{ca} } @certs;
my ($signs)   = grep { !$_->{ca} && $_->{key_usage} =~ /^digitalSignature\s*$/ } @certs;
my ($decrypts) = grep { !$_->{ca} && $_->{key_usage} =~ /^keyEncipherment\s*$/ } @certs;
ok($ca && $signs && $decrypts, 'R-035, D-07, Q-76: the list has a CA, an RA that signs and an RA that decrypts')
    or diag($listed->{output});
is($ca->{subject}, $ca->{issuer}, 'R-031, Q-25: the chain goes up to the root');
is($signs->{issuer}, $ca->{subject}, 'the CA made the RA');
is(scalar @certs, 3, 'and there is nothing else');

my $fingerprint = sub {
    my $out = run(['openssl', 'x509', '-in', $_[0], '-noout', '-fingerprint', '-sha256']);
    return $out->{output};
};
run(['openssl', 'pkcs7', '-inform', 'DER', '-in', $file, '-print_certs', '-out', $s->work('all.pem')]);
my @pem = slurp($s->work('all.pem')) =~ /(-----BEGIN.*?-----END CERTIFICATE-----)/sg;
my @prints;
for my $pem (@pem) {
    spew($s->work('one.pem'), $pem);
    push @prints, $fingerprint->($s->work('one.pem'));
}
spew($s->work('ca.pem'), slurp($s->ca_cert));
ok((grep { $_ eq $fingerprint->($s->work('ca.pem')) } @prints), 'the CA is the one in ca.pem');
for my $i (0 .. $#pem) {
    spew($s->work('one.pem'), $pem[$i]);
    my $verified = run(['openssl', 'verify', '-CAfile', $s->ca_cert, $s->work('one.pem')]);
    is($verified->{status}, 0, "certificate $i hangs from the CA") or diag($verified->{output});
}

# ---- methods, sizes and broken requests

for my $method (qw(PUT DELETE PATCH OPTIONS)) {
    my $got = $s->http($method, "$dll$caps", body => '');
    is($got->{status}, 405, "R-011: $method is refused");
    my %allowed = map { $_ => 1 } split /,\s*/, $got->{header}{allow} // '';
    ok($allowed{GET} && $allowed{POST} && !$allowed{$method}, "R-011: $method: Allow says what goes")
        or diag($got->{head});
}
my $head = $s->http('HEAD', "$dll$caps");
is($head->{status}, 200, 'HEAD answers');
is($head->{body},   '',  'without a body');

is(length $s->http('HEAD', "$dll?operation=GetCACerts")->{body}, 0, 'nor has one of GetCACerts');

# ---- the information page

my %text = (
    $dll        => sub { Encode::decode('UTF-16LE', substr $_[0], 2) },
    '/utf-16le' => sub { Encode::decode('UTF-16LE', $_[0]) },
    '/utf-8'    => sub { $_[0] });
for my $path (sort keys %text) {
    my $got = $s->get($path, host => 'ndes.example:8080');
    is($got->{status}, 200, "$path without an operation: a page, with status 200");
    is($got->{header}{'content-type'}, 'text/html', 'as text/html without a charset');
    is($got->{header}{'content-length'}, length $got->{body}, 'with its length');
    is(substr($got->{body}, 0, 2) eq "\xFF\xFE" ? 1 : 0, $path eq $dll ? 1 : 0, 'with a byte order mark where that is asked for');
    my $says = $text{$path}->($got->{body});
    like($says, qr/^<HTML>[\x00-\x7F]+<\/HTML>\r\n$/, 'in the encoding that is set, to its last byte');
    like($says, qr/Network Device Enrollment Service/, 'under the name of NDES');
    like($says, qr/\(SCEP\).*certificate requests.*enrollment challenge password.*admin URL/s, 'it says what the address is for');
    like($says, qr{[ ">]http://ndes\.example:8080/CertSrv/mscep_admin[ "<]}, 'and where passwords are, under the name that was asked for');
    is($s->http('HEAD', $path)->{body}, '', 'HEAD has no body');
}
is($s->get('/strict')->{status}, 400, 'R-010: or 400 where RFC 8894 is followed');
is($s->get("$_?operation=Bogus")->{status}, 400, "R-010: $_: an unknown operation is 400") for $dll, '/strict';
is($s->get("$_?operation=GetNextCACert")->{status}, 404, "R-043, D-11: $_: GetNextCACert is refused") for $dll, '/strict';
cmp_ok($s->post("$dll?operation=GetCACert", 'x')->{status}, '<', 500, 'R-009: a POST of GetCACert is no server error');

my $plain = sub {
    my ($got, $name) = @_;
    is($got->{status}, 200, "$name: 200 as NDES does");
    isnt($got->{header}{'content-type'} // '', 'application/x-pki-message', "$name: and no pkiMessage");
};
$plain->($s->post("$dll?operation=PKIOperation", 'garbage' x 300), 'garbage');
$plain->($s->post("$dll?operation=PKIOperation", ''), 'an empty body');
$plain->($s->get("$dll?operation=PKIOperation&message=Z2FyYmFnZQ=="), 'garbage by GET');
$plain->($s->get("$dll?operation=PKIOperation&message=*"), 'no base64 at all');
$plain->($s->get("$dll?operation=PKIOperation"), 'no message');
$plain->($s->get("$dll?operation=PKIOperation&message="), 'an empty message');
# Microsoft's own test of an address sends such, and reads the status.
for my $kilobytes (1, 8, 16, 24, 31) {
    for my $begin ("\x30\x80\x06\x09", "\xff") {
        my $bytes = substr $begin . join('', map { chr($_ * 7 % 256) } 1 .. 24_000), 0, $kilobytes * 768;
        my $raw   = MIME::Base64::encode_base64($bytes, '');
        my %as    = (raw => $raw, escaped => $raw =~ s/([+\/=])/sprintf '%%%02X', ord $1/ger);
        for my $how (sort keys %as) {
            my $got = $s->get("$dll?operation=PKIOperation&message=$as{$how}");
            $plain->($got, "$kilobytes KB of garbage by GET, $how");
            unlike($got->{body}, qr/^\x30/, 'nor anything like it');
            is($s->get("/strict?operation=PKIOperation&message=$as{$how}")->{status}, 400,
                "R-069, Q-09: $kilobytes KB of garbage by GET, $how: 400 where RFC 8894 is followed");
        }
    }
}
for my $got (
    $s->post('/strict?operation=PKIOperation', 'garbage' x 300),
    $s->post('/strict?operation=PKIOperation', ''),
    $s->get('/strict?operation=PKIOperation&message=Z2FyYmFnZQ=='))
{
    is($got->{status}, 400, 'R-069, Q-09: where RFC 8894 is followed garbage is 400');
    like($got->{header}{'content-type'}, qr{^text/plain$}, 'in plain text');
}

# The answer comes although not one byte of the body was sent.
my $announced = $s->raw("POST $dll?operation=PKIOperation HTTP/1.1\r\nHost: scep.test\r\n"
        . "Connection: close\r\nContent-Length: 100000000\r\n\r\n", timeout => 10);
is($announced->{status}, 413, 'S-40: a body announced as too large is refused before it is read');
# Nor is the end of an endless body waited for.
my $chunk = sprintf("%x\r\n%s\r\n", 16384, 'x' x 16384);
my $endless = $s->raw("POST $dll?operation=PKIOperation HTTP/1.1\r\nHost: scep.test\r\n"
        . "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" . $chunk x 5, timeout => 10);
is($endless->{status}, 413, 'S-40, Q-24: a chunked body is refused once it is too large');
is($s->post("$dll?operation=PKIOperation", 'x' x 65537)->{status}, 413, 'S-40: one byte too many is too many');
isnt($s->post("$dll?operation=PKIOperation", 'x' x 65536)->{status}, 413, 'the limit itself is allowed');
is($s->get('/small?operation=PKIOperation&message=' . 'QUFB' x 400)->{status},
    413, 'S-40: the limit holds for GET too');
is($s->get("$dll?operation=PKIOperation&message=" . 'A' x 66000)->{status},
    414, 'R-008: above LimitRequestLine httpd answers');
my $whole = $s->raw("POST $dll?operation=GetCACaps HTTP/1.1\r\nHost: scep.test\r\n"
        . "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n");
cmp_ok($whole->{status}, '<', 500, 'a chunked body is read');

$s->finish;
done_testing();
