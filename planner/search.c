/* search.c - see search.h: the table, and what all rows have in common. */
#include "planner/search_parts.h"

enum { SEED_NORMAL = 3, SEED_SCALAR = 4 };

static const struct search_kind *const kinds[] = {
    &search_icem, &search_cem,   &search_random,   &search_mppi,
    &search_pddm, &search_cmaes, &search_gradient, &search_cemgd,
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct search_kind *search_find(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i]->name, name))
            return kinds[i];
    return NULL;
}

const char *const *search_names(void)
{
    static const char *const names[] = { "icem", "cem", "random", "mppi", "pddm", "cmaes", "gradient", "cemgd", NULL };

    _Static_assert(sizeof names / sizeof *names == KINDS + 1, "one name per row");
    return names;
}

bool search_wants_gradient(const char *name)
{
    const struct search_kind *kind = search_find(name);

    return kind && kind->gradient;
}

/* ---- for the table ---- */

int search_one(const struct planner_config *c)
{
    (void)c;
    return 1;
}

int search_elites(const struct planner_config *c)
{
    return c->elites;
}

int search_population(const struct planner_config *c, int it, bool reset)
{
    (void)it, (void)reset;
    return c->population;
}

const char *search_no_error(const struct planner_config *c, int na)
{
    (void)c, (void)na;
    return NULL;
}

const char *search_init_std_error(const struct planner_config *c, int na)
{
    for (int j = 0; j < na; j++)
        if (!(c->init_std[j] > 0 && c->init_std[j] <= 10))
            return "init_std: expected more than 0 and at most 10, as a fraction of the half range";
    return NULL;
}

const char *search_elites_error(const struct planner_config *c)
{
    if (!(c->alpha >= 0 && c->alpha < 1))
        return "alpha: expected at least 0 and below 1";
    if (c->elites < 1)
        return "elites: expected at least 1";
    if (c->elites > c->population)
        return "elites: expected at most the population";
    return NULL;
}

void search_begin_var(struct search *s)
{
    for (int i = 0; i < s->n; i++)
        s->var[i] = (float)(search_std(s, i) * search_std(s, i));
}

void search_draw(struct search *s, int n, const float *z)
{
    for (int c = 0; c < n; c++) {
        const float *from = search_noise(s, z, c);
        float       *x    = search_row(s, s->x, c);

        for (int i = 0; i < s->n; i++)
            x[i] = search_clip(s, i, s->mean[i] + s->std[i] * from[i]);
    }
}

void search_anneal(struct search *s, int it)
{
    double shrunk = pow(s->config.anneal, it);

    for (int i = 0; i < s->n; i++)
        s->std[i] = (float)(search_std(s, i) * shrunk);
}

const char *search_weighted_error(const struct planner_config *c, int na)
{
    if (!(c->anneal > 0 && c->anneal <= 1))
        return "anneal: expected more than 0 and at most 1";
    return search_init_std_error(c, na);
}

void search_weighted_layout(struct search *s, struct arena *a)
{
    s->score = ARENA_ARRAY(a, double, s->rows);
}

void search_refit_elites(struct search *s)
{
    int    elites = s->elites;
    double keep = s->config.alpha, sum_cost = 0;

    for (int k = 0; k < elites; k++)
        sum_cost += (double)s->cost[s->rank[k]];
    s->elite_cost = sum_cost / elites;

    double *mean = s->sum, *var = s->sum + s->n;

    memset(s->sum, 0, 2 * (size_t)s->n * sizeof *s->sum);
    for (int k = 0; k < elites; k++) {
        const float *x = search_row(s, s->x, s->rank[k]);

        for (int i = 0; i < s->n; i++)
            mean[i] += (double)x[i];
    }
    for (int i = 0; i < s->n; i++)
        mean[i] /= elites;
    for (int k = 0; k < elites; k++) {
        const float *x = search_row(s, s->x, s->rank[k]);

        for (int i = 0; i < s->n; i++)
            var[i] += ((double)x[i] - mean[i]) * ((double)x[i] - mean[i]);
    }
    for (int i = 0; i < s->n; i++) {
        s->mean[i] = search_clip(s, i, (float)(keep * (double)s->mean[i] + (1 - keep) * mean[i]));
        s->var[i]  = (float)(keep * (double)s->var[i] + (1 - keep) * var[i] / elites);
    }
}

