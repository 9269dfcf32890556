/* Claims about models/model_file.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "models/model_file.h"
#include "tests/test.h"

static const struct model_dims small = {
    .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3, .input = { INPUT_ANGLE, INPUT_IDENTITY }
};

enum { HEADER = 232, IN_STD = HEADER + 4 * 4, WEIGHTS = HEADER + (2 * 4 + 4 * 2) * 4, CAPACITY = 4096 };

struct bytes {
    uint8_t b[CAPACITY];
    size_t  n;
};

static const char *at(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return path;
}

static struct ensemble some_model(uint64_t version)
{
    struct ensemble e;

    EXPECT(ensemble_alloc(&e, &small) == 0);
    ensemble_init(&e, version);
    e.version = version;
    for (int i = 0; i < 4; i++) {
        e.in_mean[i] = 0.1f * (float)i;
        e.in_std[i]  = 1 + 0.2f * (float)i;
    }
    e.out_std[1] = 0.3f;
    return e;
}

static struct bytes slurp(const char *path)
{
    struct bytes f  = { .n = 0 };
    FILE        *in = fopen(path, "rb");

    EXPECT(in != NULL);
    if (in) {
        f.n = fread(f.b, 1, sizeof f.b, in);
        fclose(in);
    }
    return f;
}

static void spit(const char *path, const struct bytes *f)
{
    FILE *out = fopen(path, "wb");

    EXPECT(out && fwrite(f->b, 1, f->n, out) == f->n && fclose(out) == 0);
}

static struct bytes saved_model(uint64_t version)
{
    struct ensemble e = some_model(version);

    EXPECT(model_file_save(at("m.model"), &e, "robot") == 0);
    ensemble_free(&e);
    return slurp(at("m.model"));
}

/* Loads the bytes as a file; false where they are refused. */
static bool loads(const struct bytes *f, char *why, size_t size)
{
    struct ensemble e = { .weights = NULL };

    spit(at("f.model"), f);
    why[0]  = 0;
    int err = model_file_load(at("f.model"), "robot", &small, &e, why, size);
    EXPECT(err == 0 || (e.weights == NULL && test_contains(why, "f.model: ")));
    if (err == 0)
        ensemble_free(&e);
    return err == 0;
}

static void mend_checksum(struct bytes *f)
{
    uint32_t crc = (uint32_t)crc32(0, f->b, (uInt)(f->n - 4));

    memcpy(f->b + f->n - 4, &crc, 4);
}

/* Refused although the checksum is right, for this reason. */
static void expect_refused(struct bytes f, const char *reason)
{
    char why[300];

    mend_checksum(&f);
    EXPECT(!loads(&f, why, sizeof why));
    EXPECT_STR(why, reason);
}

TEST(a_saved_model_comes_back_the_same)
{
    struct ensemble e = some_model(7), got;
    char            why[300];
    struct stat     st;

    EXPECT(model_file_save(at("m.model"), &e, "robot") == 0);
    EXPECT(model_file_load(at("m.model"), "robot", &small, &got, why, sizeof why) == 0);
    EXPECT(got.version == 7 && model_dims_equal(&got.dims, &small));
    EXPECT(memcmp(got.weights, e.weights, 2 * ensemble_params(&small) * sizeof(float)) == 0);
    EXPECT(memcmp(got.in_mean, e.in_mean, 4 * sizeof(float)) == 0);
    EXPECT(memcmp(got.in_std, e.in_std, 4 * sizeof(float)) == 0);
    EXPECT(memcmp(got.out_std, e.out_std, 2 * sizeof(float)) == 0);
    EXPECT(memcmp(got.max_logvar, e.max_logvar, 2 * sizeof(float)) == 0);
    EXPECT(stat(at("m.model"), &st) == 0 && (st.st_mode & 0777 & ~0640u) == 0);
    EXPECT(access(at("m.model.tmp"), F_OK) != 0);
    ensemble_free(&e);
    ensemble_free(&got);
}

