/* scep-bench load: one thread, one epoll, many connections to loopback. */
#include "load.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#define GRACE 10 /* seconds for answers that were asked for in time */

/* ---- the run ---- */

static void look(load *l, int milliseconds)
{
    struct epoll_event events[256];
    int n = epoll_wait(l->epoll, events, 256, milliseconds);

    for (int i = 0; i < n; i++)
        load_on_event(l, events[i].data.ptr, events[i].events);
}

/* As many new connections as are due, on places that are free; those without one never come. */
static size_t arrive(load *l, size_t arrived, uint64_t since)
{
    size_t due = (size_t)((double)since * (double)l->arrivals / (double)LOAD_SECOND);

    for (int i = 0; i < l->clients && arrived < due; i++) {
        connection *c = &l->connections[i];

        if (c->busy || !load_begin(l, c))
            continue;
        load_connect(l, c);
        arrived++;
    }
    l->result.missed += due - arrived;
    return due;
}

static void run(load *l, long seconds, long warm)
{
    uint64_t start = load_now(), now = start, end = start + (uint64_t)seconds * LOAD_SECOND;
    size_t arrived = 0;

    l->last = start;
    l->warm = start + (uint64_t)warm * LOAD_SECOND;
    for (int i = 0; i < l->clients && !l->arrivals; i++)
        load_go_on(l, &l->connections[i], true);
    while (now < end + GRACE * LOAD_SECOND && (l->busy || (l->arrivals && !l->over))) {
        l->over = now >= end || (l->arrivals && l->messages && !l->waiting && !l->busy && arrived);
        if (l->arrivals && !l->over)
            arrived = arrive(l, arrived, now - start);
        look(l, l->arrivals ? 1 : 100);
        now = load_now();
    }
    for (int i = 0; i < l->clients; i++) {
        if (l->connections[i].busy)
            load_settle(l, &l->connections[i], NULL);
        load_disconnect(&l->connections[i]);
    }
    l->result.seconds = (double)(l->last - start) / 1e9;
}

static void read_url(load *l, const char *url)
{
    const char *slash;
    char *address, *port;

    if (strncmp(url, "http://127.", 11) != 0 || !(slash = strchr(url + 7, '/')))
        die("--url", "is http://127.0.0.1:PORT/PATH: loopback only");
    l->path = slash;
    l->host = apr_pstrmemdup(l->pool, url + 7, (size_t)(slash - url - 7));
    address = apr_pstrdup(l->pool, l->host);
    port = strchr(address, ':');
    if (port)
        *port++ = '\0';
    l->to.sin_family = AF_INET;
    l->to.sin_port = htons((uint16_t)(port ? atoi(port) : 80));
    if (inet_pton(AF_INET, address, &l->to.sin_addr) != 1)
        die("--url", "has no address");
}

static void read_words(load *l, const words *w)
{
    const char *messages = word_of(w, "messages");

    read_url(l, word_must(w, "url"));
    l->clients = (int)number_of(w, "clients", 1, 1);
    l->arrivals = number_of(w, "arrivals", 1, 0);
    l->again = word_of(w, "refusals") != NULL;
    if (messages) {
        l->messages = get_messages(messages, l->pool);
        l->queue = apr_palloc(l->pool, (size_t)l->messages->nelts * sizeof(*l->queue));
        for (int i = 0; i < l->messages->nelts; i++)
            load_wait(l, (uint32_t)i);
        l->replies = records_create(word_must(w, "replies"));
    }
    l->connections = apr_pcalloc(l->pool, (size_t)l->clients * sizeof(*l->connections));
    for (int i = 0; i < l->clients; i++)
        l->connections[i].fd = -1;
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    FIXTURE_MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    FIXTURE_MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static double own_cpu(void)
{
    struct timespec t;

    FIXTURE_MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int command_load(const words *w, apr_pool_t *p)
{
    load l = { .pool = p, .epoll = epoll_create1(EPOLL_CLOEXEC) };
    long httpd = number_of(w, "pid", 1, 0);
    usage before = { 0 }, after = { 0 };
    double machine, client;

    FIXTURE_MUST(l.epoll >= 0);
    raise_descriptors();
    read_words(&l, w);
    if (httpd) {
        usage_reset(httpd, p);
        before = usage_of(httpd, p);
    }
    machine = usage_machine();
    client = own_cpu();
    run(&l, number_of(w, "seconds", 1, 60), number_of(w, "warm", 0, 0));
    client = own_cpu() - client;
    machine = usage_machine() - machine;
    if (httpd)
        after = usage_of(httpd, p);
    if (l.replies)
        records_close(l.replies, word_must(w, "replies"));
    load_report(&l.result, &before, &after, machine, client);
    return 0;
}
