// Creates, uses and destroys everything that a preload library may remember, in every order that the driver allows, on
// several threads at once. Every answer of the driver is checked, and so is what kernels have written.
//
//   lifetimes SCENARIO ROUNDS THREADS
//
// One line of JSON at the end: {"scenario": .., "rounds": .., "threads": .., "seconds": .., "skipped": ..}. Exit codes: 0
// right, 1 a wrong code or wrong data (standard error says which call), 3 no driver.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int R;
typedef void *H;
typedef unsigned long long P;

#define FUNCTIONS(X) \
    X(cuInit, (unsigned)) X(cuDevicePrimaryCtxRetain, (H *, int)) X(cuDevicePrimaryCtxRelease_v2, (int)) \
    X(cuDevicePrimaryCtxReset_v2, (int)) X(cuCtxCreate_v2, (H *, unsigned, int)) X(cuCtxDestroy_v2, (H)) \
    X(cuCtxSetCurrent, (H)) X(cuCtxSynchronize, (void)) X(cuModuleLoadData, (H *, const void *)) X(cuModuleUnload, (H)) \
    X(cuModuleGetFunction, (H *, H, const char *)) X(cuStreamCreate, (H *, unsigned)) X(cuStreamDestroy_v2, (H)) \
    X(cuStreamSynchronize, (H)) X(cuEventCreate, (H *, unsigned)) X(cuEventDestroy_v2, (H)) X(cuEventRecord, (H, H)) \
    X(cuEventSynchronize, (H)) X(cuEventQuery, (H)) X(cuStreamWaitEvent, (H, H, unsigned)) X(cuEventElapsedTime, (float *, H, H)) \
    X(cuLaunchKernel, (H, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, H, void **, void **)) \
    X(cuStreamBeginCapture_v2, (H, int)) X(cuStreamEndCapture, (H, H *)) X(cuGraphDestroy, (H)) X(cuGraphLaunch, (H, H)) \
    X(cuGraphInstantiateWithFlags, (H *, H, P)) X(cuGraphExecDestroy, (H)) \
    X(cuMemAlloc_v2, (P *, size_t)) X(cuMemFree_v2, (P)) X(cuMemGetInfo_v2, (size_t *, size_t *)) \
    X(cuMemcpyDtoH_v2, (void *, P, size_t)) X(cuMemcpyDtoDAsync_v2, (P, P, size_t, H)) \
    X(cuMemPoolCreate, (H *, const void *)) X(cuMemPoolDestroy, (H)) X(cuMemAllocFromPoolAsync, (P *, size_t, H, H)) \
    X(cuMemAllocAsync, (P *, size_t, H)) X(cuMemFreeAsync, (P, H)) X(cuDeviceSetMemPool, (int, H)) \
    X(cuDeviceGetDefaultMemPool, (H *, int))
// What a driver may lack.
#define LATER(X) \
    X(cuCtxAttach, (H *, unsigned)) X(cuCtxDetach, (H)) X(cuLibraryLoadData, (H *, const void *, void *, void *, unsigned, void *, void *, unsigned)) \
    X(cuLibraryUnload, (H)) X(cuLibraryGetKernel, (H *, H, const char *)) X(cuDeviceGetDevResource, (int, void *, int)) \
    X(cuDevSmResourceSplitByCount, (void *, unsigned *, const void *, void *, unsigned, unsigned)) \
    X(cuDevResourceGenerateDesc, (H *, void *, unsigned)) X(cuGreenCtxCreate, (H *, H, int, unsigned)) \
    X(cuGreenCtxDestroy, (H)) X(cuCtxFromGreenCtx, (H *, H)) X(cuGreenCtxStreamCreate, (H *, H, unsigned, int))
#define DECLARE(name, arguments) static R(*name) arguments;
FUNCTIONS(DECLARE)
LATER(DECLARE)

enum { NOT_READY = 600, NOT_SUPPORTED = 801, UNJOINED = 904, NON_BLOCKING = 1, NO_TIMING = 2 };
enum { GLOBAL = 0, THREAD_LOCAL = 1 };

static int failed, rounds, threads;
static const char *skipped = "";
static H primary;

