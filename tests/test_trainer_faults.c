/* A trainer that hangs, spins, eats all memory or dies at once, by tests/shim/failing.c from within its training: control
 * does not notice, and training goes on or is off, with an event that says so. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/config.h"
#include "daemon/learner.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* ---- the keeper alone: its clock can be set ---- */

static void pump(uv_loop_t *loop, double seconds)
{
    uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);

    while (clock_now_ns() < until) {
        uv_run(loop, UV_RUN_NOWAIT);
        usleep(2000);
    }
}

/* It is told that the trainer was last heard so long ago. */
static void silent_for(struct learner *l, uint64_t seconds)
{
    l->heard_ns = clock_now_ns() - seconds * NS_PER_S;
    learner_tick(l);
    pump(l->loop, 0.7); /* an end and a start, if any */
}

static const char *last_said(const struct journal *j)
{
    return j->count ? j->event[(j->count - 1) % JOURNAL_KEPT].text : "";
}

static bool said(const struct journal *j, const char *part)
{
    for (uint64_t i = j->count > JOURNAL_KEPT ? j->count - JOURNAL_KEPT : 0; i < j->count; i++)
        if (strstr(j->event[i % JOURNAL_KEPT].text, part))
            return true;
    return false;
}

TEST(a_trainer_silent_for_a_minute_is_ended_and_ordered_again_three_times_a_minute_then_learning_is_off)
{
    static struct robot_config config;
    static struct learner      l;
    static struct journal      journal = { .store_ok = true, .trial = -1 };
    struct store_schema        schema;
    struct trial_data          data = { 0 };
    struct trial_row           row  = { .kind = "random", .status = "finished" };
    struct fixture             f;
    uv_loop_t                  loop;
    char                       path[300], why[600] = "";

    if (RT_SANITIZED)
        return;
    fixture_init(&f, NULL);
    EXPECT(config_load(f.config, &config, why, sizeof why) == 0);
    config_store_schema(&config, &schema);
    snprintf(path, sizeof path, "%s/experience.db", test_dir());
    uv_loop_init(&loop);
    l = (struct learner){ .loop = &loop, .config = &config, .journal = &journal, .dims = config.model };
    snprintf(l.models, sizeof l.models, "%s/models", test_dir());
    snprintf(l.trainer_path, sizeof l.trainer_path, "%s/limber-trainer", test_build_dir());
    l.store = store_open(path, &schema, false, why, sizeof why);
    EXPECT(l.store && store_begin(l.store) == 0 && store_trial_begin(l.store, &row) == 0 && store_commit(l.store) == 0);
    fixture_failing("limber-trainer", "read", "1", "hang");
    EXPECT(learner_start(&l, &schema, path, why, sizeof why) == 0);
    trial_data_add(&data, &l.dims, &(struct transition){ .step = 0 });
    learner_trial(&l, &row, &data, true);
    pump(&loop, 0.7);
    for (int round = 0; round < 4; round++) {
        int before = l.process.pid;

        EXPECT(l.state == LEARNER_TRAINING && l.process_up && learner_busy(&l));
        silent_for(&l, 59);
        EXPECT(l.process.pid == before && l.state == LEARNER_TRAINING);
        silent_for(&l, 61);
        EXPECT(said(&journal, "has trained for a minute without a report; it is ended"));
        EXPECT_STR(last_said(&journal), round < 3 ? "restarting" : "three restarts in a minute, learning is off");
        EXPECT(round == 3 || l.process.pid != before);
    }
    EXPECT(l.state == LEARNER_DEAD && !l.process_up && !learner_busy(&l));
    fixture_failing(NULL, NULL, NULL, NULL);
    learner_stop(&l);
    pump(&loop, 0.2);
    store_close(l.store);
    trial_data_free(&data);
}

/* ---- with a robot that moves ---- */

static const char *const quick[] = {
    "steps: 200", "steps: 25",   "recipe: steps",        "recipe: steps\n  epochs: 5\n  min_steps: 100",
    "count: 15",  "count: 4000", "wait_for_model_s: 20", "wait_for_model_s: 0.2",
    NULL
};

/* Armed, moving, and its trainer has come to what it is to do. */
static bool moving(struct fixture *f, const char *by)
{
    fixture_init(f, quick);
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

TEST(a_trainer_that_spins_runs_behind_everything_else_and_control_goes_on)
{
    struct fixture f;

    if (RT_SANITIZED || !moving(&f, "spin"))
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

    if (RT_SANITIZED || !moving(&f, "eat"))
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

    if (RT_SANITIZED || !moving(&f, "die"))
        return;
    EXPECT(fixture_wait(&f, "model.trainer", "dead", 30));
    EXPECT(fixture_event(&f, "trainer", "three restarts in a minute, learning is off", 5, NULL, 0));
    snprintf(command, sizeof command, "grep -c 'ended by itself (status 7' %s/limberd.log | grep -qx 4", test_dir());
    EXPECT(system(command) == 0);
    control_goes_on(&f);
    fixture_end(&f);
}
