/* core_blame.c - of a state that was rejected: which joint, which number, and what it may be at most.  Judges nothing. */
#include <math.h>

#include "daemon/core_parts.h"

static void blame(struct core *c, int joint, char what, double value, double limit)
{
    c->blame = (struct core_blame){ .joint = joint, .what = what, .value = value, .limit = limit };
}

static bool blame_nonfinite(struct core *c, const struct joint_state *s)
{
    for (int j = 0; j < c->config->nj; j++) {
        double       measured = c->config->joint[j].effort_error > 0 ? s->effort[j] : 0;
        const double value[]  = { s->position[j], s->velocity[j], s->applied_effort[j], measured };

        for (int k = 0; k < 4; k++) {
            if (!isfinite((float)value[k])) {
                blame(c, j, "qvem"[k], value[k], (double)INFINITY);
                return true;
            }
        }
    }
    return false;
}

static bool blame_range(struct core *c, const struct joint_state *s)
{
    for (int j = 0; j < c->config->nj; j++) {
        const struct joint_config *joint = &c->config->joint[j];
        double range = joint->position_max - joint->position_min, q = s->position[j];

        if (!(fabs(s->velocity[j]) <= joint->velocity))
            blame(c, j, 'v', s->velocity[j], joint->velocity);
        else if (!(fabs(s->applied_effort[j]) <= 2 * joint->effort + 1))
            blame(c, j, 'e', s->applied_effort[j], 2 * joint->effort + 1);
        else if (!core_inside(joint, q, range))
            blame(c, j, 'q', q, q > joint->position_max ? joint->position_max : joint->position_min);
        else
            continue;
        return true;
    }
    return false;
}

/* The joint that went furthest in terms of what its velocity allows. */
static bool blame_jump(struct core *c, const struct joint_state *s)
{
    double most = 0;

    for (int j = 0; j < c->config->nj; j++) {
        double went = s->position[j] - c->state.position[j], share = fabs(went) / c->config->joint[j].velocity;

        if (share > most) {
            most = share;
            blame(c, j, 'q', s->position[j], c->state.position[j]);
        }
    }
    return most > 0;
}

void core_blame_state(struct core *c, const struct joint_state *s, uint32_t fault)
{
    bool found = fault & FAULT_STATE_NONFINITE ? blame_nonfinite(c, s)
                 : fault & FAULT_STATE_RANGE   ? blame_range(c, s)
                                               : blame_jump(c, s);

    if (!found)
        blame(c, -1, 'x', 0, 0);
}
