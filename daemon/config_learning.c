/* config_learning.c - model, planner and trainer, with the defaults of each planner and recipe. */
#include <stdio.h>
#include <string.h>

#include "daemon/config_parts.h"
#include "daemon/rt/check.h"

/* random and cem: the PETS authors' code.  The others are sized to fit one core, about 300 to 400 candidates a step;
 * settings: icem: Pinneri et al. 2020; mppi: lambda between the 0.01 advised for pytorch_mppi and Nav2's 0.3; pddm: its ant task (Nagabandi et al.
 * 2019), std of its cheetah task; cmaes: no settings (Hansen 2016); gradient: a gradient costs as much as about three
 * evaluations; cemgd: Huang et al. 2021, but for the large first population, which is left to choice.  particles: per
 * member of the ensemble. */
static const struct planner_config planner_defaults[] = {
    { .name       = "random",
      .horizon    = 25,
      .population = 2000,
      .iterations = 1,
      .elites     = 1,
      .particles  = 4,
      .execute    = EXECUTE_BEST },
    { .name       = "cem",
      .horizon    = 25,
      .population = 400,
      .iterations = 5,
      .elites     = 40,
      .particles  = 4,
      .execute    = EXECUTE_MEAN,
      .alpha      = 0.1,
      .epsilon    = 0.001 },
    { .name       = "icem",
      .horizon    = 20,
      .population = 128,
      .iterations = 3,
      .elites     = 10,
      .particles  = 1,
      .execute    = EXECUTE_BEST,
      .alpha      = 0.1,
      .noise_beta = 2,
      .decay      = 1.25,
      .keep       = 0.3 },
    { .name       = "mppi",
      .horizon    = 20,
      .population = 128,
      .iterations = 3,
      .elites     = 1,
      .particles  = 1,
      .execute    = EXECUTE_MEAN,
      .lambda     = 0.1,
      .anneal     = 0.7 },
    { .name       = "pddm",
      .horizon    = 20,
      .population = 384,
      .iterations = 1,
      .elites     = 1,
      .particles  = 1,
      .execute    = EXECUTE_MEAN,
      .kappa      = 10,
      .smoothing  = 0.7,
      .anneal     = 1 },
    { .name       = "cmaes",
      .horizon    = 20,
      .population = 32,
      .iterations = 10,
      .elites     = 1,
      .particles  = 1,
      .execute    = EXECUTE_MEAN },
    { .name          = "gradient",
      .horizon       = 20,
      .population    = 4,
      .iterations    = 25,
      .elites        = 1,
      .particles     = 1,
      .execute       = EXECUTE_BEST,
      .learning_rate = 0.1 },
    { .name          = "cemgd",
      .horizon       = 20,
      .population    = 50,
      .iterations    = 4,
      .elites        = 10,
      .particles     = 1,
      .execute       = EXECUTE_BEST,
      .alpha         = 0.1,
      .learning_rate = 0.05,
      .steps         = 15,
      .polish        = 3 },
};
static const double init_std_default = 0.5, init_std_pddm = 0.9;

#define PLANNER_NAMES "random | cem | icem | mppi | pddm | cmaes | gradient | cemgd"

/* Which planners a key means something to; all others mean something to all. */
static const struct {
    const char *key, *planners;
} planner_keys[] = {
    { "iterations", "cem, icem, mppi, pddm, cmaes, gradient or cemgd" },
    { "elites", "cem, icem or cemgd" },
    { "execute", "cem, icem, mppi, pddm or cmaes" },
    { "alpha", "cem, icem or cemgd" },
    { "epsilon", "cem" },
    { "init_std", "icem, mppi, pddm, cmaes, gradient or cemgd" },
    { "noise_beta", "icem" },
    { "decay", "icem" },
    { "keep", "icem" },
    { "lambda", "mppi" },
    { "kappa", "pddm" },
    { "smoothing", "pddm" },
    { "anneal", "mppi or pddm" },
    { "learning_rate", "gradient or cemgd" },
    { "steps", "cemgd" },
    { "polish", "cemgd" },
    { "first_population", "cemgd" },
};

