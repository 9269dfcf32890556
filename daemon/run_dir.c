/* run_dir.c - see run_dir.h. */
#include "daemon/run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The longest name a daemon puts there. */
#define LONGEST "/telemetry.sock"

struct trouble {
    char  *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct trouble t, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(t.text, t.size, format, ap);
    va_end(ap);
    return -1;
}

bool run_dir_name_ok(const char *robot)
{
    if (!robot || !robot[0] || robot[0] == '.' || strlen(robot) > 64)
        return false;
    for (const char *c = robot; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');

        if (!letter && !(*c >= '0' && *c <= '9') && !strchr("-_.", *c))
            return false;
    }
    return true;
}

struct run_dir_places run_dir_places(void)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    return (struct run_dir_places){
        .system  = "/run/limber",
        .runtime = runtime && runtime[0] == '/' ? runtime : NULL,
        .tmp     = "/tmp",
        .uid     = geteuid(),
    };
}

/* --- checks --------------------------------------------------------------------------------------------------- */

static int check_ours(const char *path, const struct stat *st, uid_t uid, mode_t forbidden, struct trouble t)
{
    if (S_ISLNK(st->st_mode))
        return refuse(t, "%s is a symbolic link; remove it, a run directory there must be a real one", path);
    if (!S_ISDIR(st->st_mode))
        return refuse(t, "%s is not a directory; remove it or name another place with --run-dir", path);
    if (st->st_uid != uid)
        refuse(t, "%s belongs to user %u, not to user %u who runs this; name another place with --run-dir", path,
               (unsigned)st->st_uid, (unsigned)uid);
    else if (st->st_mode & forbidden)
        refuse(t, "%s is open to others (mode %03o); chmod %03o it or name another place with --run-dir", path,
               (unsigned)(st->st_mode & 0777), (unsigned)(st->st_mode & 0777 & ~forbidden));
    else
        return 0;
    return RUN_DIR_NOT_OURS;
}

static int write_path(const char *path, char *out, size_t n, struct trouble t)
{
    struct sockaddr_un sa;
    char               real[PATH_MAX];

    if (!realpath(path, real))
        return refuse(t, "%s: %s", path, strerror(errno));
    if (strlen(real) + sizeof LONGEST > sizeof sa.sun_path)
        return refuse(
            t, "%s is too long a path for sockets in it (%zu bytes, at most %zu); choose a shorter one with --run-dir",
            real, strlen(real), sizeof sa.sun_path - sizeof LONGEST);
    if ((size_t)snprintf(out, n, "%s", real) >= n)
        return refuse(t, "%s is too long a path", real);
    return 0;
}

/* Makes one directory that must be ours and no link; an existing one is only checked. */
static int make_strict(const char *path, mode_t mode, mode_t forbidden, uid_t uid, struct trouble t)
{
    struct stat st;

    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return refuse(t, "cannot make %s: %s; name another place with --run-dir", path, strerror(errno));
    if (lstat(path, &st) != 0)
        return refuse(t, "%s: %s", path, strerror(errno));
    return check_ours(path, &st, uid, forbidden, t);
}

/* --- a place named by a person -------------------------------------------------------------------------------- */

static int make_named(const char *path, uid_t uid, char *out, size_t n, struct trouble t)
{
    char        part[PATH_MAX];
    struct stat st;

    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return refuse(t, "the run directory's path is too long");
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return refuse(t, "cannot make %s: %s", part, strerror(errno));
        *slash = '/';
    }
    if (mkdir(part, 0750) != 0 && errno != EEXIST)
        return refuse(t, "cannot make %s: %s", path, strerror(errno));
    if (stat(part, &st) != 0)
        return refuse(t, "%s: %s", path, strerror(errno));
    int bad = check_ours(path, &st, uid, S_IWGRP | S_IWOTH, t);

    return bad ? bad : write_path(path, out, n, t);
}

static const char *named(const char *flag, const char *from_config)
{
    if (flag && flag[0])
        return flag;
    return from_config && from_config[0] ? from_config : NULL;
}

/* --- the default places --------------------------------------------------------------------------------------- */

