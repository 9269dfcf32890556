/* dst_weather.c - what goes wrong: sensors, link, plans, plant, clock.  Each by its own probability; nothing is drawn for
 * what cannot happen, so that a run does not depend on faults it does not have. */
#include <math.h>
#include <string.h>

#include "tests/dst_world.h"

static bool happens(struct world *w, double p)
{
    bool yes = chance(w, p);

    w->r->events += yes;
    return yes;
}

/* A sensor that misbehaves for some ticks, in an episode; true while it does. */
static bool episode(struct world *w, int which, double p, double begins_at[2])
{
    if (w->tick >= w->sensor.until[which] && happens(w, p)) {
        w->sensor.until[which] = w->tick + 1 + rng_below(&w->rng, 80);
        w->sensor.joint[which] = (int)rng_below(&w->rng, 2);
        w->sensor.value[which] = begins_at[w->sensor.joint[which]];
    }
    return w->tick < w->sensor.until[which];
}

/* A motor that gives 20 to 70 % of its effort. */
void weather_motor(struct world *w)
{
    double share = 0.2 + 0.5 * (double)(w->tick % 7) / 6, begins_at[2] = { share, share };

    memcpy(w->given, w->applied, sizeof w->given);
    if (episode(w, DST_WEAK, w->o->faults.motor_weak, begins_at))
        w->given[0] *= w->sensor.value[DST_WEAK];
}

void weather_sensors(struct world *w, struct joint_state *s)
{
    const struct dst_faults *f = &w->o->faults;

    if (episode(w, 0, f->sensor_stuck, s->position))
        s->position[w->sensor.joint[0]] = w->sensor.value[0];
    if (episode(w, 1, f->velocity_stuck, s->velocity))
        s->velocity[w->sensor.joint[1]] = w->sensor.value[1];
    if (episode(w, 2, f->sensor_slow, s->position)) {
        double *lag = &w->sensor.value[2], *q = &s->position[w->sensor.joint[2]];

        *lag += 0.2 * (*q - *lag);
        *q = *lag;
    }
    if (episode(w, 3, f->sensor_garbage, s->position))
        s->position[w->sensor.joint[3]] += 0.3 * rng_normal(&w->rng);
    if (happens(w, f->state_nan))
        s->position[rng_below(&w->rng, 2)] = rng_below(&w->rng, 2) ? (double)NAN : (double)INFINITY;
    if (happens(w, f->state_range))
        s->velocity[0] = 1e6;
    /* Not with the first believable state after a reset, which may be anywhere. */
    if (w->g_before.session == s->session && w->g_before.ready_count == s->ready_count && happens(w, f->state_jump))
        s->position[1] += 1000;
    if (happens(w, f->sender_clock))
        s->sample_ns = rng_next(&w->rng);
}

/* Is this message damaged on the way, so that its reader refuses it (test_codec_crc.c)?  Now and then one; at times nearly
 * half of them for up to a second. */
static bool corrupts(struct world *w, double p, uint64_t *until)
{
    if (p > 0 && w->tick >= *until && chance(w, p / 5))
        *until = w->tick + 1 + rng_below(&w->rng, 25);
    return happens(w, w->tick < *until ? 0.4 : p);
}

/* The io thread counts (transport/session.c). */
static void came(struct world *w, bool bad)
{
    w->came         = (uint16_t)((w->came << 1 | bad) & 0x3ff);
    w->link_damaged = w->link_damaged || (bad && __builtin_popcount(w->came) >= 3);
    memmove(w->g_states + 1, w->g_states, sizeof w->g_states - sizeof w->g_states[0]);
    w->g_states[0] = bad;
}

/* The io thread drops what is not newer (transport/session.h). */
static void deliver(struct world *w, const struct joint_state *s)
{
    if (s->session < w->state.session || (s->session == w->state.session && s->seq <= w->state.seq)) {
        w->r->dropped++;
        return;
    }
    w->state     = *s;
    w->state_new = true;
}

