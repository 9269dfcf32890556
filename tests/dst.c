#include "tests/dst.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"

enum { NX = 4, HISTORY = 8 };

/* ---- plant: cart and pole, hanging at theta = 0; semi-implicit Euler, 4 sub-steps a tick ---- */

struct plant {
    double q[2], v[2];
};

static void plant_step(struct plant *p, double force, double dt)
{
    const double mc = 10.47, mp = 5.02, l = 0.3, inertia = 0.15, g = 9.81;

    for (int i = 0; i < 4; i++) {
        double s = sin(p->q[1]), c = cos(p->q[1]), h = dt / 4;
        double a11 = mc + mp, a12 = -mp * l * c, a22 = mp * l * l + inertia;
        double b1 = force - p->v[0] - mp * l * s * p->v[1] * p->v[1], b2 = -p->v[1] - mp * g * l * s;
        double det = a11 * a22 - a12 * a12;

        p->v[0] += h * (a22 * b1 - a12 * b2) / det;
        p->v[1] += h * (a11 * b2 - a12 * b1) / det;
        for (int j = 0; j < 2; j++)
            p->q[j] += h * p->v[j];
        if (fabs(p->q[0]) > 2.5) { /* the rail's end */
            p->q[0] = p->q[0] > 0 ? 2.5 : -2.5;
            p->v[0] = 0;
        }
    }
}

/* ---- the world ---- */

struct world {
    const struct dst_options *o;
    struct dst_result        *r;
    struct rng                rng;
    struct plant              plant;
    struct receiver           receiver;
    uint64_t                  now_ns, tick_ns, tick;
    uint64_t                  session, seq;
    int64_t                   ready_trial;
    uint32_t                  ready_count;
    bool                      reset_wanted;       /* the robot side takes a few ticks to get there */
    uint64_t                  reset_tick;
    uint32_t                  reset_trial;
    struct joint_state        sent[HISTORY];      /* recent states, for late delivery */
    struct joint_state        state;              /* what the core's io thread holds  */
    bool                      state_new;
    uint64_t                  silent_until;
    bool                      estop;
    uint64_t                  applied_seq;
    double                    applied[2];
    struct core               core;
    struct core_output        out;
    struct planner           *planner;
    void                     *block;
    struct plan               plan;
    bool                      have_plan;
    uint64_t                  foretold_seed;
    /* ghosts: kept here, never read by the code under test */
    bool                      g_armed, g_latched;
    uint64_t                  g_last_good;        /* tick                              */
    double                    g_last_effort[2];
    bool                      g_last_torque;
};

static bool chance(struct world *w, double p)
{
    return p > 0 && rng_uniform(&w->rng) < p;
}

__attribute__((format(printf, 2, 3))) static void violated(struct world *w, const char *format, ...)
{
    if (w->r->violations++ == 0) {
        int     n = snprintf(w->r->first, sizeof w->r->first, "tick %llu, %s: ", (unsigned long long)w->tick,
                             mode_name(w->core.mode));
        va_list args;
        va_start(args, format);
        vsnprintf(w->r->first + n, sizeof w->r->first - (size_t)n, format, args);
        va_end(args);
    }
}

