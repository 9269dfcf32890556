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
#else
#define LANES 4
#define PANEL 4
#define BT    2
#endif

#include "planner/vmath.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#define TILE (LANES * BT)

#define TEXT_(a)    #a
#define TEXT(a)     TEXT_(a)
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

_Static_assert(PANEL % 2 == 0, "swish goes in pairs");
_Static_assert(TILE <= LANES_TILE && LANES_PANEL % PANEL == 0, "sizes promised in lanes.h");

/* y = swish(y) for an even number of units.  A pair is two units of the same rows: candidates never meet.
 * A function of its own, as its constants would push the accumulators of layer() out of the registers. */
INLINE void swish_units(float *y, int units, const int bt)
{
    for (int i = 0; i < units; i += 2, y += 2 * TILE)
        for (int j = 0; j < bt; j++) {
            float *first = y + j * LANES, *second = first + TILE;
            vf     a = v_load(first), b = v_load(second);

            v_swish2(&a, &b);
            v_store(first, a);
            v_store(second, b);
        }
}

static __attribute__((noinline)) void swish_layer(float *y, int units, int bt)
{
    if (bt == BT)
        swish_units(y, units, BT);
    else
        swish_units(y, units, 1);
}

/* y = W x + b for bt vectors of rows; p: biases, then panels.  x: in x TILE, y: out (padded to PANEL) x TILE.
 * Panels that hold none of the first `wanted` outputs are left out. */
/* clang-format off */
INLINE void layer(float *y, const float *x, const float *p, int in, int out, int wanted, const int bt)
{
    const float *w = p + (out + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL;

    for (int n = 0; n < wanted; n += PANEL, y += PANEL * TILE) {
        vf           c[PANEL][BT];
        const float *xk = x;

        UNROLL for (int i = 0; i < PANEL; i++)
            UNROLL for (int j = 0; j < bt; j++)
                c[i][j] = v_set(p[n + i]);
        for (int k = 0; k < in; k++, xk += TILE, w += PANEL) {
            vf v[BT];

            UNROLL for (int j = 0; j < bt; j++)
                v[j] = v_load(xk + j * LANES);
            UNROLL for (int i = 0; i < PANEL; i++)
                UNROLL for (int j = 0; j < bt; j++)
                    c[i][j] += v_set(w[i]) * v[j];
        }
        UNROLL for (int i = 0; i < PANEL; i++)
            UNROLL for (int j = 0; j < bt; j++)
                v_store(y + i * TILE + j * LANES, c[i][j]);
    }
}
/* clang-format on */

/* The net's input from state and action: features, less their means. */
INLINE void features(float *in, const struct lanes_net *net, const float *x, const float *act, const int bt)
{
    const float *mean = net->in_mean;

    for (int i = 0; i < net->dims.nx; i++, x += TILE) {
        if (net->dims.input[i] == INPUT_ANGLE) {
            for (int j = 0; j < bt; j++) {
                vf s, c;

                v_sincos(v_load(x + j * LANES), &s, &c);
                v_store(in + j * LANES, s - mean[0]);
                v_store(in + TILE + j * LANES, c - mean[1]);
            }
            in += 2 * TILE;
            mean += 2;
        } else {
            for (int j = 0; j < bt; j++)
                v_store(in + j * LANES, v_load(x + j * LANES) - mean[0]);
            in += TILE;
            mean++;
        }
    }
    for (int i = 0; i < net->dims.na; i++, act += TILE, in += TILE, mean++)
        for (int j = 0; j < bt; j++)
            v_store(in + j * LANES, v_load(act + j * LANES) - mean[0]);
}

/* x becomes the next state: one member's mean, plus its noise if z is given. */
INLINE void model_step(const struct lanes_job *job, int member, const float *act, const float *z, const int bt)
{
    const struct lanes_net *net = job->net;
    int                     nx = net->dims.nx, hidden = net->dims.hidden, layers = net->dims.layers, in = net->nin;
    float                  *x = job->x, *from = job->buf[0], *to = job->buf[1];

    features(from, net, x, act, bt);
    for (int l = 0; l < layers; l++) {
        float *was = from;

        layer(to, from, net->layer[member][l], in, hidden, hidden, bt);
        swish_layer(to, hidden + hidden % 2, bt);
        from = to;
        to   = was;
        in   = hidden;
    }
    layer(to, from, net->layer[member][layers], in, 2 * nx, z ? 2 * nx : nx, bt);

    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++) {
            float *xi = x + i * TILE + j * LANES;
            vf     dx = v_load(to + i * TILE + j * LANES);

            if (z) {
                vf var = net->var_min[i] + net->var_span[i] / (1.0f + v_exp(-v_load(to + (nx + i) * TILE + j * LANES)));
                dx += v_sqrt(var) * z[i];
            }
            v_store(xi, v_load(xi) + dx);
        }
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

/* Cost of one vector of states and actions. */
INLINE vf step_cost(const struct task *t, const float *x, const float *act, int na)
{
    vf cost = v_set(0);

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];
        vf                      d2   = v_set(0), p[3];

        switch (term->kind) {
        case TERM_OBSERVATION:
            for (int i = 0; i < term->n; i++) {
                vf d = (v_load(x + term->index[i] * TILE) - (float)term->target[i]) * (float)term->scale[i];
                d2 += d * d;
            }
            break;
        case TERM_FRAME:
            frame_position(&t->frame[term->frame], x, p);
            for (int i = 0; i < 3; i++) {
                vf d = (p[i] - (float)term->target[i]) * (float)term->scale[i];
                d2 += d * d;
            }
            break;
        case TERM_EFFORT:
            for (int i = 0; i < na; i++)
                d2 += v_load(act + i * TILE) * v_load(act + i * TILE);
            break;
        }
        if (term->form == FORM_EXP)
            d2 = v_exp(d2 * (float)(-1 / (term->width * term->width)));
        cost += (float)term->weight * d2;
    }
    return cost;
}

#endif
