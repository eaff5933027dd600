/* Misuse of HIP's runtime. */
#include "misuse.h"

static const U MIB = 1 << 20;

static void start(void) {
    CK(hipInit, 0u);
    CK(hipSetDevice, 0);
    CK(hipDeviceSynchronize);
}
static H stream(void) {
    H s;
    CK(hipStreamCreateWithFlags, &s, 1u);
    return s;
}
static H event(void) {
    H e;
    CK(hipEventCreateWithFlags, &e, 0u);
    return e;
}
struct props { int allocation, handles, location, id; void *security; size_t most; char reserved[56]; };
static H pool(void) {
    struct props p = {.allocation = 1, .location = 1};
    H made;
    CK(hipMemPoolCreate, &made, &p);
    return made;
}
static R reserved(H p) {
    U bytes;
    return CALL(hipMemPoolGetAttribute, p, 5, &bytes);
}
static H module(void) {
    static const char code[] = "\x7f"
                               "ELF misuse";
    H m;
    CK(hipModuleLoadData, &m, code);
    return m;
}
static H function(H m) {
    H f;
    CK(hipModuleGetFunction, &f, m, "fcsp_spin");
    return f;
}
static R launch(H f, H s) {
    U ns = 1000;
    void *arguments[] = {&ns};
    return CALL(hipModuleLaunchKernel, f, 1u, 1u, 1u, 1u, 1u, 1u, 0u, s, arguments, NULL);
}
struct physical_props { int allocation, handles, location, id; void *meta; U flags; };
static H physical(void) {
    struct physical_props p = {.allocation = 1, .location = 1};
    H made;
    CK(hipMemCreate, &made, (size_t)(2 * MIB), &p, (U)0);
    return made;
}

static void dead_stream(void) {
    start();
    H s = stream();
    CK(hipStreamDestroy, s);
    ready();
    CALL(hipStreamSynchronize, s);
}
static void dead_stream_record(void) {
    start();
    H s = stream(), e = event();
    CK(hipStreamDestroy, s);
    ready();
    CALL(hipEventRecord, e, s);
}
static void dead_stream_launch(void) {
    start();
    H f = function(module()), s = stream();
    CK(hipStreamDestroy, s);
    ready();
    launch(f, s);
}
static void dead_stream_alloc(void) {
    start();
    H s = stream(), p;
    CK(hipStreamDestroy, s);
    ready();
    CALL(hipMallocAsync, &p, (size_t)MIB, s);
}
static void dead_stream_twice(void) {
    start();
    H s = stream();
    CK(hipStreamDestroy, s);
    ready();
    CALL(hipStreamDestroy, s);
}
static void dead_event(void) {
    start();
    H e = event();
    CK(hipEventDestroy, e);
    ready();
    CALL(hipEventQuery, e);
}
static void dead_event_record(void) {
    start();
    H e = event();
    CK(hipEventDestroy, e);
    ready();
    CALL(hipEventRecord, e, NULL);
}
static void dead_event_elapsed(void) {
    start();
    H a = event(), b = event();
    float ms;
    CK(hipEventRecord, a, NULL);
    CK(hipEventRecord, b, NULL);
    CK(hipEventDestroy, b);
    ready();
    CALL(hipEventElapsedTime, &ms, a, b);
}
static void dead_pool(void) {
    start();
    H p = pool();
    CK(hipMemPoolDestroy, p);
    ready();
    reserved(p);
}
static void dead_pool_alloc(void) {
    start();
    H p = pool(), at;
    CK(hipMemPoolDestroy, p);
    ready();
    CALL(hipMallocFromPoolAsync, &at, (size_t)MIB, p, NULL);
}
static void dead_function(void) {
    start();
    H m = module(), f = function(m);
    CK(hipModuleUnload, m);
    ready();
    launch(f, NULL);
}
static void dead_physical(void) {
    start();
    H at, p = physical();
    CK(hipMemAddressReserve, &at, (size_t)(2 * MIB), (size_t)0, NULL, (U)0);
    CK(hipMemRelease, p);
    ready();
    CALL(hipMemMap, at, (size_t)(2 * MIB), (size_t)0, p, (U)0);
}
static void dead_physical_twice(void) {
    start();
    H p = physical();
    CK(hipMemRelease, p);
    ready();
    CALL(hipMemRelease, p);
}
static void never_a_stream(void) {
    start();
    H e = event();
    ready();
    CALL(hipStreamSynchronize, e);
}

