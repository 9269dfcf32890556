/* bench_optimisers.c - see bench_optimisers.h. */
#include "daemon/bench_optimisers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/rt/check.h"
#include "planner/search.h"

enum { GRADIENT_COST = 3, SEEDS = 11, HORIZON = 15 };

/* ---- a search by itself ---- */

typedef double evaluate(void *ctx, int n, const float *x, double *grad);

struct lone {
    struct search s;
    void         *memory;
};

static void lone_open(struct lone *l, const struct planner_config *c, const struct action_bounds *b)
{
    struct arena a = ARENA_PROBE;

    CHECK(search_error(c, b->na) == NULL);
    memset(l, 0, sizeof *l);
    search_layout(&l->s, &a, c, b->na);
    l->memory = aligned_alloc(64, (a.used + 63) / 64 * 64);
    CHECK(l->memory);
    a = (struct arena){ .base = l->memory, .size = a.used };
    search_layout(&l->s, &a, c, b->na);
    l->s.ops = lanes_find(NULL);
    search_init(&l->s, b);
}

/* One planning step, search_begin already called, until so many evaluations are used. */
static void run(struct search *s, uint64_t seed, int evaluations, evaluate *cost, void *ctx)
{
    double grad[MAX_HORIZON * MAX_ACT];
    int    used = 0;

    for (int it = 0; it < s->iterations && used < evaluations; it++) {
        int n = search_sample(s, it, seed);

        for (int c = 0; c < n; c++) {
            s->cost[c] = (float)cost(ctx, s->full, s->act + c * s->full, s->gradient ? grad : NULL);
            for (int i = 0; s->gradient && i < s->full; i++)
                s->slope[c * s->full + i] = (float)grad[i];
        }
        used += s->gradient ? GRADIENT_COST * n : n;
        if (search_refit(s, it, n))
            break;
    }
}

static int at_least(int low, int n)
{
    return n > low ? n : low;
}

/* ---- test functions ---- */

const char *bench_function_name(enum bench_function f)
{
    static const char *const names[] = { "sphere", "rosenbrock", "rastrigin", "ackley" };

    return names[f];
}

/* Where the minimum is in dimension i. */
static double shift(int i)
{
    return 1.7 * sin(1 + 2.0 * i);
}

double bench_function_value(enum bench_function f, int n, const float *x, double *grad)
{
    double sum = 0, cosines = 0;

    for (int i = 0; grad && i < n; i++)
        grad[i] = 0;
    for (int i = 0; i < n; i++) {
        double d = (double)x[i] - shift(i);

        switch (f) {
        case BENCH_SPHERE:
            sum += d * d;
            if (grad)
                grad[i] = 2 * d;
            break;
        case BENCH_RASTRIGIN:
            sum += 10 + d * d - 10 * cos(2 * M_PI * d);
            if (grad)
                grad[i] = 2 * d + 20 * M_PI * sin(2 * M_PI * d);
            break;
        case BENCH_ACKLEY:
            sum += d * d / n;
            cosines += cos(2 * M_PI * d) / n;
            break;
        case BENCH_ROSENBROCK: /* minimum at 1, ..., 1 */
            if (i + 1 < n) {
                double a = (double)x[i + 1] - (double)x[i] * (double)x[i], b = 1 - (double)x[i];

                sum += 100 * a * a + b * b;
                if (grad) {
                    grad[i] += -400 * a * (double)x[i] - 2 * b;
                    grad[i + 1] += 200 * a;
                }
            }
            break;
        case BENCH_FUNCTIONS: break;
        }
    }
    if (f != BENCH_ACKLEY)
        return sum;
    double root = sqrt(sum), far = 20 * exp(-0.2 * root), near = exp(cosines);
    for (int i = 0; grad && i < n; i++) {
        double d = (double)x[i] - shift(i);

        grad[i] = (root > 0 ? 0.2 * far * d / (n * root) : 0) + near * 2 * M_PI * sin(2 * M_PI * d) / n;
    }
    return 20 - far + exp(1) - near;
}

static double function_cost(void *ctx, int n, const float *x, double *grad)
{
    return bench_function_value(*(enum bench_function *)ctx, n, x, grad);
}

/* There is no time among the dimensions: noise is white and unfiltered; std falls a hundredfold where it is annealed. */
static struct planner_config function_settings(const char *planner, int n, int evaluations)
{
    struct planner_config c;

