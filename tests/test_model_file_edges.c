/* test_model_file_edges.c - model files where the disk, the memory or the path does not do as it is told. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "daemon/rt/sanitized.h"
#include "models/model_file.h"
#include "tests/test.h"

static const struct model_dims small = { .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3 };

static char path[600], why[300];

static struct ensemble a_model(const struct model_dims *dims, uint64_t version)
{
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, dims) == 0);
    ensemble_init(&e, version);
    e.version = version;
    return e;
}

static int save(uint64_t version)
{
    struct ensemble e   = a_model(&small, version);
    int             err = model_file_save(path, &e, "robot");

    ensemble_free(&e);
    return err;
}

/* The version of the model that is there, or -errno. */
static int64_t load(void)
{
    struct ensemble e;
    int             err = model_file_load(path, "robot", &small, &e, why, sizeof why);

    if (err)
        return err;
    ensemble_free(&e);
    return (int64_t)e.version;
}

static bool left_beside(void)
{
    char beside[sizeof path + 8];

    snprintf(beside, sizeof beside, "%s.tmp", path);
    return access(beside, F_OK) == 0;
}

/* ---- calls that fail ---- */

typedef void failing(const char *kind, long k, int write_errno); /* tests/shim/failing.c */

/* The k-th call of a kind fails while version 2 is saved over version 1, or version 1 is loaded. */
static void saving_fails(failing *fail, const char *kind, long k, int reason, int err, int64_t version)
{
    EXPECT(save(1) == 0);
    struct ensemble e = a_model(&small, 2);
    fail(kind, k, reason);
    int got = model_file_save(path, &e, "robot");
    fail(NULL, 0, 0);
    ensemble_free(&e);
    EXPECT(got == err);
    EXPECT(load() == version && !left_beside());
}

static void loading_fails(failing *fail, const char *kind, long k, int err, const char *reason)
{
    struct ensemble e = { .version = 77 };

    EXPECT(save(1) == 0);
    fail(kind, k, 0);
    int got = model_file_load(path, "robot", &small, &e, why, sizeof why);
    fail(NULL, 0, 0);
    EXPECT(got == err && e.version == 77);
    EXPECT_STR(why, "m.model: ");
    EXPECT_STR(why, reason);
}

static void every_call_fails(failing *fail)
{
    snprintf(path, sizeof path, "%s/m.model", test_dir());
    saving_fails(fail, "malloc", 1, 0, -ENOMEM, 1);
    saving_fails(fail, "open", 1, 0, -EMFILE, 1);
    saving_fails(fail, "write", 1, ENOSPC, -ENOSPC, 1);
    saving_fails(fail, "write", 1, EINTR, 0, 2); /* a signal: goes on */
    saving_fails(fail, "sync", 1, 0, -EIO, 1);
    saving_fails(fail, "rename", 1, 0, -EIO, 1);
    saving_fails(fail, "open", 2, 0, -EMFILE, 2); /* of the directory: the new one is there, perhaps not for good */
    saving_fails(fail, "sync", 2, 0, -EIO, 2);
    saving_fails(fail, "sync", 3, 0, 0, 2); /* there are no more */
    loading_fails(fail, "open", 1, -EMFILE, "cannot open this model file: Too many open files");
    loading_fails(fail, "stat", 1, -EBADMSG, "not a regular file");
    loading_fails(fail, "malloc", 1, -ENOMEM, "cannot be read: Cannot allocate memory");
    loading_fails(fail, "read", 1, -EIO, "cannot be read: Input/output error");
    loading_fails(fail, "malloc", 2, -ENOMEM, "cannot be held: Cannot allocate memory");
}

TEST(whichever_call_fails_a_whole_model_stays_and_the_reason_is_told)
{
    failing *fail = (failing *)dlsym(RTLD_DEFAULT, "failing_from_here");
    char     command[1600], said[4000];

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    if (fail) {
        every_call_fails(fail);
        return;
    }
    snprintf(command, sizeof command, "LD_PRELOAD='%s/tests/failing.so' '%s/tests/run' whichever_call_fails 2>&1",
             test_build_dir(), test_build_dir());
    int rc = test_command(command, said, sizeof said);
    EXPECT(rc == 0);
    if (rc)
        printf("%s", said);
}

/* ---- paths and sizes ---- */

TEST(a_model_is_saved_in_the_working_directory_and_over_nothing_but_a_file)
{
    char was[600];

    EXPECT(getcwd(was, sizeof was) && chdir(test_dir()) == 0);
    snprintf(path, sizeof path, "m.model"); /* no directory in its name */
    EXPECT(save(1) == 0 && load() == 1);
    EXPECT(mkdir("d.model", 0700) == 0);
    snprintf(path, sizeof path, "d.model");
    EXPECT(save(1) == -EISDIR && !left_beside());
    EXPECT(chdir(was) == 0);
}

