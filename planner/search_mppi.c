/* search_mppi.c - information-theoretic MPPI (Williams et al. 2017, "Information theoretic MPC"):
 *
 *   eps ~ N(0, std^2), clipped so that mean + eps is within the bounds;  S = cost + lambda sum of mean eps / std^2
 *   mean <- mean + sum of w eps,  w = softmax(-(S - min S) / lambda)
 *
 * std = init_std half ranges.  The published controller does one iteration per step; more of them refine the mean, each
 * drawing with a std smaller by `anneal` (as DIAL-MPC does, Xue et al. 2024), while std in S stays the initial one: it is
 * that of the uncontrolled system, and what it costs to leave it.  Mean shifted, zeros appended. */
#include "planner/search_parts.h"

static const char *error(const struct planner_config *c, int na)
{
    if (!(c->lambda > 0 && c->lambda <= 1e9))
        return "lambda: expected more than 0";
    if (!(c->anneal > 0 && c->anneal <= 1))
        return "anneal: expected more than 0 and at most 1";
    return search_init_std_error(c, na);
}

static void layout(struct search *s, struct arena *a)
{
    s->score = ARENA_ARRAY(a, double, s->rows);
}

static int sample(struct search *s, int it, int n, const float *z)
{
    double shrunk = pow(s->config.anneal, it);

    for (int i = 0; i < s->n; i++)
        s->std[i] = (float)(search_std(s, i) * shrunk);
    for (int c = 0; c < n; c++) {
        const float *from = search_noise(s, z, c);
        float       *x    = search_row(s, s->x, c);

        for (int i = 0; i < s->n; i++)
            x[i] = search_clip(s, i, s->mean[i] + s->std[i] * from[i]);
    }
    return n;
}

static bool refit(struct search *s, int it, int n)
{
    (void)it;
    for (int c = 0; c < n; c++) {
        const float *x     = search_row(s, s->x, c);
        double       drift = 0;

        for (int i = 0; i < s->n; i++)
            if (s->var[i] > 0)
                drift += (double)s->mean[i] * ((double)x[i] - (double)s->mean[i]) / (double)s->var[i];
        s->score[c] = (double)s->cost[c] / s->config.lambda + drift;
    }
    search_refit_weighted(s, n, s->score, 0);
    return false;
}

const struct search_kind search_mppi = {
    .name        = "mppi",
    .noise       = NOISE_NORMAL,
    .append_zero = true,
    .error       = error,
    .ranked      = search_one,
    .draws       = search_population,
    .layout      = layout,
    .begin       = search_begin_var,
    .sample      = sample,
    .refit       = refit,
};
