/* kernel.h - the pieces of a model step and of its cost, for one tile in vector lanes.  Included by the files that are
 * compiled once per instruction set (lanes.c, gradient.c) and by nothing else.
 *
 * Only the width of a vector, the shape of the register tile and the compiler's choice of instructions differ.  A
 * register tile is PANEL outputs x BT vectors of rows and must fit the registers beside BT inputs and a weight. */
#ifndef PLANNER_KERNEL_H
#define PLANNER_KERNEL_H

#if defined(__AVX512F__)
#define LANES 16
#define PANEL 8
#define BT    2
#elif defined(__AVX2__)
#define LANES 8
#define PANEL 4
#define BT    2
#elif defined(USE_NEON) /* set by the Makefile: "portable" is compiled for the same CPU */
#define LANES 4
#define PANEL 8
#define BT    3
#else
#define LANES 4
#define PANEL 4
#define BT    2
#endif

#include "planner/vmath.h"

#define TILE (LANES * BT)

_Static_assert(PANEL % 4 == 0, "swish goes in pairs, and half a panel must be even too");
_Static_assert(TILE <= LANES_TILE && LANES_PANEL % PANEL == 0, "sizes promised in lanes.h");

/* Time of one phase, for planner_phases: what passed since the last look. */
INLINE uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    return 0;
#endif
}

INLINE void tick(const struct lanes_job *job, enum plan_phase phase)
{
    if (__builtin_expect(job->ticks != NULL, 0)) {
        uint64_t now = ticks_now();

        job->ticks[phase] += now - job->ticks[PLAN_PHASES];
        job->ticks[PLAN_PHASES] = now;
    }
}

/* y = swish(y) for an even number of units.  A pair is two units of the same rows: candidates never meet.
 * A function of its own, as its constants would push the accumulators of layer() out of the registers. */
INLINE void swish_units(float *y, int units, const bool exact, const int bt)
{
    for (int i = 0; i < units; i += 2, y += 2 * TILE)
        for (int j = 0; j < bt; j++) {
            float *first = y + j * LANES, *second = first + TILE;
            vf     a = v_load(first), b = v_load(second);

            if (exact)
                v_swish2(&a, &b);
            else
                v_swish2_fast(&a, &b);
            v_store(first, a);
            v_store(second, b);
        }
}

static __attribute__((noinline, unused)) void swish_layer(float *y, int units, int bt)
{
    if (bt == BT)
        swish_units(y, units, true, BT);
    else
        swish_units(y, units, true, 1);
}

static __attribute__((noinline, unused)) void swish_layer_fast(float *y, int units, int bt)
{
    if (bt == BT)
        swish_units(y, units, false, BT);
    else
        swish_units(y, units, false, 1);
}

/* c + *w v.  On AVX-512 the weight can be spread over the lanes by the multiplication itself, which saves an instruction
 * but is a load for every vector of rows: for three outputs of four neither the loads nor the decoder, which another
 * thread of the same core may share, hold up the multipliers. */
INLINE vf multiply_add(vf c, const float *w, vf v, const bool spread)
{
#if defined(__AVX512F__)
    if (spread) {
        __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(v), "m"(*w));
        return c;
    }
#endif
    (void)spread;
    return c + v_set(*w) * v;
}

/* One input's share of a register tile: `outputs` outputs, a panel each eight of them, `next` apart. */
/* clang-format off */
INLINE void tile_input(vf c[][BT], const float *x, const float *w, int next, const int outputs, const int bt)
{
    vf v[BT];

    UNROLL for (int j = 0; j < bt; j++)
        v[j] = v_load(x + j * LANES);
    UNROLL for (int i = 0; i < outputs; i++) {
        const float *wi = w + i / PANEL * next + i % PANEL;

        UNROLL for (int j = 0; j < bt; j++)
            c[i][j] = multiply_add(c[i][j], wi, v[j], bt > 1 && i % 4 > 0);
    }
}

/* `outputs` outputs, the first at p and y.  w: their weights, for one input after the other.  Four inputs a turn: then
 * the end of a short loop is foreseen. */
