/* stops.c - see stops.h. */
#include "daemon/stops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TICKS_MIN = 64, TICKS_MAX = 8192 };

static const char BOX_MAGIC[16] = "limber box 1";

struct stops_box {
    char               magic[16], version[16];
    uint64_t           record_bytes, size, count; /* count: records ever written; the newest is (count - 1) % size */
    struct tick_record tick[];
};

/* ---- files ---- */

static void path_of(const struct stops *s, char path[PATH_SIZE + 32], int number, const char *suffix)
{
    snprintf(path, PATH_SIZE + 32, "%s/%03d%s", s->dir, number, suffix);
}

static uint64_t fnv1a(uint64_t h, const char *file)
{
    FILE *f = fopen(file, "re");

    for (int c; f && (c = getc(f)) != EOF;)
        h = (h ^ (uint64_t)c) * 0x100000001b3;
    if (f)
        fclose(f);
    return h;
}

/* Number of a recording's file name, 0 for any other. */
static int number_of(const char *name)
{
    char *end;
    long  n = strtol(name, &end, 10);

    return end != name && !strcmp(end, ".jsonl") && n > 0 && n < 1000000 ? (int)n : 0;
}

static void newest(struct stops *s)
{
    DIR           *d = opendir(s->dir);
    struct dirent *e;

    while (d && (e = readdir(d)))
        s->last = number_of(e->d_name) > s->last ? number_of(e->d_name) : s->last;
    if (d)
        closedir(d);
}

static void forget_old(const char *dir, int last)
{
    DIR           *d = opendir(dir);
    struct dirent *e;
    char           path[PATH_SIZE + 32];

    while (d && (e = readdir(d))) {
        int n = number_of(e->d_name);

        snprintf(path, sizeof path, "%s/%03d.jsonl", dir, n);
        if (n && n <= last - STOPS_KEPT)
            unlink(path);
    }
    if (d)
        closedir(d);
}

static bool dump_line(json_t *o, FILE *f)
{
    bool ok = o && json_dumpf(o, f, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 && putc('\n', f) != EOF;

    json_decref(o);
    return ok;
}

/* Line 1 and ticks, from the main thread to the disk's; then back, with what became of it. */
struct stops_recording {
    char               dir[PATH_SIZE];
    int                number;
    json_t            *head;
    uint64_t           stop_ns, place;
    int                bad; /* errno, 0: it is there */
    size_t             n;
    struct stops_recording *next; /* younger */
    struct tick_record      tick[];
};

static void write_recording(void *recording, const void *unused)
{
    struct stops_recording *r = recording;
    char                    path[PATH_SIZE + 32], beside[PATH_SIZE + 32];

    (void)unused;
    snprintf(path, sizeof path, "%s/%03d.jsonl", r->dir, r->number);
    snprintf(beside, sizeof beside, "%s/%03d.part", r->dir, r->number);
    FILE *f  = fopen(beside, "we");
    bool  ok = f && dump_line(r->head, f);

    if (!f)
        json_decref(r->head);
    for (size_t i = 0; ok && i < r->n; i++)
        ok = dump_line(stops_tick_json(&r->tick[i], r->stop_ns), f);
    if (f && fclose(f) != 0)
        ok = false;
    if (ok && rename(beside, path) == 0) {
        forget_old(r->dir, r->number);
        return;
    }
    r->bad = errno ? errno : ENOMEM;
    unlink(beside);
}

static void cannot_record(struct stops *s, int bad)
{
    if (!s->failed)
        journal_say(s->journal, "stop", "no recording of this stop: %s/%03d.jsonl: %s", s->dir, s->last + 1, strerror(bad));
    s->failed = true;
}

/* What became of those that were being written. */
static void recorded(struct stops *s)
{
    while (s->writing && disk_done(s->journal->disk, s->writing->place)) {
        struct stops_recording *r = s->writing;

        s->writing = r->next;
        if (r->bad) {
            cannot_record(s, r->bad);
        } else {
            s->last   = r->number;
            s->failed = false;
        }
        free(r);
    }
}

/* Line 1 and the box's ticks of the last two seconds before stop_ns.  Takes over head. */
static void record(struct stops *s, json_t *head, uint64_t stop_ns)
{
    const struct stops_box *b = s->box;
    uint64_t                n = b ? (b->count < b->size ? b->count : b->size) : 0;
    struct stops_recording *r = head ? calloc(1, sizeof *r + n * sizeof r->tick[0]) : NULL;

    if (!r) {
        json_decref(head);
        cannot_record(s, ENOMEM);
        return;
    }
    snprintf(r->dir, sizeof r->dir, "%s", s->dir);
    struct stops_recording **end = &s->writing;

    for (r->number = s->last + 1; *end; end = &(*end)->next)
        r->number = (*end)->number + 1;
    r->head    = head;
    r->stop_ns = stop_ns;
    for (uint64_t i = 0; i < n; i++) {
        const struct tick_record *t = &b->tick[(b->count - n + i) % b->size];

        if ((double)(int64_t)(stop_ns - t->now_ns) * 1e-9 <= STOPS_SECONDS && t->now_ns <= stop_ns)
            r->tick[r->n++] = *t;
    }
    if (!disk_task(s->journal->disk, write_recording, r, NULL, 0, &r->place)) {
        json_decref(head);
        free(r);
        cannot_record(s, EBUSY);
        return;
    }
    *end = r;
    recorded(s); /* at start it is written at once */
}

/* ---- the box ---- */

static size_t box_size(const struct robot_config *c)
{
    double n = 1.25 * STOPS_SECONDS * c->control_hz;

    return n < TICKS_MIN ? TICKS_MIN : n > TICKS_MAX ? TICKS_MAX : (size_t)n;
}

/* A fresh box in RUN/stops/box, or in memory only where the disk has no room: a mapped page without a block would be
 * SIGBUS.  The file is a new one: whoever still maps the old one keeps it. */
static void box_open(struct stops *s)
{
    char   path[PATH_SIZE + 32];
    size_t n     = box_size(s->config);
    int    flags = MAP_SHARED;

    s->box_bytes = sizeof *s->box + n * sizeof s->box->tick[0];
    snprintf(path, sizeof path, "%s/box", s->dir);
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0 || posix_fallocate(fd, 0, (off_t)s->box_bytes) != 0) {
        flags = MAP_PRIVATE | MAP_ANONYMOUS;
        unlink(path);
    }
    s->box = mmap(NULL, s->box_bytes, PROT_READ | PROT_WRITE, flags, flags == MAP_SHARED ? fd : -1, 0);
    if (fd >= 0)
        close(fd);
    if (s->box == MAP_FAILED) {
        s->box = NULL;
        journal_say(s->journal, "stop", "recordings of stops will have no ticks: no memory: %s", strerror(errno));
        return;
    }
    memcpy(s->box->magic, BOX_MAGIC, sizeof BOX_MAGIC);
    snprintf(s->box->version, sizeof s->box->version, "%s", LIMBER_VERSION);
    s->box->record_bytes = sizeof s->box->tick[0];
    s->box->size         = n;
}

