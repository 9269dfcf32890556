/* Claims about models/kernels.c: every instruction set against plain loops in double. */
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/rng.h"
#include "models/kernels.h"
#include "tests/test.h"

enum { SOME = 4096 };

#define EACH_ISA(k)                                               \
    for (const char *const *isa_ = isa_names(); *isa_; isa_++) \
        for (const struct kernels *k = kernels_find(*isa_); k; k = NULL)

TEST(the_best_kernels_come_first_and_unknown_ones_are_refused)
{
    EXPECT(kernels_find(NULL) == kernels_find(isa_names()[0]));
    EXPECT(kernels_find("portable") != NULL && kernels_find("avx1024") == NULL);
    EACH_ISA(k) EXPECT(k->lanes <= KERNELS_LANES && k->tile <= KERNELS_TILE && k->tile % k->lanes == 0);
}

TEST(exp_inverse_and_log1p_keep_their_error_bounds_on_every_isa)
{
    static float x[SOME] __attribute__((aligned(64))), e[SOME] __attribute__((aligned(64)));
    static float inv[SOME] __attribute__((aligned(64))), l[SOME] __attribute__((aligned(64)));
    int          rounds = test_rounds(200, 2000);

    EACH_ISA(k)
    {
        double worst[3] = { 0 };

        for (int r = 0; r < rounds; r++) {
            double from = -87 + 174.0 * r / rounds, span = 174.0 / rounds;

            for (int i = 0; i < SOME; i++)
                x[i] = (float)(from + span * i / SOME);
            k->functions(SOME, x, e, inv, l);
            for (int i = 0; i < SOME; i++) {
                double want = exp((double)x[i]);

                worst[0] = fmax(worst[0], fabs((double)e[i] - want) / want);
                x[i]     = (float)ldexp(1 + (double)i / SOME, r * 240 / rounds - 120); /* every binade */
            }
            k->functions(SOME, x, e, inv, l);
            for (int i = 0; i < SOME; i++) {
                worst[1] = fmax(worst[1], fabs((double)inv[i] * (double)x[i] - 1));
                x[i]     = (float)((r + (double)i / SOME) / rounds); /* 0 .. 1 */
            }
            k->functions(SOME, x, e, inv, l);
            for (int i = 0; i < SOME; i++) {
                double want = log1p((double)x[i]);

                worst[2] = fmax(worst[2], want > 0 ? fabs((double)l[i] - want) / want : fabs((double)l[i]));
            }
        }
        EXPECT_NEAR(worst[0], 0, 3e-7);
        EXPECT_NEAR(worst[1], 0, 2e-7);
        EXPECT_NEAR(worst[2], 0, 5e-7);

        for (int i = 0; i < KERNELS_LANES; i++)
            x[i] = i % 4 == 0 ? NAN : i % 4 == 1 ? INFINITY : i % 4 == 2 ? -INFINITY : 0;
        k->functions(KERNELS_LANES, x, e, inv, l);
        for (int i = 0; i < KERNELS_LANES; i += 4) {
            EXPECT(isnan(e[i]) && isnan(inv[i]) && isnan(l[i]));
            EXPECT(isfinite(e[i + 1]) && e[i + 1] > 6e37f && e[i + 2] > 0 && e[i + 2] < 2e-38f);
            EXPECT(e[i + 3] == 1 && l[i + 3] == 0);
        }
    }
}

/* One layer with random numbers everywhere, plain (W[o * in + i], x[b * in + i], ...) and as the kernels want it. */
struct layer {
    const struct kernels *k;
    int                   n, in, out, tiles;
    double               *w, *bias, *x, *dz, *slope; /* plain; slope: of the inputs */
    float                *kw, *kx, *kdz, *kslope, *ky, *kyslope, *kdx, *grad, *m, *v, *scratch;
};

static float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 63) & ~(size_t)63);

    memset(p, 0, n * sizeof *p);
    return p;
}

static size_t place(const struct kernels *k, int width, int b, int i)
{
    size_t tile = (size_t)k->tile;

    return ((size_t)b / tile * kernels_wide(width) + (size_t)i) * tile + (size_t)b % tile;
}

static double *numbers(struct rng *r, int n)
{
    double *p = malloc((size_t)n * sizeof *p);

    for (int i = 0; i < n; i++)
        p[i] = (double)(float)rng_normal(r);
    return p;
}

/* Rows beyond the batch hold what an earlier, larger batch left in the inputs, and zeros in the gradient. */
static float *in_tiles(const struct layer *l, int width, const double *plain, float stale)
{
    float *p = floats((size_t)l->tiles * kernels_wide(width) * (size_t)l->k->tile);

    for (int b = 0; b < l->tiles * l->k->tile; b++)
        for (int i = 0; i < width; i++)
            p[place(l->k, width, b, i)] = b < l->n ? (float)plain[b * width + i] : stale;
    return p;
}

