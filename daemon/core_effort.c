/* core_effort.c - F7 and F9 of the fault model: efforts that are not what was commanded, and commands that cannot be meant.
 *
 * F7, joints with effort_error: the measured effort must be within that much of what was commanded.  A state says which
 * command was in force when its interval ended: the newest one, or the one before where it left earlier.  If that one held
 * throughout the effort must be its, else between its and that of the command before.  Ten such states in a row that say
 * something else are a stop.  What tells nothing counts neither way: no command in force (the robot side damps), and after
 * that as long as effort needs to grow from 0 at its rate, where the robot side begins again; an older command, or one
 * without torque; agreement with two commands that are further apart than effort_error.  No measurement at all, or one that is no number, is something else.
 *
 * F10: the robot side counts commands that its own limit of effort or its rate changed although it knew what was in force
 * (receiver.h).  The filter keeps the same limits, so one is a disagreement about them; it was seen in three of the last ten
 * states: a fault.
 *
 * F9, for every joint, by what is sent after the filter:
 *
 *     limit_dwell   within 1 % of its limit (what its heat leaves of it), on the same side, for longer than gates.limit_dwell
 *     oscillation   from beyond half its limit on one side to beyond half on the other more often than gates.oscillation a
 *                   second: first-order mean over about one; not in EXPLORE, whose efforts are meant to be random
 *     energy        all joints together drove the robot on by more than gates.energy J in about a second: first-order sum of
 *                   what effort in force x velocity is above 0; what braking takes out is not given back
 *
 * Time that no tick saw counts: the robot side kept the last effort.  The effort that would exceed a gate is not sent. */
#include "daemon/core_effort.h"

#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"
#include "proto/last_ten.h"

enum { TRACK_TICKS = 10, GROWTH_TICKS_MAX = 1000000 };

static const double AT_LIMIT = 0.99, BEYOND = 0.5; /* shares of the limit */

/* ---- F9 ---- */

/* On which side x is at least `bound` from zero; 0: on neither. */
static int side_of(double x, double bound)
{
    return x >= bound ? 1 : x <= -bound ? -1 : 0;
}

static double dwell(struct effort_watch *w, int j, int end, double gap_s)
{
    double stood_s = w->end[j] ? w->stood_s[j] + gap_s : 0;

    w->stood_s[j] = end == w->end[j] ? stood_s : 0;
    w->end[j]     = end;
    return stood_s;
}

/* What is left after gap_s of something that fades within about a second. */
static double fade(double gap_s)
{
    return gap_s < 1 ? 1 - gap_s : 0;
}

static double reversals(struct effort_watch *w, int j, int side, double gap_s, bool count)
{
    bool reversed = side * w->side[j] < 0;

    w->reversals[j] = count ? w->reversals[j] * fade(gap_s) + reversed : 0;
    w->side[j]      = side ? side : w->side[j];
    return w->reversals[j];
}

/* Bounds the kinetic and potential energy that can be built up, where the filter's `power` bounds how fast. */
static double work(struct effort_watch *w, int j, double power, double gap_s)
{
    w->work[j] = w->work[j] * fade(gap_s) + (power > 0 ? power * gap_s : 0);
    return w->work[j];
}

struct effort_worst effort_watch(struct effort_watch *w, const struct filter_limits *lim,
                                 const struct filter_window *window, const struct effort_tick *now, double gap_s,
                                 bool count)
{
    struct effort_worst worst = { 0 };
    double              most  = 0;

    for (int j = 0; j < lim->nj; j++) {
        if (!lim->actuated[j])
            continue;
        double limit   = filter_most(lim, window, j);
        double stood_s = dwell(w, j, side_of(now->effort[j], AT_LIMIT * limit), gap_s);
        double often   = reversals(w, j, side_of(now->effort[j], BEYOND * limit), gap_s, count);
        double done    = work(w, j, now->in_force[j] * now->velocity[j], gap_s);

        worst.work += done;

        if (stood_s > worst.dwell_s) {
            worst.dwell_s     = stood_s;
            worst.dwell_joint = j;
        }
        if (often > worst.reversals) {
            worst.reversals       = often;
            worst.reversals_joint = j;
        }
        if (done > most) {
            most             = done;
            worst.work_joint = j;
        }
    }
    return worst;
}

