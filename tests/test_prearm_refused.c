/* Each pre-arm check refuses by its name what it is there for, and lets it pass once that is mended: first as the core
 * judges (core_state.c), then as the host does (limberd.c, host_prearm), with a whole daemon. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/dst.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* ---- the core ---- */

static struct robot_config config;
static struct core         core;
static struct core_input   in;
static struct core_output  out;
static struct joint_state  state;

static void begin(void)
{
    dst_config(&config);
    core_init(&core, &config, 0);
    core_ready(&core);
    in = (struct core_input){
        .now_ns = NS_PER_S, .state = &state, .timing_clean = true, .host = ~0u, .aborted_trial = -1
    };
    state = (struct joint_state){ .session = 7, .nj = config.nj, .ready_trial = -1 };
}

static void tick(void)
{
    in.now_ns += core.tick_ns;
    in.state_new = true;
    state.seq++;
    core_step(&core, &in, &out);
}

/* What refuses arming, after `ticks` in which joint j's position went by `step` each: "" where it was armed. */
static const char *refused(int ticks, int j, double step)
{
    static char text[120];

    for (int i = 0; i < ticks; i++) {
        state.position[j] += step;
        tick();
    }
    state.position[j] += step;
    in.op = (struct operation){ .kind = OP_ARM, .id = 1 };
    tick();
    in.op = (struct operation){ .kind = OP_NONE };
    snprintf(text, sizeof text, "no answer");
    for (int i = 0; i < out.nnotice; i++)
        if (out.notice[i].kind == NOTICE_ANSWER)
            snprintf(text, sizeof text, "%s", out.notice[i].ok ? "" : out.notice[i].text);
    return text;
}

/* After a second, and another that nobody is in a hurry for. */
static bool armed(int j, double step)
{
    return !refused(2 * (int)config.control_hz, j, step)[0] && mode_armed(core.mode);
}

TEST(a_joint_outside_its_position_limits_forbids_arming_until_it_is_back)
{
    begin();
    state.position[0] = config.joint[0].position_max + 0.2; /* within the margin of gates.position: nothing stops */
    EXPECT_STR(refused(50, 0, 0), "inside");
    state.position[0] = config.joint[0].position_max - 0.1;
    EXPECT(armed(0, 0));
    begin();
    state.position[0] = config.joint[0].position_min - 0.2;
    EXPECT_STR(refused(50, 0, 0), "inside");
    state.position[0] = config.joint[0].position_min;
    EXPECT(armed(0, 0));
}

TEST(a_joint_faster_than_a_hundredth_of_its_limit_forbids_arming_until_it_is_slow)
{
    for (int j = 0; j < 2; j++)
        for (int way = -1; way < 2; way += 2) {
            begin();
            double limit      = 0.01 * config.joint[j].velocity;
            state.velocity[j] = way * 1.01 * limit;
            EXPECT_STR(refused(60, j, state.velocity[j] * core.tick_s), "slow");
            state.velocity[j] = way * 0.99 * limit;
            EXPECT(armed(j, state.velocity[j] * core.tick_s));
        }
}

TEST(a_sensor_that_contradicts_another_forbids_arming_until_they_agree)
{
    begin();
    refused(30, 1, 0);
    state.velocity[1] = 0.5; /* rad/s, it says, and goes by 5 rad/s; not for so long that it is a fault */
    EXPECT_STR(refused(30, 1, 0.2), "sensors");
    EXPECT(core.mode == MODE_DISARMED);
    state.velocity[1] = 0.4; /* it measures again */
    EXPECT(armed(1, 0.4 * core.tick_s));
}

/* Whatever the host does not vouch for. */
TEST(each_check_that_the_host_does_not_vouch_for_forbids_arming_by_its_name)
{
    for (int p = PREARM_CORE_COUNT; p < PREARM_COUNT; p++) {
        begin();
        in.host = ~(1u << p);
        EXPECT(!strcmp(refused(50, 0, 0), prearm_name((enum prearm)p)));
        in.host = ~0u;
        EXPECT(armed(0, 0));
    }
}

/* ---- the host ---- */

#define SLOW "control_hz: 25", "control_hz: 10"
#define REAL                                                                                                \
    "hardware: sim", "hardware: real", "lockstep: true", "lockstep: false", "next: auto", "next: operator", \
        "amplitude: 1.0", "amplitude: 0.1", SLOW

/* A daemon and a robot side that it welcomes; NULL: none. */
static struct robot *connected(struct fixture *f, bool compensates)
{
    char  text[600];
    FILE *c = fopen(f->config, "re");

    text[c ? fread(text, 1, sizeof text - 1, c) : 0] = 0;
    if (c)
        fclose(c);
    if (!fixture_daemon(f, NULL)) {
        EXPECT(!"started");
        return NULL;
    }
    struct robot *r              = robot_new(f);
    r->hello.simulated           = !strstr(text, "hardware: real");
    r->hello.gravity_compensated = compensates;
    EXPECT(robot_hello(r));
    robot_begin(r);
    return r;
}

static void disconnect(struct fixture *f, struct robot *r)
{
    robot_pause(r);
    robot_free(r);
    fixture_end(f);
}

