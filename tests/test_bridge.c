/* test_bridge.c - limber-bridge as a process of its own, talking to a small daemon made of port, codec and session. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/clock.h"
#include "tests/test.h"
#include "transport/port.h"

enum { FIRST = 500, PATIENCE_MS = 10000 };

/* ---- the daemon ------------------------------------------------------------------------------------------------ */

struct peer {
    struct port          *port;
    struct session        session;
    struct session_result r;
    struct codec_scratch  scratch;
    uint8_t               id[PEER_ID_SIZE], bytes[CODEC_MAX_BYTES];
    size_t                id_len;
    long                  n;
    uint64_t              seq;
    struct joint_state    state; /* newest                        */
    int64_t               ready; /* trial announced since the last state, -1 */
    int64_t               ended;
};

static char endpoint[300];

static struct session_expect expectation(double hz)
{
    struct session_expect e = { .robot = "pole", .nj = 2, .simulated = true, .lockstep_allowed = true };

    e.joint[0] = (struct joint_info){
        .name = "slider", .type = JOINT_PRISMATIC, .actuated = true, .velocity_max = 40, .effort_max = 300
    };
    e.joint[1]   = (struct joint_info){ .name = "hinge", .type = JOINT_CONTINUOUS, .velocity_max = 80 };
    e.control_hz = hz, e.latch_ms = 5, e.robot_timeout_max_ms = 120;
    return e;
}

static struct peer *peer_start(double hz, uint64_t first)
{
    struct peer          *d = calloc(1, sizeof *d);
    struct session_expect e = expectation(hz);
    char                  why[400];

    snprintf(endpoint, sizeof endpoint, "ipc://%s/robot.sock", test_dir());
    session_init(&d->session, &e, first);
    d->port = port_bind(&(struct port_options){ .endpoint = endpoint, .core = -1 }, why, sizeof why);
    EXPECT(d->port != NULL);
    d->ready = d->ended = -1;
    return d;
}

static void peer_end(struct peer *d)
{
    port_close(d->port);
    free(d);
}

static void reply(struct peer *d, const struct message *m)
{
    uint8_t out[CODEC_MAX_BYTES];

    port_send(d->port, d->id, d->id_len, out, codec_pack(m, out));
}

/* One message, answered where an answer is due; false after a long time without any. */
static bool listen_once(struct peer *d)
{
    for (int ms = 0; ms < PATIENCE_MS; ms += 100) {
        if (!port_wait(d->port, -1, 100))
            continue;
        d->n = port_receive(d->port, d->id, &d->id_len, d->bytes, sizeof d->bytes);
        if (d->n < 0)
            continue;
        session_receive(&d->session, d->id, d->id_len, d->bytes, (size_t)d->n, clock_now_ns(), &d->scratch, &d->r);
        if (d->r.has_reply)
            reply(d, &d->r.reply);
        if (d->r.opened)
            d->seq = 0;
        if (d->r.has_event && d->r.event.kind == TRIAL_READY)
            d->ready = d->r.event.trial;
        if (d->r.has_event && d->r.event.kind == TRIAL_ENDED)
            d->ended = d->r.event.trial;
        return true;
    }
    return false;
}

/* The next state, whether or not newer ones wait. */
static bool each_state(struct peer *d)
{
    while (listen_once(d))
        if (d->r.has_state) {
            d->state = d->r.state;
            return true;
        }
    EXPECT(!"a state arrives");
    return false;
}

/* The newest state that has come, at least one: where the machine stood still, several wait. */
static bool next_state(struct peer *d)
{
    bool came = each_state(d);

    while (came && port_wait(d->port, -1, 0) && listen_once(d))
        if (d->r.has_state)
            d->state = d->r.state;
    return came;
}

/* Answers the newest state. */
static void command(struct peer *d, enum command_mode mode, double force)
{
    struct message m = { .kind = MESSAGE_COMMAND };

    m.command = (struct joint_command){ .session   = d->session.id,
                                        .seq       = ++d->seq,
                                        .state_seq = d->state.seq,
                                        .valid_ms  = 1000,
                                        .mode      = mode,
                                        .nj        = 2,
                                        .torque    = { force, 0 } };
    reply(d, &m);
}

