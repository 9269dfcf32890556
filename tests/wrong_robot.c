#include "tests/wrong_robot.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"
#include "transport/port.h"

enum { NJ = 3 };

struct wrong_robot {
    enum wrong           wrong;
    int                  estop;
    struct port         *port;
    pthread_t            thread;
    _Atomic bool         stop;
    struct message       hello;
    struct receiver      receiver;
    struct welcome       welcome;
    bool                 in_session, spoiled;                /* by garbage                          */
    uint64_t             hello_ns, session_ns, seq, any_seq; /* any_seq: newest command ever applied */
    int                  hellos, sent;
    double               q[NJ], dq[NJ], sum[NJ], sum_s;
    uint64_t             moved_ns;
    struct codec_scratch scratch;
    uint8_t              buf[PORT_MAX_BYTES];
};

static void send_message(struct wrong_robot *r, const struct message *m)
{
    uint8_t out[CODEC_MAX_BYTES];

    port_send(r->port, NULL, 0, out, codec_pack(m, out));
}

static void describe(struct wrong_robot *r)
{
    struct receiver_limits l = { .nj                 = NJ,
                                 .actuated           = { true, true, false },
                                 .effort_max         = { 10, 20, 0 },
                                 .effort_rate        = { 100, 200, (double)INFINITY },
                                 .velocity_max       = { 3, 3, 3 },
                                 .damp_kd            = { 5, 5, 0 },
                                 .command_timeout_ms = r->wrong == TIMEOUT_LONG ? 180 : 60 };
    struct hello          *h = &r->hello.hello;

    r->hello.kind = MESSAGE_HELLO;
    *h            = (struct hello){ .protocol           = LIMBER_PROTOCOL,
                                    .robot              = "wrong",
                                    .boot_id            = clock_now_ns(),
                                    .nj                 = NJ,
                                    .command_timeout_ms = 60,
                                    .timeout_action     = TIMEOUT_DAMP,
                                    .simulated          = true,
                                    .software           = "wrong robot" };
    for (int j = 0; j < NJ; j++) {
        snprintf(h->joint[j].name, NAME_SIZE, "joint%d", j);
        h->joint[j].type         = JOINT_CONTINUOUS;
        h->joint[j].actuated     = l.actuated[j];
        h->joint[j].position_min = (double)-INFINITY;
        h->joint[j].position_max = (double)INFINITY;
        h->joint[j].velocity_max    = l.velocity_max[j];
        h->joint[j].effort_max      = l.effort_max[j];
        h->joint[j].effort_rate_max = l.actuated[j] ? l.effort_rate[j] : 0;
    }
    if (r->wrong == TIMEOUT_MIXED || r->wrong == TIMEOUT_SWAPPED)
        h->joint[1].timeout_action = TIMEOUT_OFF;
    if (r->wrong == HELLO_ENDLESS)
        h->joint[1].effort_max = (double)INFINITY;
    for (int j = 0; j < NJ; j++) {
        if (r->wrong == NO_RATE)
            l.effort_rate[j] = (double)INFINITY;
        if (r->wrong == NO_CLIP)
            l.effort_max[j] = 1e3;
        if (r->wrong == NO_CUT_BACK)
            l.velocity_max[j] = (double)INFINITY;
    }
    receiver_init(&r->receiver, &l);
}

/* ---- commands ---- */

/* Which refusal of the contract this command asks for, as ACCEPTS_...; RIGHT: none. */
static enum wrong refusal(const struct receiver *v, const struct joint_command *c, uint64_t now_ns)
{
    if (c->session != v->session)
        return ACCEPTS_SESSION;
    if (c->seq == v->seq)
        return ACCEPTS_REPEATED;
    if (c->seq < v->seq)
        return ACCEPTS_OLD;
    if (c->seq - v->seq > 1u << 30)
        return ACCEPTS_FAR;
    if (c->nj != NJ && c->nj != 0)
        return c->nj < NJ ? ACCEPTS_FEW : ACCEPTS_MANY;
    for (int j = 0; j < NJ; j++) {
        if (!isfinite(c->torque[j]))
            return isnan(c->torque[j]) ? ACCEPTS_TORQUE_NAN : ACCEPTS_TORQUE_INF;
        if (isnan(c->kp[j]))
            return ACCEPTS_GAIN_NAN;
        if (c->kd[j] < 0)
            return ACCEPTS_GAIN_NEGATIVE;
    }
    if (!(c->valid_ms > 0))
        return isnan(c->valid_ms) ? ACCEPTS_VALID_NAN : c->valid_ms < 0 ? ACCEPTS_VALID_NEGATIVE : ACCEPTS_VALID_ZERO;
    uint64_t at = v->state_ns[c->state_seq % RECEIVER_STATES];
    if (v->state_seq[c->state_seq % RECEIVER_STATES] != c->state_seq)
        return ACCEPTS_STATE_UNKNOWN;
    return now_ns - at >= 60 * NS_PER_MS ? ACCEPTS_STATE_OLD : RIGHT;
}

