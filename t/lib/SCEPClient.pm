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

sub tool {
    my ($self, @arguments) = @_;
    return run([SCEPServer::built('t/tool/scep-request'), @arguments], timeout => slow(120),
        env => { ASAN_OPTIONS => 'detect_leaks=0' });
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

# Requests. Options are those of the tool by their names with '_' for '-'; challenge or challenges
# (a list) go through a file; count. Returns what open_reply() needs, one for each.
sub build {
    my ($self, %o) = @_;
    my $dir = $self->work('request-' . $$ . '-' . ++$counter);
    mkdir $dir or die "$dir: $!\n";
    my @arguments = ('new', '--out', $dir);
    push @arguments, '--ca-ra', $self->ca_ra(%{ $o{via} // {} }) if !defined $o{recipient};
    my @challenges = @{ $o{challenges} // (defined $o{challenge} ? [$o{challenge}] : []) };
    if (@challenges) {
        spew("$dir/challenges", join('', map { "$_\n" } @challenges), 0600);
        push @arguments, '--challenge-file', "$dir/challenges";
    }
    push @arguments, '--ber', if $o{ber};
    for my $name (qw(recipient count subject san key_usage ext cipher digest type transaction_id
        keys key signer signer_key spoil)) {
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
            transaction_id => $id
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
# path of the certificate where there is one; and http, the answer itself. `why` where it is no CertRep.
sub open_reply {
    my ($self, $request, $http, %o) = @_;
    my %reply = (http => $http, request => $request);
    my $file = $self->work('reply-' . $$ . '-' . ++$counter);
    spew($file, $http->{body});
    my $opened = $self->tool('open', '--request', $request->{base}, '--reply', $file, '--ca-ra',
        $self->ca_ra(%{ $o{via} // {} }), '--out', "$file.pem");
    if ($opened->{status} != 0) {
        $reply{why} = $opened->{output};
        return \%reply;
    }
    for (split /\n/, $opened->{output}) {
        $reply{$1} = $2 if /^(\w+)=(.*)/ && length $2;
    }
    $reply{pki_status}  = delete $reply{status};
    $reply{certificate} = "$file.pem" if -e "$file.pem";
    return \%reply;
}

# A whole enrolment. Options: those of build(), a challenge from the page unless one is given
# (undef: none); send: options of send_request().
sub enrol {
    my ($self, %o) = @_;
    my $send = delete $o{send} // {};
    $o{challenge} = $self->mint if !exists $o{challenge} && !exists $o{challenges};
    my $request = $self->build(%o);
    return $self->open_reply($request, $self->send_request($request, %$send), %o);
}

# Send again what was sent.
sub again {
    my ($self, $reply, %o) = @_;
    return $self->open_reply($reply->{request}, $self->send_request($reply->{request}, %o), %o);
}

1;
