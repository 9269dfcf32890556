/* bench_plan.c - limber bench plan: how fast the planner is, as fractions of what the processor could do.
 *
 * A row of the report is one planner, model, arithmetic, instruction set and number of cores, measured for itself.  The
 * sizes are those of PETS (Chua et al. 2018, from the published configurations) and of robots in real time. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_rig.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/config.h"
#include "daemon/rt/check.h"
#include "models/peak.h"

enum group { PAPER, REALTIME };

struct shape {
    const char *name;
    enum group  group;
    int         nx, na, angles, layers, hidden;
    const char *planner;
    int         population, elites, horizon, iterations, particles;
};

static const struct shape shapes[] = {
    { "cartpole", PAPER, 4, 1, 1, 3, 500, "cem", 400, 40, 25, 5, 20 },
    { "reacher", PAPER, 17, 7, 0, 4, 200, "cem", 400, 40, 25, 5, 20 },
    { "pusher", PAPER, 20, 7, 0, 3, 200, "cem", 500, 50, 25, 5, 20 },
    { "halfcheetah", PAPER, 18, 6, 0, 4, 200, "cem", 500, 50, 30, 5, 20 },
    { "A-2x64", REALTIME, 12, 4, 0, 2, 64, "cem", 64, 8, 15, 3, 5 },
    { "B-3x128", REALTIME, 18, 6, 0, 3, 128, "cem", 64, 8, 15, 3, 5 },
    { "C-2x64", REALTIME, 18, 6, 0, 2, 64, "cem", 128, 12, 20, 3, 5 },
    { "D-2x64", REALTIME, 12, 4, 0, 2, 64, "cem", 48, 8, 10, 2, 5 },
    { "Q-2x128", REALTIME, 36, 12, 0, 2, 128, "cem", 96, 10, 12, 3, 5 },
    { "quadruped-2x64", REALTIME, 36, 12, 0, 2, 64, "icem", 96, 10, 12, 3, 5 },
    { "quadruped-3x128", REALTIME, 36, 12, 0, 3, 128, "icem", 96, 10, 12, 3, 5 },
    { "quadruped-3x200", REALTIME, 36, 12, 0, 3, 200, "icem", 96, 10, 12, 3, 5 },
    { "quadruped-4x200", REALTIME, 36, 12, 0, 4, 200, "icem", 96, 10, 12, 3, 5 },
    { "arm-2x64", REALTIME, 17, 7, 0, 2, 64, "icem", 64, 8, 20, 3, 5 },
    { "arm-3x128", REALTIME, 17, 7, 0, 3, 128, "icem", 64, 8, 20, 3, 5 },
    { "arm-3x200", REALTIME, 17, 7, 0, 3, 200, "icem", 64, 8, 20, 3, 5 },
    { "arm-4x200", REALTIME, 17, 7, 0, 4, 200, "icem", 64, 8, 20, 3, 5 },
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What is varied on the shape. */
struct variant {
    const char    *planner, *isa;
    enum plan_dtype dtype;
    bool           exact, realtime;
    int            cores;
};

struct bench {
    const char      *shape, *planner, *out;
    long             steps; /* 0: as many as there is time for */
    bool             json, quick;
    json_t          *rows;
    struct realtime  realtime;
    bool             realtime_begun;
    int              core[TEAM_MAX], ncore;
    double           peak_f32, peak_bf16;
};

static bool paper(const struct shape *s)
{
    return s->group == PAPER;
}

/* --- one row --------------------------------------------------------------------------------------------------- */

