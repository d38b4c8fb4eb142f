/*
 * How an answer is sent: its headers, and the pages' HTML in the encoding that clients expect.
 */
#include "mod_scep_places.h"

#include <apr_strings.h>
#include <string.h>

#define RETRY_AFTER 10 /* seconds */

void scep_no_store(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
}

int scep_try_later(request_rec *r)
{
    scep_no_store(r);
    scep_retry_after(r, RETRY_AFTER);
    return HTTP_SERVICE_UNAVAILABLE;
}

void scep_retry_after(request_rec *r, unsigned int seconds)
{
    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%u", seconds ? seconds : 1));
}

int scep_send(request_rec *r, int status, const char *content_type, scep_bytes body)
{
    /* AddDefaultCharset works on r->content_type alone. */
    ap_set_content_type(r, NULL);
    apr_table_setn(r->headers_out, "Content-Type", content_type);
    ap_set_content_length(r, (apr_off_t)body.len);
    r->status = status;
    /* whoever reads slowly keeps nobody waiting */
    scep_place_give(r);
    /* A failed write means that the client went away; nobody is left to be told. */
    if (!r->header_only)
        (void)ap_rwrite(body.data, (int)body.len, r);
    return OK;
}

scep_bytes scep_joined(apr_pool_t *p, const char *const *parts)
{
    size_t len = 0, at = 0, i;
    unsigned char *text;

    for (i = 0; parts[i]; i++)
        len += strlen(parts[i]);
    text = scep_secret(p, len);
    for (i = 0; parts[i]; i++) {
        memcpy(text + at, parts[i], strlen(parts[i]));
        at += strlen(parts[i]);
    }
    return (scep_bytes){ text, len };
}

/* ---- pages ---- */

/* The charset is what NDES's page says of itself, whatever it is encoded in. The first digit of
 * the page is there, the next ones are in the thumbprint and in the password: that is how one
 * client counts. */
#define TITLE "Network Device Enrollment Service"
#define HEAD                                                                      \
    "<HTML>\r\n<Head>\r\n"                                                        \
    "<Meta HTTP-Equiv=\"Content-Type\" Content=\"text/html; charset=UTF-8\">\r\n" \
    "<Title>" TITLE "</Title>\r\n</Head>\r\n"                                     \
    "<Body>\r\n<P ID=locPageTitle> <B> " TITLE " </B>\r\n"
#define FOOT                                                                      \
    "\r\n<P> For more information see <A "                                        \
    "HREF=\"http://go.microsoft.com/fwlink/?LinkId=67852\">Using Network Device " \
    "Enrollment Service </A>\r\n</Body>\r\n</HTML>\r\n"

/* ASCII as UTF-16LE */
static scep_bytes widened(apr_pool_t *p, scep_bytes ascii, bool mark)
{
    size_t begin = mark ? 2 : 0, i;
    unsigned char *wide = scep_secret(p, begin + ascii.len * 2);

    if (mark) {
        wide[0] = 0xff;
        wide[1] = 0xfe;
    }
    for (i = 0; i < ascii.len; i++)
        wide[begin + i * 2] = ascii.data[i];
    return (scep_bytes){ wide, begin + ascii.len * 2 };
}

int scep_send_page(request_rec *r, const char *const *parts)
{
    const char *encoding = scep_settings_text(scep_request_settings(r), SCEP_SET_PageEncoding);
    apr_array_header_t *all = apr_array_make(r->pool, 16, sizeof(const char *));
    scep_bytes page;
    size_t i;

    APR_ARRAY_PUSH(all, const char *) = HEAD;
    for (i = 0; parts[i]; i++)
        APR_ARRAY_PUSH(all, const char *) = parts[i];
    APR_ARRAY_PUSH(all, const char *) = FOOT;
    APR_ARRAY_PUSH(all, const char *) = NULL;
    page = scep_joined(r->pool, (const char *const *)all->elts);
    if (strcmp(encoding, "utf-8") != 0)
        page = widened(r->pool, page, !strcmp(encoding, "utf-16le+bom"));
    return scep_send(r, HTTP_OK, "text/html", page);
}

const char *scep_html(request_rec *r, const char *text)
{
    return ap_escape_html2(r->pool, text, 1);
}

/* ---- thumbprints ---- */

const char *scep_thumbprint(apr_pool_t *p, X509 *cert, const EVP_MD *md, unsigned int group)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    const char *out = "";
    unsigned int len, i;

    if (X509_digest(cert, md, digest, &len) != 1)
        return NULL;
    for (i = 0; i < len; i += group) {
        scep_bytes part = { digest + i, group < len - i ? group : len - i };

        out = apr_pstrcat(p, out, i ? " " : "", scep_hex(p, part), NULL);
    }
    return out;
}

const char *scep_usual_thumbprint(request_rec *r, X509 *cert, unsigned int group)
{
    const char *name = scep_settings_text(scep_request_settings(r), SCEP_SET_Thumbprint);
    const EVP_MD *md = !strcmp(name, "sha256") ? EVP_sha256()
                       : !strcmp(name, "sha1") ? EVP_sha1()
                                               : EVP_md5();

    return scep_thumbprint(r->pool, cert, md, group);
}
