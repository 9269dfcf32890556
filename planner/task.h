/* task.h - what is wanted, as a cost: a weighted sum of named terms (a file in robots/NAME/tasks).
 *
 * Planner's cost of a candidate: sum over steps h of  obs_cost(x_{h+1}) + act_cost(a_h),  plus potential(x_H).
 * Reward of a step that happened: -(obs_cost + act_cost + potential(next) - potential(x)); return_at says whether obs_cost
 * takes the state after the step (next; PETS cart-pole, reacher, half-cheetah) or before it (current; PETS pusher).  A
 * trial's return is their sum.  Both count the potential's gain from the first state to the last: where it began is the
 * same for every candidate and left out.  Units: none.
 *
 * Terms for shaping are part of the planner's cost only, never of a reward: hints how to reach what is paid for, such as to
 * stay on one's feet while running.
 *
 * A task may end before its last step: when an observation leaves its bounds.  The step that leaves them counts as any
 * other, no later one does, and the potential stays what it was there; the state a candidate starts from ends nothing.
 * (Gym's cart-pole gives its reward for the step that drops the pole; mbrl-lib's ModelEnv sums rewards the same way.)  Where
 * costs are positive an early end is cheap: such tasks reward what lasts, TERM_ALIVE with a weight below 0. */
#ifndef PLANNER_TASK_H
#define PLANNER_TASK_H

#include "proto/robot.h"

enum {
    MAX_TERMS      = 16,
    MAX_LINKS      = 16,
    MAX_FRAMES     = 8,
    MAX_TERM_INDEX = MAX_JOINTS,
    MAX_WAYPOINTS  = 16,
    MAX_ENDS       = 8,
};

enum term_kind {
    TERM_OBSERVATION, /* d_i: chosen observations (joint position, velocity, ...) less their targets           */
    TERM_FRAME,       /* d_i: a frame's position less a target, m, i = x, y, z                                 */
    TERM_EFFORT,      /* d_i: entries of the action vector a (not of the SI effort)                            */
    TERM_PATH,        /* d: distance of two observations, x and y, from the nearest point of a polyline, m     */
    TERM_PROGRESS,    /* potential: arc length s of that nearest point, from the first waypoint, m; no form    */
    TERM_ALIVE,       /* 1 for every step that counts; no form                                                 */
};

/* Of the differences d_i, each times its scale: */
enum term_form {
    FORM_SQUARED, /* sum d_i^2                                                       */
    FORM_EXP,     /* exp(-sum d_i^2 / width^2): 1 at the target, 0 far away          */
    FORM_ABS,     /* sum |d_i|; its slope is 0 where d_i is                          */
    FORM_LINEAR,  /* sum d_i: the more (or with weight < 0 the less), the worse      */
};

/* One link of a serial chain: a fixed offset in the parent's frame, then a motion along or about axis. */
struct task_link {
    double          offset[3]; /* m, from the parent's frame                         */
    int             obs;       /* index of the observation that is the coordinate; -1: fixed */
    enum joint_type type;      /* prismatic slides along axis, otherwise rotates about it    */
    double          axis[3];   /* unit vector, parent's frame                        */
};

struct task_frame {
    char             name[NAME_SIZE];
    int              nlink;
    struct task_link link[MAX_LINKS];
    double           tip[3]; /* m, in the last link's frame */
};

/* A polyline in the plane.  The nearest point of several equally near ones is that on the earliest segment, so a path
 * that crosses itself gives no progress away; s ends at the path's length, beyond the last waypoint only d grows. */
struct task_path {
    int    n;                       /* waypoints, 2 .. MAX_WAYPOINTS, each other than the one before    */
    double point[MAX_WAYPOINTS][2]; /* m                                                                */
    double along[MAX_WAYPOINTS][2]; /* of the segment that begins there, n - 1: unit vector,            */
    double length[MAX_WAYPOINTS];   /* m, and                                                           */
    double start[MAX_WAYPOINTS];    /* arc length at its beginning, m                                   */
};

struct task_term {
    char           name[NAME_SIZE];
    enum term_kind kind;
    enum term_form form;
    bool           shaping;                    /* for the planner alone                    */
    double         weight;                     /* sign included: -1 rewards                */
    double         width;                      /* FORM_EXP, > 0                            */
    int            n;                          /* TERM_OBSERVATION: entries below          */
    int            index[MAX_TERM_INDEX];      /* observations                             */
    double         target[MAX_TERM_INDEX];     /* TERM_OBSERVATION; TERM_FRAME uses 3      */
    double         scale[MAX_TERM_INDEX];      /* multiplies the difference; TERM_FRAME: 3, per axis */
    int            frame;                      /* TERM_FRAME: index into task.frame        */
    bool           target_observed;            /* the target is target[i] + x[target_obs[i]] (a goal of its own in every
                                              trial, an object): there the state enters the cost too, with slope -1 / d_i's */
    int            target_obs[MAX_TERM_INDEX]; /* observations                         */
    struct task_path path;                       /* TERM_PATH, TERM_PROGRESS: index[0] is x, index[1] is y         */
};

struct task_end {
    int    obs;       /* index of the observation            */
    double low, high; /* inside while low <= x <= high       */
};

enum return_at { RETURN_AT_NEXT, RETURN_AT_CURRENT };

struct task {
    char              name[NAME_SIZE];
    enum return_at    return_at;
    int               nframe;
    struct task_frame frame[MAX_FRAMES];
    int               nterm;
    struct task_term  term[MAX_TERMS];
    int               nend;
    struct task_end   end[MAX_ENDS];
};

/* The planner's cost of one observation / one action: the plain-loop truth, in double.  Any thread, no memory. */
double task_obs_cost(const struct task *t, const float *x);
double task_act_cost(const struct task *t, const float *a, int na);

/* Sum of the terms that are potentials, for the planner. */
double task_potential(const struct task *t, const float *x);

/* Reward of one transition, as above: without shaping. */
double task_reward(const struct task *t, const float *x, const float *a, int na, const float *next);

/* Index of the first end whose bounds x has left, -1 while inside all; NaN is outside. */
int task_ended(const struct task_end *end, int nend, const float *x);

/* Fills in the segments of a path from its n points. */
void task_path_lay(struct task_path *p);

/* Position (m, base frame) of frame f for observation x. */
void task_frame_position(const struct task *t, int f, const float *x, double p[3]);

#endif
