/* test_static_rules.c - the rules that the safety core is written by (tests/static_rules.sh). */
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

static char output[8192];

/* Exit code of static_rules.sh for this file ("": the safety core); what it said is in `output`. */
static int rules(const char *file)
{
    char command[1600];

    snprintf(command, sizeof command, "%s/../tests/static_rules.sh %s %s 2>&1", test_build_dir(), test_build_dir(),
             file);
    return test_command(command, output, sizeof output);
}

TEST(the_safety_core_has_no_recursion_no_variable_arrays_no_jumps_and_no_long_functions)
{
    int rc = rules("");

    EXPECT(rc == 0);
    if (rc != 0)
        printf("%s", output);
}

/* A function of n lines. */
static void lines(char *code, size_t size, int n)
{
    size_t used = (size_t)snprintf(code, size, "int planted(int a)\n{\n");

    for (int i = 1; i < n; i++)
        used += (size_t)snprintf(code + used, size - used, "    a++;\n");
    snprintf(code + used, size - used, "    return a;\n}\n");
}

static void plant(const char *code, char *path, size_t size)
{
    snprintf(path, size, "%s/planted.c", test_dir());
    FILE *f = fopen(path, "we");
    if (!f || fprintf(f, "%s\n", code) < 0 || fclose(f) != 0)
        abort();
}

TEST(each_rule_that_a_planted_function_breaks_is_named)
{
    static const struct {
        const char *code, *said;
    } c[] = {
        { "int planted(int a)\n{\n    return a ? planted(a - 1) : 0;\n}", "planted: calls itself" },
        { "static int other(int a);\nint planted(int a);\nint planted(int a)\n{\n    return other(a);\n}\n"
          "static int other(int a)\n{\n    return a ? planted(a - 1) : 0;\n}",
          "a loop of calls:" },
        { "int planted(int n)\n{\n    char c[n];\n    c[0] = 1;\n    return c[0];\n}", "planted.c:3:" },
        { "void *alloca(unsigned long n);\nint planted(int n)\n{\n    return *(char *)alloca(8);\n}",
          "planted.c:4: alloca" },
        { "int planted(int n)\n{\nagain:\n    if (n++ < 3)\n        goto again;\n    return n;\n}",
          "planted.c:5: goto" },
        { "int planted(int n)\n{\n    return n; /* no goto */\n}", NULL },
    };
    char path[300], code[4000];

    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        plant(c[i].code, path, sizeof path);
        EXPECT(rules(path) == (c[i].said ? 1 : 0));
        if (c[i].said)
            EXPECT_STR(output, c[i].said);
    }
    for (int n = 60; n <= 61; n++) {
        lines(code, sizeof code, n);
        plant(code, path, sizeof path);
        EXPECT(rules(path) == (n > 60));
        if (n > 60)
            EXPECT_STR(output, "planted.c:1: planted has 61 lines");
    }
}
