/* vmath.h - exp, sin and cos, log, swish and normal numbers for LANES floats at a time (models/vectors.h).
 *
 * Included by planner/kernel.h alone.  Polynomials are our own minimax fits; bounds were found by sweeping and are held by
 * tests/test_vmath.c.  NaN goes through and ends up in the cost. */
#ifndef PLANNER_VMATH_H
#define PLANNER_VMATH_H

#include "models/vectors.h"
#include "planner/lanes.h"

/* e^x.  Relative error < 2.5e-7 on [-87.3, 88.3]; below it goes to 0 (absolute error < 1.2e-38), above to +inf. */
INLINE vf v_exp(vf x)
{
    return v_exp_within(v_min(v_max(x, -88.0f), 89.0f));
}

/* 1 + e^-x for swish; x >= -43 keeps the product of two finite and its inverse normal.  e^-x = 2^-n 2^-f with x / ln 2 = n + f. */
INLINE vf v_swish_divisor(vf x)
{
    x    = v_min(v_max(x, -43.0f), 88.0f);
    vf t = x * 1.44269504f + ROUNDER;
    vf n = t - ROUNDER;
    vf f = x * 1.44269504f - n;

    vf p = f * -1.32647198e-3f + 9.67151315e-3f;
    p    = p * f - 5.55073377e-2f;
    p    = p * f + 2.40222421e-1f;
    p    = p * f - 6.93146978e-1f;
    p    = p * f + 1.0f;
    return p * (vf)(0x3f800000u - ((vu)t << 23)) + 1.0f; /* n = 127 makes the factor 0 */
}

/* Two at a time, x / (1 + e^-x) each, as division is slow: 1 / (a b) serves both.
 * |error| < 4e-7 |swish x| + 1e-7, and < 1e-18 |x| more below -43.  NaN in one is NaN in both. */
INLINE void v_swish2(vf *x, vf *y)
{
    vf a = v_swish_divisor(*x), b = v_swish_divisor(*y), r = 1.0f / (a * b);

    *x *= b * r; /* not x b, which may overflow */
    *y *= a * r;
}

/* Swish within 2e-4: two at a time, as v_swish2; what it needs is about half.  NaN goes through; so does -infinity only
 * as the limit, 0.
 *
 * AVX-512: x / (1 + e^-x) = max(x, 0) + e(|x|), e(a) = -a / (1 + e^a), which is a parabola in each of 32 equal pieces of
 * [0, 12], their coefficients in registers (minimax; worst error 9.2e-5), and beyond 12 what it is there, -7.4e-5.
 * Elsewhere: v_swish2 with a polynomial of third degree (relative error 7.5e-5) for 2^-f; |error| < 2e-5,
 * and < 1e-18 |x| more below -43. */
#define SWISH_FAST_ERROR 2e-4f

