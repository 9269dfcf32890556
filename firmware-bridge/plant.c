/* plant.c - see plant.h. */
#include "firmware-bridge/plant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"

void plant_init(struct plant *p, struct sim *sim, double command_timeout_ms)
{
    struct receiver_limits limits;

    memset(p, 0, sizeof *p);
    p->sim = sim;
    for (int j = 0; j < MAX_JOINTS; j++)
        p->share[j] = 1;
    sim_limits(sim, command_timeout_ms, &limits);
    receiver_init(&p->receiver, &limits);
}

static void nothing_applied(struct plant *p)
{
    p->applied_command_seq = 0;
    p->applied_held        = false;
    memset(p->applied_effort, 0, sizeof p->applied_effort);
    memset(p->measured_effort, 0, sizeof p->measured_effort);
}

bool plant_session(struct plant *p, const struct welcome *w, char *why, size_t why_size)
{
    int substeps = sim_substeps(p->sim, w->control_hz, why, why_size);

    if (substeps == 0)
        return false;
    if (!(w->latch_ms >= 0 && w->latch_ms < 1e6)) {
        snprintf(why, why_size, "welcome.latch_ms: %g, expected 0 or more", w->latch_ms);
        return false;
    }
    p->substeps        = substeps;
    p->period_ns       = (uint64_t)llround(1e9 / w->control_hz);
    p->latch_ns        = (uint64_t)(w->latch_ms * 1e6);
    p->latch_ns        = p->latch_ns < p->period_ns ? p->latch_ns : p->period_ns;
    p->npending        = 0;
    p->late_commands   = 0;
    memcpy(p->before, p->receiver.count, sizeof p->before);
    p->diverged_states = 0;
    nothing_applied(p);
    receiver_session(&p->receiver, w->session);
    return true;
}

/* Of this session. */
static uint32_t counted(const struct plant *p, enum receiver_count k)
{
    return (uint32_t)(p->receiver.count[k] - p->before[k]);
}

void plant_state(const struct plant *p, struct joint_state *s)
{
    memset(s, 0, sizeof *s);
    s->nj     = p->receiver.limits.nj;
    s->nextra = sim_measure_extra(p->sim, s->extra);
    sim_measure(p->sim, s->position, s->velocity);
    s->applied_command_seq = p->applied_command_seq;
    s->applied_held        = p->applied_held;
    memcpy(s->applied_effort, p->applied_effort, sizeof s->applied_effort);
    memcpy(s->effort, p->measured_effort, sizeof s->effort);
    s->has_effort    = true;
    s->late_commands = p->late_commands;
    s->changed_commands = counted(p, RECEIVER_CHANGED);
    s->damaged_commands = counted(p, RECEIVER_DAMAGED);
    s->lost_commands    = counted(p, RECEIVER_LOST);
    s->faults        = (p->diverged_states ? ROBOT_FAULT_DIVERGED : 0u) |
                (p->receiver.mode == RECEIVER_LATCH ? ROBOT_FAULT_LATCHED : 0u);
    s->ready_trial = -1;
}

void plant_begin(struct plant *p, uint64_t start_ns, uint64_t sent_ns, uint64_t state_seq)
{
    p->start_ns  = start_ns;
    p->sent_ns   = sent_ns;
    p->state_seq = state_seq;
    if (state_seq != 0)
        receiver_state_sent(&p->receiver, state_seq, start_ns);
    if (p->diverged_states > 0)
        p->diverged_states--;
}

/* Room for what acts from at_ns on. */
static int pend(struct plant *p, uint64_t at_ns)
{
    int n = p->npending;

    /* After a stall intervals run behind the clock: one that came late for an earlier state is overtaken by this one. */
    while (n > 0 && p->pending[n - 1].at_ns > at_ns)
        n--;
    if (n == PLANT_PENDING) { /* a flood: the newest are kept */
        memmove(&p->pending[0], &p->pending[1], sizeof p->pending[0] * (PLANT_PENDING - 1));
        n--;
    }
    p->pending[n].at_ns = at_ns;
    p->npending         = n + 1;
    return n;
}

