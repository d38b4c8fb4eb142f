# A real Active Directory, Samba's, with a certification authority's RPC interface inside it (t/ad).
# All of it, the test too, lives in namespaces of its own: network (ports 88, 135, 389 … are free, and
# nothing can be reached from outside), mounts (its own /etc/hosts) and processes (nothing outlives it).
package SCEPSamba;
use strict;
use warnings;
use File::Temp ();
use IO::Socket::INET;
use MIME::Base64 ();
use SCEPNamespace;
use SCEPRun qw(run spawn wait_for slow slurp spew have);
use Test::More ();

use constant { REALM => 'CORP.TEST', HOST => 'dc1.corp.test', CA_NAME => 'Zürich Test CA' };

sub unable { return SCEPNamespace::unable(@_) }

# Goes on in namespaces of its own; called before anything else.
sub enter {
    unable("$_ is not installed") for grep { !have($_) } qw(samba samba-tool gcc pkg-config openssl);
    unable('the development files of Samba are not installed')
        if run(['pkg-config', '--exists', 'dcerpc', 'ndr', 'talloc', 'tevent'])->{status} != 0;
    SCEPNamespace::enter();
    return;
}

sub must {
    my ($command, %o) = @_;
    my $ran = run([have($command->[0]) // $command->[0], @$command[1 .. $#$command]], %o);
    die "@$command: $ran->{output}\n" if $ran->{status} != 0;
    return $ran->{output};
}

# A file of /etc that is another one here.
sub replace {
    my ($self, $path, $text) = @_;
    (my $name = $path) =~ s{.*/}{};
    spew("$self->{dir}/$name", $text, 0644);
    must(['mount', '--bind', "$self->{dir}/$name", $path]);
    return;
}

# What Kerberos needs; its look-ups of names leave memory behind in libc, which is no leak of ours.
sub environment {
    my ($self) = @_;
    return (
        KRB5_CONFIG  => "$self->{dir}/krb5.conf",
        KRB5CCNAME   => "FILE:$self->{dir}/none",
        ASAN_OPTIONS => 'detect_leaks=0'
    );
}

sub dir      { return $_[0]{dir} }
sub ca       { return "$_[0]{dir}/ca" }
sub conf     { return "$_[0]{dir}/ad/etc/smb.conf" }
sub database { return "$_[0]{dir}/ad/private/sam.ldb" }

sub tool {
    my ($self, @words) = @_;
    return must(['samba-tool', @words, '-s', $self->conf], env => { $self->environment });
}

sub write_configuration {
    my ($self) = @_;
    my ($dir, $realm) = ($self->{dir}, REALM);
    my $host = HOST;
    $self->replace('/etc/hosts', "127.0.0.1 localhost $host dc1 corp.test ca1.corp.test other.corp.test\n");
    $self->replace('/etc/resolv.conf', "nameserver 127.0.0.1\n");
    spew("$dir/krb5.conf", <<"END", 0644);
[libdefaults]
default_realm = $realm
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
[realms]
$realm = {
    kdc = 127.0.0.1
}
[domain_realm]
.corp.test = $realm
END
    # for whoever has no environment of ours
    $self->replace('/etc/krb5.conf', slurp("$dir/krb5.conf")) if -e '/etc/krb5.conf';
    return;
}

# Samba's configuration as provisioned, with less of it started, and the interface of the CA.
sub provision {
    my ($self) = @_;
    my $dir = "$self->{dir}/ad";
    must(['samba-tool', 'domain', 'provision', '--realm=' . REALM, '--domain=CORP', '--server-role=dc',
            '--dns-backend=NONE', "--adminpass=Pw-$self->{password}", '--host-name=dc1', '--host-ip=127.0.0.1',
            "--targetdir=$dir", '--option=interfaces=lo', '--option=bind interfaces only=yes'],
        env => { $self->environment }, timeout => slow(120));
    mkdir "$dir/$_" or die "$dir/$_: $!\n" for qw(run ncalrpc logs);
    mkdir "$dir/ntp", 0750 or die "$dir/ntp: $!\n";
    my $conf = slurp($self->conf);
    # of a key that is there twice, the last one counts; below TLS Kerberos needs no second seal, as
    # with Windows
    $conf =~ s/^\s*(?:server services|log file|pam \w.*|panic action) *=.*\n//mg;
    $conf =~ s/^\[(?:homes|printers|print\$)\]\n(?:(?!\[).*\n)*//mg;
    $conf =~ s/^\[global\]\n/<<"END"/me or die "no [global]: $conf\n";
[global]
\tserver services = rpc, ldap, cldap, kdc
\tldap server require strong auth = allow_sasl_over_tls
\tdcerpc endpoint servers = epmapper, samr, netlogon, lsarpc, drsuapi, icpr
\tpid directory = $dir/run
\tncalrpc dir = $dir/ncalrpc
\tntp signd socket directory = $dir/ntp
\tlog file = $dir/logs\/log.%m
END
    spew($self->conf, $conf);
    return;
}

# The directory's TLS key, which Samba would take seconds to make.
sub make_tls {
    my ($self) = @_;
    my $tls = "$self->{dir}/ad/private/tls";
    my $host = HOST;
    mkdir $tls, 0700 or die "$tls: $!\n" if !-d $tls;
    must(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$tls/key.pem",
            '-out', "$tls/cert.pem", '-subj', "/CN=$host", '-days', '365', '-addext', "subjectAltName=DNS:$host"]);
    chmod 0600, "$tls/key.pem";
    spew("$tls/ca.pem", slurp("$tls/cert.pem"), 0644);
    return;
}

# What a client of ldaps has to trust.
sub directory_ca { return "$_[0]{dir}/ad/private/tls/ca.pem" }

sub make_ca {
    my ($self) = @_;
    my $ca = $self->ca;
    for ($ca, "$ca/requests") { mkdir $_ or die "$_: $!\n" }
    spew("$ca/name", CA_NAME);
    must(['openssl', 'req', '-x509', '-utf8', '-newkey', 'rsa:2048', '-nodes', '-keyout', "$ca/ca.key", '-out', "$ca/ca.pem",
            '-subj', '/DC=test/DC=corp/CN=' . CA_NAME, '-days', '3650', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
    return;
}

# An account and its keytab's path.
sub account {
    my ($self, $name) = @_;
    $self->tool('user', 'create', $name, "Pw-$self->{password}", '-H', $self->database);
    $self->tool('domain', 'exportkeytab', "$self->{dir}/$name.keytab", "--principal=$name\@" . REALM);
    return "$self->{dir}/$name.keytab";
}

# Where the module is built that makes Samba a CA.
sub build {
    my ($self) = @_;
    my @flags = split ' ', must(['pkg-config', '--cflags', '--libs', qw(dcerpc ndr talloc tevent)]);
    must(['gcc', '-std=gnu11', '-O1', '-fPIC', '-shared', '-Wall', '-Werror', '-o', "$self->{dir}/icpr.so", "$ENV{srcdir}/t/ad/dcesrv_icpr.c",
            @flags, qw(-ldcerpc-server-core -lsamba-util -lsamba-errors)]);
    return;
}

sub answers { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 2) }

# A running domain controller. Options: accounts: names, each with a keytab keytab(NAME).
sub up {
    my ($class, %o) = @_;
    my $self = bless { dir => File::Temp::tempdir('scep-ad-XXXXXX', TMPDIR => 1, CLEANUP => 1) }, $class;
    chmod 0755, $self->{dir};
    $self->{password} = join '', map { sprintf '%02x', int rand 256 } 1 .. 12;
    $self->write_configuration;
    $self->build;
    $self->provision;
    $self->make_tls;
    $self->make_ca;
    $self->{keytab}{$_} = $self->account($_) for @{ $o{accounts} };
    $self->start;
    return $self;
}

sub keytab { return $_[0]{keytab}{ $_[1] } }

sub start {
    my ($self) = @_;
    $self->{pid} = spawn([have('samba'), '-i', '--debug-stdout', '-s', $self->conf, '-M', 'single', '-d', '1'],
        output => "$self->{dir}/samba.log",
        env    => {
            $self->environment,
            LD_PRELOAD          => "$self->{dir}/icpr.so",
            SCEP_TEST_CA        => "$ENV{srcdir}/t/ad/ca.pl",
            SCEP_TEST_CA_FOLDER => $self->ca
        });
    wait_for(sub { answers(389) && answers(88) && answers(135) }, slow(60))
        or die "Samba does not answer:\n" . slurp("$self->{dir}/samba.log") . "\n";
    return;
}

sub stop { my ($self) = @_; return SCEPRun::end_child($self->{pid}) }

# ---- the CA's memory

sub last_request { my ($self) = @_; return -e $self->ca . '/last' ? slurp($self->ca . '/last') : 0 }

# A file of request $id, or '' where there is none; with a third argument, it is written.
sub request_file {
    my ($self, $id, $name, $text) = @_;
    my $path = $self->ca . "/requests/$id/$name";
    return spew($path, $text) if defined $text;
    return -e $path ? slurp($path) : '';
}

# ---- the directory

# Samba's own Python, which may not be the first one of the path.
sub python { return -x '/usr/bin/python3' ? '/usr/bin/python3' : have('python3') }

sub ldif {
    my ($self, $verb, $text) = @_;
    my $ran = run([python(), "$ENV{srcdir}/t/ad/ldif.py", $verb, $self->conf, $self->database], stdin => $text, env => { $self->environment });
    die "ldif $verb: $ran->{output}\n$text\n" if $ran->{status} != 0;
    return $ran->{output};
}

sub sid_of {
    my ($self, $name) = @_;
    my ($sid) = $self->ldif('sid', "{SID $name}") =~ /^(S-1-[\d-]+)$/m or die "no SID of $name\n";
    return $sid;
}

sub group {
    my ($self, $name, @members) = @_;
    $self->tool('group', 'add', $name, '-H', $self->database);
    $self->tool('group', 'addmembers', $name, join(',', @members), '-H', $self->database) if @members;
    return;
}

my $services = 'CN=Public Key Services,CN=Services,CN=Configuration,{BASE}';
my $enroll   = '0e10c968-78fb-11d2-90d4-00c04f79dc55';

sub template_dn { return "CN=$_[0],CN=Certificate Templates,$services" }

# Entries of a list of access as SDDL: allow or deny NAME to enrol.
sub allow { return "(OA;;CR;$enroll;;{SID $_[0]})" }
sub deny  { return "(OD;;CR;$enroll;;{SID $_[0]})" }

# As the console of Windows writes it: administrators may do all, all users may read.
sub descriptor { return 'O:EAG:EAD:PAI' . join('', @_) . '(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;DA)(A;;LCRPLORC;;;AU)' }

sub b64 { return MIME::Base64::encode_base64($_[0], '') }

sub filetime { return b64(pack 'q<', -10_000_000 * $_[0]) }

# A certificate template. Options: access: the entries of its list; other ones are attributes, undef
# leaves one out.
sub template {
    my ($self, $name, %o) = @_;
    my %is = (
        objectClass                     => 'pKICertificateTemplate',
        cn                              => $name,
        displayName                     => "Shown as $name",
        flags                           => 131136,
        revision                        => 100,
        pKIDefaultKeySpec               => 1,
        'pKIKeyUsage:'                  => b64("\xa0\0"),
        pKIMaxIssuingDepth              => 0,
        pKICriticalExtensions           => '2.5.29.15',
        'pKIExpirationPeriod:'          => filetime(365 * 86400),
        'pKIOverlapPeriod:'             => filetime(42 * 86400),
        pKIExtendedKeyUsage             => '1.3.6.1.5.5.7.3.2',
        'msPKI-RA-Signature'            => 0,
        'msPKI-Enrollment-Flag'         => 0,
        'msPKI-Private-Key-Flag'        => 16842752,
        'msPKI-Certificate-Name-Flag'   => 1,
        'msPKI-Minimal-Key-Size'        => 2048,
        'msPKI-Template-Schema-Version' => 2,
        'msPKI-Template-Minor-Revision' => 3,
        'msPKI-Cert-Template-OID'       => '1.3.6.1.4.1.311.21.8.' . join('.', map { ord } split //, $name),
        nTSecurityDescriptor            => descriptor(@{ $o{access} // [] }),
    );
    delete $o{access};
    %is = (%is, %o);
    $self->ldif('add', 'dn: ' . template_dn($name) . "\n" . join('', map { defined $is{$_} ? "$_: $is{$_}\n" : () } sort keys %is));
    return;
}

# Another list of access for one that is there.
sub access {
    my ($self, $name, @entries) = @_;
    $self->ldif('modify', 'dn: ' . template_dn($name) . "\nchangetype: modify\nreplace: nTSecurityDescriptor\n"
            . 'nTSecurityDescriptor: ' . descriptor(@entries) . "\n");
    return;
}

# A CA with the certificate in that file, which offers these templates.
sub enrollment_service {
    my ($self, $name, $pem, @templates) = @_;
    my ($cert) = slurp($pem) =~ /-----BEGIN CERTIFICATE-----\n(.*?)-----END/s or die "$pem has no certificate\n";
    $cert =~ s/\n//g;
    $self->ldif('add', "dn: CN=$name,CN=Enrollment Services,$services\nobjectClass: pKIEnrollmentService\ncn: $name\n"
            . "displayName: $name\ndNSHostName: ca1.corp.test\nflags: 10\ncACertificateDN: CN=$name\n"
            . "cACertificate:: $cert\n" . join '', map { "certificateTemplates: $_\n" } @templates);
    return;
}

1;
