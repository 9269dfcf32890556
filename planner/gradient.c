/* gradient.c - one tile of candidates forwards and backwards through the ensemble (gradient.h).
 *
 * Compiled once per instruction set with -DISA=... (kernel.h).  Runs on the planner's threads: no memory, no system
 * calls.  Rows never meet, so a row that diverges spoils no other. */
#include "planner/gradient.h"
#include "planner/kernel.h"

#define PADDED(n) (((n) + LANES_PANEL - 1) / LANES_PANEL * LANES_PANEL)

/* Where the parts of one step's tape stand. */
struct tape {
    float *slope; /* layers x hidden, padded    */
    float *noise; /* nx: d (sigma z) / d r      */
    float *dcost; /* nx: d (step's cost) / d x' */
    float *plane; /* with a displacement: sine and cosine of the heading, then how far it went along either axis */
    float *angle; /* per angle: sine and cosine */
    float *held; /* per range: which side the state was held at, -1, 0 or 1; whether its rate was kept, 1, or held, 0 */
};

static struct tape tape_at(const struct gradient_job *job, int h)
{
    const struct model_dims *d = &job->net->dims;
    struct tape              t;

    t.slope = job->tape + (size_t)h * (size_t)gradient_tape(d, job->nrange) * TILE;
    t.noise = t.slope + d->layers * PADDED(d->hidden) * TILE;
    t.dcost = t.noise + d->nx * TILE;
    t.plane = t.dcost + d->nx * TILE;
    t.held  = t.plane + (job->net->plane_ahead < 0 ? 0 : 4 * TILE);
    t.angle = t.held + 2 * job->nrange * TILE;
    return t;
}

/* y = W x + b for bt vectors of rows, then times slope unless NULL.  p: biases of `out` outputs, then panels for
 * `packed` inputs, of which the first `in` count; panels that hold none of the first `wanted` outputs are left out. */
/* clang-format off */
INLINE void product_rows(float *y, const float *x, const float *p, const float *slope, int in, int packed, int out,
                         int wanted, const int bt)
{
    const float *w = p + PADDED(out);

    for (int n = 0; n < wanted; n += PANEL, y += PANEL * TILE, w += PANEL * packed) {
        vf           c[PANEL][BT];
        const float *xk = x, *wk = w;

        UNROLL for (int i = 0; i < PANEL; i++)
            UNROLL for (int j = 0; j < bt; j++)
                c[i][j] = v_set(p[n + i]);
        for (int k = 0; k < in; k++, xk += TILE, wk += PANEL) {
            vf v[BT];

            UNROLL for (int j = 0; j < bt; j++)
                v[j] = v_load(xk + j * LANES);
            UNROLL for (int i = 0; i < PANEL; i++)
                UNROLL for (int j = 0; j < bt; j++)
                    c[i][j] += v_set(wk[i]) * v[j];
        }
        if (slope) {
            UNROLL for (int i = 0; i < PANEL; i++)
                UNROLL for (int j = 0; j < bt; j++)
                    c[i][j] *= v_load(slope + (n + i) * TILE + j * LANES);
        }
        UNROLL for (int i = 0; i < PANEL; i++)
            UNROLL for (int j = 0; j < bt; j++)
                v_store(y + i * TILE + j * LANES, c[i][j]);
    }
}
/* clang-format on */

static __attribute__((noinline)) void product(float *y, const float *x, const float *p, const float *slope, int in,
                                              int packed, int out, int wanted, int bt)
{
    if (bt == BT)
        product_rows(y, x, p, slope, in, packed, out, wanted, BT);
    else
        product_rows(y, x, p, slope, in, packed, out, wanted, 1);
}

/* 1 + e^-x; x >= -43 keeps the product of two finite and its inverse normal. */
INLINE vf divisor(vf x)
{
    return 1.0f + v_exp(-v_max(x, -43.0f));
}

