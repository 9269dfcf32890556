/* config.c - config_load(): document, schema, then section by section into struct robot_config.
 *
 * config_lines: the file as a tree with lines.  config_schema, config_check: which keys, kinds, words and ranges.
 * config_body, config_learning, config_task and here: what must hold between them, and the defaults. */
#include "daemon/config.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/config_parts.h"
#include "daemon/rt/check.h"
#include "models/store.h"
#include "transport/port.h"

static int rates(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    double period_ms = 1e3 / *y->rates.control_hz;
    bool   sim       = c->hardware == HARDWARE_SIM;

    c->control_hz  = *y->rates.control_hz;
    c->plan_every  = or_int(y->rates.plan_every, 1);
    c->pace        = (enum pace)or_int(y->pace, sim ? PACE_STATE : PACE_TIMER);
    c->lockstep    = or_bool(y->lockstep, false);
    c->delay_steps = or_int(y->rates.delay_steps, 1);
    c->latch_ms    = or_float(y->rates.latch_ms, fmin(5, period_ms / 2));

    if (!(c->latch_ms < period_ms))
        return document_fail(d, "rates.latch_ms", "expected less than a control period, %g ms", period_ms);
    if (c->lockstep && !sim)
        return document_fail(d, "lockstep", "expected false with hardware: real; only a simulation can wait");
    if (c->lockstep && c->pace != PACE_STATE)
        return document_fail(d, "pace", "expected state, as lockstep: true waits for states");
    if (c->delay_steps == 0 && !c->lockstep)
        return document_fail(d, "rates.delay_steps", "expected 1: a plan takes time; 0 needs lockstep: true");
    return 0;
}

static int trials(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    bool sim = c->hardware == HARDWARE_SIM;

    c->trials.count            = or_int(y->trials.count, 15);
    c->trials.random           = or_int(y->trials.random, 1);
    c->trials.steps            = *y->trials.steps;
    c->trials.next             = (enum trial_next)or_int(y->trials.next, sim ? NEXT_AUTO : NEXT_OPERATOR);
    c->trials.wait_for_model_s = or_float(y->trials.wait_for_model_s, 20);
    c->trials.seed             = y->trials.seed ? *y->trials.seed : 1;
    if (c->trials.next == NEXT_AUTO && !sim)
        return document_fail(d, "trials.next", "expected operator with hardware: real; a person starts each trial");
    if (y->trials.random && c->trials.next != NEXT_AUTO)
        return document_fail(d, "trials.random", "expected this key only with trials.next: auto; an operator says which kind is next");
    if (y->trials.random && c->exploration.kind == EXPLORE_NONE)
        return document_fail(d, "trials.random", "expected this key only with exploration, which says what such a trial does");
    return 0;
}

/* `key: THRESHOLD`, or `key: {off: REASON}` where `may_be_off`. */
static int gate(struct document *d, const char *key, bool may_be_off, struct gate_config *g)
{
    const struct node *n = document_at(d, key);

    if (!n) /* optional, or schema_load() would have complained */
        return 0;
    if (n->kind == NODE_SCALAR)
        return schema_number(d, n, false, &g->threshold);
    if (n->kind != NODE_MAP || n->n != 1 || strcmp(n->child->key, "off") != 0)
        return node_fail(d, n, may_be_off ? "expected a threshold or {off: \"reason\"}" : "expected a threshold");
    if (!may_be_off)
        return node_fail(d, n->child, "expected a threshold; this gate can never be off");

    const struct node *reason = n->child;
    if (reason->kind != NODE_SCALAR || reason->text[strspn(reason->text, " \t")] == 0 ||
        (!reason->quoted && (strcmp(reason->text, "true") == 0 || strcmp(reason->text, "yes") == 0)))
        return node_fail(d, reason, "expected the reason why this gate is off, for status to show");
    if (strlen(reason->text) >= sizeof g->off_reason)
        return node_fail(d, reason, "expected a reason of at most %zu bytes", sizeof g->off_reason - 1);
    g->off = true; /* and a threshold of 0, which trips whoever forgets to ask */
    snprintf(g->off_reason, sizeof g->off_reason, "%s", reason->text);
    return 0;
}