static void ask(struct peer *d, enum trial_request_kind kind, uint32_t trial, uint64_t seed)
{
    struct message m = { .kind = MESSAGE_TRIAL_REQUEST };

    m.trial_request = (struct trial_request){ .session = d->session.id, .trial = trial, .kind = kind, .seed = seed };
    reply(d, &m);
}

/* Commands until the first state of the trial is in d->state. */
static void reset(struct peer *d, uint32_t trial, uint64_t seed)
{
    d->ready = -1;
    ask(d, TRIAL_RESET, trial, seed);
    for (int i = 0; i < 200 && d->ready != trial; i++) {
        command(d, COMMAND_IDLE, 0);
        if (!each_state(d))
            break;
    }
    EXPECT(d->ready == trial && d->state.ready_trial == trial);
}

/* ---- the bridge ------------------------------------------------------------------------------------------------ */

static pid_t start_program(const char *log, const char *const *argv)
{
    char  program[600], path[300];
    pid_t pid;

    snprintf(program, sizeof program, "%s/limber-bridge", test_build_dir());
    snprintf(path, sizeof path, "%s/%s", test_dir(), log);
    pid = fork();
    if (pid != 0)
        return pid;
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, 1), dup2(fd, 2);
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* A simulated cart-pole with these flags more, up to NULL. */
static pid_t start_bridge(const char *log, ...)
{
    const char *argv[24] = { "limber-bridge", "sim",   "--robot", "pole", "--model", "robots/cartpole/model.xml",
                             "--endpoint",    endpoint };
    int         n        = 8;
    va_list     more;

    va_start(more, log);
    while ((argv[n] = va_arg(more, const char *)) != NULL)
        n++;
    va_end(more);
    return start_program(log, argv);
}

