/* test_exposure.c - what `systemd-analyze security` would say of limber-trainer, were it a unit.
 *
 * It is a child of limberd and fences itself in.  tests/trainer.service says the same fences in systemd's words; systemd
 * scores that, and each of its lines is held against attempts from inside the trainer's own sandbox, all of them refused. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/rt/sandbox.h"
#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char UNIT[] = "tests/trainer.service";

/* ---- attempts: true where refused ---- */

static char inside[300]; /* the trainer's directory */

static bool call_refused(long number)
{
    return syscall(number, 0, 0, 0, 0, 0, 0) < 0 && errno == EPERM;
}

/* No file there is as good as one that cannot be had. */
static bool hidden(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd < 0 && (errno == EACCES || errno == ENOENT);
}

static bool hidden_dir(const char *path)
{
    return hidden(path, O_RDONLY | O_DIRECTORY);
}

static bool other_users(void)
{
    return call_refused(SYS_setuid) && call_refused(SYS_setgid) && call_refused(SYS_setresuid) &&
           call_refused(SYS_setgroups);
}

static bool capabilities(void)
{
    return call_refused(SYS_capset) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0) < 0 && errno == EPERM;
}

static bool programs(void)
{
    return call_refused(SYS_execve) && call_refused(SYS_execveat) && call_refused(SYS_clone) &&
           call_refused(SYS_clone3);
}

static bool system_files(void)
{
    return hidden("/usr/limber-test", O_WRONLY | O_CREAT) && hidden("/etc/limber-test", O_WRONLY | O_CREAT) &&
           hidden("/limber-test", O_WRONLY | O_CREAT) && hidden("/etc/passwd", O_RDONLY) &&
           hidden("/etc/shadow", O_RDONLY);
}

static bool homes(void)
{
    return hidden_dir("/root") && hidden_dir("/home");
}

static bool temporary_files(void)
{
    return hidden_dir("/tmp") && hidden("/tmp/limber-test", O_WRONLY | O_CREAT) &&
           hidden("/var/tmp/limber-test", O_WRONLY | O_CREAT);
}

static bool mounts(void)
{
    return call_refused(SYS_mount) && call_refused(SYS_umount2) && call_refused(SYS_pivot_root) &&
           call_refused(SYS_chroot);
}

static bool devices(void)
{
    return hidden("/dev/null", O_RDWR) && hidden("/dev/zero", O_RDONLY) && hidden("/dev/mem", O_RDONLY) &&
           hidden("/dev/tty", O_RDWR) && hidden("/dev/cpu_dma_latency", O_WRONLY) && call_refused(SYS_mknodat);
}

static bool sockets(void)
{
    static const int kind[]  = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET };
    bool             refused = true;
    int              two[2];

    for (int family = 0; family < 64; family++)
        for (int k = 0; k < 4; k++)
            refused = refused && socket(family, kind[k], 0) < 0 && errno == EPERM;
    return refused && socketpair(AF_UNIX, SOCK_STREAM, 0, two) < 0 && errno == EPERM && call_refused(SYS_connect) &&
           call_refused(SYS_bind) && call_refused(SYS_sendto) && call_refused(SYS_sendmsg);
}

static bool others_files_and_processes(void)
{
    return call_refused(SYS_fchown) && call_refused(SYS_fchownat) && kill(1, 0) < 0 && errno == EPERM &&
           call_refused(SYS_ptrace) && call_refused(SYS_process_vm_readv);
}

static bool clocks(void)
{
    return call_refused(SYS_clock_settime) && call_refused(SYS_settimeofday) && call_refused(SYS_adjtimex) &&
           hidden("/dev/rtc0", O_RDONLY);
}

static bool host_name(void)
{
    return call_refused(SYS_sethostname) && call_refused(SYS_setdomainname);
}

static bool tunables(void)
{
    return hidden("/proc/sys/kernel/hostname", O_RDWR) && hidden("/proc/sysrq-trigger", O_WRONLY) &&
           hidden_dir("/sys/kernel");
}

static bool modules(void)
{
    return call_refused(SYS_init_module) && call_refused(SYS_finit_module) && call_refused(SYS_delete_module) &&
           hidden_dir("/lib/modules");
}

static bool kernel_log(void)
{
    return call_refused(SYS_syslog) && hidden("/dev/kmsg", O_RDONLY) && hidden("/proc/kmsg", O_RDONLY);
}