/* gate(), or `key: auto`: the core finds the threshold. */
static int calibrated(struct document *d, const char *key, struct gate_config *g)
{
    const struct node *n = document_at(d, key);

    g->calibrated = n && n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, "auto") == 0;
    return g->calibrated ? 0 : gate(d, key, true, g);
}

/* A gate that robots of before it do not mention. */
static int late_gate(struct document *d, const char *key, struct gate_config *g)
{
    if (document_at(d, key))
        return gate(d, key, true, g);
    g->off = true;
    snprintf(g->off_reason, sizeof g->off_reason, "%s is not given", key);
    return 0;
}

/* Is what a joint's key gives given anywhere?  If not the stage is off, for the reason in the file or for that one. */
static int stage(struct document *d, const char *key, const char *of, bool given, struct gate_config *g)
{
    const struct node *n = document_at(d, key);

    if (n && given)
        return node_fail(d, n, "expected nothing, as joints[].%s is given; a stage is off where no joint has it", of);
    if (n && n->kind != NODE_MAP)
        return node_fail(d, n, "expected {off: \"reason\"}; its limits are joints[].%s", of);
    if (n)
        return gate(d, key, true, g);
    g->off = !given;
    snprintf(g->off_reason, sizeof g->off_reason, "joints[].%s is not given", of);
    return 0;
}

static int filter(struct document *d, struct robot_config *c)
{
    bool brake = false, thermal = false, growth = false, power = false;

    for (int j = 0; j < c->nj; j++) {
        brake |= c->joint[j].brake > 0;
        thermal |= c->joint[j].effort_continuous > 0;
        growth |= c->joint[j].effort_growth > 0;
        power |= c->joint[j].power > 0;
    }
    if (stage(d, "filter.envelope", "brake", brake, &c->filter.envelope) < 0 ||
        stage(d, "filter.thermal", "effort_continuous", thermal, &c->filter.thermal) < 0 ||
        stage(d, "filter.window", "effort_growth", growth, &c->filter.window) < 0 ||
        stage(d, "filter.power", "power", power, &c->filter.power) < 0)
        return -1;
    return stage(d, "gates.recoverable", "brake", brake, &c->gates.recoverable);
}

static int gates(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    c->gates.plan_age.threshold = 2;
    c->gates.min_transitions    = or_int(y->gates.min_transitions, 200);
    c->gates.promote_s          = or_float(y->gates.promote_s, 0.5);
    if (gate(d, "gates.plan_age", false, &c->gates.plan_age) < 0 ||
        calibrated(d, "gates.spread", &c->gates.spread) < 0 ||
        calibrated(d, "gates.residual", &c->gates.residual) < 0 || late_gate(d, "gates.drift", &c->gates.drift) < 0 ||
        late_gate(d, "gates.baseline", &c->gates.baseline) < 0 ||
        late_gate(d, "gates.interventions", &c->gates.interventions) < 0 ||
        late_gate(d, "gates.limit_dwell", &c->gates.limit_dwell) < 0 ||
        late_gate(d, "gates.oscillation", &c->gates.oscillation) < 0 ||
        late_gate(d, "gates.energy", &c->gates.energy) < 0)
        return -1;
    return gate(d, "gates.position", true, &c->gates.position);
}

/* A timeout of two control periods or less trips on ordinary jitter. */
static int longer_than_two_periods(struct document *d, const struct robot_config *c, const char *key, double s)
{
    double two = 2 / c->control_hz;

    if (!(s > two * (1 + 1e-9)))
        return document_fail(d, key, "expected more than two control periods, %g ms", two * 1e3);
    return 0;
}

