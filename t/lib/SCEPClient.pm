# A client's side: HTTP as plainly as possible (so that odd requests can be sent and nothing is
# added to answers), the challenge page, and SCEP messages by the tool scep-request.
# Methods for something that has port, dir, user and password.
package SCEPClient;
use strict;
use warnings;
use Encode ();
use IO::Select;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64 decode_base64);
use SCEPRun qw(run slow slurp spew);
use Time::HiRes qw(time);

my $path = '/certsrv/mscep/mscep.dll';

# ---- HTTP ----

# The bytes of a request. Options: port number in @ports; host; headers (a list of lines); body;
# version; user ("name:password"); type.
sub request_text {
    my ($self, $method, $target, %o) = @_;
    my $version = $o{version} // '1.1';
    my @lines = ("$method $target HTTP/$version");
    push @lines, 'Host: ' . ($o{host} // 'scep.test') if $version ne '1.0' || defined $o{host};
    push @lines, 'Connection: close' if $version ne '1.0';
    push @lines, 'Authorization: Basic ' . encode_base64($o{user}, '') if defined $o{user};
    push @lines, "Content-Type: $o{type}" if defined $o{type};
    push @lines, 'Content-Length: ' . length $o{body} if defined $o{body};
    return join("\r\n", @lines, @{ $o{headers} // [] }, '', '') . ($o{body} // '');
}

# Take an answer apart: status, reason, head (as received), header (by lower-case name), body.
sub parse {
    my ($self, $raw) = @_;
    my $answer = { raw => $raw, status => 0, head => '', header => {}, body => '' };
    my $end = index $raw, "\r\n\r\n";
    return $answer if $end < 0;
    $answer->{head} = substr $raw, 0, $end;
    $answer->{body} = substr $raw, $end + 4;
    my ($first, @lines) = split /\r\n/, $answer->{head};
    @$answer{qw(status reason)} = ($1 + 0, $2) if $first =~ m{^HTTP/\S+ (\d+) ?(.*)};
    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*?)\s*$/ or next;
        $name = lc $name;
        $answer->{header}{$name} = defined $answer->{header}{$name} ? "$answer->{header}{$name}, $value" : $value;
    }
    my $length = $answer->{header}{'content-length'};
    $answer->{whole} = !defined $length || $length == length $answer->{body} ? 1 : 0;
    if (lc($answer->{header}{'transfer-encoding'} // '') eq 'chunked') {
        $answer->{chunked} = 1;
        my ($body, $rest) = ('', $answer->{body});
        while ($rest =~ s/^([0-9a-fA-F]+)[^\r]*\r\n//) {
            my $n = hex $1 or last;
            $body .= substr $rest, 0, $n + 2, '';
            substr $body, -2, 2, '';
        }
        $answer->{body} = $body;
    }
    return $answer;
}

# Send bytes, read until the other side closes. Options: port; timeout; half (pause before the
# rest of the bytes at this offset until `between` returned).
sub raw {
    my ($self, $bytes, %o) = @_;
    return ($self->many([$bytes], %o))[0];
}

sub http {
    my ($self, $method, $target, %o) = @_;
    return $self->raw($self->request_text($method, $target, %o), %o);
}

sub get  { my ($self, $target, %o) = @_; return $self->http('GET', $target, %o) }
sub post { my ($self, $target, $body, %o) = @_; return $self->http('POST', $target, %o, body => $body) }

# Many requests at one time: all but the last byte of each is sent first, then the last bytes
# together. Returns the answers in order; an answer's `sent` says whether all of it went out.
sub many {
    my ($self, $requests, %o) = @_;
    my $until = time + slow($o{timeout} // 30);
    my (@state, %of);
    for my $bytes (@$requests) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => '127.0.0.1',
            PeerPort => $o{port} // $self->port,
            Timeout  => slow(10));
        my $s = { socket => $socket, out => $bytes, in => '', sent => 0, error => $socket ? '' : "$!" };
        push @state, $s;
        next if !$socket;
        binmode $socket;
        local $SIG{PIPE} = 'IGNORE';
        my $most = @$requests > 1 ? length($bytes) - 1 : 0;
        $s->{at} = 0;
        while ($s->{at} < $most) {
            my $n = syswrite $socket, $bytes, $most - $s->{at}, $s->{at} or last;
            $s->{at} += $n;
        }
        $socket->blocking(0);
        $of{ fileno $socket } = $s;
    }
    my $reads  = IO::Select->new(map { $_->{socket} } grep { $_->{socket} } @state);
    my $writes = IO::Select->new(map { $_->{socket} } grep { $_->{socket} } @state);
    local $SIG{PIPE} = 'IGNORE';
    while ($reads->count && time < $until) {
        my ($r, $w) = IO::Select->select($reads, $writes->count ? $writes : undef, undef, 0.25);
        for my $socket (@{ $w // [] }) {
            my $s = $of{ fileno $socket };
            my $n = syswrite $socket, $s->{out}, length($s->{out}) - $s->{at}, $s->{at};
            next if !defined $n && $!{EAGAIN};
            $s->{at} += $n // 0;
            $s->{sent} = 1 if $s->{at} == length $s->{out};
            # A server may answer and close before it read everything: then the rest stays here.
            $writes->remove($socket) if !defined $n || $s->{sent};
        }
        for my $socket (@{ $r // [] }) {
            my $s = $of{ fileno $socket };
            my $n = sysread $socket, $s->{in}, 65536, length $s->{in};
            next if !defined $n && $!{EAGAIN};
            next if $n;
            $s->{error} = "$!" if !defined $n;
            $reads->remove($socket);
            $writes->remove($socket);
            close $socket;
        }
    }
    return map {
        my $answer = $self->parse($_->{in});
        $answer->{sent}  = $_->{sent};
        $answer->{error} = $_->{error};
        $answer
    } @state;
}

# ---- the challenge page ----

sub credentials { my ($self) = @_; return "$self->{user}:$self->{password}" }

sub admin_page {
    my ($self, %o) = @_;
    return $self->http($o{method} // 'GET', $o{path} // '/certsrv/mscep_admin/',
        user => $self->credentials, %o);
}

sub decode_page { my ($self, $body) = @_; return Encode::decode('UTF-16LE', substr $body, 2) }

# A fresh challenge, by Fleet's rule; dies where the page has none.
sub mint {
    my ($self, %o) = @_;
    my $page = $self->admin_page(%o);
    my $text = substr($page->{body}, 0, 2) eq "\xFF\xFE" ? $self->decode_page($page->{body}) : '';
    return $1 if $text =~ /The enrollment challenge password is: <B> (\S*)/;
    my $why = $page->{status} . ' ' . ($text || $page->{body});
    die "no challenge on the page: $why\n";
}

# ---- SCEP messages ----

my $counter = 0;

sub work { my ($self, $name) = @_; return "$self->{dir}/work/$name" }

# Run the tool; what it is to read stands before its arguments, in a reference.
sub tool {
    my ($self, @arguments) = @_;
    my @stdin = ref $arguments[0] ? (stdin => ${ shift @arguments }) : ();
    return run([SCEPServer::built('t/tool/scep-request'), @arguments], timeout => slow(120),
        env => { ASAN_OPTIONS => 'detect_leaks=0' }, @stdin);
}

# GetCACert's answer as a file, fetched once.
sub ca_ra {
    my ($self, %o) = @_;
    my $file = $self->work('ca-ra-' . ($o{port} // $self->port));
    if (!-e $file) {
        my $answer = $self->get(($o{path} // $path) . '?operation=GetCACert', %o);
        die "GetCACert: $answer->{status}\n" if $answer->{status} != 200;
        spew($file, $answer->{body});
    }
    return $file;
}

# GetNextCACert: a hash of what the tool says of the answer, `http`, and `ca_ra`: a file that the
# option ca_ra of build() and open_reply() takes in place of GetCACert's; `why` where it is none.
sub next_ca_ra {
    my ($self, %o) = @_;
    my $file = $self->work('next-' . $$ . '-' . ++$counter);
    my %next = (http => $self->get(($o{path} // $path) . '?operation=GetNextCACert', %o));
    spew("$file.reply", $next{http}{body});
    my $opened = $self->tool('next', '--reply', "$file.reply", '--ca-ra', $self->ca_ra(%o), '--out', $file);
    return { %next, why => $opened->{output} } if $opened->{status} != 0;
    $next{$1} = $2 while $opened->{output} =~ /^(\w+)=(.*)$/mg;
    return { %next, ca_ra => $file };
}

# Requests. Options are those of the tool by their names with '_' for '-'; challenge or challenges
# (a list) go through a file; count; poll: the request (of build()) to ask after; via: where to ask
# for the RA's certificates. Returns what open_reply() needs, one for each.
sub build {
    my ($self, %o) = @_;
    my $dir = $self->work('request-' . $$ . '-' . ++$counter);
    mkdir $dir or die "$dir: $!\n";
    my @arguments = ('new', '--out', $dir);
    push @arguments, '--ca-ra', $o{ca_ra} // $self->ca_ra(%{ $o{via} // {} });
    my @challenges = @{ $o{challenges} // (defined $o{challenge} ? [$o{challenge}] : []) };
    if (@challenges) {
        spew("$dir/challenges", join('', map { "$_\n" } @challenges), 0600);
        push @arguments, '--challenge-file', "$dir/challenges";
    }
    push @arguments, '--poll', $o{poll}{base} if $o{poll};
    push @arguments, map { "--$_" } grep { $o{$_} } qw(ber oaep pss);
    for my $name (qw(recipient count subject san key_usage ext cipher digest csr_digest type
        transaction_id keys key key_type signer signer_key signer_subject signing_time spoil data
        issuer serial nonce_length)) {
        next if !defined $o{$name};
        (my $option = "--$name") =~ tr/_/-/;
        push @arguments, $option, $o{$name};
    }
    my $made = $self->tool(@arguments);
    die "scep-request: $made->{output}\n" if $made->{status} != 0;
    my @requests = map {
        my ($number, $id) = /^(\d+) (.*)/;
        {   base           => "$dir/$number",
            der            => slurp("$dir/$number.der"),
            transaction_id => $id,
            challenge      => $challenges[$number - 1] // ($o{poll} // {})->{challenge},
            subject        => $o{subject} // ($o{poll} // {})->{subject},
            san            => $o{san}
        }
    } split /\n/, $made->{output};
    return wantarray ? @requests : $requests[0];
}

# Send a request. Options: method (POST or GET), path, and those of http().
sub send_request {
    my ($self, $request, %o) = @_;
    return $self->raw($self->request_bytes($request, %o), %o);
}

sub request_bytes {
    my ($self, $request, %o) = @_;
    my $target = ($o{path} // $path) . '?operation=PKIOperation';
    return $self->request_text('POST', $target, type => 'application/x-pki-message', %o,
        body => $request->{der})
        if ($o{method} // 'POST') eq 'POST';
    my $message = encode_base64($request->{der}, '');
    $message =~ s{([+/=])}{sprintf '%%%02X', ord $1}ge;
    return $self->request_text('GET', "$target&message=$message", %o);
}

# What an answer says: a hash of the tool's words, `pki_status` for its status, `certificate` the
# path of the certificate where there is one, `chain` of all of them, `crl` of a CRL; and http, the
# answer itself. `why` where it is no CertRep.
sub open_reply {
    my ($self, $request, $http, %o) = @_;
    my %reply = (http => $http, request => $request);
    my $file = $self->work('reply-' . $$ . '-' . ++$counter);
    spew($file, $http->{body});
    # The challenge is the password of replies to those who cannot have a key transported.
    my $challenge = $request->{challenge};
    my $opened = $self->tool(
        defined $challenge ? \"$challenge\n" : (), 'open', '--request', $request->{base}, '--reply', $file,
        '--ca-ra', $o{ca_ra} // $self->ca_ra(%{ $o{via} // {} }), '--out', "$file.pem", '--chain', "$file.chain",
        '--crl', "$file.crl", defined $challenge ? ('--challenge-file', '-') : ());
    if ($opened->{status} != 0) {
        $reply{why} = $opened->{output};
        return \%reply;
    }
    for (split /\n/, $opened->{output}) {
        $reply{$1} = $2 if /^(\w+)=(.*)/ && length $2;
    }
    $reply{pki_status}  = delete $reply{status};
    $reply{certificate} = "$file.pem" if -e "$file.pem";
    $reply{chain}       = "$file.chain" if -e "$file.chain";
    $reply{crl}         = "$file.crl" if -e "$file.crl";
    return \%reply;
}

# A whole enrolment. Options: those of build(), a challenge from the page unless one is given
# (undef: none); send: options of send_request(); at, as for ask().
sub enrol {
    my ($self, %o) = @_;
    $o{challenge} = $self->mint(%{ $o{at} // {} }) if !exists $o{challenge} && !exists $o{challenges};
    return $self->ask(%o);
}

# Send what build() makes of the options, and open the answer. at: where, in place of via and send.
sub ask {
    my ($self, %o) = @_;
    my $at   = delete $o{at} // {};
    my $send = { %$at, %{ delete $o{send} // {} } };
    $o{via} //= $at;
    my $request = $self->build(%o);
    return $self->open_reply($request, $self->send_request($request, %$send), %o);
}

# Who holds the certificate of this reply: the options that sign as him.
sub as_holder {
    my ($self, $reply) = @_;
    die "nothing was issued that could sign: pkiStatus " . ($reply->{pki_status} // 'none') . "\n"
        if !$reply->{certificate};
    return (signer => $reply->{certificate}, signer_key => "$reply->{request}{base}.key");
}

# RenewalReq for the certificate of an earlier reply, with a new key unless one is given.
sub renew {
    my ($self, $old, %o) = @_;
    my %names = map { $_ => $old->{request}{$_} } grep { defined $old->{request}{$_} } qw(subject san);
    return $self->ask(type => 17, %names, $self->as_holder($old), %o);
}

# CertPoll after the request of an earlier reply; its certificate then has that request's key.
sub poll {
    my ($self, $earlier, %o) = @_;
    return $self->ask(poll => $earlier->{request}, %o);
}

# GetCert and GetCRL, signed by the holder of an earlier reply's certificate; without serial => it
# asks for that certificate.
sub get_cert { my ($self, $holder, %o) = @_; return $self->query_ca(21, $holder, %o) }
sub get_crl  { my ($self, $holder, %o) = @_; return $self->query_ca(22, $holder, %o) }

sub query_ca {
    my ($self, $type, $holder, %o) = @_;
    return $self->ask(
        type   => $type,
        serial => $holder->{serial},
        key    => "$holder->{request}{base}.key",
        $self->as_holder($holder), %o);
}

# Send again what was sent.
sub again {
    my ($self, $reply, %o) = @_;
    my $at = delete $o{at} // {};
    return $self->open_reply($reply->{request}, $self->send_request($reply->{request}, %$at, %o), via => $at, %o);
}

1;
