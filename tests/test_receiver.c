/* test_receiver.c - whatever a robot side is sent, it stays within its own limits and stops by itself. */
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "firmware-bridge/receiver.h"
#include "tests/test.h"

enum { NJ = 3, TIMEOUT_MS = 40, LATCH_MS = 200 };

static const uint64_t MS = NS_PER_MS;

static struct receiver_limits limits(void)
{
    struct receiver_limits l = { .nj = NJ, .command_timeout_ms = TIMEOUT_MS };

    receiver_unlimited(&l);
    for (int j = 0; j < NJ; j++) {
        l.actuated[j]   = j != 1;
        l.effort_max[j] = j == 1 ? 0 : 10 * (j + 1);
        l.damp_kd[j]    = 2;
    }
    return l;
}

/* A receiver in session 5, state 1 sent at t = 1 s. */
static void start(struct receiver *r)
{
    struct receiver_limits l = limits();

    receiver_init(r, &l);
    receiver_session(r, 5);
    receiver_state_sent(r, 1, 1000 * MS);
}

static struct joint_command torque(uint64_t seq, double tau)
{
    return (struct joint_command){ .session   = 5,
                                   .seq       = seq,
                                   .state_seq = 1,
                                   .valid_ms  = 1000,
                                   .mode      = COMMAND_TORQUE,
                                   .nj        = NJ,
                                   .torque    = { tau, 0, tau } };
}

static struct joint_command order(uint64_t seq, enum command_mode mode)
{
    return (struct joint_command){ .session = 5, .seq = seq, .valid_ms = 1000, .mode = mode };
}

static struct joint_command idle(uint64_t seq, uint64_t state_seq)
{
    struct joint_command c = order(seq, COMMAND_IDLE);

    c.state_seq = state_seq;
    return c;
}

/* Effort on joint 0, which is at 0 and moves at 1. */
static double effort0(struct receiver *r, uint64_t at_ms)
{
    const double q[NJ] = { 0 }, dq[NJ] = { 1, 1, 1 };
    double       tau[NJ];

    receiver_effort(r, q, dq, at_ms * MS, tau);
    return tau[0];
}

static bool send(struct receiver *r, struct joint_command c, uint64_t at_ms)
{
    return receiver_command(r, &c, at_ms * MS);
}

TEST(no_command_means_no_torque)
{
    struct receiver r;

    start(&r);
    EXPECT(effort0(&r, 1000) == 0 && effort0(&r, 100000) == 0 && r.mode == RECEIVER_OFF);
}

TEST(the_command_law_is_applied_and_clipped)
{
    struct receiver      r;
    struct joint_command c     = torque(1, 3);
    const double         q[NJ] = { 0.5, 7, 0 }, dq[NJ] = { -1, 7, 0 };
    double               tau[NJ];

    start(&r);
    c.kp[0] = 4, c.position[0] = 1, c.kd[0] = 2, c.velocity[0] = 0.5;
    c.torque[1] = 99, c.torque[2] = -500;
    EXPECT(send(&r, c, 1000));
    receiver_effort(&r, q, dq, 1000 * MS, tau);
    EXPECT_NEAR(tau[0], 3 + 4 * 0.5 + 2 * 1.5, 1e-12);
    EXPECT(tau[1] == 0 && r.count[RECEIVER_UNACTUATED] == 1);
    EXPECT(tau[2] == -30 && r.count[RECEIVER_CLAMPED] == 1);
}

