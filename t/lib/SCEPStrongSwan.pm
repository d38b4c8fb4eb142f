# strongSwan's pki as a device: what it knows of an endpoint, and how it enrols there.
package SCEPStrongSwan;
use strict;
use warnings;
use SCEPNamespace ();
use SCEPRun qw(run have);

# Leaves the test file out where there is no pki that can fetch, except in CI.
sub need {
    SCEPNamespace::unable('pki is not installed') if !defined have('pki');
    my $plugins = run(['pki', '--scepca', '--url', 'http://127.0.0.1:9/', '--caout', '/dev/null']);
    SCEPNamespace::unable('pki has no fetcher: the plugin curl is missing') if $plugins->{output} =~ /curl.*failed to load/;
    return;
}

# It asks a server for CA and RA, in a folder of its own below work('pki'): one for each of
# SCEPTest::hosts() that is named. How that ended: status and output.
sub new {
    my ($class, $server, $name) = @_;
    my $url  = $server->url(defined $name ? $server->place($name)->{port} : ());
    my $work = $server->work('pki');
    my $dir  = defined $name ? "$work/$name" : $work;
    mkdir $_ for $work, $dir;
    my $got = run(['pki', '--scepca', '--url', $url, '--caout', "$dir/ca.pem", '--raout', "$dir/ra.pem",
            '--outform', 'pem', '--force'], chdir => $dir);
    my $self = bless { url => $url, ca => [glob "$dir/ca*.pem"], status => $got->{status}, output => $got->{output} }, $class;
    for my $file (glob "$dir/ra*.pem") {
        my $usage = run(['openssl', 'x509', '-in', $file, '-noout', '-ext', 'keyUsage'])->{output};
        $self->{sig} = $file if $usage =~ /Digital Signature/;
        $self->{enc} = $file if $usage =~ /Key Encipherment/;
    }
    return $self;
}

# The same knowledge for another endpoint of that CA.
sub at {
    my ($self, $url) = @_;
    return bless { %$self, url => $url }, ref $self;
}

# A new RSA key in that file; returns its path.
sub new_key {
    my ($file) = @_;
    my $made = run(['sh', '-c', 'pki --gen --type rsa --size 2048 --outform pem > "$1"', 'sh', $file]);
    die "pki --gen: $made->{output}\n" if $made->{status} != 0;
    return $file;
}

# The command that enrols, its certificate into $out; --in, --dn and the like are among the options.
sub enrolment {
    my ($self, $out, @options) = @_;
    return ['sh', '-c', 'out=$1; shift; exec "$@" > "$out"', 'sh', $out, 'pki', '--scep', '--url', $self->{url},
        (map { ('--cacert', $_) } @{ $self->{ca} }), '--cacert-sig', $self->{sig}, '--cacert-enc', $self->{enc},
        '--outform', 'pem', @options];
}

1;
