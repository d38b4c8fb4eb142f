# A private slapd on loopback, over TLS, with names as Active Directory has them; and any directory,
# asked as scep-ca asks it.
package SCEPDirectory;
use strict;
use warnings;
use IO::Socket::INET;
use SCEPRecipe ();
use SCEPRun qw(run spawn wait_for slow slurp spew have);
use SCEPServer;

my $base = 'dc=example,dc=test';

sub base    { return $base }
sub group   { return "cn=SCEP Operators,$base" }
sub bind_dn { return "cn=reader,$base" }
sub port    { return $_[0]{port} }
sub secret  { return $_[0]{secret} }

sub schema {
    for my $file (qw(/etc/ldap/schema/core.schema /etc/openldap/schema/core.schema)) {
        return $file if -e $file;
    }
    die "slapd has no core.schema in /etc/ldap/schema or /etc/openldap/schema\n";
}

sub configuration {
    my ($self, $top) = @_;
    my ($dir, $schema, $reader) = ($self->{dir}, schema(), bind_dn());
    return <<"END";
include $schema
# As in Active Directory.
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 2.25.1 NAME 'windowsAccount' SUP top AUXILIARY MAY ( sAMAccountName \$ userPrincipalName ) )
TLSCACertificateFile $top/tls-ca.pem
TLSCertificateFile $top/slapd.pem
TLSCertificateKeyFile $top/slapd.key
pidfile $dir/pid
database ldif
suffix "$base"
directory $dir/data
access to attrs=userPassword by anonymous auth
access to * by dn.exact="$reader" read by * none
END
}

sub entries {
    my ($reader, %o) = @_;
    my $text = "dn: $base\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n"
        . 'dn: ' . bind_dn() . "\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: $reader\n\n";
    my %nameless = map { $_ => 1 } @{ $o{nameless} // [] };
    for my $account (sort keys %{ $o{users} }) {
        $text .= "dn: cn=$account Smith,$base\nobjectClass: person\nobjectClass: windowsAccount\n"
            . "cn: $account Smith\nsn: Smith\nsAMAccountName: $account\n"
            . ($nameless{$account} ? '' : "userPrincipalName: $account\@example.test\n")
            . "userPassword: $o{users}{$account}\n\n";
    }
    return $text . 'dn: ' . group() . "\nobjectClass: groupOfNames\ncn: SCEP Operators\n"
        . join('', map { "member: cn=$_ Smith,$base\n" } @{ $o{members} });
}

# Options: dir: of the server, where tls-ca is; users: account => password; members: accounts of the
# group; nameless: accounts without a userPrincipalName. Dies where
# slapd does not answer. The password of bind_dn() stands in the file secret().
sub start {
    my ($class, %o) = @_;
    my $dir  = "$o{dir}/slapd";
    my $self = bless { dir => $dir, port => (SCEPServer::free_ports(1))[0], secret => "$dir/secret" }, $class;
    for ($dir, "$dir/data") {
        mkdir $_ or die "$_: $!\n";
    }
    chmod 0700, $dir;
    SCEPRecipe::tls_certificate($o{dir}, 'slapd', '/CN=127.0.0.1', 'server', 'IP:127.0.0.1');
    my $reader = SCEPServer::random_hex(12);
    spew($self->{secret}, $reader, 0600);
    spew("$dir/slapd.conf", $self->configuration($o{dir}), 0600);
    spew("$dir/all.ldif", entries($reader, %o), 0600);
    my $added = run([have('slapadd'), '-f', "$dir/slapd.conf", '-l', "$dir/all.ldif"]);
    die "slapadd: $added->{output}\n" if $added->{status} != 0;
    # With -d, at level 0 too, it stays in the foreground.
    $self->{pid} = spawn(
        [have('slapd'), '-d', '0', '-h', "ldaps://127.0.0.1:$self->{port}", '-f', "$dir/slapd.conf"],
        output => "$dir/log");
    my $up = wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5) },
        slow(20));
    die 'slapd does not answer: ' . slurp("$dir/log") . "\n" if !$up;
    return $self;
}

sub stop { return SCEPRun::end_child($_[0]{pid}) }

# ---- any directory

sub keys_of {
    my (%o) = @_;
    return join '', map { "$_ = $o{$_}\n" } sort keys %o;
}

# What t/tool/directory-ask prints for these questions to a directory of these keys of ca.conf, which
# is written into the folder $dir.
sub ask {
    my ($dir, $keys, @questions) = @_;
    spew("$dir/ca.conf", <<"END" . keys_of(%$keys), 0644);
store = sqlite3:store.db
store_key = file:store.key
[authority default]
connector = local
ca_cert = ca.pem
ca_key = file:ca.key
ra_sign_cert = a.pem
ra_sign_key = file:a.key
ra_decrypt_cert = a.pem
ra_decrypt_key = file:a.key
foreign_crl = none
templates = T
[template T]
days = 1
key_usage = digitalSignature
[directory corp]
END
    return run(["$ENV{builddir}/t/tool/directory-ask", "$dir/ca.conf", 'corp', @questions], timeout => slow(120))->{output};
}

1;
