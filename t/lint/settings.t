# The one list of settings, the annotated configuration file, the reference of directives and
# the table of commands say the same.
use strict;
use warnings;
use Test::More;

my $top = $ENV{srcdir} or BAIL_OUT('srcdir is not set: run this with make check');

sub slurp {
    my ($name) = @_;
    open my $in, '<', "$top/$name" or BAIL_OUT("$name cannot be read: $!");
    local $/;
    my $text = <$in>;
    close $in or BAIL_OUT("$name: $!");
    BAIL_OUT("$name is empty") unless defined $text && length $text;
    return $text;
}

sub plain { my ($text) = @_; $text =~ s/\s+/ /g; $text =~ s/^ | $//g; return $text }

# ---- the list

my ($list) = slurp('lib/settings.h') =~ /#define SCEP_SETTINGS\(X\)(.*?)\ntypedef/s
    or BAIL_OUT('lib/settings.h holds no SCEP_SETTINGS');
$list =~ s/\\\n/\n/g;
my @rows;
while ($list =~ /\bX\((\w+),\s*(\w+),\s*(\w+),\s*"([^"]*)",\s*(\d+),\s*(\d+),\s*"([^"]*)",\s*((?:"[^"]*"\s*)+)\)/g) {
    my %row = (name => $1, kind => $2, scope => $3, dflt => $4, low => $5, high => $6, words => $7);
    $row{says} = plain(join '', $8 =~ /"([^"]*)"/g);
    push @rows, \%row;
}
my $written = () = $list =~ /\bX\(/g;
BAIL_OUT('lib/settings.h: the list is empty') unless @rows;
is(scalar @rows, $written, 'every row of the list is understood');

# Several templates share one directive.
my @directives;
for my $row (@rows) {
    my $name = $row->{kind} eq 'TEMPLATE' ? 'SCEPTemplate' : "SCEP$row->{name}";
    push @directives, $name unless grep { $_ eq $name } @directives;
}
my %listed = map { $_ => 1 } @directives;

my %context = (
    SERVER   => 'server config',
    HOST     => 'server config, virtual host',
    SECTION  => 'server config, virtual host, `<Location>`',
    ENDPOINT => 'server config, virtual host, `<Location>` with `SCEPEndpoint`',
);

sub accepts {
    my ($row) = @_;
    return 'on|off' if $row->{kind} eq 'FLAG';
    return $row->{words} if $row->{kind} eq 'WORD';
    return "$row->{low} to $row->{high}" if $row->{kind} eq 'NUMBER';
    return "$row->{low} to $row->{high} characters";
}

# ---- conf/mod_scep.conf

my $conf = slurp('conf/mod_scep.conf');
my (%value, @in_conf);
for my $line (split /\n/, $conf) {
    next unless $line =~ /^#?\s?(SCEP[A-Z]\w*)\s+(\S.*?)\s*$/;
    my ($name, $text) = ($1, $2);
    # Prose stands behind "# "; what may be switched on stands behind "#".
    next if $line =~ /^# /;
    $name .= " $1" if $name eq 'SCEPTemplate' && $text =~ s/^(\w+)\s+//;
    push @in_conf, $name;
    ok(!exists $value{$name}, "conf: $name stands there once");
    $value{$name} = $text;
    like($line, qr/^#/, "conf: $name is commented out");
}
for my $row (@rows) {
    my $name = $row->{kind} eq 'TEMPLATE' ? "SCEPTemplate $row->{name}" : "SCEP$row->{name}";
    ok(exists $value{$name}, "conf: $name is there");
    is($value{$name}, $row->{dflt}, "conf: $name stands at its default")
        if exists $value{$name} && length $row->{dflt};
    my ($comment) = $conf =~ /((?:^#[ ]?.*\n)+)^#\Q$name\E\s/m;
    $comment = '' unless defined $comment;
    $comment =~ s/^# ?//mg;
    ok(index(plain($comment), $row->{says}) >= 0, "conf: $name is explained in the list's words");
}
for my $name (@in_conf) {
    my ($word) = $name =~ /^(\w+)/;
    ok($listed{$word}, "conf: $word is a directive of the list");
}
like($conf, qr/^LimitRequestLine 65534$/m, 'conf: long GETs get through');

# ---- docs/directives.md

my $docs = slurp('docs/directives.md');
my %section;
my @headings;
while ($docs =~ /^## (SCEP\w+)\n(.*?)(?=^## |\z)/msg) {
    push @headings, $1;
    ok(!exists $section{$1}, "docs: $1 has one section");
    $section{$1} = $2;
}
is_deeply(\@headings, \@directives, 'docs: a section for every directive, in the order of the list');

for my $row (@rows) {
    my $template = $row->{kind} eq 'TEMPLATE';
    my $name = $template ? 'SCEPTemplate' : "SCEP$row->{name}";
    my $text = $section{$name};
    next unless defined $text; # reported above
    my $dflt = !length $row->{dflt} ? 'none'
        : $template ? "`SCEPTemplate $row->{name} $row->{dflt}`" : "`$name $row->{dflt}`";
    my ($has_dflt) = $text =~ /^\* Default: (.*)$/m;
    $has_dflt = '' unless defined $has_dflt;
    $template
        ? ok(index($has_dflt, $dflt) >= 0, "docs: $row->{name}: default")
        : is($has_dflt, $dflt, "docs: $name: default");
    my ($has_context) = $text =~ /^\* Context: (.*)$/m;
    is($has_context, $context{ $row->{scope} }, "docs: $name: context");
    my ($has_values) = $text =~ /^\* Values: (.*)$/m;
    is($has_values, accepts($row), "docs: $name: values");
    like($text, qr/^\* Syntax: `\Q$name\E .+`$/m, "docs: $name: syntax");
    like($text, qr/^    \Q$name\E \S/m, "docs: $name: an example");
    ok(index(plain($text), $row->{says}) >= 0, "docs: $row->{name} is explained in the list's words");
}
# Whatever is called like a directive is one.
for my $word (sort keys %{ { map { $_ => 1 } $docs =~ /\b(SCEP[A-Z]\w*)/g } }) {
    ok($listed{$word}, "docs: $word is a directive of the list");
}

# ---- ca.conf: its keys, its manual page, and the file that scep-ca init writes

my ($ca_conf, $manual, $init) = (slurp('ca/conf.c'), slurp('docs/scep-ca.8'), slurp('ca/init_files.c'));
my @rules = $ca_conf =~ /^static const conf_rule (\w+_rules)\[\]/mg;
is_deeply([sort @rules], [qw(authority_rules group_rules module_rules template_rules top_rules)],
    'ca.conf has these kinds of sections');
for my $rules (@rules) {
    my ($table) = $ca_conf =~ /conf_rule $rules\[\] = \{(.*?)\n\};/s;
    my @keys = $table =~ /(?:MUST|MAY|NUMBER|PLACE)\(\w+, (\w+)|\.key = "(\w+)"/g;
    for my $key (grep { defined } @keys) {
        like($manual, qr/^\.BR? (?:\w+ ", " )*\Q$key\E\b/m, "scep-ca(8) has $key of $rules");
        like($init, qr/"(?:#\s*)?(?:\w+, )*\Q$key\E\b/, "and so has the file that init writes");
    }
}

# The keys of one kind of CA, and those of a directory.
my $connectors = slurp('docs/connectors.md');
for my $source ('ca/conf_connector.c', 'ca/conf_directory.c') {
    for my $table (slurp($source) =~ /conf_rule \w+_rules\[\] = \{(.*?)\n\};/sg) {
        my @keys = $table =~ /(?:OF|MUST|MAY|NUMBER|PLACE)\(\w+, (\w+)|\.key = "(\w+)"/g;
        like($connectors, qr/^    $_\b|`$_`/m, "docs/connectors.md has $_ of $source") for grep { defined } @keys;
    }
}

# ---- the table of commands

my $code = slurp('mod_scep_config.c');
like($code, qr/^#define X\(.*\n?.*\n?\s*DIRECTIVE_##kind\(.*\n\s*SCEP_SETTINGS\(X\)/m,
     'the table of commands is made from the list');
my @literal = $code =~ /AP_INIT_\w+\(\s*"(SCEP\w+)"(?!\s*#)/g;
is_deeply(\@literal, ['SCEPTemplate'], 'no other directive is written out by hand');

done_testing();
