/* Eight threads use the device for the first time at once, and each takes memory of which the quota
 * has room for one piece beside what the driver takes.
 *
 * A program includes this and defines the words below. It is run as: program QUOTA BYTES. It prints
 * how many pieces were granted, and the least and the most free memory that the threads were told of
 * before they took it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)
enum { THREADS = 8 };

static void before(void);                 /* once, by one thread: uses no device */
static void use(void);                    /* the first use of the device, by each thread */
static int take(uint64_t bytes);          /* whether they were granted */
static void figures(uint64_t *unused, uint64_t *total);

static uint64_t quota, bytes, least = UINT64_MAX, most;
static int granted;
static pthread_barrier_t together;
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

static void *thread(void *nothing) {
    uint64_t unused, total;
    pthread_barrier_wait(&together);
    use();
    figures(&unused, &total);
    EXPECT(total == quota);
    pthread_barrier_wait(&together);
    int ours = take(bytes);
    pthread_mutex_lock(&counting);
    granted += ours;
    least = unused < least ? unused : least;
    most = unused > most ? unused : most;
    pthread_mutex_unlock(&counting);
    return nothing;
}

int main(int count, char **words) {
    pthread_t threads[THREADS];
    if (count != 3) return 2;
    quota = strtoull(words[1], NULL, 10);
    bytes = strtoull(words[2], NULL, 10);
    before();
    EXPECT(!pthread_barrier_init(&together, NULL, THREADS));
    for (int i = 0; i < THREADS; i++) EXPECT(!pthread_create(&threads[i], NULL, thread, NULL));
    for (int i = 0; i < THREADS; i++) EXPECT(!pthread_join(threads[i], NULL));
    printf("%d %llu %llu\n", granted, (unsigned long long)least, (unsigned long long)most);
    return 0;
}
