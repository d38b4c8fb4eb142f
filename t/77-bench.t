# What `make bench` measures with: an enrolment that is answered wrongly does not pass for one.
use SCEPTest;
use lib "$ENV{srcdir}/t/bench";
use SCEPBench;

need_program('sqlite3');
use constant N => 20;

my $s = eval { SCEPBench->up('p256') } or BAIL_OUT("no server to measure: $@");
$s->keys_file(3);

# ---- right answers

my $said = $s->enrolments(N, 4, keep => 1);
is($said->{good}, N, 'every request was answered');
is($said->{checked}, N, 'and every answer holds the certificate that was asked for');
is($s->issued_count, N, 'which is in the inventory');
is_deeply([$s->wrong], [], 'nothing was wrong') or diag(join "\n", $s->wrong);
cmp_ok($said->{$_}, '>', 300, "$_ is what the processes took") for qw(httpd_us ca_us);
cmp_ok($said->{together_us}, '<', 1e6, 'but no more than they can have taken');
cmp_ok($said->{$_}, '>', 5000, "$_ is counted") for qw(peak_kib pss_kib);
cmp_ok($said->{p50_ms}, '<=', $said->{p99_ms}, 'half of the answers came before 99 % of them');

my $renewed = $s->renewals($said->{run}, 4);
is($renewed->{checked}, N, 'and all of them are renewed');
is_deeply([$s->wrong], [], 'nothing was wrong with that') or diag(join "\n", $s->wrong);

# ---- wrong ones: the stored answers are changed, or what was asked, then opened again

my %form  = (replies => 'N N N/a', messages => 'N N N/a N/a N/a N/a');
my %right = map { $_ => slurp("$said->{run}.$_") } keys %form;

# The records. An answer: place, status, body; a request: key, signer's key, signer, nonce,
# transactionID, message.
sub records {
    my ($what) = @_;
    my ($rest, @records) = ($right{$what});
    while (length $rest) {
        push @records, [unpack $form{$what}, $rest];
        substr $rest, 0, length(pack $form{$what}, @{ $records[-1] }), '';
    }
    return @records;
}

# Open changed records: how many are bad, why, and what the run remembers as wrong.
sub reopened {
    my ($what, $change) = @_;
    my @records = records($what);
    $change->(\@records);
    spew("$said->{run}.$_", $right{$_}) for keys %right;
    spew("$said->{run}.$what", join '', map { pack $form{$what}, @$_ } @records);
    ($s->{wrong}, $s->{serials}) = ([], {});
    my $checked = $s->check_all($said->{run});
    return ($checked, $s->wrong);
}

for my $what (sort keys %form) {
    is(scalar records($what), N, "the stored $what were found");
    my ($same, @none) = reopened($what, sub { });
    is_deeply([@$same{qw(status good bad)}, @none], [0, N, 0], 'opened again the answers are right');
}

sub flip {
    my ($record, $field, $at) = @_;
    substr($record->[$field], $at, 1) ^= "\x01";
    return;
}

for my $case (
    ['replies',  'a byte of the signature',     sub { flip($_[0][7], 2, -1) },            qr/signature does not verify/],
    ['replies',  'a byte of the envelope',      sub { flip($_[0][7], 2, length($_[0][7][2]) / 3) }, qr/\S/],
    ['replies',  'the first byte',              sub { flip($_[0][7], 2, 0) },             qr/not a SignedData/],
    ['replies',  'the answer to another one',   sub { $_[0][7][2] = $_[0][8][2] },        qr/\S/],
    ['replies',  'a status of HTTP',            sub { $_[0][7][1] = 500 },                qr/HTTP status 500/],
    ['replies',  'an answer that never came',   sub { @{ $_[0][7] }[1, 2] = (0, '') },    qr/HTTP status 0/],
    ['messages', 'the key that was certified',  sub { $_[0][7][0] = ($_[0][7][0] + 1) % 3 }, qr/another key/],
    ['messages', 'the nonce that was sent',     sub { flip($_[0][7], 3, 0) },             qr/another recipientNonce/],
    ['messages', 'the transactionID',           sub { flip($_[0][7], 4, 0) },             qr/another transactionID/],
    ) {
    my ($what, $name, $change, $why) = @$case;
    my ($checked, @wrong) = reopened($what, $change);
    is_deeply([@$checked{qw(status good bad)}], [1, N - 1, 1], "changed $name: one of " . N . ' is wrong');
    like($wrong[0] // '', $why, 'and it is said why');
}

my ($twice, @wrong) = reopened('replies', sub { push @{ $_[0] }, $_[0][7] });
is($twice->{good}, N + 1, 'an answer that came twice is right in itself');
like($wrong[0] // '', qr/serial number [0-9A-F]+ came twice/, 'but its serial number is not');

# The same answers, judged by what another CA sent.
my $stranger = SCEPBench->up('p256');
rename $s->ca_ra, $s->ca_ra . '.own' or die "$!\n";
spew($s->ca_ra, slurp($stranger->ca_ra));
my ($foreign) = reopened('replies', sub { });
is($foreign->{bad}, N, 'answers of a stranger are wrong');
like("@{ $foreign->{why} }", qr/GetCACert did not send/, 'and it is said why');
rename $s->ca_ra . '.own', $s->ca_ra or die "$!\n";
$stranger->end;

# ---- GET, and the floor

spew("$s->{dir}/htdocs/file", 'x' x 3000, 0644);
my $gets = $s->gets('/file', 2, 1);
cmp_ok($gets->{good}, '>', 10, 'a file is fetched again and again');
is($gets->{wrong}, 0, 'and is always the same');
cmp_ok(SCEPBench::floor_of($_, 1), '>', 50, "the floor with a CA key of $_") for qw(rsa2048 p256);
$s->end;

done_testing();
