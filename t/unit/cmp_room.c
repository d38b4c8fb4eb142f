/* A CA that is OpenSSL's CMP server. */
#include "cmp_room.h"

#include <apr_strings.h>
#include <openssl/cmperr.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_USAGE (KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE)
#define REFERENCE "ra ref"

const conf_template cmp_room_template = { .name = "WiFi", .ca_template = "wifi at the CA" };
cmp_room room;
static char folder[64];
static apr_pool_t *p;

const char *cmp_room_file(const char *name)
{
    return apr_psprintf(p, "%s/%s", folder, name);
}

static void spew(const char *name, const char *text, mode_t mode)
{
    FILE *out = fopen(cmp_room_file(name), "w");

    FIXTURE_MUST(out && fputs(text, out) >= 0 && fclose(out) == 0 &&
                 chmod(cmp_room_file(name), mode) == 0);
}

static void spew_pem(const char *name, X509 *cert, EVP_PKEY *key)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    FIXTURE_MUST(bio && (cert ? PEM_write_bio_X509(bio, cert)
                              : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)));
    len = BIO_get_mem_data(bio, &text);
    spew(name, apr_pstrndup(p, text, (apr_size_t)len), 0600);
}

/* ---- the CA ---- */

static void see(OSSL_CRMF_CERTTEMPLATE *wanted)
{
    const X509_NAME *issuer = OSSL_CRMF_CERTTEMPLATE_get0_issuer(wanted);
    X509_EXTENSIONS *exts = OSSL_CRMF_CERTTEMPLATE_get0_extensions(wanted);
    int at = -1;

    room.ca.issuer = issuer ? scep_name_line(issuer, p) : NULL;
    for (room.ca.names = 0; (at = X509v3_get_ext_by_NID(exts, NID_subject_alt_name, at)) >= 0;)
        room.ca.names++;
}

static OSSL_CMP_PKISI *process(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked, int id,
                               const OSSL_CRMF_MSG *crm, const X509_REQ *p10, X509 **cert,
                               STACK_OF(X509) * *chain, STACK_OF(X509) * *pubs)
{
    room.ca.proof = p10 ? "p10cr" : "crmf";
    if (crm)
        see(OSSL_CRMF_MSG_get0_tmpl(crm));
    if (room.ca.waits > 0) {
        OSSL_CMP_MSG_free(room.ca.asked);
        room.ca.asked = OSSL_CMP_MSG_dup(asked);
        return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_waiting, 0,
                                       room.ca.text ? room.ca.text : "an officer looks at it");
    }
    if (room.ca.status == OSSL_CMP_PKISTATUS_accepted) {
        room.ca.issued++;
        *cert = X509_dup(room.ca.cert ? room.ca.cert : room.device);
    }
    return OSSL_CMP_STATUSINFO_new(room.ca.status, room.ca.fail_info, room.ca.text);
}

static int process_poll(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked, int id,
                        OSSL_CMP_MSG **request, int64_t *after)
{
    room.ca.polled++;
    *request = NULL;
    *after = 5;
    if (room.ca.waits > 0 && --room.ca.waits > 0)
        return 1;
    *request = room.ca.asked;
    room.ca.asked = NULL;
    return *request != NULL;
}

static int process_confirm(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked, int id,
                           const ASN1_OCTET_STRING *hash, const OSSL_CMP_PKISI *info)
{
    /* whatever it says: OSSL_CMP_PKISI is opaque, so it is seen by its words */
    char words[OSSL_CMP_PKISI_BUFLEN];

    if (room.ca.errs) {
        ERR_raise(ERR_LIB_CMP, CMP_R_ERROR_PROCESSING_MESSAGE);
        return 0;
    }
    if (info && OSSL_CMP_snprint_PKIStatusInfo(info, words, sizeof(words)) &&
        strstr(words, "rejection"))
        room.ca.refused++;
    else
        room.ca.confirmed++;
    return 1;
}

static OSSL_CMP_PKISI *process_revocation(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked,
                                          const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
    if (room.ca.status == OSSL_CMP_PKISTATUS_accepted &&
        !ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(room.device)) &&
        !X509_NAME_cmp(issuer, X509_get_issuer_name(room.device)))
        room.ca.revoked++;
    return OSSL_CMP_STATUSINFO_new(room.ca.status, room.ca.fail_info, room.ca.text);
}

static int process_general(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked,
                           const STACK_OF(OSSL_CMP_ITAV) * in, STACK_OF(OSSL_CMP_ITAV) * *out)
{
    *out = NULL;
    return 1;
}

static void process_error(OSSL_CMP_SRV_CTX *engine, const OSSL_CMP_MSG *asked,
                          const OSSL_CMP_PKISI *info, const ASN1_INTEGER *code,
                          const OSSL_CMP_PKIFREETEXT *details)
{
}

