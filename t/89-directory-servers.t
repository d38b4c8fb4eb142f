# The directory's servers as they can be: several, away, slow, odd. A real slapd, with entries as Active
# Directory has them. What a real domain controller says: t/86-directory.t.
use strict;
use warnings;
use IO::Socket::INET;
use SCEPDirectory;
use SCEPRecipe;
use SCEPRun qw(run spawn wait_for slow slurp spew have);
use SCEPServer;
use File::Temp ();
use MIME::Base64 ();
use Test::More;

need_server(qw(slapd slapadd));
my $dir  = File::Temp::tempdir('scep-servers-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $base = 'dc=corp,dc=test';
my $pks  = "cn=Public Key Services,cn=Services,cn=Configuration,$base";

# ---- a slapd with a schema of Active Directory's

sub schema {
    my ($core) = grep { -e } qw(/etc/ldap/schema/core.schema /etc/openldap/schema/core.schema);
    my $n      = 0;
    my $text   = sub {
        join '', map { "attributetype ( 2.25.2." . ++$n . " NAME '$_' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n" } @_;
    };
    my $bytes = sub {
        join '', map { "attributetype ( 2.25.2." . ++$n . " NAME '$_' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n" } @_;
    };
    my @texts = qw(defaultNamingContext configurationNamingContext sAMAccountName userPrincipalName userAccountControl
        dNSHostName nETBIOSName nCName flags revision pKIExtendedKeyUsage certificateTemplates msPKI-Certificate-Name-Flag);
    my @bytes = qw(objectSid tokenGroups nTSecurityDescriptor pKIKeyUsage pKIExpirationPeriod);
    return "include $core\n" . $text->(@texts) . $bytes->(@bytes)
        . "objectclass ( 2.25.3.1 NAME 'container' STRUCTURAL MUST cn )\n"
        . "objectclass ( 2.25.3.2 NAME 'user' STRUCTURAL MUST cn MAY ( sAMAccountName \$ userPrincipalName \$ userAccountControl \$ objectSid \$ tokenGroups \$ dNSHostName \$ userPassword ) )\n"
        . "objectclass ( 2.25.3.3 NAME 'pKICertificateTemplate' STRUCTURAL MUST cn MAY ( flags \$ revision \$ pKIExtendedKeyUsage \$ msPKI-Certificate-Name-Flag \$ nTSecurityDescriptor \$ pKIKeyUsage \$ pKIExpirationPeriod ) )\n"
        . "objectclass ( 2.25.3.4 NAME 'crossRef' STRUCTURAL MUST cn MAY ( nETBIOSName \$ nCName ) )\n";
}

sub b64 { return MIME::Base64::encode_base64($_[0], '') }
sub sid { return pack 'C C x2 N V*', 1, scalar @_, 5, @_ }

my $alice  = sid(21, 1, 2, 3, 1104);
my $group  = sid(21, 1, 2, 3, 1105);
my $enroll = pack 'H*', '68c9100efb78d21190d400c04f79dc55';

# [MS-DTYP] 2.4: one entry that lets a SID enrol.
sub descriptor {
    my ($who) = @_;
    my $ace = pack('C C v V V a16', 5, 0, 28 + length $who, 0x100, 1, $enroll) . $who;
    return pack('C C v V4', 1, 0, 0x8004, 0, 0, 0, 20) . pack('C C v v v', 4, 0, 8 + length $ace, 1, 0) . $ace;
}

sub user {
    my ($cn, %o) = @_;
    my %is = (sAMAccountName => $cn, userAccountControl => 512, 'objectSid:' => b64($alice), 'tokenGroups:' => b64($group), %o);
    return "dn: cn=$cn,$base\nobjectClass: user\ncn: $cn\n" . join('', map { defined $is{$_} ? "$_: $is{$_}\n" : () } sort keys %is) . "\n";
}

my $password  = SCEPServer::random_hex(12);
my @templates = map { "T$_" } 1 .. 120;

sub entries {
    my $text = "dn: $base\nobjectClass: dcObject\nobjectClass: organization\ndc: corp\no: Corp\n\n";
    $text .= "dn: $_,$base\nobjectClass: container\ncn: " . (/^cn=([^,]+)/)[0] . "\n\n"
        for 'cn=Configuration', 'cn=Partitions,cn=Configuration', 'cn=Services,cn=Configuration',
        'cn=Public Key Services,cn=Services,cn=Configuration',
        'cn=Certificate Templates,cn=Public Key Services,cn=Services,cn=Configuration';
    $text .= "dn: cn=CORP,cn=Partitions,cn=Configuration,$base\nobjectClass: crossRef\ncn: CORP\nnETBIOSName: CORP\nnCName: $base\n\n";
    $text .= user('reader', userPassword => $password);
    $text .= user('alice') . user('groupless', 'tokenGroups:' => undef) . user('odd', 'tokenGroups:' => b64('no SID'));
    # one name for two accounts
    $text .= user('carol') . user('mallory', userPrincipalName => 'carol@corp.test');
    $text .= user('unknown', userAccountControl => undef);
    $text .= "dn: cn=$_,cn=Certificate Templates,$pks\nobjectClass: pKICertificateTemplate\ncn: $_\nmsPKI-Certificate-Name-Flag: 1\n"
        . 'nTSecurityDescriptor:: ' . b64(descriptor($group)) . "\n\n"
        for @templates;
    $text .= "dn: cn=$_->[0],cn=Certificate Templates,$pks\nobjectClass: pKICertificateTemplate\ncn: $_->[0]\n$_->[1]\n\n"
        for ['Hidden', 'flags: 0'], ['Broken', 'nTSecurityDescriptor:: ' . b64(substr descriptor($group), 0, 60)],
        ['Odd', 'flags: many'];
    return $text;
}

my @slapds;

# A server at that port: LDAP with StartTLS, or LDAPS.
sub slapd {
    my ($scheme, $port) = @_;
    my $own = "$dir/slapd-$port";
    mkdir $_ or die "$_: $!\n" for $own, "$own/data";
    my ($module) = grep { -e } map { "$_/back_mdb.so" } qw(/usr/lib/ldap /usr/lib64/openldap);
    my $load = $module ? "moduleload $module\n" : '';
    spew("$own/root.ldif", "dn:\ndefaultNamingContext: $base\nconfigurationNamingContext: cn=Configuration,$base\n");
    spew("$own/slapd.conf", schema() . $load . <<"END", 0600);
TLSCACertificateFile $dir/tls-ca.pem
TLSCertificateFile $dir/server.pem
TLSCertificateKeyFile $dir/server.key
TLSVerifyClient try
rootDSE $own/root.ldif
database mdb
suffix "$base"
directory $own/data
limits * size.soft=60 size.hard=60 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth
access to * by dn.exact="cn=reader,$base" read by dn.exact="cn=scep-ca" read by * none
END
    spew("$own/all.ldif", entries(), 0600);
    my $added = run([have('slapadd'), '-f', "$own/slapd.conf", '-l', "$own/all.ldif"]);
    die "slapadd: $added->{output}\n" if $added->{status} != 0;
    my $pid = spawn([have('slapd'), '-d', '0', '-h', "$scheme://127.0.0.1:$port", '-f', "$own/slapd.conf"], output => "$own/log");
    push @slapds, $pid;
    wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5) }, slow(20))
        or die 'slapd does not answer: ' . slurp("$own/log") . "\n";
    return $pid;
}

