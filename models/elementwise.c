/* elementwise.c - one body for each loop, instantiated per instruction set. */
#include "models/elementwise.h"

#include <math.h>

/* gcc makes vectors of these loops only at this level (clang at -O2), and selects only where a compare cannot trap. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3", "no-trapping-math")
#endif

#include "models/fast_exp.h" /* below the pragma: gcc inlines only what was compiled alike */

#define BODY static inline __attribute__((always_inline)) void

BODY swish(int rows, int width, const float *restrict bias, float *restrict z, float *restrict h)
{
    for (int r = 0; r < rows; r++, z += width, h += width) {
        for (int i = 0; i < width; i++) {
            float x = z[i] + bias[i], s = 1 / (1 + fast_exp(-x));

            h[i] = x * s;
            z[i] = s + h[i] * (1 - s);
        }
    }
}

BODY swish_back(int rows, int width, const float *restrict slope, float *restrict dh, float *restrict db)
{
    for (int i = 0; i < width; i++)
        db[i] = 0;
    for (int r = 0; r < rows; r++, slope += width, dh += width) {
        for (int i = 0; i < width; i++) {
            dh[i] *= slope[i];
            db[i] += dh[i];
        }
    }
}

BODY sum_rows(int rows, int width, const float *restrict dz, float *restrict db)
{
    for (int i = 0; i < width; i++)
        db[i] = 0;
    for (int r = 0; r < rows; r++, dz += width)
        for (int i = 0; i < width; i++)
            db[i] += dz[i];
}

BODY adam(size_t n, float *restrict p, float *restrict m, float *restrict v, const float *restrict g, float decay,
          float rate)
{
    for (size_t i = 0; i < n; i++) {
        float d = g[i] + decay * p[i];

        m[i] = 0.9f * m[i] + 0.1f * d;
        v[i] = 0.999f * v[i] + 0.001f * d * d;
        p[i] -= rate * m[i] / (sqrtf(v[i]) + 1e-8f);
    }
}

#define ADAM_ARGS size_t n, float *p, float *m, float *v, const float *g, float decay, float rate
#define VERSIONS(ISA, TARGET)                                                                          \
    TARGET static void swish_##ISA(int rows, int width, const float *bias, float *z, float *h)         \
    {                                                                                                  \
        swish(rows, width, bias, z, h);                                                                \
    }                                                                                                  \
    TARGET static void swish_back_##ISA(int rows, int width, const float *slope, float *dh, float *db) \
    {                                                                                                  \
        swish_back(rows, width, slope, dh, db);                                                        \
    }                                                                                                  \
    TARGET static void sum_rows_##ISA(int rows, int width, const float *dz, float *db)                 \
    {                                                                                                  \
        sum_rows(rows, width, dz, db);                                                                 \
    }                                                                                                  \
    TARGET static void adam_##ISA(ADAM_ARGS)                                                           \
    {                                                                                                  \
        adam(n, p, m, v, g, decay, rate);                                                              \
    }

VERSIONS(portable, )

#ifdef __x86_64__
VERSIONS(avx2, __attribute__((target("avx2"))))
#define CHOOSE(F, ...) (__builtin_cpu_supports("avx2") ? F##_avx2(__VA_ARGS__) : F##_portable(__VA_ARGS__))
#else
#define CHOOSE(F, ...) F##_portable(__VA_ARGS__)
#endif

void elementwise_swish(int rows, int width, const float *bias, float *z, float *h)
{
    CHOOSE(swish, rows, width, bias, z, h);
}

void elementwise_swish_back(int rows, int width, const float *slope, float *dh, float *db)
{
    CHOOSE(swish_back, rows, width, slope, dh, db);
}

void elementwise_sum_rows(int rows, int width, const float *dz, float *db)
{
    CHOOSE(sum_rows, rows, width, dz, db);
}

void elementwise_adam(ADAM_ARGS)
{
    CHOOSE(adam, n, p, m, v, g, decay, rate);
}

/* Both bias corrections in one factor, as the paper suggests at the end of its section 2. */
double adam_rate(double learning_rate, long t)
{
    return learning_rate * sqrt(1 - pow(0.999, (double)t)) / (1 - pow(0.9, (double)t));
}