#define WANT(expected, call) do { R r_ = (call); if (r_ != (expected)) { \
    fprintf(stderr, "lifetimes.c:%d: %s returned %d\n", __LINE__, #call, r_); __atomic_store_n(&failed, 1, __ATOMIC_SEQ_CST); return; } } while (0)
#define OK(call) WANT(0, call)
#define STOP() __atomic_load_n(&failed, __ATOMIC_SEQ_CST)
// For scenarios that a driver may not know.
#define MAY(what, call) do { R r_ = (call); if (r_ == NOT_SUPPORTED) { skipped = what; return; } WANT(0, r_); } while (0)

static const char PTX[] =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".visible .entry fcsp_spin(.param .u64 ns) {\n"
    " .reg .b64 %d<5>; .reg .pred %p<2>;\n"
    " ld.param.u64 %d1, [ns]; mov.u64 %d2, %globaltimer;\n"
    "again:\n mov.u64 %d3, %globaltimer; sub.u64 %d4, %d3, %d2; setp.lt.u64 %p1, %d4, %d1; @%p1 bra again;\n ret;\n}\n"
    ".visible .entry fcsp_fill(.param .u64 at, .param .u32 value, .param .u64 n) {\n"
    " .reg .b64 %d<6>; .reg .b32 %r<6>; .reg .pred %p<2>;\n"
    " ld.param.u64 %d1, [at]; ld.param.u32 %r1, [value]; ld.param.u64 %d2, [n];\n"
    " mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x; mad.lo.u32 %r5, %r2, %r3, %r4; cvt.u64.u32 %d3, %r5;\n"
    " setp.ge.u64 %p1, %d3, %d2; @%p1 bra done; shl.b64 %d4, %d3, 2; add.u64 %d5, %d1, %d4; st.global.u32 [%d5], %r1;\n"
    "done:\n ret;\n}\n";

enum { US = 1000, WORDS = 256, MIB = 1 << 20 };

static R spin(H function, H stream, uint64_t ns) {
    void *arguments[] = {&ns};
    return cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, arguments, NULL);
}
static R fill(H function, H stream, P at, uint32_t value) {
    uint64_t n = WORDS;
    void *arguments[] = {&at, &value, &n};
    return cuLaunchKernel(function, 1, 1, 1, WORDS, 1, 1, 0, stream, arguments, NULL);
}

// What each thread begins with.
typedef struct { int number, turn; H module, spin, fill, stream; P words; uint32_t host[WORDS]; } Own;

static void begin(Own *own) {
    OK(cuCtxSetCurrent(primary));
    OK(cuModuleLoadData(&own->module, PTX));
    OK(cuModuleGetFunction(&own->spin, own->module, "fcsp_spin"));
    OK(cuModuleGetFunction(&own->fill, own->module, "fcsp_fill"));
    OK(cuStreamCreate(&own->stream, NON_BLOCKING));
    OK(cuMemAlloc_v2(&own->words, WORDS * 4));
    // A pool that has been used: whoever counts memory has to ask it from now on.
    P pooled;
    OK(cuMemAllocAsync(&pooled, MIB, own->stream));
    OK(cuMemFreeAsync(pooled, own->stream));
    // Code that is loaded with its first launch must not be loaded in the middle of another thread's capture.
    OK(spin(own->spin, own->stream, US));
    OK(fill(own->fill, own->stream, own->words, 0));
    OK(cuStreamSynchronize(own->stream));
}
static void is(Own *own, P at, uint32_t value) {
    OK(cuMemcpyDtoH_v2(own->host, at, WORDS * 4));
    for (int i = 0; i < WORDS; i++) if (own->host[i] != value) {
        fprintf(stderr, "lifetimes.c: word %d is %u and not %u\n", i, own->host[i], value);
        failed = 1;
        return;
    }
}
static void end(Own *own) {
    OK(cuCtxSetCurrent(primary));
    OK(cuStreamDestroy_v2(own->stream));
    OK(cuMemFree_v2(own->words));
    OK(cuModuleUnload(own->module));
}