# A server that takes connections, says this, and then nothing.
sub mute {
    my ($says) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 64) or die "listen: $!\n";
    my $pid = fork // die "fork: $!\n";
    return ($pid, $listener->sockport) if $pid;
    my @kept;
    while (my $c = $listener->accept) {
        syswrite $c, $says if length $says;
        push @kept, $c;
    }
    require POSIX;
    POSIX::_exit(0);
}

SCEPRecipe::write_tls($dir, '127.0.0.1');
SCEPRecipe::tls_certificate($dir, 'client', '/CN=scep-ca', 'client');
spew("$dir/password", "$password\n", 0600);
my ($ldap, $ldaps, $closed) = SCEPServer::free_ports(3);
slapd('ldap',  $ldap);
slapd('ldaps', $ldaps);

my %simple = (bind => 'simple', user => "cn=reader,$base", password => 'file:password', tls_ca => 'tls-ca.pem');
my %usual  = (url => "ldaps://127.0.0.1:$ldaps", %simple);

sub ask {
    my ($keys, @questions) = @_;
    # libldap with GnuTLS leaks a client's certificate with each connection
    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
    return SCEPDirectory::ask($dir, { timeout => slow(2), %$keys }, @questions);
}

my @may = (may => 'alice', 'T1');

# ---- ways of logging on

