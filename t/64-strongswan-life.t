# strongSwan's pki through a certificate's life: it waits for approval and polls, and it renews.
use SCEPTest;
use SCEPStrongSwan;

SCEPStrongSwan::need();

my $s = SCEPTest->up(hosts => <<'END' . SCEPServer::guard('/certsrv/mscep_admin') . "</VirtualHost>\n");
<VirtualHost 127.0.0.1:@PORT@>
ServerName scep.test
SCEPEngine on
<Location "/manual">
SetHandler scep
SCEPEndpoint manual
SCEPApproval enrol
SCEPEnforcePassword off
</Location>
END
my $work   = $s->work('pki');
my $client = SCEPStrongSwan->new($s);
my $manual = $client->at('http://127.0.0.1:' . $s->port . '/manual');
is($client->{status}, 0, 'pki --scepca gets the certificates') or diag($client->{output});

sub serial_of { return run(['openssl', 'x509', '-in', $_[0], '-noout', '-serial'])->{output} }

# ---- renewal ----

my @name = ('--dn', 'C=CH, O=Example, CN=moon', '--san', 'moon.example');
my $key  = SCEPStrongSwan::new_key("$work/key.pem");
my $made = run($client->enrolment("$work/cert.pem", '--in', $key, @name, '--password', $s->mint));
is($made->{status}, 0, 'pki enrols') or diag($made->{output});

for my $case (['with its defaults'], ['with RSA-PSS', '--rsa-padding', 'pss'], ['with SHA-512', '--digest', 'sha512']) {
    my ($how, @options) = @$case;
    my $new  = SCEPStrongSwan::new_key("$work/new-key.pem");
    my $done = run($client->enrolment("$work/new.pem", '--in', $new, @name, '--cert', "$work/cert.pem", '--key', $key,
        @options));
    is($done->{status}, 0, "R-100: it renews without a challenge $how") or diag($done->{output});
    is(run(['openssl', 'verify', '-CAfile', $s->ca_cert, "$work/new.pem"])->{status}, 0, 'the new certificate verifies');
    isnt(serial_of("$work/new.pem"), serial_of("$work/cert.pem"), 'and is another one');
    rename "$work/new.pem", "$work/cert.pem" or die "rename: $!\n";
    rename $new, $key or die "rename: $!\n";
}
# The same key, the same request, the same transactionID: another certificate stands for each.
my %kept = (serial_of("$work/cert.pem") => 1);
for my $turn (1, 2) {
    my $done = run($client->enrolment("$work/new.pem", '--in', $key, @name, '--cert', "$work/cert.pem", '--key', $key));
    is($done->{status}, 0, "R-101: it renews and keeps its key, turn $turn") or diag($done->{output});
    ok(!$kept{ serial_of("$work/new.pem") }++, 'R-101: each time it has a new certificate');
    rename "$work/new.pem", "$work/cert.pem" or die "rename: $!\n";
}
my $anew = run($client->enrolment("$work/anew.pem", '--in', $key, '--dn', 'CN=anew', '--password', $s->mint));
is($anew->{status}, 0, 'R-119: a key that came by a renewal enrols by a challenge, too') or diag($anew->{output});

my $other = run($client->enrolment("$work/other.pem", '--in', SCEPStrongSwan::new_key("$work/other-key.pem"), '--dn',
    'C=CH, O=Example, CN=sun', '--cert', "$work/cert.pem", '--key', $key));
isnt($other->{status}, 0, 'R-108: another name it does not get') or diag($other->{output});
$s->expect_log('SCEP0028: NDES-31 BAD_SUBJECT: ', 'SCEP0029: NDES-31 REFUSED: denied by the administrator ');

# ---- approval ----

sub queue { return $s->scepctl_must('requests', '--json') }

sub polls { return scalar grep { /SCEP0240: poll .*verdict=pending/ } $s->log_lines }

for my $case (['approve', 0], ['deny', 1]) {
    my ($decision, $fails) = @$case;
    my $out = "$work/$decision.pem";
    my $pki = spawn($manual->enrolment($out, '--in', SCEPStrongSwan::new_key("$work/$decision-key.pem"), '--dn', "CN=$decision",
        '--interval', '1', '--maxpolltime', '60'), output => "$work/$decision.log");
    ok(wait_for(sub { @{ queue() } == 1 }, slow(20)), "$decision: the request waits") or diag(slurp("$work/$decision.log"));
    my ($request) = @{ queue() };
    is($request->{subject}, "CN=$decision", 'the administrator sees whose it is');
    my $polls = polls();
    ok(wait_for(sub { polls() > $polls }, slow(20)), 'R-111: pki polls');
    my $decided = $s->scepctl($decision, $request->{id}, $fails ? ('--reason', 'unknown device') : ());
    is($decided->{status}, 0, "scepctl $decision") or diag($decided->{output});
    my $status = SCEPRun::wait_child($pki, slow(60)) // 'it did not end';
    is($status ? 1 : 0, $fails, $fails ? 'R-113: pki is refused' : 'R-113: pki has its certificate')
        or diag(slurp("$work/$decision.log"));
    is(-s $out ? run(['openssl', 'verify', '-CAfile', $s->ca_cert, $out])->{status} : 1, $fails, 'and so it is');
}

$s->finish;
done_testing();
