/* faulty.c - see faulty.h. */
#include "firmware-bridge/faulty.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "daemon/rt/rng.h"

/* ---- words ---- */

enum needs { NOTHING = 0, SHARE = 1, MILLISECONDS = 2, NUMBER = 4, JOINT = 8, FACTOR = 16 };

static const struct word {
    const char      *name;
    enum faulty_kind kind;
    bool             out;
    int              needs;
} words[] = {
    { "lose-states", FAULTY_LOSE, true, SHARE },        { "lose-commands", FAULTY_LOSE, false, SHARE },
    { "double-states", FAULTY_DOUBLE, true, SHARE },    { "double-commands", FAULTY_DOUBLE, false, SHARE },
    { "damage-states", FAULTY_DAMAGE, true, SHARE },    { "damage-commands", FAULTY_DAMAGE, false, SHARE },
    { "delay-states", FAULTY_DELAY, true, MILLISECONDS }, { "delay-commands", FAULTY_DELAY, false, MILLISECONDS },
    { "silent", FAULTY_SILENT, false, NOTHING },        { "frozen", FAULTY_FROZEN, false, NOTHING },
    { "restart", FAULTY_RESTART, false, NOTHING },      { "stuck", FAULTY_STUCK, true, JOINT },
    { "nan", FAULTY_NAN, true, JOINT },                 { "offset", FAULTY_OFFSET, true, NUMBER | JOINT },
    { "weak", FAULTY_WEAK, true, SHARE | JOINT },       { "heavy", FAULTY_HEAVY, true, FACTOR },
    { "clips", FAULTY_CLIPS, true, SHARE | JOINT },
    { "estop", FAULTY_ESTOP, true, NOTHING },           { "fault", FAULTY_FAULT, true, NOTHING },
};

static bool refuse(char *why, size_t size, const char *text, const char *expected)
{
    snprintf(why, size, "--fault %.80s: expected %s", text, expected);
    return false;
}

/* A number in low .. high at *at, which moves behind it. */
static bool number(const char **at, double low, double high, double *out)
{
    char *end;

    *out = strtod(*at, &end);
    if (end == *at || !(*out >= low && *out <= high))
        return false;
    *at = end;
    return true;
}

bool faulty_add(struct faulty *f, const char *text, char *why, size_t why_size)
{
    size_t             n    = strcspn(text, "=:@");
    const char        *at   = text + n;
    const struct word *word = NULL;
    struct faulty_item item = { .for_s = (double)INFINITY };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].name) == n && !strncmp(words[i].name, text, n))
            word = &words[i];
    if (!word)
        return refuse(why, why_size, text, "WHAT[=VALUE][:JOINT][@FROM[+FOR]], WHAT as in limber-bridge --help");
    if (f->n == FAULTS_MAX)
        return refuse(why, why_size, text, "at most 16 faults");
    item.kind = word->kind;
    item.out  = word->out;
    bool wants = word->needs & (SHARE | MILLISECONDS | NUMBER | FACTOR);

    if (wants != (*at == '='))
        return refuse(why, why_size, text, wants ? "=VALUE" : "no value");
    double low  = word->needs & NUMBER ? -1e6 : word->needs & FACTOR ? 0.01 : 0;
    double high = word->needs & SHARE ? 1 : word->needs & FACTOR ? 100 : 1e6;
    if (wants && (at++, !number(&at, low, high, &item.value)))
        return refuse(why, why_size, text,
                      word->needs & SHARE    ? "a probability or a share, 0 to 1"
                      : word->needs & FACTOR ? "a factor, 0.01 to 100"
                                             : "a number");
    if (!(word->needs & JOINT) != (*at != ':'))
        return refuse(why, why_size, text, word->needs & JOINT ? ":JOINT" : "no joint");
    if (*at == ':') {
        n = strcspn(at + 1, "@");
        snprintf(item.joint, sizeof item.joint, "%.*s", (int)(n < NAME_SIZE ? n : NAME_SIZE - 1), at + 1);
        at += 1 + n;
    }
    if (*at == '@' && (at++, !number(&at, 0, 1e6, &item.from_s)))
        return refuse(why, why_size, text, "@SECONDS");
    if (*at == '+' && (at++, !number(&at, 0, 1e6, &item.for_s)))
        return refuse(why, why_size, text, "+SECONDS");
    if (*at)
        return refuse(why, why_size, text, "nothing after that");
    f->item[f->n++] = item;
    return true;
}

