/* bench_budget.c - limber bench budget: which planner gets furthest with the same number of model evaluations.
 *
 * One trained model, the same states for all.  A planner starts from nothing (no warm start, no deadline), with its own
 * defaults but for the size of its search: for every budget of rows (a row is one evaluation of one net) several numbers
 * of iterations are tried, and two temperatures or gradient steps where there are any, the population made to fit the budget; the best of
 * them by the median over one half of the states stands for the planner; what is reported is the other half.  The sequence that it returns is then judged by
 * another, larger set of particles and other noise on the same model: a planner's own estimate flatters it.
 *
 *     gap = (cost - best) / (idle - best)    per state
 *
 * idle: the middle of the action range all along; best: the cheapest sequence that any planner returned for this state at
 * any budget.  0 is the best known, 1 is as good as doing nothing. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/bench.h"
#include "daemon/bench_trained.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_plot.h"
#include "daemon/rt/check.h"

enum { PLANNERS_MAX = 16, BUDGETS = 8, SIZES = 4, TRIES = 2 * SIZES, JUDGE_SEEDS = 4, POPULATION_MIN = 2 };

static const double BUDGET[BUDGETS]   = { 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5 };
static const double ITERATIONS[SIZES] = { 0.2, 0.5, 1, 2.5 }; /* of the planner's default */
static const double OTHER             = 10; /* tried beside the default: so many times hotter, or slower */
static const double GRADIENT_ROWS     = 3;  /* what an evaluation with a gradient costs */

/* One planner with one size of search, on all states. */
struct attempt {
    bool                  done;
    struct planner_config config;
    double                rows;     /* mean per plan         */
    float                *sequence; /* states x what came out */
    double               *cost;     /* states                */
};

struct budget_bench {
    struct trained t;
    uint64_t       seed;
    long           most; /* rows */
    int            planners;
    const char    *name[PLANNERS_MAX];
    struct attempt attempt[PLANNERS_MAX][BUDGETS][TRIES];
    int            length;      /* floats of a sequence */
    double        *idle, *best; /* states */
};

/* ---- one plan ---- */

/* Rows of a plan, in evaluations without a gradient: one with is a way forwards that keeps what it computed, and a way
 * back through the same layers. */
static double plan_rows(const struct plan *p, const struct planner_config *c)
{
    int sampled = c->steps > 0 || c->learning_rate == 0 ? c->iterations * c->population : 0;
    int sloped  = c->learning_rate > 0 && p->candidates > sampled ? p->candidates - sampled : 0;

    return (double)p->rows * (1 + (GRADIENT_ROWS - 1) * (double)sloped / p->candidates);
}

static void make_plan(const struct budget_bench *b, struct planner *p, int state, uint64_t seed, struct plan *out)
{
    struct plan_request q = {
        .id = (uint64_t)state + 1, .seed = seed, .next_seed = seed + 1, .deadline_ns = UINT64_MAX, .reset = true
    };

    memcpy(q.x, b->t.x + state * b->t.config.nx, sizeof *q.x * (size_t)b->t.config.nx);
    planner_step(p, 0, &q, NULL, NULL, out);
}

static void sequence_of(const struct plan *p, float *actions)
{
    for (int h = 0; h < p->horizon; h++)
        memcpy(actions + h * p->na, p->action[h], sizeof *actions * (size_t)p->na);
}

/* ---- a search of the wanted size ---- */

static void resize(struct planner_config *c, const struct planner_config *like, double population)
{
    int most = MAX_POPULATION;

    *c            = *like;
    c->population = population < POPULATION_MIN ? POPULATION_MIN : population > most ? most : (int)lround(population);
    if (like->elites > 0) {
        c->elites = (int)lround((double)like->elites * c->population / like->population);
        c->elites = c->elites < 2 ? 2 : c->elites;
    }
    if (like->elites > 0 && c->elites > c->population)
        c->elites = c->population;
}

/* The rows of one plan with this configuration; 0: it cannot run. */
static double rows_of(const struct budget_bench *b, const struct planner_config *c)
{
    static struct plan plan;
    void              *memory;

    if (planner_config_error(c, &b->t.config.model))
        return 0;
    make_plan(b, trained_planner(&b->t, c, &memory), 0, b->seed, &plan);
    free(memory);
    return plan_rows(&plan, c);
}

