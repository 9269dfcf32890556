/* stops.h - why the robot stopped, kept on disk: one recording for every stop and fault, readable without the daemon.
 *
 *     RUN/stops/NNN.jsonl    line 1: what happened (an object); then one line a tick, oldest first, about two seconds
 *     RUN/stops/box          the last ticks as they come, in a mapped file: outlives a daemon that is killed
 *     RUN/stops/alive        process and mode of the running daemon; gone after an orderly end
 *
 * The newest STOPS_KEPT recordings are kept.  A daemon that finds `alive` at its start was preceded by one that died: that
 * is a recording, too (code "crash"), with the ticks of the box.  Files are written beside and renamed, but not synced:
 * they survive a kill, a power failure may cost the newest.  docs/faults.md has the format.  Main thread only, and the disk's
 * thread writes; nothing here can fail the daemon: without memory or disk there is no recording, and one event says so. */
#ifndef DAEMON_STOPS_H
#define DAEMON_STOPS_H

#include <jansson.h>

#include "daemon/core.h"
#include "daemon/journal.h"

enum { STOPS_KEPT = 20, STOPS_STEPS = 32, STOPS_PENDING = 4 };
#define STOPS_SECONDS 2.0

/* A change of mode or a gate trip. */
struct stops_step {
    bool           is_gate;
    uint64_t       tick, now_ns;
    enum mode      from, to;
    enum stop_code stop;
    enum gate      gate;
    uint32_t       trial, step;
    double         unix_s;
};

struct stops_box; /* mapped: header and a ring of tick_record */
struct stops_recording;

struct stops {
    const struct robot_config *config;
    struct journal            *journal;
    char                       dir[PATH_SIZE];
    uint64_t                   config_hash; /* FNV-1a, 64 bit, of robot.yaml's and the task file's bytes   */
    struct stops_box          *box;         /* NULL: no memory                                             */
    size_t                     box_bytes;
    int                        alive_fd;
    int                        last;        /* number of the newest recording, 0: none                     */
    uint64_t                   nstep;
    struct stops_step          step[STOPS_STEPS]; /* ring */
    struct stops_step          pending[STOPS_PENDING]; /* that wait for the record of their tick, oldest first */
    int                        npending;
    struct stops_recording    *writing;     /* by the disk's thread, oldest first; NULL: none              */
    struct stops_step          stop;        /* that is recorded, or was last                               */
    uint64_t                   model;       /* of the newest tick                                          */
    bool                       failed;      /* the last recording could not be written, which has been said */
    char                       before[240]; /* what a start found: the last stop, or a crash; empty: nothing */
};

/* Finds what is there, records a crash of the daemon before, says it in the journal. */
void stops_open(struct stops *s, const struct robot_config *config, const char *run_dir, struct journal *journal);

/* What the control thread reported, in its order: notices of a tick come before its record. */
void stops_notice(struct stops *s, const struct notice *n);
void stops_tick(struct stops *s, const struct tick_record *r);

/* After a round of the above: what is complete is on its way to the disk.  core: newest copy. */
void stops_settle(struct stops *s, const struct core *core);

/* An orderly end. */
void stops_close(struct stops *s);

/* stops_json.c: line 1 of a recording, and one tick; `core` may be NULL (crash).  stop_ns: when t = 0. */
json_t *stops_head(const struct stops *s, const struct core *core);
json_t *stops_tick_json(const struct tick_record *r, uint64_t stop_ns);

#endif
