/* status.c - everything that happens, as one JSON object (docs/status.md). */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/fault_names.h"

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static uint64_t get(const _Atomic uint64_t *a)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)a, memory_order_relaxed);
}

/* Percentiles in units of `unit_ns`. */
static json_t *histogram(const struct hist *h, double unit_ns)
{
    json_t *o = json_object();
    bool    any = get(&h->count) > 0;
    static const struct {
        const char *name;
        double      q;
    } at[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p999", 0.999 } };

    json_object_set_new(o, "n", count(get(&h->count)));
    for (unsigned i = 0; i < sizeof at / sizeof *at; i++)
        json_object_set_new(o, at[i].name, any ? json_real((double)hist_quantile(h, at[i].q) / unit_ns) : json_null());
    json_object_set_new(o, "max", any ? json_real((double)get(&h->max_ns) / unit_ns) : json_null());
    return o;
}

static json_t *stop_json(const struct daemon *d)
{
    const struct core *c    = &d->core;
    struct stop_text   text = core_stop_text(c->stop);

    if (c->stop == STOP_NONE)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "code", text.name, "cause", text.cause, "remedy", text.remedy,
                     "tick", (json_int_t)c->stop_tick, "trial", (json_int_t)c->stop_trial, "step",
                     (json_int_t)c->stop_step, "unix_s", number(d->stop_unix_s));
}

/* The newest refusal, of the endpoint that had one last. */
static json_t *auth_last(const struct daemon *d)
{
    const struct refusals *r = &d->refused_robots, *l = &d->refused_listeners;
    const struct refusals *newest = r->said_ns >= l->said_ns ? r : l;

    return json_string(newest->last);
}

static json_t *link_json(const struct daemon *d)
{
    const struct shared *s     = d->shared;
    const struct core   *c     = &d->core;
    json_t              *names = json_object(), *o;
    uint64_t             heard = get(&s->last_heard_ns), silent_ns = daemon_silent_ns(d);
    int window = d->config.control_hz < 100 ? (int)d->config.control_hz + 1 : 100, good = 0;
    char session[24];

    for (int i = 0; i < window; i++)
        good += (int)(c->fresh_bits[i / 64] >> (i % 64) & 1);
    for (int k = 0; k < COUNT_KINDS; k++)
        json_object_set_new(names, session_count_name((enum session_count)k), count(get(&s->session.count[k])));
    snprintf(session, sizeof session, "%016" PRIx64, c->session);
    o = json_pack("{s:b, s:s, s:b, s:b, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:I}, s:s, s:I, s:s, s:o, s:o}", "connected",
                  d->has_hello && silent_ns < SESSION_ALIVE_MS * NS_PER_MS, "session", session, "lockstep",
                  (int)atomic_load(&d->shared->lockstep), "simulated", d->hello.simulated, "software", d->hello.software,
                  "state_age_ms", heard ? number((double)silent_ns / 1e6) : json_null(), "success",
                  number((double)good / window), "late_commands", (json_int_t)c->state.late_commands,
                  "late_states", (json_int_t)c->count_late, "lost_commands", (json_int_t)c->state.lost_commands, "damaged_commands", (json_int_t)c->state.damaged_commands,
                  "changed_commands", (json_int_t)c->state.changed_commands, "missing",
                  (json_int_t)c->count_missing, "counts", names, "rejected", "nonfinite", (json_int_t)c->count_nonfinite,
                  "range", (json_int_t)c->count_range, "jump", (json_int_t)c->count_jump, "trouble", d->link_trouble, "auth_refused",
                  (json_int_t)(d->refused_robots.count + d->refused_listeners.count), "endpoint", d->endpoint,
                  "auth_last", auth_last(d), "effort_judged", count(c->count_judged));
    return o;
}

static json_t *trial_json(const struct trial_row *t)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:I, s:o}", "number", (json_int_t)t->number, "kind",
                     t->kind, "task", t->task, "status", t->status, "reason", t->reason, "steps", t->steps, "missing",
                     experiment_missing(t), "return", number(t->ret), "reported_return", number(t->reported_return),
                     "prequential_rmse", number(t->prequential_rmse), "model", (json_int_t)t->model_last, "gate_trips",
                     t->gate_trips >= 0 ? count((uint64_t)t->gate_trips) : json_null());
}

static const char *phase_name(const struct daemon *d)
{
    static const char *const name[] = { "IDLE", "RESETTING", "RUNNING" };

    if (d->core.trial_phase == TRIAL_IDLE && d->experiment.waiting_since_s > 0 && learner_busy(&d->learner))
        return "WAITING";
    return name[d->core.trial_phase];
}

