/* Claims about what the receiver makes of a bad link: damaged messages, numbers that are missing or come twice; and what it
 * tells of commands that its own limits changed (F2, F4, F10). */
#include <math.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "firmware-bridge/receiver.h"
#include "tests/test.h"

/* One joint of 40 N and 100 N/s; 30 ms of timeout; the robot is at rest. */
static struct receiver fresh(void)
{
    struct receiver_limits l = { .nj = 1, .actuated = { true }, .effort_max = { 40 }, .damp_kd = { 2 }, .command_timeout_ms = 30 };
    struct receiver        r;

    receiver_unlimited(&l);
    l.effort_rate[0] = 100;
    receiver_init(&r, &l);
    receiver_session(&r, 1);
    return r;
}

/* Command `seq` at so many ms, which answers a state sent then. */
static bool told(struct receiver *r, uint64_t seq, enum command_mode mode, double tau, uint64_t ms)
{
    struct joint_command c = { .session = 1, .seq = seq, .state_seq = ms, .valid_ms = 100, .mode = mode, .nj = 1, .torque = { tau } };

    receiver_state_sent(r, ms, ms * NS_PER_MS);
    return receiver_command(r, &c, ms * NS_PER_MS);
}

static double effort(struct receiver *r, double dq, uint64_t ms)
{
    double tau, q = 0;

    receiver_effort(r, &q, &dq, ms * NS_PER_MS, &tau);
    return tau;
}

/* ---- F2 ---- */

TEST(three_damaged_of_the_last_ten_messages_damp_and_no_torque_is_taken_until_fewer_are)
{
    struct receiver r = fresh();
    struct rng      g;
    uint32_t        last = 0;
    uint64_t        driven = 0, damped = 0, damages = 0;

    rng_seed(&g, 1);
    for (uint64_t k = 1; k < 20000; k++) {
        bool damaged = rng_below(&g, 100) < k / 400, taken = false;

        last = (last << 1 | damaged) & 0x3ff;
        bool degraded = __builtin_popcount(last) >= 3;
        if (damaged)
            receiver_damaged(&r, 10 * k * NS_PER_MS), damages++;
        else
            taken = told(&r, k, r.mode == RECEIVER_LATCH ? COMMAND_IDLE : COMMAND_TORQUE, 1, 10 * k);
        EXPECT(damaged || r.mode == RECEIVER_OFF || taken == !degraded);
        double tau = effort(&r, 0.5, 10 * k);
        EXPECT(!degraded || !(tau > 0));
        driven += tau > 0, damped += tau < 0;
    }
    EXPECT(driven > 3000 && damped > 1000);
    EXPECT(damages > 3000 && r.count[RECEIVER_DAMAGED] == damages && r.count[RECEIVER_DEGRADED] > 1000 && r.count[RECEIVER_STALE] == 0);
}

TEST(while_the_link_is_damaged_torque_is_no_sign_of_life_and_idle_and_damp_are)
{
    struct receiver r = fresh();

    EXPECT(told(&r, 1, COMMAND_TORQUE, 1, 1000) && effort(&r, 0, 1000) > 0);
    receiver_damaged(&r, 1001 * NS_PER_MS);
    receiver_damaged(&r, 1002 * NS_PER_MS);
    EXPECT(effort(&r, 0, 1002) > 0); /* two may be */
    receiver_damaged(&r, 1003 * NS_PER_MS);
    EXPECT(r.mode == RECEIVER_DAMP && !(effort(&r, 0, 1003) > 0));
    for (uint64_t k = 2; k <= 7; k++)
        EXPECT(!told(&r, k, COMMAND_TORQUE, 1, 1003 + k));
    EXPECT(r.count[RECEIVER_DEGRADED] == 6 && r.mode == RECEIVER_DAMP);
    effort(&r, 0, 1151); /* 150 ms after the last one that was taken */
    EXPECT(r.mode == RECEIVER_LATCH);
    EXPECT(told(&r, 8, COMMAND_IDLE, 0, 1152) && r.mode == RECEIVER_OFF);
    receiver_damaged(&r, 1153 * NS_PER_MS);
    EXPECT(r.mode == RECEIVER_OFF); /* it drives nobody on */
    EXPECT(told(&r, 9, COMMAND_DAMP, 0, 1154) && r.mode == RECEIVER_DAMP);
}

TEST(a_new_session_begins_with_a_clean_link)
{
    struct receiver r = fresh();

    for (int i = 0; i < 10; i++)
        receiver_damaged(&r, 1000 * NS_PER_MS);
    EXPECT(!told(&r, 1, COMMAND_TORQUE, 1, 1001));
    receiver_session(&r, 1);
    EXPECT(told(&r, 1, COMMAND_TORQUE, 1, 1002));
}

/* ---- F4 ---- */

