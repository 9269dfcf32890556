#include "daemon/experiment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rt/clock.h"

#define OWN_OPERATION (1ull << 63)

enum { LOST_IN_A_ROW = 3 };

static double now_s(void)
{
    return (double)clock_now_ns() * 1e-9;
}

void experiment_wait(struct experiment *e)
{
    if (learner_busy(e->learner))
        e->waiting_since_s = now_s();
}

/* ---- history ---- */

/* The store keeps it as the trial's reason. */
#define MISSING_STEPS "%d steps not stored"

int experiment_missing(const struct trial_row *t)
{
    int n;

    return strcmp(t->status, "finished") == 0 && sscanf(t->reason, MISSING_STEPS, &n) == 1 ? n : 0;
}

/* Returns of different tasks do not compare.  Stores of before trials had a task name none. */
static bool same_task(const struct experiment *e, const struct trial_row *t)
{
    return !*t->task || strcmp(t->task, e->config->task.name) == 0;
}

static void remember(struct experiment *e, const struct trial_row *t)
{
    bool finished = strcmp(t->status, "finished") == 0;

    if (e->nhistory == HISTORY_MAX) {
        memmove(e->history, e->history + 1, sizeof *e->history * (HISTORY_MAX - 1));
        e->nhistory--;
    }
    e->history[e->nhistory++] = *t;
    if (finished && strcmp(t->kind, "planned") == 0 && same_task(e, t) && !experiment_missing(t) &&
        !(e->best >= t->ret))
        e->best = t->ret;
    if (finished && t->number >= e->next_number)
        e->next_number = t->number + 1;
}

static bool take_row(void *ctx, const struct trial_row *t)
{
    struct experiment *e = ctx;

    remember(e, t);
    e->next_id = t->id >= e->next_id ? t->id + 1 : e->next_id;
    return true;
}

int experiment_start(struct experiment *e)
{
    e->best    = (double)NAN;
    e->next_id = 1;
    e->history = calloc(HISTORY_MAX, sizeof *e->history);
    NEED(e->history);
    int aborted = store_recover(e->store);
    if (aborted < 0 || store_trials(e->store, take_row, e) < 0)
        return -1;
    if (aborted)
        journal_say(e->journal, "store", "%d trial(s) were running when the daemon last ended: aborted", aborted);
    return 0;
}

/* ---- what the control thread reports ---- */

static void begin(struct experiment *e, const struct notice *n)
{
    memset(&e->row, 0, sizeof e->row);
    snprintf(e->row.kind, sizeof e->row.kind, "%s", n->trial_kind == TRIAL_RANDOM ? "random" : "planned");
    snprintf(e->row.status, sizeof e->row.status, "running");
    snprintf(e->row.task, sizeof e->row.task, "%s", e->config->task.name);
    e->row.number           = n->trial;
    e->row.seed             = e->seed;
    e->row.reported_return  = (double)NAN;
    e->row.prequential_rmse = (double)NAN;
    e->row.started          = unix_now();
    trial_data_clear(&e->data);
    e->open           = true;
    e->ending         = false;
    e->start_sent     = false;
    e->reported       = (double)NAN;
    e->journal->trial = (int64_t)n->trial;
    e->row.id         = e->next_id++;
    e->stored         = disk_trial_begin(e->journal->disk, &e->row);
    if (!e->stored) {
        e->row.id = 0; /* there is no row */
        journal_full(e->journal, "beginning a trial");
    }
}

void experiment_transition(struct experiment *e, const struct transition *t)
{
    if (!e->open || !e->stored || t->trial != e->row.number)
        return;
    if (!disk_transition(e->journal->disk, e->row.id, t)) {
        journal_full(e->journal, "storing a transition");
        e->stored = false;
        return;
    }
    e->row.ret += task_reward(&e->config->task, t->x, t->a, e->config->na, t->y);
    e->row.steps++;
    if (t->model_version) {
        e->row.model_first = e->row.model_first ? e->row.model_first : t->model_version;
        e->row.model_last  = t->model_version;
    }
    if (!trial_data_add(&e->data, &e->learner->dims, t) && !e->unremembered++)
        journal_say(e->journal, "memory", "none for a transition: models are judged on fewer until there is; it is in the store");
}

static void update(struct experiment *e, const struct trial_row *t, const char *what)
{
    if (t->id && !disk_trial_update(e->journal->disk, t))
        journal_full(e->journal, what);
}

/* Random trials done. */
static int randoms(const struct experiment *e)
{
    int n = 0;

    for (int i = 0; i < e->nhistory; i++)
        n += e->history[i].number == 0 && strcmp(e->history[i].status, "finished") == 0;
    return n;
}

