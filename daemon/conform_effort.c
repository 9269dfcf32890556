/* conform_effort.c - the receiver contract's claims on what is applied to the joints (docs/conform.md). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "daemon/conform_clauses.h"

const char *conform_efforts(const struct conform *c)
{
    static _Thread_local char text[120];
    size_t                    used = 0;

    text[0] = 0;
    for (int j = 0; j < c->hello.nj && used < sizeof text; j++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %.4g", j ? ", " : "", c->hello.joint[j].name,
                                 c->state.applied_effort[j]);
    return text;
}

enum timeout_action conform_action(const struct conform *c, int j)
{
    return c->hello.joint[j].timeout_action ? c->hello.joint[j].timeout_action : c->hello.timeout_action;
}

bool conform_any(const struct conform *c, enum timeout_action action)
{
    for (int j = 0; j < c->hello.nj; j++)
        if (c->hello.joint[j].actuated && conform_action(c, j) == action)
            return true;
    return false;
}

bool conform_damps(struct conform *c, bool *against)
{
    for (int j = 0; j < c->hello.nj; j++) {
        if (conform_action(c, j) == TIMEOUT_HOLD || conform_action(c, j) == TIMEOUT_BRAKE)
            continue;
        double e = c->state.applied_effort[j], v = c->state.velocity[j], was = c->before.velocity[j];

        if (!(e * v <= 1e-9 || e * was <= 1e-9))
            return false;
        *against = *against || (conform_action(c, j) == TIMEOUT_DAMP && e != 0 && e * was < 0);
    }
    return true;
}

enum conform_verdict conform_torque_is_applied(struct conform *c, int which)
{
    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    bool up = conform_applied(c, 1);

    if (!up)
        return SAW(CONFORM_FAIL, "effort %s, wanted %g of each limit", conform_efforts(c), c->o.share);
    if (!conform_drive(c, 4, COMMAND_TORQUE, -1))
        return CONFORM_FAIL;
    return JUDGE(conform_applied(c, -1), "effort %s, then wanted -%g of each limit", conform_efforts(c), c->o.share);
}

enum conform_verdict conform_applied_seq_is_true(struct conform *c, int which)
{
    uint64_t before = 0, first;

    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 2, COMMAND_TORQUE, 1))
        return CONFORM_FAIL;
    first = c->seq;
    for (int i = 0; i < 10; i++) {
        uint64_t sent = c->seq;

        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        uint64_t said = c->state.applied_command_seq;

        /* Two states may have been on their way when the command was sent. */
        if (said > sent || said < before || said + 3 < first + (uint64_t)i)
            return SAW(CONFORM_FAIL, "applied_command_seq %" PRIu64 " after %" PRIu64 ", when %" PRIu64 " was sent",
                       said, before, sent);
        before                   = said;
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, i % 2 ? 1 : -1);
        conform_say(c, &cmd);
    }
    if (!conform_drive(c, 3, COMMAND_IDLE, 0))
        return CONFORM_FAIL;
    return JUDGE(c->state.applied_command_seq == 0, "followed the commands, and said %" PRIu64 " when none was applied",
                 c->state.applied_command_seq);
}

/* which 0: kp alone, 1: kd alone.  The target is so far off that the effort is about the test effort. */
enum conform_verdict conform_law(struct conform *c, int which)
{
    if (!conform_settle(c))
        return CONFORM_FAIL;
    for (int i = 0; i < 4; i++) {
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 0);

        for (int j = 0; j < c->hello.nj; j++) {
            cmd.kp[j]       = which ? 0 : conform_effort(c, j) / 10;
            cmd.kd[j]       = which ? conform_effort(c, j) / 10 : 0;
            cmd.position[j] = c->state.position[j] + 10;
            cmd.velocity[j] = c->state.velocity[j] + 10;
        }
        conform_say(c, &cmd);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
    }
    for (int j = 0; j < c->hello.nj; j++) {
        double share = conform_effort(c, j) > 0 ? c->state.applied_effort[j] / conform_effort(c, j) : 1;

        if (!(share > 0.4 && share < 1.6))
            return SAW(CONFORM_FAIL, "effort %s; %s should be about %.4g", conform_efforts(c), c->hello.joint[j].name,
                       conform_effort(c, j));
    }
    return SAW(CONFORM_PASS, "effort %s", conform_efforts(c));
}

enum conform_verdict conform_unactuated_stay_free(struct conform *c, int which)
{
    int free_joints = 0;

    (void)which;
    if (!conform_settle(c))
        return CONFORM_FAIL;
    for (int i = 0; i < 4; i++) {
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 0);

