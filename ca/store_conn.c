/* The handle of the store: opened, given its statements, run, thrown away. */
#include "store_int.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A node that makes or upgrades the schema gets into the way of another one that does the same:
 * that one's next try finds it done. */
#define TRIES 3
#define PAUSE apr_time_from_msec(100)

/* All nodes of one database take this lock for a group; its number is "scep". Not a level above,
 * which would look at the state before the lock was granted. */
#define PGSQL_BEGIN                              \
    "BEGIN ISOLATION LEVEL READ COMMITTED"       \
    "; SELECT pg_advisory_xact_lock(1935893872)" \
    "; SAVEPOINT scep_group"

/* One state for all of its statements, without the lock. */
#define PGSQL_BEGIN_READING "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

/* A transaction that is gone is answered by PostgreSQL's COMMIT with success, and rolled back;
 * RELEASE fails then. SQLite's COMMIT fails by itself. */
#define PGSQL_COMMIT "RELEASE SAVEPOINT scep_group; COMMIT"

void store_conn_fault(store_conn *c, int code, apr_pool_t *scratch)
{
    const char *why = apr_dbd_error(c->driver, c->handle, code);

    c->broken = true;
    /* The driver's text may have several lines. */
    apr_cpystrn(c->why, scep_printable(scratch, scep_bytes_of(why ? why : "no reason given"), 200),
                sizeof(c->why));
}

bool store_conn_exec(store_conn *c, const char *sql, apr_pool_t *scratch)
{
    int rows;
    int code;

    if (c->broken)
        return false;
    code = apr_dbd_query(c->driver, c->handle, &rows, sql);
    if (code)
        store_conn_fault(c, code, scratch);
    return code == 0;
}

bool store_conn_cells(store_conn *c, apr_dbd_results_t *results, int columns,
                      apr_array_header_t *cells, apr_pool_t *scratch)
{
    apr_dbd_row_t *row = NULL;

    if (apr_dbd_num_cols(c->driver, results) != columns)
        return false;
    while (apr_dbd_get_row(c->driver, scratch, results, &row, -1) == 0) {
        for (int i = 0; i < columns; i++) {
            const char *cell = apr_dbd_get_entry(c->driver, row, i);

            APR_ARRAY_PUSH(cells, const char *) = apr_pstrdup(cells->pool, cell ? cell : "");
        }
    }
    return true;
}

bool store_conn_text(store_conn *c, const char *sql, const char **out, apr_pool_t *p)
{
    apr_array_header_t *cells = apr_array_make(p, 1, sizeof(const char *));
    apr_dbd_results_t *results = NULL;

    if (apr_dbd_select(c->driver, p, c->handle, &results, sql, 1) ||
        !store_conn_cells(c, results, 1, cells, p) || cells->nelts != 1)
        return false;
    *out = APR_ARRAY_IDX(cells, 0, const char *);
    return true;
}

/* PRAGMAs answer with a row, which apr_dbd_query() takes for a failure. */
static const scep_err *sqlite_settings(store_conn *c, apr_pool_t *p)
{
    const char *value = "";

    /* The driver holds a mutex of the whole process while SQLite waits, and tries again itself. */
    if (!store_conn_text(c, "PRAGMA busy_timeout = 100", &value, p))
        return scep_fail(p, CONFIG, "the database cannot be used: PRAGMA busy_timeout failed");
    if (!store_conn_text(c, "PRAGMA journal_mode = WAL", &value, p) || strcmp(value, "wal") != 0) {
        store_conn_fault(c, 1, p); /* another try: two that do it at once cannot both */
        return scep_fail(p, CONFIG,
                         "the database cannot be put into WAL mode (%s): keep it on a local, "
                         "writable file system",
                         c->why);
    }
    /* Setting it gives no row; asking for it does. */
    if (!store_conn_exec(c, "PRAGMA synchronous = FULL", p) ||
        !store_conn_text(c, "PRAGMA synchronous", &value, p) || strcmp(value, "2") != 0)
        return scep_fail(p, CONFIG, "the database cannot be set to synchronous=FULL");
    /* Every savepoint keeps copies of the pages that it changes: in a file by default, written
     * twenty times for each job. */
    if (!store_conn_exec(c, "PRAGMA temp_store = MEMORY", p))
        return scep_fail(p, CONFIG, "the database cannot keep temporary data in memory");
    return NULL;
}

/* A node that stops in the middle of a group shall not stop the others for longer than they have
 * patience: the server ends its transaction. */
