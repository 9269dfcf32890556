/* The torque filter against an oracle of its own, over every kind of number. */
#include <float.h>
#include <string.h>

#include "daemon/filter.h"
#include "daemon/rt/rng.h"
#include "tests/hostile.h"
#include "tests/test.h"

#define NONE ((double)INFINITY)

enum { NJ = 3, KEPT = 64 };

/* Stages all on at 200 Hz, those that can be off all off at 200 Hz, all on at 25 Hz with slack rates. */
static const struct filter_limits limits[] = {
    { .nj       = NJ,
      .tick_s   = 0.005,
      .actuated = { true, true, false },
      .effort   = { 300, 0.5, 0 },
      .up       = { 40, 0.01, 0 },
      .down     = { 100, 0.01, 0 },
      .low      = { -3, -1, 0 },
      .high     = { 3, 1, 0 },
      .brake    = { 5, 20, NONE },
      .growth   = { 150, 0.2, NONE },
      .power    = { 200, 0.4, NONE },
      .continuous = { 100, 0.3, NONE } },
    { .nj       = NJ,
      .tick_s   = 0.005,
      .actuated = { true, true, false },
      .effort   = { 300, 0.5, 0 },
      .up       = { 600, 0.01, 0 },
      .down     = { 600, 0.01, 0 },
      .low      = { -NONE, -1, 0 },
      .high     = { NONE, 1, 0 },
      .brake    = { NONE, NONE, NONE },
      .growth   = { NONE, NONE, NONE },
      .power    = { NONE, NONE, NONE },
      .continuous = { NONE, 0.5, NONE } },
    { .nj       = NJ,
      .tick_s   = 0.04,
      .actuated = { true, true, false },
      .effort   = { 300, 0.5, 0 },
      .up       = { 600, 0.3, 0 },
      .down     = { 600, 0.4, 0 },
      .low      = { -3, -1, 0 },
      .high     = { 3, 1, 0 },
      .brake    = { 5, 20, NONE },
      .growth   = { 150, 0.2, NONE },
      .power    = { 200, 0.4, NONE },
      .continuous = { 150, 0.25, NONE } },
};

/* Of the motors, thermal: the first one's limit falls no faster than effort may, others are far too quick for that. */
static const double heat_s[][NJ] = { { 0.5, 0.3, NONE }, { NONE, 0.01, NONE }, { 1, 0.05, NONE } };

static struct filter_limits limits_of(int i)
{
    struct filter_limits lim = limits[i];

    for (int j = 0; j < NJ; j++)
        lim.keep[j] = exp(-lim.tick_s / heat_s[i][j]);
    return lim;
}

/* ---- the oracle: what was sent, judged by itself; it knows no stage and no order ---- */

struct sent {
    double effort[KEPT][MAX_JOINTS]; /* newest at n - 1 */
    long   n;
    double heat[MAX_JOINTS]; /* that all of it left in motors which had 1 before; 1: `continuous` for ever */
    const double *heat_s;
};

/* Heat after a tick: nearer to what this effort would bring in the end, by as much as is gone in e^-t. */
static double heated(double heat, double effort, double continuous, double tick_s, double time_constant_s)
{
    double end = pow(effort / continuous, 2);

    return heat + (end - heat) * -expm1(-tick_s / time_constant_s);
}

/* What a motor of this heat may give: all, the continuous effort, or on the line between. */
static double heat_allows(const struct filter_limits *lim, int j, double heat)
{
    double part = (heat - 0.8) / (1 - 0.8);

    if (!(lim->continuous[j] < lim->effort[j]) || heat <= 0.8)
        return lim->effort[j];
    return heat >= 1 ? lim->continuous[j] : part * lim->continuous[j] + (1 - part) * lim->effort[j];
}

/* Above 1 no more than one tick at the greatest effort and the way down from it bring. */
static double hottest(const struct filter_limits *lim, int j)
{
    double most = 1;

    for (double u = lim->effort[j] / lim->continuous[j]; u > 1; u -= lim->down[j] / lim->continuous[j])
        most += (1 - lim->keep[j]) * (u * u - 1);
    return most;
}

/* Least magnitude, on out's side of zero, that was sent in the 250 ms before now; 0 where it was on the other side. */
static double least_before(const struct filter_limits *lim, const struct sent *h, int j, double out)
{
    double least = NONE;
    long   ticks = (long)floor(0.25 / lim->tick_s + 1e-9);

    for (long i = 1; i <= ticks; i++) {
        double before = h->n >= i ? h->effort[(h->n - i) % KEPT][j] * (out > 0 ? 1 : -1) : 0;

        least = before < least ? before : least;
    }
    return least > 0 ? least : 0;
}

