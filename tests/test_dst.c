/* Every fault by name, alone and in pairs: no invariant breaks, every reaction within its bound, every fault seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/rng.h"
#include "tests/dst.h"
#include "tests/test.h"

/* Runs; where an invariant broke, says how to see it again: as few faults and ticks as it takes. */
static bool holds(uint64_t seed, uint64_t ticks, uint64_t verbs, struct dst_result *r)
{
    struct dst_result again;
    char              line[1000];

    dst_verb_run(seed, ticks, verbs, r);
    if (!r->violations)
        return true;
    ticks = r->first_tick;
    for (int i = 0; i < dst_verb_count(); i++) {
        if (!(verbs >> i & 1))
            continue;
        dst_verb_run(seed, ticks, verbs & ~((uint64_t)1 << i), &again);
        if (again.violations) {
            verbs &= ~((uint64_t)1 << i);
            ticks = again.first_tick;
        }
    }
    dst_line(seed, ticks, verbs, line, sizeof line);
    printf("    %s\n    again: LIMBER_DST=\"%s\" build/tests/run a_reported_simulation\n", r->first, line);
    return false;
}

TEST(every_fault_alone_is_seen_and_answered_in_time)
{
    uint64_t          ticks = (uint64_t)test_rounds(60000, 1000000);
    struct dst_result r;

    for (int i = 0; i < dst_verb_count(); i++) {
        EXPECT(holds(40 + (uint64_t)i, ticks, (uint64_t)1 << i, &r));
        bool seen = dst_verbs[i].bits == 0;

        for (int b = 0; b < FAULT_COUNT; b++)
            seen |= dst_verbs[i].bits >> b & 1 && r.fault[b] > 0;
        if (!seen || r.driven_ticks < ticks / 50)
            printf("    %s: seen %d, driven in %" PRIu64 " of %" PRIu64 " ticks\n", dst_verbs[i].name, seen,
                   r.driven_ticks, ticks);
        EXPECT(seen);
        EXPECT(r.driven_ticks >= ticks / 50); /* it did not spend the time stopped */
    }
}

TEST(random_pairs_of_faults_break_no_invariant)
{
    int               rounds = test_rounds(100, 1000);
    uint64_t          ticks  = (uint64_t)test_rounds(5000, 100000);
    struct dst_result r;
    struct rng        rng;

    rng_seed(&rng, 2026);
    for (int i = 0; i < rounds; i++) {
        uint32_t n    = (uint32_t)dst_verb_count();
        uint64_t pair = (uint64_t)1 << rng_below(&rng, n) | (uint64_t)1 << rng_below(&rng, n);

        EXPECT(holds(1000 + (uint64_t)i, ticks, pair, &r));
        if (r.violations)
            return;
    }
}

TEST(all_faults_at_once_break_no_invariant)
{
    struct dst_result r;

    for (uint64_t seed = 1; seed <= 5; seed++)
        EXPECT(holds(seed, (uint64_t)test_rounds(40000, 1000000), ((uint64_t)1 << dst_verb_count()) - 1, &r));
}

TEST(in_good_weather_calibrated_gates_trip_less_than_once_in_a_hundred_thousand_plans)
{
    struct dst_result r;

    uint64_t ticks = (uint64_t)test_rounds(200000, 10000000);

    EXPECT(holds(3, ticks, 0, &r));
    EXPECT(r.advanced_ticks > ticks / 2);
    EXPECT(r.gate_trips <= r.advanced_ticks / 100000); /* one of 126,000 plans; under LIMBER_SOAK 63 of six million */
    EXPECT(r.fault[4] + r.fault[15] + r.fault[11] == 0);
}

