/* limber.pml - daemon x lossy link x receiver, one pass of the loop = one control tick.
 *
 * The modes of both sides follow tables.pml, which is printed from the C tables (tests/spin/tables.c; a test compares).
 * What decides about events is daemon/core.c, core_state.c, core_plan.c and firmware-bridge/receiver.c, with short times.
 * g_* are ghosts: kept from what the environment did, never read or written by the code under test.  They and the
 * invariants (I1 to I12: docs/verification.md) are at the end of the tick.
 *
 *     -DBOTH     both sides and the link; of the daemon what the other side can notice
 *     -DCHAOS    the receiver alone, against arbitrary traffic
 *     -DDAEMON   the daemon alone, all of it, with the torque filter (I8)
 *     -DBOTH -DWALK=n   print n ticks of one path, for the replay on the C code; likewise -DDAEMON */
#include "tables.pml"

#ifndef DT
#ifdef BOTH
#define DT 2    /* ticks without a good state that make it stale (core: stale_ticks)          */
#else
#define DT 3
#endif
#endif
#ifndef FT
#define FT 2    /* ticks a command is valid and a state may be answered (command_timeout_ms)  */
#define LT 3    /* ticks of silence after which the receiver latches                          */
#endif
#define RAMP 2  /* ticks of the ramp of an operator's stop                                    */
#define CAP 3   /* ticks after which stopping ends anyhow                                     */
#ifndef REJ
#define REJ 2   /* implausible states in a row that stop the robot                            */
#define TRIPS 2 /* gate trips that are too many                                               */
#endif
#define TOP 2   /* DAEMON: the absolute limit; the rate limit is 1 a tick                     */

/* what the environment does: to the robot, with the state, the operator's wish, with the command */
#define PRESS 1     /* e-stop       */
#define RELEASE 2
#define MOTOR 3     /* a fault of the robot side: there, and gone */
#define REPAIRED 4
#define CRASH 5     /* the daemon dies and starts again */
#define WELCOME 6   /* a new session is agreed on */
#define OUTSIDE 7   /* a joint is beyond its limit */
#define PLACED 8    /* the robot was put into a start pose */

#define LOST 0
#define FRESH 1
#define OLD_STATE 2 /* a duplicate, or one from before */
#define BAD 3       /* cannot be believed; e-stop and fault bits are heeded all the same */

#define ARM 1
#define DISARM 2
#define STOP 3
#define RESET 4
#define TRIAL_PLANNED 5
#define TRIAL_RANDOM 6
#define TRIAL_STOP 7
#define LATER 8     /* so long after the last gate trip that it no longer counts */

#define LOSE 0
#define DELIVER 1
#define CORRUPT 2
#define HOLD 3      /* kept back instead of delivered */
#define COPY 4      /* delivered, and kept as well    */
#define REPLAY 5    /* what was kept comes now        */

#define NONE 0      /* sessions */
#define CURRENT 1
#define OLD 2

#define OLDER 0     /* seq against the receiver's last accepted one */
#define SAME 1
#define NEWER 2

/* daemon */
byte d = BOOT, age = DT, rej, trips, timer, dsess;
bool latched, stop_latches, ramp, seen_estop, seen_fault, seen_latch;
byte trial;
/* robot and receiver */
byte f = OFF, silent = LT, since; /* since: ticks since it latched; states that left later know of it */
bool estop, mfault, estop_latch, agreed;
/* the kept command: kind + 1 (0: none), session, seq, age of the state it answers */
byte hk, hs, hr, ha;
#ifdef DAEMON
byte sent, want, g_sent;
bool g_torque;
#endif

/* ghosts */
byte g_age = DT, g_noval = LT, g_stopping, g_trips, g_since;
bool g_arm, g_session, g_estop, g_lat, g_hard, g_new, g_silenced;

/* within a tick; 0 between ticks */
byte phys, st, op, link, dp, fp, to, tk, ta, ts, k, s, r, a;
bool gate, good, settled,  stale, told, noticed, clash, knows, valid, bad;

#ifdef WALK
int walked;
bool calm;  /* in the tick before: a good state, and nothing that forbids arming */
bool asked; /* in this tick, for a trial                                         */
#define begun !asked
#define asks() asked = 1
/* A walk begins at a random one of the ways and takes the first that is open: what an undisturbed robot does should not
 * be rare. */
