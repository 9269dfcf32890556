/* picture.c - see picture.h.  Poses cross to the drawing thread by handoff.h: the simulation never waits for it. */
#include "firmware-bridge/picture.h"

#include <cairo/cairo.h>
#include <errno.h>
#include <math.h>
#include <mujoco/mujoco.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/rt/check.h"
#include "daemon/rt/handoff.h"

enum {
    POSES     = 512, /* kept of a trial; when full, every second one goes            */
    PANELS    = 16,
    GHOSTS    = 5, /* faint poses that lead up to each panel's                     */
    WIDTH     = 1440,
    MARGIN    = 20, /* pixels, as are the next                                      */
    GAP       = 8,
    HEADER    = 44,
    GEOMS     = 256, /* drawn of a model; the rest is left out                       */
    PATH_MOST = 1024,
};

struct strip {
    uint32_t trial;
    int      n, stride, skip; /* one pose in `stride` is kept */
    double   time_s[POSES];
    double  *pose; /* POSES x nq */
};

struct picture {
    char           file[PATH_MOST], robot[NAME_SIZE];
    const mjModel *model;
    mjData        *data; /* the drawing thread's own */
    struct strip   strip[3];
    struct handoff handoff;
    bool           running; /* a trial is being collected */
    sem_t          work;
    _Atomic bool   quit;
    pthread_t      thread;
    char           trouble[PATH_MOST + 100]; /* drawing thread's, read after it ended */
};

/* The square metres that are shown, and where they are on the canvas. */
struct view {
    double x0, x1, z0, z1;
    double scale, left, bottom; /* pixels per m; pixel of (x0, z0) */
};

static const double palette[][3] = { { 0.16, 0.27, 0.36 }, { 0.93, 0.42, 0.13 }, { 0.13, 0.55, 0.55 },
                                     { 0.78, 0.21, 0.31 }, { 0.44, 0.36, 0.65 }, { 0.55, 0.60, 0.20 } };

/* ---- geometry -------------------------------------------------------------------------------------------------- */

/* Where pose i of the strip puts all geoms. */
static void place(struct picture *p, const struct strip *s, int i)
{
    int nq = p->model->nq;

    memcpy(p->data->qpos, s->pose + (size_t)i * (size_t)nq, sizeof(double) * (size_t)nq);
    mj_kinematics(p->model, p->data);
}

/* Half the extent of geom g along axis (0 x, 2 z), its position being the middle. */
static double extent(const struct picture *p, int g, int axis)
{
    const mjtNum *size = p->model->geom_size + 3 * g, *mat = p->data->geom_xmat + 9 * g + 3 * axis;

    switch (p->model->geom_type[g]) {
    case mjGEOM_CAPSULE: return size[0] + size[1] * fabs(mat[2]);
    case mjGEOM_CYLINDER: return size[0] * sqrt(1 - mat[2] * mat[2]) + size[1] * fabs(mat[2]);
    case mjGEOM_BOX: return size[0] * fabs(mat[0]) + size[1] * fabs(mat[1]) + size[2] * fabs(mat[2]);
    case mjGEOM_PLANE: return 0;
    default: return p->model->geom_rbound[g];
    }
}

static void widen(struct view *v, double x, double z, double rx, double rz)
{
    v->x0 = x - rx < v->x0 ? x - rx : v->x0;
    v->x1 = x + rx > v->x1 ? x + rx : v->x1;
    v->z0 = z - rz < v->z0 ? z - rz : v->z0;
    v->z1 = z + rz > v->z1 ? z + rz : v->z1;
}

/* The ends of a limited slide of a body that hangs on the world: a rail. */
static bool rail(const mjModel *m, int j, double a[2], double b[2])
{
    int           body = m->jnt_bodyid[j];
    const mjtNum *axis = m->jnt_axis + 3 * j, *pos = m->body_pos + 3 * body;

    if (m->jnt_type[j] != mjJNT_SLIDE || !m->jnt_limited[j] || m->body_parentid[body] != 0 || fabs(axis[1]) > 0.5)
        return false;
    for (int i = 0; i < 2; i++) {
        a[i] = pos[2 * i] + axis[2 * i] * m->jnt_range[2 * j];
        b[i] = pos[2 * i] + axis[2 * i] * m->jnt_range[2 * j + 1];
    }
    return true;
}

