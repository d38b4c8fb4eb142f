/* A CRL of somebody else over http; and what is never fetched. */
#include "foreign_room.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server of one answer at a time, on a port of its own. */
typedef struct web {
    int listener, port;
    pthread_t thread;
    pthread_mutex_t mutex;
    const char *head;
    scep_bytes body;
    long repeat; /* the body is sent as often */
    int served;
} web;

static web server;

static bool send_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static void serve_one(int fd)
{
    char request[4096] = "";
    size_t len = 0;
    ssize_t n;
    bool open;

    while (!strstr(request, "\r\n\r\n") && len < sizeof(request) - 1 &&
           (n = recv(fd, request + len, sizeof(request) - 1 - len, 0)) > 0)
        len += (size_t)n;
    pthread_mutex_lock(&server.mutex);
    server.served++;
    open = send_all(fd, server.head, strlen(server.head));
    for (long i = 0; open && i < server.repeat; i++)
        open = send_all(fd, server.body.data, server.body.len);
    pthread_mutex_unlock(&server.mutex);
}

static void *serve(void *unused)
{
    int fd;

    while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
        serve_one(fd);
        close(fd);
    }
    return NULL;
}

static int listen_on(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    FIXTURE_MUST(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    FIXTURE_MUST(listen(fd, 8) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static const char *web_up(void)
{
    FIXTURE_MUST(unsetenv("http_proxy") == 0 && unsetenv("all_proxy") == 0);
    FIXTURE_MUST(unsetenv("ALL_PROXY") == 0);
    server.served = 0;
    server.listener = listen_on(&server.port);
    FIXTURE_MUST(pthread_mutex_init(&server.mutex, NULL) == 0);
    FIXTURE_MUST(pthread_create(&server.thread, NULL, serve, NULL) == 0);
    return apr_psprintf(room_pool, "http://127.0.0.1:%d/ca.crl", server.port);
}

static void web_down(void)
{
    FIXTURE_MUST(shutdown(server.listener, SHUT_RDWR) == 0);
    FIXTURE_MUST(pthread_join(server.thread, NULL) == 0 && close(server.listener) == 0);
}

static void web_answer(const char *head, scep_bytes body, long repeat)
{
    pthread_mutex_lock(&server.mutex);
    server.head = apr_pstrcat(room_pool, head, "Connection: close\r\n\r\n", NULL);
    server.body = body;
    server.repeat = repeat;
    pthread_mutex_unlock(&server.mutex);
}

static void web_crl(const crl_order *order)
{
    web_answer("HTTP/1.1 200 OK\r\n", foreign_crl_der(foreign_crl_make(order)), 1);
}

static int web_served(void)
{
    int served;

    pthread_mutex_lock(&server.mutex);
    served = server.served;
    pthread_mutex_unlock(&server.mutex);
    return served;
}

START_TEST(a_url_is_fetched_by_the_chores_alone)
{
    const crl_order order = { .serials = { 1 } };
    foreign *f = foreign_made(web_up());

    web_crl(&order);
    foreign_expect_unknown(f, "not fetched yet");
    ck_assert_int_eq(web_served(), 0);
    OK(foreign_refresh(f, room_pool));
    foreign_expect_revoked(f, 1);
    foreign_expect_good(f, 2);
    ck_assert_int_eq(web_served(), 1);
    web_down();
}
END_TEST

START_TEST(a_url_is_fetched_hourly_and_more_often_near_the_end)
{
    const crl_order order = { .serials = { 1 }, .to = 3 * 3600 };
    foreign *f = foreign_made(web_up());

    web_crl(&order);
    OK(foreign_refresh(f, room_pool));
    foreign_clock_at(foreign_now + 3599);
    OK(foreign_refresh(f, room_pool));
    ck_assert_int_eq(web_served(), 1);
    foreign_clock_at(foreign_now + 1);
    OK(foreign_refresh(f, room_pool));
    ck_assert_int_eq(web_served(), 2);
    foreign_clock_at(foreign_now + 3601); /* less than an hour is left after this one */
    OK(foreign_refresh(f, room_pool));
    ck_assert_int_eq(web_served(), 3);
    foreign_clock_at(foreign_now + 601);
    OK(foreign_refresh(f, room_pool));
    ck_assert_int_eq(web_served(), 4);
    web_down();
}
END_TEST

START_TEST(a_failure_keeps_the_former_and_is_tried_again)
{
    const crl_order order = { .serials = { 1 } };
    foreign *f = foreign_made(web_up());

    web_answer("HTTP/1.1 404 Not Found\r\n", scep_bytes_of("no"), 1);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_expect_unknown(f, "404");
    OK(foreign_refresh(f, room_pool)); /* not yet due */
    web_crl(&order);
    foreign_clock_at(foreign_now + 301);
    OK(foreign_refresh(f, room_pool));
    foreign_expect_revoked(f, 1);
    web_answer("HTTP/1.1 200 OK\r\n", scep_bytes_of("<html>"), 1);
    foreign_clock_at(foreign_now + 3601);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_expect_revoked(f, 1);
    web_down();
    foreign_clock_at(foreign_now + 301);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_expect_revoked(f, 1);
}
END_TEST

START_TEST(a_url_leads_to_no_other_scheme_and_to_no_endless_answer)
{
    const crl_order order = { .serials = { 1 } };
    unsigned char *zeros = apr_pcalloc(room_pool, 65536);
    foreign *f = foreign_made(web_up());

    foreign_file_put(&order, 1);
    web_answer(
        apr_psprintf(room_pool, "HTTP/1.1 302 Found\r\nLocation: file://%s\r\n", foreign_path),
        scep_bytes_of(""), 0);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_expect_unknown(f, NULL);
    web_answer("HTTP/1.1 302 Found\r\nLocation: /again\r\n", scep_bytes_of(""), 0);
    foreign_clock_at(foreign_now + 301);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    ck_assert_int_le(web_served(), 6);
    web_answer("HTTP/1.1 200 OK\r\n", (scep_bytes){ zeros, 65536 }, 1000000);
    foreign_clock_at(foreign_now + 301);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_expect_unknown(f, "more than 16 MiB");
    web_down();
}
END_TEST

/* What a certificate names is never fetched: it is the requester who wrote it. */
START_TEST(S_46_no_address_of_a_certificate_is_ever_fetched)
{
    const crl_order order = { 0 };
    X509 *cert = foreign_device(1, "CN=Foreign CA", foreign_ca_key);
    int port, fd = listen_on(&port);
    struct pollfd called = { fd, POLLIN, 0 };
    X509V3_CTX ctx;
    X509_EXTENSION *cdp, *aia;
    foreign *f = foreign_made(foreign_path);

    X509V3_set_ctx(&ctx, NULL, NULL, NULL, NULL, 0);
    cdp = X509V3_EXT_conf_nid(NULL, &ctx, NID_crl_distribution_points,
                              apr_psprintf(room_pool, "URI:http://127.0.0.1:%d/x.crl", port));
    aia = X509V3_EXT_conf_nid(
        NULL, &ctx, NID_info_access,
        apr_psprintf(room_pool,
                     "caIssuers;URI:http://127.0.0.1:%d/ca,OCSP;URI:http://127.0.0.1:%d/", port,
                     port));
    FIXTURE_MUST(cdp && aia && X509_add_ext(cert, cdp, -1) && X509_add_ext(cert, aia, -1));
    X509_EXTENSION_free(cdp);
    X509_EXTENSION_free(aia);
    fixture_resign(cert, foreign_ca_key);
    foreign_expect(f, cert, SCEP_UNAVAILABLE, FOREIGN_GOOD, NULL);
    foreign_file_put(&order, 1);
    foreign_expect(f, cert, SCEP_OK, FOREIGN_GOOD, NULL);
    OK(foreign_refresh(f, room_pool));
    ck_assert_int_eq(poll(&called, 1, 0), 0);
    FIXTURE_MUST(close(fd) == 0);
}
END_TEST

TCase *foreign_url_cases(void)
{
    TCase *cases = tcase_create("url");

    tcase_add_checked_fixture(cases, foreign_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_url_is_fetched_by_the_chores_alone);
    tcase_add_test(cases, a_url_is_fetched_hourly_and_more_often_near_the_end);
    tcase_add_test(cases, a_failure_keeps_the_former_and_is_tried_again);
    tcase_add_test(cases, a_url_leads_to_no_other_scheme_and_to_no_endless_answer);
    tcase_add_test(cases, S_46_no_address_of_a_certificate_is_ever_fetched);
    return cases;
}
