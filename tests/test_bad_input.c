/* Bad input over the real socket, to a real limberd: counted by kind, answered or ignored as safety.md says, never a
 * crash, never a torque outside limits, never a lost store. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* 10 Hz: the robot side here is an ordinary thread, and a shared machine makes it late. */
static const char *const slow[] = { "control_hz: 25", "control_hz: 10", NULL };

static bool started(struct fixture *f)
{
    fixture_init(f, slow);
    bool ok = fixture_daemon(f, NULL);
    EXPECT(ok);
    return ok;
}

static bool count_reaches(struct fixture *f, const char *kind, const char *n)
{
    char path[80];

    snprintf(path, sizeof path, "link.counts.%s", kind);
    return fixture_wait(f, path, n, 3);
}

TEST(garbage_truncated_oversized_and_unknown_messages_are_counted_by_kind)
{
    struct fixture f;
    struct message m = { .kind = MESSAGE_HELLO };
    uint8_t        buf[CODEC_MAX_BYTES], *big = calloc(1, 3 * CODEC_MAX_BYTES);
    size_t         n;

    if (!started(&f))
        return;
    struct robot *r = robot_new(&f);
    m.hello         = r->hello;
    n               = codec_pack(&m, buf);
    EXPECT(robot_hello(r));
    robot_raw(r, "\xff\xff\xff\xff garbage", 12);
    EXPECT(count_reaches(&f, "crc", "1"));
    robot_raw(r, buf, n - 3);
    EXPECT(count_reaches(&f, "crc", "2"));
    robot_raw(r, buf, codec_seal(FROM_ROBOT, buf, n - CODEC_CRC_BYTES - 3)); /* cut short before it was sealed */
    EXPECT(count_reaches(&f, "garbage", "1"));
    robot_raw(r, big, 2 * CODEC_MAX_BYTES);
    EXPECT(count_reaches(&f, "oversized", "1"));
    memcpy(buf, "\x9a\x06\x02hi", 5); /* field 99: a body this version does not know */
    robot_raw(r, buf, codec_seal(FROM_ROBOT, buf, 5));
    EXPECT(count_reaches(&f, "unknown", "1"));
    m.kind    = MESSAGE_COMMAND;       /* only the daemon may say this */
    m.command = (struct joint_command){ .nj = 2, .mode = COMMAND_TORQUE };
    n         = codec_pack(&m, buf);
    robot_raw(r, buf, n); /* as it said it */
    EXPECT(count_reaches(&f, "echo", "1"));
    robot_raw(r, buf, codec_seal(FROM_ROBOT, buf, n - CODEC_CRC_BYTES));
    EXPECT(count_reaches(&f, "unexpected", "1"));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1)); /* alive, and as it was */
    robot_run(r, 0.5);
    EXPECT(fixture_number(&f, "link.counts.states") >= 4);
    robot_free(r);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
    free(big);
}

static bool refused(struct robot *r, enum refusal_code code, const char *part)
{
    return !robot_hello(r) && r->refusal.code == code && strstr(r->refusal.sentence, part);
}

TEST(every_wrong_hello_is_refused_with_its_code_and_a_sentence)
{
    struct fixture f;

    if (!started(&f))
        return;
    struct robot *r    = robot_new(&f);
    struct hello  good = r->hello;

    r->hello.protocol = 3;
    EXPECT(refused(r, REFUSAL_PROTOCOL, "3"));
    EXPECT(r->refusal.daemon_protocol == LIMBER_PROTOCOL && r->refusal.peer_protocol == 3);
    r->hello = good;
    strcpy(r->hello.robot, "pusher");
    EXPECT(refused(r, REFUSAL_ROBOT, "pusher"));
    r->hello    = good;
    r->hello.nj = 1;
    EXPECT(refused(r, REFUSAL_JOINTS, "1"));
    r->hello = good;
    strcpy(r->hello.joint[1].name, "elbow");
    EXPECT(refused(r, REFUSAL_JOINTS, "elbow"));
    r->hello                     = good;
    r->hello.joint[0].effort_max = 20;
    EXPECT(refused(r, REFUSAL_LIMITS, "slider"));
    r->hello                          = good;
    r->hello.joint[0].effort_rate_max = 20;
    EXPECT(refused(r, REFUSAL_LIMITS, "effort_rate_max: joint \"slider\" allows 20"));
    r->hello           = good;
    r->hello.simulated = false;
    EXPECT(refused(r, REFUSAL_SIMULATED, "sim"));
    r->hello                    = good;
    r->hello.command_timeout_ms = 60000;
    EXPECT(refused(r, REFUSAL_TIMEOUT_POLICY, "60000"));
    EXPECT(fixture_number(&f, "link.counts.refused") == 8);
    r->hello = good;
    EXPECT(robot_hello(r));
    robot_free(r);
    fixture_end(&f);
}

TEST(duplicate_old_and_reordered_states_are_counted_and_dropped)
{
    struct fixture f;

    if (!started(&f))
        return;
    struct robot *r = robot_new(&f);
    EXPECT(robot_hello(r));
    robot_run(r, 0.5);
    double good = fixture_number(&f, "link.counts.states");

    r->state.seq--; /* the same number again */
    robot_send_state(r);
    EXPECT(count_reaches(&f, "duplicate", "1"));
    r->state.seq -= 3;
    robot_send_state(r);
    EXPECT(count_reaches(&f, "old", "1"));
    EXPECT(fixture_number(&f, "link.counts.states") == good);
    r->state.seq += 5;
    robot_send_state(r);
    EXPECT(count_reaches(&f, "gap", "1"));
    r->session ^= 1;
    robot_send_state(r);
    EXPECT(count_reaches(&f, "no_session", "1"));
    robot_listen(r, 100);
    EXPECT(r->refusal.code == REFUSAL_SESSION);
    robot_free(r);
    fixture_end(&f);
}

