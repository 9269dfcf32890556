/* planner.h - planners behind one interface: rows of a table, chosen by name in robot.yaml.
 *
 * A planner is asked for the plan of one planner step and publishes its best so far after every iteration; it stops at
 * the deadline whatever happens.  A plan is a pure function of (state, model version, seed, iterations completed).
 * With delay, the state is first rolled forward under the action already committed: each net rolls its own copy, by
 * its own mean, so the members start from slightly different states (PETS has no delay; see docs).
 * Memory is laid out once at planner_init; planner_step neither allocates nor makes system calls (but the clock's). */
#ifndef PLANNER_PLANNER_H
#define PLANNER_PLANNER_H

#include "daemon/rt/arena.h"
#include "models/ensemble.h"
#include "models/isa.h"
#include "planner/task.h"
#include "planner/team.h"

enum { MAX_HORIZON = 64, MAX_POPULATION = 4096, MAX_PARTICLES = 128 };

enum particle_kind {
    PARTICLES_TSINF, /* TS-infinity: a particle keeps its net for the whole horizon           */
    PARTICLES_TS1,   /* TS1: particles permuted among the nets at every step, equal counts    */
    PARTICLES_MEAN,  /* E: each net's mean, no noise                                          */
    PARTICLES_MM,    /* moment matching: the particles of a candidate are redrawn from their own Gaussian at every step */
    PARTICLES_DS,    /* distribution sampling: every particle draws from the Gaussian of the whole ensemble             */
};

enum plan_dtype {
    DTYPE_F32,
    DTYPE_BF16, /* weights and activations in bfloat16, sums in f32 */
};

enum execute_kind {
    EXECUTE_BEST, /* first action of the best candidate seen */
    EXECUTE_MEAN, /* first action of the search mean         */
};

/* How the knots of a plan become its actions (planner/search_knots.c). */
enum spline_kind {
    SPLINE_ZERO,   /* each knot holds until the next   */
    SPLINE_LINEAR, /* straight lines between knots     */
    SPLINE_CUBIC,  /* Catmull-Rom: cubic Hermite pieces, slopes by finite differences */
};

/* What an observation cannot leave, such as a joint its ends: predictions are held there, and the rate of one that is held
 * is 0 as far as it points outwards.  Nets that have seldom seen the end of a joint expect motion beyond it. */
struct state_range {
    int   obs, rate; /* rate: the observation that is its rate of change, -1: none */
    float low, high; /* low < high, either may be infinite */
};

/* Which planner a setting means something to is in docs/planners.md; the others do not look at it. */
struct planner_config {
    char               name[NAME_SIZE]; /* of a row of the table: planner_names()                */
    int                horizon;         /* planner steps                                         */
    int                population;      /* candidates in the first iteration                     */
    int                iterations;
    int                elites;
    int                particles; /* per candidate; a multiple of the ensemble size        */
    enum particle_kind propagation;
    enum plan_dtype    dtype;
    double             risk;              /* cost = mean + risk * standard deviation over particles        */
    bool               exact;             /* swish to float's last bits, not within 2e-4 (kernel.h)        */
    int                workers;           /* threads that plan, planner_step's own included: 1 .. TEAM_MAX; 0: 1 */
    int                proposals;         /* candidates of every first iteration that a proposer fills     */
    int                knots;             /* the search is for so many knots per action; 0: every decision its own */
    enum spline_kind   spline;            /* between knots                                         */
    int                repeat;            /* planner steps that every decision holds; 0 is 1       */
    enum execute_kind  execute;           /* PETS' CEM executes the mean, random shooting and iCEM the best */
    double             alpha;             /* share of the old mean and variance kept at a refit    */
    double             init_std[MAX_ACT]; /* std drawn with at first, as a fraction of the half range      */
    double             noise_beta;        /* iCEM: power spectrum of the noise falls as 1 / f^beta */
    double             decay;             /* iCEM: population shrinks by this factor per iteration */
    double             keep;              /* iCEM: fraction of elites kept and shifted             */
    double             epsilon;           /* CEM: stop when the largest variance falls below       */
    double             lambda;            /* MPPI: temperature, units of cost                      */
    double             kappa;             /* PDDM: inverse temperature, 1 / units of cost          */
    double             smoothing;         /* PDDM: share of the new action in the filter, (0, 1]   */
    double             anneal;            /* MPPI, PDDM: std shrinks by this factor per iteration  */
    double             learning_rate;     /* gradients: Adam's step as a fraction of the half range        */
    int                steps;             /* CEM-GD: gradient steps at most, after the iterations  */
    int                polish;            /* CEM-GD: candidates that gradients polish              */
    int                first_population;  /* CEM-GD: candidates per iteration after a reset; 0: population */
    int                nrange;
    struct state_range range[MAX_OBS]; /* of the robot, no setting of the search                */
};

struct plan_request {
    uint64_t id;                 /* planner step that the plan is for, counted since start         */
    uint32_t trial, step;        /* logged; step is the trial's planner step the plan is for       */
    uint64_t seed;
    uint64_t next_seed;          /* expected of the next request: its noise can be drawn ahead     */
    uint64_t deadline_ns;        /* CLOCK_MONOTONIC; UINT64_MAX: none (lockstep)                   */
    bool     reset;              /* forget mean and elites: a new trial or a jump                  */
    uint64_t life;               /* differs from the last request's: the reset may have been lost, reset too */
    bool     delayed;            /* pending holds over the step before: roll forward first         */
    uint64_t requested_ns;       /* when asked                                                     */
    float    x[MAX_OBS];         /* observation now                                                */
    float    pending[MAX_ACT];   /* action in force until the plan begins                          */
};

