/* run_dir.h - where a daemon's sockets are, for the one who makes the directory and for those who look for it.
 *
 * In this order:
 *
 *     the flag --run-dir           any directory of ours that nobody else can write
 *     `paths.run` of robot.yaml    likewise
 *     /run/limber/NAME             where we are root, or it exists and is ours (systemd makes it)
 *     $XDG_RUNTIME_DIR/limber/NAME
 *     /tmp/limber-UID/NAME         the first part 0700
 *
 * In the last three no link is followed and everything below the base must be ours: others may write to /tmp.
 * The names of sockets must fit sockaddr_un; a directory too deep for that is refused here, in words. */
#ifndef DAEMON_RUN_DIR_H
#define DAEMON_RUN_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Robot's name as a directory: letters, digits, '-', '_', '.'; not starting with '.'. */
bool run_dir_name_ok(const char *robot);

/* It is another user's, or others may write to it: nothing that a robot should start in. */
enum { RUN_DIR_NOT_OURS = -2 };

/* Makes the directory (0750) if need be, checks it, writes its absolute path.  flag and from_config may be NULL or
 * empty.  0, or -1 or RUN_DIR_NOT_OURS with a sentence in `why`. */
int run_dir_find(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                 size_t why_size);

/* The path that run_dir_find would make or take, without touching anything. */
int run_dir_planned(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                    size_t why_size);

/* The same rule for those who only look: makes nothing; among the default places the first that has a status socket
 * wins.  0, or -1 with a sentence that names the places tried. */
int run_dir_lookup(const char *flag, const char *from_config, const char *robot, char *out, size_t n, char *why,
                   size_t why_size);

/* Calls found() with every directory under the default places whose daemon accepts connections. */
void run_dir_each(void (*found)(void *ctx, const char *dir), void *ctx);

/* Calls found() with every directory under the default places that has an entry of that name, alive or not. */
void run_dir_each_with(const char *entry, void (*found)(void *ctx, const char *dir), void *ctx);

/* True if a daemon accepts connections at DIR/status.sock. */
bool run_dir_alive(const char *dir);

/* The default places as an argument, so that a test can put them anywhere; the functions above use the real ones. */
struct run_dir_places {
    const char *system;  /* "/run/limber" */
    const char *runtime; /* $XDG_RUNTIME_DIR, NULL: none */
    const char *tmp;     /* "/tmp" */
    uid_t       uid;     /* whose directories count as ours */
};

struct run_dir_places run_dir_places(void);

int  run_dir_find_in(const struct run_dir_places *p, const char *flag, const char *from_config, const char *robot,
                     char *out, size_t n, char *why, size_t why_size);
int  run_dir_lookup_in(const struct run_dir_places *p, const char *flag, const char *from_config, const char *robot,
                       char *out, size_t n, char *why, size_t why_size);
void run_dir_each_in(const struct run_dir_places *p, void (*found)(void *ctx, const char *dir), void *ctx);

#endif