static struct view bounds(struct picture *p, const struct strip *s)
{
    struct view v = { .x0 = 1e9, .x1 = -1e9, .z0 = 1e9, .z1 = -1e9 };
    double      a[2], b[2];

    for (int i = 0; i < s->n; i++) {
        place(p, s, i);
        for (int g = 0; g < p->model->ngeom; g++)
            if (p->model->geom_type[g] != mjGEOM_PLANE)
                widen(&v, p->data->geom_xpos[3 * g], p->data->geom_xpos[3 * g + 2], extent(p, g, 0), extent(p, g, 2));
    }
    for (int j = 0; j < p->model->njnt; j++)
        if (rail(p->model, j, a, b))
            widen(&v, a[0], a[1], 0, 0), widen(&v, b[0], b[1], 0, 0);
    double pad = 0.04 * (v.x1 - v.x0 > v.z1 - v.z0 ? v.x1 - v.x0 : v.z1 - v.z0) + 1e-3;
    widen(&v, v.x0, v.z0, pad, pad);
    widen(&v, v.x1, v.z1, pad, pad);
    return v;
}

static double px(const struct view *v, double x)
{
    return v->left + (x - v->x0) * v->scale;
}

static double pz(const struct view *v, double z)
{
    return v->bottom - (z - v->z0) * v->scale;
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */

static void colour(const struct picture *p, cairo_t *c, int g, double alpha)
{
    const float *rgba = p->model->geom_rgba + 4 * g;
    int          body = p->model->geom_bodyid[g];
    bool         own  = rgba[0] != 0.5f || rgba[1] != 0.5f || rgba[2] != 0.5f; /* MuJoCo's default is grey */

    if (own)
        cairo_set_source_rgba(c, (double)rgba[0], (double)rgba[1], (double)rgba[2], alpha * (double)rgba[3]);
    else if (body == 0)
        cairo_set_source_rgba(c, 0.75, 0.77, 0.80, alpha);
    else {
        const double *rgb = palette[(size_t)(body - 1) % (sizeof palette / sizeof palette[0])];
        cairo_set_source_rgba(c, rgb[0], rgb[1], rgb[2], alpha);
    }
}

/* The outline of a projected box: the convex hull of its corners, taken by angle around the middle. */
static void box_path(const struct picture *p, cairo_t *c, const struct view *v, int g)
{
    const mjtNum *at = p->data->geom_xpos + 3 * g, *mat = p->data->geom_xmat + 9 * g,
                 *size = p->model->geom_size + 3 * g;
    double ax[3], az[3];

    /* A box is the sum of three segments, so its outline is their edges in order of direction, there and back. */
    for (int k = 0; k < 3; k++) {
        ax[k] = mat[k] * size[k], az[k] = mat[6 + k] * size[k];
        if (az[k] < 0 || (az[k] == 0 && ax[k] < 0))
            ax[k] = -ax[k], az[k] = -az[k];
    }
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2 - i; k++)
            if (atan2(az[k], ax[k]) > atan2(az[k + 1], ax[k + 1])) {
                double tx = ax[k], tz = az[k];
                ax[k] = ax[k + 1], az[k] = az[k + 1], ax[k + 1] = tx, az[k + 1] = tz;
            }
    double x = at[0] - ax[0] - ax[1] - ax[2], z = at[2] - az[0] - az[1] - az[2];
    cairo_move_to(c, px(v, x), pz(v, z));
    for (int k = 0; k < 6; k++) {
        double sign = k < 3 ? 2 : -2;
        x += sign * ax[k % 3], z += sign * az[k % 3];
        cairo_line_to(c, px(v, x), pz(v, z));
    }
    cairo_close_path(c);
}

