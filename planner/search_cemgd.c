/* search_cemgd.c - CEM-GD (Huang et al. 2021): iterations of CEM as in search_cem.c, then up to `steps` of gradient
 * descent on the best few (`polish`) by projected Adam.  A step that does not improve is taken back and tried again
 * with a learning rate smaller by 1.5, at most seven times in a row, and larger again after one that does; a candidate is left alone after that, or where its
 * cost or gradient is not finite.  What was polished is tried again, moved on in time, in the next planning step.
 *
 * After a reset nothing is known yet: first_population candidates then.  Last action repeated. */
#include "planner/search_parts.h"

enum { TRIES = 7 };
static const double SHRINK = 1.5;

static const char *error(const struct planner_config *c, int na)
{
    if (c->steps < 1 || c->steps > 1000)
        return "steps: expected 1 .. 1000";
    if (c->polish < 1 || c->polish > SEARCH_POLISH || c->polish > c->elites)
        return "polish: expected 1 .. 16 and at most the elites";
    if (c->first_population != 0 && (c->first_population < c->population || c->first_population > MAX_POPULATION))
        return "first_population: expected at least the population and at most 4096, or 0";
    if (!(c->learning_rate > 0 && c->learning_rate <= 1))
        return "learning_rate: expected more than 0 and at most 1";
    const char *std = search_init_std_error(c, na);
    return std ? std : search_elites_error(c);
}

static void layout(struct search *s, struct arena *a)
{
    search_adam_layout(s, a, s->config.polish);
}

static int draws(const struct planner_config *c, int it, bool reset)
{
    if (it >= c->iterations)
        return 0;
    return reset && c->first_population > 0 ? c->first_population : c->population;
}

/* Trial points of the candidates that are still polished. */
static int sample_polish(struct search *s, int it)
{
    int n = 0;

    s->gradient = true;
    for (int k = 0; k < s->kept_count; k++) {
        float *from = search_row(s, s->kept, k), *x = search_row(s, s->x, n);

        if (it == s->config.iterations) {
            search_adam_reset(s, k);
            s->polish.tries[k] = 0;
            s->polish.rate[k]  = s->config.learning_rate;
            search_copy(s, x, from); /* as it is: for its gradient */
        } else if (s->polish.tries[k] <= TRIES) {
            search_adam_step(s, k, s->polish.rate[k], from, x);
        } else {
            continue;
        }
        s->polish.who[n++] = k;
    }
    return n;
}

static int sample(struct search *s, int it, int n, const float *z)
{
    if (it >= s->config.iterations)
        return sample_polish(s, it);
    search_cem.sample(s, it, n, z);
    if (it == 0) { /* the mean is the best of what was polished last time, moved on */
        search_copy(s, s->x, s->mean);
        s->fixed = 1 + search_put_kept(s, 1, n);
    }
    return n;
}

static bool refit_polish(struct search *s, int it, int n)
{
    bool busy = false;

    for (int c = 0; c < n; c++) {
        int  k      = s->polish.who[c];
        bool first  = it == s->config.iterations;
        bool better = !search_failed(s->cost[c]) && (first || s->cost[c] < s->kept_cost[k]);

        if (better && search_slope(s, c, s->adam.g)) {
            search_copy(s, search_row(s, s->kept, k), search_row(s, s->x, c));
            s->kept_cost[k]    = s->cost[c];
            s->polish.tries[k] = 0;
            if (!first)
                s->polish.rate[k] *= s->polish.rate[k] * SHRINK <= s->config.learning_rate ? SHRINK : 1;
            search_adam_learn(s, k);
        } else {
            s->polish.rate[k] /= SHRINK;
            s->polish.tries[k] = first ? TRIES + 1 : s->polish.tries[k] + 1;
        }
        busy = busy || s->polish.tries[k] <= TRIES;
    }
    search_copy(s, s->mean, s->best);
    s->elite_cost = s->best_cost;
    return !busy;
}

static bool refit(struct search *s, int it, int n)
{
    if (it >= s->config.iterations)
        return refit_polish(s, it, n);
    search_keep(s);
    search_refit_elites(s);
    return false;
}

const struct search_kind search_cemgd = {
    .name     = "cemgd",
    .noise    = NOISE_TRUNCATED,
    .gradient = true,
    .error    = error,
    .ranked   = search_elites,
    .draws    = draws,
    .layout   = layout,
    .begin    = search_begin_var,
    .sample   = sample,
    .refit    = refit,
};
