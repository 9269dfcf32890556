/* control_loop.c - the clock around the core.  This thread makes these system calls only: futex (wait, wake),
 * clock_nanosleep, write to one eventfd; clock_gettime stays in user space.  syscalls.c holds it to that. */
#include <string.h>
#include <unistd.h>

#include "daemon/loops.h"
#include "daemon/syscalls.h"

#define LOCKSTEP_GUARD_NS (5 * NS_PER_S)
#define CLEAN_NS (5 * NS_PER_S)
#define SLEPT_NS (10 * NS_PER_MS)

/* ---- waiting for the tick ---- */

static bool waits_for_state(const struct control_loop *c)
{
    return c->s->config->pace == PACE_STATE;
}

/* Ticks that never were: counted as misses. */
static void lost(struct control_loop *c, uint64_t ticks)
{
    if (ticks) {
        atomic_fetch_add(&c->s->misses, ticks);
        atomic_store(&c->s->last_miss_ns, c->woke_ns);
    }
}

/* A robot side that sends faster than Welcome said must not make the limits per tick come faster: after two ticks in a row
 * those that follow wait for the clock, with 5 % for what its clock may be off, and use the newest state there is then. */
static void wait_early(struct control_loop *c)
{
    uint64_t period = c->core.tick_ns - c->core.tick_ns / 20, now = clock_now_ns();

    if (now + period < c->early_ns)
        clock_sleep_until(c->early_ns - period);
    c->early_ns = (now > c->early_ns ? now : c->early_ns) + period;
}

/* Sleeps until the tick is due. */
static void wait_tick(struct control_loop *c)
{
    uint64_t tick = c->core.tick_ns, now;

    if (waits_for_state(c)) {
        bool lockstep = atomic_load(&c->s->lockstep), came;

        for (;;) { /* the signal may be about a state that was taken already */
            uint32_t seen = rt_signal_count(&c->s->state_signal);
            if ((came = handoff_fresh(&c->s->state_handoff)) || atomic_load(&c->s->stop_threads) ||
                !rt_signal_wait(&c->s->state_signal, seen, c->due_ns))
                break;
        }
        if (came && !lockstep)
            wait_early(c);
        c->woke_ns = now = clock_now_ns();
        if (came)
            c->due_ns = now + (lockstep ? LOCKSTEP_GUARD_NS : tick + tick / 4);
        else
            c->due_ns = now - c->due_ns < tick ? c->due_ns + tick : now + tick;
    } else {
        clock_sleep_until(c->due_ns);
        c->woke_ns = now = clock_now_ns();
        hist_add(&c->s->wake, now - c->due_ns);
        lost(c, (now - c->due_ns) / tick);
        c->due_ns = now - c->due_ns < tick ? c->due_ns + tick : now + tick; /* lost ticks are not made up for */
    }
}

/* The core's time: the monotonic clock, or in lockstep the simulator's, continued without a step back. */
static uint64_t core_now(struct control_loop *c)
{
    const struct joint_state *s = c->in.state;

    if (!atomic_load(&c->s->lockstep) || !s || !c->in.state_new)
        return c->last_now_ns + (c->woke_ns - c->last_wall_ns);
    if (s->session != c->lockstep_session || c->lockstep_offset_ns + s->sample_ns <= c->last_now_ns) {
        c->lockstep_session   = s->session;
        c->lockstep_offset_ns = c->last_now_ns + c->core.tick_ns - s->sample_ns;
    }
    return c->lockstep_offset_ns + s->sample_ns;
}

/* ---- what the core needs ---- */

static const struct plan *newest_plan(struct control_loop *c)
{
    bool     fresh;
    uint32_t slot = handoff_latest(&c->s->plan_handoff, &fresh);

    if (fresh)
        c->plan = c->s->plan[slot];
    return &c->plan;
}

static void request_plan(struct shared *s, const struct plan_request *req)
{
    s->request[s->request_handoff.write] = *req;
    handoff_publish(&s->request_handoff);
    rt_signal_raise(&s->request_signal);
}

/* Lockstep: asks, and waits for the final plan. */
static const struct plan *solve(void *ctx, const struct plan_request *req)
{
    struct control_loop *c     = ctx;
    uint64_t        until = clock_now_ns() + LOCKSTEP_GUARD_NS;

    request_plan(c->s, req);
    for (;;) {
        uint32_t seen = rt_signal_count(&c->s->plan_signal);
        if (atomic_load_explicit(&c->s->planned_id, memory_order_acquire) == req->id)
            return newest_plan(c);
        if (!rt_signal_wait(&c->s->plan_signal, seen, until))
            return NULL;
    }
}

/* Since the tick before. */
static bool slept(struct control_loop *c)
{
    uint64_t asleep_ns = clock_asleep_ns();
    bool     more      = asleep_ns > c->asleep_ns + SLEPT_NS;

    c->asleep_ns = asleep_ns > c->asleep_ns ? asleep_ns : c->asleep_ns;
    return more;
}

