/* config_schema.c - the keys of robot.yaml and of task files as libcyaml's tables.  A member is called like its key. */
#include "daemon/config_schema.h"

#include <stddef.h>

#include "daemon/config.h"

#define MUST CYAML_FLAG_DEFAULT
#define MAY  CYAML_FLAG_OPTIONAL

#define FLOAT(flags, s, key) CYAML_FIELD_FLOAT_PTR(#key, flags, struct yaml_##s, key)
#define INT(flags, s, key)   CYAML_FIELD_INT_PTR(#key, flags, struct yaml_##s, key)
#define UINT(flags, s, key)  CYAML_FIELD_UINT_PTR(#key, flags, struct yaml_##s, key)
#define BOOL(flags, s, key)  CYAML_FIELD_BOOL_PTR(#key, flags, struct yaml_##s, key)
#define TEXT(flags, s, key)  CYAML_FIELD_STRING_PTR(#key, flags, struct yaml_##s, key, 1, PATH_SIZE - 1)
#define MAP(flags, s, key)   CYAML_FIELD_MAPPING(#key, flags, struct yaml_##s, key, key##_fields)
#define WORD(flags, s, key, words) \
    CYAML_FIELD_ENUM_PTR(#key, (flags) | CYAML_FLAG_STRICT, struct yaml_##s, key, words, CYAML_ARRAY_LEN(words))
#define LIST(flags, s, key, entry, low, high) \
    CYAML_FIELD_SEQUENCE(#key, (flags) | CYAML_FLAG_POINTER, struct yaml_##s, key, entry, low, high)

/* clang-format off */
static const cyaml_strval_t hardware_words[]    = { { "sim", HARDWARE_SIM }, { "real", HARDWARE_REAL } };
static const cyaml_strval_t pace_words[]        = { { "timer", PACE_TIMER }, { "state", PACE_STATE } };
static const cyaml_strval_t joint_words[]       = { { "revolute", JOINT_REVOLUTE }, { "continuous", JOINT_CONTINUOUS },
                                                    { "prismatic", JOINT_PRISMATIC } };
static const cyaml_strval_t command_words[]     = { { "torque", COMMAND_TORQUE } };
static const cyaml_strval_t measure_words[]     = { { "position", MEASURE_POSITION }, { "velocity", MEASURE_VELOCITY },
                                                    { "average_velocity", MEASURE_AVERAGE_VELOCITY },
                                                    { "heading", MEASURE_HEADING }, { "up_x", MEASURE_UP_X },
                                                    { "up_y", MEASURE_UP_Y }, { "up_z", MEASURE_UP_Z } };
static const cyaml_strval_t input_words[]       = { { "identity", INPUT_IDENTITY }, { "angle", INPUT_ANGLE },
                                                    { "none", INPUT_NONE } };
static const cyaml_strval_t predict_words[]     = { { "change", TARGET_CHANGE }, { "absolute", TARGET_ABSOLUTE } };
static const cyaml_strval_t baseline_words[]    = { { "zero", BASELINE_ZERO }, { "damp", BASELINE_DAMP },
                                                    { "hold", BASELINE_HOLD }, { "posture", BASELINE_POSTURE } };
static const cyaml_strval_t gravity_words[]     = { { "robot", 1 } };
static const cyaml_strval_t robot_action_words[] = { { "damp", TIMEOUT_DAMP }, { "hold", TIMEOUT_HOLD },
                                                     { "brake", TIMEOUT_BRAKE }, { "off", TIMEOUT_OFF } };
static const cyaml_strval_t exploration_words[] = { { "uniform", EXPLORE_UNIFORM }, { "smooth", EXPLORE_SMOOTH } };
static const cyaml_strval_t next_words[]        = { { "auto", NEXT_AUTO }, { "operator", NEXT_OPERATOR } };
static const cyaml_strval_t propagation_words[] = { { "tsinf", PARTICLES_TSINF }, { "ts1", PARTICLES_TS1 },
                                                    { "mean", PARTICLES_MEAN }, { "mm", PARTICLES_MM },
                                                    { "ds", PARTICLES_DS } };
static const cyaml_strval_t dtype_words[]       = { { "f32", DTYPE_F32 }, { "bf16", DTYPE_BF16 } };
static const cyaml_strval_t activation_words[]  = { { "fast", 0 }, { "exact", 1 } };
static const cyaml_strval_t spline_words[]      = { { "zero", SPLINE_ZERO }, { "linear", SPLINE_LINEAR },
                                                    { "cubic", SPLINE_CUBIC } };
static const cyaml_strval_t execute_words[]     = { { "best", EXECUTE_BEST }, { "mean", EXECUTE_MEAN } };
static const cyaml_strval_t recipe_words[]      = { { "steps", RECIPE_STEPS }, { "paper", RECIPE_PAPER } };
static const cyaml_strval_t return_words[]      = { { "next", RETURN_AT_NEXT }, { "current", RETURN_AT_CURRENT } };
static const cyaml_strval_t term_words[]        = { { "observation", TERM_OBSERVATION }, { "frame", TERM_FRAME },
                                                    { "effort", TERM_EFFORT }, { "path", TERM_PATH },
                                                    { "progress", TERM_PROGRESS }, { "alive", TERM_ALIVE } };
static const cyaml_strval_t form_words[]        = { { "squared", FORM_SQUARED }, { "exp", FORM_EXP },
                                                    { "abs", FORM_ABS }, { "linear", FORM_LINEAR } };
/* clang-format on */

static const cyaml_schema_value_t a_number = { CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double) };
static const cyaml_schema_value_t a_point  = { CYAML_VALUE_SEQUENCE_FIXED(CYAML_FLAG_DEFAULT, double, &a_number, 2) };
static const cyaml_schema_value_t a_text   = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, PATH_SIZE - 1) };