static void force(struct receiver *v, const struct joint_command *c, uint64_t now_ns)
{
    v->command    = *c;
    v->command.nj = NJ;
    v->mode       = c->mode == COMMAND_TORQUE ? RECEIVER_LIVE : c->mode == COMMAND_DAMP ? RECEIVER_DAMP : RECEIVER_OFF;
    v->heard_ns   = now_ns;
    v->valid_until_ns = now_ns + 60 * NS_PER_MS;
}

static void command(struct wrong_robot *r, struct joint_command c)
{
    struct receiver *v      = &r->receiver;
    uint64_t         now_ns = clock_now_ns();
    enum wrong       kind   = refusal(v, &c, now_ns);

    if (c.mode == COMMAND_IDLE &&
        ((r->wrong == IDLE_KEEPS && r->spoiled) || (r->wrong == LATCH_STAYS && v->mode == RECEIVER_LATCH))) {
        v->heard_ns       = now_ns;
        v->valid_until_ns = now_ns + 60 * NS_PER_MS;
        return;
    }
    if (r->wrong == IDLE_KEEPS && c.mode == COMMAND_TORQUE)
        r->spoiled = true;
    if (kind != RIGHT && kind == r->wrong) {
        force(v, &c, now_ns);
        return;
    }
    if (r->wrong == VALIDITY_IGNORED)
        c.valid_ms = 1000;
    if (r->wrong == LATCH_LEFT && v->mode == RECEIVER_LATCH && c.mode == COMMAND_TORQUE && kind == RIGHT)
        v->mode = RECEIVER_OFF;
    for (int j = 0; j < NJ; j++) {
        if (r->wrong == RATE_ANEW)
            v->grown[j] = 0;
        if (r->wrong == TORQUE_IGNORED)
            c.torque[j] = 0;
        if (r->wrong == TORQUE_SIGN)
            c.torque[j] = -c.torque[j];
        if (r->wrong == KP_IGNORED)
            c.kp[j] = 0;
    }
    receiver_command(v, &c, now_ns);
    if (v->mode == RECEIVER_LIVE)
        r->any_seq = v->seq;
}

static void welcome(struct wrong_robot *r, const struct welcome *w)
{
    struct joint_command last = r->receiver.command;
    enum receiver_mode   mode = r->receiver.mode;

    r->welcome    = *w;
    r->in_session = true;
    r->session_ns = clock_now_ns();
    r->seq        = r->wrong == SESSION_COUNTS_ON ? r->seq : 0;
    r->any_seq    = 0;
    r->sent       = 0;
    memset(r->sum, 0, sizeof r->sum); /* effort of before is none of this session's */
    receiver_session(&r->receiver, w->session);
    if (r->wrong == SESSION_KEEPS && mode == RECEIVER_LIVE) {
        force(&r->receiver, &last, r->session_ns);
        r->receiver.valid_until_ns += NS_PER_S;
    }
}

static void request(struct wrong_robot *r, const struct trial_request *q)
{
    struct message m = { .kind = MESSAGE_TRIAL_EVENT };

    if (q->kind != TRIAL_RESET || r->wrong == RESET_IGNORED)
        return;
    memset(r->q, 0, sizeof r->q);
    memset(r->dq, 0, sizeof r->dq);
    if (r->wrong != IDLE_KEEPS)
        receiver_forget_command(&r->receiver);
    m.trial_event = (struct trial_event){ .session = r->welcome.session, .trial = q->trial, .kind = TRIAL_READY };
    send_message(r, &m);
}

