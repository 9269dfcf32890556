/* Faults of the link and of the robot side, made on purpose by limber-bridge sim --fault, against a real limberd: each has
 * its named stop or counter, and its reaction; and none is followed by torque that nobody asked for. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/why.h"
#include "firmware-bridge/faulty.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* ---- the faults themselves ---- */

TEST(a_fault_that_is_written_wrong_is_refused_with_what_was_expected)
{
    static const struct {
        const char *text, *expected;
    } bad[] = {
        { "lose-state=0.1", "WHAT" },      { "lose-states", "=VALUE" },        { "lose-states=2", "probability" },
        { "lose-states=nan", "probability" }, { "silent=3", "no value" },      { "stuck", ":JOINT" },
        { "silent:hinge", "no joint" },    { "estop@x", "@SECONDS" },          { "estop@1+", "+SECONDS" },
        { "estop@1+2x", "nothing after" }, { "delay-states=-5", "a number" },  { "", "WHAT" },
        { "weak=1.5:slider", "a share" },  { "weak=0.5", ":JOINT" },       { "heavy=0", "a factor" },
    };
    char why[300];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct faulty *f = calloc(1, sizeof *f);
        EXPECT(!faulty_add(f, bad[i].text, why, sizeof why));
        EXPECT_STR(why, bad[i].expected);
        free(f);
    }
    struct faulty *f = calloc(1, sizeof *f);
    struct hello   h = { .nj = 1, .joint = { { .name = "slider" } } };
    EXPECT(faulty_add(f, "offset=-0.5:elbow@1.5+0.25", why, sizeof why));
    EXPECT(!faulty_begin(f, &h, 1, why, sizeof why));
    EXPECT_STR(why, "elbow");
    free(f);
}

TEST(sensors_lie_as_told_and_only_while_told)
{
    struct faulty     *f = calloc(1, sizeof *f);
    struct hello       h = { .nj = 2, .joint = { { .name = "slider" }, { .name = "hinge" } } };
    struct joint_state s;
    char               why[300];

    EXPECT(faulty_add(f, "stuck:hinge@1+1", why, sizeof why) && faulty_add(f, "nan:slider@3", why, sizeof why) &&
           faulty_add(f, "offset=2:slider@0+1", why, sizeof why) && faulty_add(f, "fault@2+1", why, sizeof why) &&
           faulty_begin(f, &h, 1, why, sizeof why));
    faulty_session(f, 1000000000);
    for (int i = 0; i < 40; i++) {
        double t = 0.1 * i + 0.05;
        s = (struct joint_state){ .nj = 2, .position = { i, i }, .velocity = { 1, 1 } };
        faulty_state(f, &s, 1000000000 + (uint64_t)(t * 1e9));
        EXPECT_NEAR(s.position[0], t < 1 ? i + 2 : i, 1e-9);
        EXPECT_NEAR(s.position[1], t >= 1 && t < 2 ? 9 : i, 1e-9);
        EXPECT(isnan(s.velocity[0]) == (t >= 3));
        EXPECT((s.faults != 0) == (t >= 2 && t < 3));
    }
    free(f);
}

TEST(a_weak_motor_is_one_joints_and_only_while_told)
{
    struct faulty *f = calloc(1, sizeof *f);
    struct hello   h = { .nj = 2, .joint = { { .name = "slider" }, { .name = "hinge" } } };
    char           why[300];

    EXPECT(faulty_add(f, "weak=0.25:hinge@1+1", why, sizeof why) && faulty_begin(f, &h, 1, why, sizeof why));
    EXPECT(!(faulty_share(f, 1, 1500000000) < 1)); /* no session so far */
    faulty_session(f, 1000000000);
    for (int i = 0; i < 30; i++) {
        uint64_t now_ns = 1050000000 + (uint64_t)i * 100000000;

        EXPECT_NEAR(faulty_share(f, 0, now_ns), 1, 0);
        EXPECT_NEAR(faulty_share(f, 1, now_ns), i >= 10 && i < 20 ? 0.25 : 1, 0);
    }
    free(f);
}

TEST(a_driver_that_clips_does_so_at_one_joint_and_only_while_told)
{
    struct faulty *f = calloc(1, sizeof *f);
    struct hello   h = { .nj = 2, .joint = { { .name = "slider" }, { .name = "hinge" } } };
    char           why[300];

    EXPECT(faulty_add(f, "clips=0.5:slider@1+1", why, sizeof why) && faulty_begin(f, &h, 1, why, sizeof why));
    faulty_session(f, 1000000000);
    for (int i = 0; i < 30; i++) {
        uint64_t now_ns = 1050000000 + (uint64_t)i * 100000000;

        EXPECT_NEAR(faulty_clips(f, 0, now_ns), i >= 10 && i < 20 ? 0.5 : 1, 0);
        EXPECT_NEAR(faulty_clips(f, 1, now_ns), 1, 0);
        EXPECT_NEAR(faulty_share(f, 0, now_ns), 1, 0);
    }
    free(f);
}