void weather_link(struct world *w, const struct joint_state *s)
{
    const struct dst_faults *f = &w->o->faults;

    w->state_new = w->link_damaged = false;
    if (happens(w, f->silence))
        w->silent_until = w->tick + 1 + rng_below(&w->rng, 20);
    bool silent = w->tick < w->silent_until || (w->o->silent_from && w->tick >= w->o->silent_from);
    if (silent || happens(w, f->state_lost) ||
        happens(w, f->state_late)) /* a late one is none: the next is there then */
        return;
    if (corrupts(w, f->state_corrupt, &w->states_bad_until)) {
        came(w, true);
        return;
    }
    came(w, false);
    if (happens(w, f->state_old)) {
        deliver(w, &w->sent[(s->seq - 1 - rng_below(&w->rng, HISTORY - 1)) % HISTORY]);
        return;
    }
    deliver(w, s);
    if (happens(w, f->state_twice))
        deliver(w, s);
}

struct plan dst_plan(const struct plan_request *req)
{
    return (struct plan){ .id            = req->id,
                          .trial         = req->trial,
                          .step          = req->step,
                          .seed          = req->seed,
                          .model_version = 1,
                          .horizon       = 5,
                          .na            = 1,
                          .iterations    = 1,
                          .candidates    = 1,
                          .final         = true };
}

/* For up to three seconds nothing but all it can: one way, to and fro, or the way it goes. */
static void hostile_plan(struct world *w, struct plan *plan)
{
    const struct dst_faults *f = &w->o->faults;

    if (w->tick >= w->limit_until && happens(w, f->plan_limit))
        w->limit_until = w->tick + 1 + rng_below(&w->rng, 75);
    if (w->tick >= w->reverse_until && happens(w, f->plan_reverse))
        w->reverse_until = w->tick + 1 + rng_below(&w->rng, 75);
    if (w->tick >= w->pump_until && happens(w, f->plan_pump))
        w->pump_until = w->tick + 1 + rng_below(&w->rng, 75);
    bool  pumps = w->tick < w->pump_until, reverses = w->tick < w->reverse_until;
    float most  = (pumps && w->plant.v[0] < 0) || (reverses && w->tick & 1) ? -3 : 3;
    for (int h = 0; h < plan->horizon && (pumps || reverses || w->tick < w->limit_until); h++)
        plan->action[h][0] = most;
}

/* A plan whose predictions are those of the healthy plant, from the observation the core gave. */
static void cheap_plan(struct world *w, const struct plan_request *req, struct plan *plan)
{
    const struct robot_config *cfg = w->o->config;
    struct plant p = { .q    = { (double)req->x[0], (double)req->x[1] },
                       .v    = { (double)req->x[2], (double)req->x[3] },
                       .mass = 1, .friction = 1 };
    struct rng   r;
    double       dt = cfg->plan_every / cfg->control_hz, scale = cfg->action[0].scale;

    rng_seed(&r, req->seed);
    *plan = dst_plan(req);
    for (int h = 0; h < plan->horizon; h++)
        plan->action[h][0] = (float)(1.5 * (2 * rng_uniform(&r) - 1));
    hostile_plan(w, plan);
    if (req->delayed)
        plant_step(&p, scale * (double)req->pending[0], dt);
    plant_step(&p, scale * (double)plan->action[0][0], dt);
    for (int i = 0; i < 2; i++) {
        plan->predicted[i]     = (float)(p.q[i] + 0.02 * rng_normal(&r));
        plan->predicted[i + 2] = (float)(p.v[i] + 0.02 * rng_normal(&r));
        plan->out_std[i] = plan->out_std[i + 2] = 1;
        plan->predicted_std[i] = plan->predicted_std[i + 2] = 0.02f;
    }
    plan->spread = 0.05 + 0.01 * fabs(rng_normal(&r));
}

void weather_plan(struct world *w, const struct plan_request *req, bool cheap)
{
    const struct dst_faults *f = &w->o->faults;
    struct plan              plan;

    if (happens(w, f->plan_lost))
        return;
    if (cheap)
        cheap_plan(w, req, &plan);
    else
        planner_step(w->planner, 0, req, NULL, NULL, &plan);
    plan.model_version = w->model;
    bool nan = happens(w, f->plan_nan), wild = happens(w, f->plan_wild);
    for (int h = 0; h < plan.horizon && (nan || wild); h++)
        plan.action[h][0] = nan ? (float)NAN : 1e9f;
    if (happens(w, f->spread_nan))
        plan.spread = (double)NAN;
    if (w->late_until && w->tick >= w->late_until) {
        w->plan        = w->late_plan;
        w->g_plan_tick = w->late_asked;
        w->late_until  = 0;
    }
    if (!w->late_until && happens(w, f->plan_late)) {
        w->late_plan  = plan;
        w->late_asked = w->tick;
        w->late_until = w->tick + (1 + rng_below(&w->rng, 4)) * (uint64_t)w->o->config->plan_every;
        return;
    }
    if (w->late_until) /* those after it wait behind it */
        return;
    w->plan        = plan;
    w->have_plan   = true;
    w->g_plan_tick = w->tick;
}

