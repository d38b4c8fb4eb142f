# A test in namespaces of its own: network (a peer that listens on every address is reached by nobody
# else) and processes (nothing outlives the test).
package SCEPNamespace;
use strict;
use warnings;
use SCEPRun qw(run have);
use Test::More ();

# Leaves the test out, or, in CI, ends it: nothing may be missing there.
sub unable {
    my ($why) = @_;
    Test::More::BAIL_OUT("$why, and CI=true allows no test to be left out") if ($ENV{CI} // '') eq 'true';
    Test::More::plan(skip_all => $why);
    return;
}

# Goes on in them; called before anything else.
sub enter {
    unable("$_ is not installed") for grep { !have($_) } qw(unshare ip mount);
    unable('root only: namespaces are made') if $> != 0;
    if (!$ENV{SCEP_IN_NAMESPACE}) {
        my @unshare = (have('unshare'), qw(--net --mount --pid --fork --kill-child --mount-proc));
        unable('namespaces cannot be made here') if run([@unshare, 'true'])->{status} != 0;
        local $ENV{SCEP_IN_NAMESPACE} = 1;
        exec @unshare, $^X, '-w', $0, @ARGV or die "unshare: $!\n";
    }
    delete $ENV{SCEP_IN_NAMESPACE};
    my $up = run([have('ip'), qw(link set lo up)]);
    unable("loopback does not come up: $up->{output}") if $up->{status} != 0;
    return;
}

1;
