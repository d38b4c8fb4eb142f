/* What scep-bench load prints. */
#include "bench.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* @param all sorted */
static double quantile_ms(const uint64_t *all, size_t count, double q)
{
    size_t at = (size_t)(q * (double)count);

    if (!count)
        return 0;
    return (double)all[at < count ? at : count - 1] / 1e6;
}

static void sort(uint64_t *all, size_t count)
{
    if (count)
        qsort(all, count, sizeof(*all), compare);
}

void load_report(load_result *r, const usage *before, const usage *after, double others,
                 double client)
{
    double httpd = after->httpd - before->httpd, ca = after->ca - before->ca;
    double us = r->good ? 1e6 / (double)r->good : 0;

    sort(r->latencies, r->good);
    sort(r->steady, r->steady_count);
    printf("good=%lu\nrefused=%lu\nwrong=%lu\nmissed=%lu\n", (unsigned long)r->good,
           (unsigned long)r->refused, (unsigned long)r->wrong, (unsigned long)r->missed);
    printf("seconds=%.3f\nrate=%.1f\n", r->seconds,
           r->seconds > 0 ? (double)r->good / r->seconds : 0);
    printf("p50_ms=%.3f\np99_ms=%.3f\nmax_ms=%.3f\nsteady_p99_ms=%.3f\n",
           quantile_ms(r->latencies, r->good, .5), quantile_ms(r->latencies, r->good, .99),
           quantile_ms(r->latencies, r->good, 1), quantile_ms(r->steady, r->steady_count, .99));
    printf("httpd_us=%.1f\nca_us=%.1f\ntogether_us=%.1f\nclient_us=%.1f\n", httpd * us, ca * us,
           (httpd + ca) * us, client * us);
    printf("peak_kib=%ld\nrss_kib=%ld\npss_kib=%ld\nprocesses=%d\n", after->peak, after->rss,
           after->pss, after->processes);
    printf("others_seconds=%.2f\n", others - httpd - ca - client);
}
