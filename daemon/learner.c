#include "daemon/learner.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/model_file.h"

#define SILENT_NS (60 * NS_PER_S)

enum { SLOPE_STATES = 200 };

static void order_if_due(struct learner *l);

/* ---- transitions in columns ---- */

void trial_data_clear(struct trial_data *d)
{
    d->n = 0;
}

void trial_data_free(struct trial_data *d)
{
    free(d->x);
    free(d->a);
    free(d->y);
    memset(d, 0, sizeof *d);
}

static bool grow(float **p, int rows, int width)
{
    float *more = realloc(*p, sizeof **p * (size_t)rows * (size_t)width);

    *p = more ? more : *p;
    return more != NULL;
}

bool trial_data_add(struct trial_data *d, const struct model_dims *dims, const struct transition *t)
{
    int room = d->room ? 2 * d->room : 256;

    if (d->n == d->room) {
        if (!grow(&d->x, room, dims->nx) || !grow(&d->a, room, dims->na) || !grow(&d->y, room, dims->nx))
            return false; /* those that grew may: the room is that of all three */
        d->room = room;
    }
    memcpy(d->x + d->n * dims->nx, t->x, sizeof(float) * (size_t)dims->nx);
    memcpy(d->a + d->n * dims->na, t->a, sizeof(float) * (size_t)dims->na);
    memcpy(d->y + d->n * dims->nx, t->y, sizeof(float) * (size_t)dims->nx);
    d->n++;
    return true;
}

/* What there is memory for. */
static void trial_data_append(struct trial_data *d, const struct model_dims *dims, const struct trial_data *more)
{
    bool room = true;

    for (int i = 0; room && i < more->n; i++) {
        struct transition t;
        memcpy(t.x, more->x + i * dims->nx, sizeof(float) * (size_t)dims->nx);
        memcpy(t.a, more->a + i * dims->na, sizeof(float) * (size_t)dims->na);
        memcpy(t.y, more->y + i * dims->nx, sizeof(float) * (size_t)dims->nx);
        room = trial_data_add(d, dims, &t);
    }
}

/* Transitions of the newest trials; the caller frees them. */
static struct trial_data newest_trials(const struct learner *l)
{
    struct trial_data all = { 0 };

    for (int i = 0; i < JUDGE_TRIALS; i++)
        trial_data_append(&all, &l->dims, &l->recent[i]);
    return all;
}

static float spread_of(const float *column, int n, int stride)
{
    float low = column[0], high = column[0];

    for (int i = 1; i < n; i++) {
        low  = fminf(low, column[i * stride]);
        high = fmaxf(high, column[i * stride]);
    }
    return high - low;
}

/* What a state costs, be it on the way or, by a potential, at the end. */
static double state_cost(const struct task *task, const float *x)
{
    return task_obs_cost(task, x) + task_potential(task, x);
}

void learner_cost_slopes(const struct task *task, const struct model_dims *dims, const struct trial_data *d, float *slope2)
{
    int every = (d->n + SLOPE_STATES - 1) / SLOPE_STATES, nx = dims->nx;

    for (int k = 0; k < nx; k++) {
        double sum   = 0;
        int    count = 0;
        float  x[MAX_OBS], h = d->n ? fmaxf(1e-3f * spread_of(d->y + k, d->n, nx), 1e-4f) : 0;

        for (int i = 0; i < d->n; i += every, count++) {
            memcpy(x, d->y + i * nx, sizeof *x * (size_t)nx);
            float  middle = x[k], up = middle + h, down = middle - h;
            double high, low;

            x[k]  = up;
            high  = state_cost(task, x);
            x[k]  = down;
            low   = state_cost(task, x);
            double slope = (high - low) / ((double)up - (double)down);
            sum += slope * slope;
        }
        slope2[k] = count && isfinite(sum) ? (float)(sum / count) : 0;
    }
}

/* ---- models ---- */

static void model_path(const struct learner *l, uint64_t version, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/model-%llu.model", l->models, (unsigned long long)version);

    CHECK(n >= 0 && (size_t)n < size); /* learner_start checked the room */
}

