/* test_budget.c - does a control tick cost what tests/budget.txt says?  Instructions are counted, not time. */
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/sanitized.h"
#include "tests/test.h"

#if defined __x86_64__ && defined __OPTIMIZE__ && __GNUC__ == 12 && !defined __clang__
#define COMPARABLE (!RT_SANITIZED)
#else
#define COMPARABLE false /* another compiler makes other instructions */
#endif

static char output[8192];

static int budget(const char *environment)
{
    char command[2000];

    snprintf(command, sizeof command, "%s %s/../tests/budget.sh %s 2>&1", environment, test_build_dir(), test_build_dir());
    return test_command(command, output, sizeof output);
}

TEST(a_control_tick_costs_what_budget_txt_says)
{
    if (!COMPARABLE)
        return;
    int rc = budget("");
    EXPECT(rc == 0);
    if (rc != 0)
        printf("%s", output);
}

static const char *file(const char *name, const char *text)
{
    static char path[2][300];
    static int  i;

    snprintf(path[++i % 2], sizeof path[0], "%s/%s", test_dir(), name);
    FILE *f = fopen(path[i % 2], "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
    return path[i % 2];
}

TEST(a_cost_that_is_not_the_budgets_is_named_whichever_way_it_moved)
{
    static const struct {
        const char *budget, *found, *said;
    } c[] = {
        { "# a row\ntick 1000\n", "tick 1030\n", NULL },
        { "tick 1000\n", "tick 970\n", NULL },
        { "tick 1000\n", "tick 1031\n", "tick: 1000, found 1031: a tick costs more" },
        { "tick 1000\n", "tick 969\n", "tick: 1000, found 969: lower the row" },
        { "tick 1000\n", "tick 1000\nother 5\n", "no row other, found 5" },
        { "tick 1000\nother 5\n", "tick 1000\n", "other: nothing of that name was counted" },
        { "", "tick 1000\n", "no row tick, found 1000" },
    };

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        char environment[700];

        snprintf(environment, sizeof environment, "BUDGET=%s FOUND=%s", file("budget", c[i].budget), file("found", c[i].found));
        EXPECT(budget(environment) == (c[i].said ? 1 : 0));
        if (c[i].said)
            EXPECT_STR(output, c[i].said);
    }
}

TEST(what_cannot_be_counted_does_not_pass)
{
    char command[1200];

    if (!COMPARABLE)
        return;
    snprintf(command, sizeof command, "%s/../tests/budget.sh %s 2>&1", test_build_dir(), test_dir()); /* no program there */
    EXPECT(test_command(command, output, sizeof output) == 2);
    snprintf(command, sizeof command, "TICKS=10 %s/../tests/budget.sh %s 2>&1", test_build_dir(), test_build_dir());
    EXPECT(test_command(command, output, sizeof output) == 2); /* ticks of the beginning only */
    EXPECT_STR(output, "budget: only 10 calls of core seen");
}