static bool control_groups(void)
{
    return hidden_dir("/sys/fs/cgroup");
}

static bool process_tree(void)
{
    return hidden_dir("/proc") && hidden("/proc/1/status", O_RDONLY) && hidden("/proc/self/maps", O_RDONLY) &&
           hidden("/proc/meminfo", O_RDONLY);
}

static bool namespaces(void)
{
    static const int kind[]  = { CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWNET,   CLONE_NEWPID,
                                 CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP };
    bool             refused = call_refused(SYS_setns);

    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        refused = refused && unshare(kind[i]) < 0 && errno == EPERM;
    return refused;
}

static bool set_id_files(void)
{
    char path[400];

    snprintf(path, sizeof path, "%s/set-id", inside);
    int  fd      = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool refused = fd >= 0 && fchmod(fd, 0640) == 0; /* as SQLite does */

    for (int i = 0; i < 2; i++) {
        mode_t bit = i ? S_ISGID : S_ISUID;
        refused =
            refused && fchmod(fd, bit | 0700) < 0 && errno == EPERM && chmod(path, bit | 0700) < 0 && errno == EPERM;
        refused = refused && open(path, O_WRONLY | O_CREAT | O_CLOEXEC, bit | 0700) < 0 && errno == EPERM;
    }
    close(fd);
    return refused;
}

static bool priorities(void)
{
    return call_refused(SYS_sched_setscheduler) && call_refused(SYS_sched_setattr) &&
           call_refused(SYS_sched_setparam) && call_refused(SYS_setpriority);
}

static bool personalities(void)
{
    return call_refused(SYS_personality);
}

static bool new_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0 && errno == EPERM &&
           mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
           call_refused(SYS_memfd_create) && call_refused(SYS_pkey_mprotect) && call_refused(SYS_shmat);
}

static bool ipc(void)
{
    return call_refused(SYS_shmget) && call_refused(SYS_semget) && call_refused(SYS_msgget) &&
           call_refused(SYS_mq_open);
}

static bool keyrings(void)
{
    return call_refused(SYS_keyctl) && call_refused(SYS_add_key) && call_refused(SYS_request_key);
}

static bool another_umask(void)
{
    return call_refused(SYS_umask);
}

#if defined(__x86_64__)
static bool x32_calls(void)
{
    return call_refused(0x40000000 + SYS_getpid);
}
#else
static bool x32_calls(void)
{
    return true;
}
#endif

/* Every call that the unit's filter would refuse; asked for before the sandbox is entered. */
enum { CALLS = 600 };
static int forbidden[CALLS], nforbidden;

static bool calls_outside_the_list(void)
{
    int allowed = 0;

    for (int i = 0; i < nforbidden; i++)
        if (!call_refused(forbidden[i])) {
            printf("    system call %d is not refused\n", forbidden[i]);
            allowed++;
        }
    return nforbidden > 60 && allowed == 0;
}

static const struct {
    const char *directive;
    bool (*refused)(void);
} attempt[] = {
    { "User", other_users },
    { "CapabilityBoundingSet", capabilities },
    { "AmbientCapabilities", capabilities },
    { "NoNewPrivileges", programs },
    { "ProtectSystem", system_files },
    { "ProtectHome", homes },
    { "PrivateTmp", temporary_files },
    { "PrivateMounts", mounts },
    { "PrivateDevices", devices },
    { "DevicePolicy", devices },
    { "PrivateNetwork", sockets },
    { "PrivateUsers", others_files_and_processes },
    { "RestrictAddressFamilies", sockets },
    { "IPAddressDeny", sockets },
    { "ProtectClock", clocks },
    { "ProtectHostname", host_name },
    { "ProtectKernelTunables", tunables },
    { "ProtectKernelModules", modules },
    { "ProtectKernelLogs", kernel_log },
    { "ProtectControlGroups", control_groups },
    { "ProtectProc", process_tree },
    { "ProcSubset", process_tree },
    { "RestrictNamespaces", namespaces },
    { "RestrictSUIDSGID", set_id_files },
    { "RestrictRealtime", priorities },
    { "LockPersonality", personalities },
    { "MemoryDenyWriteExecute", new_code },
    { "RemoveIPC", ipc },
    { "KeyringMode", keyrings },
    { "UMask", another_umask },
    { "SystemCallArchitectures", x32_calls },
    { "SystemCallFilter", calls_outside_the_list },
    { "SystemCallErrorNumber", calls_outside_the_list },
};
enum { ATTEMPTS = sizeof attempt / sizeof *attempt };

