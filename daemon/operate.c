/* operate.c - the control socket: verbs become operations for the control thread, whose answer is the reply. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/rt/clock.h"

static const char ENDING[] = "the daemon is ending";

static void answer(struct http_request *r, unsigned status, bool ok, const char *text)
{
    json_t *o    = ok ? json_pack("{s:b, s:s}", "ok", 1, "text", text) : json_pack("{s:b, s:s}", "ok", 0, "error", text);
    char   *json = json_dumps(o, JSON_COMPACT);

    http_answer(r, status, json);
    free(json);
    json_decref(o);
}

/* The operation's id; 0: it could not be asked for, and the request is answered. */
static uint64_t forward(struct daemon *d, struct http_request *r, enum operation_kind kind)
{
    struct waiter *w = NULL;

    if (d->threads_ended) {
        answer(r, 503, false, ENDING);
        return 0;
    }
    for (int i = 0; i < WAITERS && !w; i++)
        w = d->waiter[i].request ? NULL : &d->waiter[i];
    uint64_t id = w || kind == OP_STOP ? daemon_operation(d, kind) : 0;
    if (id && !w) { /* a stop does not queue for a place to wait in */
        answer(r, 200, true, "stop asked for; limber status tells the rest");
        return 0;
    }
    if (!id) {
        answer(r, 503, false, "too many operations are waiting; try again");
        return 0;
    }
    *w = (struct waiter){ .request = r, .id = id, .since_ns = clock_now_ns(), .kind = kind };
    return id;
}

/* Real hardware is armed by a person who typed its name; loud exploration is asked for by word (design §5). */
static const char *arm_forbidden(const struct daemon *d, const json_t *body)
{
    const char *robot   = json_string_value(json_object_get(body, "robot"));
    bool        explore = json_is_true(json_object_get(body, "explore"));

    if (robot && strcmp(robot, d->config.robot) != 0)
        return "this daemon controls another robot";
    if (d->config.hardware == HARDWARE_SIM)
        return json_is_true(json_object_get(body, "yes")) || robot ? NULL : "say yes, or name the robot";
    if (!robot)
        return "real hardware is armed by typing the robot's name";
    if (fmax(d->config.exploration.amplitude, d->config.exploration.planned) > 0.2 && !explore)
        return "exploration above 20 % of the effort limit needs arm --explore";
    return NULL;
}

static void start_trials(struct daemon *d, struct http_request *r, const json_t *body)
{
    const char *kind  = json_string_value(json_object_get(body, "kind"));
    json_t     *n     = json_object_get(body, "count");
    json_int_t  count = n ? json_integer_value(n) : 1;
    const char *refused;

    if ((kind && strcmp(kind, "planned") != 0 && strcmp(kind, "random") != 0) || count < 1 || count > 1000) {
        answer(r, 400, false, "kind is \"planned\" or \"random\", count is 1 to 1000");
        return;
    }
    if (!mode_armed(d->core.mode))
        refused = "arm the robot first";
    else
        refused = experiment_ask(&d->experiment, kind && strcmp(kind, "random") == 0 ? TRIAL_RANDOM : TRIAL_PLANNED,
                                 (int)count);
    answer(r, refused ? 409 : 200, !refused, refused ? refused : "trial asked for");
}

/* A name is a file beside robot.yaml; a path is as the daemon sees it. */
static bool task_file(const struct daemon *d, const json_t *body, char *file, size_t size)
{
    const char *name  = json_string_value(json_object_get(body, "name")),
               *path  = json_string_value(json_object_get(body, "file"));
    const char *slash = strrchr(d->config.file, '/');
    int         n;

    if ((name && path) || (path && *path != '/') || (name && (!*name || strchr(name, '/'))))
        return false;
    if (path)
        n = snprintf(file, size, "%s", path);
    else
        n = name ? snprintf(file, size, "%.*s/tasks/%s.yaml", (int)(slash - d->config.file), d->config.file, name) : -1;
    return n >= 0 && (size_t)n < size;
}

static void set_task(struct daemon *d, struct http_request *r, const json_t *body)
{
    char why[700];

    if (d->wanted.id) {
        answer(r, 503, false, "another task is being set; try again");
    } else if (experiment_under_way(&d->experiment)) {
        snprintf(why, sizeof why,
                 "a trial is under way, and a task changes between trials: wait for its end, or limber trial "
                 "stop; task %s stays in force",
                 d->config.task.name);
        answer(r, 409, false, why);
    } else if (!task_file(d, body, d->wanted.file, sizeof d->wanted.file)) {
        answer(r, 400, false,
               "say \"name\": \"NAME\", of tasks/NAME.yaml beside robot.yaml, or \"file\": \"/ABSOLUTE/PATH\"");
    } else if (config_task(d->wanted.file, &d->config, &d->wanted.task, why, sizeof why) < 0) {
        answer(r, 400, false, why);
    } else {
        d->wanted.id = forward(d, r, OP_TASK);
    }
}

