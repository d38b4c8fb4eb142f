/* Every certificate that was issued, recorded before it leaves; and what was revoked of them. */
#ifndef CA_INVENTORY_H
#define CA_INVENTORY_H

#include "own.h"
#include "transaction.h"

/** In a job: record @a cert. @return NULL, or INTERNAL: that serial number exists already, or
 *  @a t names another one */
SCEP_MUST const scep_err *inventory_record(store_tx *tx, const issued_cert *cert,
                                           const transaction *t, const char *authority,
                                           const char *template_name);

/** In a job: the row of that very certificate, byte for byte in what was signed, whichever
 *  authority issued it. @param found NULL: it is not ours. @return NULL, or REFUSED: not in DER */
SCEP_MUST const scep_err *inventory_find(store_tx *tx, X509 *cert, const store_certificate **found);

/** The one certificate that inventory_revoke() would revoke. @return as that */
SCEP_MUST const scep_err *inventory_look(store *s, const char *authority, const char *serial,
                                         const store_certificate **found, apr_pool_t *p);

/**
 * Revoke.
 * @param authority "": the one that has that serial number
 * @param revoked the row, as it is now
 * @return NULL, or BAD_CERT_ID with a sentence: none, several, or revoked already
 */
SCEP_MUST const scep_err *inventory_revoke(store *s, const char *authority, const char *serial,
                                           int reason, const store_certificate **revoked,
                                           apr_pool_t *p);

#endif