#define often(x) x :: x :: x :: x :: x :: x
#else
#define often(x) false
#define begun true
#define asks() skip
#endif

#define armed(m) ((m) == BASELINE || (m) == EXPLORE || (m) == ADVANCED)
#define up(x, most) x = ((x) < (most) -> (x) + 1 : (x))

/* ---- daemon (core.c) ---- */

inline arrives(lat, operators) /* core_mode: d -> to */
{
    if
    :: to != d ->
        if
        :: to == STOPPING || to == FAULT -> stop_latches = lat; ramp = operators; timer = 0
        :: else
        fi;
        if
        :: to == FAULT || (d == STOPPING && to == DISARMED) -> latched = stop_latches
        :: else
        fi;
        if
        :: d == FAULT -> latched = 0
        :: else
        fi;
        noticed = 1;
        d = to
    :: else
    fi
}

inline happens(event, NEXT, lat, operators)
{
    to = NEXT;
#ifdef WALK
    printf("e %d %d %d\n", d, event, to);
#endif
    arrives(lat, operators)
}

inline stop(lat, operators)
{
    if
    :: d == STOPPING && ((lat && !stop_latches) || (!(operators) && ramp)) -> stop_latches = 1; ramp = operators; noticed = 1
    :: else
    fi;
    happens(EV_STOP, AFTER_STOP(d), lat, operators)
}

inline estimate() /* core_estimate */
{
    /* settled: good for a while, a tick here; core_prearm's second */
    told = agreed && (st == FRESH || st == BAD);
    good = agreed && st == FRESH;
    if
    :: told && dsess != CURRENT ->
        clash = dsess != NONE && (armed(d) || d == STOPPING);
        dsess = CURRENT; age = DT; rej = 0
    :: else
    fi;
    if
    :: good -> settled = (age == 0); age = 0; rej = 0
    :: else -> up(age, DT);
        if
        :: told -> up(rej, REJ)
        :: else
        fi
    fi;
    if
    :: told -> seen_estop = estop; seen_fault = mfault; seen_latch = (f == LATCH)
    :: else
    fi;
    stale = age >= DT
}

inline supervise()
{
    if
    :: !armed(d) && d != STOPPING -> skip
    :: else ->
        if
        :: told && seen_estop -> happens(EV_FAULT, AFTER_FAULT(d), 1, 0)
        :: else ->
            if
            :: (told && (seen_fault || seen_latch)) || clash -> happens(EV_FAULT, AFTER_FAULT(d), 1, 0)
            :: else ->
                if
                :: rej >= REJ || stale || phys == OUTSIDE -> stop(1, 0)
                :: else ->
                    if
                    :: told && st == BAD && d == ADVANCED -> happens(EV_DEMOTE, AFTER_DEMOTE(d), 0, 0)
                    :: else
                    fi
                fi
            fi
        fi
    fi
}

inline operate()
{
    if
    :: op == ARM && d == DISARMED && settled && dsess == CURRENT && !seen_estop && !seen_fault && !seen_latch && !latched ->
        happens(EV_ARM, AFTER_ARM(d), 0, 0)
#ifdef DAEMON
        ; sent = 0
#endif
    :: op == DISARM && armed(d) -> stop(0, 1)
    :: op == STOP && (armed(d) || d == STOPPING) -> stop(1, 1)
    :: op == RESET && (d == DISARMED || (d == FAULT && !noticed && !seen_estop && !seen_fault)) ->
        happens(EV_RESET, AFTER_RESET(d), 0, 0); latched = 0; trips = 0
    :: op == TRIAL_PLANNED && d == BASELINE && trial == 0 -> trial = TRIAL_PLANNED; asks()
    :: op == TRIAL_RANDOM && d == BASELINE && trial == 0 -> trial = TRIAL_RANDOM; asks()
    :: op == TRIAL_STOP && trial != 0 -> trial = 0;
        if
        :: d == ADVANCED || d == EXPLORE -> happens(EV_DEMOTE, AFTER_DEMOTE(d), 0, 0)
        :: else
        fi
    :: op == LATER -> trips = 0
    :: else
    fi;
    if
    :: !armed(d) -> trial = 0
    :: else
    fi
}