/* Hands the incumbent to the planner; the planner takes it up at its next step. */
static void hand_over(struct learner *l)
{
    uint32_t slot = l->shared->model_handoff.write;

    planner_pack(l->shared->planner, (int)slot, &l->incumbent);
    handoff_publish(&l->shared->model_handoff);
    atomic_store(&l->shared->model_version, l->incumbent.version);
}

/* The candidate just judged. */
static void record_model(struct learner *l, uint64_t version, const char *status, const char *reason,
                         const struct verdict *v)
{
    struct model_row row = { .version     = version,
                             .parent      = l->order.base_version,
                             .trial_id    = l->order.last_trial_id,
                             .transitions = l->last_report.transitions,
                             .steps       = l->last_report.steps,
                             .train_s     = l->last_report.train_s,
                             .nll = v ? v->nll : (double)NAN,
                             .nll_incumbent = v ? v->nll_incumbent : (double)NAN,
                             .created = unix_now() };

    snprintf(row.status, sizeof row.status, "%s", status);
    snprintf(row.reason, sizeof row.reason, "%s", reason);
    snprintf(row.file, sizeof row.file, "model-%llu.model", (unsigned long long)version);
    if (!disk_model(l->journal->disk, &row))
        journal_full(l->journal, "recording a model");
}

static void remove_file(void *unused, const void *path)
{
    (void)unused;
    unlink(path);
}

/* Whatever its name is by now. */
static void candidate_refused(struct learner *l, const char *reason, const struct verdict *v)
{
    char path[PATH_SIZE + 32];

    l->refused++;
    record_model(l, l->last_report.version, "refused", reason, v);
    snprintf(l->last, sizeof l->last, "version %llu refused: %s", (unsigned long long)l->last_report.version, reason);
    journal_say(l->journal, "model", "%s", l->last);
    disk_task(l->journal->disk, remove_file, NULL, l->last_report.file, strlen(l->last_report.file) + 1, NULL);
    if (!l->adopting.held)
        return;
    model_path(l, l->last_report.version, path, sizeof path);
    disk_task(l->journal->disk, remove_file, NULL, path, strlen(path) + 1, NULL);
}

/* Files of models that nobody will fly again; what they were is in the store. */
static void remove_old(void *learner, const void *last)
{
    const struct learner *l = learner;
    char                  path[PATH_SIZE + 32];
    uint64_t              to;

    memcpy(&to, last, sizeof to);
    for (uint64_t v = to > 10 * MODELS_KEPT ? to - 10 * MODELS_KEPT : 1; v <= to; v++) {
        model_path(l, v, path, sizeof path);
        unlink(path);
        strcat(path, SEAL_SUFFIX);
        unlink(path);
    }
}

struct to_seal {
    uint8_t seal[SEAL_BYTES];
    char    path[PATH_SIZE + 32];
};

static void put_seal(void *unused, const void *payload)
{
    const struct to_seal *t   = payload;
    int                   bad = model_file_put_seal(t->path, t->seal);
    char                  text[sizeof t->path + 120];

    (void)unused;
    if (!bad)
        return;
    snprintf(text, sizeof text, "%s has no seal, and will not be loaded again: %s", t->path, strerror(-bad));
    disk_print("model", text);
}

/* Only what nothing can refuse any more gets its seal. */
static void seal_candidate(struct learner *l)
{
    struct to_seal t;

    memcpy(t.seal, l->adopting.seal, sizeof t.seal);
    model_path(l, l->adopting.candidate.version, t.path, sizeof t.path);
    if (!disk_task(l->journal->disk, put_seal, NULL, &t, sizeof t, NULL))
        journal_full(l->journal, "sealing a model");
}

