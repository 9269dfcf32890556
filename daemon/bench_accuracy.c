/* bench_accuracy.c - limber bench accuracy: does reduced precision change what is planned?
 *
 * A planner only ranks candidates, so the measure is the rank.  From each of the stored states the same candidates are
 * evaluated on a trained model with float's last bits (planner_config.exact), with the fast activation, in bfloat16, and
 * exactly but with another seed of the particles' noise: the difference that planning lives with anyway.  Candidates:
 *
 *     wide   uniform over the action range, as random shooting draws them
 *     near   a good plan and normal noise of NEAR of the drawn std about it: what a search ranks in its last iteration
 *
 * One-step predictions are compared with ensemble_predict (plain loops, libm), in units of the target's std and of the
 * noise that the model itself predicts. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bench.h"
#include "daemon/bench_trained.h"
#include "daemon/cli.h"
#include "daemon/cli_json.h"
#include "daemon/cli_machine.h"
#include "daemon/rt/check.h"

enum { CANDIDATES = 256, ELITES = 10, NOISES = 4 };

static const double NEAR = 0.3;

static const struct variant {
    const char     *name;
    bool            exact;
    enum plan_dtype dtype;
    bool            other_seed;
} variants[] = {
    { "exact", true, DTYPE_F32, false },
    { "fast activation", false, DTYPE_F32, false },
    { "bf16", false, DTYPE_BF16, false },
    { "other seed", true, DTYPE_F32, true },
};
enum { VARIANTS = sizeof variants / sizeof *variants, REFERENCE = 0 };

static const char *const kinds[] = { "wide", "near" };
enum { KINDS = sizeof kinds / sizeof *kinds };

/* What one variant does to the candidates of every state and draw of noise. */
struct ranking {
    int     n;
    double *rank; /* n: Spearman's correlation with the reference                     */
    double  kept; /* of ELITES, mean                                                  */
    double  rms;  /* difference of cost, in std of the reference's cost over candidates */
};

struct prediction {
    double of_target, of_noise; /* rms error: in target std; in predicted std */
};

struct accuracy {
    struct trained    t;
    uint64_t          seed;
    struct ranking    ranking[KINDS][VARIANTS];
    struct prediction prediction[VARIANTS];
    bool              can[VARIANTS];
};

static struct planner_config variant_config(const struct accuracy *b, const struct variant *v)
{
    struct planner_config c = b->t.config.planner;

    CHECK(trained_defaults(&b->t.config, "random", &c));
    c.population = CANDIDATES;
    c.exact      = v->exact;
    c.dtype      = v->dtype;
    return c;
}

/* ---- candidates ---- */

