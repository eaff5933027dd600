/* A device is let go of by one thread, and used anew by another before the first thread's call comes back: the simulated driver
 * is told to take its time after the effect. What the second took counts, what the first had does not.
 *
 * A program includes this and defines the words below; it is run as: program QUOTA, and says "right". */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)
#define MIB ((uint64_t)1 << 20)
/* What a request of 4 KiB takes where it is the only one: of a slab, for drivers that cut from those. */
#ifndef SMALL
#define SMALL 0
#endif

static void open_first(void);             /* the first use of the device */
static int take(uint64_t bytes);          /* whether they were granted */
static void let_go(void);                 /* of the device, with all that is on it */
static void until_gone(void);             /* returns when the driver has let go of it */
static void open_again(void);
static void figures(uint64_t *unused, uint64_t *total);

static void *second(void *first_to_do) {
    *(volatile int *)first_to_do = 1;
    until_gone();
    open_again();
    EXPECT(take(64 * MIB));
    if (SMALL) EXPECT(take(4096));
    return NULL;
}

int main(int count, char **words) {
    uint64_t quota = count > 1 ? strtoull(words[1], NULL, 10) : 0, unused, total, at_first;
    open_first();
    figures(&at_first, &total);
    EXPECT(total == quota);
    for (int round = 0; round < 2; round++) {
        volatile int waits = 0;
        pthread_t thread;
        if (SMALL) EXPECT(take(4096));
        EXPECT(take(256 * MIB));
        EXPECT(!pthread_create(&thread, NULL, second, (void *)&waits));
        while (!waits) sched_yield();
        let_go();
        EXPECT(!pthread_join(thread, NULL));
        open_again();
        figures(&unused, &total);
        fprintf(stderr, "%llu MiB free, %llu at first\n", (unsigned long long)(unused / MIB), (unsigned long long)(at_first / MIB));
        EXPECT(total == quota && unused == at_first - 64 * MIB - SMALL);
        EXPECT(!take(unused + 4 * MIB));
        EXPECT(take(unused - 4 * MIB));
        let_go();
        open_again();
        figures(&unused, &total);
        EXPECT(unused == at_first);
    }
    puts("right");
    return 0;
}
