/* test_session.c - the daemon's side of the conversation, message by message. */
#include <inttypes.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"
#include "proto/limber.pb-c.h"
#include "daemon/rt/rng.h"
#include "tests/test.h"
#include "transport/session.h"

enum { FIRST = 1000 };

/* One daemon and whatever it was last told and answered. */
struct talk {
    struct session        s;
    struct session_result r;
    struct codec_scratch  scratch;
    uint64_t              now_ns;
};

static struct session_expect expectation(void)
{
    struct session_expect e = { .robot = "pole", .nj = 2, .nextra = 1, .simulated = true, .lockstep_allowed = true };

    e.joint[0] = (struct joint_info){
        .name = "slider", .type = JOINT_PRISMATIC, .actuated = true, .velocity_max = 40, .effort_max = 300, .effort_rate_max = 1500
    };
    e.joint[1] = (struct joint_info){ .name = "hinge", .type = JOINT_CONTINUOUS, .velocity_max = 80 };
    strcpy(e.extra[0], "load");
    e.control_hz           = 25;
    e.latch_ms             = 5;
    e.robot_timeout_max_ms = 120;
    return e;
}

static struct hello good_hello(void)
{
    struct hello h = {
        .protocol = LIMBER_PROTOCOL, .robot = "pole", .boot_id = 7, .nj = 2, .nextra = 1, .simulated = true
    };

    h.joint[0] = (struct joint_info){
        .name = "slider", .type = JOINT_PRISMATIC, .actuated = true, .velocity_max = 40, .effort_max = 300, .effort_rate_max = 1500
    };
    h.joint[1] = (struct joint_info){ .name = "hinge", .type = JOINT_CONTINUOUS, .velocity_max = 100 };
    strcpy(h.extra[0], "load");
    h.command_timeout_ms = 100;
    h.timeout_action     = TIMEOUT_DAMP;
    return h;
}

static void start(struct talk *t)
{
    struct session_expect e = expectation();

    session_init(&t->s, &e, FIRST);
    t->now_ns = 5 * NS_PER_S;
}

static void say_bytes(struct talk *t, const char *peer, const uint8_t *bytes, size_t n)
{
    session_receive(&t->s, (const uint8_t *)peer, strlen(peer), bytes, n, t->now_ns, &t->scratch, &t->r);
}

static void say(struct talk *t, const char *peer, const struct message *m)
{
    static uint8_t bytes[CODEC_MAX_BYTES];

    /* As if a robot side had made it, whatever it is. */
    say_bytes(t, peer, bytes, codec_seal(FROM_ROBOT, bytes, codec_pack(m, bytes) - CODEC_CRC_BYTES));
}

static void say_hello(struct talk *t, const char *peer, const struct hello *h)
{
    struct message m = { .kind = MESSAGE_HELLO };

    m.hello = *h;
    say(t, peer, &m);
}

static void say_state(struct talk *t, const char *peer, uint64_t session, uint64_t seq)
{
    struct message m = { .kind = MESSAGE_STATE };

    m.state.session = session, m.state.seq = seq, m.state.nj = 2, m.state.nextra = 1;
    m.state.position[0] = (double)seq;
    say(t, peer, &m);
}

static void say_event(struct talk *t, const char *peer, uint64_t session, uint32_t trial, enum trial_event_kind kind)
{
    struct message m = { .kind = MESSAGE_TRIAL_EVENT };

    m.trial_event = (struct trial_event){ .session = session, .trial = trial, .kind = kind };
    say(t, peer, &m);
}

static void say_ready(struct talk *t, const char *peer, uint64_t session, uint32_t trial)
{
    say_event(t, peer, session, trial, TRIAL_READY);
}

static uint64_t counted(struct talk *t, enum session_count k)
{
    return atomic_load(&t->s.count[k]);
}

static bool refused_as(const struct talk *t, enum refusal_code code)
{
    return t->r.has_reply && t->r.reply.kind == MESSAGE_REFUSAL && t->r.reply.refusal.code == code;
}

static bool welcomed(const struct talk *t, uint64_t session)
{
    return t->r.has_reply && t->r.reply.kind == MESSAGE_WELCOME && t->r.reply.welcome.session == session;
}

/* A daemon in session FIRST with peer "a". */
static void start_in_session(struct talk *t)
{
    struct hello h = good_hello();

    start(t);
    say_hello(t, "a", &h);
    EXPECT(t->r.opened && welcomed(t, FIRST));
}

