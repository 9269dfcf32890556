/* A trainer that hangs, spins, eats all memory or dies at once, by tests/shim/failing.c from within its training: control
 * does not notice, and training goes on or is off, with an event that says so. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char *const quick[] = {
    "steps: 200", "steps: 25",   "recipe: steps",        "recipe: steps\n  epochs: 5\n  min_steps: 100",
    "count: 15",  "count: 4000", "wait_for_model_s: 20", "wait_for_model_s: 0.2",
    NULL
};

/* Armed, moving, and its trainer has come to what it is to do. */
static bool moving(struct fixture *f, const char *by, const char *const *wrapper)
{
    fixture_init(f, quick);
    f->wrapper = wrapper;
    fixture_failing("limber-trainer", "read", "1", by);
    bool ok = fixture_daemon(f, NULL);
    fixture_failing(NULL, NULL, NULL, NULL);
    ok = ok && fixture_bridge(f, NULL) && fixture_arm(f, 20) && fixture_wait(f, "trials.phase", "RUNNING", 20);
    EXPECT(ok);
    return ok;
}

/* Ticks go on as they should, for three seconds, and nothing has stopped the robot. */
static void control_goes_on(struct fixture *f)
{
    uint64_t since  = clock_now_ns();
    double   before = fixture_number(f, "control.ticks");

    sleep(3);
    double  due = 25e-9 * (double)(clock_now_ns() - since);
    json_t *s   = fixture_status(f);
    EXPECT(js_num(s, "control.ticks") - before >= 0.8 * due);
    EXPECT(json_is_null(js_at(s, "stop")));
    EXPECT(strcmp(js_str(s, "mode", ""), "BASELINE") == 0 || strcmp(js_str(s, "mode", ""), "EXPLORE") == 0);
    json_decref(s);
}

/* The minute is over at once: the main thread's clock alone is put forward. */
TEST(a_trainer_silent_for_a_minute_is_ended_and_ordered_again_and_control_goes_on)
{
    struct fixture f;
    char           both[1300];

    if (RT_SANITIZED)
        return;
    _Atomic int64_t *clocks = clock_file();
    snprintf(both, sizeof both, "LD_PRELOAD=%s/tests/failing.so:%s/tests/clock.so", test_build_dir(), test_build_dir());
    const char *const wrapper[] = { "/usr/bin/env", both, NULL };
    if (!moving(&f, "hang", wrapper))
        return;
    EXPECT(fixture_wait(&f, "model.trainer", "training", 20));
    pid_t before = fixture_trainer(&f), after = 0;
    clocks[1] += 50 * (int64_t)NS_PER_S;
    control_goes_on(&f);
    EXPECT(before > 0 && fixture_trainer(&f) == before); /* not yet */
    clocks[1] += 10 * (int64_t)NS_PER_S;
    EXPECT(fixture_event(&f, "trainer", "has trained for a minute without a report; it is ended", 10, NULL, 0));
    for (int i = 0; i < 100 && (after <= 0 || after == before); i++, usleep(50000))
        after = fixture_trainer(&f);
    EXPECT(after > 0 && after != before);
    EXPECT(fixture_wait(&f, "model.trainer", "training", 10));
    control_goes_on(&f);
    fixture_end(&f);
    clock_file_end(clocks);
}

TEST(a_trainer_that_spins_runs_behind_everything_else_and_control_goes_on)
{
    struct fixture f;

    if (RT_SANITIZED || !moving(&f, "spin", NULL))
        return;
    EXPECT(fixture_wait(&f, "model.trainer", "training", 20));
    EXPECT(sched_getscheduler(fixture_trainer(&f)) == SCHED_IDLE);
    control_goes_on(&f);
    EXPECT(fixture_wait(&f, "model.trainer", "training", 1)); /* still at it */
    fixture_end(&f);
}

TEST(a_trainer_that_eats_memory_ends_at_its_limit_with_an_event_and_control_goes_on)
{
    struct fixture f;
    char           log[300], line[100];
    long           mib = 0;

    if (RT_SANITIZED || !moving(&f, "eat", NULL))
        return;
    EXPECT(fixture_event(&f, "trainer", "", 30, NULL, 0)); /* a training that failed, or a trainer that ended */
    control_goes_on(&f);
    snprintf(log, sizeof log, "%s/shim.log", f.dir);
    FILE *shim = fopen(log, "re");
    while (shim && fgets(line, sizeof line, shim))
        if (sscanf(line, "ate %ld MiB", &mib) == 1)
            EXPECT(mib > 100 && mib < 2048); /* limber_trainer.c: 2 GiB in all */
    EXPECT(mib > 0);
    if (shim)
        fclose(shim);
    fixture_end(&f);
}

TEST(a_trainer_that_dies_each_time_is_given_up_after_three_restarts_and_control_goes_on)
{
    struct fixture f;
    char           command[400];

    if (RT_SANITIZED || !moving(&f, "die", NULL))
        return;
    EXPECT(fixture_wait(&f, "model.trainer", "dead", 30));
    EXPECT(fixture_event(&f, "trainer", "three restarts in a minute, learning is off", 5, NULL, 0));
    snprintf(command, sizeof command, /* the disk's thread prints, a little later */
             "for i in $(seq 100); do [ $(grep -c 'ended by itself (status 7' %s/limberd.log) = 4 ] && exit 0; sleep 0.1; done; exit 1",
             test_dir());
    EXPECT(system(command) == 0);
    control_goes_on(&f);
    fixture_end(&f);
}
