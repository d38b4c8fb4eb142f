# Keys in tokens: a CA and an RA that httpd and scep-ca use and cannot read, and every way in which
# that can go wrong. RFC 7512; docs/connectors.md, "Keys in tokens".
use SCEPTest;
use SCEPAuthority;
use File::Copy ();

need_program(qw(softhsm2-util pkcs11-tool));
my ($softhsm) = grep { -e } map { ("/usr/$_/softhsm/libsofthsm2.so", "/usr/$_/pkcs11/libsofthsm2.so", "/usr/$_/softhsm/libsofthsm.so") }
    qw(lib lib64);
BAIL_OUT('softhsm2 is here, and its module is not') if !$softhsm;
my $faulty = SCEPServer::built('t/tool/hsm_module.so');
SCEPNamespace::unable('built without p11-kit: no keys in tokens') if !-e $faulty;

my $s = SCEPTest->ready(
    ca     => 'p256',
    server => "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\nMinSpareThreads 5\n",
    SCEPTest::hosts(p256 => '', rsa => "SCEPAuthority rsa\n"));
my $dir = $s->dir;
my $rsa = SCEPAuthority::make($s, 'rsa', ra => [-10, 1]);    # scep-ca makes a new RA certificate at once
my $pin = '7' . SCEPServer::random_hex(8);
my $ra_pin = '8' . SCEPServer::random_hex(8);

# ---- the tokens: what httpd's user logs in to is one, what it must not is another

sub must {
    my (@words) = @_;
    my $ran = run([@words], timeout => slow(60));
    BAIL_OUT("$words[0]: $ran->{output}") if $ran->{status} != 0;
    return $ran->{output};
}

sub key_import {
    my ($file, $token, $its_pin, $label, $id) = @_;
    must('softhsm2-util', '--import', $file, '--token', $token, '--pin', $its_pin, '--label', $label, '--id', $id);
    return;
}

# The folder of a token, for whom it is.
sub give {
    my ($folder, $user, $mode) = @_;
    for my $path (glob("$folder/*"), $folder) {
        chmod(-d $path ? $mode : $mode & 0666, $path) or BAIL_OUT("$path: $!");
        chown((getpwnam $user)[2, 3], $path) or BAIL_OUT("$path: $!") if is_root();
    }
    return;
}

mkdir "$dir/tokens", 0755 or BAIL_OUT("$dir/tokens: $!");
spew("$dir/softhsm2.conf", "directories.tokendir = $dir/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", 0644);
File::Copy::copy($faulty, "$dir/hsm.so") or BAIL_OUT("$dir/hsm.so: $!");
chmod 0755, "$dir/hsm.so";
$ENV{SOFTHSM2_CONF} = "$dir/softhsm2.conf";
$ENV{HSM_REAL}      = $softhsm;
$ENV{HSM_AWAY}      = "$dir/away";
my %folder;
for my $token (['SCEP CA', $pin, SCEPServer::ca_user(), 0700], ['SCEP RA', $ra_pin, SCEPServer::worker_user(), 0777]) {
    must('softhsm2-util', '--init-token', '--free', '--label', $token->[0], '--so-pin', '12345678', '--pin', $token->[1]);
    my @new = grep { !$folder{$_} } glob "$dir/tokens/*";
    $folder{ $new[0] } = $token;
}
key_import("$dir/ca/ca.key", 'SCEP CA', $pin, 'p256', '01');
key_import("$rsa/issuing.key", 'SCEP CA', $pin, 'rsa', '02');
key_import("$rsa/ra-sign.key", 'SCEP RA', $ra_pin, 'sign', '01');
key_import("$rsa/ra-decrypt.key", 'SCEP RA', $ra_pin, 'decrypt', '02');
key_import("$dir/ca/ca.key", 'SCEP RA', $ra_pin, 'p256', '03');    # where it must not be
unlink("$dir/ca/ca.key", map { "$rsa/$_.key" } qw(issuing ra-sign ra-decrypt)) == 4 or BAIL_OUT("keys: $!");
give($_, @{ $folder{$_} }[2, 3]) for keys %folder;
spew("$dir/ca.pin", "$pin\n", 0600);
spew("$dir/ra.pin", "$ra_pin\n", 0600);
spew("$dir/wrong.pin", "0000\n", 0600);