TEST(every_single_bit_flip_is_refused)
{
    struct bytes    f = saved_model(3);
    struct ensemble e;
    char            why[300];

    EXPECT(loads(&f, why, sizeof why));
    int fd = open(at("m.model"), O_WRONLY);
    for (size_t bit = 0; bit < 8 * f.n; bit++) {
        uint8_t flipped = f.b[bit / 8] ^ (uint8_t)(1 << bit % 8);

        EXPECT(pwrite(fd, &flipped, 1, (off_t)(bit / 8)) == 1);
        if (model_file_load(at("m.model"), "robot", &small, &e, why, sizeof why) == 0) {
            printf("bit %zu of %zu was not noticed\n", bit, 8 * f.n);
            test_failures++;
        }
        EXPECT(pwrite(fd, &f.b[bit / 8], 1, (off_t)(bit / 8)) == 1);
    }
    close(fd);
    EXPECT(model_file_load(at("m.model"), "robot", &small, &e, why, sizeof why) == 0); /* whole again */
    ensemble_free(&e);
}

TEST(every_truncation_and_extension_is_refused)
{
    struct bytes f = saved_model(3), g;
    char         why[300];

    for (size_t n = 0; n < f.n; n++) {
        g   = f;
        g.n = n;
        EXPECT(!loads(&g, why, sizeof why));
        if (n > HEADER + 8) { /* even with the checksum and the length put right */
            memcpy(g.b + 16, &n, sizeof n);
            mend_checksum(&g);
            EXPECT(!loads(&g, why, sizeof why));
        }
    }
    g = f;
    memset(g.b + g.n, 0, 4);
    g.n += 4;
    EXPECT(!loads(&g, why, sizeof why));
}

static int loads_as(uint64_t version, const char *robot, uid_t us, char *why, size_t size)
{
    struct ensemble e;
    int             err = model_file_load_trusted(at("m.model"), &(struct model_trust){ version, us, NULL }, robot, &small, &e, why, size);

    if (!err) {
        EXPECT(e.version == version);
        ensemble_free(&e);
    }
    return err;
}

TEST(a_candidate_that_others_may_write_or_of_another_version_does_not_load)
{
    struct ensemble e = some_model(9);
    char            why[300];

    EXPECT(model_file_save(at("m.model"), &e, "robot") == 0);
    ensemble_free(&e);
    EXPECT(loads_as(9, "robot", geteuid(), why, sizeof why) == 0 && loads_as(0, "robot", geteuid(), why, sizeof why) == -ESTALE);
    EXPECT(loads_as(10, "robot", geteuid(), why, sizeof why) == -ESTALE);
    EXPECT_STR(why, "m.model: holds version 9, not version 10");
    EXPECT(loads_as(10, "other", geteuid(), why, sizeof why) == -EINVAL);
    EXPECT(loads_as(9, "robot", geteuid() + 1, why, sizeof why) == (geteuid() == 0 ? 0 : -EPERM)); /* root's will do */
    EXPECT(chmod(at("m.model"), 0662) == 0);
    EXPECT(loads_as(9, "robot", geteuid(), why, sizeof why) == -EPERM);
    EXPECT_STR(why, "mode 662: expected");
    EXPECT(model_file_load(at("m.model"), "robot", &small, &e, why, sizeof why) == 0); /* to look at it, anybody's will do */
    ensemble_free(&e);
}

TEST(a_model_of_another_robot_size_or_format_is_refused_by_name)
{
    struct ensemble   e    = some_model(3);
    struct model_dims want = small;
    char              why[300];

    EXPECT(model_file_save(at("m.model"), &e, "robot") == 0);
    EXPECT(model_file_load(at("m.model"), "other", &want, &e, why, sizeof why) != 0);
    EXPECT_STR(why, "made for robot \"robot\", not for \"other\"");
    want.hidden = 4;
    EXPECT(model_file_load(at("m.model"), "robot", &want, &e, why, sizeof why) != 0);
    EXPECT_STR(why, "2 nets of 1 x 3; wanted 2, 1, 2 nets of 1 x 4");
    want          = small;
    want.input[1] = INPUT_ANGLE;
    EXPECT(model_file_load(at("m.model"), "robot", &want, &e, why, sizeof why) != 0);
    EXPECT(model_file_load(at("none.model"), "robot", &small, &e, why, sizeof why) == -ENOENT);
    EXPECT_STR(why, "none.model: cannot open");
    EXPECT(model_file_load(test_dir(), "robot", &small, &e, why, sizeof why) != 0);
    EXPECT_STR(why, "not a regular file");

    struct bytes f = saved_model(3), g = f;
    g.b[8] = 3;
    expect_refused(g, "format 3");
    g      = f;
    g.b[0] = 'X';
    expect_refused(g, "not a Limber model");
    ensemble_free(&e);
}

