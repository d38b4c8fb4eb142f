/* scepctl: requests, certificates and the CRL of a running scep-ca. */
#include "config.h"

#include "scepctl.h"

#include "conf.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] =
    "usage: scepctl [--conf CA.CONF | --socket PATH] [--json] COMMAND\n"
    "  requests [--all | --state STATE]\n"
    "  approve ID\n"
    "  deny ID --reason TEXT\n"
    "  certificates [--subject TEXT] [--authority NAME]\n"
    "  revoke SERIAL [--authority NAME] --reason WORD\n"
    "  crl [--authority NAME]\n"
    "  challenges [--endpoint NAME] [--user NAME]\n"
    "  challenge --endpoint NAME [--template NAME]\n"
    "  revoke-challenge ID | --single --endpoint NAME\n"
    "  status\n"
    "  import-registry FILE\n"
    "  profile apple|windows|strongswan|certmonger|cisco --url URL [--ca FILE.pem |\n"
    "    --authority NAME] [--subject NAME] [--challenge-file FILE | --endpoint NAME]\n";

int complain(const scep_err *err)
{
    fprintf(stderr, "scepctl: %s\n", err->detail);
    return FAILED;
}

int misuse(const char *what)
{
    fprintf(stderr, "scepctl: %s\n%s", what, usage_text);
    return USAGE;
}

const char *operator_name(void)
{
    const char *name = getenv("SUDO_USER");

    return name ? name : "";
}

static int requests(scepctl *c, const words *w)
{
    scep_wire_list in = { .state = w->all ? "all" : w->state ? w->state : "" };
    list l;

    list_begin(&l, c->json);
    do {
        scep_wire_request_page page;
        scep_bytes body;
        const scep_err *err = call(c, scep_wire_put_list(SCEP_VERB_REQUESTS, &in, c->p),
                                   SCEP_VERB_REQUEST_PAGE, &body);

        if (!err)
            err = scep_wire_get_request_page(&page, body, c->p);
        if (err)
            return complain(err);
        for (int i = 0; i < page.requests->nelts; i++)
            list_request(&l, &APR_ARRAY_IDX(page.requests, i, scep_wire_request), c->p);
        in.after = page.after;
    } while (*in.after);
    return list_end(&l,
                    w->all || w->state
                        ? "There is no such request."
                        : "No request waits for you; --all names those that wait for a CA, too.");
}

static int certificates(scepctl *c, const words *w)
{
    scep_wire_list in = { .authority = w->authority, .subject = w->subject };
    list l;

    list_begin(&l, c->json);
    do {
        scep_wire_certificate_page page;
        scep_bytes body;
        const scep_err *err = call(c, scep_wire_put_list(SCEP_VERB_CERTIFICATES, &in, c->p),
                                   SCEP_VERB_CERTIFICATE_PAGE, &body);

        if (!err)
            err = scep_wire_get_certificate_page(&page, body, c->p);
        if (err)
            return complain(err);
        for (int i = 0; i < page.certificates->nelts; i++)
            list_certificate(&l, &APR_ARRAY_IDX(page.certificates, i, scep_wire_certificate), c->p);
        in.after = page.after;
    } while (*in.after);
    return list_end(&l, "There is no such certificate.");
}

int do_call(scepctl *c, scep_bytes frame)
{
    scep_wire_done done;
    scep_bytes body;
    const scep_err *err = call(c, frame, SCEP_VERB_DONE, &body);

    if (!err)
        err = scep_wire_get_done(&done, body, c->p);
    return err ? complain(err) : show_done(&done, c->json);
}

static int decide(scepctl *c, const words *w)
{
    scep_wire_decide in = { w->operand, !strcmp(w->command, "approve"), w->reason,
                            operator_name() };

    if (!in.approve && (!w->reason || !*w->reason))
        return misuse("deny needs --reason TEXT: it is kept with the request and logged");
    return do_call(c, scep_wire_put_decide(SCEP_VERB_DECIDE, &in, c->p));
}

static int take_back(scepctl *c, const words *w)
{
    scep_wire_revoke in = { w->authority, w->operand, 0, operator_name() };
    int reason = w->reason ? reason_number(w->reason) : -1;

    if (reason < 0)
        return misuse(
            apr_pstrcat(c->p, "revoke needs --reason with one of ", reason_words(c->p), NULL));
    in.reason = (uint32_t)reason;
    return do_call(c, scep_wire_put_revoke(SCEP_VERB_REVOKE, &in, c->p));
}

static int crl(scepctl *c, const words *w)
{
    scep_wire_sign_crl in = { w->authority, operator_name() };

    return do_call(c, scep_wire_put_sign_crl(SCEP_VERB_CRL, &in, c->p));
}

static const struct command {
    const char *name;
    int operands;
    int (*run)(scepctl *c, const words *w);
    bool alone; /* asks no scep-ca, so that no socket is needed */
} commands[] = {
    { "requests", 0, requests, false },
    { "approve", 1, decide, false },
    { "deny", 1, decide, false },
    { "certificates", 0, certificates, false },
    { "revoke", 1, take_back, false },
    { "crl", 0, crl, false },
    { "status", 0, show_status, false },
    { "import-registry", 1, import_registry, true },
    { "profile", 1, show_profile, true },
    { "challenges", 0, list_challenges, false },
    { "challenge", 0, mint_challenge, false },
    { "revoke-challenge", 1, revoke_challenge, false },
};

