/* codec.c - packs plain structs into protobuf-c messages on the stack, and unpacks into the caller's scratch block. */
#include "transport/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "daemon/rt/check.h"
#include "proto/limber.pb-c.h"

/* ---- the CRC --------------------------------------------------------------------------------------------------- */

enum { CRC_TAG = 15 << 3 | 5 }; /* field 15, fixed32: peers without CRCs take it for one that they do not know */

/* Of the first len bytes, which `from` sent; a message too short for a CRC has none. */
static uint32_t checksum(enum codec_from from, const uint8_t *buf, size_t len)
{
    static const char id[][12] = { [FROM_ROBOT] = "robot>limber", [FROM_LIMBER] = "limber>robot" };
    uLong             crc      = crc32(crc32(0, NULL, 0), (const Bytef *)id[from], sizeof id[from]);

    return (uint32_t)crc32(crc, buf, (uInt)len);
}

size_t codec_seal(enum codec_from from, uint8_t *buf, size_t len)
{
    uint32_t crc;

    buf[len++] = CRC_TAG;
    crc        = checksum(from, buf, len);
    for (int i = 0; i < 4; i++)
        buf[len++] = (uint8_t)(crc >> 8 * i);
    return len;
}

/* ---- packing --------------------------------------------------------------------------------------------------- */

static char *text(const char *s, size_t size)
{
    CHECK(memchr(s, 0, size));
    return (char *)(uintptr_t)s; /* protobuf-c wants char *, and only reads it */
}
#define TEXT(array) text(array, sizeof(array))

/* n values in place; protobuf-c only reads them. */
static double *values(const double *v)
{
    return (double *)(uintptr_t)v;
}

/* Arrays that are all zero travel as empty ones.  Bits are compared, so that -0 and NaN survive. */
static size_t unless_zero(const double *v, int n)
{
    static const double zero;

    for (int i = 0; i < n; i++)
        if (memcmp(&v[i], &zero, sizeof zero) != 0)
            return (size_t)n;
    return 0;
}

static size_t finish(const Limber__V1__Envelope *e, uint8_t *buf)
{
    CHECK(limber__v1__envelope__get_packed_size(e) + CODEC_CRC_BYTES <= CODEC_MAX_BYTES);
    return limber__v1__envelope__pack(e, buf);
}

static size_t pack_hello(Limber__V1__Envelope *e, const struct hello *h, uint8_t *buf)
{
    Limber__V1__Hello      out = LIMBER__V1__HELLO__INIT;
    Limber__V1__JointInfo  info[MAX_JOINTS];
    Limber__V1__JointInfo *joint[MAX_JOINTS];
    char                  *extra[MAX_EXTRA];

    CHECK(h->nj >= 0 && h->nj <= MAX_JOINTS && h->nextra >= 0 && h->nextra <= MAX_EXTRA);
    for (int j = 0; j < h->nj; j++) {
        const struct joint_info *in = &h->joint[j];

        limber__v1__joint_info__init(&info[j]);
        info[j].name            = TEXT(in->name);
        info[j].type            = (Limber__V1__JointType)in->type;
        info[j].actuated        = in->actuated;
        info[j].position_min    = in->position_min;
        info[j].position_max    = in->position_max;
        info[j].velocity_max    = in->velocity_max;
        info[j].effort_max      = in->effort_max;
        info[j].effort_rate_max = in->effort_rate_max;
        info[j].timeout_action  = (Limber__V1__TimeoutAction)in->timeout_action;
        joint[j]                = &info[j];
    }
    for (int i = 0; i < h->nextra; i++)
        extra[i] = TEXT(h->extra[i]);
    out.protocol            = h->protocol;
    out.robot               = TEXT(h->robot);
    out.boot_id             = h->boot_id;
    out.n_joints            = (size_t)h->nj;
    out.joints              = joint;
    out.n_extra             = (size_t)h->nextra;
    out.extra               = extra;
    out.command_timeout_ms  = h->command_timeout_ms;
    out.timeout_action      = (Limber__V1__TimeoutAction)h->timeout_action;
    out.gravity_compensated = h->gravity_compensated;
    out.simulated           = h->simulated;
    out.lockstep            = h->lockstep;
    out.software            = TEXT(h->software);
    e->body_case            = LIMBER__V1__ENVELOPE__BODY_HELLO;
    e->hello                = &out;
    return finish(e, buf);
}

