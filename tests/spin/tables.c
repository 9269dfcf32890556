/* tables.c - prints tests/spin/tables.pml: the mode tables of daemon/mode.c and firmware-bridge/receiver.c, for spin.
 *
 * The daemon's table is asked cell by cell; the receiver's is behind its functions, so a receiver is brought into each
 * mode and made to see each event. */
#include "tests/spin/tables.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/mode.h"
#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"

static const char *const event_name[EVENT_COUNT] = { "READY", "ARM",     "PROMOTE", "EXPLORE", "DEMOTE",
                                                     "STOP",  "STOPPED", "FAULT",   "RESET" };

enum { SEE_IDLE, SEE_TORQUE, SEE_DAMP, SEE_EXPIRED, SEE_SILENT, SEE_ESTOP, SEE_COUNT };

static const char *const see_name[SEE_COUNT] = { "IDLE", "TORQUE", "DAMP", "EXPIRED", "SILENT", "ESTOP" };

enum { TIMEOUT_MS = 40, SILENT_MS = 200 };

static void tell(struct receiver *r, enum command_mode mode, uint64_t now_ns)
{
    struct joint_command c = {
        .session = 1, .seq = r->seq + 1, .state_seq = 1, .valid_ms = TIMEOUT_MS, .mode = mode, .nj = 1
    };

    receiver_state_sent(r, 1, now_ns);
    if (!receiver_command(r, &c, now_ns))
        abort();
}

/* A receiver in mode m, last heard at *now_ns. */
static void bring(struct receiver *r, enum receiver_mode m, uint64_t *now_ns)
{
    struct receiver_limits l = { .nj = 1, .actuated = { true }, .effort_max = { 1 }, .command_timeout_ms = TIMEOUT_MS };

    *now_ns = NS_PER_S;
    receiver_unlimited(&l);
    receiver_init(r, &l);
    receiver_session(r, 1);
    if (m != RECEIVER_LATCH) {
        tell(r, m == RECEIVER_OFF ? COMMAND_IDLE : m == RECEIVER_LIVE ? COMMAND_TORQUE : COMMAND_DAMP, *now_ns);
    } else {
        receiver_estop(r, true);
        receiver_estop(r, false);
        tell(r, COMMAND_DAMP, *now_ns); /* heard, and held back */
    }
    if (r->mode != m)
        abort();
}

static enum receiver_mode receiver_next(enum receiver_mode m, int event)
{
    const double    zero = 0;
    double          tau;
    struct receiver r;
    uint64_t        now_ns;

    bring(&r, m, &now_ns);
    switch (event) {
    case SEE_IDLE: tell(&r, COMMAND_IDLE, now_ns); break;
    case SEE_TORQUE: tell(&r, COMMAND_TORQUE, now_ns); break;
    case SEE_DAMP: tell(&r, COMMAND_DAMP, now_ns); break;
    case SEE_EXPIRED: receiver_effort(&r, &zero, &zero, now_ns + TIMEOUT_MS * NS_PER_MS, &tau); break;
    case SEE_SILENT: receiver_effort(&r, &zero, &zero, now_ns + SILENT_MS * NS_PER_MS, &tau); break;
    default: receiver_estop(&r, true); break;
    }
    return r.mode;
}

/* What follows mode m after an event, as a chain of conditions. */
static void after(FILE *f, const char *prefix, const char *event, const int *to, int n, const char *(*name)(int m))
{
    int depth = 0;

    fprintf(f, "#define %s%s(m) ", prefix, event);
    for (int m = 0; m < n; m++) {
        if (to[m] != m) {
            fprintf(f, "((m) == %s -> %s : ", name(m), name(to[m]));
            depth++;
        }
    }
    fprintf(f, "(m)%.*s\n", depth, "))))))))");
}

static const char *daemon_name(int m)
{
    return mode_name((enum mode)m);
}

static const char *receiver_name(int m)
{
    static const char *const name[RECEIVER_MODES] = { "OFF", "LIVE", "DAMP", "LATCH" };

    return name[m];
}

static const char *happening(int e)
{
    return event_name[e];
}

static void names(FILE *f, const char *prefix, const char *(*name)(int i), int n)
{
    for (int i = 0; i < n; i++)
        fprintf(f, "#define %s%s %d\n", prefix, name(i), i);
    fprintf(f, "\n");
}

void tables_print(FILE *f, enum mode (*next)(enum mode m, enum mode_event e))
{
    fprintf(f, "/* Printed by tests/spin/tables.c from daemon/mode.c and firmware-bridge/receiver.c; a test compares.\n"
               " * What is not listed stays as it is. */\n\n");
    names(f, "", daemon_name, MODE_COUNT);
    names(f, "EV_", happening, EVENT_COUNT);
    names(f, "", receiver_name, RECEIVER_MODES);
    fprintf(f, "#define C_IDLE %d\n#define C_TORQUE %d\n#define C_DAMP %d\n\n", COMMAND_IDLE, COMMAND_TORQUE,
            COMMAND_DAMP);
    for (int e = 0; e < EVENT_COUNT; e++) {
        int to[MODE_COUNT];

        for (int m = 0; m < MODE_COUNT; m++)
            to[m] = (int)next((enum mode)m, (enum mode_event)e);
        after(f, "AFTER_", event_name[e], to, MODE_COUNT, daemon_name);
    }
    fprintf(f, "\n");
    for (int e = 0; e < SEE_COUNT; e++) {
        int to[RECEIVER_MODES];

        for (int m = 0; m < RECEIVER_MODES; m++)
            to[m] = (int)receiver_next((enum receiver_mode)m, e);
        after(f, "R_AFTER_", see_name[e], to, RECEIVER_MODES, receiver_name);
    }
}