sub uri {
    my ($token, $object, $file, $module) = @_;
    return 'pkcs11:token=' . ($token =~ s/ /%20/gr) . ";object=$object;type=private?module-path="
        . ($module // "$dir/hsm.so") . ($file ? "&pin-source=file:$dir/$file" : '');
}

my $conf = slurp($s->ca_conf);
my %key = (
    qr/^ca_key\s*=\s*file:ca\.key/m => 'ca_key = ' . uri('SCEP CA', 'p256', 'ca.pin'),
    qr{^ca_key = file:\Q$rsa\E/issuing\.key}m => 'ca_key = ' . uri('SCEP CA', 'rsa', 'ca.pin'),
    qr{^ra_sign_key = file:\Q$rsa\E/ra-sign\.key}m => 'ra_sign_key = ' . uri('SCEP RA', 'sign', 'ra.pin'),
    qr{^ra_decrypt_key = file:\Q$rsa\E/ra-decrypt\.key}m => 'ra_decrypt_key = ' . uri('SCEP RA', 'decrypt', 'ra.pin'));
for my $pattern (keys %key) {
    $conf =~ s/$pattern/$key{$pattern}/ or BAIL_OUT("ca.conf has no line $pattern");
}
spew($s->ca_conf, $conf);

# ---- what `scep-ca check` says

sub check {
    my ($text) = @_;
    spew("$dir/ca/other.conf", $text);
    return $s->ca_check("$dir/ca/other.conf");
}

my $good = check($conf);
is($good->{status}, 0, 'check: keys in tokens are good') or diag($good->{output});
my $ca_key = uri('SCEP CA', 'p256', 'ca.pin');
for my $case (
    ['a wrong PIN', uri('SCEP CA', 'p256', 'wrong.pin'), qr/token "SCEP CA" \(slot \d+\): no login with the PIN of \S+wrong\.pin/],
    ['no PIN', uri('SCEP CA', 'p256'), qr/token "SCEP CA" \(slot \d+\) wants a PIN.*pin-source=file:/],
    ['a missing PIN file', uri('SCEP CA', 'p256', 'no.pin'), qr/token "SCEP CA" \(slot \d+\): PIN file \S+no\.pin cannot be opened/],
    ['a missing key', uri('SCEP CA', 'p521', 'ca.pin'), qr/token "SCEP CA" \(slot \d+\) has no private key "p521"; it has .*"p256"/],
    ['a key of something else', uri('SCEP CA', 'rsa', 'ca.pin'), qr/ca_key \S+ is not the key of the first certificate/],
    ['a missing token', uri('SCEP CB', 'p256', 'ca.pin'), qr/has no token "SCEP CB"; there are .*"SCEP CA" \(slot \d+\)/],
    ['a missing module', uri('SCEP CA', 'p256', 'ca.pin', '/nowhere.so'), qr{PKCS#11 module /nowhere\.so cannot be loaded}],
    ['another module for one of the keys', uri('SCEP CA', 'p256', 'ca.pin', $softhsm), qr/takes no other one/],
    ['a PIN in the URI', "$ca_key&pin-value=$pin", qr/other\.conf:\d+: ca_key: a PIN does not stand in a URI/],
    ['a misspelt URI', 'pkcs11:tokem=SCEP', qr/other\.conf:\d+: ca_key: a PKCS#11 URI with an attribute/],
    ['no module', 'pkcs11:token=SCEP;object=p256', qr/other\.conf:\d+: ca_key: a PKCS#11 URI needs .*module-path/],
    ['neither file nor URI', 'ca.key', qr/other\.conf:\d+: ca_key: file:PATH and a PKCS#11 URI/])
{
    my $said = check($conf =~ s/\Q$ca_key\E/$case->[1]/r);
    ok($said->{status} == 1 && $said->{output} =~ $case->[2], "check: $case->[0] is said with slot and label")
        or diag($said->{output});
    ok(index($said->{output}, $pin) < 0, 'and no PIN is repeated');
}
my $shared = check($conf =~ s/\Q$ca_key\E/uri('SCEP RA', 'p256', 'ra.pin')/er);
ok($shared->{status} == 1
        && $shared->{output} =~ /\[authority rsa\]: ra_sign_key is in the same token "SCEP RA" \(slot \d+\) of \S+ as ca_key of \[authority default\]/,
    'check: a CA key in a token that httpd\'s user logs in to is refused')
    or diag($shared->{output});

# ---- it serves

$s->expect_log('SCEP0031: NDES-2 CONFIG: httpd\'s user cannot use a key of the RA: token "SCEP RA" \(slot \d+\): PIN file \S+ra\.pin') if is_root();
$s->allow_log('SCEP00\d\d: NDES-');
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}
my %at = map { $_ => $s->place($_) } @{ $s->{names} };
my $number = 0;

sub enrol { my ($name, %o) = @_; return $s->enrol(at => $at{$name}, subject => 'CN=device ' . ++$number, %o) }

# scep-ca reads the PIN as root; httpd's workers do not.
if (is_root()) {
    my $refused = enrol('rsa');
    is($refused->{http}{status}, 500, 'where httpd\'s user may not read the PIN of the RA\'s token, nothing is decided');
    chown((getpwnam SCEPServer::worker_user())[2, 3], "$dir/ra.pin") or BAIL_OUT("$dir/ra.pin: $!");
}
ok(wait_for(sub { enrol('rsa')->{serial} }, slow(20)), 'a device enrols with CA and RA in tokens');
my $first = enrol('rsa');
issued($first, 'R-063, R-090: an RA in a token opens the request and signs the answer');
is_deeply([$s->faults($first, via => $at{rsa})], [], 'whose form is right');
is(must('openssl', 'verify', '-CAfile', "$rsa/chain.pem", $first->{certificate}) =~ tr/\n//, 1, 'the CA signed the certificate');
for my $digest (qw(sha1 sha384 sha512)) {
    issued(enrol('rsa', digest => $digest), "with $digest");
}
my $p256 = enrol('p256');
issued($p256, 'a device enrols with a CA key of P-256 in a token, and an RA in files');
like(must('openssl', 'x509', '-in', $p256->{certificate}, '-noout', '-text'), qr/Signature Algorithm: ecdsa-with-SHA256/, 'it signed with ECDSA');
is(must('openssl', 'verify', '-CAfile', $s->ca_cert, $p256->{certificate}) =~ tr/\n//, 1, 'and the signature is good');
ok(wait_for(sub { -s "$dir/ca/public/ca.crl" }, slow(10)), 'it signs its CRL');
is(run(['openssl', 'crl', '-in', "$dir/ca/public/ca.crl", '-inform', 'DER', '-noout', '-CAfile', $s->ca_cert])->{status}, 0,
    'which is good');

my @many = $s->build(count => 12, subject => 'CN=many {}', transaction_id => 'many-{}', via => $at{rsa},
    challenges => [map { $s->mint(%{ $at{rsa} }) } 1 .. 12]);
my @answers = $s->many([map { $s->request_bytes($_, %{ $at{rsa} }) } @many], %{ $at{rsa} });
is(scalar(grep { $s->open_reply($many[$_], $answers[$_])->{serial} } 0 .. $#many), 12, 'twelve at one time too');

# The RA of ca.conf had one day left.
my $listed = must('openssl', 'pkcs7', '-inform', 'DER', '-in', $s->ca_ra(%{ $at{rsa} }), '-print_certs');
my @certs = $listed =~ /(-----BEGIN CERT.*?-----END CERTIFICATE-----\n)/gs;
for my $which (['sign', 0], ['decrypt', 1]) {
    my $now = $s->work("now-$which->[0].pem");
    spew($now, $certs[ $which->[1] ]);
    isnt(slurp($now), slurp("$rsa/ra-$which->[0].pem"), "$which->[0]: the RA has a new certificate");
    is(must('openssl', qw(x509 -noout -pubkey -in), $now), must('openssl', qw(x509 -noout -pubkey -in), "$rsa/ra-$which->[0].pem"),
        'of the key in the token, as keys in tokens are the administrator\'s');
}

# ---- the oracle: what the token says of an RSA block goes no further

my (%answer, $before);
$before = $s->certificates;
for my $fault (qw(encrypted-key padding recipient csr)) {
    my $reply = enrol('rsa', spoil => $fault);
    failed($reply, 2, "S-10, S-15, S-16: $fault: refused");
    $answer{ length $reply->{http}{body} }{ $reply->{fail_info_text} // '' } = 1;
}
is(scalar(map { keys %$_ } values %answer), 1, 'S-10, S-15, S-16: one text and one length for all of them') or diag(explain(\%answer));
is($s->certificates, $before, 'and no certificate');

# ---- the token goes away and comes back

$s->expect_log('SCEP0242: NDES-31 .*with key "p256" in token "SCEP CA"');
$before = $s->certificates;
spew("$dir/away", '');
is(enrol('p256')->{http}{status}, 503, 'a CA key whose token is away: try later');
ok($s->logs('SCEP0030: .*with key "p256" in token "SCEP CA" \(slot \d+\)'), 'the log names key, token and slot');
is(enrol('rsa')->{http}{status}, 503, 'an RA key whose token is away: try later');
ok($s->logs('SCEP0030: .*key "decrypt" in token "SCEP RA" \(slot \d+\): the token is away'), 'the log names them too');
my $gone = check($conf);
ok($gone->{status} == 1 && $gone->{output} =~ /has no token "SCEP CA"/, 'check says it as well') or diag($gone->{output});
is($s->certificates, $before, 'nothing was issued');
unlink "$dir/away" or BAIL_OUT("$dir/away: $!");
issued(enrol($_), "$_: it is there again, and serves") for qw(p256 rsa);

# ---- a new scep-ca, new workers

my ($old) = $s->ca_pids;
$s->graceful;
ok(wait_for(sub { my @now = $s->ca_pids; @now == 1 && $now[0] != $old }, slow(30)), 'after a graceful restart there is another scep-ca');
issued(enrol($_), "$_: which has a login of its own, as the new workers have") for qw(p256 rsa);

# ---- the PIN

my @seen;
for my $pid ($s->pid, $s->ca_pids, $s->worker_pids) {
    for my $what (qw(cmdline environ)) {
        next if !-r "/proc/$pid/$what" && !is_root();
        my $text = slurp("/proc/$pid/$what");
        push @seen, "$pid $what" if index($text, $pin) >= 0 || index($text, $ra_pin) >= 0;
    }
}
is_deeply(\@seen, [], 'no PIN stands in arguments or environment');
is_deeply([sort { $a cmp $b } $s->files_with($pin, $ra_pin)], ["$dir/ca.pin", "$dir/ra.pin"],
    'S-28: nor in the log, the database or any file but its own');
SKIP: {
    skip('only as root scep-ca has a user of its own', 1) if !is_root();
    my $tried = run(['perl', '-e', 'open(my $f, "<", $ARGV[0]) ? exit 0 : exit 3', "$dir/ca.pin"],
        user => [(getpwnam SCEPServer::worker_user())[2, 3]], chdir => '/');
    is($tried->{status}, 3, 'httpd\'s user cannot read the PIN of the CA\'s token');
}

$s->finish;
done_testing();
