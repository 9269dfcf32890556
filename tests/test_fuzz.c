/* test_fuzz.c - every committed input of the fuzz targets, and changes of them, do no harm (tests/fuzz). */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/rng.h"
#include "tests/fuzz/targets.h"
#include "tests/test.h"

enum { INPUT_MAX = 65536 };

/* Flips, cuts, repeats; in place.  The new length. */
static size_t change(struct rng *g, uint8_t *b, size_t n)
{
    for (uint32_t k = 1 + rng_below(g, 4); k && n; k--) {
        size_t at = rng_next(g) % n, some = 1 + rng_next(g) % (n - at < 64 ? n - at : 64);

        switch (rng_below(g, 5)) {
        case 0: b[at] ^= (uint8_t)(1u << rng_below(g, 8)); break;
        case 1: b[at] = (uint8_t)rng_next(g); break;
        case 2: memmove(b + at, b + at + some, n - at - some), n -= some; break;
        case 3:
            if (n + some <= INPUT_MAX)
                memmove(b + at + some, b + at, n - at), n += some;
            break;
        default: n = at; break;
        }
    }
    return n;
}

/* All inputs of a target, in a process of its own: a crash is a failure, not the end of the tests. */
static int inputs(const struct fuzz_target *t, const char *folder, int changes)
{
    static uint8_t input[INPUT_MAX], changed[INPUT_MAX];
    struct dirent *e;
    struct rng     g;
    int            n = 0;
    DIR           *d = opendir(folder);

    rng_seed(&g, 3);
    while (d && (e = readdir(d))) {
        char path[1400];

        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!f)
            continue;
        size_t size = fread(input, 1, sizeof input, f);
        fclose(f);
        t->run(input, size);
        for (int i = 0; i < changes; i++) {
            memcpy(changed, input, size);
            t->run(changed, change(&g, changed, size));
        }
        n++;
    }
    return n;
}

static void harmless(const char *name)
{
    char folder[1024], top[600];
    int  status = -1;

    snprintf(top, sizeof top, "%s/..", test_build_dir());
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name);
    for (int i = 0; i < fuzz_targets; i++) {
        if (strcmp(fuzz_target[i].name, name) != 0)
            continue;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            alarm(1800);
            if (chdir(top) != 0)
                _exit(2);
            int n = inputs(&fuzz_target[i], folder, test_rounds(500, 50000));
            fuzz_end();
            _exit(n > 0 ? 0 : 3);
        }
        EXPECT(child > 0 && waitpid(child, &status, 0) == child);
        EXPECT(status == 0);
    }
    EXPECT(status != -1);
}

TEST(any_message_is_unpacked_or_refused)
{
    harmless("codec");
}
TEST(any_stream_of_messages_leaves_the_session_sound)
{
    harmless("session");
}
TEST(any_stream_of_commands_leaves_the_receiver_within_its_limits)
{
    harmless("receiver");
}
TEST(any_robot_yaml_is_taken_or_refused_with_a_reason)
{
    harmless("robot_yaml");
}
TEST(any_task_yaml_is_taken_or_refused_with_a_reason)
{
    harmless("task_yaml");
}
TEST(any_model_file_is_taken_or_refused_with_a_reason)
{
    harmless("model");
}
TEST(any_store_file_is_opened_or_refused_with_a_reason)
{
    harmless("store");
}
TEST(any_bytes_on_the_operators_socket_are_answered_or_dropped)
{
    harmless("operate");
}
TEST(any_question_about_a_client_is_understood_or_refused)
{
    harmless("zap");
}
TEST(any_key_file_is_taken_or_refused_with_a_reason)
{
    harmless("key");
}
TEST(any_list_of_clients_is_taken_whole_or_refused_with_a_reason)
{
    harmless("clients");
}
TEST(any_bytes_in_the_trainers_pipe_are_a_message_or_refused)
{
    harmless("trainer");
}