inline trip()
{
#ifdef DAEMON
    up(trips, TRIPS)
#else
    skip
#endif
}

inline playback() /* trial_begin, core_playback: at a boundary, which needs a good state */
{
    if
    :: good && d == BASELINE && begun && trial == TRIAL_RANDOM -> happens(EV_EXPLORE, AFTER_EXPLORE(d), 0, 0)
    :: good && d == BASELINE && begun && trial == TRIAL_PLANNED && gate -> happens(EV_PROMOTE, AFTER_PROMOTE(d), 0, 0)
    :: good && d == ADVANCED && !gate -> happens(EV_DEMOTE, AFTER_DEMOTE(d), 0, 0); trip();
        if
        :: trips == TRIPS -> happens(EV_FAULT, AFTER_FAULT(d), 1, 0)
        :: else
        fi
    :: else
    fi
}

inline command() /* command_mode_of, command_write, stopping_end */
{
    tk = 0;
    if
    :: armed(d) -> tk = C_TORQUE + 1
    :: d == STOPPING ->
        tk = ((stale || rej >= REJ || timer >= RAMP || !ramp) -> C_DAMP + 1 : C_TORQUE + 1)
    :: d == FAULT -> tk = C_DAMP + 1
    :: d == DISARMED -> tk = (latched -> C_DAMP + 1 : C_IDLE + 1)
    :: else
    fi;
    if
    :: dsess == NONE -> tk = 0
    :: else
    fi;
    ts = dsess;
    ta = (tk == C_TORQUE + 1 || tk == C_IDLE + 1 -> age : 0);
#ifdef DAEMON
    filter();
#endif
    if
    :: d == STOPPING && (timer >= CAP || (timer >= RAMP && !stale && gate)) -> /* gate: it stands still */
        happens(EV_STOPPED, AFTER_STOPPED(d), stop_latches, 0)
    :: d == STOPPING -> timer++
    :: else
    fi
}

#ifdef DAEMON
/* want: 0 to TOP + 1, and TOP + 2 is not a number: then the baseline's effort, which is 1 */
inline filter()
{
    if
    :: tk == C_TORQUE + 1 ->
        want = (want == TOP + 2 -> 1 : want);
        want = (want > TOP -> TOP : want);
        want = (want > sent + 1 -> sent + 1 : want);
        want = (want + 1 < sent -> sent - 1 : want);
        sent = want
    :: else -> sent = 0
    fi
}
#endif

#ifdef WALK
/* What cannot be said to the C code in this tick's state does not happen in a walk: the code wants to have seen for a second
 * that all is well before it arms, and a start pose to be reached after it was asked for; a joint is seen outside in a
 * state. */
inline walkable()
{
    asked = 0;
    phys = (phys == OUTSIDE && !(agreed && st == FRESH) -> 0 : phys);
    op = (op == ARM && (!calm || phys == OUTSIDE || dsess != CURRENT) -> 0 : op)
}

inline walks()
{
    printf("i %d %d %d %d %d %d %d %d %d %d %d\n", st, op, gate, phys == OUTSIDE, agreed, estop, mfault, f == LATCH, d, tk, latched);
    calm = good && !seen_estop && !seen_fault && !seen_latch && phys != OUTSIDE && dp != STOPPING
}
#endif

inline daemon()
{
#ifdef WALK
    walkable();
#endif
    if
    :: d == BOOT -> happens(EV_READY, AFTER_READY(d), 0, 0)
    :: else
    fi;
    estimate();
    supervise();
    operate();
    playback();
    command();
#ifdef WALK
    walks()
#endif
}

/* ---- receiver (receiver.c) ---- */

inline becomes(NEXT, pressing) /* happen */
{
    since = (f != LATCH && (NEXT) == LATCH || pressing -> pressing : since);
    f = NEXT;
    estop_latch = (pressing -> 1 : estop_latch);
    estop_latch = (f != LATCH -> 0 : estop_latch);
    if
    :: estop && f != LATCH -> f = LATCH; estop_latch = 1
    :: else
    fi
}

inline passes_time()
{
    up(silent, LT);
    if
    :: f == LIVE && silent >= FT -> becomes(R_AFTER_EXPIRED(f), 0)
    :: else
    fi;
    if
    :: silent >= LT -> becomes(R_AFTER_SILENT(f), 0)
    :: else
    fi
}

