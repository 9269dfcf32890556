/* test_interference.c - limber bench interference: every disturbance happens, every phase is seen; no figure is expected of any
 * machine. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/cli_json.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

/* A busy machine may stall the simulator for longer than a state may be old, which ends the run: then once more. */
static int interference(const char *wrapper, const char *config)
{
    char command[1200];
    int  status = -1;

    snprintf(command, sizeof command,
             "%s %s/limber bench interference --config %s --seconds 1 --rounds 1 --out %s/out >%s/log 2>&1", wrapper,
             test_build_dir(), config, test_dir(), test_dir());
    for (int i = 0; i < 3 && status != 0; i++)
        status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void has_every_row(const char *wrapper, const char *disk)
{
    static const char *const name[] = { "nothing", "trainer", "log storm", "1000 clients", "messages", "disk full" };
    struct fixture           f;
    char                     path[300];

    fixture_init(&f, NULL);
    EXPECT(interference(wrapper, f.config) == 0);
    snprintf(path, sizeof path, "%s/out/interference.json", test_dir());
    json_t *r = json_load_file(path, 0, NULL);
    EXPECT(r && json_array_size(js_at(r, "rows")) == 6);
    EXPECT_STR(js_str(r, "disk_full_by", ""), disk);
    for (size_t i = 0; r && i < 6; i++) {
        const json_t *row = json_array_get(js_at(r, "rows"), i);

        EXPECT_STR(js_str(row, "with", ""), name[i]);
        EXPECT(js_int(row, "ticks") > 5); /* of 25 a second */
        EXPECT(js_num(row, "wake_us.p50") > 0 && js_num(row, "compute_us.p50") > 0);
        EXPECT(js_num(row, "wake_us.p99") >= js_num(row, "wake_us.p50"));
        if (i == 0)
            EXPECT_NEAR(js_num(row, "wake_ratio.p50"), 1, 0);
        if (i > 1) /* the trainer may have nothing to learn from yet */
            EXPECT(js_int(row, "done") > 0);
    }
    json_decref(r);
}

TEST(interference_is_measured_in_every_phase_and_every_disturbance_happens)
{
    if (!RT_SANITIZED)
        has_every_row("", ""); /* disk full as the machine permits */
}

TEST(where_nothing_may_be_mounted_the_disk_is_full_by_a_limit)
{
    if (!RT_SANITIZED)
        has_every_row("setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin", "a limit on file sizes");
}
