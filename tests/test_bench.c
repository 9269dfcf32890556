/* test_bench.c - limber bench: reports are whole and consistent with themselves; no figure is expected of any machine. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/bench_rig.h"
#include "daemon/cli_json.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* limber's standard output (and errors, where wanted) and exit code. */
static int limber(const char *arguments, bool errors, char *text, size_t size)
{
    char   command[1024];
    size_t n;

    snprintf(command, sizeof command, "%s/limber %s %s </dev/null", test_build_dir(), arguments, errors ? "2>&1" : "2>/dev/null");
    FILE *p    = popen(command, "r");
    n          = p ? fread(text, 1, size - 1, p) : 0;
    text[n]    = 0;
    int status = p ? pclose(p) : -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char text[1 << 18];

static const char *const ROW_KEYS[] = { "what",     "shape",       "planner", "dtype",        "activation", "isa",
                                        "cores",    "realtime",    "steps",   "ms_p50",       "ms_p99",     "ms_p999",
                                        "ms_max",   "ms_min",      "rows",    "rows_per_s",   "gflops",     "peak_gflops",
                                        "phases",   "prepare_ms",  "peak_fraction" };

/* How many rows have this value, and all of the plain settings but that. */
static int rows_with(const json_t *rows, const char *key, const char *value)
{
    const json_t *r;
    size_t        i;
    int           n = 0;

    json_array_foreach(rows, i, r)
        n += !strcmp(js_str(r, key, ""), value);
    return n;
}

TEST(a_report_of_planning_has_every_key_and_a_row_for_every_planner_and_instruction_set)
{
    char   arguments[600], path[300];
    size_t i;

    snprintf(path, sizeof path, "%s/plan.json", test_dir());
    snprintf(arguments, sizeof arguments, "bench plan --json --quick --steps 2 --shape D-2x64 --out %s", path);
    EXPECT(limber(arguments, false, text, sizeof text) == 0);
    json_t       *doc = json_loads(text, 0, NULL), *file = json_load_file(path, 0, NULL), *r;
    const json_t *rows = js_at(doc, "rows");

    EXPECT(doc && json_equal(doc, file));
    EXPECT(js_num(doc, "machine.peak_f32_gflops") > 0);
    EXPECT(json_array_size(js_at(doc, "goals")) > 0);
    json_array_foreach(rows, i, r) {
        for (size_t k = 0; k < sizeof ROW_KEYS / sizeof *ROW_KEYS; k++)
            if (!json_object_get(r, ROW_KEYS[k])) {
                printf("row %zu has no %s\n", i, ROW_KEYS[k]);
                test_failures++;
            }
        EXPECT(js_int(r, "steps") == 2);
        EXPECT(js_num(r, "ms_min") <= js_num(r, "ms_p50") && js_num(r, "ms_p50") <= js_num(r, "ms_p99"));
        EXPECT(js_num(r, "ms_p99") <= js_num(r, "ms_p999") && js_num(r, "ms_p999") <= js_num(r, "ms_max"));
        EXPECT(js_num(r, "rows") > 0 && js_num(r, "gflops") > 0 && js_num(r, "peak_fraction") > 0);
    }
    for (const char *const *isa = isa_names(); *isa; isa++)
        EXPECT(rows_with(rows, "isa", *isa) > 0);
    for (const char *const *name = planner_names(); *name; name++)
        EXPECT(rows_with(rows, "planner", *name) > 0);
    EXPECT(rows_with(rows, "activation", "exact") > 0);
    json_decref(file);
    json_decref(doc);
}

/* cem evaluates population x iterations candidates; 12 observations, 4 actions, two layers of 64: by hand. */
TEST(speed_is_the_useful_multiply_adds_of_the_rows_evaluated)
{
    char   arguments[600];
    double row = 2.0 * (16 * 64 + 64 * 64 + 64 * 24), rows = 48 * 2 * 10 * 5;

    snprintf(arguments, sizeof arguments, "bench plan --json --quick --steps 3 --shape D-2x64 --planner cem --out %s/p.json", test_dir());
    EXPECT(limber(arguments, false, text, sizeof text) == 0);
    json_t       *doc = json_loads(text, 0, NULL);
    const json_t *r   = json_array_get(js_at(doc, "rows"), 0);

    EXPECT_NEAR(js_num(r, "rows"), rows, 0);
    EXPECT_NEAR(js_num(r, "gflops") * js_num(r, "ms_p50") * 1e6, rows * row, 1e-3 * rows * row);
    EXPECT_NEAR(js_num(r, "peak_fraction"), js_num(r, "gflops") / js_num(r, "peak_gflops"), 1e-4);
    EXPECT(rows_with(js_at(doc, "rows"), "planner", "cem") == (int)json_array_size(js_at(doc, "rows")));
    json_decref(doc);
}

static json_t *held(const char *const *edits, int *code)
{
    struct fixture f;
    char           arguments[600];

    fixture_init(&f, edits);
    snprintf(arguments, sizeof arguments, "bench --json --quick --config %s", f.config);
    *code = limber(arguments, false, text, sizeof text);
    return json_loads(text, 0, NULL);
}

TEST(a_rate_that_a_machine_holds_easily_is_held_and_an_absurd_one_is_not)
{
    static const char *const tiny[]   = { "population: 64", "population: 16", "horizon: 20", "horizon: 2",
                                          "elites: 10",      "elites: 4",      "control_hz: 25", "control_hz: 5", NULL };
    static const char *const absurd[] = { "population: 64", "population: 4096", "horizon: 20", "horizon: 64",
                                          "iterations: 3",   "iterations: 100", NULL };
    int                      code;
    json_t                  *doc = held(tiny, &code);

    EXPECT(code == 0);
    EXPECT(js_true(doc, "holds"));
    EXPECT(js_num(doc, "ms_p999") <= js_num(doc, "budget_ms"));
    EXPECT_NEAR(js_num(doc, "budget_ms"), 0.6 * 200, 1e-6);
    EXPECT(js_int(doc, "would_fit.population") >= 16);
    EXPECT(json_array_size(js_at(doc, "would_fit.nets")) > 0);
    json_decref(doc);

    doc = held(absurd, &code);
    EXPECT(code == 1);
    EXPECT(doc && !js_true(doc, "holds"));
    EXPECT(js_int(doc, "would_fit.population") < 4096);
    json_decref(doc);
}

TEST(bench_lists_what_there_is_and_refuses_what_there_is_not_by_name)
{
    EXPECT(limber("bench", true, text, sizeof text) == 0);
    EXPECT_STR(text, "plan");
    EXPECT_STR(text, "train");
    EXPECT_STR(text, "optimisers");
    EXPECT_STR(text, "--config");
    EXPECT(limber("bench plna", true, text, sizeof text) == 64);
    EXPECT_STR(text, "did you mean \"plan\"?");
    EXPECT(limber("bench plan --shape halfchetah", true, text, sizeof text) == 64);
    EXPECT_STR(text, "did you mean \"halfcheetah\"?");
    EXPECT(limber("bench plan --planner icme", true, text, sizeof text) == 64);
    EXPECT_STR(text, "unknown planner \"icme\"");
    EXPECT(limber("bench plan --steps 0", true, text, sizeof text) == 64);
    EXPECT_STR(text, "expected a whole number");
    EXPECT(limber("bench plan --stops 3", true, text, sizeof text) == 64);
    EXPECT_STR(text, "did you mean \"--steps\"?");
    EXPECT(limber("bench --json", true, text, sizeof text) == 64);
    EXPECT_STR(text, "--config is missing");
    EXPECT(limber("bench --config /nowhere/robot.yaml", true, text, sizeof text) == 78);
    EXPECT_STR(text, "/nowhere/robot.yaml");
}