static json_t *trials_json(const struct daemon *d)
{
    const struct experiment *e       = &d->experiment;
    json_t                  *history = json_array();
    int                      from    = e->nhistory > 200 ? e->nhistory - 200 : 0, done = 0;

    for (int i = 0; i < e->nhistory; i++)
        done += strcmp(e->history[i].status, "finished") == 0 && strcmp(e->history[i].kind, "planned") == 0;
    for (int i = from; i < e->nhistory; i++)
        json_array_append_new(history, trial_json(&e->history[i]));
    return json_pack("{s:s, s:I, s:s, s:I, s:i, s:o, s:o, s:i, s:i, s:b, s:o}", "phase", phase_name(d), "number",
                     (json_int_t)e->row.number, "kind", e->row.kind, "step", (json_int_t)(e->open ? d->core.step : 0),
                     "steps", d->config.trials.steps, "return", e->open ? number(e->row.ret) : json_null(), "best",
                     number(e->best), "count", e->count, "done", done, "finished", (int)experiment_finished(e), "history",
                     history);
}

/* The newest trial's error of each observation, and the trials before it. */
static json_t *error_json(const struct daemon *d)
{
    const struct model_error *m    = &d->learner.error;
    json_t                   *list = json_array();

    for (int k = 0; k < d->config.nx && m->n > 0; k++) {
        json_t *trend = json_array();

        for (int i = 0; i < m->n; i++)
            json_array_append_new(trend, number(m->trial[i][k]));
        json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", d->config.observation[k].name, "value",
                                              number(m->trial[m->n - 1][k]), "trend", trend));
    }
    return list;
}

static json_t *model_json(const struct daemon *d)
{
    static const char *const state[] = { "off", "idle", "training", "dead" };
    const struct learner    *l       = &d->learner;

    return json_pack("{s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:I, s:s}", "version",
                     (json_int_t)l->incumbent.version, "prequential_rmse", number(l->last_rmse), "error", error_json(d), "trainer",
                     state[l->state], "progress", number(l->progress), "train_s", number(l->last_report.train_s), "train_s_mean",
                     l->trainings ? number(l->train_s_total / (double)l->trainings) : json_null(), "steps",
                     l->last_report.steps, "transitions", l->last_report.transitions, "published",
                     (json_int_t)l->published, "refused", (json_int_t)l->refused, "rolled_back",
                     (json_int_t)l->rolled_back, "last", l->last);
}

static json_t *planner_json(const struct daemon *d)
{
    const struct shared *s      = d->shared;
    double               step_s = d->config.plan_every / d->config.control_hz;
    json_t              *cores  = json_array();

    for (int i = 0; i < d->config.cores.planners; i++)
        json_array_append_new(cores, json_integer(d->config.cores.planner[i]));
    return json_pack("{s:s, s:s, s:o, s:I, s:o, s:i, s:i, s:I, s:I, s:o, s:o}", "name", d->config.planner.name, "isa",
                     planner_isa(s->planner), "cores", cores, "page_faults", (json_int_t)threads_page_faults(d, THREAD_PLANNER, THREAD_PLANNER + d->workers - 1), "ms", histogram(&s->plan_time, 1e6), "iterations",
                     atomic_load(&d->shared->plan_iterations), "candidates", atomic_load(&d->shared->plan_candidates),
                     "late", (json_int_t)get(&s->plans_late), "cut", (json_int_t)get(&s->plans_cut), "budget_ms",
                     number(1e3 * d->config.planner_budget * step_s), "spread", number((double)get(&s->plan_spread_micro) * 1e-6));
}

static json_t *control_json(const struct daemon *d)
{
    const struct shared *s = d->shared;
    struct usage         u = threads_usage(d, THREAD_CONTROL);

    return json_pack("{s:f, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:s}", "hz", d->config.control_hz,
                     "plan_every", d->config.plan_every, "ticks", (json_int_t)get(&s->ticks), "misses",
                     (json_int_t)(get(&s->misses) + get(&s->plans_late)), "commands_late", (json_int_t)get(&s->misses),
                     "records_dropped",
                     (json_int_t)(get(&s->record_ring.dropped) + get(&s->report_ring.dropped)),
                     "wake_us", histogram(&s->wake, 1e3), "compute_us", histogram(&s->compute, 1e3), "loop_us",
                     histogram(&s->loop, 1e3), "page_faults", (json_int_t)(u.minor + u.major), "voluntary_switches",
                     (json_int_t)u.voluntary, "involuntary_switches", (json_int_t)u.involuntary, "since",
                     "arming");
}

