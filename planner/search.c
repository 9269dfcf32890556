/* search.c - see search.h. */
#include "planner/search.h"

#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"

enum { SEED_NORMAL = 3, SEED_SCALAR = 4 };

/* Comparisons, so that a NaN would stay one. */
static float clip(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static float clip_to(const struct search *s, int i, float x)
{
    int j = i % s->bounds.na;

    return clip(x, s->bounds.low[j], s->bounds.high[j]);
}

static double half_range(const struct search *s, int i)
{
    int j = i % s->bounds.na;

    return 0.5 * ((double)s->bounds.high[j] - (double)s->bounds.low[j]);
}

static float middle(const struct search *s, int i)
{
    int j = i % s->bounds.na;

    return clip_to(s, i, (float)(0.5 * ((double)s->bounds.high[j] + (double)s->bounds.low[j])));
}

static float *sequence(const struct search *s, float *base, int i)
{
    return base + (size_t)i * (size_t)s->n;
}

static void copy(const struct search *s, float *to, const float *from)
{
    memcpy(to, from, (size_t)s->n * sizeof *to);
}

/* ---- random shooting ---- */

static const char *no_error(const struct planner_config *c, int na)
{
    (void)c, (void)na;
    return NULL;
}

static void random_begin(struct search *s)
{
    memset(s->var, 0, (size_t)s->n * sizeof *s->var);
}

static int random_sample(struct search *s, int it, uint64_t seed)
{
    struct rng r;

    rng_seed(&r, rng_derive(seed, SEED_SCALAR, (uint64_t)it));
    for (int c = 0; c < s->config.population; c++) {
        float *a = sequence(s, s->act, c);

        for (int i = 0; i < s->n; i++) {
            int    j   = i % s->bounds.na;
            double low = (double)s->bounds.low[j], high = (double)s->bounds.high[j];

            a[i] = clip_to(s, i, (float)(low + rng_uniform(&r) * (high - low)));
        }
    }
    return s->config.population;
}

/* Nothing is learned but the best so far, which stands in as the mean: the next step's plan if it gets no time. */
static bool random_refit(struct search *s)
{
    copy(s, s->mean, s->best);
    s->elite_cost = s->best_cost;
    return false;
}

/* ---- CEM ---- */

/* mean <- alpha mean + (1 - alpha) (mean of elites), var likewise with their population variance. */
static void refit_elites(struct search *s)
{
    int    elites = s->elites;
    double keep = s->config.alpha, sum_cost = 0;

    for (int k = 0; k < elites; k++)
        sum_cost += (double)s->cost[s->rank[k]];
    s->elite_cost = sum_cost / elites;

    for (int i = 0; i < s->n; i++) {
        double mean = 0, var = 0;

        for (int k = 0; k < elites; k++)
            mean += (double)sequence(s, s->act, s->rank[k])[i];
        mean /= elites;
        for (int k = 0; k < elites; k++) {
            double d = (double)sequence(s, s->act, s->rank[k])[i] - mean;

            var += d * d;
        }
        var /= elites;
        s->mean[i] = clip_to(s, i, (float)(keep * (double)s->mean[i] + (1 - keep) * mean));
        s->var[i]  = (float)(keep * (double)s->var[i] + (1 - keep) * var);
    }
}

static const char *refit_error(const struct planner_config *c)
{
    if (!(c->alpha >= 0 && c->alpha < 1))
        return "alpha: expected at least 0 and below 1";
    if (c->elites < 1)
        return "elites: expected at least 1";
    return NULL;
}

static const char *cem_error(const struct planner_config *c, int na)
{
    (void)na;
    if (c->elites > c->population)
        return "elites: expected at most the population";
    if (!(c->epsilon >= 0 && c->epsilon < 1e6))
        return "epsilon: expected 0 or more";
    return refit_error(c);
}

static void cem_begin(struct search *s)
{
    for (int i = 0; i < s->n; i++) {
        double half = half_range(s, i);

        s->var[i] = (float)(half * half / 4); /* (high - low)^2 / 16 */
    }
}

static int cem_sample(struct search *s, int it, uint64_t seed)
{
    struct lanes_rng lanes;
    struct rng       again;

    lanes_seed(&lanes, rng_derive(seed, SEED_NORMAL, (uint64_t)it));
    rng_seed(&again, rng_derive(seed, SEED_SCALAR, (uint64_t)it));
    for (int i = 0; i < s->n; i++) {
        int    j       = i % s->bounds.na;
        double to_low  = ((double)s->mean[i] - (double)s->bounds.low[j]) / 2;
        double to_high = ((double)s->bounds.high[j] - (double)s->mean[i]) / 2;
        double var     = (double)s->var[i];

        var       = to_low * to_low < var ? to_low * to_low : var;
        var       = to_high * to_high < var ? to_high * to_high : var;
        s->std[i] = (float)sqrt(var);
    }
    for (int c = 0; c < s->config.population; c++) {
        float *a = sequence(s, s->act, c);

        s->ops->normal(&lanes, (s->n + LANES_NORMALS - 1) / LANES_NORMALS * LANES_NORMALS, s->z);
        for (int i = 0; i < s->n; i++) {
            while (!(fabsf(s->z[i]) <= 2))
                s->z[i] = (float)rng_normal(&again);
            a[i] = clip_to(s, i, s->mean[i] + s->std[i] * s->z[i]);
        }
    }
    return s->config.population;
}

static bool cem_refit(struct search *s)
{
    float widest = 0;

    refit_elites(s);
    for (int i = 0; i < s->n; i++)
        widest = s->var[i] > widest ? s->var[i] : widest;
    return !((double)widest > s->config.epsilon);
}

/* ---- iCEM ---- */

static const char *icem_error(const struct planner_config *c, int na)
{
    if (2 * c->elites > c->population)
        return "elites: expected at most half the population";
    if (!(c->noise_beta >= 0 && c->noise_beta <= 10))
        return "noise_beta: expected 0 .. 10";
    if (!(c->decay >= 1 && c->decay <= 100))
        return "decay: expected 1 .. 100";
    if (!(c->keep >= 0 && c->keep <= 1))
        return "keep: expected 0 .. 1";
    for (int j = 0; j < na; j++)
        if (!(c->init_std[j] > 0 && c->init_std[j] <= 10))
            return "init_std: expected more than 0 and at most 10, as a fraction of the half range";
    return refit_error(c);
}

/* Columns that turn horizon independent normals into a sequence of unit variance at every step whose power falls as
 * 1 / f^beta: cosine and sine of each frequency of a real Fourier transform; frequency 0 counts as the lowest other. */
static void colour_columns(struct search *s)
{
    int    n = s->config.horizon, k  = 0;
    double power[MAX_HORIZON], total = 0;

    for (int f = 0; 2 * f <= n; f++) {
        bool   pair      = f > 0 && 2 * f < n;
        double amplitude = pow((f ? f : 1) / (double)n, -s->config.noise_beta / 2) * (pair ? sqrt(2) : 1);

        for (int half = 0; half <= pair; half++, k++) {
            float *column = s->colour + k * s->stride;

            for (int t = 0; t < n; t++) {
                double angle = 2 * M_PI * f * t / n;

                column[t] = (float)(amplitude * (half ? sin(angle) : cos(angle)));
            }
            for (int t = n; t < s->stride; t++)
                column[t] = 0;
        }
        power[f] = amplitude * amplitude; /* cos^2 + sin^2 = 1 at every step */
        total += power[f];
    }
    CHECK(k == n);
    for (int i = 0; i < n * s->stride; i++)
        s->colour[i] = (float)((double)s->colour[i] / sqrt(total));
}

static void icem_begin(struct search *s)
{
    for (int i = 0; i < s->n; i++) {
        double std = s->config.init_std[i % s->bounds.na] * half_range(s, i);

        s->var[i] = (float)(std * std);
    }
}

static int icem_population(const struct planner_config *c, int it)
{
    int n = c->population;

    for (int i = 0; i < it; i++)
        n = (int)(n / c->decay);
    return n > 2 * c->elites ? n : 2 * c->elites;
}

static int icem_sample(struct search *s, int it, uint64_t seed)
{
    struct lanes_rng lanes;
    int              H = s->config.horizon, na = s->bounds.na, count = icem_population(&s->config, it);

    lanes_seed(&lanes, rng_derive(seed, SEED_NORMAL, (uint64_t)it));
    for (int i = 0; i < s->n; i++)
        s->std[i] = sqrtf(s->var[i]);
    for (int c = 0; c < count; c++) {
        float *a = sequence(s, s->act, c);

        s->ops->normal(&lanes, (s->n + LANES_NORMALS - 1) / LANES_NORMALS * LANES_NORMALS, s->z);
        for (int j = 0; j < na; j++) {
            s->ops->combine(H, s->stride, s->colour, s->z + j * H, s->y);
            for (int h = 0; h < H; h++) {
                int i = h * na + j;

                a[i] = clip_to(s, i, s->mean[i] + s->std[i] * s->y[h]);
            }
        }
    }

    /* Last step's elites, moved on in time, take the place of drawn candidates; their new last actions stay drawn. */
    for (int k = 0; it == 0 && k < s->kept_count && k + 1 < count; k++)
        memcpy(sequence(s, s->act, 1 + k), sequence(s, s->kept, k), (size_t)s->kept_valid * sizeof(float));
    if (it == s->config.iterations - 1)
        copy(s, s->act, s->mean);
    return count;
}

static bool icem_refit(struct search *s)
{
    s->kept_count = s->elites < s->nkeep ? s->elites : s->nkeep;
    s->kept_valid = s->n;
    for (int k = 0; k < s->kept_count; k++) {
        copy(s, sequence(s, s->kept, k), sequence(s, s->act, s->rank[k]));
        s->kept_cost[k] = s->cost[s->rank[k]];
    }
    refit_elites(s);
    return false;
}

/* ---- the table, and what all have in common ---- */

static const struct search_kind kinds[] = {
    { "random", false, no_error, random_begin, random_sample, random_refit },
    { "cem", true, cem_error, cem_begin, cem_sample, cem_refit },
    { "icem", false, icem_error, icem_begin, icem_sample, icem_refit },
};

const struct search_kind *search_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

void search_layout(struct search *s, struct arena *a, const struct planner_config *c, int na)
{
    s->kind   = search_find(c->name);
    s->config = *c;
    s->n      = c->horizon * na;
    s->nkeep  = strcmp(c->name, "icem") ? 0 : (int)(c->keep * c->elites + 1e-9); /* 0.3 x 10 is 3 */
    s->stride = (c->horizon + LANES_BLOCK - 1) / LANES_BLOCK * LANES_BLOCK;

    size_t n = (size_t)s->n, rows = (size_t)(c->population + s->nkeep);

    s->mean      = ARENA_ARRAY(a, float, n);
    s->var       = ARENA_ARRAY(a, float, n);
    s->std       = ARENA_ARRAY(a, float, n);
    s->best      = ARENA_ARRAY(a, float, n);
    s->act       = ARENA_ARRAY(a, float, rows *n);
    s->cost      = ARENA_ARRAY(a, float, rows);
    s->rank      = ARENA_ARRAY(a, int, rows);
    s->kept      = ARENA_ARRAY(a, float, (size_t)s->nkeep *n);
    s->kept_cost = ARENA_ARRAY(a, float, s->nkeep);
    s->colour    = ARENA_ARRAY(a, float, c->horizon * s->stride);
    s->z         = ARENA_ARRAY(a, float, n + LANES_NORMALS);
    s->y         = ARENA_ARRAY(a, float, s->stride);
}

void search_init(struct search *s, const struct action_bounds *bounds)
{
    s->bounds = *bounds;
    CHECK(bounds->na * s->config.horizon == s->n);
    for (int j = 0; j < bounds->na; j++)
        CHECK(isfinite(bounds->low[j]) && isfinite(bounds->high[j]) && bounds->low[j] <= bounds->high[j]);
    s->kept_count = s->kept_valid = 0;
    if (s->kind->sample == icem_sample)
        colour_columns(s);
    search_begin(s, true, 0);
}

void search_begin(struct search *s, bool reset, int shift)
{
    int na = s->bounds.na, moved = shift < s->config.horizon ? shift * na : s->n;

    /* In place: what is read is not yet written. */
    for (int i = 0; i < s->n; i++) {
        if (reset)
            s->mean[i] = middle(s, i);
        else if (i + moved < s->n)
            s->mean[i] = s->mean[i + moved];
        else
            s->mean[i] = s->kind->append_zero ? clip_to(s, i, 0) : s->mean[s->n - na + i % na];
    }

    s->kept_valid = reset || s->kept_valid < moved ? 0 : s->kept_valid - moved;
    if (s->kept_valid == 0)
        s->kept_count = 0;
    for (int k = 0; k < s->kept_count; k++)
        memmove(sequence(s, s->kept, k), sequence(s, s->kept, k) + moved, (size_t)s->kept_valid * sizeof(float));

    s->best_cost = s->elite_cost = (double)INFINITY;
    copy(s, s->best, s->mean);
    s->kind->begin(s);
}

int search_sample(struct search *s, int it, uint64_t seed)
{
    return s->kind->sample(s, it, seed);
}

/* The best `want` of n by cost, the earlier one first where equal. */
static int rank_best(struct search *s, int n, int want)
{
    int count = 0;

    for (int c = 0; c < n; c++) {
        int at = count;

        while (at > 0 && s->cost[c] < s->cost[s->rank[at - 1]])
            at--;
        if (at == want)
            continue;
        if (count < want)
            count++;
        memmove(s->rank + at + 1, s->rank + at, (size_t)(count - 1 - at) * sizeof *s->rank);
        s->rank[at] = c;
    }
    return count;
}

bool search_refit(struct search *s, int it, int n)
{
    CHECK(n > 0 && n <= s->config.population);
    /* Kept candidates met the same noise in this planning step: their costs still hold. */
    for (int k = 0; it > 0 && k < s->kept_count; k++, n++) {
        copy(s, sequence(s, s->act, n), sequence(s, s->kept, k));
        s->cost[n] = s->kept_cost[k];
    }
    s->elites = rank_best(s, n, s->config.elites > 1 ? s->config.elites : 1);
    if ((double)s->cost[s->rank[0]] < s->best_cost) {
        s->best_cost = (double)s->cost[s->rank[0]];
        copy(s, s->best, sequence(s, s->act, s->rank[0]));
    }
    return s->kind->refit(s);
}
