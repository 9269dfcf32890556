/* test_sandbox.c - what limberd and limber-trainer give up: forbidden things tried from inside, in children that have
 * entered the same sandboxes; and that the real programs are in them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/sandbox.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static char inside[300], outside[300], trainer[300];

/* Asked in make_places(): from inside the trainer's sandbox one cannot ask. */
static bool kernel_has_files, kernel_has_calls;

/* A directory of the program's, and one that is not. */
static void make_places(void)
{
    snprintf(inside, sizeof inside, "%s/inside", test_dir());
    snprintf(outside, sizeof outside, "%s/outside", test_dir());
    snprintf(trainer, sizeof trainer, "%s/limber-trainer", test_build_dir());
    kernel_has_files = sandbox_landlock() > 0;
    kernel_has_calls = sandbox_seccomp() && !RT_SANITIZED;
    mkdir(inside, 0700);
    mkdir(outside, 0700);
    for (int i = 0; i < 2; i++) {
        char  path[400];
        FILE *f;
        snprintf(path, sizeof path, "%s/file", i ? outside : inside);
        if (!(f = fopen(path, "we")) || fputs("text", f) < 0 || fclose(f) != 0)
            abort();
    }
}

/* Each returns 0 or errno. */
static int opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int opens_in(const char *dir, const char *name, int flags)
{
    char path[700];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return opens(path, flags);
}

static int executes(const char *program, const char *argument)
{
    char *argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)argument, NULL };
    pid_t pid;
    int   status = 0, fd[2], error = 0;

    if (pipe2(fd, O_CLOEXEC) != 0 || (pid = fork()) < 0)
        return errno;
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        execve(program, argv, NULL);
        error = errno;
        _exit(write(fd[1], &error, sizeof error) < 0);
    }
    close(fd[1]);
    if (read(fd[0], &error, sizeof error) <= 0) /* closed by a good execve */
        error = 0;
    close(fd[0]);
    waitpid(pid, &status, 0);
    return error ? error : status;
}

static int execs_here(const char *program)
{
    char *argv[] = { (char *)(uintptr_t)program, NULL };

    execve(program, argv, NULL);
    return errno;
}

static int makes_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);

    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int maps(int prot)
{
    void *p = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? errno : munmap(p, 4096);
}

static int makes_executable(int prot)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(p, 4096, prot) == 0 ? 0 : errno;
}

static int call(long number)
{
    return syscall(number, 0, 0, 0, 0, 0) < 0 ? errno : 0;
}

/* Runs `f` in a child of its own; the EXPECTs in it count here. */
static void in_child(void (*f)(void))
{
    int   status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        test_failures = 0;
        f();
        fflush(stdout);
        _exit(test_failures > 100 ? 100 : test_failures);
    }
    waitpid(pid, &status, 0);
    EXPECT(WIFEXITED(status));
    test_failures += WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* Where the kernel has neither, the sandbox says so, and there is nothing to try. */
static bool entered(const struct sandbox *s)
{
    EXPECT(s->files == kernel_has_files);
    EXPECT(s->calls == kernel_has_calls);
    EXPECT((s->files && s->calls) == (s->why[0] == 0));
    return s->files && s->calls;
}

/* ---- limber-trainer ---- */

