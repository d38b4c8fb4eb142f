/* lib/registry.h: a registry export of NDES. */
#include "fuzz.h"

#include "registry.h"

#include <string.h>

/* What was carried over is accepted as a directive, in the same form. */
static void check_settings(const scep_registry *r, apr_pool_t *p)
{
    for (int i = 0; i < r->settings->nelts; i++) {
        const scep_registry_setting *s = &APR_ARRAY_IDX(r->settings, i, scep_registry_setting);
        scep_settings again = { { 0 } };

        FIXTURE_MUST(s->line > 1 && *s->value);
        FIXTURE_MUST(!scep_settings_set(&again, s->which, s->value, p));
        FIXTURE_MUST(!strcmp(again.value[s->which], s->value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_registry r;
    const scep_err *err = scep_registry_read(&r, (scep_bytes){ data, size }, "x.reg", p);

    if (err) {
        FIXTURE_MUST(err->code == SCEP_CONFIG);
        FIXTURE_MUST(!strncmp(err->detail, "x.reg:", strlen("x.reg:")));
    } else {
        bool fatal = false;

        FIXTURE_MUST(r.values->nelts <= SCEP_REGISTRY_VALUES);
        FIXTURE_MUST(r.settings->nelts + r.left->nelts <= r.values->nelts);
        check_settings(&r, p);
        for (int i = 0; i < r.left->nelts; i++) {
            const scep_registry_left *l = &APR_ARRAY_IDX(r.left, i, scep_registry_left);

            FIXTURE_MUST(l->line > 1 && *l->name && *l->why);
            fatal |= l->fatal;
        }
        FIXTURE_MUST(fatal == (scep_registry_check(&r, "x.reg", p) != NULL));
    }
    fuzz_end(p);
    return 0;
}
