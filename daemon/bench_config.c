/* bench_config.c - limber bench --config: does this machine hold what robot.yaml asks, and what would it hold?
 *
 * The budget is a share of the planner step; a plan that is not ready by then is cut: fewer iterations than asked for,
 * but a plan.  So "holds" is about 999 of 1000 plans being whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench.h"
#include "daemon/bench_rig.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/config.h"

enum { TRIES = 8, UNIT = 8 };

struct asked {
    const struct robot_config *c;
    struct realtime            realtime;
    struct bench_run           run; /* as configured */
    double                     period_ms, budget_ms;
    bool                       quick, json;
    int                        rc;
};

/* 0 fits, 1 does not, negative: could not be measured. */
static int fits(struct asked *a, const struct bench_run *r, struct bench_result *m)
{
    int bad = bench_measure(r, m);

    return bad ? bad : m->cut || m->p999 > a->budget_ms;
}

/* What other sizes take need not be known as well as the answer. */
static void shorten(const struct asked *a, struct bench_run *r)
{
    r->min_steps = a->quick ? 20 : 200;
    r->max_steps = a->quick ? 200 : 1000;
    r->seconds   = a->quick ? 0.1 : 0.6;
}

static int room(const struct bench_run *r)
{
    return MAX_POPULATION - r->config.proposals;
}

/* The largest population whose 99.9th percentile stays within the budget, measured; 0: not even the smallest. */
static int largest_population(struct asked *a, struct bench_run r, const struct bench_result *first, struct bench_result *m)
{
    int least = r.config.elites > UNIT ? r.config.elites : UNIT;
    int lower = 0, n = r.config.population;

    *m = *first;
    for (int i = 0; i < TRIES; i++) {
        double share = m->cut || m->steps == 0 ? 0.25 : a->budget_ms / m->p999;
        int    next  = (int)fmin(0.99 * share * n, room(&r)) / UNIT * UNIT;

        if (i > 0 && !m->cut && m->p999 <= a->budget_ms) {
            lower = n;
            if (next <= n + n / 20)
                break; /* as good as it gets */
        } else if (lower && next <= lower) {
            break;
        }
        n = next > least ? next : least;
        r.config.population = n;
        if (fits(a, &r, m) < 0)
            break;
        if (n == least && m->p999 > a->budget_ms)
            break;
        if (n == room(&r) / UNIT * UNIT && m->p999 <= a->budget_ms) {
            lower = n;
            break;
        }
    }
    return lower;
}

static json_t *size_json(const struct asked *a, int layers, int hidden)
{
    struct bench_run    r = a->run;
    struct bench_result m;
    char                name[32];

    shorten(a, &r);
    r.dims.layers = layers;
    r.dims.hidden = hidden;
    snprintf(name, sizeof name, "%dx%d", layers, hidden);
    r.label = name;
    int f = fits((struct asked *)a, &r, &m);

    if (f < 0)
        return NULL;
    return json_pack("{s:s, s:o, s:b, s:o}", "net", name, "ms_p999", js_real(m.p999), "fits", f == 0, "rows_per_s",
                     js_real(m.p50 > 0 && m.rows > 0 ? round(m.rows / m.p50 * 1e3) : (double)NAN));
}

static json_t *sizes_json(const struct asked *a)
{
    static const int sizes[][2] = { { 2, 64 }, { 2, 128 }, { 3, 128 }, { 3, 200 }, { 4, 200 } };

    json_t *all = json_array();

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        json_t *one = size_json(a, sizes[i][0], sizes[i][1]);

        if (one)
            json_array_append_new(all, one);
    }
    return all;
}

static void describe(struct asked *a)
{
    const struct robot_config *c = a->c;
    struct bench_run          *r = &a->run;

    *r = (struct bench_run){ .label     = c->robot,
                             .dims      = c->model,
                             .config    = c->planner,
                             .task      = c->task,
                             .bounds    = { .na = c->na },
                             .realtime  = &a->realtime,
                             .priority  = c->cores.planner_priority,
                             .pause     = 1.25,
                             .min_steps = a->quick ? 100 : 1000,
                             .max_steps = a->quick ? 500 : 10000,
                             .seconds   = a->quick ? 0.5 : 10 };
    for (int i = 0; i < c->na; i++) {
        r->bounds.low[i]  = (float)c->action[i].low;
        r->bounds.high[i] = (float)c->action[i].high;
    }
    a->period_ms = 1e3 * c->plan_every / c->control_hz;
    a->budget_ms = a->period_ms * c->planner_budget;
    r->cut_s     = fmax(4 * a->period_ms, a->quick ? 100 : 500) * 1e-3;

    memcpy(r->core, c->cores.planner, sizeof r->core);
}