static float clip(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static void candidates(const struct accuracy *b, struct planner *search, int state, int kind, float *act)
{
    const struct action_bounds *bound = &b->t.bounds;
    static struct plan          plan;
    struct rng                  r;
    int                         H = b->t.config.planner.horizon, na = bound->na;
    struct plan_request q = { .id = (uint64_t)state + 1, .seed = b->seed, .deadline_ns = UINT64_MAX, .reset = true };

    memcpy(q.x, b->t.x + state * b->t.config.nx, sizeof *q.x * (size_t)b->t.config.nx);
    if (kind == 1)
        planner_step(search, 0, &q, NULL, NULL, &plan);
    rng_seed(&r, rng_derive(b->seed, (uint64_t)state, (uint64_t)kind));
    for (int c = 0; c < CANDIDATES; c++)
        for (int i = 0; i < H * na; i++) {
            int   j    = i % na;
            float half = 0.5f * (bound->high[j] - bound->low[j]), *a = &act[c * H * na + i];

            if (kind == 0)
                *a = bound->low[j] + 2 * half * (float)rng_uniform(&r);
            else
                *a = plan.action[i / na][j] + half * (float)(NEAR * b->t.config.planner.init_std[j] * rng_normal(&r));
            *a = clip(*a, bound->low[j], bound->high[j]);
        }
}

/* ---- rankings ---- */

/* How many of the best ELITES of a are among those of b. */
static int kept(const float *a, const float *b)
{
    int both = 0;

    for (int i = 0; i < CANDIDATES; i++) {
        int above_a = 0, above_b = 0;

        for (int k = 0; k < CANDIDATES; k++) {
            above_a += a[k] < a[i] || (a[k] == a[i] && k < i);
            above_b += b[k] < b[i] || (b[k] == b[i] && k < i);
        }
        both += above_a < ELITES && above_b < ELITES;
    }
    return both;
}

/* Mean squared difference over the variance of the reference. */
static double difference(const float *cost, const float *reference)
{
    double mean = 0, var = 0, d2 = 0;

    for (int i = 0; i < CANDIDATES; i++)
        mean += (double)reference[i] / CANDIDATES;
    for (int i = 0; i < CANDIDATES; i++) {
        double d = (double)cost[i] - (double)reference[i];

        var += ((double)reference[i] - mean) * ((double)reference[i] - mean);
        d2 += d * d;
    }
    return var > 0 ? d2 / var : 0;
}

static void rank_all(struct accuracy *b, struct planner *const *p)
{
    struct planner_config c      = b->t.config.planner;
    size_t                size   = (size_t)(CANDIDATES * c.horizon * b->t.config.na);
    float                *act    = malloc(sizeof *act * size), cost[VARIANTS][CANDIDATES];
    void                 *memory = NULL;
    struct planner       *search = trained_planner(&b->t, &c, &memory);
    int                   all    = b->t.n * NOISES;

    CHECK(act);
    for (int k = 0; k < KINDS; k++)
        for (int v = 0; v < VARIANTS; v++) {
            b->ranking[k][v].rank = malloc(sizeof(double) * (size_t)all);
            CHECK(b->ranking[k][v].rank);
        }
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < all; i++) {
            int state = i / NOISES;

            if (i % NOISES == 0)
                candidates(b, search, state, k, act);
            for (int v = 0; v < VARIANTS; v++) {
                struct ranking *r = &b->ranking[k][v];

                if (!b->can[v])
                    continue;
                planner_evaluate(p[v], 0, b->t.x + state * b->t.config.nx,
                                 rng_derive(b->seed, 0xacc, (uint64_t)(2 * i + variants[v].other_seed)), CANDIDATES,
                                 act, cost[v]);
                r->rank[r->n++] = rank_correlation(cost[v], cost[REFERENCE], CANDIDATES);
                r->kept += (double)kept(cost[v], cost[REFERENCE]) / all;
                r->rms += difference(cost[v], cost[REFERENCE]) / all;
            }
        }
    free(act);
    free(memory);
}

/* ---- predictions ---- */

static void predict_all(struct accuracy *b)
{
    const struct model_dims *d = &b->t.model.dims;
    static struct plan       plan;

    for (int v = 0; v < VARIANTS; v++) {
        struct planner_config c = variant_config(b, &variants[v]);
        void                 *memory;

        if (!b->can[v])
            continue;
        struct planner *p = trained_planner(&b->t, &c, &memory);
        for (int i = 0; i < b->t.n; i++) {
            struct plan_request q = {
                .id = (uint64_t)i + 1, .seed = b->seed, .deadline_ns = UINT64_MAX, .reset = true
            };
            double mean[MAX_OBS] = { 0 }, var[MAX_OBS] = { 0 };
            float  x[MAX_OBS], m[MAX_OBS], s[MAX_OBS];

            memcpy(x, b->t.x + i * d->nx, sizeof *x * (size_t)d->nx);
            memcpy(q.x, x, sizeof *x * (size_t)d->nx);
            planner_step(p, 0, &q, NULL, NULL, &plan); /* a random action, and the state that it should lead to */
            for (int member = 0; member < d->members; member++) {
                ensemble_predict(&b->t.model, member, x, plan.action[0], m, s);
                for (int k = 0; k < d->nx; k++) {
                    mean[k] += (double)m[k] / d->members;
                    var[k] += (double)s[k] / d->members;
                }
            }
            for (int k = 0; k < d->nx; k++) {
                double e = (double)plan.predicted[k] - (double)x[k] - mean[k], out = (double)b->t.model.out_std[k];

                b->prediction[v].of_target += e * e / (out * out) / (b->t.n * d->nx);
                b->prediction[v].of_noise += e * e / var[k] / (b->t.n * d->nx);
            }
        }
        free(memory);
    }
}

/* ---- what comes out ---- */

static double row_quantile(struct ranking *r, double q)
{
    return quantile(r->rank, r->n, q);
}