void search_refit_weighted(struct search *s, int n, const double *score, double add)
{
    double least = (double)INFINITY, total = add, cost = 0;

    for (int c = 0; c < n; c++)
        least = score[c] < least ? score[c] : least;
    if (!isfinite(least))
        return;
    memset(s->sum, 0, (size_t)s->n * sizeof *s->sum);
    for (int c = 0; c < n; c++) {
        const float *x = search_row(s, s->x, c);
        double       w = exp(least - score[c]);

        if (!(w > 0)) /* an infinite score too */
            continue;
        total += w;
        cost += w * ((double)s->cost[c] - (double)s->cost[0]);
        for (int i = 0; i < s->n; i++)
            s->sum[i] += w * ((double)x[i] - (double)s->mean[i]);
    }
    for (int i = 0; i < s->n; i++)
        s->mean[i] = search_clip(s, i, (float)((double)s->mean[i] + s->sum[i] / total));
    s->elite_cost = (double)s->cost[0] + cost / total;
}

void search_keep(struct search *s)
{
    s->kept_count = s->elites < s->nkeep ? s->elites : s->nkeep;
    s->kept_valid = s->n;
    for (int k = 0; k < s->kept_count; k++) {
        search_copy(s, search_row(s, s->kept, k), search_row(s, s->x, s->rank[k]));
        s->kept_cost[k] = s->cost[s->rank[k]];
    }
}

int search_put_kept(struct search *s, int at, int count)
{
    int k = 0;

    for (; k < s->kept_count && at + k < count; k++)
        memcpy(search_row(s, s->x, at + k), search_row(s, s->kept, k), (size_t)s->kept_valid * sizeof(float));
    return k;
}

/* ---- memory ---- */

const char *search_error(const struct planner_config *c, int na)
{
    const struct search_kind *kind  = search_find(c->name);
    const char               *error = search_knots_error(c);

    if (!error && (c->proposals < 0 || c->proposals >= c->population))
        error = "proposals: expected 0 or more and less than the population";
    return error ? error : kind->error(c, na);
}

/* Floats of the noise of the first iterations, as many as the bank may hold; *its: so many. */
static size_t bank_size(const struct search *s, int *its)
{
    size_t floats = 0;

    for (*its = 0; *its < s->iterations; ++*its) {
        size_t more = (size_t)s->kind->draws(&s->config, *its, false) * (size_t)s->n;

        if ((floats + more) * sizeof(float) > SEARCH_BANK)
            break;
        floats += more;
    }
    return floats;
}

void search_layout(struct search *s, struct arena *a, const struct planner_config *c, int na)
{
    int its;

    s->kind       = search_find(c->name);
    s->config     = *c;
    s->points     = search_points(c);
    s->n          = s->points * na;
    s->full       = c->horizon * na;
    s->rows       = s->kind->draws(c, 0, true) > c->population ? s->kind->draws(c, 0, true) : c->population;
    s->iterations = c->iterations + (s->kind == &search_cemgd ? c->steps : 0);
    s->nkeep      = s->kind == &search_icem    ? (int)(c->keep * c->elites + 1e-9) /* 0.3 x 10 is 3 */
                    : s->kind == &search_cemgd ? c->polish
                                               : 0;
    s->stride     = (s->points + LANES_BLOCK - 1) / LANES_BLOCK * LANES_BLOCK;

    size_t n = (size_t)s->n, rows = (size_t)(s->rows + s->nkeep), full = (size_t)s->full;
    bool   same = s->points == c->horizon;

    s->basis       = same ? NULL : ARENA_ARRAY(a, float, c->horizon * s->points);
    s->inverse     = same ? NULL : ARENA_ARRAY(a, float, c->horizon * s->points);
    s->low         = ARENA_ARRAY(a, float, n);
    s->high        = ARENA_ARRAY(a, float, n);
    s->mean        = ARENA_ARRAY(a, float, n);
    s->var         = ARENA_ARRAY(a, float, n);
    s->std         = ARENA_ARRAY(a, float, n);
    s->best        = ARENA_ARRAY(a, float, n);
    s->x           = ARENA_ARRAY(a, float, rows *n);
    s->act         = same ? s->x : ARENA_ARRAY(a, float, (size_t)s->rows *full);
    s->slope       = !s->kind->gradient ? NULL : ARENA_ARRAY(a, float, (size_t)s->rows *full);
    s->cost        = ARENA_ARRAY(a, float, rows);
    s->rank        = ARENA_ARRAY(a, int, rows);
    s->kept        = ARENA_ARRAY(a, float, (size_t)s->nkeep *n);
    s->kept_cost   = ARENA_ARRAY(a, float, s->nkeep);
    s->bank_floats = bank_size(s, &its);
    s->bank        = ARENA_ARRAY(a, float, s->bank_floats);
    s->colour      = s->kind->noise == NOISE_COLOURED ? ARENA_ARRAY(a, float, s->points * s->stride) : NULL;
    s->z           = ARENA_ARRAY(a, float, n + LANES_NORMALS);
    s->y           = ARENA_ARRAY(a, float, s->stride);
    s->sum         = ARENA_ARRAY(a, double, 2 * n);
    s->sequence    = ARENA_ARRAY(a, float, full);
    if (s->kind->layout)
        s->kind->layout(s, a);
}

