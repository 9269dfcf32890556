/* test_hardening.c - the programs as built: what readelf finds in them, and what the compiler's checks catch. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
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

/* ---- parts ---- */

/* "libuv.so.1" and "libmujoco.so.2.2.2" by their names; false: is not among the words of `line`. */
static bool listed(const char *line, const char *soname, size_t length)
{
    char word[200];

    snprintf(word, sizeof word, " %.*s ", (int)length, soname);
    return strstr(line, word) != NULL;
}

TEST(the_programs_are_linked_to_what_is_listed_and_to_nothing_else)
{
    static char list[4096], line[600];

    if (RT_SANITIZED) /* has libraries of its own */
        return;
    snprintf(line, sizeof line, "%s/../tests/linked.txt", test_build_dir());
    snprintf(list, sizeof list, "%s", tell("cat %s", line));
    for (int i = 0; i < PROGRAMS; i++) {
        char start[40];
        int  needed = 0, words = 0;

        snprintf(start, sizeof start, "\n%s ", programs[i]);
        const char *row = strstr(list, start);
        EXPECT(row);
        if (!row)
            return;
        snprintf(line, sizeof line, "%.*s ", (int)strcspn(row + 1, "\n"), row + 1);
        for (const char *p = line + strcspn(line, " "); *(p += strspn(p, " ")); p += strcspn(p, " "))
            words++;
        for (const char *p = tell("readelf -dW %s | grep NEEDED", program(i)); (p = strchr(p, '[')); needed++) {
            size_t name = strcspn(++p, ".");
            bool   ok   = listed(line, p, name);
            EXPECT(ok);
            if (!ok)
                printf("    %s: %.*s is not in tests/linked.txt\n", programs[i], (int)name, p);
        }
        EXPECT(needed == words);
    }
}

TEST(the_list_of_parts_names_each_library_that_is_loaded_its_package_version_licences_and_checksum)
{
    char         path[600], line[1200];
    json_error_t error;
    size_t       i;
    json_t      *part;

    if (RT_SANITIZED || system("command -v dpkg-query >/dev/null") != 0)
        return;
    snprintf(line, sizeof line, "%s/../sbom.sh %s", test_build_dir(), test_build_dir());
    tell("%s", line);
    snprintf(path, sizeof path, "%s/sbom.json", test_build_dir());
    json_t *list = json_load_file(path, 0, &error), *parts = json_object_get(list, "components");
    EXPECT(list && json_array_size(parts) > 15);
    json_array_foreach(parts, i, part)
    {
        const char *file = js_str(json_array_get(js_at(part, "properties"), 0), "value", ""),
                   *sum  = js_str(json_array_get(js_at(part, "hashes"), 0), "content", "");

        bool local = getenv("MUJOCO_DIR") && strstr(js_str(part, "name", ""), "libmujoco"); /* is of no package */
        EXPECT(local || (!strncmp(js_str(part, "purl", ""), "pkg:deb/debian/", 15) &&
                         strcmp(js_str(part, "version", "unknown"), "unknown") != 0));
        EXPECT(json_array_size(js_at(part, "licenses")) > 0);
        EXPECT(strlen(sum) == 64 && !strncmp(tell("sha256sum %s", file), sum, 64));
    }
    /* What the loader really maps into a program that runs. */
    snprintf(line, sizeof line,
             "LD_DEBUG=files %s/limber --version 2>&1 | sed -n 's/.*calling init: .*\\///p' | sort -u",
             test_build_dir());
    const char *loaded = tell("%s", line);
    int         n      = 0;
    for (const char *p = loaded; *p; p += strcspn(p, "\n") + 1, n++) {
        bool found = false;

        json_array_foreach(parts, i, part) found = found || (!strncmp(js_str(part, "name", ""), p, strcspn(p, "\n")) &&
                                                             strlen(js_str(part, "name", "")) == strcspn(p, "\n"));
        EXPECT(found);
    }
    EXPECT(n > 10);
    json_decref(list);
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

#if !RT_SANITIZED && defined(__OPTIMIZE__)
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
