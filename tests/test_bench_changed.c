/* test_bench_changed.c - limber bench changed: real daemons and simulated robots, a robot that is flown as it was and one
 * that cannot be taken for it. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "daemon/cli_json.h"
#include "tests/fixture.h"
#include "tests/test.h"

TEST(bench_changed_tells_of_a_robot_that_is_not_the_one_that_was_learned_and_flies_the_one_that_is)
{
    static const char *const edits[] = { "steps: 200",
                                         "steps: 60",
                                         "count: 15",
                                         "count: 2",
                                         "recipe: steps",
                                         "recipe: steps\n  epochs: 5\n  min_steps: 400",
                                         "residual: auto",
                                         "residual: 2\n  min_transitions: 1\n  promote_s: 0.1",
                                         "population: 64",
                                         "population: 20",
                                         NULL };
    struct fixture           f;
    char                     command[900], text[60000];

    fixture_init(&f, edits);
    snprintf(
        command, sizeof command,
        "%s/limber bench changed --config %s --trials 3 --eval 1 --change heavy=0.05 --out %s/out >%s/said 2>&1",
        test_build_dir(), f.config, test_dir(), test_dir());
    EXPECT(test_command(command, text, sizeof text) == 0);
    snprintf(text, sizeof text, "%s/out/changed-cartpole.json", test_dir());
    json_t       *all  = json_load_file(text, 0, NULL);
    const json_t *rows = js_at(all, "changes"), *same = json_array_get(rows, 0), *light = json_array_get(rows, 1);

    EXPECT(json_array_size(rows) == 2);
    EXPECT_STR(js_str(same, "change", ""), "nothing");
    EXPECT(js_int(same, "trials") == 1 && isfinite(js_num(same, "return_median")));
    EXPECT_STR(js_str(light, "change", ""), "heavy=0.05");
    EXPECT(js_int(light, "trials") == 1 && js_int(light, "noticed") == 1);
    EXPECT(js_num(light, "first_step_median") < 30 && json_object_size(js_at(light, "by")) == 1);
    json_t *again;

    EXPECT(test_command(command, text, sizeof text) == 0); /* goes on where it was: everything is done */
    snprintf(text, sizeof text, "%s/out/changed-cartpole.json", test_dir());
    again = json_load_file(text, 0, NULL);
    EXPECT(json_equal(js_at(again, "changes"), js_at(all, "changes")));
    json_decref(again);
    json_decref(all);
}

TEST(bench_changed_refuses_what_is_no_fault_of_a_simulated_robot)
{
    struct fixture f;
    char           command[700], text[6000];

    fixture_init(&f, (const char *const[]){ "steps: 200", "steps: 20", "recipe: steps",
                                            "recipe: steps\n  epochs: 1\n  min_steps: 10", NULL });
    snprintf(command, sizeof command,
             "%s/limber bench changed --config %s --trials 1 --eval 1 --change fat=2 --out %s/out 2>&1",
             test_build_dir(), f.config, test_dir());
    EXPECT(test_command(command, text, sizeof text) != 0);
    EXPECT_STR(text, "fat=2");
}
