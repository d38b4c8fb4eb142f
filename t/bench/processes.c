/* What the server's processes have used, from /proc and their CPU clocks. */
#include "bench.h"

#include <apr_strings.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct process {
    long pid, parent;
    bool ours, ca;
    double ended; /* CPU seconds of its children that ended; these come in ticks */
} process;

static double ticks(void)
{
    return (double)sysconf(_SC_CLK_TCK);
}

/* @return false: it is gone */
static bool read_process(process *out, const char *pid)
{
    char path[300], line[1024], *rest;
    unsigned long user, system;
    size_t len;
    FILE *f;

    (void)apr_snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    f = fopen(path, "r");
    if (!f)
        return false;
    len = fread(line, 1, sizeof(line) - 1, f);
    (void)fclose(f);
    line[len] = '\0';
    rest = strrchr(line, ')'); /* a program's name may hold anything */
    if (!rest || sscanf(rest + 2, "%*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lu %lu",
                        &out->parent, &user, &system) != 3)
        return false;
    out->pid = atol(pid);
    out->ca = strstr(line, "(scep-ca") != NULL;
    out->ours = false;
    out->ended = (double)(user + system) / ticks();
    return true;
}

static apr_array_header_t *all_processes(apr_pool_t *p)
{
    apr_array_header_t *all = apr_array_make(p, 256, sizeof(process));
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    process one;

    if (!dir)
        die("/proc", "cannot be read");
    while ((entry = readdir(dir))) {
        if (isdigit((unsigned char)entry->d_name[0]) && read_process(&one, entry->d_name))
            APR_ARRAY_PUSH(all, process) = one;
    }
    (void)closedir(dir);
    return all;
}

/* It is one of ours where its parent is; what scep-ca starts is scep-ca's. */
static bool adopt(process *one, const apr_array_header_t *all)
{
    for (int i = 0; i < all->nelts; i++) {
        const process *other = &APR_ARRAY_IDX(all, i, process);

        if (other->ours && other->pid == one->parent) {
            one->ours = true;
            one->ca |= other->ca;
            return true;
        }
    }
    return false;
}

static apr_array_header_t *family(long head, apr_pool_t *p)
{
    apr_array_header_t *all = all_processes(p);
    bool more = true;

    for (int i = 0; i < all->nelts; i++)
        APR_ARRAY_IDX(all, i, process).ours = APR_ARRAY_IDX(all, i, process).pid == head;
    while (more) {
        more = false;
        for (int i = 0; i < all->nelts; i++) {
            process *one = &APR_ARRAY_IDX(all, i, process);

            more |= !one->ours && adopt(one, all);
        }
    }
    return all;
}

void usage_reset(long httpd, apr_pool_t *p)
{
    apr_array_header_t *all = family(httpd, p);

    for (int i = 0; i < all->nelts; i++) {
        const process *one = &APR_ARRAY_IDX(all, i, process);
        int fd = -1;

        if (one->ours)
            fd = open(apr_psprintf(p, "/proc/%ld/clear_refs", one->pid), O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            /* needs the right to it: without, the peak is that since the process was started */
            ssize_t written = write(fd, "5", 1);

            (void)written;
            (void)close(fd);
        }
    }
}

static long kib_of(long pid, const char *file, const char *name, apr_pool_t *p)
{
    FILE *f = fopen(apr_psprintf(p, "/proc/%ld/%s", pid, file), "r");
    char line[256];
    long value = 0;

    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name));
    }
    (void)fclose(f);
    return value;
}

/* To the nanosecond, with the threads that ended. */
static double cpu_of(long pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

usage usage_of(long httpd, apr_pool_t *p)
{
    apr_array_header_t *all = family(httpd, p);
    usage sum = { 0 };

    for (int i = 0; i < all->nelts; i++) {
        const process *one = &APR_ARRAY_IDX(all, i, process);

        if (!one->ours)
            continue;
        *(one->ca ? &sum.ca : &sum.httpd) += cpu_of(one->pid) + one->ended;
        sum.peak += kib_of(one->pid, "status", "VmHWM:", p);
        sum.rss += kib_of(one->pid, "status", "VmRSS:", p);
        sum.pss += kib_of(one->pid, "smaps_rollup", "Pss:", p);
        sum.processes++;
    }
    return sum;
}

double usage_machine(void)
{
    unsigned long long user = 0, nice = 0, system = 0, idle, wait, irq = 0, soft = 0, steal = 0;
    FILE *f = fopen("/proc/stat", "r");
    int read = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
                          &idle, &wait, &irq, &soft, &steal)
                 : 0;

    if (f)
        (void)fclose(f);
    return read == 8 ? (double)(user + nice + system + irq + soft + steal) / ticks() : 0;
}
