/* drain.c - what the real-time threads have put in their rings and handoffs, told and kept. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/fault_names.h"
#include "transport/telemetry.h"

#define REFUSED_NS (10 * NS_PER_S)
#define TROUBLE_NS (60 * NS_PER_S)

static void mode_changed(struct daemon *d, const struct notice *n)
{
    struct stop_text text = core_stop_text(n->stop);

    if (n->to == MODE_STOPPING || n->to == MODE_FAULT) {
        d->stop_unix_s = unix_now();
        journal_say(&d->journal, "stop", "%s -> %s at step %u of trial %u: %s: %s. Remedy: %s", mode_name(n->from),
                    mode_name(n->to), n->step, n->trial, text.name, text.cause, text.remedy);
    } else if (n->from != MODE_BASELINE || n->to == MODE_DISARMED) {
        journal_say(&d->journal, "mode", "%s -> %s", mode_name(n->from), mode_name(n->to));
    }
    realtime_hold_latency(&d->realtime, mode_armed(n->to));
}

/* The control thread has answered about another task; no trial is under way. */
static void take_task(struct daemon *d, bool ok)
{
    struct shared *s = d->shared;

    d->wanted.id = 0;
    if (!ok)
        return;
    d->config.task = s->task[s->task_handoff.write] = d->wanted.task;
    handoff_publish(&s->task_handoff);
    snprintf(d->config.task_file, sizeof d->config.task_file, "%s", d->wanted.file);
    experiment_task(&d->experiment);
    journal_say(&d->journal, "task", "task %s in force, from %s", d->config.task.name, d->config.task_file);
}

static void take_reports(struct daemon *d)
{
    struct shared *s = d->shared;
    uint64_t       slot;

    while (ring_peek(&s->report_ring, &slot)) {
        const struct report *r = &s->report[slot];
        const struct notice *n = &r->notice;

        if (r->is_transition) {
            experiment_transition(&d->experiment, &r->transition);
        } else {
            if (n->kind == NOTICE_ANSWER && d->wanted.id && n->id == d->wanted.id)
                take_task(d, n->ok);
            operate_answer(d, n);
            experiment_notice(&d->experiment, n);
            stops_notice(&d->stops, n);
            if (n->kind == NOTICE_MODE)
                mode_changed(d, n);
            else if (n->kind == NOTICE_GATE)
                journal_say(&d->journal, "gate", "%s tripped at step %u of trial %u", gate_name(n->gate), n->step,
                            n->trial);
            else if (n->kind == NOTICE_UNFIT)
                learner_unfit(&d->learner, n->model);
            else if (n->kind == NOTICE_FAULT)
                journal_say(&d->journal, "fault", "%s: %s (%d tick%s, step %u of trial %u)", fault_texts[n->fault].name,
                            fault_texts[n->fault].words, n->count, n->count == 1 ? "" : "s", n->step, n->trial);
        }
        ring_pop(&s->report_ring);
    }
}

uint64_t daemon_silent_ns(const struct daemon *d)
{
    uint64_t heard = atomic_load(&d->shared->last_heard_ns); /* before the clock is read: io may hear more meanwhile */

    return clock_now_ns() - heard;
}

/* Again and again costs longer and longer, up to a minute, until there was a minute without: status has the newest. */
static void say_trouble(struct daemon *d)
{
    uint64_t now = clock_now_ns(), since = now - d->trouble.said_ns;

    d->trouble.more++;
    if (d->trouble.said_ns && since < d->trouble.pause_ns)
        return;
    bool again          = d->trouble.said_ns && since < d->trouble.pause_ns + TROUBLE_NS;
    d->trouble.pause_ns = !again                                 ? NS_PER_S
                          : 2 * d->trouble.pause_ns < TROUBLE_NS ? 2 * d->trouble.pause_ns
                                                                 : TROUBLE_NS;
    d->trouble.said_ns  = now;
    journal_say(&d->journal, "link", d->trouble.more > 1 ? "%s (and %d more)" : "%s", d->link_trouble,
                d->trouble.more - 1);
    d->trouble.more = 0;
}

static void take_link_notes(struct daemon *d)
{
    struct shared *s = d->shared;
    uint64_t       slot;

    while (ring_peek(&s->link_ring, &slot)) {
        const struct link_note *n = &s->link_note[slot];

        switch (n->kind) {
        case LINK_OPENED:
            d->hello     = n->hello;
            d->has_hello = true;
            journal_say(&d->journal, "link", "robot side connected: %s, session %016llx%s", n->hello.software,
                        (unsigned long long)n->session, n->hello.lockstep ? ", lockstep" : "");
            break;
        case LINK_TROUBLE:
            snprintf(d->link_trouble, sizeof d->link_trouble, "%s", n->text);
            say_trouble(d);
            break;
        case LINK_TRIAL_EVENT:
            if (n->event.kind == TRIAL_ENDED)
                experiment_reported_return(&d->experiment, &n->event);
            break;
        }
        ring_pop(&s->link_ring);
    }
    bool up = d->has_hello && daemon_silent_ns(d) < SESSION_ALIVE_MS * NS_PER_MS;
    if (d->link_up && !up)
        journal_say(&d->journal, "link", "the robot side has been silent for a second");
    d->link_up = up;
}