static json_t *report(struct accuracy *b)
{
    json_t *rows = json_array();

    for (int k = 0; k < KINDS; k++)
        for (int v = 1; v < VARIANTS; v++) {
            struct ranking *r = &b->ranking[k][v];

            if (b->can[v])
                json_array_append_new(rows,
                                      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "what",
                                                "accuracy", "robot", b->t.config.robot, "candidates", kinds[k],
                                                "variant", variants[v].name, "rank_p50", js_real(row_quantile(r, 0.5)),
                                                "rank_p05", js_real(row_quantile(r, 0.05)), "rank_min",
                                                js_real(row_quantile(r, 0)), "elites_kept", js_real(r->kept),
                                                "cost_rms", js_real(sqrt(r->rms)), "prediction_of_target_std",
                                                js_real(sqrt(b->prediction[v].of_target)), "prediction_of_noise_std",
                                                js_real(sqrt(b->prediction[v].of_noise))));
        }
    return json_pack("{s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:o}", "machine", machine_json(NULL), "robot",
                     b->t.config.robot, "model_version", (json_int_t)b->t.model.version, "transitions",
                     b->t.transitions, "states", b->t.n, "candidates", CANDIDATES, "noises", NOISES, "rows", rows);
}

static void print_table(struct accuracy *b)
{
    printf("%s, model %llu: ranking of %d candidates against exact float, %d states x %d draws of noise\n",
           b->t.config.robot, (unsigned long long)b->t.model.version, CANDIDATES, b->t.n, NOISES);
    printf("%-6s %-16s %9s %9s %9s %10s %10s %12s %12s\n", "", "", "rank p50", "p5", "min", "kept of 10", "cost rms",
           "error/target", "error/noise");
    for (int k = 0; k < KINDS; k++)
        for (int v = 1; v < VARIANTS; v++) {
            struct ranking *r = &b->ranking[k][v];

            if (b->can[v])
                printf("%-6s %-16s %9.5f %9.5f %9.5f %10.2f %10.2g %12.2g %12.2g\n", kinds[k], variants[v].name,
                       row_quantile(r, 0.5), row_quantile(r, 0.05), row_quantile(r, 0), r->kept, sqrt(r->rms),
                       sqrt(b->prediction[v].of_target), sqrt(b->prediction[v].of_noise));
        }
}

static int run(struct accuracy *b, const struct trained_flags *f)
{
    struct planner *p[VARIANTS]      = { NULL };
    void           *memory[VARIANTS] = { NULL };
    char            name[100];

    b->seed = (uint64_t)f->seed;
    for (int v = 0; v < VARIANTS; v++) {
        struct planner_config c = variant_config(b, &variants[v]);

        b->can[v] = planner_config_error(&c, &b->t.config.model) == NULL;
        if (b->can[v])
            p[v] = trained_planner(&b->t, &c, &memory[v]);
    }
    CHECK(b->can[REFERENCE]);
    rank_all(b, p);
    predict_all(b);
    for (int v = 0; v < VARIANTS; v++)
        free(memory[v]);
    if (!f->json)
        print_table(b);

    json_t *r = report(b);

    snprintf(name, sizeof name, "accuracy-%s.json", b->t.config.robot);
    int rc = trained_report(f, name, r);

    json_decref(r);
    return rc;
}

int bench_accuracy(int argc, char **argv)
{
    struct trained_flags f       = { .out = "build/bench", .states = 32, .seed = 1 };
    const struct flag    flags[] = { TRAINED_FLAGS(&f), { 0 } };
    const struct usage   usage   = {
            .line = "bench accuracy --config FILE [--run DIR | --model FILE --store DB] [--json] [--out DIR]",
            .text =
                "What the fast activation and bfloat16 do to the ranking of candidates on a trained model, beside what\n"
                    "another seed does.  Writes accuracy-ROBOT.json.",
            .flags = flags
    };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    struct accuracy *b = calloc(1, sizeof *b);

    CHECK(b);
    rc = trained_open(&b->t, &f);
    if (rc == EXIT_OK)
        rc = run(b, &f);
    for (int k = 0; k < KINDS; k++)
        for (int v = 0; v < VARIANTS; v++)
            free(b->ranking[k][v].rank);
    trained_close(&b->t);
    free(b);
    return rc;
}
