/* test_gradient.c - the reverse pass against central differences of a rollout in plain loops and double precision (in
 * float the differences would be noise), and its costs against the rollout's. */
#include <pthread.h>

#include "daemon/rt/clock.h"
#include "planner/gradient.h"
#include "planner/team.h"
#include "tests/plan_kit.h"
#include "tests/test.h"

/* ---- the truth, in double ---- */

static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* ensemble_predict. */
static void true_step(const struct ensemble *e, int member, const double *a, const float *z, double *x)
{
    const struct model_dims *d = &e->dims;
    const float             *W = e->weights + (size_t)member * ensemble_params(d);
    double                   h[MAX_IN + MAX_HIDDEN], y[2 * MAX_OBS + MAX_HIDDEN], dx[MAX_OBS];
    int                      n = 0, in, out;

    for (int i = 0; i < d->nx; i++) {
        if (d->input[i] != INPUT_NONE)
            h[n++] = d->input[i] == INPUT_ANGLE ? sin(x[i]) : x[i];
        if (d->input[i] == INPUT_ANGLE)
            h[n++] = cos(x[i]);
    }
    for (int i = 0; i < d->na; i++)
        h[n++] = a[i];
    for (int i = 0; i < n; i++)
        h[i] = (h[i] - (double)e->in_mean[i]) / (double)e->in_std[i];

    for (int l = 0; l <= d->layers; l++) {
        ensemble_layer(d, l, &in, &out);
        for (int i = 0; i < out; i++) {
            y[i] = (double)W[out * in + i];
            for (int k = 0; k < in; k++)
                y[i] += (double)W[i * in + k] * h[k];
        }
        for (int i = 0; i < out; i++)
            h[i] = l < d->layers ? y[i] / (1 + exp(-y[i])) : y[i];
        W += out * (in + 1);
    }
    for (int i = 0; i < d->nx; i++) {
        double max = (double)e->max_logvar[i], min = (double)e->min_logvar[i];
        double lv = max - softplus(max - h[d->nx + i]);

        lv    = min + softplus(lv - min);
        dx[i] = (double)e->out_mean[i] + (double)e->out_std[i] * (h[i] + (z ? exp(lv / 2) * (double)z[i] : 0));
    }
    double s = sin(x[d->heading]), c = cos(x[d->heading]), ahead = 0, aside = 0;

    for (int i = 0; i < d->nx; i++) {
        ahead = d->target[i] == TARGET_AHEAD ? dx[i] : ahead;
        aside = d->target[i] == TARGET_ASIDE ? dx[i] : aside;
    }
    for (int i = 0; i < d->nx; i++)
        switch (d->target[i]) {
        case TARGET_CHANGE: x[i] += dx[i]; break;
        case TARGET_ABSOLUTE: x[i] = dx[i]; break;
        case TARGET_AHEAD: x[i] += c * ahead - s * aside; break;
        case TARGET_ASIDE: x[i] += s * ahead + c * aside; break;
        }
}

/* v turned about the unit axis by q  (Rodrigues). */
static void turned(const double axis[3], double q, const double v[3], double out[3])
{
    double along = axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2];

    for (int i = 0; i < 3; i++) {
        int k = (i + 1) % 3, l = (i + 2) % 3;

        out[i] = v[i] * cos(q) + (axis[k] * v[l] - axis[l] * v[k]) * sin(q) + axis[i] * along * (1 - cos(q));
    }
}

/* From the tip towards the base. */
static void true_position(const struct task_frame *f, const double *x, double p[3])
{
    memcpy(p, f->tip, 3 * sizeof *p);
    for (int l = f->nlink - 1; l >= 0; l--) {
        const struct task_link *link = &f->link[l];
        double                  was[3];

        memcpy(was, p, sizeof was);
        if (link->obs >= 0 && link->type != JOINT_PRISMATIC)
            turned(link->axis, x[link->obs], was, p);
        for (int i = 0; i < 3; i++) {
            if (link->obs >= 0 && link->type == JOINT_PRISMATIC)
                p[i] += link->axis[i] * x[link->obs];
            p[i] += link->offset[i];
        }
    }
}

static double observed(const struct task_term *term, const double *x, int i)
{
    return term->target_observed ? x[term->target_obs[i]] : 0;
}

/* Squared distance from the path, and how far along it the nearest point is.  *margin: from another segment's being as
 * near, and for `turns` from where the nearest point comes to rest at a vertex. */
static double true_path(const struct task_path *p, double x, double y, bool turns, double *s, double *margin)
{
    double d2[MAX_WAYPOINTS] = { 0 }, qx[MAX_WAYPOINTS], qy[MAX_WAYPOINTS], t[MAX_WAYPOINTS], before = 0;
    int    best = 0;

    for (int i = 0; i + 1 < p->n; i++) {
        const double *a = p->point[i], *b = p->point[i + 1];
        double        l2 = (b[0] - a[0]) * (b[0] - a[0]) + (b[1] - a[1]) * (b[1] - a[1]);
        double        share;

        t[i]  = ((x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])) / l2;
        share = fmin(1, fmax(0, t[i]));
        qx[i] = a[0] + share * (b[0] - a[0]);
        qy[i] = a[1] + share * (b[1] - a[1]);
        d2[i] = (x - qx[i]) * (x - qx[i]) + (y - qy[i]) * (y - qy[i]);
        if (i == 0 || d2[i] < d2[best]) {
            best = i;
            *s   = before + share * sqrt(l2);
        }
        t[i] *= sqrt(l2);
        before += sqrt(l2);
    }
    double length = hypot(p->point[best + 1][0] - p->point[best][0], p->point[best + 1][1] - p->point[best][1]);
    if (turns)
        *margin = fmin(*margin, fmin(fabs(t[best]), fabs(t[best] - length)));
    for (int i = 0; i + 1 < p->n; i++)
        if (hypot(qx[i] - qx[best], qy[i] - qy[best]) > 1e-9)
            *margin = fmin(*margin, sqrt(d2[i]) - sqrt(d2[best]));
    return d2[best];
}

