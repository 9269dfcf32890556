/* The torque filter against an oracle of its own, over every kind of number. */
#include <float.h>

#include "daemon/filter.h"
#include "daemon/rt/rng.h"
#include "tests/test.h"

static double hostile(struct rng *r, double limit)
{
    static const double special[] = { 0, -0.0, (double)NAN, (double)INFINITY, (double)-INFINITY, DBL_MAX, -DBL_MAX,
                                      DBL_MIN, 5e-324, 1e300 };
    switch (rng_below(r, 4)) {
    case 0: return special[rng_below(r, sizeof special / sizeof *special)];
    case 1: return limit * (rng_below(r, 2) ? 1 : -1) * (1 + (double)rng_below(r, 3) * DBL_EPSILON - DBL_EPSILON);
    case 2: return 4 * limit * (rng_uniform(r) - 0.5);
    default: return 1e3 * rng_normal(r);
    }
}

TEST(a_million_hostile_efforts_stay_finite_within_limit_and_rate)
{
    struct filter_limits lim = { .nj = 3, .actuated = { true, true, false }, .effort = { 300, 0.5, 0 },
                                 .step = { 600, 0.01, 0 } };
    double               last[MAX_JOINTS] = { 0 };
    struct rng           r;
    int                  bad = 0;

    rng_seed(&r, 11);
    for (int i = 0; i < 1000000; i++) {
        double   want[MAX_JOINTS] = { 0 }, base[MAX_JOINTS] = { 0 }, out[MAX_JOINTS];
        uint32_t bits;

        for (int j = 0; j < 3; j++) {
            want[j] = hostile(&r, lim.effort[j]);
            base[j] = rng_below(&r, 3) ? 0.1 * lim.effort[j] : hostile(&r, lim.effort[j]);
        }
        bits = filter_effort(&lim, want, base, last, out);
        for (int j = 0; j < 3; j++) {
            bad += !isfinite(out[j]) || !(fabs(out[j]) <= lim.effort[j]);
            bad += !(out[j] <= last[j] + lim.step[j] && out[j] >= last[j] - lim.step[j]) && lim.actuated[j];
            bad += !lim.actuated[j] && out[j] != 0;
            if (lim.actuated[j] && !isfinite(want[j]))
                bad += !(bits & FILTER_NONFINITE);
            if (lim.actuated[j] && !isfinite(want[j]) && !isfinite(base[j]))
                bad += !(bits & FILTER_DAMP);
            last[j] = out[j];
        }
    }
    EXPECT(bad == 0);
}

TEST(what_is_within_limits_passes_unchanged_and_unflagged)
{
    struct filter_limits lim = { .nj = 1, .actuated = { true }, .effort = { 300 }, .step = { 600 } };
    double               last[MAX_JOINTS] = { -300 }, want[MAX_JOINTS] = { 300 }, base[MAX_JOINTS] = { 0 }, out[MAX_JOINTS];

    EXPECT(filter_effort(&lim, want, base, last, out) == 0);
    EXPECT(out[0] == 300);
}

TEST(nan_wish_becomes_the_baseline_effort)
{
    struct filter_limits lim = { .nj = 1, .actuated = { true }, .effort = { 300 }, .step = { 600 } };
    double last[MAX_JOINTS] = { 0 }, want[MAX_JOINTS] = { (double)NAN }, base[MAX_JOINTS] = { 12.5 }, out[MAX_JOINTS];

    EXPECT(filter_effort(&lim, want, base, last, out) == FILTER_NONFINITE);
    EXPECT(out[0] == 12.5);
}