static void candidate_accepted(struct learner *l, const struct verdict *v)
{
    struct ensemble *candidate = &l->adopting.candidate;

    if (l->seal)
        seal_candidate(l);
    ensemble_free(&l->older);
    l->older     = l->incumbent;
    l->incumbent = *candidate;
    memset(candidate, 0, sizeof *candidate);
    l->published++;
    record_model(l, l->incumbent.version, "published", v->reason, v);
    hand_over(l);
    snprintf(l->last, sizeof l->last, "version %llu published: %s", (unsigned long long)l->incumbent.version, v->reason);
    journal_say(l->journal, "model", "%s", l->last);
    uint64_t old = l->incumbent.version > MODELS_KEPT ? l->incumbent.version - MODELS_KEPT : 0;

    if (l->older.version && l->older.version <= old) /* after a roll-back trainings start from its file */
        old = l->older.version - 1;
    disk_task(l->journal->disk, remove_old, l, &old, sizeof old, NULL);
}

/* On the disk's thread, as all that waits for files. */
static void load_candidate(void *learner, const void *unused)
{
    struct learner *l = learner;

    (void)unused;
    struct model_trust trust = { .version = l->last_report.version, .us = l->us };
    l->adopting.bad          = model_file_load_trusted(l->last_report.file, &trust, l->config->robot, &l->dims,
                                                       &l->adopting.candidate, l->adopting.why, sizeof l->adopting.why);
}

/* What was judged, not what the trainer's file may have become meanwhile. */
static int save_sealed(struct learner *l, const char *path)
{
    int bad = model_file_save_signed(path, &l->adopting.candidate, l->config->robot, l->seal, l->adopting.seal);

    if (!bad)
        unlink(l->last_report.file);
    return bad;
}

static void name_candidate(void *learner, const void *path)
{
    struct learner *l = learner;

    l->adopting.bad = l->seal ? save_sealed(l, path) : rename(l->last_report.file, path) == 0 ? 0 : -errno;
    if (l->adopting.bad)
        snprintf(l->adopting.why, sizeof l->adopting.why, "%s", strerror(-l->adopting.bad));
}

/* Puts the next step of an adoption in line. */
static bool adopt(struct learner *l, enum adopting step)
{
    char path[PATH_SIZE + 32];
    bool put;

    model_path(l, l->last_report.version, path, sizeof path);
    if (step == ADOPT_LOAD)
        put = disk_task(l->journal->disk, load_candidate, l, NULL, 0, &l->adopting.place);
    else
        put = disk_task(l->journal->disk, name_candidate, l, path, strlen(path) + 1, &l->adopting.place);
    l->adopting.step = put ? step : ADOPT_NONE;
    return put;
}

/* It is loaded and whole: is it good?  On the newest trials.  False: no, and it was refused. */
static bool judge(struct learner *l)
{
    struct verdict   *v    = &l->adopting.verdict;
    struct trial_data all  = newest_trials(l);
    struct train_data data = { .n = all.n, .x = all.x, .a = all.a, .y = all.y };

    judge_candidate(&l->adopting.candidate, l->incumbent.version ? &l->incumbent : NULL, &data, v);
    trial_data_free(&all);
    if (!v->accept)
        candidate_refused(l, v->reason, v);
    return v->accept;
}

/* What the disk's thread has done of it. */
static void adoption_goes_on(struct learner *l, bool flies)
{
    enum adopting step = l->adopting.step;

    if (!step || !disk_done(l->journal->disk, l->adopting.place))
        return;
    if (!l->adopting.bad && flies) { /* in a trial it would have to be watched while the baseline drives */
        l->adopting.held = step == ADOPT_NAME;
        return;
    }
    l->adopting.step = ADOPT_NONE;
    if (l->adopting.bad)
        candidate_refused(l, l->adopting.why, step == ADOPT_NAME ? &l->adopting.verdict : NULL);
    else if (step == ADOPT_NAME && (!l->adopting.held || judge(l)))
        candidate_accepted(l, &l->adopting.verdict);
    else if (step == ADOPT_LOAD && judge(l) && !adopt(l, ADOPT_NAME))
        candidate_refused(l, "the disk is too slow: no place in line for its name", &l->adopting.verdict);
    l->adopting.held = false;
    if (l->adopting.step)
        return;
    ensemble_free(&l->adopting.candidate); /* where it was refused */
    l->state = l->state == LEARNER_TRAINING ? LEARNER_IDLE : l->state;
    order_if_due(l);
}