static void draw_geom(const struct picture *p, cairo_t *c, const struct view *v, int g, double alpha)
{
    const mjtNum *at = p->data->geom_xpos + 3 * g, *mat = p->data->geom_xmat + 9 * g,
                 *size = p->model->geom_size + 3 * g;
    int type           = p->model->geom_type[g];

    colour(p, c, g, alpha);
    switch (type) {
    case mjGEOM_CAPSULE:
    case mjGEOM_CYLINDER:
        cairo_set_line_width(c, 2 * size[0] * v->scale);
        cairo_set_line_cap(c, type == mjGEOM_CAPSULE ? CAIRO_LINE_CAP_ROUND : CAIRO_LINE_CAP_BUTT);
        cairo_move_to(c, px(v, at[0] - size[1] * mat[2]), pz(v, at[2] - size[1] * mat[8]));
        cairo_line_to(c, px(v, at[0] + size[1] * mat[2]), pz(v, at[2] + size[1] * mat[8]));
        cairo_stroke(c);
        break;
    case mjGEOM_BOX:
        box_path(p, c, v, g);
        cairo_fill(c);
        break;
    case mjGEOM_PLANE:
        cairo_set_source_rgba(c, 0.55, 0.58, 0.62, alpha);
        cairo_set_line_width(c, 1);
        cairo_move_to(c, px(v, v->x0), pz(v, at[2]));
        cairo_line_to(c, px(v, v->x1), pz(v, at[2]));
        cairo_stroke(c);
        break;
    default: cairo_arc(c, px(v, at[0]), pz(v, at[2]), p->model->geom_rbound[g] * v->scale, 0, 2 * M_PI); cairo_fill(c);
    }
}

/* All geoms as placed, far ones (large y) first. */
static void draw_robot(const struct picture *p, cairo_t *c, const struct view *v, double alpha)
{
    int order[GEOMS], n = p->model->ngeom < GEOMS ? p->model->ngeom : GEOMS;

    for (int g = 0; g < n; g++) {
        int i = g;

        for (; i > 0 && p->data->geom_xpos[3 * order[i - 1] + 1] < p->data->geom_xpos[3 * g + 1] - 1e-9; i--)
            order[i] = order[i - 1];
        order[i] = g;
    }
    for (int i = 0; i < n; i++)
        draw_geom(p, c, v, order[i], alpha);
}

static void draw_rails(const struct picture *p, cairo_t *c, const struct view *v)
{
    double a[2], b[2], stop = 0.06 * (v->z1 - v->z0);

    cairo_set_source_rgb(c, 0.68, 0.71, 0.75);
    cairo_set_line_width(c, 2);
    cairo_set_line_cap(c, CAIRO_LINE_CAP_ROUND);
    for (int j = 0; j < p->model->njnt; j++) {
        if (!rail(p->model, j, a, b))
            continue;
        double dx = b[0] - a[0], dz = b[1] - a[1], len = hypot(dx, dz), nx = -dz / len * stop, nz = dx / len * stop;

        cairo_move_to(c, px(v, a[0]), pz(v, a[1]));
        cairo_line_to(c, px(v, b[0]), pz(v, b[1]));
        for (int end = 0; end < 2; end++) {
            const double *at = end ? b : a;

            cairo_move_to(c, px(v, at[0] - nx), pz(v, at[1] - nz));
            cairo_line_to(c, px(v, at[0] + nx), pz(v, at[1] + nz));
        }
        cairo_stroke(c);
    }
}

/* The paths of all sites from pose `from` to pose `to`. */
static void draw_trails(struct picture *p, const struct strip *s, cairo_t *c, const struct view *v, int from, int to)
{
    cairo_set_source_rgba(c, 0.93, 0.42, 0.13, 0.55);
    cairo_set_line_width(c, 1.5);
    cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
    for (int k = 0; k < p->model->nsite; k++) {
        for (int i = from; i <= to; i++) {
            place(p, s, i);
            cairo_line_to(c, px(v, p->data->site_xpos[3 * k]), pz(v, p->data->site_xpos[3 * k + 2]));
        }
        cairo_stroke(c);
    }
}