static void be_trainer(void)
{
    pid_t          parent = getppid();
    struct sandbox s;

    EXPECT(opens("/etc/passwd", O_RDONLY) == 0 && makes_socket(AF_UNIX) == 0); /* before, all of it works */
    s = sandbox_trainer(inside, inside);
    if (!entered(&s))
        return;
    EXPECT(opens_in(inside, "file", O_RDWR) == 0 && opens_in(inside, "new", O_WRONLY | O_CREAT | O_TRUNC) == 0);
    char from[400], to[400];
    snprintf(from, sizeof from, "%s/new", inside), snprintf(to, sizeof to, "%s/candidate", inside);
    EXPECT(rename(from, to) == 0 && unlink(to) == 0);

    EXPECT(opens("/etc/shadow", O_RDONLY) == EACCES && opens("/etc/passwd", O_RDONLY) == EACCES);
    EXPECT(opens_in(outside, "file", O_RDONLY) == EACCES && opens_in(outside, "new", O_WRONLY | O_CREAT) == EACCES);
    EXPECT(opens("/proc/self/maps", O_RDONLY) == EACCES && opens("/dev/zero", O_RDONLY) == EACCES);
    snprintf(to, sizeof to, "%s/moved", outside);
    snprintf(from, sizeof from, "%s/file", inside);
    EXPECT(rename(from, to) != 0 && symlink("/etc/shadow", to) != 0 && link(from, to) != 0);

    EXPECT(makes_socket(AF_INET) == EPERM && makes_socket(AF_UNIX) == EPERM && makes_socket(AF_NETLINK) == EPERM);
    EXPECT(execs_here("/bin/true") == EPERM && execs_here(trainer) == EPERM);
    EXPECT(fork() < 0 && errno == EPERM);
    EXPECT(kill(parent, 0) < 0 && errno == EPERM);
    /* Of a process that there is not: EPERM is the fence's word, before anybody looks for it (ESRCH). */
    const pid_t   nobody = INT_MAX;
    struct rlimit limit;
    EXPECT(syscall(SYS_tgkill, nobody, nobody, 0) < 0 && errno == EPERM && syscall(SYS_tgkill, getpid(), gettid(), 0) == 0);
    EXPECT(prlimit(nobody, RLIMIT_CORE, NULL, &limit) < 0 && errno == EPERM && getrlimit(RLIMIT_CORE, &limit) == 0);
    EXPECT(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 && errno == EPERM);
    EXPECT(maps(PROT_READ | PROT_EXEC) == EPERM && maps(PROT_READ | PROT_WRITE) == 0);
    EXPECT(makes_executable(PROT_READ | PROT_EXEC) == EPERM && makes_executable(PROT_READ) == 0);
    EXPECT(call(SYS_setuid) == EPERM && call(SYS_mount) == EPERM && call(SYS_bpf) == EPERM &&
           call(SYS_memfd_create) == EPERM);
#if defined(__x86_64__)
    EXPECT(call(0x40000000 + SYS_getpid) == EPERM); /* the same call by its x32 number */
#endif
}

TEST(the_trainer_can_read_and_write_its_directory_and_do_nothing_else)
{
    make_places();
    in_child(be_trainer);
}

/* ---- limberd ---- */

static void be_daemon(void)
{
    struct sandbox s = sandbox_daemon(inside, inside, trainer, false);
    char           file[400];

    if (!entered(&s))
        return;
    EXPECT(opens("/etc/passwd", O_RDONLY) == 0); /* a task may be anywhere */
    EXPECT(opens_in(inside, "new", O_RDWR | O_CREAT) == 0 && opens_in(outside, "new", O_RDWR | O_CREAT) == EACCES);
    EXPECT(opens_in(outside, "file", O_WRONLY) == EACCES && opens_in(outside, "file", O_RDONLY) == 0);
    snprintf(file, sizeof file, "%s/file", outside);
    EXPECT(unlink(file) != 0 && errno == EACCES);
    EXPECT(executes(trainer, "--help") == 0);
    EXPECT(executes("/bin/true", NULL) == EACCES && executes("/bin/sh", NULL) == EACCES);
    EXPECT(makes_socket(AF_UNIX) == 0 && makes_socket(AF_INET) == EPERM && makes_socket(AF_INET6) == EPERM &&
           makes_socket(AF_PACKET) == EPERM);
    EXPECT(ptrace(PTRACE_ATTACH, getppid(), 0, 0) < 0 && errno == EPERM);
    struct iovec v = { file, sizeof file };
    EXPECT(process_vm_readv(getppid(), &v, 1, &v, 1, 0) < 0 && errno == EPERM);
    EXPECT(maps(PROT_WRITE | PROT_EXEC) == EPERM &&
           maps(PROT_READ | PROT_EXEC) == 0); /* libraries are mapped like that */
    EXPECT(makes_executable(PROT_READ | PROT_WRITE | PROT_EXEC) == EPERM);
    EXPECT(call(SYS_mount) == EPERM && call(SYS_unshare) == EPERM && call(SYS_bpf) == EPERM &&
           call(SYS_io_uring_setup) == EPERM);
    EXPECT(call(SYS_execveat) == EPERM && call(SYS_memfd_create) == EPERM && call(SYS_keyctl) == EPERM);
}