TEST(silence_is_damped_after_the_timeout_and_latched_after_five)
{
    struct receiver r;

    start(&r);
    EXPECT(send(&r, torque(1, 3), 1000) && effort0(&r, 1039) == 3);
    EXPECT(effort0(&r, 1040) == -2 && r.mode == RECEIVER_DAMP);
    receiver_state_sent(&r, 1, 1100 * MS);
    EXPECT(send(&r, torque(2, 4), 1100) && effort0(&r, 1100) == 4); /* damped, not latched: a fresh command goes on */
    EXPECT(effort0(&r, 1100 + LATCH_MS - 1) == -2 && r.mode == RECEIVER_DAMP);
    EXPECT(effort0(&r, 1100 + LATCH_MS) == -2 && r.mode == RECEIVER_LATCH);
    receiver_state_sent(&r, 1, 1300 * MS);
    EXPECT(send(&r, torque(3, 4), 1300) && effort0(&r, 1300) == -2 && r.count[RECEIVER_HELD_BACK] == 1);
    EXPECT(send(&r, order(4, COMMAND_DAMP), 1301) && effort0(&r, 1301) == -2 && r.mode == RECEIVER_LATCH);
    EXPECT(send(&r, idle(5, 1), 1302) && r.mode == RECEIVER_LATCH); /* state 1 left before anybody knew of the latch */
    receiver_state_sent(&r, 2, 1302 * MS);
    EXPECT(send(&r, idle(6, 2), 1302) && effort0(&r, 1302) == 0 && r.mode == RECEIVER_OFF);
    receiver_state_sent(&r, 1, 1302 * MS);
    EXPECT(send(&r, torque(7, 4), 1303) && effort0(&r, 1303) == 4);
}

TEST(a_short_timeout_still_latches_only_after_100_ms)
{
    struct receiver_limits l = limits();
    struct receiver        r;

    l.command_timeout_ms = 10;
    receiver_init(&r, &l);
    receiver_session(&r, 5);
    receiver_state_sent(&r, 1, 1000 * MS);
    EXPECT(send(&r, torque(1, 3), 1000));
    EXPECT(effort0(&r, 1010) == -2);
    EXPECT(effort0(&r, 1099) == -2 && r.mode == RECEIVER_DAMP);
    EXPECT(effort0(&r, 1100) == -2 && r.mode == RECEIVER_LATCH);
}

TEST(a_late_look_at_the_clock_does_not_hide_a_latch)
{
    struct receiver r;

    start(&r);
    send(&r, torque(1, 3), 1000);
    receiver_state_sent(&r, 2, 1500 * MS);
    struct joint_command c = torque(2, 3);
    c.state_seq            = 2;
    EXPECT(send(&r, c, 1500) && r.mode == RECEIVER_LATCH); /* half a second of silence nobody evaluated */
    EXPECT(effort0(&r, 1500) == -2);
}

TEST(validity_ends_a_command_before_the_timeout_and_never_after)
{
    struct receiver      r;
    struct joint_command c = torque(1, 3);

    start(&r);
    c.valid_ms = 7;
    EXPECT(send(&r, c, 1000) && effort0(&r, 1006) == 3 && effort0(&r, 1007) == -2);
    c = torque(2, 3), c.valid_ms = 1e300;
    EXPECT(send(&r, c, 1008) && effort0(&r, 1047) == 3 && effort0(&r, 1048) == -2);
}

TEST(the_estop_ends_all_torque_and_damping_until_released_and_idled)
{
    struct receiver r;

    start(&r);
    send(&r, torque(1, 3), 1000);
    receiver_estop(&r, true);
    EXPECT(effort0(&r, 1001) == 0 && r.mode == RECEIVER_LATCH);
    EXPECT(send(&r, order(2, COMMAND_IDLE), 1002) && r.mode == RECEIVER_LATCH); /* still pressed */
    receiver_session(&r, 5);
    EXPECT(r.mode == RECEIVER_LATCH);
    receiver_estop(&r, false);
    receiver_state_sent(&r, 1, 1003 * MS);
    EXPECT(send(&r, torque(3, 3), 1003) && effort0(&r, 1003) == 0);
    EXPECT(send(&r, idle(4, 1), 1004) && r.mode == RECEIVER_OFF);
    EXPECT(send(&r, torque(5, 3), 1005) && effort0(&r, 1005) == 3);
}

/* Found by the model (tests/spin): an IDLE that the link had kept back since before the robot was armed came after an
 * e-stop that was pressed and released, and the daemon, which had not heard of it yet, went on driving. */