static int timeouts(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    const struct yaml_timeouts *t     = &y->timeouts;
    double                      three = 3 / c->control_hz;

    c->timeouts.state_stale_s       = or_float(t->state_stale_s, fmax(0.015, three));
    c->timeouts.command_valid_s     = or_float(t->command_valid_s, fmax(0.020, three));
    c->timeouts.robot_timeout_max_s = or_float(t->robot_timeout_max_s, fmax(0.100, three));
    c->timeouts.stop_ramp_s         = or_float(t->stop_ramp_s, 0.3);
    c->timeouts.stop_cap_s          = or_float(t->stop_cap_s, 0.5);
    c->timeouts.reset_s             = or_float(t->reset_s, 30);
    if (c->timeouts.stop_cap_s < c->timeouts.stop_ramp_s)
        return document_fail(d, t->stop_cap_s ? "timeouts.stop_cap_s" : "timeouts.stop_ramp_s",
                             "expected stop_cap_s (%g) >= stop_ramp_s (%g)", c->timeouts.stop_cap_s,
                             c->timeouts.stop_ramp_s);
    if (longer_than_two_periods(d, c, "timeouts.state_stale_s", c->timeouts.state_stale_s) < 0 ||
        longer_than_two_periods(d, c, "timeouts.command_valid_s", c->timeouts.command_valid_s) < 0 ||
        longer_than_two_periods(d, c, "timeouts.robot_timeout_max_s", c->timeouts.robot_timeout_max_s) < 0 ||
        longer_than_two_periods(d, c, "timeouts.reset_s", c->timeouts.reset_s) < 0)
        return -1;
    return 0;
}

/* Damping is not holding, letting go still less: who knows that gravity loads a joint says what becomes of it when commands
 * stop.  There is no default (safety.md 3.2). */
static int robot_action(struct document *d, const struct yaml_timeouts *t, struct robot_config *c)
{
    c->timeouts.robot_action = t->robot_action ? (enum timeout_action) * t->robot_action : (enum timeout_action)0;
    for (int j = 0; j < c->nj && c->hardware == HARDWARE_REAL; j++) {
        const struct joint_config *joint  = &c->joint[j];
        bool                       loaded = joint->actuated && (c->gravity_by_robot || joint->ngravity > 0);

        if (loaded && !config_timeout_action(c, j))
            return document_fail(d, "timeouts.robot_action",
                                 "expected damp | hold | brake | off: what the robot side does when commands "
                                 "stop, as gravity loads its joints by %s; or joints[%d].timeout_action for joint %s",
                                 c->gravity_by_robot ? "baseline.gravity" : "joints[].gravity", j, joint->name);
    }
    return 0;
}

/* Real joints that must brake before their limits: the way they go unseen, until the daemon and then the robot side notice,
 * must end within the margin beyond the limit (safety.md 3.2). */
static int blind_motion(struct document *d, const struct robot_config *c)
{
    double blind_s = c->timeouts.state_stale_s + c->timeouts.robot_timeout_max_s;

    for (int j = 0; j < c->nj && c->hardware == HARDWARE_REAL && !c->gates.position.off; j++) {
        const struct joint_config *joint = &c->joint[j];
        double way = joint->velocity * blind_s, margin = c->gates.position.threshold * (joint->position_max - joint->position_min);

        if (joint->brake > 0 && !(way < margin))
            return document_fail(d, document_key(d, "joints[%d].velocity", j),
                                 "expected joint %s to go less than its margin of %.3g (gates.position) in the %.3g s of "
                                 "timeouts.state_stale_s and robot_timeout_max_s; at this velocity it goes %.3g",
                                 joint->name, margin, blind_s, way);
    }
    return 0;
}

static int one_core(struct document *d, const char *key, const int *given, int fallback, int *out)
{
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);

    *out = or_int(given, fallback < cores ? fallback : cores - 1);
    if (*out >= cores)
        return document_fail(d, key, "expected 0 to %d, as this machine has %d core%s, or -1 for any", cores - 1, cores,
                             cores == 1 ? "" : "s");
    return 0;
}

/* One core, or a list of them: the planner's threads. */
static int planner_cores(struct document *d, struct robot_config *c)
{
    const struct node *n    = document_at(d, "cores.planner");
    bool               list = n && n->kind == NODE_LIST;

    if (list && (n->n < 1 || n->n > TEAM_MAX))
        return node_fail(d, n, "expected 1 to %d cores, got %d", TEAM_MAX, n->n);
    c->cores.planners = list ? n->n : 1;
    for (int i = 0; i < c->cores.planners; i++) {
        const char *key = list ? document_key(d, "cores.planner[%d]", i) : "cores.planner";
        double      value;

        n = document_at(d, key);
        if (n && schema_number(d, n, true, &value) < 0)
            return -1;
        int given = n ? (int)value : 0;
        if (one_core(d, key, n ? &given : NULL, 1, &c->cores.planner[i]) < 0)
            return -1;
        for (int k = 0; k < i; k++)
            if (c->cores.planner[k] == given && given >= 0)
                return node_fail(d, n, "expected each core once: one thread plans on each");
    }
    c->planner.workers = c->cores.planners;
    return 0;
}

