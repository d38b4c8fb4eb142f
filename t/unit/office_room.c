/* An office of its own for each test. */
#include "office_room.h"

#include "init.h"
#include "message.h"
#include "proof.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char shared[] = "/tmp/scep-office-ca-XXXXXX";      /* what scep-ca init made */
static char successor[] = "/tmp/scep-office-next-XXXXXX"; /* of the CA that takes over */
static char folder[64];                                   /* of the test */
static int saved_stderr;

static const char conf_text[] =
    "store = sqlite3:store.db\n"
    "store_key = file:%1$s/store.key\n"
    "[authority default]\n"
    "connector = local\n"
    "ca_cert = %1$s/ca.pem\nca_key = file:%1$s/ca.key\n"
    "ra_sign_cert = %1$s/ra-sign.pem\nra_sign_key = file:%1$s/ra-sign.key\n"
    "ra_decrypt_cert = %1$s/ra-decrypt.pem\nra_decrypt_key = file:%1$s/ra-decrypt.key\n"
    "templates = IPSECIntermediateOffline, Century, Sid, Client, Alice, Both\n"
    "foreign_crl = file:foreign.crl\n"
    "renewal_ca = renewal.pem\n"
    "crl_file = ca.crl\n"
    "next = successor\n"
    "[authority successor]\n"
    "connector = local\n"
    "ca_cert = %2$s/ca.pem\nca_key = file:%2$s/ca.key\n"
    "ra_sign_cert = %2$s/ra-sign.pem\nra_sign_key = file:%2$s/ra-sign.key\n"
    "ra_decrypt_cert = %2$s/ra-decrypt.pem\nra_decrypt_key = file:%2$s/ra-decrypt.key\n"
    "templates = IPSECIntermediateOffline, Century, Sid, Client, Alice, Both\n"
    "foreign_crl = none\n"
    "[template IPSECIntermediateOffline]\ndays = 30\n"
    "key_usage = digitalSignature, keyEncipherment\n"
    "[template Century]\ndays = 36500\nkey_usage = digitalSignature\n"
    "[template Sid]\ndays = 30\nkey_usage = keyEncipherment\nallow_sid = yes\n"
    "[template Client]\ndays = 30\nkey_usage = digitalSignature\n"
    "extended_key_usage = clientAuth\n"
    "[template Alice]\ndays = 30\nkey_usage = digitalSignature\nenroll = alice\n"
    "[template Both]\ndays = 30\nkey_usage = keyEncipherment\nenroll = alice, @wifi\n"
    "[group wifi]\nmembers = bob, CORP\\\\carol\n";

static const struct {
    const char *endpoint, *name, *value;
} settings[] = {
    { "devices", "SignatureTemplate", "Century" },
    { "devices", "EncryptionTemplate", "Sid" },
    { "devices", "CacheRequest", "525600" },
    { "Other.Example", "PasswordMax", "2" },
    { "open", "EnforcePassword", "off" },
    { "strict", "MinimumHash", "sha256" },
    { "strict", "RenewalFrom", "devices" },
    { "manual", "Approval", "enrol" },
    { "manual", "RenewalFrom", "devices" },
    { "manual", "PendingMax", "50" },
    { "manual", "PasswordMax", "100" },
    { "manual", "GetCert", "on" },
    { "manual", "GetCRL", "on" },
    { "always", "Approval", "always" },
    { "always", "RenewalFrom", "devices" },
    { "apple", "ClientProfile", "apple" },
    { "apple", "RenewalFrom", "devices" },
    { "closed", "RenewalFrom", "devices" },
    { "closed", "Renewal", "off" },
    { "closed", "RenewalByPKCSReq", "on" },
    { "loose", "DisableRenewalSubjectNameMatch", "on" },
    { "loose", "LegacyAlgorithms", "on" },
    { "loose", "RenewalMinimumHash", "sha1" },
    { "loose", "RenewalFrom", "devices" },
    { "legacy", "LegacyAlgorithms", "on" },
    { "legacy", "RenewalFrom", "devices" },
    { "client", "SignatureTemplate", "Client" },
    { "window", "RenewalWindow", "10" },
    { "later", "Authority", "successor" },
    { "later", "DisableRenewalSubjectNameMatch", "on" },
    { "shut", "SignatureTemplate", "Alice" },
    { "shut", "EncryptionTemplate", "Both" },
    { "single", "UseSinglePassword", "on" },
    { "single", "PasswordMax", "1" },
    { "limited", "FailedMax", "3" },
    { "limited", "MintMax", "3" },
};