static size_t pack_state(Limber__V1__Envelope *e, const struct joint_state *s, uint8_t *buf)
{
    Limber__V1__JointState out = LIMBER__V1__JOINT_STATE__INIT;
    Limber__V1__Imu        imu = LIMBER__V1__IMU__INIT;

    CHECK(s->nj >= 0 && s->nj <= MAX_JOINTS && s->nextra >= 0 && s->nextra <= MAX_EXTRA);
    imu.n_quat_wxyz = 4, imu.quat_wxyz = values(s->quat_wxyz);
    imu.n_gyro = 3, imu.gyro = values(s->gyro);
    imu.n_accel = 3, imu.accel = values(s->accel);

    out.session             = s->session;
    out.seq                 = s->seq;
    out.sample_ns           = s->sample_ns;
    out.n_position          = (size_t)s->nj;
    out.position            = values(s->position);
    out.n_velocity          = (size_t)s->nj;
    out.velocity            = values(s->velocity);
    out.n_effort            = s->has_effort ? (size_t)s->nj : 0;
    out.effort              = values(s->effort);
    out.applied_command_seq = s->applied_command_seq;
    out.n_applied_effort    = unless_zero(s->applied_effort, s->nj);
    out.applied_effort      = values(s->applied_effort);
    out.applied_held        = s->applied_held;
    out.imu                 = s->has_imu ? &imu : NULL;
    out.n_extra             = (size_t)s->nextra;
    out.extra               = values(s->extra);
    out.faults              = s->faults;
    out.estop               = s->estop;
    out.late_commands       = s->late_commands;
    out.changed_commands    = s->changed_commands;
    out.damaged_commands    = s->damaged_commands;
    out.lost_commands       = s->lost_commands;
    e->body_case            = LIMBER__V1__ENVELOPE__BODY_STATE;
    e->state                = &out;
    return finish(e, buf);
}

static size_t pack_event(Limber__V1__Envelope *e, const struct trial_event *v, uint8_t *buf)
{
    Limber__V1__TrialEvent out = LIMBER__V1__TRIAL_EVENT__INIT;

    out.session = v->session;
    out.trial   = v->trial;
    out.kind    = (Limber__V1__TrialEventKind)v->kind;
    out.reason  = TEXT(v->reason);
    if (v->has_return) {
        out.return_if_known_case = LIMBER__V1__TRIAL_EVENT__RETURN_IF_KNOWN_REPORTED_RETURN;
        out.reported_return      = v->reported_return;
    }
    e->body_case   = LIMBER__V1__ENVELOPE__BODY_TRIAL_EVENT;
    e->trial_event = &out;
    return finish(e, buf);
}

static size_t pack_welcome(Limber__V1__Envelope *e, const struct welcome *w, uint8_t *buf)
{
    Limber__V1__CommandMode modes[] = { LIMBER__V1__COMMAND_MODE__COMMAND_MODE_IDLE,
                                        LIMBER__V1__COMMAND_MODE__COMMAND_MODE_TORQUE,
                                        LIMBER__V1__COMMAND_MODE__COMMAND_MODE_DAMP };
    Limber__V1__Welcome     out     = LIMBER__V1__WELCOME__INIT;

    out.protocol   = w->protocol;
    out.session    = w->session;
    out.control_hz = w->control_hz;
    out.latch_ms   = w->latch_ms;
    out.simulated  = w->simulated;
    out.lockstep   = w->lockstep;
    out.n_modes    = sizeof modes / sizeof modes[0];
    out.modes      = modes;
    e->body_case   = LIMBER__V1__ENVELOPE__BODY_WELCOME;
    e->welcome     = &out;
    return finish(e, buf);
}

static size_t pack_refusal(Limber__V1__Envelope *e, const struct refusal *r, uint8_t *buf)
{
    Limber__V1__Refusal out = LIMBER__V1__REFUSAL__INIT;

    out.code            = (Limber__V1__RefusalCode)r->code;
    out.sentence        = TEXT(r->sentence);
    out.daemon_protocol = r->daemon_protocol;
    out.peer_protocol   = r->peer_protocol;
    e->body_case        = LIMBER__V1__ENVELOPE__BODY_REFUSAL;
    e->refusal          = &out;
    return finish(e, buf);
}

