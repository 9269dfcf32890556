/* test_core_state_edges.c - joint states at and beyond the edge of what can be believed, number by number; what is observed
 * of a body that turns; what forbids arming. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "tests/dst.h"
#include "tests/test.h"

enum { NEXTRA = 4 };

static struct robot_config config;
static struct core         core;
static struct core_input   in;
static struct core_output  out;
static struct joint_state  state;

/* A core that nothing was told yet; the next state is a first one. */
static void begin(void)
{
    dst_config(&config);
    config.nextra = NEXTRA;
    core_init(&core, &config, 0);
    core_ready(&core);
    in = (struct core_input){
        .now_ns = NS_PER_S, .state = &state, .timing_clean = true, .host = ~0u, .aborted_trial = -1
    };
    state = (struct joint_state){ .session = 7, .nj = config.nj, .nextra = NEXTRA, .extra = { 1 }, .ready_trial = -1 };
}

/* The fault bits of a tick that brings this state. */
static uint32_t told(void)
{
    in.now_ns += core.tick_ns;
    in.state_new = true;
    state.seq++;
    core_step(&core, &in, &out);
    return out.record.faults;
}

static bool blamed(int joint, char what)
{
    return out.record.blame.joint == joint && out.record.blame.what == what;
}

/* ---- numbers ---- */

TEST(each_number_of_a_state_that_is_none_or_overflows_a_float_is_refused_and_named)
{
    static const double value[] = { (double)NAN, (double)INFINITY, (double)-INFINITY, 1e39 };
    const struct {
        double *first;
        char    what;
    } row[] = { { state.position, 'q' }, { state.velocity, 'v' }, { state.applied_effort, 'e' } };

    for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
        for (size_t i = 0; i < sizeof row / sizeof *row; i++)
            for (int j = 0; j < 2; j++) {
                begin();
                row[i].first[j] = value[k];
                EXPECT(told() & FAULT_STATE_NONFINITE && !core.good && core.count_nonfinite == 1);
                EXPECT(blamed(j, row[i].what) && isinf(out.record.blame.limit));
            }
        for (int i = 0; i < NEXTRA; i++) {
            begin();
            state.extra[i] = value[k];
            EXPECT(told() & FAULT_STATE_NONFINITE && !core.good && blamed(-1, 'x'));
        }
    }
    begin();
    state.nj = 32, state.position[2] = state.extra[NEXTRA] = (double)NAN; /* of no joint or measurement there is */
    EXPECT(!(told() & FAULT_STATE_NONFINITE) && core.good && out.record.blame.what == 0);
}

/* The last value that can be, and the next. */
static void edge(double *number, double last, double beyond, char what, double limit)
{
    for (int k = 0; k < 2; k++) {
        size_t offset = (size_t)((char *)number - (char *)&state);

        begin();
        *(double *)(void *)((char *)&state + offset) = k ? nextafter(last, beyond) : last;
        uint32_t fault                               = told();
        EXPECT(!!(fault & FAULT_STATE_RANGE) == (k == 1) && core.good == (k == 0));
        EXPECT(k == 0 || (blamed(0, what) && out.record.blame.limit == limit));
    }
}

TEST(each_number_of_a_state_may_be_as_large_as_its_limit_and_not_the_least_bit_larger)
{
    const struct joint_config *joint = &config.joint[0];

    begin();
    double range = joint->position_max - joint->position_min, effort = 2 * joint->effort + 1;

    for (int side = -1; side <= 1; side += 2) {
        edge(&state.velocity[0], side * joint->velocity, side * HUGE_VAL, 'v', joint->velocity);
        edge(&state.applied_effort[0], side * effort, side * HUGE_VAL, 'e', effort);
    }
    edge(&state.position[0], joint->position_max + range, HUGE_VAL, 'q', joint->position_max);
    edge(&state.position[0], joint->position_min - range, -HUGE_VAL, 'q', joint->position_min);
    begin();
    state.position[1] = 1e6; /* turns on and on */
    EXPECT(!(told() & FAULT_STATE_RANGE) && core.good);
}

TEST(a_joint_a_whole_range_beyond_its_limits_is_nonsense_and_a_little_beyond_them_is_a_position_fault)
{
    begin();
    state.position[0] = config.joint[0].position_max + config.gates.position.threshold * 6;
    EXPECT(!(told() & FAULT_POSITION));
    begin();
    state.position[0] = nextafter(config.joint[0].position_max + config.gates.position.threshold * 6, HUGE_VAL);
    EXPECT(told() & FAULT_POSITION && core.good);
    begin();
    state.position[0] = nextafter(config.joint[0].position_min - config.gates.position.threshold * 6, -HUGE_VAL);
    EXPECT(told() & FAULT_POSITION && core.good);
}

/* ---- what is observed ---- */

/* v turned by the unit quaternion q's inverse: seen from the body. */
static void from_the_body(const double *q, const double *v, double *seen)
{
    double w = q[0], x = -q[1], y = -q[2], z = -q[3]; /* q's inverse; v' = v + 2 r x (r x v + w v) */
    double a[3] = { y * v[2] - z * v[1] + w * v[0], z * v[0] - x * v[2] + w * v[1], x * v[1] - y * v[0] + w * v[2] };

    seen[0] = v[0] + 2 * (y * a[2] - z * a[1]);
    seen[1] = v[1] + 2 * (z * a[0] - x * a[2]);
    seen[2] = v[2] + 2 * (x * a[1] - y * a[0]);
}

