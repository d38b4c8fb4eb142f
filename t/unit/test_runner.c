/* The runner: whatever a program does, what became of it is told, in time, and nothing is left. */
#include "suite.h"

#include "runner.h"
#include "runner_main.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* A user whose runner says why it cannot start, and does not end. */
#define HANGS "hangs"

static runner *r;

static void begin_runner(void)
{
    ck_assert(!runner_start(&r, "nobody", p));
}

static apr_array_header_t *words_of(const char *const *texts)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(scep_wire_word));

    for (; texts && *texts; texts++)
        ((scep_wire_word *)apr_array_push(list))->text = *texts;
    return list;
}

/* Run a line of shell. */
static scep_wire_ran sh(const char *line, scep_bytes input, uint32_t ms)
{
    const char *const arguments[] = { "-c", line, NULL };
    const char *const environment[] = { "FACT=a fact", NULL };
    const scep_wire_run run = { .program = "/bin/sh",
                                .arguments = words_of(arguments),
                                .environment = words_of(environment),
                                .input = input,
                                .ms = ms };
    scep_wire_ran ran = { 0 };

    assert_ok(runner_run(&ran, r, &run, p));
    return ran;
}

static const char *output_of(const scep_wire_ran *ran)
{
    return apr_pstrmemdup(p, (const char *)ran->output.data, ran->output.len);
}

static const scep_bytes nothing;

START_TEST(what_becomes_of_a_program_is_told)
{
    static const struct {
        const char *line;
        uint32_t outcome, number;
        const char *output, *complaint;
    } rows[] = {
        { "exit 0", SCEP_RAN_EXITED, 0, "", "" },
        { "exit 7", SCEP_RAN_EXITED, 7, "", "" },
        { "echo out; echo err >&2; echo more >&2; exit 1", SCEP_RAN_EXITED, 1, "out\n", "err" },
        { "printf 'a\\033b\\n' >&2", SCEP_RAN_EXITED, 0, "", "a\\x1Bb" },
        { "printf %500s x >&2", SCEP_RAN_EXITED, 0, "", NULL },
        { "kill -TERM $$; sleep 9", SCEP_RAN_SIGNALLED, SIGTERM, "", "" },
        { "kill -SEGV $$; sleep 9", SCEP_RAN_SIGNALLED, SIGSEGV, "", "" },
        { "kill -STOP $$; sleep 9", SCEP_RAN_LATE, 0, "", "" },
        { "echo half; sleep 30", SCEP_RAN_LATE, 0, "", "" },
        { "trap '' TERM INT HUP; sleep 30; sleep 30", SCEP_RAN_LATE, 0, "", "" },
        { "exec 1>&- 2>&-; sleep 30", SCEP_RAN_LATE, 0, "", "" },
        { "yes", SCEP_RAN_LOUD, 0, "", "" },
        { "sleep 30 & echo $FACT", SCEP_RAN_EXITED, 0, "a fact\n", "" },
        { "(trap '' TERM; yes >&2) & sleep 1; echo done", SCEP_RAN_EXITED, 0, "done\n", "y" },
    };
    scep_wire_ran ran;

    row = rows[_i].line;
    ran = sh(row, nothing, rows[_i].outcome == SCEP_RAN_LATE ? 700 : 10000);
    ck_assert_msg(ran.outcome == rows[_i].outcome, "%s: outcome %u", row, ran.outcome);
    ck_assert_msg(ran.number == rows[_i].number, "%s: number %u", row, ran.number);
    ck_assert_str_eq(output_of(&ran), rows[_i].output);
    if (rows[_i].complaint)
        ck_assert_str_eq(ran.complaint, rows[_i].complaint);
    else
        ck_assert_uint_lt(strlen(ran.complaint), 256);
}
END_TEST

START_TEST(a_program_that_is_not_there_is_told)
{
    const scep_wire_run run = { .program = "/no/such/program", .ms = 500 };
    scep_wire_ran ran;

    assert_ok(runner_run(&ran, r, &run, p));
    ck_assert_uint_eq(ran.outcome, SCEP_RAN_NOT);
    ck_assert_ptr_nonnull(strstr(runner_describe(&ran, p), "No such file"));
}
END_TEST

