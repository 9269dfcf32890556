#include "models/perms.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

bool perms_good(const char *path, const struct stat *st, uid_t us, char *why, size_t why_size)
{
    bool owned = st->st_uid == us || st->st_uid == 0;
    bool open  = st->st_mode & (S_IWGRP | S_IWOTH) && !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX);

    if (owned && !open)
        return true;
    snprintf(why, why_size,
             "%s belongs to user %u, mode %03o: expected an owner who is user %u or root, and nobody else who may "
             "write to it "
             "(store_perms); %s%s",
             path, (unsigned)st->st_uid, (unsigned)st->st_mode & 07777, (unsigned)us,
             open ? "chmod go-w" : "see who wrote it",
             open ? " it if what is in it is yours" : ", then chown it or move it away");
    return false;
}

bool perms_path_good(const char *path, uid_t us, char *why, size_t why_size)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return perms_good(path, &st, us, why, why_size);
    if (errno == ENOENT)
        return true;
    snprintf(why, why_size, "%s: %s (store_perms)", path, strerror(errno));
    return false;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

bool perms_entries_good(const char *dir, const char *suffix, uid_t us, char *why, size_t why_size)
{
    char           path[PATH_MAX];
    bool           good = perms_path_good(dir, us, why, why_size);
    DIR           *d    = good ? opendir(dir) : NULL;
    struct dirent *e;

    while (good && d && (e = readdir(d)))
        if (ends_in(e->d_name, suffix) && (size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < sizeof path)
            good = perms_path_good(path, us, why, why_size);
    if (d)
        closedir(d);
    return good;
}
