/* Seeds of security descriptors. Before each stands a SID of the user, with its length. */
#include "make-seeds.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

#define ALICE "\1\2\0\0\0\0\0\5\x15\0\0\0\x50\4\0\0"
#define EVERYONE "\1\1\0\0\0\0\0\1\0\0\0\0"
#define ENROLL "\x68\xc9\x10\x0e\xfb\x78\xd2\x11\x90\xd4\x00\xc0\x4f\x79\xdc\x55"
#define HEADER(control) "\1\0" control "\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0"
#define PRESENT "\4\x80"
#define LIST(size, entries) "\4\0" size "\0" entries "\0\0\0"
#define ALLOW_OBJECT "\5\0\x2c\0\0\1\0\0\1\0\0\0" ENROLL ALICE /* 44 bytes */
#define DENY_OBJECT "\6\0\x2c\0\0\1\0\0\1\0\0\0" ENROLL ALICE
#define ALLOW "\0\0\x18\0\xff\1\x0f\0" ALICE                         /* 24 */
#define DENY_EVERYONE "\1\0\x14\0\xff\1\x0f\0" EVERYONE              /* 20 */
#define CONDITION "\x0b\0\x30\0\0\1\0\0\1\0\0\0" ENROLL ALICE "artx" /* 48 */
#define AUDIT "\2\xc0\x14\0\xff\1\x0f\0" EVERYONE
#define NO_TYPE "\5\0\x1c\0\0\1\0\0\0\0\0\0" ALICE                 /* 28 */
#define TWO_TYPES "\5\0\x3c\0\0\1\0\0\3\0\0\0" ENROLL ENROLL ALICE /* 60 */
#define INHERIT "\5\x08\x2c\0\0\1\0\0\1\0\0\0" ENROLL ALICE

#define SEED(name, text)                                                      \
    {                                                                         \
        name,                                                                 \
        {                                                                     \
            (const unsigned char *)("\x10" ALICE text), 17 + sizeof(text) - 1 \
        }                                                                     \
    }

void make_directory_seeds(apr_pool_t *p)
{
    static const struct {
        const char *name;
        scep_bytes data;
    } seeds[] = {
        SEED("allow-object", HEADER(PRESENT) LIST("\x34", "\1") ALLOW_OBJECT),
        SEED("allow", HEADER(PRESENT) LIST("\x20", "\1") ALLOW),
        SEED("deny-first", HEADER(PRESENT) LIST("\x60", "\2") DENY_OBJECT ALLOW_OBJECT),
        SEED("deny-last", HEADER(PRESENT) LIST("\x48", "\2") ALLOW_OBJECT DENY_EVERYONE),
        SEED("condition", HEADER(PRESENT) LIST("\x38", "\1") CONDITION),
        SEED("audit", HEADER(PRESENT) LIST("\x34", "\2") AUDIT ALLOW),
        SEED("no-type", HEADER(PRESENT) LIST("\x24", "\1") NO_TYPE),
        SEED("two-types", HEADER(PRESENT) LIST("\x44", "\1") TWO_TYPES),
        SEED("inherit-only", HEADER(PRESENT) LIST("\x34", "\1") INHERIT),
        SEED("empty-list", HEADER(PRESENT) LIST("\x08", "\0")),
        SEED("no-list", "\1\0\4\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        SEED("not-sent", HEADER("\0\x80") LIST("\x34", "\1") ALLOW_OBJECT),
        SEED("not-one-piece", HEADER("\4\0") LIST("\x34", "\1") ALLOW_OBJECT),
        SEED("cut", HEADER(PRESENT) LIST("\x34", "\1") "\5\0\x2c\0\0\1\0\0\1\0\0\0\x68"),
        SEED("many", HEADER(PRESENT) LIST("\x34", "\xff") ALLOW_OBJECT),
        SEED("text", "S-1-5-21-1104"),
    };
    static const char text[] = "\x0dS-1-5-21-1104";

    for (int i = 0; i < COUNT(seeds); i++)
        put_seed("sd", seeds[i].name, seeds[i].data, p);
    put_seed("sd", "sid-text", scep_bytes_of(text), p);
    put_seed("sd", "nothing", scep_bytes_of(""), p);
}