static double true_potential(const struct task *t, const double *x, double *margin)
{
    double sum = 0, s;

    for (int k = 0; k < t->nterm; k++)
        if (t->term[k].kind == TERM_PROGRESS) {
            true_path(&t->term[k].path, x[t->term[k].index[0]], x[t->term[k].index[1]], true, &s, margin);
            sum += t->term[k].weight * s;
        }
    return sum;
}

static bool true_end(const struct task *t, const double *x, double *margin)
{
    bool out = false;

    for (int i = 0; i < t->nend; i++) {
        double v = x[t->end[i].obs], low = t->end[i].low, high = t->end[i].high;

        *margin = fmin(*margin, fmin(fabs(v - low), fabs(v - high)));
        out     = out || v < low || v > high;
    }
    return out;
}

/* *margin: the smallest distance from a kink so far, where a slope is not defined. */
static double true_cost(const struct task *t, const double *x, const double *a, int na, double *margin)
{
    double cost = 0;

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];
        double                  sum  = 0, p[3];

        if (term->kind == TERM_PROGRESS)
            continue;
        if (term->kind == TERM_ALIVE) {
            cost += term->weight;
            continue;
        }
        if (term->kind == TERM_PATH) {
            double s, d2 = true_path(&term->path, x[term->index[0]], x[term->index[1]], false, &s, margin);

            sum = term->form == FORM_ABS ? sqrt(d2) : d2;
            if (term->form == FORM_ABS)
                *margin = fmin(*margin, sum / 100); /* the slope turns fast near the path */
        }
        if (term->kind == TERM_FRAME)
            true_position(&t->frame[term->frame], x, p);
        for (int i = 0; i < (term->kind == TERM_EFFORT  ? na
                             : term->kind == TERM_FRAME ? 3
                             : term->kind == TERM_PATH  ? 0
                                                        : term->n);
             i++) {
            double d = term->kind == TERM_EFFORT ? a[i]
                       : term->kind == TERM_FRAME
                           ? (p[i] - term->target[i] - observed(term, x, i)) * term->scale[i]
                           : (x[term->index[i]] - term->target[i] - observed(term, x, i)) * term->scale[i];
            sum += term->form == FORM_ABS ? fabs(d) : term->form == FORM_LINEAR ? d : d * d;
            if (term->form == FORM_ABS)
                *margin = fmin(*margin, fabs(d));
        }
        cost += term->weight * (term->form == FORM_EXP ? exp(-sum / (term->width * term->width)) : sum);
    }
    return cost;
}

/* ---- a rollout and a gradient of its own ---- */

struct rig {
    struct kit      k;
    struct rollout  r;
    struct gradient g;
    uint8_t        *memory;
    size_t          size;
};

static void rig_layout(struct rig *g, struct arena *a)
{
    g->r.team = team_layout(a, g->k.c.workers > 1 ? g->k.c.workers : 1);
    rollout_layout(&g->r, a, &g->k.c, &g->k.d);
    gradient_layout(&g->g, a, &g->k.c, &g->k.d);
}

/* Exactly the bytes asked for, with a canary behind them. */
static void rig_open(struct rig *g, const char *isa)
{
    struct arena a = ARENA_PROBE;

    memset(&g->r, 0, sizeof g->r);
    memset(&g->g, 0, sizeof g->g);
    rig_layout(g, &a);
    g->size   = a.used;
    g->memory = aligned_alloc(64, (g->size + CANARY + 63) / 64 * 64);
    CHECK(g->memory);
    memset(g->memory, 0xa5, g->size + CANARY);
    a        = (struct arena){ .base = g->memory, .size = g->size };
    g->r.ops = lanes_find(isa);
    rig_layout(g, &a);
    g->r.task = g->k.t;
    rollout_pack(&g->r, 0, &g->k.e);
    gradient_pack(&g->g, 0, &g->k.e, g->r.ops);
}

static void rig_close(struct rig *g)
{
    for (int i = 0; i < CANARY; i++)
        CHECK(g->memory[g->size + (size_t)i] == 0xa5);
    free(g->memory);
}

static void rig_free(struct rig *g)
{
    rig_close(g);
    ensemble_free(&g->k.e);
}

static int rig_steps(const struct rig *g)
{
    return g->k.c.horizon * g->k.d.na;
}