/* BASE itself, then SUB, then NAME below it, e.g. /tmp, limber-1000, cartpole; SUB may be empty. */
struct place {
    char   parent[PATH_MAX]; /* of all robots of ours */
    char   dir[PATH_MAX];    /* of this robot */
    mode_t parent_mode, forbidden;
    bool   usable;
};

enum { SYSTEM, RUNTIME, TMP, PLACES };

/* False where the path does not fit. */
static bool place_paths(struct place *w, const char *base, const char *sub, const char *robot)
{
    return (size_t)snprintf(w->parent, sizeof w->parent, "%s%s", base, sub) < sizeof w->parent &&
           (size_t)snprintf(w->dir, sizeof w->dir, "%s%s/%s", base, sub, robot) < sizeof w->dir;
}

static void places_list(const struct run_dir_places *p, const char *robot, struct place w[PLACES])
{
    char sub[32];

    snprintf(sub, sizeof sub, "/limber-%u", (unsigned)p->uid);
    w[SYSTEM]  = (struct place){ .parent_mode = 0755, .forbidden = S_IWOTH };
    w[RUNTIME] = (struct place){ .parent_mode = 0755, .forbidden = S_IWGRP | S_IWOTH };
    w[TMP]     = (struct place){ .parent_mode = 0700, .forbidden = 0077 };

    w[SYSTEM].usable  = place_paths(&w[SYSTEM], p->system, "", robot);
    w[RUNTIME].usable = p->runtime && place_paths(&w[RUNTIME], p->runtime, "/limber", robot);
    w[TMP].usable     = place_paths(&w[TMP], p->tmp, sub, robot);
}

static bool is_our_dir(const char *path, uid_t uid)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid;
}

/* Where the default rule puts it; systemd makes the first place for a service that is not root. */
static const struct place *choose(const struct run_dir_places *p, const struct place w[PLACES])
{
    if (w[SYSTEM].usable && (p->uid == 0 || is_our_dir(w[SYSTEM].dir, p->uid)))
        return &w[SYSTEM];
    return w[RUNTIME].usable ? &w[RUNTIME] : &w[TMP];
}

/* The place of a robot by the default rule into *chosen, or -1. */
static int default_place(const struct run_dir_places *p, const char *robot, struct place w[PLACES],
                         const struct place **chosen, struct trouble t)
{
    if (!run_dir_name_ok(robot))
        return refuse(t, "robot name \"%s\": expected letters, digits, '-', '_' or '.'", robot ? robot : "");
    places_list(p, robot, w);
    *chosen = choose(p, w);
    return (*chosen)->usable ? 0 : refuse(t, "no place for a run directory; name one with --run-dir");
}

int run_dir_find_in(const struct run_dir_places *p, const char *flag, const char *from_config, const char *robot,
                    char *out, size_t n, char *why, size_t why_size)
{
    struct trouble      t    = { why, why_size };
    const char         *path = named(flag, from_config);
    struct place        w[PLACES];
    const struct place *use;

    if (path)
        return make_named(path, p->uid, out, n, t);
    if (default_place(p, robot, w, &use, t) != 0)
        return -1;
    /* The parent that systemd made is root's. */
    bool made_for_us = use == &w[SYSTEM] && p->uid != 0;
    int  bad         = made_for_us ? 0 : make_strict(use->parent, use->parent_mode, use->forbidden, p->uid, t);

    if (!bad)
        bad = make_strict(use->dir, 0750, S_IWGRP | S_IWOTH, p->uid, t);
    return bad ? bad : write_path(use->dir, out, n, t);
}

int run_dir_planned(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                    size_t why_size)
{
    struct run_dir_places p    = run_dir_places();
    struct trouble        t    = { why, why_size };
    const char           *path = named(flag, from_config);
    struct place          w[PLACES];
    const struct place   *use;

    if (!path) {
        if (default_place(&p, robot, w, &use, t) != 0)
            return -1;
        path = use->dir;
    }
    return (size_t)snprintf(out, n, "%s", path) < n ? 0 : refuse(t, "the run directory's path is too long");
}