/* A message that is in time acts from the start of the interval. */
static uint64_t acts_at(const struct plant *p, uint64_t received_ns, bool *in_time)
{
    *in_time = received_ns <= p->sent_ns + p->latch_ns;
    return *in_time || received_ns < p->start_ns ? p->start_ns : received_ns;
}

void plant_command(struct plant *p, const struct joint_command *c, uint64_t received_ns)
{
    bool in_time;
    int  n = pend(p, acts_at(p, received_ns, &in_time));

    p->pending[n].damaged = false;
    p->pending[n].late    = c->mode != COMMAND_IDLE && (!in_time || c->state_seq != p->state_seq);
    p->pending[n].command = *c;
}

void plant_damaged(struct plant *p, uint64_t received_ns)
{
    bool in_time;
    int  n = pend(p, acts_at(p, received_ns, &in_time));

    p->pending[n].damaged = true;
}

/* The receiver hears, in order, what takes effect by `now_ns`. */
static void deliver(struct plant *p, uint64_t now_ns)
{
    int done = 0;

    for (; done < p->npending && p->pending[done].at_ns <= now_ns; done++) {
        uint64_t at_ns = p->pending[done].at_ns;

        if (p->pending[done].damaged)
            receiver_damaged(&p->receiver, at_ns);
        else if (receiver_command(&p->receiver, &p->pending[done].command, at_ns))
            p->late_commands += p->pending[done].late;
    }
    p->npending -= done;
    memmove(&p->pending[0], &p->pending[done], sizeof p->pending[0] * (size_t)p->npending);
}

/* Number of the command that acts now, 0 where none does. */
static uint64_t in_force(const struct receiver *r)
{
    bool damping_asked_for = r->mode == RECEIVER_DAMP && r->command.mode == COMMAND_DAMP;

    return r->mode == RECEIVER_LIVE || damping_asked_for ? r->command.seq : 0;
}

bool plant_run(struct plant *p)
{
    struct receiver *r = &p->receiver;
    double           q[MAX_JOINTS], dq[MAX_JOINTS], tau[MAX_JOINTS], sum[MAX_JOINTS] = { 0 };
    double           given[MAX_JOINTS], sum_given[MAX_JOINTS] = { 0 };
    uint64_t         first = 0;
    bool             held  = true;

    CHECK(p->substeps > 0);
    nothing_applied(p);
    p->silent_ns = 0;
    for (int i = 0; i < p->substeps; i++) {
        uint64_t now_ns = p->start_ns + p->period_ns * (uint64_t)i / (uint64_t)p->substeps;

        deliver(p, now_ns);
        sim_measure(p->sim, q, dq);
        bool live = r->mode == RECEIVER_LIVE;
        receiver_effort(r, q, dq, now_ns, tau);
        if (live && r->mode != RECEIVER_LIVE)
            p->silent_ns = now_ns - r->heard_ns;
        if (i == 0)
            first = in_force(r);
        held = held && r->mode == RECEIVER_LIVE && in_force(r) == first && r->command.state_seq == p->state_seq;
        for (int j = 0; j < r->limits.nj; j++)
            given[j] = p->share[j] * tau[j];
        if (!sim_step(p->sim, given)) {
            receiver_forget_command(r);
            p->diverged_states = 1 + (int)(NS_PER_S / p->period_ns); /* seen even where states get lost */
            return false;
        }
        for (int j = 0; j < r->limits.nj; j++) {
            sum[j] += tau[j];
            sum_given[j] += given[j];
        }
    }
    for (int j = 0; j < r->limits.nj; j++) {
        p->applied_effort[j]  = sum[j] / p->substeps;
        p->measured_effort[j] = sum_given[j] / p->substeps;
    }
    p->applied_command_seq = in_force(r);
    p->applied_held        = held;
    return true;
}

void plant_reset(struct plant *p, const struct trial_request *q)
{
    sim_reset(p->sim, q->seed, q->trial);
    receiver_forget_command(&p->receiver);
    p->npending = 0;
    nothing_applied(p);
}
