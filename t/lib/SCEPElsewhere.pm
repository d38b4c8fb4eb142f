# For the demo: the CA that `scep-ca init` made goes elsewhere, and ca.conf names the way to it. Its key
# leaves scep-ca's folder; what serves it is as real as can be had on one machine.
package SCEPElsewhere;
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use SCEPRun qw(run have slow slurp spew);
use SCEPSamba;
use SCEPServer;

use constant { NAME => 'demo', TEMPLATE => 'IPSECIntermediateOffline' };

# What a kind needs of httpd, and how its CA is set up once scep-ca init has run.
my %kinds = (
    adcs => { arrange => \&adcs, apart => 1, started => \&learn },
    exec => { httpd => \&exec_user, arrange => \&exec },
    cmp  => { modules => [qw(alias cgid)], httpd => \&cgi, arrange => \&cmp },
    est  => { modules => [qw(alias cgid ssl)], ports => 2, httpd => \&tls, arrange => \&est },
);

sub kinds { return sort keys %kinds }

# Does it live in namespaces of its own, as long as the process that started it?
sub is_apart { return $kinds{ $_[0] } && $kinds{ $_[0] }{apart} }

# Options for SCEPServer->new.
sub options {
    my ($kind) = @_;
    my $k = $kinds{$kind} or return;
    return (ports => $k->{ports} // 1, modules => $k->{modules} // [], server => $k->{httpd} ? $k->{httpd}->() : '');
}

# After prepare(), before start().
sub arrange {
    my ($kind, $s) = @_;
    my $place = $s->dir . '/elsewhere';
    mkdir $place or die "$place: $!\n";
    chmod 0755, $place;
    rename $s->dir . '/ca/ca.key', "$place/ca.key" or die "ca.key: $!\n";
    spew("$place/ca.pem", slurp($s->ca_cert), 0644);
    my @lines = $kinds{$kind}{arrange}->($s, $place);
    my $conf = slurp($s->ca_conf);
    $conf =~ s/^\s*(?:ca_key|crl_file|crl_days)\s*=.*\n//mg;
    $conf =~ s/^\s*connector\s*=.*\n/join '', map { "$_\n" } "connector = $kind", @lines/me or die "no connector: $conf\n";
    spew($s->ca_conf, $conf);
    return;
}

# After start().
sub started {
    my ($kind, $s) = @_;
    $kinds{$kind}{started}->($s) if $kinds{$kind} && $kinds{$kind}{started};
    return;
}

sub must {
    my ($command, %o) = @_;
    my $ran = run($command, timeout => slow(60), %o);
    die "@$command: $ran->{output}\n" if $ran->{status} != 0;
    return $ran->{output};
}

# Files that only one user may read; as root, otherwise all are ours.
sub give {
    my ($user, @paths) = @_;
    for my $path (@paths) {
        chmod -d $path ? 0700 : 0600, $path or die "$path: $!\n";
        next if !SCEPServer::as_root();
        chown +(getpwnam $user)[2, 3], $path or die "$path: $!\n";
    }
    return;
}

# A secret of scep-ca's, in its folder.
sub secret {
    my ($s, $name, $text) = @_;
    spew($s->dir . "/ca/$name", "$text\n", 0600);
    give(SCEPServer::ca_user(), $s->dir . "/ca/$name");
    return "file:$name";
}

# A CGI program of the private httpd's, which runs as its workers do.
sub program {
    my ($s, $name, $text) = @_;
    spew($s->dir . "/cgi-bin/$name", $text, 0755);
    return;
}

# ---- exec: the script of conf/connectors, as it is

sub exec_user { return SCEPServer::as_root() ? "SCEPExecUser nobody\n" : '' }

sub exec {
    my ($s, $place) = @_;
    my $user = SCEPServer::first_user('nobody');
    my @as = SCEPServer::as_root() ? (user => [(getpwnam $user)[2, 3]]) : ();
    my $script = "$place/openssl-ca";
    spew($script, slurp("$ENV{srcdir}/conf/connectors/openssl-ca"), 0755);
    my $folder = "$place/folder";
    mkdir $folder or die "$folder: $!\n";
    give($user, $folder);
    must([$script, $folder, 'init', '/CN=Elsewhere'], @as);
    spew("$folder/$_", slurp("$place/$_")) for qw(ca.key ca.pem);
    unlink "$place/ca.key";
    return ("program = $script", "arguments = $folder");
}

# ---- cmp: OpenSSL's own CMP server, as a CGI program

sub cgi {
    return <<'END';
ScriptSock "@DIR@/run/cgi.sock"
ScriptAlias "/elsewhere/" "@DIR@/cgi-bin/"
<Directory "@DIR@/cgi-bin">
Require all granted
</Directory>
END
}

sub cmp {
    my ($s, $place) = @_;
    my $secret = SCEPServer::random_hex(16);
    my $server = SCEPServer::built('t/tool/cmp-ca');
    must(['cp', $server, "$place/cmp-ca"]);
    spew("$place/secret", "$secret\n");
    give(SCEPServer::worker_user(), "$place/ca.key", "$place/secret");
    program($s, 'cmp', "#!/bin/sh\nexec $place/cmp-ca $place/ca.pem $place/ca.key @{[NAME]} $place/secret\n");
    return ('url = http://127.0.0.1:' . $s->port . '/elsewhere/cmp', 'reference = ' . NAME,
        'secret = ' . secret($s, 'cmp.secret', $secret), 'implicit_confirm = yes');
}

# ---- est: httpd, a password, and the openssl command behind it

sub tls {
    return cgi() . <<'END';
<VirtualHost 127.0.0.1:@PORT2@>
ServerName 127.0.0.1
SSLEngine on
SSLCertificateFile "@DIR@/elsewhere/tls.pem"
SSLCertificateKeyFile "@DIR@/elsewhere/tls.key"
ScriptAlias "/.well-known/est/simpleenroll" "@DIR@/cgi-bin/simpleenroll"
ScriptAlias "/.well-known/est/cacerts" "@DIR@/cgi-bin/cacerts"
<Location "/.well-known/est/simpleenroll">
AuthType Basic
AuthName "EST"
AuthUserFile "@DIR@/elsewhere/users"
Require valid-user
</Location>
</VirtualHost>
END
}

sub est {
    my ($s, $place) = @_;
    my $password = SCEPServer::random_hex(16);
    must(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$place/tls.key",
            '-out', "$place/tls.pem", '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '30']);
    must(['htpasswd', '-i', '-B', '-c', "$place/users", NAME], stdin => "$password\n");
    give(SCEPServer::worker_user(), "$place/ca.key", "$place/users");
    spew("$place/extensions", <<'END', 0644);
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    # RFC 7030 4.2 and 4.1: bodies are base64; answers hold certificates and nothing else
    my $answer = "printf 'Content-Type: application/pkcs7-mime; smime-type=certs-only\\r\\n"
        . "Content-Transfer-Encoding: base64\\r\\n\\r\\n'";
    program($s, 'simpleenroll', <<"END");
#!/bin/sh
work=\$(mktemp -d) && trap 'rm -rf "\$work"' EXIT || exit 1
head -c 65536 | base64 -d > "\$work/csr" &&
    openssl x509 -req -inform DER -in "\$work/csr" -CA $place/ca.pem -CAkey $place/ca.key -days 365 \\
        -extfile $place/extensions -out "\$work/cert" 2> "\$work/why" &&
    openssl crl2pkcs7 -nocrl -certfile "\$work/cert" -outform DER -out "\$work/answer" || {
        printf 'Status: 400 Bad Request\\r\\nContent-Type: text/plain\\r\\n\\r\\n'
        cat "\$work/why"
        exit 0
    }
$answer
base64 "\$work/answer"
END
    program($s, 'cacerts', "#!/bin/sh\n$answer\nopenssl crl2pkcs7 -nocrl -certfile $place/ca.pem -outform DER | base64\n");
    return ('url = https://127.0.0.1:' . $s->port(1), 'user = ' . NAME,
        'password = ' . secret($s, 'est.password', $password), "tls_ca = $place/tls.pem");
}

# ---- adcs: a domain controller of Samba's, in namespaces of its own

# Goes on in them; the port stays where everybody reaches it, and what comes there is handed on.
my $door;

sub enter {
    my ($port) = @_;
    if (!defined $ENV{SCEP_DEMO_DOOR}) {
        local $^F = 255; # it lives through exec
        $door = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1) or return;
        $ENV{SCEP_DEMO_DOOR} = fileno $door;
    }
    SCEPSamba::enter();
    $door = IO::Socket::INET->new_from_fd($ENV{SCEP_DEMO_DOOR}, 'r+') or die "the listener: $!\n";
    delete $ENV{SCEP_DEMO_DOOR};
    return 1;
}

# One connection, until either side ends it.
sub hand_on {
    my ($client, $port) = @_;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return;
    my $both = IO::Select->new($client, $server);
    while (1) {
        for my $from ($both->can_read) {
            sysread($from, my $data, 65536) or return;
            my $to = $from == $client ? $server : $client;
            for (my $sent = 0; $sent < length $data;) {
                $sent += syswrite($to, $data, length($data) - $sent, $sent) // return;
            }
        }
    }
    return;
}

sub open_door {
    my ($s) = @_;
    my $pid = fork // die "fork: $!\n";
    return if $pid; # ends with the namespace
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
    while (1) {
        my $client = $door->accept or next;
        my $child = fork // next;
        next if $child;
        hand_on($client, $s->port);
        POSIX::_exit(0);
    }
    return;
}

# The RA's certificates, which scep-ca got from the CA, to where scep-ca init would have put them.
sub learn {
    my ($s) = @_;
    my $file = $s->dir . '/ca-ra.p7';
    must(['curl', '-sf', '-o', $file, $s->url . '?operation=GetCACert']);
    my $all = must(['openssl', 'pkcs7', '-inform', 'DER', '-in', $file, '-print_certs']);
    while ($all =~ /(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n)/gs) {
        my $pem = $1;
        my $usage = must(['openssl', 'x509', '-noout', '-ext', 'keyUsage'], stdin => $pem);
        next if $usage =~ /Certificate Sign/;
        spew($s->dir . '/ca/ra-' . ($usage =~ /Key Encipherment/ ? 'decrypt' : 'sign') . '.pem', $pem);
    }
    return;
}

sub adcs {
    my ($s, $place) = @_;
    my $ad = SCEPSamba->up(accounts => ['ndes']);
    $s->{ad} = $ad; # ends with it
    my %environment = $ad->environment;
    @ENV{ keys %environment } = values %environment;
    spew($s->dir . '/ca/ndes.keytab', slurp($ad->keytab('ndes')), 0600);
    give(SCEPServer::ca_user(), $s->dir . '/ca/ndes.keytab');
    spew($s->ca_cert, slurp($ad->ca . '/ca.pem'));
    my $conf = slurp($s->ca_conf);
    $conf =~ s/^\s*ra_(?:sign|decrypt)_(?:cert|key)\s*=.*\n//mg; # scep-ca gets them from the CA
    $conf =~ s/^(\[template .*\])\n/$1\nca_template = Device\n/mg;
    spew($s->ca_conf, $conf);
    open_door($s);
    return ('server = ' . SCEPSamba::HOST, 'ca_name = ' . SCEPSamba::CA_NAME, 'principal = ndes@' . SCEPSamba::REALM,
        'keytab = file:ndes.keytab');
}

1;
