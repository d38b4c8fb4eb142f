# The files for systemd and SELinux are understood by the programs that read them, where those are
# here; what can be read without them is read in any case.
use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp ();
use SCEPRun qw(run have slurp spew);
use Test::More;

my $top = $ENV{srcdir} // '.';
my $tmp = File::Temp::tempdir('scep-packaging-XXXXXX', TMPDIR => 1, CLEANUP => 1);

my $makefile = slurp("$top/Makefile.am");
my @files    = sort map { s{^\Q$top\E/}{}r } grep { -f } glob("$top/conf/systemd/* $top/conf/selinux/*");
cmp_ok(scalar @files, '>=', 5, 'the files were found');
like($makefile, qr/(?:^|\s)\Q$_\E(?:\s|$)/, "$_ is installed") for @files;

# What stands in a file, without comments and empty lines.
sub meat {
    my ($name) = @_;
    return grep { /\S/ && !/^\s*#/ } split /\n/, slurp("$top/conf/$name");
}

# ---- sysusers.d

my @users = meat('systemd/scep.sysusers.conf');
is(scalar @users, 2, 'two users are made');
like($users[1], qr{^u scep-exec - "[^"]+" /var/lib/scep-exec /\S+/nologin$}, 'scep-exec, who cannot either');
like($users[0], qr{^u scep - "[^"]+" /etc/scep /\S+/nologin$}, 'scep, who cannot log in');

# ---- tmpfiles.d

my %folder;
for my $line (meat('systemd/scep.tmpfiles.conf')) {
    like($line, qr{^(?:d /\S+ 0[0-7]{3} \S+ \S+ -|x /run/\S+)$}, "a line that systemd-tmpfiles knows: $line");
    $folder{$1} = [$2, $3] if $line =~ m{^d (\S+) (\d+) (\S+)};
}
is_deeply(
    \%folder,
    {   '/etc/scep'        => ['0711', 'root'],
        '/etc/scep/state'  => ['0700', 'scep'],
        '/etc/scep/public' => ['0755', 'scep'],
        '/var/lib/scep-exec' => ['0700', 'scep-exec']
    },
    'the folders are as scep-ca init makes them, and one is a policy module\'s');

SKIP: {
    my @needed = qw(systemd-sysusers systemd-tmpfiles);
    skip('systemd-sysusers and systemd-tmpfiles as root only', 5) if $> != 0 || grep { !have($_) } @needed;
    my $root = "$tmp/root";
    make_path("$root/etc", "$root/run");
    my $made = run(['systemd-sysusers', "--root=$root", "$top/conf/systemd/scep.sysusers.conf"]);
    is($made->{status}, 0, 'systemd-sysusers makes the users') or diag($made->{output});
    like(slurp("$root/etc/passwd"), qr{^scep:[^:]*:\d+:\d+:[^:]+:/etc/scep:/\S*nologin$}m, 'as it should be');
    # A whole root of its own: nothing of this machine is touched.
    my $done = run(['systemd-tmpfiles', "--root=$root", '--create', "$top/conf/systemd/scep.tmpfiles.conf"]);
    is($done->{status}, 0, 'systemd-tmpfiles makes the folders');
    is($done->{output}, '', 'and has nothing to say');
    my %is = map { $_ => sprintf '%04o', (stat "$root$_")[2] & 07777 } grep { -d "$root$_" } keys %folder;
    is_deeply(\%is, { map { $_ => $folder{$_}[0] } keys %folder }, 'with their modes');
}

# ---- the drop-in

my ($section, %set) = ('');
for my $line (meat('systemd/scep.service.conf')) {
    if ($line =~ /^\[(Unit|Service)\]$/) {
        $section = $1;
    } elsif ($line =~ /^([A-Z]\w+)=(.+)$/ && $section) {
        $set{"$section.$1"} = $2;
    } else {
        fail("a line that is neither a section nor a setting: $line");
    }
}
cmp_ok($set{'Service.LimitNOFILE'} // 0, '>', 4096 + 64, 'room for all the connections that scep-ca serves');
cmp_ok($set{'Service.TimeoutStopSec'} // 0, '>=', 10, 'time to finish');
like($set{'Service.ReadWritePaths'} // '', qr{(?:^| )-/etc/scep/state( |$)}, 'the database can be written');

SKIP: {
    skip('systemd-analyze is not installed', 2) if !have('systemd-analyze');
    for my $unit (qw(apache2 httpd)) {
        my $dir = "$tmp/$unit";
        make_path("$dir/$unit.service.d");
        spew("$dir/$unit.service", "[Unit]\nDescription=httpd\n[Service]\nExecStart=/bin/true\n");
        spew("$dir/$unit.service.d/scep.conf", slurp("$top/conf/systemd/scep.service.conf"));
        my $checked = run(
            ['systemd-analyze', 'verify', '--man=no', '--generators=no', "$dir/$unit.service"],
            env => { SYSTEMD_UNIT_PATH => "$dir:" });
        unlike($checked->{output}, qr/scep\.conf|Unknown|Failed to parse/i, "systemd-analyze takes it for $unit.service")
            or diag($checked->{output});
    }
}

# ---- SELinux: each label of the file contexts is a type that the policy declares

my $te = join "\n", meat('selinux/mod_scep.te');
like($te, qr/^policy_module\(mod_scep, \d+\.\d+\.\d+\)/, 'the module says who it is');
my %declared = map { $_ => 1 } $te =~ /^type (\w+);/mg;
my %labels;
for my $line (meat('selinux/mod_scep.fc')) {
    like($line, qr{^/\S+\s+gen_context\(system_u:object_r:\w+,s0\)$}, "a file context: $line");
    $labels{$1} = 1 if $line =~ /object_r:(\w+)/;
}
is_deeply([sort keys %labels], [sort keys %declared], 'labels and types are the same');
my %used = map { $_ => 1 } $te =~ /\b(scep_\w+_t)\b/g;
is_deeply([sort keys %used], [sort keys %declared], 'and no other is used');
SKIP: {
    my $devel = '/usr/share/selinux/devel/Makefile';
    skip('the SELinux policy development files are not installed', 1) if !-f $devel && ($ENV{CI} // '') ne 'true';
    spew("$tmp/mod_scep.$_", slurp("$top/conf/selinux/mod_scep.$_")) for qw(te fc);
    my $built = run(['make', '-C', $tmp, '-f', $devel, 'mod_scep.pp'], timeout => 300);
    is($built->{status}, 0, 'the policy module builds') or diag($built->{output});
}

done_testing();