like(ask(\%usual, @may), qr/^yes$/m, 'a password over LDAPS');
like(ask({ %usual, url => "ldap://127.0.0.1:$ldap", starttls => 'yes' }, @may), qr/^yes$/m, 'and below StartTLS');
my %external = (bind => 'external', tls_ca => 'tls-ca.pem', tls_cert => 'client.pem', tls_key => 'file:client.key');
like(ask({ url => "ldaps://127.0.0.1:$ldaps", %external }, @may), qr/^yes$/m, 'a certificate over LDAPS');
like(ask({ url => "ldap://127.0.0.1:$ldap", %external, starttls => 'yes' }, @may), qr/^yes$/m, 'and below StartTLS');
spew("$dir/wrong", 'wrong', 0600);
like(ask({ %usual, password => 'file:wrong' }, @may), qr/^error=CONFIG: .*Invalid credentials/m, 'a wrong password is said');
unlike(ask({ %usual, password => 'file:wrong' }, @may), qr/wrong/, 'without the password');
spew("$dir/empty", "\n", 0600);
like(ask({ %usual, password => 'file:empty' }, @may), qr/^error=CONFIG: /m, 'an empty one is not sent: it would succeed');
chmod 0644, "$dir/wrong";
like(ask({ %usual, password => 'file:wrong' }, @may), qr/^error=CONFIG: /m, 'one that all may read is refused');
like(ask({ %usual, tls_ca => 'client.pem' }, @may), qr/^error=UNAVAILABLE: /m, 'a server that is not trusted is not spoken to');
like(ask({ url => "ldap://127.0.0.1:$ldap", bind => 'simple', user => 'a', password => 'file:password' }, @may),
    qr/^error=CONFIG: .*needs TLS/m, 'and no password is sent without TLS');
like(ask({ %usual, url => "ldap://127.0.0.1:$ldaps", starttls => 'yes' }, @may), qr/^error=UNAVAILABLE: /m,
    'a server of another kind is no yes');

# ---- what it may say

like(ask(\%usual, may => 'carol@corp.test', 'T1'), qr/^no=the directory has several users of that name$/m,
    'a name of two accounts is nobody');
like(ask(\%usual, may => 'CORP\\carol', 'T1'), qr/^yes$/m, 'where one of them is meant, she may');
like(ask(\%usual, may => 'unknown', 'T1'), qr/^no=.*disabled/m, 'an account of which nothing is shown counts as disabled');
like(ask(\%usual, may => 'groupless', 'T1'), qr/^error=CONFIG: tokenGroups .*Windows Authorization Access Group|^error=CONFIG: \[directory corp\]: tokenGroups of .*Windows Authorization Access Group/m,
    'whose groups are not shown is not judged');
like(ask(\%usual, may => 'odd', 'T1'), qr/^error=CONFIG: .*no SID/m, 'nor is who has odd ones');
like(ask(\%usual, may => 'alice', 'Hidden'), qr/^no=template Hidden of the directory shows no security descriptor/m,
    'a template without a descriptor lets nobody in');
like(ask(\%usual, may => 'alice', 'Broken'), qr/^no=template Broken of the directory shows no security descriptor/m,
    'nor does a broken one');
