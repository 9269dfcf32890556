/* kernels.c - training a tile of rows at a time (kernels.h).  Compiled once per instruction set with -DISA=...
 *
 * Only the width of a vector, the shape of the register tiles and the compiler's choice of instructions differ.  A
 * register tile must fit the registers beside two vectors and a broadcast number.  GCC vector extensions: one text for
 * gcc and clang, x86 and ARM; strict IEEE but for contraction to fused multiply-add, so NaN ends up in the weights. */
#include "models/kernels.h"

#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define UNITS 8  /* outputs of a forward tile                     */
#define DEEP  12 /* inputs of a backward tile; 8 and 4 may remain */
#elif defined(__AVX2__)
#define LANES 8
#define UNITS 4
#define DEEP  4
#else
#define LANES 4
#define UNITS 4
#define DEEP  4
#endif
#include "models/vectors.h"

#define BT   2
#define TILE (LANES * BT)

enum { BLOCK = 48 * 1024, BLOCK_STEP = 48 }; /* floats of weights: 192 KiB; a multiple of LANES, UNITS and DEEP */

#define APART static __attribute__((noinline)) /* its constants would push sums out of the registers */

_Static_assert(LANES <= KERNELS_LANES && TILE <= KERNELS_TILE, "sizes promised in kernels.h");
_Static_assert(BLOCK_STEP % LANES == 0 && BLOCK_STEP % DEEP == 0, "blocks end where tiles end");
_Static_assert(LANES % UNITS == 0, "a forward tile stays in its panel");

/* ---- vectors ---- */

/* Square root and inverse.  Both are slow on 16 lanes, so there an estimate of 14 bits and one step of Newton: relative
 * error < 2e-7.  v_inverse: |x| in [1e-37, 1e37].  v_root: 0 <= x; below 1e-30 it is up to 1e-15 too large. */
#if defined(__AVX512F__)
INLINE vf v_inverse(vf x)
{
    vf r = (vf)_mm512_rcp14_ps((__m512)x);

    return r * (2.0f - x * r);
}

INLINE vf v_root(vf x)
{
    vf y = x + 1e-30f, r = (vf)_mm512_rsqrt14_ps((__m512)y), s = y * r;

    return s + 0.5f * r * (y - s * s);
}
#else
INLINE vf v_inverse(vf x)
{
    return 1.0f / x;
}

INLINE vf v_root(vf x)
{
    return v_sqrt(x);
}
#endif

/* e^x, always finite: beyond |x| = 87 it stays at e^(+-87).  Relative error < 3e-7. */
INLINE vf v_exp(vf x)
{
    return v_exp_within(v_min(v_max(x, -87.0f), 87.0f));
}

/* log(1 + x) for x in [0, 1]: 2 artanh(s), s = x / (2 + x) <= 1/3.  Relative error < 5e-7; series cut at s^14 / 15. */
INLINE vf v_log1p(vf x)
{
    vf s = x * v_inverse(x + 2.0f), z = s * s;
    vf p = z * (1.0f / 13) + 1.0f / 11;

    p = p * z + 1.0f / 9;
    p = p * z + 1.0f / 7;
    p = p * z + 1.0f / 5;
    p = p * z + 1.0f / 3;
    p = p * z + 1.0f;
    return 2.0f * s * p;
}

INLINE float v_sum(vf x)
{
    float sum = 0;

    for (int i = 0; i < LANES; i++)
        sum += x[i];
    return sum;
}

/* One stage of a transposition: rows a and a + s swap the blocks of s lanes that are off the diagonal. */
#define A(l, s) ((l) & (s) ? LANES + ((l) ^ (s)) : (l))
#define B(l, s) ((l) & (s) ? LANES + (l) : ((l) ^ (s)))
#if LANES == 16
#define ALL(F, s)                                                                                                 \
    F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s), F(8, s), F(9, s), F(10, s), F(11, s), \
        F(12, s), F(13, s), F(14, s), F(15, s)
#elif LANES == 8
#define ALL(F, s) F(0, s), F(1, s), F(2, s), F(3, s), F(4, s), F(5, s), F(6, s), F(7, s)
#else
#define ALL(F, s) F(0, s), F(1, s), F(2, s), F(3, s)
#endif
/* clang-format off */
#define STAGE(r, s)                                                                  \
    UNROLL for (int i = 0; i < LANES; i++)                                           \
        if (!(i & (s))) {                                                            \
            vf a = r[i], b = r[i + (s)];                                             \
            r[i]       = __builtin_shufflevector(a, b, ALL(A, s));                   \
            r[i + (s)] = __builtin_shufflevector(a, b, ALL(B, s));                   \
        }