INLINE void tile_outputs(float *y, const float *x, const float *p, const float *w, int in, const int outputs, const int bt)
{
    vf  c[2 * PANEL][BT];
    int k = 0, next = PANEL * in;

    UNROLL for (int i = 0; i < outputs; i++)
        UNROLL for (int j = 0; j < bt; j++)
            c[i][j] = v_set(p[i]);
    for (; k + 4 <= in; k += 4, x += 4 * TILE, w += 4 * PANEL)
        UNROLL for (int q = 0; q < 4; q++)
            tile_input(c, x + q * TILE, w + q * PANEL, next, outputs, bt);
    for (; k < in; k++, x += TILE, w += PANEL)
        tile_input(c, x, w, next, outputs, bt);
    UNROLL for (int i = 0; i < outputs; i++)
        UNROLL for (int j = 0; j < bt; j++)
            v_store(y + i * TILE + j * LANES, c[i][j]);
}
/* clang-format on */

/* y = W x + b for bt vectors of rows; p: biases, then panels.  x: in x TILE, y: out (padded to PANEL) x TILE.
 * Panels that hold none of the first `wanted` outputs are left out; half of one is enough for half.  A single vector of
 * rows takes two panels at a time, as one would leave the multipliers waiting for each other. */
INLINE void layer(float *y, const float *x, const float *p, int in, int out, int wanted, const int bt)
{
    const float *w = p + (out + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL;
    int          n = 0;

    for (; bt == 1 && n + PANEL + PANEL / 2 < wanted; n += 2 * PANEL, w += 2 * PANEL * in)
        tile_outputs(y + n * TILE, x, p + n, w, in, 2 * PANEL, bt);
    for (; n + PANEL / 2 < wanted; n += PANEL, w += PANEL * in)
        tile_outputs(y + n * TILE, x, p + n, w, in, PANEL, bt);
    if (n < wanted)
        tile_outputs(y + n * TILE, x, p + n, w, in, PANEL / 2, bt);
}

/* The net's input from state and action: features, less their means.  angle: NULL, or where each angle's sine and cosine
 * are left. */
INLINE void features(float *in, const struct model_dims *d, const float *mean, const float *x, const float *act,
                     float *angle, const int bt)
{
    for (int i = 0; i < d->nx; i++, x += TILE) {
        if (d->input[i] == INPUT_ANGLE) {
            for (int j = 0; j < bt; j++) {
                vf s, c;

                v_sincos(v_load(x + j * LANES), &s, &c);
                if (angle) {
                    v_store(angle + j * LANES, s);
                    v_store(angle + TILE + j * LANES, c);
                }
                v_store(in + j * LANES, s - mean[0]);
                v_store(in + TILE + j * LANES, c - mean[1]);
            }
            in += 2 * TILE;
            mean += 2;
            angle = angle ? angle + 2 * TILE : NULL;
        } else if (d->input[i] == INPUT_IDENTITY) {
            for (int j = 0; j < bt; j++)
                v_store(in + j * LANES, v_load(x + j * LANES) - mean[0]);
            in += TILE;
            mean++;
        }
    }
    for (int i = 0; i < d->na; i++, act += TILE, in += TILE, mean++)
        for (int j = 0; j < bt; j++)
            v_store(in + j * LANES, v_load(act + j * LANES) - mean[0]);
}

#if defined(__AVX512BF16__)
/* Two units of the same rows as pairs of bfloat16: the first in the low half of each word. */
INLINE void pair_store(float *to, vf first, vf second)
{
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);

    static const uint16_t zip[32] __attribute__((aligned(64))) = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31,
    };
    _mm512_store_si512(to, _mm512_permutexvar_epi16(_mm512_load_si512(zip), both));
}

enum pairing { PAIR_ONLY, PAIR_EXACT, PAIR_FAST };

/* to: (units + 1) / 2 x TILE words, from units x TILE floats, with or without swish; an odd last one is paired with 0. */
INLINE void pair_units(float *to, const float *from, int units, const enum pairing how, const int bt)
{
    for (int i = 0; i < units; i += 2, from += 2 * TILE, to += TILE)
        for (int j = 0; j < bt; j++) {
            vf a = v_load(from + j * LANES), b = i + 1 < units ? v_load(from + TILE + j * LANES) : v_set(0);

            if (how == PAIR_EXACT)
                v_swish2(&a, &b);
            else if (how == PAIR_FAST)
                v_swish2_fast(&a, &b);
            pair_store(to + j * LANES, a, b);
        }
}

