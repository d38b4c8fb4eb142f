# What scep-ca's life is tested by, the same under every MPM.
package SCEPSupervision;
use strict;
use warnings;
use Exporter 'import';
use SCEPLoad;
use SCEPRun qw(run wait_for pid_lives slow);
use SCEPTest;
use Test::More;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(life_under enrols kill_once kill_under_load graceful_under_load one_ca);

# A whole test file: enrolment, kills and restarts under an MPM.
sub life_under {
    my ($mpm) = @_;
    my $s = SCEPTest->up(mpm => $mpm, server => "SCEPCATimeout 5\n", host => "SCEPPasswordMax 100000\n");
    $s->allow_log(qr/SCEP01\d\d:/);
    enrols($s, 'by POST');
    enrols($s, 'by GET', send => { method => 'GET' });
    kill_once($s);
    kill_under_load($s, 2);
    graceful_under_load($s, 3);
    $s->finish;
    done_testing();
    return;
}

# One whole enrolment.
sub enrols {
    my ($s, $name, %o) = @_;
    my $reply = eval { $s->enrol(subject => "CN=$name", %o) } || { why => "$@" };
    return issued($reply, $name);
}

sub one_ca {
    my ($s, $name) = @_;
    my $one = wait_for(sub { my @pids = $s->ca_pids; @pids == 1 && $pids[0] }, slow(20));
    ok($one, "$name: exactly one scep-ca") or diag(join ' ', $s->ca_pids);
    return $one;
}

# The next enrolment after a kill works within seconds.
sub kill_once {
    my ($s) = @_;
    my $old = one_ca($s, 'before a kill');
    my $request = $s->build(subject => 'CN=after a kill', challenge => $s->mint);
    kill 'KILL', $old;
    my $begin = time;
    my $reply;
    wait_for(sub {
        $reply = $s->open_reply($request, $s->send_request($request));
        $reply->{serial};
    }, slow(10));
    issued($reply, 'scep-ca killed: service resumes by itself');
    cmp_ok(time - $begin, '<', slow(8), 'within seconds');
    my $new = one_ca($s, 'after a kill');
    isnt($new, $old, 'it is a new process');
    return;
}

sub kill_under_load {
    my ($s, $times) = @_;
    # Quick deaths in a row are followed by a pause, which may be longer than a greeting waits.
    $s->allow_log('SCEP0030: NDES-31 UNAVAILABLE: ');
    my $load = SCEPLoad->start($s);
    ok($load->progress(20, 30), 'the load runs') or diag($s->log_tail);
    for my $n (1 .. $times) {
        my ($pid) = wait_for(sub { ($s->ca_pids)[0] }, slow(30));
        kill 'KILL', $pid if $pid;
        ok($load->progress(20, 40), "kill $n under load: certificates come again") or diag($s->log_tail);
    }
    $load->stop;
    my @answers = $load->answers;
    my @bad = grep { $_->{sent} && $_->{status} != 200 && $_->{status} != 503 } @answers;
    is_deeply([map { "$_->{index} $_->{status} $_->{error}" } @bad], [], 'each got a CertRep or 503');
    diag(sprintf '%d answers, %d of them 503', scalar @answers, scalar grep { $_->{status} == 503 } @answers);
    one_ca($s, 'after the kills');
    $load->agree('kill under load');
    return;
}

sub graceful_under_load {
    my ($s, $times) = @_;
    my $load = SCEPLoad->start($s);
    ok($load->progress(20, 30), 'the load runs') or diag($s->log_tail);
    for my $n (1 .. $times) {
        my %old = map { $_ => 1 } $s->ca_pids;
        $s->graceful;
        ok(wait_for(sub { scalar grep { !$old{$_} } $s->ca_pids }, slow(20)),
            "graceful $n: a new scep-ca was started");
        ok($load->progress(10, 30), "graceful $n: certificates go on") or diag($s->log_tail);
    }
    $load->stop;
    my @answers = $load->answers;
    my @without = grep { $_->{sent} && ($_->{status} != 200 || $_->{type} ne 'application/x-pki-message') } @answers;
    is_deeply([map { "$_->{index}.$_->{round} $_->{status} $_->{seconds} s $_->{error}" } @without],
        [], 'no POST that was sent whole goes without a CertRep');
    diag(sprintf '%d answers, %d not sent whole', scalar @answers, scalar grep { !$_->{sent} } @answers);
    ok(pid_lives($s->pid), 'httpd is the same');
    one_ca($s, 'after the restarts');
    $load->agree('graceful under load');
    return;
}

1;
