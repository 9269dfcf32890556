/* kernels.h - the arithmetic of training, rows of the batch in vector lanes: one source (kernels.c) compiled once per
 * instruction set.
 *
 * Tiles       values of `tile` rows stand side by side: value i of row b of a tile at p[i * tile + b].  A batch is some
 *             tiles one after another, each of kernels_wide(width) values, so that every layer's arrays look alike; rows
 *             beyond the batch are computed along, finite, and have gradient zero.
 * Weights     of a layer: panels of `lanes` outputs, and in a panel, for each input, the weights of its outputs side by
 *             side: W[o][i] at w[(o / lanes * deep + i) * lanes + o % lanes], deep = kernels_deep(in); then
 *             kernels_wide(out) biases.  What pads is zero, has gradient zero and stays zero.
 *
 * Forward and backward by input take rows as lanes, so no row is ever summed across; the gradient by the weights takes
 * outputs as lanes, which is why its dz is transposed on the way.  A block of gradient goes through Adam while it is in
 * the nearest cache, with the moments on their way from the farthest.
 *
 * Every function: no memory or state of its own, any thread; arrays are the caller's, on cache lines, and do not
 * overlap.  The same input gives the same bits on one instruction set; another rounds in another order. */
#ifndef MODELS_KERNELS_H
#define MODELS_KERNELS_H

#include <stddef.h>

#include "models/isa.h"

enum { KERNELS_LANES = 16, KERNELS_TILE = 32 }; /* the largest `lanes`, `tile`: sizes of arrays that suit all */

/* The parameters of one layer and what becomes of their gradient: Adam's step (Kingma & Ba 2015, beta 0.9 and 0.999,
 * weight decay in the gradient), or, where grad is given, the gradient itself, laid out like w. */
struct kernels_update {
    float *w, *m, *v; /* kernels_params(): weights and biases; Adam's moments of them */
    float *grad;      /* NULL: Adam                                                   */
    float  decay;     /* of the weights, not the biases                               */
    float  rate;      /* adam_rate()                                                  */
};

struct kernels {
    const char *isa;
    int         lanes, tile;

    /* h = W x + b for `tiles` tiles; with slope: h = swish(W x + b) and slope = swish'(W x + b).  x: in, h, slope: out. */
    void (*forward)(int tiles, int in, int out, const float *w, const float *x, float *h, float *slope);

    /* dx = slope .* (W' dz).  dz: out, slope, dx: in. */
    void (*back_inputs)(int tiles, int in, int out, const float *w, const float *dz, const float *slope, float *dx);

    /* Gradient by W and b for the first n rows, and its use.  x: in, dz: out.  scratch: kernels_scratch(n) floats. */
    void (*back_weights)(int n, int in, int out, const float *x, const float *dz, const struct kernels_update *u,
                         float *scratch);

    /* n rows' mean over rows and nx of (mu - y)^2 exp(-lv) + lv, lv the bounded log-variance (ensemble.h).
     * out: 2 nx (mean, raw log-variance), y: nx.  Writes the gradient by out to dz (2 nx); adds that by the bounds to dmax,
     * dmin (nx numbers each).  Every entry's gradient is weighed by exp(beta lv), taken as a constant (beta-NLL: Seitzer
     * et al. 2022, arXiv 2203.09168); 0: the gradient of what is returned, which never is weighed. */
    double (*nll)(int n, int nx, const float *out, const float *y, const float *max, const float *min, float beta,
                  float *dz, float *dmax, float *dmin);

    /* One step for n single parameters (any n) with gradient g + decay p. */
    void (*adam)(size_t n, float *p, float *m, float *v, const float *g, float decay, float rate);

    /* For tests: y = e^x, its inverse, and log(1 + x) for x in [0, 1], as used inside; n a multiple of KERNELS_LANES. */
    void (*functions)(int n, const float *x, float *exp, float *inverse, float *log1p);
};

/* The kernels of that name, the best for NULL; NULL if this CPU cannot run them. */
const struct kernels *kernels_find(const char *isa);

/* Values of a tile for a layer of that width: whole panels, and an odd number of them, or the same value of successive
 * tiles would meet in the same few places of the nearest cache. */
static inline size_t kernels_wide(int width)
{
    return (((size_t)width + KERNELS_LANES - 1) / KERNELS_LANES | 1) * KERNELS_LANES;
}

/* Inputs with weights, padding included. */
static inline size_t kernels_deep(int in)
{
    return ((size_t)in + 3) / 4 * 4;
}

/* Floats of a layer's weights, of its weights and biases, and of back_weights' scratch. */
static inline size_t kernels_weights(int in, int out)
{
    return kernels_wide(out) * kernels_deep(in);
}

static inline size_t kernels_params(int in, int out)
{
    return kernels_weights(in, out) + kernels_wide(out);
}

static inline size_t kernels_scratch(int n)
{
    return 2 * KERNELS_LANES * ((size_t)n + KERNELS_TILE);
}

/* Where W[o][i] stands. */
static inline size_t kernels_at(const struct kernels *k, int in, int o, int i)
{
    size_t lanes = (size_t)k->lanes;

    return ((size_t)o / lanes * kernels_deep(in) + (size_t)i) * lanes + (size_t)o % lanes;
}

/* Adam's step size at step t from 1, both bias corrections in one factor, as the paper suggests at the end of section 2. */
double adam_rate(double learning_rate, long t);

extern const struct kernels kernels_portable;
#ifdef __x86_64__
extern const struct kernels kernels_avx2, kernels_avx512;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

#endif