static __attribute__((noinline)) void pair_layer(float *to, const float *from, int units, enum pairing how, int bt)
{
    if (how == PAIR_ONLY)
        bt == BT ? pair_units(to, from, units, PAIR_ONLY, BT) : pair_units(to, from, units, PAIR_ONLY, 1);
    else if (how == PAIR_EXACT)
        bt == BT ? pair_units(to, from, units, PAIR_EXACT, BT) : pair_units(to, from, units, PAIR_EXACT, 1);
    else
        bt == BT ? pair_units(to, from, units, PAIR_FAST, BT) : pair_units(to, from, units, PAIR_FAST, 1);
}

/* panel() for `in` pairs of inputs. */
/* clang-format off */
INLINE void pair_panel(float *y, const float *x, const float *p, const float *w, int in, const int outputs, const int bt)
{
    __m512 c[PANEL][BT];

    UNROLL for (int i = 0; i < outputs; i++)
        UNROLL for (int j = 0; j < bt; j++)
            c[i][j] = _mm512_set1_ps(p[i]);
    for (int k = 0; k < in; k++, x += TILE, w += PANEL) {
        __m512bh v[BT];

        UNROLL for (int j = 0; j < bt; j++)
            v[j] = (__m512bh)_mm512_load_ps(x + j * LANES);
        UNROLL for (int i = 0; i < outputs; i++)
            UNROLL for (int j = 0; j < bt; j++)
                c[i][j] = _mm512_dpbf16_ps(c[i][j], (__m512bh)_mm512_set1_ps(w[i]), v[j]);
    }
    UNROLL for (int i = 0; i < outputs; i++)
        UNROLL for (int j = 0; j < bt; j++)
            _mm512_store_ps(y + i * TILE + j * LANES, c[i][j]);
}
/* clang-format on */

