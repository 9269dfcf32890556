/* test_hardening.c - the programs as built: what readelf finds in them, and what the compiler's checks catch. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/sanitized.h"
#include "tests/test.h"

static const char *const programs[] = { "limberd", "limber", "limber-trainer", "limber-bridge" };
enum { PROGRAMS = sizeof programs / sizeof *programs };

static char output[1 << 20];

/* What a command says of FILE, which takes the place of %s. */
static const char *tell(const char *command, const char *file)
{
    char line[1200];

    snprintf(line, sizeof line, command, file);
    FILE *p = popen(line, "re");
    if (!p)
        abort();
    size_t n  = fread(output, 1, sizeof output - 1, p);
    output[n] = 0;
    EXPECT(pclose(p) == 0 && n > 0);
    return output;
}

static const char *program(int i)
{
    static char path[600];

    snprintf(path, sizeof path, "%s/%s", test_build_dir(), programs[i]);
    return path;
}

/* The rest of the first line that contains `word`; "" where there is none. */
static const char *line_with(const char *text, const char *word)
{
    static char line[400];
    const char *at = strstr(text, word);

    snprintf(line, sizeof line, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
    return line;
}

TEST(every_program_can_be_loaded_anywhere_and_has_nothing_writable_that_is_executable)
{
    for (int i = 0; i < PROGRAMS; i++) {
        EXPECT_STR(line_with(tell("readelf -hW %s", program(i)), "Type:"), "DYN");
        const char *segments = tell("readelf -lW %s", program(i));
        EXPECT_STR(line_with(segments, "GNU_STACK"), " RW ");
        EXPECT(strstr(segments, "GNU_RELRO") != NULL);
        EXPECT(strstr(segments, "RWE") == NULL);
    }
}

TEST(every_program_binds_its_symbols_before_it_starts_and_looks_for_libraries_where_the_system_does)
{
    for (int i = 0; i < PROGRAMS; i++) {
        const char *dynamic = tell("readelf -dW %s", program(i));
        const char *flags   = line_with(dynamic, "(FLAGS_1)");
        EXPECT_STR(flags, "NOW");
        EXPECT_STR(flags, "PIE");
        EXPECT(strstr(dynamic, "TEXTREL") == NULL);
        if (strcmp(programs[i], "limber-bridge") != 0) /* MUJOCO_DIR= names a place of its own */
            EXPECT(strstr(dynamic, "RPATH") == NULL && strstr(dynamic, "RUNPATH") == NULL);
    }
}

TEST(every_program_watches_its_stack_and_its_buffers)
{
    for (int i = 0; i < PROGRAMS; i++) {
        EXPECT(strstr(tell("readelf -W --dyn-syms %s", program(i)), "__stack_chk_fail") != NULL);
        if (!RT_SANITIZED)
            EXPECT(strstr(output, "_chk@GLIBC") != NULL);
    }
}

#if defined(__x86_64__)
TEST(indirect_calls_may_only_go_where_a_function_begins)
{
    /* -fcf-protection: functions begin with endbr64.  Debian 12's libc does not make the processor check it. */
    for (int i = 0; i < PROGRAMS; i++)
        EXPECT_STR(tell("objdump -d --no-show-raw-insn --disassemble=main %s", program(i)), "endbr64");
}
#endif

/* The signal that ends a child running `f`. */
static int dies_of(void (*f)(void))
{
    int   status = 0;
    pid_t pid    = fork();

    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        f();
        _exit(1);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#if !RT_SANITIZED && defined(__OPTIMIZE__)
static volatile size_t asked = 24, used = 25;

/* Sizes that only run time knows: level 2 of _FORTIFY_SOURCE does not see this. */
static void overflow_heap(void)
{
    size_t n = asked;
    char  *p = malloc(n);

    memset(p, 'x', used);
    _exit(p[0] == 'y');
}

TEST(a_write_beyond_a_buffer_whose_size_only_run_time_knows_is_caught)
{
    EXPECT(__USE_FORTIFY_LEVEL == 3);
    EXPECT(dies_of(overflow_heap) == SIGABRT);
}

static __attribute__((noinline)) void scribble(volatile char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = 'x';
}

static __attribute__((noinline)) void overflow_stack(void)
{
    volatile char buffer[16];

    scribble(buffer, used + 40);
}

TEST(a_write_beyond_an_array_on_the_stack_is_caught)
{
    EXPECT(dies_of(overflow_stack) == SIGABRT);
}
/* A frame larger than the guard page: without probes the child would write into what lies beneath its stack. */
static __attribute__((noinline)) int leap(size_t n)
{
    volatile char big[1 << 20];

    big[0] = 1;
    return n ? leap(n - 1) + big[0] : big[0];
}

static volatile size_t deep = 64;

static void overflow_depth(void)
{
    struct rlimit small = { 1 << 20, 1 << 20 };

    setrlimit(RLIMIT_STACK, &small);
    _exit(leap(deep) == 0);
}

TEST(a_stack_that_grows_too_far_ends_the_program)
{
    EXPECT(dies_of(overflow_depth) == SIGSEGV);
}
#endif
