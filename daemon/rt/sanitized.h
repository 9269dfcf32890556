/* sanitized.h - is this a build under a sanitizer (make asan, make tsan, make rtsan)?  Such a build is several times slower, and
 * its runtime needs memory that must not be locked. */
#ifndef RT_SANITIZED_H
#define RT_SANITIZED_H

#include <stdbool.h>

#if defined(LIMBER_RTSAN)
#define RT_SANITIZED true
#elif defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RT_SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* gcc */
#define RT_SANITIZED true
#endif
#ifndef RT_SANITIZED
#define RT_SANITIZED false
#endif

#endif