/* --- robot.yaml --- */

static const cyaml_schema_field_t rates_fields[] = {
    FLOAT(MUST, rates, control_hz),
    INT(MAY, rates, plan_every),
    INT(MAY, rates, delay_steps),
    FLOAT(MAY, rates, latch_ms),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t gravity_fields[] = {
    FLOAT(MUST, gravity, effort),
    FLOAT(MAY, gravity, offset),
    LIST(MAY, gravity, joints, &a_text, 1, MAX_GRAVITY_ANGLES),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t a_gravity_term = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_gravity,
                                                                         gravity_fields) };
static const cyaml_schema_field_t joint_fields[] = {
    TEXT(MUST, joint, name),        WORD(MUST, joint, type, joint_words),
    BOOL(MUST, joint, actuated),    LIST(MAY, joint, position, &a_number, 2, 2),
    FLOAT(MUST, joint, velocity),   FLOAT(MAY, joint, effort),
    FLOAT(MAY, joint, effort_rate), FLOAT(MAY, joint, baseline_kp),
    FLOAT(MAY, joint, effort_rate_down), FLOAT(MAY, joint, effort_growth),
    FLOAT(MAY, joint, power),       FLOAT(MAY, joint, brake),
    FLOAT(MAY, joint, effort_error), FLOAT(MAY, joint, baseline_position),
    FLOAT(MAY, joint, effort_continuous), FLOAT(MAY, joint, heat_s),
    FLOAT(MAY, joint, resolution), WORD(MAY, joint, timeout_action, robot_action_words),
    LIST(MAY, joint, gravity, &a_gravity_term, 1, MAX_GRAVITY),
    FLOAT(MAY, joint, baseline_kd), CYAML_FIELD_END,
};
static const cyaml_schema_field_t action_fields[] = {
    TEXT(MUST, action, joint),  FLOAT(MUST, action, low), FLOAT(MUST, action, high),
    FLOAT(MUST, action, scale), CYAML_FIELD_END,
};
static const cyaml_schema_field_t observation_fields[] = {
    TEXT(MAY, observation, joint),
    WORD(MAY, observation, measure, measure_words),
    WORD(MAY, observation, input, input_words),
    WORD(MAY, observation, predict, predict_words),
    TEXT(MAY, observation, extra),
    TEXT(MAY, observation, quaternion),
    LIST(MAY, observation, range, &a_number, 2, 2),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t baseline_fields[] = {
    WORD(MUST, baseline, kind, baseline_words),
    WORD(MAY, baseline, gravity, gravity_words),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t exploration_fields[] = {
    WORD(MUST, exploration, kind, exploration_words),
    FLOAT(MUST, exploration, amplitude),
    FLOAT(MAY, exploration, smoothness),
    FLOAT(MAY, exploration, planned),
    FLOAT(MAY, exploration, planned_smoothness),
    INT(MAY, exploration, planned_trials),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t trials_fields[] = {
    INT(MAY, trials, count),
    INT(MAY, trials, random),
    INT(MUST, trials, steps),
    WORD(MAY, trials, next, next_words),
    FLOAT(MAY, trials, wait_for_model_s),
    UINT(MAY, trials, seed),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t model_fields[] = {
    INT(MAY, model, members),
    INT(MAY, model, layers),
    INT(MAY, model, hidden),
    LIST(MAY, model, planar, &a_text, 3, 3),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t planner_fields[] = {
    TEXT(MAY, planner, name),
    INT(MAY, planner, horizon),
    INT(MAY, planner, population),
    INT(MAY, planner, iterations),
    INT(MAY, planner, elites),
    INT(MAY, planner, particles),
    WORD(MAY, planner, propagation, propagation_words),
    WORD(MAY, planner, execute, execute_words),
    FLOAT(MAY, planner, alpha),
    CYAML_FIELD_IGNORE("init_std", MAY),
    FLOAT(MAY, planner, noise_beta),
    FLOAT(MAY, planner, decay),
    FLOAT(MAY, planner, keep),
    FLOAT(MAY, planner, epsilon),
    FLOAT(MAY, planner, risk),
    FLOAT(MAY, planner, lambda),
    FLOAT(MAY, planner, kappa),
    FLOAT(MAY, planner, smoothing),
    FLOAT(MAY, planner, anneal),
    FLOAT(MAY, planner, learning_rate),
    INT(MAY, planner, steps),
    INT(MAY, planner, polish),
    INT(MAY, planner, first_population),
    INT(MAY, planner, knots),
    WORD(MAY, planner, spline, spline_words),
    INT(MAY, planner, repeat),
    INT(MAY, planner, proposals),
    WORD(MAY, planner, dtype, dtype_words),
    WORD(MAY, planner, activation, activation_words),
    FLOAT(MAY, planner, budget),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t trainer_fields[] = {
    WORD(MAY, trainer, recipe, recipe_words),
    FLOAT(MAY, trainer, learning_rate),
    INT(MAY, trainer, batch),
    INT(MAY, trainer, epochs),
    INT(MAY, trainer, min_steps),
    BOOL(MAY, trainer, aggregate),
    BOOL(MAY, trainer, warm_start),
    BOOL(MAY, trainer, bootstrap),
    BOOL(MAY, trainer, standardise_targets),
    BOOL(MAY, trainer, learned_bounds),
    LIST(MAY, trainer, weight_decay, &a_number, 2, MAX_LAYERS + 1),
    FLOAT(MAY, trainer, holdout),
    INT(MAY, trainer, patience),
    FLOAT(MAY, trainer, improvement),
    INT(MAY, trainer, train_members),
    FLOAT(MAY, trainer, learning_rate_final),
    INT(MAY, trainer, max_steps),
    FLOAT(MAY, trainer, input_noise),
    FLOAT(MAY, trainer, nll_beta),
    FLOAT(MAY, trainer, recent),
    INT(MAY, trainer, recent_trials),
    INT(MAY, trainer, unroll),
    INT(MAY, trainer, unroll_grow),
    FLOAT(MAY, trainer, unroll_weight),
    FLOAT(MAY, trainer, reward_weight),
    FLOAT(MAY, trainer, spectral_norm),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t gates_fields[] = {
    CYAML_FIELD_IGNORE("plan_age", MAY),
    CYAML_FIELD_IGNORE("spread", CYAML_FLAG_DEFAULT),
    CYAML_FIELD_IGNORE("residual", CYAML_FLAG_DEFAULT),
    CYAML_FIELD_IGNORE("position", CYAML_FLAG_DEFAULT),
    CYAML_FIELD_IGNORE("drift", MAY),
    CYAML_FIELD_IGNORE("recoverable", MAY),
    CYAML_FIELD_IGNORE("baseline", MAY),
    CYAML_FIELD_IGNORE("interventions", MAY),
    CYAML_FIELD_IGNORE("limit_dwell", MAY),
    CYAML_FIELD_IGNORE("oscillation", MAY),
    CYAML_FIELD_IGNORE("energy", MAY),
    INT(MAY, gates, min_transitions),
    FLOAT(MAY, gates, promote_s),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t filter_fields[] = {
    CYAML_FIELD_IGNORE("envelope", MAY),
    CYAML_FIELD_IGNORE("thermal", MAY),
    CYAML_FIELD_IGNORE("window", MAY),
    CYAML_FIELD_IGNORE("power", MAY),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t timeouts_fields[] = {
    FLOAT(MAY, timeouts, state_stale_s),
    FLOAT(MAY, timeouts, command_valid_s),
    FLOAT(MAY, timeouts, robot_timeout_max_s),
    WORD(MAY, timeouts, robot_action, robot_action_words),
    FLOAT(MAY, timeouts, stop_ramp_s),
    FLOAT(MAY, timeouts, stop_cap_s),
    FLOAT(MAY, timeouts, reset_s),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t cores_fields[] = {
    INT(MAY, cores, main),
    INT(MAY, cores, io),
    INT(MAY, cores, control),
    CYAML_FIELD_IGNORE("planner", MAY),
    INT(MAY, cores, control_priority),
    INT(MAY, cores, io_priority),
    INT(MAY, cores, planner_priority),
    INT(MAY, cores, zmq_priority),
    INT(MAY, cores, sim_priority),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t paths_fields[] = {
    TEXT(MAY, paths, run),
    TEXT(MAY, paths, store),
    TEXT(MAY, paths, model_key),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t curve_fields[] = {
    TEXT(MUST, curve, key),
    TEXT(MUST, curve, clients),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t sim_fields[] = {
    TEXT(MAY, sim, model),
    FLOAT(MAY, sim, timestep),
    FLOAT(MAY, sim, command_timeout_ms),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t a_joint       = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_joint,
                                                                        joint_fields) };
static const cyaml_schema_value_t a_action      = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_action,
                                                                        action_fields) };
static const cyaml_schema_value_t a_observation = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_observation,
                                                                        observation_fields) };

static const cyaml_schema_field_t robot_fields[] = {
    TEXT(MUST, robot, robot),
    WORD(MUST, robot, hardware, hardware_words),
    MAP(MUST, robot, rates),
    WORD(MAY, robot, pace, pace_words),
    BOOL(MAY, robot, lockstep),
    LIST(MUST, robot, joints, &a_joint, 1, MAX_JOINTS),
    LIST(MAY, robot, extra, &a_text, 0, MAX_EXTRA),
    WORD(MAY, robot, command_mode, command_words),
    LIST(MUST, robot, action, &a_action, 1, MAX_ACT),
    LIST(MUST, robot, observation, &a_observation, 1, MAX_OBS),
    MAP(MUST, robot, baseline),
    MAP(MAY, robot, exploration),
    MAP(MUST, robot, trials),
    TEXT(MUST, robot, task),
    MAP(MAY, robot, model),
    MAP(MAY, robot, planner),
    MAP(MAY, robot, trainer),
    MAP(MUST, robot, gates),
    MAP(MAY, robot, filter),
    MAP(MAY, robot, timeouts),
    MAP(MAY, robot, cores),
    MAP(MAY, robot, paths),
    TEXT(MAY, robot, endpoint),
    TEXT(MAY, robot, telemetry),
    MAP(MAY, robot, curve),
    MAP(MAY, robot, sim),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t robot_schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_robot, robot_fields) };

/* --- task file --- */

static const cyaml_schema_field_t link_fields[] = {
    TEXT(MAY, link, joint),
    LIST(MAY, link, offset, &a_number, 3, 3),
    LIST(MAY, link, axis, &a_number, 3, 3),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t a_link = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_link, link_fields) };
static const cyaml_schema_field_t frame_fields[] = {
    TEXT(MUST, frame, name),
    LIST(MUST, frame, links, &a_link, 1, MAX_LINKS),
    LIST(MAY, frame, tip, &a_number, 3, 3),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t term_fields[] = {
    TEXT(MUST, term, name),
    WORD(MUST, term, kind, term_words),
    WORD(MAY, term, form, form_words),
    FLOAT(MUST, term, weight),
    BOOL(MAY, term, shaping),
    FLOAT(MAY, term, width),
    TEXT(MAY, term, frame),
    LIST(MAY, term, observations, &a_text, 1, MAX_TERM_INDEX),
    LIST(MAY, term, target_obs, &a_text, 1, MAX_TERM_INDEX),
    LIST(MAY, term, target, &a_number, 1, MAX_TERM_INDEX),
    LIST(MAY, term, scale, &a_number, 1, MAX_TERM_INDEX),
    LIST(MAY, term, waypoints, &a_point, 2, MAX_WAYPOINTS),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t end_fields[] = {
    TEXT(MUST, end, observation),
    FLOAT(MAY, end, low),
    FLOAT(MAY, end, high),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t a_frame = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_frame,
                                                                  frame_fields) };
static const cyaml_schema_value_t a_term  = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_term, term_fields) };
static const cyaml_schema_value_t a_end   = { CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_end, end_fields) };
static const cyaml_schema_field_t task_fields[] = {
    TEXT(MUST, task, name),
    WORD(MAY, task, return_at, return_words),
    LIST(MAY, task, frames, &a_frame, 0, MAX_FRAMES),
    LIST(MUST, task, terms, &a_term, 1, MAX_TERMS),
    LIST(MAY, task, ends, &a_end, 1, MAX_ENDS),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t task_schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct yaml_task, task_fields) };