TEST(up_is_where_it_is_seen_from_a_body_turned_in_any_way)
{
    const double up[3] = { 0, 0, 1 };
    struct rng   r;

    rng_seed(&r, 1);
    for (int n = 0; n < 200; n++) {
        double q[4], norm = 0, seen[3];

        begin();
        for (int i = 0; i < 4; i++)
            q[i] = rng_normal(&r), norm += q[i] * q[i];
        for (int i = 0; i < 4; i++) {
            q[i] /= sqrt(norm);
            state.extra[i] = 1.004 * q[i]; /* as good as a unit quaternion */
        }
        for (int i = 0; i < 3; i++)
            config.observation[i] = (struct observation_config){ .measure = (enum measure)(MEASURE_UP_X + i) };
        config.observation[3] = (struct observation_config){ .measure = MEASURE_EXTRA, .joint = 2 };
        EXPECT(!(told() & FAULT_STATE_RANGE) && core.good);
        from_the_body(q, up, seen);
        for (int i = 0; i < 3; i++)
            EXPECT_NEAR((double)core.x[i], seen[i], 1e-6);
        EXPECT(core.x[3] == (float)state.extra[2]);
    }
}

TEST(a_state_numbered_as_the_one_before_says_nothing_about_velocity)
{
    begin();
    config.observation[0] = (struct observation_config){ .measure = MEASURE_AVERAGE_VELOCITY };
    told();
    state.position[0] = 0.1;
    told();
    EXPECT_NEAR((double)core.x[0], 0.1 / 0.04, 1e-6);
    state.seq--;
    told();
    EXPECT(core.good && core.x[0] == 0);
}

/* ---- stops that are heeded whatever stands beside them ---- */

TEST(a_stop_or_fault_between_two_ticks_counts_though_the_newest_state_knows_nothing_of_it)
{
    for (int k = 0; k < 8; k++) {
        bool now = k & 1, between = k & 2, fresh = k & 4;

        begin();
        told();
        in.now_ns += core.tick_ns;
        state.estop = now, in.estop_seen = between, in.state_new = fresh;
        state.seq++;
        core_step(&core, &in, &out);
        EXPECT(!!(out.record.faults & FAULT_ESTOP) == ((now && fresh) || between));
        EXPECT(!(out.record.faults & FAULT_ROBOT));

        begin();
        told();
        in.now_ns += core.tick_ns;
        state.faults = now ? ROBOT_FAULT_DIVERGED : 0, in.fault_seen = between, in.state_new = fresh;
        state.seq++;
        core_step(&core, &in, &out);
        EXPECT(!!(out.record.faults & FAULT_ROBOT) == ((now && fresh) || between));
        EXPECT(!(out.record.faults & FAULT_ESTOP));
    }
}

/* ---- arming ---- */

/* Does this check hold after two seconds of good states? */
static bool holds(enum prearm check)
{
    for (int i = 0; i < 2 * (int)config.control_hz; i++)
        told();
    return core.prearm >> check & 1;
}

TEST(a_missed_tick_forbids_arming_a_real_robot_and_not_a_simulated_one)
{
    for (int real = 0; real < 2; real++)
        for (int clean = 0; clean < 2; clean++) {
            begin();
            config.hardware = real ? HARDWARE_REAL : HARDWARE_SIM;
            in.timing_clean = clean;
            EXPECT(holds(PREARM_TIMING) == (clean || !real));
        }
}

TEST(what_latched_forbids_arming_and_so_does_a_fault_that_says_it_did_not)
{
    for (int latched = 0; latched < 2; latched++)
        for (int fault = 0; fault < 2; fault++) {
            begin();
            told();
            core.latched = latched;
            core.mode    = fault ? MODE_FAULT : MODE_DISARMED;
            EXPECT(holds(PREARM_NOT_LATCHED) == (!latched && !fault));
        }
}

/* A slide that leans by what its baseline has to hold. */
TEST(nobody_arms_a_robot_whose_baseline_needs_more_than_its_motors_can_hold_for_good)
{
    static const struct {
        double hold, continuous;
        bool   arms;
    } row[] = { { 300, 0, true }, { 300.1, 0, false }, { 100, 100, true }, { -100.1, 100, false }, { (double)NAN, 100, false } };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        begin();
        config.baseline                   = BASELINE_DAMP;
        config.joint[0].ngravity          = 1;
        config.joint[0].gravity[0].effort = row[i].hold;
        config.joint[0].effort_continuous = row[i].continuous;
        config.joint[0].heat_s            = row[i].continuous > 0 ? 60 : 0;
        core_init(&core, &config, 0);
        core_ready(&core);
        EXPECT(holds(PREARM_BASELINE) == row[i].arms);
    }
}

TEST(motors_are_hot_when_the_daemon_starts_and_cool_while_it_is_disarmed)
{
    begin();
    config.joint[0].effort_continuous = 100;
    config.joint[0].heat_s            = 4;
    core_init(&core, &config, 0);
    core_ready(&core);
    EXPECT(core.window.cool[0] == 0);
    EXPECT_NEAR(core.limits.keep[0], exp(-0.04 / 4), 1e-15);
    for (int i = 0; i < 100; i++)
        told();
    EXPECT_NEAR(core.window.cool[0], 1 - exp(-1), 1e-12);
    EXPECT(core.limits.continuous[1] == (double)INFINITY && core.window.cool[1] == 0);
}