/* What becomes of the robot when commands stop. */
static const char *timeout_action_detail(const struct daemon *d, char *text, size_t size)
{
    static const char *const does[] = {
        [TIMEOUT_DAMP] = "damps", [TIMEOUT_HOLD] = "holds", [TIMEOUT_BRAKE] = "brakes", [TIMEOUT_OFF] = "lets go"
    };

    if (!d->has_hello)
        return "no robot side has said Hello";
    int  bad  = 0;
    bool good = daemon_timeout_action(d, &bad);
    int  n    = snprintf(text, size, "when commands stop the robot side %s", does[d->hello.timeout_action]);

    for (int j = 0; j < d->config.nj; j++)
        if (d->config.joint[j].actuated && daemon_joint_action(d, j) != d->hello.timeout_action && n < (int)size)
            n += snprintf(text + n, size - (size_t)n, ", with joint %s it %s", d->config.joint[j].name, does[daemon_joint_action(d, j)]);
    if (good || n >= (int)size)
        return text;
    if (d->config.joint[bad].timeout_action)
        n += snprintf(text + n, size - (size_t)n, ", and joints[].timeout_action says otherwise of joint %s", d->config.joint[bad].name);
    else if (d->config.timeouts.robot_action)
        n += snprintf(text + n, size - (size_t)n, ", and timeouts.robot_action says otherwise");
    else
        n += snprintf(text + n, size - (size_t)n, ", and gravity loads its joints: put up with that in timeouts.robot_action, "
                                                  "or change it there");
    if (d->config.hardware == HARDWARE_SIM && n < (int)size)
        snprintf(text + n, size - (size_t)n, "; a simulated robot may");
    return text;
}

static const char *effort_detail(const struct daemon *d, char *text, size_t size)
{
    for (int j = 0; j < d->config.nj; j++) {
        if (!(d->config.joint[j].effort_error > 0) || d->core.state.has_effort)
            continue;
        if (!d->core.have_state)
            return "no state has come that could have measured effort";
        snprintf(text, size, "robot.yaml has joints[%d].effort_error (%s), but the robot side measures no effort (JointState.effort)", j,
                 d->config.joint[j].name);
        return text;
    }
    return "effort is measured where joints[].effort_error wants it compared";
}

static const char *prearm_detail(const struct daemon *d, enum prearm p, char *text, size_t size)
{
    bool sim = d->config.hardware == HARDWARE_SIM;

    switch (p) {
    case PREARM_SESSION: return d->has_hello ? d->hello.software : "no robot side has said Hello";
    case PREARM_STATE_FRESH: return "95 % of states present for one second";
    case PREARM_NO_FAULTS: return "the robot side reports no fault";
    case PREARM_ESTOP: return "emergency stop not pressed";
    case PREARM_INSIDE: return "every joint inside its position limits";
    case PREARM_SLOW: return "every joint below 1 % of its velocity limit";
    case PREARM_NOT_LATCHED: return d->core.latched ? "a stop waits for limber reset" : "no stop waits for a reset";
    case PREARM_TIMING:
        return sim ? "a simulated robot may miss ticks; real hardware must not have in the last 5 s" : "no tick missed in the last 5 s";
    case PREARM_SENSORS: return "no joint's position stands still while its velocity says that it moves, nor the other way round";
    case PREARM_BASELINE: return "what the baseline would do now is within every joint's effort, and its effort_continuous";
    case PREARM_EFFORT: return effort_detail(d, text, size);
    case PREARM_GRAVITY:
        return !d->has_hello                   ? "no robot side has said Hello"
               : d->hello.gravity_compensated ? config_gravity_terms(&d->config) ? "the robot side compensates gravity and so does joints[].gravity: take that out"
                                                                        : "the robot side compensates gravity"
               : d->config.gravity_by_robot   ? "baseline.gravity counts on the robot side, which does not compensate gravity"
               : config_gravity_terms(&d->config)      ? "the baseline compensates gravity"
                                              : "nobody compensates gravity: the baseline holds what is not loaded by it";
    case PREARM_TIMEOUT_ACTION: return timeout_action_detail(d, text, size);
    case PREARM_REALTIME:
        if (threads_waiting(d)) {
            snprintf(text, size, "thread %s has not run since the start: others with real-time priority keep its core (cores in robot.yaml)",
                     threads_waiting(d));
            return text;
        }
        return d->realtime.scheduling ? "FIFO priorities and cores granted"
               : sim                  ? "not granted; a simulated robot may do without"
                                      : "not granted; see realtime.warnings";
    case PREARM_MEMORY:
        return d->realtime.memory_locked ? "locked" : sim ? "not locked; a simulated robot may do without" : "not locked";
    case PREARM_STORE: return d->journal.store_ok ? "experience can be written" : "the last write failed; see events";
    case PREARM_LEARNER: return "a model is loaded, or exploration is configured";
    case PREARM_SYSCALLS:
        return atomic_load(&d->shared->refused) ? "one was refused (realtime.syscalls); start limberd again"
               : threads_restricted(d)          ? "each real-time thread is held to its list of system calls"
               : sim                            ? "not restricted; a simulated robot may do without"
                                                : "not restricted; see realtime.warnings";
    case PREARM_NUMERIC:
        return threads_numeric(d) ? "rounds to nearest, denormals are zero, decimal point"
                                  : "a library changed rounding, denormals or LC_NUMERIC; start limberd again without what "
                                    "was loaded into it (LD_PRELOAD), in locale C";
    case PREARM_CLOCK:
        return d->realtime.clock_fine ? "ticks can be kept to 0.1 ms"
               : sim                  ? "coarse; a simulated robot may do without"
                                      : "coarse; see realtime.warnings";
    case PREARM_COUNT: break;
    }
    return "";
}

