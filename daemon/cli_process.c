/* cli_process.c - see cli_process.h. */
#include "daemon/cli_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/clock.h"

int program_find(const char *name, char *out, size_t n, char *why, size_t why_size)
{
    char    self[PATH_MAX];
    ssize_t len  = readlink("/proc/self/exe", self, sizeof self - 1);
    char   *path = getenv("PATH"), *end = NULL;

    if (len > 0) {
        self[len] = 0;
        end       = strrchr(self, '/');
    }
    if (end && (size_t)snprintf(out, n, "%.*s/%s", (int)(end - self), self, name) < n && access(out, X_OK) == 0)
        return 0;
    while (path && *path) {
        size_t part = strcspn(path, ":");

        if (part && (size_t)snprintf(out, n, "%.*s/%s", (int)part, path, name) < n && access(out, X_OK) == 0)
            return 0;
        path += part + (path[part] == ':');
    }
    snprintf(why, why_size, "cannot find %s beside limber or in PATH; build or install it", name);
    return -1;
}

/* In the child: only async-signal-safe calls. */
static void child_become(char *const argv[], int log, int report, pid_t parent, bool ordinary)
{
    sigset_t none;
    int      null = open("/dev/null", O_RDONLY);

    if (ordinary) { /* the limit is for users, the capability for root */
        setrlimit(RLIMIT_RTPRIO, &(struct rlimit){ 0 });
        prctl(PR_CAPBSET_DROP, CAP_SYS_NICE);
    }

    sigemptyset(&none);
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent && null >= 0 && dup2(null, 0) == 0 &&
        dup2(log, 1) == 1 && dup2(log, 2) == 2 && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
        close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        execv(argv[0], argv);

    int error = errno;

    (void)!write(report, &error, sizeof error);
    _exit(127);
}

int child_start(struct child *c, const char *name, char *const argv[], const char *log, char *why, size_t why_size)
{
    int   report[2], error = 0;
    pid_t parent = getpid();

    bool ordinary = c->ordinary;

    memset(c, 0, sizeof *c);
    c->ordinary = ordinary;
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->log, sizeof c->log, "%s", log);

    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd < 0) {
        snprintf(why, why_size, "cannot write %s: %s", log, strerror(errno));
        return -1;
    }
    if (pipe2(report, O_CLOEXEC) != 0) {
        snprintf(why, why_size, "no pipe for %s: %s", name, strerror(errno));
        close(fd);
        return -1;
    }
    c->pid = fork();
    if (c->pid == 0)
        child_become(argv, fd, report[1], parent, ordinary);
    error = c->pid < 0 ? errno : 0;
    close(fd);
    close(report[1]);
    if (c->pid > 0 && read(report[0], &error, sizeof error) == sizeof error)
        waitpid(c->pid, NULL, 0);
    close(report[0]);
    if (error) {
        c->pid = 0;
        snprintf(why, why_size, "cannot start %s: %s", argv[0], strerror(error));
        return -1;
    }
    setpgid(c->pid, c->pid);
    return 0;
}

bool child_ended(struct child *c)
{
    siginfo_t info = { 0 };

    /* Left as a zombie until child_stop: so long its process group's number is not given to anyone else. */
    if (c->pid > 0 && !c->ended && waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == c->pid) {
        c->ended  = true;
        c->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
        c->status = info.si_code == CLD_EXITED ? info.si_status : 0;
    }
    return c->ended;
}

static bool wait_for(struct child *c, double seconds)
{
    uint64_t until = clock_now_ns() + (uint64_t)(seconds * 1e9);

    while (!child_ended(c)) {
        if (clock_now_ns() >= until)
            return false;
        clock_sleep_until(clock_now_ns() + 10 * NS_PER_MS);
    }
    return true;
}

void child_stop(struct child *c, double grace_s, double term_s)
{
    if (c->pid <= 0)
        return;
    if (!wait_for(c, grace_s)) {
        kill(c->pid, SIGTERM);
        if (!wait_for(c, term_s)) {
            kill(c->pid, SIGKILL);
            wait_for(c, 2);
        }
    }
    /* What it left behind in its group, such as a trainer; none is the usual case. */
    kill(-c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

void child_how(const struct child *c, char *out, size_t n)
{
    if (c->signal)
        snprintf(out, n, "killed by signal %d (%s)", c->signal, strsignal(c->signal));
    else
        snprintf(out, n, "exit status %d", c->status);
}

void child_tail(const struct child *c, int lines, FILE *f)
{
    char  text[8192];
    FILE *log = fopen(c->log, "re");

    if (!log)
        return;
    fseek(log, 0, SEEK_END);
    long size = ftell(log), from = size > (long)sizeof text - 1 ? size - (long)sizeof text + 1 : 0;

    fseek(log, from, SEEK_SET);
    size_t n = fread(text, 1, sizeof text - 1, log);

    fclose(log);
    while (n && text[n - 1] == '\n')
        n--;
    text[n] = 0;

    char *at = text + n;

    for (int left = lines; at > text; at--)
        if (at[-1] == '\n' && --left == 0)
            break;
    char *rest;

    for (char *line = strtok_r(at, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        fprintf(f, "    %s\n", line);
}
