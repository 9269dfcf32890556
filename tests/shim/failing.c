/* failing.c - preloaded into a program (LD_PRELOAD): makes its k-th call of a kind fail, writes down what it does to files, or
 * gives it a slow disk.
 *
 *     FAIL_PROGRAM=limberd      only in the process of that name; its children run as always
 *     FAIL_WHAT=malloc|open|read|write|sync|rename|mmap|socket|thread|stat    which kind
 *     FAIL_AT=K                 the K-th call (1 ...) after start fails with ENOMEM, ENOSPC, EIO, ... 0: none
 *     FAIL_FOREVER=1            and all that follow
 *     FAIL_OWN=1                only calls of the program's own code are counted, and fail; not those of libraries
 *     FAIL_BY=hang|spin|eat|die the K-th call does not fail but never returns; likewise, busily; takes all memory that
 *                               there is, and fails; ends the process with status 7
 *     FAIL_LOG=FILE             a line for each call that fails (up to 5000): modules of the callers, innermost first;
 *                               at a crash a line "crash abort " or "crash fault " and
 *                               the modules likewise; at an orderly end "calls N"
 *     failing_from_here         the same from inside, for a program that looks whether it is there
 *     RECORD_DIR=DIR RECORD=FILE   every write, truncation, sync, rename and removal of files below DIR, as records that
 *                               tests/test_power.c replays
 *
 *     SLOW_DIR=DIR SLOW_WHILE=FILE SLOW_SYNC_MS=N SLOW_WRITE_MS=N   while FILE is there, every sync of files in DIR takes so long,
 *                               every write to them, rename and removal so long; FAIL_LOG gets a line "slowed N" at the end
 *
 * Only files fail to be read and written, or are slow: not sockets, pipes and eventfds, which have no disk behind them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/shim/record.h"

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum kind { MALLOC, OPEN, READ, WRITE, SYNC, RENAME, MMAP, SOCKET, THREAD, STAT, KINDS };
static const char *const names[KINDS] = { "malloc", "open",   "read",   "write", "sync", "rename",
                                          "mmap",   "socket", "thread", "stat" };

static bool         on, forever;
static int          what = -1, log_fd = -1, record_fd = -1;
static int          write_error = ENOSPC;
static const char  *by;
static uintptr_t    own_from, own_to; /* the program's own code; 0: whoever calls */
static long         at;
static _Atomic long calls, failed;
static char         record_dir[400];
static _Atomic bool  file[1024]; /* by descriptor: opened by name, and a regular file */
static char         slow_dir[400];
static const char  *slow_while;
static int          slow_sync_ms, slow_write_ms;
static _Atomic long slowed;
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- failing ---- */

static void tell(const char *text)
{
    if (log_fd >= 0)
        (void)!syscall(SYS_write, log_fd, text, strlen(text));
}

static void tell_callers(void)
{
    void   *frame[24];
    int     n = backtrace(frame, 24);
    Dl_info info;

    for (int i = 1; i < n; i++) {
        if (!dladdr(frame[i], &info) || !info.dli_fname)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        tell(slash ? slash + 1 : info.dli_fname);
        tell(" ");
    }
    tell("\n");
}

/* Where it crashed; then it does so for good. */
static void on_crash(int signum)
{
    on = false;
    tell(signum == SIGABRT ? "crash abort " : "crash fault ");
    tell_callers();
}

/* As FAIL_BY says. */
static void misbehave(void)
{
    char line[60];
    long mib = 0;

    if (!strcmp(by, "die"))
        _exit(7);
    while (!strcmp(by, "hang"))
        pause();
    while (!strcmp(by, "spin"))
        atomic_load(&calls);
    while (!strcmp(by, "eat") && __libc_malloc(1 << 24))
        mib += 16;
    snprintf(line, sizeof line, "ate %ld MiB\n", mib);
    tell(line);
}