/* @return false: not an option that is known */
static bool read_words(words *w, int argc, char **argv)
{
    enum {
        GIVEN_CONF = 1,
        GIVEN_SOCKET,
        GIVEN_JSON,
        GIVEN_ALL,
        GIVEN_STATE,
        GIVEN_SUBJECT,
        GIVEN_AUTHORITY,
        GIVEN_REASON,
        GIVEN_URL,
        GIVEN_CA,
        GIVEN_CHALLENGE_FILE,
        GIVEN_ENDPOINT,
        GIVEN_USER,
        GIVEN_TEMPLATE,
        GIVEN_SINGLE,
        GIVEN_HELP,
        GIVEN_VERSION
    };
    static const struct option options[] = {
        { "conf", required_argument, NULL, GIVEN_CONF },
        { "socket", required_argument, NULL, GIVEN_SOCKET },
        { "json", no_argument, NULL, GIVEN_JSON },
        { "all", no_argument, NULL, GIVEN_ALL },
        { "state", required_argument, NULL, GIVEN_STATE },
        { "subject", required_argument, NULL, GIVEN_SUBJECT },
        { "authority", required_argument, NULL, GIVEN_AUTHORITY },
        { "reason", required_argument, NULL, GIVEN_REASON },
        { "url", required_argument, NULL, GIVEN_URL },
        { "ca", required_argument, NULL, GIVEN_CA },
        { "challenge-file", required_argument, NULL, GIVEN_CHALLENGE_FILE },
        { "endpoint", required_argument, NULL, GIVEN_ENDPOINT },
        { "user", required_argument, NULL, GIVEN_USER },
        { "template", required_argument, NULL, GIVEN_TEMPLATE },
        { "single", no_argument, NULL, GIVEN_SINGLE },
        { "help", no_argument, NULL, GIVEN_HELP },
        { "version", no_argument, NULL, GIVEN_VERSION },
        { 0 },
    };
    const char **values[] = {
        [GIVEN_CONF] = &w->conf,
        [GIVEN_SOCKET] = &w->socket,
        [GIVEN_STATE] = &w->state,
        [GIVEN_SUBJECT] = &w->subject,
        [GIVEN_AUTHORITY] = &w->authority,
        [GIVEN_REASON] = &w->reason,
        [GIVEN_URL] = &w->url,
        [GIVEN_CA] = &w->ca,
        [GIVEN_ENDPOINT] = &w->endpoint,
        [GIVEN_USER] = &w->user,
        [GIVEN_TEMPLATE] = &w->template_name,
        [GIVEN_CHALLENGE_FILE] = &w->challenge_file,
    };
    bool *flags[] = { [GIVEN_JSON] = &w->json,
                      [GIVEN_ALL] = &w->all,
                      [GIVEN_SINGLE] = &w->single,
                      [GIVEN_HELP] = &w->help,
                      [GIVEN_VERSION] = &w->version };
    int is;

    while ((is = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (is == '?')
            return false;
        if (optarg)
            *values[is] = optarg;
        else
            *flags[is] = true;
    }
    w->operands = argc - optind;
    w->command = w->operands > 0 ? argv[optind] : NULL;
    w->operand = w->operands > 1 ? argv[optind + 1] : NULL;
    return true;
}

/* The socket stands in ca.conf, so that an administrator need not know where it is. */
const scep_err *find_socket(const char **out, const words *w, apr_pool_t *p)
{
    const char *path = w->conf ? w->conf : SCEPCTL_CONF;
    conf *c;

    *out = w->socket;
    if (w->socket)
        return NULL;
    SCEP_TRY(conf_load(&c, path, p));
    *out = c->ctl;
    if (!c->ctl)
        return scep_fail(p, CONFIG,
                         "%s names no socket; add \"ctl = state/ctl.sock\" to it and "
                         "restart httpd gracefully",
                         c->path);
    return NULL;
}

static int run(const words *w, apr_pool_t *p)
{
    scepctl c = { .json = w->json, .fd = -1, .p = p };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        /* the single password has no id of its own */
        int operands = w->single && commands[i].run == revoke_challenge ? 0 : commands[i].operands;
        const scep_err *err;

        if (strcmp(commands[i].name, w->command))
            continue;
        if (w->operands != 1 + operands)
            return misuse(operands ? "one ID, SERIAL, FILE or kind is needed"
                                   : "nothing is expected behind the command");
        err = commands[i].alone ? NULL : find_socket(&c.socket, w, p);
        return err ? complain(err) : commands[i].run(&c, w);
    }
    return misuse("there is no such command");
}

static int command(int argc, char **argv, apr_pool_t *p)
{
    words w = { 0 };

    if (!read_words(&w, argc, argv))
        return misuse("that option is not known, or its value is missing");
    if (w.help)
        return fputs(usage_text, stdout) < 0;
    if (w.version)
        return printf("scepctl %s\n", PACKAGE_VERSION) < 0;
    return w.command ? run(&w, p) : misuse("a command is needed");
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    int status;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        fprintf(stderr, "scepctl: no memory\n");
        return FAILED;
    }
    status = command(argc, argv, p);
    if (fflush(stdout) != 0)
        status = FAILED;
    apr_pool_destroy(p);
    return status;
}
