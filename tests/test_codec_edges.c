/* test_codec_edges.c - the codec exactly at its limits (`make mutate` asked for these). */
#include <string.h>

#include "proto/limber.pb-c.h"
#include "tests/test.h"
#include "transport/codec.h"

static struct codec_scratch scratch;
static struct message       m;
static uint8_t              buf[CODEC_MAX_BYTES];
static char                 why[240];
static double               values[MAX_JOINTS + 1];

static enum codec_error unpacked(const Limber__V1__Envelope *e)
{
    bool   robots = e->body_case < LIMBER__V1__ENVELOPE__BODY_WELCOME;
    size_t n      = codec_seal(robots ? FROM_ROBOT : FROM_LIMBER, buf, limber__v1__envelope__pack(e, buf));

    snprintf(why, sizeof why, "as before");
    return codec_unpack(robots ? FROM_ROBOT : FROM_LIMBER, buf, n, &scratch, &m, why, sizeof why);
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
    char none[] = "as before";

    uint8_t garbage[1 + CODEC_CRC_BYTES] = { 0xff };
    size_t  n                            = codec_seal(FROM_ROBOT, garbage, 1);

    EXPECT(codec_unpack(FROM_ROBOT, garbage, n, &scratch, &m, NULL, 100) == CODEC_GARBAGE);
    EXPECT(codec_unpack(FROM_ROBOT, garbage, n, &scratch, &m, NULL, 0) == CODEC_GARBAGE);
    EXPECT(codec_unpack(FROM_ROBOT, garbage, n, &scratch, &m, none, 0) == CODEC_GARBAGE);
    EXPECT(strcmp(none, "as before") == 0);
}

/* ---- arrays that do not agree ---- */

TEST(a_hello_or_a_state_of_33_joints_is_refused)
{
    Limber__V1__Envelope   e      = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__Hello      h      = LIMBER__V1__HELLO__INIT;
    Limber__V1__JointState s      = LIMBER__V1__JOINT_STATE__INIT;
    Limber__V1__JointInfo  j      = LIMBER__V1__JOINT_INFO__INIT, *joints[MAX_JOINTS + 1];
    char                   name[] = "a";

    j.name = name, j.type = LIMBER__V1__JOINT_TYPE__JOINT_TYPE_REVOLUTE;
    for (int i = 0; i <= MAX_JOINTS; i++)
        joints[i] = &j;
    h.protocol = LIMBER_PROTOCOL, h.boot_id = 1, h.robot = name, h.joints = joints;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_HELLO, e.hello = &h;
    for (h.n_joints = MAX_JOINTS; h.n_joints <= MAX_JOINTS + 1; h.n_joints++)
        EXPECT(unpacked(&e) == (h.n_joints == MAX_JOINTS ? CODEC_OK : CODEC_SHAPE));
    EXPECT_STR(why, "hello.joints: 33 joints, expected 1 to 32");

    s.position = s.velocity = values;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_STATE, e.state = &s;
    for (s.n_position = MAX_JOINTS; s.n_position <= MAX_JOINTS + 1; s.n_position++) {
        s.n_velocity = s.n_position;
        EXPECT(unpacked(&e) == (s.n_position == MAX_JOINTS ? CODEC_OK : CODEC_SHAPE));
    }
    EXPECT_STR(why, "state.position: 33 values, expected 1 to 32");
}

TEST(each_array_of_a_state_has_a_value_for_every_joint_and_some_may_be_left_out)
{
    Limber__V1__Envelope   e    = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__JointState good = LIMBER__V1__JOINT_STATE__INIT, s;
    const struct {
        size_t     *n;
        bool        may_be_left_out;
        const char *name, *expected;
    } row[] = {
        { &s.n_velocity, false, "velocity", "3 as in position" },
        { &s.n_effort, true, "effort", "3 or none" },
        { &s.n_applied_effort, true, "applied_effort", "3 or none" },
    };

    good.n_position = good.n_velocity = good.n_effort = good.n_applied_effort = 3;
    good.position = good.velocity = good.effort = good.applied_effort = values;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_STATE, e.state = &s;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int n = 0; n <= 4; n++) {
            char says[100];

            s         = good;
            *row[i].n = (size_t)n;
            snprintf(says, sizeof says, "state.%s: %d values, expected %s", row[i].name, n, row[i].expected);
            bool fits = n == 3 || (n == 0 && row[i].may_be_left_out);
            EXPECT(unpacked(&e) == (fits ? CODEC_OK : CODEC_SHAPE));
            EXPECT_STR(why, fits ? "" : says);
        }
}