        free_joints = 0;
        for (int j = 0; j < c->hello.nj; j++) {
            cmd.torque[j] = c->hello.joint[j].actuated ? 0 : 1;
            free_joints += !c->hello.joint[j].actuated;
        }
        if (!free_joints)
            return SAW(CONFORM_SKIP, "every joint is actuated");
        conform_say(c, &cmd);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
    }
    return JUDGE(conform_no_effort(c), "effort %s", conform_efforts(c));
}

static const double LIMIT_S = 5; /* longer than that nobody waits for effort to grow */

/* States in which effort that grows as fast as it may is well beyond every limit, if nothing stops it there. */
static int states_to_limit(const struct conform *c)
{
    double most_s = 0;

    for (int j = 0; j < c->hello.nj; j++) {
        const struct joint_info *joint = &c->hello.joint[j];
        double                   s = joint->effort_rate_max > 0 ? 1.2 * joint->effort_max / joint->effort_rate_max : 0;

        most_s = s > most_s ? s : most_s;
    }
    return 3 + (int)ceil(fmin(most_s, LIMIT_S) * 1e3 / conform_period_ms(c));
}

enum conform_verdict conform_limits_are_kept(struct conform *c, int which)
{
    (void)which;
    if (!c->hello.simulated)
        return SAW(CONFORM_SKIP, "would ask real hardware for its full effort");
    if (!conform_settle(c))
        return CONFORM_FAIL;
    double most = 0;

    for (int i = 0, n = states_to_limit(c); i < n; i++) {
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 0);

        for (int j = 0; j < c->hello.nj; j++)
            cmd.torque[j] = 10 * c->hello.joint[j].effort_max;
        conform_say(c, &cmd);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        for (int j = 0; j < c->hello.nj; j++) {
            double share =
                c->hello.joint[j].effort_max > 0 ? fabs(c->state.applied_effort[j]) / c->hello.joint[j].effort_max : 0;

            most = share > most || !isfinite(share) ? share : most;
        }
    }
    struct joint_command idle = conform_command(c, COMMAND_IDLE, 0);
    conform_say(c, &idle);
    if (most < 0.9)
        return SAW(CONFORM_SKIP, "asked for ten times the limit, its effort came to %.3g of it only", most);
    return JUDGE(most <= 1 + 1e-9, "asked for ten times the limit, applied at most %.3g of it", most);
}

enum { FLIP = 2 }; /* states for which an effort is wanted before its opposite: one of them has it throughout */

/* States in which a robot side that knows no rate shows itself. */
static int rate_states(const struct conform *c)
{
    return 10 + (int)(4 * c->hello.command_timeout_ms / conform_period_ms(c));
}

/* What joint j is to be asked for, one way and the other, so that in ms its effort would grow by far more than its rate lets
 * it: the test effort where that is enough, or all of a simulated robot's.  0: even that is not. */
static double rate_effort(const struct conform *c, int j, double ms)
{
    double allowed = c->hello.joint[j].effort_rate_max * 1e-3 * (ms + c->hello.command_timeout_ms);
    double enough  = 2.5 * allowed * FLIP / rate_states(c);

    if (!c->hello.joint[j].actuated || !(allowed > 0))
        return 0;
    if (conform_effort(c, j) >= enough)
        return conform_effort(c, j);
    return c->hello.simulated && c->hello.joint[j].effort_max >= enough ? c->hello.joint[j].effort_max : 0;
}

/* How far an effort moved away from zero. */
static double growth(double from, double to)
{
    double before = from * to > 0 ? fabs(from) : 0;

    return fabs(to) > before ? fabs(to) - before : 0;
}

enum conform_verdict conform_rate_is_kept(struct conform *c, int which)
{
    int      n  = rate_states(c);
    double   ms = n * conform_period_ms(c), ask[MAX_JOINTS] = { 0 }, grown[MAX_JOINTS] = { 0 }, worst = 0;
    bool     told = false, tried = false;
    uint64_t from;

    (void)which;
    for (int j = 0; j < c->hello.nj; j++) {
        ask[j] = rate_effort(c, j, ms);
        told   = told || c->hello.joint[j].effort_rate_max > 0;
        tried  = tried || ask[j] > 0;
    }
    if (!tried)
        return SAW(CONFORM_SKIP, "%s",
                   told ? "its rate lets the test effort through; --effort asks for more"
                        : "Hello tells no effort_rate_max");
    if (!conform_settle(c))
        return CONFORM_FAIL;
    from = c->state.sample_ns;
    for (int i = 0; i < n; i++) {
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 0);
        struct joint_state   was = c->state;