/* The trainer says it is done. */
static void judge_report(struct learner *l)
{
    l->train_s_total += l->last_report.train_s;
    l->trainings++;
    if (!adopt(l, ADOPT_LOAD)) {
        candidate_refused(l, "the disk is too slow: no place in line for loading it", NULL);
        l->state = LEARNER_IDLE;
    }
}

/* Needs no file: the model before is kept in memory. */
static void roll_back(struct learner *l, const char *reason)
{
    uint64_t bad = l->incumbent.version;

    if (!l->older.version) {
        journal_say(l->journal, "model", "version %llu should be rolled back (%s), but there is no older model",
                    (unsigned long long)bad, reason);
        return;
    }
    if (!disk_model_status(l->journal->disk, bad, "rolled_back", reason))
        journal_full(l->journal, "recording a roll-back");
    ensemble_free(&l->incumbent);
    l->incumbent = l->older;
    memset(&l->older, 0, sizeof l->older); /* the older model's own parent is not tried: one step back only */
    l->rolled_back++;
    hand_over(l);
    snprintf(l->last, sizeof l->last, "version %llu rolled back to %llu: %s", (unsigned long long)bad,
             (unsigned long long)l->incumbent.version, reason);
    journal_say(l->journal, "model", "%s", l->last);
}

static void foreseen_worse(struct learner *l, double rmse, double limit)
{
    char reason[160];

    snprintf(reason, sizeof reason, "one-step error %.4f on the newest trial exceeds %.4f, three times the recent median", rmse,
             limit);
    roll_back(l, reason);
}

void learner_unfit(struct learner *l, uint64_t version)
{
    if (version && version == l->incumbent.version)
        roll_back(l, "it tripped gates twice within a minute");
}

/* ---- the trainer process ---- */

static void spawn(struct learner *l);

static void on_closed(uv_handle_t *h)
{
    struct learner *l = h->data;

    if (--l->open_handles == 0 && !l->closing && l->state != LEARNER_DEAD) {
        memmove(l->restart_s, l->restart_s + 1, sizeof l->restart_s - sizeof l->restart_s[0]);
        l->restart_s[2] = (double)clock_now_ns() * 1e-9;
        spawn(l);
        order_if_due(l);
    }
}

static void on_exit_trainer(uv_process_t *p, int64_t status, int sig)
{
    struct learner *l    = p->data;
    bool            dead = (double)clock_now_ns() * 1e-9 - l->restart_s[0] < 60; /* three since */

    l->process_up = false;
    if (!l->closing) {
        bool cut_off     = l->state == LEARNER_TRAINING && !l->adopting.step;
        l->want_training = l->want_training || cut_off;
        journal_say(l->journal, "trainer", "ended by itself (status %lld, signal %d)%s", (long long)status, sig,
                    dead ? "; three restarts in a minute, learning is off" : "; restarting");
        l->state = dead ? LEARNER_DEAD : LEARNER_IDLE;
    }
    uv_close((uv_handle_t *)&l->process, on_closed);
    uv_close((uv_handle_t *)&l->to, on_closed);
    uv_close((uv_handle_t *)&l->from, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct learner *l = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)l->inbox + l->inbox_used, (unsigned)(sizeof l->inbox - l->inbox_used));
}

static void on_report(struct learner *l)
{
    struct trainer_report *r = &l->last_report;

    if (l->adopting.step) /* that of the candidate, which the disk's thread reads; nothing more is due */
        return;
    memcpy(r, l->inbox, sizeof *r);
    l->heard_ns       = clock_now_ns();
    const char *fault = "its magic or size is another";
    if (trainer_head_good(r, sizeof *r, sizeof *r))
        fault = trainer_report_fault(r, l->setup.models);
    if (fault) {
        journal_say(l->journal, "trainer", "sent something that is not a report: %s; it is ended", fault);
        uv_process_kill(&l->process, SIGKILL);
        return;
    }
    if (r->version != l->order.version || l->state != LEARNER_TRAINING)
        return;
    switch (r->stage) {
    case TRAINER_PROGRESS: l->progress = r->done; break;
    case TRAINER_DONE: judge_report(l); break;
    case TRAINER_FAILED:
        l->state = LEARNER_IDLE;
        snprintf(l->last, sizeof l->last, "version %llu was not made: %s", (unsigned long long)r->version, r->why);
        journal_say(l->journal, "trainer", "%s", l->last);
        break;
    }
    order_if_due(l);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct learner *l = stream->data;

    (void)buf;
    if (n < 0) {
        uv_read_stop(stream);
        return;
    }
    l->inbox_used += (size_t)n;
    if (l->inbox_used == sizeof l->inbox) {
        l->inbox_used = 0;
        on_report(l);
    }
}