/* From x, with the noise of `seed`. */
static void rig_gradient(struct rig *g, const float *x, uint64_t seed, int n, const float *a, float *cost, float *dact)
{
    rollout_begin(&g->r, 0, x, NULL, seed);
    EXPECT(gradient_evaluate(&g->g, &g->r, 0, n, a, cost, dact, UINT64_MAX) == n);
}

/* Expected cost of the sequence a + by * direction, with the noise and members that the rollout has. */
static double true_rollout(const struct rig *g, const float *a, double by, const float *direction, double *margin)
{
    const struct rollout *r  = &g->r;
    int                   nx = g->k.d.nx, na = g->k.d.na, H = r->horizon;
    double                sum[MAX_PARTICLES] = { 0 }, mean = 0, square = 0;

    for (int p = 0; p < r->particles; p++) {
        double x[MAX_OBS], act[MAX_ACT];
        bool   ended = false;

        for (int i = 0; i < nx; i++)
            x[i] = (double)r->start[p % g->k.d.members * nx + i];
        for (int h = 0; h < H; h++) {
            for (int i = 0; i < na; i++)
                act[i] = (double)a[h * na + i] + by * (double)direction[h * na + i];
            true_step(&g->k.e, r->member[p * H + h], act,
                      g->k.c.propagation == PARTICLES_MEAN ? NULL : r->z + (p * H + h) * nx, x);
            bool out = true_end(&g->k.t, x, margin);
            if (!ended)
                sum[p] += true_cost(&g->k.t, x, act, na, margin);
            if (!ended && (out || h + 1 == H))
                sum[p] += true_potential(&g->k.t, x, margin);
            ended = ended || out;
        }
    }
    for (int p = 0; p < r->particles; p++)
        mean += sum[p] / r->particles;
    for (int p = 0; p < r->particles; p++)
        square += (sum[p] - mean) * (sum[p] - mean) / r->particles;
    if (r->risk != 0 && square > 0) /* a root has no slope at 0 */
        *margin = fmin(*margin, sqrt(square) / 10);
    return mean + r->risk * sqrt(square);
}

/* Central difference.  False at a kink, or so near one that a float may stand on its other side. */
static bool true_slope(const struct rig *g, const float *a, const float *direction, double *slope)
{
    double by = 1e-6, margin = 1;

    *slope = (true_rollout(g, a, by, direction, &margin) - true_rollout(g, a, -by, direction, &margin)) / (2 * by);
    return margin > 2e-5;
}

static void random_frame(struct task_frame *f, struct rng *r, int nx)
{
    f->nlink = kit_pick(r, 0, 5);
    for (int l = 0; l < f->nlink; l++) {
        double q = kit_between(r, 0, 6.3);

        f->link[l].obs     = kit_pick(r, -1, nx - 1);
        f->link[l].type    = (enum joint_type)kit_pick(r, 1, 3);
        f->link[l].axis[0] = 0.6 * cos(q);
        f->link[l].axis[1] = 0.6 * sin(q);
        f->link[l].axis[2] = 0.8;
        for (int i = 0; i < 3; i++)
            f->link[l].offset[i] = kit_between(r, -0.5, 0.5);
    }
    for (int i = 0; i < 3; i++)
        f->tip[i] = kit_between(r, -0.5, 0.5);
}

static void random_rig(struct rig *g, struct rng *r, uint64_t seed)
{
    struct kit *k = &g->k;

    memset(g, 0, sizeof *g);
    kit_defaults(k, kit_pick(r, 1, 20), kit_pick(r, 1, 7));
    k->d.members = kit_pick(r, 1, 4);
    k->d.layers  = kit_pick(r, 1, 4);
    k->d.hidden  = kit_pick(r, 1, 70);
    kit_structure(&k->d, r);
    k->c.horizon     = kit_pick(r, 1, 9);
    k->c.particles   = k->d.members * kit_pick(r, 1, 3);
    k->c.propagation = (enum particle_kind)kit_pick(r, PARTICLES_TSINF, PARTICLES_MEAN);
    k->c.risk        = rng_below(r, 2) ? 0 : (double)kit_between(r, -1, 2);

    memset(&k->t, 0, sizeof k->t);
    k->t.nframe = 2;
    random_frame(&k->t.frame[0], r, k->d.nx);
    random_frame(&k->t.frame[1], r, k->d.nx);
    k->t.nterm = kit_pick(r, 1, 5);
    for (int m = 0; m < k->t.nterm; m++) {
        struct task_term *term = &k->t.term[m];

        term->kind            = (enum term_kind)kit_pick(r, TERM_OBSERVATION, TERM_ALIVE);
        term->form            = (enum term_form)kit_pick(r, FORM_SQUARED, FORM_LINEAR);
        term->frame           = kit_pick(r, 0, 1);
        term->weight          = kit_between(r, -1, 1);
        term->width           = kit_between(r, 0.5, 2);
        term->n               = kit_pick(r, 1, k->d.nx);
        term->target_observed = rng_below(r, 2);
        for (int i = 0; i < MAX_TERM_INDEX; i++) {
            term->target_obs[i] = kit_pick(r, 0, k->d.nx - 1); /* one may be named twice */
            term->index[i]      = kit_pick(r, 0, k->d.nx - 1);
            term->target[i]     = kit_between(r, -1, 1);
            term->scale[i]      = kit_between(r, -1, 1);
        }
        term->path.n = kit_pick(r, 2, 5);
        for (int i = 0; i < term->path.n; i++)
            for (int c = 0; c < 2; c++)
                term->path.point[i][c] = kit_between(r, -3, 3);
        task_path_lay(&term->path);
        if (term->kind == TERM_ALIVE || (term->kind == TERM_PATH && term->form == FORM_LINEAR))
            term->form = FORM_SQUARED;
    }
    k->t.nend = rng_below(r, 2) ? 0 : kit_pick(r, 1, 2);
    for (int i = 0; i < k->t.nend; i++)
        k->t.end[i] = (struct task_end){ .obs  = kit_pick(r, 0, k->d.nx - 1),
                                         .low  = kit_between(r, -4, -1),
                                         .high = rng_below(r, 3) ? kit_between(r, 1, 4) : (double)INFINITY };
    kit_model(k, seed);
}

