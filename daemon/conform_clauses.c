/* conform_clauses.c - the receiver contract, claim by claim (docs/conform.md): the conversation, what is refused, time, and
 * the list of all claims. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/conform_clauses.h"
#include "daemon/rt/clock.h"

/* ---- Hello and states ---- */

static enum conform_verdict hello_fields(struct conform *c, int which)
{
    const struct hello *h = &c->hello;

    (void)which;
    if (h->protocol != LIMBER_PROTOCOL)
        return SAW(CONFORM_FAIL, "protocol %" PRIu32 ", this is %d", h->protocol, LIMBER_PROTOCOL);
    if (h->boot_id == 0)
        return SAW(CONFORM_FAIL, "boot_id 0");
    if (h->timeout_action < TIMEOUT_DAMP || h->timeout_action > TIMEOUT_OFF)
        return SAW(CONFORM_FAIL, "timeout_action %d", (int)h->timeout_action);
    for (int j = 0; j < h->nj; j++) {
        const struct joint_info *i = &h->joint[j];

        if (!(isfinite(i->effort_max) && i->effort_max >= 0) || !(i->position_min < i->position_max) ||
            !(i->velocity_max > 0))
            return SAW(CONFORM_FAIL, "joint %s: position %g .. %g, velocity %g, effort %g", i->name, i->position_min,
                       i->position_max, i->velocity_max, i->effort_max);
        if (!(isfinite(i->effort_rate_max) && i->effort_rate_max >= 0))
            return SAW(CONFORM_FAIL, "joint %s: effort_rate_max %g", i->name, i->effort_rate_max);
        if (i->actuated != (i->effort_max > 0))
            return SAW(CONFORM_FAIL, "joint %s: actuated %d with effort_max %g", i->name, i->actuated, i->effort_max);
    }
    return SAW(CONFORM_PASS, "%s, %d joints, timeout %g ms", h->robot, h->nj, h->command_timeout_ms);
}

static enum conform_verdict hello_again(struct conform *c, int which)
{
    uint64_t boot = c->hello.boot_id, since = clock_now_ns();

    (void)which;
    for (c->hellos = 0; !c->hellos && clock_now_ns() - since < 3 * NS_PER_S;)
        conform_listen(c, 20);
    if (!c->hellos)
        return SAW(CONFORM_FAIL, "no second Hello within 3 s");
    return JUDGE(c->hello.boot_id == boot, "again after %.2f s%s", (double)(clock_now_ns() - since) * 1e-9,
                 c->hello.boot_id == boot ? "" : ", with another boot_id");
}

static enum conform_verdict states_in_order(struct conform *c, int which)
{
    int n = 2 * (int)c->o.hz;

    (void)which;
    conform_welcome(c);
    for (int i = 0; i < n; i++)
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s after Welcome");
    if (c->wrong_state)
        return SAW(CONFORM_FAIL, "%s", c->trouble);
    return JUDGE(c->gaps <= n / 10, "%d states, %d missing between them", c->states, c->gaps);
}

static enum conform_verdict states_at_the_rate(struct conform *c, int which)
{
    struct joint_state first;
    uint64_t           first_ns;
    int                n = 2 * (int)c->o.hz;

    (void)which;
    if (!conform_next(c, 2000))
        return SAW(CONFORM_FAIL, "no state for 2 s");
    first    = c->state;
    first_ns = c->heard_ns;
    for (int i = 0; i < n; i++)
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
    double states = (double)(c->state.seq - first.seq);
    double theirs = states / ((double)(c->state.sample_ns - first.sample_ns) * 1e-9);
    double ours   = states / ((double)(c->heard_ns - first_ns) * 1e-9);

    return JUDGE(fabs(theirs / c->o.hz - 1) <= 0.05 && fabs(ours / c->o.hz - 1) <= 0.1,
                 "%.1f Hz by the robot side's clock, %.1f Hz by this one; wanted %g", theirs, ours, c->o.hz);
}

