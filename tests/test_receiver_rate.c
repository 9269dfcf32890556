/* test_receiver_rate.c - whatever a robot side is sent, its effort grows no faster than its own rate and drives no joint on
 * that is at its velocity limit; a stream that keeps the rate passes unchanged, however late its commands come. */
#include <math.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "firmware-bridge/receiver.h"
#include "tests/test.h"

#define NONE ((double)INFINITY)

static const uint64_t MS = NS_PER_MS;

/* ---- one joint, 100 N m/s and 40 ms: it may grow by 4 N m at once, and by 0.1 N m a millisecond ---- */

static struct receiver_limits limits(void)
{
    return (struct receiver_limits){ .nj                 = 1,
                                     .actuated           = { true },
                                     .effort_max         = { 50 },
                                     .effort_rate        = { 100 },
                                     .velocity_max       = { 3 },
                                     .damp_kd            = { 2 },
                                     .command_timeout_ms = 40 };
}

static void start(struct receiver *r)
{
    struct receiver_limits l = limits();

    receiver_init(r, &l);
    receiver_session(r, 5);
}

static struct joint_command order(struct receiver *r, enum command_mode mode, double tau, uint64_t at_ns)
{
    struct joint_command c = { .session   = r->session,
                               .seq       = r->seq + 1,
                               .state_seq = r->newest_state + 1,
                               .valid_ms  = 1000,
                               .mode      = mode,
                               .nj        = r->limits.nj,
                               .torque    = { tau } };

    receiver_state_sent(r, c.state_seq, at_ns);
    return c;
}

static void say(struct receiver *r, enum command_mode mode, double tau, uint64_t at_ms)
{
    struct joint_command c = order(r, mode, tau, at_ms * MS);

    EXPECT(receiver_command(r, &c, at_ms * MS));
}

/* What is applied to the joint, which moves at dq. */
static double moving(struct receiver *r, double dq, uint64_t at_ms)
{
    const double q = 0;
    double       tau;

    receiver_effort(r, &q, &dq, at_ms * MS, &tau);
    return tau;
}

static double effort(struct receiver *r, uint64_t at_ms)
{
    return moving(r, 0, at_ms);
}

static double driven(struct receiver *r, double tau, uint64_t at_ms)
{
    say(r, COMMAND_TORQUE, tau, at_ms);
    return effort(r, at_ms);
}

/* The rate is a thousandth larger than it need be. */
static bool near(double tau, double want)
{
    return fabs(tau) >= fabs(want) * (1 - 1e-12) && fabs(tau) <= fabs(want) + 0.0051 && signbit(tau) == signbit(want);
}

TEST(effort_grows_at_its_rate_and_falls_at_once)
{
    struct receiver r;

    start(&r);
    EXPECT(near(driven(&r, 30, 1000), 4) && r.count[RECEIVER_SLOWED] == 1);
    EXPECT(near(effort(&r, 1010), 5) && near(effort(&r, 1020), 6.003) && r.count[RECEIVER_SLOWED] == 3);
    EXPECT(driven(&r, 1, 1020) == 1);
    EXPECT(driven(&r, 1, 1021) == 1 && r.count[RECEIVER_SLOWED] == 3);
    EXPECT(near(driven(&r, -30, 1031), -1.1)); /* towards zero for nothing; beyond it, what came since */
    EXPECT(driven(&r, 0, 1031) == 0);
    EXPECT(driven(&r, 30, 1031) <= 1e-12); /* used up */
    EXPECT(r.count[RECEIVER_CLAMPED] == 0 && r.count[RECEIVER_CUT_BACK] == 0);
}

TEST(rest_adds_no_more_than_a_command_timeouts_growth)
{
    struct receiver r;

    start(&r);
    EXPECT(near(driven(&r, 30, 1000), 4));
    say(&r, COMMAND_IDLE, 0, 1001);
    EXPECT(effort(&r, 1001) == 0);
    EXPECT(near(driven(&r, 30, 9000), 4));
}

