/* Claims about `limber conform`: a robot side that keeps the receiver contract passes, and each way to break it is caught
 * by the clause that names it. */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli_json.h"
#include "daemon/cli_process.h"
#include "daemon/conform.h"
#include "tests/test.h"
#include "tests/wrong_robot.h"

static void endpoint(char out[300])
{
    snprintf(out, 300, "ipc://%s/robot.sock", test_dir());
}

/* What `limber conform ARGUMENTS --json` printed; its exit code. */
static json_t *conform(const char *arguments, int *code)
{
    static char text[65536];
    char        command[1024], where[300];

    endpoint(where);
    snprintf(command, sizeof command, "%s/limber conform --endpoint %s --json %s 2>%s/conform.err </dev/null", test_build_dir(),
             where, arguments, test_dir());
    FILE  *p = popen(command, "r");
    size_t n = p ? fread(text, 1, sizeof text - 1, p) : 0;
    text[n]  = 0;
    int status = p ? pclose(p) : -1;
    *code      = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return json_loads(text, 0, NULL);
}

static void show_failures(const json_t *o)
{
    const json_t *rows = json_object_get(o, "clauses");

    for (size_t i = 0; i < json_array_size(rows); i++)
        if (!strcmp(js_str(json_array_get(rows, i), "verdict", ""), "fail"))
            printf("    %s: %s\n", js_str(json_array_get(rows, i), "clause", ""), js_str(json_array_get(rows, i), "seen", ""));
}

/* What `limber conform` says of a simulated cart-pole with these flags more, up to NULL. */
static json_t *conform_of_cartpole(const char *const *flags, const char *arguments, int *code)
{
    char        program[600], where[300], log[300], why[300];
    const char *argv[20] = { program, "sim", "--robot", "cartpole", "--model", "robots/cartpole/model.xml", "--endpoint", where,
                             "--quiet" };
    struct child c       = { 0 };

    for (int n = 9; *flags; n++, flags++)
        argv[n] = *flags;
    endpoint(where);
    snprintf(program, sizeof program, "%s/limber-bridge", test_build_dir());
    snprintf(log, sizeof log, "%s/bridge.log", test_dir());
    EXPECT(child_start(&c, "limber-bridge", (char *const *)(uintptr_t)argv, log, why, sizeof why) == 0);
    json_t *o = conform(arguments, code);
    child_stop(&c, 0, 2);
    return o;
}

TEST(the_simulated_robot_keeps_the_receiver_contract)
{
    int     code;
    json_t *o = conform_of_cartpole((const char *const[]){ "--effort-rate", "1000,inf", "--velocity", "4,inf", NULL },
                                    "--attempts 5", &code);

    EXPECT(code == 0);
    EXPECT(js_int(o, "failed") == 0 && js_int(o, "passed") == 42); /* all but the e-stop */
    show_failures(o);
    json_decref(o);
}

TEST(a_robot_side_that_tells_no_rate_and_no_velocity_limit_is_not_asked_for_any)
{
    int     code;
    json_t *o = conform_of_cartpole((const char *const[]){ NULL }, "--only effort-rate,velocity", &code);

    EXPECT(code == 0 && js_int(o, "failed") == 0 && js_int(o, "passed") == 0 && js_int(o, "skipped") == 2);
    json_decref(o);
}

/* Of a robot side of another hand all of these clauses hold, so many. */
static void holds(enum wrong wrong, int estop, const char *arguments, int passed)
{
    char where[300];
    int  code;

    endpoint(where);
    struct wrong_robot *r = wrong_robot_start(where, wrong, estop);
    json_t             *o = conform(arguments, &code);
    wrong_robot_end(r);
    EXPECT(code == 0 && js_int(o, "failed") == 0 && js_int(o, "passed") == passed);
    show_failures(o);
    json_decref(o);
}

TEST(a_robot_side_of_another_hand_passes_too_its_emergency_stop_included)
{
    holds(RIGHT, 0, "--hz 100 --attempts 5", 42);
    holds(RIGHT, 1, "--hz 100 --estop --only estop", 1);
}

TEST(each_joint_is_held_to_its_own_timeout_action)
{
    holds(TIMEOUT_MIXED, 0, "--hz 100 --attempts 5 --only timeout,timeout-action,damp", 3);
}