#if defined(__AVX512DQ__)
static const float swish_piece[3][32] __attribute__((aligned(64))) = {
    {
        -1.84296426e-06f, -1.12098697e-03f, -1.76244791e-02f, -7.25684329e-02f, -1.71589119e-01f, -2.95752652e-01f, -4.15534721e-01f, -5.07170219e-01f,
        -5.59714979e-01f, -5.73648241e-01f, -5.56033854e-01f, -5.16412331e-01f, -4.63796841e-01f, -4.05524778e-01f, -3.46918048e-01f, -2.91460982e-01f,
        -2.41167219e-01f, -1.96971380e-01f, -1.59072224e-01f, -1.27203905e-01f, -1.00836181e-01f, -7.93141374e-02f, -6.19504575e-02f, -4.80824950e-02f,
        -3.71043734e-02f, -2.84821130e-02f, -2.17577595e-02f, -1.65468053e-02f, -1.25318837e-02f, -9.45472694e-03f, -7.10766054e-03f, -5.71205121e-03f,
    },
    {
        -4.99859040e-01f, -4.90996252e-01f, -4.35906660e-01f, -3.22906596e-01f, -1.76377883e-01f, -3.30699273e-02f, 8.02077319e-02f, 1.53628187e-01f,
        1.90206007e-01f, 1.98892332e-01f, 1.89417589e-01f, 1.69960756e-01f, 1.46325113e-01f, 1.22225250e-01f, 9.97750315e-02f, 7.99932882e-02f,
        6.32094918e-02f, 4.93541406e-02f, 3.81516945e-02f, 2.92411608e-02f, 2.22468396e-02f, 1.68165071e-02f, 1.26392787e-02f, 9.45139299e-03f,
        7.03526262e-03f, 5.21513027e-03f, 3.85134411e-03f, 2.83440332e-03f, 2.07938510e-03f, 1.52103445e-03f, 1.10960511e-03f, 8.72343081e-04f,
    },
    {
        2.48592575e-01f, 2.31183886e-01f, 1.84839989e-01f, 1.26550930e-01f, 7.22524692e-02f, 3.08600415e-02f, 4.06099971e-03f, -1.06520226e-02f,
        -1.70194952e-02f, -1.83728989e-02f, -1.70986673e-02f, -1.47095835e-02f, -1.20548013e-02f, -9.56269700e-03f, -7.41247699e-03f, -5.64824847e-03f,
        -4.24787628e-03f, -3.16188462e-03f, -2.33400862e-03f, -1.71111443e-03f, -1.24725981e-03f, -9.04704687e-04f, -6.53461735e-04f, -4.70251242e-04f,
        -3.37307241e-04f, -2.41247909e-04f, -1.72097359e-04f, -1.22480795e-04f, -8.69839707e-05f, -6.16551299e-05f, -4.36243170e-05f, -3.35402648e-05f,
    },
};

INLINE vf v_swish_piece(vf x)
{
    __m512  a = _mm512_range_ps((__m512)x, _mm512_set1_ps(12.0f), 0x0a); /* the smaller magnitude, without sign */
    __m512i i = (__m512i)((vf)a * (31.0f / 12.0f) + ROUNDER);            /* of its low 5 bits the piece is made */
    vf      c[3];

    for (int k = 0; k < 3; k++)
        c[k] = (vf)_mm512_permutex2var_ps(_mm512_load_ps(swish_piece[k]), i, _mm512_load_ps(swish_piece[k] + 16));
    return v_max(x, 0.0f) + ((c[2] * (vf)a + c[1]) * (vf)a + c[0]);
}

INLINE void v_swish2_fast(vf *x, vf *y)
{
    *x = v_swish_piece(*x);
    *y = v_swish_piece(*y);
}
#else
INLINE vf v_swish_divisor_fast(vf x)
{
    x    = v_min(v_max(x, -43.0f), 88.0f);
    vf t = x * 1.44269504f + ROUNDER;
    vf f = x * 1.44269504f - (t - ROUNDER);

    vf p = f * -5.51716691e-2f + 2.42611122e-1f;
    p    = p * f - 6.93260985e-1f;
    p    = p * f + 9.99928074e-1f;
    return p * (vf)(0x3f800000u - ((vu)t << 23)) + 1.0f;
}

INLINE void v_swish2_fast(vf *x, vf *y)
{
    vf a = v_swish_divisor_fast(*x), b = v_swish_divisor_fast(*y), r = 1.0f / (a * b);

    *x *= b * r;
    *y *= a * r;
}
#endif

/* Variance of a bounded raw log-variance r (lanes.h): low + span / (1 + e^-r); and its root relative error < 1e-6, or
 * < 1.5e-4 for the fast one, if low >= 2^-100.  2^f on [0, 1) in third degree: 7.5e-5; reciprocal and root: 2^-14 each. */
INLINE vf v_variance(vf r, float low, float span)
{
    return span / (1.0f + v_exp(-r)) + low;
}

INLINE vf v_sigma_fast(vf r, float low, float span)
{
#if defined(__AVX512DQ__)
    __m512 y = (__m512)(r * -1.44269504f), f = _mm512_reduce_ps(y, 0x09); /* y less the integer below it */
    vf     p = (vf)f * 7.80245227e-2f + 2.26067155e-1f;
    p        = p * (vf)f + 6.95833541e-1f;
    p        = p * (vf)f + 9.99925219e-1f;
    p        = (vf)_mm512_scalef_ps((__m512)p, y) + 1.0f;
    p        = (vf)_mm512_rcp14_ps((__m512)p) * span + low;
    return p * (vf)_mm512_rsqrt14_ps((__m512)p);
#else
    return v_sqrt(v_variance(r, low, span));
#endif
}

