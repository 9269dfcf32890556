/* stops_json.c - a recording's lines (docs/faults.md has the format). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/fault_names.h"
#include "daemon/stops.h"

static json_t *number(double x)
{
    if (isfinite(x))
        return json_real(x);
    return json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static json_t *numbers(const double *x, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, number(x[i]));
    return list;
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *bits(uint32_t set, const struct fault_text *text, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < 32; i++)
        if (set >> i & 1)
            json_array_append_new(list, i < n ? json_string(text[i].name) : json_sprintf("bit_%d", i));
    return list;
}

static double seconds_from(uint64_t ns, uint64_t stop_ns)
{
    return (double)(int64_t)(ns - stop_ns) * 1e-9;
}

static json_t *blame_json(const struct tick_record *r)
{
    static const struct {
        char        what;
        const char *name;
    } of[] = { { 'q', "position" }, { 'v', "velocity" }, { 'e', "applied_effort" }, { 'm', "effort" }, { 'x', "extra" },
          { 't', "effort" }, { 'd', "dwell_s" }, { 'o', "reversals" }, { 'w', "energy" } };
    const char *name = "extra";

    for (unsigned i = 0; i < sizeof of / sizeof *of; i++)
        if (of[i].what == r->blame.what)
            name = of[i].name;
    return json_pack("{s:i, s:s, s:o, s:o}", "joint", r->blame.joint, "what", name, "value", number(r->blame.value), "limit",
                     number(r->blame.limit));
}

json_t *stops_tick_json(const struct tick_record *r, uint64_t stop_ns)
{
    int     nj = r->nj < 0 ? 0 : r->nj > MAX_JOINTS ? MAX_JOINTS : r->nj;
    json_t *o  = json_pack("{s:o, s:f, s:s, s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:f, s:f}", "tick",
                           count(r->tick), "t", seconds_from(r->now_ns, stop_ns), "mode",
                           mode_name(r->mode < MODE_COUNT ? r->mode : MODE_BOOT), "faults",
                           bits(r->faults, fault_texts, fault_text_count), "filter",
                           bits(r->filter, filter_texts, filter_text_count), "state_seq", count(r->state_seq), "command_seq",
                           count(r->command_seq), "trial", (int)r->trial, "step", (int)r->step, "model",
                           count(r->model_version), "plan", count(r->plan_id), "iterations", r->plan_iterations, "position",
                           numbers(r->position, nj), "velocity", numbers(r->velocity, nj), "want", numbers(r->want, nj),
                           "effort", numbers(r->effort, nj), "wake_us", (double)r->wake_ns * 1e-3, "compute_us",
                           (double)r->compute_ns * 1e-3);

    if (r->blame.what) /* a joint's effort, or a state that was rejected */
        json_object_set_new(o, strchr("tdow", r->blame.what) ? "blamed" : "rejected", blame_json(r));
    return o;
}

static json_t *joints_json(const struct robot_config *c)
{
    json_t *list = json_array();

    for (int j = 0; j < c->nj; j++) {
        const struct joint_config *joint = &c->joint[j];
        bool                       turns = joint->type == JOINT_CONTINUOUS;

        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "name", joint->name, "unit",
                                              joint->type == JOINT_PRISMATIC ? "m" : "rad", "actuated", (int)joint->actuated,
                                              "min", turns ? json_null() : number(joint->position_min), "max",
                                              turns ? json_null() : number(joint->position_max), "velocity",
                                              number(joint->velocity), "effort", number(joint->effort)));
    }
    return list;
}

/* Changes of mode, and gate trips, the oldest first. */
static json_t *steps_json(const struct stops *s, bool gates)
{
    json_t  *list = json_array();
    uint64_t from = s->nstep > STOPS_STEPS ? s->nstep - STOPS_STEPS : 0;

    for (uint64_t i = from; i < s->nstep; i++) {
        const struct stops_step *p = &s->step[i % STOPS_STEPS];
        double                   t = seconds_from(p->now_ns, s->stop.now_ns);

        if (p->is_gate != gates)
            continue;
        json_array_append_new(
            list, gates ? json_pack("{s:o, s:f, s:s, s:i, s:i}", "tick", count(p->tick), "t", t, "gate", gate_name(p->gate),
                                    "trial", (int)p->trial, "step", (int)p->step)
                        : json_pack("{s:o, s:f, s:s, s:s, s:s}", "tick", count(p->tick), "t", t, "from", mode_name(p->from),
                                    "to", mode_name(p->to), "code", core_stop_text(p->stop).name));
    }
    return list;
}

static json_t *gates_json(const struct core *c)
{
    json_t *list = json_array();

    for (int g = 0; c && g < GATE_COUNT; g++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:b, s:o}", "name", gate_name((enum gate)g), "value",
                                              number(c->gate[g].value), "threshold", number(c->gate[g].threshold), "ok",
                                              (int)c->gate[g].ok, "trips", count(c->gate[g].trips)));
    return list;
}

static json_t *counters_json(const struct core *c)
{
    if (!c)
        return json_object();
    json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:i}", "missing", count(c->count_missing), "nonfinite",
                          count(c->count_nonfinite), "range", count(c->count_range), "jump", count(c->count_jump), "plan_late",
                          count(c->count_plan_late), "late_commands", (int)c->state.late_commands);
    for (int s = 0; s < FILTER_STAGES; s++) {
        char name[40];
        snprintf(name, sizeof name, "filter_%s", filter_texts[s].name);
        json_object_set_new(o, name, count(c->count_filter[s]));
    }
    return o;
}

json_t *stops_head(const struct stops *s, const struct core *core)
{
    const struct robot_config *c    = s->config;
    struct stop_text           text = core_stop_text(s->stop.stop);
    char                       hash[24];

    if (!core)
        text = (struct stop_text){ "crash", "the daemon died without an orderly end",
                                   "look in its log for the reason (journalctl -u limberd@NAME: killed, out of memory, a "
                                   "failed check), then arm again" };
    snprintf(hash, sizeof hash, "%016" PRIx64, s->config_hash);
    return json_pack("{s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:i, s:f, s:f, s:o, s:s, s:s, s:s, s:o, s:o, s:o, "
                     "s:o, s:o}",
                     "limber_stop", 1, "number", s->last + 1, "robot", c->robot, "version", LIMBER_VERSION, "code", text.name,
                     "cause", text.cause, "remedy", text.remedy, "from", mode_name(s->stop.from), "to",
                     core ? mode_name(s->stop.to) : "dead", "tick", count(s->stop.tick), "trial", (int)s->stop.trial, "step",
                     (int)s->stop.step, "unix_s", s->stop.unix_s, "hz", c->control_hz, "model",
                     count(s->model), "config", c->file, "config_hash", hash, "task", c->task.name,
                     "joints", joints_json(c), "modes", steps_json(s, false), "trips", steps_json(s, true), "gates",
                     gates_json(core), "counters", counters_json(core));
}