TEST(a_second_robot_side_is_refused_while_the_first_is_alive)
{
    struct fixture f;

    if (!started(&f))
        return;
    struct robot *first = robot_new(&f), *second = robot_new(&f);
    second->hello.boot_id ^= 77;
    EXPECT(robot_hello(first));
    robot_run(first, 0.3);
    EXPECT(refused(second, REFUSAL_BUSY, "alive"));
    EXPECT(count_reaches(&f, "second_peer", "1"));
    robot_run(first, 0.3);
    EXPECT(fixture_wait(&f, "link.connected", "true", 1));
    robot_listen(second, 1200); /* the first falls silent: now there is room */
    EXPECT(robot_hello(second));
    EXPECT(second->session != first->session);
    robot_free(first);
    robot_free(second);
    fixture_end(&f);
}

/* Connected, armed, in the middle of an exploration trial that never ends by itself. */
static struct robot *armed_robot(struct fixture *f)
{
    struct robot *r = robot_new(f);

    EXPECT(robot_hello(r));
    robot_begin(r);
    EXPECT(fixture_arm(f, 40));
    robot_pause(r);
    for (int i = 0; i < 50 && !r->trial_requests; i++)
        robot_run(r, 0.1);
    struct message m = { .kind = MESSAGE_TRIAL_EVENT };
    uint8_t        buf[CODEC_MAX_BYTES];
    m.trial_event = (struct trial_event){ .session = r->session, .kind = TRIAL_READY };
    robot_raw(r, buf, codec_pack(&m, buf));
    robot_run(r, 1.0);
    EXPECT(fixture_wait(f, "mode", "EXPLORE", 1));
    EXPECT(r->command.mode == COMMAND_TORQUE && r->effort_max > 1);
    return r;
}

/* Ask to arm as often as one likes: refused, and where all else is well (a slow machine, or one under a sanitizer, may
 * lose a state now and then) for the latch alone. */
static bool stays_latched(struct fixture *f)
{
    char text[300];
    bool never = true, latched = false;

    for (int i = 0; i < 20 || (!latched && i < 150); i++) {
        never   = never && !fixture_post(f, "/arm", "{\"yes\": true}", text, sizeof text);
        latched = latched || strstr(text, "not_latched");
        usleep(100000);
    }
    return never && latched;
}

TEST(one_implausible_state_is_survived_three_stop_the_robot_and_latch)
{
    static const double bad[] = { (double)NAN, (double)INFINITY, 1e9 };
    struct fixture      f;

    if (!started(&f))
        return;
    struct robot *r = armed_robot(&f);

    for (int i = 0; i < 3; i++) { /* one at a time, with good ones between */
        r->state.velocity[0] = bad[i];
        robot_run(r, 0.1);
        r->state.velocity[0] = 0;
        robot_run(r, 0.5);
    }
    EXPECT(fixture_wait(&f, "mode", "EXPLORE", 1));
    EXPECT(fixture_number(&f, "link.rejected.nonfinite") == 2);
    EXPECT(fixture_number(&f, "link.rejected.range") == 1);

    r->state.position[1] = (double)NAN;
    robot_run(r, 0.5);
    r->state.position[1] = 0;
    EXPECT(r->command.mode != COMMAND_TORQUE);
    robot_run(r, 1.5);
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1));
    EXPECT(fixture_wait(&f, "latched", "true", 1));
    EXPECT(fixture_wait(&f, "stop.code", "state_rejected", 1));
    robot_begin(r);
    EXPECT(stays_latched(&f));
    robot_pause(r);
    EXPECT(!r->nonfinite && r->effort_max <= 300);
    robot_free(r);
    fixture_end(&f);
}

TEST(a_robot_side_that_vanishes_is_damped_for_latched_and_may_come_back_disarmed)
{
    struct fixture f;

    if (!started(&f))
        return;
    struct robot *r = armed_robot(&f);

    robot_listen(r, 1200); /* silence */
    EXPECT(r->command.mode != COMMAND_TORQUE);
    EXPECT(fixture_wait(&f, "stop.code", "state_stale", 1));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1));
    r->hello.boot_id++;
    EXPECT(robot_hello(r));
    robot_begin(r);
    EXPECT(stays_latched(&f));
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 0));
    EXPECT(fixture_post(&f, "/reset", NULL, NULL, 0));
    EXPECT(fixture_arm(&f, 40));
    robot_pause(r);
    EXPECT(!r->nonfinite && r->effort_max <= 300);
    robot_free(r);
    fixture_end(&f);
}

TEST(an_emergency_stop_over_the_wire_faults_until_released_and_reset)
{
    struct fixture f;

    if (!started(&f))
        return;
    struct robot *r = armed_robot(&f);

    r->state.estop = true;
    robot_run(r, 0.5);
    EXPECT(r->command.mode == COMMAND_DAMP); /* IDLE would end the robot side's own latch */
    EXPECT(fixture_wait(&f, "mode", "FAULT", 1));
    EXPECT(fixture_wait(&f, "stop.code", "estop", 1));
    EXPECT(!fixture_post(&f, "/reset", NULL, NULL, 0));
    r->state.estop = false;
    robot_run(r, 0.5);
    EXPECT(fixture_wait(&f, "mode", "FAULT", 0));
    robot_begin(r);
    EXPECT(fixture_post(&f, "/reset", NULL, NULL, 0));
    robot_pause(r);
    EXPECT(fixture_wait(&f, "mode", "DISARMED", 1));
    robot_free(r);
    fixture_end(&f);
}
