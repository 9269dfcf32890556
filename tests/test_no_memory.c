/* Memory that runs out while the robot is armed costs what it was for, and not the daemon (tests/shim). */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/learner.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

typedef void failing(const char *kind, long k, int write_errno);

static bool holds(const struct trial_data *d, int n)
{
    bool good = d->n == n;

    for (int i = 0; good && i < n; i++)
        good = d->x[i] == (float)i && d->a[i] == (float)(2 * i) && d->y[i] == (float)(3 * i);
    return good;
}

static bool add(struct trial_data *d, int i)
{
    static const struct model_dims one = { .nx = 1, .na = 1 };
    struct transition              t   = { .x = { (float)i }, .a = { (float)(2 * i) }, .y = { (float)(3 * i) } };

    return trial_data_add(d, &one, &t);
}

static void a_transition_costs_itself(failing *fail)
{
    for (long k = 1; k <= 3; k++) {
        struct trial_data d = { 0 };
        int               n = 0;

        while (n < 256)
            n += add(&d, n);
        fail("malloc", k, 0);
        EXPECT(!add(&d, n) && holds(&d, n));
        fail(NULL, 0, 0);
        for (int i = 0; i < 1000; i++)
            n += add(&d, n);
        EXPECT(holds(&d, 1256));
        trial_data_free(&d);
    }
}

static void a_task_file_is_refused(failing *fail)
{
    static struct robot_config c;
    struct task                t;
    char                       why[700];
    struct fixture             f;
    int                        refused = 0, in_words = 0, at_once = 0;

    fixture_init(&f, NULL);
    EXPECT(config_load(f.config, &c, why, sizeof why) == 0);
    for (long k = 1; k < 5000 && at_once < 50; k++) { /* all of its calls, and some beyond: those succeed */
        fail("malloc", k, 0);
        int rc = config_task(c.task_file, &c, &t, why, sizeof why);
        fail(NULL, 0, 0);
        refused += rc != 0;
        in_words += rc != 0 && why[0];
        at_once = rc == 0 ? at_once + 1 : 0;
    }
    EXPECT(refused > 50 && in_words == refused && at_once == 50);
    EXPECT(config_task(c.task_file, &c, &t, why, sizeof why) == 0);
}

TEST(without_memory_a_transition_costs_itself_and_a_task_file_is_refused)
{
    failing *fail = (failing *)dlsym(RTLD_DEFAULT, "failing_from_here");
    char     command[1600], said[4000];

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    if (fail) {
        a_transition_costs_itself(fail);
        a_task_file_is_refused(fail);
        return;
    }
    snprintf(command, sizeof command,
             "env -u FAIL_PROGRAM LD_PRELOAD='%s/tests/failing.so' '%s/tests/run' without_memory_a_transition 2>&1",
             test_build_dir(), test_build_dir());
    int rc = test_command(command, said, sizeof said);
    EXPECT(rc == 0);
    if (rc)
        printf("%s", said);
}
