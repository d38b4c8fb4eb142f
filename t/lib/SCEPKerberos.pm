# A private MIT KDC on loopback: a realm, its users, and a keytab.
package SCEPKerberos;
use strict;
use warnings;
use IO::Socket::INET;
use SCEPRun qw(run spawn wait_for slow slurp spew have);
use SCEPServer;

my $realm = 'SCEP.TEST';

sub realm  { return $realm }
sub keytab { return "$_[0]{dir}/http.keytab" }

# What a client or httpd needs in its environment. The replay cache's folder is httpd's alone.
sub environment {
    my ($self) = @_;
    return (KRB5_CONFIG => "$self->{dir}/krb5.conf", KRB5RCACHEDIR => "$self->{dir}/replay");
}

sub must {
    my ($self, $command, $stdin) = @_;
    my $ran = run([have($command->[0]), @$command[1 .. $#$command]], stdin => $stdin // '',
        env => { $self->environment, KRB5_KDC_PROFILE => "$self->{dir}/kdc.conf" });
    die "@$command: $ran->{output}\n" if $ran->{status} != 0;
    return $ran->{output};
}

# Options: dir: an existing folder; users: name => password; services: names. Dies where the KDC
# does not answer. httpd's workers may read keytab(), which has the services.
sub start {
    my ($class, %o) = @_;
    my $dir  = "$o{dir}/kerberos";
    my $self = bless { dir => $dir, port => (SCEPServer::free_ports(1))[0] }, $class;
    for ($dir, "$dir/replay") {
        mkdir $_ or die "$_: $!\n";
    }
    chmod 0711, $dir;
    spew("$dir/krb5.conf", <<"END");
[libdefaults]
default_realm = $realm
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
$realm = {
    kdc = 127.0.0.1:$self->{port}
}
[domain_realm]
scep.test = $realm
END
    spew("$dir/kdc.conf", <<"END");
[kdcdefaults]
kdc_listen = ""
kdc_tcp_listen = 127.0.0.1:$self->{port}
[realms]
$realm = {
    database_name = $dir/principal
    key_stash_file = $dir/stash
    acl_file = $dir/acl
}
[logging]
kdc = FILE:$dir/kdc.log
default = FILE:$dir/other.log
END
    my $master = SCEPServer::random_hex(12);
    $self->must(['kdb5_util', 'create', '-s', '-r', $realm], "$master\n$master\n");
    # By standard input, as no password belongs into a list of processes.
    my $orders = join '', map { "addprinc -pw $o{users}{$_} $_\n" } sort keys %{ $o{users} };
    $orders .= "addprinc -randkey $_\nktadd -k $dir/http.keytab $_\n" for @{ $o{services} };
    my $said = $self->must(['kadmin.local', '-r', $realm], $orders);
    die "kadmin.local: $said\n" if !-s "$dir/http.keytab";
    if (SCEPServer::as_root()) {
        my ($uid, $gid) = (getpwnam SCEPServer::worker_user())[2, 3];
        chown $uid, $gid, "$dir/replay", "$dir/http.keytab";
    }
    $self->{pid} = spawn([have('krb5kdc'), '-n', '-r', $realm], output => "$dir/log",
        env => { $self->environment, KRB5_KDC_PROFILE => "$dir/kdc.conf" });
    my $up = wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5) },
        slow(20));
    die 'krb5kdc does not answer: ' . slurp("$dir/log") . "\n" if !$up;
    return $self;
}

# A ticket cache with the ticket of a user: its name for KRB5CCNAME.
sub ticket {
    my ($self, $user, $password) = @_;
    my $cache = "FILE:$self->{dir}/cache-$user";
    $self->must(['kinit', '-c', $cache, $user], "$password\n");
    return $cache;
}

sub stop { return SCEPRun::end_child($_[0]{pid}) }

1;
