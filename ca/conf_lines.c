/* ca.conf as lines: a strict pass over the text before OpenSSL's lenient one reads the values. */
#include "conf_lines.h"

#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/conf.h>
#include <stdbool.h>
#include <string.h>

#define LARGEST (1024 * 1024)

static const scep_err *file_read(char **text, apr_size_t *len, const char *path, apr_pool_t *p)
{
    apr_file_t *file;
    apr_finfo_t info;
    char why[128];
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);

    if (rv == APR_SUCCESS)
        rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, file);
    if (rv != APR_SUCCESS)
        return scep_fail(p, CONFIG, "%s: %s%s", path, apr_strerror(rv, why, sizeof(why)),
                         APR_STATUS_IS_ENOENT(rv) ? "; 'scep-ca init --out FOLDER' makes a ca.conf"
                                                  : "");
    if (info.filetype != APR_REG || info.size > LARGEST)
        return scep_fail(p, CONFIG, "%s: not a file of at most %d bytes", path, LARGEST);
    *len = (apr_size_t)info.size;
    *text = apr_pcalloc(p, *len + 1);
    rv = apr_file_read_full(file, *text, *len, NULL);
    if (rv != APR_SUCCESS && rv != APR_EOF)
        return scep_fail(p, CONFIG, "%s: %s", path, apr_strerror(rv, why, sizeof(why)));
    if (apr_file_close(file) != APR_SUCCESS)
        return scep_fail(p, CONFIG, "%s: cannot be closed", path);
    return NULL;
}

static char *trim(char *text)
{
    char *end;

    while (apr_isspace(*text))
        text++;
    end = text + strlen(text);
    while (end > text && apr_isspace(end[-1]))
        end--;
    *end = '\0';
    return text;
}

/* Cut the comment off as OpenSSL does ('#' outside quotes), and refuse what it would act upon. */
static const scep_err *comment_cut(char *text, const char *path, int line, apr_pool_t *p)
{
    size_t len = strlen(text);
    char quote = '\0';

    /* Joined with the next line even inside a comment, so that one would vanish. */
    if (len && text[len - 1] == '\\')
        return conf_fail(p, path, line, "%s", "a line cannot be continued with a backslash");
    for (char *at = text; *at; at++) {
        if (!quote && *at == '#') {
            *at = '\0';
            return NULL;
        }
        if (*at == '\\' && at[1] != '\\')
            return conf_fail(p, path, line, "%s",
                             "a single backslash is not accepted, as OpenSSL's syntax eats it: "
                             "write it twice; paths are written with '/'");
        if (*at == '\\') {
            at++; /* of the two, OpenSSL keeps one */
            continue;
        }
        if (*at == '$')
            return conf_fail(p, path, line, "%s",
                             "'$' is not accepted, as OpenSSL's syntax takes it for a variable");
        if (quote ? *at == quote : (*at == '"' || *at == '\'' || *at == '`'))
            quote = quote ? '\0' : *at;
    }
    if (quote)
        return conf_fail(p, path, line, "a quote is opened with %c and not closed", quote);
    return NULL;
}

static const scep_err *section_begin(apr_array_header_t *sections, char *text, const char *path,
                                     int line, apr_pool_t *p)
{
    char *close = strchr(text, ']');
    conf_section *section;
    const char *title;

    if (!close || *trim(close + 1))
        return conf_fail(p, path, line, "%s", "a section is one [NAME] on a line of its own");
    *close = '\0';
    title = trim(text + 1);
    if (!*title)
        return conf_fail(p, path, line, "%s", "a section needs a name between its brackets");
    for (int i = 0; i < sections->nelts; i++) {
        section = &APR_ARRAY_IDX(sections, i, conf_section);
        if (!strcmp(section->title, title))
            return conf_fail(p, path, line, "section [%s] stands on line %d already", title,
                             section->line);
    }
    section = apr_array_push(sections);
    section->title = title;
    section->line = line;
    section->entries = apr_array_make(p, 8, sizeof(conf_entry));
    return NULL;
}