START_TEST(input_is_given_whole_and_need_not_be_read)
{
    scep_bytes big = { scep_secret(p, 300000), 300000 };
    scep_wire_ran ran = sh("wc -c", big, 5000);

    ck_assert_int_eq(atoi(output_of(&ran)), 300000);
    ran = sh("exit 0", big, 5000);
    ck_assert_uint_eq(ran.outcome, SCEP_RAN_EXITED);
    ran = sh("head -c 65536 /dev/zero", nothing, 5000);
    ck_assert_uint_eq(ran.output.len, RUNNER_OUTPUT_MOST);
    ran = sh("head -c 65537 /dev/zero", nothing, 5000);
    ck_assert_uint_eq(ran.outcome, SCEP_RAN_LOUD);
}
END_TEST

START_TEST(a_program_has_three_descriptors_and_another_user)
{
    /* ls opens the folder itself */
    scep_wire_ran ran = sh("exec ls /proc/self/fd", nothing, 5000);
    int open_here = open("/etc/passwd", O_RDONLY);

    ck_assert_int_ge(open_here, 0);
    ck_assert_str_eq(output_of(&ran), "0\n1\n2\n3\n");
    ran = sh("exec ls /proc/self/fd", nothing, 5000);
    ck_assert_str_eq(output_of(&ran), "0\n1\n2\n3\n");
    close(open_here);
    ran = sh("id -u; id -G | wc -w; pwd; env | grep -v _= | grep -v PWD | cut -d= -f1 | sort | tr "
             "'\\n' ' '",
             nothing, 5000);
    if (geteuid() == 0)
        ck_assert_ptr_null(strstr(output_of(&ran), "\n0\n"));
    if (geteuid() == 0)
        ck_assert(strncmp(output_of(&ran), "0\n", 2) != 0);
    ck_assert_ptr_nonnull(strstr(output_of(&ran), "/\nFACT PATH "));
}
END_TEST

START_TEST(a_program_has_sane_limits)
{
    static const struct rlimit many = { 20000, 20000 };
    scep_wire_ran ran;

    /* whatever this process may have */
    (void)setrlimit(RLIMIT_NOFILE, &many);
    begin_runner();
    ran = sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc", nothing, 5000);
    ck_assert_str_eq(output_of(&ran), "1024\n1024\n0\n0\n");
}
END_TEST

START_TEST(what_a_program_left_behind_is_killed)
{
    scep_wire_ran ran = sh("sleep 30 & echo $!", nothing, 5000);
    const char *stat = apr_psprintf(p, "/proc/%d/exe", atoi(output_of(&ran)));
    struct pollfd none = { -1, 0, 0 };
    int i;

    for (i = 0; i < 100 && access(stat, F_OK) == 0; i++)
        (void)poll(&none, 1, 20);
    ck_assert_int_lt(i, 100);
}
END_TEST

/* ---- kept ---- */

static runner_kept keep(const char *line)
{
    const char *const arguments[] = { "-c", line, NULL };
    const scep_wire_run run = { .program = "/bin/sh", .arguments = words_of(arguments) };
    runner_kept kept;

    assert_ok(runner_keep(&kept, r, &run, p));
    return kept;
}

START_TEST(a_kept_program_is_spoken_with)
{
    runner_kept kept = keep("while read -r a; do echo \"heard $a\"; done");
    struct pollfd pfd = { kept.talk, POLLIN, 0 };
    char text[64] = "";
    scep_wire_ran ran;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(send(kept.talk, "word\n", 5, MSG_NOSIGNAL), 5);
        ck_assert_int_eq(poll(&pfd, 1, 5000), 1);
        ck_assert_int_eq(recv(kept.talk, text, sizeof(text) - 1, 0), 11);
        ck_assert_str_eq(text, "heard word\n");
    }
    ck_assert(!runner_kept_ended(&ran, &kept, p));
    runner_let_go(&kept);
    ck_assert_int_eq(kept.talk, -1);
}
END_TEST

START_TEST(the_end_of_a_kept_program_is_told)
{
    runner_kept kept = keep("read -r a; echo oh >&2; kill -KILL $$");
    struct pollfd pfd = { kept.talk, POLLIN, 0 };
    scep_wire_ran ran;

    ck_assert_int_eq(send(kept.talk, "word\n", 5, MSG_NOSIGNAL), 5);
    ck_assert_int_eq(poll(&pfd, 1, 5000), 1);
    ck_assert(runner_kept_ended(&ran, &kept, p));
    ck_assert_str_eq(runner_describe(&ran, p), "was ended by signal 9: oh");
    runner_let_go(&kept);
}
END_TEST