/* ---- with the daemon ---- */

static const char *const slower[] = { "steps: 200", "steps: 2000", /* a trial outlasts every fault */
                                      "effort: 300", "effort: 300\n    effort_error: 15", NULL };

static const struct {
    const char *fault, *stop, *counter;
    double      at_least; /* what the counter grows by                     */
    bool        armed;    /* goes on armed where there is no stop          */
} faults[] = {
    { "lose-states=1@3", "state_stale", "link.missing", 3, false },
    { "delay-states=1500@3", "state_stale", "link.missing", 3, false },
    { "silent@3", "state_stale", "link.missing", 3, false },
    { "frozen@3+2", "state_stale", "link.missing", 3, false },
    { "nan:hinge@3", "state_rejected", "link.rejected.nonfinite", 3, false },
    { "offset=100:slider@3", "state_rejected", "link.rejected.range", 3, false },
    { "lose-commands=1@3", "robot_fault", NULL, 0, false }, /* it damped, latched, and said so */
    { "restart@3", "session", "link.counts.hello", 2, false },
    { "estop@3+0.2", "estop", NULL, 0, false },
    { "fault@3+0.2", "robot_fault", NULL, 0, false },
    { "weak=0.3:slider@3", "track_error", "link.effort_judged", 10, false },
    { "damage-states=0.3@3", "link_damaged", "link.counts.crc", 3, false },
    { "damage-commands=0.7@3", "robot_fault", "link.damaged_commands", 3, false }, /* likewise, on its side */
    { "clips=0.2:slider@3", "robot_clamped", "link.changed_commands", 3, false },
    { "lose-states=0.1@2", NULL, "link.counts.gap", 3, true },
    { "double-states=1", NULL, "link.counts.duplicate", 20, true },
    { "double-commands=1", NULL, "control.ticks", 50, true },
    { "delay-commands=30@2", NULL, "link.late_commands", 5, true },
    { "lose-commands=0.1@2", NULL, "link.lost_commands", 3, true },
    { "damage-states=0.2", NULL, "link.counts.crc", 2, false },
};

/* Faults with a stop: named, recorded, latched, and over only by reset. */
static void stops(struct fixture *f, const char *code)
{
    double before = fixture_number(f, "recording");
    char   number[16], why[600];
    bool   none;

    EXPECT(fixture_arm(f, 15));
    EXPECT(fixture_wait(f, "latched", "true", 15));
    snprintf(number, sizeof number, "%g", before + 1);
    EXPECT(fixture_wait(f, "recording", number, 3));
    json_t *r = why_load(f->dir, (int)before + 1, &none, why, sizeof why);
    EXPECT(r != NULL);
    EXPECT_STR(js_str(r, "code", "none"), code);
    if (r)
        why_tell(r);
    EXPECT(json_is_object(json_object_get(r, "first_sign")));
    json_decref(r);
    EXPECT(!fixture_post(f, "/arm", "{\"yes\": true}", NULL, 0));
}

static bool reset(struct fixture *f)
{
    for (int i = 0; i < 100; i++) {
        if (fixture_post(f, "/reset", NULL, NULL, 0))
            return true;
        usleep(100000); /* e-stop or fault still there */
    }
    return false;
}

static bool armed(struct fixture *f)
{
    json_t     *s    = fixture_status(f);
    const char *mode = js_str(s, "mode", "");
    bool        yes  = !strcmp(mode, "BASELINE") || !strcmp(mode, "EXPLORE") || !strcmp(mode, "ADVANCED");

    json_decref(s);
    return yes;
}

static void one_fault(struct fixture *f, size_t i)
{
    const char *flags[] = { "--fault", faults[i].fault, "--seed", "5", NULL };
    double      before  = faults[i].counter ? fixture_number(f, faults[i].counter) : 0;
    char        want[32];
    int         was = test_failures;

    if (!isfinite(before) || (faults[i].counter && strstr(faults[i].counter, "_commands")))
        before = 0; /* of a session */
    EXPECT(fixture_bridge(f, flags));
    if (faults[i].stop)
        stops(f, faults[i].stop);
    else if (faults[i].armed)
        EXPECT(fixture_arm(f, 15));
    snprintf(want, sizeof want, "%g", before + faults[i].at_least);
    EXPECT(!faults[i].counter || fixture_wait(f, faults[i].counter, want, 10));
    EXPECT(armed(f) == faults[i].armed);
    if (faults[i].armed) {
        EXPECT(fixture_post(f, "/disarm", NULL, NULL, 0));
        EXPECT(fixture_wait(f, "mode", "DISARMED", 3));
    }
    EXPECT(reset(f));
    EXPECT(fixture_wait(f, "mode", "DISARMED", 1));
    child_stop(&f->bridge, 0, 2);
    EXPECT(fixture_wait(f, "link.connected", "false", 5)); /* or the next one is armed on the states of this one */
    if (test_failures > was)
        printf("    with --fault %s\n", faults[i].fault);
}

