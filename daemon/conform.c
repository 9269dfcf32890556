/* conform.c - see conform.h: the daemon's part on the wire. */
#include "daemon/conform.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rt/clock.h"

enum conform_verdict conform_saw(struct conform *c, enum conform_verdict v, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(c->seen, sizeof c->seen, format, args);
    va_end(args);
    return v;
}

void conform_send(struct conform *c, const struct message *m)
{
    uint8_t out[CODEC_MAX_BYTES];

    port_send(c->port, c->peer, c->peer_len, out, codec_pack(m, out));
}

void conform_welcome(struct conform *c)
{
    struct message m = { .kind = MESSAGE_WELCOME };

    c->session++;
    c->seq = 0;
    c->states = c->gaps = c->hellos = 0;
    c->wrong_state                  = false;
    memset(&c->state, 0, sizeof c->state);
    m.welcome = (struct welcome){ .protocol = LIMBER_PROTOCOL, .session = c->session, .control_hz = c->o.hz,
                                  .latch_ms = c->o.latch_ms, .simulated = c->hello.simulated };
    conform_send(c, &m);
}

/* ---- receiving ---- */

__attribute__((format(printf, 2, 3))) static void wrong(struct conform *c, const char *format, ...)
{
    va_list args;

    if (c->wrong_state)
        return;
    c->wrong_state = true;
    va_start(args, format);
    vsnprintf(c->trouble, sizeof c->trouble, format, args);
    va_end(args);
}

static void judge_state(struct conform *c, const struct joint_state *s)
{
    const struct joint_state *was = &c->state;

    if (s->nj != c->hello.nj || s->nextra != c->hello.nextra)
        wrong(c, "state %" PRIu64 " has %d joints and %d extras, Hello said %d and %d", s->seq, s->nj, s->nextra, c->hello.nj,
              c->hello.nextra);
    for (int j = 0; j < s->nj; j++)
        if (!isfinite(s->position[j]) || !isfinite(s->velocity[j]) || !isfinite(s->applied_effort[j]))
            wrong(c, "state %" PRIu64 ", joint %s: position %g, velocity %g, applied effort %g", s->seq, c->hello.joint[j].name,
                  s->position[j], s->velocity[j], s->applied_effort[j]);
    if (c->states == 0 && s->seq > 3) /* the first ones may be lost, but counting begins at 1 */
        wrong(c, "the first state of the session has number %" PRIu64 ", it should be 1", s->seq);
    if (c->states > 0 && s->seq <= was->seq)
        wrong(c, "state %" PRIu64 " came after %" PRIu64, s->seq, was->seq);
    if (c->states > 0 && s->seq > was->seq && s->sample_ns <= was->sample_ns)
        wrong(c, "state %" PRIu64 "'s sample time is not after the one before", s->seq);
    if (c->states > 0 && s->seq > was->seq)
        c->gaps += (int)(s->seq - was->seq - 1);
}

/* One message; true: a state of this session. */
static bool take(struct conform *c, long n, const uint8_t *peer, size_t peer_len)
{
    struct message m;
    char           why[sizeof c->trouble];

    if (codec_unpack(FROM_ROBOT, c->buf, (size_t)n, &c->scratch, &m, why, sizeof why) != CODEC_OK) {
        wrong(c, "a message that does not decode: %.120s", why);
        return false;
    }
    switch (m.kind) {
    case MESSAGE_HELLO:
        memcpy(c->peer, peer, peer_len);
        c->peer_len = peer_len;
        c->hello    = m.hello;
        c->hellos++;
        break;
    case MESSAGE_TRIAL_EVENT:
        if (m.session == c->session && m.trial_event.kind == TRIAL_READY)
            c->ready = m.trial_event.trial;
        break;
    case MESSAGE_STATE:
        if (m.session != c->session) {
            if (c->states > 0)
                wrong(c, "a state of session %016" PRIx64 " in session %016" PRIx64, m.session, c->session);
            return false;
        }
        judge_state(c, &m.state);
        c->before   = c->state;
        c->state    = m.state;
        c->heard_ns = clock_now_ns();
        c->states++;
        return true;
    default: break;
    }
    return false;
}

/* Until a state came (where that is asked for), or until the time is over. */
static bool receive(struct conform *c, int ms, bool until_state)
{
    uint64_t until_ns = clock_now_ns() + (uint64_t)ms * (uint64_t)NS_PER_MS;
    uint8_t  peer[PEER_ID_SIZE];
    size_t   peer_len;
    bool     came = false;

    for (;;) {
        long n;

        while ((n = port_receive(c->port, peer, &peer_len, c->buf, sizeof c->buf)) >= 0)
            came = take(c, n, peer, peer_len) || came; /* the newest wins, as in the daemon */
        uint64_t now_ns = clock_now_ns();

        if ((came && until_state) || now_ns >= until_ns)
            return came;
        port_wait(c->port, -1, (int)((until_ns - now_ns) / NS_PER_MS) + 1);
    }
}

bool conform_next(struct conform *c, int ms)
{
    return receive(c, ms, true);
}

void conform_listen(struct conform *c, int ms)
{
    receive(c, ms, false);
}

/* ---- commands ---- */