INLINE const float *pair_outputs(const struct lanes_job *job, int member, int outputs, const int bt)
{
    const struct lanes_net *net = job->net;
    int                     in = net->nin, layers = net->dims.layers;
    float                  *pairs = job->buf[1], *units = job->buf[0]; /* features are in units */

    pair_layer(pairs, units, in, PAIR_ONLY, bt);
    tick(job, PHASE_FEATURES);
    for (int l = 0; l <= layers; l++) {
        int          out = l < layers ? net->dims.hidden : 2 * net->dims.nx, wanted = l < layers ? out : outputs, n = 0;
        const float *p = net->pair[member][l], *w = p + (out + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL;
        int          pin = (in + 1) / 2;

        for (; n + PANEL / 2 < wanted; n += PANEL, w += PANEL * pin)
            pair_panel(units + n * TILE, pairs, p + n, w, pin, PANEL, bt);
        if (n < wanted)
            pair_panel(units + n * TILE, pairs, p + n, w, pin, PANEL / 2, bt);
        tick(job, PHASE_LAYERS);
        if (l < layers)
            pair_layer(pairs, units, out, job->exact ? PAIR_EXACT : PAIR_FAST, bt);
        tick(job, PHASE_ACTIVATION);
        in = out;
    }
    return units;
}
#endif

/* To bfloat16 and back: nearest, ties to even; NaN stays NaN. */
INLINE void round_units(float *y, int units, const int bt)
{
    for (int i = 0; i < units; i++, y += TILE)
        for (int j = 0; j < bt; j++) {
            vf x = v_load(y + j * LANES);
            vu u = (vu)x;

            u = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
            v_store(y + j * LANES, v_select(x == x, (vf)u, x));
        }
}

/* The first `outputs` outputs of a member, raw, from state x and action act; in one of job->buf. */
INLINE const float *net_outputs(const struct lanes_job *job, int member, const float *x, const float *act, int outputs,
                                const int bt)
{
    const struct lanes_net *net    = job->net;
    int                     hidden = net->dims.hidden, layers = net->dims.layers, in = net->nin;
    float                  *from = job->buf[0], *to = job->buf[1];

    features(from, &net->dims, net->in_mean, x, act, NULL, bt);
#if defined(__AVX512BF16__)
    if (net->bf16)
        return pair_outputs(job, member, outputs, bt);
#endif
    if (net->bf16)
        round_units(from, in, bt);
    tick(job, PHASE_FEATURES);
    for (int l = 0; l < layers; l++) {
        float *was = from;

        layer(to, from, net->layer[member][l], in, hidden, hidden, bt);
        tick(job, PHASE_LAYERS);
        if (job->exact)
            swish_layer(to, hidden + hidden % 2, bt);
        else
            swish_layer_fast(to, hidden + hidden % 2, bt);
        if (net->bf16)
            round_units(to, hidden, bt);
        tick(job, PHASE_ACTIVATION);
        from = to;
        to   = was;
        in   = hidden;
    }
    layer(to, from, net->layer[member][layers], in, 2 * net->dims.nx, outputs, bt);
    tick(job, PHASE_LAYERS);
    return to;
}

/* One step's noise for every row, from job->z of particle `first` on. */
INLINE void spread_noise(const struct lanes_job *job, int first, int h, const int bt)
{
    int          nx = job->net->dims.nx;
    const float *z  = job->z + (first * job->horizon + h) * nx;

    if (!job->particle)
        for (int i = 0; i < nx; i++)
            for (int j = 0; j < bt; j++)
                v_store(job->noise + i * TILE + j * LANES, v_set(z[i]));
    else
        for (int b = 0; b < bt * LANES; b++)
            for (int i = 0; i < nx; i++)
                job->noise[i * TILE + b] = z[job->particle[b] * job->horizon * nx + i];
}

INLINE vf variance(const struct lanes_net *net, const float *out, int i, int j)
{
    return v_variance(v_load(out + (net->dims.nx + i) * TILE + j * LANES), net->var_min[i], net->var_span[i]);
}

/* Where a displacement t_ahead, t_aside leads to in the plane; before anything else of x changes. */
INLINE void displace(const struct lanes_net *net, float *x, vf ahead, vf aside, int j)
{
    float *xa = x + net->ahead * TILE + j * LANES, *xs = x + net->aside * TILE + j * LANES;
    vf     s, c;

    v_sincos(v_load(x + net->dims.heading * TILE + j * LANES), &s, &c);
    v_store(xa, v_load(xa) + (c * ahead - s * aside));
    v_store(xs, v_load(xs) + (s * ahead + c * aside));
}

/* One component of x follows its target. */
INLINE void follow(const struct lanes_net *net, float *x, vf t, int i, int j)
{
    float *xi = x + i * TILE + j * LANES;

    v_store(xi, v_load(xi) * net->carry[i] + t);
}

INLINE vf target_drawn(const struct lanes_job *job, const float *out, int i, int j, const bool exact)
{
    const struct lanes_net *net   = job->net;
    int                     at    = i * TILE + j * LANES;
    vf                      r     = v_load(out + net->dims.nx * TILE + at);
    vf                      sigma = exact ? v_sqrt(v_variance(r, net->var_min[i], net->var_span[i]))
                                          : v_sigma_fast(r, net->var_min[i], net->var_span[i]);

    return v_load(out + at) + sigma * v_load(job->noise + at);
}

INLINE bool in_plane(const struct lanes_net *net, int i)
{
    return i == net->ahead || i == net->aside;
}

INLINE void next_states(const struct lanes_job *job, const float *out, float *x, const bool exact, const int bt)
{
    const struct lanes_net *net = job->net;

    for (int j = 0; j < bt && net->ahead >= 0; j++)
        displace(net, x, target_drawn(job, out, net->ahead, j, exact), target_drawn(job, out, net->aside, j, exact), j);
    for (int i = 0; i < net->dims.nx; i++)
        for (int j = 0; j < bt && !in_plane(net, i); j++)
            follow(net, x, target_drawn(job, out, i, j, exact), i, j);
}

/* The same without noise. */
INLINE void next_means(const struct lanes_net *net, const float *out, float *x, const int bt)
{
    for (int j = 0; j < bt && net->ahead >= 0; j++)
        displace(net, x, v_load(out + net->ahead * TILE + j * LANES), v_load(out + net->aside * TILE + j * LANES), j);
    for (int i = 0; i < net->dims.nx; i++)
        for (int j = 0; j < bt && !in_plane(net, i); j++)
            follow(net, x, v_load(out + i * TILE + j * LANES), i, j);
}

/* Holds x within a range (NaN stays NaN); which rows were below, within or above it: -1, 0 or 1. */
INLINE vf hold_one(const struct state_range *r, float *x, int j)
{
    float *p    = x + r->obs * TILE + j * LANES;
    vf     v    = v_load(p);
    vf     side = v_select(v < r->low, v_set(-1), v_select(v > r->high, v_set(1), v_set(0)));

    v_store(p, v_select(v < r->low, v_set(r->low), v_select(v > r->high, v_set(r->high), v)));
    if (r->rate >= 0) {
        float *rate = x + r->rate * TILE + j * LANES;

        v_store(rate, v_select(v_load(rate) * side > 0, v_set(0), v_load(rate)));
    }
    return side;
}

INLINE void hold(const struct lanes_job *job, float *x, const int bt)
{
    for (int i = 0; i < job->nrange; i++)
        for (int j = 0; j < bt; j++)
            hold_one(&job->range[i], x, j);
}

/* x becomes the next state: one member's mean, plus noise of particle `first` on if there is any. */
INLINE void model_step(const struct lanes_job *job, int member, int first, int h, float *x, const int bt)
{
    int          nx  = job->net->dims.nx;
    const float *out = net_outputs(job, member, x, job->act + h * job->net->dims.na * TILE, job->z ? 2 * nx : nx, bt);

    if (!job->z) {
        next_means(job->net, out, x, bt);
    } else {
        spread_noise(job, first, h, bt);
        if (job->exact)
            next_states(job, out, x, true, bt);
        else
            next_states(job, out, x, false, bt);
    }
    hold(job, x, bt);
    tick(job, PHASE_HEAD);
}

/* p += R v by, where R is still the identity until something has turned. */
INLINE void advance(vf p[3], vf R[3][3], bool turned, const double v[3], vf by)
{
    for (int i = 0; i < 3; i++) {
        if (turned)
            p[i] += (R[i][0] * (float)v[0] + R[i][1] * (float)v[1] + R[i][2] * (float)v[2]) * by;
        else
            p[i] += (float)v[i] * by;
    }
}

/* R = R T (only T until something has turned), T = cos q I + (1 - cos q) a a' + sin q [a]x   (Rodrigues). */
INLINE void turn(vf R[3][3], bool turned, const double axis[3], vf q)
{
    float a[3] = { (float)axis[0], (float)axis[1], (float)axis[2] };
    vf    s, c, T[3][3];

    v_sincos(q, &s, &c);
    for (int i = 0; i < 3; i++) {
        int k = (i + 1) % 3, l = (i + 2) % 3;

        T[i][i] = (1.0f - c) * (a[i] * a[i]) + c;
        T[i][k] = (1.0f - c) * (a[i] * a[k]) - s * a[l];
        T[i][l] = (1.0f - c) * (a[i] * a[l]) + s * a[k];
    }
    for (int i = 0; i < 3; i++) {
        vf r[3] = { R[i][0], R[i][1], R[i][2] };

        for (int k = 0; k < 3; k++) {
            if (turned)
                R[i][k] = r[0] * T[0][k] + r[1] * T[1][k] + r[2] * T[2][k];
            else
                R[i][k] = T[i][k];
        }
    }
}

/* Position of a frame (task.h) for one vector of states. */
INLINE void frame_position(const struct task_frame *f, const float *x, vf p[3])
{
    vf   one = v_set(1), R[3][3] = { 0 };
    bool turned = false;

    for (int i = 0; i < 3; i++)
        p[i] = v_set(0);
    for (int l = 0; l < f->nlink; l++) {
        const struct task_link *link = &f->link[l];

        advance(p, R, turned, link->offset, one);
        if (link->obs < 0)
            continue;
        vf q = v_load(x + link->obs * TILE);
        if (link->type == JOINT_PRISMATIC) {
            advance(p, R, turned, link->axis, q);
        } else {
            turn(R, turned, link->axis, q);
            turned = true;
        }
    }
    advance(p, R, turned, f->tip, one);
}

/* What one difference adds to its term. */
INLINE vf form_entry(enum term_form form, vf d)
{
    if (form == FORM_ABS)
        return v_abs(d);
    if (form == FORM_LINEAR)
        return d;
    return d * d;
}

/* Observation i of a term less its target, scaled. */
INLINE vf observation_off(const struct task_term *term, int i, const float *x)
{
    vf d = v_load(x + term->index[i] * TILE);

    if (term->target_observed)
        d -= v_load(x + term->target_obs[i] * TILE);
    return (d - (float)term->target[i]) * (float)term->scale[i];
}

/* The nearest point of a path (task.h): squared distance, arc length; how far the state is from it, and the slope of the
 * arc length: the segment's direction, 0 where the path turns or ends. */
struct nearest {
    vf d2, s, away[2], along[2];
};

static __attribute__((noinline)) void path_nearest(const struct task_term *term, const float *x, struct nearest *best)
{
    const struct task_path *p  = &term->path;
    vf                      px = v_load(x + term->index[0] * TILE), py = v_load(x + term->index[1] * TILE);

    for (int i = 0; i + 1 < p->n; i++) {
        float          ux = (float)p->along[i][0], uy = (float)p->along[i][1], length = (float)p->length[i];
        vf             rx = px - (float)p->point[i][0], ry = py - (float)p->point[i][1], t = rx * ux + ry * uy;
        vi             within = (t > 0) & (t < length);
        struct nearest n;

        t          = v_min(v_max(t, 0.0f), length);
        n.away[0]  = rx - t * ux;
        n.away[1]  = ry - t * uy;
        n.d2       = n.away[0] * n.away[0] + n.away[1] * n.away[1];
        n.s        = t + (float)p->start[i];
        n.along[0] = v_select(within, v_set(ux), v_set(0));
        n.along[1] = v_select(within, v_set(uy), v_set(0));
        if (i == 0) {
            *best = n;
            continue;
        }
        vi nearer = n.d2 < best->d2; /* never where either is NaN: then the first is NaN too, and stays */
        best->d2  = v_select(nearer, n.d2, best->d2);
        best->s   = v_select(nearer, n.s, best->s);
        for (int k = 0; k < 2; k++) {
            best->away[k]  = v_select(nearer, n.away[k], best->away[k]);
            best->along[k] = v_select(nearer, n.along[k], best->along[k]);
        }
    }
}

/* The sum of a task's potentials. */
INLINE vf potential(const struct task *t, const float *x)
{
    vf sum = v_set(0);

    for (int k = 0; k < t->nterm; k++) {
        struct nearest n;

        if (t->term[k].kind != TERM_PROGRESS)
            continue;
        path_nearest(&t->term[k], x, &n);
        sum += n.s * (float)t->term[k].weight;
    }
    return sum;
}

/* Where no bound of the task's ends is left. */
INLINE vi inside(const struct task *t, const float *x)
{
    vi in = ~(vi){ 0 };

    for (int i = 0; i < t->nend; i++) {
        vf v = v_load(x + t->end[i].obs * TILE);

        in &= (v >= (float)t->end[i].low) & (v <= (float)t->end[i].high);
    }
    return in;
}

/* Cost of one vector of states and actions, without potentials. */
INLINE vf step_cost(const struct task *t, const float *x, const float *act, int na)
{
    vf cost = v_set(0);

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];
        vf                      sum  = v_set(0), p[3];
        struct nearest          near;

        switch (term->kind) {
        case TERM_OBSERVATION:
            for (int i = 0; i < term->n; i++)
                sum += form_entry(term->form, observation_off(term, i, x));
            break;
        case TERM_FRAME:
            frame_position(&t->frame[term->frame], x, p);
            for (int i = 0; i < 3; i++) {
                if (term->target_observed)
                    p[i] -= v_load(x + term->target_obs[i] * TILE);
                sum += form_entry(term->form, (p[i] - (float)term->target[i]) * (float)term->scale[i]);
            }
            break;
        case TERM_EFFORT:
            for (int i = 0; i < na; i++)
                sum += form_entry(term->form, v_load(act + i * TILE));
            break;
        case TERM_PATH:
            path_nearest(term, x, &near);
            sum = term->form == FORM_ABS ? v_sqrt(near.d2) : near.d2;
            break;
        case TERM_ALIVE: sum = v_set(1); break;
        case TERM_PROGRESS: continue;
        }
        if (term->form == FORM_EXP)
            sum = v_exp(sum * (float)(-1 / (term->width * term->width)));
        cost += (float)term->weight * sum;
    }
    return cost;
}

#endif