static enum conform_verdict nothing_before_a_command(struct conform *c, int which)
{
    (void)which;
    if (c->seq > 0) /* tried again, or after another clause: only a new session has had none */
        conform_welcome(c);
    for (int i = 0; i < 5; i++) {
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        if (!conform_no_effort(c) || c->state.applied_command_seq != 0)
            return SAW(CONFORM_FAIL, "effort %s under command %" PRIu64, conform_efforts(c),
                       c->state.applied_command_seq);
    }
    return SAW(CONFORM_PASS, "no effort, applied_command_seq 0");
}

/* ---- what is refused ---- */

enum refused {
    OTHER_SESSION,
    SEQ_REPEATED,
    SEQ_OLD,
    SEQ_FAR,
    TOO_FEW,
    TOO_MANY,
    TORQUE_NAN,
    TORQUE_INF,
    GAIN_NAN,
    GAIN_NEGATIVE,
    VALID_ZERO,
    VALID_NEGATIVE,
    VALID_NAN,
    STATE_OLD,
    STATE_UNKNOWN,
};

static bool spoil(const struct conform *c, enum refused how, struct joint_command *bad)
{
    uint64_t old = (uint64_t)(c->hello.command_timeout_ms / conform_period_ms(c)) + 3;

    switch (how) {
    case OTHER_SESSION: bad->session ^= 0xffff0000; break;
    case SEQ_REPEATED: bad->seq = c->last.seq; break;
    case SEQ_OLD: bad->seq = c->last.seq > 3 ? c->last.seq - 3 : 1; break;
    case SEQ_FAR: bad->seq = c->last.seq + (1ull << 30) + 5; break;
    case TOO_FEW:
        if (bad->nj == 1)
            return false;
        bad->nj--;
        break;
    case TOO_MANY:
        if (bad->nj == MAX_JOINTS)
            return false;
        bad->nj++;
        break;
    case TORQUE_NAN: bad->torque[bad->nj - 1] = (double)NAN; break;
    case TORQUE_INF: bad->torque[0] = (double)INFINITY; break;
    case GAIN_NAN: bad->kp[0] = (double)NAN; break;
    case GAIN_NEGATIVE: bad->kd[0] = -1e-3; break;
    case VALID_ZERO: bad->valid_ms = 0; break;
    case VALID_NEGATIVE: bad->valid_ms = -5; break;
    case VALID_NAN: bad->valid_ms = (double)NAN; break;
    case STATE_OLD:
        if (bad->state_seq <= old)
            return false;
        bad->state_seq -= old;
        break;
    case STATE_UNKNOWN: bad->state_seq += 1000; break;
    }
    return true;
}

/* Good commands push one way; a bad one behind each would push the other way. */
static enum conform_verdict is_refused(struct conform *c, int how)
{
    int first = how == STATE_OLD ? 6 + (int)(c->hello.command_timeout_ms / conform_period_ms(c)) : 4;

