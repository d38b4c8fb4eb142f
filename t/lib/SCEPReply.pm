# A CertRep judged without libscep and without the test tool: its structure by a DER reader of its
# own, its signature and its envelope by the openssl command. faults() says in sentences, with the
# ids of scep.md, what is not as RFC 8894 and the clients want it.
package SCEPReply;
use strict;
use warnings;
use Digest::MD5 ();
use Digest::SHA ();
use Encode ();
use File::Temp ();
use MIME::Base64 qw(encode_base64);
use SCEPDer qw(der_one der_list der_oid der_walk is_sorted);
use SCEPRun qw(run slurp spew);

my %oid = (
    data => '1.2.840.113549.1.7.1', signed => '1.2.840.113549.1.7.2', enveloped => '1.2.840.113549.1.7.3',
    rsa => '1.2.840.113549.1.1.1', oaep => '1.2.840.113549.1.1.7');

my %attribute = (
    '2.16.840.1.113733.1.9.2' => 'messageType',    '2.16.840.1.113733.1.9.3' => 'pkiStatus',
    '2.16.840.1.113733.1.9.4' => 'failInfo',       '2.16.840.1.113733.1.9.5' => 'senderNonce',
    '2.16.840.1.113733.1.9.6' => 'recipientNonce', '2.16.840.1.113733.1.9.7' => 'transactionID',
    '1.3.6.1.5.5.7.24.1'      => 'failInfoText',   '1.2.840.113549.1.9.3'    => 'contentType',
    '1.2.840.113549.1.9.4'    => 'messageDigest',  '1.2.840.113549.1.9.5'    => 'signingTime');

# RFC 8894 3.2.1, table 1; RFC 5652 11.
my %tag = (
    messageType => 0x13, pkiStatus     => 0x13, failInfo     => 0x13, transactionID => 0x13,
    senderNonce => 0x04, recipientNonce => 0x04, failInfoText => 0x0C, contentType   => 0x06,
    messageDigest => 0x04, signingTime => 0x17);

# Pure hashes: iOS ended itself over anything else (Q-39).
my %digest = (
    '1.2.840.113549.2.5'     => ['MD5',    \&Digest::MD5::md5],
    '1.3.14.3.2.26'          => ['SHA1',   \&Digest::SHA::sha1],
    '2.16.840.1.101.3.4.2.4' => ['SHA224', \&Digest::SHA::sha224],
    '2.16.840.1.101.3.4.2.1' => ['SHA256', \&Digest::SHA::sha256],
    '2.16.840.1.101.3.4.2.2' => ['SHA384', \&Digest::SHA::sha384],
    '2.16.840.1.101.3.4.2.3' => ['SHA512', \&Digest::SHA::sha512]);

my %cipher = (
    '1.3.14.3.2.7'            => 'DES-CBC',     '1.2.840.113549.3.7'      => 'DES-EDE3-CBC',
    '2.16.840.1.101.3.4.1.2'  => 'AES-128-CBC', '2.16.840.1.101.3.4.1.22' => 'AES-192-CBC',
    '2.16.840.1.101.3.4.1.42' => 'AES-256-CBC');

my %seen_nonce;

# bytes: the CertRep. Options: request: the message it answers, as DER; signer_cert, signer_key:
# files of who sent it; ca_ra: what GetCACert gave; kind: enrol (the default), cert or crl, what
# a SUCCESS has to hold; csr: whose key the certificate must have.
sub new {
    my ($class, $bytes, %o) = @_;
    my $self = bless { faults => [], attributes => {}, certs => [], crls => [], kind => 'enrol', %o }, $class;
    $self->{dir}    = File::Temp->newdir('scep-reply-XXXXXX', TMPDIR => 1);
    $self->{bytes}  = $bytes;
    $self->{asked}  = defined $o{request} ? facts_of_request($o{request}) : undef;
    $self->{known}  = defined $o{ca_ra} ? known_certificates($o{ca_ra}) : [];
    my $read = eval { $self->outer; 1 };
    $self->fault("cannot be read: $@") if !$read;
    if ($read) {
        $self->judge_attributes;
        $self->judge_signature;
        $self->judge_content;
    }
    return $self;
}