/* Stopping takes v / brake at half of v on average, after two ticks at v. */
static bool stops_in_time(const struct filter_limits *lim, int j, double q, double v, double out)
{
    double side = out > 0 ? 1 : -1, distance = out > 0 ? lim->high[j] - q : q - lim->low[j];
    double towards = v * side > 0 ? v * side : 0;

    return isfinite(q) && isfinite(v) &&
           towards / lim->brake[j] * towards / 2 + 2 * lim->tick_s * towards <= distance + 1e-9 * fabs(distance);
}

/* Number of rules that this effort breaks. */
static int broken(const struct filter_limits *lim, const struct sent *h, const struct filter_input *in, int j,
                  double out)
{
    double last = in->last[j], size = fabs(out), eps = 1e-9 * lim->effort[j];
    bool   same = out * last >= 0;
    /* It falls as fast as it may: whatever wants less has to wait. */
    bool falls = fabs(last) > lim->down[j] && fabs(last - out) >= lim->down[j] - eps && size < fabs(last);
    int  n     = 0;

    if (!lim->actuated[j])
        return out != 0 || signbit(out);
    n += !isfinite(out);
    n += !(size <= lim->effort[j]);
    n += !(same ? size <= fabs(last) + lim->up[j] + eps : size <= lim->up[j] + eps); /* away from zero */
    n += !(size >= fabs(last) || fabs(out - last) <= lim->down[j] + eps);            /* towards it     */
    n += !(same || fabs(out - last) <= lim->down[j] + eps);                          /* through it     */
    if (falls || size == 0)
        return n;
    n += lim->brake[j] < NONE && !stops_in_time(lim, j, in->position[j], in->velocity[j], out);
    n += !(size <= heat_allows(lim, j, h->heat[j]) + eps);
    n += lim->growth[j] < NONE && !(size <= least_before(lim, h, j, out) + lim->growth[j] + eps);
    n += lim->power[j] < NONE && !(size * fabs(in->velocity[j]) <= lim->power[j] * (1 + 1e-9));
    return n;
}

/* A wish within all rules must come through as it is: the filter does not limit for nothing. */
static int hindered(const struct filter_limits *lim, const struct sent *h, const struct filter_input *in, int j, double out)
{
    double      want = in->want[j], last = in->last[j];
    struct sent none = { .n = 0 };
    bool plain = lim->actuated[j] && isfinite(want) && fabs(want) <= lim->effort[j] &&
                 (h->heat[j] < 0.8 - 1e-9 || fabs(want) <= (1 - 1e-9) * heat_allows(lim, j, h->heat[j])) &&
                 fabs(want) <= lim->growth[j] &&
                 fabs(want - last) <= 0.999 * lim->up[j] && (want == 0 || broken(lim, &none, in, j, want) == 0) &&
                 (lim->brake[j] >= NONE || stops_in_time(lim, j, in->position[j], 1.001 * in->velocity[j], want)) &&
                 (lim->power[j] >= NONE || fabs(want * in->velocity[j]) <= 0.999 * lim->power[j]) &&
                 !(fabs(last) > lim->down[j]);

    return plain && !(out == want);
}

/* ---- hostile ticks ---- */

struct bench {
    double               want[MAX_JOINTS], base[MAX_JOINTS], last[MAX_JOINTS], q[MAX_JOINTS], v[MAX_JOINTS];
    struct filter_window window;
    struct sent          sent;
    uint64_t             stage[FILTER_STAGES];
    double               heat_max[MAX_JOINTS];
};

static void weather(struct bench *b, const struct filter_limits *lim, struct rng *r)
{
    static const double speed[] = { 0, 0.1, 2, 30 };

    for (int j = 0; j < NJ; j++) {
        b->want[j] = hostile(r, lim->effort[j], 1e3);
        b->base[j] = rng_below(r, 3) ? 0.1 * lim->effort[j] : hostile(r, lim->effort[j], 1e3);
        b->q[j]    = rng_below(r, 50) ? 3.3 * (2 * rng_uniform(r) - 1) : hostile(r, 3, 1e3);
        b->v[j]    = rng_below(r, 50) ? speed[rng_below(r, 4)] * rng_normal(r) : hostile(r, 3, 1e3);
    }
}