static json_t *ask(struct asked *a)
{
    struct bench_result m, best;
    struct bench_run    r   = a->run;
    int                 bad = bench_measure(&a->run, &m);

    if (bad) {
        fprintf(stderr, "limber: %s\n", strerror(-bad));
        return NULL;
    }
    bool holds = !m.cut && m.p999 <= a->budget_ms;

    shorten(a, &r);
    int population = largest_population(a, r, &m, &best);
    int horizon    = m.cut ? 0 : (int)fmin(a->run.config.horizon * a->budget_ms / m.p999, MAX_HORIZON);
    json_t *doc    = json_object(), *warnings = json_array();

    for (int i = 0; i < a->realtime.nwarning; i++)
        json_array_append_new(warnings, json_string(a->realtime.warning[i]));
    json_object_set_new(doc, "machine", machine_json(m.isa[0] ? m.isa : NULL));
    json_object_set_new(doc, "robot", json_string(a->c->robot));
    json_object_set_new(doc, "planner", json_string(a->run.config.name));
    json_object_set_new(doc, "cores", json_integer(a->run.config.workers));
    json_object_set_new(doc, "holds", json_boolean(holds));
    json_object_set_new(doc, "period_ms", js_real(a->period_ms));
    json_object_set_new(doc, "budget_ms", js_real(a->budget_ms));
    json_object_set_new(doc, "steps", json_integer(m.steps));
    json_object_set_new(doc, "cut", json_boolean(m.cut));
    json_object_set_new(doc, "ms_p50", js_real(m.p50));
    json_object_set_new(doc, "ms_p99", js_real(m.p99));
    json_object_set_new(doc, "ms_p999", js_real(m.p999));
    json_object_set_new(doc, "ms_max", js_real(m.max));
    json_object_set_new(doc, "room", js_real(a->budget_ms / m.p999));
    json_object_set_new(doc, "would_fit",
                        json_pack("{s:o, s:o, s:o, s:o}", "population", population ? json_integer(population) : json_null(),
                                  "rows", population && best.rows > 0 ? js_real(best.rows) : json_null(), "horizon",
                                  horizon ? json_integer(horizon) : json_null(), "nets", sizes_json(a)));
    json_object_set_new(doc, "realtime_ok", json_boolean(a->realtime.scheduling && a->realtime.memory_locked));
    json_object_set_new(doc, "realtime_warnings", warnings);
    return doc;
}

static void print_answer(const struct asked *a, const json_t *d)
{
    const struct planner_config *c = &a->run.config;
    const json_t                *net, *w;
    size_t                       i;

    printf("%s: %s, %d candidates x %d steps x %d particles x %d iterations, net %dx%d, %d core%s\n", a->c->robot, c->name,
           c->population, c->horizon, c->particles, c->iterations, a->run.dims.layers, a->run.dims.hidden, c->workers,
           c->workers == 1 ? "" : "s");
    printf("  a step may take %.2f ms (%.0f%% of %.2f ms)\n", a->budget_ms, 100 * a->c->planner_budget, a->period_ms);
    if (js_true(d, "cut"))
        printf("  it takes more than %.0f ms: not measured to its end\n", 1e3 * a->run.cut_s);
    else
        printf("  it takes %.3f ms (p99 %.3f, p99.9 %.3f, max %.3f; %ld steps)\n", js_num(d, "ms_p50"), js_num(d, "ms_p99"),
               js_num(d, "ms_p999"), js_num(d, "ms_max"), js_int(d, "steps"));
    printf("%s: %.2f times the time of p99.9\n", js_true(d, "holds") ? "HOLDS" : "DOES NOT HOLD", js_num(d, "room"));
    printf("what would fit, each for itself:\n");
    if (js_int(d, "would_fit.population"))
        printf("  population up to %ld\n", js_int(d, "would_fit.population"));
    else
        printf("  population: none\n");
    if (js_int(d, "would_fit.horizon"))
        printf("  horizon up to %ld (estimated)\n", js_int(d, "would_fit.horizon"));
    json_array_foreach(js_at(d, "would_fit.nets"), i, net)
        printf("  net %-6s %s (p99.9 %.3f ms)\n", js_str(net, "net", ""), js_true(net, "fits") ? "fits" : "does not fit",
               js_num(net, "ms_p999"));
    json_array_foreach(js_at(d, "realtime_warnings"), i, w)
        printf("note: %s\n", json_string_value(w));
    printf("note: weights are random; the trainer, the control thread and the robot side are at rest here\n");
}

int bench_config(const char *config, bool json, bool quick)
{
    struct robot_config *c = malloc(sizeof *c);
    struct asked         a = { .c = c, .quick = quick, .json = json };
    char                 why[700];
    int                  rc = EXIT_OSERR;

    if (!c || config_load(config, c, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", c ? why : "no memory");
        free(c);
        return EXIT_CONFIG;
    }
    describe(&a);
    realtime_start(&a.realtime);
    realtime_hold_latency(&a.realtime, true);
    json_t *doc = ask(&a);

    if (doc) {
        rc = js_true(doc, "holds") ? EXIT_OK : EXIT_REFUSED;
        if (json) {
            json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
            printf("\n");
        } else {
            print_answer(&a, doc);
        }
        json_decref(doc);
    }
    free(c);
    return rc;
}