/* ---- the unit's words ---- */

/* The program and what only systemd needs to know. */
static bool is_not_a_fence(const char *line)
{
    return line[0] < 'A' || line[0] > 'Z' || !strncmp(line, "ExecStart=", 10);
}

TEST(every_line_of_the_trainers_fences_is_held_against_an_attempt_and_the_other_way_round)
{
    char  line[300];
    bool  said[ATTEMPTS] = { 0 };
    FILE *f              = fopen(UNIT, "re");

    EXPECT(f != NULL);
    while (f && fgets(line, sizeof line, f)) {
        bool found = is_not_a_fence(line);

        for (int i = 0; i < ATTEMPTS; i++) {
            size_t n = strlen(attempt[i].directive);
            if (!strncmp(line, attempt[i].directive, n) && line[n] == '=')
                found = said[i] = true;
        }
        EXPECT(found);
        if (!found)
            printf("    no attempt for %s", line);
    }
    if (f)
        fclose(f);
    for (int i = 0; i < ATTEMPTS; i++)
        EXPECT(said[i]);
}

/* Names of the calls in a set, those in sets that it names as well, after one another and each between spaces. */
static void expand(const char *set, char *out, size_t size)
{
    char command[200], *text = malloc(65536), *rest;

    snprintf(command, sizeof command, "systemd-analyze syscall-filter '%s' 2>&1 | tail -n +2 | grep -v '#'", set);
    EXPECT(text && test_command(command, text, 65536) == 0);
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        if (word[0] == '@')
            expand(word, out, size);
        else
            snprintf(out + strlen(out), size - strlen(out), " %s ", word);
    }
    free(text);
}

/* The calls of this processor that the unit's SystemCallFilter= lines leave out. */
static void read_forbidden(void)
{
    enum { ROOM = 65536 };
    char *allow = calloc(1, ROOM), *deny = calloc(1, ROOM), *text = malloc(ROOM), *rest;

    EXPECT(test_command("sed -n 's/^SystemCallFilter=//p' tests/trainer.service", text, ROOM) == 0);
    expand("@default", allow, ROOM); /* always */
    bool minus = false;
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        minus = minus || word[0] == '~'; /* the second line, to its end */
        expand(word + (word[0] == '~'), minus ? deny : allow, ROOM);
    }
    EXPECT(test_command("echo '#include <sys/syscall.h>' | cc -E -dM -x c - | sed -n 's/^#define __NR_//p'", text,
                        ROOM) == 0);
    nforbidden = 0;
    for (char *word = strtok_r(text, "\n", &rest); word && nforbidden < CALLS; word = strtok_r(NULL, "\n", &rest)) {
        char name[80], between[90];
        int  number;

        if (sscanf(word, "%70s %d", name, &number) != 2)
            continue;
        snprintf(between, sizeof between, " %s ", name);
        if (!strstr(allow, between) || strstr(deny, between))
            forbidden[nforbidden++] = number;
    }
    free(allow);
    free(deny);
    free(text);
}

/* ---- inside ---- */

static bool kernel_can(void)
{
    return sandbox_landlock() > 0 && sandbox_seccomp() && !RT_SANITIZED;
}

static int try_all(void)
{
    struct sandbox s      = sandbox_trainer(inside, inside);
    int            failed = !s.files || !s.calls;

    for (int i = 0; i < ATTEMPTS; i++)
        if (!attempt[i].refused()) {
            printf("    %s=: an attempt is not refused\n", attempt[i].directive);
            failed++;
        }
    fflush(stdout);
    return failed;
}

#if defined(__x86_64__)
/* Another processor's calls: nothing comes back from there. */
static int call_as_32_bit(void)
{
    int result = 20; /* getpid */

    sandbox_trainer(inside, inside);
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    return result;
}
#endif

static int in_child(int (*f)(void))
{
    int status = 0;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(f());
    waitpid(pid, &status, 0);
    return status;
}