void dst_config(struct robot_config *c)
{
    memset(c, 0, sizeof *c);
    snprintf(c->robot, sizeof c->robot, "dst");
    c->hardware    = HARDWARE_SIM;
    c->control_hz  = 25;
    c->plan_every  = 1;
    c->pace        = PACE_STATE;
    c->delay_steps = 1;
    c->nj          = 2;
    c->joint[0] = (struct joint_config){ .name = "slider", .type = JOINT_PRISMATIC, .actuated = true, .position_min = -3,
                                         .position_max = 3, .velocity = 40, .effort = 300, .effort_rate = 15000,
                                         .effort_rate_down = 15000 };
    c->joint[1] = (struct joint_config){ .name = "hinge", .type = JOINT_CONTINUOUS, .position_min = (double)-INFINITY,
                                         .position_max = (double)INFINITY, .velocity = 80 };
    c->na        = 1;
    c->action[0] = (struct action_config){ .joint = 0, .low = -3, .high = 3, .scale = 100 };
    c->nx        = NX;
    for (int i = 0; i < NX; i++)
        c->observation[i] = (struct observation_config){ .measure = i < 2 ? MEASURE_POSITION : MEASURE_VELOCITY,
                                                         .joint = i % 2, .input = i == 1 ? INPUT_ANGLE : INPUT_IDENTITY };
    c->command_mode          = COMMAND_TORQUE;
    c->exploration.kind      = EXPLORE_UNIFORM;
    c->exploration.amplitude = 1;
    c->baseline              = BASELINE_ZERO;
    c->trials.steps          = 50;
    c->trials.seed           = 1;
    c->task.nterm            = 1;
    c->task.term[0]          = (struct task_term){ .kind = TERM_OBSERVATION, .weight = 1, .n = 1, .index = { 0 },
                                                   .scale = { 1 } };
    c->model   = (struct model_dims){ .nx = NX, .na = 1, .members = 2, .layers = 1, .hidden = 8, .input = { 0, INPUT_ANGLE } };
    c->planner = (struct planner_config){ .name = "icem", .horizon = 5, .population = 16, .iterations = 2, .elites = 4,
                                          .particles = 2, .propagation = PARTICLES_TSINF, .execute = EXECUTE_BEST,
                                          .alpha = 0.1, .init_std = { 0.5 }, .noise_beta = 2, .decay = 1.25, .keep = 0.3 };
    c->planner_budget              = 0.6;
    c->gates.plan_age.threshold    = 2;
    c->gates.spread.off            = true;
    c->gates.residual.off          = true;
    c->gates.position.threshold    = 0.1;
    c->gates.drift.off             = true;
    c->gates.recoverable.off       = true;
    c->gates.baseline.off          = true;
    c->gates.promote_s             = 0.2;
    c->timeouts.state_stale_s      = 0.12;
    c->timeouts.command_valid_s    = 0.12;
    c->timeouts.robot_timeout_max_s = 0.12;
    c->timeouts.stop_ramp_s        = 0.3;
    c->timeouts.stop_cap_s         = 0.5;
    c->timeouts.reset_s            = 5;
}

static void world_init(struct world *w, const struct dst_options *o, struct dst_result *r)
{
    const struct robot_config *cfg    = o->config;
    struct receiver_limits     limits = { .nj = 2, .actuated = { true, false }, .effort_max = { 300, 0 }, .damp_kd = { 50, 0 },
                                          .command_timeout_ms = 120 };
    struct action_bounds       bounds = { .na = 1, .low = { -3 }, .high = { 3 } };
    struct arena               arena  = { 0 };
    struct ensemble            e      = { 0 };

    w->o       = o;
    w->r       = r;
    w->tick_ns = (uint64_t)(1e9 / cfg->control_hz);
    w->now_ns  = 1000 * NS_PER_S;
    rng_seed(&w->rng, o->seed);
    w->session     = 1;
    w->ready_trial = -1;
    receiver_init(&w->receiver, &limits);
    receiver_session(&w->receiver, w->session);
    core_init(&w->core, cfg, 0);
    core_ready(&w->core);
    arena.size = planner_memsize(&cfg->planner, &cfg->model) + 64;
    if (posix_memalign(&w->block, 64, arena.size))
        abort();
    memset(w->block, 0, arena.size);
    arena.base = w->block;
    w->planner = planner_init(&arena, &cfg->planner, &cfg->model, &cfg->task, &bounds, NULL);
    if (ensemble_alloc(&e, &cfg->model))
        abort();
    ensemble_init(&e, 5);
    e.version = 1;
    planner_pack(w->planner, 0, &e);
    ensemble_free(&e);
}

/* The robot side samples and sends; the link and the sensor misbehave. */
static void world_state(struct world *w)
{
    const struct dst_faults *f = &w->o->faults;
    struct joint_state       s = { .session = w->session, .seq = ++w->seq, .nj = 2, .ready_trial = w->ready_trial,
                                     .ready_count = w->ready_count };

    if (chance(w, f->restart)) {
        s.session = ++w->session;
        s.seq = w->seq = 1;
        s.ready_trial = w->ready_trial = -1;
        s.ready_count = w->ready_count = 0;
        w->reset_wanted                = false;
        w->applied_seq                 = 0;
        receiver_session(&w->receiver, w->session);
    }
    s.sample_ns = s.received_ns = w->now_ns;
    s.applied_command_seq       = w->applied_seq;
    s.applied_held              = w->applied_seq != 0;
    s.estop                     = w->estop;
    s.faults                    = chance(w, f->robot_fault);
    for (int j = 0; j < 2; j++) {
        s.position[j]       = w->plant.q[j];
        s.velocity[j]       = w->plant.v[j];
        s.applied_effort[j] = w->applied[j];
    }
    receiver_state_sent(&w->receiver, s.seq, w->now_ns);
    if (chance(w, f->state_nan))
        s.position[rng_below(&w->rng, 2)] = rng_below(&w->rng, 2) ? (double)NAN : (double)INFINITY;
    if (chance(w, f->state_range))
        s.velocity[0] = 1e6;
    if (chance(w, f->state_jump))
        s.position[1] += 1000;
    w->sent[s.seq % HISTORY] = s;

    w->state_new = false;
    if (chance(w, f->silence))
        w->silent_until = w->tick + 1 + rng_below(&w->rng, 20);
    bool silent = w->tick < w->silent_until || (w->o->silent_from && w->tick >= w->o->silent_from);
    if (silent || chance(w, f->state_lost))
        return;
    /* The io thread drops what is not newer (transport/session.h); a late state comes as the newest one a tick later. */
    if (chance(w, f->state_late))
        return;
    w->state     = s;
    w->state_new = true;
}

