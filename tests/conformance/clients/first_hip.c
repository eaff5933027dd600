#include "first.h"
#include <hip/hip_runtime_api.h>

static void before(void) {}
static void use(void) { EXPECT(hipFree(NULL) == hipSuccess); }
static int take(uint64_t bytes) {
    void *at;
    return hipMalloc(&at, bytes) == hipSuccess;
}
static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(hipMemGetInfo(&u, &t) == hipSuccess);
    *unused = u;
    *total = t;
}
