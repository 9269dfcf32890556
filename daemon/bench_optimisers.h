/* bench_optimisers.h - how well each planner's search optimises, apart from any robot and model: test functions with a
 * known minimum, and closed-loop control of a linear system whose optimal cost comes from the Riccati equation.
 *
 * The search is driven as planner.c drives it, with costs (and gradients) worked out here in double.  A cost with its
 * gradient counts as three evaluations: the way back through a net costs twice the way there. */
#ifndef DAEMON_BENCH_OPTIMISERS_H
#define DAEMON_BENCH_OPTIMISERS_H

#include <stdbool.h>
#include <stdint.h>

#include "planner/planner.h"

enum bench_function { BENCH_SPHERE, BENCH_ROSENBROCK, BENCH_RASTRIGIN, BENCH_ACKLEY, BENCH_FUNCTIONS };

const char *bench_function_name(enum bench_function f);

/* Its value at x (n), 0 at its minimum, which is not in the middle of -5 .. 5; grad (n) unless NULL. */
double bench_function_value(enum bench_function f, int n, const float *x, double *grad);

/* Least value that the planner finds in n <= MAX_HORIZON dimensions with so many evaluations. */
double bench_function_gap(const char *planner, enum bench_function f, int n, int evaluations, uint64_t seed);

/* Two carts on a line, each pushed (N), coupled by a spring: x = position and speed of each, 10 Hz.
 * Expected cost of the sequence u (horizon x 2) from x: the stages' x'Qx (after the step) + u'Ru, and the optimal cost of
 * all that follows; grad (horizon x 2) unless NULL. */
enum { BENCH_NX = 4, BENCH_NU = 2, BENCH_STEPS = 40 };
double bench_lq_cost(int horizon, const double *x, const float *u, double *grad);

/* Optimal cost from x on, for ever (Riccati); and the optimal u (BENCH_NU) unless NULL. */
double bench_lq_best(const double *x, double *u);

/* Closed loop: BENCH_STEPS steps, in each a plan with so many evaluations, of which the first action is done; knots as in
 * planner_config.  Returns the cost of it all, the optimal cost of what follows included, over the optimum: 1 at best. */
double bench_lq_ratio(const char *planner, int evaluations, int knots, uint64_t seed);

/* Prints a table, or a row of JSON for every number.  An exit status. */
int bench_optimisers(bool json);

#endif