/* The task ended the trial: which bound was left. */
static void ended(struct experiment *e, const struct notice *n)
{
    const struct task_end *end = &e->config->task.end[n->ended - 1];

    snprintf(e->row.reason, sizeof e->row.reason, "ended: %s %.4g outside [%.4g, %.4g] at step %u",
             e->config->observation[end->obs].name, (double)n->value, end->low, end->high, n->step);
}

static void finished(struct experiment *e, const struct notice *n)
{
    bool random = strcmp(e->row.kind, "random") == 0;
    bool learn  = random ? randoms(e) + 1 >= e->config->trials.random : e->config->aggregate;

    int missing = (int)n->step - e->row.steps;

    if (n->ended)
        ended(e, n);
    if (missing)
        snprintf(e->row.reason, sizeof e->row.reason, MISSING_STEPS, missing);
    journal_say(e->journal, "trial", "trial %u (%s) finished: return %.2f%s%s", n->trial, e->row.kind, e->row.ret,
                missing          ? ", does not count: "
                : *e->row.reason ? ", "
                                 : "",
                e->row.reason);
    if (e->row.id) /* nothing was stored without one */
        learner_trial(e->learner, &e->row, &e->data, learn);
    e->waiting_since_s = now_s();
}

/* Gates that take the plan away in trial after trial say that the model does not fit the robot, and little is learned of a
 * robot that is not let fly: a person should know (docs/uncertainty.md). */
static void count_lost(struct experiment *e, const struct notice *n)
{
    bool grounded = n->ok && !e->row.model_last; /* no plan flew at all */

    if (n->trial_kind != TRIAL_PLANNED || !e->stored)
        return;
    if (n->trips || grounded)
        e->lost_in_a_row++;
    else if (n->ok)
        e->lost_in_a_row = 0;
    else
        return; /* somebody or something else ended it */
    if (e->lost_in_a_row == LOST_IN_A_ROW)
        journal_say(e->journal, "gate",
                    "%d planned trials in a row lost their plan to a gate: is this still the robot that was learned?  If it has "
                    "changed for good, stop limberd and move its store and models away (paths.store): learning anew is quicker",
                    LOST_IN_A_ROW);
}

/* All of the trial is on disk, where the trainer reads it, or lost. */
static void settle(struct experiment *e)
{
    const struct notice *n = &e->ended;

    snprintf(e->row.status, sizeof e->row.status, "%s", n->ok ? "finished" : "aborted");
    snprintf(e->row.reason, sizeof e->row.reason, "%s", n->text);
    if (n->trips)
        journal_say(e->journal, "gate", "%d gate trip%s in trial %u", n->trips, n->trips > 1 ? "s" : "", n->trial);
    if (n->ok)
        finished(e, n);
    else
        journal_say(e->journal, "trial", "trial %u (%s) aborted at step %u: %s", n->trial, e->row.kind, n->step, n->text);
    count_lost(e, n);
    e->open = e->ending = false;
    update(e, &e->row, "ending a trial");
    remember(e, &e->row);
    e->journal->trial = -1;
    if (isfinite(e->reported))
        experiment_reported_return(e, &(struct trial_event){ .trial = n->trial, .has_return = true, .reported_return = e->reported });
    e->ending_place = disk_line(e->journal->disk);
}

static void end(struct experiment *e, const struct notice *n)
{
    if (!e->open) { /* aborted before it began */
        e->start_sent = false;
        journal_say(e->journal, "trial", "trial %u did not begin: %s", n->trial, n->text);
        return;
    }
    e->row.ended      = unix_now();
    e->row.gate_trips = n->trips;
    memcpy(e->row.score, n->score, sizeof e->row.score);
    e->ended        = *n;
    e->ending       = true;
    e->ending_place = disk_line(e->journal->disk);
}

void experiment_commit(struct experiment *e)
{
    bool all  = e->ending && disk_done(e->journal->disk, e->ending_place); /* before asking what is lost */
    int  lost = journal_batch(e->journal, e->row.id);

    if (lost && e->open) { /* is no longer counted, and the rest of the trial not tried: its row may be gone */
        e->row.steps -= lost;
        e->stored = false;
    }
    if (all)
        settle(e);
}

static void answer(struct experiment *e, const struct notice *n)
{
    if (!(n->id & OWN_OPERATION) || n->ok)
        return;
    e->start_sent = false;
    journal_say(e->journal, "trial", "the next trial cannot start: %s", n->text);
    e->queued = 0;
}

void experiment_notice(struct experiment *e, const struct notice *n)
{
    switch (n->kind) {
    case NOTICE_TRIAL_BEGIN: begin(e, n); break;
    case NOTICE_TRIAL_END: end(e, n); break;
    case NOTICE_ANSWER: answer(e, n); break;
    case NOTICE_MODE:
        if (!mode_armed(n->to)) {
            e->queued     = 0;
            e->start_sent = false;
        }
        break;
    case NOTICE_GATE:
    case NOTICE_UNFIT:
    case NOTICE_FAULT: break;
    }
}

