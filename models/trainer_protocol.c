/* trainer_protocol.c - see trainer_protocol.h. */
#include "models/trainer_protocol.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ENDS(array) (memchr((array), 0, sizeof(array)) != NULL)

void trainer_candidate(const char *models, uint64_t version, char *out, size_t size)
{
    snprintf(out, size, "%.450s/candidate-%llu.model", models, (unsigned long long)version);
}

bool trainer_head_good(const void *message, size_t got, size_t size)
{
    uint32_t head[2];

    if (got < size || got < sizeof head)
        return false;
    memcpy(head, message, sizeof head);
    return head[0] == TRAINER_MAGIC && head[1] == size;
}

/* As bytes: what is read as a bool must be one. */
static bool bools_good(const struct train_config *c)
{
    static const size_t at[] = { offsetof(struct train_config, warm_start), offsetof(struct train_config, bootstrap),
                                 offsetof(struct train_config, standardise_targets),
                                 offsetof(struct train_config, learned_bounds),
                                 offsetof(struct train_config, flat_out) };

    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        if (((const uint8_t *)c)[at[i]] > 1)
            return false;
    return true;
}

static bool config_good(const struct train_config *c)
{
    const double number[] = { c->learning_rate, c->holdout, c->improvement, c->learning_rate_final, c->reward_weight,
                              c->spectral_norm, c->recent,  c->nll_beta,    c->input_noise,         c->unroll_weight };
    const int    whole[]  = { c->epochs,    c->min_steps, c->patience,    c->train_members,
                              c->max_steps, c->unroll,    c->unroll_grow, c->recent_trials };

    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        if (!(number[i] >= 0 && isfinite(number[i])))
            return false;
    for (int l = 0; l <= MAX_LAYERS; l++)
        if (!(c->weight_decay[l] >= 0 && isfinite(c->weight_decay[l])))
            return false;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i] < 0)
            return false;
    return c->batch >= 1 && c->batch <= TRAINER_BATCH_MAX && c->unroll <= TRAINER_UNROLL_MAX;
}

static bool schema_good(const struct store_schema *s)
{
    if (!ENDS(s->robot) || !s->robot[0] || s->nx < 1 || s->nx > MAX_OBS || s->na < 1 || s->na > MAX_ACT)
        return false;
    for (int i = 0; i < MAX_OBS; i++)
        if (!ENDS(s->observation[i]))
            return false;
    for (int i = 0; i < MAX_ACT; i++)
        if (!ENDS(s->action[i]))
            return false;
    return true;
}

const char *trainer_setup_fault(const struct trainer_setup *s)
{
    if (!schema_good(&s->schema))
        return "its schema is none";
    if (s->schema.nx != s->dims.nx || s->schema.na != s->dims.na)
        return "its schema and the model's sizes disagree";
    if (!ENDS(s->store) || !ENDS(s->models) || !s->store[0] || !s->models[0])
        return "a path in it does not end, or is empty";
    if (!ENDS(s->config.recipe) || !bools_good(&s->config) || !config_good(&s->config))
        return "a number of its recipe is out of range";
    return NULL;
}

const char *trainer_order_fault(const struct trainer_order *o)
{
    if (!ENDS(o->base_file))
        return "its path does not end";
    for (int i = 0; i < MAX_OBS; i++)
        if (!(o->cost_slope2[i] >= 0 && isfinite(o->cost_slope2[i])))
            return "a slope of the cost is no number";
    return NULL;
}

const char *trainer_report_fault(const struct trainer_report *r, const char *models)
{
    char candidate[sizeof r->file];

    trainer_candidate(models, r->version, candidate, sizeof candidate);
    if (r->stage != TRAINER_PROGRESS && r->stage != TRAINER_DONE && r->stage != TRAINER_FAILED)
        return "its stage is none";
    if (!ENDS(r->file) || !ENDS(r->why))
        return "a text in it does not end";
    if (!(r->done >= 0 && isfinite(r->done)) || !(r->train_s >= 0 && isfinite(r->train_s)) || r->steps < 0 ||
        r->transitions < 0)
        return "a number in it is out of range";
    if (r->stage == TRAINER_DONE && strcmp(r->file, candidate) != 0)
        return "it names another file than its candidate";
    return NULL;
}
