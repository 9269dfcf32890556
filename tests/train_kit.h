/* train_kit.h - what the tests of models/train.c share (test_train*.c). */
#ifndef TESTS_TRAIN_KIT_H
#define TESTS_TRAIN_KIT_H

#include "models/train_parts.h"
#include "tests/pendulum.h"
#include "tests/test.h"

/* What a fresh trainer makes of the data. */
static inline struct ensemble fitted(const struct model_dims *d, const struct train_config *c,
                                     const struct train_data *data, uint64_t seed)
{
    struct trainer *t = trainer_new(d, c, seed);
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, d) == 0);
    EXPECT(trainer_fit(t, data, NULL, NULL, NULL) >= c->min_steps);
    trainer_export(t, &e);
    trainer_free(t);
    return e;
}

/* Of all members. */
static inline size_t weight_bytes(const struct model_dims *d)
{
    return (size_t)d->members * ensemble_params(d) * sizeof(float);
}

#endif
