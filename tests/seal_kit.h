/* seal_kit.h - for tests of signed models: a small one, keys, and files in the test's directory. */
#ifndef TESTS_SEAL_KIT_H
#define TESTS_SEAL_KIT_H

#include <stdio.h>
#include <unistd.h>

#include "models/model_file.h"
#include "tests/test.h"

static inline const char *at(const char *name)
{
    static char path[4][512];
    static int  n;

    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", test_dir(), name);
    return path[n];
}

static const struct model_dims small = {
    .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3, .input = { INPUT_ANGLE, INPUT_IDENTITY }
};

static inline struct seal_key key_from(uint8_t first)
{
    uint8_t         seed[SEAL_SEED] = { first };
    struct seal_key k;

    EXPECT(seal_key_of(seed, &k));
    return k;
}

/* A model of `version` whose weights follow from `draw`, sealed with `key` or, where that is NULL, not. */
static inline void save(const char *name, uint64_t version, uint64_t draw, const struct seal_key *key)
{
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, &small) == 0);
    ensemble_init(&e, draw);
    e.version = version;
    uint8_t seal[SEAL_BYTES];
    EXPECT(model_file_save_signed(at(name), &e, "robot", key, seal) == 0);
    EXPECT(!key || model_file_put_seal(at(name), seal) == 0);
    ensemble_free(&e);
}

static inline int load(const char *name, const struct seal_key *key, char *why, size_t size)
{
    struct model_trust trust = { .version = 7, .us = geteuid(), .seal = key };
    struct ensemble    e;
    int                err = model_file_load_trusted(at(name), &trust, "robot", &small, &e, why, size);

    if (!err)
        ensemble_free(&e);
    return err;
}

#endif
