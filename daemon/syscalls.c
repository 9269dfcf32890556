/* syscalls.c - the lists, and the filter made of one.
 *
 * What is refused does not happen: the kernel sends SIGSYS to the thread instead (SECCOMP_RET_TRAP), whose handler notes
 * the call, says so on stderr, and lets it return EPERM.  The thread goes on, if it can, for as long as the control
 * thread needs to see the note and to put the robot into FAULT; where it cannot, the robot side damps by itself. */
#include "daemon/syscalls.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "daemon/rt/filter_program.h"
#include "daemon/rt/sanitized.h"

/* ---- the lists ---- */

/* Every real-time thread. */
static const int common[] = {
    SYS_restart_syscall, /* a sleep goes on after the process was stopped and continued          */
    SYS_clock_gettime,   /* in user space, except where the machine's clock source cannot be read there */
    SYS_rt_sigreturn,    /* the end of the handler below                                         */
    /* the thread's own end, in glibc */
    SYS_rt_sigprocmask,
    SYS_madvise,
    SYS_exit,
    SYS_exit_group, /* the end of the process */
    /* abort of a broken invariant (and its words, by write to stderr) */
    SYS_getpid,
    SYS_gettid,
    SYS_tgkill,
};

static const int control_also[] = {
    SYS_clock_nanosleep, /* the next tick (pace: timer) */
};

/* ZeroMQ allocates a message's body, and a peer's pipe when one connects; its queues are woken by eventfds. */
static const int io_also[] = {
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,                        /* zmq_poll: waiting for a message or the control thread               */
    SYS_read,  SYS_write,             /* eventfds of ZeroMQ's mailboxes and ours, whose numbers are not known here */
    SYS_brk,   SYS_mmap,  SYS_munmap, /* the heap; realtime.c keeps it from shrinking, so growth is all there is */
    SYS_futex,                        /* the locks of heap and mailboxes, shared with ZeroMQ's own thread    */
};

/* No other futex: to wait for a contended lock (FUTEX_WAIT) is refused as well. */
static const int futex_ops[] = { FUTEX_WAKE_PRIVATE, FUTEX_WAIT_BITSET_PRIVATE };

const char *syscalls_name(int number)
{
    static const struct {
        int         number;
        const char *name;
    } known[] = {
#define CALL(name) { SYS_##name, #name }
        CALL(read),   CALL(write),     CALL(openat),          CALL(close),       CALL(fstat),     CALL(lseek),
        CALL(mmap),   CALL(munmap),    CALL(mprotect),        CALL(mremap),      CALL(brk),       CALL(futex),
        CALL(clone),  CALL(clone3),    CALL(execve),          CALL(ioctl),       CALL(socket),    CALL(connect),
        CALL(sendto), CALL(recvfrom),  CALL(sendmsg),         CALL(recvmsg),     CALL(fsync),     CALL(writev),
        CALL(ppoll),  CALL(nanosleep), CALL(clock_nanosleep), CALL(sched_yield), CALL(getrusage), CALL(getrandom),
        CALL(prctl),  CALL(kill),
#undef CALL
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number)
            return known[i].name;
    return "?";
}

/* ---- a call is refused ---- */

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code of a call that a filter refused */
#endif

/* The thread's own; NULL in threads that are not restricted. */
static _Thread_local struct {
    const char       *name;
    int               thread;
    _Atomic uint32_t *refused;
} self;

static size_t put(char *text, size_t at, const char *more)
{
    while (*more)
        text[at++] = *more++;
    return at;
}

/* Formatted by hand: this may have interrupted anything. */
static void say(int number)
{
    char   text[160], digits[12];
    size_t n = sizeof digits - 1, at = 0;

    digits[n] = 0;
    do
        digits[--n] = (char)('0' + number % 10);
    while (number /= 10);
    at = put(text, at, "limberd: system call ");
    at = put(text, at, digits + n);
    at = put(text, at, " is not on the list of thread ");
    at = put(text, at, self.name);
    at = put(text, at, ": refused; the robot is stopped\n");
    if (write(STDERR_FILENO, text, at) < 0)
        return;
}

static void on_refused(int signum, siginfo_t *info, void *context)
{
    ucontext_t *c     = context;
    int         saved = errno;
    uint32_t    none  = 0;

    (void)signum;
    if (!self.refused || info->si_code != SYS_SECCOMP) /* somebody's kill -SYS */
        return;
    uint32_t what = (uint32_t)(self.thread + 1) << 16 | ((uint32_t)info->si_syscall & 0xffff);
    if (atomic_compare_exchange_strong(self.refused, &none, what))
        say(info->si_syscall);
    /* brk says how far it came: 0, else an error would pass for an address beyond the one asked for. */
    long result = info->si_syscall == SYS_brk ? 0 : -EPERM;
#if defined(__x86_64__)
    c->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
    c->uc_mcontext.regs[0] = (unsigned long long)result;
#else
    (void)c, (void)result;
#endif
    errno = saved;
}

#ifdef FILTER_ARCH

/* ---- the filter ---- */

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void compile(struct filter_program *p, enum syscall_list list, int wake_fd)
{
    const int files[] = { STDERR_FILENO, wake_fd };

    filter_begin(p, FILTER_ARCH);
    if (list == SYSCALLS_IO) {
        filter_each(p, io_also, COUNT(io_also), SECCOMP_RET_ALLOW);
    } else {
        filter_where(p, SYS_futex, 1, futex_ops, COUNT(futex_ops), SECCOMP_RET_TRAP);
        filter_where(p, SYS_write, 0, files, list == SYSCALLS_CONTROL ? 2 : 1, SECCOMP_RET_TRAP);
    }
    filter_each(p, common, COUNT(common), SECCOMP_RET_ALLOW);
    if (list == SYSCALLS_CONTROL)
        filter_each(p, control_also, COUNT(control_also), SECCOMP_RET_ALLOW);
    filter_op(p, FILTER_RETURN, SECCOMP_RET_TRAP, 0, 0);
}

int syscalls_restrict(enum syscall_list list, int thread, const char *name, int wake_fd, _Atomic uint32_t *refused)
{
    struct filter_program p = { .n = 0 };
    struct sock_fprog     program;

    if (RT_SANITIZED)
        return -ENOTSUP;
    compile(&p, list, wake_fd);
    program      = (struct sock_fprog){ .len = p.n, .filter = p.op };
    self.name    = name;
    self.thread  = thread;
    self.refused = refused;
    /* By prctl, as systemd's @system-service has no seccomp(2).  Kernels from 5.16 on do not slow the thread down for it. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return -errno;
    return 0;
}

int syscalls_start(void)
{
    const struct sigaction action = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_RESTART };

    if (RT_SANITIZED)
        return -ENOTSUP;
    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

#else

int syscalls_restrict(enum syscall_list list, int thread, const char *name, int wake_fd, _Atomic uint32_t *refused)
{
    (void)list, (void)thread, (void)name, (void)wake_fd, (void)refused;
    return -ENOTSUP;
}

int syscalls_start(void)
{
    (void)on_refused;
    return -ENOTSUP;
}

#endif