static size_t pack_command(Limber__V1__Envelope *e, const struct joint_command *c, uint8_t *buf)
{
    Limber__V1__JointCommand out = LIMBER__V1__JOINT_COMMAND__INIT;

    CHECK(c->nj >= 0 && c->nj <= MAX_JOINTS);
    out.session    = c->session;
    out.seq        = c->seq;
    out.state_seq  = c->state_seq;
    out.valid_ms   = c->valid_ms;
    out.mode       = (Limber__V1__CommandMode)c->mode;
    out.n_torque   = (size_t)c->nj; /* always sent: it carries the number of joints */
    out.torque     = values(c->torque);
    out.n_kp       = unless_zero(c->kp, c->nj);
    out.kp         = values(c->kp);
    out.n_kd       = unless_zero(c->kd, c->nj);
    out.kd         = values(c->kd);
    out.n_position = unless_zero(c->position, c->nj);
    out.position   = values(c->position);
    out.n_velocity = unless_zero(c->velocity, c->nj);
    out.velocity   = values(c->velocity);
    e->body_case   = LIMBER__V1__ENVELOPE__BODY_COMMAND;
    e->command     = &out;
    return finish(e, buf);
}

static size_t pack_request(Limber__V1__Envelope *e, const struct trial_request *q, uint8_t *buf)
{
    Limber__V1__TrialRequest out = LIMBER__V1__TRIAL_REQUEST__INIT;

    out.session      = q->session;
    out.trial        = q->trial;
    out.kind         = (Limber__V1__TrialRequestKind)q->kind;
    out.seed         = q->seed;
    e->body_case     = LIMBER__V1__ENVELOPE__BODY_TRIAL_REQUEST;
    e->trial_request = &out;
    return finish(e, buf);
}

static size_t pack(const struct message *m, uint8_t *buf)
{
    Limber__V1__Envelope e = LIMBER__V1__ENVELOPE__INIT;

    switch (m->kind) {
    case MESSAGE_HELLO: return pack_hello(&e, &m->hello, buf);
    case MESSAGE_STATE: return pack_state(&e, &m->state, buf);
    case MESSAGE_TRIAL_EVENT: return pack_event(&e, &m->trial_event, buf);
    case MESSAGE_WELCOME: return pack_welcome(&e, &m->welcome, buf);
    case MESSAGE_REFUSAL: return pack_refusal(&e, &m->refusal, buf);
    case MESSAGE_COMMAND: return pack_command(&e, &m->command, buf);
    case MESSAGE_TRIAL_REQUEST: return pack_request(&e, &m->trial_request, buf);
    case MESSAGE_NONE: break;
    }
    check_failed(__FILE__, __LINE__, "a message of a known kind");
}

enum codec_from codec_sender(enum message_kind kind)
{
    return kind == MESSAGE_HELLO || kind == MESSAGE_STATE || kind == MESSAGE_TRIAL_EVENT ? FROM_ROBOT : FROM_LIMBER;
}

size_t codec_pack(const struct message *m, uint8_t *buf)
{
    return codec_seal(codec_sender(m->kind), buf, pack(m, buf));
}

/* ---- unpacking: memory ----------------------------------------------------------------------------------------- */

_Static_assert(CODEC_SCRATCH % 16 == 0, "what is left is a multiple of 16, too: what fits fits rounded up");

/* Never gives memory back; the next message starts over. */
static void *scratch_alloc(void *data, size_t size)
{
    struct codec_scratch *s  = data;
    uint8_t              *at = s->block + s->used;

    if (size > CODEC_SCRATCH - s->used) {
        s->full = true;
        return NULL;
    }
    s->used += (size + 15) & ~(size_t)15;
    return at;
}

static void scratch_free(void *data, void *pointer)
{
    (void)data, (void)pointer;
}

/* ---- unpacking: shape ------------------------------------------------------------------------------------------ */

