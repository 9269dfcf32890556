/* fast_exp.h - exp without branches or calls, so that loops over it become vector code.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2;  exp(x) = 2^n (1 + r + ... + r^6 / 6!), Taylor's remainder below 1.2e-7.
 * Relative error below 3e-7 for |x| <= 87; beyond, the result stays at exp(+-87).  NaN stays NaN. */
#ifndef MODELS_FAST_EXP_H
#define MODELS_FAST_EXP_H

#include <stdint.h>
#include <string.h>

static inline float fast_exp(float x)
{
    x = x > 87 ? 87 : x; /* comparisons: NaN passes through */
    x = x < -87 ? -87 : x;

    /* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
    float    t = x * 1.44269504f + 12582912.0f, n = t - 12582912.0f, scale;
    float    r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts, the first exact in 9 bits */
    float    p = 1.0f / 720;
    uint32_t bits;

    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    p = p * r + 1;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 23) + 0x3f800000u; /* 2^n */
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