    config_planner(planner, 1, &c);
    c.horizon    = n;
    c.population = c.population > 100 || c.elites > 1 ? 100 : c.population;
    c.elites     = c.elites > 1 ? 10 : 1;
    c.noise_beta = 0;
    c.decay      = 1;
    c.smoothing  = 1;
    c.epsilon    = 0;
    c.lambda     = 1;
    c.kappa      = 1;
    c.iterations = at_least(1, evaluations / c.population);
    c.anneal     = pow(0.01, 1.0 / c.iterations);
    if (strcmp(planner, "gradient") == 0)
        c.iterations = at_least(1, evaluations / c.population / GRADIENT_COST);
    if (strcmp(planner, "cemgd") == 0) {
        c.iterations = at_least(1, evaluations / 2 / c.population);
        c.steps      = at_least(1, evaluations / 2 / c.polish / GRADIENT_COST);
    }
    c.iterations = c.iterations < 1000 ? c.iterations : 1000;
    c.steps      = c.steps < 1000 ? c.steps : 1000;
    return c;
}

double bench_function_gap(const char *planner, enum bench_function f, int n, int evaluations, uint64_t seed)
{
    struct planner_config c = function_settings(planner, n, evaluations);
    struct action_bounds  b = { .na = 1, .low = { -5 }, .high = { 5 } };
    struct lone           l;

    lone_open(&l, &c, &b);
    run(&l.s, seed, evaluations, function_cost, &f);
    double gap = l.s.best_cost;
    free(l.memory);
    return gap;
}

/* ---- linear-quadratic control ---- */

static const double DT = 0.1, SPRING = 2;                 /* s, N/m; carts of 1 kg                        */
static const double Q[BENCH_NX]     = { 1, 0.1, 1, 0.1 }; /* per m^2, per (m/s)^2                         */
static const double R               = 0.02;               /* per N^2                                      */
static const double FORCE           = 8;                  /* N: wide enough for the optimum               */
static const double START[BENCH_NX] = { 1, 0, -0.6, 0.5 };

/* Worked out once, by solve_once. */
static double A[BENCH_NX][BENCH_NX], B[BENCH_NX][BENCH_NU], cost_to_go[BENCH_NX][BENCH_NX],
    feedback[BENCH_NU][BENCH_NX];

static void system_matrices(void)
{
    for (int i = 0; i < 2; i++) { /* position p, speed v, the other cart's position o */
        int p = 2 * i, v = p + 1, o = 2 - p;

        A[p][p] = A[v][v] = 1;
        A[p][v]           = DT;
        A[v][p]           = -DT * SPRING;
        A[v][o]           = DT * SPRING;
        B[v][i]           = DT;
    }
}

static void step(const double *x, const double *u, double *next)
{
    double y[BENCH_NX] = { 0 };

    for (int i = 0; i < BENCH_NX; i++) {
        for (int j = 0; j < BENCH_NX; j++)
            y[i] += A[i][j] * x[j];
        for (int j = 0; j < BENCH_NU; j++)
            y[i] += B[i][j] * u[j];
    }
    memcpy(next, y, sizeof y);
}

/* Cost to go x'Sx, where a step costs u'Ru + x'Qx of the state after it, and the feedback u = -Kx: Riccati's equation,
 * iterated until it stands still. */
static void riccati(double S[BENCH_NX][BENCH_NX], double K[BENCH_NU][BENCH_NX])
{
    memset(S, 0, sizeof(double[BENCH_NX][BENCH_NX]));
    for (int round = 0; round < 1000; round++) {
        double M[BENCH_NX][BENCH_NX], MA[BENCH_NX][BENCH_NX] = { { 0 } }, MB[BENCH_NX][BENCH_NU] = { { 0 } };
        double G[BENCH_NU][BENCH_NU], F[BENCH_NU][BENCH_NX];

        for (int i = 0; i < BENCH_NX; i++)
            for (int j = 0; j < BENCH_NX; j++)
                M[i][j] = S[i][j] + (i == j ? Q[i] : 0);
        for (int i = 0; i < BENCH_NX; i++)
            for (int k = 0; k < BENCH_NX; k++) {
                for (int j = 0; j < BENCH_NX; j++)
                    MA[i][j] += M[i][k] * A[k][j];
                for (int j = 0; j < BENCH_NU; j++)
                    MB[i][j] += M[i][k] * B[k][j];
            }
        for (int i = 0; i < BENCH_NU; i++) {
            for (int j = 0; j < BENCH_NU; j++) {
                G[i][j] = i == j ? R : 0;
                for (int k = 0; k < BENCH_NX; k++)
                    G[i][j] += B[k][i] * MB[k][j];
            }
            for (int j = 0; j < BENCH_NX; j++) {
                F[i][j] = 0;
                for (int k = 0; k < BENCH_NX; k++)
                    F[i][j] += B[k][i] * MA[k][j];
            }
        }
        double det = G[0][0] * G[1][1] - G[0][1] * G[1][0];
        for (int j = 0; j < BENCH_NX; j++) {
            K[0][j] = (G[1][1] * F[0][j] - G[0][1] * F[1][j]) / det;
            K[1][j] = (G[0][0] * F[1][j] - G[1][0] * F[0][j]) / det;
        }
        for (int i = 0; i < BENCH_NX; i++)
            for (int j = 0; j <= i; j++) { /* symmetric, or rounding would grow */
                S[i][j] = -F[0][i] * K[0][j] - F[1][i] * K[1][j];
                for (int k = 0; k < BENCH_NX; k++)
                    S[i][j] += A[k][i] * MA[k][j];
                S[j][i] = S[i][j];
            }
    }
}