static void on_written(uv_write_t *w, int status)
{
    (void)status; /* a broken pipe is followed by on_exit_trainer */
    free(w);
}

static void write_struct(struct learner *l, const void *p, size_t size)
{
    uv_write_t *w   = calloc(1, sizeof *w);
    uv_buf_t    buf = uv_buf_init((char *)(uintptr_t)p, (unsigned)size);

    if (w && uv_write(w, (uv_stream_t *)&l->to, &buf, 1, on_written) != 0)
        free(w);
    /* Without memory for it the trainer gets no order: it is found silent after a minute, and started anew. */
}

static void spawn(struct learner *l)
{
    char                *args[]  = { l->trainer_path, NULL };
    uv_stdio_container_t stdio[] = {
        { .flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE), .data.stream = (uv_stream_t *)&l->to },
        { .flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE), .data.stream = (uv_stream_t *)&l->from },
        { .flags = UV_INHERIT_FD, .data.fd = 2 },
    };
    uv_process_options_t options = { .exit_cb = on_exit_trainer, .file = l->trainer_path, .args = args,
                                     .stdio_count = 3, .stdio = stdio };

    uv_pipe_init(l->loop, &l->to, 0);
    uv_pipe_init(l->loop, &l->from, 0);
    l->process.data = l->to.data = l->from.data = l;
    l->open_handles                             = 3;
    l->inbox_used                               = 0;
    int bad = uv_spawn(l->loop, &l->process, &options);
    if (bad) {
        journal_say(l->journal, "trainer", "cannot be started: %s: %s", l->trainer_path, uv_strerror(bad));
        l->state = LEARNER_DEAD;
        uv_close((uv_handle_t *)&l->process, on_closed);
        uv_close((uv_handle_t *)&l->to, on_closed);
        uv_close((uv_handle_t *)&l->from, on_closed);
        return;
    }
    l->process_up = true;
    l->state      = LEARNER_IDLE;
    uv_read_start((uv_stream_t *)&l->from, on_alloc, on_read);
    write_struct(l, &l->setup, sizeof l->setup);
}

static void send_order(struct learner *l)
{
    struct trainer_order *o = &l->order;

    memset(o, 0, sizeof *o);
    o->magic         = TRAINER_MAGIC;
    o->size          = sizeof *o;
    o->version       = l->next_version++;
    o->base_version  = l->incumbent.version;
    o->last_trial_id = l->ordered_trial_id;
    if (l->incumbent.version)
        model_path(l, l->incumbent.version, o->base_file, sizeof o->base_file);
    if (l->config->trainer.reward_weight > 0) {
        struct trial_data all = newest_trials(l);

        learner_cost_slopes(&l->config->task, &l->dims, &all, o->cost_slope2);
        trial_data_free(&all);
    }
    l->state         = LEARNER_TRAINING;
    l->progress      = 0;
    l->heard_ns      = clock_now_ns();
    l->want_training = false;
    write_struct(l, o, sizeof *o);
}

/* What was asked for while the trainer was away or busy, or its candidate not yet judged. */
static void order_if_due(struct learner *l)
{
    if (l->want_training && l->state == LEARNER_IDLE && l->process_up && !l->adopting.step)
        send_order(l);
}

