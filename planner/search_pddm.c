/* search_pddm.c - MPPI with filtered noise and reward weighting (PDDM, Nagabandi et al. 2019):
 *
 *   eps ~ N(0, std^2);  a_t = beta (mean_t + eps_t) + (1 - beta) a_t-1, a_-1 the action executed last;  clipped
 *   mean <- sum of w a / (sum of w + 1e-10),  w = exp(kappa (R - max R)),  R = -cost
 *
 * beta is `smoothing`; std = init_std half ranges, smaller by `anneal` each iteration (published: one iteration).  Mean
 * shifted, last action repeated.  The sum is taken of a - mean, which differs by 1e-10 of the mean. */
#include "planner/search_parts.h"

static const char *error(const struct planner_config *c, int na)
{
    if (!(c->kappa > 0 && c->kappa <= 1e9))
        return "kappa: expected more than 0";
    if (!(c->smoothing > 0 && c->smoothing <= 1))
        return "smoothing: expected more than 0 and at most 1";
    return search_weighted_error(c, na);
}

static int sample(struct search *s, int it, int n, const float *z)
{
    float  beta = (float)s->config.smoothing, rest = (float)(1 - s->config.smoothing);
    int    na = s->bounds.na;

    search_anneal(s, it);
    for (int c = 0; c < n; c++) {
        const float *from = search_noise(s, z, c);
        float       *x    = search_row(s, s->x, c);

        for (int i = 0; i < s->n; i++) {
            float before = i < na ? s->previous[i] : x[i - na];

            x[i] = search_clip(s, i, beta * (s->mean[i] + s->std[i] * from[i]) + rest * before);
        }
    }
    return n;
}

static bool refit(struct search *s, int it, int n)
{
    (void)it;
    for (int c = 0; c < n; c++)
        s->score[c] = s->config.kappa * (double)s->cost[c];
    search_refit_weighted(s, n, s->score, 1e-10);
    return false;
}

const struct search_kind search_pddm = {
    .name   = "pddm",
    .noise  = NOISE_NORMAL,
    .error  = error,
    .ranked = search_one,
    .draws  = search_population,
    .layout = search_weighted_layout,
    .begin  = search_begin_var,
    .sample = sample,
    .refit  = refit,
};