/* The box of the daemon before, in s->box, or NULL where there is none that this version can read. */
static void box_before(struct stops *s)
{
    char        path[PATH_SIZE + 32];
    struct stat st;

    snprintf(path, sizeof path, "%s/box", s->dir);
    int               fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stops_box *b  = MAP_FAILED;

    s->box       = NULL;
    s->box_bytes = 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size > sizeof *b)
        b = mmap(NULL, s->box_bytes = (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (b == MAP_FAILED)
        return;
    s->box = b;
    if (memcmp(b->magic, BOX_MAGIC, sizeof BOX_MAGIC) != 0 || strncmp(b->version, LIMBER_VERSION, sizeof b->version) != 0 ||
        b->record_bytes != sizeof b->tick[0] || b->size == 0 || b->size > TICKS_MAX ||
        s->box_bytes < sizeof *b + b->size * sizeof b->tick[0]) {
        munmap(b, s->box_bytes);
        s->box = NULL;
    }
}

static void box_close(struct stops *s)
{
    if (s->box)
        munmap(s->box, s->box_bytes);
    s->box = NULL;
}

/* ---- what was before ---- */

/* "PROCESS MODE" in a file that is there for as long as the daemon is.  On the disk's thread once there is one. */
static void alive_write(void *stops, const void *mode)
{
    struct stops *s = stops;
    char          line[64];

    memset(line, ' ', sizeof line);
    int n   = snprintf(line, sizeof line, "%d %s", (int)getpid(), mode_name(*(const enum mode *)mode));
    line[n] = ' ';
    line[sizeof line - 1] = '\n';
    if (s->alive_fd >= 0 && pwrite(s->alive_fd, line, sizeof line, 0) < 0)
        return; /* a crash will not be noticed: nothing to do about it */
}

/* The daemon before left `alive` behind: a recording of its last ticks. */
static void record_crash(struct stops *s, int pid, const char *mode)
{
    uint64_t stop_ns = 0;
    json_t  *head;

    box_before(s);
    s->stop = (struct stops_step){ 0 };
    if (s->box && s->box->count) {
        const struct tick_record *last = &s->box->tick[(s->box->count - 1) % s->box->size];

        stop_ns  = last->now_ns;
        s->model = last->model_version;
        s->stop  = (struct stops_step){ .tick = last->tick, .now_ns = last->now_ns, .trial = last->trial, .step = last->step };
    }
    s->stop.unix_s = unix_now();
    snprintf(s->before, sizeof s->before,
             "the limberd before (process %d) died in %s without an orderly end; its robot side damps by itself; limber why "
             "shows its last ticks", pid, mode);
    head = stops_head(s, NULL);
    json_object_set_new(head, "from", json_string(mode));
    json_object_set_new(head, "pid", json_integer(pid));
    record(s, head, stop_ns);
    box_close(s);
}

static void look_back(struct stops *s)
{
    char  path[PATH_SIZE + 32], mode[16] = "?";
    int   pid = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/alive", s->dir);
    if ((f = fopen(path, "re"))) {
        if (fscanf(f, "%d %15s", &pid, mode) < 1)
            pid = 0;
        fclose(f);
        record_crash(s, pid, mode);
        return;
    }
    path_of(s, path, s->last, ".jsonl");
    json_t *head = s->last && (f = fopen(path, "re")) ? json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL) : NULL;

    if (s->last && f)
        fclose(f);
    const char *code = json_string_value(json_object_get(head, "code")), *cause = json_string_value(json_object_get(head, "cause"));

    if (code && cause)
        snprintf(s->before, sizeof s->before, "the last stop here was %s: %.120s; limber why %d tells more", code, cause, s->last);
    json_decref(head);
}

