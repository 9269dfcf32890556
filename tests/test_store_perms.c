/* Whose the files are that a robot learns from and is driven by: of every owner and mode, only what nobody else could have
 * written starts; and a model's file must hold the version that its name says. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/config.h"
#include "models/model_file.h"
#include "models/perms.h"
#include "models/store.h"
#include "tests/fixture.h"
#include "tests/test.h"

enum { SOMEBODY = 12345 };

static struct robot_config config;

static void model(const char *path, uint64_t version)
{
    struct ensemble e;

    if (ensemble_alloc(&e, &config.model) != 0)
        abort();
    ensemble_init(&e, version);
    e.version = version;
    EXPECT(model_file_save(path, &e, "cartpole") == 0);
    ensemble_free(&e);
}

/* A run directory as a daemon leaves it: a store whose model 9, trained from 8, was published, and both files. */
static void stage(struct fixture *f)
{
    struct store_schema schema;
    char                path[300], why[600] = "";

    fixture_init(f, NULL);
    EXPECT(config_load(f->config, &config, why, sizeof why) == 0);
    config_store_schema(&config, &schema);
    mkdir(f->dir, 0750);
    snprintf(path, sizeof path, "%s/models", f->dir);
    mkdir(path, 0750);
    snprintf(path, sizeof path, "%s/experience.db", f->dir);
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    EXPECT(s && store_model(s, &(struct model_row){ .version = 8, .status = "published" }) == 0);
    EXPECT(store_model(s, &(struct model_row){ .version = 9, .parent = 8, .status = "published" }) == 0);
    store_close(s);
    for (unsigned v = 8; v <= 9; v++) {
        snprintf(path, sizeof path, "%s/models/model-%u.model", f->dir, v);
        model(path, v);
    }
}

/* limberd's exit code when it refuses, its words in `text`; 0 where it starts. */
static int refuses(struct fixture *f, char *text, size_t size)
{
    char command[900];

    snprintf(command, sizeof command, "timeout 1.5 %s/limberd --config %s --run-dir %s 2>&1", test_build_dir(),
             f->config, f->dir);
    int code = test_command(command, text, size);

    return code == 124 || code == 0 ? 0 : code;
}

TEST(of_every_owner_and_mode_only_files_that_nobody_else_could_write_are_started_from)
{
    static const char *const what[] = { "", "/models", "/experience.db", "/models/model-9.model" };
    static const struct {
        bool     somebodys;
        unsigned more; /* bits of the mode beyond those it has */
        bool     good;
    } row[] = { { false, 0, true },        { false, S_IRGRP | S_IROTH, true },
                { false, S_IWGRP, false }, { false, S_IWOTH, false },
                { true, 0, false },        { true, S_IWOTH, false } };
    struct fixture f;
    char           path[300], text[4000];

    stage(&f);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        struct stat was;

        snprintf(path, sizeof path, "%s%s", f.dir, what[i]);
        EXPECT(stat(path, &was) == 0);
        for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
            if (row[k].somebodys && geteuid() != 0)
                continue; /* only root can give files away */
            if (i && row[k].good && k)
                continue; /* a start takes its time */
            EXPECT(chmod(path, (was.st_mode | row[k].more) & 07777) == 0);
            EXPECT(!row[k].somebodys || chown(path, SOMEBODY, (gid_t)-1) == 0);
            int code = refuses(&f, text, sizeof text);
            EXPECT(code == (row[k].good ? 0 : 78));
            if (code != (row[k].good ? 0 : 78))
                printf("    %s, row %zu: exit %d: %s\n", path, k, code, text);
            if (!row[k].good)
                EXPECT_STR(text, path);
            EXPECT(chown(path, was.st_uid, was.st_gid) == 0 && chmod(path, was.st_mode & 07777) == 0);
        }
    }
}

TEST(whose_a_file_is_and_who_may_write_it_is_told_with_what_was_expected)
{
    static const struct {
        uid_t       owner;
        unsigned    mode;
        const char *why; /* NULL: good */
    } row[] = {
        { 1000, S_IFREG | 0640, NULL },
        { 0, S_IFREG | 0644, NULL },
        { 1000, S_IFDIR | 0755, NULL },
        { 0, S_IFDIR | S_ISVTX | 0777, NULL }, /* /tmp: what is in it is judged by itself */
        { 1000, S_IFREG | 0660, "belongs to user 1000, mode 660: expected" },
        { 1000, S_IFREG | 0602, "mode 602" },
        { 1000, S_IFREG | S_ISVTX | 0666, "mode 1666" },
        { 1000, S_IFDIR | 0775, "mode 775" },
        { 1001, S_IFREG | 0600, "belongs to user 1001, mode 600: expected an owner who is user 1000 or root" },
        { 1001, S_IFDIR | S_ISVTX | 0777, "belongs to user 1001" },
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char why[400] = "";
        bool good =
            perms_good("/x", &(struct stat){ .st_uid = row[i].owner, .st_mode = row[i].mode }, 1000, why, sizeof why);

        EXPECT(good == !row[i].why);
        EXPECT_STR(why, row[i].why ? row[i].why : "");
    }
}

static bool copy_over(const struct fixture *f, const char *from, const char *to)
{
    char command[900];

    snprintf(command, sizeof command, "cp %s/models/%s %s/models/%s", f->dir, from, f->dir, to);
    return system(command) == 0;
}

TEST(an_older_model_copied_over_a_newer_ones_file_is_refused_by_both_versions)
{
    struct fixture f;

    stage(&f);
    EXPECT(fixture_daemon(&f, NULL) && fixture_number(&f, "model.version") == 9); /* as it should be */
    fixture_end(&f);
    EXPECT(copy_over(&f, "model-8.model", "model-9.model"));
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_number(&f, "model.version") == 0);
    EXPECT(fixture_says(&f, "version 9 is not used") && fixture_says(&f, "holds version 8, not version 9"));
    fixture_end(&f);
}

TEST(a_file_under_the_name_of_the_model_before_is_not_what_would_be_rolled_back_to)
{
    struct fixture f;

    stage(&f);
    EXPECT(copy_over(&f, "model-9.model", "model-8.model"));
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_number(&f, "model.version") == 9);
    EXPECT(fixture_says(&f, "version 9 cannot be rolled back") && fixture_says(&f, "holds version 9, not version 8"));
    fixture_end(&f);
}