/* Clients that were refused since, said at most every REFUSED_NS: whoever knocks must not fill the journal. */
static void take_refusals(struct daemon *d, struct refusals *r, const struct port *p)
{
    uint64_t now = clock_now_ns();

    r->count = port_refused(p, r->last, sizeof r->last);
    if (r->count == r->said || (r->said && now - r->said_ns < REFUSED_NS))
        return;
    journal_say(&d->journal, "auth_refused", "%s (%" PRIu64 " refused so far)", r->last, r->count);
    r->said    = r->count;
    r->said_ns = now;
}

static void publish_telemetry(struct daemon *d)
{
    struct shared *s = d->shared;
    uint64_t       slot;
    uint8_t        buf[CODEC_MAX_BYTES];

    while (ring_peek(&s->record_ring, &slot)) {
        const struct tick_record *r = &s->record[slot];
        stops_tick(&d->stops, r);
        struct telemetry t = { .robot           = d->config.robot,
                               .tick            = r->tick,
                               .now_ns          = r->now_ns,
                               .mode            = r->mode,
                               .trial           = r->trial,
                               .step            = r->step,
                               .state_seq       = r->state_seq,
                               .nj              = r->nj,
                               .faults          = r->faults,
                               .filter          = r->filter,
                               .model_version   = r->model_version,
                               .plan_iterations = (uint32_t)r->plan_iterations,
                               .wake_us         = (double)r->wake_ns * 1e-3,
                               .compute_us      = (double)r->compute_ns * 1e-3 };

        memcpy(t.position, r->position, sizeof t.position);
        memcpy(t.velocity, r->velocity, sizeof t.velocity);
        memcpy(t.effort, r->effort, sizeof t.effort);
        port_send(d->telemetry, NULL, 0, buf, telemetry_pack(&t, buf));
        ring_pop(&s->record_ring);
    }
}

enum timeout_action daemon_joint_action(const struct daemon *d, int j)
{
    return d->hello.joint[j].timeout_action ? d->hello.joint[j].timeout_action : d->hello.timeout_action;
}

bool daemon_timeout_action(const struct daemon *d, int *joint)
{
    for (int j = 0; j < d->config.nj && d->has_hello; j++) {
        enum timeout_action want   = config_timeout_action(&d->config, j);
        bool                loaded = d->hello.gravity_compensated || d->config.gravity_by_robot || d->config.joint[j].ngravity > 0;

        *joint = j;
        if (d->config.joint[j].actuated && (want ? daemon_joint_action(d, j) != want : loaded))
            return false;
    }
    return d->has_hello;
}

/* What only the host can vouch for before arming. */
static uint32_t host_prearm(const struct daemon *d)
{
    bool sim     = d->config.hardware == HARDWARE_SIM;
    bool learner = atomic_load(&d->shared->model_version) || d->config.exploration.kind != EXPLORE_NONE;

    int  joint;

    bool gravity = d->hello.gravity_compensated ? !config_gravity_terms(&d->config) : !d->config.gravity_by_robot;

    return (uint32_t)gravity << PREARM_GRAVITY | (uint32_t)(sim || daemon_timeout_action(d, &joint)) << PREARM_TIMEOUT_ACTION |
           (uint32_t)(!threads_waiting(d) && (sim || (d->realtime.scheduling && threads_fifo(d)))) << PREARM_REALTIME |
           (uint32_t)(sim || d->realtime.memory_locked) << PREARM_MEMORY |
           (uint32_t)d->journal.store_ok << PREARM_STORE | (uint32_t)learner << PREARM_LEARNER |
           (uint32_t)(!atomic_load(&d->shared->refused) && (sim || threads_restricted(d))) << PREARM_SYSCALLS |
           (uint32_t)threads_numeric(d) << PREARM_NUMERIC | (uint32_t)(sim || d->realtime.clock_fine) << PREARM_CLOCK;
}

void drain(struct daemon *d)
{
    bool fresh;

    uint32_t slot = handoff_latest(&d->shared->core_handoff, &fresh);
    if (fresh)
        d->core = d->shared->core[slot];
    threads_refused(d);
    take_reports(d);
    take_link_notes(d);
    take_refusals(d, &d->refused_robots, d->io.port);
    take_refusals(d, &d->refused_listeners, d->telemetry);
    publish_telemetry(d);
    stops_settle(&d->stops, &d->core);
    if (!d->wanted.id)
        experiment_advance(&d->experiment, &d->core);
    operate_expire(d);
    atomic_store(&d->shared->host_prearm, host_prearm(d));
    experiment_commit(&d->experiment);
    learner_tick(&d->learner, experiment_flies(&d->experiment));
}
