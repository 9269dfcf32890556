/* test_seal.c - a model flies only where it was sealed with the robot's key: M6 of docs/faults.md, T7 of its threats. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "models/model_file.h"
#include "tests/fixture.h"
#include "tests/test.h"
#include "transport/keys.h"

static char output[8000];

static const char *at(const char *name)
{
    static char path[4][512];
    static int  n;

    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", test_dir(), name);
    return path[n];
}

static int limber(const char *arguments)
{
    char command[2000];

    snprintf(command, sizeof command, "cd %s && %s/limber key %s 2>&1", test_dir(), test_build_dir(), arguments);
    return test_command(command, output, sizeof output);
}

/* ---- the signature ---- */

static void bytes_of(const char *hex, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;

        EXPECT(sscanf(hex + 2 * i, "%2x", &byte) == 1);
        out[i] = (uint8_t)byte;
    }
}

TEST(a_seal_is_the_ed25519_signature_of_rfc_8032)
{
    /* Its section 7.1, tests 1 to 3: secret key, public key, message, signature. */
    static const struct {
        const char *seed, *public, *message, *signature;
    } row[] = {
        { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
          "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
          "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b"
          "be24655"
          "141438e7a100b" },
        { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
          "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
          "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb430"
          "2aeeb00"
          "d291612bb0c00" },
        { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
          "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
          "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716e"
          "d28dc02"
          "7beceea1ec40a" },
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint8_t         seed[SEAL_SEED], public[SEAL_PUBLIC], message[2], wanted[SEAL_BYTES], got[SEAL_BYTES];
        size_t          n = strlen(row[i].message) / 2;
        struct seal_key k;

        bytes_of(row[i].seed, seed, sizeof seed);
        bytes_of(row[i].public, public, sizeof public);
        bytes_of(row[i].message, message, n);
        bytes_of(row[i].signature, wanted, sizeof wanted);
        EXPECT(seal_key_of(seed, &k) && memcmp(k.public, public, sizeof public) == 0);
        seal_sign(&k, message, n, got);
        EXPECT(memcmp(got, wanted, sizeof wanted) == 0 && seal_good(&k, message, n, wanted));
    }
}

/* ---- the file ---- */

static const struct model_dims small = {
    .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3, .input = { INPUT_ANGLE, INPUT_IDENTITY }
};

static struct seal_key key_from(uint8_t first)
{
    uint8_t         seed[SEAL_SEED] = { first };
    struct seal_key k;

    EXPECT(seal_key_of(seed, &k));
    return k;
}

/* A model of `version` whose weights follow from `draw`, sealed with `key` or, where that is NULL, not. */
static void save(const char *name, uint64_t version, uint64_t draw, const struct seal_key *key)
{
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, &small) == 0);
    ensemble_init(&e, draw);
    e.version = version;
    EXPECT(model_file_save_sealed(at(name), &e, "robot", key) == 0);
    ensemble_free(&e);
}

static int load(const char *name, const struct seal_key *key, char *why, size_t size)
{
    struct model_trust trust = { .version = 7, .us = geteuid(), .seal = key };
    struct ensemble    e;
    int                err = model_file_load_trusted(at(name), &trust, "robot", &small, &e, why, size);

    if (!err)
        ensemble_free(&e);
    return err;
}

