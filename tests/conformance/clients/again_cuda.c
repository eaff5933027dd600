#define SMALL (2 << 20)
#include "again.h"
#include <cuda.h>

static CUcontext context, gone;

static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(cuMemGetInfo(&u, &t) == CUDA_SUCCESS);
    *unused = u;
    *total = t;
}
/* The first thread goes on in the context of the second. */
static void open_again(void) {
    if (!context) EXPECT(cuCtxCreate(&context, NULL, 0, 0) == CUDA_SUCCESS);
    EXPECT(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    gone = NULL;
}
static void open_first(void) {
    EXPECT(cuInit(0) == CUDA_SUCCESS);
    open_again();
}
static int take(uint64_t bytes) {
    CUdeviceptr at;
    return cuMemAlloc(&at, bytes) == CUDA_SUCCESS;
}
static void let_go(void) {
    CUcontext old = context;
    context = NULL;
    __atomic_store_n(&gone, old, __ATOMIC_SEQ_CST);
    EXPECT(cuCtxDestroy(old) == CUDA_SUCCESS);
}
static void until_gone(void) {
    unsigned version;
    while (!__atomic_load_n(&gone, __ATOMIC_SEQ_CST)) sched_yield();
    while (cuCtxGetApiVersion(gone, &version) == CUDA_SUCCESS) sched_yield();
}
