/* test_rt_symbols.c - what the real-time threads' objects are linked to (tests/rt_symbols.sh, rt_symbols.txt). */
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/sanitized.h"
#include "tests/test.h"

static char output[8192];

/* Exit code of the command; what it said is in `output`. */
static int run(const char *command)
{
    return test_command(command, output, sizeof output);
}

TEST(real_time_objects_need_nothing_from_outside_that_is_not_on_the_list)
{
    char command[1200];

    if (RT_SANITIZED) /* they need the sanitizer as well */
        return;
    snprintf(command, sizeof command, "%s/../tests/rt_symbols.sh %s 2>&1", test_build_dir(), test_build_dir());
    int rc = run(command);
    EXPECT(rc == 0);
    if (rc != 0)
        printf("%s", output);
}

TEST(a_malloc_a_lock_or_a_file_planted_in_a_real_time_object_is_found)
{
    static const struct {
        const char *thread, *code, *symbol;
    } c[] = {
        { "control", "#include <stdlib.h>\nvoid *planted(void); void *planted(void) { return malloc(8); }", "malloc" },
        { "planner",
          "#include <pthread.h>\nint planted(pthread_mutex_t *m); int planted(pthread_mutex_t *m) { return "
          "pthread_mutex_lock(m); }",
          "pthread_mutex_lock" },
        { "io", "#include <stdio.h>\nint planted(void); int planted(void) { return printf(\"%d\", 1); }", "printf" },
    };

    for (size_t i = 0; !RT_SANITIZED && i < sizeof c / sizeof *c; i++) {
        char path[300], command[1600], want[100];

        snprintf(path, sizeof path, "%s/planted.c", test_dir());
        FILE *f = fopen(path, "we");
        if (!f || fprintf(f, "%s\n", c[i].code) < 0 || fclose(f) != 0)
            abort();
        snprintf(command, sizeof command,
                 "gcc -c -fno-builtin -o %s/planted.o %s && %s/../tests/rt_symbols.sh %s %s %s/planted.o 2>&1",
                 test_dir(), path, test_build_dir(), test_build_dir(), c[i].thread, test_dir());
        EXPECT(run(command) == 1);
        snprintf(want, sizeof want, "planted.o: needs %s, which tests/rt_symbols.txt does not allow thread %s",
                 c[i].symbol, c[i].thread);
        EXPECT_STR(output, want);
    }
}