static int cores(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    const struct yaml_cores *from = &y->cores;

    if (one_core(d, "cores.main", from->main, 0, &c->cores.main) < 0 ||
        one_core(d, "cores.io", from->io, 0, &c->cores.io) < 0 ||
        one_core(d, "cores.control", from->control, 1, &c->cores.control) < 0 ||
        planner_cores(d, c) < 0)
        return -1;
    c->cores.control_priority = or_int(from->control_priority, 80);
    c->cores.io_priority      = or_int(from->io_priority, 75);
    c->cores.planner_priority = or_int(from->planner_priority, 70);
    c->cores.zmq_priority     = or_int(from->zmq_priority, 70);
    c->cores.sim_priority     = or_int(from->sim_priority, 60);
    if (c->cores.control_priority <= c->cores.planner_priority)
        return document_fail(d, from->control_priority ? "cores.control_priority" : "cores.planner_priority",
                             "expected control (%d) above planner (%d), or planning would delay a tick",
                             c->cores.control_priority, c->cores.planner_priority);
    if (c->cores.control_priority <= c->cores.io_priority)
        return document_fail(d, from->control_priority ? "cores.control_priority" : "cores.io_priority",
                             "expected control (%d) above io (%d)", c->cores.control_priority, c->cores.io_priority);
    return 0;
}

/* `path` as seen from the folder that `file` is in. */
static int beside(struct document *d, const char *key, const char *path, char out[PATH_SIZE])
{
    const char *slash = strrchr(d->file, '/');
    int         dir   = slash && path[0] != '/' ? (int)(slash + 1 - d->file) : 0;

    if (snprintf(out, PATH_SIZE, "%.*s%s", dir, d->file, path) >= PATH_SIZE)
        return document_fail(d, key, "expected a shorter path: at most %d bytes with the folder before it",
                             PATH_SIZE - 1);
    return 0;
}

