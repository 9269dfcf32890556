/* test_layers.c - the folders include each other one way only (tests/layers.sh). */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/test.h"

static char output[8192];

/* Exit code of layers.sh on a source tree; its output is in `output`. */
static int layers(const char *tree)
{
    char command[2048];

    snprintf(command, sizeof command, "%s/../tests/layers.sh %s 2>&1", test_build_dir(), tree);
    return test_command(command, output, sizeof output);
}

static void plant(const char *dir, const char *file, const char *include)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", test_dir(), dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", test_dir(), dir, file);
    FILE *f = fopen(path, "we");
    if (!f)
        abort();
    fprintf(f, "/* planted */\n#include <stdio.h>\n#include \"%s\"\n", include);
    fclose(f);
}

TEST(includes_run_one_way)
{
    char root[512];

    snprintf(root, sizeof root, "%s/..", test_build_dir());
    int rc = layers(root);
    EXPECT(rc == 0);
    if (rc != 0)
        printf("%s", output);
}

TEST(an_include_against_the_layers_is_refused)
{
    static const struct {
        const char *dir, *file, *include;
        bool        fine;
    } c[] = {
        { "models", "a.c", "daemon/config.h", false },
        { "models", "b.c", "planner/task.h", false },
        { "planner", "a.h", "transport/codec.h", false },
        { "planner", "b.c", "daemon/core.h", false },
        { "transport", "a.c", "models/ensemble.h", false },
        { "firmware-bridge", "a.c", "daemon/config.h", false },
        { "proto", "a.h", "daemon/rt/check.h", false },
        { "daemon", "a.c", "firmware-bridge/sim.h", false },
        { "daemon", "b.c", "tests/test.h", false },
        { "daemon", "c.c", "proto/limber.pb-c.h", false },
        { "transport", "port.c", "proto/limber.pb-c.h", false },
        { "daemon", "d.c", "core.h", false },
        { "transport", "codec.c", "proto/limber.pb-c.h", true },
        { "daemon", "e.c", "planner/planner.h", true },
        { "planner", "c.c", "models/ensemble.h", true },
        { "models", "c.c", "daemon/rt/arena.h", true },
    };

    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        char where[128];
        plant(c[i].dir, c[i].file, c[i].include);
        int rc = layers(test_dir());
        EXPECT(rc == (c[i].fine ? 0 : 1));
        if (!c[i].fine) {
            snprintf(where, sizeof where, "%s/%s:3: includes \"%s\"", c[i].dir, c[i].file, c[i].include);
            EXPECT_STR(output, where);
        }
        char path[512];
        snprintf(path, sizeof path, "%s/%s/%s", test_dir(), c[i].dir, c[i].file);
        remove(path);
    }
}
