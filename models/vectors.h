/* vectors.h - LANES floats at a time: what the planner's and the trainer's kernels have in common.
 *
 * GCC vector extensions, and intrinsics where they are worth it: one text for gcc and clang, x86 and ARM.  Included by
 * files compiled once per instruction set with -DISA=..., after LANES (16, 8 or 4).  Strict IEEE: no fast-math assumption
 * anywhere, contraction to fused multiply-add allowed.
 *
 * A limit is written as a comparison that is false for NaN, so NaN goes through. */
#ifndef MODELS_VECTORS_H
#define MODELS_VECTORS_H

#include <math.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(USE_NEON)
#include <arm_neon.h>
#endif

typedef float    vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t  vi __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * LANES), may_alias));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Names with the instruction set in them. */
#define TEXT_(a)    #a
#define TEXT(a)     TEXT_(a)
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

/* Adding and subtracting it rounds to the nearest integer; the integer then stands in the low bits (|x| < 2^22). */
#define ROUNDER 12582912.0f /* 1.5 x 2^23 */

INLINE vf v_set(float x)
{
    return x - (vf){ 0 };
}

INLINE vf v_load(const float *p)
{
    return *(const vf *)p;
}

INLINE void v_store(float *p, vf x)
{
    *(vf *)p = x;
}

INLINE vf v_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* The smaller, the larger of two where x may be NaN and then comes out; square root.  One instruction each on x86, but
 * gcc 12 finds it from plain C only now and then, and takes x apart otherwise. */
#if defined(__AVX512F__)
#define v_min(x, high) ((vf)_mm512_min_ps((__m512)v_set(high), (__m512)(x)))
#define v_max(x, low)  ((vf)_mm512_max_ps((__m512)v_set(low), (__m512)(x)))
#define v_sqrt(x)      ((vf)_mm512_sqrt_ps((__m512)(x)))
#elif defined(__AVX2__)
#define v_min(x, high) ((vf)_mm256_min_ps((__m256)v_set(high), (__m256)(x)))
#define v_max(x, low)  ((vf)_mm256_max_ps((__m256)v_set(low), (__m256)(x)))
#define v_sqrt(x)      ((vf)_mm256_sqrt_ps((__m256)(x)))
#elif defined(__SSE2__)
#define v_min(x, high) ((vf)_mm_min_ps((__m128)v_set(high), (__m128)(x)))
#define v_max(x, low)  ((vf)_mm_max_ps((__m128)v_set(low), (__m128)(x)))
#define v_sqrt(x)      ((vf)_mm_sqrt_ps((__m128)(x)))
#elif defined(USE_NEON)
#define v_min(x, high) ((vf)vminq_f32((float32x4_t)(x), vdupq_n_f32(high)))
#define v_max(x, low)  ((vf)vmaxq_f32((float32x4_t)(x), vdupq_n_f32(low)))
#define v_sqrt(x)      ((vf)vsqrtq_f32((float32x4_t)(x)))
#else
INLINE vf v_min(vf x, float high)
{
    return v_select(x > high, v_set(high), x);
}

INLINE vf v_max(vf x, float low)
{
    return v_select(x < low, v_set(low), x);
}

INLINE vf v_sqrt(vf x)
{
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return x;
}
#endif

INLINE vf v_abs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

/* e^x for x within -88 .. 89, where nothing else is asked: relative error < 2.5e-7 on [-87.3, 88.3].  0 at -88, infinite
 * at 89.  e^x = 2^n e^r with |r| <= ln 2 / 2. */
INLINE vf v_exp_within(vf x)
{
    vf t = x * 1.44269504f + ROUNDER;
    vf n = t - ROUNDER;
    vf r = x - n * 0.693359375f; /* ln 2 in two parts; the first has few enough bits for an exact product */
    r    = r + n * 2.12194440e-4f;

    vf p = r * 8.31252965e-3f + 4.18901201e-2f;
    p    = p * r + 1.66671144e-1f;
    p    = p * r + 4.99992317e-1f;
    p    = p * (r * r) + r + 1.0f;
    return p * (vf)(((vu)t << 23) + 0x3f800000u); /* n = -127 makes the factor 0, n = 128 infinity */
}

#endif
