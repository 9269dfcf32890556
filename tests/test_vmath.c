/* test_vmath.c - the vector functions against libm in double precision, on every instruction set of this CPU. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "planner/lanes.h"
#include "tests/test.h"

enum { N = 4096 };

/* Block b of a sweep over all bit patterns of a float: every exponent, denormals, both zeros, infinities, NaN. */
static bool sweep(uint32_t b, float *x)
{
    static const float special[] = { 0,        -0.0f,    INFINITY, -INFINITY, NAN,    -NAN,    1,          -1,
                                     FLT_MIN,  -FLT_MIN, FLT_MAX,  -FLT_MAX,  1e-45f, -1e-45f, 88.3f,      -87.3f,
                                     88.7228f, 89,       -88,      -103.9f,   1e5f,   -1e5f,   1.00001e5f, 5e4f };
    const uint32_t     step      = getenv("LIMBER_SOAK") ? 61 : 7919; /* coprime to 2^32 */

    for (int i = 0; i < N; i++) {
        uint32_t bits = (b * N + (uint32_t)i) * step;

        memcpy(&x[i], &bits, sizeof bits);
    }
    memcpy(x, special, sizeof special);
    return (uint64_t)b * N * step < UINT32_MAX;
}

static double relative(double got, double want)
{
    return fabs(got - want) / fabs(want);
}

/* For every instruction set and every block: a test's own loop body. */
#define EACH_ISA(ops)                                           \
    for (const char *const *isa_ = isa_names(); *isa_; isa_++) \
        for (const struct lanes_ops *ops = lanes_find(*isa_), *once_ = ops; once_; once_ = NULL)

static float x[N] __attribute__((aligned(64))), y[N] __attribute__((aligned(64))), w[N] __attribute__((aligned(64)));

TEST(exp_is_within_its_stated_error_of_libm)
{
    EACH_ISA(ops)
    {
        double worst = 0, small = 0;
        int    bad = 0;

        for (uint32_t b = 0; sweep(b, x); b++) {
            ops->exp(N, x, y);
            for (int i = 0; i < N; i++) {
                if (isnan(x[i])) {
                    bad += !isnan(y[i]);
                } else if (x[i] > 88.3f) {
                    bad += !(y[i] > 2e38f) || (x[i] > 89 && !isinf(y[i]));
                } else if (x[i] < -87.3f) {
                    small = fmax(small, fabs((double)y[i] - exp((double)x[i])));
                    bad += !(y[i] >= 0);
                } else {
                    worst = fmax(worst, relative((double)y[i], exp((double)x[i])));
                    bad += isnan(y[i]);
                }
            }
        }
        EXPECT(bad == 0);
        EXPECT_NEAR(worst, 0, 2.5e-7);
        EXPECT_NEAR(small, 0, 1.2e-38);
        EXPECT(worst > 0); /* something was compared */
    }
}

TEST(swish_is_within_its_stated_error_of_libm)
{
    EACH_ISA(ops)
    {
        double worst = 0;
        int    bad   = 0;

        for (uint32_t b = 0; sweep(b, x); b++) {
            if (b % 2) /* half of the sweep where swish bends */
                for (int i = 0; i < N; i++)
                    x[i] = (float)((i - N / 2) * 0.05 + b * 1.7e-6);
            ops->swish(N, x, y);
            for (int i = 0; i < N; i++) {
                double in = (double)x[i], want = in / (1 + exp(-in));

                if (!isfinite(x[i]))
                    bad += isfinite(y[i]);
                else
                    worst = fmax(worst, fabs((double)y[i] - want) /
                                            (4e-7 * fabs(want) + 1e-7 + (in < -43 ? 1e-18 * fabs(in) : 0)));
            }
        }
        EXPECT(bad == 0);
        EXPECT(worst < 1);
        EXPECT(worst > 0.1); /* the bound says something */
    }
}

