/* What the values of ca.conf may look like. */
#ifndef CA_CONF_VALUES_H
#define CA_CONF_VALUES_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct conf_reader {
    const char *path;   /* of ca.conf */
    const char *folder; /* where relative paths start */
    int line;           /* of the value in hand */
    apr_pool_t *p;      /* of the results */
} conf_reader;

/* One key of one kind of section. */
typedef struct conf_rule conf_rule;

/** Check @a value and put it into @a member. @return NULL, or CONFIG with the line */
typedef const scep_err *(*conf_parse_fn)(void *member, const conf_reader *r, const conf_rule *rule,
                                         const char *value);
struct conf_rule {
    const char *key;
    conf_parse_fn parse;
    size_t member; /* offset in the structure of the section */
    bool required;
    long low, high;    /* of a number */
    const char *words; /* of a choice: "a|b|c" */
    const char *says;  /* what to write where it is required and missing; NULL: that says itself */
};

/* Rules of a structure's member that has the key's name. */
#define CONF_PLACE(type, name) .key = #name, .member = offsetof(type, name)
#define CONF_MUST(type, name, kind)                                          \
    {                                                                        \
        CONF_PLACE(type, name), .parse = conf_parse_##kind, .required = true \
    }
#define CONF_MAY(type, name, kind)                         \
    {                                                      \
        CONF_PLACE(type, name), .parse = conf_parse_##kind \
    }
#define CONF_NUMBER(type, name, least, most)                                               \
    {                                                                                      \
        CONF_PLACE(type, name), .parse = conf_parse_number, .low = (least), .high = (most) \
    }

#define CONF_PARSE(kind)                                                            \
    SCEP_MUST const scep_err *conf_parse_##kind(void *member, const conf_reader *r, \
                                                const conf_rule *rule, const char *value)

CONF_PARSE(path);          /* const char *: a file, made absolute */
CONF_PARSE(secret);        /* the same, after "file:" */
CONF_PARSE(key);           /* const char *: the same, or a PKCS#11 URI as key.h wants it */
CONF_PARSE(store);         /* const char *: sqlite3:PATH, made absolute, or pgsql:PARAMETERS */
CONF_PARSE(word);          /* const char *: a name */
CONF_PARSE(text);          /* const char *: 1 to 255 bytes of UTF-8 without control characters */
CONF_PARSE(address);       /* const char *: an http:// or https:// URL */
CONF_PARSE(number);        /* int */
CONF_PARSE(flag);          /* bool: yes, no */
CONF_PARSE(choice);        /* const char *: one of the rule's words */
CONF_PARSE(url);           /* const char * */
CONF_PARSE(foreign);       /* const char *: "none", the path after "file:", or an http URL */
CONF_PARSE(list);          /* apr_array_header_t * of const char * */
CONF_PARSE(members);       /* the same, of users: none begins with '@' */
CONF_PARSE(configuration); /* const char *: "HOST\\NAME" */
CONF_PARSE(key_usage);     /* uint32_t: KU_... bits */
CONF_PARSE(purposes);      /* const char *: extended key usages, commas between */

/** 1 to 64 letters, digits, '-', '_', '.'? */
bool conf_is_name(const char *text);

#endif