static void open_layer(struct layer *l, const struct kernels *k, struct rng *r, int n, int in, int out)
{
    *l         = (struct layer){ .k = k, .n = n, .in = in, .out = out, .tiles = (n + k->tile - 1) / k->tile };
    size_t all = (size_t)l->tiles * (size_t)k->tile;

    l->w       = numbers(r, in * out);
    l->bias    = numbers(r, out);
    l->x       = numbers(r, n * in);
    l->dz      = numbers(r, n * out);
    l->slope   = numbers(r, n * in);
    l->kx      = in_tiles(l, in, l->x, 3);
    l->kdz     = in_tiles(l, out, l->dz, 0);
    l->kslope  = in_tiles(l, in, l->slope, 1);
    l->ky      = floats(all * kernels_wide(out));
    l->kyslope = floats(all * kernels_wide(out));
    l->kdx     = floats(all * kernels_wide(in));
    l->kw      = floats(kernels_params(in, out));
    l->grad    = floats(kernels_params(in, out));
    l->m       = floats(kernels_params(in, out));
    l->v       = floats(kernels_params(in, out));
    l->scratch = floats(kernels_scratch(n));
    for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++)
            l->kw[kernels_at(k, in, o, i)] = (float)l->w[o * in + i];
        l->kw[kernels_weights(in, out) + (size_t)o] = (float)l->bias[o];
    }
}

static void close_layer(struct layer *l)
{
    double *d[] = { l->w, l->bias, l->x, l->dz, l->slope };
    float  *f[] = { l->kx, l->kdz, l->kslope, l->ky, l->kyslope, l->kdx, l->kw, l->grad, l->m, l->v, l->scratch };

    for (size_t i = 0; i < sizeof d / sizeof *d; i++)
        free(d[i]);
    for (size_t i = 0; i < sizeof f / sizeof *f; i++)
        free(f[i]);
}

static void expect_forward(struct layer *l)
{
    l->k->forward(l->tiles, l->in, l->out, l->kw, l->kx, l->ky, NULL);
    for (int pass = 0; pass < 2; pass++) {
        for (int b = 0; b < l->n; b++)
            for (int o = 0; o < l->out; o++) {
                double z = l->bias[o], size = fabs(z);

                for (int i = 0; i < l->in; i++) {
                    z += l->w[o * l->in + i] * l->x[b * l->in + i];
                    size += fabs(l->w[o * l->in + i] * l->x[b * l->in + i]);
                }
                double s = 1 / (1 + exp(-z)), tol = 1e-6 * (size + 1);
                size_t at = place(l->k, l->out, b, o);

                if (pass == 0) {
                    EXPECT_NEAR(l->ky[at], z, tol);
                } else {
                    EXPECT_NEAR(l->ky[at], z * s, 2 * tol);
                    EXPECT_NEAR(l->kyslope[at], s + z * s * (1 - s), tol);
                }
            }
        if (pass == 0)
            l->k->forward(l->tiles, l->in, l->out, l->kw, l->kx, l->ky, l->kyslope);
    }
}

static void expect_backward(struct layer *l)
{
    struct kernels_update u = { .w = l->kw, .grad = l->grad, .decay = 7, .rate = 7 };

    l->k->back_inputs(l->tiles, l->in, l->out, l->kw, l->kdz, l->kslope, l->kdx);
    for (int b = 0; b < l->n; b++)
        for (int i = 0; i < l->in; i++) {
            double dx = 0, size = 0, s = l->slope[b * l->in + i];

            for (int o = 0; o < l->out; o++) {
                dx += l->w[o * l->in + i] * l->dz[b * l->out + o];
                size += fabs(l->w[o * l->in + i] * l->dz[b * l->out + o]);
            }
            EXPECT_NEAR(l->kdx[place(l->k, l->in, b, i)], dx * s, 1e-6 * (size + 1) * (1 + fabs(s)));
        }
    l->k->back_weights(l->n, l->in, l->out, l->kx, l->kdz, &u, l->scratch);
    for (int o = 0; o < l->out; o++) {
        double db = 0;

        for (int i = 0; i < l->in; i++) {
            double dw = 0, size = 0;

            for (int b = 0; b < l->n; b++) {
                dw += l->dz[b * l->out + o] * l->x[b * l->in + i];
                size += fabs(l->dz[b * l->out + o] * l->x[b * l->in + i]);
            }
            EXPECT_NEAR(l->grad[kernels_at(l->k, l->in, o, i)], dw, 1e-6 * (size + 1));
        }
        for (int b = 0; b < l->n; b++)
            db += l->dz[b * l->out + o];
        EXPECT_NEAR(l->grad[kernels_weights(l->in, l->out) + (size_t)o], db, 1e-6 * (l->n + 1));
    }
}

