/* Answers, as a table or as JSON. */
#include "scepctl.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* CRLReason, RFC 5280 5.3.1. certificateHold and removeFromCRL are left out: nothing here takes a
 * revocation back. cACompromise and aACompromise are not a device's. */
static const struct {
    int number;
    const char *word;
} reasons[] = {
    { 0, "unspecified" }, { 1, "keyCompromise" },        { 3, "affiliationChanged" },
    { 4, "superseded" },  { 5, "cessationOfOperation" }, { 9, "privilegeWithdrawn" },
};

int reason_number(const char *word)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (!strcasecmp(reasons[i].word, word))
            return reasons[i].number;
    return -1;
}

const char *reason_words(apr_pool_t *p)
{
    const char *all = reasons[0].word;

    for (size_t i = 1; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        all = apr_pstrcat(p, all, ", ", reasons[i].word, NULL);
    return all;
}

static const char *reason_word(uint32_t number, apr_pool_t *p)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].number == (int)number)
            return reasons[i].word;
    return apr_psprintf(p, "%u", number);
}

const char *when(uint64_t seconds, apr_pool_t *p)
{
    time_t time = (time_t)seconds;
    struct tm parts;
    char text[32];

    if (!seconds || !gmtime_r(&time, &parts) ||
        !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts))
        return "";
    return apr_pstrdup(p, text);
}

/* What a device wrote reaches neither the terminal nor JSON unescaped. */
const char *clean(const char *text, apr_pool_t *p)
{
    return scep_one_line(p, scep_bytes_of(text), 1024);
}

json_t *text_json(const char *text, apr_pool_t *p)
{
    return *text ? json_string(clean(text, p)) : json_null();
}

json_t *time_json(uint64_t seconds, apr_pool_t *p)
{
    return text_json(when(seconds, p), p);
}

static void add(list *l, json_t *object)
{
    if (!object || json_array_append_new(l->array, object) != 0) {
        fprintf(stderr, "scepctl: no memory\n");
        _Exit(1);
    }
}

void list_begin(list *l, bool json)
{
    *l = (list){ .json = json, .array = json ? json_array() : NULL };
}

void list_request(list *l, const scep_wire_request *r, apr_pool_t *p)
{
    l->rows++;
    if (l->json) {
        add(l, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id",
                         text_json(r->id, p), "state", text_json(r->state, p), "endpoint",
                         text_json(r->endpoint, p), "authority", text_json(r->authority, p),
                         "template", text_json(r->template_name, p), "transaction_id",
                         text_json(r->transaction_id, p), "message_type", (int)r->message_type,
                         "subject", text_json(r->subject, p), "from", text_json(r->peer, p),
                         "reason", text_json(r->reason, p), "by", text_json(r->by, p), "serial",
                         text_json(r->serial, p), "created", time_json(r->created, p), "decided",
                         time_json(r->decided, p), "ends", time_json(r->ends, p)));
        return;
    }
    if (l->rows == 1)
        printf("%-16s  %-8s  %-20s  %-7s  %-24s  %s\n", "ID", "STATE", "SINCE", "KIND", "ENDPOINT",
               "SUBJECT, FROM");
    printf("%-16s  %-8s  %-20s  %-7s  %-24s  %s, %s\n", clean(r->id, p), clean(r->state, p),
           when(r->created, p), r->message_type == 17 ? "renewal" : "new", clean(r->endpoint, p),
           clean(r->subject, p), clean(r->peer, p));
    if (*r->reason && r->decided)
        printf("%-16s  %s by %s: %s\n", "", clean(r->state, p), clean(r->by, p),
               clean(r->reason, p));
    else if (*r->reason)
        printf("%-16s  %s: %s\n", "", clean(r->state, p), clean(r->reason, p));
}

void list_certificate(list *l, const scep_wire_certificate *c, apr_pool_t *p)
{
    const char *reason = c->revoked ? reason_word(c->reason, p) : "";

    l->rows++;
    if (l->json) {
        add(l, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "serial",
                         text_json(c->serial, p), "authority", text_json(c->authority, p),
                         "subject", text_json(c->subject, p), "template",
                         text_json(c->template_name, p), "endpoint", text_json(c->endpoint, p),
                         "not_before", time_json(c->not_before, p), "not_after",
                         time_json(c->not_after, p), "issued", time_json(c->issued, p), "revoked",
                         time_json(c->revoked, p), "reason", text_json(reason, p)));
        return;
    }
    if (l->rows == 1)
        printf("%-40s  %-20s  %-20s  %s\n", "SERIAL", "NOT AFTER", "TEMPLATE", "SUBJECT");
    printf("%-40s  %-20s  %-20s  %s\n", clean(c->serial, p), when(c->not_after, p),
           clean(c->template_name, p), clean(c->subject, p));
    if (c->revoked)
        printf("%-40s  revoked %s: %s\n", "", when(c->revoked, p), reason);
}

/* Bound names have newlines between them. */
static const char *one_line(const char *names, apr_pool_t *p)
{
    char *line = apr_pstrdup(p, names);

    for (char *at = line; (at = strchr(at, '\n')); at++)
        *at = ',';
    return line;
}

static json_t *names_json(const char *names, apr_pool_t *p)
{
    json_t *all = json_array();
    char *state = NULL;

    for (char *name = apr_strtok(apr_pstrdup(p, names), "\n", &state); all && name;
         name = apr_strtok(NULL, "\n", &state))
        if (json_array_append_new(all, text_json(name, p)) != 0)
            return NULL;
    return all;
}

void list_challenge(list *l, const scep_wire_challenge *ch, apr_pool_t *p)
{
    l->rows++;
    if (l->json) {
        add(l, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "id", text_json(ch->id, p),
                         "endpoint", text_json(ch->endpoint, p), "user", text_json(ch->user, p),
                         "from", text_json(ch->peer, p), "templates", text_json(ch->templates, p),
                         "subject", text_json(ch->subject, p), "names", names_json(ch->names, p),
                         "created", time_json(ch->created, p), "expires", time_json(ch->expires, p),
                         "single", (int)ch->single));
        return;
    }
    if (l->rows == 1)
        printf("%-43s  %-20s  %-24s  %s\n", "ID", "EXPIRES", "ENDPOINT", "USER, FROM: TEMPLATES");
    printf("%-43s  %-20s  %-24s  %s, %s: %s\n", clean(ch->id, p),
           ch->expires ? when(ch->expires, p) : "never", clean(ch->endpoint, p), clean(ch->user, p),
           clean(ch->peer, p), clean(ch->templates, p));
    if (*ch->subject || *ch->names)
        printf("%-43s  bound to \"%s\" %s\n", "", clean(ch->subject, p),
               clean(one_line(ch->names, p), p));
}

int print_json(json_t *value)
{
    int failed = !value || json_dumpf(value, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF;

    json_decref(value);
    return failed;
}

int list_end(list *l, const char *nothing)
{
    if (l->json)
        return print_json(l->array);
    if (!l->rows)
        printf("%s\n", nothing);
    return 0;
}

int show_done(const scep_wire_done *done, bool json)
{
    if (!json)
        return printf("%s\n", done->text) < 0;
    return print_json(json_pack("{s:s,s:o}", "text", done->text, "serial",
                                *done->serial ? json_string(done->serial) : json_null()));
}
