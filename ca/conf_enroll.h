/* Who may enrol on a template: the users and groups of ca.conf. */
#ifndef CA_CONF_ENROLL_H
#define CA_CONF_ENROLL_H

#include "conf.h"
#include "conf_lines.h"
#include "conf_values.h"

/* [group NAME] */
typedef struct conf_group {
    const char *name;
    apr_array_header_t *members; /* of const char * */
} conf_group;

/** @param groups of conf_group. @return NULL: there is none of that name */
const conf_group *conf_group_find(const apr_array_header_t *groups, const char *name);

/** The groups that @a template names become their members.
 *  @param section its own, for the line. @return NULL, or CONFIG: there is no such group */
SCEP_MUST const scep_err *conf_enroll_resolve(conf_template *template, const conf_section *section,
                                              const apr_array_header_t *groups, conf_reader *r);

#endif
