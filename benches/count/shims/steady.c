/* Loaded before everything else, and through ctypes: callgrind's requests, and a clock that runs alike in every run.
 *
 * While the clock is steady each reading moves it by a fixed step, and a sleep for descriptors that brings nothing
 * moves it by the whole timeout and takes no time. Otherwise a loop that polls "at least every 100 µs" would poll
 * more often on a loaded machine, and be counted as slower. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <valgrind/callgrind.h>

static const long long SECOND = 1000000000, STEP = 100;

static int steady;
static long long now; /* in nanoseconds; counts while the clock is steady */

static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_epoll)(int, struct epoll_event *, int, int);
static int (*real_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);

__attribute__((constructor)) static void find_the_real_ones(void) {
    real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    real_epoll = dlsym(RTLD_NEXT, "epoll_wait");
    real_ppoll = dlsym(RTLD_NEXT, "ppoll");
}

/* ---- for benches.count.inside ---- */

void count_start(void) { CALLGRIND_START_INSTRUMENTATION; }

/* What was counted before goes into a file that nobody reads: CALLGRIND_ZERO_STATS would leave the system calls. */
void count_begin(void) { CALLGRIND_DUMP_STATS; }

void count_end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }

void count_steady(int on) {
    struct timespec begin;
    if (on && !steady) {
        real_clock(CLOCK_MONOTONIC, &begin);
        now = begin.tv_sec * SECOND + begin.tv_nsec;
    }
    steady = on;
}

/* ---- instead of the C library's ---- */

int clock_gettime(clockid_t id, struct timespec *time) {
    if (!steady || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE))
        return real_clock(id, time);
    now += STEP;
    time->tv_sec = now / SECOND;
    time->tv_nsec = now % SECOND;
    return 0;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    if (!steady || timeout <= 0)
        return real_epoll(epoll, events, most, timeout);
    int found = real_epoll(epoll, events, most, 0);
    if (found == 0)
        now += timeout * (SECOND / 1000);
    return found;
}

int ppoll(struct pollfd *set, nfds_t size, const struct timespec *timeout, const sigset_t *mask) {
    static const struct timespec at_once;
    if (!steady || !timeout)
        return real_ppoll(set, size, timeout, mask);
    int found = real_ppoll(set, size, &at_once, mask);
    if (found == 0)
        now += timeout->tv_sec * SECOND + timeout->tv_nsec;
    return found;
}
