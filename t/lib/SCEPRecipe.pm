# A server with files of conf/recipes as they are: the names come from Define lines before them.
package SCEPRecipe;
use strict;
use warnings;
use Encode ();
use Exporter 'import';
use SCEPAuthority;
use SCEPRun qw(run slurp spew have);
use SCEPServer;
use SCEPTest ();
use Test::More ();

our @EXPORT = qw(need_server need_modules need_ntlm write_ntlm_users recipes write_tls tls_certificate write_crl page
    no_challenge audited finish);

my $host = 'scep.test';
my (@minted, $counter);

# What CI must have: a test that misses it there has failed.
sub missing {
    my ($what) = @_;
    Test::More::BAIL_OUT("$what is missing, and CI=true allows no test to be left out") if ($ENV{CI} // '') eq 'true';
    Test::More::plan(skip_all => "$what is not installed; CI=true ./bootstrap installs it");
    return;
}

sub need_server {
    have($_) // missing($_) for @_;
    return;
}

# A file to load, or built in.
sub need_modules {
    my $built_in = run([$ENV{HTTPD}, '-l'])->{output};
    for my $name (@_) {
        -e "$ENV{HTTPD_MODULES}/mod_$name.so" or $built_in =~ /\bmod_$name\.c\b/ or missing("mod_$name");
    }
    return;
}

# gss-ntlmssp for httpd, curl for a client.
sub need_ntlm {
    missing('gss-ntlmssp') if !grep { slurp($_) =~ /ntlmssp/ } glob '/etc/gss/mech.d/*.conf';
    missing('curl with NTLM') if run(['curl', '-V'])->{output} !~ /\bNTLM\b/;
    return;
}

# The users (name => password) of the domain EXAMPLE, in the environment of the httpd that is started.
sub write_ntlm_users {
    my ($dir, %password) = @_;
    $ENV{NTLM_USER_FILE} = "$dir/ntlm-users";
    spew($ENV{NTLM_USER_FILE}, join('', map { "EXAMPLE:$_:$password{$_}\n" } sort keys %password), 0640);
    chown 0, SCEPServer::getgrnam_of(SCEPServer::worker_user()), $ENV{NTLM_USER_FILE} if SCEPServer::as_root();
    return;
}

# ---- TLS

my %usage = (
    ca     => "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
    server => "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n",
    client => "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n"
);

# NAME.pem and NAME.key in the folder, by the CA of write_tls() (itself for kind ca).
sub tls_certificate {
    my ($dir, $name, $subject, $kind, @names) = @_;
    spew("$dir/$name.ext", $usage{$kind} . (@names ? 'subjectAltName=' . join(',', @names) . "\n" : ''));
    SCEPAuthority::openssl(qw(req -new -newkey rsa:2048 -nodes -keyout), "$dir/$name.key", '-subj', $subject,
        '-out', "$dir/$name.csr");
    SCEPAuthority::openssl(qw(x509 -req -days 30 -in), "$dir/$name.csr", '-extfile', "$dir/$name.ext", '-set_serial',
        '0x' . SCEPServer::random_hex(8), '-out', "$dir/$name.pem",
        $kind eq 'ca' ? ('-signkey', "$dir/$name.key") : ('-CA', "$dir/tls-ca.pem", '-CAkey', "$dir/tls-ca.key"));
    return;
}

# tls-ca and server, for the names given.
sub write_tls {
    my ($dir, @names) = @_;
    tls_certificate($dir, 'tls-ca', '/CN=TLS CA', 'ca');
    tls_certificate($dir, 'server', "/CN=$names[0]", 'server', map { /^[\d.]+$/ ? "IP:$_" : "DNS:$_" } @names);
    return;
}

# client.crl of the CA in the folder, with these certificates revoked.
sub write_crl {
    my ($dir, @revoked) = @_;
    my $own = "$dir/crl.d";
    mkdir $own, 0700 or die "$own: $!\n";
    spew("$own/$_", '') for qw(index index.attr);
    spew("$own/conf", "[ca]\ndefault_ca=d\n[d]\ndatabase=$own/index\ndefault_md=sha256\n");
    my @ca = ('ca', '-config', "$own/conf", '-cert', "$dir/tls-ca.pem", '-keyfile', "$dir/tls-ca.key");
    SCEPAuthority::openssl(@ca, '-revoke', $_) for @revoked;
    SCEPAuthority::openssl(@ca, '-gencrl', '-crldays', 3, '-out', "$dir/client.crl");
    return;
}

# ---- the server

# A SCEPTest, not started. Devices have port(0) without TLS, recipes port(1). Options: recipes: their
# names; lua: their scripts' names; define: a hash of what they call for, @DIR@ and @PORTn@ are
# replaced; modules; proxied: true for a reverse proxy in front, port(2) without and port(3) with TLS.
sub recipes {
    my (%o) = @_;
    my %define = (
        SCEP_NAME            => $host,
        SCEP_TLS_ADDRESS     => '127.0.0.1:@PORT2@',
        SCEP_TLS_CERTIFICATE => '@DIR@/server.pem',
        SCEP_TLS_KEY         => '@DIR@/server.key',
        $o{proxied}
        ? (
            SCEP_PROXY             => '127.0.0.1',
            SCEP_FRONT_ADDRESS     => '127.0.0.1:@PORT3@',
            SCEP_FRONT_TLS_ADDRESS => '127.0.0.1:@PORT4@',
            SCEP_FRONT_CERTIFICATE => '@DIR@/front.pem',
            SCEP_FRONT_KEY         => '@DIR@/front.key',
            SCEP_BACK              => '127.0.0.1:@PORT2@',
            SCEP_BACK_CA           => '@DIR@/tls-ca.pem'
            )
        : (),
        %{ $o{define} // {} });
    $define{SCEP_RECIPES} = '@DIR@/recipes' if $o{lua};
    my @recipes = (($o{proxied} ? qw(behind-proxy proxy-front) : ()), @{ $o{recipes} });
    my $files = ($ENV{srcdir} // ".") . "/conf/recipes";
    my $s = SCEPTest->ready(
        ports   => $o{proxied} ? 4 : 2,
        modules => [
            qw(socache_shmcb ssl),
            ($o{proxied} ? qw(headers proxy proxy_http remoteip) : ()),
            @{ $o{modules} // [] }
        ],
        hosts   => "SCEPPasswordMax 100\nSSLSessionCache \"shmcb:\@DIR@/run/tls(512000)\"\n"
            . join('', map { "Define $_ \"$define{$_}\"\n" } sort keys %define)
            . join('', map { "Include \"$files/$_.conf\"\n" } @recipes)
            . "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName $host\nSCEPEngine on\n</VirtualHost>\n");
    # httpd's user opens these with each request, and need not get into the folder of the sources.
    if ($o{lua}) {
        my $scripts = $s->dir . '/recipes';
        mkdir $scripts and chmod 0755, $scripts or die "$scripts: $!\n";
        spew("$scripts/$_.lua", slurp("$files/$_.lua"), 0644) for @{ $o{lua} };
    }
    # Where the distribution's OpenSSL is older than the one its httpd was built with.
    $s->allow_log('AH01882: Init: this version of mod_ssl');
    write_tls($s->dir, $host, 'admin.test');
    tls_certificate($s->dir, 'front', "/CN=$host", 'server', "DNS:$host") if $o{proxied};
    return $s;
}

# The challenge page by curl: { status, text, challenge, headers }. Options: user ("name:password"),
# curl (further arguments), port, host, path.
sub page {
    my ($s, %o) = @_;
    my $port = $o{port} // $s->port(1);
    my $name = $o{host} // $host;
    my $out  = $s->work('page-' . ++$counter);
    my $user = $o{user};
    $user =~ s/([\\"])/\\$1/g if defined $user;
    # The password goes through standard input, so that it stands in no list of processes.
    my $got = run(
        ['curl', '-sS', '--noproxy', '*', '--max-time', 30, '-K', '-', '--cacert', $s->dir . '/tls-ca.pem', '--resolve',
            "$name:$port:127.0.0.1", '-o', $out, '-D', "$out.head", '-w', '%{http_code}', @{ $o{curl} // [] },
            "https://$name:$port" . ($o{path} // '/certsrv/mscep_admin/')],
        stdin => defined $user ? "user = \"$user\"\n" : '');
    my $body = -e $out ? slurp($out) : '';
    my $text = substr($body, 0, 2) eq "\xFF\xFE" ? Encode::decode('UTF-16LE', substr $body, 2) : $body;
    my %page = (
        status  => $got->{output} =~ /(\d{3})$/ ? $1 : 0,
        said    => $got->{output},
        text    => $text,
        headers => -e "$out.head" ? slurp("$out.head") : '');
    $page{challenge} = $1 if $text =~ /The enrollment challenge password is: <B> (\S*)/;
    push @minted, $page{challenge} if $page{challenge};
    return \%page;
}

# What is to be seen: this status, and nothing that looks like a challenge.
sub no_challenge {
    my ($page, $status, $name) = @_;
    my $good = Test::More::ok($page->{status} == $status && !$page->{challenge} && $page->{text} !~ /[0-9A-F]{16}/,
        $name);
    $good or Test::More::diag("$page->{said}\n$page->{headers}$page->{text}");
    return $good;
}

# A page with a challenge, and the audit line says who asked, from where.
sub audited {
    my ($s, $page, $user, $from, $name) = @_;
    my $good = Test::More::ok($page->{status} == 200 && ($page->{challenge} // '') =~ /^[0-9A-F]{16}$/, $name);
    $good or Test::More::diag("$page->{said}\n$page->{headers}$page->{text}");
    my $line = (grep { /SCEP0241: mint / } $s->log_lines)[-1] // '';
    # As scep_printable writes it.
    (my $shown = $user) =~ s/\\/\\x5C/g;
    $good &&= Test::More::ok(
        index($line, "verdict=minted") > 0 && $line =~ /\buser="\Q$shown\E" from="\Q$from\E"/,
        'the audit line says who asked, and from where');
    $good or Test::More::diag($line);
    return $good;
}

sub finish {
    my ($s) = @_;
    Test::More::is_deeply([$s->files_with(@minted)], [], 'no challenge stands in a file') if @minted;
    return $s->finish;
}

1;
