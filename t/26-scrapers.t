# The rules by which ten clients find the password on the challenge page, each as its source or its
# manual has it, on pages that a server gave. ndes.md 3.1-3.5.
use SCEPTest;
use Encode ();

# ---- how clients decode

# UTF-16 by its mark, and without one in this order; undef where a strict decoder gives up.
sub utf16 {
    my ($bytes, $order, $strict) = @_;
    $order = 'LE' if $bytes =~ s/^\xFF\xFE//;
    $order = 'BE' if $bytes =~ s/^\xFE\xFF//;
    return undef if $strict && length($bytes) % 2;
    return unicode($bytes, $order, $strict);
}

# UTF-16 whose mark, where there is one, becomes a character.
sub unicode {
    my ($bytes, $order, $strict) = @_;
    chop $bytes if length($bytes) % 2;
    return eval { Encode::decode("UTF-16$order", $bytes, $strict ? Encode::FB_CROAK | Encode::LEAVE_SRC : Encode::FB_DEFAULT) };
}

sub utf8_text { my ($bytes) = @_; return Encode::decode('UTF-8', $bytes =~ s/^\xEF\xBB\xBF//r) }

# A guess at UTF-16LE where every other byte is NUL.
sub guessed {
    my ($bytes) = @_;
    return utf16($bytes, 'LE') if $bytes =~ /^(?:\xFF\xFE|\xFE\xFF)/;
    my $odd = () = $bytes =~ /[\s\S]\0/g;
    return unicode($bytes, 'LE') if $bytes =~ /^\s*<\0/ || $odd * 2 >= length($bytes) * 0.9;
    return utf8_text($bytes);
}

# What BeautifulSoup writes again: tags in lower case.
sub soup { my ($bytes) = @_; return guessed($bytes) =~ s{(</?\w+)}{\L$1}gr }

# Its prettify: a line for each tag and for each text.
sub pretty { return grep { length } map { s/^\s+|\s+$//gr } map { split /\n/ } split /(<[^>]*>)/, soup($_[0]) }

# ---- the rules, each from the bytes of a page to a password

sub fleet_rule { return ($_[0] // '') =~ /(?i)The enrollment challenge password is: <B> (?<password>\S*)/ ? $+{password} : undef }

sub fleet      { return fleet_rule(guessed($_[0])) }
sub fleet_2024 { return fleet_rule($_[0] =~ s/^\xEF\xBB\xBF// ? utf8_text($_[0]) : utf16($_[0], 'BE')) }

sub zentral {
    my ($text) = utf16($_[0], 'LE', 'strict') // return undef;
    return $text =~ m{challenge password is: <B> ([A-Z0-9]{16,32}) </B>} ? $1 : undef;
}

sub get_ndesotp { return unicode($_[0], 'LE') =~ /([A-F0-9]{16})/i ? $1 : undef }

sub ilo { return (grep { /^[A-F0-9]{16}/i } split /\s+/, unicode($_[0], 'LE'))[0] }

sub get_otp {
    my $text = utf16($_[0], 'LE', 'strict') // return undef;
    my @parts = split />/, $text;
    for my $i (0 .. $#parts - 1) {
        next if index($parts[$i], ' The enrollment challenge password is: <B') != 0;
        return (split ' ', $parts[ $i + 1 ])[0];
    }
    return undef;
}

sub junos { return soup($_[0]) =~ /The enrollment challenge password is: <b> ([A-Z0-9]+) / ? $1 : undef }

# "The second line with a digit after dropping the first": the tag that names the charset is the
# first, where tags count.
sub fortinet { return (grep { /\d/ } pretty($_[0]))[2] }

# The same where only texts count: of those the second.
sub fortinet_texts { return (grep { /\d/ && !/^</ } pretty($_[0]))[1] }

# ReadAsStringAsync: the mark, or UTF-8.
sub scepclient {
    my ($bytes) = @_;
    my $text = $bytes =~ /^(?:\xFF\xFE|\xFE\xFF)/ ? utf16($bytes, 'LE') : utf8_text($bytes);
    return $text =~ /challenge password.*?([0-9A-Fa-f]{8,64})/ ? $1 : undef;
}

# One decoder after the other, until the words are there.
sub manageengine_text {
    my ($bytes) = @_;
    for my $decode (
        sub { utf16($_[0], 'BE') }, \&utf8_text, sub { Encode::decode('ascii', $_[0]) },
        sub { unicode($_[0], 'BE') }, sub { unicode($_[0], 'LE') }, sub { Encode::decode('iso-8859-1', $_[0]) })
    {
        my $text = $decode->($bytes);
        return $text if index($text, 'The enrollment challenge password is') >= 0;
    }
    return undef;
}

sub manageengine {
    my $text  = manageengine_text($_[0]) // return undef;
    my $begin = 'The enrollment challenge password is: <B> ';
    my $from  = index $text, $begin;
    for my $end ('This password can be used only once', 'This password can be used multiple times and will not expire.') {
        my $to = index $text, " </B> <P> $end";
        return substr $text, $from + length $begin, $to - $from - length $begin if $from >= 0 && $to >= 0;
    }
    return undef;
}

# ---- the pages

my %folder = ('utf-16le+bom' => '/certsrv/mscep_admin', 'utf-16le' => '/utf-16le', 'utf-8' => '/utf-8');
my @encodings = ('utf-16le+bom', 'utf-16le', 'utf-8');
my $others = join '', map {
    SCEPServer::guard($folder{$_}) =~ s{(?=</Location>)}{SetHandler scep-admin\nSCEPPageEncoding $_\n}r
} @encodings[1, 2];
my $s = SCEPTest->ready(
    SCEPTest::hosts(
        once   => $others,
        single => "SCEPUseSinglePassword on\n$others",
        full   => "SCEPPasswordMax 1\n$others",
        shut   => "SCEPTemplate All WiFiClient\n$others"));
my $conf = slurp($s->ca_conf) =~ s/^(\[template WiFiClient\]\n)/$1enroll = alice\n/mr;
spew($s->ca_conf, $conf);
my $why = $s->start;
BAIL_OUT("httpd is not up: $why") if defined $why;
$s->expect_log('SCEP0073: no challenge .* SCEPPasswordMax', 'SCEP0074: NDES-6 no challenge for user admin');

# The whole answer. Options: page (the name of the host), encoding, and those of http().
sub fetch {
    my (%o) = @_;
    my $folder = $folder{ delete $o{encoding} // 'utf-16le+bom' };
    my $place  = $s->place(delete $o{page} // 'once');
    my $path   = ($folder =~ m{^/certsrv} ? $folder . (delete $o{rest} // '') : $folder);
    delete $o{rest};
    return $s->http(delete $o{method} // 'GET', $path, user => $s->credentials, %$place, %o);
}

# What this test itself knows to be the encoding.
sub text_of {
    my ($answer, $encoding) = @_;
    return Encode::decode('UTF-8', $answer->{body}, Encode::FB_CROAK | Encode::LEAVE_SRC) if $encoding eq 'utf-8';
    my $bytes = $answer->{body};
    substr($bytes, 0, 2, '') eq "\xFF\xFE" or return '' if $encoding eq 'utf-16le+bom';
    return Encode::decode('UTF-16LE', $bytes, Encode::FB_CROAK | Encode::LEAVE_SRC);
}

my %ends = (
    once   => 'This password can be used only once and will expire within 60 minutes.',
    single => 'This password can be used multiple times and will not expire.');

# Who finds the password in UTF-16LE with a mark, without one, and in UTF-8: as on NDES's own page.
my %form = (method => 'POST', type => 'application/x-www-form-urlencoded', body => 'operation=GetCACaps');
my @clients = (
    ['Fleet',                    \&fleet,          1, 1, 1],
    ['Fleet 2024',               \&fleet_2024,     1, 0, 0],
    ['zentral',                  \&zentral,        1, 1, 0],
    ['Get-NDESOTP.ps1',          \&get_ndesotp,    1, 1, 0],
    ['iLO script',               \&ilo,            1, 1, 0, %form],
    ['get_otp.py',               \&get_otp,        1, 1, 0],
    ['Junos script',             \&junos,          1, 1, 1],
    ['Fortinet script',          \&fortinet,       1, 1, 1, rest => '/mscep.dll'],
    ['Fortinet script (texts)',  \&fortinet_texts, 1, 1, 1, rest => '/mscep.dll'],
    ['scepclient for .NET',      \&scepclient,     1, 0, 1],
    ['ManageEngine',             \&manageengine,   1, 1, 1]);

for my $page (qw(once single)) {
    my $last;
    for my $client (@clients) {
        my ($name, $rule, @finds) = @$client;
        my %how = splice @finds, 3;
        for my $i (0 .. $#encodings) {
            my $answer = fetch(page => $page, encoding => $encodings[$i], %how);
            my ($right) = text_of($answer, $encodings[$i]) =~ m{ is: <B> (\S+) </B> <P> \Q$ends{$page}\E};
            my $found = $rule->($answer->{body});
            if ($finds[$i]) {
                ok(defined $right && defined $found && $found eq $right, "$name finds the password ($page, $encodings[$i])")
                    or diag($found // 'nothing');
            } else {
                isnt($found // '', $right, "$name does not ($page, $encodings[$i])");
                ok(!defined $found, "$name finds nothing wrong either ($page, $encodings[$i])") or diag($found);
            }
            $last = $found if $finds[$i];
        }
    }
    my @enrolments = map { $s->enrol(at => $s->place($page), challenge => $last, subject => "CN=$page $_") } 1, 2;
    issued($enrolments[0], "what was found is a password ($page)");
    issued($enrolments[1], 'and the single one is good again') if $page eq 'single';
    failed($enrolments[1], 2, 'good once', qr/challenge password/) if $page eq 'once';
}
$s->expect_log('SCEP0026: NDES-29 CHALLENGE');
is(fleet(fetch(page => 'single')->{body}), fleet(fetch(page => 'single')->{body}), 'the single password stays');

# ---- what is not found before the password

for my $page (qw(once single)) {
    my $text = text_of(fetch(page => $page), 'utf-16le+bom');
    my ($before) = $text =~ /^(.*?) The enrollment challenge password is: <B> /s;
    unlike($before, qr/[0-9A-Fa-f]{9}/, "nothing that looks like a password comes first ($page)");
    like($text, qr{</B> <P> \Q$ends{$page}\E.*SHA-256.*<B> (?:[0-9A-F]{8} ){8}</B>}s,
        "the SHA-256 of the CA comes after the password, in groups ($page)");
    unlike($text, qr/[0-9A-F]{17}/, "no run of digits is longer than the password ($page)");
}

# ---- what the error pages say

my $cache_full = 'The password cache is full.';
my $not_permitted = 'You do not have sufficient permission to enroll with SCEP.';
fetch(page => 'full');
for my $encoding (@encodings) {
    for my $case (['full', $cache_full, $not_permitted], ['shut', $not_permitted, $cache_full]) {
        my ($page, $says, $not) = @$case;
        my $answer = fetch(page => $page, encoding => $encoding);
        is($answer->{status}, 200, "200 for Fleet ($page, $encoding)");
        my $text = guessed($answer->{body});
        ok(index($text, $says) >= 0, "Fleet finds '$says' ($encoding)") or diag($text);
        ok(index($text, $not) < 0, 'and not the other');
        is(text_of($answer, $encoding), $text, 'which is in the encoding that was asked for');
        is($_->[1]->($answer->{body}) // '', '', "$_->[0] finds no password ($page, $encoding)")
            for grep { $_->[0] !~ /^Fortinet/ } @clients;
    }
    my $text = manageengine_text(fetch(page => 'full', encoding => $encoding)->{body}) // '';
    ok(index($text, 'The password cache is full') >= 0, "ManageEngine finds that the cache is full ($encoding)");
}
like(text_of(fetch(page => 'full'), 'utf-16le+bom'), qr/<P> The password cache is full\. <P> /, 'in the words of NDES');
like(text_of(fetch(page => 'shut'), 'utf-16le+bom'),
    qr{<P> \Q$not_permitted\E  Please contact your system administrator\. </P>}, 'with two spaces, as NDES has it');

# ---- a single password that does not fit what is configured: NDES answers 500 and logs event 49

$s->{hosts} =~ s/^(SCEPUseSinglePassword on)$/$1\nSCEPPasswordLength 16/m or die "no line of the single password\n";
$s->expect_log('SCEP0075: NDES-49 SINGLE_PASSWORD: ', 'SCEP0297: NDES-49 ');
my $kept = fleet(fetch(page => 'single')->{body});
$s->graceful;
# a worker of before may answer once more after one of now
ok(wait_for(sub { 3 == grep { fetch(page => 'single')->{status} == 500 } 1 .. 3 }, slow(20)),
    'with another SCEPPasswordLength the answer is 500');
my $remedy = qr/ 8 bytes and not the 16 of SCEPPasswordLength\b.*: scepctl revoke-challenge --endpoint single\.test --single /;
my $wrong = fetch(page => 'single');
like($wrong->{body}, $remedy, 'which says why, and what to do');
like($wrong->{header}{'content-type'} // '', qr{^text/plain}, 'as plain text');
like($wrong->{header}{'cache-control'} // '', qr/no-store/, 'that is not to be stored');
is($_->[1]->($wrong->{body}) // '', '', "$_->[0] finds no password in it") for grep { $_->[0] !~ /^Fortinet/ } @clients;
$wrong = fetch(page => 'single', headers => ['Accept: application/json']);
is($wrong->{status}, 500, 'it is 500 for JSON, too');
like((eval { JSON::PP::decode_json($wrong->{body}) } // {})->{error} // $wrong->{body}, $remedy, 'with the reason');
is(fetch(page => 'once')->{status}, 200, 'another endpoint goes on');
ok($s->logs("SCEP0297: .*$remedy"), 'the start named the password that does not fit, before anybody visited the page');
issued($s->enrol(at => $s->place('single'), challenge => $kept, subject => 'CN=kept'),
    'a device that was given it still enrols');
$s->scepctl_must('revoke-challenge', '--single', '--endpoint', 'single.test');
failed($s->enrol(at => $s->place('single'), challenge => $kept, subject => 'CN=late'), 2, 'until it is revoked',
    qr/challenge password not valid/);
my $longer = fleet(fetch(page => 'single')->{body});
like($longer // '', qr/^[0-9A-F]{32}$/, 'then the page makes one of the new length');
issued($s->enrol(at => $s->place('single'), challenge => $longer, subject => 'CN=longer'), 'that is good');
is_deeply([$s->files_with($kept, $longer)], [], 'S-28: neither can be read in any file');

$s->finish;
done_testing();
