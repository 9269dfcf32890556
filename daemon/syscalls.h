/* syscalls.h - each real-time thread may make the system calls on its list and no other; the kernel (seccomp) holds it
 * to that.  A call that is not listed is not made: it fails with EPERM, is noted, and the robot is stopped.
 *
 * A filter binds the thread that installs it and no other, and cannot be taken off. */
#ifndef DAEMON_SYSCALLS_H
#define DAEMON_SYSCALLS_H

#include <stdatomic.h>
#include <stdint.h>

enum syscall_list { SYSCALLS_CONTROL, SYSCALLS_PLANNER, SYSCALLS_IO };

/* Main thread, before the others: takes the signal SIGSYS for the process.  0; or -errno where this kernel or build
 * cannot restrict threads. */
int syscalls_start(void);

/* Last line of a real-time thread's set-up: restricts the calling thread to `list`.  wake_fd: the one file that
 * SYSCALLS_CONTROL may write to (besides stderr, for the last words of a broken invariant).  `thread` and `name` (static)
 * say who it was: the first call refused is noted in *refused, see below, and said on stderr.  0 or -errno. */
int syscalls_restrict(enum syscall_list list, int thread, const char *name, int wake_fd, _Atomic uint32_t *refused);

/* *refused: 0 none, else which thread made which call. */
static inline int syscalls_thread(uint32_t refused)
{
    return (int)(refused >> 16) - 1;
}
static inline int syscalls_number(uint32_t refused)
{
    return (int)(refused & 0xffff);
}

/* "mmap" where it is one of the usual ones, else "?". */
const char *syscalls_name(int number);

#endif