static int sent(struct bench *b, const struct filter_limits *lim)
{
    int bad = 0;

    for (int j = 0; j < NJ; j++) {
        double *heat = &b->sent.heat[j];

        if (!(lim->continuous[j] < NONE))
            continue;
        *heat = heated(*heat, b->last[j], lim->continuous[j], lim->tick_s, b->sent.heat_s[j]);
        bad += !(*heat <= hottest(lim, j) + 1e-9);
        b->heat_max[j] = *heat > b->heat_max[j] ? *heat : b->heat_max[j];
    }
    memcpy(b->sent.effort[b->sent.n++ % KEPT], b->last, sizeof b->last);
    filter_sent(lim, &b->window, b->last);
    return bad;
}

static int tick(struct bench *b, const struct filter_limits *lim)
{
    struct filter_input in              = { b->want, b->base, b->last, b->q, b->v };
    double              out[MAX_JOINTS] = { 0 };
    uint32_t            bits            = filter_effort(lim, &b->window, &in, out);
    int                 bad             = 0;

    for (int j = 0; j < NJ; j++) {
        bad += broken(lim, &b->sent, &in, j, out[j]) + hindered(lim, &b->sent, &in, j, out[j]);
        bad += lim->actuated[j] && !(out[j] == b->want[j]) && bits == 0;
        if (lim->actuated[j] && !isfinite(b->want[j]))
            bad += !(bits & FILTER_NONFINITE) + (!isfinite(b->base[j]) && !(bits & FILTER_DAMP));
    }
    for (int s = 0; s < FILTER_STAGES; s++)
        b->stage[s] += bits >> s & 1;
    memcpy(b->last, out, sizeof out);
    return bad + sent(b, lim);
}

/* Bad ticks of n; every hundred or so the robot is stopped and armed again: what was sent then is nothing. */
static int bad_ticks(const struct filter_limits *lim, const double *heat_constants, uint64_t seed, int n, struct bench *b)
{
    struct rng r;
    int        bad = 0;

    rng_seed(&r, seed);
    memset(b, 0, sizeof *b);
    b->sent.heat_s = heat_constants;
    for (int j = 0; j < NJ; j++)
        b->sent.heat[j] = 1;
    for (int i = 0; i < n; i++) {
        if (rng_below(&r, 16) == 0 || !i)
            weather(b, lim, &r);
        else /* the same wish for a while: slow limits are reached too */
            for (int j = 0; j < NJ; j++)
                b->v[j] = rng_below(&r, 4) ? b->v[j] : rng_normal(&r);
        if (rng_below(&r, 100) == 0) {
            memset(b->last, 0, sizeof b->last);
            bad += sent(b, lim);
        }
        if (tick(b, lim) > 0 && bad++ == 0)
            printf("    first bad tick: %d of seed %llu\n", i, (unsigned long long)seed);
    }
    return bad;
}

TEST(hostile_efforts_break_no_rule_of_the_filter_and_what_keeps_them_passes)
{
    static struct bench b;
    int                 n = test_rounds(350000, 34000000); /* a million, a hundred million */

    for (int i = 0; i < 3; i++) {
        struct filter_limits lim = limits_of(i);

        EXPECT(bad_ticks(&lim, heat_s[i], 11 + (uint64_t)i, n, &b) == 0);
        for (int s = 0; s < FILTER_STAGES; s++) /* every stage that is on was at work, and no other */
            EXPECT((b.stage[s] > 0) == (i != 1 || (s != STAGE_ENVELOPE && s != STAGE_THERMAL && s != STAGE_WINDOW &&
                                                   s != STAGE_POWER)));
        EXPECT(i != 0 || fabs(b.heat_max[0] - 1) < 1e-9); /* reached, never exceeded: its limit falls slowly enough */
        EXPECT(i != 2 || b.heat_max[1] > 1.5);
    }
}

static double one(const struct filter_limits *lim, double want, double last, double q, double v, uint32_t *bits)
{
    static const struct filter_window window;
    double                            base = 0, out = 0;

    *bits = filter_effort(lim, &window, &(struct filter_input){ &want, &base, &last, &q, &v }, &out);
    return out;
}

static struct filter_limits single(void)
{
    return (struct filter_limits){ .nj       = 1,
                                   .tick_s   = 0.01,
                                   .actuated = { true },
                                   .effort   = { 300 },
                                   .up       = { 600 },
                                   .down     = { 600 },
                                   .low      = { -1 },
                                   .high     = { 1 },
                                   .brake    = { NONE },
                                   .growth   = { NONE },
                                   .power    = { NONE },
                                   .continuous = { NONE } };
}

