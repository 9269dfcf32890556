/* session.c - see session.h.  The order of the checks of a Hello is the order of `checks`. */
#include "transport/session.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "proto/last_ten.h"

enum { SEQ_JUMP_MAX = 1 << 30 }; /* a larger step is not a gap but a sender gone wrong (safety.md S3) */

const char *session_count_name(enum session_count k)
{
    static const char *const name[COUNT_KINDS] = {
        [COUNT_STATES] = "states",         [COUNT_GARBAGE] = "garbage",
        [COUNT_OVERSIZED] = "oversized",   [COUNT_UNKNOWN] = "unknown",
        [COUNT_SHAPE] = "shape",           [COUNT_UNEXPECTED] = "unexpected",
        [COUNT_NO_SESSION] = "no_session", [COUNT_DUPLICATE] = "duplicate",
        [COUNT_OLD] = "old",               [COUNT_GAP] = "gap",
        [COUNT_HELLO] = "hello",           [COUNT_REFUSED] = "refused",
        [COUNT_SECOND_PEER] = "second_peer", [COUNT_BANNED] = "banned",
        [COUNT_TRIAL_EVENTS] = "trial_events", [COUNT_CRC] = "crc",
        [COUNT_ECHO] = "echo",
    };

    CHECK(k >= 0 && k < COUNT_KINDS);
    return name[k];
}

void session_init(struct session *s, const struct session_expect *expect, uint64_t first_session)
{
    memset(s, 0, sizeof *s);
    s->expect       = *expect;
    s->next_session = first_session ? first_session : 1;
    s->ready_trial  = -1;
    s->ready_count  = 0;
    for (int k = 0; k < COUNT_KINDS; k++)
        atomic_init(&s->count[k], 0);
}

bool session_alive(const struct session *s, uint64_t now_ns)
{
    return s->id != 0 && now_ns - s->last_heard_ns <= SESSION_ALIVE_MS * NS_PER_MS;
}

static void count(struct session *s, enum session_count k, uint64_t n)
{
    atomic_fetch_add_explicit(&s->count[k], n, memory_order_relaxed);
}

__attribute__((format(printf, 2, 3))) static void trouble(struct session *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(s->last_trouble, sizeof s->last_trouble, format, args);
    va_end(args);
}

/* ---- senders of bad messages ----------------------------------------------------------------------------------- */

static struct session_sender *sender_find(struct session *s, const uint8_t *peer, size_t len)
{
    for (int i = 0; i < SESSION_SENDERS; i++)
        if (s->sender[i].len == len && memcmp(s->sender[i].id, peer, len) == 0)
            return &s->sender[i];
    return NULL;
}

/* Its entry, or a new one in the place of whoever was quiet longest: free, then unbanned, then banned. */
static struct session_sender *sender_take(struct session *s, const uint8_t *peer, size_t len, uint64_t now_ns)
{
    struct session_sender *best = sender_find(s, peer, len);

    if (best)
        return best;
    best = &s->sender[0];
    for (int i = 1; i < SESSION_SENDERS; i++) {
        struct session_sender *at = &s->sender[i];
        bool at_banned = at->banned_until_ns > now_ns, best_banned = best->banned_until_ns > now_ns;

        if (at_banned != best_banned ? best_banned : at->bad_last_ns < best->bad_last_ns)
            best = at;
    }
    memset(best, 0, sizeof *best);
    memcpy(best->id, peer, len);
    best->len          = len;
    best->bad_since_ns = now_ns;
    return best;
}