bool faulty_begin(struct faulty *f, const struct hello *h, uint64_t seed, char *why, size_t why_size)
{
    f->seed = seed;
    for (int i = 0; i < f->n; i++) {
        struct faulty_item *k = &f->item[i];

        k->index = -1;
        for (int j = 0; j < h->nj; j++)
            if (!strcmp(h->joint[j].name, k->joint))
                k->index = j;
        if (k->joint[0] && k->index < 0) {
            snprintf(why, why_size, "--fault: \"%s\" is no joint of this robot", k->joint);
            return false;
        }
    }
    return true;
}

void faulty_session(struct faulty *f, uint64_t now_ns)
{
    if (!f->session_ns) /* the first one: a fault that ends a session does not begin again */
        f->session_ns = now_ns;
}

/* ---- when ---- */

static bool now(const struct faulty *f, const struct faulty_item *k, uint64_t now_ns)
{
    double s = (double)(now_ns - f->session_ns) * 1e-9;

    return f->session_ns && s >= k->from_s && s < k->from_s + k->for_s;
}

static const struct faulty_item *active(const struct faulty *f, enum faulty_kind kind, bool out, uint64_t now_ns)
{
    for (int i = 0; i < f->n; i++)
        if (f->item[i].kind == kind && f->item[i].out == out && now(f, &f->item[i], now_ns))
            return &f->item[i];
    return NULL;
}

/* Uniform in [0, 1). */
static double draw(struct faulty *f)
{
    return (double)(rng_derive(f->seed, 0xfa17, ++f->draws) >> 11) * 0x1p-53;
}

static bool by_chance(struct faulty *f, enum faulty_kind kind, bool out, uint64_t now_ns)
{
    const struct faulty_item *k = active(f, kind, out, now_ns);

    return k && draw(f) < k->value;
}

bool faulty_happens(struct faulty *f, enum faulty_kind kind, uint64_t now_ns, double *for_s)
{
    for (int i = 0; i < f->n; i++) {
        struct faulty_item *k = &f->item[i];

        if (k->kind == kind && !k->done && now(f, k, now_ns)) {
            k->done = true;
            *for_s  = isfinite(k->for_s) ? k->for_s : 1;
            return true;
        }
    }
    return false;
}

double faulty_mass(const struct faulty *f, uint64_t now_ns)
{
    const struct faulty_item *k = active(f, FAULTY_HEAVY, true, now_ns);

    return k ? k->value : 1;
}

static double share_of(const struct faulty *f, enum faulty_kind kind, int j, uint64_t now_ns)
{
    for (int i = 0; i < f->n; i++)
        if (f->item[i].kind == kind && f->item[i].index == j && now(f, &f->item[i], now_ns))
            return f->item[i].value;
    return 1;
}

double faulty_share(const struct faulty *f, int j, uint64_t now_ns)
{
    return share_of(f, FAULTY_WEAK, j, now_ns);
}

double faulty_clips(const struct faulty *f, int j, uint64_t now_ns)
{
    return share_of(f, FAULTY_CLIPS, j, now_ns);
}

bool faulty_estop(const struct faulty *f, uint64_t now_ns)
{
    return active(f, FAULTY_ESTOP, true, now_ns);
}

/* ---- the link ---- */

static void hold(struct faulty_queue *q, const uint8_t *bytes, size_t len, uint64_t due_ns)
{
    if (q->n == FAULTY_HELD || len > FAULTY_BYTES)
        return;
    q->due_ns[q->n] = due_ns;
    q->len[q->n]    = len;
    memcpy(q->bytes[q->n++], bytes, len);
}

