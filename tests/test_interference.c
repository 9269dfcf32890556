/* test_interference.c - limber bench interference: every disturbance happens, every phase is seen, every fault of the robot
 * stops it in each; no figure is expected of any machine. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/cli_json.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* A busy machine may stall the simulator for longer than a state may be old, which ends the run: then once more. */
static int interference(const char *wrapper, const char *config, int reactions, const char *extra, int want)
{
    char command[1200], said[2];
    int  rc = -1;

    snprintf(command, sizeof command,
             "%s %s/limber bench interference --config %s --seconds 1 --rounds 1 --reactions %d %s --out %s/out "
             ">%s/log 2>&1",
             wrapper, test_build_dir(), config, reactions, extra, test_dir(), test_dir());
    for (int i = 0; i < 3 && rc != want; i++)
        rc = test_command(command, said, sizeof said);
    return rc;
}

static json_t *report(void)
{
    char path[300];

    snprintf(path, sizeof path, "%s/out/interference.json", test_dir());
    return json_load_file(path, 0, NULL);
}

static void has_every_row(const char *wrapper, int faults, const char *disk)
{
    static const char *const name[] = { "nothing", "trainer", "log storm", "1000 clients", "messages", "disk full" };
    struct fixture           f;

    fixture_init(&f, NULL);
    /* Half a second: nobody else's compiler is to be found here, but a reaction that never comes. */
    EXPECT(interference(wrapper, f.config, faults, "--bound 500", 0) == 0);
    json_t *r = report();
    EXPECT(r && json_array_size(js_at(r, "rows")) == 6);
    EXPECT_STR(js_str(r, "disk_full_by", ""), disk);
    for (size_t i = 0; r && i < 6; i++) {
        const json_t *row = json_array_get(js_at(r, "rows"), i), *reactions = js_at(row, "reactions");

        EXPECT_STR(js_str(row, "with", ""), name[i]);
        EXPECT(js_int(row, "ticks") > 5); /* of 25 a second */
        EXPECT(js_num(row, "wake_us.p50") > 0 && js_num(row, "compute_us.p50") > 0);
        EXPECT(js_num(row, "wake_us.p99") >= js_num(row, "wake_us.p50"));
        if (i == 0)
            EXPECT_NEAR(js_num(row, "wake_ratio.p50"), 1, 0);
        if (i > 1) /* the trainer may have nothing to learn from yet */
            EXPECT(js_int(row, "done") > 0);
        EXPECT(js_int(reactions, "count") == faults && js_int(reactions, "missed") == 0);
        EXPECT(js_int(reactions, "never") == 0 && js_int(reactions, "torque_after") == 0);
        EXPECT(!(js_num(reactions, "told_ms.max") < js_num(reactions, "told_ms.p50"))); /* none: silence only */
        EXPECT(js_num(reactions, "told_ms.p50") > 0 || js_num(reactions, "silence_ms.p50") > -40);
    }
    json_decref(r);
}

TEST(interference_is_measured_in_every_phase_and_no_fault_of_the_robot_is_missed_in_any)
{
    if (!RT_SANITIZED)
        has_every_row("", 2, ""); /* disk full as the machine permits */
}

TEST(where_nothing_may_be_mounted_the_disk_is_full_by_a_limit)
{
    if (!RT_SANITIZED)
        has_every_row("setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin", 1, "a limit on file sizes");
}

TEST(a_reaction_beyond_its_bound_is_missed_and_fails_the_run)
{
    struct fixture f;

    if (RT_SANITIZED)
        return;
    fixture_init(&f, NULL);
    EXPECT(interference("", f.config, 1, "--bound 0.001", 1) == 1);
    json_t *r      = report();
    long    missed = 0;
    for (size_t i = 0; r && i < 6; i++) {
        const json_t *row = json_array_get(js_at(r, "rows"), i);

        missed += js_int(row, "reactions.missed");
        EXPECT(js_int(row, "reactions.count") == 1);
        EXPECT(js_int(row, "reactions.missed") == 1 && js_int(row, "reactions.never") == 0);
    }
    EXPECT(missed == 6);
    json_decref(r);
}
