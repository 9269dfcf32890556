/* search_cmaes.c - (mu/mu_w, lambda)-CMA-ES as in Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv 1604.00772):
 * figure 6 with the defaults of table 1 and positive weights only; its equation numbers are those below.  Above
 * SEARCH_FULL dimensions the diagonal alone is learned, faster by (n + 2) / 3 (sep-CMA-ES, Ros & Hansen 2008).
 *
 * Coordinates are y = (x - mean) / (init_std half range), so at every planning step sigma = 1 and C = I.  Candidates out
 * of bounds are clipped, and it is the clipped ones that are learned from.  Mean shifted, last action repeated. */
#include "planner/search_parts.h"

static const double LEAST   = 1e-20; /* eigenvalue: a coordinate that cannot move keeps an axis */
static const double SETTLED = 1e-7;  /* longest axis, in initial stds: a float says no more     */

struct weights {
    int    mu;
    double mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu;
};

static int half_population(const struct planner_config *c)
{
    return c->population / 2;
}

static const char *error(const struct planner_config *c, int na)
{
    if (c->population < 4)
        return "population: expected at least 4 with cmaes";
    return search_init_std_error(c, na);
}

static void layout(struct search *s, struct arena *a)
{
    size_t n = (size_t)s->n, size = s->n <= SEARCH_FULL ? n * n : n;

    s->cma.whole  = s->n <= SEARCH_FULL;
    s->cma.C      = ARENA_ARRAY(a, double, size);
    s->cma.axes   = ARENA_ARRAY(a, double, size);
    s->cma.work   = ARENA_ARRAY(a, double, 2 * size);
    s->cma.length = ARENA_ARRAY(a, double, n);
    s->cma.ps     = ARENA_ARRAY(a, double, n);
    s->cma.pc     = ARENA_ARRAY(a, double, n);
    s->cma.y      = ARENA_ARRAY(a, double, 3 * n);
    s->cma.w      = ARENA_ARRAY(a, double, half_population(&s->config));
}

static void identity(const struct search *s, double *A)
{
    for (int i = 0; i < s->n; i++) {
        for (int j = 0; s->cma.whole && j < s->n; j++)
            A[i * s->n + j] = i == j;
        if (!s->cma.whole)
            A[i] = 1;
    }
}

static void begin(struct search *s)
{
    search_begin_var(s);
    identity(s, s->cma.C);
    identity(s, s->cma.axes);
    for (int i = 0; i < s->n; i++) {
        s->std[i]        = (float)search_std(s, i);
        s->cma.length[i] = 1;
        s->cma.ps[i] = s->cma.pc[i] = 0;
    }
    s->cma.sigma = 1;
    s->cma.stale = 0;
}

static int sample(struct search *s, int it, int n, const float *z)
{
    int     dim = s->n;
    double *y   = s->cma.y;

    (void)it;
    for (int c = 0; c < n; c++) {
        const float *from = search_noise(s, z, c);
        float       *x    = search_row(s, s->x, c);

        /* y = axes' (length z) */
        for (int i = 0; i < dim; i++)
            y[i] = s->cma.whole ? 0 : s->cma.length[i] * (double)from[i];
        for (int k = 0; s->cma.whole && k < dim; k++) {
            const double *axis = s->cma.axes + k * dim;
            double        far  = s->cma.length[k] * (double)from[k];

            for (int i = 0; i < dim; i++)
                y[i] += far * axis[i];
        }
        for (int i = 0; i < dim; i++)
            x[i] = search_clip(s, i, (float)((double)s->mean[i] + s->cma.sigma * (double)s->std[i] * y[i]));
    }
    return n;
}

/* Table 1 for lambda candidates in n dimensions. */
static struct weights weights_for(const struct search *s, int lambda)
{
    struct weights c   = { .mu = s->elites < (lambda + 1) / 2 ? s->elites : (lambda + 1) / 2 };
    double         sum = 0, squares = 0, n = s->n;