static void first_leaves(struct faulty_queue *q)
{
    q->n--;
    memmove(&q->due_ns[0], &q->due_ns[1], sizeof q->due_ns[0] * (size_t)q->n);
    memmove(&q->len[0], &q->len[1], sizeof q->len[0] * (size_t)q->n);
    memmove(q->bytes[0], q->bytes[1], sizeof q->bytes[0] * (size_t)q->n);
}

/* One message meets its fate: into the queue never, once or twice, perhaps with a bit flipped. */
static void meet(struct faulty *f, struct faulty_queue *q, bool out, uint8_t *bytes, size_t len, uint64_t now_ns)
{
    const struct faulty_item *delay = active(f, FAULTY_DELAY, out, now_ns);
    uint64_t                  due   = now_ns + (delay ? (uint64_t)(delay->value * 1e6) : 0);

    if (active(f, FAULTY_SILENT, false, now_ns) || by_chance(f, FAULTY_LOSE, out, now_ns))
        return;
    if (len && by_chance(f, FAULTY_DAMAGE, out, now_ns))
        bytes[(size_t)(draw(f) * (double)len)] ^= (uint8_t)(1 << (int)(draw(f) * 8));
    hold(q, bytes, len, due);
    if (by_chance(f, FAULTY_DOUBLE, out, now_ns))
        hold(q, bytes, len, due);
}

static void flush(struct faulty *f, struct port *p, uint64_t now_ns)
{
    while (f->out.n && f->out.due_ns[0] <= now_ns) {
        port_send(p, NULL, 0, f->out.bytes[0], f->out.len[0]);
        first_leaves(&f->out);
    }
}

bool faulty_send(struct faulty *f, struct port *p, const uint8_t *bytes, size_t len, bool is_state, uint64_t now_ns)
{
    uint8_t copy[FAULTY_BYTES];

    if (!is_state)
        return !active(f, FAULTY_SILENT, false, now_ns) && port_send(p, NULL, 0, bytes, len);
    if (len > sizeof copy)
        return false;
    memcpy(copy, bytes, len);
    meet(f, &f->out, true, copy, len, now_ns);
    flush(f, p, now_ns);
    return true;
}

long faulty_receive(struct faulty *f, struct port *p, uint8_t *bytes, size_t size, uint64_t now_ns)
{
    long n;

    flush(f, p, now_ns);
    while ((n = port_receive(p, NULL, NULL, bytes, size)) >= 0)
        if ((size_t)n <= size)
            meet(f, &f->in, false, bytes, (size_t)n, now_ns);
    if (!f->in.n || f->in.due_ns[0] > now_ns)
        return -1;
    n = (long)f->in.len[0];
    memcpy(bytes, f->in.bytes[0], f->in.len[0]);
    first_leaves(&f->in);
    return n;
}

bool faulty_holds(const struct faulty *f)
{
    return f->out.n || f->in.n;
}

/* ---- the robot ---- */

void faulty_state(struct faulty *f, struct joint_state *s, uint64_t now_ns)
{
    bool stuck = active(f, FAULTY_STUCK, true, now_ns);

    if (!stuck)
        f->frozen_state = *s;
    for (int i = 0; i < f->n; i++) {
        const struct faulty_item *k = &f->item[i];
        int                       j = k->index;

        if (!now(f, k, now_ns))
            continue;
        if (k->kind == FAULTY_STUCK)
            s->position[j] = f->frozen_state.position[j], s->velocity[j] = f->frozen_state.velocity[j];
        if (k->kind == FAULTY_NAN)
            s->velocity[j] = (double)NAN;
        if (k->kind == FAULTY_OFFSET)
            s->position[j] += k->value;
        if (k->kind == FAULTY_FAULT)
            s->faults |= ROBOT_FAULT_ON_PURPOSE;
    }
}