static void make_ca(char *path, const char *name)
{
    apr_pool_t *p;
    init_made made = { 0 };
    init_plan plan = {
        .out = path,
        .ca_key = "p256",
        .ra_key = "rsa2048",
        .ca_name = "CN=Office Test CA",
        .ra_name = name,
        .ca_days = 100,
        .ra_days = 90,
    };

    FIXTURE_MUST(apr_pool_create(&p, NULL) == APR_SUCCESS);
    FIXTURE_MUST(mkdtemp(path));
    FIXTURE_MUST(!init_identities(&made, &plan, p));
    FIXTURE_MUST(!init_files(&made, &plan, p));
    apr_pool_destroy(p);
}

/* Both CAs have one name, as a CA and its successor may have. */
void office_room_prepare(void)
{
    FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
    make_ca(shared, "CN=Office Test RA");
    make_ca(successor, "CN=Office Next RA");
}

static void remove_files(const char *path)
{
    static const char *const names[] = {
        "ca.key",         "ca.pem",         "ra-sign.key",  "ra-sign.pem",
        "ra-decrypt.key", "ra-decrypt.pem", "store.key",    "ca.conf",
        "store.db",       "store.db-wal",   "store.db-shm", "log",
        "ca.crl",         "foreign.crl",    "renewal.pem",  "public/ca.crl",
    };
    char full[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        apr_snprintf(full, sizeof(full), "%s/%s", path, names[i]);
        (void)unlink(full); /* not all of them are in each folder */
    }
    apr_snprintf(full, sizeof(full), "%s/state", path);
    (void)rmdir(full);
    apr_snprintf(full, sizeof(full), "%s/public", path);
    (void)rmdir(full);
    FIXTURE_MUST(rmdir(path) == 0);
}

void office_room_done(void)
{
    remove_files(shared);
    remove_files(successor);
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
        err = office_open(o, true, p);
    if (err)
        fixture_abort(__FILE__, __LINE__, err->detail);
    o->timeout = apr_time_from_sec(10);
    return o;
}

/* The fixture's CA is the one whose certificates may be renewed too. */
static void put_renewal_ca(apr_pool_t *p)
{
    FILE *file = fopen(apr_pstrcat(p, folder, "/renewal.pem", NULL), "w");

    FIXTURE_MUST(file && PEM_write_X509(file, fixture_ca_get()->root) && fclose(file) == 0);
}

/* What it has revoked: the certificate of serial number OFFICE_ROOM_REVOKED. */
static void put_foreign_crl(apr_pool_t *p)
{
    FILE *file = fopen(apr_pstrcat(p, folder, "/foreign.crl", NULL), "w");
    const fixture_ca *ca = fixture_ca_get();
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *then = ASN1_TIME_adj(NULL, time(NULL), 0, -60);
    ASN1_TIME *next = ASN1_TIME_adj(NULL, time(NULL), 365, 0);

    FIXTURE_MUST(file && crl && entry && serial && then && next &&
                 ASN1_INTEGER_set(serial, OFFICE_ROOM_REVOKED) &&
                 X509_REVOKED_set_serialNumber(entry, serial) &&
                 X509_REVOKED_set_revocationDate(entry, then) &&
                 X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
                 X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->root)) &&
                 X509_CRL_set1_lastUpdate(crl, then) && X509_CRL_set1_nextUpdate(crl, next) &&
                 X509_CRL_add0_revoked(crl, entry) &&
                 X509_CRL_sign(crl, ca->root_key, EVP_sha256()) && PEM_write_X509_CRL(file, crl) &&
                 fclose(file) == 0);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(then);
    ASN1_TIME_free(next);
    X509_CRL_free(crl);
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
    FIXTURE_MUST(file && fprintf(file, conf_text, shared, successor) > 0 && fclose(file) == 0);
    put_renewal_ca(p);
    put_foreign_crl(p);
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
    return office_room_enrol_at(o, endpoint, "", "192.0.2.9", id, csr, p);
}

