/* conform_clauses.h - between the files of the receiver contract's claims: conform_clauses.c has the conversation and the
 * list of all, conform_effort.c what is applied to the joints. */
#ifndef DAEMON_CONFORM_CLAUSES_H
#define DAEMON_CONFORM_CLAUSES_H

#include "daemon/conform.h"

#define SAW(verdict, ...) conform_saw(c, verdict, __VA_ARGS__)
#define JUDGE(good, ...)  conform_saw(c, (good) ? CONFORM_PASS : CONFORM_FAIL, __VA_ARGS__)

/* "slider 6, hinge 0": the efforts of the newest state, until the next call from this thread. */
const char *conform_efforts(const struct conform *c);

/* What the robot side says that it does with joint j when commands stop. */
enum timeout_action conform_action(const struct conform *c, int j);

/* Are there joints of that action, actuated ones? */
bool conform_any(const struct conform *c, enum timeout_action action);

/* Joints that it damps or lets go.  False: over the last interval an effort drove the motion, which the timeout action damp may not.  *against: set where one
 * braked a joint that is to be damped. */
bool conform_damps(struct conform *c, bool *against);

/* Clauses, for conform_clauses[].  conform_law: which 0: kp alone, 1: kd alone. */
enum conform_verdict conform_torque_is_applied(struct conform *c, int which);
enum conform_verdict conform_applied_seq_is_true(struct conform *c, int which);
enum conform_verdict conform_law(struct conform *c, int which);
enum conform_verdict conform_unactuated_stay_free(struct conform *c, int which);
enum conform_verdict conform_limits_are_kept(struct conform *c, int which);
enum conform_verdict conform_rate_is_kept(struct conform *c, int which);
enum conform_verdict conform_velocity_is_kept(struct conform *c, int which);
enum conform_verdict conform_idle_is_no_torque(struct conform *c, int which);
enum conform_verdict conform_damp_brakes(struct conform *c, int which);

#endif
