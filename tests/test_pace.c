/* test_pace.c - whose clock the control thread goes by: a robot side that sends too fast, a machine that slept, and a stop that
 * comes whatever came with it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char *const by_state[] = { "control_hz: 25", "control_hz: 100", "plan_every: 1",
                                        "plan_every: 4",  "lockstep: true",  "lockstep: false",
                                        "next: auto",     "next: operator",  NULL };
static const char *const idle[] = { "lockstep: true", "lockstep: false", "next: auto", "next: operator", NULL };

static double ticks(struct fixture *f)
{
    return fixture_number(f, "control.ticks");
}

/* Ticks a second while the robot side sends that many states. */
static double ticks_at(struct fixture *f, struct robot *r, double hz)
{
    r->hz = hz;
    robot_run(r, 0.5);
    double   before = ticks(f);
    uint64_t since  = clock_now_ns();

    robot_run(r, 4);
    return (ticks(f) - before) / ((double)(clock_now_ns() - since) * 1e-9);
}

/* Effort, heat, windows: what is limited per second is counted in ticks. */
TEST(a_robot_side_that_sends_faster_than_asked_for_does_not_make_control_faster)
{
    struct fixture f;

    fixture_init(&f, by_state);
    EXPECT(fixture_daemon(&f, NULL));
    struct robot *r = robot_new(&f);
    EXPECT(robot_hello(r));
    double asked = ticks_at(&f, r, 100), thrice = ticks_at(&f, r, 300);
    EXPECT(asked > 80 && asked < 106);
    EXPECT(thrice > 80 && thrice < 108);
    if (!(thrice < 108))
        printf("    %.1f ticks a second at 100 states a second, %.1f at 300\n", asked, thrice);
    robot_free(r);
    fixture_end(&f);
}

TEST(a_machine_that_was_suspended_while_armed_comes_back_stopped_and_latched)
{
    static char       preload[600], asleep[300];
    const char *const wrapper[] = { "/usr/bin/env", preload, asleep, NULL };
    struct fixture    f;
    int64_t           ns = 0;

    if (RT_SANITIZED)
        return; /* a sanitizer wants to be loaded first */
    fixture_init(&f, idle);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/asleep.so", test_build_dir());
    snprintf(asleep, sizeof asleep, "ASLEEP=%s/asleep", test_dir());
    int fd = open(asleep + strlen("ASLEEP="), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT(fd >= 0 && write(fd, &ns, sizeof ns) == sizeof ns);
    f.wrapper = wrapper;
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, NULL) && fixture_arm(&f, 10));
    usleep(300000);
    EXPECT(fixture_wait(&f, "mode", "BASELINE", 1));
    ns = 3600 * (int64_t)NS_PER_S;
    EXPECT(pwrite(fd, &ns, sizeof ns, 0) == sizeof ns);
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 5));
    EXPECT(fixture_wait(&f, "stop.code", "host_stall", 1) && fixture_wait(&f, "latched", "true", 1));
    close(fd);
    fixture_end(&f);
}

/* Others wait for answers that do not come: the simulator, for which time waits, stands still. */
TEST(a_stop_is_taken_before_all_that_waits_although_there_is_no_place_to_wait_left)
{
    static const char *const own[] = { "next: auto", "next: operator", NULL };
    static const char *const sim[] = { "--lockstep", NULL };
    struct fixture           f;
    char                     command[700], text[300];

    fixture_init(&f, own);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, sim) && fixture_arm(&f, 10));
    kill(f.bridge.pid, SIGSTOP);
    snprintf(command, sizeof command,
             "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do curl -s -m 8 -X POST --unix-socket %s/control.sock "
             "http://limber/reset >>%s/answers 2>&1 & done; sleep 0.5; %s/limber stop --run-dir %s",
             f.dir, test_dir(), test_build_dir(), f.dir);
    EXPECT(test_command(command, text, sizeof text) == 0);
    EXPECT_STR(text, "stop asked for");
    uint64_t stopped_at = (uint64_t)fixture_number(&f, "control.ticks");
    kill(f.bridge.pid, SIGCONT);
    EXPECT(fixture_wait(&f, "stop.code", "operator", 3));
    EXPECT(fixture_number(&f, "stop.tick") <= (double)stopped_at + 3); /* before eighteen resets, one a tick */
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 3) || fixture_wait(&f, "latched", "true", 1));
    fixture_end(&f);
}

TEST(a_stop_is_obeyed_whatever_was_sent_with_it)
{
    static const char *const bodies[] = { "now", "{", "[1]", "{\"robot\": \"another\"}", "\"x\"" };
    static const char *const verbs[]  = { "/stop", "/disarm" };

    for (int v = 0; v < 2; v++) {
        struct fixture f;

        fixture_init(&f, idle);
        EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, NULL));
        for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
            EXPECT(fixture_arm(&f, 10));
            EXPECT(fixture_post(&f, verbs[v], bodies[i], NULL, 0));
            EXPECT(fixture_wait(&f, "mode", "DISARMED", 3));
            EXPECT(v == 1 || fixture_post(&f, "/reset", NULL, NULL, 0));
        }
        EXPECT(!fixture_post(&f, "/trial/start", "now", NULL, 0)); /* of everything else it is asked for */
        fixture_end(&f);
    }
}