/* Makes the population fit the budget, asking the planner itself what it spends.  False: it does not come near. */
static bool fit(const struct budget_bench *b, const struct planner_config *like, double budget,
                struct planner_config *c)
{
    double population = budget / (like->particles * like->horizon * (double)like->iterations), rows = 0;

    for (int k = 0; k < 3; k++) {
        resize(c, like, population);
        rows = rows_of(b, c);
        if (rows > 0.95 * budget && rows < 1.05 * budget)
            return true;
        if (!(rows > 0))
            return false;
        population = c->population * budget / rows;
    }
    return rows > 0.6 * budget && rows < 1.2 * budget;
}

/* ---- everything ---- */

static void try_it(struct budget_bench *b, struct attempt *a, uint64_t seed)
{
    static struct plan plan;
    void              *memory;
    struct planner    *p = trained_planner(&b->t, &a->config, &memory);

    a->done     = true;
    a->cost     = malloc(sizeof *a->cost * (size_t)b->t.n);
    a->sequence = malloc(sizeof *a->sequence * (size_t)(b->t.n * b->length));
    CHECK(a->cost && a->sequence);
    for (int i = 0; i < b->t.n; i++) {
        make_plan(b, p, i, rng_derive(seed, (uint64_t)i, 0), &plan);
        sequence_of(&plan, a->sequence + i * b->length);
        a->rows += plan_rows(&plan, &a->config) / b->t.n;
    }
    free(memory);
}

/* The m-th variation of a planner: its iterations (and gradient steps); then the same with another value of the setting
 * that depends on the task's scale, where it has one: a temperature, the step of a gradient. */
static bool vary(struct planner_config *c, int m)
{
    double by    = ITERATIONS[m % SIZES];
    bool   other = m >= SIZES;

    if (other && c->lambda == 0 && c->kappa == 0 && c->learning_rate == 0)
        return false;
    c->iterations = (int)lround(by * c->iterations);
    c->iterations = c->iterations < 1 ? 1 : c->iterations;
    c->steps      = c->steps > 0 ? 1 + (int)lround(by * (c->steps - 1)) : 0;
    c->lambda *= other ? OTHER : 1;
    c->kappa /= other ? OTHER : 1;
    c->learning_rate /= other ? OTHER : 1;
    return true;
}

static void try_all(struct budget_bench *b)
{
    for (int k = 0; k < b->planners; k++) {
        struct planner_config usual;

        CHECK(trained_defaults(&b->t.config, b->name[k], &usual));
        fprintf(stderr, "%s", b->name[k]);
        for (int i = 0; i < BUDGETS && BUDGET[i] <= (double)b->most; i++) {
            int last = 0;

            for (int m = 0; m < TRIES; m++) {
                struct attempt       *a    = &b->attempt[k][i][m];
                struct planner_config like = usual;

                if (!vary(&like, m) || like.iterations == last || !fit(b, &like, BUDGET[i], &a->config))
                    continue;
                last = like.iterations;
                try_it(b, a, rng_derive(b->seed, (uint64_t)k, (uint64_t)(i * TRIES + m)));
            }
            fprintf(stderr, " %.0fk", BUDGET[i] / 1000);
        }
        fprintf(stderr, "\n");
    }
}

/* ---- the judge ---- */

/* Every attempt that was made, in a fixed order; returns how many. */
static int attempts(struct budget_bench *b, struct attempt **out)
{
    int n = 0;

    for (int k = 0; k < b->planners; k++)
        for (int i = 0; i < BUDGETS; i++)
            for (int m = 0; m < TRIES; m++)
                if (b->attempt[k][i][m].done)
                    out[n++] = &b->attempt[k][i][m];
    return n;
}

/* All sequences of a state at once, and doing nothing behind them: a judge that looks at one at a time wastes its lanes. */
static void judge_state(struct budget_bench *b, struct planner *judge, int state, struct attempt *const *made, int n,
                        float *sequence, float *cost)
{
    int na = b->t.config.na;

    for (int k = 0; k < n; k++)
        memcpy(sequence + k * b->length, made[k]->sequence + state * b->length, sizeof *sequence * (size_t)b->length);
    for (int i = 0; i < b->length; i++)
        sequence[n * b->length + i] = 0.5f * (b->t.bounds.low[i % na] + b->t.bounds.high[i % na]);
    for (int k = 0; k < n; k++)
        made[k]->cost[state] = 0;
    b->idle[state] = 0;
    for (uint64_t s = 0; s < JUDGE_SEEDS; s++) {
        planner_evaluate(judge, 0, b->t.x + state * b->t.config.nx, rng_derive(b->seed, 0x1d6e, s), n + 1, sequence,
                         cost);
        for (int k = 0; k < n; k++)
            made[k]->cost[state] += (double)cost[k] / JUDGE_SEEDS;
        b->idle[state] += (double)cost[n] / JUDGE_SEEDS;
    }
    b->best[state] = b->idle[state];
    for (int k = 0; k < n; k++)
        if (made[k]->cost[state] < b->best[state])
            b->best[state] = made[k]->cost[state];
}

