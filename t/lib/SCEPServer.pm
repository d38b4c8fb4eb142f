# A private httpd with mod_scep on loopback, with a folder, a port and a CA of its own.
# Used by the tests and by the demo; it neither prints nor judges, it returns what went wrong.
package SCEPServer;
use strict;
use warnings;
use Cwd ();
use Errno ();
use File::Path ();
use File::Temp ();
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use SCEPRun qw(run wait_for pid_lives parent_of command_of slow);

# The servers that this process started, so that none outlives it.
my %live;

my $root = $> == 0;

# Where a socket's path stays short and every user may enter.
sub base_folder {
    for my $base (grep { defined && m{^/} } $ENV{TMPDIR}, '/tmp', '/var/tmp') {
        next if length $base > 40 || !-w $base;
        my ($path, $open) = ('', 1);
        for my $part (grep { length } split m{/}, $base) {
            $path .= "/$part";
            $open &&= (stat $path)[2] & 1;
        }
        return $base if $open;
    }
    die "no folder for temporary files that every user may enter: set TMPDIR\n";
}

# Who uses a port binds it later, and at times anew. A name that is gone with this process tells the
# tests that run beside it which ones it has chosen.
my @promised;

sub free_ports {
    my ($n) = @_;
    my (@held, @ports);
    my $tries = $n + 100;
    while (@ports < $n) {
        die "no $n ports on 127.0.0.1 that no other test has chosen: $!\n" if $tries-- == 0;
        my $held = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1, Proto => 'tcp')
            or die "no free port on 127.0.0.1: $!\n";
        push @held, $held; # which is not given a second time
        my $promise = IO::Socket::UNIX->new(Local => "\0scep-test-port-" . $held->sockport, Listen => 1) or next;
        push @promised, $promise;
        push @ports,    $held->sockport;
    }
    return @ports;
}

sub first_user {
    for my $name (@_) {
        return $name if defined getpwnam $name;
    }
    die "none of the users @_ exists\n";
}

sub worker_user { return first_user(qw(www-data apache daemon)) }
sub ca_user { return (grep { $_ ne worker_user() } grep { defined getpwnam $_ } qw(daemon nobody))[0] }

sub as_root { return $root }

# Where the build put something: libtool's .libs has the real thing.
sub built {
    my ($name) = @_;
    my $build = $ENV{builddir} // Cwd::getcwd();
    (my $hidden = "$build/$name") =~ s{([^/]+)$}{.libs/$1};
    return -e $hidden ? $hidden : "$build/$name";
}

sub random_hex {
    my ($bytes) = @_;
    open my $in, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read($in, my $raw, $bytes) == $bytes or die "/dev/urandom: short read\n";
    return unpack 'H*', $raw;
}

