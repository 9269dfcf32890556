/* test_mutants.c - claims that changed code would have survived without (`make mutate`). */
#include <string.h>

#include "daemon/mode.h"
#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"
#include "tests/test.h"

TEST(mode_names_and_who_may_move)
{
    static const char *const name[MODE_COUNT] = { "BOOT",     "DISARMED", "BASELINE", "EXPLORE",
                                                  "ADVANCED", "STOPPING", "FAULT" };

    for (int m = 0; m < MODE_COUNT; m++) {
        EXPECT(strcmp(mode_name((enum mode)m), name[m]) == 0);
        EXPECT(mode_armed((enum mode)m) == (m >= MODE_BASELINE && m <= MODE_ADVANCED));
    }
}

/* ---- receiver ---- */

static void receiver_begin(struct receiver *r)
{
    struct receiver_limits l = {
        .nj = 1, .actuated = { true }, .effort_max = { 10 }, .damp_kd = { 2 }, .command_timeout_ms = 40
    };

    receiver_unlimited(&l);
    receiver_init(r, &l);
    receiver_session(r, 5);
}

static bool told(struct receiver *r, enum command_mode mode, uint64_t seq, uint64_t at_ms)
{
    struct joint_command c = {
        .session = 5, .seq = seq, .state_seq = at_ms, .valid_ms = 40, .mode = mode, .nj = 1, .torque = { 3 }
    };

    receiver_state_sent(r, at_ms, at_ms * NS_PER_MS);
    return receiver_command(r, &c, at_ms * NS_PER_MS);
}

TEST(after_an_e_stop_is_cleared_a_silence_damps_again)
{
    const double    q = 0, dq = 1;
    double          tau;
    struct receiver r;

    receiver_begin(&r);
    receiver_estop(&r, true);
    receiver_estop(&r, false);
    EXPECT(told(&r, COMMAND_IDLE, 1, 1000) && r.mode == RECEIVER_OFF);
    EXPECT(told(&r, COMMAND_TORQUE, 2, 1001));
    receiver_effort(&r, &q, &dq, 1300 * NS_PER_MS, &tau);
    EXPECT(r.mode == RECEIVER_LATCH && tau == -2);
}

TEST(a_seq_may_jump_by_2_30_and_no_further)
{
    struct receiver r;

    receiver_begin(&r);
    EXPECT(!told(&r, COMMAND_TORQUE, (1u << 30) + 1, 1000) && r.count[RECEIVER_SEQ] == 1);
    EXPECT(told(&r, COMMAND_TORQUE, 1u << 30, 1001));
}

TEST(an_unknown_command_mode_is_refused_as_shape)
{
    struct receiver r;

    receiver_begin(&r);
    EXPECT(!told(&r, (enum command_mode)3, 1, 1000) && r.count[RECEIVER_SHAPE] == 1 && r.mode == RECEIVER_OFF);
}

TEST(what_is_behind_the_last_joint_of_a_command_is_not_looked_at)
{
    struct receiver      r;
    struct joint_command c = { .session   = 5,
                               .seq       = 1,
                               .state_seq = 1,
                               .valid_ms  = 40,
                               .mode      = COMMAND_TORQUE,
                               .nj        = 1,
                               .torque    = { 3, (double)NAN } };

    receiver_begin(&r);
    receiver_state_sent(&r, 1, NS_PER_S);
    EXPECT(receiver_command(&r, &c, NS_PER_S));
}

TEST(clamped_and_unactuated_count_evaluations_and_only_those)
{
    struct receiver_limits l = {
        .nj = 2, .actuated = { false, true }, .effort_max = { 0, 10 }, .damp_kd = { 0, 2 }, .command_timeout_ms = 40
    };
    struct joint_command c = {
        .session = 5, .seq = 1, .state_seq = 1, .valid_ms = 40, .mode = COMMAND_TORQUE, .nj = 2, .torque = { 0, 3 }
    };
    const double    q[2] = { 0 }, dq[2] = { 3, 3 };
    double          tau[3] = { 7, 7, 7 };
    struct receiver r;

    receiver_unlimited(&l);
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    receiver_state_sent(&r, 1, NS_PER_S);
    EXPECT(receiver_command(&r, &c, NS_PER_S));
    receiver_effort(&r, q, dq, NS_PER_S, tau);
    EXPECT(tau[0] == 0 && tau[1] == 3 && tau[2] == 7);
    EXPECT(r.count[RECEIVER_CLAMPED] == 0 && r.count[RECEIVER_UNACTUATED] == 0);

    c.seq = 2, c.torque[0] = 1; /* wanted where nothing can act */
    EXPECT(receiver_command(&r, &c, NS_PER_S));
    receiver_effort(&r, q, dq, NS_PER_S, tau);
    EXPECT(tau[0] == 0 && r.count[RECEIVER_UNACTUATED] == 1 && r.count[RECEIVER_CLAMPED] == 0);

    c.seq = 3, c.torque[0] = 0, c.kd[1] = 1; /* a measurement that is no number */
    EXPECT(receiver_command(&r, &c, NS_PER_S));
    receiver_effort(&r, q, (const double[2]){ 3, (double)NAN }, NS_PER_S, tau);
    EXPECT(tau[1] == 0 && r.count[RECEIVER_CLAMPED] == 1 && r.count[RECEIVER_UNACTUATED] == 1);

    receiver_effort(&r, q, dq, NS_PER_S + 40 * NS_PER_MS, tau); /* damped: nobody wanted the unactuated joint to act */
    EXPECT(tau[1] == -6 && r.count[RECEIVER_UNACTUATED] == 1 && r.count[RECEIVER_CLAMPED] == 1);
}

TEST(the_first_joint_that_cannot_act_is_counted_too)
{
    struct receiver_limits l = { .nj = 2, .effort_max = { 0, 0 }, .command_timeout_ms = 40 };
    struct joint_command   c = {
          .session = 5, .seq = 1, .state_seq = 1, .valid_ms = 40, .mode = COMMAND_TORQUE, .nj = 2, .torque = { 1, 0 }
    };
    const double    zero[2] = { 0 };
    double          tau[2];
    struct receiver r;

    receiver_unlimited(&l);
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    receiver_state_sent(&r, 1, NS_PER_S);
    EXPECT(receiver_command(&r, &c, NS_PER_S));
    receiver_effort(&r, zero, zero, NS_PER_S, tau);
    EXPECT(r.count[RECEIVER_UNACTUATED] == 1);
}

TEST(one_clipped_joint_among_others_counts_the_evaluation)
{
    struct receiver_limits l = {
        .nj = 2, .actuated = { true, true }, .effort_max = { 10, 10 }, .command_timeout_ms = 40
    };
    struct joint_command c = {
        .session = 5, .seq = 1, .state_seq = 1, .valid_ms = 40, .mode = COMMAND_TORQUE, .nj = 2, .torque = { 11, 1 }
    };
    const double    zero[2] = { 0 };
    double          tau[2];
    struct receiver r;

    receiver_unlimited(&l);
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    receiver_state_sent(&r, 1, NS_PER_S);
    EXPECT(receiver_command(&r, &c, NS_PER_S));
    receiver_effort(&r, zero, zero, NS_PER_S, tau);
    EXPECT(tau[0] == 10 && tau[1] == 1 && r.count[RECEIVER_CLAMPED] == 1);
}