/* Reward a tip's place, or a few observations; and effort: the kinds of terms that robots' tasks are made of. */
static void shape_task(const struct shape *s, struct task *t)
{
    bool arm = !strncmp(s->name, "arm", 3) || !strcmp(s->name, "reacher") || !strcmp(s->name, "pusher");

    *t         = (struct task){ .nterm = 2 };
    t->term[0] = (struct task_term){ .kind = TERM_OBSERVATION, .weight = 1, .n = 3, .index = { 0, 1, 2 }, .scale = { 1, 1, 1 } };
    t->term[1] = (struct task_term){ .kind = TERM_EFFORT, .weight = 0.01 };
    if (!arm)
        return;
    t->nframe         = 1;
    t->frame[0].nlink = 7;
    for (int i = 0; i < 7; i++)
        t->frame[0].link[i] = (struct task_link){
            .offset = { 0.1, 0, 0 }, .obs = i, .type = JOINT_REVOLUTE, .axis = { i % 3 == 0, i % 3 == 1, i % 3 == 2 }
        };
    t->frame[0].tip[0] = 0.2;
    t->term[0] = (struct task_term){ .kind = TERM_FRAME, .weight = 1, .n = 3, .target = { 0.3, 0.2, 0.1 }, .scale = { 1, 1, 1 } };
}

static void shape_run(const struct shape *s, const struct variant *v, struct bench_run *r)
{
    struct planner_config *c = &r->config;

    *r = (struct bench_run){ .isa = v->isa };
    r->dims = (struct model_dims){ .nx = s->nx, .na = s->na, .members = 5, .layers = s->layers, .hidden = s->hidden };
    for (int i = 0; i < s->angles; i++)
        r->dims.input[1 + i] = INPUT_ANGLE;
    CHECK(config_planner(v->planner, s->na, c) == 0);
    c->horizon          = s->horizon;
    c->population       = s->population;
    c->iterations       = s->iterations;
    c->elites           = s->elites;
    c->particles        = s->particles;
    c->propagation      = PARTICLES_TSINF;
    c->dtype            = v->dtype;
    c->exact            = v->exact;
    c->workers          = v->cores;
    c->alpha            = 0.1;
    c->epsilon          = 0; /* all iterations run */
    c->first_population = 0;
    r->bounds.na = s->na;
    for (int i = 0; i < s->na; i++) {
        r->bounds.low[i]  = -1;
        r->bounds.high[i] = 1;
    }
    shape_task(s, &r->task);
}

static double round_to(double x, double unit)
{
    return isfinite(x) ? round(x / unit) * unit : x;
}

static json_t *row_json(const struct shape *s, const struct variant *v, const struct bench_result *m)
{
    double  peak   = v->dtype == DTYPE_BF16 && m->peak_bf16 > 0 ? m->peak_bf16 : m->peak_f32;
    double  gflops = m->flops / (m->p50 * 1e6), best = m->flops / (m->min * 1e6);
    json_t *r      = json_object();

    json_object_set_new(r, "what", json_string("plan"));
    json_object_set_new(r, "shape", json_string(s->name));
    json_object_set_new(r, "planner", json_string(v->planner));
    json_object_set_new(r, "dtype", json_string(v->dtype == DTYPE_BF16 ? "bf16" : "f32"));
    json_object_set_new(r, "activation", json_string(v->exact ? "exact" : "fast"));
    json_object_set_new(r, "isa", json_string(m->isa));
    json_object_set_new(r, "cores", json_integer(v->cores));
    json_object_set_new(r, "realtime", json_boolean(v->realtime));
    json_object_set_new(r, "steps", json_integer(m->steps));
    json_object_set_new(r, "ms_p50", js_real(m->p50));
    json_object_set_new(r, "ms_p99", js_real(m->p99));
    json_object_set_new(r, "ms_p999", js_real(m->p999));
    json_object_set_new(r, "ms_max", js_real(m->max));
    json_object_set_new(r, "ms_min", js_real(m->min));
    json_object_set_new(r, "cpu_ms_p50", js_real(m->cpu));
    json_object_set_new(r, "prepare_ms", js_real(m->prepare));
    json_object_set_new(r, "rows", js_real(m->rows));
    json_object_set_new(r, "rows_per_s", js_real(round_to(m->rows / m->p50 * 1e3, 1)));
    json_object_set_new(r, "gflops", js_real(gflops));
    json_object_set_new(r, "peak_gflops", js_real(peak));
    json_object_set_new(r, "peak_fraction", js_real(gflops / (peak * v->cores)));
    json_object_set_new(r, "peak_fraction_near", js_real(m->near_p50 > 0 ? m->near_p50 : (double)NAN));
    json_object_set_new(r, "peak_fraction_near_p90", js_real(m->near_p90 > 0 ? m->near_p90 : (double)NAN));
    json_object_set_new(r, "peak_fraction_best", js_real(best / (peak * v->cores)));
    if (m->phased) {
        json_t *phases = json_object();

        for (int i = 0; i < PLAN_PHASES; i++)
            json_object_set_new(phases, planner_phase_name((enum plan_phase)i), js_real(m->phase[i]));
        json_object_set_new(r, "phases", phases);
    } else {
        json_object_set_new(r, "phases", json_null());
    }
    json_object_set_new(r, "peak_fraction_cpu",
                        js_real(v->cores == 1 ? m->flops / (m->cpu * 1e6 * peak) : (double)NAN));
    return r;
}

