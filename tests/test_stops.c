/* Claims about stop recordings and `limber why`: what stopped the robot can be told afterwards, by anyone, daemon or not. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/stops.h"
#include "daemon/why.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* ---- the files, without a daemon ---- */

static struct robot_config *rail(void)
{
    static struct robot_config c;

    c = (struct robot_config){ .robot = "rail", .nj = 2, .control_hz = 50, .file = "/nowhere/robot.yaml" };
    c.joint[0] = (struct joint_config){ .name = "slider", .type = JOINT_PRISMATIC, .actuated = true, .position_min = -2,
                                        .position_max = 2, .velocity = 10, .effort = 30 };
    c.joint[1] = (struct joint_config){ .name = "hinge", .type = JOINT_CONTINUOUS, .velocity = 20 };
    return &c;
}

static void tick(struct stops *s, uint64_t i, uint32_t faults, double q)
{
    struct tick_record r = { .tick = i, .now_ns = i * 20000000, .mode = MODE_ADVANCED, .nj = 2, .faults = faults,
                             .state_seq = i, .model_version = 4, .position = { q, 1 } };

    stops_tick(s, &r);
}

/* Stops at the tick that came last; the core as main would see it then. */
static void stop(struct stops *s, uint64_t i, enum stop_code code)
{
    struct notice n = { .kind = NOTICE_MODE, .tick = i, .now_ns = i * 20000000, .from = MODE_ADVANCED, .to = MODE_STOPPING,
                        .stop = code, .trial = 3, .step = 57 };
    struct core   c = { .tick = i, .stop = code, .stop_tick = i, .mode = MODE_STOPPING, .now_ns = i * 20000000 };

    stops_notice(s, &n);
    stops_settle(s, &c);
}

static json_t *told(int number)
{
    char    why[600];
    bool    none;
    json_t *r = why_load(test_dir(), number, &none, why, sizeof why);

    if (!r)
        printf("    %s\n", why);
    else
        why_tell(r);
    return r;
}

TEST(a_stop_is_recorded_with_its_last_two_seconds_and_told_from_the_first_state_that_was_missed)
{
    struct journal j = { .trial = -1 };
    struct stops   s;

    stops_open(&s, rail(), test_dir(), &j);
    for (uint64_t i = 1; i <= 400; i++) /* one is missed long before: another story */
        tick(&s, i, i == 330 || i > 395 ? FAULT_STATE_MISSING | (i == 400 ? FAULT_STATE_STALE : 0u) : 0, 0);
    stop(&s, 400, STOP_STATE_STALE);
    json_t *r = told(0);
    EXPECT(js_int(r, "number") == 1 && s.last == 1);
    EXPECT_STR(js_str(r, "code", ""), "state_stale");
    EXPECT_STR(js_str(r, "remedy", ""), "limber reset");
    EXPECT(js_int(r, "model") == 4 && js_int(r, "trial") == 3 && js_int(r, "step") == 57);
    EXPECT(strlen(js_str(r, "config_hash", "")) == 16);
    EXPECT(json_array_size(json_object_get(r, "ticks")) == 101);
    EXPECT_STR(js_str(r, "first_sign.what", ""), "state_missing");
    EXPECT_NEAR(js_num(r, "first_sign.t"), -0.08, 1e-6);
    EXPECT(js_int(r, "first_sign.tick") == 396);
    EXPECT_STR(js_str(r, "first_sign.text", ""), "in 5 ticks");
    EXPECT(json_array_size(json_object_get(r, "modes")) == 1);
    json_decref(r);
    stops_close(&s);
}

