# The connector exec: certmonger's own local-submit as it is and the script of conf/connectors/, both
# as docs/connectors.md sets them up, and programs that say no, reach nobody or hang.
use SCEPTest;
use SCEPStrongSwan;

need_program('local-submit', 'flock');
SCEPStrongSwan::need();

my $exec_user = is_root() ? (grep { defined getpwnam $_ && $_ ne SCEPServer::ca_user()
        && $_ ne SCEPServer::worker_user() } qw(nobody games man))[0] : undef;
my @exec_id = defined $exec_user ? (getpwnam $exec_user)[2, 3] : ();
my @names = qw(tiny script manual no down hang);
my $s = SCEPTest->ready(
    SCEPTest::hosts((map { $_ => "SCEPAuthority $_\n" } @names), plain => ''),
    server => defined $exec_user ? "SCEPExecUser $exec_user" : '');
$s->allow_log('SCEP00\d\d: NDES-\d+ (?:BAD_REQUEST|REFUSED)');
my $dir  = $s->dir;
my $exec = "$dir/exec"; # all that is SCEPExecUser's
mkdir "$dir/$_" or die "$_: $!\n" for qw(programs exec authorities);
chmod 0755, "$dir/programs";

sub must {
    my ($command, %o) = @_;
    my $ran = run($command, timeout => slow(60), %o);
    BAIL_OUT("@$command: $ran->{output}") if $ran->{status} != 0;
    return $ran->{output};
}

sub program {
    my ($name, $text) = @_;
    $text =~ s/\@DIR\@/$dir/g;
    spew("$dir/programs/$name", $text, 0755);
    return "$dir/programs/$name";
}

# As whoever scep-ca's programs run as.
sub as_exec { return defined $exec_user ? (user => \@exec_id) : () }

must(['chown', '-R', "$exec_id[0]:$exec_id[1]", $exec]) if defined $exec_user;

# ---- as docs/connectors.md says, with other folders

my ($section) = slurp("$ENV{srcdir}/docs/connectors.md") =~ /^## exec\n(.*?)^## /ms or BAIL_OUT('no section exec');
my $script = program('openssl-ca', slurp("$ENV{srcdir}/conf/connectors/openssl-ca"));
my $runuser = defined $exec_user ? "runuser -u $exec_user --" : '';
my $owner   = defined $exec_user ? "-o $exec_user" : '';

sub of_docs {
    my ($pattern, $name) = @_;
    my ($text) = $section =~ /^($pattern.*\n(?: {4}.*\n|\n(?= {4}))*)/m or BAIL_OUT("docs/connectors.md has no $pattern");
    $text =~ s/^ {4}//mg;
    $text =~ s{runuser -u scep-exec --}{$runuser}g;
    $text =~ s{-o scep-exec}{$owner}g;
    $text =~ s{/etc/scep/branch}{$dir/authorities/$name}g;
    $text =~ s{branch/}{$dir/authorities/$name/}g;
    $text =~ s{/var/lib/scep-exec}{$exec}g;
    $text =~ s{/usr/lib/certmonger/local-submit}{have('local-submit')}ge;
    $text =~ s{/usr/local/share/mod_scep/connectors/openssl-ca}{$script}g;
    return $text;
}
my $begin = ' {4}mkdir .*\n {4}cd .*\n';
must(['sh', '-e', '-c', of_docs("$begin {4}install ", 'tiny')]);
must(['sh', '-e', '-c', of_docs("$begin {4}helper=.*openssl-ca", 'script')]);
isnt(run([$script, "$exec/ca", 'init', '/CN=Other'], as_exec())->{status}, 0, 'the script makes no CA where one is');

program('no', "#!/bin/sh\necho 'not \"today\"'\nexit 2\n");
program('down', <<'END');
#!/bin/sh
env > @DIR@/exec/env
id -u > @DIR@/exec/uid
[ -e @DIR@/exec/up ] || { echo 'the line is cut'; exit 3; }
exec "@DIR@/programs/openssl-ca" "$@"
END
program('hang', "#!/bin/sh\necho x >> \@DIR\@/exec/hung\nsleep 600\n");