static void print_head(void)
{
    printf("%-15s %-9s %-5s %-5s %-8s %5s %9s %9s %9s %9s %8s %6s %6s %6s\n", "shape", "planner", "dtype", "act.", "isa", "cores",
           "ms p50", "p99", "p99.9", "max", "GFLOP/s", "peak", "near", "p90");
}

static void print_row(const json_t *r)
{
    printf("%-15s %-9s %-5s %-5s %-8s %3ld%-2s %9.3f %9.3f %9.3f %9.3f %8.1f %5.1f%%", js_str(r, "shape", ""),
           js_str(r, "planner", ""), js_str(r, "dtype", ""), js_str(r, "activation", ""), js_str(r, "isa", ""),
           js_int(r, "cores"), js_true(r, "realtime") ? "rt" : "", js_num(r, "ms_p50"), js_num(r, "ms_p99"),
           js_num(r, "ms_p999"), js_num(r, "ms_max"), js_num(r, "gflops"), 100 * js_num(r, "peak_fraction"));
    if (isfinite(js_num(r, "peak_fraction_near")))
        printf(" %5.1f%% %5.1f%%", 100 * js_num(r, "peak_fraction_near"), 100 * js_num(r, "peak_fraction_near_p90"));
    printf("\n");
    const json_t *phases = js_at(r, "phases"), *value;
    const char   *key;

    if (json_is_object(phases)) {
        printf("%15s", "ms:");
        json_object_foreach((json_t *)phases, key, value)
            printf(" %s %.3f", key, json_number_value(value));
        printf(", ahead of time %.3f\n", js_num(r, "prepare_ms"));
    }
    fflush(stdout);
}

static void begin_realtime(struct bench *b)
{
    if (b->realtime_begun)
        return;
    b->realtime_begun = true;
    realtime_start(&b->realtime);
    realtime_hold_latency(&b->realtime, true);
}

/* How long and how often: enough for a median; on the real-time thread enough for a 99.9th percentile. */
static void effort(const struct bench *b, const struct shape *s, const struct variant *v, struct bench_run *r)
{
    bool plain = !v->exact && v->dtype == DTYPE_F32 && v->cores == 1;

    r->min_steps = paper(s) ? (b->quick || !plain ? 1 : 3) : b->quick ? 5 : 20;
    r->max_steps = 5000;
    r->seconds   = b->quick ? 0.2 : paper(s) ? 4 : 1;
    if (v->realtime) {
        r->min_steps = b->quick ? 1000 : 10000;
        r->max_steps = r->min_steps;
        r->seconds   = 0;
        r->pause     = 1.25;
        r->priority  = 70;
    }
    if (b->steps)
        r->min_steps = r->max_steps = (int)b->steps;
}