static float *random_actions(const struct rig *g, struct rng *r, int n)
{
    float *a = malloc((size_t)(n * rig_steps(g)) * sizeof *a);

    for (int i = 0; i < n * rig_steps(g); i++)
        a[i] = (float)kit_between(r, -1, 1);
    return a;
}

static float *gradients(const struct rig *g, int n)
{
    return calloc((size_t)(n * rig_steps(g)), sizeof(float));
}

/* The gradient of one sequence: single entries, and all of it at once along a direction.  How many could be judged. */
static int expect_gradient(const struct rig *g, struct rng *r, const float *a, const float *dact)
{
    int    steps = rig_steps(g), looked = 0;
    double size = 0;
    float  direction[MAX_HORIZON * MAX_ACT];

    for (int i = 0; i < steps; i++)
        size += fabs((double)dact[i]);
    for (int look = 0; look < 5; look++) {
        int    only = kit_pick(r, 0, steps - 1);
        double got  = 0;

        for (int i = 0; i < steps; i++) {
            direction[i] = look == 0 ? (float)kit_between(r, -1, 1) : i == only ? 1 : 0;
            got += (double)dact[i] * (double)direction[i];
        }
        double want;
        if (true_slope(g, a, direction, &want)) {
            EXPECT_NEAR(got, want, 1e-5 * (1e-2 + size));
            looked++;
        }
    }
    return looked;
}

TEST(every_instruction_set_gives_the_gradient_of_central_differences_for_any_shape)
{
    struct rng r;
    int        trials = test_rounds(40, 4000), looked = 0, looks = 0;

    rng_seed(&r, 51);
    for (int trial = 0; trial < trials; trial++) {
        struct rig g;
        float      x[MAX_OBS];

        random_rig(&g, &r, (uint64_t)trial);
        int    n = kit_pick(&r, 1, 70), steps = rig_steps(&g); /* mostly not a multiple of any tile */
        float *a = random_actions(&g, &r, n), *dact = gradients(&g, n), *cost = gradients(&g, n),
              *want = gradients(&g, n);

        for (int i = 0; i < g.k.d.nx; i++)
            x[i] = (float)kit_between(&r, -2, 2);
        for (const char *const *isa = isa_names(); *isa; isa++) {
            rig_open(&g, *isa);
            rig_gradient(&g, x, 123, n, a, cost, dact);
            rollout_evaluate(&g.r, 0, n, a, want, UINT64_MAX);
            for (int c = 0; c < n; c++)
                EXPECT_NEAR(cost[c], want[c], 3e-4 * (1 + fabs((double)want[c])));
            looked += expect_gradient(&g, &r, a, dact);
            looked += expect_gradient(&g, &r, a + (n - 1) * steps, dact + (n - 1) * steps);
            looks += 10;
            rig_close(&g);
        }
        free(a);
        free(dact);
        free(cost);
        free(want);
        ensemble_free(&g.k.e);
    }
    EXPECT(looked > looks / 2);
}

/* ---- */

static void small_rig(struct rig *g, int nx, int na)
{
    memset(g, 0, sizeof *g);
    kit_defaults(&g->k, nx, na);
}

