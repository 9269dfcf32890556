/* sandbox.h - what a program gives up once it has started, so that a bug in it reaches less: files by Landlock
 * (landlock(7)), system calls by seccomp (seccomp(2)).  It holds for the calling thread and all that it starts later, so
 * it is called before there are others; it cannot be undone.  What the kernel lacks is left out, and said.
 *
 * Forbidden calls fail with EPERM, forbidden files with EACCES. */
#ifndef RT_SANDBOX_H
#define RT_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* What came of it. */
struct sandbox {
    bool files, calls;
    char why[200]; /* what is missing, and the reason; empty: nothing */
};

/* limber-trainer: reads and writes below these two directories and nothing else, starts no program, makes no socket, no
 * process, no executable memory and no set-user-id file; only the system calls that training takes, and no capability (but
 * CAP_DAC_OVERRIDE for root where the directories are another user's). */
struct sandbox sandbox_trainer(const char *store_dir, const char *models_dir);

/* limberd: writes below these two directories, /proc, and two devices; reads what its user may; starts no program but the
 * trainer; makes no socket but local ones, or those of IPv4 with `network`; no debugging of other processes, no mounts,
 * namespaces, kernel modules, keyrings, BPF, io_uring, clocks, memory both writable and executable. */
struct sandbox sandbox_daemon(const char *run_dir, const char *store_dir, const char *trainer, bool network);

/* Whether this kernel has it: the version of Landlock, 0 where there is none or it is switched off. */
int  sandbox_landlock(void);
bool sandbox_seccomp(void);

#endif
