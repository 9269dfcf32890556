/* cli_doctor.c - limber doctor: what this machine and this user lack for real time, each with its remedy.
 *
 * Limits are tried, not read, where that is possible: a child asks for SCHED_FIFO and locks memory. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_machine.h"
#include "daemon/cli_terminal.h"
#include "daemon/config.h"
#include "daemon/rt/sandbox.h"
#include "daemon/run_dir.h"
#include "daemon/syscalls.h"

enum { LOCK_MB = 64, PRIORITY = 80, FREE_MB = 200 };

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_BAD };

static const char *const level_name[] = { "ok", "warn", "bad" };
static const char *const level_mark[] = { GOOD "✓" PLAIN, WARN "!" PLAIN, BAD "✗" PLAIN };

struct doctor {
    json_t    *checks;
    enum level worst;
    enum level serious; /* what a lack of real time is: bad on real hardware, else a warning */
};

__attribute__((format(printf, 5, 6))) static void finding(struct doctor *d, const char *name, enum level level,
                                                          const char *remedy, const char *format, ...)
{
    char    detail[700];
    va_list ap;

    va_start(ap, format);
    vsnprintf(detail, sizeof detail, format, ap);
    va_end(ap);
    json_array_append_new(d->checks, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "level", level_name[level],
                                               "detail", detail, "remedy", level == LEVEL_OK ? "" : remedy));
    if (level > d->worst)
        d->worst = level;
}