// A stream is used and destroyed while it is at work; then the thread waits for other things.
static void streams(Own *own) {
    H stream, event;
    uint32_t value = own->turn * 16 + own->number;
    OK(cuEventCreate(&event, NO_TIMING));
    OK(cuStreamCreate(&stream, own->turn % 2));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, stream, 40 * US));
    OK(fill(own->fill, stream, own->words, value));
    OK(cuEventRecord(event, stream));
    OK(cuStreamDestroy_v2(stream));
    switch (own->turn % 4) {
        case 0: OK(cuStreamSynchronize(own->stream)); break;
        case 1: OK(cuCtxSynchronize()); break;
        case 2: { P other = own->words; OK(cuMemcpyDtoH_v2(own->host, other, 16)); break; }
        default: OK(spin(own->spin, own->stream, US)); OK(cuStreamSynchronize(own->stream));
    }
    OK(cuEventSynchronize(event));
    OK(cuEventDestroy_v2(event));
    is(own, own->words, value);
}

// As the one CUDA sample that crashed did: copies on a stream that is gone when the device is waited for.
static void copies(Own *own) {
    (void)own;
    H stream;
    P big;
    OK(cuMemAlloc_v2(&big, 32 * MIB));
    OK(cuStreamCreate(&stream, 0));
    for (int i = 0; i < 8; i++) OK(cuMemcpyDtoDAsync_v2(big, big + 16 * MIB, 16 * MIB, stream));
    OK(cuStreamDestroy_v2(stream));
    OK(cuCtxSynchronize());
    OK(cuMemFree_v2(big));
}

// Events come and go in use, also those that the device has yet to reach.
static void events(Own *own) {
    H first, second;
    float ms;
    OK(cuEventCreate(&first, 0));
    OK(cuEventCreate(&second, 0));
    OK(cuEventRecord(first, own->stream));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, own->stream, 40 * US));
    OK(cuEventRecord(second, own->stream));
    if (own->turn % 2) {
        OK(cuEventDestroy_v2(first));
        OK(cuEventDestroy_v2(second));
        OK(cuStreamSynchronize(own->stream));
        return;
    }
    R r = cuEventQuery(second);
    if (r != NOT_READY) OK(r);
    OK(cuEventSynchronize(second));
    OK(cuEventElapsedTime(&ms, first, second));
    if (ms < 0.12f) { fprintf(stderr, "lifetimes.c: 160 us took %f ms\n", ms); failed = 1; }
    OK(cuEventDestroy_v2(second));
    OK(cuEventDestroy_v2(first));
}

// Graphs are captured, launched and destroyed while they run; some captures end with their stream.
static void graphs(Own *own) {
    H stream, graph, executable;
    uint32_t value = own->turn * 16 + own->number;
    OK(cuStreamCreate(&stream, NON_BLOCKING));
    OK(cuStreamBeginCapture_v2(stream, THREAD_LOCAL));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, stream, 40 * US));
    OK(fill(own->fill, stream, own->words, value));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    OK(cuGraphDestroy(graph));
    OK(cuGraphLaunch(executable, stream));
    OK(cuGraphLaunch(executable, stream));
    if (own->turn % 2) OK(cuStreamSynchronize(stream));
    OK(cuGraphExecDestroy(executable));
    OK(cuStreamSynchronize(stream));
    OK(cuStreamDestroy_v2(stream));
    is(own, own->words, value);
}

// What one thread has used another destroys, as soon as the call that used it is back.
static H handed_streams[8], handed_graphs[8];
static void handed(Own *own) {
    H stream, graph, executable, found;
    OK(cuStreamCreate(&stream, NON_BLOCKING));
    OK(cuStreamBeginCapture_v2(stream, THREAD_LOCAL));
    OK(spin(own->spin, stream, 20 * US));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    OK(cuGraphDestroy(graph));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, stream, 40 * US));
    OK(cuGraphLaunch(executable, stream));
    int slot = (own->turn + own->number) % 8;
    found = __atomic_exchange_n(&handed_graphs[slot], executable, __ATOMIC_SEQ_CST);
    if (found) OK(cuGraphExecDestroy(found));
    found = __atomic_exchange_n(&handed_streams[slot], stream, __ATOMIC_SEQ_CST);
    if (found) OK(cuStreamDestroy_v2(found));
    // Not the context: a device refuses that while any thread captures in it, and the capture is invalid then.
    OK(cuStreamSynchronize(own->stream));
}