static void judge_all(struct budget_bench *b)
{
    static struct attempt *made[PLANNERS_MAX * BUDGETS * TRIES];
    int                    n = attempts(b, made);
    float                 *sequence, cost[PLANNERS_MAX * BUDGETS * TRIES + 1];
    struct planner_config  c;
    void                  *memory;

    CHECK(trained_defaults(&b->t.config, "random", &c));
    c.population = n + 2;
    c.particles  = MAX_PARTICLES / b->t.config.model.members * b->t.config.model.members;
    c.dtype      = DTYPE_F32;
    c.exact      = true;
    sequence     = malloc(sizeof *sequence * (size_t)((n + 1) * b->length));
    CHECK(sequence && n + 2 <= MAX_POPULATION);
    struct planner *judge = trained_planner(&b->t, &c, &memory);
    for (int i = 0; i < b->t.n; i++)
        judge_state(b, judge, i, made, n, sequence, cost);
    free(memory);
    free(sequence);
}

/* ---- what comes out ---- */

static double gap(const struct budget_bench *b, const struct attempt *a, int state)
{
    double range = b->idle[state] - b->best[state];

    return range > 0 ? (a->cost[state] - b->best[state]) / range : 0;
}

/* Quantile of the gap (and of the cost) over one half of the states. */
static double over_half(const struct budget_bench *b, const struct attempt *a, int half, bool cost, double q)
{
    double *v = malloc(sizeof *v * (size_t)(b->t.n + 1)), result;
    int     n = 0;

    CHECK(v);
    for (int i = half; i < b->t.n; i += 2)
        v[n++] = cost ? a->cost[i] : gap(b, a, i);
    result = quantile(v, n, q);
    free(v);
    return result;
}

/* The best size of search for a budget, by the even states; NULL: none fits. */
static const struct attempt *chosen(const struct budget_bench *b, int planner, int budget)
{
    const struct attempt *best = NULL;

    for (int m = 0; m < TRIES; m++) {
        const struct attempt *a = &b->attempt[planner][budget][m];

        if (a->done && (!best || over_half(b, a, 0, false, 0.5) < over_half(b, best, 0, false, 0.5)))
            best = a;
    }
    return best;
}

static json_t *report(const struct budget_bench *b)
{
    json_t *rows = json_array();

    for (int k = 0; k < b->planners; k++)
        for (int i = 0; i < BUDGETS; i++) {
            const struct attempt *a = chosen(b, k, i);

            if (a)
                json_array_append_new(
                    rows,
                    json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "what",
                              "budget", "robot", b->t.config.robot, "planner", b->name[k], "budget", BUDGET[i], "rows",
                              a->rows, "population", a->config.population, "iterations", a->config.iterations, "lambda",
                              a->config.lambda, "kappa", a->config.kappa, "learning_rate", a->config.learning_rate,
                              "gap_p50", js_real(over_half(b, a, 1, false, 0.5)), "gap_p25",
                              js_real(over_half(b, a, 1, false, 0.25)), "gap_p75",
                              js_real(over_half(b, a, 1, false, 0.75)), "cost_p50",
                              js_real(over_half(b, a, 1, true, 0.5))));
        }
    return json_pack("{s:o, s:s, s:I, s:i, s:i, s:o}", "machine", machine_json(NULL), "robot", b->t.config.robot,
                     "model_version", (json_int_t)b->t.model.version, "transitions", b->t.transitions, "states", b->t.n,
                     "rows", rows);
}