TEST(a_good_hello_opens_a_session_with_everything_the_robot_side_needs)
{
    static struct talk t;
    struct hello       h = good_hello();

    start(&t);
    EXPECT(!session_alive(&t.s, t.now_ns));
    h.lockstep = true;
    say_hello(&t, "a", &h);
    EXPECT(t.r.opened && welcomed(&t, FIRST) && counted(&t, COUNT_HELLO) == 1);
    EXPECT(t.r.reply.welcome.protocol == LIMBER_PROTOCOL && t.r.reply.welcome.control_hz == 25);
    EXPECT(t.r.reply.welcome.latch_ms == 5 && t.r.reply.welcome.simulated && t.r.reply.welcome.lockstep &&
           t.s.lockstep);
    EXPECT(session_alive(&t.s, t.now_ns + SESSION_ALIVE_MS * NS_PER_MS));
    EXPECT(!session_alive(&t.s, t.now_ns + SESSION_ALIVE_MS * NS_PER_MS + 1));
}

TEST(the_same_hello_again_gets_the_same_welcome_and_no_new_session)
{
    static struct talk t;
    struct hello       h = good_hello();

    start_in_session(&t);
    say_state(&t, "a", FIRST, 5);
    say_hello(&t, "a", &h);
    EXPECT(!t.r.opened && welcomed(&t, FIRST));
    say_state(&t, "a", FIRST, 5);
    EXPECT(!t.r.has_state); /* the count of states goes on */
}

TEST(a_reboot_or_a_long_silence_or_another_hello_is_a_new_session)
{
    static struct talk t;
    struct hello       h = good_hello();

    start_in_session(&t);
    say_ready(&t, "a", FIRST, 3);
    h.boot_id++;
    say_hello(&t, "a", &h);
    EXPECT(t.r.opened && welcomed(&t, FIRST + 1) && t.s.ready_trial == -1);
    say_state(&t, "a", FIRST, 1);
    EXPECT(!t.r.has_state && counted(&t, COUNT_NO_SESSION) == 1);
    say_state(&t, "a", FIRST + 1, 1);
    EXPECT(t.r.has_state && t.r.state.ready_trial == -1);

    t.now_ns += 1001 * NS_PER_MS;
    say_hello(&t, "a", &h);
    EXPECT(t.r.opened && welcomed(&t, FIRST + 2));
    h.command_timeout_ms = 50;
    say_hello(&t, "a", &h);
    EXPECT(t.r.opened && welcomed(&t, FIRST + 3));
}

TEST(a_reboot_into_a_wrong_configuration_ends_the_old_session)
{
    static struct talk t;
    struct hello       h = good_hello();

    start_in_session(&t);
    h.boot_id++, h.simulated = false;
    say_hello(&t, "a", &h);
    EXPECT(refused_as(&t, REFUSAL_SIMULATED) && t.s.id == 0);
    say_state(&t, "a", FIRST, 1);
    EXPECT(!t.r.has_state && refused_as(&t, REFUSAL_SESSION));
}

TEST(a_second_robot_side_is_refused_while_the_first_is_alive)
{
    static struct talk t;
    struct hello       h = good_hello();

    start_in_session(&t);
    h.boot_id = 8;
    t.now_ns += 900 * NS_PER_MS;
    say_hello(&t, "b", &h);
    EXPECT(refused_as(&t, REFUSAL_BUSY) && counted(&t, COUNT_SECOND_PEER) == 1 && !t.r.opened);
    say_state(&t, "b", FIRST, 1); /* guessing the session does not help */
    EXPECT(!t.r.has_state);
    say_state(&t, "a", FIRST, 1);
    EXPECT(t.r.has_state);
    t.now_ns += 1001 * NS_PER_MS;
    say_hello(&t, "b", &h);
    EXPECT(t.r.opened && welcomed(&t, FIRST + 1));
    say_state(&t, "a", FIRST, 2);
    EXPECT(!t.r.has_state && refused_as(&t, REFUSAL_SESSION));
}