TEST(an_idle_from_before_the_latch_does_not_end_it)
{
    struct receiver r;

    start(&r);
    receiver_estop(&r, true);
    receiver_estop(&r, false);
    EXPECT(send(&r, idle(1, 1), 1001) && r.mode == RECEIVER_LATCH && r.count[RECEIVER_HELD_BACK] == 1);
    EXPECT(send(&r, torque(2, 3), 1001) && effort0(&r, 1001) == 0);
    receiver_state_sent(&r, 2, 1002 * MS);
    EXPECT(send(&r, idle(3, 2), 1002 + TIMEOUT_MS) && r.mode == RECEIVER_LATCH); /* knows, but of long ago */
    receiver_state_sent(&r, 3, 1050 * MS);
    receiver_estop(&r, true); /* another latch on top of the first */
    receiver_estop(&r, false);
    EXPECT(send(&r, idle(4, 3), 1051) && r.mode == RECEIVER_LATCH);
    receiver_state_sent(&r, 4, 1052 * MS);
    EXPECT(send(&r, idle(5, 4), 1053) && r.mode == RECEIVER_OFF);
}

TEST(each_refusal_of_a_command_has_its_counter_and_changes_nothing)
{
    struct receiver      r;
    struct joint_command bad[] = { torque(2, 9),           torque(1, 9), torque(UINT64_MAX, 9), torque(2, 9),
                                   torque(2, (double)NAN), torque(2, 9), torque(2, 9),          torque(2, 9),
                                   torque(2, 9),           torque(2, 9) };
    enum receiver_count  why[] = { RECEIVER_SESSION,   RECEIVER_REPEATED,  RECEIVER_SEQ,      RECEIVER_SHAPE,
                                   RECEIVER_NONFINITE, RECEIVER_NONFINITE, RECEIVER_VALIDITY, RECEIVER_STALE,
                                   RECEIVER_STALE,     RECEIVER_VALIDITY };

    bad[0].session = 4, bad[3].nj = 2, bad[5].kd[2] = -1, bad[6].valid_ms = 0, bad[7].state_seq = 0,
    bad[8].state_seq = 2;
    bad[9].valid_ms  = (double)INFINITY;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start(&r);
        send(&r, torque(1, 3), 1000);
        EXPECT(!send(&r, bad[i], 1001) && r.count[why[i]] == 1 && r.count[RECEIVER_ACCEPTED] == 1);
        EXPECT(effort0(&r, 1039) == 3 && effort0(&r, 1040) == -2); /* nor does it feed the watchdog */
    }
}

TEST(a_command_with_any_number_that_is_none_or_a_gain_below_zero_is_refused_whole)
{
    enum { ZERO = 3, BELOW = 4 };
    static const double  value[] = { (double)NAN, (double)INFINITY, (double)-INFINITY, [ZERO] = -0.0, [BELOW] = -5e-324 };
    struct joint_command c;
    const struct {
        double *first;
        bool    gain;
    } row[] = { { c.torque, false }, { c.position, false }, { c.velocity, false }, { c.kp, true }, { c.kd, true } };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int j = 0; j < NJ; j++)
            for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
                struct receiver r;
                bool            good = k == ZERO || (k == BELOW && !row[i].gain);

                start(&r);
                c               = torque(1, 3);
                row[i].first[j] = value[k];
                EXPECT(send(&r, c, 1000) == good);
                EXPECT(r.count[good ? RECEIVER_ACCEPTED : RECEIVER_NONFINITE] == 1);
            }
}

TEST(nothing_is_taken_before_a_session_not_even_what_names_none)
{
    struct receiver_limits l = limits();
    struct receiver        r;
    struct joint_command   c = torque(1, 3);

    receiver_init(&r, &l);
    receiver_state_sent(&r, 1, 1000 * MS);
    c.session = 0;
    EXPECT(!send(&r, c, 1000) && r.count[RECEIVER_SESSION] == 1 && effort0(&r, 1000) == 0);
}

static void init_it(const void *limits)
{
    struct receiver r;

    receiver_init(&r, limits);
}

