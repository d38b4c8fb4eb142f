# One httpd is many NDES servers: two authorities behind two endpoints, which have nothing in common.
# S-28.
use SCEPTest;
use SCEPAuthority;

my $dll = '/certsrv/mscep/mscep.dll';
my $s = SCEPTest->ready(SCEPTest::hosts(
    one => '',
    two => "SCEPAuthority second\n",
    both => "<Location \"/one\">\nSetHandler scep\nSCEPEndpoint east\n</Location>\n"
        . "<Location \"/one-admin\">\nSetHandler scep-admin\nSCEPEndpoint east\n</Location>\n"
        . "<Location \"/two\">\nSetHandler scep\nSCEPEndpoint west\nSCEPAuthority second\n</Location>\n"
        . "<Location \"/two-admin\">\nSetHandler scep-admin\nSCEPEndpoint west\n</Location>\n"
        . SCEPServer::guard('/one-admin') . SCEPServer::guard('/two-admin')));
$s->allow_log('SCEP00\d\d: NDES-');

# The second authority is another `scep-ca init`, copied into the first one's ca.conf.
my $dir = $s->dir . '/second';
my $made = run([SCEPServer::built('scep-ca'), 'init', '--ca-key', 'p256', '--ca-name', 'CN=Second CA',
        SCEPTest::is_root() ? ('--owner', SCEPServer::ca_user()) : (), '--out', $dir], timeout => slow(60), env => $s->sanitizer_env);
BAIL_OUT($made->{output}) if $made->{status} != 0;
my ($section) = slurp("$dir/ca.conf") =~ /^\[authority default\]\n(.*?)(?=^\[)/ms;
$section =~ s/^crl_.*\n//mg;
$section =~ s/^templates.*/templates = Second/m;
$section =~ s/(=\s*)(file:)?((?:ca|ra)[\w-]*\.(?:pem|key))/"$1" . ($2 \/\/ '') . "$dir\/$3"/ge;
spew($s->ca_conf, slurp($s->ca_conf) . "[authority second]\n$section\n[template Second]\ndays = 9\n"
    . "key_usage = digitalSignature, keyEncipherment\n");
$s->{hosts} =~ s/SCEPAuthority second\n/SCEPAuthority second\nSCEPTemplate All Second\n/g;
{
    my $why = $s->start;
    BAIL_OUT("httpd is not up: $why") if defined $why;
}
my %at = map { $_ => $s->place($_) } @{ $s->{names} };
my $key = $s->work('key.pem');
SCEPAuthority::openssl('genrsa', '-out', $key, '2048');

# Name of the endpoint => where devices go, where the challenge page is, which CA issues.
my %ca = (one => $s->ca_cert, two => "$dir/ca.pem");
my %endpoint = (
    one  => { device => $at{one}, admin => $at{one}, ca => 'one' },
    two  => { device => $at{two}, admin => $at{two}, ca => 'two' },
    east => { device => { %{ $at{both} }, path => '/one' }, admin => { %{ $at{both} }, path => '/one-admin' }, ca => 'one' },
    west => { device => { %{ $at{both} }, path => '/two' }, admin => { %{ $at{both} }, path => '/two-admin' }, ca => 'two' });

# One port has two endpoints, so what GetCACert gave is kept by endpoint and not by port.
for my $name (sort keys %endpoint) {
    my $e = $endpoint{$name};
    my $list = $s->get(($e->{device}{path} // $dll) . '?operation=GetCACert', %{ $e->{device} });
    is($list->{status}, 200, "$name: GetCACert");
    spew($e->{list} = $s->work("list-$name"), $list->{body});
}
my $number = 0;

sub enrol {
    my ($name, %o) = @_;
    $number++;
    return $s->enrol(at => $endpoint{$name}{device}, ca_ra => $endpoint{$name}{list}, key => $key,
        subject => "CN=device $number", transaction_id => "two $number", %o);
}

sub mint { return $s->mint(%{ $endpoint{ $_[0] }{admin} }) }

# ---- each has its own issuer

for my $name (sort keys %endpoint) {
    my $e = $endpoint{$name};
    my $reply = enrol($name, challenge => mint($name));
    issued($reply, "$name: enrols");
    my $other = $e->{ca} eq 'one' ? 'two' : 'one';
    is(run(['openssl', 'verify', '-CAfile', $ca{ $e->{ca} }, $reply->{certificate}])->{status}, 0, "$name: its own CA issued the certificate");
    isnt(run(['openssl', 'verify', '-CAfile', $ca{$other}, $reply->{certificate}])->{status}, 0, "$name: and not the other one");
    is($reply->{signer_in_ca_ra}, 1, "$name: its own RA signed the answer");
    my $end = run(['openssl', 'x509', '-in', $reply->{certificate}, '-noout', '-checkend', 9 * 86400])->{status};
    is($end, $e->{ca} eq 'two' ? 1 : 0, "$name: by a template of its own authority");
    $e->{first} = $reply;
}

# ---- a challenge of one is no good at the other

for my $pair (['one', 'two'], ['two', 'one'], ['east', 'west'], ['west', 'east'], ['one', 'east'], ['two', 'west']) {
    my ($from, $to) = @$pair;
    my $challenge = mint($from);
    failed(enrol($to, challenge => $challenge), 2, "S-28: a challenge of $from is no good at $to");
    issued(enrol($from, challenge => $challenge), "S-28: and is not used up by that: $from takes it");
}

# ---- nor is what the other one knows

for my $pair (['one', 'two'], ['east', 'west']) {
    my ($from, $to) = @$pair;
    my ($here, $there) = @endpoint{ $from, $to };
    failed($s->poll($here->{first}, at => $there->{device}, ca_ra => $there->{list}), 4, "R-121: $to knows nothing of what $from was asked");
    failed($s->renew($here->{first}, at => $there->{device}, ca_ra => $there->{list}), 2, "R-103: $to renews no certificate of ${from}'s CA");
    failed(enrol($to, ca_ra => $here->{list}, challenge => mint($to)), 2, "R-063: $to opens nothing that is enveloped to ${from}'s RA");
}
$s->finish;

# ---- what is not there stops configtest

my $c = SCEPTest->ready(SCEPTest::hosts(a => '', b => ''));
is($c->configtest->{status}, 0, 'one authority, two endpoints') or diag($c->configtest->{output});
my $good = $c->{hosts};
for my $case (
    ['SCEPAuthority nowhere', qr/endpoint b\.test: SCEPAuthority nowhere: \S+ has no section \[authority nowhere\]/, 'an authority'],
    ['SCEPTemplate All Nothing', qr/endpoint b\.test: SCEPTemplate SignatureTemplate Nothing: \[authority default\] of \S+ has the templates /,
        'a template'],
    ['SCEPTemplate EncryptionTemplate Nothing', qr/endpoint b\.test: SCEPTemplate EncryptionTemplate Nothing: /, 'a template for one key usage'])
{
    my ($line, $says, $name) = @$case;
    $c->{hosts} = $good =~ s/(ServerName b\.test\n)/$1$line\n/r;
    my $refused = $c->configtest;
    isnt($refused->{status}, 0, "$name that is not there stops configtest");
    like($refused->{output}, $says, "$name: which names it");
}
$c->end;
done_testing();
