/* limber_bridge.c - limber-bridge: stands between the wire and a robot.  One backend so far: sim, a MuJoCo robot. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "firmware-bridge/sim_loop.h"

static volatile sig_atomic_t stop; /* a signal handler has no other way */

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static volatile sig_atomic_t estop;

static void on_estop(int number)
{
    estop = number == SIGUSR1;
}

static const char help[] =
    "usage: limber-bridge sim --robot NAME --model FILE.xml --connect ENDPOINT [options]\n"
    "\n"
    "A simulated robot (MuJoCo) on limberd's wire: it says Hello until limberd answers, sends joint states,\n"
    "applies the commands it gets, and damps by itself when they stop.\n"
    "\n"
    "  --robot NAME       as in robot.yaml\n"
    "  --model FILE.xml   MJCF model; joints with a motor are actuated\n"
    "  --connect ENDPOINT limberd's robot socket: ipc://PATH, or tcp://HOST:PORT with the two keys; --endpoint is the same\n"
    "  --server-key FILE  with tcp: limberd's public key\n"
    "  --key FILE         with tcp: own key, made by limber key; limberd lists its public half\n"
    "  --seed N           start poses depend on it (default 0)\n"
    "  --joints a,b       these joints, in this order (default: all, in the model's order)\n"
    "  --extra a,b        these measurements of the model's sensors; one of three numbers gives NAME_x, NAME_y, "
    "NAME_z\n"
    "  --effort-rate x,y  N m/s or N/s of each joint that its effort may grow by, inf: any (default)\n"
    "  --velocity x,y     rad/s or m/s of each joint from which on it is not driven on, inf: any (default)\n"
    "  --timestep S       simulation time step in seconds (default: the model's)\n"
    "  --command-timeout-ms MS\n"
    "                     damp after so long without a command (default 120)\n"
    "  --lockstep         wait for each command instead of the clock; limberd must allow it\n"
    "  --rt               real-time priority, pinned to a core\n"
    "  --priority N       with --rt: SCHED_FIFO priority, 1 to 99 (default 60)\n"
    "  --core N           with --rt: core (default 0)\n"
    "  --picture FILE.png film strip of each trial\n"
    "  --fault WHAT[=VALUE][:JOINT][@FROM[+FOR]]\n"
    "                     goes wrong on purpose, FROM seconds after the session began, for FOR seconds; may be repeated:\n"
    "                     lose-states=P lose-commands=P double-...=P damage-...=P delay-...=MS silent frozen restart\n"
    "                     stuck:JOINT nan:JOINT offset=V:JOINT weak=SHARE:JOINT clips=SHARE:JOINT heavy=FACTOR\n"
    "                     estop fault\n"
    "  --drill SOCKET     faults on order, and how long their answers take (limber bench interference)\n"
    "  --max-states N     end after N states of a session\n"
    "  --quiet            print trouble only\n"
    "  --help, --version\n"
    "\n"
    "SIGUSR1 presses its emergency stop, SIGUSR2 releases it.\n"
    "exit codes: 0 ended as asked, 64 wrong usage, 65 a model that cannot be used, 69 refused by limberd,\n"
    "            73 picture not written, 78 limberd's rate does not fit the time step\n";

struct arguments {
    struct sim_options      sim;
    struct sim_loop_options loop;
};

__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
    va_list args;

    fputs("limber-bridge: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see limber-bridge --help\n", stderr);
    return EX_USAGE;
}

/* A number in [low, high]; prints what is wrong otherwise. */
static bool number(const char *flag, const char *text, double low, double high, double *out)
{
    char  *end;
    double value;

    errno = 0;
    value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= low && value <= high)) {
        usage("--%s %s: expected a number from %g to %g", flag, text, low, high);
        return false;
    }
    *out = value;
    return true;
}

static bool whole(const char *flag, const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char    *end;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value < low || value > high) {
        usage("--%s %s: expected a whole number from %" PRIu64 " to %" PRIu64, flag, text, low, high);
        return false;
    }
    *out = value;
    return true;
}

static const struct option flags[] = {
    { "robot", required_argument, NULL, 'r' },    { "model", required_argument, NULL, 'm' },
    { "endpoint", required_argument, NULL, 'e' }, { "connect", required_argument, NULL, 'e' },
    { "server-key", required_argument, NULL, 'S' }, { "key", required_argument, NULL, 'K' },
    { "seed", required_argument, NULL, 's' },
    { "joints", required_argument, NULL, 'j' },   { "extra", required_argument, NULL, 'x' },
    { "effort-rate", required_argument, NULL, 'E' }, { "velocity", required_argument, NULL, 'V' },
    { "timestep", required_argument, NULL, 't' }, { "command-timeout-ms", required_argument, NULL, 'o' },
    { "lockstep", no_argument, NULL, 'l' },       { "rt", no_argument, NULL, 'R' },
    { "priority", required_argument, NULL, 'p' }, { "core", required_argument, NULL, 'c' },
    { "picture", required_argument, NULL, 'P' },  { "max-states", required_argument, NULL, 'n' },
    { "fault", required_argument, NULL, 'f' },    { "drill", required_argument, NULL, 'd' },
    { "quiet", no_argument, NULL, 'q' },          { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },        { NULL, 0, NULL, 0 },
};