// Captures that fail take their graphs with them, and the memory that those would have had.
static void failures(Own *own) {
    H stream, event, graph = NULL, executable;
    P at;
    OK(cuStreamCreate(&stream, NON_BLOCKING));
    OK(cuEventCreate(&event, NO_TIMING));
    for (int i = 0; i < 40; i++) {
        OK(cuStreamBeginCapture_v2(stream, THREAD_LOCAL));
        OK(cuMemAllocAsync(&at, 32 * MIB, stream));
        OK(cuEventRecord(event, stream));
        OK(cuStreamWaitEvent(own->stream, event, 0));
        OK(spin(own->spin, own->stream, US));
        WANT(UNJOINED, cuStreamEndCapture(stream, &graph));
    }
    OK(cuStreamBeginCapture_v2(stream, THREAD_LOCAL));
    OK(cuMemAllocAsync(&at, 4 * MIB, stream));
    OK(spin(own->spin, stream, 20 * US));
    OK(cuMemFreeAsync(at, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&executable, graph, 0));
    OK(cuGraphLaunch(executable, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuGraphExecDestroy(executable));
    OK(cuGraphDestroy(graph));
    OK(cuEventDestroy_v2(event));
    OK(cuStreamDestroy_v2(stream));
}

// One thread captures in the mode that forbids others to ask most things; the others launch, wait at a gate if there is one, and
// ask what they may: how much memory is free.
static int through;
// Launches of known cost, so that a gate has something to wait for.
static void known(Own *own) {
    for (int i = 0; i < 8; i++) { OK(spin(own->spin, own->stream, 1000 * US)); OK(cuStreamSynchronize(own->stream)); }
}
static void captures(Own *own) {
    H graph;
    if (own->number) {
        size_t free, total;
        OK(spin(own->spin, own->stream, 1000 * US));
        if (own->turn % 8 == 0) OK(cuMemGetInfo_v2(&free, &total));
        if (own->turn == rounds - 1) __atomic_add_fetch(&through, 1, __ATOMIC_SEQ_CST);
        return;
    }
    // As long as there is anybody to disturb.
    if (__atomic_load_n(&through, __ATOMIC_SEQ_CST) < threads - 1) own->turn = 0;
    OK(cuStreamBeginCapture_v2(own->stream, GLOBAL));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, own->stream, US));
    usleep(200);
    OK(cuStreamEndCapture(own->stream, &graph));
    OK(cuGraphDestroy(graph));
}

// Modules come and go, so that handles of functions name other functions.
static void modules(Own *own) {
    H module, function;
    uint32_t value = own->turn * 16 + own->number;
    OK(cuModuleLoadData(&module, PTX));
    if (own->turn % 2) {
        OK(cuModuleGetFunction(&function, module, "fcsp_spin"));
        for (int i = 0; i < 4; i++) OK(spin(function, own->stream, 40 * US));
    } else {
        OK(cuModuleGetFunction(&function, module, "fcsp_fill"));
        for (int i = 0; i < 4; i++) OK(fill(function, own->stream, own->words, value));
    }
    OK(cuStreamSynchronize(own->stream));
    OK(cuModuleUnload(module));
    if (own->turn % 2 == 0) is(own, own->words, value);
}

static void libraries(Own *own) {
    H library, kernel;
    if (!cuLibraryLoadData || !cuLibraryUnload || !cuLibraryGetKernel) { skipped = "cuLibraryLoadData"; return; }
    MAY("cuLibraryLoadData", cuLibraryLoadData(&library, PTX, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&kernel, library, own->turn % 2 ? "fcsp_spin" : "fcsp_fill"));
    for (int i = 0; i < 4; i++) OK(own->turn % 2 ? spin(kernel, own->stream, 40 * US) : fill(kernel, own->stream, own->words, 7));
    OK(cuStreamSynchronize(own->stream));
    OK(cuLibraryUnload(library));
}