TEST(damping_is_neither_held_to_the_rate_nor_a_start_to_go_on_from)
{
    struct receiver r;

    start(&r);
    say(&r, COMMAND_DAMP, 0, 1000);
    EXPECT(moving(&r, 20, 1000) == -40 && moving(&r, -20, 1000) == 40 && r.count[RECEIVER_SLOWED] == 0);
    EXPECT(near(driven(&r, 45, 1001), 4));
    say(&r, COMMAND_DAMP, 0, 1002);
    EXPECT(moving(&r, 20, 1002) == -40);
    say(&r, COMMAND_TORQUE, -45, 1003);
    EXPECT(near(effort(&r, 1003), -0.2));
}

TEST(after_lost_commands_effort_begins_again_from_nothing)
{
    struct receiver r;

    start(&r);
    for (int k = 0; k < 20; k++)
        EXPECT(driven(&r, k, 1000 + 10 * (uint64_t)k) == k); /* 1 N m every 10 ms */
    EXPECT(effort(&r, 1229) == 19);
    EXPECT(effort(&r, 1230) == 0 && r.mode == RECEIVER_DAMP); /* it stands: nothing to damp */
    EXPECT(near(driven(&r, 24, 1240), 4) && r.count[RECEIVER_SLOWED] == 1);
    say(&r, COMMAND_TORQUE, 28, 1280); /* nobody looked at the clock: the silence is one all the same */
    EXPECT(near(effort(&r, 1280), 4));
}

TEST(after_a_reset_or_a_new_session_effort_begins_again_from_nothing)
{
    for (int session = 0; session < 2; session++) {
        struct receiver r;

        start(&r);
        for (int k = 0; k < 20; k++)
            EXPECT(driven(&r, 2 * k, 1000 + 20 * (uint64_t)k) == 2 * k);
        if (session)
            receiver_session(&r, 6);
        else
            receiver_forget_command(&r);
        EXPECT(near(driven(&r, 38, 1390), 3)); /* it had 2 N m left, and 10 ms */
    }
}

TEST(an_emergency_stop_ends_effort_at_once)
{
    struct receiver r;

    start(&r);
    EXPECT(driven(&r, 4, 1000) == 4);
    receiver_estop(&r, true);
    EXPECT(effort(&r, 1000) == 0 && r.count[RECEIVER_SLOWED] == 0);
}

TEST(the_rate_holds_for_gains_too)
{
    struct receiver      r;
    struct joint_command c;
    const double         q = -1, dq = -1;
    double               tau;

    start(&r);
    c       = order(&r, COMMAND_TORQUE, 1, 1000 * MS);
    c.kp[0] = 20, c.kd[0] = 10;
    EXPECT(receiver_command(&r, &c, 1000 * MS));
    receiver_effort(&r, &q, &dq, 1000 * MS, &tau);
    EXPECT(near(tau, 4));
    receiver_effort(&r, &q, &dq, 1010 * MS, &tau);
    EXPECT(near(tau, 5) && r.count[RECEIVER_SLOWED] == 2);
}

TEST(what_was_no_number_is_no_start_to_go_on_from)
{
    struct receiver      r;
    struct joint_command c;
    const double         q = 0, dq = 0, bad = (double)NAN;
    double               tau;

    start(&r);
    EXPECT(driven(&r, 4, 1000) == 4);
    c       = order(&r, COMMAND_TORQUE, 4, 1010 * MS);
    c.kp[0] = 1;
    EXPECT(receiver_command(&r, &c, 1010 * MS));
    receiver_effort(&r, &bad, &dq, 1010 * MS, &tau);
    EXPECT(tau == 0);
    receiver_effort(&r, &q, &dq, 1010 * MS, &tau);
    EXPECT(near(tau, 1));
}

