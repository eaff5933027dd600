#include "first.h"
#include <cuda.h>

static void before(void) { EXPECT(cuInit(0) == CUDA_SUCCESS); }
static void use(void) {
    CUcontext context;
    EXPECT(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    EXPECT(cuCtxSetCurrent(context) == CUDA_SUCCESS);
}
static int take(uint64_t bytes) {
    CUdeviceptr at;
    return cuMemAlloc(&at, bytes) == CUDA_SUCCESS;
}
static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(cuMemGetInfo(&u, &t) == CUDA_SUCCESS);
    *unused = u;
    *total = t;
}
