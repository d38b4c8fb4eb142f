/* Who may enrol on a template: the users and groups of ca.conf. */
#include "conf_enroll.h"

#include <string.h>

const conf_group *conf_group_find(const apr_array_header_t *groups, const char *name)
{
    for (int i = 0; i < groups->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(groups, i, conf_group).name, name))
            return &APR_ARRAY_IDX(groups, i, conf_group);
    return NULL;
}

static int line_of(const conf_section *section, const char *key)
{
    for (int i = 0; i < section->entries->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(section->entries, i, conf_entry).key, key))
            return APR_ARRAY_IDX(section->entries, i, conf_entry).line;
    return section->line;
}

const scep_err *conf_enroll_resolve(conf_template *template, const conf_section *section,
                                    const apr_array_header_t *groups, conf_reader *r)
{
    const apr_array_header_t *names = template->enroll;
    apr_array_header_t *users;

    if (!names)
        return NULL;
    users = apr_array_make(r->p, names->nelts, sizeof(const char *));
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const conf_group *group = *name == '@' ? conf_group_find(groups, name + 1) : NULL;

        if (*name == '@' && !group)
            return conf_fail(r->p, r->path, line_of(section, "enroll"),
                             "enroll names the group %s, and there is no section [group %s]",
                             scep_printable(r->p, scep_bytes_of(name), 80),
                             scep_printable(r->p, scep_bytes_of(name + 1), 80));
        if (group)
            apr_array_cat(users, group->members);
        else
            APR_ARRAY_PUSH(users, const char *) = name;
    }
    template->enroll = users;
    return NULL;
}

bool conf_may_enroll(const conf_template *t, const char *user)
{
    for (int i = 0; t->enroll && i < t->enroll->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(t->enroll, i, const char *), user))
            return true;
    return t->enroll == NULL;
}