/* Columns that turn independent normals into a sequence of unit variance at every decision whose power falls as
 * 1 / f^beta: cosine and sine of each frequency of a real Fourier transform; frequency 0 counts as the lowest other. */
static void colour_columns(struct search *s)
{
    int    n = s->points, k          = 0;
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

void search_init(struct search *s, const struct action_bounds *bounds)
{
    s->bounds = *bounds;
    CHECK(bounds->na * s->points == s->n);
    for (int j = 0; j < bounds->na; j++)
        CHECK(isfinite(bounds->low[j]) && isfinite(bounds->high[j]) && bounds->low[j] <= bounds->high[j]);
    for (int i = 0; i < s->n; i++) {
        s->low[i]  = bounds->low[i % bounds->na];
        s->high[i] = bounds->high[i % bounds->na];
    }
    s->kept_count = s->kept_valid = s->bank_its = 0;
    if (s->colour)
        colour_columns(s);
    search_knots_init(s);
    search_begin(s, true, 0, NULL);
}

/* ---- noise ---- */

/* Rows of unit noise of iteration `it`: the first ones are the same however many are asked for. */
static void draw(struct search *s, int it, uint64_t seed, int rows, float *to)
{
    int              n = s->n, na = s->bounds.na, whole = (n + LANES_NORMALS - 1) / LANES_NORMALS * LANES_NORMALS;
    struct lanes_rng lanes;
    struct rng       scalar;

    lanes_seed(&lanes, rng_derive(seed, SEED_NORMAL, (uint64_t)it));
    rng_seed(&scalar, rng_derive(seed, SEED_SCALAR, (uint64_t)it));
    for (int c = 0; c < rows; c++) {
        float *row = search_row(s, to, c);

        if (s->kind->noise == NOISE_UNIFORM) {
            for (int i = 0; i < n; i++)
                row[i] = (float)rng_uniform(&scalar);
            continue;
        }
        s->ops->normal(&lanes, whole, s->z);
        for (int j = 0; j < na && s->kind->noise == NOISE_COLOURED; j++) {
            s->ops->combine(s->points, s->stride, s->colour, s->z + j * s->points, s->y);
            for (int k = 0; k < s->points; k++)
                row[k * na + j] = s->y[k];
        }
        if (s->kind->noise == NOISE_COLOURED)
            continue;
        for (int i = 0; i < n && s->kind->noise == NOISE_TRUNCATED; i++)
            while (!(fabsf(s->z[i]) <= 2))
                s->z[i] = (float)rng_normal(&scalar);
        search_copy(s, row, s->z);
    }
}

void search_prepare(struct search *s, uint64_t seed)
{
    float *to = s->bank;

    if (s->bank_its > 0 && s->bank_seed == seed)
        return;
    bank_size(s, &s->bank_its);
    s->bank_seed = seed;
    for (int it = 0; it < s->bank_its; it++) {
        int rows = s->kind->draws(&s->config, it, false);

        draw(s, it, seed, rows, to);
        to += (size_t)rows * (size_t)s->n;
    }
}

/* The noise of iteration `it`: from the bank, or drawn now into x. */
static const float *noise(struct search *s, int it, uint64_t seed, int rows)
{
    const float *from = s->bank;

    if (it < s->bank_its && s->bank_seed == seed && rows <= s->kind->draws(&s->config, it, false)) {
        for (int i = 0; i < it; i++)
            from += (size_t)s->kind->draws(&s->config, i, false) * (size_t)s->n;
        return from;
    }
    draw(s, it, seed, rows, s->x);
    return s->x;
}

/* ---- a planning step ---- */

/* sequence moved on by so many steps; what is missing at its end is zero or its last action. */
static void move_on(const struct search *s, float *sequence, int moved, bool zero)
{
    int na = s->bounds.na;

    for (int i = 0; i < s->full; i++) { /* in place: what is read is not yet written */
        if (i + moved < s->full)
            sequence[i] = sequence[i + moved];
        else
            sequence[i] = zero ? search_clip(s, i % na, 0) : sequence[s->full - na + i % na];
    }
}

static void move_kept(struct search *s, int moved)
{
    if (!s->basis) {
        s->kept_valid = s->kept_valid < moved ? 0 : s->kept_valid - moved;
        if (s->kept_valid == 0)
            s->kept_count = 0;
    }
    for (int k = 0; k < s->kept_count; k++) {
        float *x = search_row(s, s->kept, k);

        if (!s->basis) {
            memmove(x, x + moved, (size_t)s->kept_valid * sizeof(float));
            continue;
        }
        search_expand(s, x, s->sequence);
        move_on(s, s->sequence, moved, false);
        search_project(s, s->sequence, x);
    }
}

/* The action executed last: as told, else that of the last plan, which was executed for `shift` steps. */
static void remember_executed(struct search *s, int shift, const float *executed)
{
    int    na   = s->bounds.na;
    int    last = shift < 1 ? 0 : shift < s->config.horizon ? shift - 1 : s->config.horizon - 1;
    double cost;

    const float *plan = s->reset ? NULL : search_plan(s, &cost);
    for (int j = 0; j < na; j++) {
        if (executed && isfinite(executed[j]))
            s->previous[j] = search_clip(s, j, executed[j]);
        else
            s->previous[j] = plan ? plan[last * na + j] : search_middle(s, j);
    }
}

void search_begin(struct search *s, bool reset, int shift, const float *executed)
{
    int moved = shift < s->config.horizon ? shift * s->bounds.na : s->full;

    s->reset = reset;
    remember_executed(s, shift, executed);
    if (reset) {
        for (int i = 0; i < s->n; i++)
            s->mean[i] = search_middle(s, i);
        s->kept_count = s->kept_valid = 0;
    } else {
        search_expand(s, s->mean, s->sequence);
        move_on(s, s->sequence, moved, s->kind->append_zero);
        search_project(s, s->sequence, s->mean);
        move_kept(s, moved);
    }
    s->best_cost = s->elite_cost = (double)INFINITY;
    s->fixed                     = 0;
    search_copy(s, s->best, s->mean);
    s->kind->begin(s);
}

static void expand_all(struct search *s, int from, int to)
{
    for (int c = from; s->basis && c < to; c++)
        search_expand(s, search_row(s, s->x, c), s->act + (size_t)c * (size_t)s->full);
}

int search_sample(struct search *s, int it, uint64_t seed)
{
    int rows = s->kind->draws(&s->config, it, s->reset);

    s->gradient = false;
    s->fixed    = 0;
    int count   = s->kind->sample(s, it, rows, rows ? noise(s, it, seed, rows) : NULL);
    expand_all(s, 0, count);
    return count;
}

void search_propose(struct search *s, int count, int n, const float *sequences)
{
    int na = s->bounds.na, at = n < count - s->fixed ? s->fixed : n < count ? count - n : 0;

    for (int p = 0; p < n && at + p < count; p++) {
        const float *from = sequences + (size_t)p * (size_t)s->full;
        float       *x    = search_row(s, s->x, at + p);

        search_expand(s, x, s->sequence);
        for (int i = 0; i < s->full; i++)
            if (isfinite(from[i]))
                s->sequence[i] = search_clip(s, i % na, from[i]);
        search_project(s, s->sequence, x);
    }
    expand_all(s, at, n < count - at ? at + n : count);
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
    int evaluated = n, want = s->kind->ranked(&s->config);

    CHECK(n > 0 && n <= s->rows);
    for (int c = 0; c < n; c++)
        if (!isfinite(s->cost[c]))
            s->cost[c] = SEARCH_WORST;
    /* Kept candidates met the same noise in this planning step: their costs still hold. */
    for (int k = 0; it > 0 && !s->gradient && k < s->kept_count; k++, n++) {
        search_copy(s, search_row(s, s->x, n), search_row(s, s->kept, k));
        s->cost[n] = s->kept_cost[k];
    }
    s->elites = rank_best(s, n, want);
    if ((double)s->cost[s->rank[0]] < s->best_cost) {
        s->best_cost = (double)s->cost[s->rank[0]];
        search_copy(s, s->best, search_row(s, s->x, s->rank[0]));
    }
    return s->kind->refit(s, it, evaluated);
}

const float *search_plan(struct search *s, double *cost)
{
    bool mean = s->config.execute == EXECUTE_MEAN;

    *cost = mean ? s->elite_cost : s->best_cost;
    search_expand(s, mean ? s->mean : s->best, s->sequence); /* both the shifted mean while nothing is evaluated */
    return s->sequence;
}