static void draw_panel(struct picture *p, const struct strip *s, cairo_t *c, const struct view *v, int from, int to)
{
    double width = (v->x1 - v->x0) * v->scale, height = (v->z1 - v->z0) * v->scale, top = v->bottom - height;
    char   label[32];

    cairo_save(c);
    cairo_rectangle(c, v->left, top, width, height);
    cairo_set_source_rgb(c, 0.965, 0.970, 0.976);
    cairo_fill_preserve(c);
    cairo_clip(c);
    draw_rails(p, c, v);
    for (int i = 1; i < GHOSTS && to > from; i++) {
        cairo_push_group(c); /* one faintness for the whole pose, also where its parts overlap */
        place(p, s, from + i * (to - from) / GHOSTS);
        draw_robot(p, c, v, 1);
        cairo_pop_group_to_source(c);
        cairo_paint_with_alpha(c, 0.03 + 0.04 * i);
    }
    draw_trails(p, s, c, v, from, to);
    place(p, s, to);
    draw_robot(p, c, v, 1);
    cairo_set_source_rgb(c, 0.35, 0.38, 0.42);
    cairo_set_font_size(c, 12);
    cairo_move_to(c, v->left + 7, top + 16);
    snprintf(label, sizeof label, "%.2f s", s->time_s[to]);
    cairo_show_text(c, label);
    cairo_restore(c);
}

/* Columns that bring the picture's shape closest to 16:10. */
static int columns(int panels, double aspect)
{
    int    best     = 1;
    double best_off = 1e9;

    for (int n = 1; n <= panels; n++) {
        int    rows = (panels + n - 1) / n;
        double off  = fabs(log(aspect * n / rows / 1.6)) + 0.2 * (rows * n - panels);

        if (off < best_off)
            best = n, best_off = off;
    }
    return best;
}

static bool save(struct picture *p, cairo_surface_t *surface)
{
    char           beside[PATH_MOST + 8];
    cairo_status_t status;

    snprintf(beside, sizeof beside, "%s.part", p->file);
    status = cairo_surface_write_to_png(surface, beside);
    if (status != CAIRO_STATUS_SUCCESS || rename(beside, p->file) != 0) {
        snprintf(p->trouble, sizeof p->trouble, "%s: the picture was not written: %s", p->file,
                 status != CAIRO_STATUS_SUCCESS ? cairo_status_to_string(status) : strerror(errno));
        remove(beside);
        return false;
    }
    p->trouble[0] = 0;
    return true;
}

static void draw(struct picture *p, const struct strip *s)
{
    struct view v    = bounds(p, s);
    int         n    = s->n < PANELS ? s->n : PANELS;
    int         cols = columns(n, (v.x1 - v.x0) / (v.z1 - v.z0)), rows = (n + cols - 1) / cols;
    double      width = (WIDTH - 2.0 * MARGIN - GAP * (cols - 1)) / cols, height;
    char        title[160];

    v.scale                  = width / (v.x1 - v.x0);
    height                   = (v.z1 - v.z0) * v.scale;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH,
                                                          (int)(HEADER + MARGIN + rows * height + (rows - 1) * GAP));
    cairo_t         *c       = cairo_create(surface);

    cairo_set_source_rgb(c, 1, 1, 1);
    cairo_paint(c);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, 18);
    cairo_set_source_rgb(c, 0.16, 0.20, 0.24);
    cairo_move_to(c, MARGIN, 29);
    snprintf(title, sizeof title, "%s, trial %u, %.1f s (simulated)", p->robot, s->trial, s->time_s[s->n - 1]);
    cairo_show_text(c, title);
    for (int i = 0; i < n; i++) {
        int last = n > 1 ? i * (s->n - 1) / (n - 1) : 0, before = i > 0 ? (i - 1) * (s->n - 1) / (n - 1) : 0;

        v.left   = MARGIN + i % cols * (width + GAP);
        v.bottom = HEADER + i / cols * (height + GAP) + height;
        draw_panel(p, s, c, &v, before, last);
    }
    cairo_destroy(c);
    save(p, surface);
    cairo_surface_destroy(surface);
}

