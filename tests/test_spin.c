/* test_spin.c - the model of tests/spin and the C code are the same machine: equal tables, and what the model does at
 * random the code does as well. */
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/clock.h"
#include "firmware-bridge/receiver.h"
#include "tests/spin/tables.h"
#include "tests/spin/walk.h"
#include "tests/test.h"

/* As in limber.pml. */
enum { PRESS = 1, RELEASE, WELCOME = 6, PLACED = 8 };
enum { CURRENT = 1, OLDER = 0, SAME = 1, NEWER = 2, FT = 2 };

enum { TICK_MS = 10 };

/* One cell of the daemon's table changed. */
static enum mode       odd_from;
static enum mode_event odd_event;

static enum mode odd_next(enum mode m, enum mode_event e)
{
    enum mode to = mode_next(m, e);

    return m == odd_from && e == odd_event ? (enum mode)((to + 1) % MODE_COUNT) : to;
}

/* Is tables.pml what `next` would print? */
static bool tables_agree(enum mode (*next)(enum mode m, enum mode_event e))
{
    char  *text = NULL, file[600], read[16384];
    size_t size = 0;
    FILE  *f    = open_memstream(&text, &size);

    tables_print(f, next);
    fclose(f);
    snprintf(file, sizeof file, "%s/../tests/spin/tables.pml", test_build_dir());
    f           = fopen(file, "re");
    size_t n    = f ? fread(read, 1, sizeof read, f) : 0;
    bool   same = n == size && memcmp(read, text, n) == 0;
    if (f)
        fclose(f);
    free(text);
    return same;
}

TEST(the_model_has_the_tables_of_the_code)
{
    EXPECT(tables_agree(mode_next));
    for (int m = 0; m < MODE_COUNT; m++) {
        for (int e = 0; e < EVENT_COUNT; e++) {
            odd_from = (enum mode)m, odd_event = (enum mode_event)e;
            EXPECT(!tables_agree(odd_next));
        }
    }
}

/* ---- replay ---------------------------------------------------------------------------------------------------- */

struct replay {
    enum mode (*next)(enum mode m, enum mode_event e);
    struct receiver r;
    uint64_t        now_ns, session, state_seq;
    long            ticks, differences, live, latched;
    bool            cell[MODE_COUNT][EVENT_COUNT]; /* seen */
};

static void replay_begin(struct replay *p)
{
    struct receiver_limits l = {
        .nj = 1, .actuated = { true }, .effort_max = { 10 }, .damp_kd = { 2 }, .command_timeout_ms = FT * TICK_MS
    };

    receiver_unlimited(&l);
    receiver_init(&p->r, &l);
    p->now_ns  = NS_PER_S;
    p->session = 0;
}

static void physics(struct replay *p, int what)
{
    p->now_ns += TICK_MS * NS_PER_MS;
    if (what == PRESS || what == RELEASE)
        receiver_estop(&p->r, what == PRESS);
    else if (what == WELCOME)
        receiver_session(&p->r, ++p->session);
    else if (what == PLACED)
        receiver_forget_command(&p->r);
    receiver_state_sent(&p->r, ++p->state_seq, p->now_ns);
}

/* kind + 1, session, seq relative to the last accepted one, ticks since the state it answers, spoilt on the way */
static void deliver(struct replay *p, int kind, int session, int rank, int age, int bad)
{
    struct joint_command c      = { .session   = session == CURRENT ? p->session : p->session - 1,
                                    .seq       = p->r.seq,
                                    .state_seq = age < FT ? p->state_seq - (uint64_t)age : 0,
                                    .valid_ms  = 1000,
                                    .mode      = (enum command_mode)(kind - 1),
                                    .nj        = 1,
                                    .torque    = { bad ? (double)NAN : 3 } };
    uint64_t             before = 0, after = 0;

    if (rank == NEWER)
        c.seq++;
    else if (rank == OLDER && c.seq)
        c.seq--;
    for (int i = 0; i <= RECEIVER_STALE; i++)
        before += p->r.count[i];
    receiver_command(&p->r, &c, p->now_ns);
    for (int i = 0; i <= RECEIVER_STALE; i++)
        after += p->r.count[i];
    p->differences += after != before + 1; /* every command is accepted or refused, and counted once */
}

static void tick_ends(struct replay *p, int mode, int estop_latch)
{
    const double still = 0, moving = 1;
    double       tau;

    receiver_effort(&p->r, &still, &moving, p->now_ns, &tau);
    p->ticks++;
    p->live += mode == RECEIVER_LIVE;
    p->latched += mode == RECEIVER_LATCH;
    p->differences += (int)p->r.mode != mode || p->r.estop_latch != estop_latch;
    p->differences += tau != (mode == RECEIVER_LIVE ? 3 : mode == RECEIVER_OFF || estop_latch ? 0 : -2);
}

static void replay_line(struct replay *p, const char *line)
{
    int a, b, c, d, e, link, f, latch;

    if (sscanf(line, "e %d %d %d", &a, &b, &c) == 3) {
        p->cell[a][b] = true;
        p->differences += (int)p->next((enum mode)a, (enum mode_event)b) != c;
    } else if (sscanf(line, "p %d", &a) == 1) {
        physics(p, a);
    } else if (sscanf(line, "t %d %d %d %d %d %d %d %d", &a, &b, &c, &d, &e, &link, &f, &latch) == 8) {
        if (a)
            deliver(p, a, b, c, d, e);
        tick_ends(p, f, latch);
    } else if (line[0] == 'w') {
        replay_begin(p); /* a new walk */
    }
}

static void replay(struct replay *p, enum mode (*next)(enum mode m, enum mode_event e), const char *text)
{
    memset(p, 0, sizeof *p);
    p->next = next;
    while (*text) {
        const char *end = strchr(text, '\n');
        char        line[80];

        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        replay_line(p, line);
        text = end + 1;
    }
}

TEST(random_walks_of_the_model_are_walked_by_the_code)
{
    static struct replay p;
    int                  n = test_rounds(10, 100);

    for (int seed = 1; seed <= n; seed += 10) {
        char *text = spin_walks("BOTH", seed, 10);

        replay(&p, mode_next, text);
        free(text);
        EXPECT(p.differences == 0);
        EXPECT(p.ticks >= 99990);
        EXPECT(p.live > 500 && p.latched > 5000); /* or it would prove nothing */
    }
}

TEST(a_changed_cell_of_the_mode_table_shows_in_a_walk)
{
    static struct replay p, odd;
    char                *text = spin_walks("BOTH", 1, 1);
    int                  seen = 0;

    replay(&p, mode_next, text);
    EXPECT(p.differences == 0);
    for (int m = 0; m < MODE_COUNT; m++) {
        for (int e = 0; e < EVENT_COUNT; e++) {
            odd_from = (enum mode)m, odd_event = (enum mode_event)e;
            replay(&odd, odd_next, text);
            EXPECT((odd.differences > 0) == p.cell[m][e]);
            seen += p.cell[m][e];
        }
    }
    free(text);
    EXPECT(seen >= 10);
}