/* sin x and cos x.  Absolute error < 1.5e-7 for |x| <= 1e5; NaN beyond, where a float angle has lost its meaning. */
INLINE void v_sincos(vf x, vf *s, vf *c)
{
    vf t = x * 0.636619772f + ROUNDER;
    vf n = t - ROUNDER;
    vu q = (vu)t; /* low two bits: quadrant */

    /* pi / 2 in parts of 8 bits, so that n times each of the first three is exact without fused multiply-add. */
    vf r = x - n * 1.5703125f;
    r    = r - n * 4.82559204e-4f;
    r    = r - n * 1.26659870e-6f;
    r    = r - n * 9.92093580e-10f;

    vf z = r * r;
    vf p = z * -1.94956326e-4f + 8.33197863e-3f;
    p    = p * z - 1.66666507e-1f;
    p    = p * z * r + r;
    vf k = z * 2.44384473e-5f - 1.38873675e-3f;
    k    = k * z + 4.16666469e-2f;
    k    = k * (z * z) - 0.5f * z + 1.0f;

    vi swap = -(vi)(q & 1u);
    vf ss   = v_select(swap, k, p);
    vf cc   = v_select(swap, p, k);
    vi far  = ~(v_abs(x) <= 1e5f) & 0x7fc00000;

    *s = (vf)(((vu)ss ^ ((q & 2u) << 30)) | (vu)far);
    *c = (vf)(((vu)cc ^ (((q + 1u) & 2u) << 30)) | (vu)far);
}

/* ln x for positive, normal, finite x only.  Relative error < 2e-7.
 * x = 2^e (1 + f) with 1 + f in [sqrt 1/2, sqrt 2). */
INLINE vf v_log(vf x)
{
    vi u = (vi)x - 0x3f3504f3;
    vf e = __builtin_convertvector(u >> 23, vf);
    vf f = (vf)((u & 0x7fffff) + 0x3f3504f3) - 1.0f;

    vf p = f * -7.63433140e-2f + 1.27615140e-1f;
    p    = p * f - 1.31602159e-1f;
    p    = p * f + 1.42017689e-1f;
    p    = p * f - 1.66233549e-1f;
    p    = p * f + 2.00012263e-1f;
    p    = p * f - 2.50008211e-1f;
    p    = p * f + 3.33333317e-1f;

    vf z = f * f;
    vf y = p * f * z - e * 2.12194440e-4f;
    y    = y - 0.5f * z;
    return e * 0.693359375f + (f + y);
}

INLINE vu v_rotate(vu x, int k)
{
    return (x << k) | (x >> (32 - k));
}

/* LANES of the streams of r, from stream l on: xoshiro128++ (Blackman & Vigna 2021). */
INLINE vu v_random(struct lanes_rng *r, int l)
{
    vu *a = (vu *)&r->s[0][l], *b = (vu *)&r->s[1][l], *c = (vu *)&r->s[2][l], *d = (vu *)&r->s[3][l];
    vu  out = v_rotate(*a + *d, 7) + *a, t = *b << 9;

    *c ^= *a;
    *d ^= *b;
    *b ^= *c;
    *a ^= *d;
    *c ^= t;
    *d = v_rotate(*d, 11);
    return out;
}

/* Two independent standard normals per lane (Box-Muller); |z| < 5.8 as the uniform has 24 bits. */
INLINE void v_normal(struct lanes_rng *r, int l, vf *a, vf *b)
{
    vf u = (__builtin_convertvector((vi)(v_random(r, l) >> 8), vf) + 1.0f) * 0x1p-24f; /* (0, 1]        */
    vf v = __builtin_convertvector((vi)v_random(r, l) >> 8, vf) * 3.74507008e-7f;      /* [-pi, pi)     */
    vf s, c;

    v_sincos(v, &s, &c);
    vf radius = v_sqrt(-2.0f * v_log(u));
    *a        = radius * c;
    *b        = radius * s;
}

#endif
