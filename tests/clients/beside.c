/* One thread makes streams while another one's allocation is on its way back from the driver.
 *
 *   beside BYTES STREAMS    prints the code of the allocation, and the first bad code of the streams or 0
 *
 * The streams begin once the allocation's bytes are held, which cuMemGetInfo shows. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef int R;
typedef void *H;

static H context;
static unsigned long bytes;
static R code, (*allocate)(H *, size_t), (*set)(H);
static volatile int ended;

static void *find(H library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) { fprintf(stderr, "no %s\n", name); exit(3); }
    return found;
}
#define OK(call) do { R r_ = (call); if (r_) { \
    fprintf(stderr, "line %d: %s returned %d\n", __LINE__, #call, r_); exit(1); } } while (0)

static void *allocates(void *unused) {
    H address;
    OK(set(context));
    code = allocate(&address, bytes);
    ended = 1;
    return unused;
}

int main(int count, char **words) {
    H library = dlopen("libcuda.so.1", RTLD_NOW), stream;
    if (count != 3 || !library) return 2;
    bytes = strtoul(words[1], NULL, 10);
    R (*init)(unsigned) = find(library, "cuInit"), (*create)(H *, unsigned) = find(library, "cuStreamCreate");
    R (*retain)(H *, int) = find(library, "cuDevicePrimaryCtxRetain");
    R (*info)(size_t *, size_t *) = find(library, "cuMemGetInfo_v2");
    allocate = find(library, "cuMemAlloc_v2"), set = find(library, "cuCtxSetCurrent");
    OK(init(0));
    OK(retain(&context, 0));
    OK(set(context));
    size_t before, now, total;
    OK(info(&before, &total));
    pthread_t other;
    OK(pthread_create(&other, NULL, allocates, NULL));
    do OK(info(&now, &total)); while (now + bytes > before && !ended);
    R bad = 0;
    for (long i = atol(words[2]); i > 0 && !bad; i--) bad = create(&stream, 1);
    OK(pthread_join(other, NULL));
    printf("%d %d\n", code, bad);
    return 0;
}