static json_t *prearm_json(const struct daemon *d)
{
    json_t *list = json_array();
    char    text[200];

    for (int p = 0; p < PREARM_COUNT; p++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", prearm_name((enum prearm)p), "ok",
                                              (int)(d->core.prearm >> p & 1), "detail",
                                              prearm_detail(d, (enum prearm)p, text, sizeof text)));
    return list;
}

static const struct gate_config *gate_config_of(const struct daemon *d, enum gate g)
{
    switch (g) {
    case GATE_SPREAD: return &d->config.gates.spread;
    case GATE_RESIDUAL: return &d->config.gates.residual;
    case GATE_POSITION: return &d->config.gates.position;
    case GATE_PLAN_AGE: return &d->config.gates.plan_age;
    case GATE_DRIFT: return &d->config.gates.drift;
    case GATE_RECOVERABLE: return &d->config.gates.recoverable;
    case GATE_BASELINE: return &d->config.gates.baseline;
    case GATE_INTERVENTIONS: return &d->config.gates.interventions;
    case GATE_LIMIT_DWELL: return &d->config.gates.limit_dwell;
    case GATE_OSCILLATION: return &d->config.gates.oscillation;
    case GATE_ENERGY: return &d->config.gates.energy;
    default: return NULL;
    }
}

/* Why a gate that is configured only counts for now. */
static const char *gate_waits(const struct daemon *d, enum gate g)
{
    if (g == GATE_DRIFT)
        return "counts only until 999 prediction errors say what is usual";
    return d->core.transitions < (uint64_t)d->config.gates.min_transitions ? "counts only until gates.min_transitions"
                                                                           : "counts only until 999 scores calibrate it";
}

/* How often each stage of the filter changed an effort, ticks; why stages are off; the heat of motors that have one. */
static json_t *filter_json(const struct daemon *d)
{
    json_t *o = json_object(), *off = json_object(), *heat = json_object();
    const struct {
        enum filter_stage         stage;
        const struct gate_config *cfg;
    } may[] = { { STAGE_ENVELOPE, &d->config.filter.envelope },
                { STAGE_THERMAL, &d->config.filter.thermal },
                { STAGE_WINDOW, &d->config.filter.window },
                { STAGE_POWER, &d->config.filter.power } };

    for (int s = 0; s < FILTER_STAGES; s++)
        json_object_set_new(o, filter_texts[s].name, count(d->core.count_filter[s]));
    for (size_t i = 0; i < sizeof may / sizeof may[0]; i++)
        if (may[i].cfg->off)
            json_object_set_new(off, filter_texts[may[i].stage].name, json_string(may[i].cfg->off_reason));
    json_object_set_new(o, "off", off);
    for (int j = 0; j < d->config.nj; j++)
        if (d->config.joint[j].heat_s > 0)
            json_object_set_new(heat, d->config.joint[j].name, number(1 - d->core.window.cool[j]));
    json_object_set_new(o, "heat", heat);
    return o;
}