// Every other thread makes contexts, works there and destroys them; the rest work in the primary one.
static int detaches;
static void contexts(Own *own) {
    H context, module, function, stream;
    if (own->number % 2 && threads > 1) {
        for (int i = 0; i < 100; i++) { OK(spin(own->spin, own->stream, 20 * US)); if (i % 10 == 9) OK(cuStreamSynchronize(own->stream)); }
        return;
    }
    OK(cuCtxCreate_v2(&context, 0, 0));
    OK(cuModuleLoadData(&module, PTX));
    OK(cuModuleGetFunction(&function, module, "fcsp_spin"));
    OK(cuStreamCreate(&stream, NON_BLOCKING));
    for (int i = 0; i < 60; i++) OK(spin(function, stream, 50 * US));
    usleep(2000);
    if (own->turn % 2) { OK(cuStreamDestroy_v2(stream)); OK(cuCtxSynchronize()); }
    if (detaches) {
        H again;
        MAY("cuCtxAttach", cuCtxAttach(&again, 0));
        OK(cuCtxDetach(context));
        OK(spin(function, NULL, US));
        OK(cuCtxDetach(context));
    } else {
        OK(cuCtxDestroy_v2(context));
    }
    OK(cuCtxSetCurrent(primary));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, own->stream, 50 * US));
    OK(cuStreamSynchronize(own->stream));
    OK(cuCtxSynchronize());
}
static void detached(Own *own) {
    if (!cuCtxAttach || !cuCtxDetach) { skipped = "cuCtxDetach"; return; }
    detaches = 1;
    contexts(own);
}

// On one thread: the primary context ends and begins again. Odd turns let go of it, even ones reset it.
static void primaries(Own *own) {
    H context, module, function, stream;
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    OK(cuModuleLoadData(&module, PTX));
    OK(cuModuleGetFunction(&function, module, "fcsp_spin"));
    OK(cuStreamCreate(&stream, NON_BLOCKING));
    for (int i = 0; i < 40; i++) OK(spin(function, stream, 50 * US));
    usleep(2000);
    OK(cuCtxSynchronize());
    for (int i = 0; i < 4; i++) OK(spin(function, NULL, 50 * US));
    if (own->turn % 2) {
        OK(cuDevicePrimaryCtxRelease_v2(0));
    } else {
        OK(cuDevicePrimaryCtxReset_v2(0));
    }
}

// Pools come and go, some of them as the device's own, while others ask how much memory is free.
typedef struct { int type, handles, location, device; void *win32; size_t most; unsigned char reserved[56]; } PoolProps;
static void pools(Own *own) {
    H pool;
    P at, other;
    size_t free, total;
    PoolProps props = {1, 0, 1, 0, NULL, 0, {0}};
    if (own->number % 2) {
        // By name: natively an H200's driver crashes where cuMemAllocAsync meets the end of the pool that was current.
        H usual;
        OK(cuDeviceGetDefaultMemPool(&usual, 0));
        OK(cuMemAllocFromPoolAsync(&other, MIB, usual, own->stream));
        OK(cuMemGetInfo_v2(&free, &total));
        OK(cuMemFreeAsync(other, own->stream));
        OK(cuStreamSynchronize(own->stream));
        return;
    }
    OK(cuMemPoolCreate(&pool, &props));
    int chosen = own->number == 0 && own->turn % 2;
    if (chosen) {
        OK(cuDeviceSetMemPool(0, pool));
        OK(cuMemAllocAsync(&at, 8 * MIB, own->stream));
    } else {
        OK(cuMemAllocFromPoolAsync(&at, 8 * MIB, pool, own->stream));
    }
    OK(spin(own->spin, own->stream, 20 * US));
    OK(fill(own->fill, own->stream, at, own->turn));
    OK(cuStreamSynchronize(own->stream));
    is(own, at, own->turn);
    OK(cuMemFreeAsync(at, own->stream));
    OK(cuStreamSynchronize(own->stream));
    if (chosen) {
        H usual;
        OK(cuDeviceGetDefaultMemPool(&usual, 0));
        OK(cuDeviceSetMemPool(0, usual));
    }
    OK(cuMemPoolDestroy(pool));
}