TEST(fast_swish_is_within_its_stated_error_of_libm_and_its_tails_rise)
{
    EACH_ISA(ops)
    {
        double worst = 0;
        int    bad   = 0;

        for (uint32_t b = 0; sweep(b, x); b++) {
            if (b % 2) /* half of the sweep where swish bends */
                for (int i = 0; i < N; i++)
                    x[i] = (float)((i - N / 2) * 0.008 + b * 3e-7);
            ops->swish_fast(N, x, y);
            for (int i = 0; i < N; i++) {
                double in = (double)x[i], want = in < -700 ? 0 : in / (1 + exp(-in));

                if (isnan(x[i]) || x[i] == INFINITY)
                    bad += isfinite(y[i]);
                else if (isfinite(x[i]))
                    worst = fmax(worst, fabs((double)y[i] - want) /
                                            (2e-4 + 1e-6 * fabs(want) + (in < -43 ? 1e-18 * fabs(in) : 0)));
            }
        }
        EXPECT(bad == 0);
        EXPECT(worst <= 1);
        EXPECT(worst > 0.05); /* the bound says something */

        bad = 0;
        for (int i = 0; i < N; i++)
            x[i] = 12.5f + (float)i * 0.25f;
        ops->swish_fast(N, x, y);
        for (int i = 1; i < N; i++)
            bad += !(y[i] > y[i - 1]);
        for (int i = 0; i < N; i++)
            x[i] = -x[i];
        ops->swish_fast(N, x, y);
        for (int i = 0; i < N; i++)
            bad += !(fabsf(y[i]) <= 1e-4f);
        EXPECT(bad == 0);
    }
}

/* Worst relative error of a standard deviation over all raw log-variances, and values that are not as they should be. */
static double sigma_error(void sigma(int n, float low, float span, const float *x, float *y), float low, float span,
                          int *bad)
{
    double worst = 0;

    for (uint32_t b = 0; sweep(b, x); b++) {
        if (b % 2)
            for (int i = 0; i < N; i++)
                x[i] = (float)((i - N / 2) * 0.06 + b * 1e-6);
        sigma(N, low, span, x, y);
        for (int i = 0; i < N; i++) {
            double want = sqrt((double)low + (double)span / (1 + exp(-(double)x[i])));

            if (isnan(x[i]))
                *bad += !isnan(y[i]);
            else if (isnan(y[i]))
                ++*bad;
            else
                worst = fmax(worst, relative((double)y[i], want));
        }
    }
    return worst;
}

TEST(sigma_is_within_its_stated_error_of_libm)
{
    static const float low[] = { 0x1p-100f, 1e-10f, 4.5e-5f, 0.3f }, span[] = { 1.6f, 0.01f, 1e-30f, 1e6f };

    EACH_ISA(ops)
    for (int i = 0; i < 4; i++) {
        int bad = 0;

        EXPECT(sigma_error(ops->sigma, low[i], span[i], &bad) < 1e-6);
        EXPECT(sigma_error(ops->sigma_fast, low[i], span[i], &bad) < 1.5e-4);
        EXPECT(bad == 0);
    }
}

TEST(log_is_within_its_stated_error_of_libm)
{
    EACH_ISA(ops)
    {
        double worst = 0;

        for (uint32_t b = 0; sweep(b, x); b++) {
            for (int i = 0; i < N; i++)
                if (!(x[i] >= FLT_MIN && x[i] <= FLT_MAX) || x[i] == 1)
                    x[i] = i % 2 ? 0x1.fffffep-1f : 1 + (float)i * 0x1p-23f;
            x[0] = 1 + 0x1p-23f;
            ops->log(N, x, y);
            for (int i = 0; i < N; i++)
                worst = fmax(worst, relative((double)y[i], log((double)x[i])));
        }
        EXPECT_NEAR(worst, 0, 2e-7);

        for (int i = 0; i < N; i++)
            x[i] = 1;
        ops->log(N, x, y);
        EXPECT(y[0] == 0 && y[N - 1] == 0);
    }
}

TEST(sin_and_cos_are_within_their_stated_error_of_libm_and_nan_where_an_angle_means_nothing)
{
    EACH_ISA(ops)
    {
        double worst = 0;
        int    bad   = 0;

        for (uint32_t b = 0; sweep(b, x); b++) {
            if (b % 2) /* most patterns are tiny or huge: half of the sweep goes where robots live */
                for (int i = 0; i < N; i++)
                    x[i] = (float)((i - N / 2) * 40.0 + b * 0.0123) * (i % 3 ? 0.001f : 1.0f);
            ops->sincos(N, x, y, w);
            for (int i = 0; i < N; i++) {
                if (!(fabsf(x[i]) <= 1e5f)) {
                    bad += !isnan(y[i]) || !isnan(w[i]);
                } else {
                    bad += isnan(y[i]) || isnan(w[i]);
                    worst = fmax(worst, fabs((double)y[i] - sin((double)x[i])));
                    worst = fmax(worst, fabs((double)w[i] - cos((double)x[i])));
                }
            }
        }
        EXPECT(bad == 0);
        EXPECT_NEAR(worst, 0, 1.5e-7);
        EXPECT(worst > 0);
    }
}