struct why {
    char  *text; /* may be NULL */
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool bad(const struct why *w, const char *format, ...)
{
    va_list args;

    if (w->text) {
        va_start(args, format);
        vsnprintf(w->text, w->size, format, args);
        va_end(args);
    }
    return false;
}

/* A name: short, and nothing that could break a log line, a terminal or JSON. */
static bool take_name(const struct why *w, const char *field, const char *in, char out[NAME_SIZE])
{
    size_t n = strlen(in);

    if (n == 0 || n >= NAME_SIZE)
        return bad(w, "%s: %zu characters, expected 1 to %d", field, n, NAME_SIZE - 1);
    for (size_t i = 0; i < n; i++)
        if (in[i] <= ' ' || in[i] > '~' || in[i] == '"' || in[i] == '\\')
            return bad(w, "%s: byte 0x%02x at %zu, expected printable ASCII without space, quote or backslash", field,
                       (unsigned char)in[i], i);
    memcpy(out, in, n + 1);
    return true;
}

/* Free text for people: cut to fit, and anything a terminal could act on becomes '?'. */
static void take_text(const char *in, char *out, size_t size)
{
    size_t n = 0;

    for (; in[n] && n + 1 < size; n++)
        out[n] = in[n] >= ' ' && in[n] <= '~' ? in[n] : '?';
    out[n] = 0;
}

static bool take_enum(const struct why *w, const char *field, int value, int low, int high)
{
    if (value < low || value > high)
        return bad(w, "%s: %d, expected %d to %d", field, value, low, high);
    return true;
}

/* An array of n values, or an empty one (out stays zero). */
static bool take_array(const struct why *w, const char *field, size_t count, const double *in, int n, double *out)
{
    if (count == 0)
        return true;
    if (count != (size_t)n)
        return bad(w, "%s: %zu values, expected %d or none", field, count, n);
    memcpy(out, in, count * sizeof *in);
    return true;
}

static bool take_joint(const struct why *w, const Limber__V1__JointInfo *in, int j, struct joint_info *out)
{
    char field[48];

    snprintf(field, sizeof field, "hello.joints[%d].name", j);
    if (!take_name(w, field, in->name, out->name))
        return false;
    snprintf(field, sizeof field, "hello.joints[%d].type", j);
    if (!take_enum(w, field, (int)in->type, JOINT_REVOLUTE, JOINT_PRISMATIC))
        return false;
    snprintf(field, sizeof field, "hello.joints[%d].timeout_action", j);
    if (!take_enum(w, field, (int)in->timeout_action, 0, TIMEOUT_OFF))
        return false;
    out->timeout_action  = (enum timeout_action)in->timeout_action;
    out->type            = (enum joint_type)in->type;
    out->actuated        = in->actuated;
    out->position_min    = in->position_min;
    out->position_max    = in->position_max;
    out->velocity_max    = in->velocity_max;
    out->effort_max      = in->effort_max;
    out->effort_rate_max = in->effort_rate_max;
    return true;
}

static bool take_hello(const struct why *w, const Limber__V1__Hello *in, struct hello *out)
{
    out->protocol = in->protocol;
    out->boot_id  = in->boot_id;
    /* Another version may mean anything by the other fields; all that can be said about it is that it differs. */
    if (in->protocol != LIMBER_PROTOCOL)
        return true;
    if (in->boot_id == 0)
        return bad(w, "hello.boot_id: 0, expected a random number");
    if (in->n_joints < 1 || in->n_joints > MAX_JOINTS)
        return bad(w, "hello.joints: %zu joints, expected 1 to %d", in->n_joints, MAX_JOINTS);
    if (in->n_extra > MAX_EXTRA)
        return bad(w, "hello.extra: %zu names, expected at most %d", in->n_extra, MAX_EXTRA);
    if (!take_name(w, "hello.robot", in->robot, out->robot))
        return false;
    for (int j = 0; j < (int)in->n_joints; j++)
        if (!take_joint(w, in->joints[j], j, &out->joint[j]))
            return false;
    for (int i = 0; i < (int)in->n_extra; i++)
        if (!take_name(w, "hello.extra", in->extra[i], out->extra[i]))
            return false;
    /* Unspecified (0) passes: the session refuses it by its own code, TIMEOUT_POLICY. */
    if (!take_enum(w, "hello.timeout_action", (int)in->timeout_action, 0, TIMEOUT_OFF))
        return false;
    out->nj                  = (int)in->n_joints;
    out->nextra              = (int)in->n_extra;
    out->command_timeout_ms  = in->command_timeout_ms;
    out->timeout_action      = (enum timeout_action)in->timeout_action;
    out->gravity_compensated = in->gravity_compensated;
    out->simulated           = in->simulated;
    out->lockstep            = in->lockstep;
    take_text(in->software, out->software, sizeof out->software);
    return true;
}

static bool take_imu(const struct why *w, const Limber__V1__Imu *in, struct joint_state *out)
{
    if (in->n_quat_wxyz != 4 || in->n_gyro != 3 || in->n_accel != 3)
        return bad(w, "state.imu: %zu, %zu and %zu values of quat_wxyz, gyro and accel, expected 4, 3 and 3",
                   in->n_quat_wxyz, in->n_gyro, in->n_accel);
    memcpy(out->quat_wxyz, in->quat_wxyz, sizeof out->quat_wxyz);
    memcpy(out->gyro, in->gyro, sizeof out->gyro);
    memcpy(out->accel, in->accel, sizeof out->accel);
    out->has_imu = true;
    return true;
}

static bool take_state(const struct why *w, const Limber__V1__JointState *in, struct joint_state *out)
{
    size_t nj = in->n_position;

    if (nj < 1 || nj > MAX_JOINTS)
        return bad(w, "state.position: %zu values, expected 1 to %d", nj, MAX_JOINTS);
    if (in->n_velocity != nj)
        return bad(w, "state.velocity: %zu values, expected %zu as in position", in->n_velocity, nj);
    if (in->n_extra > MAX_EXTRA)
        return bad(w, "state.extra: %zu values, expected at most %d", in->n_extra, MAX_EXTRA);
    out->nj = (int)nj;
    memcpy(out->position, in->position, nj * sizeof *in->position);
    memcpy(out->velocity, in->velocity, nj * sizeof *in->velocity);
    if (!take_array(w, "state.effort", in->n_effort, in->effort, out->nj, out->effort) ||
        !take_array(w, "state.applied_effort", in->n_applied_effort, in->applied_effort, out->nj, out->applied_effort))
        return false;
    if (in->imu && !take_imu(w, in->imu, out))
        return false;
    out->has_effort = in->n_effort > 0;
    out->nextra     = (int)in->n_extra;
    if (in->n_extra)
        memcpy(out->extra, in->extra, in->n_extra * sizeof(double));
    out->session             = in->session;
    out->seq                 = in->seq;
    out->sample_ns           = in->sample_ns;
    out->applied_command_seq = in->applied_command_seq;
    out->applied_held        = in->applied_held;
    out->faults              = in->faults;
    out->estop               = in->estop;
    out->late_commands       = in->late_commands;
    out->changed_commands    = in->changed_commands;
    out->damaged_commands    = in->damaged_commands;
    out->lost_commands       = in->lost_commands;
    out->ready_trial         = -1;
    return true;
}

static bool take_command(const struct why *w, const Limber__V1__JointCommand *in, struct joint_command *out)
{
    size_t nj = 0, counts[] = { in->n_torque, in->n_kp, in->n_kd, in->n_position, in->n_velocity };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        nj = counts[i] > nj ? counts[i] : nj;
    if (nj > MAX_JOINTS)
        return bad(w, "command: %zu joints, expected at most %d", nj, MAX_JOINTS);
    if (!take_enum(w, "command.mode", (int)in->mode, COMMAND_IDLE, COMMAND_DAMP))
        return false;
    out->nj        = (int)nj;
    out->session   = in->session;
    out->seq       = in->seq;
    out->state_seq = in->state_seq;
    out->valid_ms  = in->valid_ms;
    out->mode      = (enum command_mode)in->mode;
    return take_array(w, "command.torque", in->n_torque, in->torque, out->nj, out->torque) &&
           take_array(w, "command.kp", in->n_kp, in->kp, out->nj, out->kp) &&
           take_array(w, "command.kd", in->n_kd, in->kd, out->nj, out->kd) &&
           take_array(w, "command.position", in->n_position, in->position, out->nj, out->position) &&
           take_array(w, "command.velocity", in->n_velocity, in->velocity, out->nj, out->velocity);
}

static bool take_event(const struct why *w, const Limber__V1__TrialEvent *in, struct trial_event *out)
{
    if (!take_enum(w, "trial_event.kind", (int)in->kind, TRIAL_READY, TRIAL_ABORTED))
        return false;
    out->session    = in->session;
    out->trial      = in->trial;
    out->kind       = (enum trial_event_kind)in->kind;
    out->has_return = in->return_if_known_case == LIMBER__V1__TRIAL_EVENT__RETURN_IF_KNOWN_REPORTED_RETURN;
    if (out->has_return)
        out->reported_return = in->reported_return;
    take_text(in->reason, out->reason, sizeof out->reason);
    return true;
}

static bool take_welcome(const struct why *w, const Limber__V1__Welcome *in, struct welcome *out)
{
    for (size_t i = 0; i < in->n_modes; i++)
        if (!take_enum(w, "welcome.modes", (int)in->modes[i], COMMAND_IDLE, COMMAND_DAMP))
            return false;
    if (in->session == 0)
        return bad(w, "welcome.session: 0, expected another number");
    out->protocol   = in->protocol;
    out->session    = in->session;
    out->control_hz = in->control_hz;
    out->latch_ms   = in->latch_ms;
    out->simulated  = in->simulated;
    out->lockstep   = in->lockstep;
    return true;
}

static bool take_refusal(const struct why *w, const Limber__V1__Refusal *in, struct refusal *out)
{
    if (!take_enum(w, "refusal.code", (int)in->code, REFUSAL_PROTOCOL, REFUSAL_MALFORMED))
        return false;
    out->code            = (enum refusal_code)in->code;
    out->daemon_protocol = in->daemon_protocol;
    out->peer_protocol   = in->peer_protocol;
    take_text(in->sentence, out->sentence, sizeof out->sentence);
    return true;
}

static bool take_request(const struct why *w, const Limber__V1__TrialRequest *in, struct trial_request *out)
{
    if (!take_enum(w, "trial_request.kind", (int)in->kind, TRIAL_RESET, TRIAL_END))
        return false;
    out->session = in->session;
    out->trial   = in->trial;
    out->kind    = (enum trial_request_kind)in->kind;
    out->seed    = in->seed;
    return true;
}

/* Of a later protocol; protobuf-c keeps what it does not know. */
static enum codec_error unknown(const struct why *w, const Limber__V1__Envelope *e)
{
    unsigned kind = e->base.n_unknown_fields ? e->base.unknown_fields[0].tag : 0;