static void print_table(const struct budget_bench *b)
{
    printf("%s, model %llu: gap to the best known plan, of what doing nothing costs more; median over %d states\n",
           b->t.config.robot, (unsigned long long)b->t.model.version, b->t.n / 2);
    printf("%-10s", "rows");
    for (int i = 0; i < BUDGETS; i++)
        printf("%8.0fk", BUDGET[i] / 1000);
    printf("\n");
    for (int k = 0; k < b->planners; k++) {
        printf("%-10s", b->name[k]);
        for (int i = 0; i < BUDGETS; i++) {
            const struct attempt *a = chosen(b, k, i);

            if (a)
                printf("%9.4f", over_half(b, a, 1, false, 0.5));
            else
                printf("%9s", "-");
        }
        printf("\n");
    }
}

static int draw(const struct budget_bench *b, const struct trained_flags *f)
{
    struct line *line = calloc(PLANNERS_MAX, sizeof *line);
    char         png[PATH_SIZE], title[200], why[PATH_SIZE + 200];

    CHECK(line);
    for (int k = 0; k < b->planners; k++) {
        snprintf(line[k].label, sizeof line[k].label, "%s", b->name[k]);
        for (int i = 0; i < BUDGETS; i++) {
            const struct attempt *a = chosen(b, k, i);

            if (!a)
                continue;
            line[k].x[line[k].n]   = a->rows;
            line[k].y[line[k].n++] = over_half(b, a, 1, false, 0.5);
        }
    }
    snprintf(png, sizeof png, "%s/budget-%s.png", f->out, b->t.config.robot);
    snprintf(title, sizeof title, "%s: how near the best known plan each planner comes", b->t.config.robot);
    int rc =
        plot_lines(png,
                   &(struct line_plot){ .title = title,
                                        .note  = "one trained model, no warm start, the same states for all; median "
                                                 "over the states of (cost - best) / (cost of doing nothing - best)",
                                        .x     = "model evaluations per plan (rows of one net)",
                                        .y     = "gap",
                                        .y_min = 1e-4,
                                        .line  = line,
                                        .lines = b->planners },
                   why, sizeof why);

    free(line);
    if (rc != 0) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_CANTCREATE;
    }
    if (!f->json)
        printf("%s\n", png);
    return EXIT_OK;
}

static int run(struct budget_bench *b, const struct trained_flags *f)
{
    char name[100];

    b->seed   = (uint64_t)f->seed;
    b->length = b->t.config.planner.horizon * b->t.config.na;
    for (const char *const *known = planner_names(); *known && b->planners < PLANNERS_MAX; known++) {
        struct planner_config c;

        if (trained_defaults(&b->t.config, *known, &c))
            b->name[b->planners++] = *known;
    }
    b->idle = malloc(sizeof *b->idle * (size_t)b->t.n);
    b->best = malloc(sizeof *b->best * (size_t)b->t.n);
    CHECK(b->idle && b->best);
    try_all(b);
    judge_all(b);

    json_t *r = report(b);

    if (!f->json)
        print_table(b);
    snprintf(name, sizeof name, "budget-%s.json", b->t.config.robot);
    int rc = trained_report(f, name, r);

    json_decref(r);
    return rc == EXIT_OK ? draw(b, f) : rc;
}

static void close_bench(struct budget_bench *b)
{
    for (int k = 0; k < PLANNERS_MAX; k++)
        for (int i = 0; i < BUDGETS; i++)
            for (int m = 0; m < TRIES; m++) {
                free(b->attempt[k][i][m].cost);
                free(b->attempt[k][i][m].sequence);
            }
    free(b->idle);
    free(b->best);
    trained_close(&b->t);
    free(b);
}

int bench_budget(int argc, char **argv)
{
    struct trained_flags f       = { .out = "build/bench", .states = 48, .seed = 1 };
    long                 most    = 200000;
    const struct flag    flags[] = { TRAINED_FLAGS(&f),
                                     { .name   = "most",
                                       .value  = "ROWS",
                                       .what   = "the largest budget (200000)",
                                       .number = &most,
                                       .min    = 1000,
                                       .max    = 1e9 },
                                     { 0 } };
    const struct usage   usage   = {
            .line = "bench budget --config FILE [--run DIR | --model FILE --store DB] [--json] [--out DIR]",
            .text =
                "Every planner on one trained model: cost reached against model evaluations.  Writes budget-ROBOT.json\n"
                    "and budget-ROBOT.png.",
            .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    struct budget_bench *b = calloc(1, sizeof *b);

    CHECK(b);
    b->most = most;
    rc      = trained_open(&b->t, &f);
    if (rc == EXIT_OK)
        rc = run(b, &f);
    close_bench(b);
    return rc;
}
