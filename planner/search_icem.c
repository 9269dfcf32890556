/* search_icem.c - iCEM (Pinneri et al. 2020): noise whose spectrum falls as 1 / f^beta, clipped; shrinking population;
 * the best of the last iteration carried on with their costs, those of the last planning step shifted in at the first
 * iteration; the mean itself tried at the last.  Mean shifted, last action repeated. */
#include "planner/search_parts.h"

static const char *error(const struct planner_config *c, int na)
{
    if (2 * c->elites > c->population)
        return "elites: expected at most half the population";
    if (!(c->noise_beta >= 0 && c->noise_beta <= 10))
        return "noise_beta: expected 0 .. 10";
    if (!(c->decay >= 1 && c->decay <= 100))
        return "decay: expected 1 .. 100";
    if (!(c->keep >= 0 && c->keep <= 1))
        return "keep: expected 0 .. 1";
    const char *std = search_init_std_error(c, na);
    return std ? std : search_elites_error(c);
}

static int draws(const struct planner_config *c, int it, bool reset)
{
    int n = c->population;

    (void)reset;
    for (int i = 0; i < it && n > 2 * c->elites; i++)
        n = (int)(n / c->decay);
    return n > 2 * c->elites ? n : 2 * c->elites;
}

static int sample(struct search *s, int it, int n, const float *z)
{
    for (int i = 0; i < s->n; i++)
        s->std[i] = sqrtf(s->var[i]);
    search_draw(s, n, z);

    /* Last step's elites, moved on in time, take the place of drawn candidates; their new last actions stay drawn. */
    if (it == 0)
        s->fixed = 1 + search_put_kept(s, 1, n);
    if (it == s->config.iterations - 1) {
        search_copy(s, s->x, s->mean);
        s->fixed = it == 0 ? s->fixed : 1;
    }
    return n;
}

static bool refit(struct search *s, int it, int n)
{
    (void)it, (void)n;
    search_keep(s);
    search_refit_elites(s);
    return false;
}

const struct search_kind search_icem = {
    .name   = "icem",
    .noise  = NOISE_COLOURED,
    .error  = error,
    .ranked = search_elites,
    .draws  = draws,
    .begin  = search_begin_var,
    .sample = sample,
    .refit  = refit,
};
