/* bench.c - limber bench: what there is to measure. */
#include "daemon/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/bench_optimisers.h"
#include "daemon/cli.h"
#include "daemon/cli_process.h"

int bench_train(int argc, char **argv)
{
    bool json = false;

    const struct flag flags[] = { { .name = "json", .what = "one JSON value on standard output", .on = &json }, { 0 } };
    const struct usage usage = { .line  = "bench train [--json]",
                                 .text  = "Examples per second of a fit, for every size of the paper, at batches of 32 and 256.",
                                 .flags = flags };
    char path[600], why[700];
    int  n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (program_find("limber-trainer", path, sizeof path, why, sizeof why) != 0) {
        fprintf(stderr, "limber: %s\n", why);
        return EXIT_OSERR;
    }
    execl(path, path, "--bench", json ? "--json" : (char *)NULL, (char *)NULL);
    fprintf(stderr, "limber: %s: %s\n", path, strerror(errno));
    return EXIT_OSERR;
}

static int optimisers(int argc, char **argv)
{
    bool json = false;

    const struct flag flags[] = { { .name = "json", .what = "one JSON value on standard output", .on = &json }, { 0 } };
    const struct usage usage = { .line  = "bench optimisers [--json]",
                                 .text  = "Every planner's search on functions with known optima, without a robot or a model.",
                                 .flags = flags };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    return rc >= 0 ? rc : bench_optimisers(json);
}

static const struct bench_verb {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} benches[] = {
    { "plan", "time of a planning step, as a fraction of the processor's peak", bench_plan },
    { "train", "examples per second of a fit", bench_train },
    { "learn", "learning curves over several seeds, of any robot, resumable", bench_learn },
    { "optimisers", "every planner's search on functions with known optima", optimisers },
    { "budget", "cost reached by every planner for the same number of model evaluations", bench_budget },
    { "accuracy", "what fast arithmetic does to predictions and to the order of candidates", bench_accuracy },
    { "model", "how far a learned model can be trusted: predictions, calibration, disagreement", bench_trust },
    { "changed", "is it noticed that the robot is not the one that was learned", bench_changed },
    { "gates", "what the gates would have said of recorded runs; thresholds", bench_gates },
    { "data", "amount of random data before the first plan, and learning on or not afterwards", bench_data },
    { "surfaces", "a model of one floor on another, and one of both", bench_surfaces },
    { "interference", "does the control thread notice trainer, logs, clients, floods, a full disk", bench_interference },
    { "paths", "one model along several paths, without learning in between", bench_paths },
};

enum { BENCHES = sizeof benches / sizeof *benches };

static void list(FILE *f)
{
    fprintf(f, "usage: limber bench WHAT [FLAGS]        limber bench WHAT --help tells more\n"
               "       limber bench --config FILE       does this machine hold what this robot.yaml asks?\n\n");
    for (int i = 0; i < BENCHES; i++)
        fprintf(f, "  %-15s %s\n", benches[i].name, benches[i].what);
    fprintf(f, "\nwith whole processes: limber bench-cartpole, limber bench-rt; all of them: docs/benchmarks.md\n");
}

static int with_config(int argc, char **argv)
{
    const char *config = NULL;
    bool        json = false, quick = false;

    const struct flag flags[] = { { .name = "config", .value = "FILE", .what = "robot.yaml", .text = &config },
                                  { .name = "quick", .what = "shorter, less certain", .on = &quick },
                                  { .name = "json", .what = "one JSON value on standard output", .on = &json },
                                  { 0 } };
    const struct usage usage = { .line  = "bench --config FILE [--json] [--quick]   (or: limber bench WHAT, limber bench lists)",
                                 .text  = "Plans with the configured planner, sizes, priority and cores, with random weights: does the time of a step\n"
                                          "stay within the budget, with how much room, and what else would?  Exit status 0: it holds, 1: it does not.",
                                 .flags = flags };
    int n, rc = args_read(argc, argv, &usage, NULL, &n);

    if (rc >= 0)
        return rc;
    if (!config) {
        fprintf(stderr, "limber bench: --config is missing; usage: limber %s\n", usage.line);
        return EXIT_USAGE;
    }
    return bench_config(config, json, quick);
}

int verb_bench(int argc, char **argv)
{
    const char *known[BENCHES + 1] = { 0 };
    char        title[40];

    if (argc < 2) {
        list(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        list(stdout);
        printf("\n");
    }
    if (argv[1][0] == '-')
        return with_config(argc, argv);
    for (int i = 0; i < BENCHES; i++) {
        known[i] = benches[i].name;
        if (!strcmp(argv[1], benches[i].name)) {
            snprintf(title, sizeof title, "bench %s", benches[i].name);
            argv[1] = title;
            return benches[i].run(argc - 1, argv + 1);
        }
    }
    return args_unknown("benchmark", argv[1], known, "limber bench");
}