/* clang-format off */
static void break_protocol(struct hello *h)     { h->protocol = 9; }
static void break_robot(struct hello *h)        { strcpy(h->robot, "arm"); }
static void break_simulated(struct hello *h)    { h->simulated = false, h->lockstep = false; }
static void break_lockstep(struct hello *h)     { h->lockstep = true; }
static void break_joint_count(struct hello *h)  { h->nj = 1; }
static void break_joint_order(struct hello *h)  { strcpy(h->joint[0].name, "hinge"); }
static void break_joint_type(struct hello *h)   { h->joint[1].type = JOINT_REVOLUTE; }
static void break_actuation(struct hello *h)    { h->joint[1].actuated = true; }
static void break_extra_count(struct hello *h)  { h->nextra = 0; }
static void break_extra_name(struct hello *h)   { strcpy(h->extra[0], "lode"); }
static void break_effort(struct hello *h)       { h->joint[0].effort_max = 299; }
static void break_effort_nan(struct hello *h)   { h->joint[0].effort_max = (double)NAN; }
static void break_velocity(struct hello *h)     { h->joint[1].velocity_max = 79; }
static void break_rate(struct hello *h)         { h->joint[0].effort_rate_max = 1499; }
static void break_rate_nan(struct hello *h)     { h->joint[0].effort_rate_max = (double)NAN; }
static void break_rate_below(struct hello *h)   { h->joint[1].effort_rate_max = -1; }
static void break_timeout(struct hello *h)      { h->command_timeout_ms = 121; }
static void break_timeout_zero(struct hello *h) { h->command_timeout_ms = 0; }
static void break_timeout_nan(struct hello *h)  { h->command_timeout_ms = (double)NAN; }
static void break_action(struct hello *h)       { h->timeout_action = 0; }

/* clang-format on */

/* In the order of the checks. */
static const struct {
    void (*apply)(struct hello *h);
    enum refusal_code code;
    const char       *sentence;
} breakage[] = {
    { break_protocol, REFUSAL_PROTOCOL, "hello.protocol: 9, expected 2" },
    { break_robot, REFUSAL_ROBOT, "hello.robot: \"arm\", expected \"pole\"" },
    { break_simulated, REFUSAL_SIMULATED, "hello.simulated: false, expected true" },
    { break_lockstep, REFUSAL_LOCKSTEP, "hello.lockstep: true, expected false" },
    { break_joint_count, REFUSAL_JOINTS, "1 joints, expected 2" },
    { break_joint_order, REFUSAL_JOINTS, "hello.joints[0].name: \"hinge\", expected \"slider\"" },
    { break_joint_type, REFUSAL_JOINTS, "joint \"hinge\" is revolute, expected continuous" },
    { break_actuation, REFUSAL_JOINTS, "joint \"hinge\" says true, expected false" },
    { break_extra_count, REFUSAL_JOINTS, "0 extra measurements, expected 1" },
    { break_extra_name, REFUSAL_JOINTS, "hello.extra[0]: \"lode\", expected \"load\"" },
    { break_effort, REFUSAL_LIMITS, "joint \"slider\" allows 299, expected at least 300" },
    { break_effort_nan, REFUSAL_LIMITS, "joint \"slider\" allows nan, expected at least 300" },
    { break_velocity, REFUSAL_LIMITS, "joint \"hinge\" allows 79, expected at least 80" },
    { break_rate, REFUSAL_LIMITS, "joint \"slider\" allows 1499, expected at least 1500, the effort_rate in robot.yaml, or 0 for no limit" },
    { break_rate_nan, REFUSAL_LIMITS, "effort_rate_max: joint \"slider\" allows nan, expected at least 1500" },
    { break_rate_below, REFUSAL_LIMITS, "hello.joints[1].effort_rate_max: joint \"hinge\" allows -1, expected at least 0" },
    { break_timeout, REFUSAL_TIMEOUT_POLICY, "121 ms, expected more than 0 and at most 120" },
    { break_timeout_zero, REFUSAL_TIMEOUT_POLICY, "0 ms, expected" },
    { break_timeout_nan, REFUSAL_TIMEOUT_POLICY, "nan ms, expected" },
    { break_action, REFUSAL_TIMEOUT_POLICY, "hello.timeout_action: unspecified" },
};
enum { BREAKAGES = sizeof breakage / sizeof breakage[0] };

TEST(each_fault_of_a_hello_is_refused_by_its_code_and_named)
{
    for (int i = 0; i < BREAKAGES; i++) {
        static struct talk t;
        struct hello       h = good_hello();

        start(&t);
        t.s.expect.lockstep_allowed = false;
        breakage[i].apply(&h);
        say_hello(&t, "a", &h);
        EXPECT(refused_as(&t, breakage[i].code) && !t.r.opened && t.s.id == 0);
        EXPECT_STR(t.r.reply.refusal.sentence, breakage[i].sentence);
        EXPECT(t.r.reply.refusal.daemon_protocol == LIMBER_PROTOCOL && t.r.reply.refusal.peer_protocol == h.protocol);
        EXPECT(counted(&t, COUNT_REFUSED) == 1 && counted(&t, COUNT_HELLO) == 0);
        EXPECT_STR(t.s.last_trouble, breakage[i].sentence);
    }
}