/* @param kept a program that says its pid */
static void assert_dies_when_let_go(runner_kept kept)
{
    struct pollfd pfd = { kept.talk, POLLIN, 0 }, none = { -1, 0, 0 };
    char text[32] = "";
    const char *stat;
    int i;

    ck_assert_int_eq(poll(&pfd, 1, 5000), 1);
    ck_assert_int_gt(recv(kept.talk, text, sizeof(text) - 1, 0), 0);
    stat = apr_psprintf(p, "/proc/%d/fd", atoi(text));
    runner_let_go(&kept);
    for (i = 0; i < 100 && access(stat, F_OK) == 0; i++)
        (void)poll(&none, 1, 20);
    ck_assert_int_lt(i, 100);
}

START_TEST(a_kept_program_that_is_let_go_is_killed)
{
    assert_dies_when_let_go(keep("trap '' HUP TERM PIPE; echo $$; while :; do sleep 1; done"));
}
END_TEST

/* Into the group of the runner, say, which is not killed for it. */
START_TEST(a_program_that_leaves_its_group_is_killed)
{
    assert_dies_when_let_go(
        keep("exec perl -e 'setpgrp(0, getppid()) or die; $| = 1; print \"$$\\n\"; sleep 60'"));
}
END_TEST

START_TEST(a_kept_program_that_is_not_there_is_told)
{
    const scep_wire_run run = { .program = "/no/such/program" };
    runner_kept kept;
    const scep_err *err = runner_keep(&kept, r, &run, p);

    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "No such file"));
    ck_assert_int_eq(kept.talk, -1);
}
END_TEST

/* ---- the runner itself ---- */

START_TEST(rubbish_does_not_end_the_runner)
{
    char byte = 'x';
    scep_wire_ran ran;

    ck_assert_int_eq(send(runner_fd(r), &byte, 1, MSG_NOSIGNAL), 1);
    ck_assert_int_eq(send(runner_fd(r), "more of it", 10, MSG_NOSIGNAL), 10);
    ran = sh("exit 5", nothing, 5000);
    ck_assert_uint_eq(ran.number, 5);
}
END_TEST

/* So that what it was asked for may be asked for again. */
START_TEST(a_runner_with_no_room_says_that_it_started_nothing)
{
    scep_wire_ran ran = { 0 };
    const scep_wire_run run = { .program = "/bin/true", .ms = 5000 };
    runner_kept kept[200];
    const scep_err *err = NULL;
    int n = 0;

    while (n < 200 && !err) {
        const scep_wire_run cat = { .program = "/bin/cat" };

        err = runner_keep(&kept[n], r, &cat, p);
        n += !err;
    }
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_int_lt(n, 200);
    ck_assert_ptr_nonnull(strstr(err->detail, "cannot be started"));
    for (int i = 0; i < 20; i++) {
        ran.outcome = SCEP_RAN_EXITED;
        err = runner_run(&ran, r, &run, p); /* an error where it left before it was told what */
        ck_assert_uint_eq(ran.outcome, SCEP_RAN_NOT);
    }
    for (int i = 0; i < n; i++)
        runner_let_go(&kept[i]);
}
END_TEST