TEST(an_imu_has_4_3_and_3_values_or_is_refused)
{
    static const size_t      n[][3] = { { 4, 3, 3 }, { 3, 3, 3 }, { 4, 2, 3 }, { 4, 3, 2 }, { 4, 3, 0 } };
    Limber__V1__Envelope     e      = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__JointState   s      = LIMBER__V1__JOINT_STATE__INIT;
    Limber__V1__Imu          imu    = LIMBER__V1__IMU__INIT;

    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        imu.quat_wxyz = imu.gyro = imu.accel = values;
        imu.n_quat_wxyz = n[i][0], imu.n_gyro = n[i][1], imu.n_accel = n[i][2];
        s.session = 1, s.seq = 1, s.imu = &imu;
        s.position = s.velocity = values, s.n_position = s.n_velocity = 1;
        e.body_case = LIMBER__V1__ENVELOPE__BODY_STATE, e.state = &s;
        EXPECT(unpacked(&e) == (i ? CODEC_SHAPE : CODEC_OK));
        EXPECT_STR(why, i ? "expected 4, 3 and 3" : "");
    }
}

TEST(each_array_of_a_command_has_a_value_for_every_joint_or_none)
{
    Limber__V1__Envelope     e    = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__JointCommand good = LIMBER__V1__JOINT_COMMAND__INIT, c;
    const struct {
        size_t     *n;
        const char *name;
    } row[] = {
        { &c.n_torque, "torque" },     { &c.n_kp, "kp" }, { &c.n_kd, "kd" }, { &c.n_position, "position" },
        { &c.n_velocity, "velocity" },
    };

    good.n_torque = good.n_kp = good.n_kd = good.n_position = good.n_velocity = 3;
    good.torque = good.kp = good.kd = good.position = good.velocity = values;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_COMMAND, e.command = &c;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (size_t n = 0; n <= 3; n++) {
            char says[100];

            c         = good;
            *row[i].n = n;
            snprintf(says, sizeof says, "command.%s: %zu values, expected 3 or none", row[i].name, n);
            EXPECT(unpacked(&e) == (n == 0 || n == 3 ? CODEC_OK : CODEC_SHAPE));
            EXPECT_STR(why, n == 0 || n == 3 ? "" : says);
        }
}

/* ---- memory ---- */

/* A hello of 900 joints and this much text. */
static enum codec_error unfolded(size_t text)
{
    static Limber__V1__JointInfo  j;
    static Limber__V1__JointInfo *joints[900];
    static char                   software[CODEC_MAX_BYTES];
    Limber__V1__Envelope          e = LIMBER__V1__ENVELOPE__INIT;
    Limber__V1__Hello             h = LIMBER__V1__HELLO__INIT;

    limber__v1__joint_info__init(&j);
    for (int i = 0; i < 900; i++)
        joints[i] = &j;
    memset(software, 'x', text);
    software[text] = 0;
    h.protocol = LIMBER_PROTOCOL, h.boot_id = 1, h.n_joints = 900, h.joints = joints, h.software = software;
    e.body_case = LIMBER__V1__ENVELOPE__BODY_HELLO, e.hello = &h;
    return unpacked(&e);
}

TEST(a_message_may_unfold_to_the_last_byte_of_the_block_and_not_beyond)
{
    EXPECT(unfolded(1) == CODEC_SHAPE);
    EXPECT_STR(why, "900 joints");
    EXPECT(scratch.used % 16 == 0 && scratch.used < CODEC_SCRATCH);

    size_t text = CODEC_SCRATCH - scratch.used + 16 - 1; /* its end is a byte, too */
    EXPECT(text < CODEC_MAX_BYTES - 4000);
    EXPECT(unfolded(text) == CODEC_SHAPE);
    EXPECT_STR(why, "900 joints");
    EXPECT(scratch.used == CODEC_SCRATCH);
    EXPECT(unfolded(text + 1) == CODEC_SHAPE);
    EXPECT_STR(why, "unfold into more than 131072");
    EXPECT(unfolded(1) == CODEC_SHAPE); /* and the next message starts over */
    EXPECT_STR(why, "900 joints");
}

