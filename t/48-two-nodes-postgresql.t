# Two nodes that share a PostgreSQL database never honour a challenge twice, and share one
# PasswordMax.
use SCEPTest;
use SCEPCluster;

SCEPPostgreSQL::need();
my $cluster = SCEPCluster->up(postgresql => SCEPPostgreSQL->up);
$cluster->judge_race(clients => 8, each => SCEPServer::is_sanitized() ? 50 : 500);
$cluster->judge_stopped;
$cluster->judge_full;
$cluster->finish;
done_testing();
