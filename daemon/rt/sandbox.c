/* sandbox.c - see sandbox.h.  No libseccomp: the two filters are flat lists of calls. */
#include "daemon/rt/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/rt/filter_program.h"
#include "daemon/rt/sanitized.h"

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* Newer than the headers of Debian 12, which end with version 2; a kernel of an older version is not asked for them. */
#define FS_TRUNCATE  (1ULL << 14) /* version 3 */
#define SCOPE_SIGNAL (1ULL << 1)  /* version 6: signals to processes outside */

static const uint64_t READ  = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                              LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                              LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |
                              LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE;
static const uint64_t NEVER =
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO;
static const uint64_t OF_FILES =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;

struct allowed {
    const char *path; /* and what is below it; one that does not exist is not allowed */
    uint64_t    rights;
};

int sandbox_landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (int)version : 0;
}

static bool allow(int ruleset, const struct allowed *a, uint64_t handled)
{
    struct landlock_path_beneath_attr rule = { .parent_fd = open(a->path, O_PATH | O_CLOEXEC) };

    if (rule.parent_fd < 0)
        return errno == ENOENT;
    rule.allowed_access = a->rights & handled;
    int bad             = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (bad && errno == EINVAL) { /* not a directory: without the rights of directories */
        rule.allowed_access &= OF_FILES;
        bad = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(rule.parent_fd);
    return bad == 0;
}

/* NULL, or what did not work. */
static const char *restrict_files(const struct allowed *list, int n)
{
    /* landlock_ruleset_attr as of version 6; an older kernel takes the larger struct where the rest is zero. */
    struct {
        uint64_t fs, net, scoped;
    } attr          = { .fs = READ | WRITE | NEVER | LANDLOCK_ACCESS_FS_EXECUTE };
    int  version    = sandbox_landlock();
    bool restricted = version > 0;

    if (!restricted)
        return errno == ENOSYS       ? "this kernel has no Landlock"
               : errno == EOPNOTSUPP ? "Landlock is switched off (boot with lsm=landlock,...)"
                                     : "Landlock is forbidden here (SystemCallFilter= of the unit?)";
    if (version < 2)
        attr.fs &= ~LANDLOCK_ACCESS_FS_REFER;
    if (version < 3)
        attr.fs &= ~FS_TRUNCATE;
    if (version >= 6)
        attr.scoped = SCOPE_SIGNAL;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    restricted  = ruleset >= 0;
    for (int i = 0; restricted && i < n; i++)
        restricted = allow(ruleset, &list[i], attr.fs);
    restricted        = restricted && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    const char *fault = restricted ? NULL : strerror(errno);
    if (ruleset >= 0)
        close(ruleset);
    return fault;
}

/* ---- system calls ----------------------------------------------------------------------------------------------- */

static const uint32_t DENY = SECCOMP_RET_ERRNO | EPERM;

#ifdef FILTER_ARCH
static const uint32_t ARCH = FILTER_ARCH;
#else
static const uint32_t ARCH = 0; /* seccomp is left out */
#endif

/* x32's numbers mean other calls. */
static void begin(struct filter_program *p)
{
    filter_begin(p, ARCH);
    filter_op(p, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    filter_op(p, FILTER_RETURN, DENY, 0, 0);
}

/* The call is denied where argument `arg` has all bits of `mask` set. */
static void deny_bits(struct filter_program *p, int call, int arg, uint32_t mask)
{
    filter_op(p, FILTER_EQUAL, (uint32_t)call, 0, 5);
    filter_op(p, FILTER_LOAD, FILTER_ARGUMENT(arg), 0, 0);
    filter_op(p, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
    filter_op(p, FILTER_EQUAL, mask, 0, 1);
    filter_op(p, FILTER_RETURN, DENY, 0, 0);
    filter_op(p, FILTER_LOAD, FILTER_CALL, 0, 0);
}

/* Files that run as whoever owns them are not made.  glibc passes a mode of 0 where none is asked for. */
static void deny_set_id(struct filter_program *p)
{
    static const struct {
        int call, arg;
    } mode[] = {
        { SYS_fchmod, 1 },
        { SYS_openat, 3 },
#if defined(__x86_64__)
        { SYS_chmod, 1 },
        { SYS_open, 2 },
#endif
    };

    for (size_t i = 0; i < sizeof mode / sizeof *mode; i++) {
        deny_bits(p, mode[i].call, mode[i].arg, S_ISUID);
        deny_bits(p, mode[i].call, mode[i].arg, S_ISGID);
    }
}

static const char *install(struct filter_program *p)
{
    struct sock_fprog prog = { .len = p->n, .filter = p->op };

    if (RT_SANITIZED)
        return "left out, as a sanitizer needs what it forbids";
    if (!ARCH)
        return "not known for this processor";
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) != 0)
        return errno == EINVAL ? "this kernel has no seccomp" : strerror(errno);
    return NULL;
}

bool sandbox_seccomp(void)
{
    /* With no filter: EFAULT where the mode is known, EINVAL where it is not. */
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) != 0 && errno == EFAULT;
}