static const scep_err *entry_add(conf_section *section, char *text, const char *path, int line,
                                 apr_pool_t *p)
{
    char *equals = strchr(text, '=');
    conf_entry *entry;
    const char *key;

    if (!equals)
        return conf_fail(p, path, line, "neither [SECTION] nor KEY = VALUE: \"%s\"",
                         scep_printable(p, scep_bytes_of(text), 60));
    *equals = '\0';
    key = trim(text);
    for (const char *at = key; *at; at++)
        if (!apr_isalnum(*at) && *at != '_')
            return conf_fail(p, path, line,
                             "\"%s\" is no key; letters, digits and '_' are accepted",
                             scep_printable(p, scep_bytes_of(key), 60));
    if (!*key)
        return conf_fail(p, path, line, "%s", "a key is missing before '='");
    for (int i = 0; i < section->entries->nelts; i++) {
        entry = &APR_ARRAY_IDX(section->entries, i, conf_entry);
        if (!strcmp(entry->key, key))
            return conf_fail(p, path, line, "%s is set on line %d already; one of them is accepted",
                             key, entry->line);
    }
    entry = apr_array_push(section->entries);
    entry->key = key;
    entry->value = "";
    entry->line = line;
    return NULL;
}

static const scep_err *line_read(apr_array_header_t *sections, char *text, const char *path,
                                 int line, apr_pool_t *p)
{
    SCEP_TRY(comment_cut(text, path, line, p));
    text = trim(text);
    if (!*text)
        return NULL;
    if (*text == '.')
        return conf_fail(p, path, line, "%s", ".include and .pragma are not accepted");
    if (*text == '[')
        return section_begin(sections, text, path, line, p);
    return entry_add(&APR_ARRAY_IDX(sections, sections->nelts - 1, conf_section), text, path, line,
                     p);
}

static apr_status_t conf_drop(void *nconf)
{
    NCONF_free(nconf);
    return APR_SUCCESS;
}

/* The values of the lines found, read by OpenSSL from the same bytes. */
static const scep_err *values_read(apr_array_header_t *sections, const char *text, apr_size_t len,
                                   const char *path, apr_pool_t *p)
{
    CONF *nconf = NCONF_new(NULL);
    BIO *bio = scep_BIO(p, BIO_new_mem_buf(text, (int)len));
    long line = 0;

    if (!nconf || !bio)
        return scep_fail(p, CONFIG, "%s: out of memory", path);
    apr_pool_cleanup_register(p, nconf, conf_drop, apr_pool_cleanup_null);
    if (NCONF_load_bio(nconf, bio, &line) <= 0)
        return conf_fail(p, path, (int)line, "%s", "not in OpenSSL's configuration syntax");
    for (int i = 0; i < sections->nelts; i++) {
        conf_section *section = &APR_ARRAY_IDX(sections, i, conf_section);
        const char *title = *section->title ? section->title : "default";

        for (int j = 0; j < section->entries->nelts; j++) {
            conf_entry *entry = &APR_ARRAY_IDX(section->entries, j, conf_entry);

            entry->value = NCONF_get_string(nconf, title, entry->key);
            if (!entry->value)
                return conf_fail(p, path, entry->line, "the value of %s cannot be read",
                                 entry->key);
        }
    }
    return NULL;
}

const scep_err *conf_lines_read(apr_array_header_t **sections, const char *path, apr_pool_t *p)
{
    conf_section *top;
    char *text, *copy;
    apr_size_t len;
    int line = 0;

    SCEP_TRY(file_read(&text, &len, path, p));
    if (strlen(text) != len)
        return scep_fail(p, CONFIG, "%s: holds a NUL byte, so it is no text", path);
    *sections = apr_array_make(p, 8, sizeof(conf_section));
    top = apr_array_push(*sections);
    top->title = "";
    top->line = 1;
    top->entries = apr_array_make(p, 8, sizeof(conf_entry));
    copy = apr_pstrmemdup(p, text, len);
    while (copy) {
        char *next = strchr(copy, '\n');

        if (next)
            *next++ = '\0';
        line++;
        len = strlen(copy);
        if (len && copy[len - 1] == '\r')
            copy[len - 1] = '\0';
        SCEP_TRY(line_read(*sections, copy, path, line, p));
        copy = next;
    }
    return values_read(*sections, text, strlen(text), path, p);
}
