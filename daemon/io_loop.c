/* io_loop.c - the robot's socket alone: decode, hand on the newest state; encode the newest command. */
#include <stdio.h>
#include <string.h>

#include "daemon/loops.h"

enum { DRAIN_MAX = 64, WAIT_MS = 100 };

/* One thread, one port: its buffers are its own. */
struct io {
    struct shared        *s;
    struct port          *port;
    struct codec_scratch  scratch;
    struct session_result result;
    uint8_t               in[CODEC_MAX_BYTES + 64], out[CODEC_MAX_BYTES];
    uint64_t              received_seq, received_ns; /* newest state handed on, for the loop time */
    uint64_t              sent_session, sent_seq;    /* newest command sent                       */
    char                  said[240];                 /* trouble reported last ...                 */
    uint64_t              said_ns;                   /* ... and when                              */
};

static struct link_note *note_claim(struct shared *s, enum link_note_kind kind)
{
    uint64_t slot;

    if (!ring_claim(&s->link_ring, &slot))
        return NULL;
    memset(&s->link_note[slot], 0, sizeof s->link_note[slot]);
    s->link_note[slot].kind    = kind;
    s->link_note[slot].session = s->session.id;
    return &s->link_note[slot];
}

static void tell_main(struct io *io)
{
    struct shared               *s = io->s;
    const struct session_result *r = &io->result;
    struct link_note            *n;

    if (r->opened && (n = note_claim(s, LINK_OPENED))) {
        n->hello = s->session.hello;
        ring_push(&s->link_ring);
    }
    if (r->has_event && (n = note_claim(s, LINK_TRIAL_EVENT))) {
        n->event = r->event;
        ring_push(&s->link_ring);
    }
    /* At most one sentence a second: whoever sends trouble must not fill the journal, nor push out other notes. */
    uint64_t now = clock_now_ns();
    if (strcmp(io->said, s->session.last_trouble) != 0 && now - io->said_ns > NS_PER_S &&
        (n = note_claim(s, LINK_TROUBLE))) {
        io->said_ns = now;
        snprintf(io->said, sizeof io->said, "%s", s->session.last_trouble);
        snprintf(n->text, sizeof n->text, "%s", io->said);
        ring_push(&s->link_ring);
    }
}

/* All that waits, newest state last; at most DRAIN_MAX messages before commands get their turn. */
static void receive(struct io *io)
{
    struct shared *s = io->s;
    uint8_t        peer[PEER_ID_SIZE];
    size_t         peer_len;
    long           len;
    bool           any = false;

    for (int i = 0; i < DRAIN_MAX && (len = port_receive(io->port, peer, &peer_len, io->in, sizeof io->in)) >= 0; i++) {
        struct session_result *r   = &io->result;
        uint64_t               now = clock_now_ns();

        session_receive(&s->session, peer, peer_len, io->in, (size_t)len, now, &io->scratch, r);
        if (r->has_reply)
            port_send(io->port, peer, peer_len, io->out, codec_pack(&r->reply, io->out));
        if (r->opened)
            atomic_store(&s->lockstep, s->session.lockstep);
        if (r->degraded)
            atomic_store(&s->link_damaged, true);
        if (r->has_event && r->event.kind == TRIAL_ABORTED)
            atomic_store(&s->aborted_trial, (int64_t)r->event.trial);
        if (r->has_state) {
            /* A newer state may overtake this one on its way to control; these two must not be lost. */
            if (r->state.estop)
                atomic_store(&s->estop_seen, true);
            if (r->state.faults)
                atomic_store(&s->fault_seen, true);
            s->state[s->state_handoff.write] = r->state;
            handoff_publish(&s->state_handoff);
            io->received_seq = r->state.seq;
            io->received_ns  = r->state.received_ns;
            any              = true;
        }
        tell_main(io);
        atomic_store_explicit(&s->last_heard_ns, s->session.last_heard_ns, memory_order_relaxed);
    }
    if (any)
        rt_signal_raise(&s->state_signal);
}

static void send_message(struct io *io, const struct message *m)
{
    port_send(io->port, io->s->session.peer, io->s->session.peer_len, io->out, codec_pack(m, io->out));
}

static void send_all(struct io *io)
{
    struct shared *s = io->s;
    struct message m;
    uint64_t       slot;
    bool           fresh;

    while (ring_peek(&s->trial_request_ring, &slot)) {
        m.kind          = MESSAGE_TRIAL_REQUEST;
        m.trial_request = s->trial_request[slot];
        ring_pop(&s->trial_request_ring);
        if (m.trial_request.session == s->session.id)
            send_message(io, &m);
    }
    uint32_t c = handoff_latest(&s->command_handoff, &fresh);
    if (!fresh || s->command[c].session != s->session.id || !s->session.id)
        return;
    m.kind    = MESSAGE_COMMAND;
    m.command = s->command[c];
    send_message(io, &m);
    uint64_t now = clock_now_ns();
    if (m.command.state_seq == io->received_seq)
        hist_add(&s->loop, now - io->received_ns);
    bool     same    = m.command.session == io->sent_session;
    uint64_t skipped = same && m.command.seq > io->sent_seq ? m.command.seq - io->sent_seq - 1 : 0;
    io->sent_session = m.command.session;
    io->sent_seq     = m.command.seq;
    if (now > s->command_due_ns[c] || skipped) { /* late, or overtaken by its successor and never sent */
        atomic_fetch_add(&s->misses, (now > s->command_due_ns[c]) + skipped);
        atomic_store(&s->last_miss_ns, now);
    }
}

void *io_loop_run(void *arg)
{
    const struct io_loop *loop = arg;
    struct io            *io   = calloc(1, sizeof *io);

    NEED(io);
    io->s    = loop->s;
    io->port = loop->port;
    rt_thread_begins(io->s, THREAD_IO);
    while (!atomic_load(&io->s->stop_threads)) {
        port_wait(io->port, io->s->io_wake_fd, WAIT_MS);
        receive(io);
        send_all(io);
    }
    free(io);
    return NULL;
}