void stops_open(struct stops *s, const struct robot_config *config, const char *run_dir, struct journal *journal)
{
    char path[PATH_SIZE + 32];

    *s = (struct stops){ .config = config, .journal = journal, .alive_fd = -1 };
    s->config_hash = fnv1a(fnv1a(0xcbf29ce484222325, config->file), config->task_file);
    if ((size_t)snprintf(s->dir, sizeof s->dir, "%s/stops", run_dir) >= sizeof s->dir ||
        (mkdir(s->dir, 0750) != 0 && errno != EEXIST)) {
        journal_say(journal, "stop", "no recordings of stops: %s/stops: %s", run_dir, strerror(errno));
        s->failed = true;
    }
    newest(s);
    look_back(s);
    if (s->before[0])
        journal_say(journal, "before", "%s", s->before);
    box_open(s);
    snprintf(path, sizeof path, "%s/alive", s->dir);
    s->alive_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    alive_write(s, &(enum mode){ MODE_BOOT });
}

void stops_close(struct stops *s)
{
    char path[PATH_SIZE + 32];

    snprintf(path, sizeof path, "%s/alive", s->dir);
    unlink(path);
    if (s->alive_fd >= 0)
        close(s->alive_fd);
    box_close(s);
}

/* ---- as it goes ---- */

void stops_notice(struct stops *s, const struct notice *n)
{
    struct stops_step step = { .is_gate = n->kind == NOTICE_GATE, .tick = n->tick, .now_ns = n->now_ns, .from = n->from,
                               .to = n->to, .stop = n->stop, .gate = n->gate, .trial = n->trial, .step = n->step,
                               .unix_s = unix_now() };

    if (n->kind != NOTICE_MODE && n->kind != NOTICE_GATE)
        return;
    s->step[s->nstep++ % STOPS_STEPS] = step;
    if (n->kind == NOTICE_GATE)
        return;
    disk_task(s->journal->disk, alive_write, s, &n->to, sizeof n->to, NULL);
    if (n->to == MODE_STOPPING || n->to == MODE_FAULT) {
        s->npending -= s->npending == STOPS_PENDING; /* the newest tells most */
        s->pending[s->npending++] = step;
    }
}

void stops_tick(struct stops *s, const struct tick_record *r)
{
    s->model = r->model_version;
    if (!s->box)
        return;
    s->box->tick[s->box->count % s->box->size] = *r;
    s->box->count++;
}

void stops_settle(struct stops *s, const struct core *core)
{
    const struct stops_box *b = s->box;

    recorded(s);
    while (s->npending) {
        uint64_t at        = s->pending[0].tick;
        bool     have_tick = b && b->count && b->tick[(b->count - 1) % b->size].tick >= at;

        if (b && !have_tick && core->tick < at + 2 * s->box->size) /* its record is on the way, or was dropped */
            return;
        s->stop = s->pending[0];
        memmove(s->pending, s->pending + 1, (size_t)--s->npending * sizeof s->pending[0]);
        record(s, stops_head(s, core), s->stop.now_ns);
    }
}