sub faults        { return @{ $_[0]{faults} } }
sub attribute     { return $_[0]{attributes}{ $_[1] } }
sub status        { return $_[0]->attribute('pkiStatus') }
sub fail_info     { return $_[0]->attribute('failInfo') }
sub digest        { return $digest{ $_[0]{digest} // '' }[0] }
sub cipher        { return $cipher{ $_[0]{cipher} // '' } }
sub key_transport { return $_[0]{key_transport} }
sub by_password   { return $_[0]{by_password} }
sub certs         { return @{ $_[0]{certs} } }
sub crls          { return @{ $_[0]{crls} } }

sub fault {
    my ($self, $sentence) = @_;
    chomp $sentence;
    push @{ $self->{faults} }, $sentence;
    return;
}

sub want { my ($self, $good, $sentence) = @_; $self->fault($sentence) if !$good; return $good }

# ---- structure

# Into ContentInfo { type, [0] { SEQUENCE … } }: the elements of the SEQUENCE.
sub inside_content_info {
    my ($bytes, $type) = @_;
    my ($oid, $content) = der_list(der_one($bytes, 0x30)->{body}, 0x06, 0xA0);
    die 'contentType ' . der_oid($oid) . " instead of $type\n" if der_oid($oid) ne $type;
    return der_list(der_one($content->{body}, 0x30)->{body});
}

# SignedData and the members of its one SignerInfo, for a reply and for a request.
sub signed_data {
    my ($bytes) = @_;
    my ($version, $digests, $encapsulated, @rest) = inside_content_info($bytes, $oid{signed});
    my %part = (version => $version->{body}, digests => $digests, certs => [], crls => []);
    my ($type, $content) = der_list($encapsulated->{body});
    $part{type} = der_oid($type);
    $part{content} = der_one(der_one($content->{der}, 0xA0)->{body}, 0x04)->{body} if $content;
    $part{certs} = [der_list(shift(@rest)->{body})] if @rest && $rest[0]{tag} == 0xA0;
    $part{crls}  = [der_list(shift(@rest)->{body})] if @rest && $rest[0]{tag} == 0xA1;
    die "SignedData has an odd end\n" if @rest != 1 || $rest[0]{tag} != 0x31;
    $part{signers} = [der_list($rest[0]{body})];
    return \%part;
}

sub signer_info {
    my ($element) = @_;
    my ($version, $sid, $digest, $attributes, $algorithm, $signature, @more) = der_list($element->{body});
    die "SignerInfo without signed attributes\n" if !$attributes || $attributes->{tag} != 0xA0;
    die "SignerInfo without a signature\n" if !$signature || $signature->{tag} != 0x04;
    return {
        version => $version->{body}, sid => $sid->{der}, digest => $digest, algorithm => $algorithm,
        attributes => [der_list($attributes->{body})], more => \@more
    };
}

sub algorithm_oid { return der_oid((der_list($_[0]{body}))[0]) }

# EnvelopedData: its one recipient and its cipher.
sub enveloped_data {
    my ($bytes) = @_;
    my ($version, $recipients, $encrypted, @more) = inside_content_info($bytes, $oid{enveloped});
    die "EnvelopedData with originatorInfo or unprotected attributes\n" if @more || $recipients->{tag} != 0x31;
    my $recipient = der_one($recipients->{body}, undef);
    my ($type, $algorithm, $content) = der_list($encrypted->{body}, 0x06, 0x30, 0x80);
    my %part = (
        version => $version->{body}, type => der_oid($type), cipher => algorithm_oid($algorithm),
        length => length $content->{body}, password => $recipient->{tag} == 0xA3);
    if ($recipient->{tag} == 0x30) {
        my ($rid_version, $rid, $transport) = der_list($recipient->{body}, 0x02, undef, 0x30, 0x04);
        @part{qw(rid rid_version transport)} = ($rid->{der}, $rid_version->{body}, algorithm_oid($transport));
    } elsif (!$part{password}) {
        die "a recipient neither of key transport nor of a password\n";
    }
    return \%part;
}

# What a request says that its reply has to repeat.
sub facts_of_request {
    my ($bytes) = @_;
    my $signed = signed_data($bytes);
    my $signer = signer_info($signed->{signers}[0]);
    my %facts  = (digest => algorithm_oid($signer->{digest}), sid => $signer->{sid});
    for my $element (@{ $signer->{attributes} }) {
        my ($oid, $values) = der_list($element->{body});
        my $name = $attribute{ der_oid($oid) } or next;
        $facts{$name} = (der_list($values->{body}))[0]{body};
    }
    my $envelope = eval { enveloped_data($signed->{content} // '') };
    @facts{qw(cipher transport)} = @$envelope{qw(cipher transport)} if $envelope;
    return \%facts;
}

sub outer {
    my ($self) = @_;
    der_walk($self->{bytes});
    my $signed = $self->{signed} = signed_data($self->{bytes});
    $self->want($signed->{version} eq "\x01", 'R-146: SignedData has not version 1');
    $self->want($signed->{type} eq $oid{data}, 'R-050: eContentType is not data');
    $self->want(!@{ $signed->{crls} }, 'CRLs stand beside the signature');
    die @{ $signed->{signers} } . " signers\n" if @{ $signed->{signers} } != 1;
    my $signer = $self->{signer} = signer_info($signed->{signers}[0]);
    $self->want($signer->{version} eq "\x01", 'R-146: SignerInfo has not version 1');
    $self->want(!@{ $signer->{more} }, 'there are unsigned attributes');
    $self->want(is_sorted(@{ $signer->{attributes} }), 'R-149: the signed attributes are not sorted');
    $self->want(is_sorted(@{ $signed->{certs} }), 'R-149: the outer certificates are not sorted');
    $self->{digest} = algorithm_oid($signer->{digest});
    $self->want($digest{ $self->{digest} }, "Q-39: digestAlgorithm $self->{digest} is no pure hash");
    my @listed = der_list($signed->{digests}{body});
    $self->want(@listed == 1 && algorithm_oid($listed[0]) eq $self->{digest},
        'digestAlgorithms is not the digest of the signer');
    for my $element (@{ $signer->{attributes} }) {
        my ($oid, $values) = der_list($element->{body}, 0x06, 0x31);
        $self->attribute_values(der_oid($oid), der_list($values->{body}));
    }
    return;
}

sub attribute_values {
    my ($self, $oid, @values) = @_;
    my $name = $attribute{$oid};
    return $self->fault("attribute $oid has no business in a CertRep") if !$name;
    $self->want(!exists $self->{attributes}{$name}, "R-140: $name stands twice");
    $self->want(@values == 1, "R-140: $name has " . @values . ' values') or return;
    $self->want($values[0]{tag} == $tag{$name},
        sprintf('R-140: %s has tag %02X instead of %02X', $name, $values[0]{tag}, $tag{$name}));
    $self->{attributes}{$name} = $name eq 'contentType' ? der_oid($values[0]) : $values[0]{body};
    return;
}

# ---- what it says

sub judge_attributes {
    my ($self) = @_;
    my ($at, $asked) = @$self{qw(attributes asked)};
    for my $name (qw(transactionID messageType pkiStatus senderNonce contentType messageDigest)) {
        $self->want(defined $at->{$name}, "R-141: $name is missing");
    }
    my $status = $at->{pkiStatus} // '';
    $self->want(($at->{messageType} // '') eq '3', 'R-141: messageType is not 3');
    $self->want($status =~ /\A[023]\z/, "pkiStatus is '$status'");
    $self->want(($at->{contentType} // '') eq $oid{data}, 'contentType is not data');
    my $nonce = $at->{senderNonce} // '';
    $self->want(length $nonce == 16, 'R-141: senderNonce is not of 16 bytes');
    $self->want(!$seen_nonce{$nonce}++, 'R-145: senderNonce was used before');
    if ($status eq '2') {
        $self->want(($at->{failInfo} // '') =~ /\A[0-4]\z/, 'R-142, R-143: no failInfo from 0 to 4');
        $self->judge_text($at->{failInfoText}) if defined $at->{failInfoText};
    } else {
        $self->want(!defined $at->{$_}, "R-142, R-144: $_ without a failure") for qw(failInfo failInfoText);
    }
    return if !$asked;
    $self->want(($at->{transactionID} // '') eq ($asked->{transactionID} // ''), 'transactionID is another');
    if (length($asked->{senderNonce} // '')) {
        $self->want(($at->{recipientNonce} // '') eq $asked->{senderNonce}, 'Q-32: recipientNonce is not the request\'s');
        $self->want($nonce ne $asked->{senderNonce}, 'R-141: senderNonce is the request\'s');
    } else {
        $self->want(!defined $at->{recipientNonce}, 'R-056: recipientNonce without a nonce in the request');
    }
    # MD5 and what else is refused has nothing to be mirrored by.
    $self->want($self->{digest} eq $asked->{digest}, 'Q-40: the digest is not the request\'s') if $status ne '2';
    return;
}

sub judge_text {
    my ($self, $text) = @_;
    my $good = eval { Encode::decode('UTF-8', my $copy = $text, Encode::FB_CROAK()); 1 };
    $self->want($good, 'R-144: failInfoText is not UTF-8');
    $self->want(length $text && length $text <= 255, 'R-144: failInfoText has ' . length($text) . ' bytes');
    $self->want($text !~ /[\x00-\x1F\x7F]/, 'R-144: failInfoText has control bytes');
    return;
}

# ---- signature

sub known_certificates {
    my ($body) = @_;
    my $element = der_one($body, 0x30);
    my ($first) = der_list($element->{body});
    return [$body] if $first->{tag} != 0x06;
    my (undef, undef, undef, $certs) = inside_content_info($body, $oid{signed});
    return [map { $_->{der} } der_list($certs->{body})];
}

# A certificate's parts: issuer and serial as a SignerInfo has them, the public key, is it a CA's.
sub facts_of_certificate {
    my ($der) = @_;
    my ($tbs) = der_list(der_one($der, 0x30)->{body});
    my @field = der_list($tbs->{body});
    shift @field if $field[0]{tag} == 0xA0;
    my ($extensions) = grep { $_->{tag} == 0xA3 } @field;
    my $ca = 0;
    for my $one ($extensions ? der_list(der_one($extensions->{body}, 0x30)->{body}) : ()) {
        my @part = der_list($one->{body});
        next if der_oid($part[0]) ne '2.5.29.19';
        my ($flag) = der_list(der_one($part[-1]{body}, 0x30)->{body});
        $ca = 1 if $flag && $flag->{tag} == 0x01;
    }
    my $name = $field[2]{der} . $field[0]{der};
    return { id => $name, key => $field[5]{der}, ca => $ca };
}

sub pem {
    my ($self, $file, @der) = @_;
    my $path = "$self->{dir}/$file";
    spew($path, join '', map { "-----BEGIN CERTIFICATE-----\n" . encode_base64($_) . "-----END CERTIFICATE-----\n" } @der);
    return $path;
}

sub openssl { my (@words) = @_; return run(['openssl', @words]) }

sub judge_signature {
    my ($self) = @_;
    my ($signed, $signer) = @$self{qw(signed signer)};
    my $content = $signed->{content} // '';
    my $hash = $digest{ $self->{digest} };
    $self->want($hash && $hash->[1]->($content) eq ($self->{attributes}{messageDigest} // ''),
        'R-141: messageDigest is not the content\'s');
    my $sid = der_one($signer->{sid}, 0x30)->{body};
    my ($sent) = grep { facts_of_certificate($_->{der})->{id} eq $sid } @{ $signed->{certs} };
    $self->want($sent, 'R-147, Q-38: the signer\'s certificate was not sent');
    my $known = $self->{known};
    return if !@$known;
    $self->want($sent && grep({ $_ eq $sent->{der} } @$known), 'Q-37: the signer is not of GetCACert');
    my @cas = grep { facts_of_certificate($_)->{ca} } @$known;
    $self->{ca_file} = $self->pem('ca.pem', @cas);
    spew("$self->{dir}/reply.der", $self->{bytes});
    spew("$self->{dir}/empty", '');
    my $verified = openssl(
        qw(cms -verify -binary -inform DER -nointern -purpose any -partial_chain -CAfile), $self->{ca_file},
        '-certfile', $self->pem('known.pem', @$known), '-in', "$self->{dir}/reply.der", '-out',
        "$self->{dir}/content", defined $signed->{content} ? () : ('-content', "$self->{dir}/empty"));
    return $self->want($verified->{status} == 0,
        'R-147: the signature does not verify with what GetCACert gave: ' . first_line($verified->{output}));
}

sub first_line { my ($text) = @_; return (grep { !/^CMS Verif/ } split /\n/, $text)[0] // '' }

# ---- content

sub judge_content {
    my ($self) = @_;
    my $content = $self->{signed}{content};
    if (($self->{attributes}{pkiStatus} // '') ne '0') {
        $self->want(!defined $content, 'R-142: there is content without success');
        return;
    }
    return $self->fault('SUCCESS without content') if !defined $content;
    my $read = eval { $self->envelope($content); 1 };
    $self->fault("the envelope cannot be read: $@") if !$read;
    return if !$read || $self->{by_password} || !defined $self->{signer_key};
    my $plain = $self->decrypt($content) // return;
    $read = eval { $self->list($plain); 1 };
    return $self->fault("messageData cannot be read: $@") if !$read;
    $self->{kind} eq 'crl' ? $self->judge_crl : $self->judge_certs;
    return;
}

sub envelope {
    my ($self, $bytes) = @_;
    der_walk($bytes);
    my $envelope = enveloped_data($bytes);
    my $asked = $self->{asked} // {};
    $self->{by_password} = $envelope->{password};
    @$self{qw(cipher key_transport)} = @$envelope{qw(cipher transport)};
    $self->want($envelope->{type} eq $oid{data}, 'R-061: the encrypted content is not data');
    $self->want($cipher{ $envelope->{cipher} }, "cipher $envelope->{cipher} is none of SCEP");
    $self->want(!$asked->{cipher} || $envelope->{cipher} eq $asked->{cipher}, 'Q-40: the cipher is not the request\'s');
    if ($envelope->{password}) {
        $self->want($envelope->{version} eq "\x03", 'R-146: EnvelopedData by a password has not version 3');
        return;
    }
    $self->want($envelope->{version} eq "\x00" && $envelope->{rid_version} eq "\x00",
        'R-146: EnvelopedData or its recipient has not version 0');
    $self->want(!$asked->{sid} || $envelope->{rid} eq $asked->{sid}, 'R-090: encrypted to another certificate');
    $self->want($envelope->{transport} eq ($asked->{transport} // $oid{rsa}), 'Q-52: key transport is not the request\'s');
    return;
}

sub decrypt {
    my ($self, $bytes) = @_;
    my ($in, $out) = ("$self->{dir}/envelope", "$self->{dir}/plain");
    spew($in, $bytes);
    my $done = openssl(qw(cms -decrypt -binary -provider default -provider legacy -inform DER -in), $in,
        '-recip', $self->{signer_cert}, '-inkey', $self->{signer_key}, '-out', $out);
    return slurp($out) if $done->{status} == 0;
    $self->fault('R-090: the envelope does not open: ' . first_line($done->{output}));
    return undef;
}

# The degenerate SignedData: RFC 8894 3.4.
sub list {
    my ($self, $bytes) = @_;
    my $list = signed_data($bytes);
    $self->want($list->{version} eq "\x01", 'the list has not version 1');
    $self->want($list->{digests}{body} eq '', 'R-032: the list has digest algorithms');
    $self->want($list->{type} eq $oid{data} && !defined $list->{content}, 'R-032: the list has content');
    $self->want(!@{ $list->{signers} }, 'R-032: the list is signed');
    $self->{certs} = [map { $_->{der} } @{ $list->{certs} }];
    $self->{crls}  = [map { $_->{der} } @{ $list->{crls} }];
    der_walk($_) for @{ $self->{certs} }, @{ $self->{crls} };
    return;
}

sub judge_certs {
    my ($self) = @_;
    $self->want(!@{ $self->{crls} }, 'D-04: CRLs stand in the list');
    my ($leaf, @chain) = @{ $self->{certs} };
    return $self->fault('R-089: there is no certificate') if !defined $leaf;
    my @ra = grep { !facts_of_certificate($_)->{ca} } @{ $self->{known} };
    for my $cert (@{ $self->{certs} }) {
        $self->want(!grep({ $_ eq $cert } @ra), 'Q-42: an RA certificate stands in the list');
    }
    $self->want(!grep({ !facts_of_certificate($_)->{ca} } @chain), 'D-04, Q-42: the leaf is not the only one of its kind');
    if (defined $self->{csr}) {
        my ($info) = der_list(der_one($self->{csr}, 0x30)->{body});
        my $key = (der_list($info->{body}))[2]{der};
        $self->want(facts_of_certificate($leaf)->{key} eq $key, 'R-089, D-04: the first certificate has not the CSR\'s key');
    }
    return if !$self->{ca_file};
    my $verified = openssl('verify', '-partial_chain', '-CAfile', $self->{ca_file}, $self->pem('leaf.pem', $leaf));
    return $self->want($verified->{status} == 0, 'the first certificate is not of this CA: ' . first_line($verified->{output}));
}

sub judge_crl {
    my ($self) = @_;
    $self->want(!@{ $self->{certs} }, 'R-132, D-04: certificates stand beside the CRL');
    $self->want(@{ $self->{crls} } == 1, 'R-132: there is not one CRL');
    return if !$self->{ca_file} || !@{ $self->{crls} };
    spew("$self->{dir}/crl", $self->{crls}[0]);
    my $verified = openssl(qw(crl -inform DER -noout -CAfile), $self->{ca_file}, '-in', "$self->{dir}/crl");
    return $self->want($verified->{output} =~ /verify OK/, 'R-132: the CRL is not of this CA');
}

1;
