/* model_file.c - the file is built and checked in memory, and written or read in one piece. */
#include "models/model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "daemon/rt/check.h"
#include "models/perms.h"

enum { FORMAT = 2, LARGEST = 128 << 20 /* bytes; 16 nets of 5 x 512 are 84 MB */ };

#define MAGIC              "LIMBERNN"
#define SELFTEST_TOLERANCE 1e-4f

struct file_header {
    char     magic[8];
    uint32_t format;
    uint32_t header; /* bytes of this header        */
    uint64_t length; /* bytes of the file           */
    uint64_t version;
    char     robot[NAME_SIZE];
    int32_t  nx, na, members, layers, hidden;
    uint8_t  input[MAX_OBS];
    uint8_t  target[MAX_OBS];
    uint8_t  heading;
    uint8_t  zero[3];
};
_Static_assert(sizeof(struct file_header) == 232, "no padding: this is the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian");

void model_selftest(const struct ensemble *e, float *out)
{
    const struct model_dims *d = &e->dims;
    float                    x[MAX_OBS], a[MAX_ACT], mean[MAX_OBS], var[MAX_OBS];
    int                      in = 0;

    /* Near the data, where a model is made to be used; alternating sides so that every input counts. */
    for (int k = 0; k < d->nx; k++, in++) {
        if (d->input[k] == INPUT_ANGLE) {
            x[k] = k % 2 ? -0.5f : 0.5f;
            in++;
        } else if (d->input[k] == INPUT_IDENTITY) {
            x[k] = e->in_mean[in] + (k % 2 ? -0.5f : 0.5f) * e->in_std[in];
        } else {
            x[k] = 0;
            in--;
        }
    }
    for (int k = 0; k < d->na; k++, in++)
        a[k] = e->in_mean[in] + (k % 2 ? -0.5f : 0.5f) * e->in_std[in];

    memset(out, 0, 2 * (size_t)d->nx * sizeof *out);
    for (int m = 0; m < d->members; m++) {
        ensemble_predict(e, m, x, a, mean, var);
        for (int k = 0; k < d->nx; k++) {
            out[k] += mean[k] / (float)d->members;
            out[d->nx + k] += var[k] / (float)d->members;
        }
    }
}

static size_t file_length(const struct model_dims *d)
{
    size_t floats = 2 * (size_t)ensemble_nin(d) + 6 * (size_t)d->nx + (size_t)d->members * ensemble_params(d);

    return sizeof(struct file_header) + floats * sizeof(float) + sizeof(uint32_t);
}

/* Both directions go through the same list, so they cannot disagree about the order. */
static void transfer(struct ensemble *e, float *selftest, uint8_t *body, bool to_file)
{
    size_t nx = (size_t)e->dims.nx, nin = (size_t)ensemble_nin(&e->dims);
    struct {
        float *v;
        size_t n;
    } part[] = {
        { e->in_mean, nin },
        { e->in_std, nin },
        { e->out_mean, nx },
        { e->out_std, nx },
        { e->max_logvar, nx },
        { e->min_logvar, nx },
        { e->weights, (size_t)e->dims.members * ensemble_params(&e->dims) },
        { selftest, 2 * nx },
    };

    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        size_t bytes = part[i].n * sizeof(float);

        if (to_file)
            memcpy(body, part[i].v, bytes);
        else
            memcpy(part[i].v, body, bytes);
        body += bytes;
    }
}

static uint32_t checksum(const uint8_t *file, size_t length)
{
    return (uint32_t)crc32(0, file, (uInt)(length - sizeof(uint32_t)));
}

/* ---- writing ---- */

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int sync_directory_of(const char *path)
{
    char  dir[PATH_MAX];
    char *slash;

    snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return err;
}

static int write_beside(const char *path, const uint8_t *file, size_t length)
{
    char beside[PATH_MAX];

    if ((size_t)snprintf(beside, sizeof beside, "%s.tmp", path) >= sizeof beside)
        return -ENAMETOOLONG;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return -errno;
    int err = write_all(fd, file, length);
    if (!err && fsync(fd) != 0)
        err = -errno;
    close(fd); /* has nothing left to say: what could not be written is known by now */
    if (!err && rename(beside, path) != 0)
        err = -errno;
    if (err)
        unlink(beside);
    return err ? err : sync_directory_of(path);
}

int model_file_put_seal(const char *path, const uint8_t seal[SEAL_BYTES])
{
    char beside[PATH_MAX];

    if ((size_t)snprintf(beside, sizeof beside, "%s" SEAL_SUFFIX, path) >= sizeof beside)
        return -ENAMETOOLONG;
    return write_beside(beside, seal, SEAL_BYTES);
}

int model_file_save(const char *path, const struct ensemble *e, const char *robot)
{
    return model_file_save_signed(path, e, robot, NULL, NULL);
}