static enum codec_error unpack(struct wrong_robot *r, size_t n, struct message *m)
{
    enum codec_error error   = codec_unpack(FROM_LIMBER, r->buf, n, &r->scratch, m, NULL, 0);
    bool             has_crc = n >= CODEC_CRC_BYTES && r->buf[n - CODEC_CRC_BYTES] == 0x7d;
    enum wrong       kind    = error == CODEC_ECHO ? ACCEPTS_ECHO : has_crc ? ACCEPTS_CRC : ACCEPTS_NO_CRC;

    if (codec_damaged(error) && r->wrong == kind) {
        n = codec_seal(FROM_LIMBER, r->buf, n - (has_crc ? CODEC_CRC_BYTES : 0));
        return codec_unpack(FROM_LIMBER, r->buf, n, &r->scratch, m, NULL, 0);
    }
    if (codec_damaged(error) && r->wrong != DAMAGE_IGNORED)
        receiver_damaged(&r->receiver, clock_now_ns());
    return error;
}

static void receive(struct wrong_robot *r)
{
    struct message m;
    long           n;

    while ((n = port_receive(r->port, NULL, NULL, r->buf, sizeof r->buf - CODEC_CRC_BYTES)) >= 0) {
        if (unpack(r, (size_t)n, &m) != CODEC_OK || m.kind == MESSAGE_HELLO) {
            if (r->wrong == GARBAGE_STOPS)
                r->receiver.mode = RECEIVER_OFF;
            continue;
        }
        if (m.kind == MESSAGE_WELCOME)
            welcome(r, &m.welcome);
        else if (m.kind == MESSAGE_REFUSAL && r->wrong != SESSION_DEAF)
            r->in_session = false, r->hello_ns = 0;
        else if (m.kind == MESSAGE_COMMAND && (m.session == r->welcome.session || r->wrong == ACCEPTS_SESSION))
            command(r, m.command);
        else if (m.kind == MESSAGE_TRIAL_REQUEST && m.session == r->welcome.session)
            request(r, &m.trial_request);
    }
}

/* ---- physics: every joint one kg, or kg m^2 ---- */

static void effort(struct wrong_robot *r, uint64_t now_ns, double *tau)
{
    struct receiver           *v   = &r->receiver;
    const struct joint_command c   = v->command;
    enum receiver_mode         was = v->mode;

    if (r->wrong == TIMEOUT_IGNORED && was == RECEIVER_LIVE)
        v->valid_until_ns = now_ns + NS_PER_S, v->heard_ns = now_ns;
    if (r->wrong == LATCH_NEVER && was != RECEIVER_LATCH)
        v->heard_ns = now_ns;
    receiver_effort(v, r->q, r->dq, now_ns, tau);
    for (int j = 0; j < NJ; j++) {
        bool motor = v->limits.actuated[j], live = v->mode == RECEIVER_LIVE, asked = v->command.mode == COMMAND_DAMP;

        if (r->wrong == EFFORT_AT_START && motor && r->any_seq == 0 && v->seq == 0)
            tau[j] = 1;
        if (r->wrong == KD_SIGN && live && motor && c.kd[j] != 0)
            tau[j] = -tau[j];
        if (r->wrong == UNACTUATED_DRIVEN && live && !motor)
            tau[j] = c.torque[j];
        if (v->mode == RECEIVER_DAMP && ((r->wrong == DAMP_DRIVES && asked) || (r->wrong == TIMEOUT_DRIVES && !asked)))
            tau[j] = -tau[j];
        if (r->wrong == (j ? TIMEOUT_MIXED : TIMEOUT_SWAPPED) && v->mode != RECEIVER_LIVE && !asked)
            tau[j] = 0;
        if (r->wrong == TIMEOUT_FREE && v->mode != RECEIVER_LIVE && !asked)
            tau[j] = 0;
    }
}

static void estop(struct wrong_robot *r, uint64_t now_ns)
{
    double s       = (double)(now_ns - r->session_ns) * 1e-9;
    bool   pressed = r->estop && r->in_session && s > 0.5 && s < 1;

    if (r->wrong == ESTOP_IGNORED) {
        r->receiver.estop = false;
        return;
    }
    receiver_estop(&r->receiver, pressed);
    if (r->wrong == ESTOP_RESUMES && !pressed && r->receiver.mode == RECEIVER_LATCH)
        r->receiver.mode = RECEIVER_OFF;
}