        for (int j = 0; j < c->hello.nj; j++)
            cmd.torque[j] = i / FLIP % 2 ? -ask[j] : ask[j];
        conform_say(c, &cmd);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        for (int j = 0; j < c->hello.nj; j++)
            grown[j] += growth(was.applied_effort[j], c->state.applied_effort[j]);
    }
    ms = (double)(c->state.sample_ns - from) * 1e-6 + conform_period_ms(c);
    for (int j = 0; j < c->hello.nj; j++) {
        double share = grown[j] / (c->hello.joint[j].effort_rate_max * 1e-3 * (ms + c->hello.command_timeout_ms));

        worst = ask[j] > 0 && share > worst ? share : worst;
    }
    return JUDGE(worst <= 1.25, "in %.4g ms effort grew by %.3g of what its rate allows", ms, worst);
}

static bool at_speed(const struct conform *c, int j, double share)
{
    double v = c->state.velocity[j], was = c->before.velocity[j], least = share * c->hello.joint[j].velocity_max;

    return v * was > 0 && fabs(v) >= least && fabs(was) >= least;
}

/* A joint that is fast enough must not be driven on; at the limit itself it may be now and then, where friction slows it. */
enum conform_verdict conform_velocity_is_kept(struct conform *c, int which)
{
    bool told = false, fast = false;

    (void)which;
    for (int j = 0; j < c->hello.nj; j++)
        told = told || (c->hello.joint[j].actuated && isfinite(c->hello.joint[j].velocity_max));
    if (!told || !c->hello.simulated)
        return SAW(CONFORM_SKIP, "%s",
                   told ? "would bring real hardware to its highest speed" : "Hello tells no velocity_max");
    if (!conform_settle(c))
        return CONFORM_FAIL;
    for (int i = 0; i < 2 * c->o.hz; i++) {
        struct joint_command cmd = conform_command(c, COMMAND_TORQUE, 0);

        for (int j = 0; j < c->hello.nj; j++)
            if (c->hello.joint[j].actuated && isfinite(c->hello.joint[j].velocity_max))
                cmd.torque[j] = copysign(c->hello.joint[j].effort_max, c->state.velocity[j]);
        conform_say(c, &cmd);
        if (!conform_next(c, 2000))
            return SAW(CONFORM_FAIL, "no state for 2 s");
        for (int j = 0; j < c->hello.nj; j++) {
            double e = c->state.applied_effort[j];

            fast = fast || (cmd.torque[j] != 0 && at_speed(c, j, 0.95));
            if (at_speed(c, j, 1.05) && e * c->state.velocity[j] > 0 && fabs(e) > 0.01 * conform_effort(c, j))
                return SAW(CONFORM_FAIL, "joint %s at %.4g is driven on by %.4g, its velocity_max is %g",
                           c->hello.joint[j].name, c->state.velocity[j], e, c->hello.joint[j].velocity_max);
        }
    }
    return SAW(fast ? CONFORM_PASS : CONFORM_SKIP, fast ? "no joint was driven on" : "no joint got that fast in 2 s");
}

enum conform_verdict conform_idle_is_no_torque(struct conform *c, int which)
{
    (void)which;
    if (!conform_settle(c) || !conform_drive(c, 4, COMMAND_TORQUE, 1) || !conform_drive(c, 4, COMMAND_IDLE, 0))
        return CONFORM_FAIL;
    return JUDGE(conform_no_effort(c), "effort %s", conform_efforts(c));
}

enum conform_verdict conform_damp_brakes(struct conform *c, int which)
{
    bool against = false;

    (void)which;
    if (!conform_any(c, TIMEOUT_DAMP) && !conform_any(c, TIMEOUT_OFF))
        return SAW(CONFORM_SKIP, "timeout action is hold or brake");
    if (!conform_settle(c) || !conform_drive(c, 6, COMMAND_TORQUE, 1) || !conform_drive(c, 3, COMMAND_DAMP, 0))
        return CONFORM_FAIL;
    for (int i = 0; i < 4; i++) {
        if (!conform_damps(c, &against))
            return SAW(CONFORM_FAIL, "effort %s drives the motion", conform_efforts(c));
        if (!conform_drive(c, 1, COMMAND_DAMP, 0))
            return CONFORM_FAIL;
    }
    return JUDGE(against || !conform_any(c, TIMEOUT_DAMP), "effort %s", conform_efforts(c));
}