static void world_operator(struct world *w, struct core_input *in)
{
    const struct dst_faults *f = &w->o->faults;
    enum operation_kind      k = OP_NONE;

    if ((w->o->operator_arms && w->tick == 60) || chance(w, f->arm))
        k = OP_ARM;
    else if (w->o->stop_at && w->tick == w->o->stop_at)
        k = OP_STOP;
    else if (chance(w, f->stop))
        k = OP_STOP;
    else if (chance(w, f->disarm))
        k = OP_DISARM;
    else if (chance(w, f->reset))
        k = OP_RESET;
    else if (w->core.mode == MODE_BASELINE && w->core.trial_phase == TRIAL_IDLE && w->tick % 8 == 0)
        k = OP_TRIAL_START;
    in->op = (struct operation){ .kind = k, .id = w->tick, .trial = (uint32_t)w->r->trials % 2, /* numbers come again: attempts */
                                 .trial_kind = w->r->trials % 4 ? TRIAL_PLANNED : TRIAL_RANDOM,
                                 .steps = w->o->config->trials.steps, .seed = w->o->seed };
}

static void world_plan(struct world *w)
{
    const struct dst_faults *f = &w->o->faults;

    if (w->out.has_plan_request) {
        w->r->requests++;
        w->r->foretold += w->out.plan_request.seed == w->foretold_seed;
        w->foretold_seed = w->out.plan_request.next_seed;
    }
    if (!w->out.has_plan_request || chance(w, f->plan_lost))
        return;
    w->out.plan_request.deadline_ns = UINT64_MAX; /* no clock here */
    planner_step(w->planner, 0, &w->out.plan_request, NULL, NULL, &w->plan);
    if (chance(w, f->plan_nan))
        w->plan.action[0][0] = (float)NAN;
    if (chance(w, f->plan_wild))
        w->plan.action[0][0] = 1e9f;
    w->have_plan = true;
}

/* ---- invariants: safety.md §3.7, judged from outside ---- */

static void check_command(struct world *w, const struct core_input *in)
{
    const struct joint_command *c      = &w->out.command;
    bool                        torque = w->out.has_command && c->mode == COMMAND_TORQUE;

    if (in->op.kind == OP_ARM && w->core.mode == MODE_BASELINE && !w->g_armed)
        w->g_armed = true; /* the operator armed, and the core took it */
    if (w->state_new && isfinite(w->state.position[0] + w->state.position[1] + w->state.velocity[0]))
        w->g_last_good = w->tick;
    if (w->core.trial_phase == TRIAL_RUNNING && w->reset_wanted)
        violated(w, "a trial runs before its reset is done");
    if (mode_armed(w->core.mode) && !w->g_armed)
        violated(w, "armed without an operator (I5, I9)");
    if (torque && !w->g_armed)
        violated(w, "torque without an operator (I5)");
    if (mode_armed(w->core.mode) && w->tick - w->g_last_good >= 3)
        violated(w, "armed on a state %llu ticks old (I4)", (unsigned long long)(w->tick - w->g_last_good));
    if (torque && w->state_new && w->state.estop)
        violated(w, "torque with the e-stop pressed (I1)");
    if (torque && w->state_new && w->state.faults)
        violated(w, "torque with a robot fault (I2)");
    for (int j = 0; torque && j < 2; j++) {
        const struct joint_config *joint = &w->o->config->joint[j];
        double                     rate  = joint->effort_rate / w->o->config->control_hz;

        if (!isfinite(c->torque[j]) || !(fabs(c->torque[j]) <= joint->effort))
            violated(w, "effort %g beyond %g (I8)", c->torque[j], joint->effort);
        if (!(fabs(c->torque[j] - (w->g_last_torque ? w->g_last_effort[j] : 0)) <= rate * (1 + 1e-12)))
            violated(w, "effort step beyond %g (I8)", rate);
        w->g_last_effort[j] = c->torque[j];
        w->r->effort_max    = fabs(c->torque[j]) > w->r->effort_max ? fabs(c->torque[j]) : w->r->effort_max;
    }
    w->g_last_torque = torque;
    if (!mode_armed(w->core.mode) && w->core.mode != MODE_STOPPING)
        w->g_armed = false;
    if (torque && w->o->silent_from && w->tick >= w->o->silent_from)
        w->r->silent_to_damp = w->tick - w->o->silent_from + 1;
}

