/* What the suites about judgement share: tables whose rows are a request and what is said of it. */
#ifndef POLICY_SUITE_H
#define POLICY_SUITE_H

#include "policy.h"
#include "suite.h"

#include <string.h>

/* Of each suite: judge that row of its table; its name, NULL after the last one. */
static void judge(int i);
static const char *name_of(int i);

/* @param granted the outcome where code is SCEP_OK; says NULL: whatever */
static void assert_judged(policy_verdict v, scep_code code, const char *says,
                          policy_outcome granted)
{
    ck_assert_msg(v.code == code, "%s: %s instead of %s: %s", row,
                  scep_code_describe((int)v.code)->name, scep_code_describe((int)code)->name,
                  v.reason);
    ck_assert_msg(v.outcome == (code == SCEP_OK ? granted : POLICY_DENY), "%s: outcome", row);
    ck_assert_msg(!says || strstr(v.reason, says), "%s: \"%s\" in: %s", row, says, v.reason);
    if (v.outcome == POLICY_DENY)
        ck_assert_msg(scep_code_describe((int)v.code)->fail_info >= 0, "%s: no failInfo", row);
}

/* The rows that cite @a id; there has to be one. */
static void judge_all(const char *id)
{
    int n = 0;

    for (int i = 0; name_of(i); i++) {
        if (!strstr(name_of(i), id))
            continue;
        judge(i);
        n++;
    }
    ck_assert_msg(n > 0, "no row cites %s", id);
}

#endif
