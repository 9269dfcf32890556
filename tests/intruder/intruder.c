/* intruder.c - loaded into limberd by tests (LD_PRELOAD).  Once the process gets SIGUSR1, the thread that INTRUDER_THREAD
 * names does INTRUDER_DEED, which it must not, at its next look at the clock ("mallocs": at every one from then on). */
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static _Atomic(pthread_t) victim;
static _Atomic bool       due;
void *volatile intruder_sink; /* keeps the compiler from dropping the malloc */

static void on_signal(int signum)
{
    (void)signum;
    atomic_store(&due, true);
}

__attribute__((constructor)) static void begin(void)
{
    const char *deed = getenv("INTRUDER_DEED");

    signal(SIGUSR1, on_signal);
    if (deed && strcmp(deed, "locale") == 0 && !setlocale(LC_ALL, "de_DE.UTF-8"))
        abort();
}

int pthread_setname_np(pthread_t thread, const char *name)
{
    const char *wanted = getenv("INTRUDER_THREAD");
    int (*real)(pthread_t, const char *);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_setname_np");
    if (wanted && strcmp(name, wanted) == 0)
        atomic_store(&victim, thread);
    return real(thread, name);
}

static void act(void)
{
    const char *deed = getenv("INTRUDER_DEED");

    if (!deed)
        return;
    if (strcmp(deed, "malloc") == 0)
        intruder_sink = malloc((size_t)64 << 20);
    else if (strcmp(deed, "mallocs") == 0) {
        intruder_sink = malloc(100);
        atomic_store(&due, true);
    } else if (strcmp(deed, "open") == 0)
        (void)!open("/etc/hostname", O_RDONLY | O_CLOEXEC);
#if defined(__x86_64__)
    else if (strcmp(deed, "rounding") == 0)
        _mm_setcsr(_mm_getcsr() | _MM_ROUND_DOWN);
#endif
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (!real_clock_gettime) /* by another library's constructor, before ours: no thread is there yet */
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    if (atomic_load(&due) && pthread_equal(atomic_load(&victim), pthread_self()) && atomic_exchange(&due, false))
        act();
    return real_clock_gettime(clock, t);
}