struct plan {
    uint64_t id;                 /* as asked                                                       */
    uint32_t trial, step;
    uint64_t seed;
    uint64_t model_version;
    int      horizon;
    int      na;
    int      iterations;         /* completed; 0: no plan                                          */
    int      candidates;         /* evaluated, all iterations                                      */
    uint64_t rows;               /* of the nets evaluated for them: one per candidate, particle and step (DS: and member) */
    bool     final;              /* nothing better will follow for this id                         */
    bool     cut;                /* the deadline ended it before its last iteration                */
    double   cost;               /* expected, of the best sequence; executing the mean: average of the elites it is
                                    made of.  NaN never: a candidate's worst is 1e6, and 1e6 it is without any      */
    double   spread;             /* epistemic: std over members of the mean prediction of the first step, in out_std, mean over nx */
    float    predicted[MAX_OBS]; /* x at the end of the plan's first step, mean over members       */
    float    predicted_std[MAX_OBS]; /* how sure they are of it: root of their mean variance plus the variance of their means,
                                    at least a thousandth of out_std                               */
    float    out_std[MAX_OBS];   /* the model's target std, the yardstick for prediction errors    */
    uint64_t requested_ns, started_ns, finished_ns;
    float    action[MAX_HORIZON][MAX_ACT];
};

/* Bounds of the action: low[na], high[na]. */
struct action_bounds {
    int   na;
    float low[MAX_ACT], high[MAX_ACT];
};

struct planner;

/* Called after every iteration, from planner_step, with the best plan so far; the plan is the planner's. */
typedef void planner_publish(void *ctx, const struct plan *plan);

/* Why this configuration cannot run with this model, or NULL: unknown name, sizes out of range, ... */
const char *planner_config_error(const struct planner_config *c, const struct model_dims *d);

/* Names of all planners, NULL-terminated. */
const char *const *planner_names(void);

/* Bytes that planner_init will take; dims and config must have passed planner_config_error. */
size_t planner_memsize(const struct planner_config *c, const struct model_dims *d);

/* isa: "avx512", "avx2", "neon", "portable" or NULL for the best.  The task and bounds are copied. */
struct planner *planner_init(struct arena *a, const struct planner_config *c, const struct model_dims *d,
                             const struct task *task, const struct action_bounds *bounds, const char *isa);

/* Another task from the next step on, which forgets the plan so far.  Copied; by the thread that steps, between steps. */
void planner_task(struct planner *p, const struct task *task);

const char *planner_isa(const struct planner *p);

/* "f32", "bf16", or "bf16 emulated" where the CPU has no products of bfloat16: rounded alike, but at f32's pace. */
const char *planner_dtype(const struct planner *p);

/* Takes a copy of the ensemble's weights in the planner's packed layout.  `slot` 0 .. 2: which of its three stores.
 * May run on another thread than planner_step as long as the slot is not the one in use. */
void planner_pack(struct planner *p, int slot, const struct ensemble *e);

/* Plans with the model in `slot`.  publish may be NULL; *out gets the final plan: the last one published, except that
 * where the deadline cut, only *out says `final` and `cut`.  Its action is finite and within bounds in any case; with
 * iterations == 0 it is the last plan moved on in time (mid-range after a reset).
 * The search goes on from the last plan, moved on by the difference of the ids (by one step if they do not rise). */
void planner_step(struct planner *p, int slot, const struct plan_request *req, planner_publish *publish, void *ctx,
                  struct plan *out);

/* Draws the noise of the next planning step ahead.  On the planner's thread, between steps; a planning step with another
 * seed draws its own, so the plan does not depend on it. */
void planner_prepare(struct planner *p, uint64_t seed);

/* The loop of worker 1 .. workers - 1: takes part in every planning step until planner_dismiss.  Who takes part, and how
 * many, does not change a plan.  A thread of its own, which the caller makes, pins and joins. */
void planner_worker(struct planner *p, int worker);
void planner_dismiss(struct planner *p);

/* Sequences (n x horizon x na) that a policy proposes for state x; out of bounds is clipped, not finite is replaced. */
typedef void planner_propose(void *ctx, const float *x, uint64_t seed, int n, int horizon, int na, float *sequences);
void planner_proposer(struct planner *p, planner_propose *propose, void *ctx);

/* For benchmarks: runs one planning step's work phase by phase and says what each took, seconds. */
enum plan_phase { PHASE_NOISE, PHASE_SAMPLE, PHASE_FEATURES, PHASE_LAYERS, PHASE_ACTIVATION, PHASE_HEAD, PHASE_COST, PHASE_REFIT, PLAN_PHASES };
const char *planner_phase_name(enum plan_phase phase);
void        planner_phases(struct planner *p, int slot, const struct plan_request *req, double seconds[PLAN_PHASES]);

/* Evaluates n given candidate sequences (n x horizon x na) from x with the noise of `seed`: expected cost each.
 * For tests and benchmarks; n <= population. */
void planner_evaluate(struct planner *p, int slot, const float *x, uint64_t seed, int n, const float *actions, float *cost);

/* The same, and the gradient of each cost by the actions (dact: n x horizon x na; gradient.h); any n.  Only a planner whose
 * search goes down the gradient has one. */
void planner_gradient(struct planner *p, int slot, const float *x, uint64_t seed, int n, const float *actions, float *cost,
                      float *dact);

/* What the nets expect of action a (na) from x (nx), as plans carry it: mean and standard deviation, disagreement. */
struct expectation {
    float  mean[MAX_OBS], std[MAX_OBS];
    double spread;
};
void planner_predict(struct planner *p, int slot, const float *x, const float *a, struct expectation *out);

/* For tests: the noise z (particles x horizon x nx) and members (particles x horizon) of the last step or evaluation;
 * returns the number of particles. */
int planner_noise(const struct planner *p, const float **z, const uint8_t **member);

#endif