/* y = swish(y), slope = swish'(y) for an even number of units; one division serves two units of the same rows. */
static __attribute__((noinline)) void swish_slope(float *y, float *slope, int units, int bt)
{
    for (int i = 0; i < units; i += 2, y += 2 * TILE, slope += 2 * TILE)
        for (int j = 0; j < bt * LANES; j += LANES) {
            vf a = v_load(y + j), b = v_load(y + TILE + j);
            vf p = divisor(a), q = divisor(b), r = 1.0f / (p * q), s = q * r, t = p * r;

            a *= s;
            b *= t;
            v_store(y + j, a);
            v_store(y + TILE + j, b);
            v_store(slope + j, s + a * (1.0f - s));
            v_store(slope + TILE + j, t + b * (1.0f - t));
        }
}

/* x follows its targets t. */
INLINE void follow_targets(const struct gradient_net *net, float *x, const float *target, float *plane, const int bt)
{
    float *xa = x + net->plane_ahead * TILE, *xs = x + net->plane_aside * TILE;

    for (int j = 0; j < bt * LANES && net->plane_ahead >= 0; j += LANES) {
        vf s, c, ahead = v_load(target + net->plane_ahead * TILE + j),
                 aside = v_load(target + net->plane_aside * TILE + j);

        v_sincos(v_load(x + net->dims.heading * TILE + j), &s, &c);
        v_store(plane + j, s);
        v_store(plane + TILE + j, c);
        v_store(plane + 2 * TILE + j, c * ahead - s * aside);
        v_store(plane + 3 * TILE + j, s * ahead + c * aside);
        v_store(xa + j, v_load(xa + j) + (c * ahead - s * aside));
        v_store(xs + j, v_load(xs + j) + (s * ahead + c * aside));
    }
    for (int i = 0; i < net->dims.nx; i++)
        for (int j = i * TILE; j < i * TILE + bt * LANES && i != net->plane_ahead && i != net->plane_aside; j += LANES)
            v_store(x + j, v_load(x + j) * net->carry[i] + v_load(target + j));
}

/* x is held within its ranges. */
INLINE void hold_states(const struct gradient_job *job, float *held, const int bt)
{
    for (int i = 0; i < job->nrange; i++, held += 2 * TILE)
        for (int j = 0; j < bt; j++) {
            const struct state_range *r    = &job->range[i];
            vf                        kept = v_set(1), side, before = v_set(0);

            if (r->rate >= 0)
                before = v_load(job->x + r->rate * TILE + j * LANES);
            side = hold_one(r, job->x, j);
            if (r->rate >= 0)
                kept = v_select(before * side > 0, v_set(0), v_set(1));
            v_store(held + j * LANES, side);
            v_store(held + TILE + j * LANES, kept);
        }
}

/* The way back of hold_states: a cost falls along -dx. */
INLINE void held_slopes(const struct gradient_job *job, const float *held, const int bt)
{
    for (int i = 0; i < job->nrange; i++, held += 2 * TILE)
        for (int j = 0; j < bt * LANES; j += LANES) {
            const struct state_range *r  = &job->range[i];
            float                    *dx = job->dx + r->obs * TILE + j;

            v_store(dx, v_select(v_load(dx) * v_load(held + j) < 0, v_set(0), v_load(dx)));
            if (r->rate >= 0)
                v_store(job->dx + r->rate * TILE + j, v_load(job->dx + r->rate * TILE + j) * v_load(held + TILE + j));
        }
}