static void answer(service_said *out, const service_asked *asked, void *baton, apr_pool_t *pool)
{
    const unsigned char *at = asked->body.data;
    OSSL_CMP_MSG *request = d2i_OSSL_CMP_MSG(NULL, &at, (long)asked->body.len), *said;
    unsigned char *der = NULL;
    int len;

    FIXTURE_MUST(request != NULL);
    room.ca.last = scep_bytes_dup(p, asked->body);
    (void)apr_cpystrn(room.ca.peer, asked->peer, sizeof(room.ca.peer));
    said = OSSL_CMP_SRV_process_request(room.ca.engine, request);
    FIXTURE_MUST(said && (len = i2d_OSSL_CMP_MSG(said, &der)) > 0);
    *out = (service_said){ .status = room.ca.http ? room.ca.http : 200,
                           .type = "application/pkixcmp" };
    out->body = scep_bytes_dup(pool, (scep_bytes){ der, (size_t)len });
    if (room.ca.spoil || (room.ca.spoilt && --room.ca.spoilt == 0))
        /* within the protection: the last byte of an answer to a MAC is the MAC's */
        out->body = fixture_flip(out->body, out->body.len - 1, 1, pool);
    if (room.ca.drop && --room.ca.drop == 0)
        out->status = 0;
    OPENSSL_free(der);
    OSSL_CMP_MSG_free(said);
    OSSL_CMP_MSG_free(request);
}

static void protect(OSSL_CMP_CTX *ctx, const char *secret, X509 *cert, EVP_PKEY *key)
{
    X509_STORE *store = X509_STORE_new();

    FIXTURE_MUST(store && X509_STORE_add_cert(store, room.root) == 1 &&
                 OSSL_CMP_CTX_set0_trustedStore(ctx, store));
    if (secret)
        FIXTURE_MUST(
            OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)REFERENCE,
                                             (int)strlen(REFERENCE)) &&
            OSSL_CMP_CTX_set1_secretValue(ctx, (const unsigned char *)secret, (int)strlen(secret)));
    if (cert)
        FIXTURE_MUST(OSSL_CMP_CTX_set1_cert(ctx, cert) && OSSL_CMP_CTX_set1_pkey(ctx, key));
}

/* A CA that begins anew: with a secret, or a certificate. */
static void begin_ca(const char *secret, X509 *cert, EVP_PKEY *key)
{
    OSSL_CMP_SRV_CTX_free(room.ca.engine);
    OSSL_CMP_MSG_free(room.ca.asked);
    memset(&room.ca, 0, sizeof(room.ca));
    room.ca.engine = OSSL_CMP_SRV_CTX_new(NULL, NULL);
    FIXTURE_MUST(room.ca.engine &&
                 OSSL_CMP_SRV_CTX_init(room.ca.engine, NULL, process, process_revocation,
                                       process_general, process_error, process_confirm,
                                       process_poll) &&
                 OSSL_CMP_SRV_CTX_set_accept_raverified(room.ca.engine, 1));
    protect(OSSL_CMP_SRV_CTX_get0_cmp_ctx(room.ca.engine), secret, cert, key);
}

/* ---- the room ---- */

static X509 *cert_for(const char *name, int key, const char *purpose)
{
    X509 *cert = fixture_cert(name, fixture_key(key), room.root, fixture_key(1), false,
                              KU_DIGITAL_SIGNATURE, p);
    X509_EXTENSION *usage;

    if (!purpose)
        return cert;
    usage = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, purpose);
    FIXTURE_MUST(usage && X509_add_ext(cert, usage, -1));
    X509_EXTENSION_free(usage);
    fixture_resign(cert, fixture_key(1));
    return cert;
}

void cmp_room_begin(apr_pool_t *pool)
{
    const fixture_request request = { .challenge = "secret", .san = "DNS:device.test" };

    p = pool;
    strcpy(folder, "/tmp/scep-cmp-XXXXXX");
    FIXTURE_MUST(mkdtemp(folder));
    room.root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    room.device = cert_for("device", 0, NULL);
    room.other = cert_for("other", 2, NULL);
    room.responder = cert_for("responder", 3, "1.3.6.1.5.5.7.3.27");

    spew_pem("ca.pem", room.root, NULL);
    spew_pem("ra.pem", cert_for("RA", 2, NULL), NULL);
    spew_pem("ra.key", NULL, fixture_key(2));
    spew_pem("responder.pem", room.responder, NULL);
    spew_pem("other.pem", room.other, NULL);
    spew("secret", CMP_ROOM_SECRET "\n", 0600);
    spew("wrong", "another\n", 0600);
    FIXTURE_MUST(!scep_csr_read(&room.csr, fixture_csr(&request, p), p));
    begin_ca(CMP_ROOM_SECRET, NULL, NULL);
    room.server = service_start(answer, NULL, NULL, NULL, NULL, p);
    room.authority =
        (conf_authority){ .name = "cmp", .connector = "cmp", .ca_cert = cmp_room_file("ca.pem") };
    room.authority.cmp =
        (conf_cmp){ .url = apr_psprintf(p, "http://127.0.0.1:%d/pkix/", service_port(room.server)),
                    .command = "p10cr",
                    .reference = REFERENCE,
                    .secret = cmp_room_file("secret") };
}