inline receive() /* of k, s, r, a: what came */
{
    if
    :: k != 0 && !bad && s == CURRENT && r == NEWER && (k != C_TORQUE + 1 || a < FT) ->
        silent = 0;
        /* seq is the newest now: what is kept has another place */
        if
        :: link == REPLAY -> hr = SAME
        :: link == COPY -> hr = SAME
        :: else -> hr = OLDER
        fi;
        if
        :: k == C_IDLE + 1 && f == LATCH && !(a < FT && a < since) -> skip /* held back: sent before the latch was known */
        :: k == C_IDLE + 1 && !(f == LATCH && !(a < FT && a < since)) -> becomes(R_AFTER_IDLE(f), 0)
        :: k == C_TORQUE + 1 -> becomes(R_AFTER_TORQUE(f), 0)
        :: else -> becomes(R_AFTER_DAMP(f), 0)
        fi
    :: else
    fi
}

/* ---- link ---- */

inline ages()
{
    if
    :: hk == C_TORQUE + 1 || hk == C_IDLE + 1 -> up(ha, FT)
    :: else
    fi
}

inline transport()
{
    k = 0; s = ts; r = NEWER; a = ta; bad = 0;
    if
    :: link == DELIVER || link == COPY -> k = tk
    :: link == CORRUPT -> k = tk; bad = 1
    :: link == REPLAY -> k = hk; s = hs; r = hr; a = ha
    :: else
    fi;
    /* ghost: is this a new, valid one?  g_new: so would be the kept one */
    valid = k != 0 && link != CORRUPT && s == CURRENT && (k != C_TORQUE + 1 || a < FT) && (link != REPLAY || g_new);
    if
    :: valid -> g_new = 0
    :: else
    fi;
    if
    :: (link == HOLD || link == COPY) ->
        hk = tk; hs = ts; ha = ta; hr = NEWER; g_new = (link == HOLD || !valid) && tk != 0 && ts == CURRENT
    :: else
    fi
}

/* Two kept commands that nothing can tell apart are one state. */
inline canonical()
{
    if
    :: hk == 0 || hs != CURRENT -> hr = OLDER; ha = 0; g_new = 0
    :: else
    fi;
    hs = (hk == 0 -> 0 : hs);
    since = (f == LATCH -> (since < FT -> since + 1 : FT) : 0)
}

/* ---- environment ---- */

inline physics()
{
    if
    :: phys = 0
    :: often(estop -> phys = RELEASE; estop = 0) :: often(phys = 0) :: often(phys = 0) :: often(phys = 0)
    :: !estop -> phys = PRESS; estop = 1; g_estop = 1; g_since = 1; becomes(R_AFTER_ESTOP(f), 1)
    :: often(mfault -> phys = REPAIRED; mfault = 0) :: often(phys = 0) :: often(phys = 0) :: often(phys = 0)
    :: !mfault -> phys = MOTOR; mfault = 1
    :: often(phys = 0) :: often(phys = 0)
    :: phys = CRASH; d = BOOT; age = DT; rej = 0; trips = 0; timer = 0; dsess = NONE; latched = 0; stop_latches = 0;
       ramp = 0; seen_estop = 0; seen_fault = 0; seen_latch = 0; trial = 0; agreed = 0;
       g_age = DT; g_arm = 0; g_lat = 0; g_hard = 0; g_stopping = 0; g_trips = 0
    :: phys = WELCOME; agreed = 1; g_session = 0; dsess = (dsess == CURRENT -> OLD : dsess); hs = (hk != 0 -> OLD : 0);
       since = FT; g_since = FT; g_silenced = 0; becomes(R_AFTER_IDLE(f), 0);
#ifdef CHAOS
       g_estop = estop
#endif
#ifdef DAEMON
    :: phys = OUTSIDE
    /* There is no link over which an IDLE could end the latch. */
    :: often(f == LATCH && !estop -> phys = WELCOME; agreed = 1; g_session = 0; dsess = (dsess == CURRENT -> OLD : dsess);
             since = FT; g_since = FT; g_silenced = 0; becomes(R_AFTER_IDLE(f), 0))
#endif
    :: phys = PLACED;
       if
       :: f == LIVE || f == DAMP -> becomes(R_AFTER_IDLE(f), 0)
       :: else
       fi
    :: estop -> phys = RELEASE; estop = 0
    :: mfault -> phys = REPAIRED; mfault = 0
    fi;
#ifdef WALK
    printf("p %d\n", phys);
#endif
    phys = (phys == OUTSIDE -> OUTSIDE : 0)
}