void learner_tick(struct learner *l, bool flies)
{
    adoption_goes_on(l, flies);
    if (l->adopting.step || l->state != LEARNER_TRAINING || !l->process_up || clock_now_ns() - l->heard_ns < SILENT_NS)
        return;
    journal_say(l->journal, "trainer", "has trained for a minute without a report; it is ended");
    l->heard_ns = clock_now_ns();
    uv_process_kill(&l->process, SIGKILL); /* on_exit_trainer orders the training again */
}

bool learner_busy(const struct learner *l)
{
    return l->state == LEARNER_TRAINING || l->adopting.step || (l->want_training && l->state != LEARNER_DEAD);
}

/* ---- trials ---- */

static void remember(struct learner *l, const struct trial_data *data)
{
    struct trial_data oldest = l->recent[0];

    memmove(l->recent, l->recent + 1, sizeof l->recent - sizeof l->recent[0]);
    trial_data_clear(&oldest);
    trial_data_append(&oldest, &l->dims, data);
    l->recent[JUDGE_TRIALS - 1] = oldest;
}

static void remember_error(struct learner *l, double rmse)
{
    if (l->nprequential == PREQUENTIAL_KEPT) {
        memmove(l->prequential, l->prequential + 1, sizeof l->prequential - sizeof l->prequential[0]);
        l->nprequential--;
    }
    l->prequential[l->nprequential++] = rmse;
    l->last_rmse                      = rmse;
}

/* One line for every observation that was foreseen much worse than in the trials before. */
static void name_jumps(struct learner *l, uint32_t trial)
{
    double limit;

    for (int k = 0; k < l->dims.nx; k++)
        if (model_error_jumped(&l->error, k, &limit))
            journal_say(l->journal, "model", "%s: one-step error %.4f in trial %u exceeds %.4f, three times the recent median",
                        l->config->observation[k].name, l->error.trial[l->error.n - 1][k], trial, limit);
}

void learner_trial(struct learner *l, struct trial_row *row, const struct trial_data *data, bool learn)
{
    double rmse, limit;

    if (l->incumbent.version && data->n > 0 && strcmp(row->kind, "planned") == 0) {
        rmse = model_error_add(&l->error, &l->incumbent, data->n, data->x, data->a, data->y);
        name_jumps(l, row->number);
        row->prequential_rmse = rmse;
        bool back             = judge_rollback(rmse, l->prequential, l->nprequential, &limit);
        remember_error(l, rmse);
        if (back)
            foreseen_worse(l, rmse, limit);
    }
    remember(l, data);
    if (!learn)
        return;
    l->ordered_trial_id = row->id;
    l->want_training = l->want_training || l->state != LEARNER_DEAD;
    order_if_due(l);
}

/* ---- start and stop ---- */

struct model_scan {
    struct model_row newest;  /* published           */
    uint64_t         before;  /* published before it */
    uint64_t         highest; /* version, any status */
    int64_t          learned; /* newest trial any of them was trained on */
};

static bool take_model_row(void *ctx, const struct model_row *m)
{
    struct model_scan *scan = ctx;

    if (strcmp(m->status, "published") == 0) { /* and not rolled back since */
        scan->before = scan->newest.version;
        scan->newest = *m;
    }
    scan->highest = m->version > scan->highest ? m->version : scan->highest;
    scan->learned = m->trial_id > scan->learned ? m->trial_id : scan->learned;
    return true;
}

struct recent_ctx {
    struct learner   *l;
    int64_t           id;
    struct trial_data data;
};

static bool take_transition(void *arg, int64_t trial_id, const struct transition *t)
{
    struct recent_ctx *ctx = arg;

    if (trial_id != ctx->id && ctx->data.n) {
        remember(ctx->l, &ctx->data);
        trial_data_clear(&ctx->data);
    }
    ctx->id = trial_id;
    trial_data_add(&ctx->data, &ctx->l->dims, t);
    return true;
}

struct trial_scan {
    struct learner *l;
    int64_t         finished; /* newest id */
};

