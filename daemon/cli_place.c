/* cli_place.c - which daemon a command is meant for. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli.h"
#include "daemon/config.h"
#include "daemon/run_dir.h"

static void add(void *ctx, const char *dir)
{
    struct daemons *d = ctx;
    char            real[PATH_MAX];

    if (!realpath(dir, real) || d->n == DAEMONS_MAX || strlen(real) >= sizeof d->dir[0])
        return;
    for (int i = 0; i < d->n; i++)
        if (!strcmp(d->dir[i], real))
            return;
    memcpy(d->dir[d->n++], real, strlen(real) + 1);
}

void place_daemons(struct daemons *d)
{
    d->n = 0;
    run_dir_each(add, d);
    if (run_dir_alive("build/run/latest"))
        add(d, "build/run/latest");
}

static int the_only_one(char *dir, size_t n)
{
    struct daemons *d  = malloc(sizeof *d);
    int             rc = EXIT_OK;

    if (!d)
        return EXIT_OSERR;
    place_daemons(d);
    if (d->n == 1) {
        snprintf(dir, n, "%s", d->dir[0]);
    } else if (d->n == 0) {
        fprintf(stderr,
                "limber: no daemon is running; start one with limberd --config FILE (systemctl start limber@NAME), "
                "or limber run robots/cartpole/robot.yaml for a simulated robot\n");
        rc = EXIT_UNAVAILABLE;
    } else {
        fprintf(stderr, "limber: %d daemons are running; say which with --robot NAME or --run-dir:\n", d->n);
        for (int i = 0; i < d->n; i++)
            fprintf(stderr, "    --run-dir %s\n", d->dir[i]);
        rc = EXIT_USAGE;
    }
    free(d);
    return rc;
}

int place_named(const struct place_flags *p, bool ended, char *dir, size_t n, char *why, size_t size)
{
    const char          *from_config = NULL, *robot = p->robot;
    struct robot_config *c           = NULL;

    if (!p->run_dir && p->config) {
        c = malloc(sizeof *c);
        if (!c) {
            snprintf(why, size, "no memory");
            return EXIT_OSERR;
        }
        if (config_load(p->config, c, why, size) != 0) {
            free(c);
            return EXIT_CONFIG;
        }
        from_config = c->paths.run;
        robot       = c->robot;
    }
    int rc = run_dir_lookup(p->run_dir, from_config, robot, dir, n, why, size);

    if (rc != 0 && ended)
        rc = run_dir_planned(p->run_dir, from_config, robot, dir, n, why, size);
    free(c);
    return rc == 0 ? EXIT_OK : EXIT_UNAVAILABLE;
}

int place_find(const struct place_flags *p, char *dir, size_t n)
{
    char why[600];

    if (!p->run_dir && !p->config && !p->robot)
        return the_only_one(dir, n);

    int rc = place_named(p, false, dir, n, why, sizeof why);

    if (rc != EXIT_OK)
        fprintf(stderr, "limber: %s%s\n", why, rc == EXIT_UNAVAILABLE ? "; is limberd running?" : "");
    return rc;
}

int place_trouble(enum http_result r, const struct http_answer *a)
{
    fprintf(stderr, "limber: %s\n", a->why);
    return r == HTTP_DENIED ? EXIT_NOPERM : EXIT_UNAVAILABLE;
}

int place_status(const struct place_flags *p, char *dir, size_t n, json_t **status)
{
    struct http_answer a;
    int                rc = place_find(p, dir, n);

    if (rc != EXIT_OK)
        return rc;

    enum http_result r = http_status(dir, &a);

    if (r != HTTP_OK)
        return place_trouble(r, &a);
    *status = a.json;
    return EXIT_OK;
}

void cli_print(struct screen *s, FILE *f)
{
    fputs(s->text ? s->text : "", f);
    screen_free(s);
}
