/* core_sensors.c - S8 of the fault model: a sensor that stands still while another one says that its joint moves.
 *
 * Position: the same to the last bit in every state although the velocity, which exceeds 1 % of its limit throughout, says
 * that the joint goes on, by now by more than two steps of its sensor (joints[].resolution).  Velocity: the same to the last bit, not zero, although the positions say that the joint went
 * another way, by more than 5 % of its velocity limit.  A joint that stands still and says so twice looks like a healthy
 * one at rest; what moves by itself otherwise is for the gates residual and drift. */
#include <math.h>
#include <string.h>

#include "daemon/core_parts.h"

enum { STUCK_TICKS = 10, STUCK_FAULT_TICKS = 50 };

static const double HIDDEN_STEPS = 2; /* one may be due, one the sensor's noise */
static const double MOVES    = 0.01; /* of the velocity limit: as in core_slow */
static const double MISMATCH = 0.05; /* likewise; above what rounding of a measured velocity does */

static void watch(struct core *c, int j, const struct joint_state *before)
{
    struct stuck_watch *w = &c->stuck[j];
    double              q = c->state.position[j], v = c->state.velocity[j];
    double              slow = MOVES * c->config->joint[j].velocity;
    double              dt   = c->tick_s * (double)(c->state.seq - before->seq);

    if (q < before->position[j] || q > before->position[j] || !(fabs(v) > slow))
        w->position = 0;
    else
        w->position++;
    w->hidden = w->position ? w->hidden + fabs(v) * dt : 0;
    if (w->position >= STUCK_TICKS && !(w->hidden > HIDDEN_STEPS * c->config->joint[j].resolution))
        w->position = STUCK_TICKS - 1; /* may be on its way to the sensor's next step */
    if (v < before->velocity[j] || v > before->velocity[j] || !(fabs(v) > 0)) {
        w->velocity = 0;
        w->way      = 0;
        w->start    = q;
        return;
    }
    w->way += v * dt;
    w->velocity++;
    if (w->velocity >= STUCK_TICKS &&
        !(fabs(q - w->start - w->way) > MISMATCH * c->config->joint[j].velocity * c->tick_s * w->velocity))
        w->velocity = STUCK_TICKS - 1; /* it does go as evenly as it says */
}

void core_sensors(struct core *c, const struct joint_state *before, bool restart)
{
    c->stuck_ticks = 0;
    for (int j = 0; j < c->config->nj; j++) {
        struct stuck_watch *w = &c->stuck[j];

        if (restart)
            *w = (struct stuck_watch){ .start = c->state.position[j] };
        else
            watch(c, j, before);
        int ticks      = w->position > w->velocity ? w->position : w->velocity;
        c->stuck_ticks = ticks > c->stuck_ticks ? ticks : c->stuck_ticks;
    }
}

uint32_t core_sensors_fault(const struct core *c)
{
    return (c->stuck_ticks >= STUCK_TICKS ? FAULT_SENSOR_STUCK : 0) |
           (c->stuck_ticks >= STUCK_FAULT_TICKS ? FAULT_SENSOR : 0);
}
