/* Power lost at any moment, replayed: a program that writes store and model files is watched call by call (tests/shim), and
 * for every prefix of what it did, images are made of what a disk may then hold - whatever was not synced is there, gone or
 * torn at 512 bytes, names included - and opened. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/rt/rng.h"
#include "daemon/rt/sanitized.h"
#include "models/model_file.h"
#include "models/store.h"
#include "tests/shim/record.h"
#include "tests/test.h"

static const struct store_schema schema = { .robot = "cartpole", .nx = 2, .na = 1, .observation = { "hinge.position", "hinge.velocity" },
                                            .action = { "slider" } };
static const struct model_dims   small  = { .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 3,
                                            .input = { INPUT_ANGLE, INPUT_IDENTITY } };

enum { SESSIONS = 3, BATCHES = 4, STEPS = 10, SECTOR = 512 };

/* ---- the program that is watched: this one under another name, as power-writer DIR ---- */

static void tell(const char *dir, const char *name)
{
    char path[400];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, "", 1) != 1)
        exit(3);
    close(fd);
}

static void write_batch(struct store *s, const char *dir)
{
    struct trial_row t = { .kind = "planned", .status = "finished" };

    if (store_begin(s) < 0 || store_trial_begin(s, &t) < 0)
        exit(4);
    for (uint32_t i = 0; i < STEPS; i++) {
        struct transition tr = { .step = i, .x = { (float)i }, .y = { 1 } };
        if (store_transition(s, t.id, &tr) < 0)
            exit(5);
    }
    if (store_commit(s) < 0)
        exit(6);
    tell(dir, "committed");
}

static void be_writer(const char *dir)
{
    char            path[400], why[300];
    struct ensemble e;

    for (int k = 0; k < SESSIONS; k++) {
        snprintf(path, sizeof path, "%s/e.db", dir);
        struct store *s = store_open(path, &schema, false, why, sizeof why);
        if (!s)
            exit(2);
        for (int i = 0; i < BATCHES; i++) {
            write_batch(s, dir);
            snprintf(path, sizeof path, "%s/m.model", dir);
            if (ensemble_alloc(&e, &small) != 0)
                exit(7);
            ensemble_init(&e, 1);
            e.version = (uint64_t)(k * BATCHES + i + 1);
            if (model_file_save(path, &e, "robot") != 0)
                exit(8);
            ensemble_free(&e);
            tell(dir, "published");
        }
        store_close(s); /* checkpoints */
    }
    exit(0);
}

__attribute__((constructor)) static void under_another_name(int argc, char **argv)
{
    if (argc == 2 && !strcmp(program_invocation_short_name, "power-writer"))
        be_writer(argv[1]);
}

/* ---- what it did ---- */

struct deeds {
    int             n;
    struct record  *r;
    const uint8_t **data;
    uint8_t        *bytes;
};

