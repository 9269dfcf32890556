/* test_spin_core.c - what the model's daemon does at random, daemon/core.c does as well: mode, latch and command after every
 * tick.
 *
 * A tick of the model is one of core_step, two seconds long and in lockstep: then what has to hold for a second before arming
 * holds for a tick, as in the model.  gate is a plan that comes or does not; while stopping, a joint that stands still or does
 * not.  Trips fall within a minute but for the model's LATER, and of the five that are too many three were before.  What
 * the model has and this cannot say: docs/verification.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "tests/dst.h"
#include "tests/spin/walk.h"
#include "tests/test.h"

/* As in limber.pml: what happens to the robot, with the state, the operator's wish. */
enum { CRASH = 5, WELCOME = 6 };
enum { LOST, FRESH, OLD_STATE, BAD };
enum { ARM = 1, DISARM, STOP, RESET, PLANNED, RANDOM, TRIAL_ENDS, LATER, OPS };

enum { TICK_S = 2, MOTOR = 1, TRIPS_BEFORE = 3 };

/* A line "i": of one tick. */
struct told {
    int st, op, gate, outside, agreed, estop, mfault, latch; /* in  */
    int mode, command, latched;                              /* out */
};

struct follow {
    struct robot_config config;
    struct core         core;
    struct core_output  out;
    struct joint_state  state;
    bool                have_state, trips_count; /* ... towards a fault: in walks of the daemon alone */
    uint64_t            session, seq, now_ns;
    void (*bend)(struct told *t); /* plants a difference */
    long ticks, differences, mode[MODE_COUNT], too_many_trips;
    bool shown;
};

static void begin(struct follow *f)
{
    dst_config(&f->config);
    f->config.control_hz             = 1.0 / TICK_S;
    f->config.trials.steps           = 1 << 30;
    f->config.gates.plan_age         = (struct gate_config){ .threshold = 0 };
    f->config.gates.promote_s        = 0;
    f->config.timeouts.state_stale_s = 3 * TICK_S;
    f->config.timeouts.stop_ramp_s   = 2 * TICK_S;
    f->config.timeouts.stop_cap_s    = 3 * TICK_S;
    f->config.timeouts.reset_s       = 1e9;
    core_init(&f->core, &f->config, 0);
    f->core.shadow_model = 1; /* the model knows nothing of a shadow run: it is over */
    f->core.shadow_plans = 1 << 20;
    f->have_state        = false;
    f->state             = (struct joint_state){ .nj = 2, .ready_trial = -1 };
}

static const struct plan *solve(void *ctx, const struct plan_request *req)
{
    static struct plan plan;

    plan = dst_plan(req);
    for (int i = 0; i < MAX_OBS; i++)
        plan.out_std[i] = plan.predicted_std[i] = 1;
    return *(const int *)ctx ? &plan : NULL;
}

static struct operation operation_of(int op, uint64_t tick)
{
    static const enum operation_kind kind[OPS] = {
        [ARM]        = OP_ARM,
        [DISARM]     = OP_DISARM,
        [STOP]       = OP_STOP,
        [RESET]      = OP_RESET,
        [PLANNED]    = OP_TRIAL_START,
        [RANDOM]     = OP_TRIAL_START,
        [TRIAL_ENDS] = OP_TRIAL_STOP,
    };

    return (struct operation){ .kind       = kind[op],
                               .id         = tick,
                               .trial      = (uint32_t)tick,
                               .trial_kind = op == RANDOM ? TRIAL_RANDOM : TRIAL_PLANNED,
                               .steps      = 1 << 30 };
}

/* The robot side's next state, if one comes. */
static bool next_state(struct follow *f, const struct told *t)
{
    bool moves = f->core.mode == MODE_STOPPING && !t->gate;

    f->seq++;
    f->core.state.velocity[0] = moves ? 1 : 0; /* whether it stands still is so, also where no state says it */
    if (!t->agreed || (t->st != FRESH && t->st != BAD))
        return false;
    f->have_state        = true;
    f->state.session     = f->session;
    f->state.seq         = f->seq;
    f->state.estop       = t->estop;
    f->state.faults      = (t->mfault ? MOTOR : 0) | (t->latch ? ROBOT_FAULT_LATCHED : 0);
    f->state.position[0] = t->st == BAD ? (double)NAN : t->outside ? 5 : 0;
    f->state.velocity[0] = moves ? 1 : 0;
    return true;
}

static void compare(struct follow *f, const struct told *t)
{
    int command = f->out.has_command ? (int)f->out.command.mode + 1 : 0;

    f->ticks++;
    f->mode[f->core.mode]++;
    f->too_many_trips += f->core.stop == STOP_GATES && f->core.stop_tick == f->core.tick;
    if ((int)f->core.mode == t->mode && command == t->command && f->core.latched == t->latched)
        return;
    f->differences++;
    if (!f->shown && !f->bend)
        printf("    tick %ld: mode %s, model %s; command %d, model %d; latched %d, model %d\n", f->ticks,
               mode_name(f->core.mode), mode_name((enum mode)t->mode), command, t->command, f->core.latched,
               t->latched);
    f->shown = true;
}

