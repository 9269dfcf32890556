/* sim.h - a simulated robot: a MuJoCo model as a set of joints that take effort in SI units.
 *
 * Joints are the model's hinges and slides, in its order or the order asked for; a joint with a motor is actuated, and
 * its effort limit is gear * ctrlrange.  Extra measurements are the model's sensors: one of one number goes by its name,
 * one of three by NAME_x, NAME_y and NAME_z, one of four by NAME_w, NAME_x, ...  They belong to the same instant as position and
 * velocity, and measuring them changes nothing about the motion.  Five numbers may stand in the model's <custom> element:
 *
 *     limber_reset_std              standard deviation of the normal noise on positions and velocities at a reset: one
 *                                   value or one a degree of freedom (those of joints that are left out too: a goal);
 *                                   default 0
 *     limber_reset_velocity_std     the same for velocities alone; default: as limber_reset_std
 *     limber_reset_uniform          half width of uniform noise, which adds to the normal one; values and default likewise
 *     limber_reset_velocity_uniform the same for velocities alone; default: as limber_reset_uniform
 *     limber_damp_kd                N s/m or N m s/rad, one value or one a joint: damping when commands stop; without it
 *                                   the timeout action is OFF
 *
 * A simulation that diverges is put back to its start pose and says so; nothing in here ends the process.  One thread;
 * MuJoCo's two error handlers are the process's. */
#ifndef BRIDGE_SIM_H
#define BRIDGE_SIM_H

#include <stddef.h>

#include "firmware-bridge/receiver.h"

struct mjModel_;
struct sim;

struct sim_options {
    const char *model;       /* MJCF file                                                        */
    const char *joints;      /* "a,b": these joints in this order; NULL: all                     */
    const char *extra;       /* "a,b": these measurements of sensors; NULL: none                 */
    const char *effort_rate; /* "x,y": of each joint, N m/s or N/s, inf: none; NULL: none at all */
    const char *velocity;    /* "x,y": rad/s or m/s, from which on it is not driven on; likewise */
    double      timestep;    /* s, overrides the model's; 0: the model's                         */
    uint64_t    seed;        /* start poses depend on it, the request's and the trial            */
};

/* NULL with a sentence in `why`: file, what is wrong, what was expected. */
struct sim *sim_open(const struct sim_options *o, char *why, size_t why_size);
void        sim_close(struct sim *s);

/* Joints, extra measurements, limits, timeout action; the rest of *h is the caller's. */
void sim_describe(const struct sim *s, struct hello *h);
void sim_limits(const struct sim *s, double command_timeout_ms, struct receiver_limits *l);

/* Sub-steps in one period of control_hz, or 0 with a sentence: it must be a whole number. */
int    sim_substeps(const struct sim *s, double control_hz, char *why, size_t why_size);
double sim_timestep(const struct sim *s);

/* Start pose of a trial: the model's, plus noise from (options' seed, request_seed, trial). */
void sim_reset(struct sim *s, uint64_t request_seed, uint32_t trial);

/* Position and velocity of the joints, in order. */
void sim_measure(const struct sim *s, double *q, double *dq);

/* The extra measurements, in order; returns how many. */
int sim_measure_extra(const struct sim *s, double *extra);

/* From here on every body has `factor` (> 0) times the model's mass and inertia; the motion goes on from where it is. */
void sim_mass(struct sim *s, double factor);

/* One sub-step under effort tau (finite, within the limits).  False: it diverged; reason in sim_trouble, pose reset. */
bool        sim_step(struct sim *s, const double *tau);
const char *sim_trouble(const struct sim *s);

/* The whole pose (sim_nq numbers), for pictures, and the model it is one of. */
int                    sim_nq(const struct sim *s);
void                   sim_pose(const struct sim *s, double *pose);
const struct mjModel_ *sim_model(const struct sim *s);

#endif