/* A finished trial has all its steps, or the last of them left a bound of the task and none before did. */
static void check_end(struct world *w, const struct notice *n)
{
    const struct task *t = &w->o->config->task;

    w->r->trials++;
    if (!n->ok)
        return;
    w->r->steps += n->step;
    w->r->ended += n->ended > 0;
    if (n->step < 1)
        violated(w, "a trial finished before its first step");
    if (!n->ended && (int)n->step < w->o->config->trials.steps) /* more where the last state was lost */
        violated(w, "a trial finished after %u steps", n->step);
    if (n->ended && (n->ended > t->nend ||
                     ((double)n->value >= t->end[n->ended - 1].low && (double)n->value <= t->end[n->ended - 1].high)))
        violated(w, "a trial ended by %g, which is inside", (double)n->value);
}

static void hash(struct dst_result *r, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        r->hash = (r->hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ull;
}

/* The robot side applies what it has over the tick that begins now. */
static void world_apply(struct world *w)
{
    double tau[2] = { 0 };

    if (w->out.has_trial_request && w->out.trial_request.kind == TRIAL_RESET) {
        w->reset_wanted = true;
        w->reset_tick   = w->tick + 1 + rng_below(&w->rng, 5);
        w->reset_trial  = w->out.trial_request.trial;
    }
    if (w->reset_wanted && w->tick >= w->reset_tick) {
        w->reset_wanted = false;
        w->ready_trial  = w->reset_trial;
        w->ready_count++;
        w->plant = (struct plant){ .q = { 0.1 * rng_normal(&w->rng), 0.1 * rng_normal(&w->rng) } };
        receiver_forget_command(&w->receiver);
    }
    bool got = w->out.has_command && !chance(w, w->o->faults.command_lost) &&
               receiver_command(&w->receiver, &w->out.command, w->now_ns + 1);
    receiver_estop(&w->receiver, w->estop);
    receiver_effort(&w->receiver, w->plant.q, w->plant.v, w->now_ns + 2, tau);
    if (!isfinite(tau[0]) || !(fabs(tau[0]) <= 300) || tau[1] != 0)
        violated(w, "the motor got %g, %g", tau[0], tau[1]);
    if (w->estop && tau[0] != 0)
        violated(w, "the motor was driven with the e-stop pressed");
    w->applied_seq = got && w->out.command.mode == COMMAND_TORQUE ? w->out.command.seq : 0;
    memcpy(w->applied, tau, sizeof tau);
    w->r->driven_ticks += tau[0] != 0;
    hash(w->r, tau, sizeof tau);
    plant_step(&w->plant, tau[0], (double)w->tick_ns * 1e-9);
    w->now_ns += w->tick_ns;
}

void dst_run(const struct dst_options *o, struct dst_result *r)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    memset(r, 0, sizeof *r);
    r->hash = 0xcbf29ce484222325ull;
    world_init(w, o, r);
    for (w->tick = 1; w->tick <= o->ticks; w->tick++) {
        struct core_input in = { .host = UINT32_MAX, .timing_clean = true, .model_version = 1, .aborted_trial = -1 };

        if (chance(w, o->faults.estop) || (o->estop_at && w->tick == o->estop_at))
            w->estop = true;
        else if (w->estop && chance(w, 0.05))
            w->estop = false;
        world_state(w);
        in.now_ns    = w->now_ns + 1;
        in.state     = w->state.session ? &w->state : NULL;
        in.state_new = w->state_new;
        in.plan      = w->have_plan ? &w->plan : NULL;
        world_operator(w, &in);
        core_step(&w->core, &in, &w->out);
        check_command(w, &in);
        world_plan(w);
        world_apply(w);
        r->mode_ticks[w->core.mode]++;
        r->armed_ticks += mode_armed(w->core.mode);
        r->advanced_ticks += w->core.mode == MODE_ADVANCED;
        r->transitions += w->out.has_transition;
        for (int i = 0; i < w->out.nnotice; i++) {
            const struct notice *n = &w->out.notice[i];

            if (n->kind == NOTICE_TRIAL_END)
                check_end(w, n);
        }
    }
    free(w->block);
    free(w);
}