static const struct {
    enum wrong  wrong;
    const char *clause; /* that must catch it */
} faults[] = {
    { HELLO_ONCE, "hello-again" },
    { HELLO_NEW_BOOT, "hello-again" },
    { HELLO_ENDLESS, "hello" },
    { STATE_REPEATS, "states" },
    { STATE_NAN, "states" },
    { STATE_SHAPE, "states" },
    { STATE_OTHER_SESSION, "states" },
    { STATE_SLOW, "rate" },
    { EFFORT_AT_START, "silent-start" },
    { TORQUE_IGNORED, "torque" },
    { TORQUE_SIGN, "torque" },
    { SEQ_AHEAD, "applied-seq" },
    { SEQ_STICKS, "applied-seq" },
    { KP_IGNORED, "law-kp" },
    { KD_SIGN, "law-kd" },
    { UNACTUATED_DRIVEN, "unactuated" },
    { NO_CLIP, "limits" },
    { NO_RATE, "effort-rate" },
    { RATE_ANEW, "effort-rate" },
    { NO_CUT_BACK, "velocity" },
    { IDLE_KEEPS, "idle" },
    { DAMP_DRIVES, "damp" },
    { ACCEPTS_SESSION, "session" },
    { ACCEPTS_REPEATED, "seq-repeated" },
    { ACCEPTS_OLD, "seq-old" },
    { ACCEPTS_FAR, "seq-far" },
    { ACCEPTS_FEW, "shape-few" },
    { ACCEPTS_MANY, "shape-many" },
    { ACCEPTS_TORQUE_NAN, "torque-nan" },
    { ACCEPTS_TORQUE_INF, "torque-inf" },
    { ACCEPTS_GAIN_NAN, "gain-nan" },
    { ACCEPTS_GAIN_NEGATIVE, "gain-negative" },
    { ACCEPTS_VALID_ZERO, "valid-zero" },
    { ACCEPTS_VALID_NEGATIVE, "valid-negative" },
    { ACCEPTS_VALID_NAN, "valid-nan" },
    { ACCEPTS_STATE_OLD, "state-old" },
    { ACCEPTS_STATE_UNKNOWN, "state-unknown" },
    { ACCEPTS_CRC, "crc" },
    { ACCEPTS_NO_CRC, "crc-missing" },
    { ACCEPTS_ECHO, "echo" },
    { DAMAGE_IGNORED, "damaged-link" },
    { VALIDITY_IGNORED, "validity" },
    { TIMEOUT_IGNORED, "timeout" },
    { TIMEOUT_LONG, "timeout" },
    { TIMEOUT_DRIVES, "timeout-action" },
    { TIMEOUT_FREE, "timeout-action" },
    { TIMEOUT_SWAPPED, "timeout-action" },
    { LATCH_NEVER, "latch" },
    { LATCH_SECRET, "latch" },
    { LATCH_LEFT, "latch" },
    { LATCH_STAYS, "latch-idle" },
    { SESSION_KEEPS, "new-session" },
    { SESSION_COUNTS_ON, "new-session" },
    { SESSION_DEAF, "new-session" },
    { RESET_IGNORED, "reset" },
    { GARBAGE_STOPS, "garbage" },
    { ESTOP_IGNORED, "estop" },
    { ESTOP_RESUMES, "estop" },
};

enum { SIDE_BY_SIDE = 4 };

/* Every fourth fault from `first` on, in a process of its own: most of a clause is waiting.  Exit code: how many passed that
 * must not.  Each is tried twice: a stall of the machine is not what is meant by caught. */
static void catch_some(size_t first)
{
    int missed = 0;

    for (size_t i = first; i < sizeof faults / sizeof *faults; i += SIDE_BY_SIDE) {
        char arguments[300];
        bool estop = !strcmp(faults[i].clause, "estop");
        int  code;

        snprintf(arguments, sizeof arguments, "ipc://%s/robot%zu.sock", test_dir(), first);
        struct wrong_robot *r = wrong_robot_start(arguments, faults[i].wrong, estop);
        snprintf(arguments, sizeof arguments, "--endpoint ipc://%s/robot%zu.sock --hz 100 --attempts %d %s --only %s", test_dir(),
                 first, estop ? 1 : 2, estop ? "--estop" : "", faults[i].clause);
        json_t *o = conform(arguments, &code);
        wrong_robot_end(r);
        if (getenv("LIMBER_SHOW"))
            show_failures(o);
        if (code != 1 || js_int(o, "failed") != 1) {
            printf("    fault %d passed clause %s\n", (int)faults[i].wrong, faults[i].clause);
            missed++;
        }
        json_decref(o);
    }
    exit(missed);
}

TEST(every_fault_of_a_robot_side_is_caught_by_the_clause_that_names_it)
{
    pid_t pid[SIDE_BY_SIDE];

    test_dir();
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        if ((pid[i] = fork()) == 0)
            catch_some(i);
    for (int i = 0; i < SIDE_BY_SIDE; i++) {
        int status;

        waitpid(pid[i], &status, 0);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

TEST(there_is_a_wrong_robot_for_every_clause)
{
    for (const struct conform_clause *k = conform_clauses; k->name; k++) {
        bool found = false;

        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
            found = found || !strcmp(faults[i].clause, k->name);
        EXPECT(found);
        if (!found)
            printf("    %s\n", k->name);
    }
}

TEST(conform_says_what_it_wants_where_nobody_comes_or_may_come)
{
    int code;

    json_decref(conform("--wait 0.3", &code));
    EXPECT(code == 69);
    json_decref(conform("--only torqe", &code));
    EXPECT(code == 64);
    json_decref(conform("--endpoint tcp://127.0.0.1:5555 --wait 0.3", &code));
    EXPECT(code == 73);
}
