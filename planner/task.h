/* task.h - what is wanted, as a cost: a weighted sum of named terms (a file in robots/NAME/tasks).
 *
 * Planner's cost of a candidate: sum over steps h of  obs_cost(x_{h+1}) + act_cost(a_h).
 * Return of a trial: minus the same sum over what happened; return_at says whether obs_cost takes the state after the
 * step (next; PETS cart-pole, reacher, half-cheetah) or before it (current; PETS pusher).  Units: none. */
#ifndef PLANNER_TASK_H
#define PLANNER_TASK_H

#include "proto/robot.h"

enum { MAX_TERMS = 16, MAX_LINKS = 16, MAX_FRAMES = 8, MAX_TERM_INDEX = MAX_JOINTS };

enum term_kind {
    TERM_OBSERVATION, /* d_i: chosen observations (joint position, velocity, ...) less their targets           */
    TERM_FRAME,       /* d_i: a frame's position less a target, m, i = x, y, z                                 */
    TERM_EFFORT,      /* d_i: entries of the action vector a (not of the SI effort)                            */
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

struct task_term {
    char           name[NAME_SIZE];
    enum term_kind kind;
    enum term_form form;
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
};

enum return_at { RETURN_AT_NEXT, RETURN_AT_CURRENT };

struct task {
    char              name[NAME_SIZE];
    enum return_at    return_at;
    int               nframe;
    struct task_frame frame[MAX_FRAMES];
    int               nterm;
    struct task_term  term[MAX_TERMS];
};

/* Cost of one observation / one action: the plain-loop truth, in double.  Any thread, no memory. */
double task_obs_cost(const struct task *t, const float *x);
double task_act_cost(const struct task *t, const float *a, int na);

/* Reward of one transition by the task's return_at: -(obs_cost + act_cost). */
double task_reward(const struct task *t, const float *x, const float *a, int na, const float *next);

/* Position (m, base frame) of frame f for observation x. */
void task_frame_position(const struct task *t, int f, const float *x, double p[3]);

#endif