TEST(what_was_not_sealed_with_this_key_does_not_load)
{
    struct seal_key ours = key_from(1), other = key_from(2);
    char            why[400], command[1600];

    save("a.model", 7, 1, &ours);
    EXPECT(load("a.model", &ours, why, sizeof why) == 0);
    EXPECT(load("a.model", NULL, why, sizeof why) == 0); /* where no seal is wanted none is looked at */
    EXPECT(load("a.model", &other, why, sizeof why) == -EPERM);
    EXPECT_STR(why, "is not what was sealed with paths.model_key");

    save("b.model", 7, 2, NULL); /* whole, of the right robot and version, and nobody judged it */
    EXPECT(load("b.model", &ours, why, sizeof why) == -ENOENT);
    EXPECT_STR(why, "b.model: has no seal");
    snprintf(command, sizeof command, "cp %s %s", at("a.model.sig"), at("b.model.sig"));
    EXPECT(system(command) == 0);
    EXPECT(load("b.model", &ours, why, sizeof why) == -EPERM);

    save("a.model", 7, 2, &other);
    EXPECT(load("a.model", &ours, why, sizeof why) == -EPERM);
    EXPECT(unlink(at("b.model.sig")) == 0 && mkfifo(at("b.model.sig"), 0600) == 0);
    EXPECT(load("b.model", &ours, why, sizeof why) == -EPERM); /* and does not wait for a writer */
}

TEST(every_flipped_bit_and_every_other_length_of_a_seal_is_refused)
{
    struct seal_key ours                 = key_from(1);
    uint8_t         seal[SEAL_BYTES + 1] = { 0 };
    char            why[400];

    save("c.model", 7, 1, &ours);
    int fd = open(at("c.model.sig"), O_RDWR);
    EXPECT(fd >= 0 && read(fd, seal, sizeof seal) == SEAL_BYTES);
    for (size_t bit = 0; bit < 8 * SEAL_BYTES; bit++) {
        uint8_t flipped = seal[bit / 8] ^ (uint8_t)(1 << bit % 8);

        EXPECT(pwrite(fd, &flipped, 1, (off_t)(bit / 8)) == 1);
        EXPECT(load("c.model", &ours, why, sizeof why) == -EPERM);
        EXPECT(pwrite(fd, &seal[bit / 8], 1, (off_t)(bit / 8)) == 1);
    }
    EXPECT(load("c.model", &ours, why, sizeof why) == 0);
    for (off_t n = 0; n <= SEAL_BYTES + 1; n++) {
        EXPECT(ftruncate(fd, 0) == 0 && pwrite(fd, seal, (size_t)n, 0) == n);
        EXPECT((load("c.model", &ours, why, sizeof why) == 0) == (n == SEAL_BYTES));
    }
    close(fd);
}

/* ---- limber key ---- */

TEST(limber_key_makes_the_key_and_lets_a_model_fly)
{
    uint8_t         seed[KEY_BYTES];
    struct seal_key ours, other;
    struct stat     st;
    char            why[800];

    EXPECT(limber("--signing model.key") == 0);
    EXPECT(stat(at("model.key"), &st) == 0 && (st.st_mode & 0777) == 0600);
    EXPECT(keys_load_signing(at("model.key"), seed, why, sizeof why) && seal_key_of(seed, &ours));
    EXPECT(limber("--signing model.key") == 73); /* never overwritten */
    EXPECT(limber("--signing another.key") == 0);
    EXPECT(keys_load_signing(at("another.key"), seed, why, sizeof why) && seal_key_of(seed, &other));
    EXPECT(memcmp(ours.public, other.public, sizeof ours.public) != 0);

    save("d.model", 7, 1, NULL);
    EXPECT(limber("--seal model.key d.model") == 0);
    EXPECT(load("d.model", &ours, why, sizeof why) == 0 && load("d.model", &other, why, sizeof why) == -EPERM);
    EXPECT(limber("--seal model.key model.key") == 78);
    EXPECT_STR(output, "is not a Limber model");
    EXPECT(limber("--seal model.key none.model") == 78 && limber("--seal none.key d.model") == 78);
    EXPECT(limber("--seal model.key --signing d.model") == 64);
    EXPECT(limber("pair.key") == 0 && limber("--seal pair.key d.model") == 78); /* a key is for one thing */
    EXPECT_STR(output, "expected \"signing KEY\"");
    EXPECT(limber("--public model.key") == 78);
    EXPECT(chmod(at("model.key"), 0640) == 0 && limber("--seal model.key d.model") == 78);
    EXPECT_STR(output, "chmod 600");
}