static bool take_trial_row(void *arg, const struct trial_row *t)
{
    struct trial_scan *scan = arg;
    struct learner    *l    = scan->l;

    if (strcmp(t->status, "finished") == 0)
        scan->finished = t->id;

    if (isfinite(t->prequential_rmse))
        remember_error(l, t->prequential_rmse);
    l->ordered_trial_id = t->id;
    return true;
}

static bool load(const struct learner *l, uint64_t version, struct ensemble *e, char *why, size_t why_size)
{
    char path[PATH_SIZE + 32];

    struct model_trust trust = { .version = version, .us = l->us, .seal = l->seal };
    model_path(l, version, path, sizeof path);
    if (model_file_load_trusted(path, &trust, l->config->robot, &l->dims, e, why, why_size) == 0)
        return true;
    memset(e, 0, sizeof *e);
    return false;
}

/* And the one that it would be rolled back to. */
static void load_incumbent(struct learner *l, const struct model_scan *scan)
{
    const struct model_row *newest = &scan->newest;
    char                    why[240];

    if (!newest->version)
        return;
    if (!load(l, newest->version, &l->incumbent, why, sizeof why)) {
        journal_say(l->journal, "model", "version %llu is not used: %s", (unsigned long long)newest->version, why);
        return;
    }
    if (scan->before && !load(l, scan->before, &l->older, why, sizeof why))
        journal_say(l->journal, "model", "version %llu cannot be rolled back: %s", (unsigned long long)newest->version, why);
    hand_over(l);
    snprintf(l->last, sizeof l->last, "version %llu loaded from the store", (unsigned long long)newest->version);
    journal_say(l->journal, "model", "%s", l->last);
}

static void setup_fill(struct learner *l, const struct store_schema *schema, const char *store_path)
{
    struct trainer_setup *s = &l->setup;

    memset(s, 0, sizeof *s);
    s->magic  = TRAINER_MAGIC;
    s->size   = sizeof *s;
    s->dims   = l->dims;
    s->config = l->config->trainer;
    s->schema = *schema;
    s->seed   = l->config->trials.seed;
    s->core   = l->config->cores.main;
    snprintf(s->store, sizeof s->store, "%s", store_path);
    snprintf(s->models, sizeof s->models, "%s", l->models);
}

int learner_start(struct learner *l, const struct store_schema *schema, const char *store_path, char *why, size_t why_size)
{
    struct model_scan scan   = { 0 };
    struct trial_scan trials = { .l = l };
    struct recent_ctx ctx    = { .l = l };

    l->last_rmse = (double)NAN;
    l->us        = geteuid();
    for (int i = 0; i < 3; i++)
        l->restart_s[i] = (double)-INFINITY; /* not zero: the machine may have booted just now */
    if (strlen(l->models) + sizeof "/model-18446744073709551615.model" > sizeof l->order.base_file) {
        snprintf(why, why_size, "%s: too long a path; choose a shorter run directory", l->models);
        return -1;
    }
    if (mkdir(l->models, 0750) != 0 && errno != EEXIST) {
        snprintf(why, why_size, "%s: %s", l->models, strerror(errno));
        return -1;
    }
    if (store_models(l->store, take_model_row, &scan) < 0 || store_trials(l->store, take_trial_row, &trials) < 0 ||
        store_transitions(l->store, 0, take_transition, &ctx) < 0) {
        snprintf(why, why_size, "%s", store_error(l->store));
        return -1;
    }
    if (ctx.data.n)
        remember(l, &ctx.data);
    trial_data_free(&ctx.data);
    l->next_version = scan.highest + 1;
    load_incumbent(l, &scan);
    setup_fill(l, schema, store_path);
    spawn(l);
    /* Experience that no model was trained on: the daemon ended before the training did. */
    int64_t first = (int64_t)l->config->trials.random * l->config->trials.steps;
    bool    lost  = l->incumbent.version ? l->config->aggregate && trials.finished > scan.learned
                                         : store_transition_count(l->store) >= first;
    if (lost && l->process_up)
        send_order(l);
    return 0;
}

void learner_stop(struct learner *l)
{
    l->closing = true;
    if (l->process_up)
        uv_process_kill(&l->process, SIGKILL);
}