TEST(bad_limits_are_a_bug)
{
    static const double     bad[] = { (double)NAN, (double)INFINITY, -1 };
    struct receiver_limits  l     = limits();
    const struct {
        double     *number;
        const char *says;
    } row[] = { { &l.command_timeout_ms, "ms" }, { &l.effort_max[0], "effort_max" },  { &l.effort_max[2], "effort_max" },
                { &l.damp_kd[0], "damp_kd" },    { &l.damp_kd[2], "damp_kd" } };

    EXPECT(!test_breaks(init_it, &l, ""));
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            l              = limits();
            *row[i].number = bad[k];
            EXPECT(test_breaks(init_it, &l, row[i].says));
        }
    for (int k = 0; k < 4; k++) {
        l    = limits();
        l.nj = (int[]){ 0, 1, MAX_JOINTS, MAX_JOINTS + 1 }[k];
        EXPECT(test_breaks(init_it, &l, "nj") == (k == 0 || k == 3));
        l                    = limits();
        l.command_timeout_ms = (double[]){ 0, 5e-324, 999999, 1e6 }[k];
        EXPECT(test_breaks(init_it, &l, "ms") == (k == 0 || k == 3));
    }
}

TEST(a_command_that_was_held_up_on_its_way_is_not_applied)
{
    struct receiver r;

    start(&r); /* state 1 went out at 1000 */
    EXPECT(!send(&r, torque(1, 3), 1040) && r.count[RECEIVER_STALE] == 1);
    EXPECT(send(&r, order(2, COMMAND_DAMP), 1041)); /* orders to stop may be old */
}

TEST(a_reset_between_trials_forgets_the_command_but_not_the_latch)
{
    struct receiver r;

    start(&r);
    send(&r, torque(1, 3), 1000);
    receiver_forget_command(&r);
    EXPECT(effort0(&r, 1001) == 0 && r.mode == RECEIVER_OFF);
    receiver_estop(&r, true);
    receiver_estop(&r, false);
    receiver_forget_command(&r);
    EXPECT(r.mode == RECEIVER_LATCH);
}

/* ---- hostile input against an oracle --------------------------------------------------------------------------- */

/* The oracle keeps the whole story and answers each question by searching it; it has no modes. */
enum { STORY = 400 };
enum deed { DEED_SESSION, DEED_COMMAND, DEED_PRESS, DEED_RELEASE, DEED_FORGET };

struct story {
    int                  n;
    enum deed            deed[STORY];
    uint64_t             at_ms[STORY];
    struct joint_command command[STORY]; /* accepted ones */
    bool                 clears[STORY];  /* an IDLE that ends a latch, if there is one */
    bool                 latched;        /* at the last look at the clock ... */
    uint64_t             latch_state;    /* ... and the newest state that had left when it began */
};

static void tell(struct story *s, enum deed d, uint64_t at_ms, const struct joint_command *c)
{
    s->deed[s->n]  = d;
    s->at_ms[s->n] = at_ms;
    if (c)
        s->command[s->n] = *c;
    s->n++;
}

static bool pressed_at(const struct story *s, int upto)
{
    for (int i = upto; i >= 0; i--)
        if (s->deed[i] == DEED_PRESS || s->deed[i] == DEED_RELEASE)
            return s->deed[i] == DEED_PRESS;
    return false;
}

/* Where latches were last cleared: a session or an accepted IDLE, with the e-stop not pressed; while latched, an IDLE
 * that may be told of it. */
static int last_clearing(const struct story *s)
{
    for (int i = s->n - 1; i >= 0; i--)
        if (!pressed_at(s, i) && (s->deed[i] == DEED_SESSION || s->clears[i]))
            return i;
    return -1;
}

static bool estopped_since(const struct story *s, int clearing)
{
    for (int i = clearing + 1; i < s->n; i++)
        if (s->deed[i] == DEED_PRESS)
            return true;
    return false;
}

/* A gap of LATCH_MS after a command that asked for torque or damping. */
static bool fell_silent_since(const struct story *s, int clearing, uint64_t now_ms)
{
    for (int i = clearing + 1; i < s->n; i++) {
        uint64_t until = now_ms;

        if (s->deed[i] != DEED_COMMAND)
            continue;
        for (int k = i + 1; k < s->n; k++)
            if (s->deed[k] == DEED_COMMAND || s->deed[k] == DEED_FORGET) {
                until = s->at_ms[k];
                break;
            }
        if (until - s->at_ms[i] >= LATCH_MS)
            return true;
    }
    return false;
}

