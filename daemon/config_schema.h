/* config_schema.h - what may stand in robot.yaml and in a task file, as libcyaml loads it.
 *
 * Numbers and words are pointers: NULL where the key is missing, so that a default can never hide a zero.  The schema
 * is used twice: by schema_load() to complain with file, line and key, then by libcyaml to convert.  Gates and
 * planner.init_std have two shapes each; libcyaml skips them and config.c reads them from the document. */
#ifndef DAEMON_CONFIG_SCHEMA_H
#define DAEMON_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/config_lines.h"

struct yaml_gravity {
    double  *effort, *offset;
    char   **joints;
    unsigned joints_count;
};

struct yaml_joint {
    char    *name;
    int     *type; /* enum joint_type */
    int     *timeout_action; /* enum timeout_action */
    bool    *actuated;
    double  *position; /* low, high */
    unsigned position_count;
    double  *velocity, *effort, *effort_rate, *effort_rate_down, *effort_growth, *power, *effort_error, *brake, *baseline_kp, *baseline_kd,
        *baseline_position, *effort_continuous, *heat_s, *resolution;
    struct yaml_gravity *gravity;
    unsigned             gravity_count;
};

struct yaml_action {
    char   *joint;
    double *low, *high, *scale;
};

struct yaml_observation {
    char *joint;
    int  *measure; /* enum measure    */
    int  *input;   /* enum input_kind  */
    int  *predict; /* enum target_kind */
    char *extra, *quaternion;
    double  *range;
    unsigned range_count;
};

struct yaml_rates {
    double *control_hz, *latch_ms;
    int    *plan_every, *delay_steps;
};

struct yaml_baseline {
    int *kind;    /* enum baseline_kind */
    int *gravity; /* robot_config.gravity_by_robot */
};

struct yaml_exploration {
    int    *kind; /* enum exploration_kind */
    double *amplitude, *smoothness;
    double *planned, *planned_smoothness;
    int    *planned_trials;
};

struct yaml_trials {
    int      *count, *random, *steps, *next; /* next: enum trial_next */
    double   *wait_for_model_s;
    uint64_t *seed;
};

struct yaml_model {
    int     *members, *layers, *hidden;
    char   **planar; /* observations: ahead, aside, heading */
    unsigned planar_count;
};

struct yaml_planner {
    char   *name;
    int    *horizon, *population, *iterations, *elites, *particles;
    int    *propagation; /* enum particle_kind */
    int    *execute;     /* enum execute_kind  */
    int    *dtype;       /* enum plan_dtype    */
    int    *activation;  /* planner_config.exact */
    int    *proposals, *knots, *repeat;
    int    *spline;      /* enum spline_kind   */
    int    *steps, *polish, *first_population;
    double *alpha, *noise_beta, *decay, *keep, *epsilon, *budget;
    double *risk, *lambda, *kappa, *smoothing, *anneal, *learning_rate;
};

enum recipe { RECIPE_STEPS, RECIPE_PAPER };

struct yaml_trainer {
    int     *recipe; /* enum recipe */
    double  *learning_rate;
    int     *batch, *epochs, *min_steps;
    bool    *aggregate, *warm_start, *bootstrap, *standardise_targets, *learned_bounds;
    double  *weight_decay; /* per layer, input to output */
    unsigned weight_decay_count;
    int     *patience, *train_members, *max_steps, *recent_trials, *unroll, *unroll_grow;
    double  *holdout, *improvement, *learning_rate_final, *input_noise, *nll_beta, *recent, *unroll_weight,
        *reward_weight, *spectral_norm;
};

struct yaml_gates {
    int    *min_transitions;
    double *promote_s;
};

struct yaml_filter {
    char unused; /* stages are read from the document */
};

struct yaml_timeouts {
    double *state_stale_s, *command_valid_s, *robot_timeout_max_s, *stop_ramp_s, *stop_cap_s, *reset_s;
    int    *robot_action;
};

struct yaml_cores {
    int *main, *io, *control;
    int *control_priority, *io_priority, *planner_priority, *zmq_priority, *sim_priority;
};

struct yaml_paths {
    char *run, *store, *model_key;
};

struct yaml_curve {
    char *key, *clients;
};

struct yaml_sim {
    char   *model;
    double *timestep, *command_timeout_ms;
};

struct yaml_robot {
    char                    *robot;
    int                     *hardware; /* enum hardware */
    struct yaml_rates        rates;
    int                     *pace; /* enum pace */
    bool                    *lockstep;
    struct yaml_joint       *joints;
    unsigned                 joints_count;
    char                   **extra;
    unsigned                 extra_count;
    int                     *command_mode; /* enum command_mode */
    struct yaml_action      *action;
    unsigned                 action_count;
    struct yaml_observation *observation;
    unsigned                 observation_count;
    struct yaml_baseline     baseline;
    struct yaml_exploration  exploration;
    struct yaml_trials       trials;
    char                    *task;
    struct yaml_model        model;
    struct yaml_planner      planner;
    struct yaml_trainer      trainer;
    struct yaml_gates        gates;
    struct yaml_filter       filter;
    struct yaml_timeouts     timeouts;
    struct yaml_cores        cores;
    struct yaml_paths        paths;
    char                    *endpoint, *telemetry;
    struct yaml_curve        curve;
    struct yaml_sim          sim;
};

struct yaml_link {
    char    *joint;
    double  *offset, *axis;
    unsigned offset_count, axis_count;
};

struct yaml_frame {
    char             *name;
    struct yaml_link *links;
    unsigned          links_count;
    double           *tip;
    unsigned          tip_count;
};

struct yaml_term {
    char    *name;
    int     *kind; /* enum term_kind */
    int     *form; /* enum term_form */
    double  *weight, *width;
    bool    *shaping;
    char    *frame;
    char   **observations;
    unsigned observations_count;
    char   **target_obs;
    unsigned target_obs_count;
    double  *target, *scale;
    unsigned target_count, scale_count;
    double (*waypoints)[2];
    unsigned waypoints_count;
};

struct yaml_end {
    char   *observation;
    double *low, *high;
};

struct yaml_task {
    char              *name;
    int               *return_at; /* enum return_at */
    struct yaml_frame *frames;
    unsigned           frames_count;
    struct yaml_term  *terms;
    unsigned           terms_count;
    struct yaml_end   *ends;
    unsigned           ends_count;
};

extern const cyaml_schema_value_t robot_schema, task_schema;

/* Checks the document's shape, words and numbers against the schema and converts it.  0, or -1 with d->why filled.
 * *data is freed with schema_free(). */
int  schema_load(struct document *d, const cyaml_schema_value_t *schema, void **data);
void schema_free(const cyaml_schema_value_t *schema, void *data);

/* Reads one number by the rule of its key (unit and range).  0, or -1 with d->why filled. */
int schema_number(struct document *d, const struct node *n, bool integer, double *value);

/* A name: letters, digits, _ and -, a letter first, shorter than NAME_SIZE.  0, or -1 with d->why filled. */
int schema_name(struct document *d, const struct node *n);

#endif