    bad(w, "message: body of kind %u, which protocol %d does not know", kind, LIMBER_PROTOCOL);
    return CODEC_UNKNOWN;
}

/* Sets kind and session. */
static enum codec_error take_body(const struct why *w, const Limber__V1__Envelope *e, struct message *m)
{
    bool good;

    switch (e->body_case) {
    case LIMBER__V1__ENVELOPE__BODY_HELLO:
        m->kind = MESSAGE_HELLO;
        good    = take_hello(w, e->hello, &m->hello);
        break;
    case LIMBER__V1__ENVELOPE__BODY_STATE:
        m->kind    = MESSAGE_STATE;
        m->session = e->state->session;
        good       = take_state(w, e->state, &m->state);
        break;
    case LIMBER__V1__ENVELOPE__BODY_TRIAL_EVENT:
        m->kind    = MESSAGE_TRIAL_EVENT;
        m->session = e->trial_event->session;
        good       = take_event(w, e->trial_event, &m->trial_event);
        break;
    case LIMBER__V1__ENVELOPE__BODY_WELCOME:
        m->kind = MESSAGE_WELCOME;
        good    = take_welcome(w, e->welcome, &m->welcome);
        break;
    case LIMBER__V1__ENVELOPE__BODY_REFUSAL:
        m->kind = MESSAGE_REFUSAL;
        good    = take_refusal(w, e->refusal, &m->refusal);
        break;
    case LIMBER__V1__ENVELOPE__BODY_COMMAND:
        m->kind    = MESSAGE_COMMAND;
        m->session = e->command->session;
        good       = take_command(w, e->command, &m->command);
        break;
    case LIMBER__V1__ENVELOPE__BODY_TRIAL_REQUEST:
        m->kind    = MESSAGE_TRIAL_REQUEST;
        m->session = e->trial_request->session;
        good       = take_request(w, e->trial_request, &m->trial_request);
        break;
    default: return unknown(w, e);
    }
    return good ? CODEC_OK : CODEC_SHAPE;
}

static Limber__V1__Envelope *envelope(const uint8_t *buf, size_t len, struct codec_scratch *scratch)
{
    ProtobufCAllocator allocator = { scratch_alloc, scratch_free, scratch };

    scratch->used = 0;
    scratch->full = false;
    return len ? limber__v1__envelope__unpack(&allocator, len, buf) : NULL;
}

/* A peer of protocol 1 has no CRC and does not know that there is one: what it says first is understood as far as it takes
 * to tell both ends why they cannot talk, and no further.  Nothing else passes for it: other kinds, or a Hello of a
 * protocol that has CRCs, are damage. */
static enum codec_error bare(enum codec_from from, const uint8_t *buf, size_t len, struct codec_scratch *scratch,
                             struct message *m, const struct why *w)
{
    const Limber__V1__Envelope *e = envelope(buf, len, scratch);