TEST(a_robot_side_without_a_rate_or_with_a_larger_one_is_welcome)
{
    static const double good[] = { 0, -0.0, 1500, 1e9, (double)INFINITY };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        static struct talk t;
        struct hello       h = good_hello();

        start(&t);
        h.joint[0].effort_rate_max = good[i];
        say_hello(&t, "a", &h);
        EXPECT(t.r.opened);
    }
}

TEST(of_several_faults_of_a_hello_the_first_in_order_is_named)
{
    for (int i = 0; i < BREAKAGES; i++)
        for (int k = i + 1; k < BREAKAGES; k++) {
            static struct talk t;
            struct hello       h = good_hello();

            start(&t);
            t.s.expect.lockstep_allowed = false;
            breakage[k].apply(&h);
            breakage[i].apply(&h);
            say_hello(&t, "a", &h);
            EXPECT(refused_as(&t, breakage[i].code));
        }
}

TEST(lockstep_is_for_simulated_robots_only)
{
    static struct talk t;
    struct hello       h = good_hello();

    start(&t);
    t.s.expect.simulated = h.simulated = false;
    h.lockstep                         = true;
    say_hello(&t, "a", &h);
    EXPECT(refused_as(&t, REFUSAL_LOCKSTEP));
    EXPECT_STR(t.r.reply.refusal.sentence, "only simulated robots");
}

TEST(duplicates_and_old_states_are_counted_and_dropped)
{
    static struct talk t;

    start_in_session(&t);
    t.now_ns += 7;
    say_state(&t, "a", FIRST, 10);
    EXPECT(t.r.has_state && t.r.state.received_ns == t.now_ns && t.r.state.position[0] == 10);
    EXPECT(counted(&t, COUNT_GAP) == 0); /* a first state cannot be missed */
    say_state(&t, "a", FIRST, 10);
    EXPECT(!t.r.has_state && counted(&t, COUNT_DUPLICATE) == 1);
    say_state(&t, "a", FIRST, 9);
    EXPECT(!t.r.has_state && counted(&t, COUNT_OLD) == 1);
    say_state(&t, "a", FIRST, 14);
    EXPECT(t.r.has_state && counted(&t, COUNT_GAP) == 3);
    say_state(&t, "a", FIRST, UINT64_MAX);
    EXPECT(!t.r.has_state && counted(&t, COUNT_OLD) == 2); /* or every later state would be old */
    say_state(&t, "a", FIRST, 15);
    EXPECT(t.r.has_state && counted(&t, COUNT_STATES) == 3);
}

TEST(whatever_the_link_does_states_arrive_in_order_and_every_one_is_accounted_for)
{
    static struct talk t;
    struct rng         r;
    uint64_t           last = 0, handed_on = 0, sent = 0;

    rng_seed(&r, 1);
    start_in_session(&t);
    for (uint64_t base = 8; base < 4000; base++) {
        uint64_t seq = base - rng_below(&r, 8); /* reordered, repeated, lost */

        if (rng_below(&r, 5) == 0)
            continue;
        sent++;
        say_state(&t, "a", FIRST, seq);
        if (t.r.has_state) {
            EXPECT(t.r.state.seq == seq && seq > last);
            last = seq;
            handed_on++;
        } else {
            EXPECT(seq <= last);
        }
    }
    EXPECT(handed_on == counted(&t, COUNT_STATES));
    EXPECT(sent == handed_on + counted(&t, COUNT_DUPLICATE) + counted(&t, COUNT_OLD));
    EXPECT(counted(&t, COUNT_DUPLICATE) > 100 && counted(&t, COUNT_OLD) > 100 && counted(&t, COUNT_GAP) > 100);
}

TEST(duplicates_do_not_keep_a_session_alive)
{
    static struct talk t;

    start_in_session(&t);
    say_state(&t, "a", FIRST, 1);
    for (int i = 0; i < 12; i++) {
        t.now_ns += 100 * NS_PER_MS;
        say_state(&t, "a", FIRST, 1);
    }
    EXPECT(!session_alive(&t.s, t.now_ns));
}