# Options: mpm; ports: how many; port: the first of them; modules: further ones; ca: kind of the CA's
# key; connector, ca_user: lines to use instead of the usual, '' for none; server: text at server
# level; host: text within the usual virtual host; hosts: text instead of it; admin: text instead
# of the usual guard of the challenge page. @PORT@, @PORT2@, … and @DIR@ are replaced in all of it.
# The usual virtual host has room for many failures.
sub new {
    my ($class, %o) = @_;
    my $self = bless {%o, owner => $$, mpm => $o{mpm} // 'event'}, $class;
    $self->{dir} = File::Temp::tempdir('scep-XXXXXXXX', DIR => base_folder());
    chmod 0711, $self->{dir} or die "$self->{dir}: $!\n";
    $live{ $self->{dir} } = $self;
    $self->{ports} = [grep { defined } $o{port}, free_ports(($o{ports} // 1) - (defined $o{port} ? 1 : 0))];
    $self->{user}  = 'admin';
    $self->{password} = random_hex(12);
    for (qw(run logs htdocs cgi-bin work)) {
        mkdir "$self->{dir}/$_" or die "$self->{dir}/$_: $!\n";
    }
    chmod 0700, "$self->{dir}/work";
    return $self;
}

sub dir      { return $_[0]{dir} }
sub port     { return $_[0]{ports}[$_[1] // 0] }
sub pid      { return $_[0]{pid} }
sub log_file { return "$_[0]{dir}/logs/error.log" }
sub ca_conf  { return "$_[0]{dir}/ca/ca.conf" }
sub ca_cert  { return "$_[0]{dir}/ca/ca.pem" }
sub url      { return 'http://127.0.0.1:' . ($_[1] // $_[0]->port) . '/certsrv/mscep/mscep.dll' }
sub admin_url { return 'http://127.0.0.1:' . $_[0]->port . '/certsrv/mscep_admin/' }

# CA, RA and the administrator's password. Returns undef or what went wrong.
sub prepare {
    my ($self) = @_;
    my @owner = $root ? ('--owner', ca_user()) : ();
    my $made = run(
        [built('scep-ca'), 'init', '--ca-key', $self->{ca} // 'rsa2048', @owner, @{ $self->{init} // [] },
            '--out', "$self->{dir}/ca"],
        timeout => 120, env => $self->sanitizer_env);
    return "scep-ca init: $made->{output}" if $made->{status} != 0;
    my $set = run(['htpasswd', '-i', '-B', '-c', "$self->{dir}/users", $self->{user}],
        stdin => "$self->{password}\n");
    return "htpasswd: $set->{output}" if $set->{status} != 0;
    if ($root) {
        chown 0, scalar getgrnam_of(worker_user()), "$self->{dir}/users";
        chmod 0640, "$self->{dir}/users";
    } else {
        chmod 0600, "$self->{dir}/users";
    }
    return undef;
}

sub getgrnam_of {
    my ($user) = @_;
    return (getpwnam $user)[3];
}

# The sanitizer's runtime must come first in a program that was not linked with it, such as httpd.
my $preload;

sub sanitizer_env {
    if (!defined $preload) {
        $preload = '';
        my $module = built('mod_scep.so');
        my $needs = run(['readelf', '-d', $module]);
        if ($needs->{status} == 0 && $needs->{output} =~ /\[(libasan\.so[.\d]*)\]/) {
            my $found = run([$ENV{CC} // 'gcc', "-print-file-name=$1"]);
            chomp($preload = $found->{output});
        }
    }
    return {} if $preload eq '';
    # The leak checker needs ptrace, which a process that is not dumpable refuses.
    return {
        LD_PRELOAD    => $preload,
        ASAN_OPTIONS  => 'detect_leaks=0',
        UBSAN_OPTIONS => 'print_stacktrace=1'
    };
}

sub is_sanitized { return scalar keys %{ sanitizer_env() } }

my %mpm_text = (
    event => "ThreadsPerChild 25\nMaxRequestWorkers 100\nStartServers 2\nServerLimit 8\n"
        . "AsyncRequestWorkerFactor 2\n",
    worker  => "ThreadsPerChild 25\nMaxRequestWorkers 100\nStartServers 2\nServerLimit 8\n",
    prefork => "StartServers 4\nMinSpareServers 4\nMaxSpareServers 80\nMaxRequestWorkers 80\n",
);

sub configuration {
    my ($self) = @_;
    my $dir = $self->{dir};
    my @modules = ("mpm_$self->{mpm}", qw(log_config unixd authn_core authn_file authz_core
            authz_host authz_user auth_basic), @{ $self->{modules} // [] });
    my $text = "ServerRoot \"$dir\"\nDefaultRuntimeDir \"$dir/run\"\nPidFile \"$dir/run/httpd.pid\"\n"
        . "ServerName 127.0.0.1\nErrorLog \"$dir/logs/error.log\"\n";
    for my $name (@modules) {
        my $file = "$ENV{HTTPD_MODULES}/mod_$name.so";
        # What has no file is built into httpd; httpd says so where it is not.
        next if !-e $file;
        $text .= "<IfModule !${name}_module>\nLoadModule ${name}_module \"$file\"\n</IfModule>\n";
    }
    $text .= 'LoadModule scep_module "' . built('mod_scep.so') . "\"\n";
    $text .= $mpm_text{ $self->{mpm} };
    # What a pool had is freed with it, as in scep-ca: a sanitizer sees who still reads it.
    $text .= "MaxMemFree 1\n" if is_sanitized();
    $text .= 'User ' . worker_user() . "\nGroup #" . getgrnam_of(worker_user()) . "\n" if $root;
    $text .= "LogLevel info\nLogFormat \"%h %u \\\"%r\\\" %>s %B\" short\n"
        . "CustomLog \"$dir/logs/access.log\" short\nDocumentRoot \"$dir/htdocs\"\n"
        . "LimitRequestLine 65534\nListenBacklog 511\nTimeout 30\nKeepAliveTimeout 2\n";
    $text .= "Listen 127.0.0.1:$_\n" for @{ $self->{ports} };
    $text .= 'SCEPCAProgram "' . built('scep-ca') . "\"\n";
    $text .= ($self->{connector} // 'SCEPConnector "spawn:' . $self->ca_conf . '"') . "\n";
    $text .= ($self->{ca_user} // ($root ? 'SCEPCAUser ' . ca_user() : '')) . "\n";
    $text .= ($self->{server} // '') . "\n";
    $text .= $self->{hosts} // <<"END";
<VirtualHost 127.0.0.1:\@PORT\@>
ServerName scep.test
SCEPEngine on
SCEPFailedMax 100000
@{[ $self->{admin} // guard('/certsrv/mscep_admin') ]}
@{[ $self->{host} // '' ]}
</VirtualHost>
END
    $text =~ s/\@PORT(\d*)\@/$self->{ports}[($1 || 1) - 1]/ge;
    $text =~ s/\@DIR\@/$dir/g;
    return $text;
}

# What an administrator writes for the challenge page.
sub guard {
    my ($path) = @_;
    return "<Location \"$path\">\nAuthType Basic\nAuthName \"NDES\"\nAuthBasicProvider file\n"
        . "AuthUserFile \"\@DIR\@/users\"\nRequire valid-user\n</Location>\n";
}

sub write_configuration {
    my ($self) = @_;
    open my $out, '>', "$self->{dir}/httpd.conf" or die "$self->{dir}/httpd.conf: $!\n";
    print $out $self->configuration;
    close $out or die "$self->{dir}/httpd.conf: $!\n";
    return;
}

# httpd with arguments: { status, output }.
sub httpd {
    my ($self, @args) = @_;
    $self->write_configuration;
    return run([$ENV{HTTPD}, '-d', $self->{dir}, '-f', "$self->{dir}/httpd.conf", @args],
        timeout => slow(60), env => $self->sanitizer_env);
}

sub configtest { return $_[0]->httpd('-t') }

# `scep-ca check` as somebody types it, of ca_conf or another file: { status, output }.
sub ca_check {
    my ($self, $conf, @options) = @_;
    return run([built('scep-ca'), 'check', @options, $conf // $self->ca_conf],
        timeout => slow(60), env => $self->sanitizer_env);
}

# Start. Returns undef once a request is answered, or what went wrong. The exit status of
# `-k start` says nothing: the second pass of the configuration runs in the background.
sub start {
    my ($self, @args) = @_;
    my $started = $self->httpd(@args, '-k', 'start');
    # What the second half of the start found wrong stands in the log only.
    return "httpd -k start: $started->{output}" . $self->log_tail if $started->{status} != 0;
    return $self->wait_until_up;
}

# Start in the foreground with -X: one process, which is a child of this one.
sub start_x {
    my ($self) = @_;
    $self->write_configuration;
    my $pid = SCEPRun::spawn(
        [$ENV{HTTPD}, '-d', $self->{dir}, '-f', "$self->{dir}/httpd.conf", '-X'],
        env => $self->sanitizer_env, output => "$self->{dir}/logs/start.log");
    $self->{child} = $pid;
    return $self->wait_until_up;
}

sub read_pid {
    my ($self) = @_;
    open my $in, '<', "$self->{dir}/run/httpd.pid" or return undef;
    my $pid = <$in>;
    return defined $pid && $pid =~ /^(\d+)/ ? $1 : undef;
}

sub wait_until_up {
    my ($self) = @_;
    my $up = wait_for(sub {
        my $pid = $self->read_pid or return 0;
        return 0 if !pid_lives($pid) || !$self->port_answers;
        $self->{pid} = $pid;
        return 1;
    }, slow(20));
    return $up ? undef : 'httpd does not answer: ' . $self->log_tail;
}

sub port_answers {
    my ($self) = @_;
    for my $port (@{ $self->{ports} }) {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 5)
            or return 0;
        close $s;
    }
    return 1;
}

sub log_tail {
    my ($self, $most) = @_;
    my @lines = $self->log_lines;
    my $from = @lines > ($most // 30) ? @lines - ($most // 30) : 0;
    return join "\n", @lines[$from .. $#lines];
}

sub log_lines {
    my ($self) = @_;
    open my $in, '<', $self->log_file or return ();
    chomp(my @lines = <$in>);
    return @lines;
}

# A graceful restart; waits for nothing.
sub graceful {
    my ($self) = @_;
    $self->write_configuration;
    return kill 'USR1', $self->{pid};
}

# The living scep-ca processes of this httpd: its children, or ones that name its folder.
sub ca_pids {
    my ($self) = @_;
    opendir my $proc, '/proc' or die "/proc: $!\n";
    my @found;
    for my $pid (grep { /^\d+$/ } readdir $proc) {
        my $command = command_of($pid) or next;
        next if $command !~ m{^\S*/scep-ca(?:\s|$)};
        my $parent = parent_of($pid) // next;
        push @found, $pid
            if ($self->{pid} && $parent == $self->{pid}) || index($command, "$self->{dir}/") >= 0;
    }
    return sort { $a <=> $b } @found;
}

# The workers: httpd's children that are no scep-ca.
sub worker_pids {
    my ($self) = @_;
    opendir my $proc, '/proc' or die "/proc: $!\n";
    my %ca = map { $_ => 1 } $self->ca_pids;
    return grep { !$ca{$_} && (parent_of($_) // 0) == $self->{pid} && command_of($_) }
        grep { /^\d+$/ } readdir $proc;
}

# Stop httpd and wait for it; by force where it does not go. Returns the pids that needed force.
sub stop {
    my ($self) = @_;
    return if $self->{owner} != $$;
    my @forced;
    my $pid = $self->{pid} // $self->read_pid;
    my @ca = defined $pid ? $self->ca_pids : ();
    if (defined $pid && pid_lives($pid)) {
        kill 'TERM', $pid;
        if (!wait_for(sub { !pid_lives($pid) }, slow(20))) {
            push @forced, $pid;
            kill 'KILL', $pid;
            wait_for(sub { !pid_lives($pid) }, 5);
        }
    }
    if (my $child = delete $self->{child}) {
        waitpid $child, 0;
    }
    for my $ca (@ca) {
        next if wait_for(sub { !pid_lives($ca) }, slow(10));
        push @forced, $ca;
        kill 'KILL', $ca;
    }
    delete $self->{pid};
    return @forced;
}

# Stop, and remove the folder.
sub end {
    my ($self) = @_;
    return if $self->{owner} != $$ || !delete $live{ $self->{dir} };
    my @forced = $self->stop;
    File::Path::remove_tree($self->{dir}) if !$ENV{SCEP_TEST_KEEP};
    return @forced;
}

# END blocks run after a signal only where it was turned into an exit. A forked child ends
# nothing: owner says whose the servers are.
sub end_all {
    my $status = $?;
    $_->end for grep { $_->{owner} == $$ } values %live;
    $? = $status;
    return;
}
END { end_all() }
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit 130 };

1;
