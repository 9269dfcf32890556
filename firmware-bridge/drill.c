/* drill.c - see drill.h. */
#include "firmware-bridge/drill.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/rt/explain.h"

enum { FAULT_BIT = 1 << 8, BAD_STATES = 3 }; /* so many implausible states in a row stop a robot */

static const char *const names[DRILL_KINDS] = { "none", "estop", "fault", "nan", "outside", "silence" };

bool drill_open(struct drill *d, const char *path, char *why, size_t size)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    memset(d, 0, sizeof *d);
    d->fd = -1;
    if ((size_t)snprintf(at.sun_path, sizeof at.sun_path, "%s", path) >= sizeof at.sun_path)
        return explain(why, size, "--drill %s: expected a path of at most %zu characters", path,
                       sizeof at.sun_path - 1);
    d->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd >= 0 && connect(d->fd, (struct sockaddr *)&at, sizeof at) == 0)
        return true;
    int error = errno;
    drill_close(d);
    return explain(why, size, "--drill %s: expected a socket on which somebody gives orders: %s", path,
                   strerror(error));
}

void drill_close(struct drill *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

static void reply(struct drill *d, const char *name, const char *what, unsigned long after)
{
    char line[80];
    int  n = snprintf(line, sizeof line, "%s %s %lu", name, what, after);

    if (send(d->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
        drill_close(d); /* nobody to tell */
}

static void begin(struct drill *d, const char *order, uint64_t now_ns)
{
    char   name[16] = "";
    double seconds  = 0;

    for (int k = DRILL_NONE + 1; k < DRILL_KINDS; k++) {
        if (sscanf(order, "%15s %lf", name, &seconds) != 2 || strcmp(name, names[k]) != 0 ||
            !(seconds > 0 && seconds <= 3600))
            continue;
        if (!d->torque) {
            reply(d, name, "idle", 0);
            return;
        }
        d->kind     = (enum drill_kind)k;
        d->until_ns = now_ns + (uint64_t)(seconds * 1e9);
        d->due_ns   = k == DRILL_SILENCE ? d->sent_ns : 0;
        d->states   = 0;
        d->after    = 0;
        return;
    }
    reply(d, name[0] ? name : "?", "unknown", 0);
}

void drill_orders(struct drill *d, uint64_t now_ns)
{
    char order[80];

    if (d->kind != DRILL_NONE && now_ns > d->until_ns) {
        reply(d, names[d->kind], "never", d->after);
        d->kind = DRILL_NONE;
    }
    if (d->fd < 0 || d->kind != DRILL_NONE)
        return;
    ssize_t n = recv(d->fd, order, sizeof order - 1, MSG_DONTWAIT);
    if (n > 0) {
        order[n] = 0;
        begin(d, order, now_ns);
    } else if (n == 0 || errno != EAGAIN) {
        drill_close(d);
    }
}

bool drill_pressed(const struct drill *d)
{
    return d->kind == DRILL_ESTOP;
}

/* A joint that has limits far beyond them; where none has, the first one further than it can have gone. */
static void put_outside(const struct hello *h, struct joint_state *s)
{
    for (int j = 0; j < h->nj; j++) {
        double low = h->joint[j].position_min, high = h->joint[j].position_max;

        if (isfinite(low) && isfinite(high)) {
            s->position[j] = high + 10 * (high - low) + 1;
            return;
        }
    }
    s->position[0] += 1e6;
}

bool drill_state(struct drill *d, const struct hello *h, struct joint_state *s, uint64_t now_ns)
{
    if (d->kind == DRILL_SILENCE)
        return true;
    d->sent_ns = now_ns;
    if (d->kind == DRILL_NONE)
        return false;
    if (d->kind == DRILL_FAULT)
        s->faults |= FAULT_BIT;
    for (int j = 0; j < s->nj && d->kind == DRILL_NAN; j++)
        s->velocity[j] = (double)NAN;
    if (d->kind == DRILL_OUTSIDE)
        put_outside(h, s);
    if (d->states++ == 0)
        d->first_seq = s->seq;
    bool said = d->kind == DRILL_ESTOP || d->kind == DRILL_FAULT;
    if (d->states == (said ? 1 : BAD_STATES))
        d->due_ns = now_ns;
    return false;
}

void drill_command(struct drill *d, const struct joint_command *c, uint64_t now_ns)
{
    char ms[32];

    d->torque = c->mode == COMMAND_TORQUE;
    if (d->kind == DRILL_NONE)
        return;
    if (d->torque) {
        d->after += d->states > 0 && c->state_seq >= d->first_seq;
        return;
    }
    if (!d->states && d->kind != DRILL_SILENCE) { /* it stopped by itself, before the fault was there */
        reply(d, names[d->kind], "idle", 0);
    } else { /* a robot that stops before it has to is not late */
        snprintf(ms, sizeof ms, "%.4f", d->due_ns ? (double)(int64_t)(now_ns - d->due_ns) * 1e-6 : 0.0);
        reply(d, names[d->kind], ms, d->after);
    }
    d->kind = DRILL_NONE;
}
