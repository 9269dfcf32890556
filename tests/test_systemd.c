/* test_systemd.c - systemd's own tools judge the units, and systemd itself runs the service where this machine lets it.  For the tools a
 * copy is judged whose ExecStart= names a program that exists: verify checks that too. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rt/sanitized.h"
#include "tests/test.h"

static char output[32768];

static int run(const char *command)
{
    return test_command(command, output, sizeof output);
}

/* The unit with lines that match `drop` left out and `add` at the end of [Service]. */
static void copy_unit(const char *drop, const char *add)
{
    char command[2048], limberd[600];

    snprintf(limberd, sizeof limberd, "%s/limberd", test_build_dir());
    snprintf(command, sizeof command,
             "sed -e 's|^ExecStart=/usr/bin/limberd |ExecStart=%s |' -e '/%s/d' -e 's|^\\[Install\\]|%s\\n&|' "
             "%s/../systemd/limberd@.service > %s/limberd@.service",
             access(limberd, X_OK) == 0 ? limberd : "/bin/true", drop, add, test_build_dir(), test_dir());
    if (run(command) != 0)
        abort();
}

static int verify(void)
{
    char command[1024];

    snprintf(command, sizeof command, "systemd-analyze verify --man=no --recursive-errors=no %s/limberd@.service 2>&1",
             test_dir());
    return run(command);
}

/* 0 if the exposure is at most `tenths`: 0 (nothing) .. 10 (everything), as systemd-analyze sums it up. */
static int security(int tenths)
{
    char command[1024];

    snprintf(command, sizeof command,
             "systemd-analyze security --no-pager --offline=true --threshold=%d %s/limberd@.service 2>&1", tenths, test_dir());
    return run(command);
}

/* The settings of systemd/tcp.conf, as copy_unit takes them. */
static void tcp_settings(char *out, size_t size)
{
    char line[300], path[600];

    snprintf(path, sizeof path, "%s/../systemd/tcp.conf", test_build_dir());
    FILE *f = fopen(path, "re");
    if (!f)
        abort();
    out[0] = 0;
    while (fgets(line, sizeof line, f))
        if (line[0] >= 'A' && line[0] <= 'Z') {
            line[strcspn(line, "\n")] = 0;
            snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] ? "\\n" : "", line);
        }
    fclose(f);
}

TEST(systemd_accepts_the_unit_without_a_word)
{
    copy_unit("^$", "");
    EXPECT(verify() == 0);
    EXPECT(!output[0]);
    if (output[0])
        printf("%s", output);
}

TEST(a_real_systemd_starts_watches_restarts_and_stops_the_service_as_installed)
{
    char command[1200];

    if (RT_SANITIZED)
        return;
    snprintf(command, sizeof command, "timeout 200 bash %s/../tests/systemd_runs.sh %s 2>&1 </dev/null", test_build_dir(), test_build_dir());
    int code = run(command);
    EXPECT(code == 0 || code == 77); /* 77: this machine does not let us, and it says why */
    if (code)
        printf("    %s", output);
}

TEST(systemd_would_have_refused_a_misspelt_unit)
{
    copy_unit("^$", "WatchdogSecs=1");
    verify();
    EXPECT_STR(output, "WatchdogSecs");
    copy_unit("^ExecStart=", "ExecStart=/nonexistent/limberd");
    EXPECT(verify() != 0);
}

TEST(the_units_exposure_is_below_one_and_a_half_of_ten_also_on_a_network)
{
    char tcp[1000];

    copy_unit("^$", "");
    EXPECT(security(10) == 0);
    tcp_settings(tcp, sizeof tcp);
    EXPECT_STR(tcp, "PrivateNetwork=no");
    copy_unit("^$", tcp);
    EXPECT(verify() == 0 && !output[0]);
    EXPECT(security(15) == 0);
    EXPECT(security(10) != 0); /* it does open something */
    copy_unit("^\\(Protect\\|Private\\|Restrict\\|Capability\\|SystemCall\\|User\\|Device\\|NoNew\\|IPAddress\\)", "");
    EXPECT(security(15) != 0); /* so the threshold does refuse */
}

TEST(the_unit_leaves_the_control_thread_its_rights)
{
    copy_unit("^$", "");
    char command[1024];
    /* what the last SystemCallFilter= lines leave: @resources is out, these are back in */
    snprintf(command, sizeof command,
             "grep -cE '^(RestrictRealtime=no|LimitRTPRIO=9[0-9]|LimitMEMLOCK=infinity|"
             "SystemCallFilter=sched_setscheduler .*sched_setaffinity.*)$' %s/limberd@.service",
             test_dir());
    EXPECT(run(command) == 0);
    EXPECT(atoi(output) == 4);
}

/* Settings in a row share the comment above the first. */
static int without_reason(const char *path)
{
    char line[500];
    bool reason = false, service = false;
    int  bare = 0, settings = 0;

    FILE *f = fopen(path, "re");
    if (!f)
        abort();
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '[')
            service = strncmp(line, "[Service]", 9) == 0;
        else if (line[0] == '#')
            reason = true;
        else if (line[0] == '\n')
            reason = false;
        else if (service) {
            settings++;
            bare += !reason;
        }
    }
    fclose(f);
    EXPECT(settings > 2);
    return bare;
}

TEST(every_setting_of_the_service_has_its_reason_above)
{
    char path[600];

    snprintf(path, sizeof path, "%s/../systemd/limberd@.service", test_build_dir());
    EXPECT(without_reason(path) == 0);
    snprintf(path, sizeof path, "%s/../systemd/tcp.conf", test_build_dir());
    EXPECT(without_reason(path) == 0);
    copy_unit("^# Only the daemon", "\\nNice=0");
    snprintf(path, sizeof path, "%s/limberd@.service", test_dir());
    EXPECT(without_reason(path) > 0); /* so it does look */
}

/* limberd reads nothing again while it runs: systemctl reload must say so, not pretend. */
TEST(the_unit_offers_no_reload)
{
    char command[1024];

    snprintf(command, sizeof command, "grep -cE '^(ExecReload=|Type=notify-reload)' %s/../systemd/limberd@.service",
             test_build_dir());
    run(command);
    EXPECT(atoi(output) == 0);
}

TEST(the_unit_lets_limberd_enter_its_own_sandbox)
{
    char command[1024];

    snprintf(command, sizeof command,
             "grep -cE '^SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self$' "
             "%s/../systemd/limberd@.service", test_build_dir());
    EXPECT(run(command) == 0 && atoi(output) == 1);
    EXPECT(run("systemd-analyze syscall-filter @process 2>&1") == 0);
    EXPECT_STR(output, "prctl"); /* seccomp */
}

TEST(the_user_and_group_can_be_made)
{
    char command[1024];

    snprintf(command, sizeof command, "systemd-sysusers --dry-run --root=%s %s/../systemd/limber.sysusers 2>&1",
             test_dir(), test_build_dir());
    EXPECT(run(command) == 0);
    EXPECT_STR(output, "limber");
}