TEST(what_is_within_limits_passes_unchanged_and_unflagged)
{
    struct filter_limits lim = single();
    uint32_t             bits;

    EXPECT(one(&lim, 300, -300, 0, 0, &bits) == 300 && bits == 0);
}

TEST(nan_wish_becomes_the_baseline_effort)
{
    struct filter_limits lim  = single();
    double               want = (double)NAN, base = 12.5, zero = 0, out;

    EXPECT(filter_effort(&lim, &(struct filter_window){ 0 },
                         &(struct filter_input){ &want, &base, &zero, &zero, &zero }, &out) == FILTER_NONFINITE);
    EXPECT(out == 12.5);
}

TEST(no_configuration_gets_more_than_the_ceiling)
{
    struct filter_limits lim = single();
    uint32_t             bits;

    lim.effort[0] = lim.up[0] = lim.down[0] = 1e9;
    EXPECT(one(&lim, 1e8, 0, 0, 0, &bits) == FILTER_EFFORT_CEILING && bits == FILTER_ABSOLUTE);
}

TEST(where_a_joint_could_not_stop_before_its_limit_only_effort_that_brakes_passes)
{
    struct filter_limits lim = single();
    uint32_t             bits;

    lim.brake[0] = 8; /* from 2 rad/s: 0.25 rad, and two ticks' way of 0.04 */
    EXPECT(one(&lim, 50, 0, 0.70, 2, &bits) == 50 && bits == 0);
    EXPECT(one(&lim, 50, 0, 0.72, 2, &bits) == 0 && bits == FILTER_ENVELOPE);
    EXPECT(one(&lim, -50, 0, 0.72, 2, &bits) == -50 && bits == 0);
    EXPECT(one(&lim, 50, 0, 0.72, -2, &bits) == 50);
    EXPECT(one(&lim, -50, 0, -0.72, -2, &bits) == 0 && bits == FILTER_ENVELOPE);
    EXPECT(one(&lim, 50, 0, 1.01, 0, &bits) == 0); /* beyond it already */
}

TEST(effort_may_fall_faster_than_it_rises_and_no_stage_makes_it_fall_faster_than_that)
{
    struct filter_limits lim = single();
    uint32_t             bits;

    lim.up[0]   = 10;
    lim.down[0] = 60;
    EXPECT(one(&lim, 300, 100, 0, 0, &bits) == 110 && bits == FILTER_RATE);
    EXPECT(one(&lim, -300, 100, 0, 0, &bits) == 40);
    EXPECT(one(&lim, -300, 20, 0, 0, &bits) == -10); /* through zero, then as slowly as it rises */
    EXPECT(one(&lim, -300, -100, 0, 0, &bits) == -110);
    EXPECT(one(&lim, 300, -100, 0, 0, &bits) == -40);
    lim.brake[0] = 8;
    EXPECT(one(&lim, 300, 100, 0.99, 2, &bits) == 40 && bits == (FILTER_ENVELOPE | FILTER_RATE));
}

TEST(power_is_capped_by_speed)
{
    struct filter_limits lim = single();
    uint32_t             bits;

    lim.power[0] = 100;
    EXPECT(one(&lim, 200, 0, 0, 0.5, &bits) == 200 && bits == 0);
    EXPECT(one(&lim, 200, 0, 0, -4, &bits) == 25 && bits == FILTER_POWER);
    EXPECT(one(&lim, -200, 0, 0, (double)NAN, &bits) == 0);
}

TEST(slow_pumping_ends_at_the_growth_that_250_ms_allow)
{
    struct filter_limits lim  = single();
    struct filter_window w    = { 0 };
    double               want = 300, zero = 0, last = 0, out, at[60];

    lim.up[0]     = 20;
    lim.growth[0] = 100;
    for (int i = 0; i < 60; i++) {
        filter_effort(&lim, &w, &(struct filter_input){ &want, &zero, &last, &zero, &zero }, &out);
        filter_sent(&lim, &w, &out);
        at[i] = last = out;
        EXPECT(at[i] - (i >= 25 ? at[i - 25] : 0) <= 100);
    }
    EXPECT(at[4] == 100 && at[24] == 100); /* as fast as the rate allows, then it waits */
    EXPECT(at[39] > 100 && at[59] == 200); /* but for no longer than an eighth more */
    want = 0;
    filter_effort(&lim, &w, &(struct filter_input){ &want, &zero, &last, &zero, &zero }, &out);
    EXPECT(out == 0); /* and falls at once */
}
