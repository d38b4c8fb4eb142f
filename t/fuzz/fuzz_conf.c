/* ca/conf.h: the text of ca.conf. */
#include "config.h"
#include "conf.h"
#include "fuzz.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check(const conf *c)
{
    FIXTURE_MUST(c->store && *c->store_key == '/' && c->authorities->nelts > 0);
    for (int i = 0; i < c->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(c->authorities, i, conf_authority *);

        FIXTURE_MUST(conf_authority_find(c, a->name) == a && *a->ca_cert == '/' &&
                     *a->ca_key == '/' && *a->ra_sign_key == '/' && *a->ra_decrypt_key == '/');
        for (int n = 0; n < a->templates->nelts; n++) {
            const conf_template *t = APR_ARRAY_IDX(a->templates, n, const conf_template *);

            FIXTURE_MUST(conf_template_find(a, t->name) && t->days > 0 &&
                         t->minimum_rsa_bits >= 1024);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    int fd = memfd_create("ca.conf", MFD_CLOEXEC);
    const scep_err *err;
    conf *c;

    FIXTURE_MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    err = conf_load(&c, apr_psprintf(p, "/proc/self/fd/%d", fd), p);
    if (err)
        FIXTURE_MUST(err->code == SCEP_CONFIG && *err->detail && !strchr(err->detail, '\n'));
    else
        check(c);
    FIXTURE_MUST(close(fd) == 0);
    fuzz_end(p);
    return 0;
}
