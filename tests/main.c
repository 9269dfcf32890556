/* main.c - runs every test whose file or name contains one of the arguments (all without arguments). */
#include <ftw.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/test.h"

struct test *test_list;
int          test_failures;

static char dir[256], build_dir[512];

int test_rounds(int usual, int soak)
{
    if (getenv("LIMBER_SOAK"))
        return soak;
    return getenv("LIMBER_QUICK") ? (usual + 9) / 10 : usual;
}

int test_command(const char *command, char *out, size_t size)
{
    FILE *p = popen(command, "re");

    if (!p)
        abort();
    size_t n = fread(out, 1, size - 1, p);
    out[n]   = 0;
    while (fgetc(p) != EOF)
        ;
    int rc = pclose(p);
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

/* In a build of `make cover`: what was reached so far, which else is written at an orderly end only. */
__attribute__((weak)) int __llvm_profile_write_file(void);

static void aborted(int signal)
{
    if (__llvm_profile_write_file)
        __llvm_profile_write_file();
    _exit(128 + signal);
}

bool test_breaks(void (*run)(const void *), const void *arg, const char *condition)
{
    char    said[1000];
    size_t  n = 0;
    ssize_t got;
    int     fd[2], status;
    pid_t   child = pipe(fd) == 0 ? fork() : -1;

    if (child < 0)
        abort();
    if (child == 0) {
        dup2(fd[1], 2);
        signal(SIGABRT, aborted);
        run(arg);
        _exit(0);
    }
    close(fd[1]);
    while (n + 1 < sizeof said && (got = read(fd[0], said + n, sizeof said - 1 - n)) > 0)
        n += (size_t)got;
    said[n] = 0;
    close(fd[0]);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGABRT &&
           test_contains(said, "broken: ") && test_contains(said, condition);
}

bool test_contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

const char *test_build_dir(void)
{
    return build_dir;
}

const char *test_dir(void)
{
    if (!dir[0]) {
        /* Memory first: a shared machine's disk may stall for seconds, and no test is about that. */
        snprintf(dir, sizeof dir, "/dev/shm/limber-test-XXXXXX");
        if (!mkdtemp(dir)) {
            snprintf(dir, sizeof dir, "/tmp/limber-test-XXXXXX");
            if (!mkdtemp(dir))
                abort();
        }
    }
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static bool wanted(const struct test *t, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(t->name, argv[i]) || strstr(t->file, argv[i]))
            return true;
    return argc == 1;
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    int  passed = 0, failed = 0, total = 0, seen = 0;
    bool live = isatty(2);
    char self[512];

    signal(SIGHUP, SIG_DFL); /* started by nohup, too: tests close windows over programs */
    setvbuf(stdout, NULL, _IOLBF, 0);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        abort();
    self[n] = 0;
    snprintf(build_dir, sizeof build_dir, "%s", dirname(dirname(self)));

    for (struct test *t = test_list; t; t = t->next)
        total += wanted(t, argc, argv);
    for (struct test *t = test_list; t; t = t->next) {
        if (!wanted(t, argc, argv))
            continue;
        if (live)
            fprintf(stderr, "\r\033[K[%d/%d] %s", ++seen, total, t->name);
        double start  = now_s();
        test_failures = 0;
        t->run();
        double took = now_s() - start;
        if (live)
            fprintf(stderr, "\r\033[K");
        if (test_failures) {
            failed++;
            printf("FAIL %s (%s)%s%s\n", t->name, t->file, dir[0] ? " left its files in " : "", dir);
        } else {
            passed++;
            if (took > 2)
                printf("ok   %s (%.1f s)\n", t->name, took);
            if (dir[0])
                nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        }
        dir[0] = 0;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