static void solve_once(void)
{
    if (cost_to_go[0][0] != 0)
        return;
    system_matrices();
    riccati(cost_to_go, feedback);
}

double bench_lq_best(const double *x, double *u)
{
    double cost = 0;

    solve_once();
    for (int i = 0; i < BENCH_NX; i++)
        for (int j = 0; j < BENCH_NX; j++)
            cost += x[i] * cost_to_go[i][j] * x[j];
    for (int i = 0; u && i < BENCH_NU; i++) {
        u[i] = 0;
        for (int j = 0; j < BENCH_NX; j++)
            u[i] -= feedback[i][j] * x[j];
    }
    return cost;
}

/* What the step to x with u costs. */
static double stage(const double *x, const double *u)
{
    double cost = R * (u[0] * u[0] + u[1] * u[1]);

    for (int i = 0; i < BENCH_NX; i++)
        cost += Q[i] * x[i] * x[i];
    return cost;
}

double bench_lq_cost(int horizon, const double *x, const float *u, double *grad)
{
    double at[MAX_HORIZON + 1][BENCH_NX], cost = 0;

    solve_once();
    memcpy(at[0], x, sizeof at[0]);
    for (int h = 0; h < horizon; h++) {
        double force[BENCH_NU] = { (double)u[2 * h], (double)u[2 * h + 1] };

        step(at[h], force, at[h + 1]);
        cost += stage(at[h + 1], force);
    }
    cost += bench_lq_best(at[horizon], NULL);
    if (!grad)
        return cost;

    double back[BENCH_NX]; /* gradient of all that follows in the state */
    for (int i = 0; i < BENCH_NX; i++) {
        back[i] = 0;
        for (int j = 0; j < BENCH_NX; j++)
            back[i] += 2 * cost_to_go[i][j] * at[horizon][j];
    }
    for (int h = horizon - 1; h >= 0; h--) {
        double before[BENCH_NX] = { 0 };

        for (int i = 0; i < BENCH_NX; i++)
            back[i] += 2 * Q[i] * at[h + 1][i];
        for (int j = 0; j < BENCH_NU; j++) {
            grad[2 * h + j] = 2 * R * (double)u[2 * h + j];
            for (int i = 0; i < BENCH_NX; i++)
                grad[2 * h + j] += B[i][j] * back[i];
        }
        for (int i = 0; i < BENCH_NX; i++)
            for (int j = 0; j < BENCH_NX; j++)
                before[j] += A[i][j] * back[i];
        memcpy(back, before, sizeof back);
    }
    return cost;
}

static double lq_cost(void *ctx, int n, const float *u, double *grad)
{
    return bench_lq_cost(n / BENCH_NU, ctx, u, grad);
}

/* The planner's defaults, its population or iterations fitted to the budget and its temperature to the optimal cost,
 * which is about 8. */
static struct planner_config lq_settings(const char *planner, int evaluations, int knots)
{
    struct planner_config c;

    config_planner(planner, BENCH_NU, &c);
    c.horizon = HORIZON;
    c.lambda  = 1;
    c.kappa   = 0.1;
    c.knots   = knots;
    c.spline  = SPLINE_LINEAR;
    if (strcmp(planner, "cmaes") == 0)
        c.iterations = at_least(1, evaluations / c.population);
    else if (strcmp(planner, "gradient") == 0)
        c.iterations = at_least(1, evaluations / c.population / GRADIENT_COST);
    else if (strcmp(planner, "cemgd") == 0) {
        c.population = at_least(c.elites, evaluations / 2 / c.iterations);
        c.steps      = at_least(1, evaluations / 2 / c.polish / GRADIENT_COST);
    } else
        c.population = at_least(2 * c.elites, evaluations / c.iterations);
    if (strcmp(planner, "cem") == 0)
        c.elites = at_least(2, c.population / 10);
    c.population = c.population < MAX_POPULATION ? c.population : MAX_POPULATION;
    return c;
}