inline chooses()
{
    if :: st = LOST :: st = FRESH :: often(st = FRESH) :: often(st = FRESH) :: st = OLD_STATE :: st = BAD fi;
    if :: op = 0 :: op = ARM :: op = DISARM :: op = STOP :: op = RESET :: op = TRIAL_PLANNED
       :: often(op = 0) :: often(d == DISARMED -> op = ARM) :: often(d == BASELINE -> op = TRIAL_PLANNED)
       :: often(d == FAULT || latched -> op = RESET)
#ifdef DAEMON
       :: op = TRIAL_RANDOM :: op = TRIAL_STOP :: op = LATER
#endif
    fi;
    if :: gate = 0 :: gate = 1 :: often(gate = 1) fi;
#ifdef DAEMON
    if :: want = 0 :: want = 1 :: want = 2 :: want = TOP + 1 :: want = TOP + 2 fi
#endif
}

inline conveys()
{
#ifdef DAEMON
    link = LOSE
#else
    if :: link = LOSE :: tk != 0 -> link = DELIVER :: often(tk != 0 -> link = DELIVER) :: tk != 0 -> link = CORRUPT :: tk != 0 -> link = HOLD
       :: tk != 0 -> link = COPY :: hk != 0 -> link = REPLAY fi
#endif
}

inline traffic() /* CHAOS: instead of a daemon */
{
    if :: tk = 0 :: tk = C_IDLE + 1 :: tk = C_TORQUE + 1 :: tk = C_DAMP + 1 fi;
    if :: ts = CURRENT :: ts = OLD fi;
    ta = 0;
    if :: tk == C_TORQUE + 1 || tk == C_IDLE + 1 -> if :: ta = 0 :: ta = FT - 1 :: ta = FT fi :: else fi
}

/* ---- invariants ---- */

inline daemon_is_safe()
{
    /* ghosts: what the daemon was told, and the operator's word */
    if
    :: agreed && st == FRESH -> g_age = 0
    :: else -> up(g_age, DT)
    fi;
    g_arm = (op == ARM && dp == DISARMED -> 1 : g_arm);
    g_session = g_arm && (g_session || op == ARM);
    g_lat = (op == RESET && (dp == DISARMED || dp == FAULT || dp == BOOT) -> 0 : g_lat);
    if
    :: (armed(dp) || dp == STOPPING) && (g_age >= DT || op == STOP || phys == OUTSIDE || d == FAULT) ->
        g_lat = !(op == RESET && d == DISARMED)
    :: else
    fi;
    g_stopping = (d == STOPPING -> g_stopping + 1 : 0);
    g_hard = (armed(dp) || dp == STOPPING) && (g_hard || g_age >= DT || phys == OUTSIDE);
#ifdef DAEMON
    g_trips = (op == RESET || op == LATER -> 0 : g_trips);
    if
    :: dp == ADVANCED && op != TRIAL_STOP && good && !gate && (d == BASELINE || d == FAULT) -> up(g_trips, TRIPS)
    :: else
    fi;
#endif

    assert(!(agreed && (st == FRESH || st == BAD) && estop && tk == C_TORQUE + 1));  /* I1: told of it, same tick */
    assert(!(agreed && (st == FRESH || st == BAD) && mfault && tk == C_TORQUE + 1)); /* I2 */
    assert(!(armed(d) && g_age >= DT));                                              /* I4 */
    assert(!(tk == C_TORQUE + 1 && !g_arm));                                         /* I5 */
    assert(!(tk == C_TORQUE + 1 && ts == CURRENT && !g_session));                    /* I5: in this session */
    assert(!(armed(d) && g_lat));                                                    /* I6: in the daemon */
    assert(!(dp == FAULT && d != FAULT && op != RESET));                             /* I6 */
    assert(!(dp == FAULT && d != FAULT && told && (estop || mfault)));               /* I6: cause gone */
    assert(!(d == ADVANCED && agreed && st == FRESH && !gate));                      /* I7 */
    assert(!(d == ADVANCED && dp != ADVANCED && dp != BASELINE));                    /* I7: through the baseline */
    assert(!(d == ADVANCED && agreed && st == BAD));                                 /* S4 */
    assert(!(g_trips >= TRIPS && armed(d)));                                         /* too many gate trips */
    assert(!(armed(d) && !armed(dp) && !(dp == DISARMED && op == ARM && d == BASELINE))); /* I9 */
    assert(!(d == STOPPING && g_hard && tk == C_TORQUE + 1));                        /* trouble ends any ramp */
    assert(g_stopping <= CAP + 1);                                                   /* I10: stopping ends */
    assert(!(d != dp && dp != BOOT && !noticed));                                    /* I11: every change is told */
    /* Nothing is for ever: with the cause gone and the link whole, a reset takes the daemon out of FAULT. */
    assert(!(dp == FAULT && op == RESET && agreed && st == FRESH && !estop && !mfault && d != DISARMED));
#ifdef DAEMON
    assert(sent <= TOP);                                                             /* I8 */
    assert(!(g_torque && tk == C_TORQUE + 1 && (sent > g_sent + 1 || sent + 1 < g_sent)));
    assert(!(!g_torque && tk == C_TORQUE + 1 && sent > 1));
    g_torque = tk == C_TORQUE + 1;
    g_sent   = (g_torque -> sent : 0);
#endif
    g_arm = (d == DISARMED || d == FAULT -> 0 : g_arm);
    g_session = g_session && g_arm;
    g_estop = (!estop && op == ARM && dp == DISARMED && armed(d) -> 0 : g_estop)
}