scep_wire_verdict office_room_enrol_at(office *o, const char *endpoint, const char *authority,
                                       const char *peer, const char *id, scep_bytes csr,
                                       apr_pool_t *p)
{
    const scep_wire_enrol in = {
        .endpoint = endpoint,
        .authority = authority,
        .message_type = SCEP_PKCS_REQ,
        .transaction_id = scep_bytes_of(id),
        .csr = csr,
        .peer = peer,
    };
    scep_wire_verdict out;

    office_enrol(&out, o, &in, apr_time_now() + o->timeout, p);
    return out;
}

const scep_ra *office_room_ra(const office *o, int authority)
{
    return identities_now(APR_ARRAY_IDX(o->authorities, authority, office_authority *)->identities)
        ->ra[0];
}

X509 *office_room_ca(const office *o, int authority)
{
    return sk_X509_value(
        APR_ARRAY_IDX(o->authorities, authority, office_authority *)->connector->chain, 0);
}

scep_wire_renew office_room_forward(const office *o, const char *endpoint, const fixture_request *r,
                                    apr_pool_t *p)
{
    const scep_accept all = { .legacy = true };
    fixture_request sent = *r;
    scep_message *message;
    scep_proof proof;

    if (!sent.recipient)
        sent.recipient = office_room_ra(o, 0)->decrypt.cert;
    FIXTURE_MUST(!scep_message_open(&message, fixture_build(&sent, p)->der, &all, p));
    FIXTURE_MUST(!scep_proof_take(&proof, message, p));
    return (scep_wire_renew){
        .endpoint = endpoint,
        .authority = "",
        .signer = proof.signer,
        .attributes = proof.attributes,
        .digest_algorithm = proof.digest_algorithm,
        .signature_algorithm = proof.signature_algorithm,
        .signature = proof.signature,
        .content = proof.content,
        .peer = "192.0.2.9",
    };
}

scep_wire_verdict office_room_renew(office *o, const char *endpoint, const fixture_request *r,
                                    apr_pool_t *p)
{
    const scep_wire_renew in = office_room_forward(o, endpoint, r, p);
    scep_wire_verdict out;

    office_renew(&out, o, &in, apr_time_now() + o->timeout, p);
    return out;
}

scep_bytes office_room_key_hash(const EVP_PKEY *key, apr_pool_t *p)
{
    unsigned char *der = NULL, *hash = apr_palloc(p, 32);
    int len = i2d_PUBKEY(key, &der);

    FIXTURE_MUST(len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL));
    OPENSSL_free(der);
    return (scep_bytes){ hash, 32 };
}

scep_wire_verdict office_room_poll(office *o, const char *endpoint, const char *id,
                                   const EVP_PKEY *key, apr_pool_t *p)
{
    const scep_wire_poll in = {
        .endpoint = endpoint,
        .transaction_id = scep_bytes_of(id),
        .key_hash = office_room_key_hash(key, p),
        .peer = "192.0.2.9",
    };
    scep_wire_verdict out;

    office_poll(&out, o, &in, apr_time_now() + o->timeout, p);
    return out;
}

const scep_err *office_room_decide(office *o, const char *id, bool approve, apr_pool_t *p)
{
    const scep_wire_decide in = {
        .id = id, .approve = approve, .reason = approve ? "" : "not one of ours", .by = "root"
    };
    scep_wire_done done;

    return office_decide(&done, o, &in, p);
}

const char *office_room_waiting(office *o, const char *id, apr_pool_t *p)
{
    const scep_wire_list in = { .state = "", .authority = "", .subject = "", .after = "" };
    scep_wire_request_page page = { 0 };

    FIXTURE_MUST(!office_requests(&page, o, &in, p));
    for (int i = 0; i < page.requests->nelts; i++) {
        const scep_wire_request *r = &APR_ARRAY_IDX(page.requests, i, scep_wire_request);

        if (!strcmp(r->transaction_id, id))
            return r->id;
    }
    return NULL;
}

const scep_err *office_room_revoke(office *o, const char *serial, apr_pool_t *p)
{
    const scep_wire_revoke in = { .authority = "", .serial = serial, .reason = 1, .by = "root" };
    scep_wire_done done;

    return office_revoke(&done, o, &in, NULL, NULL, p);
}