static bool take_fault(struct arguments *a)
{
    static struct faulty faulty;
    char                 why[200];

    a->loop.faulty = &faulty;
    if (faulty_add(&faulty, optarg, why, sizeof why))
        return true;
    usage("%s", why);
    return false;
}

/* One flag.  False: its value is wrong, which has been printed. */
static bool take_flag(struct arguments *a, int flag)
{
    uint64_t n  = 0;
    bool     ok = true;

    switch (flag) {
    case 'r': a->loop.robot = optarg; break;
    case 'm': a->sim.model = optarg; break;
    case 'e': a->loop.endpoint = optarg; break;
    case 'S': a->loop.server_key = optarg; break;
    case 'K': a->loop.key = optarg; break;
    case 'j': a->sim.joints = optarg; break;
    case 'x': a->sim.extra = optarg; break;
    case 'E': a->sim.effort_rate = optarg; break;
    case 'V': a->sim.velocity = optarg; break;
    case 'P': a->loop.picture = optarg; break;
    case 'f': ok = take_fault(a); break;
    case 'd': a->loop.drill = optarg; break;
    case 'l': a->loop.lockstep = true; break;
    case 'R': a->loop.rt = true; break;
    case 'q': a->loop.quiet = true; break;
    case 's': ok = whole("seed", optarg, 0, UINT64_MAX, &a->sim.seed); break;
    case 't': ok = number("timestep", optarg, 1e-6, 1, &a->sim.timestep); break;
    case 'o': ok = number("command-timeout-ms", optarg, 1, 10000, &a->loop.command_timeout_ms); break;
    case 'n': ok = whole("max-states", optarg, 1, UINT64_MAX, &a->loop.max_states); break;
    case 'p':
        ok               = whole("priority", optarg, 1, 99, &n);
        a->loop.priority = (int)n;
        break;
    case 'c':
        ok           = whole("core", optarg, 0, 1023, &n);
        a->loop.core = (int)n;
        break;
    }
    return ok;
}

/* 0, or an exit code; -1: done, successfully. */
static int parse(int argc, char **argv, struct arguments *a)
{
    int flag;

    a->loop = (struct sim_loop_options){ .command_timeout_ms = 120, .priority = 60, .stop = &stop, .estop = &estop };
    opterr  = 0;
    while ((flag = getopt_long(argc, argv, ":", flags, NULL)) != -1) {
        if (flag == 'h') {
            fputs(help, stdout);
            return -1;
        }
        if (flag == 'v') {
            puts("limber-bridge " LIMBER_VERSION);
            return -1;
        }
        if (flag == ':')
            return usage("%s needs a value", argv[optind - 1]);
        if (flag == '?')
            return usage("%s is not an option", argv[optind - 1]);
        if (!take_flag(a, flag))
            return EX_USAGE;
    }
    if (optind >= argc)
        return usage("which backend? expected \"sim\"");
    if (strcmp(argv[optind], "sim") != 0 || optind + 1 < argc)
        return usage("\"%s\": expected \"sim\" and options", argv[strcmp(argv[optind], "sim") ? optind : optind + 1]);
    if (!a->loop.robot || !a->sim.model || !a->loop.endpoint)
        return usage("--%s is missing", !a->loop.robot ? "robot" : !a->sim.model ? "model" : "connect");
    if (!a->loop.robot[0] || strlen(a->loop.robot) >= NAME_SIZE)
        return usage("--robot %s: expected 1 to %d characters", a->loop.robot, NAME_SIZE - 1);
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a  = { 0 };
    struct sigaction on = { .sa_handler = on_signal };
    struct sim      *sim;
    char             why[600];
    int              code = parse(argc, argv, &a);

    if (code != 0)
        return code < 0 ? 0 : code;
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    if (signal(SIGHUP, SIG_IGN) != SIG_IGN) /* nohup */
        sigaction(SIGHUP, &on, NULL);
    on.sa_handler = on_estop;
    sigaction(SIGUSR1, &on, NULL);
    sigaction(SIGUSR2, &on, NULL);
    sim = sim_open(&a.sim, why, sizeof why);
    if (!sim) {
        fprintf(stderr, "limber-bridge: %s\n", why);
        return EX_DATAERR;
    }
    a.loop.fault_seed = a.sim.seed;
    code              = sim_loop(&a.loop, sim);
    sim_close(sim);
    return code;
}
