/* What the threads of the connector adcs share: kept connections, and what is known of the CA's
 * numbers. */
#include "connector_adcs_int.h"

#include <apr_strings.h>
#include <string.h>

/* A connection that is nobody's now, or one thread's. */
struct adcs_line {
    dcerpc *rpc;
    apr_pool_t *pool; /* its own: it goes from thread to thread */
    adcs_line *next;
};

static void line_close(adcs_line *line)
{
    apr_pool_destroy(line->pool);
}

static adcs_line *idle_pop(adcs *a)
{
    adcs_line *line;

    apr_thread_mutex_lock(a->mutex);
    line = a->idle;
    if (line)
        a->idle = line->next;
    apr_thread_mutex_unlock(a->mutex);
    return line;
}

static const scep_err *line_open(adcs_line **out, const adcs *a, moment until, apr_pool_t *p)
{
    const scep_err *err;
    apr_pool_t *pool;
    adcs_line *line;

    if (apr_pool_create(&pool, NULL) != APR_SUCCESS)
        return scep_fail(p, UNAVAILABLE, "out of memory");
    line = apr_pcalloc(pool, sizeof(*line));
    line->pool = pool;
    err = dcerpc_open(&line->rpc, &a->server, &icpr_interface, until, pool);
    if (!err) {
        *out = line;
        return NULL;
    }
    err = scep_fail(p, UNAVAILABLE, "%s: %s", a->server.target.host, err->detail);
    line_close(line);
    return err;
}

const scep_err *adcs_line_take(adcs_line **out, adcs *a, moment until, apr_pool_t *p)
{
    adcs_line *line;

    while ((line = idle_pop(a)) != NULL) {
        if (dcerpc_is_usable(line->rpc)) {
            *out = line;
            return NULL;
        }
        line_close(line);
    }
    return line_open(out, a, until, p);
}

void adcs_line_give(adcs *a, adcs_line *line)
{
    if (!dcerpc_is_usable(line->rpc)) {
        line_close(line);
        return;
    }
    apr_thread_mutex_lock(a->mutex);
    line->next = a->idle;
    a->idle = line;
    apr_thread_mutex_unlock(a->mutex);
}

dcerpc *adcs_line_rpc(const adcs_line *line)
{
    return line->rpc;
}

/* ---- numbers ---- */

static void claim(adcs *a, uint32_t id, const char *owner)
{
    adcs_claim *c = &a->claims[a->next_claim];

    for (unsigned i = 0; i < ADCS_CLAIMS; i++)
        if (a->claims[i].id == id)
            return;
    c->id = id;
    apr_cpystrn(c->owner, owner, sizeof(c->owner));
    a->next_claim = (a->next_claim + 1) % ADCS_CLAIMS; /* the oldest is forgotten */
}

/* With the mutex. */
static void remember(adcs *a, uint32_t id, const char *owner)
{
    if (id > a->known)
        a->known = id;
    if (owner)
        claim(a, id, owner);
}

void adcs_remember(adcs *a, uint32_t id, const char *owner)
{
    if (!id)
        return;
    apr_thread_mutex_lock(a->mutex);
    remember(a, id, owner);
    apr_thread_mutex_unlock(a->mutex);
}

void adcs_given(adcs *a, uint32_t id, uint32_t before, const char *owner)
{
    if (!id)
        return;
    apr_thread_mutex_lock(a->mutex);
    if (id <= before) { /* not what is known now: others were sent meanwhile */
        a->known = 0;
        memset(a->claims, 0, sizeof(a->claims));
    }
    remember(a, id, owner);
    apr_thread_mutex_unlock(a->mutex);
}

bool adcs_is_others(adcs *a, uint32_t id, const char *owner)
{
    bool is = false;

    apr_thread_mutex_lock(a->mutex);
    for (unsigned i = 0; i < ADCS_CLAIMS && !is; i++)
        is = a->claims[i].id == id &&
             strncmp(a->claims[i].owner, owner, sizeof(a->claims->owner) - 1) != 0;
    apr_thread_mutex_unlock(a->mutex);
    return is;
}

adcs_turn adcs_known(adcs *a, uint32_t *top)
{
    adcs_turn turn = ADCS_TOLD;

    apr_thread_mutex_lock(a->mutex);
    *top = a->known;
    if (!a->known && !a->searched) {
        turn = a->searching ? ADCS_WAIT : ADCS_SEARCH;
        a->searching = true;
    }
    apr_thread_mutex_unlock(a->mutex);
    return turn;
}

void adcs_search_end(adcs *a, bool done)
{
    apr_thread_mutex_lock(a->mutex);
    a->searching = false;
    a->searched = done;
    apr_thread_mutex_unlock(a->mutex);
}
