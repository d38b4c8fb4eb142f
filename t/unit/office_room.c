/* An office of its own for each test. */
#include "office_room.h"

#include "init.h"
#include "message.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char shared[] = "/tmp/scep-office-ca-XXXXXX"; /* what scep-ca init made */
static char folder[64];                              /* of the test */
static int saved_stderr;

static const char conf_text[] =
    "store = sqlite3:store.db\n"
    "store_key = file:%1$s/store.key\n"
    "[authority default]\n"
    "connector = local\n"
    "ca_cert = %1$s/ca.pem\nca_key = file:%1$s/ca.key\n"
    "ra_sign_cert = %1$s/ra-sign.pem\nra_sign_key = file:%1$s/ra-sign.key\n"
    "ra_decrypt_cert = %1$s/ra-decrypt.pem\nra_decrypt_key = file:%1$s/ra-decrypt.key\n"
    "templates = IPSECIntermediateOffline, Century, Sid\n"
    "[template IPSECIntermediateOffline]\ndays = 30\n"
    "key_usage = digitalSignature, keyEncipherment\n"
    "[template Century]\ndays = 36500\nkey_usage = digitalSignature\n"
    "[template Sid]\ndays = 30\nkey_usage = keyEncipherment\nallow_sid = yes\n";

static const struct {
    const char *endpoint, *name, *value;
} settings[] = {
    { "devices", "SignatureTemplate", "Century" }, { "devices", "EncryptionTemplate", "Sid" },
    { "Other.Example", "PasswordMax", "2" },       { "open", "EnforcePassword", "off" },
    { "strict", "MinimumHash", "sha256" },
};

void office_room_prepare(void)
{
    apr_pool_t *p;
    init_made made = { 0 };
    init_plan plan = {
        .out = shared,
        .ca_key = "p256",
        .ra_key = "rsa2048",
        .ca_name = "CN=Office Test CA",
        .ra_name = "CN=Office Test RA",
        .ca_days = 100,
        .ra_days = 90,
    };

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&p, NULL) == APR_SUCCESS);
    FIXTURE_MUST(mkdtemp(shared));
    FIXTURE_MUST(!init_identities(&made, &plan, p));
    FIXTURE_MUST(!init_files(&made, &plan, p));
    apr_pool_destroy(p);
}

static void remove_files(const char *path)
{
    static const char *const names[] = {
        "ca.key",    "ca.pem",  "ra-sign.key", "ra-sign.pem",  "ra-decrypt.key", "ra-decrypt.pem",
        "store.key", "ca.conf", "store.db",    "store.db-wal", "store.db-shm",   "log",
    };
    char full[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        apr_snprintf(full, sizeof(full), "%s/%s", path, names[i]);
        (void)unlink(full); /* not all of them are in each folder */
    }
    apr_snprintf(full, sizeof(full), "%s/state", path);
    (void)rmdir(full);
    FIXTURE_MUST(rmdir(path) == 0);
}

void office_room_done(void)
{
    remove_files(shared);
}

/* The endpoints of the table above, as httpd's parent would send them. */
static apr_array_header_t *endpoints_make(apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(scep_wire_endpoint));
    scep_wire_endpoint *at = NULL;

    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        scep_wire_setting *setting;

        if (!at || strcmp(at->name, settings[i].endpoint)) {
            at = apr_array_push(list);
            at->name = settings[i].endpoint;
            at->settings = apr_array_make(p, 4, sizeof(scep_wire_setting));
        }
        setting = apr_array_push(at->settings);
        setting->name = settings[i].name;
        setting->value = settings[i].value;
    }
    return list;
}

static office *open_office(const char *conf_path, apr_pool_t *p)
{
    const scep_err *err;
    office *o;

    err = office_load(&o, conf_path, endpoints_make(p), p);
    if (!err)
        err = office_open(o, p);
    if (err)
        fixture_abort(__FILE__, __LINE__, err->detail);
    o->timeout = apr_time_from_sec(10);
    return o;
}

office *office_room_up(apr_pool_t *p)
{
    char *path;
    FILE *file;
    int log;

    strcpy(folder, "/tmp/scep-office-XXXXXX");
    FIXTURE_MUST(mkdtemp(folder));
    path = apr_pstrcat(p, folder, "/ca.conf", NULL);
    file = fopen(path, "w");
    FIXTURE_MUST(file && fprintf(file, conf_text, shared) > 0 && fclose(file) == 0);
    log = open(apr_pstrcat(p, folder, "/log", NULL), O_RDWR | O_CREAT | O_APPEND, 0600);
    saved_stderr = dup(STDERR_FILENO);
    FIXTURE_MUST(log >= 0 && saved_stderr >= 0 && dup2(log, STDERR_FILENO) >= 0);
    FIXTURE_MUST(close(log) == 0);
    return open_office(path, p);
}

void office_room_down(office *o)
{
    store_close(o->store);
    FIXTURE_MUST(dup2(saved_stderr, STDERR_FILENO) >= 0 && close(saved_stderr) == 0);
    remove_files(folder);
}

office *office_room_again(const office *o, apr_pool_t *p)
{
    return open_office(o->conf->path, p);
}

const char *office_room_log(apr_pool_t *p)
{
    apr_file_t *file;
    apr_finfo_t info;
    char *text;

    FIXTURE_MUST(apr_file_open(&file, apr_pstrcat(p, folder, "/log", NULL), APR_FOPEN_READ,
                               APR_FPROT_OS_DEFAULT, p) == APR_SUCCESS);
    FIXTURE_MUST(apr_file_info_get(&info, APR_FINFO_SIZE, file) == APR_SUCCESS);
    text = apr_pcalloc(p, (apr_size_t)info.size + 1);
    if (info.size)
        FIXTURE_MUST(apr_file_read_full(file, text, (apr_size_t)info.size, NULL) == APR_SUCCESS);
    FIXTURE_MUST(apr_file_close(file) == APR_SUCCESS);
    return text;
}

static const scep_err *count(store_tx *tx, void *baton)
{
    return store_certificate_count(tx, baton);
}

int office_room_count(office *o, apr_pool_t *p)
{
    apr_int64_t n = -1;

    FIXTURE_MUST(!store_run(o->store, count, &n, p));
    return (int)n;
}

const char *office_room_mint(office *o, const char *endpoint, apr_pool_t *p)
{
    const scep_wire_mint in = { .endpoint = endpoint, .user = "admin", .peer = "192.0.2.1" };
    scep_wire_minted out;

    FIXTURE_MUST(!office_mint(&out, o, &in, p));
    FIXTURE_MUST(out.outcome == SCEP_MINT_DONE);
    return out.challenge;
}

scep_wire_verdict office_room_enrol(office *o, const char *endpoint, const char *id, scep_bytes csr,
                                    apr_pool_t *p)
{
    const scep_wire_enrol in = {
        .endpoint = endpoint,
        .message_type = SCEP_PKCS_REQ,
        .transaction_id = scep_bytes_of(id),
        .csr = csr,
        .peer = "192.0.2.9",
    };
    scep_wire_verdict out;

    office_enrol(&out, o, &in, apr_time_now() + o->timeout, p);
    return out;
}