TEST(everything_that_systemd_would_forbid_the_trainer_it_has_forbidden_itself)
{
    if (!kernel_can())
        return;
    snprintf(inside, sizeof inside, "%s/inside", test_dir());
    mkdir(inside, 0700);
    read_forbidden();
    EXPECT(in_child(try_all) == 0);
#if defined(__x86_64__)
    int status = in_child(call_as_32_bit);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
#endif
    /* Outside, much of it works: so attempts can fail. */
    EXPECT(!system_files() || !temporary_files());
    EXPECT(!sockets() && !devices() && !process_tree() && !new_code() && !set_id_files() && !ipc());
}

static int judged(const char *drop, int tenths)
{
    char command[600], *output = malloc(65536);

    snprintf(
        command, sizeof command,
        "sed -e 's|^ExecStart=.*|ExecStart=/bin/true|' -e '/%s/d' %s > %s/trainer.service && systemd-analyze security "
        "--no-pager --offline=true --threshold=%d %s/trainer.service 2>&1",
        drop, UNIT, test_dir(), tenths, test_dir());
    int rc = test_command(command, output, 65536);
    free(output);
    return rc;
}

TEST(systemd_finds_the_trainers_fences_at_most_0_3_of_ten_exposed)
{
    EXPECT(judged("^$", 3) == 0);
    EXPECT(judged("^RestrictAddressFamilies\\|^PrivateNetwork\\|^IPAddress", 3) !=
           0); /* so the threshold does refuse */
    EXPECT(judged("^SystemCallFilter", 3) != 0);
}

/* ---- the real one ---- */

static int trainer_of(int pid)
{
    char command[100], text[200];

    snprintf(command, sizeof command, "cat /proc/%d/task/*/children", pid);
    return test_command(command, text, sizeof text) == 0 ? atoi(text) : 0;
}

/* A field of /proc/PID/status, as text. */
static bool field(int pid, const char *name, const char *value)
{
    char command[200], text[200];

    snprintf(command, sizeof command, "grep -E '^%s:\t%s$' /proc/%d/status", name, value, pid);
    bool is = test_command(command, text, sizeof text) == 0;
    if (!is) {
        snprintf(command, sizeof command, "grep -E '^%s:' /proc/%d/status", name, pid);
        test_command(command, text, sizeof text);
        printf("    expected %s, is %s", value, text);
    }
    return is;
}

/* Its input and output, limberd's stderr, and files below its own directory. */
static int open_elsewhere(int pid)
{
    char command[700], text[100];

    snprintf(
        command, sizeof command,
        "cd /proc/%d/fd && for n in *; do t=$(readlink $n) || continue; [ $n -le 2 ] && continue; case $t in %s/*) ;; "
        "/dev/urandom) ;; *) echo $n $t >&2; echo $n;; esac; done | wc -l",
        pid, test_dir());
    return test_command(command, text, sizeof text) == 0 ? atoi(text) : -1;
}

TEST(a_trainer_that_has_trained_holds_no_capability_no_other_file_and_cannot_gain_any)
{
    struct fixture    f;
    const char *const edits[]    = { "count: 15", "count: 1", NULL };
    const char *const lockstep[] = { "--lockstep", NULL };

    if (!kernel_can())
        return;
    fixture_init(&f, edits);
    EXPECT(fixture_daemon(&f, NULL));
    EXPECT(fixture_bridge(&f, lockstep));
    EXPECT(fixture_wait(&f, "link.connected", "true", 10));
    EXPECT(fixture_arm(&f, 20));
    EXPECT(fixture_wait(&f, "model.published", "1", 60));
    int pid = trainer_of((int)fixture_number(&f, "pid"));
    EXPECT(pid > 0);
    EXPECT(field(pid, "NoNewPrivs", "1") && field(pid, "Seccomp", "2") && field(pid, "Threads", "1"));
    EXPECT(field(pid, "CapInh", "0+") && field(pid, "CapPrm", "0+") && field(pid, "CapEff", "0+") &&
           field(pid, "CapAmb", "0+"));
    if (geteuid() == 0)
        EXPECT(field(pid, "CapBnd", "0+"));
    EXPECT(field(pid, "Umask", "0027"));
    EXPECT(sched_getscheduler(pid) == SCHED_IDLE);
    EXPECT(open_elsewhere(pid) == 0);
    char command[200], text[200];
    snprintf(command, sizeof command, "grep '^Max address space *[0-9]' /proc/%d/limits", pid);
    EXPECT(test_command(command, text, sizeof text) == 0);
    fixture_end(&f);
}