inline receiver_is_safe()
{
    if
    :: valid -> g_noval = 0
    :: else -> up(g_noval, LT)
    fi;
    g_since = (g_noval >= LT && (fp == LIVE || fp == DAMP) -> 0 : g_since); /* states of this tick left before that */
    g_silenced = (g_noval >= LT && (fp == LIVE || fp == DAMP) -> 1 : g_silenced);
#ifdef CHAOS
    knows = valid && k == C_IDLE + 1 && a < FT && a < g_since;
    g_estop = (!estop && knows -> 0 : g_estop);
    g_silenced = (!estop && knows -> 0 : g_silenced);
#else
    g_silenced = (!estop && valid && k == C_IDLE + 1 -> 0 : g_silenced);
#endif

    assert(!(estop && (f != LATCH || !estop_latch)));           /* I1: no torque, not even damping */
    assert(!(g_noval >= FT && f == LIVE));                      /* I3 */
    assert(!(g_estop && f == LIVE));                            /* I6 */
    assert(!(g_silenced && f == LIVE));                         /* I6: after a long silence */
    assert(!(g_noval >= LT && f == DAMP));                      /* I10: silence ends in LATCH or OFF */
    assert(!(f == LIVE && fp != LIVE && !(valid && k == C_TORQUE + 1))); /* driven by a new command only */
    assert(silent >= g_noval)                                   /* I12 */
}

inline daemon_ends()
{
    phys = 0; st = 0; op = 0; dp = 0; to = 0; gate = 0; good = 0; settled = 0; stale = 0; told = 0; noticed = 0;
    clash = 0;
#ifdef DAEMON
    want = 0
#endif
}

inline tick_ends()
{
#ifdef WALK
    printf("t %d %d %d %d %d %d %d %d\n", k, s, r, a, bad, link, f, estop_latch);
    walked++;
    assert(walked < WALK); /* the walk ends here */
#endif
    link = 0; fp = 0; tk = 0; ta = 0; ts = 0; k = 0; s = 0; r = 0; a = 0; valid = 0; bad = 0; knows = 0;
    g_since = (g_estop || g_silenced -> (g_since < FT -> g_since + 1 : FT) : 0);
    canonical()
}

/* Three steps, so that what comes to the same after one of them is gone through once. */
active proctype tick()
{
    do
    :: atomic { physics() }
       atomic {
#ifdef CHAOS
           phys = 0;
           traffic()
#else
           dp = d;
           chooses();
           d_step { daemon(); daemon_is_safe(); daemon_ends() }
#endif
       }
       atomic {
           d_step { fp = f; ages(); passes_time() }
           conveys();
           d_step { transport(); receive(); receiver_is_safe(); tick_ends() }
       }
    od
}
