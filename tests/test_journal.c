/* Claims about daemon/journal.c and daemon/disk.c: what a failing store means, and who waits for a slow one. */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/journal.h"
#include "daemon/rt/clock.h"
#include "tests/test.h"

static const struct store_schema schema = { .robot = "cartpole", .nx = 1, .na = 1, .observation = { "hinge.position" },
                                            .action = { "slider" } };

static struct store *opened(void)
{
    char path[512], why[400] = "";

    snprintf(path, sizeof path, "%s/e.db", test_dir());
    struct store *s = store_open(path, &schema, false, why, sizeof why);
    if (!s)
        printf("%s\n", why);
    return s;
}

static void disk_bytes(rlim_t n)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ n, RLIM_INFINITY });
}

static struct disk *started(void)
{
    struct disk *d = disk_new(opened());

    if (!d || disk_start(d) != 0)
        abort();
    return d;
}

static bool ended(struct disk *d)
{
    return disk_end(d, clock_now_ns() + 10 * NS_PER_S);
}

/* Has what is in line written, and takes what became of it. */
static int batch(struct journal *j, int64_t trial_id)
{
    int lost = journal_batch(j, trial_id);

    if (!disk_wait(j->disk, disk_line(j->disk), clock_now_ns() + 10 * NS_PER_S))
        abort();
    return lost + journal_batch(j, trial_id);
}

/* A trial of three steps; those lost. */
static int write_trial(struct journal *j, int64_t id)
{
    struct trial_row  t = { .id = id, .kind = "planned", .status = "finished" };
    struct transition step = { .step = 1 };

    disk_trial_begin(j->disk, &t);
    for (int i = 0; i < 3; i++)
        disk_transition(j->disk, id, &step);
    return batch(j, id);
}

#define DEMAND(cond) do { if (!(cond)) _exit(__LINE__ % 256); } while (0)

static void life_with_a_full_disk(void)
{
    struct journal j  = { .disk = started(), .store_ok = true, .trial = -1 };
    int64_t        id = 1;

    signal(SIGXFSZ, SIG_IGN);
    DEMAND(write_trial(&j, id++) == 0 && j.store_ok && j.count == 0);

    disk_bytes(1000); /* full */
    for (int i = 0; i < 20; i++) {
        j.probe_ns = 0; /* each batch may try */
        DEMAND(write_trial(&j, id++) == 3);
        DEMAND(!j.store_ok);
        batch(&j, 0); /* nothing but the attempt in it */
        DEMAND(!j.store_ok);
    }
    DEMAND(j.count == 1 && strstr(j.event[0].text, "cannot be armed")); /* said once */

    disk_bytes(RLIM_INFINITY);
    for (int i = 0; i < 3 && !j.store_ok; i++) {
        j.probe_ns = 0;
        batch(&j, 0);
    }
    DEMAND(j.store_ok && j.count == 2 && strstr(j.event[1].text, "works again"));
    DEMAND(write_trial(&j, id++) == 0 && j.store_ok && j.count == 2);
    DEMAND(ended(j.disk));
    _exit(0);
}

static bool count_row(void *ctx, const struct trial_row *t)
{
    (void)t;
    ++*(int *)ctx;
    return true;
}

TEST(a_store_that_failed_is_said_to_once_and_works_again_when_there_is_room)
{
    int   status, rows = 0;
    pid_t child;

    store_close(opened()); /* made here: the test's directory is one for both */
    child = fork();
    if (child == 0)
        life_with_a_full_disk();
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status));
    EXPECT_NEAR(WEXITSTATUS(status), 0, 0); /* else the line of the claim that failed */
    struct store *s = opened();
    EXPECT(s && store_trials(s, count_row, &rows) == 2 && rows == 2); /* the first and the last */
    store_close(s);
}

