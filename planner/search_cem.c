/* search_cem.c - CEM as in PETS (Chua et al. 2018, the published code): mean shifted, zeros appended; variance
 * (high - low)^2 / 16 at every planning step, limited so that two standard deviations stay within the bounds; normal
 * noise truncated at two; refit on the elites; stops when the largest variance falls below epsilon. */
#include "planner/search_parts.h"

static const char *error(const struct planner_config *c, int na)
{
    (void)na;
    if (!(c->epsilon >= 0 && c->epsilon < 1e6))
        return "epsilon: expected 0 or more";
    return search_elites_error(c);
}

static void begin(struct search *s)
{
    for (int i = 0; i < s->n; i++)
        s->var[i] = (float)(search_half(s, i) * search_half(s, i) / 4); /* (high - low)^2 / 16 */
}

static int sample(struct search *s, int it, int n, const float *z)
{
    (void)it;
    for (int i = 0; i < s->n; i++) {
        double to_low  = ((double)s->mean[i] - (double)s->low[i]) / 2;
        double to_high = ((double)s->high[i] - (double)s->mean[i]) / 2;
        double var     = (double)s->var[i];

        var       = to_low * to_low < var ? to_low * to_low : var;
        var       = to_high * to_high < var ? to_high * to_high : var;
        s->std[i] = (float)sqrt(var);
    }
    search_draw(s, n, z);
    return n;
}

static bool refit(struct search *s, int it, int n)
{
    float widest = 0;

    (void)it, (void)n;
    search_refit_elites(s);
    for (int i = 0; i < s->n; i++)
        widest = s->var[i] > widest ? s->var[i] : widest;
    return !((double)widest > s->config.epsilon);
}

const struct search_kind search_cem = {
    .name        = "cem",
    .noise       = NOISE_TRUNCATED,
    .append_zero = true,
    .error       = error,
    .ranked      = search_elites,
    .draws       = search_population,
    .begin       = begin,
    .sample      = sample,
    .refit       = refit,
};