TEST(what_is_missing_is_counted_once_whatever_comes_of_the_rest_and_jumps_by_more_than_three_as_such)
{
    static const struct {
        uint64_t seq, lost, jumped, repeated, old;
    } row[] = { { 1, 0, 0, 0, 0 },  { 2, 0, 0, 0, 0 },  { 4, 1, 0, 0, 0 },   { 4, 1, 0, 1, 0 },   { 7, 3, 0, 1, 0 },
                { 11, 6, 1, 1, 0 }, { 6, 6, 1, 1, 1 },  { 100, 94, 2, 1, 1 }, { 101, 94, 2, 1, 1 }, { 101, 94, 2, 2, 1 },
                { 101 + (1ull << 30) + 1, 94, 2, 2, 2 }, { 102, 94, 2, 2, 2 } };
    struct receiver r = fresh();

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        told(&r, row[i].seq, COMMAND_TORQUE, 0, 1000 + i);
        EXPECT(r.count[RECEIVER_LOST] == row[i].lost && r.count[RECEIVER_JUMPED] == row[i].jumped);
        EXPECT(r.count[RECEIVER_REPEATED] == row[i].repeated && r.count[RECEIVER_SEQ] == row[i].old);
    }
    told(&r, 103, COMMAND_TORQUE, (double)NAN, 1100); /* refused, but it came */
    told(&r, 104, COMMAND_TORQUE, 0, 1101);
    EXPECT(r.count[RECEIVER_LOST] == 94 && r.count[RECEIVER_NONFINITE] == 1);
    receiver_session(&r, 1);
    told(&r, 3, COMMAND_TORQUE, 0, 1102); /* a session counts from 1 */
    EXPECT(r.count[RECEIVER_LOST] == 96);
}

/* Against the plainest account of it: which numbers came, among those up to the highest. */
TEST(in_any_order_what_is_lost_is_what_had_not_come_when_a_higher_one_did)
{
    struct receiver r = fresh();
    struct rng      g;
    uint64_t        next = 0, lost = 0;

    rng_seed(&g, 4);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t step = rng_below(&g, 4) ? 1 : rng_below(&g, 8), old = rng_below(&g, 4) == 0 && next > 20;
        uint64_t seq = old ? next - rng_below(&g, 10) : next + step;

        if (seq == 0)
            continue;
        lost += seq > next ? seq - next - 1 : 0;
        next = seq > next ? seq : next;
        told(&r, seq, rng_below(&g, 2) ? COMMAND_IDLE : COMMAND_TORQUE, 0, 1000 + i);
        EXPECT(r.count[RECEIVER_LOST] == lost);
    }
    EXPECT(lost > 1000);
}

/* ---- F10 ---- */

TEST(a_command_beyond_the_limit_is_counted_once_as_changed_and_damping_beyond_it_is_not)
{
    struct receiver r = fresh();

    for (uint64_t k = 1; k <= 13; k++) /* nearly as fast as it may */
        told(&r, k, COMMAND_TORQUE, 2.8 * (double)k, 1000 + 28 * k), effort(&r, 0, 1000 + 28 * k);
    EXPECT(r.count[RECEIVER_CHANGED] == 0 && r.count[RECEIVER_SLOWED] == 0);
    told(&r, 14, COMMAND_TORQUE, 41, 1390);
    for (uint64_t ms = 1390; ms < 1400; ms++)
        effort(&r, 0, ms);
    EXPECT(r.count[RECEIVER_CHANGED] == 1 && r.count[RECEIVER_CLAMPED] == 10);
    told(&r, 15, COMMAND_TORQUE, -41, 1400);
    effort(&r, 0, 1400);
    EXPECT(r.count[RECEIVER_CHANGED] == 2);
    told(&r, 16, COMMAND_DAMP, 0, 1410);
    effort(&r, 1000, 1410);
    EXPECT(r.count[RECEIVER_CHANGED] == 2 && r.count[RECEIVER_CLAMPED] == 12);
}

TEST(a_command_that_is_beyond_the_limit_of_any_one_joint_is_changed)
{
    for (int over = 0; over < 3; over++) {
        struct receiver_limits l = { .nj = 3, .actuated = { true, true, true }, .effort_max = { 40, 40, 40 }, .command_timeout_ms = 30 };
        struct joint_command   c = { .session = 1, .seq = 1, .state_seq = 1, .valid_ms = 100, .mode = COMMAND_TORQUE, .nj = 3 };
        struct receiver        r;
        double                 tau[3], zero[3] = { 0 };

        receiver_unlimited(&l);
        receiver_init(&r, &l);
        receiver_session(&r, 1);
        receiver_state_sent(&r, 1, NS_PER_S);
        c.torque[over] = 41;
        EXPECT(receiver_command(&r, &c, NS_PER_S));
        receiver_effort(&r, zero, zero, NS_PER_S, tau);
        EXPECT(r.count[RECEIVER_CHANGED] == 1 && tau[over] == 40);
    }
}

