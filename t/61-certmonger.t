# certmonger enrols and renews what it tracks, its daemon on a bus of its own (it sends by GET).
use SCEPTest;

need_program('getcert', 'certmonger-session', 'dbus-run-session');

# It signs a renewal with the old certificate, and calls it a PKCSReq.
my $s    = SCEPTest->up(host => "SCEPRenewalByPKCSReq on\n");
my $home = $s->work('certmonger');
mkdir $home, 0700;
my $challenge = $s->mint;
spew("$home/enrol", <<'END', 0700);
#!/bin/sh
# $1: certmonger-session, $2: URL, $3: challenge. Ends with the daemon it started. The first
# certificate is left in first.pem.
cd "$HOME" || exit 1
"$1" -n -d 2 > daemon.log 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT

try() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || return 1
        sleep 0.2
    done
}
answers() { getcert list-cas -s > cas 2>&1; }
enrolled() { getcert list -s > list 2>&1; grep -q 'status: MONITORING' list; }

try answers || { cat cas daemon.log; exit 1; }
getcert add-scep-ca -s -c test -u "$2" || exit 1
getcert request -s -c test -k "$HOME/key.pem" -f "$HOME/cert.pem" -N 'CN=moon,O=Example' -D moon.example \
    -L "$3" -g 2048 || exit 1
try enrolled || { cat list; tail -50 daemon.log; exit 1; }
cp cert.pem first.pem
renewed() { enrolled && ! cmp -s cert.pem first.pem; }
getcert resubmit -s -f "$HOME/cert.pem" || exit 1
try renewed || { cat list; tail -50 daemon.log; exit 1; }
END
my $done = run(
    ['dbus-run-session', '--', "$home/enrol", have('certmonger-session'), $s->url, $challenge],
    env     => { HOME => $home, XDG_RUNTIME_DIR => $home, XDG_CONFIG_HOME => "$home/.config" },
    timeout => slow(120));
is($done->{status}, 0, 'Q-05 Q-65: certmonger enrols, and renews what it tracks') or diag($done->{output});
for my $file ('first.pem', 'cert.pem') {
    my $verified = run(['openssl', 'verify', '-CAfile', $s->ca_cert, "$home/$file"]);
    is($verified->{status}, 0, "$file verifies") or diag($verified->{output});
}
my @requests = grep { /PKIOperation/ } split /\n/, slurp($s->dir . '/logs/access.log');
ok(@requests && !grep({ !/"GET / } @requests), 'by GET') or diag(join "\n", @requests);
is(($s->query("SELECT count(*) AS n FROM scep_certificate WHERE subject LIKE '%moon%'"))[0]{n},
    2, 'both are in the inventory');
ok($s->logs('SCEP0240: renew .*verdict=issued'), 'the second by renewal, its challenge was used up');

$s->finish;
done_testing();
