/* lib/query.h: the query string of a SCEP request. */
#include "fuzz.h"

#include <apr_strings.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    char *query = apr_pstrmemdup(p, (const char *)data, size);
    const char *const names[] = { "operation", "message", "MESSAGE", "" };
    scep_bytes message, again;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = scep_query_get(query, names[i], p);

        FIXTURE_MUST(!value || strlen(value) <= size);
        /* what was decoded can be read again after it was encoded as RFC 8894 4.1 says */
        if (value && !scep_query_message(&message, value, p)) {
            FIXTURE_MUST(message.len && message.len <= strlen(value));
            FIXTURE_MUST(!scep_query_message(&again, scep_base64(p, message), p));
            FIXTURE_MUST(scep_bytes_equal(message, again));
        }
    }
    if (!scep_query_message(&message, query, p))
        FIXTURE_MUST(message.len && message.len <= strlen(query));
    fuzz_end(p);
    return 0;
}