static void move(struct wrong_robot *r)
{
    uint64_t now_ns = clock_now_ns();
    double   dt     = (double)(now_ns - r->moved_ns) * 1e-9, tau[MAX_JOINTS];

    dt          = dt > 0.02 ? 0.02 : dt;
    r->moved_ns = now_ns;
    estop(r, now_ns);
    effort(r, now_ns, tau);
    for (int j = 0; j < NJ; j++) {
        r->sum[j] += dt * tau[j];
        r->dq[j] += dt * tau[j];
        r->q[j] += dt * r->dq[j];
    }
    r->sum_s += dt;
}

static void state(struct wrong_robot *r)
{
    struct receiver *v     = &r->receiver;
    struct message   m     = { .kind = MESSAGE_STATE };
    bool             tenth = ++r->sent % 10 == 0;
    double           s     = (double)(clock_now_ns() - r->session_ns) * 1e-9;

    if (!(r->wrong == STATE_REPEATS && tenth))
        r->seq++;
    m.state = (struct joint_state){
        .session = r->welcome.session, .seq = r->seq, .sample_ns = clock_now_ns(), .nj = NJ, .applied_held = true
    };
    m.state.estop               = r->estop && s > 0.5 && s < 1;
    m.state.faults              = v->mode == RECEIVER_LATCH && r->wrong != LATCH_SECRET ? ROBOT_FAULT_LATCHED : 0;
    m.state.applied_command_seq = v->mode == RECEIVER_LIVE ? v->command.seq : 0;
    if (r->wrong == SEQ_AHEAD && v->mode == RECEIVER_LIVE)
        m.state.applied_command_seq += 7;
    if (r->wrong == SEQ_STICKS)
        m.state.applied_command_seq = r->any_seq;
    for (int j = 0; j < NJ; j++) {
        m.state.position[j]       = r->q[j];
        m.state.velocity[j]       = r->dq[j];
        m.state.applied_effort[j] = r->sum_s > 0 ? r->sum[j] / r->sum_s : 0;
        r->sum[j]                 = 0;
    }
    r->sum_s = 0;
    if (tenth && r->wrong == STATE_NAN)
        m.state.velocity[1] = (double)NAN;
    if (tenth && r->wrong == STATE_OTHER_SESSION)
        m.state.session ^= 1ull << 40;
    if (r->wrong == STATE_SHAPE)
        m.state.nj = NJ - 1;
    send_message(r, &m);
    receiver_state_sent(v, r->seq, m.state.sample_ns);
}

static void greet(struct wrong_robot *r, uint64_t now_ns)
{
    if (r->in_session || (r->hello_ns && now_ns - r->hello_ns < 300 * NS_PER_MS) ||
        (r->wrong == HELLO_ONCE && r->hellos > 0))
        return;
    uint8_t out[CODEC_MAX_BYTES];

    if (r->wrong == HELLO_NEW_BOOT)
        r->hello.hello.boot_id++;
    bool went = port_send(r->port, NULL, 0, out, codec_pack(&r->hello, out));
    r->hellos += went;
    r->hello_ns = went ? now_ns : 0;
}

static void *run(void *arg)
{
    struct wrong_robot *r   = arg;
    uint64_t            due = clock_now_ns();

    r->moved_ns = due;
    while (!atomic_load(&r->stop)) {
        uint64_t now_ns = clock_now_ns();

        greet(r, now_ns);
        if (r->in_session && now_ns >= due) {
            double period = 1 / r->welcome.control_hz * (r->wrong == STATE_SLOW ? 4.0 / 3 : 1);
            state(r);
            due += (uint64_t)(period * 1e9);
            due = due < now_ns ? now_ns : due;
        }
        port_wait(r->port, -1, 1);
        move(r); /* under what was in force until now */
        receive(r);
    }
    return NULL;
}

struct wrong_robot *wrong_robot_start(const char *endpoint, enum wrong wrong, int estop)
{
    struct wrong_robot *r = calloc(1, sizeof *r);
    struct port_options o = { .endpoint = endpoint, .core = -1 };
    char                why[300];

    if (!r || !(r->port = port_connect(&o, why, sizeof why)))
        abort();
    r->wrong = wrong;
    r->estop = estop;
    describe(r);
    if (pthread_create(&r->thread, NULL, run, r))
        abort();
    return r;
}

void wrong_robot_end(struct wrong_robot *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    port_close(r->port);
    free(r);
}