/* The first object is the program itself. */
static int find_own(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            own_from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            own_to   = own_from + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

/* This call is one that must fail. */
#define fails(kind) fails_to((kind), (uintptr_t)__builtin_return_address(0))
static bool fails_to(enum kind k, uintptr_t caller)
{
    if (!on || (int)k != what || (own_to && (caller < own_from || caller >= own_to)))
        return false;
    long n = atomic_fetch_add(&calls, 1) + 1;

    if (!at || n < at || (n > at && !forever))
        return false;
    if (atomic_fetch_add(&failed, 1) < 5000) {
        on = false; /* what follows allocates */
        tell_callers();
        if (by)
            misbehave();
        on = true;
    }
    return true;
}

/* -1: no such kind. */
static int kind_of(const char *name)
{
    for (int i = 0; name && i < KINDS; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

/* The k-th call of this kind from now on fails (NULL: none does), one that writes for this reason. */
void failing_from_here(const char *kind, long k, int write_errno)
{
    what        = kind_of(kind);
    at          = k;
    write_error = write_errno;
    atomic_store(&calls, 0);
}

__attribute__((constructor)) static void begin(void)
{
    const char *program = getenv("FAIL_PROGRAM"), *kind = getenv("FAIL_WHAT"), *log = getenv("FAIL_LOG");
    const char *record = getenv("RECORD"), *dir = getenv("RECORD_DIR");
    void       *frame[4];

    static const int       crashes[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    const struct sigaction crash     = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };

    backtrace(frame, 4); /* loads what it needs now */
    if (program && strcmp(program, program_invocation_short_name) != 0)
        return;
    what    = kind_of(kind);
    at      = getenv("FAIL_AT") ? atol(getenv("FAIL_AT")) : 0;
    forever = getenv("FAIL_FOREVER") != NULL;
    if (log)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record && dir) {
        record_fd = (int)syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        snprintf(record_dir, sizeof record_dir, "%s", dir);
    }
    by = getenv("FAIL_BY");
    if (getenv("FAIL_OWN"))
        dl_iterate_phdr(find_own, NULL);
    if (log)
        for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
            sigaction(crashes[i], &crash, NULL);
    if (getenv("SLOW_DIR") && (slow_while = getenv("SLOW_WHILE"))) {
        snprintf(slow_dir, sizeof slow_dir, "%s/", getenv("SLOW_DIR"));
        slow_sync_ms  = getenv("SLOW_SYNC_MS") ? atoi(getenv("SLOW_SYNC_MS")) : 0;
        slow_write_ms = getenv("SLOW_WRITE_MS") ? atoi(getenv("SLOW_WRITE_MS")) : 0;
    }
    on = true;
}

__attribute__((destructor)) static void end(void)
{
    char line[40];

    if (!on)
        return;
    on = false;
    snprintf(line, sizeof line, "calls %ld\n", atomic_load(&calls));
    tell(line);
    if (slow_while) {
        snprintf(line, sizeof line, "slowed %ld\n", atomic_load(&slowed));
        tell(line);
    }
}

/* Something with a disk behind it.  Real-time threads must not even ask what an fd is (daemon/syscalls.h). */
static bool is_file(int fd)
{
    return fd > 2 && fd < 1024 && atomic_load(&file[fd]);
}

/* ---- slow ---- */

static void take_time(const char *path, int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

    if (ms <= 0 || !on || !slow_while || strncmp(path, slow_dir, strlen(slow_dir)) != 0 ||
        syscall(SYS_access, slow_while, F_OK) != 0)
        return;
    atomic_fetch_add(&slowed, 1);
    syscall(SYS_nanosleep, &t, NULL);
}

static void take_time_fd(int fd, int ms)
{
    char link[64], path[600] = "";

    if (ms <= 0 || !slow_while || !is_file(fd))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0)
        take_time(path, ms);
}

/* ---- recording ---- */

/* The name of a file below RECORD_DIR, relative to it; false for any other. */
static bool ours(const char *path, char out[RECORD_NAME])
{
    size_t n = strlen(record_dir);

    if (record_fd >= 0 && path && !strcmp(path, record_dir)) { /* the directory itself: its syncs count */
        memset(out, 0, RECORD_NAME);
        out[0] = '.';
        return true;
    }
    if (record_fd < 0 || !path || strncmp(path, record_dir, n) != 0 || path[n] != '/' || strlen(path + n + 1) >= RECORD_NAME)
        return false;
    memset(out, 0, RECORD_NAME);
    memcpy(out, path + n + 1, strlen(path + n + 1));
    return true;
}

static bool ours_fd(int fd, char out[RECORD_NAME])
{
    char    link[64], path[600];
    ssize_t n;

    if (record_fd < 0 || fd < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = 0;
    return ours(path, out);
}

static void record(enum record_kind kind, const char *name, const char *to, uint64_t offset, const void *data, size_t n)
{
    struct record r = { .kind = kind, .offset = offset, .bytes = n };

    memcpy(r.name, name, RECORD_NAME);
    if (to)
        memcpy(r.to, to, RECORD_NAME);
    pthread_mutex_lock(&record_lock);
    (void)!syscall(SYS_write, record_fd, &r, sizeof r);
    if (data && n)
        (void)!syscall(SYS_write, record_fd, data, n);
    pthread_mutex_unlock(&record_lock);
}

/* ---- memory ---- */

void *malloc(size_t n)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (n && fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    if (fails(MALLOC))
        return ENOMEM;
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}

/* ---- the rest: the real one behind each ---- */

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int opened(int fd, int flags)
{
    char        name[RECORD_NAME];
    struct stat st;

    if (fd >= 0 && fd < 1024)
        atomic_store(&file[fd], syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode));
    if (fd >= 0 && flags & (O_CREAT | O_TRUNC) && ours_fd(fd, name))
        record(flags & O_TRUNC ? RECORD_TRUNCATE : RECORD_CREATE, name, NULL, 0, NULL, 0);
    return fd;
}

#define OPENER(name, first, pass)                                                          \
    int name(first const char *path, int flags, ...)                                       \
    {                                                                                      \
        va_list args;                                                                      \
        va_start(args, flags);                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;            \
        va_end(args);                                                                      \
        if (fails(OPEN)) {                                                                 \
            errno = EMFILE;                                                                \
            return -1;                                                                     \
        }                                                                                  \
        return opened((int)syscall(SYS_openat, pass, path, flags | O_LARGEFILE, mode), flags); \
    }

OPENER(open, , AT_FDCWD)
OPENER(open64, , AT_FDCWD)
#define DIRFD int dir,
OPENER(openat, DIRFD, dir)
OPENER(openat64, DIRFD, dir)

int close(int fd)
{
    if (fd >= 0 && fd < 1024)
        atomic_store(&file[fd], false);
    return (int)syscall(SYS_close, fd);
}

static ssize_t slow_stream_write(void *fd, const char *buf, size_t n)
{
    return write((int)(intptr_t)fd, buf, n);
}

static int slow_stream_close(void *fd)
{
    return close((int)(intptr_t)fd);
}

/* What a stream does inside glibc nobody sees: one that writes below SLOW_DIR goes through write() here. */
static FILE *slow_stream(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    return fd < 0 ? NULL
                  : fopencookie((void *)(intptr_t)fd, "w",
                                (cookie_io_functions_t){ .write = slow_stream_write, .close = slow_stream_close });
}

FILE *fopen(const char *path, const char *mode)
{
    if (fails(OPEN)) {
        errno = EMFILE;
        return NULL;
    }
    if (slow_while && *mode == 'w' && strncmp(path, slow_dir, strlen(slow_dir)) == 0)
        return slow_stream(path);
    return REAL(FILE *, "fopen", const char *, const char *)(path, mode);
}

ssize_t read(int fd, void *buf, size_t n)
{
    if (is_file(fd) && fails(READ)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, buf, n);
}

/* What read becomes where the compiler knows how much room there is (_FORTIFY_SOURCE). */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
    if (n > room)
        abort();
    return read(fd, buf, n);
}

