/* gradient_rollout.c - see gradient.h.  The arithmetic is in gradient.c; here is who meets whom: candidates, particles,
 * members, workers. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "planner/gradient.h"
#include "planner/team.h"

enum { UNITS_EACH = 8 }; /* of a wave, for each worker: little is lost while the last ones are waited for */

extern const struct lanes_gradient lanes_gradient_portable;
#if defined(__x86_64__)
extern const struct lanes_gradient lanes_gradient_avx2, lanes_gradient_avx512;
#elif defined(__aarch64__)
extern const struct lanes_gradient lanes_gradient_neon;
#endif

static const struct lanes_gradient *kernel_of(const struct lanes_ops *ops)
{
    static const struct lanes_gradient *const all[] = {
#if defined(__x86_64__)
        &lanes_gradient_avx512,
        &lanes_gradient_avx2,
#elif defined(__aarch64__)
        &lanes_gradient_neon,
#endif
        &lanes_gradient_portable,
    };
    int i = 0, last = sizeof all / sizeof *all - 1;

    while (i < last && strcmp(all[i]->isa, ops->isa) != 0)
        i++;
    return all[i]; /* portable C also where the rollout knows instructions that this does not */
}

static int padded(int n)
{
    return (n + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

int gradient_width(const struct model_dims *d)
{
    return padded(larger(larger(ensemble_nin(d), d->hidden), 2 * d->nx));
}

int gradient_tape(const struct model_dims *d, int nrange)
{
    int angles = 0, plane = ensemble_planar(d, TARGET_AHEAD) >= 0 ? 4 : 0;

    for (int i = 0; i < d->nx; i++)
        angles += d->input[i] == INPUT_ANGLE;
    return d->layers * padded(d->hidden) + 2 * d->nx + 2 * angles + plane + 2 * nrange;
}

void gradient_layout(struct gradient *g, struct arena *a, const struct planner_config *c, const struct model_dims *d)
{
    int workers = larger(c->workers, 1);

    CHECK(workers <= TEAM_MAX && c->propagation <= PARTICLES_MEAN);
    g->dims      = *d;
    g->horizon   = c->horizon;
    g->nrange    = c->nrange;
    g->particles = c->propagation == PARTICLES_MEAN ? d->members : c->particles;
    g->wave      = (UNITS_EACH * workers + g->particles - 1) / g->particles;

    for (int s = 0; s < ROLLOUT_SLOTS; s++)
        for (int m = 0; m < d->members; m++)
            for (int l = 0; l <= d->layers; l++) {
                int in, out;

                ensemble_layer(d, l, &in, &out);
                g->net[s].ahead[m][l] = ARENA_ARRAY(a, float, padded(out) * (in + 1));
                g->net[s].back[m][l]  = ARENA_ARRAY(a, float, padded(in) * (out + 1));
            }
    size_t sequence = (size_t)(g->horizon * d->na * LANES_TILE), units = (size_t)(g->wave * g->particles);

    g->act  = ARENA_ARRAY(a, float, (size_t)g->wave *sequence);
    g->cost = ARENA_ARRAY(a, float, units *LANES_TILE);
    g->dact = ARENA_ARRAY(a, float, units *sequence);
    for (int w = 0; w < workers; w++) {
        struct gradient_scratch *s = &g->scratch[w];

        s->x      = ARENA_ARRAY(a, float, d->nx *LANES_TILE);
        s->dx     = ARENA_ARRAY(a, float, d->nx *LANES_TILE);
        s->buf[0] = ARENA_ARRAY(a, float, gradient_width(d) * LANES_TILE);
        s->buf[1] = ARENA_ARRAY(a, float, gradient_width(d) * LANES_TILE);
        s->tape   = ARENA_ARRAY(a, float, (size_t)(g->horizon * gradient_tape(d, g->nrange)) * LANES_TILE);
    }
}

/* One layer: W (out x in) and b, both ways, with everything folded in that lanes.h names. */
static void pack_layer(int panel, const struct ensemble *e, int l, const float *W, float *ahead, float *back)
{
    int in, out;

    ensemble_layer(&e->dims, l, &in, &out);
    memset(ahead, 0, (size_t)(padded(out) * (in + 1)) * sizeof *ahead);
    memset(back, 0, (size_t)(padded(in) * (out + 1)) * sizeof *back);
    for (int i = 0; i < out; i++) {
        float *row = ahead + padded(out) + i / panel * panel * in + i % panel;

        ahead[i] = lanes_weight(e, l, W, i, in);
        for (int k = 0; k < in; k++) {
            float *column = back + padded(in) + k / panel * panel * out + k % panel;

            row[k * panel] = column[i * panel] = lanes_weight(e, l, W, i, k);
        }
    }
}

void gradient_pack(struct gradient *g, int slot, const struct ensemble *e, const struct lanes_ops *ops)
{
    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && model_dims_equal(&e->dims, &g->dims));
    struct gradient_net *n = &g->net[slot];

    n->dims = e->dims;
    n->nin  = ensemble_nin(&e->dims);
    memcpy(n->in_mean, e->in_mean, sizeof n->in_mean);
    lanes_variance(e, n->var_min, n->var_span);
    n->plane_ahead = ensemble_planar(&e->dims, TARGET_AHEAD);
    n->plane_aside = ensemble_planar(&e->dims, TARGET_ASIDE);
    for (int i = 0; i < e->dims.nx; i++)
        n->carry[i] = e->dims.target[i] == TARGET_ABSOLUTE ? 0 : 1;
    const float *W = e->weights;

    for (int m = 0; m < e->dims.members; m++)
        for (int l = 0; l <= e->dims.layers; l++) {
            int in, out;

            ensemble_layer(&e->dims, l, &in, &out);
            pack_layer(kernel_of(ops)->panel, e, l, W, n->ahead[m][l], n->back[m][l]);
            W += (size_t)out * (size_t)(in + 1);
        }
}

/* One call of team_run: the particles of a wave of tiles. */
struct wave {
    struct gradient             *g;
    const struct rollout        *r;
    const struct lanes_gradient *kernel;
    int                          slot, n; /* candidates in the wave */
};

static void work(void *ctx, int worker, int unit)
{
    const struct wave       *w = ctx;
    const struct rollout    *r = w->r;
    struct gradient         *g = w->g;
    struct gradient_scratch *s = &g->scratch[worker];
    int tile = w->kernel->tile, nx = g->dims.nx, steps = g->horizon * g->dims.na, t = unit / g->particles,
        p = unit % g->particles;

    w->kernel->run(&(struct gradient_job){
        .net     = &g->net[w->slot],
        .task    = &r->task,
        .horizon = g->horizon,
        .range   = r->range,
        .nrange  = g->nrange,
        .rows    = w->n - t * tile < tile ? w->n - t * tile : tile,
        .member  = r->member + p * g->horizon,
        .start   = r->start + p % g->dims.members * nx,
        .act     = g->act + (size_t)t * (size_t)(steps * tile),
        .z       = r->propagation == PARTICLES_MEAN ? NULL : r->z + p * g->horizon * nx,
        .x       = s->x,
        .dx      = s->dx,
        .buf     = { s->buf[0], s->buf[1] },
        .tape    = s->tape,
        .cost    = g->cost + unit * tile,
        .dact    = g->dact + (size_t)unit * (size_t)(steps * tile),
    });
}

/* Mean over particles, always in the same order, of row b of tile t, and what risk adds; the gradient to dact.  The
 * deviation of the costs c_p has the gradient  sum over p of (c_p - mean) / (P deviation) dc_p.  Returns the cost. */
static float gather(const struct gradient *g, double risk, int tile, int t, int b, float *dact)
{
    int          steps = g->horizon * g->dims.na, P = g->particles;
    const float *cost = g->cost + t * P * tile + b, *d = g->dact + (size_t)(t * P) * (size_t)(steps * tile) + b;
    double       sum  = 0;
    bool         good = true;

    for (int p = 0; p < P; p++)
        sum += (double)cost[p * tile];
    double mean = sum / P, deviation = risk != 0 ? rollout_deviation(cost, P, tile, mean) : 0;
    float  rated = (float)(mean + risk * deviation);

    for (int i = 0; i < steps; i++) {
        double slope = 0;

        for (int p = 0; p < P; p++) {
            double share = deviation > 0 ? 1 + risk * ((double)cost[p * tile] - mean) / deviation : 1;

            slope += share * (double)d[(size_t)(p * steps + i) * (size_t)tile];
        }
        dact[i] = (float)(slope / P);
        good    = good && isfinite(dact[i]);
    }
    /* Written so that NaN is the worst; minus infinity would be a reward without limit. */
    if (good && rated < ROLLOUT_WORST && rated >= -FLT_MAX)
        return rated;
    memset(dact, 0, (size_t)steps * sizeof *dact);
    return ROLLOUT_WORST;
}

int gradient_evaluate(struct gradient *g, const struct rollout *r, int slot, int n, const float *act, float *cost,
                      float *dact, uint64_t deadline_ns)
{
    struct wave w    = { .g = g, .r = r, .kernel = kernel_of(r->ops), .slot = slot };
    int         tile = w.kernel->tile, steps = g->horizon * g->dims.na, P = g->particles;

    CHECK(slot >= 0 && slot < ROLLOUT_SLOTS && g->net[slot].nin > 0);
    if (g->deadline_ns != deadline_ns)
        g->unit_ns = 0;
    g->deadline_ns = deadline_ns;

    for (int first = 0; first < n; first += g->wave * tile) {
        /* Also for what follows an iteration: steps by every member (rollout_predict). */
        uint64_t reserve_ns = g->unit_ns * (uint64_t)(g->dims.members * ROLLOUT_PREDICT_STEPS) / (uint64_t)g->horizon;

        if (deadline_ns != UINT64_MAX && clock_now_ns() + g->unit_ns + reserve_ns >= deadline_ns)
            return first;
        w.n       = n - first < g->wave * tile ? n - first : g->wave * tile;
        int tiles = (w.n + tile - 1) / tile;

        /* Rows beyond the population repeat its last candidate. */
        for (int c = 0; c < tiles * tile; c++) {
            const float *from = act + (size_t)(first + (c < w.n ? c : w.n - 1)) * (size_t)steps;
            float       *to   = g->act + (size_t)(c / tile * steps) * (size_t)tile + c % tile;

            for (int i = 0; i < steps; i++)
                to[i * tile] = from[i];
        }
        int done = team_run(r->team, work, &w, tiles * P, deadline_ns, reserve_ns) / P * tile;
        done     = done < w.n ? done : w.n;
        if (deadline_ns != UINT64_MAX && team_unit_ns(r->team) > g->unit_ns)
            g->unit_ns = team_unit_ns(r->team);

        for (int c = 0; c < done; c++)
            cost[first + c] = gather(g, r->risk, tile, c / tile, c % tile, dact + (size_t)(first + c) * (size_t)steps);
        if (done < w.n)
            return first + done;
    }
    return n;
}