/* Whether the list has the name as a whole word: "cem" is also a part of "icem". */
static bool lists(const char *list, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
        if ((at == list || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' ' || at[n] == ','))
            return true;
    return false;
}

bool config_planner_uses(const char *name, const char *key)
{
    for (size_t i = 0; i < sizeof planner_keys / sizeof planner_keys[0]; i++)
        if (strcmp(planner_keys[i].key, key) == 0)
            return lists(planner_keys[i].planners, name);
    return true;
}

int config_planner(const char *name, int na, struct planner_config *c)
{
    for (size_t i = 0; i < sizeof planner_defaults / sizeof planner_defaults[0]; i++) {
        if (strcmp(planner_defaults[i].name, name) != 0)
            continue;
        *c = planner_defaults[i];
        for (int j = 0; j < na; j++)
            c->init_std[j] = strcmp(name, "pddm") == 0 ? init_std_pddm : init_std_default;
        return 0;
    }
    return -1;
}

static int planner_name(struct document *d, const struct yaml_planner *y, int na, struct planner_config *p)
{
    const char *name = y->name ? y->name : "icem";

    if (config_planner(name, na, p) < 0)
        return document_fail(d, "planner.name", "expected " PLANNER_NAMES);
    for (size_t i = 0; i < sizeof planner_keys / sizeof planner_keys[0]; i++) {
        const char *key = document_key(d, "planner.%s", planner_keys[i].key);

        if (document_at(d, key) && !lists(planner_keys[i].planners, name))
            return document_fail(d, key, "expected this key only with planner %s; %s does not use it",
                                 planner_keys[i].planners, name);
    }
    if (y->spline && !y->knots)
        return document_fail(d, "planner.spline", "expected this key only with planner.knots");
    return 0;
}

/* One number for all actions, or one per action. */
static int planner_init_std(struct document *d, const struct robot_config *c, struct planner_config *p)
{
    const struct node *n    = document_at(d, "planner.init_std");
    double             each = p->init_std[0];

    if (n && n->kind == NODE_LIST) {
        if (n->n != c->na)
            return node_fail(d, n, "expected one number, or a list of %d: one per action", c->na);
        for (const struct node *e = n->child; e; e = e->next)
            if (schema_number(d, e, false, &p->init_std[e->index]) < 0)
                return -1;
        return 0;
    }
    if (n && schema_number(d, n, false, &each) < 0)
        return -1;
    for (int i = 0; i < c->na; i++)
        p->init_std[i] = each;
    return 0;
}

static int planner(struct document *d, const struct yaml_planner *y, struct robot_config *c)
{
    struct planner_config *p = &c->planner;

    if (planner_name(d, y, c->na, p) < 0 || planner_init_std(d, c, p) < 0)
        return -1;
    p->horizon          = or_int(y->horizon, p->horizon);
    p->population       = or_int(y->population, p->population);
    p->iterations       = or_int(y->iterations, p->iterations);
    p->elites           = or_int(y->elites, p->elites);
    p->particles        = or_int(y->particles, p->particles * c->model.members);
    p->propagation      = (enum particle_kind)or_int(y->propagation, PARTICLES_TSINF);
    p->execute          = (enum execute_kind)or_int(y->execute, (int)p->execute);
    p->alpha            = or_float(y->alpha, p->alpha);
    p->noise_beta       = or_float(y->noise_beta, p->noise_beta);
    p->decay            = or_float(y->decay, p->decay);
    p->keep             = or_float(y->keep, p->keep);
    p->epsilon          = or_float(y->epsilon, p->epsilon);
    p->risk             = or_float(y->risk, 0);
    p->lambda           = or_float(y->lambda, p->lambda);
    p->kappa            = or_float(y->kappa, p->kappa);
    p->smoothing        = or_float(y->smoothing, p->smoothing);
    p->anneal           = or_float(y->anneal, p->anneal);
    p->learning_rate    = or_float(y->learning_rate, p->learning_rate);
    p->steps            = or_int(y->steps, p->steps);
    p->polish           = or_int(y->polish, p->polish);
    p->knots            = or_int(y->knots, 0);
    p->spline           = (enum spline_kind)or_int(y->spline, SPLINE_LINEAR);
    p->repeat           = or_int(y->repeat, 1);
    p->proposals        = or_int(y->proposals, 0);
    p->dtype            = (enum plan_dtype)or_int(y->dtype, DTYPE_F32);
    p->exact            = or_int(y->activation, 0) != 0;
    p->first_population = or_int(y->first_population, 0);
    c->planner_budget   = or_float(y->budget, 0.6);

    if (p->elites > p->population)
        return document_fail(d, y->elites ? "planner.elites" : "planner.population",
                             "expected elites (%d) <= population (%d)", p->elites, p->population);
    if (p->particles % c->model.members != 0)
        return document_fail(d, "planner.particles", "expected a multiple of model.members (%d)", c->model.members);
    return 0;
}

