# A configuration that cannot work is refused with a sentence that says what to do; by configtest
# and by start.
use SCEPTest;

my $away = sub { my ($s) = @_; spew($s->dir . '/ca/ca.key', "no key\n", 0600) };
# A pattern that matches what a client may write, and the address that httpd makes of it.
my ($admin, $devices) = ('/certsrv/mscep_admin/mscep.dll', '/certsrv/mscep/mscep.dll/pkiclient.exe');
my @skipped = (
    ['^/certsrv/mscep_admin/?$', $admin],
    ['^/CertSrv/mscep_admin', $admin],
    ['^/cERTSRV/mscep_admin', $admin],
    ['^/certsrv/mscep_admin/mscep[.]dll/', $admin],
    ['mscep[.]dll$', $devices],
    ['^/certsrv/mscep(_admin/mscep[.]dll)?$', $devices],
    ['/certsrv/*', $devices],
    ['/certsrv/*_admin', $admin],
    ['/CertSrv/mscep_admin/*', $admin],
);
my @holding = ('^/certsrv/mscep_admin', '(?i)^/CertSrv/', '^/CertSrv/(?i)mscep_admin/x', '^/(?!certsrv)',
    '^/elsewhere/?$', '/elsewhere/*', '/certsrv/*_admin/*');
my @cases = (
    # what is wrong, what the sentence must name, options, what is done to the files
    ['no SCEPConnector', qr/SCEPConnector spawn:/, { connector => '' }],
    ['a connector of an unknown kind', qr/spawn:/, { connector => 'SCEPConnector ldap:x' }],
    ['a ca.conf that is not there', qr/nowhere\.conf/, { connector => 'SCEPConnector spawn:nowhere.conf' }],
    ['an unknown authority', qr/authority.*nobody/i, { host => 'SCEPAuthority nobody' }],
    ['an unknown template', qr/template.*NoSuchTemplate/i, { host => 'SCEPTemplate All NoSuchTemplate' }],
    ['a CA key that is none', qr/ca\.key/, {}, $away],
    ['PasswordMax 0', qr/PasswordMax.*1.*1000000/, { host => 'SCEPPasswordMax 0' }],
    ['PasswordLength 4', qr/PasswordLength.*8.*64/, { host => 'SCEPPasswordLength 4' }],
    ['an unknown word', qr/ndes.*rfc8894/, { host => 'SCEPCompatibility cisco' }],
    ['a Location in another letter case', qr{/CertSrv/mscep_admin.*lower case}s,
        { host => SCEPServer::guard('/CertSrv/mscep_admin') }],
    (map {
        my ($pattern, $canonical) = @$_;
        my $section = $pattern =~ /\*/ ? 'Location' : 'LocationMatch';
        ["<$section \"$pattern\">", qr/\Q"$pattern"\E.*'\Q$canonical\E'.*<Location "/s,
            { host => "<$section \"$pattern\">\nRequire all denied\n</$section>" }]
    } @skipped),
    ['issuance in a nameless Location', qr/SCEPEndpoint/,
        { host => "<Location \"/scep\">\nSetHandler scep\nSCEPPasswordMax 9\n</Location>" }],
    ['an unknown setting in ca.conf', qr/ca\.conf:\d+/, {},
        sub { my ($s) = @_; spew($s->ca_conf, slurp($s->ca_conf) . "\n[authority default]\ncolour = red\n") }],
);
push @cases, ['no SCEPCAUser', qr/useradd/, { ca_user => '' }],
    ['an SCEPCAUser that does not exist', qr/useradd/, { ca_user => 'SCEPCAUser no-such-user' }],
    ['SCEPCAUser is httpd\'s User', qr/SCEPCAUser/, { ca_user => 'SCEPCAUser ' . SCEPServer::worker_user() }]
    if is_root();

for my $case (@cases) {
    my ($name, $sentence, $options, $spoil) = @$case;
    my $s = SCEPTest->ready(%$options);
    $spoil->($s) if $spoil;
    my $tested = $s->configtest;
    isnt($tested->{status}, 0, "$name: configtest fails");
    like($tested->{output}, $sentence, "$name: and says so");
    my $started = $s->httpd('-k', 'start');
    isnt($started->{status}, 0, "$name: start fails");
    like(join("\n", $started->{output}, $s->log_lines), $sentence, "$name: and says so");
    is_deeply([$s->ca_pids], [], "$name: no scep-ca is left");
    $s->end;
}

# At start the sentence goes to syslog too, which is httpd's log then.
my $syslog = SCEPTest->ready(server => 'ErrorLog syslog:local7');
my $tested = $syslog->configtest;
isnt($tested->{status}, 0, 'an ErrorLog that scep-ca cannot write to: configtest fails');
like($tested->{output}, qr{ErrorLog syslog:local7 .*\|/usr/bin/logger}, 'and says so');
isnt($syslog->httpd('-k', 'start')->{status}, 0, 'start fails');
is_deeply([$syslog->ca_pids], [], 'no scep-ca is left');
$syslog->end;

# The same server without a fault, so that the cases above fail for their fault alone.
my $s = SCEPTest->ready;
is($s->configtest->{status}, 0, 'configtest passes where nothing is wrong') or diag($s->configtest->{output});
$s->end;

# Patterns that hold for what they match.
$s = SCEPTest->ready(host => join "\n", map {
    my $section = /\*/ ? 'Location' : 'LocationMatch';
    "<$section \"$_\">\nRequire all granted\n</$section>"
} @holding);
is($s->configtest->{status}, 0, 'patterns that hold are accepted') or diag($s->configtest->{output});
$s->end;

my $short = SCEPTest->ready(server => 'LimitRequestLine 8190');
like($short->configtest->{output}, qr/SCEP0040:.*LimitRequestLine 65534/, 'a short LimitRequestLine is warned of');
$short->end;

done_testing();