/* Arming is refused, in the end for this alone: the checks before it hold after a while, on a busy machine a longer one. */
static bool refused_by(struct fixture *f, const char *check)
{
    char text[300] = "", want[80];

    snprintf(want, sizeof want, "pre-arm check %s does not hold", check);
    for (int i = 0; i < 300; i++) {
        if (fixture_post(f, "/arm", "{\"robot\": \"cartpole\", \"yes\": true, \"explore\": true}", text, sizeof text)) {
            printf("    armed, although %s must not hold\n", check);
            return false;
        }
        if (strstr(text, want))
            return true;
        usleep(50000);
    }
    printf("    %s\n", text);
    return false;
}

static bool arms(struct fixture *f)
{
    char text[300] = "";

    for (int i = 0; i < 600; i++, usleep(50000))
        if (fixture_post(f, "/arm", "{\"robot\": \"cartpole\", \"yes\": true, \"explore\": true}", text, sizeof text))
            return true;
    printf("    %s\n", text);
    return false;
}

/* One daemon, one robot side: refused by this check (NULL: armed). */
static void arming_is(const char *const *edits, const char *const *wrapper, bool compensates, const char *check)
{
    struct fixture f;

    fixture_init(&f, edits);
    f.wrapper       = wrapper;
    struct robot *r = connected(&f, compensates);
    if (!r)
        return;
    EXPECT(check ? refused_by(&f, check) : arms(&f));
    disconnect(&f, r);
}

TEST(gravity_that_is_compensated_twice_or_by_nobody_though_counted_on_forbids_arming)
{
    static const char *const by_robot[] = { SLOW, "baseline: {kind: zero}", "baseline: {kind: zero, gravity: robot}",
                                            NULL };
    static const char *const by_us[]    = {
           SLOW,
           "baseline: {kind: zero}",
           "baseline: {kind: damp}",
           "effort_rate: 15000",
           "effort_rate: 15000\n    baseline_kd: 1\n    gravity: [{effort: 1, joints: [hinge]}]",
           NULL
    };

    arming_is(by_robot, NULL, false, "gravity");
    arming_is(by_robot, NULL, true, NULL);
    arming_is(by_us, NULL, true, "gravity");
    arming_is(by_us, NULL, false, NULL);
}

TEST(a_robot_with_neither_model_nor_exploration_is_not_armed_and_is_with_either)
{
    static const char *const explores[] = { SLOW, NULL };
    static const char *const neither[]  = { SLOW, "exploration: {kind: uniform, amplitude: 1.0, smoothness: 0}", "",
                                            NULL };
    static const char *const learns[]   = {
          "steps: 200", "steps: 25", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100", "count: 15",
          "count: 1",   NULL
    };
    static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };
    struct fixture           f;

    arming_is(neither, NULL, false, "model_or_exploration");
    arming_is(explores, NULL, false, NULL);
    fixture_init(&f, learns);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, lockstep) && fixture_arm(&f, 20));
    EXPECT(fixture_wait(&f, "model.version", "1", 60));
    fixture_end(&f);
    arming_is(neither, NULL, false, NULL); /* on the same store, with its model */
}

TEST(without_locked_memory_real_hardware_is_not_armed)
{
    static const char *const real[]     = { REAL, NULL };
    static const char *const unlocked[] = { "/usr/bin/prlimit",         "--memlock=65536:65536", "/usr/bin/setpriv",
                                            "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock",  NULL };

    if (RT_SANITIZED)
        return; /* never locks */
    arming_is(real, unlocked, false, "memory_locked");
    arming_is(real, NULL, false, NULL);
}

TEST(with_a_clock_in_coarse_steps_real_hardware_is_not_armed_and_a_simulated_robot_is)
{
    static const char *const real[] = { REAL, NULL }, *const simulated[] = { SLOW, NULL };
    char shim[600];

    if (RT_SANITIZED)
        return;
    snprintf(shim, sizeof shim, "LD_PRELOAD=%s/tests/clock.so", test_build_dir());
    const char *const coarse[] = { "/usr/bin/env", shim, "CLOCK_RESOLUTION=4000000", NULL };
    arming_is(real, coarse, false, "clock");
    arming_is(simulated, coarse, false, NULL);
}

TEST(a_store_that_cannot_be_written_forbids_arming_until_it_can)
{
    static const char *const slow[] = { SLOW, NULL };
    const struct rlimit      full = { 1, RLIM_INFINITY }, room = { RLIM_INFINITY, RLIM_INFINITY };
    struct fixture           f;

    fixture_init(&f, slow);
    struct robot *r = connected(&f, false);
    if (!r)
        return;
    EXPECT(prlimit(f.daemon.pid, RLIMIT_FSIZE, &full, NULL) == 0);
    kill(f.daemon.pid, SIGHUP); /* an event, which has to be written */
    EXPECT(fixture_event(&f, "store", "robots cannot be armed until it works", 10, NULL, 0));
    EXPECT(refused_by(&f, "store_writable"));
    EXPECT(prlimit(f.daemon.pid, RLIMIT_FSIZE, &room, NULL) == 0);
    EXPECT(fixture_event(&f, "store", "writing works again", 10, NULL, 0));
    EXPECT(arms(&f));
    disconnect(&f, r);
}