/* What each part of the reverse pass adds must be seen, not lost in the rest: one term or input kind at a time. */
TEST(every_kind_of_cost_term_and_particle_has_its_gradient)
{
    struct rng r;

    rng_seed(&r, 3);
    for (int kind = TERM_OBSERVATION; kind <= TERM_PROGRESS; kind++)
        for (int form = FORM_SQUARED; form <= (kind <= TERM_FRAME      ? FORM_LINEAR
                                               : kind == TERM_PROGRESS ? FORM_SQUARED
                                                                       : FORM_ABS);
             form++)
            for (int particles = PARTICLES_TSINF; particles <= PARTICLES_MEAN; particles++)
                for (int type = JOINT_REVOLUTE; type <= JOINT_PRISMATIC; type++) {
                    struct rig        g;
                    struct task_term *term = &g.k.t.term[0];
                    float             x[3] = { 0.3f, -0.2f, 0.6f }, cost;
                    double            size = 0;

                    small_rig(&g, 3, 2);
                    g.k.d.input[1]    = INPUT_ANGLE;
                    g.k.c.propagation = (enum particle_kind)particles;
                    g.k.t.nframe      = 1;
                    g.k.t.frame[0]    = (struct task_frame){ .nlink = 3, .tip = { 0.5, 0.2, 0.1 } };
                    g.k.t.nterm       = 1;
                    *term        = (struct task_term){ .kind = (enum term_kind)kind, .form = (enum term_form)form };
                    term->weight = 1;
                    term->width  = 0.8;
                    term->n      = 3;
                    for (int i = 0; i < 3; i++) {
                        term->index[i]  = i;
                        term->scale[i]  = 1;
                        term->target[i] = 0.1 * i;

                        struct task_link *link = &g.k.t.frame[0].link[i];
                        link->obs              = i;
                        link->type             = (enum joint_type)type;
                        link->axis[i]          = 1;
                        link->offset[2 - i]    = 0.4;
                    }
                    term->path = (struct task_path){ .n = 3, .point = { { -4, -1 }, { 2, 1 }, { 3, -9 } } };
                    task_path_lay(&term->path);
                    kit_model(&g.k, 9);
                    rig_open(&g, NULL);
                    float *a = random_actions(&g, &r, 1), *dact = gradients(&g, 1);

                    rig_gradient(&g, x, 5, 1, a, &cost, dact);
                    EXPECT(expect_gradient(&g, &r, a, dact) == 5);
                    for (int i = 0; i < rig_steps(&g); i++)
                        size += fabs((double)dact[i]);
                    EXPECT(size > 0.01);
                    free(a);
                    free(dact);
                    rig_free(&g);
                }
}

TEST(the_variance_of_a_model_has_its_part_in_the_gradient)
{
    /* The mean does not depend on the action, the noise does. */
    struct rig g;
    struct rng r;
    float      x[1] = { 0.5f }, cost;
    double     size = 0;

    rng_seed(&r, 8);
    small_rig(&g, 1, 1);
    g.k.t.nterm = 1;
    kit_model(&g.k, 4);
    for (int m = 0; m < g.k.d.members; m++) {
        float *last = g.k.e.weights + (size_t)(m + 1) * ensemble_params(&g.k.d) - 2 * (g.k.d.hidden + 1);

        memset(last, 0, (size_t)g.k.d.hidden * sizeof *last);
        for (int i = 0; i < g.k.d.hidden; i++)
            last[g.k.d.hidden + i] *= 10;
    }
    rig_open(&g, NULL);
    float *a = random_actions(&g, &r, 1), *dact = gradients(&g, 1);

    rig_gradient(&g, x, 5, 1, a, &cost, dact);
    expect_gradient(&g, &r, a, dact);
    for (int i = 0; i < rig_steps(&g); i++)
        size += fabs((double)dact[i]);
    EXPECT(size > 0.01);
    free(a);
    free(dact);
    rig_free(&g);
}

TEST(a_variance_too_small_for_a_float_leaves_the_gradient_finite)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        struct rng r;
        float      x[2] = { 0.5f, 1 }, cost;

        rng_seed(&r, 8);
        small_rig(&g, 2, 1);
        kit_model(&g.k, 4);
        for (int i = 0; i < 2; i++) {
            g.k.e.min_logvar[i] = -200;
            g.k.e.max_logvar[i] = -190;
        }
        rig_open(&g, *isa);
        float *a = random_actions(&g, &r, 1), *dact = gradients(&g, 1);

        rig_gradient(&g, x, 5, 1, a, &cost, dact);
        EXPECT(cost < ROLLOUT_WORST);
        expect_gradient(&g, &r, a, dact);
        free(a);
        free(dact);
        rig_free(&g);
    }
}

TEST(a_candidate_has_the_same_gradient_wherever_it_stands)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        struct rng r;
        float      x[4] = { 0.1f, -0.4f, 0.2f, 1 }, cost[90], alone_cost;

        rng_seed(&r, 3);
        small_rig(&g, 4, 2);
        g.k.d.input[2] = INPUT_ANGLE;
        kit_model(&g.k, 4);
        rig_open(&g, *isa);
        int    steps = rig_steps(&g);
        float *a = random_actions(&g, &r, 90), *dact = gradients(&g, 90), *alone = gradients(&g, 1);

        rig_gradient(&g, x, 5, 90, a, cost, dact);
        for (int c = 0; c < 90; c++) {
            rig_gradient(&g, x, 5, 1, a + c * steps, &alone_cost, alone);
            EXPECT(alone_cost == cost[c]);
            EXPECT(!memcmp(alone, dact + c * steps, (size_t)steps * sizeof *alone));
        }
        free(a);
        free(dact);
        free(alone);
        rig_free(&g);
    }
}

static bool all_zero(const float *v, int n)
{
    for (int i = 0; i < n; i++)
        if (v[i] != 0)
            return false;
    return true;
}

TEST(nan_weights_make_every_cost_the_worst_and_every_gradient_zero)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        struct rng r;
        float      x[3] = { 0 }, cost[40];

        rng_seed(&r, 3);
        small_rig(&g, 3, 1);
        kit_model(&g.k, 3);
        g.k.e.weights[ensemble_params(&g.k.d) + 1] = NAN; /* one weight of one net */
        rig_open(&g, *isa);
        float *a = random_actions(&g, &r, 40), *dact = random_actions(&g, &r, 40);

        rig_gradient(&g, x, 1, 40, a, cost, dact);
        for (int c = 0; c < 40; c++)
            EXPECT(cost[c] == ROLLOUT_WORST);
        EXPECT(all_zero(dact, 40 * rig_steps(&g)));
        free(a);
        free(dact);
        rig_free(&g);
    }
}

