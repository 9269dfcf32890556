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
    return search_weighted_error(c, na);
}

static int sample(struct search *s, int it, int n, const float *z)
{
    search_anneal(s, it);
    search_draw(s, n, z);
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
    .layout      = search_weighted_layout,
    .begin       = search_begin_var,
    .sample      = sample,
    .refit       = refit,
};