TEST(a_batch_with_a_failed_write_in_it_says_no_and_the_next_ones_say_yes)
{
    struct journal    j = { .disk = started(), .store_ok = true, .trial = -1 };
    struct transition t = { .step = 1 };

    disk_transition(j.disk, 99, &t); /* there is no such trial */
    EXPECT(batch(&j, 99) == 1);
    EXPECT(!j.store_ok); /* a good commit does not make up for what is missing */
    for (int i = 0; i < 3 && !j.store_ok; i++) {
        j.probe_ns = 0;
        EXPECT(batch(&j, 99) == 0);
    }
    EXPECT(j.store_ok);
    EXPECT(ended(j.disk));
}

/* ---- a disk that stands still: a task that waits is one ---- */

static void stand_still(void *go_on, const void *unused)
{
    (void)unused;
    while (!atomic_load((_Atomic bool *)go_on))
        usleep(1000);
}

static bool count_step(void *ctx, int64_t trial_id, const struct transition *t)
{
    (void)trial_id, (void)t;
    ++*(int *)ctx;
    return true;
}

static int steps_stored(void)
{
    int           n = 0;
    struct store *s = opened();

    EXPECT(s && store_transitions(s, 0, count_step, &n) == n);
    store_close(s);
    return n;
}

TEST(a_disk_that_stands_still_holds_up_nobody_and_what_found_a_place_in_line_is_stored)
{
    struct journal    j  = { .disk = started(), .store_ok = true, .trial = -1 };
    struct trial_row  t  = { .id = 1, .kind = "planned", .status = "running" };
    struct transition tr = { .step = 1 };
    _Atomic bool      go = false;
    int               placed = 0;
    uint64_t          began  = clock_now_ns();

    EXPECT(disk_task(j.disk, stand_still, (void *)&go, NULL, 0, NULL) && disk_trial_begin(j.disk, &t));
    for (int i = 0; i < 2 * DISK_ENTRIES; i++) {
        placed += disk_transition(j.disk, 1, &tr);
        if (i % 100 == 0)
            journal_batch(&j, 1);
    }
    EXPECT(placed == DISK_ENTRIES - DISK_RESERVED - 2); /* the newest steps go first */
    EXPECT(disk_dropped(j.disk) == (uint64_t)(2 * DISK_ENTRIES - placed));
    for (int i = 0; i < 2; i++)
        journal_full(&j, "storing a transition");
    EXPECT(!j.store_ok && j.count == 1 && strstr(j.event[0].text, "the disk is too slow")); /* said once */
    EXPECT(disk_trial_update(j.disk, &t)); /* how it ended has a place */
    EXPECT(clock_now_ns() - began < 5 * NS_PER_S && !disk_done(j.disk, 1));
    while (!disk_busy_ns(j.disk) && clock_now_ns() - began < 10 * NS_PER_S) /* on a busy machine it has not begun yet */
        usleep(1000);
    EXPECT(disk_busy_ns(j.disk) > 0);
    EXPECT(!disk_wait(j.disk, 1, clock_now_ns() + NS_PER_MS) && !disk_end(j.disk, clock_now_ns() + NS_PER_MS));
    atomic_store(&go, true);
    EXPECT(ended(j.disk));
    EXPECT(steps_stored() == placed);
}

TEST(a_disk_that_has_taken_nothing_for_five_seconds_has_failed_until_it_does)
{
    struct journal j  = { .disk = started(), .store_ok = true, .trial = -1 };
    _Atomic bool   go = false;

    EXPECT(disk_task(j.disk, stand_still, (void *)&go, NULL, 0, NULL));
    for (int i = 0; i < 70 && j.store_ok; i++) {
        journal_batch(&j, 1);
        usleep(100000);
    }
    EXPECT(!j.store_ok && j.count == 1);
    EXPECT_STR(j.event[0].text, "taken nothing for 5 s");
    atomic_store(&go, true);
    for (int i = 0; i < 5 && !j.store_ok; i++) {
        j.probe_ns = 0;
        batch(&j, 1);
    }
    EXPECT(j.store_ok);
    EXPECT(ended(j.disk));
}