static struct bytes with_float(struct bytes f, size_t where, float v)
{
    memcpy(f.b + where, &v, sizeof v);
    return f;
}

TEST(a_right_checksum_over_wrong_content_is_refused)
{
    struct bytes f = saved_model(3), g = f;
    int32_t      many = 1 << 30;
    float        w;

    expect_refused(with_float(f, WEIGHTS, NAN), "not finite");
    expect_refused(with_float(f, f.n - 8, INFINITY), "self-test");
    expect_refused(with_float(f, IN_STD, 0), "not positive");
    expect_refused(with_float(f, IN_STD + 4, -1), "not positive");
    expect_refused(with_float(f, HEADER, INFINITY), "not finite");
    memcpy(&w, f.b + WEIGHTS, sizeof w);
    expect_refused(with_float(f, WEIGHTS, w + 0.1f), "self-test");
    for (size_t field = 80; field < 80 + 5 * 4; field += 4) {
        g = f;
        memcpy(g.b + field, &many, sizeof many);
        expect_refused(g, "wanted");
    }
    g = f;
    memset(g.b + 24, 0, 8);
    expect_refused(g, "no version");
    g = f;
    memset(g.b + 32, 'r', NAME_SIZE); /* a name without end */
    expect_refused(g, "made for robot");
}

TEST(half_the_bytes_changed_never_loads_and_never_crashes)
{
    struct bytes f = saved_model(3), g;
    struct rng   r;
    char         why[300];

    rng_seed(&r, 1);
    for (int i = 0; i < 500; i++) {
        g = f;
        for (size_t k = 0; k < g.n; k++)
            if (i % 2 ? rng_below(&r, 2) : rng_below(&r, 100) == 0)
                g.b[k] = (uint8_t)rng_next(&r);
        if (i % 4 < 2)
            mend_checksum(&g);
        if (memcmp(g.b, f.b, f.n) != 0 && i % 4 >= 2)
            EXPECT(!loads(&g, why, sizeof why));
        else
            loads(&g, why, sizeof why); /* may be a model by chance: it only has to survive this */
    }
}

TEST(a_model_that_loading_would_refuse_is_not_saved)
{
    struct ensemble e = some_model(3);

    e.weights[4] = NAN;
    EXPECT(model_file_save(at("bad.model"), &e, "robot") == -EINVAL);
    e.weights[4]                           = 1;
    e.max_logvar[0]                        = 500; /* variance overflows */
    e.weights[ensemble_params(&small) - 2] = 500;
    EXPECT(model_file_save(at("bad.model"), &e, "robot") == -EINVAL);
    EXPECT(access(at("bad.model"), F_OK) != 0);
    ensemble_free(&e);
}

TEST(a_failing_write_leaves_the_old_file_alone)
{
    struct bytes    before = saved_model(3), after;
    struct ensemble e      = some_model(4);
    int             status;

    for (rlim_t bytes = 0; bytes < 500; bytes += 100) {
        pid_t child = fork();

        if (child == 0) { /* a full disk, as far as this process is concerned */
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){ bytes, bytes });
            _exit(model_file_save(at("m.model"), &e, "robot") == -EFBIG ? 0 : 1);
        }
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
        after = slurp(at("m.model"));
        EXPECT(after.n == before.n && memcmp(after.b, before.b, before.n) == 0);
        EXPECT(access(at("m.model.tmp"), F_OK) != 0);
    }
    EXPECT(model_file_save(at("no/such/dir/m.model"), &e, "robot") == -ENOENT);
    ensemble_free(&e);
}
