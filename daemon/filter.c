#include "daemon/filter.h"

#include <math.h>
#include <string.h>

enum { LATE_TICKS = 100 };

static const double WINDOW_S = 0.25;
static const double COOL     = 0.2; /* 1 - the heat from which on the limit falls */

/* Not a number where any of the three is not, so that the last stage sees it; fmin, fmax or a comparison that a NaN fails
 * would turn it into a limit, that is, into full torque. */
static double clip(double x, double lo, double hi)
{
    if (isnan(x) || !(lo <= hi))
        return (double)NAN;
    return x < lo ? lo : x > hi ? hi : x;
}

/* clip, and `bit` where that changed anything. */
static double stage(double x, double lo, double hi, uint32_t bit, uint32_t *bits)
{
    double y = clip(x, lo, hi);

    if (!(y == x))
        *bits |= bit;
    return y;
}

bool filter_can_stop(double distance, double v, double brake, double tick_s)
{
    v = v <= 0 ? 0 : v;
    return v * v <= 2 * brake * (distance - 2 * tick_s * v);
}

static double envelope(const struct filter_limits *lim, const struct filter_input *in, int j, double tau,
                       uint32_t *bits)
{
    double q = in->position[j], v = in->velocity[j], inf = (double)INFINITY;

    if (lim->brake[j] >= inf)
        return tau;
    double hi = filter_can_stop(lim->high[j] - q, v, lim->brake[j], lim->tick_s) ? inf : 0;
    double lo = filter_can_stop(q - lim->low[j], -v, lim->brake[j], lim->tick_s) ? -inf : 0;
    if (!isfinite(q) || !isfinite(v))
        lo = hi = 0;
    return stage(tau, lo, hi, FILTER_ENVELOPE, bits);
}

static double limit(const struct filter_limits *lim, int j)
{
    return lim->effort[j] < FILTER_EFFORT_CEILING ? lim->effort[j] : FILTER_EFFORT_CEILING;
}

double filter_most(const struct filter_limits *lim, const struct filter_window *w, int j)
{
    double effort = limit(lim, j);

    if (lim->continuous[j] >= effort)
        return effort;
    double hot = 1 - clip(w->cool[j] / COOL, 0, 1);
    return effort - hot * (effort - lim->continuous[j]);
}

static double thermal(const struct filter_limits *lim, const struct filter_window *w, int j, double tau, uint32_t *bits)
{
    if (lim->continuous[j] >= limit(lim, j))
        return tau;
    double most = filter_most(lim, w, j);
    return stage(tau, -most, most, FILTER_THERMAL, bits);
}

/* Away from zero by `up`; towards it by `down`; what is left of `down` at zero goes on beyond it, by at most `up`. */
static double rate(const struct filter_limits *lim, const struct filter_input *in, int j, double tau, uint32_t *bits)
{
    double last = fabs(in->last[j]), up = lim->up[j], down = lim->down[j];
    double most = last + up, least = last - down < -up ? -up : last - down;

    return in->last[j] < 0 ? stage(tau, -most, -least, FILTER_RATE, bits) : stage(tau, least, most, FILTER_RATE, bits);
}

static double windowed(const struct filter_limits *lim, const struct filter_window *w, int j, double tau,
                       uint32_t *bits)
{
    double least = (double)INFINITY, most = -(double)INFINITY;

    if (lim->growth[j] >= (double)INFINITY)
        return tau;
    for (int p = 0; p < WINDOW_PARTS; p++) {
        least = w->least[p][j] < least ? w->least[p][j] : least;
        most  = w->most[p][j] > most ? w->most[p][j] : most;
    }
    return stage(tau, (most < 0 ? most : 0) - lim->growth[j], (least > 0 ? least : 0) + lim->growth[j], FILTER_WINDOW,
                 bits);
}

static double powered(const struct filter_limits *lim, const struct filter_input *in, int j, double tau, uint32_t *bits)
{
    double v = fabs(in->velocity[j]), most = (double)INFINITY;

    if (lim->power[j] >= (double)INFINITY)
        return tau;
    if (!isfinite(v))
        most = 0;
    else if (v > 0)
        most = lim->power[j] / v;
    return stage(tau, -most, most, FILTER_POWER, bits);
}

static double joint(const struct filter_limits *lim, const struct filter_window *w, const struct filter_input *in,
                    int j, uint32_t *bits)
{
    double effort = limit(lim, j), tau = in->want[j];

    if (!isfinite(tau)) {
        *bits |= FILTER_NONFINITE;
        tau = in->baseline[j];
    }
    if (!isfinite(tau)) {
        *bits |= FILTER_DAMP;
        tau = 0;
    }
    tau = envelope(lim, in, j, tau, bits);
    tau = stage(tau, -effort, effort, FILTER_ABSOLUTE, bits);
    tau = thermal(lim, w, j, tau, bits);
    tau = rate(lim, in, j, tau, bits);
    tau = windowed(lim, w, j, tau, bits);
    tau = powered(lim, in, j, tau, bits);
    tau = rate(lim, in, j, tau, bits); /* the stages between may have asked for less than may go at once */
    tau = clip(tau, -effort, effort);  /* rounding of last +- step */
    if (!isfinite(tau)) {
        *bits |= FILTER_DAMP;
        tau = 0;
    }
    return tau;
}

uint32_t filter_effort(const struct filter_limits *lim, const struct filter_window *window,
                       const struct filter_input *in, double *out)
{
    uint32_t bits = 0;

    for (int j = 0; j < lim->nj; j++)
        out[j] = lim->actuated[j] ? joint(lim, window, in, j, &bits) : 0;
    return bits;
}

/* One tick of these efforts. */
static void heat(const struct filter_limits *lim, struct filter_window *w, const double *effort)
{
    for (int j = 0; j < lim->nj; j++) {
        if (lim->continuous[j] >= (double)INFINITY)
            continue;
        double u   = effort[j] / lim->continuous[j];
        w->cool[j] = lim->keep[j] * w->cool[j] + (1 - lim->keep[j]) * (1 - u * u);
    }
}

void filter_time(const struct filter_limits *lim, struct filter_window *w, const double *in_force, double gap_s)
{
    w->late_s += gap_s - lim->tick_s;
    for (int n = 0; n < LATE_TICKS && w->late_s >= lim->tick_s; n++) {
        w->late_s -= lim->tick_s;
        heat(lim, w, in_force);
    }
    w->late_s = w->late_s >= lim->tick_s ? 0 : w->late_s;
}

void filter_sent(const struct filter_limits *lim, struct filter_window *w, const double *sent)
{
    if (w->ticks > 0 && w->ticks * lim->tick_s >= WINDOW_S / (WINDOW_PARTS - 1)) {
        w->part  = (w->part + 1) % WINDOW_PARTS;
        w->ticks = 0;
    }
    for (int j = 0; j < lim->nj; j++) {
        double *least = &w->least[w->part][j], *most = &w->most[w->part][j];

        *least = w->ticks == 0 || sent[j] < *least ? sent[j] : *least;
        *most  = w->ticks == 0 || sent[j] > *most ? sent[j] : *most;
    }
    w->ticks++;
    if (w->late_s <= -lim->tick_s) /* ticks came early, and this one is one too many */
        w->late_s += lim->tick_s;
    else
        heat(lim, w, sent);
}
