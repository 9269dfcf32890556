/* test_seal.c - limber key makes the key, and a daemon that has one flies only what it signed: M6 of docs/faults.md, T7 of its threats. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "tests/fixture.h"
#include "tests/seal_kit.h"
#include "transport/keys.h"

static char output[8000];

static int limber(const char *arguments)
{
    char command[2000];

    snprintf(command, sizeof command, "cd %s && %s/limber key %s 2>&1", test_dir(), test_build_dir(), arguments);
    return test_command(command, output, sizeof output);
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
    snprintf(path, sizeof path, "sqlite3 %s/experience.db 'delete from models where version > 1'", f.dir);
    EXPECT(fixture_daemon(&f, NULL) && fixture_wait(&f, "model.version", "0", 1));
    EXPECT(fixture_says(&f, "version 1 is not used") && fixture_says(&f, "is not what was sealed"));
    fixture_end(&f);
    EXPECT(system(path) == 0); /* it may have trained another */

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
    EXPECT_STR(output, "model.key: is in a directory that limber-trainer may read and write");
}