TEST(the_daemon_writes_where_it_should_and_starts_only_its_trainer)
{
    make_places();
    in_child(be_daemon);
}

static void be_networked_daemon(void)
{
    struct sandbox s = sandbox_daemon(inside, inside, trainer, true);

    if (entered(&s))
        EXPECT(makes_socket(AF_UNIX) == 0 && makes_socket(AF_INET) == 0 && makes_socket(AF_INET6) == EPERM &&
               makes_socket(AF_PACKET) == EPERM);
}

TEST(a_daemon_on_tcp_makes_sockets_of_that_kind_and_no_others)
{
    make_places();
    in_child(be_networked_daemon);
}

static void *try_elsewhere(void *arg)
{
    *(int *)arg = opens_in(outside, "new", O_RDWR | O_CREAT) == EACCES && makes_socket(AF_INET) == EPERM;
    return NULL;
}

static void be_threads(void)
{
    struct sandbox s = sandbox_daemon(inside, inside, trainer, false);
    pthread_t      t;
    int            held = 0;

    if (!entered(&s))
        return;
    EXPECT(pthread_create(&t, NULL, try_elsewhere, &held) == 0);
    pthread_join(t, NULL);
    EXPECT(held);
}

TEST(threads_that_begin_later_are_in_the_sandbox_too)
{
    make_places();
    in_child(be_threads);
}

/* A kernel without Landlock, as a filter of ours plays it. */
static void be_on_an_old_kernel(void)
{
    struct sock_filter op[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { sizeof op / sizeof *op, op };

    if (!kernel_has_calls)
        return;
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0);
    struct sandbox s = sandbox_daemon(inside, inside, trainer, false);
    EXPECT(!s.files && s.calls);
    EXPECT_STR(s.why, "files are not fenced in: this kernel has no Landlock");
    EXPECT(makes_socket(AF_INET) == EPERM && opens_in(outside, "new", O_RDWR | O_CREAT) == 0);
}

TEST(without_landlock_the_rest_holds_and_the_lack_is_said)
{
    make_places();
    in_child(be_on_an_old_kernel);
}

/* ---- the real ones ---- */

/* "Seccomp:" of every thread is 2, "NoNewPrivs:" 1. */
static bool confined(int pid)
{
    char command[300];

    snprintf(command, sizeof command,
             "cd /proc/%d/task && for t in *; do grep -q '^Seccomp:\t2' $t/status && grep -q '^NoNewPrivs:\t1' "
             "$t/status || exit 1; done",
             pid);
    return system(command) == 0;
}

static int trainer_of(int pid)
{
    char  command[100];
    int   child = 0;
    FILE *p;

    snprintf(command, sizeof command, "cat /proc/%d/task/*/children", pid);
    p = popen(command, "re");
    if (!p || fscanf(p, "%d", &child) != 1)
        child = 0;
    if (p)
        pclose(p);
    return child;
}

TEST(limberd_and_its_trainer_run_and_learn_inside_their_sandboxes)
{
    struct fixture    f;
    const char *const edits[]    = { "count: 15", "count: 1", NULL };
    const char *const lockstep[] = { "--lockstep", NULL };

    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_wait(&f, "sandbox.files", sandbox_landlock() ? "true" : "false", 5));
    EXPECT(fixture_wait(&f, "sandbox.calls", sandbox_seccomp() && !RT_SANITIZED ? "true" : "false", 5));
    int pid = (int)fixture_number(&f, "pid"), child = trainer_of(pid);
    EXPECT(child > 0);
    if (sandbox_seccomp() && !RT_SANITIZED)
        EXPECT(confined(pid));
    EXPECT(fixture_bridge(&f, lockstep));
    EXPECT(fixture_wait(&f, "link.connected", "true", 10));
    EXPECT(fixture_arm(&f, 20));
    EXPECT(fixture_wait(&f, "model.published", "1", 60)); /* read the experience, wrote a model */
    if (sandbox_seccomp() && !RT_SANITIZED)
        EXPECT(confined(child)); /* its sandbox begins once it has been told its directories */
    fixture_end(&f);
}