START_TEST(a_runner_that_is_gone_is_seen_and_runs_nothing)
{
    const scep_wire_run run = { .program = "/bin/true", .ms = 500 };
    struct pollfd pfd = { runner_fd(r), POLLIN, 0 };
    scep_wire_ran ran = sh("echo $PPID", nothing, 5000);
    const char *name;
    char text[32] = "";
    int fd;

    name = apr_psprintf(p, "/proc/%s", output_of(&ran));
    name = apr_psprintf(p, "%.*s/comm", (int)strcspn(name, "\n"), name);
    fd = open(name, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    close(fd);
    ck_assert_ptr_nonnull(strstr(text, "exe"));
    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    ck_assert_int_eq(kill((pid_t)atoi(output_of(&ran)), SIGKILL), 0);
    ck_assert_int_eq(poll(&pfd, 1, 5000), 1);
    assert_code(SCEP_UNAVAILABLE, runner_run(&ran, r, &run, p));
    ck_assert_uint_eq(ran.outcome, SCEP_RAN_NOT);
}
END_TEST

/* Until it has obeyed, it may do as if nothing had happened. */
static void halt(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
}

/* What a program can do to it: they share a user. */
START_TEST(a_runner_that_was_stopped_is_given_up_and_ends)
{
    const char *const stop[] = { "-c", "kill -STOP $PPID; sleep 60", NULL };
    const scep_wire_run run = { .program = "/bin/sh", .arguments = words_of(stop), .ms = 1000 };
    struct pollfd pfd = { runner_fd(r), POLLIN, 0 }, none = { -1, 0, 0 };
    scep_wire_ran ran = sh("echo $PPID", nothing, 5000);
    const pid_t pid = (pid_t)atoi(output_of(&ran));
    runner_kept kept;
    int i;

    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    if (_i == 0) {
        assert_code(SCEP_UNAVAILABLE, runner_run(&ran, r, &run, p));
        ck_assert_uint_eq(ran.outcome, 0); /* it was started, for all that is known */
    } else {
        halt(pid);
        assert_code(SCEP_UNAVAILABLE, runner_keep(&kept, r, &run, p));
    }
    ck_assert_int_eq(poll(&pfd, 1, 0), 1);
    for (i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        (void)poll(&none, 1, 20);
    ck_assert_int_lt(i, 100);
}
END_TEST

START_TEST(a_runner_that_reads_nothing_holds_nobody_up)
{
    const scep_wire_run run = { .program = "/bin/true", .ms = 500 };
    scep_wire_ran ran = sh("echo $PPID", nothing, 5000);
    pid_t pid = (pid_t)atoi(output_of(&ran));
    int i;

    halt(pid);
    for (i = 0; i < 100000; i++)
        if (send(runner_fd(r), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
            break;
    ck_assert_int_lt(i, 100000);
    assert_code(SCEP_UNAVAILABLE, runner_run(&ran, r, &run, p));
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
}
END_TEST

static void hear_alarm(int number)
{
    (void)number;
}

START_TEST(signals_do_not_disturb_the_start)
{
    const struct sigaction action = { .sa_handler = hear_alarm };
    const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
    const scep_err *err;
    runner *other;

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    err = runner_start(&other, "nobody", p);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_ok(err);
}
END_TEST

START_TEST(a_runner_that_hangs_at_its_start_is_not_waited_for)
{
    runner *other;
    const scep_err *err = runner_start(&other, HANGS, p);

    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "no answer from the directory"));
}
END_TEST

START_TEST(root_needs_a_user_to_become)
{
    runner *other;

    if (geteuid() != 0)
        return;
    assert_code(SCEP_CONFIG, runner_start(&other, "", p));
    assert_code(SCEP_CONFIG, runner_start(&other, "root", p));
    assert_code(SCEP_CONFIG, runner_start(&other, "no-such-user-here", p));
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_runner, NULL);
    tcase_add_loop_test(c, what_becomes_of_a_program_is_told, 0, 14);
    tcase_add_test(c, a_program_that_is_not_there_is_told);
    tcase_add_test(c, input_is_given_whole_and_need_not_be_read);
    tcase_add_test(c, a_program_has_three_descriptors_and_another_user);
    tcase_add_test(c, a_program_has_sane_limits);
    tcase_add_test(c, what_a_program_left_behind_is_killed);
    tcase_add_test(c, a_program_that_leaves_its_group_is_killed);
    tcase_add_test(c, a_kept_program_that_is_not_there_is_told);
    tcase_add_test(c, a_kept_program_is_spoken_with);
    tcase_add_test(c, the_end_of_a_kept_program_is_told);
    tcase_add_test(c, a_kept_program_that_is_let_go_is_killed);
    tcase_add_test(c, rubbish_does_not_end_the_runner);
    tcase_add_test(c, a_runner_with_no_room_says_that_it_started_nothing);
    tcase_add_test(c, a_runner_that_is_gone_is_seen_and_runs_nothing);
    tcase_add_loop_test(c, a_runner_that_was_stopped_is_given_up_and_ends, 0, 2);
    tcase_add_test(c, a_runner_that_reads_nothing_holds_nobody_up);
    tcase_add_test(c, signals_do_not_disturb_the_start);
    tcase_add_test(c, a_runner_that_hangs_at_its_start_is_not_waited_for);
    tcase_add_test(c, root_needs_a_user_to_become);
}

/* The runner is this program once more. */
int main(int argc, char **argv)
{
    apr_pool_t *pool;

    if (argc < 2 || strcmp(argv[1], "runner"))
        return run_suite("runner", add_tests);
    if (argc == 3 && !strcmp(argv[2], HANGS)) {
        (void)send(STDIN_FILENO, "no answer from the directory", 28, MSG_NOSIGNAL);
        for (;;)
            (void)pause();
    }
    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    return runner_main(argc - 1, argv + 1, pool);
}
