/* config_parts.h - the pieces of config_load(), one per file; see config.h for what they fill in.
 *
 * Each returns 0, or -1 with the document's `why` filled. */
#ifndef DAEMON_CONFIG_PARTS_H
#define DAEMON_CONFIG_PARTS_H

#include "daemon/config.h"
#include "daemon/config_schema.h"

/* config_body.c: joints, extra, action, observation, baseline, exploration. */
int config_body(struct document *d, const struct yaml_robot *y, struct robot_config *c);

/* config_learning.c: model, planner, trainer; after config_body(). */
int config_learning(struct document *d, const struct yaml_robot *y, struct robot_config *c);

/* The same file: whether the task has what trainer.reward_weight needs; after config_task(). */
int config_reward(struct document *d, const struct robot_config *c);

/* Index of the joint or observation of that name, -1 if there is none; and all names as "a, b, c". */
int  config_joint(const struct robot_config *c, const char *name);
int  config_observation(const struct robot_config *c, const char *name);
void config_joint_names(const struct robot_config *c, char *out, size_t size);
void config_observation_names(const struct robot_config *c, char *out, size_t size);

static inline double or_float(const double *v, double fallback)
{
    return v ? *v : fallback;
}

static inline int or_int(const int *v, int fallback)
{
    return v ? *v : fallback;
}

static inline bool or_bool(const bool *v, bool fallback)
{
    return v ? *v : fallback;
}

#endif