TEST(normals_have_the_moments_of_a_standard_normal_and_independent_neighbours)
{
    EACH_ISA(ops)
    {
        struct lanes_rng r;
        double           m1 = 0, m2 = 0, m3 = 0, m4 = 0, next = 0, pair = 0, beyond = 0, n = 0;

        lanes_seed(&r, 5);
        for (int b = 0; b < 100; b++) {
            ops->normal(&r, N, x);
            for (int i = 0; i < N; i++) {
                double z = (double)x[i];

                m1 += z;
                m2 += z * z;
                m3 += z * z * z;
                m4 += z * z * z * z;
                next += z * (double)x[(i + 1) % N];
                pair += z * z * (double)x[i ^ 16] * (double)x[i ^ 16]; /* the other half of Box and Muller's pair */
                beyond += fabs(z) > 2;
                n++;
            }
        }
        EXPECT_NEAR(m1 / n, 0, 5 / sqrt(n)); /* five standard errors each */
        EXPECT_NEAR(m2 / n, 1, 5 * sqrt(2 / n));
        EXPECT_NEAR(m3 / n, 0, 5 * sqrt(15 / n));
        EXPECT_NEAR(m4 / n, 3, 5 * sqrt(96 / n));
        EXPECT_NEAR(next / n, 0, 5 / sqrt(n));
        EXPECT_NEAR(pair / n, 1, 5 * sqrt(8 / n) * sqrt(2));
        EXPECT_NEAR(beyond / n, 0.0455003, 5 * sqrt(0.0455 / n));
    }
}

TEST(normals_are_the_same_numbers_on_every_instruction_set)
{
    struct lanes_rng r;

    lanes_seed(&r, 9);
    lanes_find("portable")->normal(&r, N, x);
    EACH_ISA(ops)
    {
        int off = 0;

        lanes_seed(&r, 9);
        ops->normal(&r, N, y);
        for (int i = 0; i < N; i++)
            off += !(fabsf(x[i] - y[i]) <= 2e-6f);
        EXPECT(off == 0);
    }
}

TEST(every_stream_and_seed_gives_different_normals)
{
    struct lanes_rng        r;
    const struct lanes_ops *ops = lanes_find(NULL);

    lanes_seed(&r, 1);
    ops->normal(&r, LANES_NORMALS, x);
    lanes_seed(&r, 2);
    ops->normal(&r, LANES_NORMALS, x + LANES_NORMALS);
    for (int i = 0; i < 2 * LANES_NORMALS; i++)
        for (int k = 0; k < i; k++)
            EXPECT(x[i] != x[k]);
}

TEST(combine_sums_weighted_columns)
{
    EACH_ISA(ops)
    {
        int n = 7, stride = 32;

        for (int i = 0; i < n * stride; i++)
            x[i] = (float)((i * 37) % 101) * 0.01f;
        for (int k = 0; k < n; k++)
            w[k] = (float)(k - 3);
        ops->combine(n, stride, x, w, y);
        for (int i = 0; i < stride; i++) {
            double want = 0;

            for (int k = 0; k < n; k++)
                want += (double)w[k] * (double)x[k * stride + i];
            EXPECT_NEAR(y[i], want, 1e-5);
        }
    }
}

TEST(instruction_sets_are_found_by_name_and_an_unknown_one_is_not)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        EXPECT(lanes_find(*isa) != NULL);
        EXPECT_STR(lanes_find(*isa)->isa, *isa);
    }
    EXPECT(lanes_find(NULL) == lanes_find(isa_names()[0]));
    EXPECT(lanes_find("portable") != NULL);
    EXPECT(lanes_find("abacus") == NULL);
}
