/* search_gradient.c - gradient shooting: Adam (Kingma & Ba 2015) through the model on a few sequences at once, projected
 * onto the bounds.  The first sequence is the last plan moved on in time, the others are that plan with noise of
 * init_std half ranges; the step falls from learning_rate to 0 over the iterations along a cosine (Loshchilov & Hutter
 * 2017).  A sequence whose cost or gradient is not finite goes back to where the search began.
 *
 * Gradients and moments are per half range of the action, so that one learning rate fits all of them. */
#include "planner/search_parts.h"

void search_adam_layout(struct search *s, struct arena *a, int rows)
{
    size_t n = (size_t)s->n;

    s->adam.m     = ARENA_ARRAY(a, float, (size_t)rows *n);
    s->adam.v     = ARENA_ARRAY(a, float, (size_t)rows *n);
    s->adam.t     = ARENA_ARRAY(a, int, rows);
    s->adam.g     = ARENA_ARRAY(a, float, n);
    s->adam.start = ARENA_ARRAY(a, float, n);
}

void search_adam_reset(struct search *s, int k)
{
    memset(search_row(s, s->adam.m, k), 0, (size_t)s->n * sizeof(float));
    memset(search_row(s, s->adam.v, k), 0, (size_t)s->n * sizeof(float));
    s->adam.t[k] = 0;
}

/* beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8: the paper's.  The squared gradient may not overflow. */
void search_adam_learn(struct search *s, int k)
{
    float *m = search_row(s, s->adam.m, k), *v = search_row(s, s->adam.v, k);

    s->adam.t[k]++;
    for (int i = 0; i < s->n; i++) {
        float g = s->adam.g[i] < -1e15f ? -1e15f : s->adam.g[i] > 1e15f ? 1e15f : s->adam.g[i];

        m[i] = 0.9f * m[i] + 0.1f * g;
        v[i] = 0.999f * v[i] + 0.001f * g * g;
    }
}

void search_adam_step(const struct search *s, int k, double rate, const float *from, float *x)
{
    const float *m = search_row(s, s->adam.m, k), *v = search_row(s, s->adam.v, k);
    int          t     = s->adam.t[k] > 0 ? s->adam.t[k] : 1;
    double       first = 1 - pow(0.9, t), second = 1 - pow(0.999, t);

    for (int i = 0; i < s->n; i++) {
        double step = (double)m[i] / first / (sqrt((double)v[i] / second) + 1e-8);

        x[i] = search_clip(s, i, (float)((double)from[i] - rate * search_half(s, i) * step));
    }
}

static const char *error(const struct planner_config *c, int na)
{
    if (!(c->learning_rate > 0 && c->learning_rate <= 1))
        return "learning_rate: expected more than 0 and at most 1";
    return search_init_std_error(c, na);
}

static void layout(struct search *s, struct arena *a)
{
    search_adam_layout(s, a, s->rows);
}

static int draws(const struct planner_config *c, int it, bool reset)
{
    (void)reset;
    return it == 0 ? c->population : 0;
}

static int sample(struct search *s, int it, int n, const float *z)
{
    s->gradient = true;
    if (it > 0)
        return s->config.population; /* moved by refit */
    search_copy(s, s->adam.start, s->mean);
    for (int c = 0; c < n; c++) {
        const float *from = search_noise(s, z, c);
        float       *x    = search_row(s, s->x, c);

        for (int i = 0; i < s->n; i++)
            x[i] = search_clip(s, i, s->mean[i] + (float)search_std(s, i) * from[i]);
        search_adam_reset(s, c);
    }
    search_copy(s, s->x, s->mean);
    s->fixed = 1;
    return n;
}

static bool refit(struct search *s, int it, int n)
{
    double rate = s->config.learning_rate * 0.5 * (1 + cos(M_PI * it / s->config.iterations));

    for (int c = 0; c < n; c++) {
        float *x = search_row(s, s->x, c);

        if (!search_failed(s->cost[c]) && search_slope(s, c, s->adam.g)) {
            search_adam_learn(s, c);
            search_adam_step(s, c, rate, x, x);
        } else {
            search_copy(s, x, s->adam.start);
            search_adam_reset(s, c);
        }
    }
    search_copy(s, s->mean, s->best);
    s->elite_cost = s->best_cost;
    return false;
}

const struct search_kind search_gradient = {
    .name     = "gradient",
    .noise    = NOISE_NORMAL,
    .gradient = true,
    .error    = error,
    .ranked   = search_one,
    .draws    = draws,
    .layout   = layout,
    .begin    = search_begin_var,
    .sample   = sample,
    .refit    = refit,
};