/* ---- what is packed ---- */

static void pack_it(const void *message)
{
    codec_pack(message, buf);
}

static struct message kind_of(enum message_kind kind)
{
    return (struct message){ .kind = kind };
}

TEST(packing_more_than_there_is_or_text_without_an_end_is_a_bug)
{
    static const int bad[] = { -1, MAX_JOINTS + 1 };

    _Static_assert((int)MAX_EXTRA == (int)MAX_JOINTS, "one beyond either");
    for (int i = 0; i < 2; i++) {
        m = kind_of(MESSAGE_HELLO), m.hello.nj = bad[i];
        EXPECT(test_breaks(pack_it, &m, "h->nj"));
        m = kind_of(MESSAGE_HELLO), m.hello.nextra = bad[i];
        EXPECT(test_breaks(pack_it, &m, "h->nextra"));
        m = kind_of(MESSAGE_STATE), m.state.nj = bad[i];
        EXPECT(test_breaks(pack_it, &m, "s->nj"));
        m = kind_of(MESSAGE_STATE), m.state.nextra = bad[i];
        EXPECT(test_breaks(pack_it, &m, "s->nextra"));
        m = kind_of(MESSAGE_COMMAND), m.command.nj = bad[i];
        EXPECT(test_breaks(pack_it, &m, "c->nj"));
    }
    m = kind_of(MESSAGE_HELLO), memset(m.hello.robot, 'x', sizeof m.hello.robot);
    EXPECT(test_breaks(pack_it, &m, "memchr"));
    m = kind_of(MESSAGE_NONE);
    EXPECT(test_breaks(pack_it, &m, "a message of a known kind"));
    m = kind_of(MESSAGE_HELLO);
    EXPECT(!test_breaks(pack_it, &m, ""));
}

TEST(the_largest_of_every_kind_of_message_fits)
{
    m = kind_of(MESSAGE_HELLO), m.hello.nj = MAX_JOINTS, m.hello.nextra = MAX_EXTRA;
    memset(m.hello.robot, 'x', NAME_SIZE - 1), memset(m.hello.software, 'x', NAME_SIZE - 1);
    for (int j = 0; j < MAX_JOINTS; j++) {
        memset(m.hello.joint[j].name, 'x', NAME_SIZE - 1), memset(m.hello.extra[j], 'x', NAME_SIZE - 1);
        m.hello.joint[j].type         = (enum joint_type) - 1; /* what takes most bytes, whatever it means */
        m.hello.joint[j].position_min = m.hello.joint[j].position_max = 1;
        m.hello.joint[j].velocity_max = m.hello.joint[j].effort_max = m.hello.joint[j].effort_rate_max = 1;
        m.hello.joint[j].actuated                                   = true;
    }
    EXPECT(codec_pack(&m, buf) <= CODEC_MAX_BYTES);
    m = kind_of(MESSAGE_STATE), m.state.nj = MAX_JOINTS, m.state.nextra = MAX_EXTRA, m.state.has_imu = true;
    m.state.has_effort = true;
    memset(m.state.effort, 1, sizeof m.state.effort), memset(m.state.applied_effort, 1, sizeof m.state.applied_effort);
    EXPECT(codec_pack(&m, buf) <= CODEC_MAX_BYTES);
    m = kind_of(MESSAGE_COMMAND), m.command.nj = MAX_JOINTS;
    memset(m.command.kp, 1, sizeof m.command.kp), memset(m.command.kd, 1, sizeof m.command.kd);
    memset(m.command.position, 1, sizeof m.command.position), memset(m.command.velocity, 1, sizeof m.command.velocity);
    EXPECT(codec_pack(&m, buf) <= CODEC_MAX_BYTES);
}
