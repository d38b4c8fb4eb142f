/* What scep-bench load prints. */
#include "bench.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double quantile_ms(const load_result *r, double q)
{
    size_t at = (size_t)(q * (double)r->good);

    if (!r->good)
        return 0;
    return (double)r->latencies[at < r->good ? at : r->good - 1] / 1e6;
}

void load_report(load_result *r, const usage *before, const usage *after, double others,
                 double client)
{
    double httpd = after->httpd - before->httpd, ca = after->ca - before->ca;
    double us = r->good ? 1e6 / (double)r->good : 0;

    if (r->good)
        qsort(r->latencies, r->good, sizeof(*r->latencies), compare);
    printf("good=%lu\nrefused=%lu\nwrong=%lu\nmissed=%lu\n", (unsigned long)r->good,
           (unsigned long)r->refused, (unsigned long)r->wrong, (unsigned long)r->missed);
    printf("seconds=%.3f\nrate=%.1f\n", r->seconds,
           r->seconds > 0 ? (double)r->good / r->seconds : 0);
    printf("p50_ms=%.3f\np99_ms=%.3f\nmax_ms=%.3f\n", quantile_ms(r, .5), quantile_ms(r, .99),
           quantile_ms(r, 1));
    printf("httpd_us=%.1f\nca_us=%.1f\ntogether_us=%.1f\nclient_us=%.1f\n", httpd * us, ca * us,
           (httpd + ca) * us, client * us);
    printf("peak_kib=%ld\nrss_kib=%ld\npss_kib=%ld\nprocesses=%d\n", after->peak, after->rss,
           after->pss, after->processes);
    printf("others_seconds=%.2f\n", others - httpd - ca - client);
}