/* Exit code, or -1 where it had to be killed. */
static int wait_for(pid_t pid)
{
    int status;

    for (int ms = 0; ms < PATIENCE_MS; ms += 10, usleep(10000))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

static int stop_bridge(pid_t pid, int number)
{
    kill(pid, number);
    return wait_for(pid);
}

static const char *printed(const char *log)
{
    static char text[8192];
    char        path[300];
    FILE       *f;

    snprintf(path, sizeof path, "%s/%s", test_dir(), log);
    f                                                = fopen(path, "r");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    return text;
}

/* ---- claims ---------------------------------------------------------------------------------------------------- */

TEST(a_simulated_robot_is_welcomed_and_sends_states_in_order_and_on_time)
{
    struct peer *d        = peer_start(100, FIRST);
    pid_t        pid      = start_bridge("log", "--timestep", "0.002", "--quiet", NULL);
    uint64_t     last_seq = 0, last_ns = 0;

    for (int i = 0; i < 50 && each_state(d); i++) {
        EXPECT(d->state.session == FIRST && d->state.seq == last_seq + 1 && d->state.nj == 2);
        if (last_ns && d->state.sample_ns - last_ns != 10 * NS_PER_MS) /* unless the machine stood still */
            EXPECT(d->state.sample_ns - last_ns > 20 * NS_PER_MS);
        last_seq = d->state.seq, last_ns = d->state.sample_ns;
        EXPECT(last_ns <= clock_now_ns() && last_ns + 60 * NS_PER_S > clock_now_ns());
        command(d, COMMAND_IDLE, 0);
    }
    EXPECT(d->session.hello.simulated && !d->session.lockstep && d->session.hello.command_timeout_ms == 120);
    EXPECT_STR(d->session.hello.software, "limber-bridge");
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    EXPECT(printed("log")[0] == 0); /* quiet, and nothing printed per tick */
    peer_end(d);
}

TEST(torque_moves_the_cart_the_way_it_points)
{
    struct peer *d   = peer_start(100, FIRST);
    pid_t        pid = start_bridge("log", "--timestep", "0.002", NULL);

    for (int sign = -1; sign <= 1; sign += 2) {
        next_state(d);
        reset(d, 1, 1);
        double x0      = d->state.position[0];
        bool   applied = false;
        for (int i = 0; i < 200 && !(applied && sign * (d->state.position[0] - x0) > 0.1); i++) {
            command(d, COMMAND_TORQUE, sign * 200);
            next_state(d);
            applied |= d->state.applied_effort[0] == sign * 200 && d->state.applied_command_seq > 0;
        }
        EXPECT(applied && sign * (d->state.position[0] - x0) > 0.1 && sign * d->state.velocity[0] > 0);
    }
    EXPECT(stop_bridge(pid, SIGINT) == 0);
    peer_end(d);
}

TEST(a_robot_with_a_rate_says_so_keeps_it_and_tells_where_it_had_to)
{
    struct peer *d    = peer_start(100, FIRST);
    pid_t        pid  = start_bridge("log", "--timestep", "0.002", "--effort-rate", "200,inf", "--velocity", "40,80", NULL);
    double       most = 0, before = 0, step = 0;

    next_state(d);
    EXPECT(d->session.hello.joint[0].effort_rate_max == 200 && d->session.hello.joint[1].effort_rate_max == 0);
    EXPECT(d->session.hello.joint[0].velocity_max == 40 && d->session.hello.joint[1].velocity_max == 80);
    reset(d, 1, 1);
    for (int i = 0; i < 20; i++) {
        command(d, COMMAND_TORQUE, 100);
        next_state(d);
        before = most;
        most   = d->state.applied_effort[0];
        step   = most - before > step ? most - before : step;
    }
    EXPECT(step <= 0.2 * 120 * 1.01 + 0.2 * 10 * 1.01 && most > 30); /* the first one is that of 120 ms */
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    EXPECT_STR(printed("log"), "its effort grew faster than --effort-rate");
    EXPECT_STR(printed("log"), "commands: accepted");
    EXPECT_STR(printed("log"), "slowed");
    peer_end(d);
}

TEST(when_the_daemon_dies_the_robot_damps_and_comes_back_in_a_new_session)
{
    struct peer *d   = peer_start(100, FIRST);
    pid_t        pid = start_bridge("log", "--timestep", "0.002", NULL);
    double       speed;

    next_state(d);
    reset(d, 1, 1);
    for (int i = 0; i < 15; i++) {
        command(d, COMMAND_TORQUE, 300);
        next_state(d);
    }
    speed = d->state.velocity[0];
    EXPECT(speed > 1);
    peer_end(d);
    usleep(1500000);
    d = peer_start(100, FIRST + 1000);
    next_state(d);
    EXPECT(d->state.session == FIRST + 1000 && d->state.seq == 1);
    EXPECT(fabs(d->state.velocity[0]) < 0.3 * speed);
    EXPECT(d->state.faults == 0 && d->state.applied_command_seq == 0);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

TEST(when_only_commands_stop_the_robot_damps_and_latches_until_idle)
{
    struct peer *d   = peer_start(100, FIRST);
    pid_t        pid = start_bridge("log", "--timestep", "0.002", NULL);

    next_state(d);
    for (int i = 0; i < 15; i++) {
        command(d, COMMAND_TORQUE, 300);
        next_state(d);
    }
    for (int i = 0; i < 500 && !(d->state.faults & 2); i++) /* 0.6 s */
        next_state(d);
    EXPECT(d->state.faults == 2 && d->state.applied_effort[0] <= 0);
    for (int i = 0; i < 5; i++) {
        command(d, COMMAND_TORQUE, 300);
        next_state(d);
        EXPECT(d->state.faults == 2 && d->state.applied_effort[0] <= 0); /* nothing drives it again by itself */
    }
    for (int i = 0; i < 100 && d->state.faults; i++) {
        command(d, COMMAND_IDLE, 0);
        next_state(d);
    }
    for (int i = 0; i < 100 && !(d->state.applied_effort[0] > 0); i++) {
        command(d, COMMAND_TORQUE, 300);
        next_state(d);
    }
    EXPECT(d->state.faults == 0 && d->state.applied_effort[0] > 0);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

TEST(the_same_seeds_give_the_same_start_pose)
{
    struct peer *d   = peer_start(100, FIRST);
    pid_t        pid = start_bridge("log", "--timestep", "0.002", "--seed", "4", NULL);
    double       first[2];

    next_state(d);
    reset(d, 3, 7);
    memcpy(first, d->state.position, sizeof first);
    EXPECT(d->state.applied_command_seq == 0 && !d->state.applied_held);
    for (int i = 0; i < 5; i++) {
        command(d, COMMAND_TORQUE, 300);
        next_state(d);
    }
    EXPECT(memcmp(first, d->state.position, sizeof first) != 0);
    reset(d, 3, 7);
    EXPECT(memcmp(first, d->state.position, sizeof first) == 0);
    reset(d, 4, 7);
    EXPECT(memcmp(first, d->state.position, sizeof first) != 0);
    ask(d, TRIAL_END, 4, 0);
    for (int i = 0; i < 100 && d->ended != 4; i++)
        next_state(d);
    EXPECT(d->ended == 4);
    stop_bridge(pid, SIGTERM);
    pid = start_bridge("log", "--timestep", "0.002", "--seed", "4", NULL); /* another process, the same pose */
    while (d->session.id < FIRST + 1 && listen_once(d))
        ;
    next_state(d);
    reset(d, 3, 7);
    EXPECT(memcmp(first, d->state.position, sizeof first) == 0);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

/* The bytes of `count` states in lockstep, trial 0 from the first on. */
static size_t lockstep_run(uint8_t *out, int count)
{
    struct peer *d   = peer_start(25, FIRST);
    pid_t        pid = start_bridge("log", "--lockstep", "--seed", "9", NULL);
    size_t       n   = 0;

    for (int i = 0; i < count && each_state(d); i++) {
        memcpy(out + n, d->bytes, (size_t)d->n);
        n += (size_t)d->n;
        if (i == 0)
            ask(d, TRIAL_RESET, 0, 1);
        if (i > 1)
            EXPECT(d->state.applied_held && d->state.applied_command_seq == (uint64_t)i);
        EXPECT(d->state.sample_ns == (uint64_t)i * 40 * NS_PER_MS && d->state.late_commands == 0);
        command(d, COMMAND_TORQUE, 250 * sin(0.3 * i));
    }
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
    return n;
}

TEST(two_runs_in_lockstep_are_the_same_to_the_byte)
{
    enum { COUNT = 300, ROOM = COUNT * 400 };
    static uint8_t a[ROOM], b[ROOM];
    uint64_t       start_ns = clock_now_ns();
    size_t         na = lockstep_run(a, COUNT), nb = lockstep_run(b, COUNT);

    EXPECT(na > 10000 && na == nb && memcmp(a, b, na) == 0);
    EXPECT(clock_now_ns() - start_ns < 2 * COUNT * 40 * NS_PER_MS); /* faster than real time */
}

TEST(lockstep_outside_a_trial_keeps_real_time)
{
    struct peer *d   = peer_start(25, FIRST);
    pid_t        pid = start_bridge("log", "--lockstep", NULL);
    uint64_t     start_ns;

    next_state(d);
    start_ns = clock_now_ns();
    for (int i = 0; i < 10; i++) {
        command(d, COMMAND_IDLE, 0);
        next_state(d);
    }
    EXPECT(clock_now_ns() - start_ns > 300 * NS_PER_MS);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

TEST(late_commands_are_counted_and_their_intervals_marked)
{
    struct peer *d   = peer_start(25, FIRST);
    pid_t        pid = start_bridge("log", NULL);

    next_state(d);
    for (int i = 0; i < 4; i++) {
        usleep(8000);
        command(d, COMMAND_TORQUE, 10);
        next_state(d);
        EXPECT(!d->state.applied_held);
    }
    for (int i = 0; i < 50 && d->state.late_commands < 4; i++) /* the last one may have missed its interval */
        next_state(d);
    EXPECT(d->state.late_commands == 4);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

TEST(a_second_robot_side_waits_for_its_turn)
{
    struct peer *d     = peer_start(100, FIRST);
    pid_t        first = start_bridge("log", "--timestep", "0.002", NULL), second;

    next_state(d);
    second = start_bridge("second", "--timestep", "0.002", NULL);
    for (int i = 0; i < 1000 && atomic_load(&d->session.count[COUNT_SECOND_PEER]) < 2; i++)
        next_state(d);
    EXPECT(d->session.id == FIRST && atomic_load(&d->session.count[COUNT_SECOND_PEER]) == 2);
    EXPECT(stop_bridge(first, SIGKILL) == -1);
    while (d->session.id == FIRST && listen_once(d))
        ;
    EXPECT(next_state(d) && d->state.session == FIRST + 1);
    EXPECT(stop_bridge(second, SIGTERM) == 0);
    const char *text = printed("second"), *at = strstr(text, "another robot side");
    EXPECT(at && !strstr(at + 1, "another robot side")); /* said once, tried twice */
    peer_end(d);
}

TEST(a_hopeless_refusal_ends_the_bridge_with_its_sentence)
{
    struct peer *d = peer_start(25, FIRST);
    pid_t        pid;

    d->session.expect.joint[0].effort_max = 301;
    pid                                   = start_bridge("log", "--quiet", NULL);
    while (atomic_load(&d->session.count[COUNT_REFUSED]) == 0 && listen_once(d))
        ;
    EXPECT(wait_for(pid) == 69);
    EXPECT_STR(printed("log"), "joint \"slider\" allows 300, expected at least 301");
    peer_end(d);
}

TEST(a_rate_that_does_not_fit_the_time_step_ends_the_bridge)
{
    struct peer *d   = peer_start(30, FIRST);
    pid_t        pid = start_bridge("log", NULL);

    while (d->session.id == 0 && listen_once(d))
        ;
    EXPECT(wait_for(pid) == 78);
    EXPECT_STR(printed("log"),
               "control_hz 30 gives a period of 0.0333333 s, expected a whole number of time steps of 0.02 s");
    peer_end(d);
}

TEST(a_daemon_that_sends_nothing_is_greeted_again_and_the_session_goes_on)
{
    struct peer *d   = peer_start(25, FIRST);
    pid_t        pid = start_bridge("log", NULL);
    uint64_t     last;

    next_state(d);
    for (int i = 0; i < 200 && atomic_load(&d->session.count[COUNT_HELLO]) < 2; i++)
        next_state(d);
    last = d->state.seq;
    next_state(d);
    EXPECT(atomic_load(&d->session.count[COUNT_HELLO]) == 2 && d->session.id == FIRST && d->state.seq == last + 1);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    peer_end(d);
}

TEST(a_bridge_that_waits_for_its_daemon_ends_when_told_to)
{
    pid_t pid;

    snprintf(endpoint, sizeof endpoint, "ipc://%s/robot.sock", test_dir());
    pid = start_bridge("log", NULL);
    usleep(300000);
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    EXPECT_STR(printed("log"), "waiting for limberd at ipc://");
}

TEST(each_trial_leaves_its_picture)
{
    struct peer *d = peer_start(25, FIRST);
    char         file[300];
    struct stat  st      = { 0 };
    uint8_t      head[8] = { 0 };
    pid_t        pid;

    snprintf(file, sizeof file, "%s/trial.png", test_dir());
    pid = start_bridge("log", "--lockstep", "--picture", file, NULL);
    next_state(d);
    reset(d, 0, 1);
    for (int i = 0; i < 50; i++) {
        command(d, COMMAND_TORQUE, 250 * sin(0.5 * i));
        next_state(d);
    }
    EXPECT(stat(file, &st) != 0); /* not before the end */
    EXPECT(stop_bridge(pid, SIGTERM) == 0);
    EXPECT(stat(file, &st) == 0 && st.st_size > 5000);
    FILE *f = fopen(file, "r");
    EXPECT(f && fread(head, 1, 8, f) == 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0);
    if (f)
        fclose(f);
    peer_end(d);
}

TEST(wrong_usage_is_told_and_exits_64)
{
    static const char *const wrong[][4] = {
        { "sim", "--flavour", "--flavour is not an option", NULL },
        { "sim", "--core=x", "--core x: expected a whole number", NULL },
        { "sim", "--timestep=-1", "--timestep -1: expected a number", NULL },
        { "sim", "--seed", "--seed needs a value", NULL },
        { "can", "--quiet", "\"can\": expected \"sim\"", NULL },
        { "sim", "--robot=x", "--model is missing", NULL },
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *argv[] = { "limber-bridge", wrong[i][0], wrong[i][1], NULL };

        EXPECT(wait_for(start_program("log", argv)) == 64);
        EXPECT_STR(printed("log"), wrong[i][2]);
    }
}
