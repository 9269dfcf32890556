/* test_codec_edges.c - the codec exactly at its limits (`make mutate` asked for these). */
#include <string.h>

#include "proto/limber.pb-c.h"
#include "tests/test.h"
#include "transport/codec.h"

static struct codec_scratch scratch;
static struct message       m;
static uint8_t              buf[CODEC_MAX_BYTES];
static char                 why[240];

static enum codec_error unpacked(const Limber__V1__Envelope *e)
{
    size_t n = limber__v1__envelope__pack(e, buf);

    snprintf(why, sizeof why, "as before");
    return codec_unpack(buf, n, &scratch, &m, why, sizeof why);
}

static enum codec_error hello_named(char *name, size_t extra)
{
    Limber__V1__Envelope  e = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__Hello     h = LIMBER__V1__HELLO__INIT;
    Limber__V1__JointInfo j = LIMBER__V1__JOINT_INFO__INIT, *joints[] = { &j };
    char                 *names[MAX_EXTRA + 1];

    for (int i = 0; i <= MAX_EXTRA; i++)
        names[i] = name;
    j.name     = name;
    j.type     = LIMBER__V1__JOINT_TYPE__JOINT_TYPE_REVOLUTE;
    h.protocol = LIMBER_PROTOCOL, h.boot_id = 1, h.robot = name, h.n_joints = 1, h.joints = joints;
    h.n_extra = extra, h.extra = names;
    h.timeout_action     = LIMBER__V1__TIMEOUT_ACTION__TIMEOUT_ACTION_DAMP;
    h.command_timeout_ms = 40;
    e.body_case          = LIMBER__V1__ENVELOPE__BODY_HELLO;
    e.hello              = &h;
    return unpacked(&e);
}

TEST(a_name_has_up_to_47_characters_from_the_first_to_the_last_printable_one)
{
    char name[NAME_SIZE + 1];

    memset(name, '~', sizeof name);
    name[0] = '!', name[NAME_SIZE - 1] = 0;
    EXPECT(hello_named(name, 1) == CODEC_OK && strcmp(m.hello.joint[0].name, name) == 0);
    EXPECT(why[0] == 0);
    name[NAME_SIZE - 1] = '~', name[NAME_SIZE] = 0;
    EXPECT(hello_named(name, 1) == CODEC_SHAPE);
    EXPECT_STR(why, "48 characters");
}

TEST(text_is_cut_to_fit_and_keeps_blanks_and_tildes)
{
    Limber__V1__Envelope e = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__Refusal  r = LIMBER__V1__REFUSAL__INIT;
    char                 text[400];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0, text[1] = ' ', text[2] = '~', text[3] = '\x7f';
    r.code = LIMBER__V1__REFUSAL_CODE__REFUSAL_CODE_BUSY, r.sentence = text;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_REFUSAL, e.refusal = &r;
    EXPECT(unpacked(&e) == CODEC_OK);
    EXPECT(strnlen(m.refusal.sentence, sizeof m.refusal.sentence) == sizeof m.refusal.sentence - 1);
    EXPECT(memcmp(m.refusal.sentence, "x ~?x", 5) == 0);
    EXPECT(m.refusal.daemon_protocol == 0 && m.refusal.peer_protocol == 0);
}

TEST(one_value_more_than_fits_is_refused_by_name_and_leaves_no_session)
{
    static double            values[MAX_JOINTS + 1];
    Limber__V1__Envelope     e      = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__JointState   s      = LIMBER__V1__JOINT_STATE__INIT;
    Limber__V1__JointCommand c      = LIMBER__V1__JOINT_COMMAND__INIT;
    char                     name[] = "a";

    EXPECT(hello_named(name, MAX_EXTRA) == CODEC_OK);
    EXPECT(hello_named(name, MAX_EXTRA + 1) == CODEC_SHAPE);
    EXPECT_STR(why, "hello.extra: 33 names, expected at most 32");

    s.session = 5, s.n_position = s.n_velocity = 1, s.position = s.velocity = values;
    s.n_extra = MAX_EXTRA + 1, s.extra = values;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_STATE, e.state = &s;
    EXPECT(unpacked(&e) == CODEC_SHAPE && m.session == 0);
    EXPECT_STR(why, "state.extra: 33 values, expected at most 32");
    s.n_extra = MAX_EXTRA;
    EXPECT(unpacked(&e) == CODEC_OK && m.session == 5);

    c.session = 5, c.n_torque = MAX_JOINTS + 1, c.torque = values;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_COMMAND, e.command = &c;
    EXPECT(unpacked(&e) == CODEC_SHAPE && m.session == 0);
    EXPECT_STR(why, "command: 33 joints, expected at most 32");
    c.n_torque = MAX_JOINTS;
    EXPECT(unpacked(&e) == CODEC_OK && m.command.nj == MAX_JOINTS);
}

TEST(a_welcome_names_three_modes_and_an_unknown_one_is_refused_wherever_it_stands)
{
    struct message        w = { .kind    = MESSAGE_WELCOME,
                                .welcome = { .protocol = LIMBER_PROTOCOL, .session = 5, .control_hz = 25 } };
    size_t                n = codec_pack(&w, buf);
    Limber__V1__Envelope *e = limber__v1__envelope__unpack(NULL, n, buf);

    EXPECT(e && e->welcome->n_modes == 3);
    EXPECT(unpacked(e) == CODEC_OK);
    e->welcome->modes[0] = (Limber__V1__CommandMode)9;
    EXPECT(unpacked(e) == CODEC_SHAPE);
    limber__v1__envelope__free_unpacked(e, NULL);
}

TEST(what_is_behind_the_last_joint_does_not_travel)
{
    struct message c = { .kind = MESSAGE_COMMAND, .command = { .session = 5, .seq = 1, .nj = 1, .torque = { 1 } } };
    size_t         n = codec_pack(&c, buf);

    c.command.kp[1] = 7;
    EXPECT(codec_pack(&c, buf) == n);
}

TEST(nobody_need_ask_why)
{
    EXPECT(codec_unpack((const uint8_t *)"\xff", 1, &scratch, &m, NULL, 100) == CODEC_GARBAGE);
    EXPECT(codec_unpack((const uint8_t *)"\xff", 1, &scratch, &m, NULL, 0) == CODEC_GARBAGE);
}