    if (!conform_settle(c) || !conform_drive(c, first, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    for (int i = 0; i < 6; i++) {
        struct joint_command good = conform_command(c, COMMAND_TORQUE, 1), bad;

        conform_say(c, &good);
        bad = conform_command(c, COMMAND_TORQUE, -1);
        if (!spoil(c, (enum refused)how, &bad))
            return SAW(CONFORM_SKIP, "cannot be made with this robot");
        struct message m = { .kind = MESSAGE_COMMAND, .command = bad };

        conform_send(c, &m);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        if (!conform_applied(c, 1))
            return SAW(CONFORM_FAIL, "effort %s, only the good commands' +%g of each limit is right",
                       conform_efforts(c), c->o.share);
        if (bad.seq != good.seq && c->state.applied_command_seq == bad.seq)
            return SAW(CONFORM_FAIL, "says that it applied the bad command");
    }
    return SAW(CONFORM_PASS, "only the good commands were applied");
}

/* ---- messages that are not what limberd sent ---- */

enum unsound { WRONG_CRC, NO_CRC, ECHO };

static void send_unsound(struct conform *c, enum unsound how)
{
    struct message m = { .kind = MESSAGE_COMMAND, .command = conform_command(c, COMMAND_TORQUE, -1) };
    uint8_t        out[CODEC_MAX_BYTES];
    size_t         n = codec_pack(&m, out);

    switch (how) {
    case WRONG_CRC: out[n - 1] ^= 1; break;
    case NO_CRC: n -= CODEC_CRC_BYTES; break;
    case ECHO: n = codec_seal(FROM_ROBOT, out, n - CODEC_CRC_BYTES); break;
    }
    port_send(c->port, c->peer, c->peer_len, out, n);
}

/* As is_refused; fewer than three of ten, which are another clause's. */
static enum conform_verdict unsound_is_refused(struct conform *c, int how)
{
    if (!conform_settle(c) || !conform_drive(c, 10, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    for (int i = 0; i < 2; i++) {
        struct joint_command good = conform_command(c, COMMAND_TORQUE, 1);

        conform_say(c, &good);
        send_unsound(c, (enum unsound)how);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        if (!conform_applied(c, 1))
            return SAW(CONFORM_FAIL, "effort %s, only the good commands' +%g of each limit is right", conform_efforts(c),
                       c->o.share);
        if (c->state.applied_command_seq == c->seq)
            return SAW(CONFORM_FAIL, "says that it applied the bad command");
        if (!conform_drive(c, 10, COMMAND_TORQUE, 1))
            return CONFORM_FAIL;
    }
    return SAW(CONFORM_PASS, "only the good commands were applied");
}

static enum conform_verdict three_of_ten_damaged_are_a_loss(struct conform *c, int which)
{
    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 10, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    for (int i = 0; i < 3; i++)
        send_unsound(c, WRONG_CRC);
    for (int i = 0; i < 4; i++) {
        if (!conform_drive(c, 1, COMMAND_TORQUE, 1))
            return CONFORM_FAIL;
        if (i > 0 && conform_applied(c, 1)) /* they came during the interval of the first */
            return SAW(CONFORM_FAIL, "effort %s, as commanded, while three of the last ten messages were damaged",
                       conform_efforts(c));
    }
    if (!conform_drive(c, 10, COMMAND_IDLE, 0) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    return JUDGE(conform_applied(c, 1), "not driven, until ten good ones had come; then effort %s", conform_efforts(c));
}

/* ---- time ---- */

/* Says nothing until the effort of the last command is gone; how long that took by the robot side's clock, ms.  The
 * effort of an interval is told at its end, so a period is no fault.  -1: it never went. */
static double effort_ends_ms(struct conform *c, double most_ms)
{
    uint64_t from = c->state.sample_ns;
    double   ms   = 0;

    while (ms <= most_ms) {
        if (!conform_next(c, 2000))
            return -1;
        ms = (double)(c->state.sample_ns - from) * 1e-6;
        if (!conform_applied(c, 1)) /* a robot side that woke late may have told a shorter interval */
            return ms > conform_period_ms(c) ? ms - conform_period_ms(c) : 0;
    }
    return -1;
}

static enum conform_verdict validity_ends_it(struct conform *c, int which)
{
    double period = conform_period_ms(c), timeout = c->hello.command_timeout_ms;

    (void)which;
    if (timeout < 3 * period)
        return SAW(CONFORM_SKIP, "its own timeout of %g ms ends it as soon", timeout);
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1) || !conform_next(c, 2000))
        return CONFORM_FAIL;
    struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 1);

    cmd.valid_ms = period / 2;
    conform_say(c, &cmd);
    double ms = effort_ends_ms(c, 4 * timeout);

    return JUDGE(ms >= 0 && ms < 1.5 * period, "valid for %.3g ms, was applied for %.3g ms", cmd.valid_ms, ms);
}

static enum conform_verdict silence_ends_it(struct conform *c, int which)
{
    double timeout = c->hello.command_timeout_ms, period = conform_period_ms(c);

    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1) || !conform_next(c, 2000))
        return CONFORM_FAIL;
    struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 1);

    cmd.valid_ms = 100 * timeout;
    conform_say(c, &cmd);
    double ms = effort_ends_ms(c, 20 * timeout + 10 * period);

    return JUDGE(ms >= 0 && ms <= timeout + 1.5 * period, "timeout %g ms, the effort went after %.4g ms", timeout, ms);
}

static enum conform_verdict silence_damps(struct conform *c, int which)
{
    bool against = false;
    int  n       = (int)(4 * c->hello.command_timeout_ms / conform_period_ms(c));

