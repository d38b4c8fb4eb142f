/* The inventory: what a certificate says, as a row. */
#include "inventory.h"
#include "certs.h"
#include "clock.h"
#include "issue.h"

#include <string.h>

const scep_err *inventory_record(store_tx *tx, X509 *cert, const transaction *t,
                                 const char *authority, const char *template_name)
{
    apr_pool_t *p = store_tx_pool(tx);
    store_certificate row = {
        .authority = authority,
        .serial = scep_cert_serial(cert, p),
        .subject = scep_name_line(X509_get_subject_name(cert), p),
        .template_name = template_name,
        .endpoint = t->row.endpoint,
        .transaction = t->row.transaction,
        .key_hash = t->row.key_hash,
        .issued = apr_time_sec(scep_now()),
    };
    bool done;

    /* The transaction finds its certificate by that number later. */
    if (t->row.serial && strcmp(t->row.serial, row.serial) != 0)
        return scep_fail(p, INTERNAL, "the transaction names certificate %s, this is %s",
                         t->row.serial, row.serial);
    SCEP_TRY(scep_cert_der(&row.der, cert, p));
    SCEP_TRY(issue_seconds(&row.not_before, X509_get0_notBefore(cert), p));
    SCEP_TRY(issue_seconds(&row.not_after, X509_get0_notAfter(cert), p));
    SCEP_TRY(store_certificate_put(tx, &row, &done));
    return done ? NULL : scep_fail(p, INTERNAL, "serial number %s exists already", row.serial);
}