static void gather(struct control_loop *c)
{
    struct shared     *s  = c->s;
    struct core_input *in = &c->in;
    uint64_t           slot;
    bool               fresh;

    uint32_t state = handoff_latest(&s->state_handoff, &fresh);
    in->state_new  = fresh;
    in->state      = fresh || in->state ? &s->state[state] : NULL;
    if (fresh && waits_for_state(c) && !atomic_load(&s->lockstep))
        hist_add(&s->wake, c->woke_ns > in->state->received_ns ? c->woke_ns - in->state->received_ns : 0);
    in->lockstep      = atomic_load(&s->lockstep);
    in->state_age_s   = fresh && !in->lockstep && c->woke_ns > in->state->received_ns
                            ? (double)(c->woke_ns - in->state->received_ns) * 1e-9 : 0;
    in->slept         = slept(c);
    in->now_ns        = core_now(c);
    in->plan          = newest_plan(c);
    in->model_version = atomic_load(&s->model_version);
    in->host          = atomic_load(&s->host_prearm);
    uint64_t missed   = atomic_load(&s->last_miss_ns);
    in->timing_clean  = !missed || c->woke_ns > missed + CLEAN_NS;
    in->aborted_trial = atomic_exchange(&s->aborted_trial, -1);
    in->estop_seen    = atomic_exchange(&s->estop_seen, false);
    in->fault_seen    = atomic_exchange(&s->fault_seen, false);
    in->link_damaged  = atomic_exchange(&s->link_damaged, false);
    in->syscall_refused = atomic_load(&s->refused) != 0;
    in->op = (struct operation){ .kind = OP_NONE, .id = atomic_exchange(&s->stop_id, 0) };
    if (in->op.id) {
        in->op.kind = OP_STOP;
    } else if (ring_peek(&s->operation_ring, &slot)) {
        in->op = s->operation[slot];
        ring_pop(&s->operation_ring);
        if (in->op.expires_ns && c->woke_ns > in->op.expires_ns)
            in->op.kind = OP_EXPIRED;
    }
    c->last_now_ns  = in->now_ns;
    c->last_wall_ns = c->woke_ns;
}

/* ---- what the core said ---- */

static void wake_io(struct shared *s)
{
    uint64_t one = 1;

    rt_permit_begin();
    ssize_t n = write(s->io_wake_fd, &one, sizeof one);
    rt_permit_end();
    (void)n; /* a full eventfd means that io is awake already */
}

static void send(struct control_loop *c)
{
    struct shared *s = c->s;
    uint64_t       slot;

    if (c->out.has_trial_request && ring_claim(&s->trial_request_ring, &slot)) {
        s->trial_request[slot] = c->out.trial_request;
        ring_push(&s->trial_request_ring);
    }
    if (c->out.has_command) {
        uint32_t w           = s->command_handoff.write;
        bool     lockstep    = atomic_load(&s->lockstep);
        s->command[w]        = c->out.command;
        s->command_due_ns[w] = lockstep                                  ? UINT64_MAX
                               : waits_for_state(c) && c->in.state_new ? c->in.state->received_ns + c->core.tick_ns
                                                                         : c->due_ns;
        handoff_publish(&s->command_handoff);
    }
    if (c->out.has_command || c->out.has_trial_request)
        wake_io(s);
    if (c->out.has_plan_request) {
        /* The core's time may run beside the clock after a lockstep session; the planner looks at the clock. */
        c->out.plan_request.deadline_ns += c->woke_ns - c->in.now_ns;
        c->out.plan_request.requested_ns = c->woke_ns;
        request_plan(s, &c->out.plan_request);
    }
}

static void report(struct control_loop *c)
{
    struct shared *s = c->s;
    uint64_t       slot;

    if (c->out.has_transition && ring_claim(&s->report_ring, &slot)) {
        s->report[slot].is_transition = true;
        s->report[slot].transition    = c->out.transition;
        ring_push(&s->report_ring);
    }
    for (int i = 0; i < c->out.nnotice; i++) {
        if (ring_claim(&s->report_ring, &slot)) {
            s->report[slot].is_transition = false;
            s->report[slot].notice        = c->out.notice[i];
            ring_push(&s->report_ring);
        }
    }
    uint64_t compute         = clock_now_ns() - c->woke_ns;
    c->out.record.compute_ns = compute;
    c->out.record.wake_ns    = c->in.state_new && c->woke_ns > c->in.state->received_ns
                                   ? c->woke_ns - c->in.state->received_ns : 0;
    hist_add(&s->compute, compute);
    rt_thread_numeric(s, THREAD_CONTROL);
    if (ring_claim(&s->record_ring, &slot)) {
        s->record[slot] = c->out.record;
        ring_push(&s->record_ring);
    }
    s->core[s->core_handoff.write] = c->core;
    handoff_publish(&s->core_handoff);
    atomic_fetch_add(&s->ticks, 1);
}

void *control_loop_run(void *arg)
{
    struct control_loop *c = arg;

    c->in.solve     = solve;
    c->in.solve_ctx = c;
    rt_thread_begins(c->s, THREAD_CONTROL);
    c->last_now_ns = c->last_wall_ns = clock_now_ns();
    c->due_ns                        = c->last_now_ns + c->core.tick_ns;
    for (int i = 0; i < 10; i++)
        slept(c);

    while (!atomic_load(&c->s->stop_threads)) {
        wait_tick(c);
        rt_body_begin();
        gather(c);
        core_step(&c->core, &c->in, &c->out);
        send(c);
        report(c);
        rt_body_end();
    }
    return NULL;
}
