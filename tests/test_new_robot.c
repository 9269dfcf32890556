/* test_new_robot.c - the guide to a robot of one's own does what it says: its files, taken from the page, learn. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/cli_json.h"
#include "daemon/config.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* The block that begins with ```KIND NAME, into DIR/NAME; false: the page has none. */
static bool take_block(const char *page, const char *name, const char *dir)
{
    char        head[80], path[400];
    const char *at = page;

    while ((at = strstr(at, "\n```")) != NULL) {
        snprintf(head, sizeof head, " %s\n", name);
        const char *line_end = strchr(at + 1, '\n');

        if (line_end && line_end - at > (long)strlen(head) &&
            strncmp(line_end + 1 - strlen(head), head, strlen(head)) == 0) {
            const char *end = strstr(line_end, "\n```");

            snprintf(path, sizeof path, "%s/%s", dir, name);
            FILE *f = fopen(path, "w");
            if (!end || !f)
                return false;
            fwrite(line_end + 1, 1, (size_t)(end - line_end), f);
            return fclose(f) == 0;
        }
        at = line_end;
    }
    return false;
}

static char *slurp(const char *path)
{
    FILE  *f    = fopen(path, "r");
    char  *text = calloc(1, 1 << 16);
    size_t n    = f && text ? fread(text, 1, (1 << 16) - 1, f) : 0;

    if (f)
        fclose(f);
    return n ? text : NULL;
}

TEST(the_robot_of_the_guide_is_added_by_its_files_alone_and_learns)
{
    static const char *const side[] = { "--lockstep",        "--seed", "1", "--robot", "forearm", "--extra",
                                        "cup_x,cup_y,cup_z", NULL };
    struct fixture           f      = { 0 };
    char                     tasks[300];

    snprintf(f.dir, sizeof f.dir, "%s/run", test_dir());
    snprintf(f.config, sizeof f.config, "%s/robot.yaml", test_dir());
    snprintf(tasks, sizeof tasks, "%s/tasks", test_dir());
    mkdir(tasks, 0700);
    char *text = slurp("docs/new-robot.md");

    EXPECT(text && take_block(text, "model.xml", test_dir()) && take_block(text, "robot.yaml", test_dir()) &&
           take_block(text, "tasks/hold.yaml", test_dir()));
    free(text);
    bool up = fixture_daemon(&f, NULL) && fixture_bridge(&f, side) && fixture_arm(&f, 10);
    EXPECT(up);
    EXPECT(up && fixture_wait(&f, "trials.finished", "true", 90));
    json_t *status = up ? fixture_status(&f) : NULL;
    if (status) {
        const json_t *history = js_at(status, "trials.history");
        size_t        n       = json_array_size(history);
        double        random  = js_num(json_array_get(history, 0), "return");
        double        last    = n ? js_num(json_array_get(history, n - 1), "return") : 0;

        EXPECT(n == 6);
        EXPECT(random < -40); /* hanging there costs 5 * 0.32 a step */
        EXPECT(last > -25);   /* lifting it takes about ten steps    */
        json_decref(status);
    }
    fixture_end(&f);
}
