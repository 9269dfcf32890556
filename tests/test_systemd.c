/* test_systemd.c - systemd's own tools judge the units.  No systemd runs here, and /usr/bin/limberd is not installed, so
 * a copy is judged whose ExecStart= names a program that exists: verify checks that too. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

static char output[32768];

static int run(const char *command)
{
    FILE *p = popen(command, "re");

    if (!p)
        abort();
    size_t n  = fread(output, 1, sizeof output - 1, p);
    output[n] = 0;
    while (fgetc(p) != EOF)
        ;
    int rc = pclose(p);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
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

/* Exposure 0 (nothing) .. 10 (everything), as systemd-analyze sums it up; --threshold counts tenths. */
static int security(void)
{
    char command[1024];

    snprintf(command, sizeof command,
             "systemd-analyze security --no-pager --offline=true --threshold=20 %s/limberd@.service 2>&1", test_dir());
    return run(command);
}

TEST(systemd_accepts_the_unit_without_a_word)
{
    copy_unit("^$", "");
    EXPECT(verify() == 0);
    EXPECT(!output[0]);
    if (output[0])
        printf("%s", output);
}

TEST(systemd_would_have_refused_a_misspelt_unit)
{
    copy_unit("^$", "WatchdogSecs=1");
    verify();
    EXPECT_STR(output, "WatchdogSecs");
    copy_unit("^ExecStart=", "ExecStart=/nonexistent/limberd");
    EXPECT(verify() != 0);
}

TEST(the_units_exposure_is_below_two_of_ten)
{
    copy_unit("^$", "");
    EXPECT(security() == 0);
    copy_unit("^\\(Protect\\|Private\\|Restrict\\|Capability\\|SystemCall\\|User\\|Device\\|NoNew\\|IPAddress\\)", "");
    EXPECT(security() != 0); /* so the threshold does refuse */
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

TEST(the_user_and_group_can_be_made)
{
    char command[1024];

    snprintf(command, sizeof command, "systemd-sysusers --dry-run --root=%s %s/../systemd/limber.sysusers 2>&1",
             test_dir(), test_build_dir());
    EXPECT(run(command) == 0);
    EXPECT_STR(output, "limber");
}
