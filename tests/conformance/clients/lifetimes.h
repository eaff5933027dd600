/* Scenarios in which handles come and go, each on one thread or on several at once. Every answer of the driver is checked.
   A program includes this, defines `begin` and `SCENARIOS`, and is run as: program SCENARIO ROUNDS THREADS. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed, threads;

#define OK(call) do { int r_ = (int)(call); if (r_) { \
    fprintf(stderr, "%s:%d: %s returned %d\n", __FILE__, __LINE__, #call, r_); __atomic_store_n(&failed, 1, __ATOMIC_SEQ_CST); return; } } while (0)

/* The same where other threads wait for this one at a barrier. */
#define OK_OR_END(call) do { int r_ = (int)(call); if (r_) { \
    fprintf(stderr, "%s:%d: %s returned %d\n", __FILE__, __LINE__, #call, r_); exit(1); } } while (0)

/* What a round is told: the thread's number, and how many rounds it has had. */
typedef struct { int number, turn; } Turn;
struct scenario {
    const char *name;
    void (*round)(Turn);
    int alone; /* on one thread only */
};

static void begin(void);
extern const struct scenario SCENARIOS[];
static const struct scenario *chosen;
static int rounds;
static pthread_barrier_t together;

static void *work(void *number) {
    Turn turn = {(int)(intptr_t)number, 0};
    begin();
    pthread_barrier_wait(&together);
    for (; turn.turn < rounds && !__atomic_load_n(&failed, __ATOMIC_SEQ_CST); turn.turn++) chosen->round(turn);
    pthread_barrier_wait(&together);
    return NULL;
}

int main(int count, char **words) {
    pthread_t all[64];
    for (const struct scenario *s = SCENARIOS; count == 4 && s->name; s++) if (!strcmp(words[1], s->name)) chosen = s;
    if (!chosen) return 2;
    rounds = atoi(words[2]);
    threads = chosen->alone ? 1 : atoi(words[3]);
    pthread_barrier_init(&together, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
    if (!failed) puts("right");
    return failed;
}