# Another program for an authority, or none other than the documentation's.
sub authority {
    my ($name, $files, $program, $more) = @_;
    my $text = of_docs(' {4}\[authority branch\]', $files);
    $text =~ s/^\[authority branch\]/[authority $name]/m;
    $text =~ s/^program .*\narguments .*\n/$program/m if defined $program;
    spew($s->ca_conf, slurp($s->ca_conf) . "\n$text" . ($more // '') . "poll = 1\n");
    return;
}
my $manual_program = of_docs(' {4}program .*openssl-ca', 'script');
authority('tiny',   'tiny');
authority('manual', 'script', $manual_program);
authority('script', 'script', $manual_program =~ s/ manual$//mr);
authority('no',     'script', "program = $dir/programs/no\n");
authority('down',   'script', "program = $dir/programs/down\narguments = $exec/ca\n");
authority('hang',   'script', "program = $dir/programs/hang\n", "timeout = 1\n");

# ---- what stops the start

sub refused {
    my ($name, $pattern) = @_;
    my $test = $s->configtest;
    isnt($test->{status}, 0, "$name is refused");
    like($test->{output}, $pattern, '… with a sentence');
    return;
}
chmod 0775, "$dir/programs/no";
refused('a program that its group may write', qr/\[authority no\]: program .*may write/);
chmod 0644, "$dir/programs/no";
refused('a program that nobody may execute', qr/\[authority no\]: program .*not executable/);
chmod 0755, "$dir/programs/no";
if (defined $exec_user) {
    chown $exec_id[0], -1, "$dir/programs/no";
    refused('a program that belongs to SCEPExecUser', qr/\[authority no\]: program .*give it to root/);
    chown 0, -1, "$dir/programs/no";
    chmod 0700, "$dir/programs/no";
    refused('a program that SCEPExecUser may not execute', qr/\[authority no\]: program .*may not execute the program: chmod a\+rx/);
    $s->expect_log('SCEP0001: .*may not execute the program');
    like($s->start // 'it started', qr/may not execute the program/, '… and httpd does not start');
    chmod 0755, "$dir/programs/no";
    local $s->{server} = '';
    my $none = qr/no user to run it as is given: set SCEPExecUser/;
    refused('a program without SCEPExecUser', $none);
    $s->expect_log('SCEP0001: .*set SCEPExecUser');
    like($s->start // 'it started', $none, '… and httpd does not start');
}
# ---- the script by itself, in a folder of its own

{
    my $folder = "$exec/alone";
    my $csr    = "$dir/alone.csr";
    must([$script, $folder, 'init', '/CN=Alone'], as_exec());
    must([qw(openssl req -new -newkey rsa:2048 -nodes -subj /CN=alone -keyout), "$dir/alone.key", '-out', $csr]);
    my $conf = slurp("$folder/openssl.cnf");

    # Status and output of one call.
    my $call = sub {
        my ($words, %variable) = @_;
        my %all = (CERTMONGER_CSR => slurp($csr), CERTMONGER_CA_PROFILE => 'IPSECIntermediateOffline', %variable);
        my $ran = run(['env', (map { "$_=$all{$_}" } sort keys %all), $script, $folder, @$words], timeout => slow(30), as_exec());
        return ($ran->{status}, $ran->{output});
    };
    my $count = sub { return scalar(() = glob "$folder/newcerts/*.pem") };
    my $write = sub { my ($text) = @_; open(my $to, '>', "$folder/openssl.cnf") or die "$!\n"; print {$to} $text; close $to or die "$!\n"; };

    for my $case (
        ['a request that is good', $conf, {}, 0, qr/BEGIN CERTIFICATE/],
        ['a name with a blank', $conf, { CERTMONGER_REQ_HOSTNAME => 'a b' }, 2, qr/a character that is not taken/],
        ['a subject that the policy does not take', $conf =~ s/^commonName = optional/$&\ncountryName = supplied/mr, {}, 2, qr/countryName field/],
        ['a profile that is wrong', $conf =~ s/^(extendedKeyUsage\s*=).*/$1 junk/mr, {}, 4, qr/config section/],
        ['a profile that is missing', $conf, { CERTMONGER_CA_PROFILE => 'other' }, 4, qr/no section/])
    {
        my ($name, $text, $variables, $wanted, $pattern) = @$case;
        my $made = $count->();
        $write->($text);
        my ($status, $said) = $call->([], %$variables);
        ok($status == $wanted && $said =~ $pattern, "openssl-ca: $name: status $wanted") or diag("$status $said");
        is($count->(), $made + !$wanted, '… ' . ($wanted ? 'none' : 'one') . ' was made');
    }
    $write->($conf);

    # A shell says 2, rejected, of what it cannot open.
    for my $case (['lock', 3], ['waits', 4]) {
        my ($name, $wanted) = @$case;
        rename("$folder/$name", "$folder/kept") && ($name eq 'waits' || mkdir "$folder/$name") or die "$name: $!\n";
        my ($status, $said) = $call->([]);
        is($status, $wanted, "openssl-ca: $name cannot be opened: status $wanted, as nothing was issued") or diag($said);
        $name eq 'waits' or rmdir "$folder/$name" or die "$name: $!\n";
        rename("$folder/kept", "$folder/$name") or die "$name: $!\n";
    }
    my $made = $count->();
    my $full = run(['env', 'CERTMONGER_CSR=' . slurp($csr), 'CERTMONGER_CA_PROFILE=IPSECIntermediateOffline', 'sh', '-c',
            'exec "$@" > /dev/full', 'sh', $script, $folder], timeout => slow(30), as_exec());
    is($full->{status}, 7, 'openssl-ca: issued, and the certificate gets nowhere: a status that means so') or diag($full->{output});
    is($count->(), $made + 1, '… one was made');

    # In the moment of an approval a request is both decided and waiting: that is not "unknown".
    my (undef, $id) = $call->(['manual']);
    chomp $id;
    my @poll = (CERTMONGER_OPERATION => 'POLL', CERTMONGER_CA_COOKIE => $id);
    is(($call->([], @poll))[0], 1, 'openssl-ca: what waits, waits');
    spew("$folder/decided/$id.denied", "early\n", 0644);
    is(($call->([], @poll))[0], 1, '… until it has left waits/');
    unlink "$folder/decided/$id.denied" or die "$!\n";

    $made = $count->();
    my @both = map { spawn([$script, $folder, 'approve', $id], output => "$dir/approve.$_", as_exec()) } 1, 2;
    my @ended = sort { $a <=> $b } map { SCEPRun::wait_child($_, slow(30)) // -1 } @both;
    ok($ended[0] == 0 && $ended[1] != 0, 'openssl-ca: of two administrators one approves') or diag("@ended");
    is($count->(), $made + 1, '… and one certificate is made');
    my ($status, $got) = $call->([], @poll);
    ok($status == 0 && $got =~ /BEGIN CERT/, '… which the poll gets');
    (undef, $id) = $call->(['manual']);
    chomp $id;
    spew("$folder/waits/$id.pem", $got, 0644);
    must([$script, $folder, 'approve', $id], as_exec());
    is($count->(), $made + 1, 'openssl-ca: an approval that broke off goes on with its certificate');
    is(slurp("$folder/decided/$id.pem"), $got, '… and makes no second one');

    # What was left long ago goes; what waits stays.
    (undef, $id) = $call->(['manual']);
    chomp $id;
    for my $old ("$folder/waits/0.new", "$folder/waits/0.names", "$folder/waits/$id.csr") {
        spew($old, slurp($csr), 0644);
        utime(time - 200_000, time - 200_000, $old);
    }
    is(($call->([]))[0], 0, 'openssl-ca: the next request');
    ok(!-e "$folder/waits/0.new" && !-e "$folder/waits/0.names", '… sweeps what one that was killed has left');
    ok(-e "$folder/waits/$id.csr", '… and not what waits');
}

my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

sub made { return scalar(() = glob "$exec/ca/newcerts/*.pem") }

# ---- strongSwan

my $work = $s->work('pki');

sub client {
    my ($name) = @_;
    my $client = SCEPStrongSwan->new($s, $name);
    is($client->{status}, 0, "$name: pki --scepca gets the certificates") or diag($client->{output});
    return $client;
}

sub enrolment {
    my ($client, $name, $out, @more) = @_;
    return $client->enrolment($out, '--in', SCEPStrongSwan::new_key("$out.key"), '--password', $s->mint(%{ $s->place($name) }),
        @more);
}

sub verifies {
    my ($file, $ca) = @_;
    return -s $file && run(['openssl', 'verify', '-CAfile', $ca, $file])->{status} == 0;
}

for my $name (qw(tiny script)) {
    my $client = client($name);
    my $before = made();
    my $done = run(enrolment($client, $name, "$work/$name.pem", '--dn', 'C=CH, O=Example, CN=moon', '--san', 'moon.example'),
        timeout => slow(60));
    is($done->{status}, 0, "$name: pki --scep enrols") or diag($done->{output});
    ok(verifies("$work/$name.pem", "$dir/authorities/$name/ca.pem"), '… its certificate is of that CA');
    my $text = run(['openssl', 'x509', '-in', "$work/$name.pem", '-noout', '-text'])->{output};
    like($text, qr/DNS:moon\.example/, '… with the name that it asked for');
    next if $name eq 'tiny';
    is(made(), $before + 1, '… one was made');
    like($text, qr/1\.3\.6\.1\.5\.5\.8\.2\.2/, "… and has what the template's section says");
}
is(run(['grep', '-c', '^V', "$exec/ca/index.txt"])->{output} + 0, made(), "all are in the script's index");

# ---- it waits, an administrator of that CA decides

my $manual = client('manual');

sub polls { return scalar grep { /SCEP0240: poll .*verdict=pending/ } $s->log_lines }

sub waiting { return split /\n/, must([$script, "$exec/ca", 'list'], as_exec()) }

for my $case (['approve', 0], ['deny', 1]) {
    my ($decision, $fails) = @$case;
    my $out    = "$work/$decision.pem";
    my $before = made();
    my $pki = spawn(enrolment($manual, 'manual', $out, '--dn', "O=Example, CN=$decision", '--interval', '1', '--maxpolltime', '60'),
        output => "$work/$decision.log");
    ok(wait_for(sub { waiting() == 1 }, slow(20)), "$decision: the request waits at the CA") or diag(slurp("$work/$decision.log"));
    my ($id, $subject) = (waiting())[0] =~ /^(\S+) (.*)/;
    is($subject, "subject=CN=$decision,O=Example", '… where its administrator sees whose it is');
    ok(wait_for(sub { grep { $_->{state} eq 'waits' } @{ $s->scepctl_must('requests', '--all', '--json') } }, slow(20)),
        "… and scepctl that it waits there");
    my $polls = polls();
    ok(wait_for(sub { polls() > $polls }, slow(20)), '… pki polls');
    is(made(), $before, '… nothing was issued so far');
    must([$script, "$exec/ca", $decision, $id, $fails ? 'unknown device' : ()], as_exec());
    my $status = SCEPRun::wait_child($pki, slow(60)) // 'it did not end';
    is($status ? 1 : 0, $fails, $fails ? '… pki is refused' : '… pki has its certificate') or diag(slurp("$work/$decision.log"));
    is(verifies($out, "$exec/ca/ca.pem") ? 0 : 1, $fails, '… and so it is');
    is(made(), $before + !$fails, '… ' . ($fails ? 'none' : 'one') . ' was made');
}
my ($denied) = grep { $_->{state} eq 'denied' } @{ $s->scepctl_must('requests', '--all', '--json') };
is($denied->{reason}, 'unknown device', "the CA's reason is kept");

# ---- no

my $no = $s->enrol(at => $s->place('no'), subject => 'CN=no');
failed($no, 2, 'a program that rejects: badRequest');
unlike($no->{fail_info_text} // '', qr/today/, 'R-144, S-29: the reason stays with the administrator');
ok($s->logs('not .*today'), '… and is logged');

# ---- unreachable: asked again, as nothing was asked for

my $before = made();
$s->expect_log('SCEP0253: \[authority down\] is asked again .*did not get it: .*the line is cut');
my $down = $s->enrol(at => $s->place('down'), subject => 'CN=down');
pending($down, 'a program that cannot reach its CA: the device waits');
if (defined $exec_user) {
    is(slurp("$exec/uid"), "$exec_id[0]\n", '… it runs as SCEPExecUser');
}
my %variable = map { /^(\w+)=/ ? ($1 => 1) : () } split /\n/, slurp("$exec/env");
is_deeply([grep { !/^(?:CERTMONGER_\w+|PATH|PWD|OLDPWD|SHLVL|_)$/ } sort keys %variable], [], '… in a clean environment');
unlike(slurp("$exec/env"), qr/\Q$down->{request}{challenge}\E/, '… where the challenge does not stand');
spew("$exec/up", '');
my $up;
ok(wait_for(sub { ($up = $s->poll($down, at => $s->place('down')))->{serial} }, slow(40)), '… until it can') or diag(SCEPTest::describe($up));
is(made(), $before + 1, '… one was made');

# ---- a program that hangs may have asked: nobody knows

$s->expect_log('SCEP0253: \[authority hang\] is asked again .*may have got it: .*timed out',
    'SCEP0255: \[authority hang\] may have issued .*second certificate');
my $hang = $s->enrol(at => $s->place('hang'), subject => 'CN=hang');
pending($hang, 'a program that hangs: the device waits');
issued($s->enrol(at => $s->place('script'), subject => 'CN=meanwhile'), '… another authority issues');
ok($s->logs('SCEP0255: ', 40), '… it is not asked again');
my ($lost) = grep { $_->{subject} eq 'CN=hang' } @{ $s->scepctl_must('requests', '--all', '--json') };
is($lost->{state}, 'lost', '… an administrator has to decide');
is(slurp("$exec/hung"), "x\n", '… it ran once');
is_deeply([grep { (SCEPRun::command_of($_) // '') =~ m{\Q$dir\E/programs} } map { m{(\d+)} } glob '/proc/[0-9]*'],
    [], '… and was killed');

$s->finish;
done_testing();
