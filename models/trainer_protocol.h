/* trainer_protocol.h - what limberd and limber-trainer say to each other over the trainer's stdin and stdout.
 *
 * Fixed structs, same build, same machine.  Neither end believes the other: what is read is checked as a whole by the
 * functions below before anything of it is used (the trainer reads data and has fewer rights than limberd).  limberd writes one trainer_setup, then trainer_order after
 * trainer_order; the trainer writes trainer_report after trainer_report (progress while training, then the result).
 * End of file on stdin ends the trainer.  Anything of the wrong size or magic ends the side that sees it. */
#ifndef MODELS_TRAINER_PROTOCOL_H
#define MODELS_TRAINER_PROTOCOL_H

#include "models/store.h"
#include "models/train.h"

enum { TRAINER_MAGIC = 0x4c544e33, TRAINER_BATCH_MAX = 4096, TRAINER_UNROLL_MAX = 32 };

struct trainer_setup {
    uint32_t            magic, size; /* TRAINER_MAGIC, sizeof(struct trainer_setup) */
    struct model_dims   dims;
    struct train_config config;
    struct store_schema schema;
    char                store[512];  /* path, opened read-only                      */
    char                models[512]; /* directory for candidate files               */
    uint64_t            seed;
    int                 core; /* to run on, -1: any; always SCHED_IDLE       */
};

struct trainer_order {
    uint32_t magic, size;
    uint64_t version;              /* of the candidate to make                                     */
    uint64_t base_version;         /* incumbent; where the trainer does not hold it, it loads ...  */
    char     base_file[512];       /* ... this file; empty: fresh weights                          */
    int64_t  last_trial_id;        /* newest trial in the data                                     */
    float    cost_slope2[MAX_OBS]; /* see train_data; used with reward_weight               */
};

enum trainer_stage { TRAINER_PROGRESS = 1, TRAINER_DONE, TRAINER_FAILED };

struct trainer_report {
    uint32_t           magic, size;
    enum trainer_stage stage;
    uint64_t           version;
    double             done;  /* 0 .. 1                                            */
    int                steps; /* gradient steps taken                              */
    int                transitions;
    double             train_s;
    double             loss;
    char               file[512]; /* TRAINER_DONE: the candidate, complete and fsynced */
    char               why[200];  /* TRAINER_FAILED                                    */
};

/* `got` bytes of a message are one of `size` bytes: complete, with its magic and size. */
bool trainer_head_good(const void *message, size_t got, size_t size);

/* NULL, or what is wrong with the rest of it: texts end, numbers are finite and in range, bools are bools; a report's
 * candidate lies where a candidate of that version belongs, and nowhere else.  Sizes of nets: trainer_new. */
const char *trainer_setup_fault(const struct trainer_setup *s);
const char *trainer_order_fault(const struct trainer_order *o);
const char *trainer_report_fault(const struct trainer_report *r, const char *models);

/* The candidate's file, in the directory `models`. */
void trainer_candidate(const char *models, uint64_t version, char *out, size_t size);

#endif
