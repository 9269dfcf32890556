/* test_endurance.c - sessions, trials, trainings, strangers and status clients, again and again: what a daemon that runs for
 * weeks holds stays bounded.  Minutes under LIMBER_SOAK. */
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rt/sanitized.h"
#include "tests/fixture.h"
#include "tests/test.h"

static const char *const quick[] = {
    "steps: 200",     "steps: 40", "recipe: steps", "recipe: steps\n  epochs: 5\n  min_steps: 100", "next: auto",
    "next: operator", NULL
};
static const char *const lockstep[] = { "--lockstep", "--seed", "3", NULL };

struct held {
    long descriptors, threads, resident_kb, files, file_kb;
};

static long entries(const char *format, pid_t pid)
{
    char path[64];
    long n = 0;

    snprintf(path, sizeof path, format, (int)pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static struct held counted;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)ftw;
    counted.files += type == FTW_F;
    counted.file_kb += type == FTW_F ? st->st_size / 1024 : 0;
    return 0;
}

static struct held held(struct fixture *f)
{
    counted = (struct held){ .descriptors = entries("/proc/%d/fd", f->daemon.pid),
                             .threads     = entries("/proc/%d/task", f->daemon.pid),
                             .resident_kb = (long)fixture_number(f, "memory.resident_kb") };
    nftw(f->dir, count_file, 16, FTW_PHYS);
    return counted;
}

/* Somebody who has no business here. */
static void stranger(struct fixture *f, int round)
{
    struct robot *r = robot_new(f);
    char          noise[200];

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(round * 31 + (int)i * 7);
    for (int i = 0; i < 20; i++)
        robot_raw(r, noise, (size_t)(1 + (i * 37 + round) % 200));
    robot_listen(r, 50);
    robot_free(r);
}

/* A robot side comes, is armed, flies a trial, is learned from, and goes: in order, or killed. */
static bool session(struct fixture *f, int round)
{
    bool ok = fixture_bridge(f, lockstep) && fixture_arm(f, 15);

    ok = ok && fixture_post(f, "/trial/start", round ? "{\"kind\": \"planned\"}" : "{\"kind\": \"random\"}", NULL, 0);
    for (int i = 0;
         ok && i < 300 && (fixture_number(f, "model.version") < 1 || fixture_number(f, "trials.done") < round); i++)
        usleep(100000);
    ok = ok && fixture_number(f, "model.version") >= 1 && fixture_number(f, "trials.done") >= round;
    if (round % 3 == 2)
        kill(f->bridge.pid, SIGKILL); /* armed: stopped and latched */
    else
        ok = ok && fixture_post(f, "/disarm", NULL, NULL, 0);
    ok =
        ok && fixture_wait(f, "mode", "DISARMED", 20); /* simulated time stands still without a simulator: 5 s a tick */
    child_stop(&f->bridge, 0, 3);
    for (int i = 0; round % 3 == 2 && i < 50 && !fixture_post(f, "/reset", NULL, NULL, 0); i++)
        usleep(100000);
    return ok;
}

TEST(sessions_trials_and_strangers_by_the_hundred_leave_memory_descriptors_threads_and_files_bounded)
{
    int            rounds = test_rounds(6, 400), settled = rounds / 3;
    struct fixture f;
    struct held    before = { 0 };
    bool           ok     = true;

    fixture_init(&f, quick);
    if (!fixture_daemon(&f, NULL)) {
        EXPECT(!"started");
        fixture_end(&f);
        return;
    }
    for (int i = 0; ok && i < rounds; i++) {
        if (i == settled)
            before = held(&f);
        stranger(&f, i);
        ok = session(&f, i);
        EXPECT(ok);
    }
    struct held after = held(&f);
    long        n     = rounds - settled;
    EXPECT(after.descriptors <= before.descriptors + 2 && after.threads == before.threads);
    EXPECT(RT_SANITIZED ||
           after.resident_kb <= before.resident_kb + 4096 + 32 * n); /* a trial's 40 steps, and its history */
    EXPECT(after.files <= 200 && after.file_kb <= 200 * 1024);
    printf("    %ld rounds: descriptors %ld to %ld, threads %ld to %ld, resident %ld to %ld KiB, files %ld to %ld (%ld "
           "to %ld KiB)\n",
           n, before.descriptors, after.descriptors, before.threads, after.threads, before.resident_kb,
           after.resident_kb, before.files, after.files, before.file_kb, after.file_kb);
    fixture_end(&f);
    EXPECT(f.daemon.status == 0 && f.daemon.signal == 0);
}
