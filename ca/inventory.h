/* Every certificate that was issued, recorded before it leaves. */
#ifndef CA_INVENTORY_H
#define CA_INVENTORY_H

#include "own.h"
#include "transaction.h"

/** In a job: record @a cert. @return NULL, or INTERNAL: that serial number exists already, or
 *  @a t names another one */
SCEP_MUST const scep_err *inventory_record(store_tx *tx, X509 *cert, const transaction *t,
                                           const char *authority, const char *template_name);

#endif