/* errno of `try` run in a child, 0 for success. */
static int in_child(int (*try)(void))
{
    int   status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(try() & 255);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* --- the kernel ----------------------------------------------------------------------------------------------- */

static void check_kernel(struct doctor *d)
{
    struct utsname u;
    char           flag[16];

    uname(&u);
    bool rt =
        (machine_read("/sys/kernel/realtime", flag, sizeof flag) && flag[0] == '1') || strstr(u.version, "PREEMPT_RT");

    finding(d, "kernel", rt ? LEVEL_OK : d->serious,
            "apt install linux-image-rt-amd64 and boot it; without it expect late ticks under load", "%s, %s",
            u.release, rt ? "PREEMPT_RT" : "not PREEMPT_RT");
}

static int try_fifo(void)
{
    struct sched_param p = { .sched_priority = PRIORITY };

    return sched_setscheduler(0, SCHED_FIFO, &p) == 0 ? 0 : errno;
}

static int try_lock(void)
{
    void *p = mmap(NULL, (size_t)LOCK_MB << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p != MAP_FAILED && mlock(p, (size_t)LOCK_MB << 20) == 0 ? 0 : errno;
}

static void check_limits(struct doctor *d)
{
    int fifo = in_child(try_fifo), lock = in_child(try_lock);

    finding(d, "sched_fifo", fifo ? d->serious : LEVEL_OK,
            "run limberd by its systemd unit, or add \"@limber - rtprio 90\" to /etc/security/limits.d/limber.conf and "
            "log in again",
            fifo ? "priority %d is refused: %s" : "priority %d is allowed", PRIORITY, strerror(fifo));
    finding(d, "memlock", lock ? d->serious : LEVEL_OK,
            "run limberd by its systemd unit, or add \"@limber - memlock unlimited\" to "
            "/etc/security/limits.d/limber.conf and log in again",
            lock ? "%d MB cannot be locked: %s" : "%d MB can be locked", LOCK_MB, strerror(lock));
}

static void check_sandbox(struct doctor *d)
{
    int version = sandbox_landlock();

    finding(d, "landlock", version ? LEVEL_OK : LEVEL_WARN,
            "a kernel of 5.13 or newer with CONFIG_SECURITY_LANDLOCK, booted with landlock in lsm=; without it limberd and its trainer "
            "can reach all files of their user",
            version ? "version %d: limberd and its trainer fence themselves in" : "not there", version);
}

/* As a real-time thread does. */
static int try_restrict(void)
{
    int bad = syscalls_start();

    if (bad == 0)
        bad = syscalls_restrict(SYSCALLS_CONTROL, 0, "doctor", -1, NULL);
    return -bad;
}

static void check_syscalls(struct doctor *d)
{
    int bad = in_child(try_restrict);

    finding(d, "seccomp", bad ? d->serious : LEVEL_OK,
            "run a kernel with CONFIG_SECCOMP_FILTER=y, and not under a tool that forbids filters",
            bad ? "system calls of real-time threads cannot be restricted: %s" : "system calls of real-time threads can be restricted",
            strerror(bad));
}

static void check_dma_latency(struct doctor *d)
{
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);

    finding(d, "cpu_dma_latency", fd < 0 ? LEVEL_WARN : LEVEL_OK,
            "let the group limber write it (a udev rule), else deep sleep states delay wake-ups",
            "/dev/cpu_dma_latency %s%s", fd < 0 ? "cannot be opened: " : "can be held at 0 while armed",
            fd < 0 ? strerror(errno) : "");
    if (fd >= 0)
        close(fd);
}

static void check_throttling(struct doctor *d)
{
    char text[32];

    if (!machine_read("/proc/sys/kernel/sched_rt_runtime_us", text, sizeof text)) {
        finding(d, "rt_throttling", LEVEL_OK, "", "this kernel has none");
        return;
    }
    long us = strtol(text, NULL, 10);

    if (us < 0)
        finding(d, "rt_throttling", LEVEL_OK, "", "off");
    else
        finding(d, "rt_throttling", us >= 900000 ? LEVEL_OK : d->serious, "sysctl kernel.sched_rt_runtime_us=950000",
                "real-time threads may use %ld us of every second; Limber's sleep in every tick", us);
}

/* cgroup v1 with CONFIG_RT_GROUP_SCHED: a group without a budget may not run FIFO at all. */
static void check_cgroup(struct doctor *d)
{
    char  line[512], file[700], text[32];
    FILE *f = fopen("/proc/self/cgroup", "re");

    while (f && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *path++                   = 0;
        path[strcspn(path, "\n")] = 0;
        for (char *rest, *c = strtok_r(controllers + 1, ",", &rest); c; c = strtok_r(NULL, ",", &rest)) {
            snprintf(file, sizeof file, "/sys/fs/cgroup/cpu%s/cpu.rt_runtime_us", path);
            if (strcmp(c, "cpu") != 0 || !machine_read(file, text, sizeof text))
                continue;
            long us = strtol(text, NULL, 10);

            finding(d, "cgroup_rt_budget", us == 0 ? d->serious : LEVEL_OK,
                    "give this group a budget: echo 900000 > cpu.rt_runtime_us in it and its parents",
                    "%s: %ld us a period", file, us);
            fclose(f);
            return;
        }
    }
    if (f)
        fclose(f);
    finding(d, "cgroup_rt_budget", LEVEL_OK, "", "not limited by a control group");
}

/* --- the processor -------------------------------------------------------------------------------------------- */

static void check_cores(struct doctor *d, const struct robot_config *c)
{
    cpu_set_t allowed;
    char      isolated[64] = "";
    int       want         = 2;

    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    int n = CPU_COUNT(&allowed);

    if (c) {
        int core[3 + TEAM_MAX] = { c->cores.io, c->cores.control, c->cores.main };

        memcpy(core + 3, c->cores.planner, sizeof c->cores.planner);
        for (int i = 0; i < 3 + c->cores.planners; i++) {
            if (core[i] >= 0 && !CPU_ISSET((size_t)core[i], &allowed)) {
                finding(d, "cores", LEVEL_BAD, "change cores: in robot.yaml, or the affinity of this service",
                        "robot.yaml wants core %d, which this process may not use (%d may be used)", core[i], n);
                return;
            }
        }
    }
    machine_read("/sys/devices/system/cpu/isolated", isolated, sizeof isolated);
    finding(d, "cores", n >= want ? LEVEL_OK : d->serious,
            "Limber wants two cores: control and planner on one, everything else on the other", "%d may be used%s%s", n,
            isolated[0] ? ", isolated: " : "", isolated);
}

/* A planner thread on the simulated robot's core holds up its states, unless the simulator goes first. */
static void check_simulator(struct doctor *d, const struct robot_config *c)
{
    bool shared = false;

    if (!c || c->hardware != HARDWARE_SIM || c->lockstep || c->cores.sim_priority > c->cores.planner_priority)
        return;
    for (int i = 0; i < c->cores.planners; i++)
        shared |= c->cores.planner[i] >= 0 && c->cores.planner[i] == c->cores.io;
    if (shared)
        finding(d, "simulator", LEVEL_WARN, "set cores.sim_priority above cores.planner_priority in robot.yaml",
                "the simulated robot shares core %d with the planner, which goes first (%d, simulator %d): its states come late",
                c->cores.io, c->cores.planner_priority, c->cores.sim_priority);
}

static void check_governor(struct doctor *d)
{
    char file[100], governor[40];
    long n = sysconf(_SC_NPROCESSORS_CONF), known = 0;

    for (long i = 0; i < n; i++) {
        snprintf(file, sizeof file, "/sys/devices/system/cpu/cpu%ld/cpufreq/scaling_governor", i);
        if (!machine_read(file, governor, sizeof governor))
            continue;
        known++;
        if (strcmp(governor, "performance") != 0) {
            finding(d, "governor", LEVEL_WARN, "cpupower frequency-set -g performance", "core %ld: %s", i, governor);
            return;
        }
    }
    finding(d, "governor", LEVEL_OK, "",
            known ? "performance" : "no frequency scaling visible here (virtual machine or fixed clock)");
}

static void check_isa(struct doctor *d)
{
    const char *isa = machine_isa();
    bool        fma = strcmp(isa, "portable") != 0;
    char        cpu[128];

    machine_cpu(cpu, sizeof cpu);
    finding(d, "instructions", fma ? LEVEL_OK : LEVEL_WARN,
            "the planner runs its portable kernels: plan with fewer candidates, or on a newer processor", "%s: %s", cpu,
            isa);
}

/* --- the configuration ---------------------------------------------------------------------------------------- */

/* Cuts the path back to the part that exists. */
static void existing_part(char *path, size_t n)
{
    while (access(path, F_OK) != 0 && strcmp(path, "/") != 0 && strcmp(path, ".") != 0) {
        char up[PATH_SIZE];

        snprintf(up, sizeof up, "%s", path);
        snprintf(path, n, "%s", dirname(up));
    }
}

static void check_store(struct doctor *d, const struct robot_config *c)
{
    char           dir[PATH_SIZE], why[700];
    struct statvfs v;

    if (c->paths.store[0]) {
        snprintf(dir, sizeof dir, "%s", c->paths.store);
    } else if (run_dir_planned(NULL, c->paths.run, c->robot, dir, sizeof dir, why, sizeof why) != 0) {
        finding(d, "store", LEVEL_BAD, "name a place in paths: of robot.yaml, or with --run-dir", "%s", why);
        return;
    }
    existing_part(dir, sizeof dir);
    if (access(dir, W_OK) != 0 || statvfs(dir, &v) != 0) {
        finding(d, "store", LEVEL_BAD, "make the directory and let the daemon's user write there", "%s: %s", dir,
                strerror(errno));
        return;
    }
    double mb = (double)v.f_bavail * (double)v.f_frsize / 1e6;

    finding(d, "store", mb < FREE_MB ? LEVEL_WARN : LEVEL_OK, "make room: experience and models need some hundred MB",
            "%s is writable, %.0f MB free", dir, mb);
}

/* The configuration, or NULL after saying why not. */
static struct robot_config *check_config(struct doctor *d, const char *file)
{
    struct robot_config *c = malloc(sizeof *c);
    char                 why[700];

    if (c && config_load(file, c, why, sizeof why) == 0) {
        finding(d, "config", LEVEL_OK, "", "%s: robot %s, %g Hz, hardware %s", file, c->robot, c->control_hz,
                c->hardware == HARDWARE_REAL ? "real" : "sim");
        return c;
    }
    finding(d, "config", LEVEL_BAD, "correct the file; limberd --check says the same", "%s", c ? why : "no memory");
    free(c);
    return NULL;
}

static void print(const struct doctor *d)
{
    struct screen s = { .width = terminal_width(), .colour = terminal_wants_colour() };
    size_t        i;
    json_t       *c;

    json_array_foreach(d->checks, i, c)
    {
        const char *level = json_string_value(json_object_get(c, "level"));
        int         k     = !strcmp(level, "ok") ? 0 : !strcmp(level, "warn") ? 1 : 2;

        screen_wrap(&s, 22, "%s %-18s  %s", level_mark[k], json_string_value(json_object_get(c, "name")),
                    json_string_value(json_object_get(c, "detail")));
        if (k)
            screen_wrap(&s, 22, "                      %s", json_string_value(json_object_get(c, "remedy")));
    }
    cli_print(&s, stdout);
}

int verb_doctor(int argc, char **argv)
{
    const char       *config  = NULL;
    bool              json    = false;
    const struct flag flags[] = {
        { .name = "config", .value = "FILE", .what = "also check this robot.yaml, and judge for it", .text = &config },
        { .name = "json", .what = "as JSON", .on = &json },
        { 0 }
    };
    const struct usage usage = {
        .line  = "doctor [--config FILE] [--json]",
        .text  = "Checks kernel, limits, processor, libraries and robot.yaml; every fault with its remedy.\n"
                 "What only costs real time is a warning for a simulated robot.  Exit status 1 where something is bad.",
        .flags = flags
    };
    struct doctor        d = { .serious = LEVEL_WARN };
    struct robot_config *c = NULL;
    int                  n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    d.checks = json_array();
    if (config && (c = check_config(&d, config)))
        d.serious = c->hardware == HARDWARE_REAL ? LEVEL_BAD : LEVEL_WARN;
    check_kernel(&d);
    check_limits(&d);
    check_sandbox(&d);
    check_syscalls(&d);
    check_dma_latency(&d);
    check_throttling(&d);
    check_cgroup(&d);
    check_cores(&d, c);
    check_simulator(&d, c);
    check_governor(&d);
    check_isa(&d);
    if (c)
        check_store(&d, c);
    free(c);
    if (json) {
        json_t *all =
            json_pack("{s:b, s:s, s:O}", "ok", d.worst < LEVEL_BAD, "worst", level_name[d.worst], "checks", d.checks);

        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        print(&d);
    }
    json_decref(d.checks);
    return d.worst == LEVEL_BAD ? EXIT_REFUSED : EXIT_OK;
}
