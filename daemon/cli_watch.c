/* cli_watch.c - see cli_watch.h. */
#include "daemon/cli_watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli_json.h"
#include "daemon/cli_view.h"
#include "daemon/rt/clock.h"

static const double LOOK_S = 0.2, HEARTBEAT_S = 9;

static void one_line(struct screen *out, const struct session *s, const struct watch *w)
{
    struct screen waiting = { 0 };

    if (s->phase != PHASE_ARMED) {
        session_waiting(s, &waiting);
        if (waiting.text)
            waiting.text[strcspn(waiting.text, "\n")] = 0;
        screen_line(out, "%s: %s", w->label, waiting.text ? waiting.text : "");
        screen_free(&waiting);
    } else if (w->armed_s > 0) {
        screen_line(out, "%s: %3.0f %% of %.3g min  ticks %ld  misses %ld  loop p99 %.0f us  trial %ld", w->label,
                    100 * session_armed_s(s) / w->armed_s, w->armed_s / 60, js_int(s->status, "control.ticks"),
                    js_int(s->status, "control.misses"), js_num(s->status, "control.loop_us.p99"),
                    js_int(s->status, "trials.number"));
    } else {
        char best[32] = "-";

        if (isfinite(s->best))
            snprintf(best, sizeof best, "%.1f", s->best);
        screen_line(out, "%s: trial %ld of %ld  step %ld/%ld  best %s  misses %ld", w->label,
                    js_int(s->status, "trials.number"), js_int(s->status, "trials.count"),
                    js_int(s->status, "trials.step"), js_int(s->status, "trials.steps"), best,
                    js_int(s->status, "control.misses"));
    }
}

static void draw(const struct session *s, struct terminal *t, const struct watch *w)
{
    struct screen out = { .width = t->width, .colour = t->colour };

    if (w->label)
        one_line(&out, s, w);
    else if (s->phase != PHASE_ARMED)
        session_waiting(s, &out);
    else
        view_live(&out, s->status);
    if (!w->label && w->footer)
        screen_line(&out, DIM "%s", w->footer);
    terminal_draw(t, &out);
    screen_free(&out);
}

/* Plain lines: what is waited for whenever that changes, trials as they finish, a sign of life now and then. */
struct plain {
    char    *waiting; /* last said, malloced */
    uint64_t said_ns;
};

static void say(struct plain *p, struct screen *out)
{
    if (out->text && out->len) {
        fputs(out->text, stdout);
        fflush(stdout);
        p->said_ns = clock_now_ns();
    }
    screen_free(out);
}

static void plain(struct plain *p, struct session *s, const struct watch *w)
{
    struct screen out = { 0 };
    const json_t *trial;

    while ((trial = session_next_trial(s)))
        if (!w->label)
            view_trial_line(&out, s->status, trial, s->best);
    if (s->phase != PHASE_ARMED && !w->label) {
        session_waiting(s, &out);
        if (p->waiting && out.text && !strcmp(p->waiting, out.text)) {
            screen_clear(&out);
        } else {
            free(p->waiting);
            p->waiting = out.text ? strdup(out.text) : NULL;
        }
    }
    if (!out.len && 1e-9 * (double)(clock_now_ns() - p->said_ns) > HEARTBEAT_S) {
        if (w->label)
            one_line(&out, s, w);
        else if (s->phase == PHASE_ARMED)
            view_heartbeat(&out, s->status);
        else
            session_waiting(s, &out);
    }
    say(p, &out);
}

enum session_end watch_session(struct session *s, struct terminal *t, const struct watch *w)
{
    struct plain     p   = { .said_ns = clock_now_ns() };
    enum session_end end = END_NOT_YET;

    while (end == END_NOT_YET) {
        if (t->tty)
            draw(s, t, w);
        end = session_step(s, t, LOOK_S);
        if (!t->tty)
            plain(&p, s, w);
        else
            while (session_next_trial(s))
                ;
        if (end == END_NOT_YET && w->armed_s > 0 && session_armed_s(s) >= w->armed_s)
            end = END_ENOUGH;
    }
    if (t->tty && w->label)
        terminal_erase(t);
    else if (t->tty)
        draw(s, t, w);
    terminal_keep(t);
    free(p.waiting);
    return end;
}