/* What training takes: files, memory, time, pipes. */
static const int training[] = {
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_openat,
    SYS_newfstatat,
    SYS_fstat,
    SYS_statx,
    SYS_fcntl,
    SYS_fsync,
    SYS_fdatasync,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fchmod,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlinkat,
    SYS_mkdirat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getcwd,
    SYS_utimensat,
    SYS_getdents64,
    SYS_dup,
    SYS_ioctl,
    SYS_brk,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_mlock,
    SYS_munlock,
    SYS_ppoll,
    SYS_pselect6,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_futex,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_getrandom,
    SYS_getrusage,
    SYS_sysinfo,
    SYS_uname,
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_set_robust_list,
    SYS_exit,
    SYS_exit_group,
#if defined(__x86_64__)
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_rename,
    SYS_unlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_readlink,
    SYS_poll,
    SYS_select,
    SYS_time,
    SYS_chmod,
    SYS_arch_prctl,
#endif
};

/* What a daemon of this kind never does, and attackers like to. */
static const int never[] = {
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_unshare,
    SYS_setns,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_memfd_create,
    SYS_execveat,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
    SYS_personality,
    SYS_vhangup,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

/* ---- capabilities ------------------------------------------------------------------------------------------------ */

static bool ours(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_uid == geteuid();
}

/* The one thing that is of use in there: reading and writing directories of another user, for root's trainer. */
static void drop_capabilities(bool keep_dac)
{
    struct __user_cap_header_struct head    = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   have[2] = { 0 }, none[2] = { 0 };

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* needs CAP_SETPCAP; without, there is no other program to gain them by */
    if (keep_dac && syscall(SYS_capget, &head, have) == 0)
        none[0].effective = none[0].permitted = have[0].permitted & 1U << CAP_DAC_OVERRIDE;
    syscall(SYS_capset, &head, none); /* giving up is always granted */
}

/* ---- the two programs ------------------------------------------------------------------------------------------- */

static struct sandbox enter(const struct allowed *list, int n, struct filter_program *p)
{
    struct sandbox s = { 0 };
    const char    *files, *calls = "no new rights can be ruled out", *both;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        files = calls;
    else {
        files = restrict_files(list, n);
        calls = install(p);
    }
    s.files = !files;
    s.calls = !calls;
    both    = files && calls ? "; " : "";
    snprintf(s.why, sizeof s.why, "%s%s%s%s%s", files ? "files are not fenced in: " : "", files ? files : "", both,
             calls ? "system calls are not restricted: " : "", calls ? calls : "");
    return s;
}

struct sandbox sandbox_trainer(const char *store_dir, const char *models_dir)
{
    const struct allowed list[] = {
        { store_dir, READ | WRITE },
        { models_dir, READ | WRITE },
        { "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE }, /* SQLite */
        { RT_SANITIZED ? "/proc" : models_dir, READ },    /* a sanitizer that looks for leaks lists its threads there */
    };
    struct filter_program p       = { .n = 0 };
    const int             pid     = getpid();
    const int             self[]  = { 0, pid };

    drop_capabilities(!ours(store_dir) || !ours(models_dir));
    begin(&p);
    deny_set_id(&p);
    deny_bits(&p, SYS_mmap, 2, PROT_EXEC);
    deny_bits(&p, SYS_mprotect, 2, PROT_EXEC);
    filter_where(&p, SYS_tgkill, 0, &pid, 1, DENY);
    filter_where(&p, SYS_prlimit64, 0, self, 2, DENY);
    filter_each(&p, training, sizeof training / sizeof *training, SECCOMP_RET_ALLOW);
    filter_op(&p, FILTER_RETURN, DENY, 0, 0);
    return enter(list, sizeof list / sizeof *list, &p);
}

struct sandbox sandbox_daemon(const char *run_dir, const char *store_dir, const char *trainer, bool network)
{
    const struct allowed list[] = {
        { "/", READ },
        { run_dir, WRITE },
        { store_dir, WRITE },
        { "/proc", LANDLOCK_ACCESS_FS_WRITE_FILE }, /* the trainer makes itself the first to go when memory is short */
        { "/dev/cpu_dma_latency", LANDLOCK_ACCESS_FS_WRITE_FILE },
        { "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE },
        { trainer, LANDLOCK_ACCESS_FS_EXECUTE },
        { "/lib64/ld-linux-x86-64.so.2", LANDLOCK_ACCESS_FS_EXECUTE }, /* which loads the trainer */
        { "/lib/ld-linux-aarch64.so.1", LANDLOCK_ACCESS_FS_EXECUTE },
    };
    static const int local[] = { AF_UNIX },
                     net[]   = { AF_UNIX, AF_INET, AF_NETLINK }; /* NETLINK: libzmq looks at the interfaces */
    struct filter_program p         = { .n = 0 };

    begin(&p);
    filter_each(&p, never, sizeof never / sizeof *never, DENY);
    deny_bits(&p, SYS_mmap, 2, PROT_WRITE | PROT_EXEC);
    deny_bits(&p, SYS_mprotect, 2, PROT_WRITE | PROT_EXEC);
    if (network)
        filter_where(&p, SYS_socket, 0, net, sizeof net / sizeof *net, DENY);
    else
        filter_where(&p, SYS_socket, 0, local, sizeof local / sizeof *local, DENY);
    filter_op(&p, FILTER_RETURN, SECCOMP_RET_ALLOW, 0, 0);
    return enter(list, sizeof list / sizeof *list, &p);
}
