/* How scep-ca is to be started: its files, and the users that it and its programs are. */
#include "mod_scep.h"

#include <apr_strings.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <unixd.h>

static const scep_err *plan_paths(scep_plan *out, const scep_settings *settings, apr_pool_t *p)
{
    const char *connector = scep_settings_text(settings, SCEP_SET_Connector);
    const char *program = scep_settings_text(settings, SCEP_SET_CAProgram);
    const char *file;

    if (!*connector)
        return scep_fail(p, CONFIG,
                         "SCEPEngine is on, but nothing issues certificates: add SCEPConnector "
                         "spawn:FILE, FILE being the ca.conf that 'scep-ca init' wrote");
    file = strchr(connector, ':') + 1;
    out->ca_conf = *file ? ap_server_root_relative(p, file) : NULL;
    if (!out->ca_conf)
        return scep_fail(p, CONFIG, "SCEPConnector: '%s' does not name a file", connector);
    out->program = ap_server_root_relative(p, *program ? program : SCEP_CA_PROGRAM);
    if (!out->program)
        return scep_fail(p, CONFIG, "SCEPCAProgram: '%s' is not a path", program);
    return NULL;
}

/* Whoever runs as httpd's user could read scep-ca's memory and files: the keys would be lost with
 * the first worker that is broken into. */
static const scep_err *plan_user(scep_plan *out, const scep_settings *settings, apr_pool_t *p)
{
    const char *name = scep_settings_text(settings, SCEP_SET_CAUser);
    const struct passwd *user;

    if (geteuid() != 0)
        return NULL;
    if (!*name)
        return scep_fail(p, CONFIG,
                         "httpd starts as root, so scep-ca needs a user of its own: add "
                         "SCEPCAUser scep, after 'useradd --system --no-create-home --shell "
                         "/usr/sbin/nologin scep'");
    user = getpwnam(name);
    if (!user)
        return scep_fail(p, CONFIG,
                         "SCEPCAUser: there is no user '%s'; make it with 'useradd --system "
                         "--no-create-home --shell /usr/sbin/nologin %s'",
                         name, name);
    if (user->pw_uid == 0)
        return scep_fail(p, CONFIG, "SCEPCAUser: '%s' is root; name a user without rights", name);
    if (user->pw_uid == ap_unixd_config.user_id)
        return scep_fail(p, CONFIG,
                         "SCEPCAUser: '%s' is httpd's own User, which must not read the keys of "
                         "scep-ca; name another",
                         name);
    out->ca_user = apr_pstrdup(p, name);
    return NULL;
}

/* Does any endpoint have a policy module that is a program? */
static bool has_programs(apr_hash_t *endpoints, apr_pool_t *p)
{
    for (apr_hash_index_t *at = apr_hash_first(p, endpoints); at; at = apr_hash_next(at)) {
        const scep_section *all = apr_hash_this_val(at);
        const char *what = scep_settings_text(&all->settings, SCEP_SET_PolicyModule);

        if (!strncmp(what, "exec:", 5) || !strncmp(what, "prg:", 4))
            return true;
    }
    return false;
}

/* A program of somebody else's gets a user of its own, so that it reaches neither the store nor the
 * workers. After plan_user(). */
static const scep_err *plan_exec_user(scep_plan *out, apr_hash_t *endpoints,
                                      const scep_settings *settings, apr_pool_t *p)
{
    const char *name = scep_settings_text(settings, SCEP_SET_ExecUser);
    const struct passwd *user, *ca;
    uid_t uid;
    gid_t gid;

    /* an authority of ca.conf may have a program, too, which only scep-ca knows of */
    if (geteuid() != 0 || (!*name && !has_programs(endpoints, p)))
        return NULL;
    if (!*name)
        return scep_fail(p, CONFIG,
                         "NDES-53 a policy module is a program, which needs a user of its own: add "
                         "SCEPExecUser scep-exec, after 'useradd --system --no-create-home --shell "
                         "/usr/sbin/nologin scep-exec'");
    user = getpwnam(name);
    if (!user)
        return scep_fail(p, CONFIG,
                         "SCEPExecUser: there is no user '%s'; make it with 'useradd --system "
                         "--no-create-home --shell /usr/sbin/nologin %s'",
                         name, name);
    uid = user->pw_uid;
    gid = user->pw_gid;
    if (uid == 0 || gid == 0)
        return scep_fail(
            p, CONFIG, "SCEPExecUser: '%s' is root or in root's group; name a user without rights",
            name);
    if (uid == ap_unixd_config.user_id)
        return scep_fail(p, CONFIG,
                         "SCEPExecUser: '%s' is httpd's own User, and could read what workers have "
                         "in memory; name another",
                         name);
    if (gid == ap_unixd_config.group_id)
        return scep_fail(p, CONFIG,
                         "SCEPExecUser: '%s' is in httpd's own Group, and could read files that "
                         "are kept for it, such as those of passwords; name another",
                         name);
    ca = getpwnam(out->ca_user);
    if (!ca || uid == ca->pw_uid || gid == ca->pw_gid)
        return scep_fail(
            p, CONFIG,
            "SCEPExecUser: '%s' is SCEPCAUser too, or of its group, and could read the "
            "keys and the store of scep-ca; name another",
            name);
    out->exec_user = apr_pstrdup(p, name);
    return NULL;
}

/* scep-ca writes to the log that httpd opened; where that is syslog there is nothing to write to,
 * and every audit line would be lost. httpd takes any name that begins so for syslog. */
static const scep_err *check_error_log(const server_rec *main_server, apr_pool_t *p)
{
    if (strncasecmp(main_server->error_fname, "syslog", strlen("syslog")))
        return NULL;
    return scep_fail(p, CONFIG,
                     "ErrorLog %s of the main server: scep-ca writes its audit lines to httpd's "
                     "ErrorLog and cannot write there; use a file, or a pipe such as ErrorLog "
                     "\"|/usr/bin/logger -t httpd\"",
                     main_server->error_fname);
}

const scep_err *scep_plan_process(scep_plan *out, server_rec *main_server, apr_hash_t *endpoints,
                                  apr_pool_t *p)
{
    const scep_settings *settings = scep_server_settings(main_server);

    SCEP_TRY(check_error_log(main_server, p));
    SCEP_TRY(plan_paths(out, settings, p));
    SCEP_TRY(plan_user(out, settings, p));
    return plan_exec_user(out, endpoints, settings, p);
}
