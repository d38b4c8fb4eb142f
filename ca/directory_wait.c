/* No read or write of a connection waits beyond the end of its question. libldap's own timeouts are
 * not enough: with GnuTLS a handshake with a server that says nothing would run for ever, and a
 * server may stop within an answer. A layer of our own below TLS waits instead. */
#include "directory_int.h"

#include <errno.h>
#include <ldap.h>
#include <poll.h>

/* below TLS, above the socket */
#define LEVEL (LBER_SBIOD_LEVEL_PROVIDER + 5)

struct directory_wait {
    ldap_conncb callbacks;
    const moment *until;
};

static int set_up(Sockbuf_IO_Desc *layer, void *wait)
{
    layer->sbiod_pvt = wait;
    return 0;
}

static int control(Sockbuf_IO_Desc *layer, int option, void *value)
{
    return LBER_SBIOD_CTRL_NEXT(layer, option, value);
}

/* The library may have made the socket one that does not block, and goes round and round then.
 * @return false, with errno: the time is over */
static bool is_ready(const Sockbuf_IO_Desc *layer, short events)
{
    const directory_wait *wait = layer->sbiod_pvt;
    ber_socket_t fd = -1;
    struct pollfd at;
    int n;

    if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &fd) != 1) {
        errno = EBADF;
        return false;
    }
    at = (struct pollfd){ fd, events, 0 };
    do {
        /* rounded up: what is less than a millisecond would be no wait, again and again */
        n = poll(&at, 1, (int)((deadline_left(*wait->until) + 999) / 1000));
    } while (n < 0 && errno == EINTR && deadline_left(*wait->until));
    if (n == 0)
        errno = ETIMEDOUT;
    return n > 0;
}

static bool again(ber_slen_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static ber_slen_t read_some(Sockbuf_IO_Desc *layer, void *to, ber_len_t len)
{
    ber_slen_t n;

    do {
        if (!is_ready(layer, POLLIN))
            return -1;
        n = LBER_SBIOD_READ_NEXT(layer, to, len);
    } while (again(n));
    return n;
}

static ber_slen_t write_some(Sockbuf_IO_Desc *layer, void *from, ber_len_t len)
{
    ber_slen_t n;

    do {
        if (!is_ready(layer, POLLOUT))
            return -1;
        n = LBER_SBIOD_WRITE_NEXT(layer, from, len);
    } while (again(n));
    return n;
}

static Sockbuf_IO bounded = { set_up, NULL, control, read_some, write_some, NULL };

/* A connection stands, and nothing was sent yet. */
static int connected(LDAP *ld, Sockbuf *buffer, LDAPURLDesc *server, struct sockaddr *address,
                     struct ldap_conncb *callbacks)
{
    return ber_sockbuf_add_io(buffer, &bounded, LEVEL, callbacks->lc_arg);
}

static void closed(LDAP *ld, Sockbuf *buffer, struct ldap_conncb *callbacks)
{
}

const scep_err *directory_wait_until(struct ldap *ld, const moment *until, apr_pool_t *p)
{
    directory_wait *wait = apr_pcalloc(p, sizeof(*wait));

    *wait = (directory_wait){ { connected, closed, wait }, until };
    if (ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &wait->callbacks) != LDAP_OPT_SUCCESS)
        return scep_fail(p, CONFIG, "libldap takes no connection callback");
    return NULL;
}
