/* picture.h - a trial as a film strip, drawn without a screen: side view (x to the right, z up) of the model's geoms.
 *
 * Poses are collected by the simulation's thread without waiting; a thread of its own, at normal priority, draws when a
 * trial ends, and replaces the file in one step. */
#ifndef BRIDGE_PICTURE_H
#define BRIDGE_PICTURE_H

#include "firmware-bridge/sim.h"

struct picture;

/* Starts the drawing thread; call it before any real-time priority is set.  The sim must outlive the picture.
 * NULL with a sentence in `why`. */
struct picture *picture_open(const char *file, const char *robot, const struct sim *sim, char *why, size_t why_size);

/* A trial begins (drops what was collected); one pose of it, taken time_s after its start; it ended: draw it. */
void picture_begin(struct picture *p, uint32_t trial);
void picture_pose(struct picture *p, const struct sim *sim, double time_s);
void picture_end(struct picture *p);

/* Draws what was collected last and ends the thread.  False with a sentence where a file could not be written. */
bool picture_close(struct picture *p, char *why, size_t why_size);

#endif