    (void)which;
    if (!conform_any(c, TIMEOUT_DAMP) && !conform_any(c, TIMEOUT_OFF))
        return SAW(CONFORM_SKIP, "timeout action is hold or brake");
    if (!conform_settle(c) || !conform_drive(c, 6, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    effort_ends_ms(c, 20 * c->hello.command_timeout_ms);
    for (int i = 0; i < n + 2; i++) {
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        if (!conform_damps(c, &against))
            return SAW(CONFORM_FAIL, "effort %s drives the motion", conform_efforts(c));
    }
    return JUDGE(against || !conform_any(c, TIMEOUT_DAMP), "%s%s",
                 against ? "effort against the motion" : "no effort although it moved",
                 conform_any(c, TIMEOUT_HOLD) || conform_any(c, TIMEOUT_BRAKE) ? "; joints that hold or brake were not looked at" : "");
}

/* Silence until it must be latched. */
static bool fall_silent(struct conform *c)
{
    double   latch = 5 * c->hello.command_timeout_ms;
    uint64_t from;

    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return false;
    from  = c->state.sample_ns;
    latch = (latch > 100 ? latch : 100) + 3 * conform_period_ms(c);
    while ((double)(c->state.sample_ns - from) * 1e-6 < latch)
        if (!conform_next(c, 2000))
            return false;
    return true;
}

static enum conform_verdict long_silence_latches(struct conform *c, int which)
{
    (void)which;
    if (!fall_silent(c))
        return CONFORM_FAIL;
    if (!conform_latched(c))
        return SAW(CONFORM_FAIL, "fault bit 1 is not set after five timeouts");
    for (int i = 0; i < 6; i++) {
        if (!conform_drive(c, 1, i < 3 ? COMMAND_TORQUE : COMMAND_DAMP, 1))
            return CONFORM_FAIL;
        if (!conform_latched(c) || conform_applied(c, 1))
            return SAW(CONFORM_FAIL, "a %s command ended the latch; effort %s", i < 3 ? "TORQUE" : "DAMP",
                       conform_efforts(c));
    }
    return SAW(CONFORM_PASS, "latched; TORQUE and DAMP commands did not end it");
}

static enum conform_verdict idle_ends_the_latch(struct conform *c, int which)
{
    (void)which;
    if (!fall_silent(c))
        return CONFORM_FAIL;
    if (!conform_latched(c))
        return SAW(CONFORM_FAIL, "there is no latch to end");
    if (!conform_drive(c, 3, COMMAND_IDLE, 0))
        return CONFORM_FAIL;
    if (conform_latched(c))
        return SAW(CONFORM_FAIL, "still latched after IDLE");
    if (!conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    return JUDGE(conform_applied(c, 1), "then effort %s", conform_efforts(c));
}

/* ---- sessions, trials, trouble ---- */

static enum conform_verdict a_new_session_starts_at_rest(struct conform *c, int which)
{
    struct message m = { .kind = MESSAGE_REFUSAL };
    uint64_t       since;

    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    m.refusal = (struct refusal){ .code            = REFUSAL_SESSION,
                                  .sentence        = "the daemon was restarted; say Hello",
                                  .daemon_protocol = LIMBER_PROTOCOL,
                                  .peer_protocol   = LIMBER_PROTOCOL };
    c->hellos = 0;
    conform_send(c, &m);
    for (since = clock_now_ns(); !c->hellos && clock_now_ns() - since < 3 * NS_PER_S;)
        conform_listen(c, 5);
    if (!c->hellos)
        return SAW(CONFORM_FAIL, "no Hello within 3 s of a Refusal with code SESSION");
    struct joint_command old = conform_command(c, COMMAND_TORQUE, 1);

    conform_welcome(c);
    for (int i = 0; i < 5; i++) {
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state of the new session for 2 s");
        if (c->wrong_state)
            return SAW(CONFORM_FAIL, "%s", c->trouble);
        if (!conform_no_effort(c))
            return SAW(CONFORM_FAIL, "effort %s before any command of the new session", conform_efforts(c));
        old.seq++;
        old.state_seq = c->state.seq;
        m             = (struct message){ .kind = MESSAGE_COMMAND, .command = old };
        conform_send(c, &m); /* of the old session */
    }
    if (!conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    return JUDGE(conform_applied(c, 1), "states count from 1, no effort, commands of the old session refused");
}

static enum conform_verdict a_reset_is_answered(struct conform *c, int which)
{
    (void)which;
    if (!c->hello.simulated)
        return SAW(CONFORM_SKIP, "a person puts real hardware at its start pose");
    if (!conform_settle(c))
        return CONFORM_FAIL;
    return JUDGE(c->ready == c->trial, "%s",
                 c->ready == c->trial ? "READY with the trial's number" : "no READY within a second");
}

static enum conform_verdict garbage_is_survived(struct conform *c, int which)
{
    uint8_t        noise[3000], odd[CODEC_MAX_BYTES];
    struct message m = { .kind = MESSAGE_HELLO, .hello = c->hello }; /* only robot sides say that */
    size_t         n = codec_seal(FROM_LIMBER, odd, codec_pack(&m, odd) - CODEC_CRC_BYTES);

    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 167 + 13);
    for (int i = 0; i < 4; i++) {
        port_send(c->port, c->peer, c->peer_len, noise, i == 0 ? 0 : sizeof noise / (size_t)i);
        port_send(c->port, c->peer, c->peer_len, odd, n);
        if (!conform_drive(c, 1, COMMAND_TORQUE, 1))
            return CONFORM_FAIL;
        if (!conform_applied(c, 1))
            return SAW(CONFORM_FAIL, "effort %s", conform_efforts(c));
        if (!conform_drive(c, 9, COMMAND_TORQUE, 1)) /* more noise than one of ten is a damaged link */
            return CONFORM_FAIL;
    }
    return JUDGE(!c->wrong_state, "%s", c->wrong_state ? c->trouble : "went on as before");
}

static bool estop_becomes(struct conform *c, bool pressed, enum command_mode mode)
{
    uint64_t since = clock_now_ns();

    while (c->state.estop != pressed && clock_now_ns() - since < 30 * NS_PER_S)
        if (!conform_drive(c, 1, mode, 0))
            return false;
    return c->state.estop == pressed;
}

static enum conform_verdict estop_ends_all(struct conform *c, int which)
{
    (void)which;
    if (!c->o.estop)
        return SAW(CONFORM_SKIP, "nobody is there to press it; --estop");
    if (!conform_settle(c))
        return CONFORM_FAIL;
    fprintf(stderr, "limber conform: press the emergency stop now\n");
    if (!estop_becomes(c, true, COMMAND_TORQUE))
        return SAW(CONFORM_FAIL, "not pressed within 30 s, or not said in a state");
    if (!conform_drive(c, 2, COMMAND_TORQUE, 1)) /* the interval in which it was pressed has ended */
        return CONFORM_FAIL;
    for (int i = 0; i < 8; i++) {
        if (!conform_drive(c, 1, i < 4 ? COMMAND_TORQUE : COMMAND_IDLE, 1))
            return CONFORM_FAIL;
        if (!conform_no_effort(c))
            return SAW(CONFORM_FAIL, "effort %s while it is pressed", conform_efforts(c));
    }
    fprintf(stderr, "limber conform: release the emergency stop now\n");
    if (!estop_becomes(c, false, COMMAND_TORQUE))
        return SAW(CONFORM_FAIL, "not released within 30 s");
    for (int i = 0; i < 5; i++) {
        if (!conform_drive(c, 1, COMMAND_TORQUE, 1))
            return CONFORM_FAIL;
        if (!conform_no_effort(c))
            return SAW(CONFORM_FAIL, "effort %s after its release, without an IDLE command", conform_efforts(c));
    }
    if (!conform_drive(c, 3, COMMAND_IDLE, 0) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    return JUDGE(conform_applied(c, 1), "no effort until released and idled; then effort %s", conform_efforts(c));
}

/* clang-format off */
const struct conform_clause conform_clauses[] = {
    { "hello", "Hello is complete: protocol, boot id, joints with finite limits, timeout and action", hello_fields, 0 },
    { "hello-again", "Hello is said again within 3 s until it is answered", hello_again, 0 },
    { "states", "states carry the session, count up, have Hello's shape and finite numbers", states_in_order, 0 },
    { "rate", "states come at the rate that Welcome gives", states_at_the_rate, 0 },
    { "silent-start", "no effort before the first command of a session", nothing_before_a_command, 0 },
    { "torque", "a TORQUE command's torque is applied, either way", conform_torque_is_applied, 0 },
    { "applied-seq", "applied_command_seq is the command that was applied, 0 for none", conform_applied_seq_is_true, 0 },
    { "law-kp", "kp (position - q) is applied", conform_law, 0 },
    { "law-kd", "kd (velocity - dq) is applied", conform_law, 1 },
    { "unactuated", "torque on an unactuated joint is 0", conform_unactuated_stay_free, 0 },
    { "limits", "effort is clipped to the robot side's own limit", conform_limits_are_kept, 0 },
    { "effort-rate", "effort grows by at most effort_rate_max for the time and one timeout, however fast it is wanted",
      conform_rate_is_kept, 0 },
    { "velocity", "a joint beyond velocity_max is not driven on (simulated robots)", conform_velocity_is_kept, 0 },
    { "idle", "IDLE is no torque", conform_idle_is_no_torque, 0 },
    { "damp", "DAMP never drives, and brakes what moves", conform_damp_brakes, 0 },
    { "crc", "a command with a wrong CRC is refused", unsound_is_refused, WRONG_CRC },
    { "crc-missing", "a command without a CRC is refused", unsound_is_refused, NO_CRC },
    { "echo", "a command with the CRC of a robot side's message is refused", unsound_is_refused, ECHO },
    { "damaged-link", "three damaged of the last ten messages are a loss of commands, until fewer are",
      three_of_ten_damaged_are_a_loss, 0 },
    { "session", "a command of another session is refused", is_refused, OTHER_SESSION },
    { "seq-repeated", "a seq that was accepted before is refused", is_refused, SEQ_REPEATED },
    { "seq-old", "a seq older than the newest is refused", is_refused, SEQ_OLD },
    { "seq-far", "a seq more than 2^30 ahead is refused", is_refused, SEQ_FAR },
    { "shape-few", "a command for fewer joints is refused", is_refused, TOO_FEW },
    { "shape-many", "a command for more joints is refused", is_refused, TOO_MANY },
    { "torque-nan", "a torque that is NaN is refused, and the whole command with it", is_refused, TORQUE_NAN },
    { "torque-inf", "a torque that is infinite is refused", is_refused, TORQUE_INF },
    { "gain-nan", "a gain that is NaN is refused", is_refused, GAIN_NAN },
    { "gain-negative", "a negative gain is refused", is_refused, GAIN_NEGATIVE },
    { "valid-zero", "valid_ms 0 is refused", is_refused, VALID_ZERO },
    { "valid-negative", "a negative valid_ms is refused", is_refused, VALID_NEGATIVE },
    { "valid-nan", "valid_ms NaN is refused", is_refused, VALID_NAN },
    { "state-old", "TORQUE that answers a state older than the timeout is refused", is_refused, STATE_OLD },
    { "state-unknown", "TORQUE that answers a state never sent is refused", is_refused, STATE_UNKNOWN },
    { "validity", "a command ends after its valid_ms", validity_ends_it, 0 },
    { "timeout", "without commands the effort ends after the timeout that Hello gives", silence_ends_it, 0 },
    { "timeout-action", "then the robot side damps (or is free) by itself", silence_damps, 0 },
    { "latch", "after five timeouts (100 ms at least) it latches and says so in fault bit 1", long_silence_latches, 0 },
    { "latch-idle", "IDLE, and only that, ends the latch", idle_ends_the_latch, 0 },
    { "new-session", "Refusal SESSION brings Hello; a new session starts at rest and counts from 1",
      a_new_session_starts_at_rest, 0 },
    { "reset", "a RESET is answered READY (simulated robots)", a_reset_is_answered, 0 },
    { "garbage", "garbage and unexpected messages change nothing", garbage_is_survived, 0 },
    { "estop", "a pressed e-stop ends all torque, until released and idled", estop_ends_all, 0 },
    { NULL, NULL, NULL, 0 },
};
/* clang-format on */
