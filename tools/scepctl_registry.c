/* import-registry: the directives that a registry export of NDES is. Asks no scep-ca. */
#include "scepctl.h"

#include "registry.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

/* A registry's name on a terminal: its backslashes stay, control characters do not. */
static const char *legible(const char *text, apr_pool_t *p)
{
    char *copy = apr_pstrdup(p, text);

    for (char *at = copy; *at; at++)
        if (apr_iscntrl(*at))
            *at = '?';
    return copy;
}

/* As httpd reads an argument: between quotes, a backslash and a quote stand behind a backslash. */
static const char *argument(const char *value, apr_pool_t *p)
{
    char *out, *to;

    if (*value && !value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_-./")])
        return value;
    out = to = apr_palloc(p, 2 * strlen(value) + 3);
    *to++ = '"';
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            *to++ = '\\';
        *to++ = *value;
    }
    *to++ = '"';
    *to = '\0';
    return out;
}

static const char *directive(const scep_registry_setting *s, apr_pool_t *p)
{
    const scep_setting_info *row = scep_setting_describe(s->which);

    return apr_pstrcat(p, row->kind == SCEP_KIND_TEMPLATE ? "SCEPTemplate " : "SCEP", row->name,
                       " ", argument(s->value, p), NULL);
}

static int show_text(const scep_registry *r, const char *path, bool refused, apr_pool_t *p)
{
    printf("# From %s. SCEPRegistry %s.\n", legible(path, p),
           refused ? "refuses it for its values out of range" : "reads such a file as it is");
    for (int i = 0; i < r->settings->nelts; i++)
        printf("%s\n", directive(&APR_ARRAY_IDX(r->settings, i, scep_registry_setting), p));
    for (int i = 0; i < r->left->nelts; i++) {
        const scep_registry_left *left = &APR_ARRAY_IDX(r->left, i, scep_registry_left);

        /* a newline would make a directive of what follows */
        printf("# Not carried over: %s (line %d): %s\n", legible(left->name, p), left->line,
               legible(left->why, p));
    }
    return ferror(stdout) ? FAILED : DONE_WELL;
}

static int show_json(const scep_registry *r, apr_pool_t *p)
{
    json_t *carried = json_array(), *left = json_array(), *all;
    int wrong = 0;

    for (int i = 0; i < r->settings->nelts; i++) {
        const scep_registry_setting *s = &APR_ARRAY_IDX(r->settings, i, scep_registry_setting);

        wrong |= json_array_append_new(carried, json_pack("{s:s, s:s, s:s, s:i}", "directive",
                                                          directive(s, p), "name",
                                                          scep_setting_describe(s->which)->name,
                                                          "value", s->value, "line", s->line));
    }
    for (int i = 0; i < r->left->nelts; i++) {
        const scep_registry_left *l = &APR_ARRAY_IDX(r->left, i, scep_registry_left);

        wrong |=
            json_array_append_new(left, json_pack("{s:s, s:s, s:i, s:b}", "name", l->name, "why",
                                                  l->why, "line", l->line, "fatal", l->fatal));
    }
    all = json_pack("{s:o, s:o}", "carried", carried, "left", left);
    wrong |= !all || json_dumpf(all, stdout, JSON_INDENT(2)) || printf("\n") < 0;
    json_decref(all);
    return wrong ? FAILED : DONE_WELL;
}

int import_registry(scepctl *c, const words *w)
{
    scep_registry r;
    const scep_err *err = scep_registry_load(&r, w->operand, c->p);
    int status;

    if (err)
        return complain(err);
    /* all that can be carried over is shown; what SCEPRegistry would refuse is no success */
    err = scep_registry_check(&r, w->operand, c->p);
    status = c->json ? show_json(&r, c->p) : show_text(&r, w->operand, err != NULL, c->p);
    return err ? complain(err) : status;
}