/* Again in short steps next to the peak: the paper's with fewer candidates, or a step would take seconds. */
static void pair(const struct bench *b, const struct shape *s, const struct bench_run *given, struct bench_result *m)
{
    struct bench_run    r = *given;
    struct bench_result near;

    if (paper(s)) {
        r.config.population = 32;
        r.config.elites     = 4;
        r.config.particles  = r.dims.members;
        r.config.iterations = 1;
    }
    r.paired = b->quick || s->hidden > 200 ? 50 : 150;
    if (bench_measure(&r, &near) == 0) {
        m->near_p50 = near.near_p50;
        m->near_p90 = near.near_p90;
    }
}

/* Measures, prints, appends.  What cannot run is passed over with the reason on stderr. */
static int measure(struct bench *b, const struct shape *s, const struct variant *given)
{
    struct variant      v = *given;
    struct bench_run    r;
    struct bench_result m;
    char                label[160];

    if (b->shape && strcmp(b->shape, s->name) != 0)
        return EXIT_OK;
    if (b->planner)
        v.planner = b->planner;
    if (v.cores > b->ncore)
        return EXIT_OK;
    shape_run(s, &v, &r);
    snprintf(label, sizeof label, "%s %s %s%s%s%s, %d core%s%s", s->name, v.planner, v.dtype == DTYPE_BF16 ? "bf16" : "f32",
             v.exact ? " exact" : "", v.isa ? " " : "", v.isa ? v.isa : "", v.cores, v.cores > 1 ? "s" : "", v.realtime ? ", real time" : "");
    const char *why = planner_config_error(&r.config, &r.dims);

    if (why) {
        fprintf(stderr, "limber: %s: not measured: %s\n", label, why);
        return EXIT_OK;
    }
    effort(b, s, &v, &r);
    memcpy(r.core, b->core, sizeof r.core);
    r.label  = label;
    r.phases = v.cores == 1 && !v.exact && !v.realtime && !v.isa;
    if (v.realtime) {
        begin_realtime(b);
        r.realtime = &b->realtime;
    }
    if (!isatty(2))
        fprintf(stderr, "%s\n", label);
    int bad = bench_measure(&r, &m);

    if (bad) {
        fprintf(stderr, "limber: %s: %s\n", label, strerror(-bad));
        return EXIT_OSERR;
    }
    if (v.cores == 1 && !v.isa && !v.realtime && !strcmp(v.planner, s->planner))
        pair(b, s, &r, &m);
    b->peak_f32  = fmax(b->peak_f32, m.peak_f32);
    b->peak_bf16 = fmax(b->peak_bf16, m.peak_bf16);
    json_t *row  = row_json(s, &v, &m);

    json_array_append_new(b->rows, row);
    if (!b->json)
        print_row(row);
    return EXIT_OK;
}

/* --- which rows ------------------------------------------------------------------------------------------------ */

static const struct shape *shape_find(const char *name)
{
    for (int i = 0; i < SHAPES; i++)
        if (!strcmp(shapes[i].name, name))
            return &shapes[i];
    return NULL;
}

/* In a quick run one of each kind. */
static bool chosen(const struct bench *b, const struct shape *s)
{
    return !b->quick || b->shape || !strcmp(s->name, "halfcheetah") || !strcmp(s->name, "B-3x128") || !strcmp(s->name, "C-2x64");
}

static int every_shape(struct bench *b)
{
    int rc = EXIT_OK;

    for (int i = 0; i < SHAPES && rc == EXIT_OK; i++) {
        const struct shape *s = &shapes[i];

        if (!chosen(b, s))
            continue;
        struct variant v = { .planner = s->planner, .cores = 1 };

        rc      = measure(b, s, &v);
        v.exact = true;
        rc      = rc == EXIT_OK ? measure(b, s, &v) : rc;
        v.exact = false;
        v.dtype = DTYPE_BF16;
        rc      = rc == EXIT_OK ? measure(b, s, &v) : rc;
        v.dtype = DTYPE_F32;
        v.cores = 2;
        rc      = rc == EXIT_OK ? measure(b, s, &v) : rc;
    }
    return rc;
}

