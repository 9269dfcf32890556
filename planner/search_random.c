/* search_random.c - random shooting (Nagabandi et al. 2018): uniform within the bounds, the best is executed. */
#include "planner/search_parts.h"

static void begin(struct search *s)
{
    memset(s->var, 0, (size_t)s->n * sizeof *s->var);
}

static int sample(struct search *s, int it, int n, const float *z)
{
    (void)it;
    for (int c = 0; c < n; c++) {
        const float *u = search_noise(s, z, c);
        float       *x = search_row(s, s->x, c);

        for (int i = 0; i < s->n; i++)
            x[i] = search_clip(s, i, (float)((double)s->low[i] + (double)u[i] * 2 * search_half(s, i)));
    }
    return n;
}

/* Nothing is learned but the best so far, which stands in as the mean: the next step's plan if it gets no time. */
static bool refit(struct search *s, int it, int n)
{
    (void)it, (void)n;
    search_copy(s, s->mean, s->best);
    s->elite_cost = s->best_cost;
    return false;
}

const struct search_kind search_random = {
    .name   = "random",
    .noise  = NOISE_UNIFORM,
    .error  = search_no_error,
    .ranked = search_one,
    .draws  = search_population,
    .begin  = begin,
    .sample = sample,
    .refit  = refit,
};
