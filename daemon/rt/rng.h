/* rng.h - small seeded generator (xoshiro256**, Blackman & Vigna 2018; seeded by splitmix64).  Seeds are arguments,
 * there is no global state; the same seed gives the same numbers on every machine. */
#ifndef RT_RNG_H
#define RT_RNG_H

#include <math.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* One step of splitmix64; also a good way to derive one seed from another. */
static inline uint64_t rng_splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Seed for part `a`, item `b` of something seeded with `seed`. */
static inline uint64_t rng_derive(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t x = seed;
    uint64_t y = rng_splitmix(&x) ^ (a * 0xd1342543de82ef95ull);
    uint64_t z = rng_splitmix(&y) ^ (b * 0xaf251af3b0f025b5ull);

    return rng_splitmix(&z);
}

static inline void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = rng_splitmix(&seed);
}

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s, x = s[1] * 5, out = ((x << 7) | (x >> 57)) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return out;
}

/* Uniform in (0, 1). */
static inline double rng_uniform(struct rng *r)
{
    return ((double)(rng_next(r) >> 11) + 0.5) * 0x1p-53;
}

/* Standard normal (Box-Muller). */
static inline double rng_normal(struct rng *r)
{
    double u = rng_uniform(r), v = rng_uniform(r);

    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Uniform in 0 .. n-1. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(((rng_next(r) >> 32) * (uint64_t)n) >> 32);
}

#endif