/* At every look at the clock: the newest state that left before the latch was there. */
static void look(struct story *s, uint64_t now_ms, uint64_t states)
{
    int  clearing = last_clearing(s);
    bool latched  = estopped_since(s, clearing) || fell_silent_since(s, clearing, now_ms);

    if (latched && !s->latched)
        s->latch_state = states;
    s->latched = latched;
}

/* The command that may drive now, or NULL. */
static const struct joint_command *may_drive(const struct story *s, uint64_t now_ms)
{
    int clearing = last_clearing(s);

    if (estopped_since(s, clearing) || fell_silent_since(s, clearing, now_ms))
        return NULL;
    for (int i = s->n - 1; i > clearing; i--) {
        if (s->deed[i] == DEED_FORGET)
            return NULL;
        if (s->deed[i] == DEED_COMMAND) {
            double valid = s->command[i].valid_ms < TIMEOUT_MS ? s->command[i].valid_ms : TIMEOUT_MS;

            return s->command[i].mode == COMMAND_TORQUE && (double)(now_ms - s->at_ms[i]) < valid ? &s->command[i]
                                                                                                  : NULL;
        }
    }
    return NULL;
}

static bool acceptable(const struct joint_command *c, uint64_t session, uint64_t last_seq, const uint64_t *state_ms,
                       uint64_t now_ms)
{
    bool numbers = c->valid_ms > 0 && c->valid_ms <= 1e300;

    for (int j = 0; j < c->nj; j++)
        numbers = numbers && fabs(c->torque[j]) <= 1e300 && fabs(c->position[j]) <= 1e300 &&
                  fabs(c->velocity[j]) <= 1e300 && c->kp[j] >= 0 && c->kp[j] <= 1e300 && c->kd[j] >= 0 &&
                  c->kd[j] <= 1e300;
    bool fresh = c->mode != COMMAND_TORQUE || (c->state_seq != 0 && now_ms - state_ms[c->state_seq] < TIMEOUT_MS);
    return numbers && fresh && c->session == session && c->seq > last_seq && c->seq - last_seq <= 1u << 30 &&
           (c->nj == NJ || c->nj == 0);
}

static double nasty(struct rng *r)
{
    static const double some[] = { 0, -0.0, 1, -1, 1e300, -1e300, 5e-324, 30, -30 };

    return rng_below(r, 3) ? 10 * rng_normal(r) : some[rng_below(r, 9)];
}

static struct joint_command any_command(struct rng *r, uint64_t session, uint64_t seq, uint64_t states)
{
    static const double  poison[] = { (double)NAN, HUGE_VAL, -HUGE_VAL };
    struct joint_command c        = { .session = session, .seq = seq, .nj = NJ, .valid_ms = 50 };
    uint32_t             pick     = rng_below(r, 24);

    c.mode      = (enum command_mode)(rng_below(r, 4) ? 1 : rng_below(r, 3));
    c.state_seq = rng_below(r, 6) ? states : states / 2; /* mostly the newest */
    for (int j = 0; j < NJ; j++) {
        c.torque[j] = nasty(r), c.position[j] = nasty(r), c.velocity[j] = nasty(r);
        c.kp[j] = rng_below(r, 2) ? 0 : fabs(nasty(r));
        c.kd[j] = rng_below(r, 2) ? 0 : fabs(nasty(r));
    }
    switch (pick) {
    case 0: c.session += 1; break;
    case 1: c.seq -= 1 + rng_below(r, 3); break;
    case 2: c.seq += 1ull << 40; break;
    case 3: c.nj = (int)rng_below(r, 4); break;
    case 4: c.torque[rng_below(r, NJ)] = poison[rng_below(r, 3)]; break;
    case 5: c.kd[rng_below(r, NJ)] = rng_below(r, 2) ? -1 : poison[rng_below(r, 3)]; break;
    case 6: c.position[rng_below(r, NJ)] = poison[rng_below(r, 3)]; break;
    case 7: c.valid_ms = rng_below(r, 2) ? 0 : poison[rng_below(r, 3)]; break;
    case 8: c.valid_ms = 1 + rng_below(r, 60); break;
    }
    return c;
}