TEST(a_clock_that_stands_still_adds_nothing)
{
    struct receiver r;

    start(&r);
    EXPECT(near(driven(&r, 30, 0), 4)); /* a simulated clock begins at 0 */
    EXPECT(near(effort(&r, 0), 4) && near(effort(&r, 10), 5) && near(effort(&r, 10), 5));
}

TEST(each_joint_has_a_rate_and_a_velocity_limit_of_its_own_or_none)
{
    struct receiver_limits l = {
        .nj = 3, .actuated = { true, true, true }, .effort_max = { 50, 50, 50 }, .command_timeout_ms = 40
    };
    struct joint_command c;
    struct receiver      r;
    const double         q[3] = { 0 }, dq[3] = { 9, 9, 9 };
    double               tau[3];

    l.actuated[1] = false;
    memset(&l.effort_rate, 1, sizeof l.effort_rate);
    receiver_unlimited(&l);
    for (int j = 0; j < MAX_JOINTS; j++)
        EXPECT(isinf(l.effort_rate[j]) && isinf(l.velocity_max[j]));
    EXPECT(l.nj == 3 && l.effort_max[2] == 50 && l.command_timeout_ms == 40);
    l.effort_rate[2]  = 100;
    l.velocity_max[0] = 5;
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    c           = order(&r, COMMAND_TORQUE, 30, 1000 * MS);
    c.torque[2] = 30;
    EXPECT(receiver_command(&r, &c, 1000 * MS));
    receiver_effort(&r, q, dq, 1000 * MS, tau);
    EXPECT(tau[0] == 0 && tau[1] == 0 && near(tau[2], 4));
    EXPECT(r.count[RECEIVER_CUT_BACK] == 1 && r.count[RECEIVER_SLOWED] == 1 && r.count[RECEIVER_UNACTUATED] == 0);
    receiver_effort(&r, q, q, 1000 * MS, tau);
    EXPECT(tau[0] == 30 && r.count[RECEIVER_CUT_BACK] == 1 && r.count[RECEIVER_SLOWED] == 2);
}

TEST(one_slowed_or_cut_back_joint_before_others_counts_the_evaluation)
{
    struct receiver_limits l = {
        .nj = 2, .actuated = { true, true }, .effort_max = { 50, 50 }, .command_timeout_ms = 40
    };
    struct joint_command c;
    struct receiver      r;
    const double         q[2] = { 0 }, fast[2] = { 9, 9 };
    double               tau[2];

    receiver_unlimited(&l);
    l.effort_rate[0] = 100, l.velocity_max[0] = 5;
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    c           = order(&r, COMMAND_TORQUE, 30, 1000 * MS);
    c.torque[1] = 30;
    EXPECT(receiver_command(&r, &c, 1000 * MS));
    receiver_effort(&r, q, fast, 1000 * MS, tau);
    EXPECT(tau[0] == 0 && tau[1] == 30 && r.count[RECEIVER_CUT_BACK] == 1 && r.count[RECEIVER_SLOWED] == 0);
    receiver_effort(&r, q, q, 1000 * MS, tau);
    EXPECT(near(tau[0], 4) && tau[1] == 30 && r.count[RECEIVER_CUT_BACK] == 1 && r.count[RECEIVER_SLOWED] == 1);
}

TEST(what_is_behind_the_last_joint_is_left_alone)
{
    struct receiver_limits l = limits();
    struct receiver        r;

    l.effort_rate[1] = 100;
    receiver_init(&r, &l);
    r.grown[1] = 5;
    EXPECT(effort(&r, 1000) == 0 && r.grown[1] == 5);
}

/* ---- velocity ---- */