/* ---- limberd ---- */

static const char *const edits[] = {
    "steps: 200", "steps: 40", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100",
    "count: 15",  "count: 1",  "cores: {",      "paths: {model_key: model.key}\ncores: {",
    NULL
};

static bool told(struct fixture *f, const char *words)
{
    json_t *s    = fixture_status(f);
    char   *text = s ? json_dumps(s, 0) : NULL;
    bool    yes  = text && strstr(text, words);

    free(text);
    json_decref(s);
    return yes;
}

/* Another model under its name, as a program would put it that may write there and knows the format; with its old seal. */
static void swap_model(const struct fixture *f)
{
    static struct robot_config c;
    struct ensemble            e;
    char                       path[300], why[600];

    EXPECT(config_load(f->config, &c, why, sizeof why) == 0);
    EXPECT(ensemble_alloc(&e, &c.model) == 0);
    ensemble_init(&e, 99);
    e.version = 1;
    snprintf(path, sizeof path, "%s/models/model-1.model", f->dir);
    EXPECT(model_file_save(path, &e, "cartpole") == 0);
    ensemble_free(&e);
}

TEST(a_daemon_with_a_key_seals_what_it_judged_and_flies_nothing_else)
{
    static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };
    struct fixture           f;
    char                     path[900];

    EXPECT(limber("--signing model.key") == 0);
    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL) && fixture_bridge(&f, lockstep) && fixture_arm(&f, 10));
    EXPECT(fixture_wait(&f, "trials.finished", "true", 60));
    EXPECT(fixture_number(&f, "model.version") >= 1);
    fixture_end(&f);
    snprintf(path, sizeof path, "%s/models/model-1.model.sig", f.dir);
    EXPECT(access(path, R_OK) == 0);
    snprintf(path, sizeof path, "%s/models/candidate-1.model", f.dir);
    EXPECT(access(path, R_OK) != 0);
    snprintf(path, sizeof path,
             "rm -f %s/models/model-[2-9]*; sqlite3 %s/experience.db 'delete from models where version > 1'", f.dir,
             f.dir);
    EXPECT(system(path) == 0); /* the first one is the newest */

    EXPECT(fixture_daemon(&f, NULL) && fixture_wait(&f, "model.version", "1", 1));
    fixture_end(&f);
    swap_model(&f);
    EXPECT(fixture_daemon(&f, NULL) && fixture_wait(&f, "model.version", "0", 1));
    EXPECT(told(&f, "version 1 is not used") && told(&f, "is not what was sealed"));
    fixture_end(&f);

    snprintf(path, sizeof path, "--seal model.key %s/models/model-1.model", f.dir); /* somebody answers for it */
    EXPECT(limber(path) == 0);
    EXPECT(fixture_daemon(&f, NULL) && fixture_wait(&f, "model.version", "1", 1));
    fixture_end(&f);
}

TEST(a_key_that_is_missing_known_to_others_or_within_the_trainers_reach_is_refused_by_name)
{
    struct fixture f;
    char           command[900];

    fixture_init(&f, edits);
    snprintf(command, sizeof command, "timeout 5 %s/limberd --config %s --run-dir %s 2>&1", test_build_dir(), f.config,
             f.dir);
    EXPECT(test_command(command, output, sizeof output) == 78);
    EXPECT_STR(output, "model.key: No such file");
    EXPECT(limber("--signing model.key") == 0 && chmod(at("model.key"), 0644) == 0);
    EXPECT(test_command(command, output, sizeof output) == 78);
    EXPECT_STR(output, "chmod 600");
    EXPECT(chmod(at("model.key"), 0600) == 0);
    snprintf(command, sizeof command, "timeout 5 %s/limberd --config %s --run-dir %s 2>&1", test_build_dir(), f.config,
             test_dir());
    EXPECT(test_command(command, output, sizeof output) == 78);
    EXPECT_STR(output, "is in a directory that limber-trainer may read");
}