int run_dir_find(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                 size_t why_size)
{
    struct run_dir_places p = run_dir_places();

    return run_dir_find_in(&p, flag, from_config, robot, out, n, why, why_size);
}

/* --- looking -------------------------------------------------------------------------------------------------- */

bool run_dir_alive(const char *dir)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    if ((size_t)snprintf(sa.sun_path, sizeof sa.sun_path, "%s/status.sock", dir) >= sizeof sa.sun_path)
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return false;
    bool alive = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 || errno == EAGAIN;

    close(fd);
    return alive;
}

static bool has_socket(const char *dir)
{
    char        path[PATH_MAX + 16];
    struct stat st;

    snprintf(path, sizeof path, "%s/status.sock", dir);
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* What stands under /run belongs to the system; elsewhere only our own directories are believed. */
static bool believable(const struct place *w, int which, uid_t uid)
{
    struct stat st;

    if (!w->usable)
        return false;
    if (which != SYSTEM && !is_our_dir(w->parent, uid))
        return false;
    return lstat(w->parent, &st) == 0 && S_ISDIR(st.st_mode);
}

int run_dir_lookup_in(const struct run_dir_places *p, const char *flag, const char *from_config, const char *robot,
                      char *out, size_t n, char *why, size_t why_size)
{
    struct trouble t    = { why, why_size };
    const char    *path = named(flag, from_config);
    struct place   w[PLACES];

    if (path)
        return write_path(path, out, n, t);
    if (!run_dir_name_ok(robot))
        return refuse(t, "robot name \"%s\": expected letters, digits, '-', '_' or '.'", robot ? robot : "");
    places_list(p, robot, w);
    for (int i = 0; i < PLACES; i++)
        if (believable(&w[i], i, p->uid) && has_socket(w[i].dir) && (i == SYSTEM || is_our_dir(w[i].dir, p->uid)))
            return write_path(w[i].dir, out, n, t);
    return refuse(t, "no daemon of a robot named \"%s\": looked in %s%s%s and %s", robot, w[SYSTEM].dir,
                  w[RUNTIME].usable ? ", " : "", w[RUNTIME].usable ? w[RUNTIME].dir : "", w[TMP].dir);
}

int run_dir_lookup(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                   size_t why_size)
{
    struct run_dir_places p = run_dir_places();

    return run_dir_lookup_in(&p, flag, from_config, robot, out, n, why, why_size);
}

static bool has_entry(const char *dir, const char *entry)
{
    char path[PATH_MAX + 64];

    return (size_t)snprintf(path, sizeof path, "%s/%s", dir, entry) < sizeof path && access(path, F_OK) == 0;
}

/* Those with `entry`, or where it is NULL those whose daemon is alive. */
static void each(const struct run_dir_places *p, const char *entry, void (*found)(void *ctx, const char *dir), void *ctx)
{
    struct place w[PLACES];

    places_list(p, "", w);
    for (int i = 0; i < PLACES; i++) {
        DIR           *d = believable(&w[i], i, p->uid) ? opendir(w[i].parent) : NULL;
        struct dirent *e;

        while (d && (e = readdir(d))) {
            char path[PATH_MAX];

            if (!run_dir_name_ok(e->d_name) ||
                (size_t)snprintf(path, sizeof path, "%s/%s", w[i].parent, e->d_name) >= sizeof path)
                continue;
            if ((i == SYSTEM || is_our_dir(path, p->uid)) && (entry ? has_entry(path, entry) : run_dir_alive(path)))
                found(ctx, path);
        }
        if (d)
            closedir(d);
    }
}

void run_dir_each_in(const struct run_dir_places *p, void (*found)(void *ctx, const char *dir), void *ctx)
{
    each(p, NULL, found, ctx);
}

void run_dir_each_with(const char *entry, void (*found)(void *ctx, const char *dir), void *ctx)
{
    struct run_dir_places p = run_dir_places();

    each(&p, entry, found, ctx);
}

void run_dir_each(void (*found)(void *ctx, const char *dir), void *ctx)
{
    struct run_dir_places p = run_dir_places();

    run_dir_each_in(&p, found, ctx);
}
