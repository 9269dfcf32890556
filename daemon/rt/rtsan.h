/* rtsan.h - says to a build under the real-time sanitizer (make rtsan) which code must be real-time: between
 * rt_body_begin and rt_body_end no call may allocate, lock or enter the kernel, except between rt_permit_begin and
 * rt_permit_end.  Nothing in other builds.  What is watched: tests/rtsan_wrap.c. */
#ifndef RT_RTSAN_H
#define RT_RTSAN_H

#ifdef LIMBER_RTSAN
void rt_body_begin(void);
void rt_body_end(void);
void rt_permit_begin(void);
void rt_permit_end(void);
#else
static inline void rt_body_begin(void) {}
static inline void rt_body_end(void) {}
static inline void rt_permit_begin(void) {}
static inline void rt_permit_end(void) {}
#endif

#endif