TEST(a_joint_at_its_velocity_limit_is_braked_and_not_driven_on)
{
    static const struct {
        double dq, want, got;
    } row[] = {
        { 2.999, 2, 2 },  { 3, 2, 0 },     { 3, -2, -2 },     { -2.999, -2, -2 },    { -3, -2, 0 },
        { -3, 2, 2 },     { 1e300, 2, 0 }, { 1e300, -2, -2 }, { (double)NAN, 2, 0 }, { (double)NAN, -2, 0 },
        { NONE, 2, 0 },   { NONE, -2, 0 }, { -NONE, 2, 0 },   { -NONE, -2, 0 },      { 5, 0, 0 },
        { 5, 5e-324, 0 },
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct receiver r;

        start(&r);
        say(&r, COMMAND_TORQUE, row[i].want, 1000);
        EXPECT(moving(&r, row[i].dq, 1000) == row[i].got);
        EXPECT(r.count[RECEIVER_CUT_BACK] == (row[i].got != row[i].want) && r.count[RECEIVER_SLOWED] == 0);
        EXPECT(r.count[RECEIVER_CLAMPED] == 0);
    }
}

TEST(what_was_cut_back_is_no_start_to_go_on_from)
{
    struct receiver r;

    start(&r);
    EXPECT(driven(&r, 4, 1000) == 4);
    EXPECT(moving(&r, 3, 1010) == 0);
    EXPECT(near(effort(&r, 1010), 1)); /* slow again: what came in 10 ms */
}

TEST(damping_is_not_cut_back)
{
    struct receiver r;

    start(&r);
    say(&r, COMMAND_DAMP, 0, 1000);
    EXPECT(moving(&r, 20, 1000) == -40 && moving(&r, (double)NAN, 1000) == 0 && r.count[RECEIVER_CUT_BACK] == 0);
}

/* ---- limits, names ---- */

static void init_it(const void *l)
{
    struct receiver r;

    receiver_init(&r, l);
}

TEST(a_rate_or_velocity_limit_that_is_none_or_not_above_zero_is_a_bug)
{
    static const double    bad[] = { (double)NAN, 0, -1, -NONE };
    struct receiver_limits l;

    for (int good = 0; good < 4; good++) {
        l                 = limits();
        l.effort_rate[0]  = good & 1 ? NONE : 5e-324;
        l.velocity_max[0] = good & 2 ? NONE : 5e-324;
        EXPECT(!test_breaks(init_it, &l, ""));
    }
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        l                = limits();
        l.effort_rate[0] = bad[k];
        EXPECT(test_breaks(init_it, &l, "effort_rate"));
        l                 = limits();
        l.velocity_max[0] = bad[k];
        EXPECT(test_breaks(init_it, &l, "velocity_max"));
    }
}

TEST(every_count_of_the_receiver_has_a_name_of_its_own)
{
    EXPECT(strcmp(receiver_count_name(RECEIVER_ACCEPTED), "accepted") == 0);
    EXPECT(strcmp(receiver_count_name(RECEIVER_HELD_BACK), "held_back") == 0);
    EXPECT(strcmp(receiver_count_name(RECEIVER_CUT_BACK), "cut_back") == 0);
    EXPECT(strcmp(receiver_count_name(RECEIVER_SLOWED), "slowed") == 0);
    for (int k = 0; k < RECEIVER_COUNTS; k++)
        for (int i = 0; i < k; i++)
            EXPECT(strcmp(receiver_count_name((enum receiver_count)k), receiver_count_name((enum receiver_count)i)) !=
                   0);
}

/* ---- streams that keep the rate ---- */

/* A step of a sender that keeps `up`: holds, falls, grows, goes through zero; often by all it may. */
static double next_wish(struct rng *g, double last, double up, double most)
{
    double size, side = last < 0 ? -1 : 1;

    switch (rng_below(g, 6)) {
    case 0: return last;
    case 1: return last * rng_uniform(g);
    case 2: size = fabs(last) + up * rng_uniform(g); break;
    case 3: size = fabs(last) + up; break;
    default: size = rng_below(g, 2) ? up : up * rng_uniform(g), side = -side; break;
    }
    return side * (size < most ? size : most);
}