    for (int i = 0; i < c.mu; i++) {
        s->cma.w[i] = log((lambda + 1) / 2.0) - log(i + 1); /* (49) */
        if (i > 0 && s->cma.w[i] <= 0)
            c.mu = i;
        else
            sum += s->cma.w[i];
    }
    if (!(sum > 0)) /* a single candidate */
        s->cma.w[0] = sum = 1;
    for (int i = 0; i < c.mu; i++) {
        s->cma.w[i] /= sum;
        squares += s->cma.w[i] * s->cma.w[i];
    }
    c.mu_eff      = 1 / squares;
    c.c_sigma     = (c.mu_eff + 2) / (n + c.mu_eff + 5); /* (55) */
    double excess = sqrt((c.mu_eff - 1) / (n + 1)) - 1;
    c.d_sigma     = 1 + 2 * (excess > 0 ? excess : 0) + c.c_sigma;
    c.c_c         = (4 + c.mu_eff / n) / (n + 4 + 2 * c.mu_eff / n);                           /* (56) */
    c.c_1         = 2 / ((n + 1.3) * (n + 1.3) + c.mu_eff);                                    /* (57) */
    c.c_mu        = 2 * (0.25 + c.mu_eff + 1 / c.mu_eff - 2) / ((n + 2) * (n + 2) + c.mu_eff); /* (58), alpha_cov = 2 */
    if (!s->cma.whole) {
        c.c_1 *= (n + 2) / 3;
        c.c_mu *= (n + 2) / 3;
    }
    c.c_1  = c.c_1 < 1 ? c.c_1 : 1;
    c.c_mu = c.c_mu < 1 - c.c_1 ? c.c_mu : 1 - c.c_1;
    return c;
}

/* y of candidate c, from where it was evaluated.  A proposal can be far out: in the first iteration, where C = I, a step
 * is at most sqrt(n) + 2 n / (n + 2) long (Hansen 2011, "Injecting external solutions into CMA-ES"). */
static void step_of(const struct search *s, int it, int c, double *y)
{
    const float *x      = search_row(s, s->x, c);
    double       square = 0, most = sqrt(s->n) + 2.0 * s->n / (s->n + 2);

    for (int i = 0; i < s->n; i++) {
        y[i] = s->std[i] > 0 ? ((double)x[i] - (double)s->mean[i]) / (s->cma.sigma * (double)s->std[i]) : 0;
        square += y[i] * y[i];
    }
    for (int i = 0; it == 0 && square > most * most && i < s->n; i++)
        y[i] *= most / sqrt(square);
}

/* to = C^-1/2 y */
static void whiten(const struct search *s, const double *y, double *to)
{
    int n = s->n;

    for (int i = 0; i < n; i++)
        to[i] = s->cma.whole ? 0 : y[i] / s->cma.length[i];
    for (int k = 0; s->cma.whole && k < n; k++) {
        const double *axis = s->cma.axes + k * n;
        double        dot  = 0;

        for (int i = 0; i < n; i++)
            dot += axis[i] * y[i];
        for (int i = 0; i < n; i++)
            to[i] += axis[i] * dot / s->cma.length[k];
    }
}

/* C <- keep C + w v v' */
static void add_outer(struct search *s, double keep, double w, const double *v)
{
    int n = s->n;

    for (int i = 0; i < n; i++) {
        for (int j = 0; s->cma.whole && j < n; j++)
            s->cma.C[i * n + j] = keep * s->cma.C[i * n + j] + w * v[i] * v[j];
        if (!s->cma.whole)
            s->cma.C[i] = keep * s->cma.C[i] + w * v[i] * v[i];
    }
}

static void rotate(int n, double c, double s, double *a, double *b, int stride)
{
    for (int i = 0; i < n; i++) {
        double x = a[i * stride], y = b[i * stride];

        a[i * stride] = c * x - s * y;
        b[i * stride] = s * x + c * y;
    }
}

/* Eigenvectors of C into the rows of axes and square roots of its eigenvalues into length: cyclic Jacobi (Golub & Van
 * Loan, section 8.5), from the last axes, in which C is nearly diagonal; always the same order. */