TEST(states_carry_the_last_trial_announced_ready)
{
    static struct talk t;

    start_in_session(&t);
    say_state(&t, "a", FIRST, 1);
    EXPECT(t.r.state.ready_trial == -1);
    say_ready(&t, "a", FIRST, 4);
    EXPECT(t.r.has_event && t.r.event.trial == 4 && counted(&t, COUNT_TRIAL_EVENTS) == 1);
    say_state(&t, "a", FIRST, 2);
    EXPECT(t.r.state.ready_trial == 4);
    say_ready(&t, "a", FIRST + 1, 5);
    EXPECT(!t.r.has_event && counted(&t, COUNT_NO_SESSION) == 1);
    say_state(&t, "a", FIRST, 3);
    EXPECT(t.r.state.ready_trial == 4);
    say_event(&t, "a", FIRST, 4, TRIAL_ENDED);
    say_state(&t, "a", FIRST, 4);
    EXPECT(t.r.has_state && t.r.state.ready_trial == -1); /* or the next trial 4 would seem ready before its reset */
    EXPECT(t.r.state.ready_count == 1);
    say_ready(&t, "a", FIRST, 4);
    say_state(&t, "a", FIRST, 5);
    EXPECT(t.r.state.ready_trial == 4 && t.r.state.ready_count == 2);
}