/* clang-format on */

INLINE void transpose(vf r[LANES])
{
    STAGE(r, 1)
    STAGE(r, 2)
#if LANES >= 8
    STAGE(r, 4)
#endif
#if LANES >= 16
    STAGE(r, 8)
#endif
}

/* ---- forward ---- */

/* h = swish(h), slope = swish'(h) for `units` values of a tile. */
APART void swish(float *h, float *slope, int units)
{
    for (int i = 0; i < units * TILE; i += LANES) {
        vf x = v_load(h + i), s = v_inverse(1.0f + v_exp(-x)), y = x * s;

        v_store(h + i, y);
        v_store(slope + i, s + y * (1.0f - s));
    }
}

/* clang-format off */

/* UNITS outputs of a tile.  w, bias: at the first of them. */
INLINE void forward_tile(float *h, const float *w, const float *bias, const float *x, size_t deep)
{
    vf c[UNITS][BT];

    UNROLL for (int i = 0; i < UNITS; i++)
        UNROLL for (int j = 0; j < BT; j++)
            c[i][j] = v_set(bias[i]);
    for (size_t k = 0; k < deep; k++, w += LANES, x += TILE) {
        vf v[BT];

        UNROLL for (int j = 0; j < BT; j++)
            v[j] = v_load(x + j * LANES);
        UNROLL for (int i = 0; i < UNITS; i++)
            UNROLL for (int j = 0; j < BT; j++)
                c[i][j] += v_set(w[i]) * v[j];
    }
    UNROLL for (int i = 0; i < UNITS; i++)
        UNROLL for (int j = 0; j < BT; j++)
            v_store(h + i * TILE + j * LANES, c[i][j]);
}
/* clang-format on */

/* Outputs, or inputs, whose weights stay in the second cache while all tiles pass. */
static int block(size_t weights_each)
{
    size_t n = BLOCK / weights_each / BLOCK_STEP * BLOCK_STEP;

    return n > BLOCK_STEP ? (int)n : BLOCK_STEP;
}

static void forward(int tiles, int in, int out, const float *w, const float *x, float *h, float *slope)
{
    size_t       deep = kernels_deep(in), xwide = kernels_wide(in) * TILE, wide = kernels_wide(out) * TILE;
    const float *bias = w + kernels_weights(in, out);
    int          step = block(deep);

    for (int from = 0; from < out; from += step)
        for (int t = 0; t < tiles; t++) {
            float *ht = h + (size_t)t * wide;

            for (int o = from; o < out && o < from + step; o += UNITS) {
                forward_tile(ht + o * TILE, w + (size_t)(o / LANES) * deep * LANES + o % LANES, bias + o,
                             x + (size_t)t * xwide, deep);
                if (slope)
                    swish(ht + o * TILE, slope + (size_t)t * wide + o * TILE, UNITS);
            }
        }
}

/* ---- backward by input ---- */

/* clang-format off */

/* n inputs of a tile.  w: at the first of them, in the first panel. */
INLINE void inputs_tile(float *dx, const float *slope, const float *w, const float *dz, size_t deep, int out, const int n)
{
    vf c[DEEP][BT];

    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int j = 0; j < BT; j++)
            c[i][j] = v_set(0);
    for (int o = 0; o < out; o += LANES, w += deep * LANES) {
        int units = out - o < LANES ? out - o : LANES;

        for (int u = 0; u < units; u++, dz += TILE) {
            vf v[BT];

            UNROLL for (int j = 0; j < BT; j++)
                v[j] = v_load(dz + j * LANES);
            UNROLL for (int i = 0; i < n; i++)
                UNROLL for (int j = 0; j < BT; j++)
                    c[i][j] += v_set(w[i * LANES + u]) * v[j];
        }
    }
    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int j = 0; j < BT; j++) {
            int at = i * TILE + j * LANES;

            v_store(dx + at, c[i][j] * v_load(slope + at));
        }
}
/* clang-format on */

static void back_inputs(int tiles, int in, int out, const float *w, const float *dz, const float *slope, float *dx)
{
    size_t deep = kernels_deep(in), wide = kernels_wide(in) * TILE, step = (size_t)block(kernels_wide(out));

    for (size_t from = 0; from < deep; from += step)
        for (int t = 0; t < tiles; t++) {
            const float *zt = dz + (size_t)t * kernels_wide(out) * TILE, *st = slope + (size_t)t * wide;
            float       *xt = dx + (size_t)t * wide;
            size_t       i = from, end = deep < from + step ? deep : from + step;

            for (; i + DEEP <= end; i += DEEP)
                inputs_tile(xt + i * TILE, st + i * TILE, w + i * LANES, zt, deep, out, DEEP);
            if (DEEP > 8 && i + 8 <= end) {
                inputs_tile(xt + i * TILE, st + i * TILE, w + i * LANES, zt, deep, out, DEEP > 8 ? 8 : DEEP);
                i += 8;
            }
            if (i + 4 <= end)
                inputs_tile(xt + i * TILE, st + i * TILE, w + i * LANES, zt, deep, out, 4);
        }
}