TEST(a_joint_beyond_its_limit_and_one_whose_state_cannot_be_are_named_with_values)
{
    struct journal j = { .trial = -1 };
    struct stops   s;

    stops_open(&s, rail(), test_dir(), &j);
    for (uint64_t i = 1; i <= 60; i++)
        tick(&s, i, i == 60 ? FAULT_POSITION : 0, i < 58 ? 1.9 : 2 + 0.1 * (double)(i - 57));
    stop(&s, 60, STOP_POSITION);
    json_t *r = told(1);
    EXPECT_STR(js_str(r, "first_sign.joint", ""), "slider");
    EXPECT_STR(js_str(r, "first_sign.text", ""), "slider at 2.1 m, its limit is 2");
    EXPECT(js_int(r, "first_sign.tick") == 58); /* before the margin was used up */
    json_decref(r);

    struct tick_record bad = { .tick = 61, .now_ns = 61 * 20000000ull, .nj = 2, .faults = FAULT_STATE_RANGE,
                               .blame = { .joint = 1, .what = 'v', .value = 31.5, .limit = 20 } };
    stops_tick(&s, &bad);
    stop(&s, 61, STOP_STATE_REJECTED);
    r = told(2);
    EXPECT_STR(js_str(r, "first_sign.joint", ""), "hinge");
    EXPECT_STR(js_str(r, "first_sign.text", ""), "hinge's velocity was 31.5, the limit is 20");
    json_decref(r);
    stops_close(&s);
}

TEST(a_joint_whose_effort_is_not_as_commanded_stands_at_its_limit_thrashes_or_is_pumped_is_named_with_values)
{
    static const struct {
        uint32_t          bit;
        enum stop_code    code;
        struct core_blame blame;
        const char       *text;
    } row[] = {
        { FAULT_TRACK_ERROR, STOP_TRACK_ERROR, { 0, 't', 90, 300 }, "slider's was 90, commanded was 300, in 1 tick" },
        { FAULT_TRACK_ERROR, STOP_TRACK_ERROR, { 0, 't', (double)NAN, 300 }, "slider's was nan, commanded was 300" },
        { FAULT_LIMIT_DWELL, STOP_LIMIT_DWELL, { 0, 'd', 0.52, 0.5 }, "slider's for 0.52 s, at most 0.5" },
        { FAULT_OSCILLATION, STOP_OSCILLATION, { 0, 'o', 5.43, 5 }, "slider's 5.43 times a second, at most 5" },
        { FAULT_ENERGY, STOP_ENERGY, { 0, 'w', 431.2, 400 }, "431 J, at most 400; most through slider" },
    };
    struct journal j = { .trial = -1 };
    struct stops   s;

    stops_open(&s, rail(), test_dir(), &j);
    for (uint64_t i = 1; i <= sizeof row / sizeof *row; i++) {
        uint64_t           at  = 100 * i; /* seconds apart: stories of their own */
        struct tick_record bad = { .tick = at, .now_ns = at * 20000000ull, .nj = 2, .faults = row[i - 1].bit, .blame = row[i - 1].blame };

        stops_tick(&s, &bad);
        stop(&s, at, row[i - 1].code);
        json_t *r = told((int)i);
        EXPECT_STR(js_str(r, "code", ""), core_stop_text(row[i - 1].code).name);
        EXPECT_STR(js_str(r, "first_sign.joint", ""), "slider");
        EXPECT_STR(js_str(r, "first_sign.text", ""), row[i - 1].text);
        json_decref(r);
    }
    stops_close(&s);
}

TEST(the_newest_twenty_recordings_are_kept_and_numbers_go_on_after_a_restart)
{
    struct journal j = { .trial = -1 };
    struct stops   s;
    int            kept[64];

    for (int life = 0; life < 3; life++) {
        stops_open(&s, rail(), test_dir(), &j);
        for (uint64_t i = 1; i <= 10; i++) {
            tick(&s, i, 0, 0);
            stop(&s, i, STOP_OPERATOR);
        }
        stops_close(&s);
    }
    EXPECT(why_list(test_dir(), kept, 64) == STOPS_KEPT);
    EXPECT(kept[0] == 11 && kept[STOPS_KEPT - 1] == 30);
    EXPECT_STR(s.before, "the last stop here was operator"); /* what the third life found */
}

TEST(a_worse_reason_while_stopping_is_a_recording_of_its_own)
{
    struct journal j = { .trial = -1 };
    struct stops   s;

    stops_open(&s, rail(), test_dir(), &j);
    tick(&s, 10, 0, 0);
    stop(&s, 10, STOP_DISARM);
    tick(&s, 11, FAULT_POSITION, 2.5);
    stop(&s, 11, STOP_POSITION);
    EXPECT(s.last == 2);
    json_t *r = told(2);
    EXPECT_STR(js_str(r, "code", ""), "position_limit");
    json_decref(r);
    stops_close(&s);
}

