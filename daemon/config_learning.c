/* config_learning.c - model, planner and trainer, with the defaults of each planner and recipe. */
#include <stdio.h>
#include <string.h>

#include "daemon/config_parts.h"
#include "daemon/rt/check.h"

/* random and cem: the PETS authors' code; icem: Pinneri et al. 2020 with sizes that fit one core.  particles: per
 * member of the ensemble. */
static const struct planner_config planner_defaults[] = {
    { .name       = "random",
      .horizon    = 25,
      .population = 2000,
      .iterations = 1,
      .elites     = 1,
      .particles  = 4,
      .execute    = EXECUTE_BEST,
      .decay      = 1 },
    { .name       = "cem",
      .horizon    = 25,
      .population = 400,
      .iterations = 5,
      .elites     = 40,
      .particles  = 4,
      .execute    = EXECUTE_MEAN,
      .alpha      = 0.1,
      .decay      = 1,
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
};
static const double init_std_default = 0.5;

/* Which planners a key means something to. */
static const struct {
    const char *key, *planners;
} planner_keys[] = {
    { "iterations", "cem icem" }, { "elites", "cem icem" }, { "execute", "cem icem" },
    { "alpha", "cem icem" },      { "epsilon", "cem" },     { "init_std", "icem" },
    { "noise_beta", "icem" },     { "decay", "icem" },      { "keep", "icem" },
};

static int planner_name(struct document *d, const struct yaml_planner *y, struct planner_config *p)
{
    const char *name = y->name ? y->name : "icem";

    for (size_t i = 0; i < sizeof planner_defaults / sizeof planner_defaults[0]; i++)
        if (strcmp(planner_defaults[i].name, name) == 0)
            *p = planner_defaults[i];
    if (!p->name[0])
        return document_fail(d, "planner.name", "expected random | cem | icem");
    for (size_t i = 0; i < sizeof planner_keys / sizeof planner_keys[0]; i++) {
        const char *key = document_key(d, "planner.%s", planner_keys[i].key);
        /* "cem" is also a part of "icem": compare whole words */
        bool means = strcmp(planner_keys[i].planners, name) == 0 ||
                     (strcmp(planner_keys[i].planners, "cem icem") == 0 && strcmp(name, "random") != 0);
        if (document_at(d, key) && !means)
            return document_fail(d, key, "expected this key only with planner %s; %s does not use it",
                                 planner_keys[i].planners, name);
    }
    return 0;
}

/* One number for all actions, or one per action. */
static int planner_init_std(struct document *d, const struct robot_config *c, struct planner_config *p)
{
    const struct node *n    = document_at(d, "planner.init_std");
    double             each = init_std_default;

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

    if (planner_name(d, y, p) < 0 || planner_init_std(d, c, p) < 0)
        return -1;
    p->horizon        = or_int(y->horizon, p->horizon);
    p->population     = or_int(y->population, p->population);
    p->iterations     = or_int(y->iterations, p->iterations);
    p->elites         = or_int(y->elites, p->elites);
    p->particles      = or_int(y->particles, p->particles * c->model.members);
    p->propagation    = (enum particle_kind)or_int(y->propagation, PARTICLES_TSINF);
    p->execute        = (enum execute_kind)or_int(y->execute, (int)p->execute);
    p->alpha          = or_float(y->alpha, p->alpha);
    p->noise_beta     = or_float(y->noise_beta, p->noise_beta);
    p->decay          = or_float(y->decay, p->decay);
    p->keep           = or_float(y->keep, p->keep);
    p->epsilon        = or_float(y->epsilon, p->epsilon);
    c->planner_budget = or_float(y->budget, 0.6);

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
    return 0;
}

int config_learning(struct document *d, const struct yaml_robot *y, struct robot_config *c)
{
    c->model = (struct model_dims){ .nx      = c->nx,
                                    .na      = c->na,
                                    .members = or_int(y->model.members, 5),
                                    .layers  = or_int(y->model.layers, 2),
                                    .hidden  = or_int(y->model.hidden, 64) };
    for (int i = 0; i < c->nx; i++)
        c->model.input[i] = c->observation[i].angle ? INPUT_ANGLE : INPUT_IDENTITY;
    if (planner(d, &y->planner, c) < 0 || planner_agrees(d, c) < 0)
        return -1;
    return trainer(d, &y->trainer, c);
}