int model_file_save_signed(const char *path, const struct ensemble *e, const char *robot, const struct seal_key *key,
                           uint8_t seal[SEAL_BYTES])
{
    float              selftest[2 * MAX_OBS];
    struct file_header h      = { .magic = MAGIC, .format = FORMAT, .header = sizeof h, .version = e->version };
    size_t             length = file_length(&e->dims);

    CHECK(e->version > 0 && strlen(robot) < sizeof h.robot);
    if (!ensemble_finite(e))
        return -EINVAL;
    model_selftest(e, selftest);
    for (int k = 0; k < 2 * e->dims.nx; k++)
        if (!isfinite(selftest[k]))
            return -EINVAL;

    uint8_t *file = malloc(length);
    if (!file)
        return -ENOMEM;
    h.length  = length;
    h.nx      = e->dims.nx;
    h.na      = e->dims.na;
    h.members = e->dims.members;
    h.layers  = e->dims.layers;
    h.hidden  = e->dims.hidden;
    snprintf(h.robot, sizeof h.robot, "%s", robot);
    memcpy(h.input, e->dims.input, (size_t)e->dims.nx);
    memcpy(h.target, e->dims.target, (size_t)e->dims.nx);
    h.heading = e->dims.heading;

    struct ensemble copy = *e; /* transfer only reads it here */
    memcpy(file, &h, sizeof h);
    transfer(&copy, selftest, file + sizeof h, true);
    uint32_t crc = checksum(file, length);
    memcpy(file + length - sizeof crc, &crc, sizeof crc);
    if (key)
        seal_sign(key, file, length, seal);
    int err = write_beside(path, file, length);
    free(file);
    return err;
}

/* ---- reading ---- */

struct reading {
    const char               *path;
    char                     *why;
    size_t                    why_size;
    const struct model_trust *trust; /* NULL: any will do */
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct reading *r, int err, const char *format, ...)
{
    va_list ap;
    int     n = snprintf(r->why, r->why_size, "%s: ", r->path);

    if ((size_t)n >= r->why_size)
        return err;
    va_start(ap, format);
    vsnprintf(r->why + n, r->why_size - (size_t)n, format, ap);
    va_end(ap);
    return err;
}

/* The whole file; *length bytes, the caller frees. */
static int slurp(const struct reading *r, uint8_t **file, size_t *length)
{
    struct stat st;
    int         fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;

    if (fd < 0)
        return refuse(r, -errno, "cannot open this model file: %s", strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > LARGEST) {
        close(fd);
        return refuse(r, -EBADMSG, "is not a model file: not a regular file of at most %d bytes", LARGEST);
    }
    if (r->trust && !perms_good(r->path, &st, r->trust->us, r->why, r->why_size)) {
        close(fd);
        return -EPERM;
    }
    *length     = 0;
    size_t n    = (size_t)st.st_size;
    *file       = malloc(n + 1);  /* never 0 */
    ssize_t got = *file ? 1 : -1; /* no memory: errno says so */
    while (got > 0 && *length < n && (got = read(fd, *file + *length, n - *length)) > 0)
        *length += (size_t)got;
    if (got < 0)
        err = refuse(r, -errno, "cannot be read: %s", strerror(errno));
    close(fd);
    if (err)
        free(*file);
    return err;
}

static int check_header(const struct reading *r, const uint8_t *file, size_t length, struct file_header *h)
{
    if (length < sizeof *h + sizeof(uint32_t))
        return refuse(r, -EBADMSG, "is cut short: %zu bytes, less than a header", length);
    memcpy(h, file, sizeof *h);
    if (memcmp(h->magic, MAGIC, sizeof h->magic) != 0)
        return refuse(r, -EBADMSG, "is not a Limber model: it does not start with " MAGIC);
    if (h->format != FORMAT || h->header != sizeof *h)
        return refuse(r, -EBADMSG, "has format %u, this program reads format %d", h->format, FORMAT);
    if (h->length != length)
        return refuse(r, -EBADMSG, "is damaged: %zu bytes where its header says %llu", length,
                      (unsigned long long)h->length);

    uint32_t crc;
    memcpy(&crc, file + length - sizeof crc, sizeof crc);
    if (crc != checksum(file, length))
        return refuse(r, -EBADMSG, "is damaged: its checksum does not match");
    return 0;
}

static int check_identity(const struct reading *r, const struct file_header *h, const char *robot,
                          const struct model_dims *want)
{
    struct model_dims d = { .nx      = h->nx,
                            .na      = h->na,
                            .members = h->members,
                            .layers  = h->layers,
                            .hidden  = h->hidden,
                            .heading = h->heading };

    if (!memchr(h->robot, 0, sizeof h->robot) || strcmp(h->robot, robot) != 0)
        return refuse(r, -EINVAL, "was made for robot \"%.*s\", not for \"%s\"", NAME_SIZE, h->robot, robot);
    if (h->version == 0)
        return refuse(r, -EINVAL, "has no version; versions count from 1");
    memcpy(d.input, h->input, sizeof d.input);
    memcpy(d.target, h->target, sizeof d.target);
    if (!model_dims_equal(&d, want))
        return refuse(r, -EINVAL,
                      "has %d observations, %d actions, %d nets of %d x %d; wanted %d, %d, %d nets of %d x %d%s", d.nx,
                      d.na, d.members, d.layers, d.hidden, want->nx, want->na, want->members, want->layers,
                      want->hidden, d.nx == want->nx ? " and the same inputs and targets" : "");
    if (h->length != file_length(want))
        return refuse(r, -EBADMSG, "is damaged: %llu bytes where its sizes need %zu", (unsigned long long)h->length,
                      file_length(want));
    return 0;
}