/* At its velocity limit, and then no longer: effort grows again from 0, of which the daemon knows nothing. */
TEST(what_a_joint_that_was_cut_back_lacks_until_it_has_caught_up_is_no_disagreement)
{
    struct receiver r = fresh();
    uint64_t        k = 1, ms = 1000;

    r.limits.velocity_max[0] = 5;
    for (; k <= 20; k++, ms += 10) /* 100 N/s */
        told(&r, k, COMMAND_TORQUE, (double)k, ms), effort(&r, 0, ms);
    for (int chatter = 0; chatter < 5; chatter++)
        for (int i = 0; i < 6; i++, k++, ms += 10)
            told(&r, k, COMMAND_TORQUE, 20, ms), effort(&r, i ? 4 : 6, ms);
    EXPECT(r.count[RECEIVER_CUT_BACK] == 5 && r.count[RECEIVER_SLOWED] > 5 && r.count[RECEIVER_CHANGED] == 0);
    for (int i = 0; i < 30; i++, k++, ms += 10)
        told(&r, k, COMMAND_TORQUE, 20, ms), effort(&r, 0, ms);
    EXPECT(effort(&r, 0, ms) == 20);
    told(&r, k, COMMAND_TORQUE, 38, ms + 10);
    effort(&r, 0, ms + 10);
    EXPECT(r.count[RECEIVER_CHANGED] == 1);
}

TEST(a_command_that_grows_too_fast_is_changed_and_one_that_is_cut_back_is_not)
{
    struct receiver r = fresh();

    r.limits.velocity_max[0] = 5;
    told(&r, 1, COMMAND_TORQUE, 2, 1000);
    EXPECT(effort(&r, 6, 1000) == 0 && r.count[RECEIVER_CUT_BACK] == 1 && r.count[RECEIVER_CHANGED] == 0);
    r = fresh();
    told(&r, 1, COMMAND_TORQUE, 2, 1000), effort(&r, 0, 1000);
    told(&r, 2, COMMAND_TORQUE, 20, 1010);
    EXPECT(effort(&r, 0, 1010) < 10 && r.count[RECEIVER_CHANGED] == 1);
    effort(&r, 0, 1012);
    EXPECT(r.count[RECEIVER_CHANGED] == 1); /* the same command */
    told(&r, 3, COMMAND_TORQUE, 20, 1020);
    effort(&r, 0, 1020);
    EXPECT(r.count[RECEIVER_CHANGED] == 2);
}

enum { AT = 2000 };

/* Driven at 30 N for long, until command 1. */
static struct receiver driven(void)
{
    struct receiver r = fresh();

    for (uint64_t k = 1; k <= 30; k++)
        told(&r, k, COMMAND_TORQUE, (double)k, AT - 10 * (31 - k)), effort(&r, 0, AT - 10 * (31 - k));
    EXPECT(r.count[RECEIVER_SLOWED] == 0);
    return r;
}

/* From here on the daemon goes on with 30 N; how many of its commands are changed, and slowed evaluations. */
static void goes_on(struct receiver *r, uint64_t seq, uint64_t ms, uint64_t *changed, uint64_t *slowed)
{
    uint64_t changed_before = r->count[RECEIVER_CHANGED], slowed_before = r->count[RECEIVER_SLOWED];

    for (int i = 0; i < 60; i++)
        told(r, seq + (uint64_t)i, COMMAND_TORQUE, 30, ms + 10 * (uint64_t)i), effort(r, 0, ms + 10 * (uint64_t)i);
    *changed = r->count[RECEIVER_CHANGED] - changed_before;
    *slowed  = r->count[RECEIVER_SLOWED] - slowed_before;
}

TEST(where_the_daemon_cannot_know_that_the_robot_side_begins_again_what_the_rate_changes_is_not_told)
{
    struct receiver r = driven();
    uint64_t        changed, slowed;

    goes_on(&r, 31, AT, &changed, &slowed);
    EXPECT(changed == 0 && slowed == 0);
    r = driven();
    goes_on(&r, 34, AT + 30, &changed, &slowed); /* three were lost, and the last one ran out */
    EXPECT(changed == 0 && slowed > 10);
    r = driven();
    goes_on(&r, 31, AT + 40, &changed, &slowed); /* they were late: none is missing */
    EXPECT(changed == 0 && slowed > 10);
    r = driven();
    receiver_forget_command(&r);
    goes_on(&r, 31, AT, &changed, &slowed);
    EXPECT(changed == 0 && slowed > 10);
    r = driven();
    for (int i = 0; i < 3; i++)
        receiver_damaged(&r, AT * NS_PER_MS);
    goes_on(&r, 34, AT + 10, &changed, &slowed);
    EXPECT(changed == 0 && slowed > 10);
}

TEST(where_it_can_and_once_it_has_caught_up_it_is_told)
{
    struct receiver r = driven();
    uint64_t        changed, slowed;

    EXPECT(told(&r, 31, COMMAND_DAMP, 0, AT)); /* after this a daemon begins at 0, too */
    goes_on(&r, 32, AT + 10, &changed, &slowed);
    EXPECT(changed > 10 && changed == slowed);
    r = fresh(); /* so it does in a new session */
    goes_on(&r, 1, AT, &changed, &slowed);
    EXPECT(changed > 10 && changed == slowed);
    r = driven();
    goes_on(&r, 34, AT + 30, &changed, &slowed);
    EXPECT(changed == 0);
    told(&r, 94, COMMAND_TORQUE, -30, AT + 640);
    effort(&r, 0, AT + 640);
    EXPECT(r.count[RECEIVER_CHANGED] == 1);
}
