# Two nodes that share a PostgreSQL database never honour a challenge twice, and share one
# PasswordMax and one single password.
use SCEPTest;
use SCEPCluster;

SCEPPostgreSQL::need();
my $cluster = SCEPCluster->up(postgresql => SCEPPostgreSQL->up);
$cluster->judge_race(clients => 8, each => SCEPServer::is_sanitized() ? 50 : 500);
$cluster->judge_stopped;
$cluster->judge_full;
$cluster->judge_single;
$cluster->finish;
done_testing();
