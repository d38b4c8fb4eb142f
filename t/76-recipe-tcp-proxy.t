# conf/recipes/behind-tcp-proxy.conf: NTLM's and certificates' way through a load balancer.
use SCEPTest;
use SCEPRecipe;
use IO::Select;
use IO::Socket::INET;

need_server('curl');
need_modules(qw(ssl remoteip lua auth_gssapi));
need_ntlm();

my $s = recipes(
    recipes => [qw(behind-tcp-proxy ntlm client-certificate)],
    lua     => ['ntlm-version'],
    modules => [qw(remoteip authz_groupfile lua auth_gssapi)],
    define  => {
        SCEP_DIRECT     => '127.0.0.9',
        SCEP_ADMIN_NET  => '127.0.0.0/8',
        SCEP_ADMIN_NAME => 'admin.test',
        SCEP_CLIENT_CA  => '@DIR@/tls-ca.pem',
        SCEP_CLIENT_CRL => '@DIR@/client.crl',
        SCEP_USERS      => '@DIR@/certificates',
        SCEP_GROUPS     => '@DIR@/groups'
    });
my $dir = $s->dir;
tls_certificate($dir, 'mdm', '/O=Example/CN=mdm', 'client');
write_crl($dir);
run(['htpasswd', '-b', '-B', '-c', "$dir/certificates", '/O=Example/CN=mdm', 'password']);
chmod 0644, "$dir/certificates";
spew("$dir/groups", "scep: EXAMPLE\\alice\n", 0644);
my $password = SCEPServer::random_hex(8);
write_ntlm_users($dir, alice => $password);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;

# A load balancer: it says who calls and passes everything on.
my ($balancer) = SCEPServer::free_ports(1);
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $balancer, Listen => 5, ReuseAddr => 1)
    or BAIL_OUT("port $balancer: $!");
my $back  = $s->port(1);
my ($owner, $child);
$child = fork // BAIL_OUT("fork: $!");
if (!$child) {
    $SIG{TERM} = 'DEFAULT';
    while (my $client = $listen->accept) {
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $back) or next;
        syswrite $server, 'PROXY TCP4 ' . $client->peerhost . ' 127.0.0.1 ' . $client->peerport . " $balancer\r\n";
        my %other = ($client => $server, $server => $client);
        my $both  = IO::Select->new($client, $server);
        # One after the other, as curl asks.
        while (my @ready = $both->can_read(10)) {
            my @over = grep { my $n = sysread $_, my $bytes, 65536; !$n || !syswrite $other{$_}, $bytes } @ready;
            last if @over;
        }
        close $_ for $client, $server;
    }
    require POSIX;
    POSIX::_exit(0);
}
close $listen;
$owner = $$;
END { kill 'TERM', $child if $child && $owner && $owner == $$ }

my @certificate = ('--cert', "$dir/mdm.pem", '--key', "$dir/mdm.key");
my @at = (host => 'admin.test', port => $balancer);
no_challenge(page($s, @at), 0, 'through the load balancer: without a certificate there is no connection');
audited($s, page($s, @at, curl => [@certificate, '--interface', '127.0.0.7']),
    '/O=Example/CN=mdm', '127.0.0.7', 'with one there is a challenge');
no_challenge(page($s, host => 'admin.test', curl => \@certificate), 0,
    'a connection that does not say who calls gets nothing');
audited($s, page($s, host => 'admin.test', curl => [@certificate, '--interface', '127.0.0.9']),
    '/O=Example/CN=mdm', '127.0.0.9', 'but the exception does');
my @ntlm = (port => $balancer, curl => ['--ntlm', '--interface', '127.0.0.7']);
no_challenge(page($s, @ntlm, user => 'EXAMPLE\alice:wrong'), 401, 'by NTLM with a wrong password there is none');
audited($s, page($s, @ntlm, user => "EXAMPLE\\alice:$password"), 'EXAMPLE\alice', '127.0.0.7', 'with the right one there is');
kill 'TERM', $child;
waitpid $child, 0;
undef $child;
$s->allow_log('AH0350\d', 'RemoteIPProxyProtocol', 'AH02276', 'AH02039', 'GSS ERROR');

finish($s);
done_testing();
