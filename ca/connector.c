/* Which kind of CA an authority has. */
#include "connector.h"

#include <string.h>

const scep_err *connector_open(connector **out, const conf_authority *authority, apr_pool_t *p)
{
    if (!strcmp(authority->connector, "local"))
        return connector_local_open(out, authority, p);
    return scep_fail(p, CONFIG, "[authority %s]: there is no connector \"%s\"; local is accepted",
                     authority->name, authority->connector);
}