static void *work(void *arg)
{
    struct picture *p = arg;
    bool            fresh, last;

    do {
        while (sem_wait(&p->work) != 0)
            ;
        last            = atomic_load(&p->quit); /* read first: what was published before it is then seen */
        struct strip *s = &p->strip[handoff_latest(&p->handoff, &fresh)];
        if (fresh && s->n > 0)
            draw(p, s);
    } while (!last);
    return NULL;
}

/* ---- collecting ------------------------------------------------------------------------------------------------ */

static void picture_free(struct picture *p)
{
    for (int i = 0; i < 3; i++)
        free(p->strip[i].pose);
    if (p->data)
        mj_deleteData(p->data);
    free(p);
}

struct picture *picture_open(const char *file, const char *robot, const struct sim *sim, char *why, size_t why_size)
{
    struct picture *p = calloc(1, sizeof *p);

    CHECK(p);
    if (strlen(file) >= sizeof p->file) {
        snprintf(why, why_size, "--picture: the path has %zu bytes, expected less than %zu", strlen(file),
                 sizeof p->file);
        picture_free(p);
        return NULL;
    }
    snprintf(p->file, sizeof p->file, "%s", file);
    snprintf(p->robot, sizeof p->robot, "%s", robot);
    p->model = sim_model(sim);
    p->data  = mj_makeData(p->model);
    for (int i = 0; i < 3; i++) {
        p->strip[i].pose = calloc(POSES * (size_t)sim_nq(sim), sizeof(double));
        CHECK(p->data && p->strip[i].pose);
    }
    handoff_init(&p->handoff);
    CHECK(sem_init(&p->work, 0, 0) == 0);
    int error = pthread_create(&p->thread, NULL, work, p);
    if (error != 0) {
        snprintf(why, why_size, "--picture: no thread to draw with: %s", strerror(error));
        picture_free(p);
        return NULL;
    }
    return p;
}

void picture_begin(struct picture *p, uint32_t trial)
{
    struct strip *s = &p->strip[p->handoff.write];

    s->trial = trial;
    s->n = s->skip = 0;
    s->stride      = 1;
    p->running     = true;
}

void picture_pose(struct picture *p, const struct sim *sim, double time_s)
{
    struct strip *s  = &p->strip[p->handoff.write];
    size_t        nq = (size_t)sim_nq(sim);

    if (!p->running || s->skip-- > 0)
        return;
    if (s->n == POSES) {
        for (int i = 0; i < POSES / 2; i++) {
            s->time_s[i] = s->time_s[2 * i];
            memmove(s->pose + (size_t)i * nq, s->pose + 2 * (size_t)i * nq, nq * sizeof(double));
        }
        s->n = POSES / 2;
        s->stride *= 2;
    }
    s->skip         = s->stride - 1;
    s->time_s[s->n] = time_s;
    sim_pose(sim, s->pose + (size_t)s->n * nq);
    s->n++;
}

void picture_end(struct picture *p)
{
    if (!p->running)
        return;
    p->running = false;
    handoff_publish(&p->handoff);
    sem_post(&p->work);
}

bool picture_close(struct picture *p, char *why, size_t why_size)
{
    bool ok;

    picture_end(p);
    atomic_store(&p->quit, true);
    sem_post(&p->work);
    pthread_join(p->thread, NULL);
    sem_destroy(&p->work);
    ok = p->trouble[0] == 0;
    snprintf(why, why_size, "%s", p->trouble);
    picture_free(p);
    return ok;
}