/* A step on random weights, moments of an earlier one: the gradient's own numbers, the formula in double. */
static void expect_update(struct layer *l)
{
    size_t                params = kernels_params(l->in, l->out), weights = kernels_weights(l->in, l->out), zeros = 0;
    struct kernels_update u   = { .w = l->kw, .m = l->m, .v = l->v, .decay = 0.01f };
    float                *was = floats(params);
    double               *p = calloc(params, sizeof *p), *m = calloc(params, sizeof *m), *v = calloc(params, sizeof *v);

    for (size_t i = 0; i < params; i++)
        p[i] = (double)(was[i] = l->kw[i]);
    for (long t = 1; t <= 3; t++) {
        for (size_t i = 0; i < params; i++) {
            double g = (double)l->grad[i] + (i < weights ? 0.01 : 0) * p[i];

            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            p[i] -= 0.05 * (m[i] / (1 - pow(0.9, (double)t))) / (sqrt(v[i] / (1 - pow(0.999, (double)t))) + 1e-8);
        }
        u.rate = (float)adam_rate(0.05, t);
        l->k->back_weights(l->n, l->in, l->out, l->kx, l->kdz, &u, l->scratch);
    }
    for (size_t i = 0; i < params; i++) {
        if (fabs((double)l->grad[i]) > 0.1) /* near 0 the rounding of a sum decides where Adam goes */
            EXPECT_NEAR(l->kw[i], p[i], 1e-4);
        if (was[i] == 0 && l->grad[i] == 0)
            zeros += l->kw[i] != 0;
    }
    EXPECT(zeros == 0); /* what pads stays */
    free(was);
    free(p);
    free(m);
    free(v);
}

TEST(layers_forward_and_backward_agree_with_plain_loops_on_every_isa_and_odd_sizes)
{
    static const int sizes[][3] = { { 1, 1, 1 },   { 32, 24, 200 }, { 33, 27, 34 },  { 31, 200, 36 },
                                    { 4, 12, 20 }, { 64, 16, 16 },  { 100, 65, 129 } };
    int              extra = test_rounds(30, 3000), fixed = (int)(sizeof sizes / sizeof *sizes);
    struct rng       r;

    rng_seed(&r, 11);
    for (int i = 0; i < fixed + extra; i++) {
        int n   = i < fixed ? sizes[i][0] : 1 + (int)rng_below(&r, 80);
        int in  = i < fixed ? sizes[i][1] : 1 + (int)rng_below(&r, 70),
            out = i < fixed ? sizes[i][2] : 1 + (int)rng_below(&r, 70);

        EACH_ISA(k)
        {
            struct layer l;

            open_layer(&l, k, &r, n, in, out);
            expect_forward(&l);
            expect_backward(&l);
            expect_update(&l);
            close_layer(&l);
        }
    }
}

TEST(the_loss_and_its_gradient_agree_with_plain_formulas_on_every_isa)
{
    struct rng r;

    rng_seed(&r, 12);
    for (int round = 0; round < 20; round++)
        EACH_ISA(k)
        {
            int    n = 1 + (int)rng_below(&r, 70), nx = 1 + (int)rng_below(&r, 20), tiles = (n + k->tile - 1) / k->tile;
            size_t size = (size_t)tiles * (size_t)k->tile * kernels_wide(2 * nx);
            float *out = floats(size), *y = floats(size), *dz = floats(size), hi[20], lo[20], dhi[20], dlo[20];
            double loss = 0, share = 1.0 / (n * nx), want_hi[20] = { 0 }, want_lo[20] = { 0 };
            double beta = round % 3 * 0.5;

            for (size_t i = 0; i < size; i++) {
                out[i] = 4 * (float)rng_normal(&r);
                y[i]   = (float)rng_normal(&r);
            }
            for (int i = 0; i < nx; i++) {
                hi[i]  = 0.5f + (float)rng_normal(&r);
                lo[i]  = -3 + (float)rng_normal(&r);
                dhi[i] = dlo[i] = 1; /* it is added to */
            }
            double got = k->nll(n, nx, out, y, hi, lo, (float)beta, dz, dhi, dlo);

            for (int b = 0; b < n; b++)
                for (int i = 0; i < nx; i++) {
                    double raw = (double)out[place(k, 2 * nx, b, nx + i)], top = (double)hi[i], floor_ = (double)lo[i];
                    double err = (double)out[place(k, 2 * nx, b, i)] - (double)y[place(k, nx, b, i)];
                    double l1 = top - log1p(exp(top - raw)), lv = floor_ + log1p(exp(l1 - floor_));
                    double s1 = 1 / (1 + exp(raw - top)), s2 = 1 / (1 + exp(floor_ - l1));
                    double used = share * exp(beta * lv), dlv = used * (1 - err * err * exp(-lv));
                    double tol = 2e-6 * used * (1 + (1 + fabs(err)) * fabs(err) * exp(-lv));

                    loss += share * (err * err * exp(-lv) + lv);
                    want_hi[i] += dlv * s2 * (1 - s1);
                    want_lo[i] += dlv * (1 - s2);
                    EXPECT_NEAR(dz[place(k, 2 * nx, b, i)], used * 2 * err * exp(-lv), tol);
                    EXPECT_NEAR(dz[place(k, 2 * nx, b, nx + i)], dlv * s1 * s2, tol);
                }
            EXPECT_NEAR(got, loss, 1e-5 * (1 + fabs(loss)));
            for (int i = 0; i < nx; i++) {
                EXPECT_NEAR(dhi[i], 1 + want_hi[i], 1e-5 * (1 + fabs(want_hi[i])));
                EXPECT_NEAR(dlo[i], 1 + want_lo[i], 1e-5 * (1 + fabs(want_lo[i])));
            }
            free(out);
            free(y);
            free(dz);
        }
}

