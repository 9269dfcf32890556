/* sim_loop.c - see sim_loop.h.
 *
 * Without lockstep: state k leaves at the absolute time t_k = t_0 + k period; until t_k+1 commands are received with
 * their times; then plant_run integrates the interval.  A timerfd wakes the wait at t_k+1, so that receiving and
 * keeping time are one system call.  With lockstep: the state's answer is waited for, wall time does not matter. */
#include "firmware-bridge/sim_loop.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "daemon/rt/check.h"
#include "daemon/rt/clock.h"
#include "firmware-bridge/drill.h"
#include "firmware-bridge/picture.h"
#include "firmware-bridge/plant.h"
#include "transport/port.h"

static const uint64_t HELLO_NS    = NS_PER_S;       /* between two Hellos                                  */
static const uint64_t RETRY_NS    = 50 * NS_PER_MS; /* after one that could not be sent                    */
static const uint64_t SILENCE_NS  = 3 * NS_PER_S;   /* without commands: say Hello again                   */
static const uint64_t LOCKSTEP_NS = 5 * NS_PER_S;   /* without the answer to a state: the daemon is gone   */
static const uint64_t REPEAT_NS   = 10 * NS_PER_S;  /* the same refusal is printed this often              */

struct loop {
    const struct sim_loop_options *o;
    struct sim                    *sim;
    struct port                   *port;
    struct picture                *picture;
    struct plant                   plant;
    struct drill                   drill;
    struct message                 hello;
    int                            timer;

    struct welcome       welcome;    /* of the newest session                        */
    bool                 welcomed;   /* there was one: physics runs                  */
    bool                 in_session; /* states may be sent                           */
    bool                 restart;    /* a session began: time starts anew            */
    int                  exit_code;  /* not 0: end                                   */
    uint64_t             seq;        /* last state sent                              */
    uint64_t             sim_ns;     /* lockstep: start of the running interval, never goes back */
    bool                 answered;   /* a command came since the newest state        */
    uint64_t             hello_due_ns, heard_ns;
    struct trial_request reset; /* to be done at the end of the interval        */
    bool                 reset_wanted;
    bool                 in_trial;
    uint64_t             trial_start_ns;
    char                 said[240]; /* last refusal printed                         */
    uint64_t             said_ns;
    bool                 shut_out; /* and that has been said                      */
    bool                 disagreed; /* likewise, about limits                      */

    struct codec_scratch scratch;
    uint8_t              bytes[CODEC_MAX_BYTES];
};