/* A reset ends streams, events, pools, modules and memory. */
static void stream_after_reset(void) {
    start();
    H s = stream();
    CK(hipDeviceReset);
    ready();
    CALL(hipStreamSynchronize, s);
}
static void event_after_reset(void) {
    start();
    H e = event();
    CK(hipDeviceReset);
    ready();
    CALL(hipEventQuery, e);
}
static void pool_after_reset(void) {
    start();
    H p = pool();
    CK(hipDeviceReset);
    ready();
    reserved(p);
}
static void default_pool_after_reset(void) {
    start();
    H p;
    CK(hipDeviceGetDefaultMemPool, &p, 0);
    CK(hipDeviceReset);
    ready();
    reserved(p);
}
static void function_after_reset(void) {
    start();
    H f = function(module());
    CK(hipDeviceReset);
    ready();
    launch(f, NULL);
}

struct channels { int x, y, z, w, kind; };
struct shape { size_t width, height; uint32_t format, channels; };
static H array(void) {
    struct channels c = {.x = 32, .kind = 2};
    H a;
    CK(hipMallocArray, &a, &c, (size_t)64, (size_t)64, 0u);
    return a;
}

static void codes(void) {
    start();
    H e = event(), p = pool(), m = module(), a = array(), f, g, x, node, at;
    struct shape shape;
    char host[8192];
    CK(hipEventDestroy, e);
    printf("%d ", CALL(hipEventDestroy, e));
    CK(hipMemPoolDestroy, p);
    printf("%d ", CALL(hipMemPoolDestroy, p));
    CK(hipModuleUnload, m);
    printf("%d %d ", CALL(hipModuleUnload, m), CALL(hipModuleGetFunction, &f, m, "k"));
    CK(hipFreeArray, a);
    printf("%d %d ", CALL(hipFreeArray, a), CALL(hipArrayGetDescriptor, &shape, a));
    CK(hipGraphCreate, &g, 0u);
    CK(hipGraphAddEmptyNode, &node, g, NULL, (size_t)0);
    CK(hipGraphInstantiate, &x, g, NULL, NULL, (size_t)0);
    CK(hipGraphExecDestroy, x);
    CK(hipGraphDestroy, g);
    int kind;
    printf("%d %d ", CALL(hipGraphLaunch, x, NULL), CALL(hipGraphDestroy, g));
    printf("%d ", CALL(hipGraphNodeGetType, node, &kind));
    CK(hipMalloc, &at, (size_t)4096);
    printf("%d ", CALL(hipMemcpy, at, host, (size_t)8192, 1));
    CK(hipFree, at);
    printf("%d\n", CALL(hipFree, at));
}
/* An event goes with its device: with a stream of another it is refused. */
static void two_devices(void) {
    start();
    H e = event(), first = event();
    float ms;
    CK(hipEventRecord, first, NULL);
    CK(hipSetDevice, 1);
    H s = stream(), second = event();
    CK(hipEventRecord, second, s);
    CK(hipStreamSynchronize, s);
    printf("%d %d\n", CALL(hipEventRecord, e, s), CALL(hipEventElapsedTime, &ms, first, second));
}
static size_t unused(void) {
    size_t bytes, total;
    CK(hipMemGetInfo, &bytes, &total);
    return bytes;
}
static void memory_after_reset(void) {
    start();
    H e = event(), a, b, own = pool(), c;
    size_t before = unused();
    CK(hipMalloc, &a, (size_t)(8 * MIB));
    CK(hipMallocAsync, &b, (size_t)(8 * MIB), NULL);
    CK(hipMallocFromPoolAsync, &c, (size_t)(8 * MIB), own, NULL);
    CK(hipDeviceSynchronize);
    CK(hipDeviceReset);
    printf("%d %d %d ", CALL(hipFree, a), CALL(hipFree, b), CALL(hipFreeAsync, c, NULL));
    printf("%d %d ", CALL(hipEventDestroy, e), CALL(hipMemPoolDestroy, own));
    printf("%d ", unused() == before);
    CK(hipMallocAsync, &b, (size_t)(8 * MIB), NULL);
    printf("%d\n", CALL(hipFree, b));
}
static void reuse(void) {
    start();
    H a = stream(), b = stream(), p = pool();
    CK(hipStreamDestroy, a);
    CK(hipStreamDestroy, b);
    CK(hipMemPoolDestroy, p);
    printf("%d ", stream() == b);
    printf("%d %d\n", stream() == a, pool() == p);
}

int main(int argc, char **argv) {
    open_library("libamdhip64.so.6");
    PLAY(argc, argv, S(dead_stream), S(dead_stream_record), S(dead_stream_launch), S(dead_stream_alloc),
         S(dead_stream_twice), S(dead_event), S(dead_event_record), S(dead_event_elapsed), S(dead_pool),
         S(dead_pool_alloc), S(dead_function), S(dead_physical), S(dead_physical_twice), S(never_a_stream),
         S(stream_after_reset), S(event_after_reset), S(pool_after_reset), S(default_pool_after_reset),
         S(function_after_reset), S(codes), S(two_devices), S(memory_after_reset), S(reuse));
}