static void find_axes(struct search *s)
{
    int     n = s->n;
    double *V = s->cma.axes, *A = s->cma.work, *VC = s->cma.work + n * n, trace = 0;

    for (int k = 0; k < n; k++) /* A = V C V' */
        for (int j = 0; j < n; j++) {
            double sum = 0;

            for (int i = 0; i < n; i++)
                sum += V[k * n + i] * s->cma.C[j * n + i];
            VC[k * n + j] = sum;
        }
    for (int k = 0; k < n; k++)
        for (int l = 0; l <= k; l++) {
            double sum = 0;

            for (int j = 0; j < n; j++)
                sum += VC[k * n + j] * V[l * n + j];
            A[k * n + l] = A[l * n + k] = sum;
        }
    for (int k = 0; k < n; k++)
        trace += A[k * n + k];

    for (int sweep = 0, busy = 1; busy && sweep < 20; sweep++) {
        busy = 0;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                double apq = A[p * n + q];

                if (fabs(apq) <= 1e-11 * trace / n)
                    continue;
                double theta = (A[q * n + q] - A[p * n + p]) / (2 * apq);
                double t     = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                double cs = 1 / sqrt(t * t + 1), sn = t * cs;

                busy = 1;
                rotate(n, cs, sn, A + p, A + q, n);         /* columns */
                rotate(n, cs, sn, A + p * n, A + q * n, 1); /* rows    */
                rotate(n, cs, sn, V + p * n, V + q * n, 1);
            }
    }
    for (int k = 0; k < n; k++) {
        double least = 1e-14 * trace > LEAST ? 1e-14 * trace : LEAST; /* axes are at most 1e7 apart */

        s->cma.length[k] = sqrt(A[k * n + k] > least ? A[k * n + k] : least);
    }
}

static bool refit(struct search *s, int it, int evaluated)
{
    struct weights c    = weights_for(s, evaluated);
    int            n    = s->n;
    double        *step = s->cma.y, *one = step + n, *white = one + n, cost = 0, square = 0;
    double         chi = sqrt(n) * (1 - 1 / (4.0 * n) + 1 / (21.0 * n * n)); /* expected length of N(0, I) */

    /* mean (41), (42); the covariance's rank-mu part (47) is added as we go, with the paths' part after it. */
    memset(step, 0, (size_t)n * sizeof *step);
    for (int k = 0; k < c.mu; k++) {
        step_of(s, it, s->rank[k], one);
        for (int i = 0; i < n; i++)
            step[i] += s->cma.w[k] * one[i];
        cost += s->cma.w[k] * (double)s->cost[s->rank[k]];
    }
    s->elite_cost = cost;

    /* step-size path (43), sigma (44) */
    whiten(s, step, white);
    for (int i = 0; i < n; i++) {
        s->cma.ps[i] = (1 - c.c_sigma) * s->cma.ps[i] + sqrt(c.c_sigma * (2 - c.c_sigma) * c.mu_eff) * white[i];
        square += s->cma.ps[i] * s->cma.ps[i];
    }
    double length  = sqrt(square) / chi;
    bool   stalled = length / sqrt(1 - pow(1 - c.c_sigma, 2 * (it + 1))) >= 1.4 + 2 / (n + 1.0); /* 1 - h_sigma */

    /* covariance path (45), covariance (47) */
    for (int i = 0; i < n; i++)
        s->cma.pc[i] = (1 - c.c_c) * s->cma.pc[i] + (stalled ? 0 : sqrt(c.c_c * (2 - c.c_c) * c.mu_eff) * step[i]);
    double missing = stalled ? c.c_c * (2 - c.c_c) : 0;
    add_outer(s, 1 - c.c_1 - c.c_mu + c.c_1 * missing, c.c_1, s->cma.pc);
    for (int k = 0; k < c.mu; k++) {
        step_of(s, it, s->rank[k], one);
        add_outer(s, 1, c.c_mu * s->cma.w[k], one);
    }

    for (int i = 0; i < n; i++)
        s->mean[i] = search_clip(s, i, (float)((double)s->mean[i] + s->cma.sigma * (double)s->std[i] * step[i]));
    double grow = c.c_sigma / c.d_sigma * (length - 1);
    s->cma.sigma *= exp(grow < 1 ? grow : 1);
    s->cma.sigma = s->cma.sigma < 1e3 ? s->cma.sigma : 1e3;

    /* The axes may lag behind by this many iterations (appendix B.2). */
    s->cma.stale += 1;
    if (!s->cma.whole)
        for (int i = 0; i < n; i++)
            s->cma.length[i] = sqrt(s->cma.C[i] > LEAST ? s->cma.C[i] : LEAST);
    else if (s->cma.stale > 1 / (10 * n * (c.c_1 + c.c_mu))) {
        find_axes(s);
        s->cma.stale = 0;
    }
    double longest = 0;
    for (int i = 0; i < n; i++)
        longest = s->cma.length[i] > longest ? s->cma.length[i] : longest;
    return !(s->cma.sigma * longest > SETTLED);
}

const struct search_kind search_cmaes = {
    .name   = "cmaes",
    .noise  = NOISE_NORMAL,
    .error  = error,
    .ranked = half_population,
    .draws  = search_population,
    .layout = layout,
    .begin  = begin,
    .sample = sample,
    .refit  = refit,
};