__attribute__((format(printf, 2, 3))) static void say(const struct loop *l, const char *format, ...)
{
    va_list args;

    if (l->o->quiet)
        return;
    fprintf(stderr, "limber-bridge: %s: ", l->o->robot);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* Trouble is printed even when quiet. */
__attribute__((format(printf, 2, 3))) static void complain(const struct loop *l, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "limber-bridge: %s: ", l->o->robot);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- what is sent ---------------------------------------------------------------------------------------------- */

static bool send_message(struct loop *l, const struct message *m)
{
    uint8_t out[CODEC_MAX_BYTES];
    size_t  n = codec_pack(m, out);

    if (l->o->faulty)
        return faulty_send(l->o->faulty, l->port, out, n, m->kind == MESSAGE_STATE, clock_now_ns());
    return port_send(l->port, NULL, 0, out, n);
}

/* Whether limberd lets us connect at all; one failure may be a daemon that ends.  Said once each time. */
static void knock(struct loop *l)
{
    const struct port_handshakes *h = port_handshakes(l->port);

    if (h->in_row >= 2 && !l->shut_out)
        complain(l,
                 "not let in: %s; check --server-key, and on limberd's machine: limber key --allow LIST --role robot "
                 "%s.pub; limber status there says who was refused, and why.  Trying on",
                 h->why, l->o->key);
    else if (h->in_row == 0 && l->shut_out)
        complain(l, "let in after %" PRIu64 " handshakes that failed", h->failed);
    else
        return;
    l->shut_out = h->in_row > 0;
}

/* Hello while there is no session, or no sign of life from the daemon. */
static void greet(struct loop *l, uint64_t now_ns)
{
    bool needed = !l->in_session || now_ns - l->heard_ns > SILENCE_NS;

    if (!needed || now_ns < l->hello_due_ns)
        return;
    knock(l);
    l->hello_due_ns = now_ns + (send_message(l, &l->hello) ? HELLO_NS : RETRY_NS);
}

static void send_event(struct loop *l, uint32_t trial, enum trial_event_kind kind)
{
    struct message m = { .kind = MESSAGE_TRIAL_EVENT };

    m.trial_event.session = l->welcome.session;
    m.trial_event.trial   = trial;
    m.trial_event.kind    = kind;
    send_message(l, &m);
}

/* The state at start_ns; without a session there is nobody to tell. */
static void send_state(struct loop *l, uint64_t start_ns)
{
    struct message m;

    if (l->picture && l->in_trial)
        picture_pose(l->picture, l->sim, 1e-9 * (double)(start_ns - l->trial_start_ns));
    if (!l->in_session)
        return;
    memset(&m, 0, sizeof m);
    m.kind = MESSAGE_STATE;
    plant_state(&l->plant, &m.state);
    m.state.session   = l->welcome.session;
    m.state.seq       = ++l->seq;
    m.state.sample_ns = start_ns;
    m.state.estop     = l->plant.receiver.estop;
    if (l->o->faulty)
        faulty_state(l->o->faulty, &m.state, clock_now_ns());
    if (!l->o->drill || !drill_state(&l->drill, &l->hello.hello, &m.state, clock_now_ns()))
        send_message(l, &m);
}

/* ---- what is received ------------------------------------------------------------------------------------------ */

static void end_with(struct loop *l, int code, const char *why)
{
    complain(l, "%s", why);
    l->exit_code = code;
}

static void on_welcome(struct loop *l, const struct welcome *w, uint64_t now_ns)
{
    char why[240];

    l->heard_ns = now_ns;
    if (l->welcomed && w->session == l->welcome.session) {
        l->in_session = true; /* it knows us still: numbers and time go on */
        return;
    }
    if (w->protocol != LIMBER_PROTOCOL || !w->simulated || w->lockstep != l->o->lockstep) {
        snprintf(why, sizeof why, "welcome: protocol %" PRIu32 ", simulated %d, lockstep %d, expected %d, 1 and %d",
                 w->protocol, w->simulated, w->lockstep, LIMBER_PROTOCOL, l->o->lockstep);
        end_with(l, EX_UNAVAILABLE, why);
        return;
    }
    if (!plant_session(&l->plant, w, why, sizeof why)) {
        end_with(l, EX_CONFIG, why);
        return;
    }
    say(l, "session %016" PRIx64 " at %g Hz%s", w->session, w->control_hz, w->lockstep ? ", in lockstep" : "");
    if (l->picture)
        picture_end(l->picture);
    l->welcome      = *w;
    l->welcomed     = true;
    l->in_session   = true;
    l->restart      = true;
    l->seq          = 0;
    l->reset_wanted = l->in_trial = false;
    if (l->o->faulty)
        faulty_session(l->o->faulty, now_ns);
}

static void on_refusal(struct loop *l, const struct refusal *r, uint64_t now_ns)
{
    static const bool hopeless[] = {
        [REFUSAL_PROTOCOL] = true,       [REFUSAL_ROBOT] = true,      [REFUSAL_JOINTS] = true,
        [REFUSAL_LIMITS] = true,         [REFUSAL_SIMULATED] = true,  [REFUSAL_LOCKSTEP] = true,
        [REFUSAL_TIMEOUT_POLICY] = true, [REFUSAL_MALFORMED] = false,
    };

    if (strcmp(l->said, r->sentence) != 0 || now_ns - l->said_ns > REPEAT_NS) {
        complain(l, "refused: %s", r->sentence);
        snprintf(l->said, sizeof l->said, "%s", r->sentence);
        l->said_ns = now_ns;
    }
    if (hopeless[r->code])
        l->exit_code = EX_UNAVAILABLE;
    if (r->code == REFUSAL_SESSION && l->in_session)
        l->hello_due_ns = now_ns;
    if (r->code == REFUSAL_SESSION || r->code == REFUSAL_BUSY)
        l->in_session = false;
}

static void on_request(struct loop *l, const struct trial_request *q)
{
    if (q->kind == TRIAL_RESET) {
        l->reset        = *q;
        l->reset_wanted = true;
        return;
    }
    if (l->picture)
        picture_end(l->picture);
    l->in_trial = false;
    send_event(l, q->trial, TRIAL_ENDED);
}

static long next_message(struct loop *l)
{
    if (l->o->faulty)
        return faulty_receive(l->o->faulty, l->port, l->bytes, sizeof l->bytes, clock_now_ns());
    return port_receive(l->port, NULL, NULL, l->bytes, sizeof l->bytes);
}

/* How long to sleep at most; less where a message is held back on purpose. */
static int patience_ms(const struct loop *l, int ms)
{
    return l->o->faulty && faulty_holds(l->o->faulty) ? 1 : ms;
}

/* Not what limberd sent; the first word of one that has no CRC says why the two cannot talk. */
static void on_damaged(struct loop *l, enum codec_error error, const char *why, uint64_t now_ns)
{
    if (error == CODEC_BARE && (strcmp(l->said, why) != 0 || now_ns - l->said_ns > REPEAT_NS)) {
        complain(l, "refused: %s", why);
        snprintf(l->said, sizeof l->said, "%s", why);
        l->said_ns = now_ns;
    }
    if (l->in_session && codec_damaged(error))
        plant_damaged(&l->plant, l->o->lockstep ? l->plant.start_ns : now_ns);
}

/* All messages that wait.  In lockstep commands count from the start of the interval. */
static void receive(struct loop *l)
{
    struct message m;
    char           why[sizeof l->said];
    long           n;

    while ((n = next_message(l)) >= 0) {
        uint64_t         now_ns = clock_now_ns();
        enum codec_error error  = codec_unpack(FROM_LIMBER, l->bytes, (size_t)n, &l->scratch, &m, why, sizeof why);

        if (error != CODEC_OK) {
            on_damaged(l, error, why, now_ns);
            continue;
        }
        if (m.kind == MESSAGE_WELCOME)
            on_welcome(l, &m.welcome, now_ns);
        else if (m.kind == MESSAGE_REFUSAL)
            on_refusal(l, &m.refusal, now_ns);
        if (!l->in_session || m.session != l->welcome.session)
            continue;
        if (m.kind == MESSAGE_TRIAL_REQUEST)
            on_request(l, &m.trial_request);
        if (m.kind == MESSAGE_COMMAND) {
            l->heard_ns = now_ns;
            l->answered = true;
            if (l->o->drill)
                drill_command(&l->drill, &m.command, now_ns);
            plant_command(&l->plant, &m.command, l->o->lockstep ? l->plant.start_ns : now_ns);
        }
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static bool go_on(const struct loop *l)
{
    return !*l->o->stop && !l->exit_code && !(l->o->max_states && l->seq >= l->o->max_states);
}

/* Receives until until_ns; also says Hello when it is time. */
static void receive_until(struct loop *l, uint64_t until_ns)
{
    struct itimerspec at = { .it_value = clock_timespec(until_ns ? until_ns : 1) };
    uint64_t          now_ns;

    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &at, NULL);
    for (;;) {
        receive(l);
        now_ns = clock_now_ns();
        if (now_ns >= until_ns || l->restart || *l->o->stop || l->exit_code)
            return;
        greet(l, now_ns);
        port_wait(l->port, l->timer, patience_ms(l, 1000));
    }
}

/* Lockstep: until the running state is answered, be it by a command that names an older one because the daemon did not
 * like this one.  False: it was not, or something else happened. */
static bool receive_answer(struct loop *l)
{
    uint64_t guard_ns = clock_now_ns() + LOCKSTEP_NS;

    while (!l->restart && !*l->o->stop && !l->exit_code && l->in_session) {
        receive(l);
        if (l->answered)
            return !l->restart;
        if (clock_now_ns() >= guard_ns) {
            complain(l, "no command for state %" PRIu64 " within 5 s; saying Hello again", l->seq);
            l->in_session = false;
            return false;
        }
        port_wait(l->port, -1, patience_ms(l, 100));
    }
    return false;
}

static uint64_t new_boot_id(void)
{
    uint64_t id = 0;

    while (id == 0)
        if (getrandom(&id, sizeof id, 0) < 0)
            id = clock_now_ns();
    return id;
}

/* Between two intervals: the emergency stop as it is, and what was asked to go wrong with the robot side itself. */
static void trouble_on_purpose(struct loop *l)
{
    struct faulty *f       = l->o->faulty;
    uint64_t       now_ns  = clock_now_ns();
    bool           pressed = (l->o->estop && *l->o->estop) || (f && faulty_estop(f, now_ns));
    double         for_s;

    if (l->o->drill) {
        drill_orders(&l->drill, now_ns);
        pressed = pressed || drill_pressed(&l->drill);
    }
    receiver_estop(&l->plant.receiver, pressed);
    if (f)
        sim_mass(l->sim, faulty_mass(f, now_ns));
    for (int j = 0; f && j < l->plant.receiver.limits.nj; j++) {
        l->plant.share[j]                      = faulty_share(f, j, now_ns);
        l->plant.receiver.limits.effort_max[j] = l->hello.hello.joint[j].effort_max * faulty_clips(f, j, now_ns);
    }
    if (f && faulty_happens(f, FAULTY_FROZEN, now_ns, &for_s))
        clock_sleep_until(now_ns + (uint64_t)(for_s * 1e9));
    if (f && faulty_happens(f, FAULTY_RESTART, now_ns, &for_s)) {
        complain(l, "restarts, as it was told to");
        plant_init(&l->plant, l->sim, l->o->command_timeout_ms);
        l->hello.hello.boot_id = new_boot_id();
        l->welcomed = l->in_session = false;
        l->restart                  = true;
        l->hello_due_ns             = 0;
    }
}

/* Once: from then on the last line tells how often. */
static void tell_disagreement(struct loop *l)
{
    const uint64_t *count = l->plant.receiver.count;

    if (l->disagreed || count[RECEIVER_CHANGED] + count[RECEIVER_SLOWED] + count[RECEIVER_CUT_BACK] == 0)
        return;
    l->disagreed = true;
    complain(l, "a command wanted more than this robot lets through: %s; its limits, or commands that got lost (docs/faults.md, F10)",
             count[RECEIVER_SLOWED]    ? "its effort grew faster than --effort-rate"
             : count[RECEIVER_CHANGED] ? "more effort than a joint gives"
                                       : "it would have driven on a joint at --velocity");
}

/* The end of an interval: physics, and a start pose where one was asked for. */
static void finish_interval(struct loop *l, uint64_t end_ns)
{
    if (!plant_run(&l->plant))
        complain(l, "%s; put back to the start pose", sim_trouble(l->sim));
    tell_disagreement(l);
    if (l->plant.silent_ns)
        say(l, "no command for %.1f ms: damps by itself", (double)l->plant.silent_ns * 1e-6);
    if (!l->reset_wanted)
        return;
    plant_reset(&l->plant, &l->reset);
    if (l->picture)
        picture_begin(l->picture, l->reset.trial);
    l->reset_wanted   = false;
    l->in_trial       = true;
    l->trial_start_ns = end_ns;
    send_event(l, l->reset.trial, TRIAL_READY); /* before the trial's first state, on the same socket */
}

/* One session's worth of intervals in real time; goes on without a session, too: the robot is still there. */
static void run_in_real_time(struct loop *l)
{
    uint64_t start_ns = clock_now_ns();

    l->restart = false;
    while (go_on(l) && !l->restart) {
        uint64_t end_ns = start_ns + l->plant.period_ns, now_ns;

        trouble_on_purpose(l);
        if (l->restart)
            return;
        send_state(l, start_ns);
        plant_begin(&l->plant, start_ns, clock_now_ns(), l->in_session ? l->seq : 0);
        receive_until(l, end_ns);
        if (l->restart || *l->o->stop || l->exit_code)
            return;
        finish_interval(l, end_ns);
        now_ns   = clock_now_ns();
        start_ns = now_ns > end_ns + l->plant.period_ns ? now_ns : end_ns; /* stopped for long: no catching up */
    }
}

static void run_in_lockstep(struct loop *l)
{
    uint64_t wall_ns = clock_now_ns();

    l->restart = false;
    while (go_on(l) && !l->restart && l->in_session) {
        l->answered = false;
        trouble_on_purpose(l);
        if (l->restart)
            return;
        send_state(l, l->sim_ns);
        plant_begin(&l->plant, l->sim_ns, l->sim_ns, l->seq);
        if (!receive_answer(l))
            return;
        if (!l->in_trial) { /* nobody waits: do not spin */
            uint64_t now_ns = clock_now_ns();

            wall_ns += l->plant.period_ns;
            wall_ns = wall_ns < now_ns ? now_ns : wall_ns;
            receive_until(l, wall_ns);
            if (l->restart || *l->o->stop || l->exit_code)
                return;
        }
        l->sim_ns += l->plant.period_ns;
        finish_interval(l, l->sim_ns);
    }
}

static void wait_for_welcome(struct loop *l)
{
    while (!l->in_session && !*l->o->stop && !l->exit_code) {
        uint64_t now_ns = clock_now_ns();

        greet(l, now_ns);
        port_wait(l->port, -1, l->hello_due_ns > now_ns ? (int)((l->hello_due_ns - now_ns) / NS_PER_MS) + 1 : 0);
        receive(l);
    }
}

/* ---- start and end --------------------------------------------------------------------------------------------- */

static void go_real_time(const struct loop *l)
{
    struct sched_param p = { .sched_priority = l->o->priority };
    cpu_set_t          cores;

    CPU_ZERO(&cores);
    CPU_SET((size_t)l->o->core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) != 0)
        complain(l, "--rt: not pinned to core %d: %s; give --core another number", l->o->core, strerror(errno));
    if (sched_setscheduler(0, SCHED_FIFO, &p) != 0)
        complain(
            l,
            "--rt: runs at normal priority, the system does not grant SCHED_FIFO %d: %s; allow it with LimitRTPRIO= "
            "or in /etc/security/limits.conf",
            l->o->priority, strerror(errno));
}

static void describe(struct loop *l)
{
    struct hello *h = &l->hello.hello;

    l->hello.kind = MESSAGE_HELLO;
    h->protocol   = LIMBER_PROTOCOL;
    snprintf(h->robot, sizeof h->robot, "%s", l->o->robot);
    h->boot_id = new_boot_id();
    sim_describe(l->sim, h);
    h->command_timeout_ms = l->o->command_timeout_ms;
    h->lockstep           = l->o->lockstep;
    snprintf(h->software, sizeof h->software, "limber-bridge %s sim", LIMBER_VERSION);
}

static int open_loop(struct loop *l)
{
    struct port_options po = { .endpoint = l->o->endpoint,
                               .priority = l->o->rt ? l->o->priority : 0,
                               .core     = l->o->rt ? l->o->core : -1,
                               .keys     = { .key = l->o->key, .server = l->o->server_key } };
    char                why[400];

    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    CHECK(l->timer >= 0);
    if (l->o->picture) {
        l->picture = picture_open(l->o->picture, l->o->robot, l->sim, why, sizeof why);
        if (!l->picture) {
            complain(l, "%s", why);
            return EX_CANTCREAT;
        }
    }
    if (l->o->drill && !drill_open(&l->drill, l->o->drill, why, sizeof why)) {
        complain(l, "%s", why);
        return EX_USAGE;
    }
    l->port = port_connect(&po, why, sizeof why);
    if (!l->port) {
        complain(l, "%s", why);
        return EX_USAGE;
    }
    if (why[0] && !l->o->quiet)
        complain(l, "%s", why);
    plant_init(&l->plant, l->sim, l->o->command_timeout_ms);
    describe(l);
    if (l->o->faulty && !faulty_begin(l->o->faulty, &l->hello.hello, l->o->fault_seed, why, sizeof why)) {
        complain(l, "%s", why);
        return EX_USAGE;
    }
    return 0;
}

/* What became of commands, as far as anything did. */
static void tell_counts(const struct loop *l)
{
    char   text[400] = "";
    size_t used      = 0;

    for (int k = 0; k < RECEIVER_COUNTS; k++)
        if (l->plant.receiver.count[k] && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %" PRIu64, used ? ", " : "",
                                     receiver_count_name((enum receiver_count)k), l->plant.receiver.count[k]);
    if (used)
        say(l, "commands: %s", text);
}

static int close_loop(struct loop *l, int code)
{
    char why[1200];

    port_close(l->port);
    if (l->o->drill)
        drill_close(&l->drill);
    if (l->picture && !picture_close(l->picture, why, sizeof why)) {
        complain(l, "%s", why);
        code = code ? code : EX_CANTCREAT;
    }
    close(l->timer);
    return code;
}

int sim_loop(const struct sim_loop_options *o, struct sim *sim)
{
    struct loop *l = calloc(1, sizeof *l);
    int          code;

    NEED(l);
    l->o   = o;
    l->sim = sim;
    code   = open_loop(l);
    if (code == 0) {
        if (o->rt)
            go_real_time(l);
        say(l, "simulated robot of %d joints, waiting for limberd at %s", l->hello.hello.nj, o->endpoint);
        while (go_on(l)) {
            if (!l->welcomed || (o->lockstep && !l->in_session))
                wait_for_welcome(l);
            else if (o->lockstep)
                run_in_lockstep(l);
            else
                run_in_real_time(l);
        }
        code = l->exit_code;
        say(l,
            "ended after %" PRIu64 " states of the last session, %" PRIu32 " late commands, %" PRIu64
            " handshakes that failed",
            l->seq, l->plant.late_commands, port_handshakes(l->port)->failed);
        tell_counts(l);
    }
    code = close_loop(l, code);
    free(l);
    return code;
}
