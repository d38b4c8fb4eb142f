#!/usr/bin/perl
# The certification authority behind dcesrv_icpr.c: answers one call. Its folder, $SCEP_TEST_CA_FOLDER,
# holds name, ca.pem, ca.key and what it has been asked: requests/N/. What it does depends on the
# template: see %template, whose names are bytes of UTF-8. Files in the folder steer it: outsiders (accounts that may not enrol),
# result (an HRESULT for every call).
use strict;
use warnings;
use Fcntl qw(:flock);

my ($call, $ca) = ($ARGV[0], $ENV{SCEP_TEST_CA_FOLDER});

use constant { DENIED => 2, ISSUED => 3, PENDING => 5, PKCS7 => 0x300 };
my %hresult = (
    invalid    => 0x80070057,
    signature  => 0x80090006,
    empty      => 0x80094004,
    template   => 0x80094012,
    admin      => 0x80094014,
    unknown    => 0x80094800,
    unsigned   => 0x80094809,
);

# What becomes of a request for it.
my %template = (
    Device  => \&issue,
    # what RAs have
    EnrollmentAgentOffline => sub { return issue($_[0], "keyUsage=critical,digitalSignature\nextendedKeyUsage=1.3.6.1.4.1.311.20.2.1\n") },
    CEPEncryption => sub { return issue($_[0], "keyUsage=critical,keyEncipherment\nextendedKeyUsage=1.3.6.1.4.1.311.20.2.1\n") },
    'Geräte' => \&issue,
    Pending => sub { return (disposition => PENDING, message => 'Taken Under Submission') },
    Signed  => sub {
        my ($id) = @_;
        return (disposition => $hresult{unsigned}, message => 'The request is missing one or more required valid signatures.')
            if read_number("$call/flags") != PKCS7 || !unwrap($id);
        return issue($id);
    },
    Denied => sub {
        return (disposition => DENIED,
            message => "Denied by Policy Module  0x80094802, The request\r\nnames \x{201e}another\x{201c} template\e[1m.");
    },
);

sub read_file {
    my ($path) = @_;
    open my $in, '<:raw', $path or return '';
    local $/;
    return scalar(<$in>) // '';
}

sub read_number { return read_file($_[0]) || 0 }

sub write_file {
    my ($path, $data) = @_;
    open my $out, '>:raw', $path or die "$path: $!\n";
    print $out $data;
    close $out or die "$path: $!\n";
    return;
}

sub openssl { return system("openssl @_ 2>>'$ca/openssl.log' >&2") == 0 }

# PKCS#10 out of the enrolment agent's CMS.
sub unwrap {
    my ($id) = @_;
    my $at = "$ca/requests/$id";
    return 0
        if !openssl("cms -verify -binary -inform DER -in '$at/request' -CAfile '$ca/ca.pem' -purpose any"
            . " -out '$at/inner' -signer '$at/agent.pem'");
    my $usage = `openssl x509 -in '$at/agent.pem' -noout -ext extendedKeyUsage 2>/dev/null`;
    return 0 if $usage !~ /1\.3\.6\.1\.4\.1\.311\.20\.2\.1|Microsoft.*Agent/;
    return rename "$at/inner", "$at/request";
}

# @param extensions of the template; without them, those of the request
sub issue {
    my ($id, $extensions) = @_;
    my $at = "$ca/requests/$id";
    my $how = '-copy_extensions copy';
    if (defined $extensions) {
        write_file("$at/extensions", $extensions);
        $how = "-extfile '$at/extensions'";
    }
    # no row's number: a CA that was restored gives those again
    my $serial = sprintf '0x1%s', join '', map { sprintf '%04X', rand 65536 } 1 .. 4;
    my $made = openssl("req -inform DER -in '$at/request' -out '$at/request.pem' -verify")
        && openssl("x509 -req -in '$at/request.pem' -CA '$ca/ca.pem' -CAkey '$ca/ca.key'"
            . " -set_serial $serial -days 365 $how -out '$at/cert.pem'")
        && openssl("x509 -in '$at/cert.pem' -outform DER -out '$at/cert'")
        && openssl("crl2pkcs7 -nocrl -certfile '$at/cert.pem' -certfile '$ca/ca.pem' -outform DER -out '$at/chain'");
    return (disposition => $hresult{signature}, message => 'Error Verifying Request Signature') if !$made;
    return (disposition => ISSUED, message => 'Issued');
}

# A new request: its number, and what is kept of it.
sub submit {
    my ($attributes) = @_;
    my ($name) = $attributes =~ /^CertificateTemplate:(.*)$/m;
    my $id = read_number("$ca/last") + 1;
    mkdir "$ca/requests/$id" or die "$ca/requests/$id: $!\n";
    write_file("$ca/last.new", $id);
    rename "$ca/last.new", "$ca/last" or die "$ca/last: $!\n"; # tests read it at any time
    write_file("$ca/requests/$id/request", read_file("$call/request"));
    write_file("$ca/requests/$id/attributes", $attributes);
    write_file("$ca/requests/$id/caller", read_file("$call/caller"));
    my ($account) = read_file("$call/caller") =~ /^(\S+)/;
    my %answer = (grep { $_ eq ($account // '') } split ' ', read_file("$ca/outsiders"))
        ? (disposition => $hresult{template}, message => 'The permissions on the certificate template do not allow it.')
        : $template{ $name // '' } ? $template{$name}->($id)
        :                            (disposition => $hresult{unknown}, message => 'The requested certificate template is not supported by this CA.');
    write_file("$ca/requests/$id/disposition", $answer{disposition});
    return (%answer, id => $id);
}

# What became of a request. requests/N/approved and denied are the administrator's hand.
sub retrieve {
    my ($id) = @_;
    my $at = "$ca/requests/$id";
    return (result => $hresult{empty}, id => $id, message => 'The requested property value is empty.') if !-d $at;
    my %answer = (disposition => read_number("$at/disposition"));
    if ($answer{disposition} == PENDING) {
        %answer = issue($id) if -e "$at/approved";
        %answer = (disposition => $hresult{admin}, message => 'Denied by an administrator') if -e "$at/denied";
        write_file("$at/disposition", $answer{disposition});
    }
    return (%answer, id => $id);
}

sub answer {
    my $result = read_file("$ca/result");
    return (result => $result) if $result ne '';
    return (result => $hresult{invalid}) if read_file("$call/authority") ne read_file("$ca/name");
    my ($id, $raw) = (read_number("$call/id"), read_file("$call/attributes"));
    # a question has neither request nor attributes; attributes end in a NUL that is counted
    return $raw eq '' ? retrieve($id) : (result => $hresult{invalid}) if !-s "$call/request";
    my @units = unpack 'v*', $raw;
    return (result => $hresult{invalid}) if $id || length($raw) % 2 || !@units || pop @units;
    my $attributes = join '', map { chr } @units;
    utf8::encode($attributes);
    return submit($attributes);
}

open my $lock, '>>', "$ca/lock" or die "$ca/lock: $!\n";
flock $lock, LOCK_EX or die "$ca/lock: $!\n";
my %answer = answer();
if (($answer{disposition} // 0) == ISSUED) {
    write_file("$call/$_", read_file("$ca/requests/$answer{id}/$_")) for qw(cert chain);
}
for my $name (qw(result disposition id message)) {
    my $value = $answer{$name} // '';
    utf8::encode($value);
    unlink "$call/$name";
    write_file("$call/$name", $value);
}