int fstat(int fd, struct stat *st)
{
    if (is_file(fd) && fails(STAT)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fstat, fd, st);
}

static ssize_t pread_any(int fd, void *buf, size_t n, off_t offset)
{
    if (is_file(fd) && fails(READ)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, buf, n, offset);
}

ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    return pread_any(fd, buf, n, offset);
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t offset)
{
    return pread_any(fd, buf, n, offset);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    char    name[RECORD_NAME];
    off_t   from = record_fd >= 0 && is_file(fd) ? lseek(fd, 0, SEEK_CUR) : -1;
    ssize_t done;

    if (is_file(fd) && fails(WRITE)) {
        errno = write_error;
        return -1;
    }
    take_time_fd(fd, slow_write_ms);
    done = syscall(SYS_write, fd, buf, n);
    if (done > 0 && from >= 0 && ours_fd(fd, name))
        record(RECORD_WRITE, name, NULL, (uint64_t)from, buf, (size_t)done);
    return done;
}

static ssize_t pwrite_any(int fd, const void *buf, size_t n, off_t offset)
{
    char    name[RECORD_NAME];
    ssize_t done;

    if (is_file(fd) && fails(WRITE)) {
        errno = write_error;
        return -1;
    }
    take_time_fd(fd, slow_write_ms);
    done = syscall(SYS_pwrite64, fd, buf, n, offset);
    if (done > 0 && ours_fd(fd, name))
        record(RECORD_WRITE, name, NULL, (uint64_t)offset, buf, (size_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return pwrite_any(fd, buf, n, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
    return pwrite_any(fd, buf, n, offset);
}

static int sync_any(int fd)
{
    char name[RECORD_NAME];

    if (fails(SYNC)) {
        errno = EIO;
        return -1;
    }
    take_time_fd(fd, slow_sync_ms);
    if (ours_fd(fd, name))
        record(RECORD_SYNC, name, NULL, 0, NULL, 0);
    return 0; /* really syncing is slow, and no test here pulls a real plug */
}

int fsync(int fd)
{
    return sync_any(fd);
}

int fdatasync(int fd)
{
    return sync_any(fd);
}

static int truncate_any(int fd, off_t n)
{
    char name[RECORD_NAME];
    int  rc = (int)syscall(SYS_ftruncate, fd, n);

    if (rc == 0 && ours_fd(fd, name))
        record(RECORD_TRUNCATE, name, NULL, (uint64_t)n, NULL, 0);
    return rc;
}

int ftruncate(int fd, off_t n)
{
    return truncate_any(fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    return truncate_any(fd, n);
}

int rename(const char *from, const char *to)
{
    char a[RECORD_NAME], b[RECORD_NAME];

    if (fails(RENAME)) {
        errno = EIO;
        return -1;
    }
    take_time(to, slow_write_ms);
    int rc = (int)syscall(SYS_rename, from, to);

    if (rc == 0 && ours(from, a) && ours(to, b))
        record(RECORD_MOVE, a, b, 0, NULL, 0);
    return rc;
}

int unlink(const char *path)
{
    char name[RECORD_NAME];
    take_time(path, slow_write_ms);
    int rc = (int)syscall(SYS_unlink, path);

    if (rc == 0 && ours(path, name))
        record(RECORD_REMOVE, name, NULL, 0, NULL, 0);
    return rc;
}

static void *mmap_any(void *where, size_t n, int protection, int flags, int fd, off_t offset)
{
    if (fails(MMAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, where, n, protection, flags, fd, offset);
}

void *mmap(void *where, size_t n, int protection, int flags, int fd, off_t offset)
{
    return mmap_any(where, n, protection, flags, fd, offset);
}

void *mmap64(void *where, size_t n, int protection, int flags, int fd, off64_t offset)
{
    return mmap_any(where, n, protection, flags, fd, offset);
}

int socket(int domain, int type, int protocol)
{
    if (fails(SOCKET)) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    if (fails(THREAD))
        return EAGAIN;
    return REAL(int, "pthread_create", pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)(thread, attr, run, arg);
}
