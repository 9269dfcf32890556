/* limber.c - the one command people type: limber VERB. */
#include <stdlib.h>
#include <string.h>

#include "daemon/cli.h"

struct verb {
    const char *name, *what;
    int (*run)(int argc, char **argv);
};

static const struct verb verbs[] = {
    { "run", "let a simulated robot learn, from nothing to a learning curve", verb_run },
    { "status", "one screen about a daemon, or everything as JSON", verb_status },
    { "top", "live view until q", verb_top },
    { "arm", "show the pre-arm checks, ask, arm into the baseline controller", verb_arm },
    { "disarm", "controlled stop, then disarmed", verb_disarm },
    { "stop", "controlled stop, latched until reset", verb_stop },
    { "reset", "clear a latched stop whose cause is gone", verb_reset },
    { "why", "what stopped the robot: cause, remedy, the last two seconds in words", verb_why },
    { "trial", "start, stop, ready or list trials", verb_trial },
    { "task", "set another task, show it, list what there is", verb_task },
    { "sim", "become the simulated robot of a daemon", verb_sim },
    { "key", "make keys for tcp:// endpoints, list who may connect", verb_key },
    { "conform", "test a robot side against the receiver contract", verb_conform },
    { "plot", "learning curve of an experience store as PNG", verb_plot },
    { "doctor", "what this machine lacks for real time, and the remedy", verb_doctor },
    { "bench", "how fast planning and training are here; whether a robot.yaml's rate is held", verb_bench },
    { "bench-cartpole", "bench learn of the cart-pole, from nothing", verb_bench_cartpole },
    { "bench-rt", "timing with the trainer running flat out", verb_bench_rt },
};

enum { VERBS = sizeof verbs / sizeof *verbs };

static void help(FILE *f)
{
    fprintf(f, "usage: limber VERB [FLAGS]        limber VERB --help tells more\n\n");
    for (int i = 0; i < VERBS; i++)
        fprintf(f, "  %-15s %s\n", verbs[i].name, verbs[i].what);
    fprintf(f, "\nexit status: 0 done, 1 refused or stopped, 64 wrong usage, 69 no daemon, 77 not allowed, 78 bad "
               "robot.yaml,\n"
               "130 interrupted\n");
}

int main(int argc, char **argv)
{
    const char *known[VERBS + 1] = { 0 };
    const char *word             = argc > 1 ? argv[1] : "--help";

    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        help(argc > 1 ? stdout : stderr);
        return argc > 1 ? EXIT_OK : EXIT_USAGE;
    }
    if (!strcmp(word, "--version")) {
        printf("limber %s\n", LIMBER_VERSION);
        return EXIT_OK;
    }
    for (int i = 0; i < VERBS; i++) {
        known[i] = verbs[i].name;
        if (!strcmp(word, verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    }
    return args_unknown("verb", word, known, "limber --help");
}
