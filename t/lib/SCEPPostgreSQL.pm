# A private PostgreSQL: a cluster of its own in a folder of its own, on a socket there and nowhere
# else, with one database and one user who has a password.
package SCEPPostgreSQL;
use strict;
use warnings;
use File::Path ();
use File::Temp ();
use POSIX ();
use SCEPRun qw(run spawn wait_for have slow slurp spew);
use SCEPServer;
use Test::More;

my %live;

# Distributions keep the server's programs out of the PATH.
sub program {
    my ($name) = @_;
    my @found = grep { -x } sort glob "/usr/lib/postgresql/*/bin/$name /usr/pgsql-*/bin/$name";
    return $found[-1] // have($name);
}

# Leaves the test file out where it is missing, except in CI.
sub need {
    my @missing = grep { !program($_) } qw(initdb postgres psql);
    push @missing, 'the driver of apr_dbd' if !@missing && !has_driver();
    return if !@missing;
    my $why = "PostgreSQL is not there, missing: @missing";
    BAIL_OUT("$why, and CI=true allows no test to be left out") if ($ENV{CI} // '') eq 'true';
    plan(skip_all => $why);
    return;
}

sub has_driver {
    my @folders = map { glob } qw(/usr/lib/*/apr-util-1 /usr/lib64/apr-util-1 /usr/lib/apr-util-1
        /usr/local/apr/lib/apr-util-1 /usr/local/lib/apr-util-1);
    return scalar grep { -e "$_/apr_dbd_pgsql.so" || -e "$_/apr_dbd_pgsql-1.so" } @folders;
}

# The server refuses to run as root.
sub owner {
    return undef if !SCEPServer::as_root();
    my $name = (grep { defined getpwnam $_ } qw(postgres nobody))[0];
    return [(getpwnam $name)[2, 3]];
}

# Running, with an empty database.
sub up {
    my ($class) = @_;
    my $self = bless { process => $$, owner => owner(), password => SCEPServer::random_hex(16) }, $class;
    $self->{dir} = File::Temp::tempdir('scep-pg-XXXXXXXX', DIR => SCEPServer::base_folder());
    $live{ $self->{dir} } = $self;
    # scep-ca's user has to get to the socket.
    chmod 0711, $self->{dir} or die "$self->{dir}: $!\n";
    $self->give($self->{dir});
    $self->{log} = "$self->{dir}/log";
    $self->{passfile} = "$self->{dir}/pgpass";
    $self->make;
    $self->serve;
    $self->psql('CREATE DATABASE scep', 'postgres');
    return $self;
}

sub give {
    my ($self, @paths) = @_;
    return if !$self->{owner};
    chown @{ $self->{owner} }, @paths or die "@paths: $!\n";
    return;
}

sub make {
    my ($self) = @_;
    my $file = "$self->{dir}/first-password";
    spew($file, "$self->{password}\n", 0600);
    $self->give($file);
    my $made = run(
        [program('initdb'), '-D', "$self->{dir}/data", '-U', 'scep', '-A', 'scram-sha-256', "--pwfile=$file",
            '-E', 'UTF8', '--locale=C', '--no-sync'],
        user => $self->{owner}, timeout => slow(60), chdir => $self->{dir});
    die "initdb: $made->{output}\n" if $made->{status} != 0;
    unlink $file or die "$file: $!\n";
    # Whoever reads it has to own it.
    spew($self->{passfile}, "*:*:*:scep:$self->{password}\n", 0600);
    return if !SCEPServer::as_root();
    chown +(getpwnam SCEPServer::ca_user())[2, 3], $self->{passfile} or die "$self->{passfile}: $!\n";
    return;
}

sub serve {
    my ($self) = @_;
    spew($self->{log}, '', 0600);
    $self->give($self->{log});
    my %settings = (
        listen_addresses        => '',
        unix_socket_directories => $self->{dir},
        max_connections         => 20,
        shared_buffers          => '32MB',
    );
    $self->{pid} = spawn(
        [program('postgres'), '-D', "$self->{dir}/data", map { ('-c', "$_=$settings{$_}") } sort keys %settings],
        user => $self->{owner}, output => $self->{log}, chdir => $self->{dir});
    my $up = wait_for(sub { ($self->ask('SELECT 1', 'postgres'))->{status} == 0 }, slow(30));
    die 'PostgreSQL does not answer: ' . slurp($self->{log}) if !$up;
    $self->{answered} = -s $self->{log};
    return;
}

# What ca.conf calls it.
sub place { my ($self) = @_; return "pgsql:host=$self->{dir} dbname=scep user=scep passfile=$self->{passfile}" }

sub ask {
    my ($self, $sql, $database) = @_;
    return run([program('psql'), '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', $self->{dir},
            '-U', 'scep', '-d', $database // 'scep', '-c', $sql],
        timeout => slow(60), env => { PGPASSFILE => $self->{passfile} });
}

sub psql {
    my ($self, $sql, $database) = @_;
    my $answer = $self->ask($sql, $database);
    die "psql: $answer->{output}\n" if $answer->{status} != 0;
    chomp $answer->{output};
    return $answer->{output};
}

# psql that reads SQL from this handle, in one session until it is closed.
sub open_session {
    my ($self) = @_;
    local $ENV{PGPASSFILE} = $self->{passfile};
    open my $handle, '|-', program('psql'), qw(-X -q -o /dev/null -h), $self->{dir}, qw(-U scep -d scep)
        or die "psql: $!\n";
    $handle->autoflush(1);
    return $handle;
}

# What it logged from when it answered until it was told to stop. Before, who asks too early is FATAL
# in it; after, a worker of its own that was still busy, as autovacuum is now and then.
sub log_lines {
    my ($self) = @_;
    my ($served) = split /^.*received fast shutdown request$/m, substr(slurp($self->{log}), $self->{answered}), 2;
    return split /\n/, $served // '';
}

# Stop it: whether it went by itself.
sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return 1;
    # SIGINT: at once, but in order.
    kill 'INT', $pid;
    return 1 if defined SCEPRun::wait_child($pid, slow(20));
    SCEPRun::end_child($pid, 'QUIT');
    return 0;
}

sub end {
    my ($self) = @_;
    return if $self->{process} != $$ || !delete $live{ $self->{dir} };
    $self->stop;
    File::Path::remove_tree($self->{dir}) if !$ENV{SCEP_TEST_KEEP};
    return;
}

END {
    my $status = $?;
    $_->end for values %live;
    $? = $status;
}

1;
