# Authorities of a test's own: an issuing CA below a root, with its RA, made by the openssl command
# and written into ca.conf beside the one of `scep-ca init`.
package SCEPAuthority;
use strict;
use warnings;
use POSIX ();
use SCEPRun qw(run slurp spew);

sub openssl {
    my (@words) = @_;
    my $ran = run(['openssl', @words]);
    die "openssl @words: $ran->{output}\n" if $ran->{status} != 0;
    return;
}

my %usage = (
    ca      => "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
    sign    => "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n",
    decrypt => "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\n",
    # what the first template of `scep-ca init` gives
    device => "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
        . "extendedKeyUsage=1.3.6.1.5.5.8.2.2\n");

# A day from now on, as `openssl ca` takes it.
sub day { return POSIX::strftime('%Y%m%d%H%M%SZ', gmtime(time + 86400 * $_[0])) }

# FILE.pem and FILE.key for a subject, of a kind, by the issuer whose files begin with $issuer, good
# from the first to the last of two days.
sub certificate {
    my ($file, $subject, $kind, $issuer, @days) = @_;
    mkdir "$file.d" or die "$file.d: $!\n" if !-d "$file.d";
    spew("$file.d/$_->[0]", $_->[1]) for ['index', ''], ['index.attr', ''], ['serial', SCEPServer::random_hex(8) . "\n"];
    spew("$file.d/conf", "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=$file.d\ndatabase=$file.d/index\nserial=$file.d/serial\n"
        . "default_md=sha256\npolicy=p\nunique_subject=no\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\n$usage{$kind}"
        . "subjectKeyIdentifier=hash\n");
    openssl(qw(req -new -newkey rsa:2048 -nodes -keyout), "$file.key", '-subj', $subject, '-out', "$file.d/csr");
    openssl(qw(ca -batch -notext -config), "$file.d/conf", '-in', "$file.d/csr", '-out', "$file.pem", '-startdate',
        day($days[0] // -1), '-enddate', day($days[1] // 60),
        $issuer ? ('-cert', "$issuer.pem", '-keyfile', "$issuer.key") : ('-selfsign', '-keyfile', "$file.key"));
    return;
}

# A new RA for an authority of make(): new files in place of the old ones.
sub make_ra {
    my ($dir, $name, @days) = @_;
    certificate("$dir/ra-$_", "/CN=$name RA $_ " . SCEPServer::random_hex(2), $_, "$dir/issuing", @days) for qw(sign decrypt);
    return;
}

# What GetCACert would give with the RA that stands in the files: a file for ca_ra =>.
sub list {
    my ($s, $dir) = @_;
    my $file = $s->work('list-' . SCEPServer::random_hex(4));
    openssl(qw(crl2pkcs7 -nocrl -outform DER -out), $file, map { ('-certfile', "$dir/$_.pem") } qw(ra-sign ra-decrypt chain));
    return $file;
}

# Make an authority and add it to ca.conf of a server that was not started yet. Options: root: 0
# leaves the root out, so that the issuing CA is one; ra: the days of its RA; lines: more for its
# section.
# Returns the folder: root.pem, issuing.pem, ra-sign.pem, ra-decrypt.pem.
sub make {
    my ($s, $name, %o) = @_;
    my $dir   = $s->dir . "/ca-$name";
    my $below = $o{root} // 1;
    mkdir $dir, 0711 or die "$dir: $!\n";
    certificate("$dir/root", "/CN=$name root", 'ca') if $below;
    certificate("$dir/issuing", "/CN=$name CA", 'ca', $below ? "$dir/root" : undef);
    make_ra($dir, $name, @{ $o{ra} // [] });
    spew("$dir/chain.pem", slurp("$dir/issuing.pem") . ($below ? slurp("$dir/root.pem") : ''));
    my $conf = slurp($s->ca_conf);
    my ($templates) = $conf =~ /^(\s*templates\s*=.*)$/m;
    spew($s->ca_conf, "$conf\n[authority $name]\nconnector = local\nca_cert = $dir/chain.pem\n"
        . "ca_key = file:$dir/issuing.key\nra_sign_cert = $dir/ra-sign.pem\nra_sign_key = file:$dir/ra-sign.key\n"
        . "ra_decrypt_cert = $dir/ra-decrypt.pem\nra_decrypt_key = file:$dir/ra-decrypt.key\n"
        . "foreign_crl = none\n$templates\n" . ($o{lines} // ''));
    return $dir;
}

# More lines for an authority that stands in ca.conf already.
sub add_lines {
    my ($s, $name, $lines) = @_;
    my $conf = slurp($s->ca_conf);
    $conf =~ s/^(\s*\[\s*authority\s+\Q$name\E\s*\])$/$1\n$lines/m or die "ca.conf has no authority $name\n";
    spew($s->ca_conf, $conf);
    return;
}

1;