static bool watch(struct deeds *d)
{
    char  command[2000];
    long  size;
    FILE *f;

    snprintf(command, sizeof command,
             "mkdir -p %s/disk && ln -sf %s/tests/run %s/power-writer && LD_PRELOAD=%s/tests/failing.so RECORD=%s/record "
             "RECORD_DIR=%s/disk %s/power-writer %s/disk",
             test_dir(), test_build_dir(), test_dir(), test_build_dir(), test_dir(), test_dir(), test_dir(), test_dir());
    EXPECT(system(command) == 0);
    snprintf(command, sizeof command, "%s/record", test_dir());
    if (!(f = fopen(command, "rb")))
        return false;
    fseek(f, 0, SEEK_END);
    size     = ftell(f);
    d->bytes = malloc((size_t)size + 1);
    rewind(f);
    EXPECT(fread(d->bytes, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    d->r    = calloc((size_t)size / sizeof(struct record) + 1, sizeof *d->r);
    d->data = calloc((size_t)size / sizeof(struct record) + 1, sizeof *d->data);
    for (long at = 0; at + (long)sizeof(struct record) <= size; d->n++) {
        memcpy(&d->r[d->n], d->bytes + at, sizeof(struct record));
        at += (long)sizeof(struct record);
        d->data[d->n] = d->bytes + at;
        at += d->r[d->n].kind == RECORD_WRITE ? (long)d->r[d->n].bytes : 0;
    }
    return d->n > 0;
}

static void forget(struct deeds *d)
{
    free(d->r);
    free(d->data);
    free(d->bytes);
}

/* ---- an image of the disk ---- */

enum { FILES = 64, BIGGEST = 1 << 18 };

struct inode {
    uint8_t *data;
    size_t   size;
    int      synced; /* deeds before this one on it are safe */
};

struct image {
    struct inode inode[FILES];
    int          ninode;
    struct {
        char name[RECORD_NAME];
        int  inode; /* -1: gone */
    } entry[FILES];
    int nentry;
};

static int entry_of(struct image *im, const char *name)
{
    for (int i = 0; i < im->nentry; i++)
        if (!strcmp(im->entry[i].name, name))
            return i;
    if (im->nentry == FILES)
        abort();
    memcpy(im->entry[im->nentry].name, name, RECORD_NAME);
    im->entry[im->nentry].inode = -1;
    return im->nentry++;
}

static int new_inode(struct image *im)
{
    if (im->ninode == FILES)
        abort();
    return im->ninode++;
}

/* Which inode each deed is about, and after which deed it is safe: independent of what gets lost. */
static void plan(const struct deeds *d, int prefix, int *about, int *safe_from, int *names_safe)
{
    struct image im = { 0 };

    *names_safe = 0;
    for (int i = 0; i < FILES; i++)
        safe_from[i] = 0;
    for (int i = 0; i < prefix; i++) {
        const struct record *r = &d->r[i];
        int                  e = entry_of(&im, r->name);

        if (r->kind == RECORD_SYNC) { /* of a file or the directory; names before it are in the same journal */
            *names_safe = i + 1;
            if (im.entry[e].inode >= 0)
                safe_from[im.entry[e].inode] = i + 1;
            about[i] = -1;
            continue;
        }
        if (r->kind != RECORD_MOVE && r->kind != RECORD_REMOVE && im.entry[e].inode < 0)
            im.entry[e].inode = new_inode(&im);
        about[i] = im.entry[e].inode;
        if (r->kind == RECORD_MOVE) {
            im.entry[entry_of(&im, r->to)].inode = im.entry[e].inode;
            im.entry[e].inode                    = -1;
        } else if (r->kind == RECORD_REMOVE) {
            im.entry[e].inode = -1;
        }
    }
}

static void put(struct inode *f, uint64_t at, const uint8_t *from, size_t n)
{
    if (at + n > BIGGEST)
        abort();
    if (!f->data)
        f->data = calloc(1, BIGGEST);
    memcpy(f->data + at, from, n);
    f->size = at + n > f->size ? at + n : f->size;
}

/* A write that was not synced: each of its sectors is there or not. */
static void put_torn(struct inode *f, const struct record *r, const uint8_t *data, struct rng *dice)
{
    for (uint64_t at = 0; at < r->bytes;) {
        uint64_t n = SECTOR - (r->offset + at) % SECTOR;

        n = n > r->bytes - at ? r->bytes - at : n;
        if (rng_below(dice, 2))
            put(f, r->offset + at, data + at, (size_t)n);
        at += n;
    }
}

/* What a disk may hold after the first `prefix` deeds.  lost 0: everything; 1: nothing that was not synced; else by dice. */
static void build(const struct deeds *d, int prefix, int lost, struct rng *dice, struct image *im)
{
    int *about = calloc((size_t)prefix + 1, sizeof *about), safe[FILES], names_safe;

    memset(im, 0, sizeof *im);
    plan(d, prefix, about, safe, &names_safe);
    /* Names are kept up to some deed in order, as a journal does. */
    int names = lost == 0 ? prefix : lost == 1 ? names_safe : names_safe + (int)rng_below(dice, (uint32_t)(prefix - names_safe) + 1);

    im->ninode = FILES;
    for (int i = 0; i < prefix; i++) {
        const struct record *r    = &d->r[i];
        bool                 kept = about[i] < 0 || i < safe[about[i]] || lost == 0;

        if (r->kind == RECORD_SYNC)
            continue;
        if (i < names || r->kind == RECORD_WRITE || r->kind == RECORD_TRUNCATE) {
            int e = entry_of(im, r->name);
            if (r->kind == RECORD_MOVE) {
                im->entry[entry_of(im, r->to)].inode = about[i];
                im->entry[e].inode                   = -1;
            } else if (r->kind == RECORD_REMOVE) {
                im->entry[e].inode = -1;
            } else if (i < names) {
                im->entry[e].inode = about[i];
            }
        }
        struct inode *f = about[i] >= 0 ? &im->inode[about[i]] : NULL;

        if (r->kind == RECORD_TRUNCATE && (kept || (lost > 1 && rng_below(dice, 2)))) {
            if (f->data && r->offset < f->size)
                memset(f->data + r->offset, 0, f->size - r->offset);
            if (!f->data)
                f->data = calloc(1, BIGGEST);
            f->size = r->offset;
        } else if (r->kind == RECORD_WRITE && kept) {
            put(f, r->offset, d->data[i], r->bytes);
        } else if (r->kind == RECORD_WRITE && lost > 1) {
            put_torn(f, r, d->data[i], dice);
        }
    }
    free(about);
}

static void lay_down(struct image *im, const char *dir)
{
    char           path[800];
    struct dirent *e;
    DIR           *d;

    mkdir(dir, 0700);
    if (!(d = opendir(dir)))
        abort();
    while ((e = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path); /* "." and ".." stay */
    }
    closedir(d);
    for (int i = 0; i < im->nentry; i++) {
        struct inode *f = im->entry[i].inode >= 0 ? &im->inode[im->entry[i].inode] : NULL;

        if (!f || !strcmp(im->entry[i].name, "."))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, im->entry[i].name);
        FILE *out = fopen(path, "wb");
        if (!out || (f->size && fwrite(f->data, 1, f->size, out) != f->size) || fclose(out) != 0)
            abort();
    }
    for (int i = 0; i < FILES; i++)
        free(im->inode[i].data);
}

/* ---- what must hold ---- */

/* Marks of `name` among the first n deeds. */
static int told(const struct deeds *d, int n, const char *name)
{
    int count = 0;

    for (int i = 0; i < n; i++)
        count += d->r[i].kind == RECORD_WRITE && !strcmp(d->r[i].name, name);
    return count;
}

static int last_sync_of_store(const struct deeds *d, int prefix)
{
    for (int i = prefix; i-- > 0;)
        if (d->r[i].kind == RECORD_SYNC && !strncmp(d->r[i].name, "e.db", 4))
            return i;
    return 0;
}

static bool store_holds(const struct deeds *d, int prefix, const char *dir, char *why, size_t size)
{
    char path[600];

    snprintf(path, sizeof path, "%s/e.db", dir);
    struct store *s = store_open(path, &schema, false, why, size);
    if (!s)
        return false;
    int64_t n = store_transition_count(s), least = STEPS * told(d, last_sync_of_store(d, prefix), "committed");
    int64_t most = STEPS * (told(d, prefix, "committed") + 1); /* the batch whose mark did not come any more */

    snprintf(why, size, "%lld transitions, %lld to %lld and whole batches expected", (long long)n, (long long)least, (long long)most);
    store_close(s);
    return n >= least && n <= most && n % STEPS == 0;
}

static bool model_holds(const struct deeds *d, int prefix, const char *dir, char *why, size_t size)
{
    struct ensemble e;
    char            path[600];
    int             least = told(d, prefix, "published");

    snprintf(path, sizeof path, "%s/m.model", dir);
    if (access(path, F_OK) != 0) {
        snprintf(why, size, "no model, although version %d was saved", least);
        return least == 0;
    }
    if (model_file_load(path, "robot", &small, &e, why, size) != 0)
        return false;
    snprintf(why, size, "version %llu, %d was saved", (unsigned long long)e.version, least);
    bool ok = e.version >= (uint64_t)least && e.version <= (uint64_t)least + 1;
    ensemble_free(&e);
    return ok;
}

/* How many images do not hold; `say` at most so many. */
static int replay(const struct deeds *d, int variants, int say)
{
    struct rng dice;
    char       dir[400], why[400] = "";
    int        bad = 0;

    rng_seed(&dice, 11);
    snprintf(dir, sizeof dir, "%s/image", test_dir());
    for (int prefix = 0; prefix <= d->n; prefix++) {
        for (int v = 0; v < variants; v++) {
            struct image *im = malloc(sizeof *im);

            build(d, prefix, v, &dice, im);
            lay_down(im, dir);
            free(im);
            if (store_holds(d, prefix, dir, why, sizeof why) && model_holds(d, prefix, dir, why, sizeof why))
                continue;
            if (bad++ < say)
                printf("    after %d of %d deeds, variant %d: %s\n", prefix, d->n, v, why);
        }
    }
    return bad;
}

TEST(every_image_a_power_failure_can_leave_opens_and_has_what_was_synced)
{
    struct deeds d = { 0 };

    if (RT_SANITIZED)
        return; /* a preloaded malloc and a sanitizer's do not go together */
    EXPECT(watch(&d));
    EXPECT(d.n > 100 && told(&d, d.n, "committed") == SESSIONS * BATCHES && told(&d, d.n, "published") == SESSIONS * BATCHES);
    EXPECT(replay(&d, test_rounds(4, 20), 5) == 0);
    forget(&d);
}

/* The replay can fail: of a program that never syncs, some images are broken. */
TEST(without_syncs_some_images_are_broken)
{
    struct deeds d = { 0 };
    int          n = 0;

    if (RT_SANITIZED)
        return;
    EXPECT(watch(&d));
    for (int i = 0; i < d.n; i++) {
        if (d.r[i].kind == RECORD_SYNC)
            continue;
        d.r[n]    = d.r[i];
        d.data[n] = d.data[i];
        n++;
    }
    d.n = n;
    EXPECT(replay(&d, 4, 0) > 10);
    forget(&d);
}
