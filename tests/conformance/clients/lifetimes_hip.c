/* Handles of AMD's HIP runtime that come and go. */
#include "lifetimes.h"
#include <hip/hip_runtime_api.h>

static const char IMAGE[] = ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";
static __thread hipModule_t module;
static __thread hipFunction_t function;
static __thread hipStream_t own;

static hipError_t spin(hipStream_t stream, uint64_t us) {
    uint64_t ns = us * 1000;
    void *parameters[1] = {&ns};
    return hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}
static void load(void) {
    OK(hipModuleLoadData(&module, IMAGE));
    OK(hipModuleGetFunction(&function, module, "fcsp_spin"));
    OK(hipStreamCreateWithFlags(&own, hipStreamNonBlocking));
}
static void begin(void) {
    OK(hipInit(0));
    OK(hipSetDevice(0));
    OK(hipDeviceSynchronize());
    load();
}

/* A stream is used and destroyed while it is at work; then the thread waits for other things. */
static void streams(Turn t) {
    hipStream_t stream;
    hipEvent_t event;
    OK(hipEventCreateWithFlags(&event, hipEventDisableTiming));
    OK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    for (int i = 0; i < 20; i++) OK(spin(stream, 100));
    OK(hipEventRecord(event, stream));
    OK(hipStreamDestroy(stream));
    if (t.turn % 3 == 0) OK(hipStreamSynchronize(own));
    if (t.turn % 3 == 1) OK(hipDeviceSynchronize());
    OK(hipEventSynchronize(event));
    OK(hipEventDestroy(event));
}
static void graphs(Turn t) {
    hipStream_t stream;
    hipGraph_t graph;
    hipGraphExec_t executable;
    OK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    OK(hipStreamBeginCapture(stream, hipStreamCaptureModeThreadLocal));
    for (int i = 0; i < 4; i++) OK(spin(stream, 40));
    OK(hipStreamEndCapture(stream, &graph));
    OK(hipGraphInstantiateWithFlags(&executable, graph, 0));
    OK(hipGraphDestroy(graph));
    OK(hipGraphLaunch(executable, stream));
    OK(hipStreamSynchronize(stream));
    OK(hipGraphExecDestroy(executable));
    OK(hipStreamDestroy(stream));
    (void)t;
}
/* One thread captures in the mode that forbids others to ask anything; the others launch, and wait at a gate. */
static void captures(Turn t) {
    hipGraph_t graph;
    if (t.number) {
        OK(spin(own, 40));
        return;
    }
    OK(hipStreamBeginCapture(own, hipStreamCaptureModeGlobal));
    for (int i = 0; i < 4; i++) OK(spin(own, 1));
    usleep(200);
    OK(hipStreamEndCapture(own, &graph));
    OK(hipGraphDestroy(graph));
}
static void modules(Turn t) {
    hipModule_t code;
    hipFunction_t kernel;
    uint64_t ns = 40000;
    void *parameters[1] = {&ns};
    OK(hipModuleLoadData(&code, IMAGE));
    OK(hipModuleGetFunction(&kernel, code, "fcsp_spin"));
    for (int i = 0; i < 4; i++) OK(hipModuleLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, own, parameters, NULL));
    OK(hipStreamSynchronize(own));
    OK(hipModuleUnload(code));
    (void)t;
}
/* Pools come and go while others ask how much memory is free. */
static void pools(Turn t) {
    hipMemPoolProps p;
    hipMemPool_t pool;
    void *at;
    size_t unused, total;
    if (t.number % 2) {
        OK(hipMallocAsync(&at, 1 << 20, own));
        OK(hipMemGetInfo(&unused, &total));
        OK(hipFreeAsync(at, own));
        OK(hipStreamSynchronize(own));
        return;
    }
    memset(&p, 0, sizeof p);
    p.allocType = hipMemAllocationTypePinned;
    p.location.type = hipMemLocationTypeDevice;
    OK(hipMemPoolCreate(&pool, &p));
    OK(hipMallocFromPoolAsync(&at, 8 << 20, pool, own));
    OK(hipFreeAsync(at, own));
    OK(hipStreamSynchronize(own));
    OK(hipMemPoolDestroy(pool));
}
static void resets(Turn t) {
    hipStream_t stream;
    void *at;
    size_t unused, total;
    OK(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
    OK(hipMallocAsync(&at, 8 << 20, stream));
    for (int i = 0; i < 30; i++) OK(spin(stream, 100));
    usleep(2000);
    OK(hipDeviceSynchronize());
    OK(hipDeviceReset());
    OK(hipMemGetInfo(&unused, &total));
    load();
    for (int i = 0; i < 4; i++) OK(spin(own, 100));
    OK(hipDeviceSynchronize());
    (void)t;
}
/* One thread resets the device while the others take memory there, which may be gone before they give it back. Afterwards all is
   as it was. */
static void resets_beside(Turn t) {
    static size_t at_first;
    size_t unused = 0, total;
    void *at;
    if (t.number == 0 && t.turn == 0) {
        OK_OR_END(hipDeviceReset());
        OK_OR_END(hipMemGetInfo(&at_first, &total));
    }
    pthread_barrier_wait(&together);
    if (t.number == 0) {
        for (int i = 0; i < 8; i++) OK_OR_END(hipDeviceReset());
    } else {
        for (int i = 0; i < 100; i++) {
            if (hipMalloc(&at, i % 3 ? 4 << 20 : 4096) == hipSuccess && i % 2) hipFree(at);
        }
    }
    pthread_barrier_wait(&together);
    if (t.number == 0) {
        OK_OR_END(hipDeviceReset());
        OK_OR_END(hipMemGetInfo(&unused, &total));
        OK_OR_END(unused != at_first);
        OK_OR_END(hipMalloc(&at, 3ul << 30));
        OK_OR_END(hipFree(at));
    }
    pthread_barrier_wait(&together);
}

const struct scenario SCENARIOS[] = {
    {"streams", streams, 0}, {"graphs", graphs, 0}, {"captures", captures, 0}, {"modules", modules, 0},
    {"pools", pools, 0}, {"resets", resets, 1}, {"resets_beside", resets_beside, 0}, {0},
};
