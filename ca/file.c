/* Files that are read whole. */
#include "file.h"

#include "own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MOST (1 << 20)

static const scep_err *read_whole(scep_bytes *out, mode_t *mode, const char *path, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    unsigned char *text = NULL;
    ssize_t n = -1;
    struct stat st;

    if (fd < 0)
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MOST) {
        text = scep_secret(p, (size_t)st.st_size);
        n = read(fd, text, (size_t)st.st_size);
    }
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n < 0)
        return scep_fail(p, CONFIG, "%s: not a file of at most %d bytes that can be read", path,
                         FILE_MOST);
    *mode = st.st_mode;
    *out = (scep_bytes){ text, (size_t)n };
    return NULL;
}

const scep_err *file_read(scep_bytes *out, const char *path, apr_pool_t *p)
{
    mode_t mode;

    return read_whole(out, &mode, path, p);
}

const scep_err *file_read_private(scep_bytes *out, const char *path, apr_pool_t *p)
{
    mode_t mode;

    SCEP_TRY(read_whole(out, &mode, path, p));
    if (mode & (S_IRWXG | S_IRWXO))
        return scep_fail(p, CONFIG, "%s: group or others may read this secret: chmod 600 it", path);
    return NULL;
}

const scep_err *file_secret(scep_bytes *out, const char *path, size_t least, size_t most,
                            apr_pool_t *p)
{
    unsigned char *text;
    scep_bytes all;

    SCEP_TRY(file_read_private(&all, path, p));
    while (all.len && (all.data[all.len - 1] == '\n' || all.data[all.len - 1] == '\r'))
        all.len--;
    text = scep_secret(p, all.len);
    if (all.len)
        memcpy(text, all.data, all.len);
    *out = (scep_bytes){ text, all.len };
    if (out->len < least || out->len > most)
        return scep_fail(p, CONFIG, "%s: %lu to %lu bytes are accepted as a secret", path,
                         (unsigned long)least, (unsigned long)most);
    return NULL;
}