static const scep_err *pgsql_settings(store_conn *c, apr_pool_t *p)
{
    const char *idle = apr_psprintf(p, "SET idle_in_transaction_session_timeout = %" APR_TIME_T_FMT,
                                    apr_time_as_msec(STORE_PATIENCE / 2));
    /* Whoever may connect to the database may take the lock of the groups and keep it. */
    const char *lock =
        apr_psprintf(p, "SET lock_timeout = %" APR_TIME_T_FMT, apr_time_as_msec(STORE_PATIENCE));

    if (!store_conn_exec(c, idle, p) || !store_conn_exec(c, lock, p))
        return scep_fail(p, CONFIG, "the database cannot be set up: %s", c->why);
    return NULL;
}

static const scep_err *prepare(store_conn *c, apr_pool_t *p)
{
    static const char *const sql[STORE_STATEMENT_COUNT] = {
#define X(name, text) [STORE_##name] = text,
        STORE_STATEMENTS(X)
#undef X
    };

    for (int i = 0; i < STORE_STATEMENT_COUNT; i++) {
        const char *label = apr_psprintf(c->pool, "scep_%d", i);
        int code = apr_dbd_prepare(c->driver, c->pool, c->handle, sql[i], label, &c->statement[i]);

        if (code) {
            store_conn_fault(c, code, p);
            return scep_fail(p, CONFIG, "the database does not take statement %d: %s", i, c->why);
        }
    }
    return NULL;
}

/*
 * A database file holds who enrolled what: nobody else reads it, whatever the umask. Only a new
 * file is opened here: closing a descriptor of one in use would drop SQLite's locks on it.
 */
static const scep_err *create_file(const char *path, apr_pool_t *p)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 && errno != EEXIST)
        return scep_fail(p, CONFIG,
                         "%s: cannot be created: %s; its folder must be there and belong to the "
                         "user that scep-ca runs as",
                         path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return NULL;
}

/* Neither the text of @a params nor an error made of it is shown where it may hold a password. */
static const scep_err *open_handle(store_conn *c, const char *where, apr_pool_t *p)
{
    const char *colon = strchr(where, ':');
    const char *name = colon ? apr_pstrmemdup(p, where, (size_t)(colon - where)) : "";
    bool sqlite = strcmp(name, "sqlite3") == 0;
    const char *why = NULL;
    apr_status_t status;
    char text[128];

    if (!colon || colon[1] == '\0' || (!sqlite && strcmp(name, "pgsql") != 0))
        return scep_fail(p, CONFIG,
                         "not a place for a store: accepted are sqlite3:/PATH and "
                         "pgsql:CONNINFO");
    status = apr_dbd_get_driver(c->pool, name, &c->driver);
    if (status)
        return scep_fail(p, CONFIG,
                         "the database driver %s cannot be loaded (%s): install "
                         "libaprutil1-dbd-%s, or apr-util's %s package",
                         name, apr_strerror(status, text, sizeof(text)), name, name);
    if (sqlite)
        SCEP_TRY(create_file(colon + 1, p));
    /* One group at a time, whichever node's. SQLite takes the lock for writing at once: a reader
     * that wants to write later can only be refused. PostgreSQL locks rows, and the groups of two
     * nodes have theirs in different order: each would wait for the other. */
    c->begin = sqlite ? "BEGIN IMMEDIATE" : PGSQL_BEGIN;
    c->commit = sqlite ? "COMMIT" : PGSQL_COMMIT;
    c->begin_reading = sqlite ? "BEGIN" : PGSQL_BEGIN_READING;
    status = apr_dbd_open_ex(c->driver, c->pool, colon + 1, &c->handle, &why);
    if (status) {
        c->handle = NULL;
        return scep_fail(p, CONFIG, "%s cannot be opened: %s", sqlite ? colon + 1 : "the database",
                         scep_printable(p, scep_bytes_of(why ? why : "no reason given"), 200));
    }
    return sqlite ? sqlite_settings(c, p) : pgsql_settings(c, p);
}

static const scep_err *make_ready(store_conn *c, const char *where, apr_pool_t *p)
{
    SCEP_TRY(open_handle(c, where, p));
    SCEP_TRY(store_schema_ready(c, p));
    return prepare(c, p);
}

const scep_err *store_conn_open(store_conn **out, const char *where, apr_pool_t *parent,
                                apr_pool_t *p)
{
    for (int left = TRIES;; left--) {
        const scep_err *err;
        apr_pool_t *pool;
        store_conn *c;
        bool broken;

        if (apr_pool_create(&pool, parent))
            return scep_fail(p, CONFIG, "out of memory");
        c = apr_pcalloc(pool, sizeof(*c));
        c->pool = pool;
        err = make_ready(c, where, p);
        if (!err) {
            *out = c;
            return NULL;
        }
        broken = c->broken;
        store_conn_close(c);
        if (!broken || left == 1)
            return err;
        apr_sleep(PAUSE);
    }
}

void store_conn_close(store_conn *c)
{
    if (!c)
        return;
    if (c->handle)
        (void)apr_dbd_close(c->driver, c->handle); /* nothing is open that could be saved */
    apr_pool_destroy(c->pool);
}
