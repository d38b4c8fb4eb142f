# The demo: a throw-away CA and a private httpd on 127.0.0.1, proved by one enrolment.
# run: in the foreground until Ctrl-C; up, down: in the background. See README.md, "Try it".
use strict;
use warnings;
use Cwd ();
use Fcntl qw(:flock);
use File::Path ();
use SCEPClient;
use SCEPElsewhere;
use SCEPRun qw(run wait_for pid_lives command_of slow slurp spew have);
use SCEPServer;
use Time::HiRes qw(sleep);

our @ISA = qw(SCEPServer SCEPClient);

my $build = $ENV{builddir} //= Cwd::getcwd();
my $place = "$build/run/demo";
my $command = $ARGV[0] // '';
my $mine;

sub stop_with {
    my ($sentence) = @_;
    print STDERR "demo: $sentence\n";
    exit 1;
}

sub setting {
    my ($name, $default, @allowed) = @_;
    my $value = length($ENV{$name} // '') ? $ENV{$name} : $default;
    stop_with("$name=$value is not one of @allowed") if @allowed && !grep { $_ eq $value } @allowed;
    return $value;
}

# An address where requests wait for an administrator and need no challenge.
sub manual_url { my ($s) = @_; return 'http://127.0.0.1:' . $s->port . '/manual' }

my $manual = <<'END';
<Location "/manual">
SetHandler scep
SCEPEndpoint manual
SCEPEnforcePassword off
SCEPApproval enrol
</Location>
END

# ---- what a demo leaves behind for the next command

sub quoted {
    my ($value) = @_;
    $value =~ s/'/'\\''/g;
    return "'$value'";
}

sub write_environment {
    my ($s) = @_;
    my %value = (
        SCEP_URL       => $s->url,
        ADMIN_URL      => $s->admin_url,
        ADMIN_USER     => $s->{user},
        ADMIN_PASSWORD => $s->{password},
        MANUAL_URL     => manual_url($s),
        CA_CERT        => $s->ca_cert,
        CA_CONF        => $s->ca_conf,
        SCEPCTL        => SCEPServer::built('tools/scepctl'),
        HTTPD_PID      => $s->pid,
        ERROR_LOG      => $s->log_file,
    );
    # Under its name only when it is whole: scripts wait for this file.
    spew("$place/demo.env.new", join('', map { "$_=" . quoted($value{$_}) . "\n" } sort keys %value), 0600);
    rename "$place/demo.env.new", "$place/demo.env" or die "$place/demo.env: $!\n";
    return;
}

# The pid and folder of the demo that was started last; nothing where there is none.
sub last_demo {
    my $dir = readlink "$place/state" or return;
    return if $dir !~ m{/scep-\w{8}$};
    my $pid;
    if (open my $in, '<', "$dir/run/httpd.pid") {
        ($pid) = (<$in> // '') =~ /^(\d+)/;
    }
    # A pid may belong to somebody else by now.
    undef $pid if defined $pid && (!pid_lives($pid) || index(command_of($pid) // '', "$dir/httpd.conf") < 0);
    return ($dir, $pid);
}

# httpd's processes name their configuration; workers outlive a parent that was killed.
sub processes_of {
    my ($dir) = @_;
    return grep { index(command_of($_) // '', "$dir/httpd.conf") >= 0 } map { m{(\d+)$} } glob '/proc/[0-9]*';
}

sub remove_last {
    my ($dir) = @_;
    if (defined $dir) {
        # without their parent they take no other signal seriously
        my @left = processes_of($dir);
        kill 'KILL', @left;
        wait_for(sub { !grep { pid_lives($_) } @left }, slow(5));
    }
    File::Path::remove_tree($dir) if defined $dir && -d $dir && !-l $dir;
    File::Path::remove_tree($place);
    return;
}

# ---- commands

sub down {
    my ($dir, $pid) = last_demo();
    if (defined $pid) {
        kill 'TERM', $pid;
        if (!wait_for(sub { !pid_lives($pid) }, slow(20))) {
            kill 'KILL', $pid;
            wait_for(sub { !pid_lives($pid) }, 5);
        }
    }
    remove_last($dir);
    print defined $pid ? "demo: stopped, nothing is left\n" : "demo: nothing was running\n";
    return;
}

sub up {
    my $port = setting('DEMO_PORT', 8080);
    stop_with("DEMO_PORT=$port is not a port: 1 to 65535") if $port !~ /^[1-9]\d{0,4}$/ || $port > 65535;
    my $ca   = setting('DEMO_CA',  'p256',  qw(rsa2048 rsa4096 p256 p384));
    my $mpm  = setting('DEMO_MPM', 'event', qw(event worker prefork));
    my $kind = setting('DEMO_CONNECTOR', 'local', 'local', SCEPElsewhere::kinds());
    my $conf = setting('DEMO_CONF', '');
    stop_with("DEMO_CONF=$conf is no file that can be read") if $conf ne '' && !(-f $conf && -r _);
    stop_with("DEMO_CONNECTOR=$kind lives in namespaces of its own, as long as its command: make demo DEMO_CONNECTOR=$kind")
        if SCEPElsewhere::is_apart($kind) && $command ne 'run';
    stop_with("DEMO_CONNECTOR=$kind makes namespaces, which only root may") if SCEPElsewhere::is_apart($kind) && $> != 0;
    for my $program (qw(htpasswd openssl)) {
        stop_with("$program is missing; ./bootstrap installs it") if !have($program);
    }

    File::Path::make_path($place);
    open my $lock, '>', "$build/run/demo.lock" or stop_with("$build/run/demo.lock: $!");
    flock $lock, LOCK_EX | LOCK_NB or stop_with('another one is being started here');
    my ($dir, $pid) = last_demo();
    stop_with("one is running already (pid $pid); make demo-down ends it") if defined $pid;
    remove_last($dir);
    my $free = SCEPElsewhere::is_apart($kind)
        ? SCEPElsewhere::enter($port)
        : IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, Proto => 'tcp', ReuseAddr => 1);
    stop_with("port $port of 127.0.0.1 cannot be had ($!); choose another: make demo DEMO_PORT=8081")
        if !$free;
    close $free if ref $free;

    my %elsewhere = SCEPElsewhere::options($kind);
    my $s = main->new(
        %elsewhere,
        port  => $port,
        mpm   => $mpm,
        ca    => $ca,
        hosts => "<VirtualHost 127.0.0.1:\@PORT\@>\nServerName localhost\nSCEPEngine on\n"
            . SCEPServer::guard('/certsrv/mscep_admin') . $manual
            . ($conf eq '' ? '' : 'Include "' . Cwd::abs_path($conf) . "\"\n")
            . "</VirtualHost>\n");
    $mine = $s;
    File::Path::make_path($place);
    symlink $s->dir, "$place/state" or die "$place/state: $!\n";
    my $why = $s->prepare;
    stop_with($why) if defined $why;
    SCEPElsewhere::arrange($kind, $s) if $kind ne 'local';
    for ([ca_cert => 'ca.pem'], [log_file => 'error.log']) {
        my ($method, $name) = @$_;
        symlink $s->$method, "$place/$name" or die "$place/$name: $!\n";
    }
    $why = $s->start;
    stop_with($why) if defined $why;
    SCEPElsewhere::started($kind, $s);
    prove($s);
    write_environment($s);
    return $s;
}

# The proof: a challenge from the page, a request, a certificate that belongs to its key.
sub prove {
    my ($s) = @_;
    my $reply = eval { $s->enrol(subject => 'CN=demo') } || { why => "$@" };
    my $good = ($reply->{pki_status} // '') eq '0' && $reply->{key_matches} && $reply->{issued_by_ca_ra};
    stop_with('the enrolment failed: ' . join(' ', map { $reply->{$_} // '' } qw(why fail_info fail_info_text))
            . "\n" . $s->log_tail)
        if !$good;
    File::Path::remove_tree($s->dir . '/work', { keep_root => 1 });
    print "demo: a device enrolled: certificate $reply->{serial} for $reply->{subject}\n";
    return;
}

sub explain {
    my ($s) = @_;
    my ($url, $admin, $user, $password, $ca) =
        ($s->url, $s->admin_url, $s->{user}, $s->{password}, $s->dir . '/ca');
    print <<"END";

devices           $url
challenge page    $admin
user, password    $user $password
with approval     @{[ manual_url($s) ]} (no challenge; requests wait)
scepctl           @{[ SCEPServer::built('tools/scepctl') ]} --conf $ca/ca.conf requests
CA certificate    $ca/ca.pem
error log         @{[ $s->log_file ]}
for scripts       $place/demo.env

With strongSwan's pki (Debian: strongswan-pki, libstrongswan-extra-plugins):

  challenge=\$(curl -s -u $user:$password $admin | iconv -f UTF-16 -t UTF-8 |
      sed -n 's/.*challenge password is: <B> \\([0-9A-F]*\\) .*/\\1/p')
  pki --gen --type rsa --size 2048 --outform pem > key.pem
  pki --scep --url $url --in key.pem --dn CN=moon --password \$challenge \\
      --cacert $ca/ca.pem --cacert-enc $ca/ra-decrypt.pem \\
      --cacert-sig $ca/ra-sign.pem --outform pem > cert.pem

END
    return;
}

$| = 1;
if ($command eq 'down') {
    down();
} elsif ($command eq 'up') {
    my $s = up();
    explain($s);
    print "demo: it runs; make demo-down ends it\n";
    # From here on it is nobody's child.
    $s->{owner} = 0;
} elsif ($command eq 'run') {
    my $s = up();
    explain($s);
    print "demo: Ctrl-C ends it\n";
    my $ended;
    local $SIG{INT} = local $SIG{TERM} = local $SIG{HUP} = sub { $ended = 1 };
    sleep 0.2 while !$ended && pid_lives($s->pid);
    print $ended ? "\ndemo: ending\n" : "demo: httpd has ended: " . $s->log_tail . "\n";
    $s->end;
    File::Path::remove_tree($place);
    exit($ended ? 0 : 1);
} else {
    stop_with('run, up or down?');
}

# A start that failed leaves nothing behind.
END {
    my $status = $?;
    if ($status && $mine && $mine->{owner} == $$) {
        $mine->end;
        File::Path::remove_tree($place);
    }
    $? = $status;
}