static int endpoint(struct document *d, const char *key, const char *value, bool curve, char out[ENDPOINT_SIZE])
{
    if (!value)
        return 0;
    if (strlen(value) >= ENDPOINT_SIZE)
        return document_fail(d, key, "expected at most %d bytes", ENDPOINT_SIZE - 1);
    char why[ENDPOINT_SIZE + 200];
    bool tcp = strncmp(value, "tcp://", 6) == 0;

    if (tcp && !curve)
        return document_fail(d, key, "expected ipc://PATH, or curve: {key: FILE, clients: FILE} as well: tcp:// is refused "
                                     "without CURVE keys, see docs/security.md");
    if (tcp && !port_endpoint_ok(value, true, why, sizeof why))
        return document_fail(d, key, "expected tcp://ADDRESS:PORT, PORT from 1 to 65535");
    if (tcp) {
        snprintf(out, ENDPOINT_SIZE, "%s", value);
        return 0;
    }
    if (strncmp(value, "ipc://", 6) != 0 || !value[6])
        return document_fail(d, key, "expected ipc://PATH, or tcp://ADDRESS:PORT with curve");
    if (strlen(value + 6) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return document_fail(d, key, "expected a path of at most %zu bytes, as Unix sockets have",
                             sizeof((struct sockaddr_un *)0)->sun_path - 1);
    snprintf(out, ENDPOINT_SIZE, "%s", value);
    return 0;
}

static int places(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    if (y->paths.run && beside(d, "paths.run", y->paths.run, c->paths.run) < 0)
        return -1;
    if (y->paths.store && beside(d, "paths.store", y->paths.store, c->paths.store) < 0)
        return -1;
    if (y->paths.model_key && beside(d, "paths.model_key", y->paths.model_key, c->paths.model_key) < 0)
        return -1;
    bool curve = y->curve.key != NULL;
    if (curve && (beside(d, "curve.key", y->curve.key, c->curve.key) < 0 ||
                  beside(d, "curve.clients", y->curve.clients, c->curve.clients) < 0))
        return -1;
    if (endpoint(d, "endpoint", y->endpoint, curve, c->endpoint) < 0 ||
        endpoint(d, "telemetry", y->telemetry, curve, c->telemetry) < 0)
        return -1;
    if (c->endpoint[0] && strcmp(c->endpoint, c->telemetry) == 0)
        return document_fail(d, "telemetry", "expected another socket than endpoint");
    return 0;
}

static int sim(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    double most_ms = c->timeouts.robot_timeout_max_s * 1e3;

    if (beside(d, "sim.model", y->sim.model ? y->sim.model : "model.xml", c->sim.model) < 0)
        return -1;
    c->sim.timestep           = or_float(y->sim.timestep, 0);
    c->sim.command_timeout_ms = or_float(y->sim.command_timeout_ms, fmax(20, 3e3 / c->control_hz));
    if (c->sim.timestep > 0) {
        double steps = 1 / (c->control_hz * c->sim.timestep);
        if (!(steps > 0.5 && fabs(steps - round(steps)) < 1e-6 * steps))
            return document_fail(d, "sim.timestep", "expected a whole fraction of the control period, %g s",
                                 1 / c->control_hz);
    }
    const char *key = y->sim.command_timeout_ms ? "sim.command_timeout_ms" : "timeouts.robot_timeout_max_s";
    if (!(c->sim.command_timeout_ms <= most_ms * (1 + 1e-9)))
        return document_fail(d, key, "expected sim.command_timeout_ms (%g) within robot_timeout_max_s (%g ms)",
                             c->sim.command_timeout_ms, most_ms);
    return longer_than_two_periods(d, c, "sim.command_timeout_ms", c->sim.command_timeout_ms * 1e-3);
}

static int task(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    if (beside(d, "task", y->task, c->task_file) < 0)
        return -1;
    if (access(c->task_file, R_OK) < 0)
        return document_fail(d, "task", "expected a task file; cannot read %s: %s", c->task_file, strerror(errno));
    return config_task(c->task_file, c, &c->task, d->why, d->why_size);
}

static int absolute(struct document *d, char out[PATH_SIZE])
{
    char *full = realpath(d->file, NULL);
    int   rc   = full && strlen(full) < PATH_SIZE ? 0 : -1;

    if (rc == 0)
        snprintf(out, PATH_SIZE, "%s", full);
    else
        snprintf(d->why, d->why_size, "%s: %s", d->file, full ? "its absolute path is too long" : strerror(errno));
    free(full);
    return rc;
}

static int convert(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    if (absolute(d, c->file) < 0 || schema_name(d, document_at(d, "robot")) < 0)
        return -1;
    snprintf(c->robot, sizeof c->robot, "%s", y->robot);
    c->hardware = (enum hardware) * y->hardware;
    if (rates(d, y, c) < 0 || config_body(d, y, c) < 0 || trials(d, y, c) < 0 || config_learning(d, y, c) < 0 ||
        gates(d, y, c) < 0 || filter(d, c) < 0 || timeouts(d, y, c) < 0 || robot_action(d, &y->timeouts, c) < 0 ||
        blind_motion(d, c) < 0 || cores(d, y, c) < 0 || places(d, y, c) < 0 || sim(d, y, c) < 0)
        return -1;
    return task(d, y, c) < 0 ? -1 : config_reward(d, c);
}

/* In de_DE strtod() reads 0.5 as 0; robot.yaml means the same everywhere. */
static locale_t plain_locale(locale_t *before)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", NULL);

    CHECK(plain);
    *before = uselocale(plain);
    return plain;
}

static void restore_locale(locale_t plain, locale_t before)
{
    uselocale(before);
    freelocale(plain);
}

static int load(struct document *d, struct robot_config *c)
{
    void *y = NULL;

    *c     = (struct robot_config){ 0 };
    int rc = schema_load(d, &robot_schema, &y);
    if (rc == 0)
        rc = convert(d, y, c);
    schema_free(&robot_schema, y);
    return rc;
}

