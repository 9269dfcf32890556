#include "daemon/host_watch.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/resource.h>

#include "daemon/rt/clock.h"

#define STALL_NS   (250 * NS_PER_MS)
#define SAY_NS     (10 * NS_PER_S)
#define BETWEEN_NS (10 * NS_PER_MS) /* clocks read further apart than this do not compare */
#define STEP_NS    (100 * (int64_t)NS_PER_MS)

enum { FDS_LOW = 8, FDS_ENOUGH = 16 };

/* The first is told at once; of those soon after it only how many there were, and the longest, once its time has come. */
static void look_for_stall(struct host_watch *w, struct journal *j, uint64_t now, uint64_t period_ns)
{
    uint64_t late = w->looked_ns && now > w->looked_ns + period_ns ? now - w->looked_ns - period_ns : 0;

    w->looked_ns = now;
    if (late >= STALL_NS) {
        w->stalls++;
        w->stall_ns       = late > w->stall_ns ? late : w->stall_ns;
        w->stall_worst_ns = late > w->stall_worst_ns ? late : w->stall_worst_ns;
    }
    if (w->stalls == w->stalls_said || (w->stalls_said && now - w->stall_said_ns < SAY_NS))
        return;
    journal_say(j, "loop_stall",
                "the main loop hung for %.0f ms (%" PRIu64
                " times so far): control went on without it; status, store and "
                "systemd's watchdog waited",
                (double)w->stall_worst_ns * 1e-6, w->stalls);
    w->stalls_said    = w->stalls;
    w->stall_said_ns  = now;
    w->stall_worst_ns = 0;
}

static int64_t read_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

/* Against CLOCK_BOOTTIME, which counts on while the machine sleeps, as the wall clock does. */
static void look_for_step(struct host_watch *w, struct journal *j)
{
    int64_t before = read_ns(CLOCK_BOOTTIME), wall = read_ns(CLOCK_REALTIME), after = read_ns(CLOCK_BOOTTIME);
    int64_t apart = wall - before, step = apart - w->wall_ns;

    if (after - before > (int64_t)BETWEEN_NS)
        return;
    if (w->wall_known && (step > STEP_NS || step < -STEP_NS)) {
        w->clock_steps++;
        w->clock_step_s = (double)step * 1e-9;
        journal_say(j, "clock_step",
                    "the wall clock was set by %+.3f s: control goes by another and did not notice; times of "
                    "events before and after do not compare",
                    w->clock_step_s);
    }
    w->wall_ns    = apart;
    w->wall_known = true;
}

/* Descriptors still to be had, -1: not known. */
static long fds_left(void)
{
    struct rlimit  limit;
    struct dirent *e;
    long           used = 0;
    DIR           *d    = opendir("/proc/self/fd");

    if (!d)
        return errno == EMFILE ? 0 : -1;
    while ((e = readdir(d)))
        used += e->d_name[0] != '.';
    closedir(d);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return -1;
    return (long)limit.rlim_cur - (used - 1); /* d's own is given back */
}

static void look_for_fds(struct host_watch *w, struct journal *j)
{
    long left = fds_left();

    if (left >= FDS_ENOUGH)
        w->fds_are_low = false;
    if (left < 0 || left >= FDS_LOW || w->fds_are_low)
        return;
    w->fds_are_low = true;
    w->fd_low++;
    journal_say(j, "fd_low",
                "%ld file descriptors are left: control has what it needs, new clients may get no answer and the "
                "trainer may not start again; close clients, or raise LimitNOFILE=",
                left > 0 ? left : 0);
}

void host_watch_look(struct host_watch *w, struct journal *j, uint64_t period_ns)
{
    uint64_t now = clock_now_ns();

    look_for_stall(w, j, now, period_ns);
    if (w->second_ns && now - w->second_ns < NS_PER_S)
        return;
    w->second_ns = now;
    look_for_step(w, j);
    look_for_fds(w, j);
}
