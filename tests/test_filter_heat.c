/* Claims about the torque filter's thermal stage: a motor may give its peak effort for a while, its continuous one for good. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "daemon/filter.h"
#include "daemon/rt/rng.h"
#include "tests/hostile.h"
#include "tests/test.h"

#define NONE ((double)INFINITY)

/* A joint that has no other limit; `rate` N m/s towards zero and away from it. */
static struct filter_limits motor(double tick_s, double effort, double continuous, double heat_s, double rate)
{
    return (struct filter_limits){ .nj         = 1,
                                   .tick_s     = tick_s,
                                   .actuated   = { true },
                                   .effort     = { effort },
                                   .up         = { rate * tick_s },
                                   .down       = { rate * tick_s },
                                   .low        = { -NONE },
                                   .high       = { NONE },
                                   .brake      = { NONE },
                                   .growth     = { NONE },
                                   .power      = { NONE },
                                   .continuous = { continuous },
                                   .keep       = { exp(-tick_s / heat_s) } };
}

struct run {
    struct filter_limits lim;
    struct filter_window w;
    double               last;
    uint32_t             bits;
};

static double tick(struct run *r, double want)
{
    double zero = 0, out = (double)NAN;

    r->bits = filter_effort(&r->lim, &r->w, &(struct filter_input){ &want, &zero, &r->last, &zero, &zero }, &out);
    filter_sent(&r->lim, &r->w, &out);
    return r->last = out;
}

static void rest(struct run *r, int ticks)
{
    double zero = 0;

    r->last = 0;
    for (int i = 0; i < ticks; i++)
        filter_sent(&r->lim, &r->w, &zero);
}

static double heat(const struct run *r)
{
    return 1 - r->w.cool[0];
}

/* A quasi direct drive of legged robots: rated 6 N m, peak 12 N m, 44 s (docs/safety.md). */
TEST(a_cold_motor_gives_its_peak_for_as_long_as_the_model_says_and_then_its_continuous_effort)
{
    static const double hz[] = { 25, 200, 1000 };

    for (size_t i = 0; i < sizeof hz / sizeof *hz; i++) {
        struct run r     = { .lim = motor(1 / hz[i], 12, 6, 44, 1e6) };
        int        ticks = 0;

        rest(&r, (int)(40 * 44 * hz[i]));
        EXPECT(heat(&r) < 1e-9);
        while (tick(&r, -20) == -12 && r.bits == FILTER_ABSOLUTE)
            ticks++;
        /* h = 4 (1 - e^(-t / 44 s)) is 0.8 at 44 s ln(5 / 4) = 9.82 s */
        EXPECT(ticks == 1 + (int)floor(44 * log(1.25) * hz[i]));
        EXPECT((r.bits & FILTER_THERMAL) && r.last < -11.9);
        for (int k = 0; k < (int)(10 * 44 * hz[i]); k++)
            tick(&r, -20);
        EXPECT(fabs(r.last + 6) < 1e-3 && heat(&r) <= 1 && heat(&r) > 0.999);
    }
}

TEST(a_motor_of_unknown_past_is_hot_until_it_has_rested)
{
    struct run r = { .lim = motor(0.01, 12, 6, 44, 1e6) };

    EXPECT(tick(&r, 12) == 6 && r.bits == FILTER_THERMAL && heat(&r) == 1);
    EXPECT(tick(&r, -6) == -6 && r.bits == 0);
    rest(&r, 981); /* 44 s ln(5 / 4) = 9.818 s */
    EXPECT(tick(&r, 12) < 12 && r.bits == FILTER_THERMAL);
    rest(&r, 982);
    EXPECT(tick(&r, 12) == 12 && r.bits == 0);
}

TEST(in_the_last_fifth_of_the_heat_the_limit_falls_linearly)
{
    struct run r = { .lim = motor(0.01, 12, 6, 44, 1e6) };

    for (int sign = -1; sign <= 1; sign += 2) {
        r.w.cool[0] = 0.1;
        EXPECT(fabs(tick(&r, 20 * sign) - 9 * sign) < 1e-12);
        r.w.cool[0] = 0.05;
        EXPECT(fabs(tick(&r, 20 * sign) - 7.5 * sign) < 1e-12);
        r.w.cool[0] = -0.5;
        EXPECT(tick(&r, 20 * sign) == 6 * sign);
    }
}