/* Ticks in which each fault bit was set. */
static json_t *faults_json(const struct daemon *d)
{
    json_t *o = json_object();

    for (int i = 0; i < FAULT_COUNT; i++)
        json_object_set_new(o, fault_texts[i].name, count(d->core.count_fault[i]));
    return o;
}

static json_t *gates_json(const struct daemon *d)
{
    json_t *list = json_array();

    for (int g = 0; g < GATE_COUNT; g++) {
        const struct core_gate   *gate = &d->core.gate[g];
        const struct gate_config *cfg  = gate_config_of(d, (enum gate)g);
        const char *off = cfg && cfg->off ? cfg->off_reason : gate->off ? gate_waits(d, (enum gate)g) : NULL;
        json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:s?, s:I, s:b, s:o}", "name", gate_name((enum gate)g),
                                              "threshold", cfg && !cfg->off ? number(gate->threshold) : json_null(), "unit",
                                              gate_unit((enum gate)g), "off", off, "trips", (json_int_t)gate->trips, "ok",
                                              (int)gate->ok, "value", number(gate->value)));
    }
    return list;
}

static json_t *events_json(const struct daemon *d)
{
    const struct journal *j    = &d->journal;
    json_t               *list = json_array();
    uint64_t              from = j->count > JOURNAL_KEPT ? j->count - JOURNAL_KEPT : 0;

    for (uint64_t i = from; i < j->count; i++) {
        const struct journal_event *e = &j->event[i % JOURNAL_KEPT];
        json_array_append_new(list, json_pack("{s:f, s:s, s:s}", "unix_s", e->unix_s, "kind", e->kind, "text", e->text));
    }
    return list;
}

static json_t *warnings_json(const struct daemon *d)
{
    json_t *list = json_array();

    for (int i = 0; i < d->realtime.nwarning; i++)
        json_array_append_new(list, json_string(d->realtime.warning[i]));
    return list;
}

static json_t *main_json(const struct daemon *d)
{
    const struct host_watch *w = &d->watch;

    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "stalls", count(w->stalls), "stall_ms_max", number((double)w->stall_ns * 1e-6),
                     "clock_steps", count(w->clock_steps), "clock_step_s", number(w->clock_step_s), "fd_low", count(w->fd_low));
}

char *status_json(const struct daemon *d)
{
    const struct core *c = &d->core;
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:f, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:{s:s, s:s}, s:o, s:o, s:o, "
                          "s:o, s:{s:I, s:I}, s:{s:b, s:o, s:o, s:o}, "
                          "s:o, s:o, s:o, s:o, s:{s:b, s:b, s:s}, s:o}",
                          "robot", d->config.robot, "version", LIMBER_VERSION, "pid", (int)getpid(), "hardware",
                          d->config.hardware == HARDWARE_SIM ? "sim" : "real", "uptime_s",
                          (double)(clock_now_ns() - d->started_ns) * 1e-9, "config", d->config.file, "run_dir",
                          d->run_dir, "store", d->store_path, "mode", mode_name(c->mode), "latched", (int)c->latched,
                          "stop", stop_json(d), "link", link_json(d), "task", "name", d->config.task.name, "file",
                          d->config.task_file, "trials", trials_json(d), "model", model_json(d), "planner",
                          planner_json(d), "control", control_json(d), "memory", "resident_kb",
                          (json_int_t)resident_kb(), "resident_start_kb", (json_int_t)d->resident_start_kb, "realtime",
                          "ok", (int)(d->realtime.scheduling && d->realtime.memory_locked), "warnings",
                          warnings_json(d), "syscalls", threads_syscalls_json(d), "threads", threads_json(d), "prearm", prearm_json(d),
                          "gates", gates_json(d), "filter", filter_json(d), "faults", faults_json(d), "sandbox", "files", (int)d->sandbox.files,
                          "calls", (int)d->sandbox.calls, "missing", d->sandbox.why, "events", events_json(d));

    if (!o)
        return NULL;
    json_object_set_new(o, "before", json_string(d->stops.before));
    json_object_set_new(o, "recording", json_integer(d->stops.last)); /* limber why N */
    json_object_set_new(o, "disk", json_pack("{s:o, s:o, s:o, s:o}", "waiting", count(disk_waiting(d->journal.disk)), "dropped",
                                             count(disk_dropped(d->journal.disk)), "unremembered",
                                             count(d->experiment.unremembered), "busy_s",
                                             number((double)disk_busy_ns(d->journal.disk) * 1e-9)));
    json_object_set_new(o, "hangups", count(d->hangups.count));
    json_object_set_new(o, "main", main_json(d));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(o);
    return text;
}
