/* task.c - the cost in plain loops and double precision: the truth for planner/lanes.c, and the return of a trial. */
#include "planner/task.h"

#include <math.h>

/* p += R v by */
static void advance(double p[3], double R[3][3], const double v[3], double by)
{
    for (int i = 0; i < 3; i++)
        p[i] += (R[i][0] * v[0] + R[i][1] * v[1] + R[i][2] * v[2]) * by;
}

/* R = R (cos q I + (1 - cos q) a a' + sin q [a]x)   (Rodrigues) */
static void turn(double R[3][3], const double a[3], double q)
{
    double c = cos(q), s = sin(q), T[3][3];

    for (int i = 0; i < 3; i++) {
        int k = (i + 1) % 3, l = (i + 2) % 3;

        T[i][i] = c + (1 - c) * a[i] * a[i];
        T[i][k] = (1 - c) * a[i] * a[k] - s * a[l];
        T[i][l] = (1 - c) * a[i] * a[l] + s * a[k];
    }
    for (int i = 0; i < 3; i++) {
        double r[3] = { R[i][0], R[i][1], R[i][2] };

        for (int k = 0; k < 3; k++)
            R[i][k] = r[0] * T[0][k] + r[1] * T[1][k] + r[2] * T[2][k];
    }
}

void task_frame_position(const struct task *t, int f, const float *x, double p[3])
{
    const struct task_frame *frame   = &t->frame[f];
    double                   R[3][3] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } };

    p[0] = p[1] = p[2] = 0;
    for (int l = 0; l < frame->nlink; l++) {
        const struct task_link *link = &frame->link[l];

        advance(p, R, link->offset, 1);
        if (link->obs < 0)
            continue;
        if (link->type == JOINT_PRISMATIC)
            advance(p, R, link->axis, (double)x[link->obs]);
        else
            turn(R, link->axis, (double)x[link->obs]);
    }
    advance(p, R, frame->tip, 1);
}

/* The term's cost from what its entries add up to. */
static double form_cost(const struct task_term *term, double sum)
{
    return term->weight * (term->form == FORM_EXP ? exp(-sum / (term->width * term->width)) : sum);
}

/* What one difference adds. */
static double form_entry(enum term_form form, double d)
{
    return form == FORM_ABS ? fabs(d) : form == FORM_LINEAR ? d : d * d;
}

static double entry(const struct task_term *term, int i, double value, const float *x)
{
    double observed = term->target_observed ? (double)x[term->target_obs[i]] : 0;

    return form_entry(term->form, (value - observed - term->target[i]) * term->scale[i]);
}

void task_path_lay(struct task_path *p)
{
    double s = 0;

    for (int i = 0; i + 1 < p->n; i++) {
        double dx = p->point[i + 1][0] - p->point[i][0], dy = p->point[i + 1][1] - p->point[i][1];

        p->length[i]   = sqrt(dx * dx + dy * dy);
        p->along[i][0] = dx / p->length[i];
        p->along[i][1] = dy / p->length[i];
        p->start[i]    = s;
        s += p->length[i];
    }
}

/* Squared distance of x, y from the path; the arc length there to *s. */
static double path_nearest(const struct task_path *p, double x, double y, double *s)
{
    double best = 0;

    for (int i = 0; i + 1 < p->n; i++) {
        const double *u  = p->along[i];
        double        rx = x - p->point[i][0], ry = y - p->point[i][1], t = rx * u[0] + ry * u[1];

        t         = t < 0 ? 0 : t > p->length[i] ? p->length[i] : t; /* NaN stays */
        double ex = rx - t * u[0], ey = ry - t * u[1], d2 = ex * ex + ey * ey;
        if (i == 0 || d2 < best) {
            best = d2;
            *s   = p->start[i] + t;
        }
    }
    return best;
}

/* What adds up to a term of path's cost. */
static double path_off(const struct task_term *term, const float *x)
{
    double s, d2 = path_nearest(&term->path, (double)x[term->index[0]], (double)x[term->index[1]], &s);

    return term->form == FORM_ABS ? sqrt(d2) : d2;
}

static double potential(const struct task *t, const float *x, bool shaped)
{
    double sum = 0, s;

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];

        if (term->kind != TERM_PROGRESS || (term->shaping && !shaped))
            continue;
        path_nearest(&term->path, (double)x[term->index[0]], (double)x[term->index[1]], &s);
        sum += term->weight * s;
    }
    return sum;
}

int task_ended(const struct task_end *end, int nend, const float *x)
{
    for (int i = 0; i < nend; i++)
        if (!((double)x[end[i].obs] >= end[i].low && (double)x[end[i].obs] <= end[i].high))
            return i;
    return -1;
}

static double obs_cost(const struct task *t, const float *x, bool shaped)
{
    double cost = 0;

    for (int k = 0; k < t->nterm; k++) {
        const struct task_term *term = &t->term[k];
        double                  sum  = 0, p[3];

        if (term->shaping && !shaped)
            continue;
        switch (term->kind) {
        case TERM_OBSERVATION:
            for (int i = 0; i < term->n; i++)
                sum += entry(term, i, (double)x[term->index[i]], x);
            break;
        case TERM_FRAME:
            task_frame_position(t, term->frame, x, p);
            for (int i = 0; i < 3; i++)
                sum += entry(term, i, p[i], x);
            break;
        case TERM_PATH: sum = path_off(term, x); break;
        case TERM_ALIVE: sum = 1; break;
        case TERM_EFFORT:
        case TERM_PROGRESS: continue;
        }
        cost += form_cost(term, sum);
    }
    return cost;
}

static double act_cost(const struct task *t, const float *a, int na, bool shaped)
{
    double cost = 0;

    for (int k = 0; k < t->nterm; k++) {
        double sum = 0;

        if (t->term[k].kind != TERM_EFFORT || (t->term[k].shaping && !shaped))
            continue;
        for (int i = 0; i < na; i++)
            sum += form_entry(t->term[k].form, (double)a[i]);
        cost += form_cost(&t->term[k], sum);
    }
    return cost;
}

double task_obs_cost(const struct task *t, const float *x)
{
    return obs_cost(t, x, true);
}

double task_act_cost(const struct task *t, const float *a, int na)
{
    return act_cost(t, a, na, true);
}

double task_potential(const struct task *t, const float *x)
{
    return potential(t, x, true);
}

double task_reward(const struct task *t, const float *x, const float *a, int na, const float *next)
{
    return -(obs_cost(t, t->return_at == RETURN_AT_CURRENT ? x : next, false) + act_cost(t, a, na, false) +
             potential(t, next, false) - potential(t, x, false));
}
