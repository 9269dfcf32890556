/* model_file.h - one model, one file: versioned header, dimensions, normaliser, weights, self-test vector, checksum.
 *
 * Written beside the final name, fsynced, renamed, directory fsynced; so a file under its final name is whole.
 * Loading trusts nothing: magic, format, sizes against the file's length, CRC-32, every number finite, scales > 0,
 * and the self-test: the stored prediction for a fixed input must come out again within 1e-4 relative.
 *
 * Format 1, little-endian: header (struct file_header in model_file.c: magic, format, length, version, robot, dims);
 * in_mean, in_std (nin each), out_mean, out_std, max_logvar, min_logvar (nx each), weights (members x params),
 * self-test (2 nx), all float32; CRC-32 of everything before it. */
#ifndef MODELS_MODEL_FILE_H
#define MODELS_MODEL_FILE_H

#include <sys/types.h>

#include "models/ensemble.h"
#include "models/seal.h"

/* Writes e to `path` (mode 0640, less the umask).  0 or -errno; -EINVAL: a model that loading would refuse.
 * A failed write leaves an older file of that name as it was. */
int model_file_save(const char *path, const struct ensemble *e, const char *robot);

/* The same, and the seal of what was written (seal.h): it flies where model_file_put_seal has put that beside it. */
int model_file_save_signed(const char *path, const struct ensemble *e, const char *robot, const struct seal_key *key,
                           uint8_t seal[SEAL_BYTES]);
int model_file_put_seal(const char *path, const uint8_t seal[SEAL_BYTES]);

/* Reads a file and checks everything above, and that robot and dims are the wanted ones.  *e is allocated (free with
 * ensemble_free) only on success.  0, or -errno with a sentence naming file and reason in `why`. */
int model_file_load(const char *path, const char *robot, const struct model_dims *want, struct ensemble *e, char *why,
                    size_t why_size);

/* What a file that is to fly must be. */
struct model_trust {
    uint64_t               version; /* that its header says, else -ESTALE                                            */
    uid_t                  us;      /* nobody but `us` and root may have written it, else -EPERM (perms.h)           */
    const struct seal_key *seal;    /* NULL, or who must have signed it, else -EPERM; -errno where there is no seal */
};
int model_file_load_trusted(const char *path, const struct model_trust *trust, const char *robot, const struct model_dims *want,
                            struct ensemble *e, char *why, size_t why_size);

/* Seals the bytes of a file that is there already.  0, or -errno and a sentence. */
int model_file_seal(const char *path, const struct seal_key *key, char *why, size_t why_size);

/* The self-test alone, on a loaded ensemble: its prediction for a fixed input (half a std off the centre of its data) in
 * out (2 nx floats: mean and variance averaged over members). */
void model_selftest(const struct ensemble *e, float *out);

#endif
