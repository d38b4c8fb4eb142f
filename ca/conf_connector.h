/* ca.conf: the keys that an [authority] has for its kind of CA. */
#ifndef CA_CONF_CONNECTOR_H
#define CA_CONF_CONNECTOR_H

#include "conf.h"
#include "conf_lines.h"
#include "conf_values.h"

/** Rules of conf_authority, of all kinds together with those of this one; the last one is empty.
 *  @param common those of every authority @return NULL and the rules, or CONFIG: no such kind */
SCEP_MUST const scep_err *conf_connector_rules(const conf_rule **out, const conf_section *section,
                                               const conf_rule *common, const conf_reader *r);

/** What a kind has where nothing is said. */
void conf_connector_defaults(conf_authority *a);

/** Keys that go together, and what one kind has where nothing is said, once all are read.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *conf_connector_check(conf_authority *a, const conf_section *section,
                                               const conf_reader *r);

#endif