TEST(each_kind_of_bad_message_has_its_counter_and_is_answered)
{
    static struct talk    t;
    static struct message m;
    static uint8_t        bytes[CODEC_MAX_BYTES + 1];
    uint8_t               unknown[4 + CODEC_CRC_BYTES] = { 0xa2, 0x06, 1, 0 }, garbage[4 + CODEC_CRC_BYTES] = "1234";

    start_in_session(&t);
    say_bytes(&t, "g", bytes, 20);
    EXPECT(counted(&t, COUNT_CRC) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    EXPECT_STR(t.s.last_trouble, "without a CRC");
    say_bytes(&t, "l", garbage, codec_seal(FROM_ROBOT, garbage, 4));
    EXPECT(counted(&t, COUNT_GARBAGE) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    say_bytes(&t, "m", garbage, codec_seal(FROM_LIMBER, garbage, 4));
    EXPECT(counted(&t, COUNT_ECHO) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    say_bytes(&t, "h", bytes, CODEC_MAX_BYTES + 1);
    EXPECT(counted(&t, COUNT_OVERSIZED) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    say_bytes(&t, "i", unknown, codec_seal(FROM_ROBOT, unknown, 4));
    EXPECT(counted(&t, COUNT_UNKNOWN) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    m.kind = MESSAGE_STATE, m.state.session = FIRST, m.state.seq = 1, m.state.nj = 3;
    say(&t, "a", &m);
    EXPECT(counted(&t, COUNT_SHAPE) == 1 && refused_as(&t, REFUSAL_MALFORMED) && !t.r.has_state);
    EXPECT_STR(t.r.reply.refusal.sentence, "3 joints and 0 extra measurements, expected 2 and 1");
    memset(&m, 0, sizeof m);
    m.kind = MESSAGE_COMMAND;
    say(&t, "j", &m);
    EXPECT(counted(&t, COUNT_UNEXPECTED) == 1 && refused_as(&t, REFUSAL_MALFORMED));
    say_state(&t, "k", 0, 1);
    EXPECT(counted(&t, COUNT_NO_SESSION) == 1 && refused_as(&t, REFUSAL_SESSION));
    say_bytes(&t, "g", bytes, 20); /* within the second: counted, not answered */
    EXPECT(counted(&t, COUNT_CRC) == 2 && !t.r.has_reply);
    t.now_ns += NS_PER_S;
    say_bytes(&t, "g", bytes, 20);
    EXPECT(refused_as(&t, REFUSAL_MALFORMED));
}

/* A state whose numbers go up, with one bit of it changed where it is to be damaged. */
static void say_damaged(struct talk *t, const char *peer, uint64_t seq, bool damaged)
{
    static uint8_t        bytes[CODEC_MAX_BYTES];
    static struct message m;

    m.kind  = MESSAGE_STATE;
    m.state = (struct joint_state){ .session = FIRST, .seq = seq, .nj = 2, .nextra = 1 };
    size_t n = codec_pack(&m, bytes);

    bytes[seq % n] ^= damaged ? (uint8_t)(1u << seq % 8) : 0;
    say_bytes(t, peer, bytes, n);
}

TEST(three_damaged_of_a_robot_sides_last_ten_messages_are_told_each_time_and_nobody_elses_are)
{
    static struct talk t;
    uint32_t           last = 0; /* bit i: i messages ago */
    struct rng         g;

    rng_seed(&g, 7);
    start_in_session(&t);
    for (uint64_t seq = 1; seq < 3000; seq++) {
        bool damaged = rng_below(&g, 100) < seq / 100;

        last = last << 1 | damaged;
        say_damaged(&t, "a", seq, damaged);
        EXPECT(t.r.degraded == (damaged && __builtin_popcount(last & 0x3ff) >= 3));
        EXPECT(t.r.has_state == !damaged);
        t.now_ns += 20 * NS_PER_MS;
        say_damaged(&t, "b", seq, true);
        EXPECT(!t.r.degraded && !t.r.has_state);
    }
    EXPECT(counted(&t, COUNT_CRC) > 2999 && counted(&t, COUNT_STATES) + counted(&t, COUNT_CRC) == 2 * 2999);
}

TEST(a_hello_of_protocol_1_which_has_no_crc_is_told_which_one_is_expected_and_can_read_it)
{
    static struct talk       t;
    static struct message    m;
    static uint8_t           bytes[CODEC_MAX_BYTES];
    Limber__V1__Envelope    *read;

    start(&t);
    m.kind           = MESSAGE_HELLO;
    m.hello          = good_hello();
    m.hello.protocol = 1;
    say_bytes(&t, "a", bytes, codec_pack(&m, bytes) - CODEC_CRC_BYTES);
    EXPECT(refused_as(&t, REFUSAL_PROTOCOL) && t.s.id == 0 && counted(&t, COUNT_REFUSED) == 1);
    EXPECT(t.r.reply.refusal.daemon_protocol == LIMBER_PROTOCOL && t.r.reply.refusal.peer_protocol == 1);
    EXPECT_STR(t.s.last_trouble, "hello.protocol: 1, expected 2, whose messages end in a CRC");
    read = limber__v1__envelope__unpack(NULL, codec_pack(&t.r.reply, bytes), bytes); /* as its codec did, CRC and all */
    EXPECT(read && read->body_case == LIMBER__V1__ENVELOPE__BODY_REFUSAL);
    if (read)
        EXPECT_STR(read->refusal->sentence, "hello.protocol: 1, expected 2");
    limber__v1__envelope__free_unpacked(read, NULL);
    m.hello.protocol = 2; /* that one has CRCs: damage */
    say_bytes(&t, "a", bytes, codec_pack(&m, bytes) - CODEC_CRC_BYTES);
    EXPECT(refused_as(&t, REFUSAL_MALFORMED) && counted(&t, COUNT_CRC) == 1);
}

TEST(more_than_100_bad_messages_in_a_second_are_a_ban_of_10_s_for_that_peer_alone)
{
    static struct talk t;
    struct hello       h         = good_hello();
    const uint8_t      garbage[] = { 1, 2, 3 };

    start_in_session(&t);
    for (int i = 0; i < 101; i++) {
        EXPECT(counted(&t, COUNT_BANNED) == 0);
        t.now_ns += NS_PER_MS;
        say_bytes(&t, "b", garbage, sizeof garbage);
        say_state(&t, "a", FIRST, (uint64_t)i + 1); /* the robot itself is not disturbed */
        EXPECT(t.r.has_state);
    }
    EXPECT_STR(t.s.last_trouble, "ignored for 10 s");
    say_hello(&t, "b", &h);
    EXPECT(!t.r.has_reply && counted(&t, COUNT_BANNED) == 1);
    t.now_ns += 9999 * NS_PER_MS;
    say_hello(&t, "b", &h);
    EXPECT(!t.r.has_reply && counted(&t, COUNT_BANNED) == 2);
    t.now_ns += NS_PER_MS;
    say_hello(&t, "b", &h);
    EXPECT(t.r.has_reply);
}

TEST(a_hundred_bad_messages_a_second_are_put_up_with)
{
    static struct talk t;
    const uint8_t      garbage[] = { 1, 2, 3 };

    start_in_session(&t);
    for (int i = 0; i < 1000; i++) {
        t.now_ns += 11 * NS_PER_MS;
        say_bytes(&t, "b", garbage, sizeof garbage);
    }
    EXPECT(counted(&t, COUNT_BANNED) == 0 && counted(&t, COUNT_CRC) == 1000);
}

TEST(senders_taking_turns_are_banned_all_the_same)
{
    static struct talk t;
    const uint8_t      garbage[] = { 1, 2, 3 };
    const char        *name[]    = { "b", "c", "d", "e" };

    start_in_session(&t);
    for (int i = 0; i < 4 * 150; i++) {
        t.now_ns += NS_PER_MS;
        say_bytes(&t, name[i % 4], garbage, sizeof garbage);
    }
    EXPECT(counted(&t, COUNT_BANNED) >= 4 * 45);
}

TEST(a_robot_side_that_missed_the_restart_of_the_daemon_is_told_and_not_banned)
{
    static struct talk t;
    struct hello       h = good_hello();

    start(&t);
    for (uint64_t i = 1; i <= 500; i++) { /* half a second at 1 kHz, answers under way */
        t.now_ns += NS_PER_MS;
        say_state(&t, "a", 77, i);
        EXPECT(t.r.has_reply == (i == 1));
    }
    say_hello(&t, "a", &h);
    EXPECT(t.r.opened && counted(&t, COUNT_NO_SESSION) == 500 && counted(&t, COUNT_BANNED) == 0);
}

TEST(session_ids_are_never_zero)
{
    static struct talk    t;
    struct hello          h = good_hello();
    struct session_expect e = expectation();

    session_init(&t.s, &e, UINT64_MAX);
    say_hello(&t, "a", &h);
    EXPECT(welcomed(&t, UINT64_MAX));
    h.boot_id++;
    say_hello(&t, "a", &h);
    EXPECT(welcomed(&t, 1));
    session_init(&t.s, &e, 0);
    say_hello(&t, "a", &h);
    EXPECT(welcomed(&t, 1));
}

TEST(every_counter_has_a_name_of_its_own)
{
    for (int k = 0; k < COUNT_KINDS; k++)
        for (int i = 0; i < k; i++)
            EXPECT(strcmp(session_count_name((enum session_count)k), session_count_name((enum session_count)i)) != 0);
}

/* The oracle keeps only what was answered: who holds which session, and the newest seq handed on in it. */
TEST(among_hostile_peers_only_the_welcomed_one_is_heard)
{
    static struct talk t;
    static const char *name[] = { "a", "b", "c" };
    struct rng         r;
    const char        *holder  = NULL;
    uint64_t           session = 0, last = 0, total = 0, heard_ns = 0, states = 0;

    rng_seed(&r, 6);
    start(&t);
    for (int i = 0; i < 50000; i++) {
        const char *peer = name[rng_below(&r, 3)];
        uint64_t    id = rng_below(&r, 10) ? session : session + rng_below(&r, 3) - 1, seq = last + rng_below(&r, 4);

        t.now_ns += rng_below(&r, 40) * NS_PER_MS;
        if (rng_below(&r, 50) == 0) {
            struct hello h = good_hello();
            bool         free_now, wrong = rng_below(&r, 4) == 0;

            h.boot_id = 1 + rng_below(&r, 2);
            if (wrong)
                breakage[rng_below(&r, 3)].apply(&h);
            free_now = holder == NULL || holder == peer || t.now_ns - heard_ns > SESSION_ALIVE_MS * NS_PER_MS;
            say_hello(&t, peer, &h);
            if (t.r.has_reply && t.r.reply.kind == MESSAGE_WELCOME) {
                EXPECT(free_now && !wrong);
                if (t.r.opened)
                    last = 0;
                EXPECT(t.r.opened == (t.r.reply.welcome.session != session));
                holder = peer, session = t.r.reply.welcome.session, heard_ns = t.now_ns;
            } else if (t.s.id == 0) {
                holder = NULL;
            }
        } else {
            say_state(&t, peer, id, seq);
            bool good = peer == holder && id == session && seq > last;
            EXPECT(t.r.has_state == good);
            if (good)
                last = seq, heard_ns = t.now_ns, states++;
        }
        total++;
        uint64_t sum = 0;
        for (int k = 0; k < COUNT_KINDS; k++)
            if (k != COUNT_GAP && k != COUNT_SECOND_PEER)
                sum += counted(&t, (enum session_count)k);
        EXPECT(sum == total); /* every message is counted exactly once */
    }
    EXPECT(states > 1000);
}
