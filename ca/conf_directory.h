/* ca.conf: [directory NAME], and what other sections say of one. */
#ifndef CA_CONF_DIRECTORY_H
#define CA_CONF_DIRECTORY_H

#include "conf.h"
#include "conf_lines.h"
#include "conf_values.h"

/** Read the section [directory @a name] into @a c.
 *  @param fill puts a section where rules say. @return NULL, or CONFIG */
SCEP_MUST const scep_err *
conf_directory_read(conf *c, const char *name, const conf_section *section, conf_reader *r,
                    const scep_err *(*fill)(void *into, const conf_section *section,
                                            const conf_rule *rules, conf_reader *r));

/** The names of directories become what they name, once an authority has its templates.
 *  @return NULL, or CONFIG: there is no such section, or keys contradict each other */
SCEP_MUST const scep_err *conf_directory_resolve(conf_authority *authority, const conf *c,
                                                 apr_pool_t *p);

/** One that is applied from the directory says nothing of what stands there.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *conf_directory_template(const conf_template *template,
                                                  const conf_section *section,
                                                  const conf_reader *r);

CONF_PARSE(sid);     /* conf_sid: no, yes, directory */
CONF_PARSE(servers); /* apr_array_header_t * of const char *: ldap:// and ldaps:// URLs */

#endif