    if (!e)
        return CODEC_CRC;
    for (unsigned i = 0; i < e->base.n_unknown_fields; i++)
        if (e->base.unknown_fields[i].tag == CRC_TAG >> 3) /* it has one, which is wrong */
            return CODEC_CRC;
    if (from == FROM_ROBOT && e->body_case == LIMBER__V1__ENVELOPE__BODY_HELLO && e->hello->protocol < 2) {
        m->session = e->hello->protocol;
        bad(w, "hello.protocol: %u, expected %d, whose messages end in a CRC; use a robot side built for this limberd",
            e->hello->protocol, LIMBER_PROTOCOL);
        return CODEC_BARE;
    }
    if (from == FROM_LIMBER && e->body_case == LIMBER__V1__ENVELOPE__BODY_REFUSAL && e->refusal->daemon_protocol < 2) {
        char sentence[sizeof m->refusal.sentence];

        take_text(e->refusal->sentence, sentence, sizeof sentence);
        m->session = e->refusal->daemon_protocol;
        bad(w, "limberd speaks protocol %u, expected %d, whose messages end in a CRC; it says: %s",
            e->refusal->daemon_protocol, LIMBER_PROTOCOL, sentence);
        return CODEC_BARE;
    }
    return CODEC_CRC;
}

/* Whether the message is what `from` sent. */
static enum codec_error whole(enum codec_from from, const uint8_t *buf, size_t len, struct codec_scratch *scratch,
                              struct message *m, const struct why *w)
{
    enum codec_from other = from == FROM_ROBOT ? FROM_LIMBER : FROM_ROBOT;
    uint32_t        is    = 0;