/* A value with a line break in it must not break the message. */
static void one_line(char *why)
{
    for (char *p = why; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
}

int config_load(const char *path, struct robot_config *c, char *why, size_t why_size)
{
    struct document d;
    locale_t        before, plain = plain_locale(&before);

    why[0] = 0;
    int rc = document_read(&d, path, why, why_size);
    if (rc == 0)
        rc = load(&d, c);
    one_line(why);
    document_free(&d);
    restore_locale(plain, before);
    return rc;
}

static void drop_unused(struct document *d, const char *planner, char dropped[KEYS_SIZE])
{
    const struct node *map = document_at(d, "planner");
    char               key[NAME_SIZE];

    for (const struct node *n = map && map->kind == NODE_MAP ? map->child : NULL, *next; n; n = next) {
        next = n->next;
        if (config_planner_uses(planner, n->key))
            continue;
        size_t used = strlen(dropped);
        snprintf(dropped + used, KEYS_SIZE - used, "%splanner.%s", used ? ", " : "", n->key);
        snprintf(key, sizeof key, "%s", n->key);
        document_remove(d, document_key(d, "planner.%s", key));
    }
}

enum { SET_SIZE = 400 };

static int change(struct document *d, const struct config_changes *with, char (*origin)[SET_SIZE], char dropped[KEYS_SIZE])
{
    if (with->planner) {
        snprintf(origin[with->sets], SET_SIZE, "--planner %s", with->planner);
        snprintf(d->key, sizeof d->key, "planner.name=%s", with->planner);
        if (document_set(d, d->key, origin[with->sets]) < 0)
            return -1;
        drop_unused(d, with->planner, dropped);
    }
    for (int i = 0; i < with->sets; i++) {
        snprintf(origin[i], SET_SIZE, "--set %s", with->set[i]);
        if (document_set(d, with->set[i], origin[i]) < 0)
            return -1;
    }
    document_emit(d);
    return 0;
}

/* A run keeps its own copy of the task; the robot's model, and what that includes, stays where it is. */
static void settle_paths(struct document *d, const struct config_changes *with, const struct robot_config *c)
{
    char *model = realpath(c->sim.model, NULL);

    document_set_text(d, "task", with->task_copy);
    document_set_text(d, "sim.model", model ? model : c->sim.model);
    document_remove(d, "endpoint"); /* a run's sockets are in its own directory */
    document_remove(d, "telemetry");
    document_remove(d, "paths.model_key"); /* its models are nobody's to fly */
    document_emit(d);
    free(model);
}

int config_load_with(const char *path, const struct config_changes *with, struct robot_config *c, char **text,
                     char dropped[KEYS_SIZE], char *why, size_t why_size)
{
    struct document d;
    locale_t        before, plain     = plain_locale(&before);
    char (*origin)[SET_SIZE] = calloc((size_t)with->sets + 1, SET_SIZE);

    NEED(origin);
    why[0] = dropped[0] = 0;
    *text  = NULL;
    int rc = document_read(&d, path, why, why_size);
    if (rc == 0)
        rc = change(&d, with, origin, dropped);
    if (rc == 0)
        rc = load(&d, c);
    if (rc == 0) {
        settle_paths(&d, with, c);
        *text = strdup(d.text);
        NEED(*text);
    }
    one_line(why);
    document_free(&d);
    free(origin);
    restore_locale(plain, before);
    return rc;
}

void config_store_schema(const struct robot_config *c, struct store_schema *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->robot, sizeof s->robot, "%s", c->robot);
    s->nx = c->nx;
    s->na = c->na;
    for (int i = 0; i < c->nx; i++)
        snprintf(s->observation[i], sizeof s->observation[i], "%s", c->observation[i].name);
    for (int i = 0; i < c->na; i++)
        snprintf(s->action[i], sizeof s->action[i], "%s", c->joint[c->action[i].joint].name);
}

enum timeout_action config_timeout_action(const struct robot_config *c, int j)
{
    return c->joint[j].timeout_action ? c->joint[j].timeout_action : c->timeouts.robot_action;
}

bool config_gravity_terms(const struct robot_config *c)
{
    for (int j = 0; j < c->nj; j++)
        if (c->joint[j].ngravity)
            return true;
    return false;
}