/* ---- backward by weights ---- */

INLINE void adam_vector(float *p, float *m, float *v, vf g, float decay, float rate)
{
    vf d = g + decay * v_load(p);
    vf a = 0.9f * v_load(m) + 0.1f * d;
    vf b = 0.999f * v_load(v) + 0.001f * d * d;

    v_store(m, a);
    v_store(v, b);
    v_store(p, v_load(p) - rate * a * v_inverse(v_root(b) + 1e-8f));
}

/* Whole vectors from `at` on. */
APART void use_gradient(const struct kernels_update *u, size_t at, size_t n, const float *g, float decay)
{
    if (u->grad) {
        memcpy(u->grad + at, g, n * sizeof *g);
        return;
    }
    float *p = u->w + at, *m = u->m + at, *v = u->v + at;

    for (size_t i = 0; i < n; i += LANES)
        adam_vector(p + i, m + i, v + i, v_load(g + i), decay, u->rate);
}

/* dz of up to two panels for n rows, from tiles to rows: to[b * panels * LANES + ...]; their sums over rows to db. */
APART void turn(float *to, float *db, const float *dz, size_t wide, int n, int panels)
{
    for (int p = 0; p < panels; p++) {
        vf sum = v_set(0);

        for (int b = 0; b < n; b += LANES) {
            const float *from = dz + (size_t)(b / TILE) * wide * TILE + p * LANES * TILE + b % TILE;
            vf           r[LANES];

            UNROLL
            for (int i = 0; i < LANES; i++)
                r[i] = v_load(from + i * TILE);
            transpose(r);
            UNROLL
            for (int i = 0; i < LANES; i++) {
                v_store(to + ((b + i) * panels + p) * LANES, r[i]);
                sum += r[i];
            }
        }
        v_store(db + p * LANES, sum);
    }
}

/* clang-format off */

/* Gradient by the weights of n inputs (x at the first) and one or two panels, panel by panel. */
INLINE void weights_tile(float *g, const float *x, const float *dz, size_t wide, int rows, const int n, const int panels)
{
    vf c[DEEP][2];

    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int p = 0; p < panels; p++)
            c[i][p] = v_set(0);
    for (int b = 0; b < rows; b += TILE, x += wide * TILE) {
        int some = rows - b < TILE ? rows - b : TILE;

        for (int r = 0; r < some; r++, dz += panels * LANES) {
            vf v[2];

            UNROLL for (int p = 0; p < panels; p++)
                v[p] = v_load(dz + p * LANES);
            UNROLL for (int i = 0; i < n; i++)
                UNROLL for (int p = 0; p < panels; p++)
                    c[i][p] += v_set(x[i * TILE + r]) * v[p];
        }
    }
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int i = 0; i < n; i++)
            v_store(g + (p * n + i) * LANES, c[i][p]);
}
/* clang-format on */

INLINE void weights_block(const struct kernels_update *u, const float *x, const float *dz, size_t at, size_t panel,
                          size_t wide, int rows, const int n, const int panels)
{
    float g[2 * DEEP * LANES] __attribute__((aligned(64)));

    if (!u->grad)
        for (int p = 0; p < panels; p++)
            for (int i = 0; i < n * LANES; i += 16) {
                __builtin_prefetch(u->w + at + (size_t)p * panel + i, 1);
                __builtin_prefetch(u->m + at + (size_t)p * panel + i, 1);
                __builtin_prefetch(u->v + at + (size_t)p * panel + i, 1);
            }
    weights_tile(g, x, dz, wide, rows, n, panels);
    for (int p = 0; p < panels; p++)
        use_gradient(u, at + (size_t)p * panel, (size_t)n * LANES, g + p * n * LANES, u->decay);
}

INLINE void weights_panels(const struct kernels_update *u, const float *x, const float *dz, size_t at, size_t deep,
                           size_t wide, int rows, const int panels)
{
    size_t i = 0;

    for (; i + DEEP <= deep; i += DEEP)
        weights_block(u, x + i * TILE, dz, at + i * LANES, deep * LANES, wide, rows, DEEP, panels);
    if (DEEP > 8 && i + 8 <= deep) {
        weights_block(u, x + i * TILE, dz, at + i * LANES, deep * LANES, wide, rows, DEEP > 8 ? 8 : DEEP, panels);
        i += 8;
    }
    if (i + 4 <= deep)
        weights_block(u, x + i * TILE, dz, at + i * LANES, deep * LANES, wide, rows, 4, panels);
}

