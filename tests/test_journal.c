/* Claims about daemon/journal.c: what a failing store means. */
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/journal.h"
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

static int write_trial(struct journal *j)
{
    struct trial_row t = { .kind = "planned", .status = "finished" };

    if (store_trial_begin(j->store, &t) < 0)
        journal_store_failed(j, "beginning a trial");
    return journal_batch(j);
}

#define DEMAND(cond) do { if (!(cond)) _exit(__LINE__ % 256); } while (0)

static void life_with_a_full_disk(void)
{
    struct journal j = { .store = opened(), .store_ok = true, .trial = -1 };

    signal(SIGXFSZ, SIG_IGN);
    DEMAND(j.store && store_begin(j.store) == 0);
    DEMAND(write_trial(&j) == 0 && j.store_ok && j.count == 0);

    disk_bytes(1000); /* full */
    for (int i = 0; i < 20; i++) {
        j.probe_ns = 0; /* each batch may try */
        write_trial(&j);
        DEMAND(!j.store_ok);
        journal_batch(&j); /* nothing but the attempt in it */
        DEMAND(!j.store_ok);
    }
    DEMAND(j.count == 1 && strstr(j.event[0].text, "cannot be armed")); /* said once */

    disk_bytes(RLIM_INFINITY);
    for (int i = 0; i < 3 && !j.store_ok; i++) {
        j.probe_ns = 0;
        journal_batch(&j);
    }
    DEMAND(j.store_ok && j.count == 2 && strstr(j.event[1].text, "works again"));
    DEMAND(write_trial(&j) == 0 && j.store_ok && j.count == 2);
    store_commit(j.store);
    store_close(j.store);
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
    struct journal    j = { .store = opened(), .store_ok = true, .trial = -1 };
    struct transition t = { .step = 1 };

    EXPECT(j.store && store_begin(j.store) == 0);
    EXPECT(store_transition(j.store, 99, &t) < 0); /* there is no such trial */
    journal_store_failed(&j, "storing a transition");
    EXPECT(journal_batch(&j) == 0);
    EXPECT(!j.store_ok); /* a good commit does not make up for what is missing */
    for (int i = 0; i < 3 && !j.store_ok; i++) {
        j.probe_ns = 0;
        EXPECT(journal_batch(&j) == 0);
    }
    EXPECT(j.store_ok);
    store_commit(j.store);
    store_close(j.store);
}