/* The socket's mode says the same, until somebody changes it. */
static bool may_operate(struct daemon *d, struct http_request *r)
{
    struct operator_refusals *refused = &d->refused_operators;
    uint64_t                  now     = clock_now_ns();
    uid_t                     uid;
    char                      text[200];

    if (http_peer_is(r, getegid(), &uid))
        return true;
    refused->count++;
    snprintf(text, sizeof text, "user %d may not operate this robot: neither limberd's user, root, nor in group %d", (int)uid,
             (int)getegid());
    if (!refused->said_ns || now - refused->said_ns > 10 * NS_PER_S) { /* must not fill the journal */
        refused->said_ns = now;
        journal_say(&d->journal, "auth_refused", "%s (%llu requests so far)", text, (unsigned long long)refused->count);
    }
    answer(r, 403, false, text);
    return false;
}

void operate_request(void *ctx, struct http_request *r, const char *method, const char *path, const char *body)
{
    static const struct {
        const char         *path;
        enum operation_kind kind;
    } verb[] = { { "/arm", OP_ARM }, { "/reset", OP_RESET }, { "/trial/stop", OP_TRIAL_STOP }, { "/trial/ready", OP_TRIAL_READY } };
    struct daemon *d = ctx;
    const char    *forbidden;
    json_error_t   error;

    if (!may_operate(d, r))
        return;
    json_t *o = *body ? json_loads(body, 0, &error) : json_object();

    if (strcmp(path, "/status") == 0) {
        char *json = status_json(d);
        http_answer(r, json ? 200 : 503, json);
        free(json);
    } else if (strcmp(method, "POST") != 0) {
        answer(r, 405, false, "operator verbs are POST requests");
    } else if (strcmp(path, "/stop") == 0 || strcmp(path, "/disarm") == 0) { /* whatever else was sent with it */
        forward(d, r, strcmp(path, "/stop") == 0 ? OP_STOP : OP_DISARM);
    } else if (!json_is_object(o)) {
        answer(r, 400, false, "the body must be a JSON object");
    } else if (strcmp(path, "/arm") == 0 && (forbidden = arm_forbidden(d, o))) {
        answer(r, 409, false, forbidden);
    } else if (strcmp(path, "/trial/start") == 0) {
        start_trials(d, r, o);
    } else if (strcmp(path, "/task") == 0) {
        set_task(d, r, o);
    } else if (strcmp(path, "/shutdown") == 0) {
        answer(r, 200, true, "stopping");
        daemon_shutdown(d);
    } else {
        unsigned i = 0;
        while (i < sizeof verb / sizeof *verb && strcmp(path, verb[i].path) != 0)
            i++;
        if (i < sizeof verb / sizeof *verb)
            forward(d, r, verb[i].kind);
        else
            answer(r, 404, false, "no such verb; docs/status.md lists them");
    }
    json_decref(o);
}

void operate_answer(struct daemon *d, const struct notice *n)
{
    for (int i = 0; i < WAITERS; i++) {
        struct waiter *w = &d->waiter[i];
        char           text[240];

        if (!w->request || w->id != n->id)
            continue;
        if (w->kind == OP_ARM && !n->ok && d->core.mode == MODE_DISARMED)
            snprintf(text, sizeof text, "not armed: pre-arm check %s does not hold", n->text);
        else if (w->kind == OP_TASK && n->ok)
            snprintf(text, sizeof text, "task %s in force", d->config.task.name);
        else
            snprintf(text, sizeof text, "%s", n->text);
        answer(w->request, n->ok ? 200 : 409, n->ok, text);
        w->request = NULL;
        if (n->ok && w->kind == OP_TRIAL_STOP)
            d->experiment.stopped_by_operator = true;
        if (n->ok && w->kind == OP_ARM)
            d->experiment.stopped_by_operator = false;
    }
}

/* The control thread answers within a tick; if it does not, say so. */
void operate_expire(struct daemon *d)
{
    for (int i = 0; i < WAITERS; i++) {
        struct waiter *w = &d->waiter[i];
        if (w->request && clock_now_ns() - w->since_ns > OPERATION_PATIENCE_NS) {
            answer(w->request, 504, false, "the control thread did not answer within 2 s");
            w->request = NULL;
        }
    }
}

void operate_end(struct daemon *d)
{
    d->threads_ended = true;
    for (int i = 0; i < WAITERS; i++) {
        if (d->waiter[i].request)
            answer(d->waiter[i].request, 503, false, ENDING);
        d->waiter[i].request = NULL;
    }
}