/* d target from dx, which is by the state after the step; then dx as far as it does not go through the net. */
INLINE void target_slopes(const struct gradient_net *net, float *dx, const float *plane, float *dtarget, const int bt)
{
    float *da = dx + net->plane_ahead * TILE, *ds = dx + net->plane_aside * TILE;

    for (int i = 0; i < net->dims.nx; i++)
        for (int j = i * TILE; j < i * TILE + bt * LANES; j += LANES) {
            vf d = v_load(dx + j);

            v_store(dtarget + j, d);
            v_store(dx + j, d * net->carry[i]);
        }
    for (int j = 0; j < bt * LANES && net->plane_ahead >= 0; j += LANES) {
        vf     s = v_load(plane + j), c = v_load(plane + TILE + j), ahead = v_load(da + j), aside = v_load(ds + j);
        float *heading = dx + net->dims.heading * TILE + j;

        v_store(dtarget + net->plane_ahead * TILE + j, c * ahead + s * aside);
        v_store(dtarget + net->plane_aside * TILE + j, c * aside - s * ahead);
        v_store(heading,
                v_load(heading) + (aside * v_load(plane + 2 * TILE + j) - ahead * v_load(plane + 3 * TILE + j)));
    }
}

/* x becomes the next state; what the way back needs goes to the tape. */
INLINE void step_ahead(const struct gradient_job *job, int member, const float *act, const float *z, struct tape t,
                       const int bt)
{
    const struct gradient_net *net   = job->net;
    float *const              *ahead = net->ahead[member];
    int                        nx = net->dims.nx, hidden = net->dims.hidden, layers = net->dims.layers, in = net->nin;
    float                     *from = job->buf[0], *to = job->buf[1];

    features(from, &net->dims, net->in_mean, job->x, act, t.angle, bt);
    for (int l = 0; l < layers; l++) {
        float *was = from;

        product(to, from, ahead[l], NULL, in, in, hidden, hidden, bt);
        swish_slope(to, t.slope + l * PADDED(hidden) * TILE, hidden + hidden % 2, bt);
        from = to;
        to   = was;
        in   = hidden;
    }
    product(to, from, ahead[layers], NULL, in, in, 2 * nx, z ? 2 * nx : nx, bt);

    for (int i = 0; i < nx; i++)
        for (int j = i * TILE; j < i * TILE + bt * LANES && z; j += LANES) {
            vf s     = 1.0f / (1.0f + v_exp(-v_load(to + nx * TILE + j)));
            vf sigma = v_sqrt(net->var_min[i] + net->var_span[i] * s);

            v_store(to + j, v_load(to + j) + sigma * z[i]);
            /* A variance below the smallest float has no slope either: 0 / 0 would be none. */
            v_store(t.noise + j, s * (1.0f - s) * (0.5f * net->var_span[i] * z[i]) / v_max(sigma, 1e-30f));
        }
    follow_targets(net, job->x, to, t.plane, bt);
    hold_states(job, t.held, bt);
}

/* dx = d cost / d x before the step, dact += d cost / d action; on entry dx is by the state after it. */
INLINE void step_back(const struct gradient_job *job, int member, float *dact, bool noisy, struct tape t, const int bt)
{
    const struct gradient_net *net  = job->net;
    float *const              *back = net->back[member];
    int    nx = net->dims.nx, hidden = net->dims.hidden, layers = net->dims.layers, out = noisy ? 2 * nx : nx;
    float *from = job->buf[0], *to = job->buf[1];

    held_slopes(job, t.held, bt);
    target_slopes(net, job->dx, t.plane, from, bt);
    for (int i = 0; i < nx && noisy; i++)
        for (int j = i * TILE; j < i * TILE + bt * LANES; j += LANES)
            v_store(from + nx * TILE + j, v_load(from + j) * v_load(t.noise + j));
    product(to, from, back[layers], t.slope + (layers - 1) * PADDED(hidden) * TILE, out, 2 * nx, hidden, hidden, bt);
    for (int l = layers - 1; l > 0; l--) {
        float *was = from;

        from = to;
        to   = was;
        product(to, from, back[l], t.slope + (l - 1) * PADDED(hidden) * TILE, hidden, hidden, hidden, hidden, bt);
    }
    product(from, to, back[0], NULL, hidden, hidden, net->nin, net->nin, bt);

    for (int i = 0; i < nx; i++) {
        bool angle = net->dims.input[i] == INPUT_ANGLE;

        if (net->dims.input[i] == INPUT_NONE)
            continue;
        for (int j = 0; j < bt * LANES; j += LANES) {
            vf d = v_load(from + j);

            if (angle)
                d = d * v_load(t.angle + TILE + j) - v_load(from + TILE + j) * v_load(t.angle + j);
            v_store(job->dx + i * TILE + j, v_load(job->dx + i * TILE + j) + d);
        }
        from += angle ? 2 * TILE : TILE;
        t.angle += angle ? 2 * TILE : 0;
    }
    for (int i = 0; i < net->dims.na; i++, from += TILE, dact += TILE)
        for (int j = 0; j < bt * LANES; j += LANES)
            v_store(dact + j, v_load(dact + j) + v_load(from + j));
}