enum { SIDE_BY_SIDE = 3 };

/* Every third fault from `first` on, with a daemon of its own: most of it is waiting. */
static void some_faults(size_t first)
{
    struct fixture f;

    fixture_init(&f, slower);
    snprintf(f.dir, sizeof f.dir, "%s/run%zu", test_dir(), first);
    test_failures = 0;
    if (fixture_daemon(&f, NULL))
        for (size_t i = first; i < sizeof faults / sizeof *faults; i += SIDE_BY_SIDE)
            one_fault(&f, i);
    else
        EXPECT(!"started");
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
    exit(test_failures != 0);
}

TEST(every_fault_of_link_and_robot_has_its_stop_or_counter_and_nothing_rearms)
{
    pid_t pid[SIDE_BY_SIDE];

    test_dir();
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        if ((pid[i] = fork()) == 0)
            some_faults(i);
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        int status;

        waitpid(pid[i], &status, 0);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void wrong_baseline(const char *stop, const char *text, const char *const *edits)
{
    struct fixture f;
    char           why[600];
    bool           none;

    fixture_init(&f, edits);
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, NULL) || !fixture_arm(&f, 15)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    EXPECT(fixture_wait(&f, "latched", "true", 15));
    EXPECT(fixture_wait(&f, "recording", "1", 3));
    json_t *r = why_load(f.dir, 0, &none, why, sizeof why);
    if (r)
        why_tell(r);
    EXPECT_STR(js_str(r, "code", "none"), stop);
    EXPECT_STR(js_str(r, "first_sign.joint", ""), "slider");
    EXPECT_STR(js_str(r, "first_sign.text", ""), text);
    json_decref(r);
    fixture_end(&f);
}

/* A posture beyond the end of the rail; a damping gain that the rate cannot have; a spring to the other end of the rail. */
TEST(a_baseline_that_leans_on_the_limit_thrashes_or_drives_too_hard_is_stopped_by_name)
{
    static const char *const leans[]    = { "next: auto",   "next: operator",
                                            "{kind: zero}", "{kind: posture}",
                                            "effort: 300",  "effort: 300\n    baseline_kp: 3000\n    baseline_kd: 300\n"
                                                            "    baseline_position: 2.9",
                                            "limit_dwell: 0.8", "limit_dwell: 0.2",
                                            NULL };
    static const char *const thrashes[] = { "next: auto",   "next: operator",
                                            "{kind: zero}", "{kind: hold}",
                                            "effort: 300",  "effort: 300\n    baseline_kp: 1\n    baseline_kd: 3000",
                                            "oscillation: 15", "oscillation: 4",
                                            NULL };
    static const char *const drives[]   = { "next: auto",   "next: operator",
                                            "{kind: zero}", "{kind: posture}",
                                            "effort: 300",  "effort: 300\n    baseline_kp: 3000\n    baseline_kd: 1\n"
                                                            "    baseline_position: 2",
                                            "energy: 1000", "energy: 50",
                                            NULL };

    wrong_baseline("limit_dwell", "at its limit for too long: slider's for 0.2", leans);
    wrong_baseline("oscillation", "to the other too often: slider's 4.", thrashes);
    wrong_baseline("energy", "at most 50; most through slider", drives);
}

TEST(the_simulated_robots_emergency_stop_is_pressed_by_a_signal_and_released_by_another)
{
    struct fixture f;

    fixture_init(&f, slower);
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, NULL) || !fixture_arm(&f, 10)) {
        EXPECT(!"started and armed");
        fixture_end(&f);
        return;
    }
    kill(f.bridge.pid, SIGUSR1);
    EXPECT(fixture_wait(&f, "stop.code", "estop", 3));
    EXPECT(!fixture_post(&f, "/reset", NULL, NULL, 0));
    kill(f.bridge.pid, SIGUSR2);
    EXPECT(reset(&f));
    EXPECT(!armed(&f));
    EXPECT(fixture_arm(&f, 15));
    fixture_end(&f);
}

TEST(a_daemon_that_was_frozen_stops_when_it_wakes_and_says_why)
{
    static const char *const slow[] = { "control_hz: 25", "control_hz: 10", NULL };
    struct fixture           f;

    fixture_init(&f, slow);
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    struct robot *r = robot_new(&f);
    EXPECT(robot_hello(r));
    robot_begin(r);
    EXPECT(fixture_arm(&f, 15));
    kill(f.daemon.pid, SIGSTOP);
    usleep(1500000);
    kill(f.daemon.pid, SIGCONT);
    EXPECT(fixture_wait(&f, "latched", "true", 5));
    json_t     *s    = fixture_status(&f);
    const char *code = js_str(s, "stop.code", ""); /* whichever of the two threads woke first */
    EXPECT(!strcmp(code, "host_stall") || !strcmp(code, "state_stale"));
    json_decref(s);
    EXPECT(!armed(&f));
    robot_pause(r);
    robot_free(r);
    fixture_end(&f);
}