void experiment_reported_return(struct experiment *e, const struct trial_event *event)
{
    struct trial_row *t = NULL;

    if (e->ending && event->has_return && event->trial == e->row.number) { /* of the trial that settle() ends */
        e->reported = event->reported_return;
        return;
    }
    for (int i = e->nhistory - 1; i >= 0 && !t; i--)
        if (e->history[i].number == event->trial)
            t = &e->history[i];
    if (!t || !event->has_return)
        return;
    t->reported_return = event->reported_return;
    if (!(fabs(t->ret - t->reported_return) <= 1e-3))
        journal_say(e->journal, "trial", "trial %u: the robot side reports return %.4f, the stored transitions give %.4f",
                    t->number, t->reported_return, t->ret);
    update(e, t, "storing the reported return");
}

/* ---- the next trial ---- */

bool experiment_under_way(const struct experiment *e)
{
    return e->open || e->start_sent;
}

bool experiment_flies(const struct experiment *e)
{
    return e->start_sent || (e->open && strcmp(e->row.kind, "planned") == 0);
}

void experiment_task(struct experiment *e)
{
    e->best = (double)NAN;
}

bool experiment_finished(const struct experiment *e)
{
    return e->next_number > (uint32_t)e->count && !e->open && !learner_busy(e->learner) &&
           disk_done(e->journal->disk, e->ending_place);
}

const char *experiment_ask(struct experiment *e, enum trial_kind kind, int n)
{
    if (e->open || e->start_sent || e->queued)
        return "a trial is under way";
    if (kind == TRIAL_PLANNED && !atomic_load(&e->shared->model_version))
        return "no model is loaded; run the exploration trial first (kind random)";
    e->queued              = n;
    e->queued_kind         = kind;
    e->stopped_by_operator = false;
    return NULL;
}

static bool due(struct experiment *e, enum trial_kind *kind)
{
    bool model = atomic_load(&e->shared->model_version) != 0;

    if (e->waiting_since_s > 0) { /* for the model trained on the last trial */
        if (learner_busy(e->learner) && now_s() - e->waiting_since_s < e->config->trials.wait_for_model_s)
            return false;
        e->waiting_since_s = 0;
    }
    if (e->queued > 0) {
        *kind = e->queued_kind;
        return true;
    }
    if (e->config->trials.next != NEXT_AUTO || e->stopped_by_operator || e->next_number > (uint32_t)e->count)
        return false;
    if (!model && e->learner->state == LEARNER_DEAD)
        return false; /* nothing to plan with and nobody to learn; the journal says why */
    bool explored = e->next_number > 1 || (e->next_number > 0 && randoms(e) >= e->config->trials.random);
    *kind         = model && explored ? TRIAL_PLANNED : TRIAL_RANDOM;
    return *kind == TRIAL_PLANNED || e->config->exploration.kind != EXPLORE_NONE;
}

/* Earlier attempts at this trial: each gets a seed of its own. */
static uint64_t attempts(const struct experiment *e, uint32_t number)
{
    uint64_t n = 0;

    for (int i = 0; i < e->nhistory; i++)
        n += e->history[i].number == number;
    return n;
}

/* A planned trial begins when its plans have proved good for long enough to be promoted at once, so that its first steps
 * do not depend on how long the training took; after the same patience as for a model it begins anyway. */
static bool promotable(struct experiment *e, const struct core *core)
{
    bool seen = core->shadow_model == atomic_load(&e->shared->model_version); /* the gates know the newest model */

    if (seen && core->good_s >= core->need_s) {
        e->unripe_since_s = 0;
        return true;
    }
    if (e->unripe_since_s == 0)
        e->unripe_since_s = now_s();
    return now_s() - e->unripe_since_s > e->config->trials.wait_for_model_s;
}

void experiment_advance(struct experiment *e, const struct core *core)
{
    enum trial_kind kind;
    uint64_t        slot;

    if (core->mode != MODE_BASELINE || core->trial_phase != TRIAL_IDLE || e->open || e->start_sent || !due(e, &kind) ||
        (kind == TRIAL_PLANNED && !promotable(e, core)))
        return;
    e->unripe_since_s = 0;
    if (!ring_claim(&e->shared->operation_ring, &slot))
        return;
    uint32_t number = kind == TRIAL_RANDOM ? 0 : e->next_number; /* exploration is always trial 0 */
    e->seed = e->config->trials.seed + (attempts(e, number) << 32);
    e->shared->operation[slot] = (struct operation){ .kind       = OP_TRIAL_START,
                                                     .id         = OWN_OPERATION | e->next_operation++,
                                                     .trial      = number,
                                                     .trial_kind = kind,
                                                     .steps      = e->config->trials.steps,
                                                     .seed       = e->seed };
    ring_push(&e->shared->operation_ring);
    e->start_sent = true;
    e->queued -= e->queued > 0;
}