/* The paper's sizes would take minutes without vectors. */
static int every_isa(struct bench *b)
{
    int rc = EXIT_OK;

    for (const char *const *isa = isa_names() + 1; *isa && rc == EXIT_OK; isa++)
        for (int i = 0; i < SHAPES && rc == EXIT_OK; i++) {
            const struct shape *s       = &shapes[i];
            bool                portable = !strcmp(*isa, "portable");

            if (b->shape || !strcmp(s->name, "B-3x128") || !strcmp(s->name, "C-2x64") ||
                (!strcmp(s->name, "halfcheetah") && !portable && !b->quick))
                rc = measure(b, s, &(struct variant){ .planner = s->planner, .isa = *isa, .cores = 1 });
        }
    return rc;
}

static int every_planner(struct bench *b)
{
    const struct shape *s  = b->shape ? shape_find(b->shape) : shape_find("B-3x128");
    int                 rc = EXIT_OK;

    for (const char *const *name = planner_names(); *name && rc == EXIT_OK && !b->planner; name++)
        if (strcmp(*name, s->planner) != 0)
            rc = measure(b, s, &(struct variant){ .planner = *name, .cores = 1 });
    return rc;
}

static int real_time(struct bench *b)
{
    static const char *const names[] = { "D-2x64", "arm-2x64", "quadruped-2x64" };

    int rc = EXIT_OK;

    for (int i = 0; i < 3 && rc == EXIT_OK; i++) {
        const struct shape *s = shape_find(b->shape ? b->shape : names[i]);

        if (b->quick && i > 0)
            break;
        rc = measure(b, s, &(struct variant){ .planner = s->planner, .cores = 1, .realtime = true });
        if (b->shape)
            break;
    }
    if (!b->realtime.scheduling || !b->realtime.memory_locked)
        fprintf(stderr, "limber: without real-time privileges the 99.9th percentile is the machine's, not the planner's:\n");
    for (int i = 0; i < b->realtime.nwarning; i++)
        fprintf(stderr, "limber: %s\n", b->realtime.warning[i]);
    return rc;
}

/* --- goals ----------------------------------------------------------------------------------------------------- */

struct goal {
    const char *name;
    double      want;
    bool        at_most;
    double      worst, best; /* over the rows it is about */
    double      near, quiet; /* worst of the medians, of the 90th percentiles, next to the peak; NaN: not a fraction of it */
    const char *where;       /* of the worst              */
    int         n;
};

static void goal_add(struct goal *g, double got, const char *where)
{
    bool worse = g->at_most ? got > g->worst : got < g->worst;

    if (!isfinite(got))
        return;
    if (g->n == 0 || worse) {
        g->worst = got;
        g->where = where;
    }
    if (g->n == 0 || (g->at_most ? got < g->best : got > g->best))
        g->best = got;
    g->n++;
}

/* A goal about the fraction of the peak. */
static void goal_add_fraction(struct goal *g, const json_t *r, const char *where)
{
    goal_add(g, js_num(r, "peak_fraction"), where);
    g->near  = g->n == 1 ? js_num(r, "peak_fraction_near") : fmin(g->near, js_num(r, "peak_fraction_near"));
    g->quiet = g->n == 1 ? js_num(r, "peak_fraction_near_p90") : fmin(g->quiet, js_num(r, "peak_fraction_near_p90"));
}

static bool goal_met(const struct goal *g)
{
    return g->n > 0 && (g->at_most ? g->worst <= g->want : g->worst >= g->want);
}

static const json_t *plain_row(const struct bench *b, const char *shape)
{
    const json_t *r;
    size_t        i;

    json_array_foreach(b->rows, i, r)
        if (!strcmp(js_str(r, "shape", ""), shape) && !strcmp(js_str(r, "dtype", ""), "f32") && js_int(r, "cores") == 1 &&
            !strcmp(js_str(r, "activation", ""), "fast") && !strcmp(js_str(r, "isa", ""), isa_names()[0]) &&
            !js_true(r, "realtime"))
            return r;
    return NULL;
}

