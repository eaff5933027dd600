/* Handles of Ascend's compute language that come and go. */
#include "lifetimes.h"
#include <acl/acl.h>

/* The runtime's own, under the compute language: prototypes as documented. */
int rtModelCreate(void **model, uint32_t flag);
int rtModelBindStream(void *model, void *stream, uint32_t flag);
int rtModelDestroy(void *model);

static __thread aclrtFuncHandle function;
static __thread aclrtStream own;
static __thread aclrtContext home;

static aclError spin(aclrtStream stream, uint64_t us) {
    uint64_t ns = us * 1000;
    return aclrtLaunchKernelWithHostArgs(function, 1, stream, NULL, &ns, sizeof ns, NULL, 0);
}
static void load(void) {
    static const char code[] = "\x7f" "ELF lifetimes";
    aclrtBinHandle binary;
    OK(aclrtBinaryLoad(aclrtCreateBinary(code, sizeof code), &binary));
    OK(aclrtBinaryGetFunction(binary, "fcsp_spin", &function));
    OK(aclrtCreateStream(&own));
}
static void begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, (void (*)(void))aclInit);
    OK(aclrtSetDevice(0));
    OK(aclrtGetCurrentContext(&home));
    load();
}

static void streams(Turn t) {
    aclrtStream stream;
    OK(aclrtCreateStream(&stream));
    for (int i = 0; i < 20; i++) OK(spin(stream, 100));
    usleep(2000);
    OK(aclrtDestroyStream(stream));
    OK(aclrtSynchronizeStream(own));
    if (t.turn % 2) OK(aclrtSynchronizeDevice());
}
/* Explicit contexts, while the device stays open with another. */
static void contexts(Turn t) {
    aclrtContext context;
    aclrtStream stream;
    if (t.number % 2) {
        for (int i = 0; i < 20; i++) OK(spin(own, 20));
        OK(aclrtSynchronizeStream(own));
        return;
    }
    OK(aclrtCreateContext(&context, 0));
    OK(aclrtSetCurrentContext(context));
    OK(aclrtCreateStream(&stream));
    for (int i = 0; i < 30; i++) OK(spin(stream, 100));
    OK(aclrtSynchronizeStream(stream));
    OK(aclrtDestroyStream(stream));
    OK(aclrtDestroyContext(context));
    OK(aclrtSetCurrentContext(home));
    for (int i = 0; i < 10; i++) OK(spin(own, 100));
    OK(aclrtSynchronizeStream(own));
}
static void resets(Turn t) {
    for (int i = 0; i < 30; i++) OK(spin(own, 100));
    OK(aclrtSynchronizeStream(own));
    usleep(1000);
    OK(aclrtResetDevice(0));
    OK(aclrtSetDevice(0));
    load();
    for (int i = 0; i < 30; i++) OK(spin(own, 100));
    OK(aclrtSynchronizeDevice());
    (void)t;
}
/* Every thread opens the device, takes memory there, and lets go of it again: the last of them closes it. Afterwards all is as it
   was. */
static void resets_beside(Turn t) {
    static size_t at_first;
    size_t unused, total;
    void *at;
    if (t.turn == 0) {
        OK_OR_END(aclrtResetDevice(0));
        pthread_barrier_wait(&together);
        if (t.number == 0) {
            OK_OR_END(aclrtSetDevice(0));
            OK_OR_END(aclrtGetMemInfo(ACL_HBM_MEM, &at_first, &total));
            OK_OR_END(aclrtResetDevice(0));
        }
        pthread_barrier_wait(&together);
    }
    for (int i = 0; i < 20; i++) {
        OK_OR_END(aclrtSetDevice(0));
        OK_OR_END(aclrtMalloc(&at, 4 << 20, ACL_MEM_MALLOC_HUGE_FIRST));
        if (i % 2) OK_OR_END(aclrtFree(at));
        OK_OR_END(aclrtResetDevice(0));
    }
    pthread_barrier_wait(&together);
    if (t.number == 0) {
        OK_OR_END(aclrtSetDevice(0));
        OK_OR_END(aclrtGetMemInfo(ACL_HBM_MEM, &unused, &total));
        OK_OR_END(unused != at_first);
        OK_OR_END(aclrtMalloc(&at, 3ul << 30, ACL_MEM_MALLOC_HUGE_FIRST));
        OK_OR_END(aclrtResetDevice(0));
    }
    pthread_barrier_wait(&together);
}
/* A model is destroyed before it is complete, and the stream that was bound to it after that. What is launched on the next
   stream, which may have its handle, is no recording. */
static void bindings(Turn t) {
    void *model;
    aclrtStream stream;
    OK(rtModelCreate(&model, 0));
    OK(aclrtCreateStream(&stream));
    OK(rtModelBindStream(model, stream, 0));
    OK(spin(stream, 10));
    OK(rtModelDestroy(model));
    OK(aclrtDestroyStream(stream));
    OK(aclrtCreateStream(&stream));
    for (int i = 0; i < 4; i++) OK(spin(stream, 1000));
    OK(aclrtSynchronizeStream(stream));
    OK(aclrtDestroyStream(stream));
    (void)t;
}
static void captures(Turn t) {
    aclmdlRI graph;
    if (t.number) {
        OK(spin(own, 40));
        return;
    }
    OK(aclmdlRICaptureBegin(own, ACL_MODEL_RI_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < 4; i++) OK(spin(own, 1));
    usleep(200);
    OK(aclmdlRICaptureEnd(own, &graph));
    OK(aclmdlRIExecuteAsync(graph, own));
    OK(aclrtSynchronizeStream(own));
    OK(aclmdlRIDestroy(graph));
}

const struct scenario SCENARIOS[] = {
    {"streams", streams, 0}, {"contexts", contexts, 0}, {"resets", resets, 1}, {"bindings", bindings, 0},
    {"captures", captures, 0}, {"resets_beside", resets_beside, 0}, {0},
};