double bench_lq_ratio(const char *planner, int evaluations, int knots, uint64_t seed)
{
    struct planner_config c = lq_settings(planner, evaluations, knots);
    struct action_bounds  b = { .na   = BENCH_NU,
                                .low  = { (float)-FORCE, (float)-FORCE },
                                .high = { (float)FORCE, (float)FORCE } };
    struct lone           l;
    double                x[BENCH_NX], cost = 0, unused;

    solve_once();
    memcpy(x, START, sizeof x);
    lone_open(&l, &c, &b);
    for (int t = 0; t < BENCH_STEPS; t++) {
        search_begin(&l.s, t == 0, 1, NULL);
        run(&l.s, rng_derive(seed, 7, (uint64_t)t), evaluations, lq_cost, x);
        const float *plan            = search_plan(&l.s, &unused);
        double       force[BENCH_NU] = { (double)plan[0], (double)plan[1] };

        step(x, force, x);
        cost += stage(x, force);
    }
    free(l.memory);
    return (cost + bench_lq_best(x, NULL)) / bench_lq_best(START, NULL);
}

/* ---- the table ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, SEEDS, sizeof *values, by_value);
    return values[SEEDS / 2];
}

static void print_row(bool json, const char *problem, int dims, const char *planner, int evaluations, const char *key,
                      double value)
{
    if (json)
        printf("{\"what\": \"optimiser\", \"problem\": \"%s\", \"dims\": %d, \"planner\": \"%s\", \"evaluations\": %d, "
               "\"seeds\": %d, \"%s\": %.6g}\n",
               problem, dims, planner, evaluations, SEEDS, key, value);
    else
        printf(key[0] == 'r' ? " | %.3f" : " | %.1e", value);
}

static const int DIMS[] = { 10, 30 }, PER_DIM = 400;

static const struct {
    int evaluations, knots;
} LOOPS[] = { { 100, 0 }, { 300, 0 }, { 1000, 0 }, { 300, 5 } };
enum { LOOP_COUNT = sizeof LOOPS / sizeof *LOOPS };

static void print_head(void)
{
    printf("median of %d seeds; a cost with its gradient counts as %d evaluations\n\n| planner", SEEDS, GRADIENT_COST);
    for (int d = 0; d < 2; d++)
        for (int f = 0; f < BENCH_FUNCTIONS; f++)
            printf(" | %s %d", bench_function_name((enum bench_function)f), DIMS[d]);
    for (int e = 0; e < LOOP_COUNT; e++)
        printf(LOOPS[e].knots ? " | LQ %d, %d knots" : " | LQ %d", LOOPS[e].evaluations, LOOPS[e].knots);
    printf(" |\n|---|");
    for (int i = 0; i < 2 * BENCH_FUNCTIONS + LOOP_COUNT; i++)
        printf("---|");
    printf("\n");
}

int bench_optimisers(bool json)
{
    double values[SEEDS];

    if (!json)
        print_head();
    for (const char *const *name = planner_names(); *name; name++) {
        if (!json)
            printf("| %s", *name);
        for (int d = 0; d < 2; d++)
            for (int f = 0; f < BENCH_FUNCTIONS; f++) {
                for (int seed = 0; seed < SEEDS; seed++)
                    values[seed] =
                        bench_function_gap(*name, (enum bench_function)f, DIMS[d], PER_DIM * DIMS[d], (uint64_t)seed);
                print_row(json, bench_function_name((enum bench_function)f), DIMS[d], *name, PER_DIM * DIMS[d], "gap",
                          median(values));
            }
        for (int e = 0; e < LOOP_COUNT; e++) {
            int evaluations = LOOPS[e].evaluations, knots = LOOPS[e].knots;

            for (int seed = 0; seed < SEEDS; seed++)
                values[seed] = bench_lq_ratio(*name, evaluations, knots, (uint64_t)seed);
            print_row(json, knots ? "lq with knots" : "lq", BENCH_NU * (knots ? knots : HORIZON), *name, evaluations,
                      "ratio", median(values));
        }
        if (!json)
            printf(" |\n");
        fflush(stdout);
    }
    return 0;
}