static void follow_tick(struct follow *f, struct told *t)
{
    struct core *c = &f->core;

    if (f->bend)
        f->bend(t);
    if (c->mode == MODE_BOOT)
        core_ready(c);
    if (t->op == LATER || !f->trips_count)
        c->trips = 0;
    if (f->trips_count && c->trips < TRIPS_BEFORE)
        c->trips = TRIPS_BEFORE;
    f->now_ns += TICK_S * NS_PER_S;
    for (int i = 0; i < c->trips; i++) /* no time has passed since then */
        c->trip_ns[i] = f->now_ns;
    struct core_input in = { .now_ns        = f->now_ns,
                             .state_new     = next_state(f, t),
                             .lockstep      = true,
                             .solve         = solve,
                             .solve_ctx     = &t->gate,
                             .model_version = 1,
                             .host          = UINT32_MAX,
                             .timing_clean  = true,
                             .aborted_trial = -1,
                             .op            = operation_of(t->op, c->tick) };
    in.state             = f->have_state ? &f->state : NULL;
    core_step(c, &in, &f->out);
    if (f->out.has_trial_request && f->out.trial_request.kind == TRIAL_RESET) { /* it is there in the next tick */
        f->state.ready_trial = f->out.trial_request.trial;
        f->state.ready_count++;
    }
    compare(f, t);
}

static void follow_line(struct follow *f, const char *line)
{
    struct told t;
    int         what;

    if (sscanf(line, "i %d %d %d %d %d %d %d %d %d %d %d", &t.st, &t.op, &t.gate, &t.outside, &t.agreed, &t.estop,
               &t.mfault, &t.latch, &t.mode, &t.command, &t.latched) == 11)
        follow_tick(f, &t);
    else if (line[0] == 'w' || (sscanf(line, "p %d", &what) == 1 && what == CRASH))
        begin(f);
    else if (sscanf(line, "p %d", &what) == 1 && what == WELCOME)
        f->session++;
}

static void follow(struct follow *f, const char *text, bool trips_count, void (*bend)(struct told *t))
{
    memset(f, 0, sizeof *f);
    f->now_ns      = 1000 * NS_PER_S;
    f->trips_count = trips_count;
    f->bend        = bend;
    while (*text) {
        const char *end = strchr(text, '\n');
        char        line[80];

        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        follow_line(f, line);
        text = end + 1;
    }
}

static struct follow f;

TEST(random_walks_of_the_models_daemon_are_walked_by_the_core)
{
    static const char *const variant[] = { "DAEMON", "BOTH" };
    int                      n         = test_rounds(10, 100);

    for (int i = 0; i < 2; i++) {
        for (int seed = 1; seed <= n; seed += 10) {
            char *text = spin_walks(variant[i], seed, 10);

            follow(&f, text, i == 0, NULL);
            free(text);
            EXPECT(f.differences == 0);
            EXPECT(f.ticks >= 99990);
            EXPECT(f.too_many_trips > 10 || i == 1);
            for (int m = MODE_DISARMED; m < MODE_COUNT; m++) /* or it would prove nothing */
                EXPECT(f.mode[m] > 500 || (i == 1 && m == MODE_EXPLORE));
        }
    }
}

/* ---- what is left out is missed ---- */

static void no_estop(struct told *t)
{
    t->estop = 0;
}

static void no_fault(struct told *t)
{
    t->mfault = 0;
}

static void no_latch(struct told *t)
{
    t->latch = 0;
}

static void good_gates(struct told *t)
{
    t->gate = 1;
}

static void never_outside(struct told *t)
{
    t->outside = 0;
}

static void bad_is_lost(struct told *t)
{
    t->st = t->st == BAD ? LOST : t->st;
}

static void lost_is_fresh(struct told *t)
{
    t->st = t->st == LOST ? FRESH : t->st;
}

static int left_out;

static void without_an_operation(struct told *t)
{
    t->op = t->op == left_out ? 0 : t->op;
}

TEST(a_core_that_did_not_heed_one_thing_would_not_walk_like_the_model)
{
    static void (*const bend[])(struct told *) = { no_estop,      no_fault,    no_latch,     good_gates,
                                                   never_outside, bad_is_lost, lost_is_fresh };
    char *text                                 = spin_walks("DAEMON", 1, 1);

    for (size_t i = 0; i < sizeof bend / sizeof *bend; i++) {
        follow(&f, text, true, bend[i]);
        EXPECT(f.differences > 0);
    }
    for (left_out = ARM; left_out < OPS; left_out++) {
        follow(&f, text, true, without_an_operation);
        if (!f.differences)
            printf("    operation %d\n", left_out);
        EXPECT(f.differences > 0);
    }
    free(text);
}
