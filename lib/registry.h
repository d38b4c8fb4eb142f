/*
 * A registry export of NDES (.reg), and the settings that its values are.
 *
 * NDES keeps the templates as values of HKLM\SOFTWARE\Microsoft\Cryptography\MSCEP itself, and
 * every other setting as a value of a subkey of the same name. What has a setting of that name here
 * is carried over; each other value is named, with the reason.
 */
#ifndef SCEP_REGISTRY_H
#define SCEP_REGISTRY_H

#include "bytes.h"
#include "settings.h"

#include <apr_tables.h>

/** Largest file that is read. A whole MSCEP key has about two kilobytes. */
#define SCEP_REGISTRY_MAX 1048576
/** Most values of such a file; MSCEP has about twenty. */
#define SCEP_REGISTRY_VALUES 4096

typedef enum scep_registry_type {
    SCEP_REGISTRY_TEXT,   /* REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ with ", " between its texts */
    SCEP_REGISTRY_NUMBER, /* REG_DWORD, REG_QWORD; the text is decimal */
    SCEP_REGISTRY_BINARY  /* everything else; the text is empty */
} scep_registry_type;

/* A value of the file. */
typedef struct scep_registry_value {
    const char *key;  /* below MSCEP, "" for its own values; of other keys: the whole path */
    bool mscep;       /* it stands in MSCEP or below */
    const char *name; /* "": the default value of the key */
    scep_registry_type type;
    const char *text; /* UTF-8 */
    int line;         /* where it begins */
} scep_registry_value;

/* A value that has a setting. */
typedef struct scep_registry_setting {
    scep_setting which;
    const char *value; /* in canonical form */
    int line;
} scep_registry_setting;

/* A value that is not carried over: it has no setting, or is none that its setting accepts. */
typedef struct scep_registry_left {
    const char *name; /* KEY\NAME */
    const char *why;  /* of a fatal one: what its setting accepts */
    bool fatal;       /* its setting does not accept it: scep_registry_check() says so */
    int line;
} scep_registry_left;

typedef struct scep_registry {
    apr_array_header_t *values; /* of scep_registry_value: what the file leaves behind, once each */
    apr_array_header_t *settings; /* of scep_registry_setting, once each */
    apr_array_header_t *left;     /* of scep_registry_left */
} scep_registry;

/**
 * Read a file as regedit and `reg export` write it: UTF-16LE with its byte order mark, or UTF-8;
 * version 5 or REGEDIT4. A value that stands there again replaces the former one, and a deletion
 * ("NAME"=- and [-KEY]) takes it back, as in an import.
 * @param path how the file is called in errors
 * REGEDIT4 does not say its code page: letters outside ASCII are taken where they are UTF-8.
 * @return NULL, or CONFIG: "PATH:LINE: what was expected", also where there is no MSCEP key at all.
 *         A value out of its setting's range is no error here but a fatal entry of out->left
 */
SCEP_API SCEP_MUST const scep_err *scep_registry_read(scep_registry *out, scep_bytes file,
                                                      const char *path, apr_pool_t *p);

/**
 * The same of a file.
 * @return also CONFIG: "PATH: …" where it cannot be read or is larger than SCEP_REGISTRY_MAX
 */
SCEP_API SCEP_MUST const scep_err *scep_registry_load(scep_registry *out, const char *path,
                                                      apr_pool_t *p);

/**
 * Whoever goes on with a file's settings asks for this first: a limit that goes unheeded is a rule
 * that the administrator believes in.
 * @return NULL, or CONFIG: "PATH:LINE: ..." of the first fatal entry, and how many more there are
 */
SCEP_API SCEP_MUST const scep_err *scep_registry_check(const scep_registry *registry,
                                                       const char *path, apr_pool_t *p);

#endif
