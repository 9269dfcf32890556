#include "daemon/filter.h"

#include <math.h>

/* Comparisons, not fmin/fmax: those turn NaN into a limit, that is, into full torque. */
static double clip(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

uint32_t filter_effort(const struct filter_limits *lim, const double *want, const double *baseline, const double *last,
                       double *out)
{
    uint32_t bits = 0;

    for (int j = 0; j < lim->nj; j++) {
        if (!lim->actuated[j]) {
            out[j] = 0;
            continue;
        }
        double tau = want[j];
        if (!isfinite(tau)) {
            bits |= FILTER_NONFINITE;
            tau = baseline[j];
        }
        if (!isfinite(tau)) {
            bits |= FILTER_DAMP;
            tau = 0;
        }
        double bounded = clip(tau, -lim->effort[j], lim->effort[j]);
        if (bounded != tau)
            bits |= FILTER_ABSOLUTE;
        double slow = clip(bounded, last[j] - lim->step[j], last[j] + lim->step[j]);
        if (slow != bounded)
            bits |= FILTER_RATE;
        out[j] = clip(slow, -lim->effort[j], lim->effort[j]);
        if (!isfinite(out[j])) {
            bits |= FILTER_DAMP;
            out[j] = 0;
        }
    }
    return bits;
}