static void back_weights(int n, int in, int out, const float *x, const float *dz, const struct kernels_update *u,
                         float *scratch)
{
    size_t deep = kernels_deep(in), wide = kernels_wide(in), bias = kernels_weights(in, out);
    int    all = (out + LANES - 1) / LANES;
    float  db[2 * LANES] __attribute__((aligned(64)));

    for (int p = 0; p < all; p += 2) {
        int    panels = all - p < 2 ? 1 : 2;
        size_t at     = (size_t)p * deep * LANES;

        turn(scratch, db, dz + p * LANES * TILE, kernels_wide(out), n, panels);
        if (panels == 2)
            weights_panels(u, x, scratch, at, deep, wide, n, 2);
        else
            weights_panels(u, x, scratch, at, deep, wide, n, 1);
        use_gradient(u, bias + (size_t)p * LANES, (size_t)panels * LANES, db, 0);
    }
}

/* ---- the rest ---- */

/* softplus(x), and its derivative the sigmoid */
INLINE vf v_softplus(vf x, vf *sigmoid)
{
    vf e = v_exp(-v_abs(x)), up = v_max(x, 0.0f), r = v_inverse(1.0f + e);
    vi positive = x > 0.0f;

    *sigmoid = (vf)((positive & (vi)r) | (~positive & (vi)(e * r)));
    return up + v_log1p(e);
}

static double nll(int n, int nx, const float *out, const float *y, const float *max, const float *min, float beta,
                  float *dz, float *dmax, float *dmin)
{
    float  share = 1 / (float)(n * nx);
    double sum   = 0;

    for (int b = 0; b < n; b += LANES) {
        size_t       tile = (size_t)(b / TILE) * TILE, lane = (size_t)(b % TILE);
        const float *mu   = out + tile * kernels_wide(2 * nx) + lane;
        const float *want = y + tile * kernels_wide(nx) + lane;
        float       *d    = dz + tile * kernels_wide(2 * nx) + lane;
        vf           part, loss = v_set(0);

        for (int i = 0; i < LANES; i++)
            part[i] = b + i < n ? share : 0;
        for (int k = 0; k < nx; k++) {
            vf s_max, s_min, lv = max[k] - v_softplus(max[k] - v_load(mu + (nx + k) * TILE), &s_max);

            lv     = min[k] + v_softplus(lv - min[k], &s_min);
            vf err = v_load(mu + k * TILE) - v_load(want + k * TILE), precision = v_exp(-lv);
            vf used = part * v_exp(beta * lv), dlv = used * (1.0f - err * err * precision);

            loss += part * (err * err * precision + lv);
            v_store(d + k * TILE, used * 2.0f * err * precision);
            v_store(d + (nx + k) * TILE, dlv * s_min * s_max);
            dmax[k] += v_sum(dlv * s_min * (1.0f - s_max));
            dmin[k] += v_sum(dlv * (1.0f - s_min));
        }
        sum += (double)v_sum(loss);
    }
    return sum;
}

static void adam(size_t n, float *p, float *m, float *v, const float *g, float decay, float rate)
{
    for (size_t at = 0; at < n; at += LANES) { /* through a copy: n may end anywhere */
        size_t some = (n - at < LANES ? n - at : LANES) * sizeof *p;
        vf     c[4] = { 0 };

        memcpy(&c[0], p + at, some);
        memcpy(&c[1], m + at, some);
        memcpy(&c[2], v + at, some);
        memcpy(&c[3], g + at, some);
        adam_vector((float *)&c[0], (float *)&c[1], (float *)&c[2], c[3], decay, rate);
        memcpy(p + at, &c[0], some);
        memcpy(m + at, &c[1], some);
        memcpy(v + at, &c[2], some);
    }
}

static void functions(int n, const float *x, float *exp_x, float *inverse, float *log1p_x)
{
    for (int i = 0; i < n; i += LANES) {
        v_store(exp_x + i, v_exp(v_load(x + i)));
        v_store(inverse + i, v_inverse(v_load(x + i)));
        v_store(log1p_x + i, v_log1p(v_load(x + i)));
    }
}

const struct kernels JOIN(kernels_, ISA) = {
    .isa          = TEXT(ISA),
    .lanes        = LANES,
    .tile         = TILE,
    .forward      = forward,
    .back_inputs  = back_inputs,
    .back_weights = back_weights,
    .nll          = nll,
    .adam         = adam,
    .functions    = functions,
};