/* ---- cost of a step (task.h) and its gradient, one vector of rows ---- */

struct chain {
    vf p[3], R[3][3]; /* the frame so far */
    vf joint[MAX_LINKS][3], axis[MAX_LINKS][3];
};

static __attribute__((noinline)) void chain_ahead(struct chain *c, const struct task_frame *f, const float *x)
{
    for (int i = 0; i < 3; i++) {
        c->p[i] = v_set(0);
        for (int k = 0; k < 3; k++)
            c->R[i][k] = v_set(i == k);
    }
    for (int l = 0; l < f->nlink; l++) {
        const struct task_link *link = &f->link[l];
        const double           *a    = link->axis;

        advance(c->p, c->R, true, link->offset, v_set(1));
        if (link->obs < 0)
            continue;
        for (int i = 0; i < 3; i++) {
            c->joint[l][i] = c->p[i];
            c->axis[l][i]  = c->R[i][0] * (float)a[0] + c->R[i][1] * (float)a[1] + c->R[i][2] * (float)a[2];
        }
        vf q = v_load(x + link->obs * TILE);
        if (link->type == JOINT_PRISMATIC)
            advance(c->p, c->R, true, a, q);
        else
            turn(c->R, true, a, q);
    }
    advance(c->p, c->R, true, f->tip, v_set(1));
}

/* dx += (dp / dx)' dp:  a slide moves the tip along its axis, a turn by axis x (tip - joint). */
static __attribute__((noinline)) void chain_back(const struct chain *c, const struct task_frame *f, const vf dp[3],
                                                 float *dx)
{
    for (int l = 0; l < f->nlink; l++) {
        const struct task_link *link = &f->link[l];
        vf                      sum  = v_set(0);

        if (link->obs < 0)
            continue;
        for (int i = 0; i < 3; i++) {
            int k = (i + 1) % 3, m = (i + 2) % 3;

            if (link->type == JOINT_PRISMATIC)
                sum += c->axis[l][i] * dp[i];
            else
                sum +=
                    (c->axis[l][k] * (c->p[m] - c->joint[l][m]) - c->axis[l][m] * (c->p[k] - c->joint[l][k])) * dp[i];
        }
        v_store(dx + link->obs * TILE, v_load(dx + link->obs * TILE) + sum);
    }
}

/* A term's cost from what its entries add up to; d cost / d d_i = *slope * form_slope(d_i). */
INLINE vf form_cost(const struct task_term *term, vf sum, vf *slope)
{
    float weight = (float)term->weight, inverse = (float)(-1 / (term->width * term->width));

    if (term->form == FORM_EXP) {
        vf e = weight * v_exp(sum * inverse);

        *slope = e * (2 * inverse);
        return e;
    }
    *slope = v_set(term->form == FORM_SQUARED ? 2 * weight : weight);
    return weight * sum;
}

INLINE vf form_slope(enum term_form form, vf d)
{
    if (form == FORM_ABS)
        return v_select(d > 0, v_set(1), v_select(d < 0, v_set(-1), d)); /* 0 and NaN as they are */
    return form == FORM_LINEAR ? v_set(1) : d;
}