/* Fault bit where the gate does not hold. */
static uint32_t judge(struct core *c, enum gate g, uint32_t bit, int joint, char what, double value)
{
    struct core_gate *gate = &c->gate[g];

    gate->ok    = value <= gate->threshold;
    gate->value = value;
    if (gate->ok || gate->off || !mode_armed(c->mode))
        return 0;
    c->blame = (struct core_blame){ .joint = joint, .what = what, .value = value, .limit = gate->threshold };
    return bit;
}

uint32_t core_effort_sending(struct core *c, const double *effort, double gap_s)
{
    struct effort_tick  now = { .in_force = c->sent, .effort = effort, .velocity = c->state.velocity };
    struct effort_worst w   = effort_watch(&c->watch, &c->limits, &c->window, &now, gap_s, c->mode != MODE_EXPLORE);

    /* What is judged last is the stop's name, and blamed. */
    uint32_t fault = judge(c, GATE_ENERGY, FAULT_ENERGY, w.work_joint, 'w', w.work);

    fault |= judge(c, GATE_OSCILLATION, FAULT_OSCILLATION, w.reversals_joint, 'o', w.reversals);
    return fault | judge(c, GATE_LIMIT_DWELL, FAULT_LIMIT_DWELL, w.dwell_joint, 'd', w.dwell_s);
}

/* ---- F7, F10 ---- */

void core_effort_sent(struct core *c, bool torque)
{
    if (!torque) { /* nothing is in force */
        memset(&c->watch, 0, sizeof c->watch);
        memset(&c->track, 0, sizeof c->track);
        return;
    }
    memmove(c->track.commanded[1], c->track.commanded[0], sizeof c->track.commanded - sizeof c->track.commanded[0]);
    memcpy(c->track.commanded[0], c->sent, sizeof c->track.commanded[0]);
    c->track.n = c->track.n < TRACK_KEPT ? c->track.n + 1 : TRACK_KEPT;
}

/* Ticks in which every joint that is compared gets from 0 to its limit. */
static int growth_ticks(const struct core *c)
{
    double most = 0;

    for (int j = 0; j < c->config->nj; j++) {
        double ticks = c->config->joint[j].effort_error > 0 ? c->limits.effort[j] / c->limits.up[j] : 0;

        most = ticks > most ? ticks : most;
    }
    return most < GROWTH_TICKS_MAX ? (int)most + 1 : GROWTH_TICKS_MAX;
}

/* States in a row in which joint j's effort was not one of commanded[from .. to], or between. */
static int differs(struct core *c, int j, uint64_t from, uint64_t to)
{
    double a = c->track.commanded[from][j], b = c->track.commanded[to][j], error = c->config->joint[j].effort_error;
    double least = a < b ? a : b, most = a < b ? b : a, is = c->state.has_effort ? c->state.effort[j] : (double)NAN;

    if (is >= least - error && is <= most + error) {
        c->track.differ[j] = most - least > error ? c->track.differ[j] : 0;
        return 0;
    }
    if (++c->track.differ[j] >= TRACK_TICKS)
        c->blame = (struct core_blame){ .joint = j, .what = 't', .value = is, .limit = is < least ? least : most };
    return c->track.differ[j];
}

/* F10, of a state that took the place of `before`. */
static uint32_t changed(struct core *c, const struct joint_state *before)
{
    bool more = before->session == c->state.session && c->state.changed_commands > before->changed_commands;

    c->track.changed = last_ten(c->track.changed, more);
    return last_ten_degraded(c->track.changed) ? FAULT_ROBOT_CLAMPED : 0;
}

/* F7. */
static uint32_t tracked(struct core *c)
{
    uint64_t seq = c->state.applied_command_seq, from = c->command_seq - seq, to = from + !c->state.applied_held;
    int      most = 0;

    if (!seq)
        c->track.growing = growth_ticks(c);
    else if (c->track.growing > 0)
        c->track.growing--;
    if (!seq || c->track.growing || from > 1 || to >= (uint64_t)c->track.n)
        return 0;
    c->count_judged++;
    for (int j = 0; j < c->config->nj; j++) {
        int n = c->config->joint[j].effort_error > 0 ? differs(c, j, from, to) : 0;

        most = n > most ? n : most;
    }
    return most >= TRACK_TICKS ? FAULT_TRACK_ERROR : 0;
}

uint32_t core_effort_measured(struct core *c, const struct joint_state *before)
{
    return tracked(c) | changed(c, before);
}