/* All links and robot sides there are but those that do clip. */
TEST(a_robot_side_of_the_same_rate_is_never_said_to_clip_whatever_gets_lost)
{
    static const char *const lossy[] = { "command_lost", "command_corrupt", "command_twice", "command_old", "command_garbage",
                                         "tick_late", "state_lost", "state_corrupt", "silence", "restart", "stop", "disarm", "estop" };
    uint64_t                 ticks   = (uint64_t)test_rounds(80000, 3000000), all = 0, slowed = 0;
    struct dst_result        r;

    for (size_t k = 0; k <= sizeof lossy / sizeof *lossy; k++) {
        uint64_t verbs = 0;

        for (int i = 0; i < dst_verb_count() && k < sizeof lossy / sizeof *lossy; i++)
            verbs |= !strcmp(dst_verbs[i].name, lossy[k]) || !strcmp(dst_verbs[i].name, "command_lost") ||
                             !strcmp(dst_verbs[i].name, "plan_limit")
                         ? (uint64_t)1 << i
                         : 0;
        all |= verbs;
        dst_slow_run(70 + k, ticks, k < sizeof lossy / sizeof *lossy ? verbs : all, &r);
        EXPECT(r.violations == 0 && r.changed == 0 && r.driven_ticks > ticks / 50);
        if (r.violations || r.changed)
            printf("    %s: %s, changed %" PRIu64 "\n", k < sizeof lossy / sizeof *lossy ? lossy[k] : "all", r.first, r.changed);
        slowed += r.slowed;
    }
    EXPECT(slowed > 20); /* there was reason to */
    if (slowed <= 20)
        printf("    slowed in %" PRIu64 "\n", slowed);
}

/* An error adds to the gate's sum by what it is beyond three times the usual, at most 1, and the gate's threshold is 5: the
 * sixth state that shows the change is the first that can trip it.  How many more it takes depends on the efforts that were
 * drawn: shares of flights, by their tenth and twentieth good state since the change (25 a second). */
TEST(a_changed_plant_is_noticed_as_soon_as_its_change_is_larger_than_what_is_usual)
{
    static const struct {
        struct dst_change change;
        double            in_10, in_20;
    } c[] = {
        { { .mass = 3, .friction = 3 }, 0.85, 0.99 },
        { { .mass = 3, .friction = 1 }, 0.85, 0.99 },
        { { .mass = 2, .friction = 1 }, 0.5, 0.93 },
        { { .mass = 1.5, .friction = 1 }, 0.18, 0.45 },
        { { .mass = 0.5, .friction = 1 }, 0.4, 0.8 },
        { { .mass = 1, .friction = 30 }, 0.2, 0.6 },
        { { .mass = 1, .friction = 1, .delay = 1 }, 0.8, 0.98 },
        { { .mass = 1, .friction = 1, .delay = 2 }, 0.85, 0.98 },
    };
    struct dst_result r;
    uint64_t          flights, ticks = (uint64_t)test_rounds(100000, 2000000);

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        dst_change_run(5, ticks, &c[i].change, &r);
        double in_10 = dst_noticed(&r, 10, &flights), in_20 = dst_noticed(&r, 20, &flights);
        if (in_10 < c[i].in_10 || in_20 < c[i].in_20)
            printf("    mass %g, friction %g, delay %d: of %" PRIu64 " flights %.3f by 10, %.3f by 20\n", c[i].change.mass,
                   c[i].change.friction, c[i].change.delay, flights, in_10, in_20);
        EXPECT(in_10 >= c[i].in_10 && in_20 >= c[i].in_20 && flights > 50);
        EXPECT(r.violations == 0 && r.unfit > 10);
    }
    dst_change_run(5, ticks, &(struct dst_change){ .mass = 1, .friction = 3 }, &r);
    EXPECT(dst_noticed(&r, 20, &flights) <= 0 && flights > 50 && r.unfit == 0); /* of 150 N that drive, 2 N more: within noise */
}

/* LIMBER_DST="seed=.. ticks=.. faults=..": that run.  Without it: a run and the line it is reported by are the same. */
TEST(a_reported_simulation_is_run_again_from_its_line)
{
    const char       *asked = getenv("LIMBER_DST");
    struct dst_result r, again;
    char              line[1000];

    if (asked) {
        EXPECT(dst_line_run(asked, &r) == 0);
        printf("    %" PRIu64 " violations%s%s\n", r.violations, r.violations ? ", first: " : "", r.first);
        EXPECT(r.violations == 0);
        return;
    }
    dst_verb_run(9, 3000, 0x81, &r);
    dst_line(9, 3000, 0x81, line, sizeof line);
    EXPECT_STR(line, "seed=9 ticks=3000 faults=state_lost,sensor_stuck");
    EXPECT(dst_line_run(line, &again) == 0);
    EXPECT(again.hash == r.hash && again.events == r.events && r.events > 0);
    EXPECT(dst_line_run("seed=9 ticks=3000 faults=state_lots", &again) < 0);
    EXPECT(dst_line_run("9 3000", &again) < 0);
}
