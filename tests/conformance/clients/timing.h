/* How long the vendor's calls take, for benches/vendors.rs. Included by client.h, after the words. */
#ifndef FCSP_CONFORMANCE_TIMING_H
#define FCSP_CONFORMANCE_TIMING_H
#include <sched.h>
#include <time.h>

static u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

/* This thread, and what it starts, stay on one processor: who takes turns there finds the same caches. */
static int pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set) ? BROKEN : 0;
}

/* One call of what is timed, or a pair: a kernel that takes no time, a piece of memory and back, a piece that is more
 * than there is. */
enum timed { LAUNCH, PAIR, REFUSE };

static inline int once(enum timed what, u64 bytes) {
    u64 address = 0;
    int result;
    switch (what) {
    case LAUNCH: return vendor.spin("fcsp_spin", 0);
    case PAIR:
        result = vendor.alloc(bytes, &address);
        return result ? result : vendor.free(address);
    case REFUSE: return vendor.alloc(bytes, &address) ? 0 : BROKEN;
    }
    return BROKEN;
}

static int timed_of(const char *name, enum timed *what) {
    static const char *names[] = {"launch", "pair", "refuse"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, names[i])) {
            *what = (enum timed)i;
            return i == LAUNCH ? vendor.spin && vendor.sync ? 0 : LACKS : 0;
        }
    return BROKEN;
}

/* Calls without a look at the clock between them; `total` is ns of all of them. The first tenth again is not counted:
 * whoever had the processor before has left its caches full of other things. */
static int time_all(const char *name, u64 count, u64 bytes, u64 *total) {
    enum timed what;
    int result = timed_of(name, &what);
    for (u64 i = 0; i < count / 10 && result == 0; i++)
        result = once(what, bytes);
    u64 begun = now_ns();
    for (u64 i = 0; i < count && result == 0; i++)
        result = once(what, bytes);
    *total = now_ns() - begun;
    return result == 0 && what == LAUNCH ? vendor.sync() : result;
}

static int ascending(const void *a, const void *b) {
    u64 x = *(const u64 *)a, y = *(const u64 *)b;
    return (x > y) - (x < y);
}

/* Each call by itself; ns of the median one and of the 99th in a hundred. The clock is in both. Every now and then the
 * device is waited for, which nobody counts: what is in flight stays little, as it does while each turn of time_all ends
 * that way. */
static int time_each(const char *name, u64 count, u64 bytes, u64 *median, u64 *late) {
    static u64 taken[1 << 14];
    enum timed what;
    int result = timed_of(name, &what);
    if (count == 0 || count > sizeof taken / sizeof *taken)
        return BROKEN;
    for (u64 i = 0; i < count && result == 0; i++) {
        u64 begun = now_ns();
        result = once(what, bytes);
        taken[i] = now_ns() - begun;
        if (what == LAUNCH && result == 0 && i % 128 == 127)
            result = vendor.sync();
    }
    qsort(taken, count, sizeof *taken, ascending);
    *median = taken[count / 2];
    *late = taken[count * 99 / 100];
    return result == 0 && what == LAUNCH ? vendor.sync() : result;
}
#endif