TEST(a_candidate_that_diverges_costs_the_worst_and_leaves_its_neighbours_alone)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        struct rng r;
        float      x[3] = { 0.1f, 0.2f, 0.3f }, cost[90], with[90];

        rng_seed(&r, 6);
        small_rig(&g, 3, 1);
        g.k.d.hidden = 21;
        kit_model(&g.k, 5);
        rig_open(&g, *isa);
        int    steps = rig_steps(&g);
        float *a = random_actions(&g, &r, 90), *dact = gradients(&g, 90), *ddact = gradients(&g, 90);

        rig_gradient(&g, x, 5, 90, a, cost, dact);
        for (int c = 0; c < 90; c += 7)
            a[c * steps + c % steps] = c % 3 == 0 ? NAN : c % 3 == 1 ? INFINITY : 1e30f;
        rig_gradient(&g, x, 5, 90, a, with, ddact);
        for (int c = 0; c < 90; c++) {
            EXPECT(with[c] == (c % 7 ? cost[c] : ROLLOUT_WORST));
            if (c % 7)
                EXPECT(!memcmp(dact + c * steps, ddact + c * steps, (size_t)steps * sizeof *dact));
            else
                EXPECT(all_zero(ddact + c * steps, steps));
        }
        free(a);
        free(dact);
        free(ddact);
        rig_free(&g);
    }
}

TEST(a_state_that_is_not_finite_makes_every_cost_the_worst)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };

    for (const char *const *isa = isa_names(); *isa; isa++)
        for (int i = 0; i < 3; i++) {
            struct rig g;
            struct rng r;
            float      x[2] = { 0.1f, bad[i] }, cost[5];

            rng_seed(&r, 6);
            small_rig(&g, 2, 1);
            g.k.t.term[0].form   = FORM_EXP; /* a bounded cost hides nothing */
            g.k.t.term[0].weight = -1;
            g.k.t.term[0].width  = 1;
            kit_model(&g.k, 5);
            rig_open(&g, *isa);
            float *a = random_actions(&g, &r, 5), *dact = random_actions(&g, &r, 5);

            rig_gradient(&g, x, 5, 5, a, cost, dact);
            for (int c = 0; c < 5; c++)
                EXPECT(cost[c] == ROLLOUT_WORST);
            EXPECT(all_zero(dact, 5 * rig_steps(&g)));
            free(a);
            free(dact);
            rig_free(&g);
        }
}

TEST(a_state_that_diverges_at_the_end_costs_the_worst_even_if_no_term_looks_at_it)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        float      x[2] = { 0, 3e38f }, a[2] = { 0, 1 }, cost[2], dact[2] = { 1, 1 };

        small_rig(&g, 2, 1);
        g.k.c.horizon = 1;
        kit_linear(&g.k, (double[]){ 0, 0, 0, 0 }, (double[]){ 0, 3e38 });
        rig_open(&g, *isa);
        rig_gradient(&g, x, 1, 2, a, cost, dact);
        EXPECT(cost[0] < 1);
        EXPECT(cost[1] == ROLLOUT_WORST && dact[1] == 0);
        rig_free(&g);
    }
}

TEST(a_gradient_that_overflows_makes_the_cost_the_worst)
{
    /* x' = x + 1e38 a for a = 1e-36: the cost is 1e4, its slope 2e40. */
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct rig g;
        float      x[1] = { 0 }, a[2] = { 1e-36f, 0 }, cost[2], dact[2];

        small_rig(&g, 1, 1);
        g.k.c.horizon = 1;
        kit_linear(&g.k, (double[]){ 0 }, (double[]){ 1e38 });
        rig_open(&g, *isa);
        rig_gradient(&g, x, 1, 2, a, cost, dact);
        EXPECT(cost[0] == ROLLOUT_WORST && dact[0] == 0);
        EXPECT(cost[1] < 1 && isfinite(dact[1]));
        rig_free(&g);
    }
}

TEST(with_delay_every_net_has_its_gradient_from_its_own_start)
{
    struct rig g;
    struct rng r;
    float      x[3] = { 0.1f, 0.2f, 0.3f }, pending[2] = { 0.9f, -0.7f }, cost;

    rng_seed(&r, 6);
    small_rig(&g, 3, 2);
    g.k.d.input[0] = INPUT_ANGLE;
    kit_model(&g.k, 5);
    for (int i = 0; i < 3; i++)
        g.k.e.out_std[i] = 2; /* so that the nets part */
    rig_open(&g, NULL);
    float *a = random_actions(&g, &r, 1), *dact = gradients(&g, 1);

    rollout_begin(&g.r, 0, x, pending, 7);
    EXPECT(gradient_evaluate(&g.g, &g.r, 0, 1, a, &cost, dact, UINT64_MAX) == 1);
    double margin, want = true_rollout(&g, a, 0, a, &margin);
    EXPECT_NEAR(cost, want, 1e-5 * fabs(want));
    expect_gradient(&g, &r, a, dact);
    free(a);
    free(dact);
    rig_free(&g);
}