TEST(a_daemon_that_dies_leaves_its_last_ticks_to_the_next_one)
{
    struct journal j = { .trial = -1 };
    struct stops   s;
    pid_t          pid = test_dir() ? fork() : -1; /* made by the parent */

    if (pid == 0) {
        struct notice n = { .kind = NOTICE_MODE, .from = MODE_DISARMED, .to = MODE_BASELINE };
        stops_open(&s, rail(), test_dir(), &j);
        stops_notice(&s, &n);
        for (uint64_t i = 1; i <= 500; i++)
            tick(&s, i, 0, 0);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    char mode[16];
    int  who = 0;
    EXPECT(why_died(test_dir(), &who, mode, sizeof mode) && who == pid && !strcmp(mode, "BASELINE"));
    stops_open(&s, rail(), test_dir(), &j);
    EXPECT_STR(s.before, "died in BASELINE");
    json_t *r = told(0);
    EXPECT_STR(js_str(r, "code", ""), "crash");
    EXPECT(json_array_size(json_object_get(r, "ticks")) == 101 && js_int(r, "tick") == 500 && js_int(r, "model") == 4);
    json_decref(r);
    stops_close(&s);
    EXPECT(!why_died(test_dir(), &who, mode, sizeof mode));
    stops_open(&s, rail(), test_dir(), &j); /* after an orderly end nothing is added */
    EXPECT(s.last == 1);
    stops_close(&s);
}

static char *file_text(const char *path, size_t *n)
{
    FILE *f    = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    if (!f || !text)
        abort();
    *n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

TEST(a_recording_cut_short_or_changed_anywhere_is_refused_or_told_as_far_as_it_goes)
{
    struct journal j = { .trial = -1 };
    struct stops   s;
    char           path[600], why[600];
    bool           none;
    size_t         n;

    stops_open(&s, rail(), test_dir(), &j);
    for (uint64_t i = 1; i <= 4; i++)
        tick(&s, i, FAULT_STATE_MISSING, 0);
    stop(&s, 4, STOP_STATE_STALE);
    stops_close(&s);
    snprintf(path, sizeof path, "%s/stops/001.jsonl", test_dir());
    char *text = file_text(path, &n);
    EXPECT(n > 500);
    size_t head = strcspn(text, "\n");
    for (size_t cut = 0; cut < n; cut++) {
        EXPECT(truncate(path, (off_t)(n - 1 - cut)) == 0);
        json_t *r = why_load(test_dir(), 1, &none, why, sizeof why);
        EXPECT(!none && (r != NULL) == (n - 1 - cut >= head)); /* all of line 1, or nothing */
        if (r)
            why_tell(r);
        json_decref(r);
    }
    for (size_t at = 0; at < n; at += 3) {
        FILE *f = fopen(path, "w");
        char  was = text[at];
        text[at]  = "]{\"0:x,"[at % 7];
        EXPECT(f && fwrite(text, 1, n, f) == n && fclose(f) == 0);
        text[at]  = was;
        json_t *r = why_load(test_dir(), 1, &none, why, sizeof why);
        if (r)
            why_tell(r);
        json_decref(r);
    }
    free(text);
}

TEST(a_full_disk_costs_the_recording_and_an_event_and_nothing_else)
{
    struct journal j = { .trial = -1 };
    struct stops   s;
    pid_t          pid = test_dir() ? fork() : -1;
    int            status;

    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 400, 400 });
        stops_open(&s, rail(), test_dir(), &j);
        for (uint64_t i = 1; i <= 300; i++)
            tick(&s, i, 0, 0); /* a mapped page without a block would be the end */
        stop(&s, 300, STOP_OPERATOR);
        stop(&s, 300, STOP_OPERATOR);
        _exit(s.failed && s.last == 0 && j.count == 1 && strstr(j.event[0].text, "no recording") ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the daemon ---- */

struct result {
    int  code;
    char text[65536];
};

static const struct result *why(struct result *r, const struct fixture *f, const char *arguments)
{
    char command[1024];

    snprintf(command, sizeof command, "%s/limber why --run-dir %s %s 2>&1 </dev/null", test_build_dir(), f->dir, arguments);
    FILE  *p = popen(command, "r");
    size_t n = p ? fread(r->text, 1, sizeof r->text - 1, p) : 0;
    r->text[n] = 0;
    int status = p ? pclose(p) : -1;
    r->code    = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return r;
}

static const char *const quick[] = { "steps: 200", "steps: 40", NULL };

TEST(limber_why_tells_a_stop_and_then_the_daemons_own_death_with_nobody_running)
{
    struct fixture f;
    struct result  r;
    char           path[400];

    fixture_init(&f, quick);
    if (!fixture_daemon(&f, NULL) || !fixture_bridge(&f, NULL)) {
        EXPECT(!"started");
        fixture_end(&f);
        return;
    }
    EXPECT(why(&r, &f, "")->code == 1);
    EXPECT_STR(r.text, "nothing has stopped the robot so far");
    EXPECT(fixture_arm(&f, 10) && fixture_wait(&f, "trials.step", "5", 10));
    kill(f.bridge.pid, SIGKILL);
    EXPECT(fixture_wait(&f, "stop.code", "state_stale", 3));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
    EXPECT(fixture_wait(&f, "recording", "1", 3));
    EXPECT(why(&r, &f, "")->code == 0);
    EXPECT_STR(r.text, "stop 1  state_stale");
    EXPECT_STR(r.text, "no good joint state came in time");
    EXPECT_STR(r.text, "limber reset");
    EXPECT_STR(r.text, "before: no new joint state: the last good one was number");
    EXPECT_STR(r.text, "mode EXPLORE -> STOPPING");
    child_stop(&f.bridge, 0, 1);

    kill(f.daemon.pid, SIGKILL);
    child_stop(&f.daemon, 0, 1);
    EXPECT(why(&r, &f, "1")->code == 0);
    EXPECT_STR(r.text, "died in DISARMED without an orderly end");
    EXPECT_STR(r.text, "stop 1  state_stale");
    EXPECT(why(&r, &f, "7")->code == 1);
    EXPECT_STR(r.text, "there is no recording 7");
    EXPECT(why(&r, &f, "seven")->code == 64);

    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1));
    json_t *s = fixture_status(&f);
    EXPECT_STR(js_str(s, "before", ""), "died in DISARMED");
    json_decref(s);
    EXPECT(why(&r, &f, "--list")->code == 0);
    EXPECT_STR(r.text, "state_stale");
    EXPECT_STR(r.text, "crash");
    EXPECT(why(&r, &f, "--json")->code == 0);
    json_t *o = json_loads(r.text, 0, NULL);
    EXPECT_STR(js_str(o, "code", ""), "crash");
    EXPECT(json_array_size(json_object_get(o, "ticks")) > 10);
    json_decref(o);
    fixture_end(&f);
    snprintf(path, sizeof path, "%s/stops/alive", f.dir);
    EXPECT(access(path, F_OK) != 0 && errno == ENOENT); /* that end was in order */
}

TEST(a_joint_that_says_nan_is_named_by_limber_why)
{
    static const char *const slow[] = { "control_hz: 25", "control_hz: 10", NULL };
    struct fixture           f;
    struct result            r;

    fixture_init(&f, slow);
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        return;
    }
    struct robot *robot = robot_new(&f);
    EXPECT(robot_hello(robot));
    robot_begin(robot);
    EXPECT(fixture_arm(&f, 15));
    robot_pause(robot);
    robot->state.velocity[1] = (double)NAN;
    robot_run(robot, 0.6);
    EXPECT(fixture_wait(&f, "recording", "1", 3));
    EXPECT(why(&r, &f, "")->code == 0);
    EXPECT_STR(r.text, "state_rejected");
    EXPECT_STR(r.text, "hinge's velocity was nan");
    robot_free(robot);
    fixture_end(&f);
}
