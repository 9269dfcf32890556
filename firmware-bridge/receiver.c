/* receiver.c - see receiver.h.  Comparisons are written so that NaN fails closed. */
#include "firmware-bridge/receiver.h"

#include <math.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "proto/last_ten.h"

enum event { EVENT_IDLE, EVENT_TORQUE, EVENT_DAMP, EVENT_EXPIRED, EVENT_SILENT, EVENT_ESTOP, EVENT_COUNT };

/* clang-format off */
static const enum receiver_mode next_mode[RECEIVER_MODES][EVENT_COUNT] = {
    /*                   IDLE            TORQUE          DAMP            EXPIRED         SILENT          ESTOP          */
    [RECEIVER_OFF]   = { RECEIVER_OFF,   RECEIVER_LIVE,  RECEIVER_DAMP,  RECEIVER_OFF,   RECEIVER_OFF,   RECEIVER_LATCH },
    [RECEIVER_LIVE]  = { RECEIVER_OFF,   RECEIVER_LIVE,  RECEIVER_DAMP,  RECEIVER_DAMP,  RECEIVER_LATCH, RECEIVER_LATCH },
    [RECEIVER_DAMP]  = { RECEIVER_OFF,   RECEIVER_LIVE,  RECEIVER_DAMP,  RECEIVER_DAMP,  RECEIVER_LATCH, RECEIVER_LATCH },
    [RECEIVER_LATCH] = { RECEIVER_OFF,   RECEIVER_LATCH, RECEIVER_LATCH, RECEIVER_LATCH, RECEIVER_LATCH, RECEIVER_LATCH },
};
/* clang-format on */

enum { SEQ_JUMP_MAX = 1 << 30, JUMP = 3 }; /* safety.md 3.6 */

static const double LATCH_TIMEOUTS = 5, LATCH_MS_MIN = 100; /* safety.md: damping at 20 ms, latched at 100 ms */

static const double HAIR = 1.001; /* of rates: two clocks, and rounding */

static uint64_t ns_of_ms(double ms)
{
    return (uint64_t)(ms * 1e6);
}

const char *receiver_count_name(enum receiver_count c)
{
    static const char *const name[RECEIVER_COUNTS] = { "accepted",   "session",  "repeated", "seq",    "shape",
                                                       "nonfinite",  "validity", "stale",    "degraded", "damaged",
                                                       "lost",       "jumped",   "held_back", "unactuated", "clamped",
                                                       "cut_back",   "slowed",   "changed" };

    return name[c];
}

void receiver_unlimited(struct receiver_limits *l)
{
    for (int j = 0; j < MAX_JOINTS; j++)
        l->effort_rate[j] = l->velocity_max[j] = (double)INFINITY;
}

void receiver_init(struct receiver *r, const struct receiver_limits *limits)
{
    double ms = limits->command_timeout_ms;

    CHECK(limits->nj >= 1 && limits->nj <= MAX_JOINTS && isfinite(ms) && ms > 0 && ms < 1e6);
    for (int j = 0; j < limits->nj; j++) {
        CHECK(isfinite(limits->effort_max[j]) && limits->effort_max[j] >= 0);
        CHECK(isfinite(limits->damp_kd[j]) && limits->damp_kd[j] >= 0);
        CHECK(limits->effort_rate[j] > 0);
        CHECK(limits->velocity_max[j] > 0);
    }
    memset(r, 0, sizeof *r);
    r->limits = *limits;
}

static void happen(struct receiver *r, enum event e)
{
    enum receiver_mode was = r->mode;

    r->mode = next_mode[was][e];
    r->behind = r->behind || (was == RECEIVER_LIVE && e == EVENT_EXPIRED);
    if (e == EVENT_ESTOP)
        r->estop_latch = true;
    if (r->mode != RECEIVER_LATCH)
        r->estop_latch = false;
    if (was == RECEIVER_LATCH && (e == EVENT_TORQUE || e == EVENT_DAMP))
        r->count[RECEIVER_HELD_BACK]++;
    if (r->estop && r->mode != RECEIVER_LATCH) /* nothing leaves the latch while it is pressed */
        r->mode = RECEIVER_LATCH, r->estop_latch = true;
    if (r->mode == RECEIVER_LATCH && was != RECEIVER_LATCH)
        r->latch_state = r->newest_state;
    if (r->mode != RECEIVER_LIVE)
        memset(r->live, 0, sizeof r->live);
}

void receiver_session(struct receiver *r, uint64_t session)
{
    r->session        = session;
    r->seq            = 0;
    r->valid_until_ns = 0;
    memset(&r->command, 0, sizeof r->command);
    memset(r->state_seq, 0, sizeof r->state_seq);
    r->newest_state = r->latch_state = 0;
    r->came = r->changed = 0;
    r->damaged           = 0;
    r->behind            = false;
    happen(r, EVENT_IDLE);
}

void receiver_state_sent(struct receiver *r, uint64_t state_seq, uint64_t now_ns)
{
    r->state_seq[state_seq % RECEIVER_STATES] = state_seq;
    r->state_ns[state_seq % RECEIVER_STATES]  = now_ns;
    r->newest_state                           = state_seq;
}