/* Commands of period T, of which some get lost and each, or the next in its place, is applied up to (m - 1) T later than
 * others, by a receiver whose clock is another one and that looks at it when it likes; the timeout is m T. */
static void keeps_the_rate(struct rng *g, long *driven)
{
    double T = exp(log(1e-3) + rng_uniform(g) * log(100)), rate = exp(20 * rng_uniform(g) - 10),
           m  = 2.1 + 4 * rng_uniform(g);
    double up = rate * T, most = up * (1 + 20 * rng_uniform(g)), clock = 1 - 5e-4 * rng_uniform(g),
           look        = T * rng_uniform(g);
    int      most_lost = (int)rng_below(g, (uint32_t)(m - look / T)), lost = 0;
    double   spread = 0.999 * ((m - 1 - most_lost) * T - look), wish = 0, came = 0, at = 100, until = 0, lateness = 0;
    uint32_t moody              = 1 + rng_below(g, 20);
    struct receiver_limits l    = { .nj                 = 1,
                                    .actuated           = { true },
                                    .effort_max         = { most },
                                    .effort_rate        = { rate },
                                    .velocity_max       = { NONE },
                                    .command_timeout_ms = 1e3 * m * T };
    const double           zero = 0;
    struct receiver        r;

    receiver_init(&r, &l);
    receiver_session(&r, 1);
    for (int k = 1; k < 300; k++) {
        double sent = 100 + k * T, tau;

        wish = next_wish(g, wish, up, most);
        if (rng_below(g, moody) == 0)
            lateness = rng_below(g, 3) ? spread * rng_uniform(g) : rng_below(g, 2) * spread;
        lost = lost < most_lost && rng_below(g, 4) == 0 ? lost + 1 : 0;
        if (lost)
            continue;
        came = sent + lateness > came ? sent + lateness : came;
        for (; at < came; at += T * (0.01 + rng_uniform(g)))
            receiver_effort(&r, &zero, &zero, (uint64_t)(1e9 * clock * at), &tau);
        at                     = came > until ? came : until; /* it is looked at then, at leisure */
        until                  = at + look * rng_uniform(g);
        struct joint_command c = { .session   = 1,
                                   .seq       = (uint64_t)k,
                                   .state_seq = (uint64_t)k,
                                   .valid_ms  = 1e5,
                                   .mode      = COMMAND_TORQUE,
                                   .nj        = 1,
                                   .torque    = { wish } };
        receiver_state_sent(&r, (uint64_t)k, (uint64_t)(1e9 * clock * sent));
        EXPECT(receiver_command(&r, &c, (uint64_t)(1e9 * clock * at)));
        at = until;
        receiver_effort(&r, &zero, &zero, (uint64_t)(1e9 * clock * at), &tau);
        EXPECT(r.mode == RECEIVER_LIVE && tau == wish && r.count[RECEIVER_SLOWED] == 0);
        *driven += fabs(tau) > up;
    }
}

TEST(a_stream_that_keeps_the_rate_passes_unchanged_however_late_its_commands_come)
{
    struct rng g;
    long       driven = 0;

    rng_seed(&g, 7);
    for (int i = test_rounds(2000, 100000); i > 0; i--)
        keeps_the_rate(&g, &driven);
    EXPECT(driven > 100000);
}

/* ---- streams that do not ---- */

enum { EVENTS = 300 };

/* What an observer of the motor saw. */
struct seen {
    int    n;
    double s[EVENTS], grown[EVENTS + 1]; /* when; all growth before that */
    double last;
};

static void see(struct seen *s, double at_s, double live_effort)
{
    bool   crossed = live_effort * s->last < 0;
    double grows   = fabs(live_effort) - (crossed ? 0 : fabs(s->last));

    s->s[s->n]         = at_s;
    s->grown[s->n + 1] = s->grown[s->n] + (grows > 0 ? grows : 0);
    s->last            = live_effort;
    s->n++;
}