/* Seconds that a cold motor gives its peak for where ticks of 10 ms come gap_s apart. */
static double peak_s(double gap_s)
{
    struct run r = { .lim = motor(0.01, 12, 6, 44, 1e6) };
    double     s = 0;

    r.w.cool[0] = 1;
    while (s < 100 && tick(&r, 20) == 12 && r.bits == FILTER_ABSOLUTE) {
        filter_time(&r.lim, &r.w, &r.last, gap_s);
        s += gap_s;
    }
    return s;
}

TEST(heat_goes_by_time_where_ticks_come_late_or_early)
{
    static const double gap_s[] = { 0.01, 0.0101, 0.015, 0.02, 0.029, 0.0099, 0.005, 0.0021 };

    for (size_t i = 0; i < sizeof gap_s / sizeof *gap_s; i++)
        EXPECT_NEAR(peak_s(gap_s[i]), 9.82, 0.02 + 2 * gap_s[i]);
}

TEST(after_a_gap_without_end_a_motor_counts_as_hot_as_a_hundred_ticks_made_it_and_late_ticks_are_forgotten)
{
    struct run r = { .lim = motor(0.01, 12, 6, 44, 1e6) }, same = r;

    r.w.cool[0] = same.w.cool[0] = 1;
    r.last = same.last = 12;
    filter_time(&r.lim, &r.w, &r.last, 1e9);
    for (int i = 0; i < 100; i++)
        filter_sent(&same.lim, &same.w, &same.last);
    EXPECT_NEAR(r.w.cool[0], same.w.cool[0], 1e-12);
    EXPECT(!(r.w.late_s < 0) && r.w.late_s < 0.01);
}

/* In quarters of a second, which add up to the bit. */
TEST(a_tick_too_many_is_one_at_exactly_a_tick_early_and_what_is_over_after_a_hundred_is_forgotten)
{
    struct run r = { .lim = motor(0.25, 12, 6, 100, 1e6) };

    r.last = 12;
    for (int i = 0; i < 2; i++)
        filter_time(&r.lim, &r.w, &r.last, 0.125);
    filter_sent(&r.lim, &r.w, &r.last);
    EXPECT(!(r.w.cool[0] < 0) && !(r.w.cool[0] > 0) && !(r.w.late_s < 0));
    filter_sent(&r.lim, &r.w, &r.last);
    EXPECT(r.w.cool[0] < 0);
    filter_time(&r.lim, &r.w, &r.last, 0.25 * 102);
    EXPECT(!(r.w.late_s > 0));
}

TEST(what_a_joint_may_give_now_is_its_limit_or_what_its_heat_leaves_of_it)
{
    struct run r = { .lim = motor(0.01, 12, 6, 44, 1e6) };

    EXPECT(filter_most(&r.lim, &r.w, 0) == 6);
    r.w.cool[0] = 0.1;
    EXPECT_NEAR(filter_most(&r.lim, &r.w, 0), 9, 1e-12);
    r.w.cool[0] = 1;
    EXPECT(filter_most(&r.lim, &r.w, 0) == 12);
    r.w.cool[0]         = 0;
    r.lim.continuous[0] = (double)INFINITY;
    EXPECT(filter_most(&r.lim, &r.w, 0) == 12);
    r.lim.effort[0] = 2 * FILTER_EFFORT_CEILING;
    EXPECT(filter_most(&r.lim, &r.w, 0) == FILTER_EFFORT_CEILING);
}

/* Limits such as config_load() lets pass: heat_s at least 5 (P^2 - 0.8) of the time in which effort can fall, or of a tick. */
static struct run random_motor(struct rng *r)
{
    double tick_s = 1 / (5 + 1995 * rng_uniform(r)), effort = exp(10 * rng_uniform(r) - 5),
           peak = 1 + 9 * rng_uniform(r);
    double rate = effort / tick_s * exp(6 * rng_uniform(r) - 5), fall_s = effort * (1 - 1 / peak) / rate;
    double least = 5 * (peak * peak - 0.8) * fmax(tick_s, fall_s);

    return (struct run){ .lim = motor(tick_s, effort, effort / peak,
                                      least * (rng_below(r, 2) ? 1 : 1 + 9 * rng_uniform(r)), rate) };
}

