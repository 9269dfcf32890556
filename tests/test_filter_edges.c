/* Claims about the torque filter at its edges, as mutants of it asked for (`make mutate FILES=daemon/filter.c`). */
#include "daemon/filter.h"
#include "tests/test.h"

#define NONE ((double)INFINITY)

/* One joint that has no limit but these; a second one that is not there (nj is 1). */
static struct filter_limits joint(double tick_s, double effort, double up, double down, double growth)
{
    return (struct filter_limits){ .nj = 1, .tick_s = tick_s, .actuated = { true, true }, .effort = { effort, effort },
                                   .up = { up, up }, .down = { down, down }, .low = { -NONE }, .high = { NONE },
                                   .brake = { NONE, NONE }, .growth = { growth, growth }, .power = { NONE, NONE },
                                   .continuous = { NONE, NONE } };
}

static uint32_t pass(const struct filter_limits *lim, const struct filter_window *w, double want, double baseline,
                     double last, double *out)
{
    double still[2] = { 0 }, wants[2] = { want, want }, base[2] = { baseline, baseline }, before[2] = { last, last };

    return filter_effort(lim, w, &(struct filter_input){ .want = wants, .baseline = base, .last = before,
                                                         .position = still, .velocity = still }, out);
}

static void sent(const struct filter_limits *lim, struct filter_window *w, double effort, int ticks)
{
    for (int i = 0; i < ticks; i++)
        filter_sent(lim, w, &effort);
}

TEST(where_neither_wish_nor_baseline_is_a_number_the_effort_is_nought_and_damping_is_asked_for)
{
    struct filter_limits lim = joint(0.005, 10, 100, 100, NONE);
    struct filter_window w   = { 0 };
    double               out[2];

    EXPECT(pass(&lim, &w, (double)NAN, (double)NAN, 0, out) == (FILTER_NONFINITE | FILTER_DAMP));
    EXPECT(out[0] == 0);
    lim = joint(0.005, 10, 1, 1, NONE); /* nought like any other wish: no faster than it may go */
    EXPECT(pass(&lim, &w, (double)NAN, (double)NAN, 8, out) == (FILTER_NONFINITE | FILTER_DAMP | FILTER_RATE));
    EXPECT(out[0] == 7);
}

TEST(a_last_effort_that_is_no_number_ends_in_nought_and_never_in_a_limit)
{
    struct filter_limits lim = joint(0.005, 10, 1, 1, NONE);
    struct filter_window w   = { 0 };
    double               out[2];

    EXPECT(pass(&lim, &w, 5, 0, (double)NAN, out) & FILTER_DAMP);
    EXPECT(out[0] == 0);
    EXPECT((pass(&lim, &w, (double)NAN, 0, (double)NAN, out) & (FILTER_NONFINITE | FILTER_DAMP)) ==
           (FILTER_NONFINITE | FILTER_DAMP));
    EXPECT(out[0] == 0);
}

TEST(the_effort_limit_outranks_the_rate_even_for_a_last_effort_beyond_it)
{
    struct filter_limits lim = joint(0.005, 10, 1, 1, NONE);
    struct filter_window w   = { 0 };
    double               out[2];

    pass(&lim, &w, 0, 0, 20, out); /* a last effort that this filter cannot have written */
    EXPECT(out[0] == 10);
    pass(&lim, &w, 0, 0, -20, out);
    EXPECT(out[0] == -10);
}

TEST(what_the_rate_holds_back_is_not_blamed_on_the_window)
{
    struct filter_limits lim = joint(0.005, 100, 1, 1, 5);
    struct filter_window w   = { 0 };
    double               out[2];

    EXPECT(pass(&lim, &w, 50, 0, 0, out) == FILTER_RATE);
    EXPECT(out[0] == 1);
}

/* At rates below 32 Hz every tick is a part of its own: nine ticks. */
TEST(growth_is_judged_by_the_last_nine_ticks_at_slow_rates_in_both_directions)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        struct filter_limits lim = joint(0.04, 100, 100, 100, 3);
        struct filter_window w   = { 0 };
        double               out[2];

        sent(&lim, &w, 0, 30);
        EXPECT(pass(&lim, &w, sign * 50, 0, 0, out) == FILTER_WINDOW);
        EXPECT(out[0] == sign * 3);
        sent(&lim, &w, sign * 3, 8);
        pass(&lim, &w, sign * 50, 0, sign * 3, out);
        EXPECT(out[0] == sign * 3);
        sent(&lim, &w, sign * 3, 1);
        pass(&lim, &w, sign * 50, 0, sign * 3, out);
        EXPECT(out[0] == sign * 6);
        sent(&lim, &w, sign * 0.5, 9); /* small efforts count as well */
        pass(&lim, &w, sign * 50, 0, sign * 0.5, out);
        EXPECT(out[0] == sign * 3.5);
        sent(&lim, &w, 0, 1); /* one tick at rest counts for the next nine */
        pass(&lim, &w, sign * 50, 0, 0, out);
        EXPECT(out[0] == sign * 3);
    }
}

/* 64 Hz: two ticks are an eighth of 250 ms to the last bit. */
TEST(a_part_of_the_window_ends_when_its_time_is_full)
{
    struct filter_limits lim = joint(1.0 / 64, 100, 100, 100, 3);
    struct filter_window w   = { 0 };
    double               out[2];

    sent(&lim, &w, 0, 40);
    sent(&lim, &w, 3, 16); /* eight parts */
    pass(&lim, &w, 50, 0, 3, out);
    EXPECT(out[0] == 3);
    sent(&lim, &w, 3, 1);
    pass(&lim, &w, 50, 0, 3, out);
    EXPECT(out[0] == 6);
}

TEST(joints_that_are_not_there_are_left_alone)
{
    struct filter_limits lim = joint(0.005, 10, 1, 1, 2);
    struct filter_window w   = { 0 };
    double               out[2] = { 0, 77 }, efforts[2] = { 1, 1 };

    pass(&lim, &w, 1, 0, 0, out);
    EXPECT(out[1] == 77);
    filter_sent(&lim, &w, efforts);
    EXPECT(w.most[w.part][0] == 1 && w.most[w.part][1] == 0);
}