INLINE void add_to(float *p, vf x)
{
    v_store(p, v_load(p) + x);
}

INLINE vf observation_slope(const struct task_term *term, const float *x, float *dx)
{
    vf sum = v_set(0), slope, cost;

    for (int i = 0; i < term->n; i++)
        sum += form_entry(term->form, observation_off(term, i, x));
    cost = form_cost(term, sum, &slope);
    for (int i = 0; i < term->n; i++) {
        vf d = slope * form_slope(term->form, observation_off(term, i, x)) * (float)term->scale[i];

        add_to(dx + term->index[i] * TILE, d);
        if (term->target_observed)
            add_to(dx + term->target_obs[i] * TILE, -d);
    }
    return cost;
}

INLINE vf frame_slope(const struct task_term *term, const struct task_frame *frame, const float *x, float *dx)
{
    vf           sum = v_set(0), slope, cost, d[3];
    struct chain chain;

    chain_ahead(&chain, frame, x);
    for (int i = 0; i < 3; i++) {
        d[i] = chain.p[i] - (float)term->target[i];
        if (term->target_observed)
            d[i] -= v_load(x + term->target_obs[i] * TILE);
        d[i] *= (float)term->scale[i];
        sum += form_entry(term->form, d[i]);
    }
    cost = form_cost(term, sum, &slope);
    for (int i = 0; i < 3; i++) {
        d[i] = slope * form_slope(term->form, d[i]) * (float)term->scale[i];
        if (term->target_observed)
            add_to(dx + term->target_obs[i] * TILE, -d[i]);
    }
    chain_back(&chain, frame, d, dx);
    return cost;
}

INLINE vf effort_slope(const struct task_term *term, const float *act, int na, float *da)
{
    vf sum = v_set(0), slope, cost;

    for (int i = 0; i < na; i++)
        sum += form_entry(term->form, v_load(act + i * TILE));
    cost = form_cost(term, sum, &slope);
    for (int i = 0; i < na; i++)
        add_to(da + i * TILE, slope * form_slope(term->form, v_load(act + i * TILE)));
    return cost;
}

/* dx += slope of the two observations of a path times (v[0], v[1]). */
INLINE void add_slope(const struct task_term *term, float *dx, vf slope, const vf v[2])
{
    add_to(dx + term->index[0] * TILE, slope * v[0]);
    add_to(dx + term->index[1] * TILE, slope * v[1]);
}

INLINE vf path_slope(const struct task_term *term, const float *x, float *dx)
{
    struct nearest n;
    vf             slope, cost, d;

    path_nearest(term, x, &n);
    d    = v_sqrt(n.d2);
    cost = form_cost(term, term->form == FORM_ABS ? d : n.d2, &slope);
    if (term->form == FORM_ABS)
        slope = v_select(d == 0, d, slope / d); /* away / d is the way there */
    add_slope(term, dx, slope, n.away);
    return cost;
}

/* Potentials where `settle`; 0 elsewhere. */
static __attribute__((noinline)) vf potential_slope(const struct task *t, const float *x, vi settle, float *dx)
{
    vf sum = v_set(0);

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];
        struct nearest          n;

        if (term->kind != TERM_PROGRESS)
            continue;
        path_nearest(term, x, &n);
        sum += v_select(settle, n.s * (float)term->weight, v_set(0));
        add_slope(term, dx, v_select(settle, v_set((float)term->weight), v_set(0)), n.along);
    }
    return sum;
}