TEST(adam_follows_the_paper_with_decay_in_the_gradient_on_every_isa)
{
    enum { N = 21 }; /* no multiple of anything */

    EACH_ISA(k)
    {
        float  p[N + 1], m[N] = { 0 }, v[N] = { 0 }, g[N];
        double rp[N], rm[N] = { 0 }, rv[N] = { 0 };

        p[N] = 5;
        for (int i = 0; i < N; i++)
            rp[i] = (double)(p[i] = 0.1f * (float)(i - 10));
        for (long t = 1; t <= 50; t++) {
            for (int i = 0; i < N; i++) {
                g[i]     = sinf((float)(i * t));
                double d = (double)g[i] + 0.01 * rp[i];

                rm[i]     = 0.9 * rm[i] + 0.1 * d;
                rv[i]     = 0.999 * rv[i] + 0.001 * d * d;
                double mh = rm[i] / (1 - pow(0.9, (double)t)), vh = rv[i] / (1 - pow(0.999, (double)t));
                rp[i] -= 1e-2 * mh / (sqrt(vh) + 1e-8);
            }
            k->adam(N, p, m, v, g, 0.01f, (float)adam_rate(1e-2, t));
        }
        for (int i = 0; i < N; i++)
            EXPECT_NEAR(p[i], rp[i], 2e-5);
        EXPECT(p[N] == 5);
    }
}

TEST(a_gradient_so_small_that_adams_epsilon_counts_still_moves_as_the_paper_says)
{
    EACH_ISA(k)
    {
        float p = 0, m = 0, v = 0, g = 1e-8f;

        k->adam(1, &p, &m, &v, &g, 0, (float)adam_rate(1e-2, 1));
        double root =
            sqrt(0.001) * 1e-8; /* the form with both corrections in the rate: epsilon stands beside sqrt(v) */
        EXPECT_NEAR(p, -adam_rate(1e-2, 1) * 0.1e-8 / (root + 1e-8), 1e-7);
        p = 0, m = 0, v = 0, g = 0;
        k->adam(1, &p, &m, &v, &g, 0, 1);
        EXPECT(p == 0);
    }
}

TEST(nan_anywhere_reaches_the_weights_on_every_isa)
{
    struct rng r;

    rng_seed(&r, 13);
    EACH_ISA(k)
    {
        struct layer l;

        open_layer(&l, k, &r, 40, 9, 7);
        l.kx[place(k, 9, 17, 3)] = NAN;
        l.k->forward(l.tiles, 9, 7, l.kw, l.kx, l.ky, l.kyslope);
        for (int o = 0; o < 7; o++)
            EXPECT(isnan(l.ky[place(k, 7, 17, o)]) && isfinite(l.ky[place(k, 7, 16, o)]));
        struct kernels_update u = { .w = l.kw, .m = l.m, .v = l.v, .rate = 1e-3f };
        l.k->back_weights(40, 9, 7, l.kx, l.kdz, &u, l.scratch);
        for (int o = 0; o < 7; o++)
            EXPECT(isnan(l.kw[kernels_at(k, 9, o, 3)]) && isfinite(l.kw[kernels_at(k, 9, o, 2)]));
        close_layer(&l);
    }
}
