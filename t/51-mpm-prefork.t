# Enrolment, kills and restarts under the prefork MPM.
use SCEPTest;
use SCEPSupervision;

my $s = SCEPTest->up(mpm => 'prefork', server => "SCEPCATimeout 5\n", host => "SCEPPasswordMax 100000\n");
$s->allow_log(qr/SCEP01\d\d:/);
enrols($s, 'by POST');
enrols($s, 'by GET', send => { method => 'GET' });
kill_once($s);
kill_under_load($s, 2);
graceful_under_load($s, 3);
$s->finish;
done_testing();