/* One more bad message; more than SESSION_BAD_MAX within SESSION_BAD_MS are a ban. */
static void blame(struct session *s, struct session_sender *from, uint64_t now_ns)
{
    if (now_ns - from->bad_since_ns > SESSION_BAD_MS * NS_PER_MS) {
        from->bad          = 0;
        from->bad_since_ns = now_ns;
    }
    from->bad_last_ns = now_ns;
    if (++from->bad > SESSION_BAD_MAX) {
        from->bad             = 0;
        from->banned_until_ns = now_ns + SESSION_BAN_MS * NS_PER_MS;
        trouble(s, "a sender is ignored for %d s after more than %d bad messages within %d ms", SESSION_BAN_MS / 1000,
                SESSION_BAD_MAX, SESSION_BAD_MS);
    }
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void refuse(struct session_result *r, enum refusal_code code, uint32_t peer_protocol, const char *sentence)
{
    r->has_reply                     = true;
    r->reply.kind                    = MESSAGE_REFUSAL;
    r->reply.refusal.code            = code;
    r->reply.refusal.daemon_protocol = LIMBER_PROTOCOL;
    r->reply.refusal.peer_protocol   = peer_protocol;
    snprintf(r->reply.refusal.sentence, sizeof r->reply.refusal.sentence, "%s", sentence);
}

/* The sender is told, at most once a second, what is wrong with what it sends. */
static void refuse_now_and_then(struct session *s, struct session_sender *from, uint64_t now_ns, enum refusal_code code,
                                struct session_result *r)
{
    from->bad_last_ns = now_ns;
    if (from->refused_ns != 0 && now_ns - from->refused_ns < NS_PER_S)
        return;
    from->refused_ns = now_ns;
    refuse(r, code, 0, s->last_trouble);
}

static void welcome(const struct session *s, struct session_result *r)
{
    r->has_reply     = true;
    r->reply.kind    = MESSAGE_WELCOME;
    r->reply.welcome = (struct welcome){ .protocol   = LIMBER_PROTOCOL,
                                         .session    = s->id,
                                         .control_hz = s->expect.control_hz,
                                         .latch_ms   = s->expect.latch_ms,
                                         .simulated  = s->expect.simulated,
                                         .lockstep   = s->lockstep };
}

/* ---- what a Hello must be ---------------------------------------------------------------------------------------- */

enum { SENTENCE = sizeof((struct refusal *)0)->sentence };

static const char *type_name(enum joint_type t)
{
    return t == JOINT_REVOLUTE ? "revolute" : t == JOINT_CONTINUOUS ? "continuous" : "prismatic";
}

static bool check_protocol(const struct session_expect *e, const struct hello *h, char *why)
{
    (void)e;
    snprintf(why, SENTENCE, "hello.protocol: %" PRIu32 ", expected %d; use a robot side built for this limberd",
             h->protocol, LIMBER_PROTOCOL);
    return h->protocol == LIMBER_PROTOCOL;
}

static bool check_robot(const struct session_expect *e, const struct hello *h, char *why)
{
    snprintf(why, SENTENCE, "hello.robot: \"%s\", expected \"%s\" as in robot.yaml", h->robot, e->robot);
    return strcmp(h->robot, e->robot) == 0;
}

static bool check_simulated(const struct session_expect *e, const struct hello *h, char *why)
{
    snprintf(why, SENTENCE, "hello.simulated: %s, expected %s because robot.yaml says hardware: %s",
             h->simulated ? "true" : "false", e->simulated ? "true" : "false", e->simulated ? "sim" : "real");
    return h->simulated == e->simulated;
}

static bool check_lockstep(const struct session_expect *e, const struct hello *h, char *why)
{
    snprintf(why, SENTENCE, "hello.lockstep: true, expected false because %s",
             h->simulated ? "robot.yaml does not say lockstep: true" : "only simulated robots may run in lockstep");
    return !h->lockstep || (e->lockstep_allowed && h->simulated);
}

static bool check_joints(const struct session_expect *e, const struct hello *h, char *why)
{
    snprintf(why, SENTENCE, "hello.joints: %d joints, expected %d as in robot.yaml", h->nj, e->nj);
    if (h->nj != e->nj)
        return false;
    for (int j = 0; j < e->nj; j++) {
        const struct joint_info *got = &h->joint[j], *want = &e->joint[j];

        snprintf(why, SENTENCE, "hello.joints[%d].name: \"%s\", expected \"%s\", in the order of robot.yaml", j, got->name,
                 want->name);
        if (strcmp(got->name, want->name) != 0)
            return false;
        snprintf(why, SENTENCE, "hello.joints[%d].type: joint \"%s\" is %s, expected %s", j, got->name,
                 type_name(got->type), type_name(want->type));
        if (got->type != want->type)
            return false;
        snprintf(why, SENTENCE, "hello.joints[%d].actuated: joint \"%s\" says %s, expected %s", j, got->name,
                 got->actuated ? "true" : "false", want->actuated ? "true" : "false");
        if (got->actuated != want->actuated)
            return false;
    }
    snprintf(why, SENTENCE, "hello.extra: %d extra measurements, expected %d as in robot.yaml", h->nextra, e->nextra);
    if (h->nextra != e->nextra)
        return false;
    for (int i = 0; i < e->nextra; i++) {
        snprintf(why, SENTENCE, "hello.extra[%d]: \"%s\", expected \"%s\"", i, h->extra[i], e->extra[i]);
        if (strcmp(h->extra[i], e->extra[i]) != 0)
            return false;
    }
    return true;
}

/* The robot side must allow what robot.yaml uses.  Written so that NaN fails. */
static bool check_limits(const struct session_expect *e, const struct hello *h, char *why)
{
    for (int j = 0; j < e->nj; j++) {
        const struct joint_info *got = &h->joint[j], *want = &e->joint[j];

        snprintf(why, SENTENCE, "hello.joints[%d].effort_max: joint \"%s\" allows %g, expected at least %g, the effort in robot.yaml",
                 j, got->name, got->effort_max, want->effort_max);
        if (!(got->effort_max >= want->effort_max))
            return false;
        snprintf(why, SENTENCE,
                 "hello.joints[%d].velocity_max: joint \"%s\" allows %g, expected at least %g, the velocity in robot.yaml", j,
                 got->name, got->velocity_max, want->velocity_max);
        if (!(got->velocity_max >= want->velocity_max))
            return false;
        snprintf(why, SENTENCE,
                 "hello.joints[%d].effort_rate_max: joint \"%s\" allows %g, expected at least %g, the effort_rate in robot.yaml, "
                 "or 0 for no limit", j, got->name, got->effort_rate_max, want->effort_rate_max);
        if (got->effort_rate_max != 0 && !(got->effort_rate_max >= want->effort_rate_max))
            return false;
    }
    return true;
}

static bool check_timeout(const struct session_expect *e, const struct hello *h, char *why)
{
    double ms = h->command_timeout_ms;

    snprintf(why, SENTENCE, "hello.command_timeout_ms: %g ms, expected more than 0 and at most %g", ms,
             e->robot_timeout_max_ms);
    if (!(isfinite(ms) && ms > 0 && ms <= e->robot_timeout_max_ms))
        return false;
    snprintf(why, SENTENCE, "hello.timeout_action: unspecified, expected damp, hold, brake or off");
    return h->timeout_action >= TIMEOUT_DAMP && h->timeout_action <= TIMEOUT_OFF;
}

static const struct {
    enum refusal_code code;
    bool (*holds)(const struct session_expect *e, const struct hello *h, char *why);
} checks[] = {
    { REFUSAL_PROTOCOL, check_protocol },   { REFUSAL_ROBOT, check_robot },   { REFUSAL_SIMULATED, check_simulated },
    { REFUSAL_LOCKSTEP, check_lockstep },   { REFUSAL_JOINTS, check_joints }, { REFUSAL_LIMITS, check_limits },
    { REFUSAL_TIMEOUT_POLICY, check_timeout },
};

/* ---- messages ------------------------------------------------------------------------------------------------------ */

static bool from_robot(const struct session *s, const uint8_t *peer, size_t len)
{
    return s->id != 0 && s->peer_len == len && memcmp(s->peer, peer, len) == 0;
}

static void open_session(struct session *s, const uint8_t *peer, size_t len, const struct hello *h, struct session_result *r)
{
    s->id = s->next_session++;
    if (s->next_session == 0)
        s->next_session = 1;
    memcpy(s->peer, peer, len);
    s->peer_len = len;
    memcpy(&s->hello, h, sizeof *h);
    s->lockstep    = h->lockstep;
    s->last_seq    = 0;
    s->ready_trial = -1;
    s->ready_count = 0;
    s->damaged     = 0;
    r->opened      = true;
}

/* True where the Hello is refused; then r holds the answer. */
static bool refused(struct session *s, const struct hello *h, bool same, uint64_t now_ns, struct session_result *r)
{
    char why[SENTENCE];

    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (!checks[i].holds(&s->expect, h, why)) {
            trouble(s, "%s", why);
            refuse(r, checks[i].code, h->protocol, why);
            return true;
        }
    if (!same && session_alive(s, now_ns)) {
        count(s, COUNT_SECOND_PEER, 1);
        trouble(s, "another robot side for \"%s\" is connected and alive (%s); stop one of them", s->expect.robot,
                s->hello.software[0] ? s->hello.software : "unnamed");
        refuse(r, REFUSAL_BUSY, h->protocol, s->last_trouble);
        return true;
    }
    return false;
}

static void on_hello(struct session *s, const uint8_t *peer, size_t len, const struct hello *h, uint64_t now_ns,
                     struct session_result *r)
{
    bool same = from_robot(s, peer, len);

    if (same && h->boot_id != s->hello.boot_id) /* the robot side of that session is gone */
        s->id = 0, same = false;
    if (refused(s, h, same, now_ns, r)) {
        count(s, COUNT_REFUSED, 1);
        blame(s, sender_take(s, peer, len, now_ns), now_ns);
        return;
    }
    /* Hellos come out of a zeroed struct, so that bytes can be compared. */
    if (!(same && session_alive(s, now_ns) && memcmp(h, &s->hello, sizeof *h) == 0))
        open_session(s, peer, len, h, r);
    s->last_heard_ns = now_ns;
    count(s, COUNT_HELLO, 1);
    welcome(s, r);
}

/* Whether a state or event belongs to the session.  That it does not is no crime: the robot side may not have heard
 * yet that the daemon restarted. */
static bool in_session(struct session *s, const uint8_t *peer, size_t len, uint64_t session, uint64_t now_ns,
                       struct session_result *r)
{
    if (from_robot(s, peer, len) && session == s->id)
        return true;
    count(s, COUNT_NO_SESSION, 1);
    trouble(s, "a message of session %016" PRIx64 ", which is not the current one; say Hello first", session);
    refuse_now_and_then(s, sender_take(s, peer, len, now_ns), now_ns, REFUSAL_SESSION, r);
    return false;
}

static void on_bad(struct session *s, const uint8_t *peer, size_t len, enum session_count kind, uint64_t now_ns,
                   struct session_result *r)
{
    struct session_sender *from = sender_take(s, peer, len, now_ns);

    count(s, kind, 1);
    refuse_now_and_then(s, from, now_ns, REFUSAL_MALFORMED, r);
    blame(s, from, now_ns);
}

static void on_state(struct session *s, const uint8_t *peer, size_t len, const struct joint_state *in, uint64_t now_ns,
                     struct session_result *r)
{
    if (!in_session(s, peer, len, in->session, now_ns, r))
        return;
    if (in->nj != s->hello.nj || in->nextra != s->hello.nextra) {
        trouble(s, "state: %d joints and %d extra measurements, expected %d and %d as in hello", in->nj, in->nextra,
                s->hello.nj, s->hello.nextra);
        on_bad(s, peer, len, COUNT_SHAPE, now_ns, r);
        return;
    }
    if (in->seq <= s->last_seq || in->seq - s->last_seq > SEQ_JUMP_MAX) {
        bool duplicate = in->seq == s->last_seq;

        count(s, duplicate ? COUNT_DUPLICATE : COUNT_OLD, 1);
        trouble(s, "state.seq: %" PRIu64 " after %" PRIu64 ", expected the next number", in->seq, s->last_seq);
        return;
    }
    if (s->last_seq != 0)
        count(s, COUNT_GAP, in->seq - s->last_seq - 1);
    s->last_seq      = in->seq;
    s->last_heard_ns = now_ns;
    count(s, COUNT_STATES, 1);
    r->has_state         = true;
    r->state             = *in;
    r->state.received_ns = now_ns;
    r->state.ready_trial = s->ready_trial;
    r->state.ready_count = s->ready_count;
}

static void on_event(struct session *s, const uint8_t *peer, size_t len, const struct trial_event *in, uint64_t now_ns,
                     struct session_result *r)
{
    if (!in_session(s, peer, len, in->session, now_ns, r))
        return;
    /* A trial that is over is no longer ready: the next may have the same number. */
    s->ready_trial = in->kind == TRIAL_READY ? (int64_t)in->trial : -1;
    s->ready_count += in->kind == TRIAL_READY;
    s->last_heard_ns = now_ns;
    count(s, COUNT_TRIAL_EVENTS, 1);
    r->has_event = true;
    r->event     = *in;
}

/* F2: of the last ten messages of the robot side, did the third come damaged?  Others may send what they like. */
static void judge_link(struct session *s, const uint8_t *peer, size_t len, bool damaged, struct session_result *r)
{
    if (!from_robot(s, peer, len))
        return;
    s->damaged  = last_ten(s->damaged, damaged);
    r->degraded = damaged && last_ten_degraded(s->damaged);
}

/* A Hello of protocol 1: its sender understands the answer, in which the CRC is a field that it does not know. */
static void on_bare(struct session *s, const uint8_t *peer, size_t len, uint32_t protocol, uint64_t now_ns,
                    struct session_result *r)
{
    count(s, COUNT_REFUSED, 1);
    refuse(r, REFUSAL_PROTOCOL, protocol, s->last_trouble);
    blame(s, sender_take(s, peer, len, now_ns), now_ns);
}

void session_receive(struct session *s, const uint8_t *peer, size_t peer_len, const uint8_t *bytes, size_t len,
                     uint64_t now_ns, struct codec_scratch *scratch, struct session_result *r)
{
    static const enum session_count kind_of[] = { [CODEC_OVERSIZED] = COUNT_OVERSIZED,
                                                  [CODEC_CRC]       = COUNT_CRC,
                                                  [CODEC_ECHO]      = COUNT_ECHO,
                                                  [CODEC_GARBAGE]   = COUNT_GARBAGE,
                                                  [CODEC_UNKNOWN]   = COUNT_UNKNOWN,
                                                  [CODEC_SHAPE]     = COUNT_SHAPE };
    const struct session_sender    *from;
    struct message                  m;
    enum codec_error                error;
    char                            why[SENTENCE];

    CHECK(peer_len > 0 && peer_len <= PEER_ID_SIZE);
    memset(r, 0, sizeof *r);
    from = sender_find(s, peer, peer_len);
    if (from && now_ns < from->banned_until_ns) {
        count(s, COUNT_BANNED, 1);
        return;
    }
    error = codec_unpack(FROM_ROBOT, bytes, len, scratch, &m, why, sizeof why);
    judge_link(s, peer, peer_len, codec_damaged(error), r);
    if (error != CODEC_OK) {
        trouble(s, "%s", why);
        if (error == CODEC_BARE)
            on_bare(s, peer, peer_len, (uint32_t)m.session, now_ns, r);
        else
            on_bad(s, peer, peer_len, kind_of[error], now_ns, r);
        return;
    }
    switch (m.kind) {
    case MESSAGE_HELLO:
        on_hello(s, peer, peer_len, &m.hello, now_ns, r);
        break;
    case MESSAGE_STATE:
        on_state(s, peer, peer_len, &m.state, now_ns, r);
        break;
    case MESSAGE_TRIAL_EVENT:
        on_event(s, peer, peer_len, &m.trial_event, now_ns, r);
        break;
    case MESSAGE_NONE:
    case MESSAGE_WELCOME:
    case MESSAGE_REFUSAL:
    case MESSAGE_COMMAND:
    case MESSAGE_TRIAL_REQUEST:
        trouble(s, "a message only the daemon may send, expected Hello, JointState or TrialEvent");
        on_bad(s, peer, peer_len, COUNT_UNEXPECTED, now_ns, r);
        break;
    }
}