/* Cost of state and action; dx (nx), da (na) = its gradient. */
static __attribute__((noinline)) vf cost_slope(const struct task *t, const float *x, const float *act, int nx, int na,
                                               float *dx, float *da)
{
    vf cost = v_set(0);

    for (int i = 0; i < nx; i++)
        v_store(dx + i * TILE, v_set(0));
    for (int i = 0; i < na; i++)
        v_store(da + i * TILE, v_set(0));
    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];

        switch (term->kind) {
        case TERM_OBSERVATION: cost += observation_slope(term, x, dx); break;
        case TERM_FRAME: cost += frame_slope(term, &t->frame[term->frame], x, dx); break;
        case TERM_EFFORT: cost += effort_slope(term, act, na, da); break;
        case TERM_PATH: cost += path_slope(term, x, dx); break;
        case TERM_ALIVE: cost += (float)term->weight; break;
        case TERM_PROGRESS: break;
        }
    }
    return cost;
}

/* cost_slope, with potentials at the last step and the end of the task as task.h has them.  Whether a row is alive is taken
 * as given: there is no slope in the step where it ends. */
INLINE vf step_slope(const struct task *t, bool last, const float *x, const float *act, int nx, int na, vi *alive,
                     float *dx, float *da)
{
    vf cost = cost_slope(t, x, act, nx, na, dx, da);
    vi in = inside(t, x), was = *alive;

    if (last || t->nend)
        cost += potential_slope(t, x, last ? ~(vi){ 0 } : ~in, dx);
    if (t->nend == 0)
        return cost;
    for (int i = 0; i < nx; i++)
        v_store(dx + i * TILE, v_select(was, v_load(dx + i * TILE), v_set(0)));
    for (int i = 0; i < na; i++)
        v_store(da + i * TILE, v_select(was, v_load(da + i * TILE), v_set(0)));
    *alive = was & in;
    return v_select(was, cost, v_set(0));
}

/* ---- all steps ---- */

INLINE void there_and_back(const struct gradient_job *job, const int bt)
{
    int nx = job->net->dims.nx, na = job->net->dims.na;
    vf  cost[BT];
    vi  alive[BT];

    for (int i = 0; i < nx * TILE; i += LANES) {
        v_store(job->x + i, v_set(job->start[i / TILE]));
        v_store(job->dx + i, v_set(0));
    }
    for (int j = 0; j < bt; j++) {
        cost[j]  = v_set(0);
        alive[j] = ~(vi){ 0 };
    }

    for (int h = 0; h < job->horizon; h++) {
        struct tape  t   = tape_at(job, h);
        const float *act = job->act + h * na * TILE;
        float       *da  = job->dact + h * na * TILE;

        step_ahead(job, job->member[h], act, job->z ? job->z + h * nx : NULL, t, bt);
        for (int j = 0; j < bt; j++) {
            int at = j * LANES;
            cost[j] += step_slope(job->task, h + 1 == job->horizon, job->x + at, act + at, nx, na, &alive[j],
                                  t.dcost + at, da + at);
        }
    }
    /* A diverged state must not hide behind a bounded cost: 0 times infinity or NaN is NaN. */
    for (int i = 0; i < nx; i++)
        for (int j = 0; j < bt; j++)
            cost[j] += v_load(job->x + i * TILE + j * LANES) * 0.0f;
    for (int j = 0; j < bt; j++)
        v_store(job->cost + j * LANES, cost[j]);

    for (int h = job->horizon - 1; h >= 0; h--) {
        struct tape t = tape_at(job, h);

        for (int i = 0; i < nx; i++)
            for (int j = i * TILE; j < i * TILE + bt * LANES; j += LANES)
                v_store(job->dx + j, v_load(job->dx + j) + v_load(t.dcost + j));
        step_back(job, job->member[h], job->dact + h * na * TILE, job->z != NULL, t, bt);
    }
}

static void run(const struct gradient_job *job)
{
    if (job->rows <= LANES)
        there_and_back(job, 1); /* half a tile: the last of a population */
    else
        there_and_back(job, BT);
}

const struct lanes_gradient JOIN(lanes_gradient_, ISA) = {
    .isa   = TEXT(ISA),
    .tile  = TILE,
    .panel = PANEL,
    .run   = run,
};
