/* wrong_robot.h - a robot side on the wire that keeps the receiver contract but for one fault of choice. */
#ifndef TESTS_WRONG_ROBOT_H
#define TESTS_WRONG_ROBOT_H

enum wrong {
    RIGHT,
    HELLO_ONCE,          /* never says Hello again                              */
    HELLO_NEW_BOOT,      /* with a new boot id each time                        */
    HELLO_ENDLESS,       /* an infinite effort limit                            */
    STATE_REPEATS,       /* every tenth state has the number of the one before  */
    STATE_NAN,           /* a velocity that is NaN now and then                 */
    STATE_SHAPE,         /* a joint less than Hello said                        */
    STATE_SLOW,          /* at three quarters of the rate                       */
    STATE_OTHER_SESSION, /* every tenth state carries a wrong session           */
    EFFORT_AT_START,     /* pushes before any command                           */
    TORQUE_IGNORED,
    TORQUE_SIGN,
    SEQ_AHEAD,  /* says a command that was not sent yet                */
    SEQ_STICKS, /* says the last one for ever                          */
    KP_IGNORED,
    KD_SIGN,
    UNACTUATED_DRIVEN,
    NO_CLIP,
    NO_RATE,         /* effort steps as far as a command wants              */
    RATE_ANEW,       /* each command may step anew                          */
    NO_CUT_BACK,     /* drives on at any speed                              */
    IDLE_KEEPS,      /* IDLE changes nothing                                */
    DAMP_DRIVES,     /* pushes along the motion                             */
    ACCEPTS_SESSION, /* the refusals in the order of enum refused           */
    ACCEPTS_REPEATED,
    ACCEPTS_OLD,
    ACCEPTS_FAR,
    ACCEPTS_FEW,
    ACCEPTS_MANY,
    ACCEPTS_TORQUE_NAN,
    ACCEPTS_TORQUE_INF,
    ACCEPTS_GAIN_NAN,
    ACCEPTS_GAIN_NEGATIVE,
    ACCEPTS_VALID_ZERO,
    ACCEPTS_VALID_NEGATIVE,
    ACCEPTS_VALID_NAN,
    ACCEPTS_STATE_OLD,
    ACCEPTS_STATE_UNKNOWN,
    ACCEPTS_CRC, /* of messages that are not what was sent */
    ACCEPTS_NO_CRC,
    ACCEPTS_ECHO,
    DAMAGE_IGNORED,   /* goes on however many messages come damaged          */
    VALIDITY_IGNORED, /* a command ends with the timeout only                */
    TIMEOUT_IGNORED,  /* never ends by itself                                */
    TIMEOUT_LONG,     /* ends after three times what Hello says              */
    TIMEOUT_DRIVES,   /* pushes along the motion when commands stop          */
    TIMEOUT_FREE,     /* says damp, but only lets go                         */
    TIMEOUT_MIXED,    /* right: damps joint 0, and lets joint 1 go, as it says */
    TIMEOUT_SWAPPED,  /* says the same, and does it the other way round      */
    LATCH_NEVER,
    LATCH_SECRET,      /* latches without saying so                           */
    LATCH_LEFT,        /* a TORQUE command ends it                            */
    LATCH_STAYS,       /* IDLE does not                                       */
    SESSION_KEEPS,     /* goes on with the last command in a new session      */
    SESSION_COUNTS_ON, /* states go on counting                               */
    SESSION_DEAF,      /* does not say Hello after a Refusal                  */
    RESET_IGNORED,
    GARBAGE_STOPS, /* drops its command on garbage                        */
    ESTOP_IGNORED,
    ESTOP_RESUMES, /* goes on when it is released                         */
    WRONGS,
};

struct wrong_robot;

/* Three joints, the last without a motor; says Hello at `endpoint` until told to end.  Its e-stop is pressed from 0.5 to
 * 1 s after a session began where estop is asked for. */
struct wrong_robot *wrong_robot_start(const char *endpoint, enum wrong wrong, int estop);
void                wrong_robot_end(struct wrong_robot *r);

#endif