double conform_period_ms(const struct conform *c)
{
    return 1000 / c->o.hz;
}

double conform_effort(const struct conform *c, int j)
{
    return c->hello.joint[j].actuated ? c->o.share * c->hello.joint[j].effort_max : 0;
}

struct joint_command conform_command(struct conform *c, enum command_mode mode, double sign)
{
    struct joint_command cmd = { .session = c->session, .seq = ++c->seq, .state_seq = c->state.seq, .mode = mode,
                                 .valid_ms = c->hello.command_timeout_ms, .nj = c->hello.nj };

    for (int j = 0; mode == COMMAND_TORQUE && j < c->hello.nj; j++)
        cmd.torque[j] = sign * conform_effort(c, j);
    return cmd;
}

void conform_say(struct conform *c, const struct joint_command *cmd)
{
    struct message m = { .kind = MESSAGE_COMMAND, .command = *cmd };

    conform_send(c, &m);
    c->last = *cmd;
}

bool conform_drive(struct conform *c, int n, enum command_mode mode, double sign)
{
    for (int i = 0; i < n; i++) {
        if (!conform_next(c, 2000)) {
            conform_saw(c, CONFORM_FAIL, "no state for 2 s");
            return false;
        }
        struct joint_command cmd = conform_command(c, mode, sign);

        conform_say(c, &cmd);
    }
    return true;
}

bool conform_settle(struct conform *c)
{
    struct message m = { .kind = MESSAGE_TRIAL_REQUEST };

    if (!conform_drive(c, 2, COMMAND_IDLE, 0))
        return false;
    if (!c->hello.simulated)
        return conform_drive(c, (int)(c->o.hz / 2) + 1, COMMAND_DAMP, 0) && conform_drive(c, 2, COMMAND_IDLE, 0);
    m.trial_request = (struct trial_request){ .session = c->session, .trial = ++c->trial, .kind = TRIAL_RESET, .seed = 1 };
    c->ready        = -1;
    conform_send(c, &m);
    for (int i = 0; i < (int)c->o.hz + 3 && c->ready != c->trial; i++)
        if (!conform_drive(c, 1, COMMAND_IDLE, 0))
            return false;
    return conform_drive(c, 2, COMMAND_IDLE, 0);
}

/* ---- what a state says ---- */

bool conform_applied(const struct conform *c, double sign)
{
    for (int j = 0; j < c->hello.nj; j++) {
        double want = sign * conform_effort(c, j);

        if (want != 0 && !(fabs(c->state.applied_effort[j] - want) <= 0.2 * fabs(want)))
            return false;
    }
    return true;
}

bool conform_no_effort(const struct conform *c)
{
    for (int j = 0; j < c->hello.nj; j++)
        if (!(fabs(c->state.applied_effort[j]) <= 0.01 * conform_effort(c, j)))
            return false;
    return true;
}

bool conform_latched(const struct conform *c)
{
    return c->state.faults & ROBOT_FAULT_LATCHED;
}

/* ---- course ---- */

int conform_open(struct conform *c, const struct conform_options *o, char *why, size_t why_size)
{
    struct port_options po = { .endpoint = o->endpoint, .core = -1 };

    memset(c, 0, sizeof *c);
    c->o       = *o;
    c->session = clock_now_ns() | 1;
    c->ready   = -1;
    if (!(c->port = port_bind(&po, why, why_size)))
        return -1;
    for (uint64_t until = clock_now_ns() + (uint64_t)(o->wait_s * 1e9); !c->hellos && clock_now_ns() < until;)
        conform_listen(c, 20);
    if (!c->hellos) {
        if (c->wrong_state)
            snprintf(why, why_size, "no Hello at %s within %g s, only %s", o->endpoint, o->wait_s, c->trouble);
        else
            snprintf(why, why_size, "no Hello at %s within %g s; start the robot side with this endpoint", o->endpoint,
                     o->wait_s);
        return 1;
    }
    if (!c->hello.simulated && (!o->hardware || strcmp(o->hardware, c->hello.robot) != 0)) {
        snprintf(why, why_size, "\"%s\" is real hardware, which this test moves: secure it, then give --hardware %s", c->hello.robot,
                 c->hello.robot);
        return 1;
    }
    if (c->hello.nj < 1 || !(c->hello.command_timeout_ms > 0)) {
        snprintf(why, why_size, "Hello of protocol %" PRIu32 " with %d joints and a timeout of %g ms: nothing to test",
                 c->hello.protocol, c->hello.nj, c->hello.command_timeout_ms);
        return 1;
    }
    return 0;
}

void conform_close(struct conform *c)
{
    struct joint_command cmd = conform_command(c, COMMAND_IDLE, 0);

    if (!c->port)
        return;
    if (c->peer_len)
        conform_say(c, &cmd);
    conform_listen(c, 20);
    port_close(c->port);
}

enum conform_verdict conform_try(struct conform *c, const struct conform_clause *k, int *attempts)
{
    enum conform_verdict v = CONFORM_NOT_TRIED;

    for (*attempts = 0; *attempts < c->o.attempts && v != CONFORM_PASS && v != CONFORM_SKIP;) {
        c->seen[0] = 0;
        ++*attempts;
        v = k->try(c, k->which);
    }
    return v;
}
