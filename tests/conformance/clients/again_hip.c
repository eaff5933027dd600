#define SMALL (2 << 20)
#include "again.h"
#include <hip/hip_runtime_api.h>

static void *last;

static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(hipMemGetInfo(&u, &t) == hipSuccess);
    *unused = u;
    *total = t;
}
static void open_first(void) { EXPECT(hipFree(NULL) == hipSuccess); }
static void open_again(void) {}
static int take(uint64_t bytes) { return hipMalloc(&last, bytes) == hipSuccess; }
static void let_go(void) { EXPECT(hipDeviceReset() == hipSuccess); }
static void until_gone(void) {
    hipPointerAttribute_t attributes;
    while (hipPointerGetAttributes(&attributes, last) == hipSuccess && attributes.type == hipMemoryTypeDevice) sched_yield();
}