like(ask(\%usual, may => 'alice', 'Odd'), qr/^error=CONFIG: .*flags is not a number/m, 'nor one with an odd value');

# ---- pages

my $all = ask(\%usual, look => '-', join ',', @templates);
is(scalar(() = $all =~ /^template=T\d+ /mg), 120, 'more templates than the server gives at once are read page by page')
    or diag($all);

# ---- several servers

like(ask({ %usual, url => "ldaps://127.0.0.1:$closed, ldaps://127.0.0.1:$ldaps" }, @may), qr/^yes$/m,
    'the second server answers where the first one is away');
my ($mute, $muted) = mute('');
my ($half, $halved) = mute("\x16\x03\x03\x40");
for my $silent ($muted, $halved) {
    my $what = $silent == $muted ? 'never answers' : 'stops within an answer';
    my $got = ask({ %usual, url => "ldaps://127.0.0.1:$silent, ldaps://127.0.0.1:$ldaps" }, @may, may => 'carol', 'T1');
    my @ms  = $got =~ /^ms=(\d+)$/mg;
    is(scalar(() = $got =~ /^yes$/mg), 2, "and where it $what") or diag($got);
    cmp_ok($ms[0], '<', slow(2000), 'within the time of a question');
    cmp_ok($ms[1], '<', $ms[0], 'and is asked first from then on');
    $got = ask({ %usual, url => "ldaps://127.0.0.1:$silent" }, @may, @may, sleep => 5500, @may);
    @ms  = $got =~ /^ms=(\d+)$/mg;
    is(scalar(() = $got =~ /^error=UNAVAILABLE: /mg), 3, "alone, a server that $what is no yes") or diag($got);
    cmp_ok($ms[0], '<', slow(2800), 'within the time of a question');
    cmp_ok($ms[1], '<', slow(1000), 'the next question is refused at once');
    cmp_ok($ms[2], '>', 1000, 'and after a while one asks again');
}
{
    my $got = ask({ %usual, url => "ldaps://127.0.0.1:$muted" }, together => 24, @may);
    my @ms  = $got =~ /^ms=(\d+)$/mg;
    is(scalar(() = $got =~ /^error=UNAVAILABLE: /mg), 24, 'of many questions at one time none is a yes') or diag($got);
    cmp_ok(scalar(grep { $_ > slow(1000) } @ms), '<=', 8, 'and no more than eight wait');
    is(scalar(grep { $_ > slow(5000) } @ms), 0, 'none of them beyond its time');
}

# ---- what is remembered

my ($again) = SCEPServer::free_ports(1);
my $pid = slapd('ldaps', $again);
{
    my %short = (%usual, url => "ldaps://127.0.0.1:$again", cache => slow(3));
    unlink "$dir/ca.conf" or die "$dir/ca.conf: $!\n";
    # the tool goes on while the server is stopped
    my $asker = fork // die "fork: $!\n";
    if (!$asker) {
        spew("$dir/remembered", ask(\%short, @may, sleep => 1500 * slow(1), @may, may => 'carol', 'T1', sleep => 7000 * slow(1), @may));
        require POSIX;
        POSIX::_exit(0);
    }
    ok(wait_for(sub { -e "$dir/ca.conf" }, slow(10)), 'one asks several times');
    select undef, undef, undef, slow(0.7);
    SCEPRun::end_child($pid);
    waitpid $asker, 0;
    my @got = slurp("$dir/remembered") =~ /^(yes|error=UNAVAILABLE)/mg;
    is_deeply(\@got, ['yes', 'yes', 'error=UNAVAILABLE', 'error=UNAVAILABLE'],
        'a yes is remembered while the server is away, for the time of the cache, and nothing else is')
        or diag(slurp("$dir/remembered"));
}
like(ask({ %usual, cache => 0 }, @may, @may), qr/^yes\n.*^yes$/ms, 'without a cache each question is asked');

kill 'KILL', $mute, $half;
waitpid $_, 0 for $mute, $half;
SCEPRun::end_child($_) for @slapds;
done_testing();