/* Of messages to the robot side, as it counts them. */
static void command_came(struct world *w, int bad)
{
    memmove(w->g_commands + 1, w->g_commands, sizeof w->g_commands - sizeof w->g_commands[0]);
    w->g_commands[0] = bad;
}

/* The robot side does not keep to the limit that it told: for up to three seconds it lets a fifth of it through. */
void weather_limits(struct world *w)
{
    if (w->tick >= w->clamps_until && happens(w, w->o->faults.robot_clamps))
        w->clamps_until = w->tick + 1 + rng_below(&w->rng, 75);
    w->receiver.limits.effort_max[0] = w->tick < w->clamps_until ? 60 : 300;
}

/* Carries the core's command to the robot side, or not; and what else may be on the line.  True: it was accepted. */
bool weather_command(struct world *w)
{
    const struct dst_faults   *f   = &w->o->faults;
    const struct joint_command c   = w->out.command;
    bool                       got = false;

    if (w->out.has_command && corrupts(w, f->command_corrupt, &w->commands_bad_until)) {
        receiver_damaged(&w->receiver, w->now_ns + 1);
        command_came(w, 1);
    } else if (w->out.has_command && !happens(w, f->command_lost)) {
        command_came(w, 0);
        got = receiver_command(&w->receiver, &c, w->now_ns + 1);
        w->commands[c.seq % HISTORY] = c;
        if (happens(w, f->command_twice)) {
            bool again;

            command_came(w, 0);
            again = receiver_command(&w->receiver, &c, w->now_ns + 1);
            if (again && got)
                violated(w, "the robot side took a command twice (I12)");
            got = got || again; /* the first may have found the link damaged */
        }
    }
    if (happens(w, f->command_old) && w->commands[(c.seq + 1) % HISTORY].seq) {
        command_came(w, 0);
        if (receiver_command(&w->receiver, &w->commands[(c.seq + 1) % HISTORY], w->now_ns + 1))
            violated(w, "the robot side took an old command (I12)");
    }
    if (happens(w, f->command_garbage)) {
        struct joint_command junk = c;

        switch (rng_below(&w->rng, 4)) {
        case 0: junk.session ^= 1 + rng_next(&w->rng); break;
        case 1: junk.torque[0] = (double)NAN; break;
        case 2: junk.nj = 7; break;
        default: junk.valid_ms = -1; break;
        }
        junk.seq++;
        command_came(w, 0);
        if (receiver_command(&w->receiver, &junk, w->now_ns + 1))
            violated(w, "the robot side took garbage for a command");
    }
    if (c.seq != w->g_command_seq && got) {
        w->g_command_tick = w->tick;
        w->g_command_seq  = c.seq;
    }
    return got;
}

/* Nobody runs the core for a while: the robot side goes on by itself.  The plant may change, too. */
void weather_clock(struct world *w)
{
    const struct dst_faults *f = &w->o->faults;
    uint64_t                 n = happens(w, f->tick_late) ? 1 + rng_below(&w->rng, 6) : 0;

    w->g_gap = n + 1;
    for (uint64_t i = 0; i < n; i++) {
        double tau[2] = { 0 };

        receiver_effort(&w->receiver, w->plant.q, w->plant.v, w->now_ns + 2, tau);
        check_growth(w, tau[0]);
        plant_step(&w->plant, tau[0], (double)w->tick_ns * 1e-9);
        w->now_ns += w->tick_ns;
    }
    if (w->plant.changed || !happens(w, f->plant_heavy))
        return;
    const struct dst_change *c = &w->o->change;

    w->plant.changed  = true;
    w->plant.mass     = c->mass > 0 ? c->mass : 3;
    w->plant.friction = c->mass > 0 ? c->friction : 3;
}

/* What was to be called was not done: the thread may be broken until limberd is started again. */
void weather_host(struct world *w)
{
    if (w->refused || !happens(w, w->o->faults.syscall_refused))
        return;
    w->refused      = true;
    w->refused_tick = w->tick;
    w->born_again = w->tick + 1 + rng_below(&w->rng, 50);
}