/* Over every stretch of time, however short or long, by no more than its rate for that time and one command timeout. */
static int too_fast(const struct seen *s, double rate, double timeout_s)
{
    int bad = 0;

    for (int i = 0; i < s->n; i++)
        for (int k = i; k < s->n; k++)
            bad += !(s->grown[k + 1] - s->grown[i] <= 1.0011 * rate * (s->s[k] - s->s[i] + timeout_s));
    return bad;
}

static void any_event(struct receiver *r, struct rng *g, uint64_t now_ns)
{
    struct joint_command c;

    switch (rng_below(g, 40)) {
    case 0: receiver_session(r, r->session + 1); break;
    case 1: receiver_forget_command(r); break;
    case 2: receiver_estop(r, rng_below(g, 2)); break;
    default:
        c = order(r, rng_below(g, 12) ? COMMAND_TORQUE : rng_below(g, 2) ? COMMAND_DAMP : COMMAND_IDLE, 0, now_ns);
        c.valid_ms = 100 * rng_uniform(g);
        for (int j = 0; j < 2; j++) {
            c.torque[j]   = 100 * rng_normal(g);
            c.kp[j]       = rng_below(g, 3) ? 0 : 30 * rng_uniform(g);
            c.kd[j]       = rng_below(g, 3) ? 0 : 30 * rng_uniform(g);
            c.position[j] = rng_normal(g), c.velocity[j] = rng_normal(g);
        }
        receiver_command(r, &c, now_ns);
    }
}

TEST(no_sequence_of_events_makes_effort_grow_faster_than_its_rate_or_drives_a_joint_beyond_its_velocity)
{
    struct receiver_limits l = { .nj                 = 2,
                                 .actuated           = { true, true },
                                 .effort_max         = { 40, 90 },
                                 .damp_kd            = { 2, 2 },
                                 .velocity_max       = { 2, NONE },
                                 .command_timeout_ms = 40 };
    struct rng             g;
    long                   slowed = 0, cut = 0, live = 0;

    rng_seed(&g, 17);
    for (int episode = test_rounds(300, 10000); episode > 0; episode--) {
        static struct seen seen[2];
        struct receiver    r;
        uint64_t           now_ns = NS_PER_S;
        double             pace   = 1e7 * rng_uniform(&g);

        l.effort_rate[0] = exp(6 * rng_uniform(&g)), l.effort_rate[1] = exp(8 * rng_uniform(&g));
        receiver_init(&r, &l);
        receiver_session(&r, 1);
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < EVENTS; i++) {
            double q[2], dq[2], tau[2];

            now_ns += rng_below(&g, 30) ? (uint64_t)(pace * rng_uniform(&g)) : rng_below(&g, 300) * MS;
            for (uint32_t k = rng_below(&g, 3); k > 0; k--)
                any_event(&r, &g, now_ns);
            for (int j = 0; j < 2; j++)
                q[j] = rng_normal(&g), dq[j] = rng_below(&g, 30) ? 2 * rng_normal(&g) : (double)NAN;
            receiver_effort(&r, q, dq, now_ns, tau);
            bool is_live = r.mode == RECEIVER_LIVE;
            for (int j = 0; j < 2; j++)
                see(&seen[j], 1e-9 * (double)now_ns, is_live ? tau[j] : 0);
            live += is_live;
            if (is_live && !(fabs(dq[0]) < 2))
                EXPECT(tau[0] == 0 || tau[0] * dq[0] < 0);
        }
        for (int j = 0; j < 2; j++)
            EXPECT(too_fast(&seen[j], l.effort_rate[j], 0.04) == 0);
        slowed += (long)r.count[RECEIVER_SLOWED], cut += (long)r.count[RECEIVER_CUT_BACK];
    }
    EXPECT(slowed > 5000 && cut > 5000 && live > 30000); /* or this would prove nothing */
}
