/* trainer_protocol.h - what limberd and limber-trainer say to each other over the trainer's stdin and stdout.
 *
 * Fixed structs, same build, same machine: no parsing.  limberd writes one trainer_setup, then trainer_order after
 * trainer_order; the trainer writes trainer_report after trainer_report (progress while training, then the result).
 * End of file on stdin ends the trainer.  Anything of the wrong size or magic ends the side that sees it. */
#ifndef MODELS_TRAINER_PROTOCOL_H
#define MODELS_TRAINER_PROTOCOL_H

#include "models/store.h"
#include "models/train.h"

enum { TRAINER_MAGIC = 0x4c544e33 };

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

#endif