TEST(planner_gradient_is_the_slope_of_planner_evaluate)
{
    for (const char *const *isa = isa_names(); *isa; isa++) {
        struct kit k;
        float      x[3] = { 0.1f, 0.2f, 0.3f }, a[3 * 6], dact[6], cost[3], same;

        kit_defaults(&k, 3, 1);
        snprintf(k.c.name, sizeof k.c.name, "gradient");
        kit_model(&k, 5);
        kit_open(&k, *isa);
        for (int i = 0; i < 6; i++)
            a[i] = 0.3f * (float)(i % 3) - 0.2f;
        planner_gradient(k.p, 0, x, 9, 1, a, &same, dact);
        for (int i = 0; i < 6; i++) {
            memcpy(a + 6, a, 6 * sizeof *a);
            memcpy(a + 12, a, 6 * sizeof *a);
            a[6 + i] += 0.05f;
            a[12 + i] -= 0.05f;
            planner_evaluate(k.p, 0, x, 9, 3, a, cost);
            EXPECT_NEAR(same, cost[0], 3e-4 * (1 + fabs((double)cost[0])));
            EXPECT_NEAR(dact[i], (double)(cost[1] - cost[2]) / 0.1, 5e-3);
        }
        kit_free(&k);
    }
}

TEST(a_cost_above_the_worst_is_the_worst_and_has_no_slope)
{
    /* x' = x + 1e5 a: too dear for a = 1, not for a = 0.001. */
    struct rig g;
    float      x[1] = { 0 }, a[2] = { 1, 0.001f }, cost[2], dact[2];

    small_rig(&g, 1, 1);
    g.k.c.horizon = 1;
    kit_linear(&g.k, (double[]){ 0 }, (double[]){ 1e5 });
    rig_open(&g, NULL);
    rig_gradient(&g, x, 1, 2, a, cost, dact);
    EXPECT(cost[0] == ROLLOUT_WORST && dact[0] == 0);
    EXPECT_NEAR(cost[1], 1e4, 1);
    EXPECT_NEAR(dact[1], 2e7, 2e3);
    rig_free(&g);
}

struct member {
    struct team *team;
    int          worker;
    pthread_t    thread;
};

static void *member_thread(void *arg)
{
    struct member *m = arg;

    team_member(m->team, m->worker);
    return NULL;
}

TEST(a_gradient_is_the_same_with_any_number_of_workers)
{
    struct rig    g;
    struct rng    r;
    struct member member[5];
    float         x[3] = { 0.2f, 0, 1 }, cost[200], want[200];

    rng_seed(&r, 6);
    small_rig(&g, 3, 2);
    kit_model(&g.k, 5);
    float *a = random_actions(&g, &r, 200), *dact = gradients(&g, 200), *truth = gradients(&g, 200);

    for (int workers = 1; workers <= 5; workers += 2) {
        g.k.c.workers = workers;
        rig_open(&g, NULL);
        for (int w = 1; w < workers; w++) {
            member[w] = (struct member){ .team = g.r.team, .worker = w };
            CHECK(pthread_create(&member[w].thread, NULL, member_thread, &member[w]) == 0);
        }
        for (int again = 0; again < 20; again++) {
            rig_gradient(&g, x, 5, 200, a, cost, dact);
            if (workers == 1 && again == 0) {
                memcpy(want, cost, sizeof cost);
                memcpy(truth, dact, (size_t)(200 * rig_steps(&g)) * sizeof *dact);
            }
            EXPECT(!memcmp(want, cost, sizeof cost));
            EXPECT(!memcmp(truth, dact, (size_t)(200 * rig_steps(&g)) * sizeof *dact));
            memset(dact, 0, (size_t)(200 * rig_steps(&g)) * sizeof *dact);
        }
        team_dismiss(g.r.team);
        for (int w = 1; w < workers; w++)
            pthread_join(member[w].thread, NULL);
        rig_close(&g);
    }
    free(a);
    free(dact);
    free(truth);
    ensemble_free(&g.k.e);
}

TEST(a_past_deadline_does_nothing_and_a_late_one_everything)
{
    struct rig g;
    struct rng r;
    float      x[3] = { 0 }, cost[50];

    rng_seed(&r, 6);
    small_rig(&g, 3, 1);
    kit_model(&g.k, 5);
    rig_open(&g, NULL);
    float *a = random_actions(&g, &r, 50), *dact = gradients(&g, 50);

    rollout_begin(&g.r, 0, x, NULL, 1);
    EXPECT(gradient_evaluate(&g.g, &g.r, 0, 50, a, cost, dact, clock_now_ns()) == 0);
    EXPECT(gradient_evaluate(&g.g, &g.r, 0, 50, a, cost, dact, clock_now_ns() + 60000000000u) == 50);
    EXPECT(gradient_evaluate(&g.g, &g.r, 0, 0, a, cost, dact, UINT64_MAX) == 0);
    free(a);
    free(dact);
    rig_free(&g);
}

