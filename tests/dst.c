#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rtsan.h"
#include "tests/dst_world.h"

/* ---- plant: cart and pole, hanging at theta = 0; semi-implicit Euler, 4 sub-steps a tick ---- */

void plant_step(struct plant *p, double force, double dt)
{
    const double mc = 10.47, mp = 5.02 * p->mass, l = 0.3, inertia = 0.15, g = 9.81;

    for (int i = 0; i < 4; i++) {
        double s = sin(p->q[1]), c = cos(p->q[1]), h = dt / 4;
        double a11 = mc + mp, a12 = -mp * l * c, a22 = mp * l * l + inertia;
        double b1 = force - p->friction * p->v[0] - mp * l * s * p->v[1] * p->v[1], b2 = -p->v[1] - mp * g * l * s;
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
    c->gates.interventions.off     = true;
    c->gates.limit_dwell.off       = true;
    c->gates.oscillation.off       = true;
    c->gates.energy.off            = true;
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

void dst_driving(struct core *core, const struct robot_config *c)
{
    core_init(core, c, 100000);
    core_ready(core);
    core->mode         = MODE_ADVANCED;
    core->trial_phase  = TRIAL_RUNNING;
    core->shadow_model = 1;
    core->shadow_plans = 50;
    core->step_id      = 10;
    core->now_ns       = 1000 * NS_PER_S;
    core->plan         = (struct plan){ .id = 10, .model_version = 1, .horizon = 5, .na = 1, .iterations = 1 };
    for (int i = 0; i < 4; i++)
        core->plan.out_std[i] = core->plan.predicted_std[i] = 1;
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
    w->model   = 1;
    w->tick_ns = (uint64_t)(1e9 / cfg->control_hz);
    w->now_ns  = 1000 * NS_PER_S;
    w->plant.mass = w->plant.friction = 1;
    rng_seed(&w->rng, o->seed);
    w->session     = 1;
    w->ready_trial = -1;
    receiver_unlimited(&limits);
    limits.effort_rate[0] = cfg->joint[0].effort_rate;
    for (int j = 0; j < 2; j++)
        limits.velocity_max[j] = cfg->joint[j].velocity;
    receiver_init(&w->receiver, &limits);
    receiver_session(&w->receiver, w->session);
    core_init(&w->core, cfg, 0);
    core_ready(&w->core);
    w->g_mode = w->core.mode;
    w->g_heat[0] = w->g_heat[1] = 1;
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

/* The robot side has nothing to do with what was. */
static void new_session(struct world *w)
{
    w->session++;
    w->seq         = 0;
    w->ready_trial = -1;
    w->ready_count = 0;
    w->reset_wanted = false;
    w->applied_seq  = 0;
    receiver_session(&w->receiver, w->session);
}

/* What the core has counted goes to the result. */
static void count(struct world *w)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        w->r->fault[i] += w->core.count_fault[i];
    for (int k = 0; k < FILTER_STAGES; k++)
        w->r->filter[k] += w->core.count_filter[k];
    w->r->slowed  = w->receiver.count[RECEIVER_SLOWED];
    w->r->changed = w->receiver.count[RECEIVER_CHANGED];
}

/* limberd ended and was started again: it knows of nothing, and the robot side gets a new session. */
static void born_again(struct world *w)
{
    count(w);
    core_init(&w->core, w->o->config, 0);
    core_ready(&w->core);
    new_session(w);
    memset(&w->state, 0, sizeof w->state);
    w->have_plan = w->refused = false;
    w->late_until             = 0;
    w->g_armed = w->g_last_torque = false;
    w->g_counts = w->g_unfit = 0;
    w->g_mode                = w->core.mode;
}

/* The robot side samples and sends; the link and the sensor misbehave. */
static void world_state(struct world *w)
{
    const struct dst_faults *f = &w->o->faults;

    if (chance(w, f->restart))
        new_session(w);
    struct joint_state s = { .session = w->session, .seq = ++w->seq, .nj = 2, .ready_trial = w->ready_trial,
                             .ready_count = w->ready_count };

    s.sample_ns = s.received_ns = w->now_ns;
    s.applied_command_seq       = w->applied_seq;
    s.applied_held              = w->applied_seq != 0;
    s.estop                     = w->estop;
    s.faults                    = chance(w, f->robot_fault);
    s.changed_commands          = (uint32_t)w->receiver.count[RECEIVER_CHANGED];
    s.lost_commands             = (uint32_t)w->receiver.count[RECEIVER_LOST];
    for (int j = 0; j < 2; j++) {
        s.position[j]       = w->plant.q[j];
        s.velocity[j]       = w->plant.v[j];
        s.applied_effort[j] = w->applied[j];
        s.effort[j]         = w->given[j];
    }
    s.has_effort = true;
    receiver_state_sent(&w->receiver, s.seq, w->now_ns);
    weather_sensors(w, &s);
    w->sent[s.seq % HISTORY] = s;
    weather_link(w, &s);
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
    if (w->out.has_plan_request) {
        w->r->requests++;
        w->r->foretold += w->out.plan_request.seed == w->foretold_seed;
        w->foretold_seed = w->out.plan_request.next_seed;
    }
    if (!w->out.has_plan_request)
        return;
    w->out.plan_request.deadline_ns = UINT64_MAX; /* no clock here */
    weather_plan(w, &w->out.plan_request, w->o->cheap);
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
        w->plant = (struct plant){ .q = { 0.1 * rng_normal(&w->rng), 0.1 * rng_normal(&w->rng) }, .mass = 1, .friction = 1 };
        receiver_forget_command(&w->receiver);
    }
    weather_limits(w);
    bool got = weather_command(w);
    receiver_estop(&w->receiver, w->estop);
    receiver_effort(&w->receiver, w->plant.q, w->plant.v, w->now_ns + 2, tau);
    w->g_clamps = got && w->receiver.mode == RECEIVER_LIVE && fabs(w->receiver.command.torque[0]) > w->receiver.limits.effort_max[0];
    check_motor(w, tau);
    check_growth(w, tau[0]);
    w->applied_seq = got && w->out.command.mode == COMMAND_TORQUE ? w->out.command.seq : 0;
    memcpy(w->applied, tau, sizeof tau);
    weather_motor(w);
    w->r->driven_ticks += tau[0] != 0;
    hash(w->r, tau, sizeof tau);
    memmove(w->force + 1, w->force, sizeof w->force - sizeof w->force[0]);
    w->force[0] = w->given[0];
    plant_step(&w->plant, w->force[w->plant.changed ? w->o->change.delay : 0], (double)w->tick_ns * 1e-9);
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
        struct core_input in = { .timing_clean = true, .model_version = w->model, .aborted_trial = -1 };

        if (chance(w, o->faults.estop) || (o->estop_at && w->tick == o->estop_at))
            w->estop = true;
        else if (w->estop && chance(w, 0.05))
            w->estop = false;
        w->model += w->tick == w->model_tick;
        weather_host(w);
        if (w->refused && w->tick >= w->born_again)
            born_again(w);
        in.syscall_refused = w->refused;
        /* the main thread sees it some ticks later than the control thread */
        in.host            = w->refused && w->tick >= w->refused_tick + 2 ? ~(1u << PREARM_SYSCALLS) : UINT32_MAX;
        weather_clock(w);
        world_state(w);
        in.now_ns    = w->now_ns + 1;
        in.link_damaged = w->link_damaged;
        in.state     = w->state.session ? &w->state : NULL;
        in.state_new = w->state_new;
        in.plan      = w->have_plan ? &w->plan : NULL;
        world_operator(w, &in);
        check_input(w, &in);
        rt_body_begin();
        core_step(&w->core, &in, &w->out);
        rt_body_end();
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
            r->gate_trips += n->kind == NOTICE_GATE;
            if (n->kind == NOTICE_ANSWER && n->ok && in.op.kind == OP_RESET)
                w->g_unfit = 0;
            if (n->kind == NOTICE_UNFIT) {
                r->unfit++;
                w->g_unfit = n->model;
                w->model_tick = w->tick + 1 + rng_below(&w->rng, 50); /* the main thread takes its time */
            }
        }
    }
    count(w);
    free(w->block);
    free(w);
}