void receiver_estop(struct receiver *r, bool pressed)
{
    if (pressed && !r->estop)
        r->latch_state = r->newest_state;
    r->estop = pressed;
    if (pressed)
        happen(r, EVENT_ESTOP);
}

void receiver_forget_command(struct receiver *r)
{
    if (r->mode == RECEIVER_LIVE || r->mode == RECEIVER_DAMP)
        happen(r, EVENT_IDLE);
    r->behind = true;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static bool finite_numbers(const struct joint_command *c)
{
    for (int j = 0; j < c->nj; j++) {
        if (!(isfinite(c->torque[j]) && isfinite(c->position[j]) && isfinite(c->velocity[j])))
            return false;
        if (!(isfinite(c->kp[j]) && isfinite(c->kd[j]) && c->kp[j] >= 0 && c->kd[j] >= 0))
            return false;
    }
    return true;
}

static bool answers_a_fresh_state(const struct receiver *r, uint64_t state_seq, uint64_t now_ns)
{
    uint64_t i = state_seq % RECEIVER_STATES;

    return state_seq != 0 && r->state_seq[i] == state_seq &&
           now_ns - r->state_ns[i] < ns_of_ms(r->limits.command_timeout_ms);
}

/* An IDLE that was under way when the latch began does not end it: its sender may have armed since, and not know. */
static bool knows_of_latch(const struct receiver *r, uint64_t state_seq, uint64_t now_ns)
{
    return state_seq > r->latch_state && answers_a_fresh_state(r, state_seq, now_ns);
}

/* Counts what is missing before it, whatever becomes of it. */
static void number_came(struct receiver *r, uint64_t seq)
{
    if (seq <= r->came)
        return;
    r->count[RECEIVER_LOST] += seq - r->came - 1;
    r->count[RECEIVER_JUMPED] += seq - r->came > JUMP;
    r->came = seq;
}

static enum receiver_count judge(const struct receiver *r, const struct joint_command *c, uint64_t now_ns)
{
    if (r->session == 0 || c->session != r->session)
        return RECEIVER_SESSION;
    if (c->seq == r->seq)
        return RECEIVER_REPEATED;
    if (c->seq <= r->seq || c->seq - r->seq > SEQ_JUMP_MAX)
        return RECEIVER_SEQ;
    if (c->nj != r->limits.nj && c->nj != 0)
        return RECEIVER_SHAPE;
    if (c->mode != COMMAND_IDLE && c->mode != COMMAND_TORQUE && c->mode != COMMAND_DAMP)
        return RECEIVER_SHAPE;
    if (!finite_numbers(c))
        return RECEIVER_NONFINITE;
    if (!(isfinite(c->valid_ms) && c->valid_ms > 0))
        return RECEIVER_VALIDITY;
    if (c->mode == COMMAND_TORQUE && !answers_a_fresh_state(r, c->state_seq, now_ns))
        return RECEIVER_STALE;
    if (c->mode == COMMAND_TORQUE && last_ten_degraded(r->damaged))
        return RECEIVER_DEGRADED;
    return RECEIVER_ACCEPTED;
}

/* Time alone: DAMP when the command in force has run out, LATCH after a longer silence. */
static void pass_time(struct receiver *r, uint64_t now_ns)
{
    double latch_ms = LATCH_TIMEOUTS * r->limits.command_timeout_ms;

    if (now_ns >= r->valid_until_ns && r->mode == RECEIVER_LIVE)
        happen(r, EVENT_EXPIRED);
    if (now_ns > r->heard_ns && now_ns - r->heard_ns >= ns_of_ms(latch_ms > LATCH_MS_MIN ? latch_ms : LATCH_MS_MIN))
        happen(r, EVENT_SILENT);
}

bool receiver_command(struct receiver *r, const struct joint_command *c, uint64_t now_ns)
{
    static const enum event event_of[] = {
        [COMMAND_IDLE] = EVENT_IDLE, [COMMAND_TORQUE] = EVENT_TORQUE, [COMMAND_DAMP] = EVENT_DAMP
    };
    enum receiver_count verdict;
    double              valid_ms;

    pass_time(r, now_ns); /* a command that comes after the latch must find it */
    r->damaged = last_ten(r->damaged, false);
    verdict = judge(r, c, now_ns);
    r->count[verdict]++;
    if (verdict != RECEIVER_SESSION && verdict != RECEIVER_SEQ && verdict != RECEIVER_REPEATED)
        number_came(r, c->seq);
    if (verdict != RECEIVER_ACCEPTED)
        return false;
    valid_ms          = c->valid_ms < r->limits.command_timeout_ms ? c->valid_ms : r->limits.command_timeout_ms;
    r->behind         = (r->behind && c->mode == COMMAND_TORQUE) || c->seq - r->seq > 1;
    r->seq            = c->seq;
    r->heard_ns       = now_ns;
    r->valid_until_ns = now_ns + ns_of_ms(valid_ms);
    r->command        = *c;
    if (c->mode == COMMAND_IDLE && r->mode == RECEIVER_LATCH && !knows_of_latch(r, c->state_seq, now_ns))
        r->count[RECEIVER_HELD_BACK]++;
    else
        happen(r, event_of[c->mode]);
    return true;
}

void receiver_damaged(struct receiver *r, uint64_t now_ns)
{
    pass_time(r, now_ns);
    r->damaged = last_ten(r->damaged, true);
    r->count[RECEIVER_DAMAGED]++;
    if (last_ten_degraded(r->damaged) && r->mode == RECEIVER_LIVE)
        happen(r, EVENT_EXPIRED);
}

/* ---- effort ---------------------------------------------------------------------------------------------------- */

/* Wanted effort of joint j, perhaps not finite. */
static double wanted(const struct receiver *r, int j, double q, double dq)
{
    const struct joint_command *c = &r->command;

    if (r->mode == RECEIVER_LIVE && c->nj != 0) {
        double tau = c->torque[j];

        /* A gain of 0 says that this measurement is not used: then it may be bad, too. */
        if (c->kp[j] != 0)
            tau += c->kp[j] * (c->position[j] - q);
        if (c->kd[j] != 0)
            tau += c->kd[j] * (c->velocity[j] - dq);
        return tau;
    }
    if (r->mode == RECEIVER_DAMP || (r->mode == RECEIVER_LATCH && !r->estop_latch))
        return -r->limits.damp_kd[j] * dq;
    return 0;
}

/* A joint at its velocity limit is not driven on. */
static double cut_back(const struct receiver *r, int j, double tau, double dq)
{
    double most = r->limits.velocity_max[j];

    if (most >= (double)INFINITY || fabs(dq) < most)
        return tau;
    return isfinite(dq) && signbit(tau) != signbit(dq) ? tau : 0;
}

/* Effort that joint j may grow by in so many ms. */
static double gain(const struct receiver *r, int j, double ms)
{
    return HAIR * 1e-3 * r->limits.effort_rate[j] * ms;
}

/* Growth is forgotten at the rate.  An infinite one: all of it, also where that gives no number. */
static void forget_growth(struct receiver *r, uint64_t now_ns)
{
    double ms = now_ns > r->grown_ns ? 1e-6 * (double)(now_ns - r->grown_ns) : 0;

    for (int j = 0; j < r->limits.nj; j++) {
        double left = r->grown[j] - gain(r, j, ms);

        r->grown[j] = left > 0 ? left : 0;
    }
    r->grown_ns = now_ns;
}

/* As near to tau as it may grow to. */
static double slowed(struct receiver *r, int j, double tau)
{
    double from = signbit(tau) == signbit(r->live[j]) ? fabs(r->live[j]) : 0;
    double left = gain(r, j, r->limits.command_timeout_ms) - r->grown[j], most = left > 0 ? from + left : from;
    double size = fabs(tau) <= most ? fabs(tau) : most;

    if (size > from)
        r->grown[j] += size - from;
    return copysign(size, tau);
}

/* Whether the command in force says something that its sender should know cannot be. */
static void changed(struct receiver *r, bool beyond, bool slow, bool cut)
{
    bool new = (beyond || (slow && !r->behind)) && r->changed != r->seq;

    if (r->mode != RECEIVER_LIVE)
        return;
    r->count[RECEIVER_CHANGED] += new;
    r->changed = new ? r->seq : r->changed;
    r->behind  = cut || (r->behind && slow); /* a joint that was cut back begins again at 0 */
}

void receiver_effort(struct receiver *r, const double *q, const double *dq, uint64_t now_ns, double *tau)
{
    bool clipped = false, unactuated = false, cut = false, slow = false, beyond = false;

    pass_time(r, now_ns);
    forget_growth(r, now_ns);
    for (int j = 0; j < r->limits.nj; j++) {
        double want = wanted(r, j, q[j], dq[j]), most = r->limits.effort_max[j];

        tau[j] = 0;
        if (!isfinite(want)) { /* from a bad measurement: no torque rather than full torque */
            clipped = true;
        } else if (!r->limits.actuated[j]) {
            unactuated |= want != 0 && r->mode == RECEIVER_LIVE;
        } else {
            tau[j] = want < -most ? -most : want > most ? most : want;
            clipped |= tau[j] != want;
        }
        if (r->mode == RECEIVER_LIVE) {
            double kept = cut_back(r, j, tau[j], dq[j]);

            beyond |= fabs(want) > most && r->limits.actuated[j];

            r->live[j] = slowed(r, j, kept);
            cut |= kept != tau[j];
            slow |= r->live[j] != kept;
            tau[j] = r->live[j];
        }
    }
    r->count[RECEIVER_CLAMPED] += clipped;
    r->count[RECEIVER_UNACTUATED] += unactuated;
    r->count[RECEIVER_CUT_BACK] += cut;
    r->count[RECEIVER_SLOWED] += slow;
    changed(r, beyond, slow, cut);
}
