/* test_reset.c - what the model (tests/spin) found about resets. */
#include <string.h>

#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/test.h"

struct bench {
    struct robot_config config;
    struct core         core;
    struct core_input   in;
    struct core_output  out;
    struct joint_state  state;
};

static void tick(struct bench *b, enum operation_kind op)
{
    b->in.now_ns += b->core.tick_ns;
    b->state.seq++;
    b->in.state     = &b->state;
    b->in.state_new = true;
    b->in.op        = (struct operation){ .kind = op };
    core_step(&b->core, &b->in, &b->out);
}

/* Armed in session 7. */
static void armed(struct bench *b)
{
    memset(b, 0, sizeof *b);
    dst_config(&b->config);
    core_init(&b->core, &b->config, 0);
    core_ready(&b->core);
    b->in.now_ns        = NS_PER_S;
    b->in.host          = ~0u;
    b->in.timing_clean  = true;
    b->in.aborted_trial = -1;
    b->state            = (struct joint_state){ .session = 7, .nj = b->config.nj, .ready_trial = -1 };
    for (int i = 0; i < 4 * (int)b->config.control_hz; i++)
        tick(b, OP_NONE);
    tick(b, OP_ARM);
    EXPECT(b->core.mode == MODE_BASELINE);
}

/* FAULT sends DAMP, and only IDLE ends the robot side's latch: a reset that waited for that would wait for ever. */
TEST(the_robot_sides_own_latch_does_not_forbid_the_reset_that_ends_it)
{
    static struct bench b;

    armed(&b);
    b.state.faults = ROBOT_FAULT_LATCHED; /* an e-stop came and went */
    tick(&b, OP_NONE);
    EXPECT(b.core.mode == MODE_FAULT && b.out.command.mode == COMMAND_DAMP);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_DISARMED && b.out.command.mode == COMMAND_IDLE);

    armed(&b);
    b.state.faults = ROBOT_FAULT_LATCHED | ROBOT_FAULT_DIVERGED;
    tick(&b, OP_NONE);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_FAULT); /* any other fault does */
}

TEST(a_reset_does_not_clear_a_fault_that_came_up_in_the_same_tick)
{
    static struct bench b;

    armed(&b);
    b.state.session++; /* the robot side started anew while armed */
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_FAULT);
    tick(&b, OP_RESET);
    EXPECT(b.core.mode == MODE_DISARMED);
}
