/* perms.h - whose a file is: what a robot learned from, and what drives it, must be nobody else's to write. */
#ifndef MODELS_PERMS_H
#define MODELS_PERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Owned by `us` or root, and writable by its owner only.  A directory with the sticky bit may be anybody's to add to: what
 * is in it is judged by itself.  True, or false with a sentence naming path, owner, mode and what was expected in `why`. */
bool perms_good(const char *path, const struct stat *st, uid_t us, char *why, size_t why_size);

/* The same of a path, links followed; true where there is none. */
bool perms_path_good(const char *path, uid_t us, char *why, size_t why_size);

/* Every entry of a directory whose name ends in `suffix`, and the directory itself; true where there is none. */
bool perms_entries_good(const char *dir, const char *suffix, uid_t us, char *why, size_t why_size);

#endif