enum { GOAL_F32, GOAL_EXACT, GOAL_128, GOAL_64, GOAL_BF16, GOAL_CORES, GOAL_TAIL, GOALS };

static void judge_goals(const struct bench *b, struct goal g[GOALS])
{
    static const struct goal wanted[GOALS] = {
        { .name = "f32, paper's sizes, of the peak", .want = 0.88 },
        { .name = "f32 exact, paper's sizes, of the peak", .want = 0.83 },
        { .name = "f32, 3x128, of the peak", .want = 0.78 },
        { .name = "f32, 2x64, of the peak", .want = 0.55 },
        { .name = "bf16, paper's sizes, times f32", .want = 1.7 },
        { .name = "two cores, times one", .want = 1.85 },
        { .name = "real time, p99.9 / median", .want = 1.1, .at_most = true },
    };
    const json_t *r;
    size_t        i;

    memcpy(g, wanted, sizeof wanted);
    for (int k = 0; k < GOALS; k++)
        g[k].near = g[k].quiet = (double)NAN;
    json_array_foreach(b->rows, i, r) {
        const struct shape *s     = shape_find(js_str(r, "shape", ""));
        const json_t       *plain = plain_row(b, s->name);
        double              ratio = js_num(plain, "ms_p50") / js_num(r, "ms_p50");

        if (js_true(r, "realtime"))
            goal_add(&g[GOAL_TAIL], js_num(r, "ms_p999") / js_num(r, "ms_p50"), s->name);
        else if (r == plain && (paper(s) || s->hidden == 128 || s->hidden == 64) && strcmp(s->name, "Q-2x128") != 0)
            goal_add_fraction(&g[paper(s) ? GOAL_F32 : s->hidden == 128 ? GOAL_128 : GOAL_64], r, s->name);
        else if (!strcmp(js_str(r, "activation", ""), "exact") && paper(s))
            goal_add_fraction(&g[GOAL_EXACT], r, s->name);
        else if (!strcmp(js_str(r, "dtype", ""), "bf16") && paper(s))
            goal_add(&g[GOAL_BF16], ratio, s->name);
        else if (js_int(r, "cores") == 2)
            goal_add(&g[GOAL_CORES], ratio, s->name);
    }
}

static json_t *goals_json(const struct goal g[GOALS])
{
    json_t *goals = json_array();

    for (int i = 0; i < GOALS; i++)
        json_array_append_new(goals, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "goal", g[i].name, "want", js_real(g[i].want),
                                               "worst", js_real(g[i].n ? g[i].worst : (double)NAN), "best",
                                               js_real(g[i].n ? g[i].best : (double)NAN), "near",
                                               js_real(g[i].near), "near_p90", js_real(g[i].quiet), "where", g[i].n ? g[i].where : "",
                                               "met", g[i].n ? json_boolean(goal_met(&g[i])) : json_null()));
    return goals;
}

static void print_goals(const struct bench *b, const struct goal g[GOALS])
{
    printf("\npeak of one core: f32 %.1f GFLOP/s (%s), bf16 ", b->peak_f32, peak_isa());
    if (b->peak_bf16 > 0)
        printf("%.1f GFLOP/s: bf16 can be at most %.2f times f32 here\n", b->peak_bf16, b->peak_bf16 / b->peak_f32);
    else
        printf("none\n");
    printf("models: random ensembles of 5; p50 is the time of a whole step, noise drawn ahead included\n"
           "peak: median step over the run's best peak; near: short steps over the peak just before and after\n\n");
    for (int i = 0; i < GOALS; i++) {
        if (!g[i].n)
            printf("  %-38s want %.2f  not measured\n", g[i].name, g[i].want);
        else
            printf("  %-38s want %.2f  %s: worst %.3f (%s), best %.3f", g[i].name, g[i].want,
                   goal_met(&g[i]) ? "met   " : "missed", g[i].worst, g[i].where, g[i].best);
        if (isfinite(g[i].near))
            printf("; near: worst median %.3f, p90 %.3f", g[i].near, g[i].quiet);
        if (g[i].n)
            printf("\n");
    }
}