/* What only the planner knows about itself, as "KEY: expected ...". */
static int planner_agrees(struct document *d, const struct robot_config *c)
{
    const char *error = planner_config_error(&c->planner, &c->model);

    if (!error)
        return 0;
    int key = (int)strcspn(error, ":");
    CHECK(error[key] == ':' && error[key + 1] == ' ');
    return document_fail(d, document_key(d, "%s%.*s", strncmp(error, "model", 5) == 0 ? "" : "planner.", key, error),
                         "%s", error + key + 2);
}

/* Keys that change nothing unless another one does. */
static int trainer_key_has_effect(struct document *d, const char *key, bool effective, const char *needs)
{
    return effective || !document_at(d, key) ? 0 : document_fail(d, key, "expected this key only with %s", needs);
}

/* What later work added to PETS, all off by default: docs/learning.md. */
static int trainer_options(struct document *d, const struct yaml_trainer *y, const struct robot_config *c,
                           struct train_config *t)
{
    t->holdout       = or_float(y->holdout, 0);
    t->patience      = or_int(y->patience, 0);
    t->improvement   = or_float(y->improvement, 0.01);
    t->train_members = or_int(y->train_members, c->model.members);

    t->learning_rate_final = or_float(y->learning_rate_final, 1);
    t->max_steps           = or_int(y->max_steps, 0);
    t->input_noise         = or_float(y->input_noise, 0);
    t->nll_beta            = or_float(y->nll_beta, 0);
    t->recent              = or_float(y->recent, 0);
    t->recent_trials       = or_int(y->recent_trials, 1);
    t->unroll              = or_int(y->unroll, 1);
    t->unroll_grow         = or_int(y->unroll_grow, 1);
    t->unroll_weight       = or_float(y->unroll_weight, 1);
    t->reward_weight       = or_float(y->reward_weight, 0);
    t->spectral_norm       = or_float(y->spectral_norm, 0);

    if (trainer_key_has_effect(d, "trainer.patience", t->holdout > 0, "trainer.holdout above 0") < 0 ||
        trainer_key_has_effect(d, "trainer.improvement", t->patience > 0, "trainer.patience above 0") < 0 ||
        trainer_key_has_effect(d, "trainer.recent_trials", t->recent > 0, "trainer.recent above 0") < 0 ||
        trainer_key_has_effect(d, "trainer.unroll_grow", t->unroll > 1, "trainer.unroll above 1") < 0 ||
        trainer_key_has_effect(d, "trainer.unroll_weight", t->unroll > 1, "trainer.unroll above 1") < 0)
        return -1;
    if (t->max_steps && t->max_steps < t->min_steps)
        return document_fail(d, "trainer.max_steps", "expected at least trainer.min_steps (%d)", t->min_steps);
    if (t->train_members < c->model.members)
        return document_fail(d, "trainer.train_members", "expected at least model.members (%d)", c->model.members);
    if (t->train_members > c->model.members && t->holdout == 0)
        return document_fail(
            d, "trainer.train_members",
            "expected more than model.members (%d) only with trainer.holdout above 0: the best are chosen by it",
            c->model.members);
    return 0;
}