TEST(no_wish_makes_a_motor_hotter_than_its_continuous_effort_does_nor_its_mean_square_effort_larger)
{
    int        robots = test_rounds(300, 10000), n = 3000, reached = 0, at_once = 0;
    double     hottest = 0;
    struct rng rng;

    rng_seed(&rng, 5);
    for (int i = 0; i < robots; i++) {
        struct run r    = random_motor(&rng);
        double     want = 0, effort = r.lim.effort[0], continuous = r.lim.continuous[0], sum = 0, late = 0;

        r.w.cool[0] = rng_below(&rng, 4) ? rng_uniform(&rng) : 0;
        for (int k = 0; k < n; k++) {
            int kind = (int)rng_below(&rng, 64);
            if (kind < 8) /* for a while: full effort, one way or the other; anything */
                want = kind < 4 ? effort : kind < 7 ? -effort : hostile(&rng, effort, 2 * effort);
            double before = heat(&r), limit = effort - fmax(0, fmin(1, 5 * (before - 0.8))) * (effort - continuous);
            double u = tick(&r, want) / continuous;
            sum += u * u;
            late += fabs(r.last) > limit * (1 + 1e-12); /* what is sent needs no time to follow the limit */
            hottest = fmax(hottest, heat(&r));
        }
        EXPECT(late == 0);
        EXPECT(sum <= n + 1 / (1 - r.lim.keep[0]) + 1e-9 * n); /* what it had to spare, and 1 a tick */
        reached += heat(&r) > 0.9;
        at_once += r.lim.down[0] >= effort;
    }
    EXPECT(hottest <= 1 + 1e-9);
    EXPECT(reached > robots / 4 && at_once > robots / 10 && at_once < robots / 2);
}

/* What config_load() would refuse: the limit falls faster than effort may. */
TEST(effort_falls_to_a_limit_that_runs_away_from_it_by_no_more_than_down_a_tick)
{
    struct run r    = { .lim = motor(0.01, 100, 10, 0.5, 1000) };
    double     most = 1, before = 100;

    r.w.cool[0] = 1;
    r.last      = 100;
    for (double u = 10; u > 1; u--)
        most += (1 - r.lim.keep[0]) * (u * u - 1);
    for (int i = 0; i < 100; i++) {
        tick(&r, 100);
        EXPECT(before - r.last <= 10 * (1 + 1e-12) && heat(&r) <= most);
        before = r.last;
    }
    EXPECT(heat(&r) > 1 && r.last == 10);
}

TEST(a_motor_that_is_cool_or_has_no_thermal_limit_is_treated_to_the_bit_as_if_there_were_no_such_stage)
{
    struct rng rng;
    int        thermal = 0;

    rng_seed(&rng, 6);
    for (int i = 0; i < 200; i++) {
        struct run with = random_motor(&rng), without = with, same = with;

        without.lim.continuous[0] = NONE;
        same.lim.continuous[0]    = same.lim.effort[0]; /* as much for good as at all */
        for (int k = 0; k < 300; k++) {
            double want = hostile(&rng, with.lim.effort[0], with.lim.effort[0]), out = tick(&without, want);

            EXPECT(without.w.cool[0] == 0 && !(without.bits & FILTER_THERMAL));
            tick(&same, want);
            EXPECT(memcmp(&same.last, &out, sizeof out) == 0 && same.bits == without.bits);
            with.w.cool[0] = 0.2 + 0.8 * rng_uniform(&rng);
            tick(&with, want);
            EXPECT(memcmp(&with.last, &out, sizeof out) == 0 && with.bits == without.bits);
            thermal += (with.bits & FILTER_THERMAL) != 0;
        }
    }
    EXPECT(thermal == 0);
}

TEST(a_heat_that_is_no_number_ends_in_nought_and_damping)
{
    struct run r   = { .lim = motor(0.01, 12, 6, 44, 1e6) };
    double     nan = (double)NAN;

    filter_sent(&r.lim, &r.w, &nan); /* which this filter does not send */
    EXPECT(tick(&r, 3) == 0 && (r.bits & FILTER_DAMP));
    EXPECT(tick(&r, 3) == 0 && (r.bits & FILTER_DAMP));
    r                   = (struct run){ .lim = motor(0.01, 12, 6, 44, 1e6) };
    r.lim.continuous[0] = nan;
    EXPECT(tick(&r, 3) == 0 && (r.bits & FILTER_DAMP));
}

TEST(each_motor_has_its_own_heat_and_joints_without_one_have_none)
{
    struct filter_limits lim = motor(0.01, 12, 6, 44, 1e6);
    struct filter_window w   = { 0 };

    lim.nj            = 3;
    lim.continuous[1] = NONE;
    lim.continuous[2] = 3;
    lim.keep[2]       = 0.5;
    lim.continuous[3] = 6; /* not there */
    filter_sent(&lim, &w, (double[]){ 0, 0, 6, 0 });
    EXPECT(fabs(w.cool[0] - (1 - exp(-0.01 / 44))) < 1e-15 && w.cool[1] == 0 && w.cool[2] == -1.5 && w.cool[3] == 0);
}