/* --- the verb -------------------------------------------------------------------------------------------------- */

static int write_report(const struct bench *b, const struct goal g[GOALS])
{
    json_t *machine = machine_json(NULL), *report;
    int     rc      = EXIT_OK;

    json_object_set_new(machine, "peak_isa", json_string(peak_isa()));
    json_object_set_new(machine, "peak_f32_gflops", js_real(b->peak_f32));
    json_object_set_new(machine, "peak_bf16_gflops", js_real(b->peak_bf16));
    report = json_pack("{s:o, s:s, s:O, s:o}", "machine", machine, "models", "random", "rows", b->rows, "goals", goals_json(g));
    if (b->json) {
        json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        printf("\n");
    }
    if (!strcmp(b->out, "build/bench/plan.json")) {
        mkdir("build", 0777);
        mkdir("build/bench", 0777);
    }
    if (json_dump_file(report, b->out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0) {
        fprintf(stderr, "limber: cannot write %s: %s\n", b->out, strerror(errno));
        rc = EXIT_CANTCREATE;
    } else if (!b->json) {
        printf("\n%s\n", b->out);
    }
    json_decref(report);
    return rc;
}

static int known(const char *what, const char *word, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(word, names[i]))
            return EXIT_OK;
    return args_unknown(what, word, names, "docs/benchmarks.md");
}

static int run(struct bench *b)
{
    const char *names[SHAPES + 1] = { 0 };
    struct goal goal[GOALS];
    int         rc;

    for (int i = 0; i < SHAPES; i++)
        names[i] = shapes[i].name;
    if (b->shape && (rc = known("shape", b->shape, names)) != EXIT_OK)
        return rc;
    if (b->planner && (rc = known("planner", b->planner, planner_names())) != EXIT_OK)
        return rc;

    memset(b->core, -1, sizeof b->core);
    b->ncore = bench_cores(b->core, TEAM_MAX);
    b->ncore = b->ncore ? b->ncore : 1;
    b->rows  = json_array();
    b->realtime.scheduling = b->realtime.memory_locked = true; /* until asked for */
    if (!b->json)
        print_head();
    rc = every_shape(b);
    rc = rc == EXIT_OK ? every_isa(b) : rc;
    rc = rc == EXIT_OK ? every_planner(b) : rc;
    rc = rc == EXIT_OK ? real_time(b) : rc;
    if (rc == EXIT_OK) {
        judge_goals(b, goal);
        if (!b->json)
            print_goals(b, goal);
        rc = write_report(b, goal);
    }
    json_decref(b->rows);
    return rc;
}

int bench_plan(int argc, char **argv)
{
    struct bench b = { .out = "build/bench/plan.json" };

    const struct flag flags[] = {
        { .name = "shape", .value = "S", .what = "only this one: halfcheetah, B-3x128, quadruped-2x64, ...", .text = &b.shape },
        { .name = "planner", .value = "P", .what = "this planner on every shape", .text = &b.planner },
        { .name = "steps", .value = "N", .what = "planning steps of each measurement", .number = &b.steps, .min = 1, .max = 1e6 },
        { .name = "quick", .what = "fewer shapes, fewer steps: half a minute", .on = &b.quick },
        { .name = "json", .what = "one JSON value on standard output", .on = &b.json },
        { .name = "out", .value = "FILE", .what = "where the JSON goes too (build/bench/plan.json)", .text = &b.out },
        { 0 }
    };
    const struct usage usage = {
        .line  = "bench plan [--json] [--shape S] [--planner P] [--quick] [--steps N] [--out FILE]",
        .text  = "Time of a planning step, and which fraction of the processor's peak it reaches: the paper's sizes and real-time\n"
                 "ones, every planner, instruction set, arithmetic, one and two cores; then the goals, met or missed.",
        .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    return rc >= 0 ? rc : run(&b);
}
