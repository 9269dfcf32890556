/* search_knots.c - sequences from fewer numbers: action repeat and knots of a spline.
 *
 * The horizon is cut into decisions, each held for `repeat` steps; knots spread evenly over the decisions, the first at
 * the first, the last at the last (zero order: each holds an equal share).  Either way a sequence is linear in the point,
 * sequence = B point for each action, and B is worked out once, with its pseudo-inverse (B'B)^-1 B' that finds the point
 * nearest to a sequence: a plan moved on in time.  Cubic splines may overshoot their knots: sequences are clipped. */
#include "planner/search_parts.h"

static int repeat_of(const struct planner_config *c)
{
    return c->repeat > 1 ? c->repeat : 1;
}

static int decisions(const struct planner_config *c)
{
    return (c->horizon + repeat_of(c) - 1) / repeat_of(c);
}

int search_points(const struct planner_config *c)
{
    return c->knots > 0 ? c->knots : decisions(c);
}

const char *search_knots_error(const struct planner_config *c)
{
    if (c->repeat < 0 || c->repeat > c->horizon)
        return "repeat: expected 1 .. horizon";
    if (c->knots < 0 || c->knots > decisions(c))
        return "knots: expected at most the horizon, or the horizon / repeat; 0 for none";
    if (c->spline != SPLINE_ZERO && c->spline != SPLINE_LINEAR && c->spline != SPLINE_CUBIC)
        return "spline: expected zero, linear or cubic";
    return NULL;
}

/* Weights of K knots in the decision t of T, added to row. */
static void spline_weights(enum spline_kind spline, int K, int T, int t, double *row)
{
    if (spline == SPLINE_ZERO || K == 1) {
        row[t * K / T] += 1;
        return;
    }
    int    at = t * (K - 1), k = at / (T - 1); /* knot k stands at k (T - 1) / (K - 1) */
    double u = (double)(at - k * (T - 1)) / (T - 1);

    if (u <= 0) {
        row[k] += 1;
        return;
    }
    if (spline == SPLINE_LINEAR) {
        row[k] += 1 - u;
        row[k + 1] += u;
        return;
    }
    /* Hermite on [k, k + 1]; the slope at a knot is the difference of its neighbours over their distance. */
    double u2 = u * u, u3 = u2 * u, slope[2] = { u3 - 2 * u2 + u, u3 - u2 };

    row[k] += 2 * u3 - 3 * u2 + 1;
    row[k + 1] += 3 * u2 - 2 * u3;
    for (int end = 0; end < 2; end++) {
        int before = k + end > 0 ? k + end - 1 : 0, after = k + end < K - 1 ? k + end + 1 : K - 1;

        row[after] += slope[end] / (after - before);
        row[before] -= slope[end] / (after - before);
    }
}

/* X <- A^-1 X for symmetric positive definite A (n x n) and X (n x m), by elimination; A is destroyed. */
static void solve(int n, int m, double A[][MAX_HORIZON], double X[][MAX_HORIZON])
{
    for (int k = 0; k < n; k++) {
        CHECK(A[k][k] > 1e-9); /* the knots determine the sequence and the other way round */
        for (int i = 0; i < n; i++) {
            double f = A[i][k] / A[k][k];

            if (i == k || f == 0)
                continue;
            for (int j = k; j < n; j++)
                A[i][j] -= f * A[k][j];
            for (int j = 0; j < m; j++)
                X[i][j] -= f * X[k][j];
        }
    }
    for (int k = 0; k < n; k++)
        for (int j = 0; j < m; j++)
            X[k][j] /= A[k][k];
}

void search_knots_init(struct search *s)
{
    int    H = s->config.horizon, D = s->points, T = decisions(&s->config), R = repeat_of(&s->config);
    double B[MAX_HORIZON][MAX_HORIZON] = { { 0 } }, A[MAX_HORIZON][MAX_HORIZON], X[MAX_HORIZON][MAX_HORIZON];

    if (!s->basis)
        return;
    for (int h = 0; h < H; h++)
        spline_weights(s->config.spline, D, T, h / R, B[h]);
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
            A[i][j] = 0;
            for (int h = 0; h < H; h++)
                A[i][j] += B[h][i] * B[h][j];
        }
        for (int h = 0; h < H; h++)
            X[i][h] = B[h][i];
    }
    solve(D, H, A, X);
    for (int h = 0; h < H; h++)
        for (int k = 0; k < D; k++) {
            s->basis[h * D + k]   = (float)B[h][k];
            s->inverse[k * H + h] = (float)X[k][h];
        }
}

/* One number of the sequence, before it is clipped. */
static float expanded(const struct search *s, const float *x, int h, int j)
{
    const float *b   = s->basis + h * s->points;
    float        sum = 0;

    for (int k = 0; k < s->points; k++)
        sum += b[k] * x[k * s->bounds.na + j];
    return sum;
}

static float clip_action(const struct search *s, int j, float x)
{
    return search_clip(s, j, x); /* bounds are the same for every decision */
}

void search_expand(const struct search *s, const float *x, float *sequence)
{
    int na = s->bounds.na;

    if (!s->basis) {
        if (sequence != x)
            search_copy(s, sequence, x);
        return;
    }
    for (int h = 0; h < s->config.horizon; h++)
        for (int j = 0; j < na; j++)
            sequence[h * na + j] = clip_action(s, j, expanded(s, x, h, j));
}

void search_project(const struct search *s, const float *sequence, float *x)
{
    int na = s->bounds.na, H = s->config.horizon;

    for (int k = 0; k < s->points; k++)
        for (int j = 0; j < na; j++) {
            float sum = 0;

            for (int h = 0; s->basis && h < H; h++)
                sum += s->inverse[k * H + h] * sequence[h * na + j];
            x[k * na + j] = clip_action(s, j, s->basis ? sum : sequence[k * na + j]);
        }
}

bool search_slope(const struct search *s, int c, float *g)
{
    const float *d = s->slope + (size_t)c * (size_t)s->full, *x = search_row(s, s->x, c);
    int          na   = s->bounds.na;
    bool         fine = true;

    memset(g, 0, (size_t)s->n * sizeof *g);
    for (int h = 0; h < s->config.horizon; h++)
        for (int j = 0; j < na; j++) {
            float slope = d[h * na + j];

            fine = fine && isfinite(slope);
            if (!s->basis) {
                g[h * na + j] = slope;
                continue;
            }
            float a = expanded(s, x, h, j);
            if (a < s->low[j] || a > s->high[j])
                continue; /* clipped: it does not move with the knots */
            for (int k = 0; k < s->points; k++)
                g[k * na + j] += s->basis[h * s->points + k] * slope;
        }
    for (int i = 0; i < s->n; i++) {
        g[i] = (float)((double)g[i] * search_half(s, i));
        fine = fine && isfinite(g[i]);
    }
    return fine;
}