TEST(descent_along_the_gradient_finds_the_minimum_of_a_quadratic)
{
    /* x' = x + a, cost sum of (x - 1)^2 + 0.01 a^2 over one step: a = 1 / 1.01 from x = 0. */
    struct rig g;
    float      x[1] = { 0 }, a[1] = { -0.5f }, cost, dact[1];

    small_rig(&g, 1, 1);
    g.k.c.horizon           = 1;
    g.k.t.term[0].target[0] = 1;
    kit_linear(&g.k, (double[]){ 0 }, (double[]){ 1 });
    rig_open(&g, NULL);
    for (int i = 0; i < 60; i++) {
        rig_gradient(&g, x, 1, 1, a, &cost, dact);
        a[0] -= 0.3f * dact[0];
    }
    EXPECT_NEAR(a[0], 1 / 1.01, 1e-5);
    rig_free(&g);
}

/* Random ranges: the costs are the rollout's, and where nothing was held the gradient is the one without them. */
TEST(ranges_are_held_as_in_the_rollout_and_change_no_gradient_where_nothing_is_held)
{
    struct rng r;
    int        held = 0, free_ones = 0;

    rng_seed(&r, 17);
    for (int trial = 0; trial < test_rounds(30, 1000); trial++) {
        struct rig g;
        float      x[MAX_OBS];

        random_rig(&g, &r, (uint64_t)trial);
        int    n = 20, steps = rig_steps(&g);
        float *a = random_actions(&g, &r, n), *dact = gradients(&g, n), *cost = gradients(&g, n),
              *want = gradients(&g, n), *without = gradients(&g, n), *dwithout = gradients(&g, n);

        for (int i = 0; i < g.k.d.nx; i++)
            x[i] = (float)kit_between(&r, -1, 1);
        rig_open(&g, NULL);
        rig_gradient(&g, x, 123, n, a, without, dwithout);
        rig_close(&g);
        for (int i = 0; i < g.k.d.nx; i++)
            g.k.c.range[g.k.c.nrange++] = (struct state_range){ .obs  = i,
                                                                .rate = g.k.d.nx > 1 ? (i + 1) % g.k.d.nx : -1,
                                                                .low  = (float)kit_between(&r, -6, -1),
                                                                .high = (float)kit_between(&r, 1, 6) };
        for (const char *const *isa = isa_names(); *isa; isa++) {
            rig_open(&g, *isa);
            rig_gradient(&g, x, 123, n, a, cost, dact);
            rollout_evaluate(&g.r, 0, n, a, want, UINT64_MAX);
            for (int c = 0; c < n; c++) {
                double off = 0, size = 0;

                EXPECT_NEAR(cost[c], want[c], 3e-4 * (1 + fabs((double)want[c])));
                for (int i = c * steps; i < (c + 1) * steps; i++) {
                    off += fabs((double)(dact[i] - dwithout[i]));
                    size += fabs((double)dwithout[i]);
                }
                if (fabs((double)(cost[c] - without[c])) < 1e-6 * (1 + fabs((double)cost[c])) && off < 1e-4 * size)
                    free_ones++;
                else
                    held++;
            }
            rig_close(&g);
        }
        free(a);
        free(dact);
        free(cost);
        free(want);
        free(without);
        free(dwithout);
        ensemble_free(&g.k.e);
    }
    if (test_rounds(30, 1000) >= 30) /* enough for some of each */
        EXPECT(held > 0 && free_ones > 0);
}

TEST(at_the_end_of_a_range_only_what_leads_inside_again_has_a_slope)
{
    /* position' = position + rate, rate' = rate + a; cost: weight times the last position. */
    for (int weight = -1; weight <= 1; weight += 2)
        for (int side = -1; side <= 1; side += 2) {
            struct rig g;
            float      push = (float)side, x[2] = { push, 0 }, a[3] = { push, push, 0 }, cost, dact[3];

            small_rig(&g, 2, 1);
            g.k.c.horizon     = 3;
            g.k.c.propagation = PARTICLES_MEAN;
            g.k.c.nrange      = 1;
            g.k.c.range[0]    = (struct state_range){ .obs = 0, .rate = -1, .low = -1.5f, .high = 1.5f };
            g.k.t.nterm       = 1;
            g.k.t.term[0]     = (struct task_term){
                    .kind = TERM_OBSERVATION, .form = FORM_LINEAR, .weight = weight, .n = 1, .scale = { 1 }
            };
            kit_linear(&g.k, (double[]){ 0, 1, 0, 0 }, (double[]){ 0, 1 });
            rig_open(&g, NULL);
            /* The second step is held; the third, too.  A cost that falls further outside leads nowhere. */
            rig_gradient(&g, x, 1, 1, a, &cost, dact);
            EXPECT_NEAR(cost, weight * side * (1 + 1.5 + 1.5), 1e-4);
            double inside = weight * side > 0;

            EXPECT_NEAR(dact[0], inside * weight * 3,
                        1e-3); /* moves the second and third position, and that through the second */
            EXPECT_NEAR(dact[1], inside * weight, 1e-3);
            EXPECT_NEAR(dact[2], 0, 1e-3);
            rig_close(&g);

            /* With its rate held, too, what came before has no part in it. */
            g.k.c.range[0].rate = 1;
            rig_open(&g, NULL);
            rig_gradient(&g, x, 1, 1, a, &cost, dact);
            EXPECT_NEAR(dact[0], inside * weight * 2, 1e-3);
            EXPECT_NEAR(dact[1], 0, 1e-3);
            rig_free(&g);
        }
}