void cmp_room_end(void)
{
    const char *names[] = { "ca.pem",    "ra.pem", "ra.key", "responder.pem",
                            "other.pem", "secret", "wrong" };

    service_stop(room.server);
    begin_ca(CMP_ROOM_SECRET, NULL, NULL);
    OSSL_CMP_SRV_CTX_free(room.ca.engine);
    room.ca.engine = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        FIXTURE_MUST(unlink(cmp_room_file(names[i])) == 0);
    FIXTURE_MUST(rmdir(folder) == 0);
}

/* Signatures in place of the secret, and who signs for the CA. */
void cmp_room_sign(X509 *signer, EVP_PKEY *key)
{
    begin_ca(NULL, signer, key);
    room.authority.cmp.reference = room.authority.cmp.secret = NULL;
    room.authority.cmp.client_cert = cmp_room_file("ra.pem");
    room.authority.cmp.client_key = cmp_room_file("ra.key");
}

void cmp_room_sign_as_host(void)
{
    X509 *cert = fixture_cert("RA", fixture_key(2), NULL, NULL, false, KU_DIGITAL_SIGNATURE, p);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:ra.test");
    X509_STORE *store;

    FIXTURE_MUST(san && X509_add_ext(cert, san, -1));
    X509_EXTENSION_free(san);
    fixture_resign(cert, fixture_key(2));
    spew_pem("ra.pem", cert, NULL);
    cmp_room_sign(room.responder, fixture_key(3));
    store = OSSL_CMP_CTX_get0_trustedStore(OSSL_CMP_SRV_CTX_get0_cmp_ctx(room.ca.engine));
    FIXTURE_MUST(X509_STORE_add_cert(store, cert) == 1);
}

X509 *cmp_room_sign_below(void)
{
    X509 *above =
        fixture_cert("Intermediate", fixture_key(2), room.root, fixture_key(1), true, CA_USAGE, p);
    X509 *signer = fixture_cert("below", fixture_key(3), above, fixture_key(2), false,
                                KU_DIGITAL_SIGNATURE, p);
    X509_EXTENSION *usage =
        X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "1.3.6.1.5.5.7.3.27");
    STACK_OF(X509) *sent = scep_borrowed_stack(p);

    FIXTURE_MUST(usage && X509_add_ext(signer, usage, -1) && sk_X509_push(sent, above));
    X509_EXTENSION_free(usage);
    fixture_resign(signer, fixture_key(2));
    cmp_room_sign(signer, fixture_key(3));
    FIXTURE_MUST(
        OSSL_CMP_CTX_set1_extraCertsOut(OSSL_CMP_SRV_CTX_get0_cmp_ctx(room.ca.engine), sent));
    return above;
}

connector *cmp_room_open(void)
{
    connector *c;

    FIXTURE_MUST(!connector_open(&c, &room.authority, p));
    return c;
}

const scep_err *cmp_room_keep(void *baton, const char *cookie, apr_pool_t *pool)
{
    room.kept = apr_pstrdup(p, cookie);
    return baton ? scep_fail(p, UNAVAILABLE, "the disk is full") : NULL;
}

/* Each time by another connector, as if scep-ca had begun anew. */
const scep_err *cmp_room_submit(connector_answer *out, const char *cookie, bool lost)
{
    const bool hangs = room.ca.http < 0;
    connector *c = cmp_room_open();
    const connector_ask ask = { .template = &cmp_room_template,
                                .csr = room.csr,
                                .id = "0123456789ABCDEF",
                                .cookie = cookie,
                                .lost = lost,
                                .keep = cmp_room_keep,
                                .until = deadline_in(apr_time_from_sec(hangs ? 3 : 20)) };

    *out = (connector_answer){ .outcome = CONNECTOR_DENIED };
    return c->submit(out, c, &ask, p);
}

/* The server's name stands in its certificate as RFC 6125 wants it. */
static X509 *tls_cert(void)
{
    X509 *cert = cert_for("cmp.test", 3, NULL);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");

    FIXTURE_MUST(san && X509_add_ext(cert, san, -1));
    X509_EXTENSION_free(san);
    fixture_resign(cert, fixture_key(1));
    return cert;
}

void cmp_room_secure(void)
{
    service_stop(room.server);
    room.server = service_start(answer, NULL, tls_cert(), fixture_key(3), room.root, p);
    room.authority.cmp.url =
        apr_psprintf(p, "https://127.0.0.1:%d/pkix/", service_port(room.server));
}
