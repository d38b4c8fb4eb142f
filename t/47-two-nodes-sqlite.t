# Two nodes on one SQLite file never honour a challenge twice, and share one PasswordMax.
use SCEPTest;
use SCEPCluster;

my $cluster = SCEPCluster->up;
$cluster->judge_race(clients => 8, each => SCEPServer::is_sanitized() ? 50 : 500);
$cluster->judge_full;
$cluster->finish;
done_testing();