    if (len >= CODEC_CRC_BYTES && buf[len - CODEC_CRC_BYTES] == CRC_TAG) {
        for (int i = 0; i < 4; i++)
            is |= (uint32_t)buf[len - 4 + (size_t)i] << 8 * i;
        if (is == checksum(from, buf, len - 4))
            return CODEC_OK;
        if (is == checksum(other, buf, len - 4)) {
            bad(w, "message: %zu bytes of this end, come back; expected the other's", len);
            return CODEC_ECHO;
        }
        bad(w, "message: %zu bytes with CRC %08x, expected %08x: damaged on the way, or made otherwise", len, is,
            checksum(from, buf, len - 4));
    } else {
        bad(w, "message: %zu bytes without a CRC at the end (docs/connecting.md): damaged on the way, or made otherwise", len);
    }
    return bare(from, buf, len, scratch, m, w);
}

static enum codec_error unpack(enum codec_from from, const uint8_t *buf, size_t len, struct codec_scratch *scratch,
                               struct message *m, const struct why *w)
{
    const Limber__V1__Envelope *e;
    enum codec_error            error;

    if (len > CODEC_MAX_BYTES) {
        bad(w, "message: %zu bytes, expected at most %d", len, CODEC_MAX_BYTES);
        return CODEC_OVERSIZED;
    }
    error = whole(from, buf, len, scratch, m, w);
    if (error != CODEC_OK)
        return error;
    e = envelope(buf, len - CODEC_CRC_BYTES, scratch);
    if (e)
        return take_body(w, e, m);
    if (scratch->full) {
        bad(w, "message: %zu bytes unfold into more than %d, expected a message of limber.v1", len, CODEC_SCRATCH);
        return CODEC_SHAPE;
    }
    bad(w, "message: %zu bytes that are no limber.v1.Envelope, or not all of one", len);
    return CODEC_GARBAGE;
}

enum codec_error codec_unpack(enum codec_from from, const uint8_t *buf, size_t len, struct codec_scratch *scratch,
                              struct message *m, char *why, size_t why_size)
{
    struct why       w = { why, why_size };
    enum codec_error error;

    memset(m, 0, sizeof *m);
    if (why && why_size)
        why[0] = 0;
    error = unpack(from, buf, len, scratch, m, &w);
    if (error != CODEC_OK) {
        m->kind    = MESSAGE_NONE;
        m->session = error == CODEC_BARE ? m->session : 0;
    }
    return error;
}