static int check_content(const struct reading *r, const struct ensemble *e, const float *stored)
{
    float again[2 * MAX_OBS];
    int   nx = e->dims.nx;

    if (!ensemble_finite(e))
        return refuse(r, -EINVAL, "holds a number that is not finite or a scale that is not positive");
    model_selftest(e, again);
    for (int k = 0; k < 2 * nx; k++) {
        /* A mean may be near zero by cancellation: its error is held against the spread of its target. */
        float size = fabsf(stored[k]) + (k < nx ? e->out_std[k] : 0);

        if (!isfinite(size) || !(fabsf(again[k] - stored[k]) <= SELFTEST_TOLERANCE * size))
            return refuse(r, -EINVAL, "fails its self-test: output %d is %g, the file says %g", k, (double)again[k],
                          (double)stored[k]);
    }
    return 0;
}

/* Before anything of the file is believed. */
static int check_seal(const struct reading *r, const uint8_t *file, size_t length)
{
    char    beside[PATH_MAX];
    uint8_t seal[SEAL_BYTES + 1];

    if ((size_t)snprintf(beside, sizeof beside, "%s" SEAL_SUFFIX, r->path) >= sizeof beside)
        return refuse(r, -ENAMETOOLONG, "has no seal: its name is too long for one");
    int fd = open(beside, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(r, -errno, "has no seal (" SEAL_SUFFIX " beside it: %s), and robot.yaml wants one: did another program put it here?",
                      strerror(errno));
    ssize_t n = read(fd, seal, sizeof seal);
    close(fd);
    if (n != SEAL_BYTES || !seal_good(r->trust->seal, file, length, seal))
        return refuse(r, -EPERM, "is not what was sealed with paths.model_key: the file, its seal or the key is another");
    return 0;
}

static int load(const struct reading *r, const char *robot, const struct model_dims *want, struct ensemble *e)
{
    const struct model_trust *trust = r->trust;
    struct file_header        h;
    struct ensemble           got;
    float                     selftest[2 * MAX_OBS];
    uint8_t                  *file   = NULL;
    size_t                    length = 0;
    int                       err    = slurp(r, &file, &length);

    if (err)
        return err;
    if (trust && trust->seal)
        err = check_seal(r, file, length);
    if (!err)
        err = check_header(r, file, length, &h);
    if (!err)
        err = check_identity(r, &h, robot, want);
    if (!err && trust && h.version != trust->version)
        err = refuse(r, -ESTALE, "holds version %llu, not version %llu, which it stands for: is it a copy of another file?",
                     (unsigned long long)h.version, (unsigned long long)trust->version);
    if (!err && (err = ensemble_alloc(&got, want)) != 0)
        refuse(r, err, "cannot be held: %s", strerror(-err));
    if (!err) {
        got.version = h.version;
        transfer(&got, selftest, file + sizeof h, false);
        err = check_content(r, &got, selftest);
        if (err)
            ensemble_free(&got);
        else
            *e = got;
    }
    free(file);
    return err;
}

int model_file_load(const char *path, const char *robot, const struct model_dims *want, struct ensemble *e, char *why,
                    size_t why_size)
{
    return load(&(struct reading){ path, why, why_size, NULL }, robot, want, e);
}

int model_file_load_trusted(const char *path, const struct model_trust *trust, const char *robot, const struct model_dims *want,
                            struct ensemble *e, char *why, size_t why_size)
{
    return load(&(struct reading){ path, why, why_size, trust }, robot, want, e);
}

int model_file_seal(const char *path, const struct seal_key *key, char *why, size_t why_size)
{
    const struct reading r      = { path, why, why_size, NULL };
    uint8_t              seal[SEAL_BYTES];
    uint8_t             *file   = NULL;
    size_t               length = 0;
    int                  err    = slurp(&r, &file, &length);

    if (err)
        return err;
    seal_sign(key, file, length, seal);
    if (length < sizeof MAGIC || memcmp(file, MAGIC, sizeof MAGIC - 1) != 0)
        err = refuse(&r, -EBADMSG, "is not a Limber model: it does not start with " MAGIC);
    else if ((err = model_file_put_seal(path, seal)) != 0)
        refuse(&r, err, "its seal cannot be written: %s", strerror(-err));
    free(file);
    return err;
}