// Contexts with multiprocessors of their own.
static void greens(Own *own) {
    static _Alignas(64) unsigned char all[512], part[8][512];
    static H desc, library, kernel;
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    H green, context, stream;
    if (!cuGreenCtxCreate || !cuGreenCtxDestroy || !cuDeviceGetDevResource || !cuDevSmResourceSplitByCount || !cuDevResourceGenerateDesc
        || !cuCtxFromGreenCtx || !cuGreenCtxStreamCreate || !cuLibraryLoadData || !cuLibraryGetKernel) { skipped = "cuGreenCtxCreate"; return; }
    pthread_mutex_lock(&once);
    R r = 0;
    unsigned groups = 1;
    if (!desc) {
        r = cuDeviceGetDevResource(0, all, 1);
        if (!r) r = cuDevSmResourceSplitByCount(part[0], &groups, all, NULL, 0, 8);
        // A kernel of a library belongs to no context.
        if (!r) r = cuLibraryLoadData(&library, PTX, NULL, NULL, 0, NULL, NULL, 0);
        if (!r) r = cuLibraryGetKernel(&kernel, library, "fcsp_spin");
        if (!r) r = cuDevResourceGenerateDesc(&desc, part[0], 1);
    }
    pthread_mutex_unlock(&once);
    MAY("device resources", r);
    MAY("cuGreenCtxCreate", cuGreenCtxCreate(&green, desc, 0, 1));
    OK(cuCtxFromGreenCtx(&context, green));
    OK(cuGreenCtxStreamCreate(&stream, green, NON_BLOCKING, 0));
    OK(cuCtxSetCurrent(context));
    for (int i = 0; i < 40; i++) OK(spin(kernel, stream, 40 * US));
    usleep(2000);
    OK(cuCtxSynchronize());
    OK(cuStreamDestroy_v2(stream));
    OK(cuCtxSetCurrent(primary));
    OK(cuGreenCtxDestroy(green));
    for (int i = 0; i < 4; i++) OK(spin(own->spin, own->stream, 40 * US));
    OK(cuStreamSynchronize(own->stream));
}

// `less`: one round in so many, for what takes a tenth of a second a piece. `alone`: on one thread, without a context at first.
static const struct { const char *name; void (*round)(Own *); int less, alone; } SCENARIOS[] = {
    {"streams", streams, 1, 0}, {"copies", copies, 4, 0}, {"events", events, 1, 0}, {"graphs", graphs, 1, 0},
    {"handed", handed, 1, 0}, {"failures", failures, 20, 0},
    {"captures", captures, 4, 0}, {"modules", modules, 2, 0}, {"libraries", libraries, 2, 0}, {"pools", pools, 1, 0},
    {"contexts", contexts, 100, 0}, {"detached", detached, 100, 0}, {"primaries", primaries, 50, 1}, {"greens", greens, 50, 0},
};
static int chosen = -1;
static pthread_barrier_t together;

static void *work(void *argument) {
    Own own;
    memset(&own, 0, sizeof own);
    own.number = (int)(intptr_t)argument;
    int alone = SCENARIOS[chosen].alone;
    if (!alone) begin(&own);
    if (SCENARIOS[chosen].round == captures) known(&own);
    pthread_barrier_wait(&together);
    for (own.turn = 0; own.turn < rounds && !STOP() && !*skipped; own.turn++) SCENARIOS[chosen].round(&own);
    pthread_barrier_wait(&together);
    if (!alone && !STOP()) end(&own);
    return NULL;
}

int main(int count, char **words) {
    for (size_t i = 0; count == 4 && i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) if (!strcmp(words[1], SCENARIOS[i].name)) chosen = (int)i;
    if (chosen < 0) {
        for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++) puts(SCENARIOS[i].name);
        return count == 1 ? 0 : 2;
    }
    rounds = atoi(words[2]) / SCENARIOS[chosen].less;
    if (rounds < 4) rounds = 4;
    threads = SCENARIOS[chosen].alone ? 1 : atoi(words[3]);
    if (threads > 64) threads = 64;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); return 3; }
#define LOOK(name, arguments) if (!(*(void **)&name = dlsym(library, #name))) { fprintf(stderr, "no %s\n", #name); return 3; }
    FUNCTIONS(LOOK)
#define TRY(name, arguments) *(void **)&name = dlsym(library, #name);
    LATER(TRY)
    R r = cuInit(0);
    if (!r && !SCENARIOS[chosen].alone) r = cuDevicePrimaryCtxRetain(&primary, 0);
    if (r) { fprintf(stderr, "no device: %d\n", r); return 3; }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    pthread_t all[64];
    pthread_barrier_init(&together, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("{\"scenario\": \"%s\", \"rounds\": %d, \"threads\": %d, \"seconds\": %.3f, \"skipped\": \"%s\"}\n", words[1], rounds, threads,
           (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9, skipped);
    return failed;
}