static void check_effort(struct receiver *r, struct story *s, struct rng *g, uint64_t now_ms, uint64_t states)
{
    look(s, now_ms, states);

    const struct receiver_limits l       = limits();
    const struct joint_command  *c       = may_drive(s, now_ms);
    bool                         stopped = estopped_since(s, last_clearing(s));
    double                       q[NJ], dq[NJ], tau[NJ];

    for (int j = 0; j < NJ; j++)
        q[j] = nasty(g), dq[j] = nasty(g);
    if (rng_below(g, 20) == 0)
        dq[rng_below(g, NJ)] = (double)NAN;
    receiver_effort(r, q, dq, now_ms * MS, tau);
    for (int j = 0; j < NJ; j++) {
        EXPECT(isfinite(tau[j]) && fabs(tau[j]) <= l.effort_max[j] && (l.actuated[j] || tau[j] == 0));
        if (stopped)
            EXPECT(tau[j] == 0);
        else if (!c)
            EXPECT(!(tau[j] * dq[j] > 0)); /* never adds energy */
        else if (l.actuated[j]) {
            double law = c->nj ? c->torque[j] : 0;

            if (c->nj && c->kp[j] != 0)
                law += c->kp[j] * (c->position[j] - q[j]);
            if (c->nj && c->kd[j] != 0)
                law += c->kd[j] * (c->velocity[j] - dq[j]);
            if (isfinite(law))
                EXPECT(tau[j] == (fabs(law) <= l.effort_max[j] ? law : copysign(l.effort_max[j], law)));
            else
                EXPECT(tau[j] == 0);
        }
    }
}

TEST(no_sequence_of_events_drives_the_robot_against_the_rules)
{
    static struct story    s;
    static uint64_t        state_ms[STORY + 2];
    struct receiver_limits l = limits();
    struct rng             g;
    long                   driven = 0, undriven = 0;

    rng_seed(&g, 11);
    for (int episode = 0; episode < 400; episode++) {
        struct receiver r;
        uint64_t        now_ms = 1000, session = 1 + rng_next(&g) % 1000, seq = 0, states = 1;

        receiver_init(&r, &l);
        memset(&s, 0, sizeof s);
        receiver_session(&r, session);
        tell(&s, DEED_SESSION, now_ms, NULL);
        while (s.n < STORY) {
            uint32_t pick = rng_below(&g, 100);

            now_ms += rng_below(&g, 10) ? rng_below(&g, 15) : rng_below(&g, 2 * LATCH_MS);
            if (pick == 1 || rng_below(&g, 2)) /* the clock is not looked at before every message */
                check_effort(&r, &s, &g, now_ms, states);
            if (states < STORY && rng_below(&g, 2)) {
                state_ms[++states] = now_ms;
                receiver_state_sent(&r, states, now_ms * MS);
            }
            if (pick == 0) {
                bool press = rng_below(&g, 2);
                if (press && !pressed_at(&s, s.n - 1))
                    s.latch_state = states, s.latched = true;
                receiver_estop(&r, press);
                tell(&s, press ? DEED_PRESS : DEED_RELEASE, now_ms, NULL);
            } else if (pick == 1) {
                receiver_forget_command(&r);
                tell(&s, DEED_FORGET, now_ms, NULL);
            } else if (pick == 2) {
                receiver_session(&r, ++session);
                memset(state_ms, 0, sizeof state_ms);
                tell(&s, DEED_SESSION, now_ms, NULL), seq = 0;
            } else {
                struct joint_command c  = any_command(&g, session, seq + 1, states);
                bool                 ok = acceptable(&c, session, seq, state_ms, now_ms);

                look(&s, now_ms, states);
                EXPECT(receiver_command(&r, &c, now_ms * MS) == ok);
                if (ok) {
                    bool knows = c.state_seq > s.latch_state && now_ms - state_ms[c.state_seq] < TIMEOUT_MS;

                    s.clears[s.n] = c.mode == COMMAND_IDLE && (!s.latched || knows);
                    tell(&s, DEED_COMMAND, now_ms, &c), seq = c.seq;
                }
            }
            check_effort(&r, &s, &g, now_ms, states);
            *(may_drive(&s, now_ms) ? &driven : &undriven) += 1;
        }
    }
    EXPECT(driven > 20000 && undriven > 20000); /* or this would prove nothing */
}
