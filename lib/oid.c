/* The object identifiers of SCEP, made once per process. */
#include "oid.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static ASN1_OBJECT *objects[SCEP_OID_COUNT];

static void make_objects(void)
{
    static const char *const dotted[SCEP_OID_COUNT] = {
#define X(name, text) [SCEP_OID_##name] = text,
        SCEP_OIDS(X)
#undef X
    };

    for (int i = 0; i < SCEP_OID_COUNT; i++) {
        objects[i] = OBJ_txt2obj(dotted[i], 1);
        if (!objects[i])
            abort(); /* out of memory: the texts themselves are constants */
    }
}

const ASN1_OBJECT *scep_oid(scep_oid_name name)
{
    if (!CRYPTO_THREAD_run_once(&once, make_objects))
        abort();
    return objects[name];
}