TEST(a_name_too_long_for_the_file_beside_it_is_refused)
{
    char            name[4096]; /* PATH_MAX, with its end */
    struct ensemble e = a_model(&small, 1);

    memset(name, 'm', sizeof name);
    name[sizeof name - 4] = 0;
    EXPECT(model_file_save(name, &e, "robot") == -ENAMETOOLONG);
    ensemble_free(&e);
}

TEST(a_file_beyond_128_MiB_is_not_read)
{
    snprintf(path, sizeof path, "%s/m.model", test_dir());
    EXPECT(save(1) == 0);
    EXPECT(truncate(path, (128 << 20) + 1) == 0); /* of holes */
    EXPECT(load() == -EBADMSG);
    EXPECT_STR(why, "not a regular file of at most 134217728 bytes");
}

TEST(a_reason_without_room_for_it_ends_with_the_name)
{
    struct ensemble e;
    char            little[6] = "";

    EXPECT(model_file_load("no.model", "robot", &small, &e, little, sizeof little) == -ENOENT);
    EXPECT(strcmp(little, "no.mo") == 0);
    char exact[11] = ""; /* the name, a colon, a blank and the end */
    EXPECT(model_file_load("no.model", "robot", &small, &e, exact, sizeof exact) == -ENOENT);
    EXPECT(strcmp(exact, "no.model: ") == 0);
}

struct unsaved {
    uint64_t    version;
    const char *robot;
};

static void save_it(const void *arg)
{
    const struct unsaved *u = arg;
    struct ensemble       e = a_model(&small, 1);

    e.version = u->version;
    model_file_save("/dev/null/m.model", &e, u->robot); /* nowhere, did it come so far */
    ensemble_free(&e);
}

TEST(a_model_without_a_version_or_for_a_name_that_does_not_fit_is_a_bug)
{
    char name[NAME_SIZE + 1] = { 0 };

    memset(name, 'r', NAME_SIZE);
    EXPECT(test_breaks(save_it, &(struct unsaved){ 0, "robot" }, "e->version > 0"));
    EXPECT(test_breaks(save_it, &(struct unsaved){ 1, name }, "strlen(robot)"));
    name[NAME_SIZE - 1] = 0;
    EXPECT(!test_breaks(save_it, &(struct unsaved){ 1, name }, ""));
}

/* ---- the self-test ---- */

/* Inputs of all kinds, at odd and even places. */
static const struct model_dims mixed = {
    .nx      = 6,
    .na      = 2,
    .members = 2,
    .layers  = 1,
    .hidden  = 3,
    .input   = { INPUT_ANGLE, INPUT_ANGLE, INPUT_NONE, INPUT_IDENTITY, INPUT_IDENTITY, INPUT_NONE },
};

TEST(the_self_test_feels_every_weight_whatever_kinds_of_input_there_are)
{
    enum { NX = 6, HEADER = 232 };
    int    nin    = ensemble_nin(&mixed);
    size_t params = ensemble_params(&mixed), first = (size_t)HEADER + (size_t)(2 * nin + 4 * NX) * sizeof(float);
    static uint8_t  file[8192];
    struct ensemble e = a_model(&mixed, 1), got;

    EXPECT(nin == 2 * 2 + 2 + 2);
    snprintf(path, sizeof path, "%s/m.model", test_dir());
    EXPECT(model_file_save(path, &e, "robot") == 0);
    EXPECT(model_file_load(path, "robot", &mixed, &got, why, sizeof why) == 0);
    ensemble_free(&got);

    FILE  *f = fopen(path, "r+be");
    size_t n = f ? fread(file, 1, sizeof file, f) : 0;
    EXPECT(n > first + 2 * params * sizeof(float) && n < sizeof file);
    for (size_t i = 0; f && i < 2 * params; i++) {
        size_t   at = first + i * sizeof(float);
        uint8_t  good[sizeof(float)];
        float    w;
        uint32_t crc;

        memcpy(good, file + at, sizeof good);
        memcpy(&w, good, sizeof w);
        w += 0.3f;
        memcpy(file + at, &w, sizeof w);
        crc = (uint32_t)crc32(0, file, (uInt)(n - sizeof crc));
        memcpy(file + n - sizeof crc, &crc, sizeof crc);
        rewind(f);
        EXPECT(fwrite(file, 1, n, f) == n && fflush(f) == 0);
        EXPECT(model_file_load(path, "robot", &mixed, &got, why, sizeof why) == -EINVAL);
        EXPECT_STR(why, "fails its self-test");
        memcpy(file + at, good, sizeof good);
    }
    if (f)
        fclose(f);
    ensemble_free(&e);
}