static int trainer(struct document *d, const struct yaml_trainer *y, struct robot_config *c)
{
    bool                 paper  = y->recipe && *y->recipe == RECIPE_PAPER;
    int                  layers = c->model.layers + 1;
    struct train_config *t      = &c->trainer;

    snprintf(t->recipe, sizeof t->recipe, "%s", paper ? "paper" : "steps");
    t->learning_rate       = or_float(y->learning_rate, 1e-3);
    t->batch               = or_int(y->batch, 32);
    t->epochs              = or_int(y->epochs, paper ? 5 : 50);
    t->min_steps           = or_int(y->min_steps, paper ? 0 : 3000);
    c->aggregate           = or_bool(y->aggregate, true);
    t->warm_start          = or_bool(y->warm_start, true);
    t->bootstrap           = or_bool(y->bootstrap, true);
    t->standardise_targets = or_bool(y->standardise_targets, !paper);
    t->learned_bounds      = or_bool(y->learned_bounds, paper);

    if (y->weight_decay && (int)y->weight_decay_count != layers)
        return document_fail(d, "trainer.weight_decay", "expected %d numbers: model.layers + 1, input to output",
                             layers);
    for (int l = 0; l < layers; l++) { /* PETS' cart-pole: 1e-4, 2.5e-4 ..., 5e-4 */
        t->weight_decay[l] = l == 0 ? 1e-4 : l == layers - 1 ? 5e-4 : 2.5e-4;
        if (y->weight_decay)
            t->weight_decay[l] = y->weight_decay[l];
    }
    return trainer_options(d, y, c, t);
}

/* model.planar: three observations. */
static int planar(struct document *d, const struct yaml_model *y, struct robot_config *c)
{
    int  at[3];
    char names[600];

    if (!y->planar)
        return 0;
    for (int k = 0; k < 3; k++) {
        const char *key = document_key(d, "model.planar[%d]", k);

        at[k] = config_observation(c, y->planar[k]);
        if (at[k] < 0) {
            config_observation_names(c, names, sizeof names);
            return document_fail(d, key, "expected one of the observations: %s", names);
        }
        for (int other = 0; other < k; other++)
            if (at[other] == at[k])
                return document_fail(d, key, "expected three different observations: x, y and the heading");
        if (k < 2 && c->model.target[at[k]] != TARGET_CHANGE)
            return document_fail(d, key, "expected an observation whose change is predicted, not predict: absolute");
    }
    c->model.target[at[0]] = TARGET_AHEAD;
    c->model.target[at[1]] = TARGET_ASIDE;
    c->model.heading       = (uint8_t)at[2];
    return 0;
}

/* observation[].range: what the planner's predictions are held to. */
static void ranges(struct robot_config *c)
{
    for (int i = 0; i < c->nx; i++) {
        const struct observation_config *o = &c->observation[i];
        struct state_range               r = { .obs = i, .rate = -1, .low = (float)o->low, .high = (float)o->high };

        for (int k = 0; k < c->nx && o->measure == MEASURE_POSITION; k++)
            if (c->observation[k].measure == MEASURE_VELOCITY && c->observation[k].joint == o->joint)
                r.rate = k;
        if (o->ranged)
            c->planner.range[c->planner.nrange++] = r;
    }
}

int config_reward(struct document *d, const struct robot_config *c)
{
    for (int i = 0; i < c->task.nterm; i++)
        if (c->task.term[i].kind != TERM_EFFORT && c->task.term[i].kind != TERM_ALIVE)
            return 0;
    return c->trainer.reward_weight > 0
               ? document_fail(d, "trainer.reward_weight", "expected a task with a term that depends on observations")
               : 0;
}

int config_learning(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    c->model = (struct model_dims){ .nx      = c->nx,
                                    .na      = c->na,
                                    .members = or_int(y->model.members, 5),
                                    .layers  = or_int(y->model.layers, 2),
                                    .hidden  = or_int(y->model.hidden, 64) };
    for (int i = 0; i < c->nx; i++) {
        c->model.input[i]  = c->observation[i].input;
        c->model.target[i] = c->observation[i].target;
    }
    if (planar(d, &y->model, c) < 0)
        return -1;
    if (planner(d, &y->planner, c) < 0 || planner_agrees(d, c) < 0)
        return -1;
    ranges(c);
    return trainer(d, &y->trainer, c);
}
