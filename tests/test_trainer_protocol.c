/* test_trainer_protocol.c - neither end of the trainer's pipe believes the other: one field that cannot be, and the message
 * is none. */
#include <stdio.h>
#include <string.h>

#include "models/trainer_protocol.h"
#include "tests/test.h"

static const char MODELS[] = "/run/limber/models";

static struct trainer_setup setup(void)
{
    struct trainer_setup s = { .magic  = TRAINER_MAGIC,
                               .size   = sizeof s,
                               .dims   = { .nx = 2, .na = 1, .members = 2, .layers = 1, .hidden = 8 },
                               .config = { .recipe = "steps", .learning_rate = 1e-3, .batch = 32 },
                               .schema = { .robot = "pendulum", .nx = 2, .na = 1 },
                               .store  = "experience.db",
                               .models = "models" };

    return s;
}

static struct trainer_report report(void)
{
    struct trainer_report r = {
        .magic = TRAINER_MAGIC, .size = sizeof r, .stage = TRAINER_DONE, .version = 7, .done = 1, .loss = (double)NAN
    };

    trainer_candidate(MODELS, r.version, r.file, sizeof r.file);
    return r;
}

TEST(a_message_is_complete_with_its_magic_and_size_or_none)
{
    struct trainer_order o = { .magic = TRAINER_MAGIC, .size = sizeof o };

    EXPECT(trainer_head_good(&o, sizeof o, sizeof o));
    EXPECT(!trainer_head_good(&o, sizeof o - 1, sizeof o) && !trainer_head_good(&o, 0, sizeof o));
    o.size--;
    EXPECT(!trainer_head_good(&o, sizeof o, sizeof o));
    o.size++, o.magic ^= 1;
    EXPECT(!trainer_head_good(&o, sizeof o, sizeof o));
}

TEST(a_setup_with_a_text_that_does_not_end_or_a_number_out_of_range_is_refused)
{
    struct trainer_setup s = setup();

    EXPECT(!trainer_setup_fault(&s));
#define REFUSED(change)                  \
    do {                                 \
        s = setup();                     \
        change;                          \
        EXPECT(trainer_setup_fault(&s)); \
    } while (0)
    REFUSED(memset(s.store, 'a', sizeof s.store));
    REFUSED(memset(s.models, 'a', sizeof s.models));
    REFUSED(memset(s.schema.robot, 'a', sizeof s.schema.robot));
    REFUSED(memset(s.schema.observation[1], 'a', sizeof s.schema.observation[1]));
    REFUSED(memset(s.schema.action[MAX_ACT - 1], 'a', sizeof s.schema.action[0]));
    REFUSED(memset(s.config.recipe, 'a', sizeof s.config.recipe));
    REFUSED(s.schema.robot[0] = 0);
    REFUSED(s.store[0] = 0);
    REFUSED(s.schema.nx = 3);
    REFUSED(s.schema.nx = s.dims.nx = MAX_OBS + 1);
    REFUSED(s.schema.na = s.dims.na = 0);
    REFUSED(s.config.batch = 0);
    REFUSED(s.config.batch = TRAINER_BATCH_MAX + 1);
    REFUSED(s.config.unroll = TRAINER_UNROLL_MAX + 1);
    REFUSED(s.config.patience = -1);
    REFUSED(s.config.learning_rate = (double)NAN);
    REFUSED(s.config.weight_decay[MAX_LAYERS] = -1);
    REFUSED(memset(&s.config.bootstrap, 2, 1));
#undef REFUSED
}

TEST(an_order_with_a_path_that_does_not_end_or_a_slope_that_is_no_number_is_refused)
{
    struct trainer_order o = { .magic = TRAINER_MAGIC, .size = sizeof o };

    EXPECT(!trainer_order_fault(&o));
    o.cost_slope2[3] = (float)NAN;
    EXPECT(trainer_order_fault(&o));
    o.cost_slope2[3] = 1;
    memset(o.base_file, 'a', sizeof o.base_file);
    EXPECT(trainer_order_fault(&o));
}

TEST(a_report_can_name_no_other_file_than_its_own_candidate)
{
    struct trainer_report r = report();

    EXPECT(!trainer_report_fault(&r, MODELS));
    EXPECT(trainer_report_fault(&r, "/run/limber/others"));
    r.version++;
    EXPECT(trainer_report_fault(&r, MODELS));
    r = report();
    snprintf(r.file, sizeof r.file, "%s/model-6.model", MODELS);
    EXPECT(trainer_report_fault(&r, MODELS));
    snprintf(r.file, sizeof r.file, "/etc/passwd");
    EXPECT(trainer_report_fault(&r, MODELS));
    r.stage = TRAINER_FAILED; /* then nobody looks at it */
    EXPECT(!trainer_report_fault(&r, MODELS));
}

TEST(a_report_whose_stage_text_or_numbers_are_none_is_refused)
{
    struct trainer_report r = report();

    memcpy(&r.stage, &(int){ 9 }, sizeof r.stage);
    EXPECT(trainer_report_fault(&r, MODELS));
    r = report();
    memset(r.why, 'a', sizeof r.why);
    EXPECT(trainer_report_fault(&r, MODELS));
    r      = report();
    r.done = (double)INFINITY;
    EXPECT(trainer_report_fault(&r, MODELS));
    r         = report();
    r.train_s = (double)NAN;
    EXPECT(trainer_report_fault(&r, MODELS));
    r       = report();
    r.steps = -1;
    EXPECT(trainer_report_fault(&r, MODELS));
}
