/* Misuse of the Level Zero driver, which is loaded without a loader before it. */
#include "misuse.h"

struct desc { U stype; const void *next; uint32_t flags; };
struct queue_desc { U stype; const void *next; uint32_t ordinal, index, flags, mode, priority; };
struct list_desc { U stype; const void *next; uint32_t ordinal, flags; };
struct pool_desc { U stype; const void *next; uint32_t flags, count; };
struct event_desc { U stype; const void *next; uint32_t index, signal, wait; };
struct module_desc { U stype; const void *next; uint32_t format; size_t size; const void *input; const char *flags; const void *constants; };
struct kernel_desc { U stype; const void *next; uint32_t flags; const char *name; };
struct memory_desc { U stype; const void *next; uint32_t flags, ordinal; };
struct physical_desc { U stype; const void *next; uint32_t flags; size_t size; };

static H driver, device, context;
static const U FOREVER = ~0ull;
static const H NONE = 0;

static void begin(void) {
    uint32_t n = 1;
    CK(zeInit, 0u);
    CK(zeDriverGet, &n, &driver);
    n = 1;
    CK(zeDeviceGet, driver, &n, &device);
}
static H new_context(void) {
    struct desc d = {0xd, 0, 0};
    H c;
    CK(zeContextCreate, driver, &d, &c);
    return c;
}
static void start(void) { begin(); context = new_context(); }
static H queue(H c) {
    struct queue_desc d = {0xe, 0, 0, 0, 0, 2, 0};
    H q;
    CK(zeCommandQueueCreate, c, device, &d, &q);
    return q;
}
static H immediate(H c, uint32_t mode) {
    struct queue_desc d = {0xe, 0, 0, 0, 0, mode, 0};
    H l;
    CK(zeCommandListCreateImmediate, c, device, &d, &l);
    return l;
}
static H list(H c) {
    struct list_desc d = {0xf, 0, 0, 0};
    H l;
    CK(zeCommandListCreate, c, device, &d, &l);
    return l;
}
static H pool(H c) {
    struct pool_desc d = {0x10, 0, 1, 4};
    H p;
    CK(zeEventPoolCreate, c, &d, 0u, NONE, &p);
    return p;
}
static H event_of(H p, uint32_t index) {
    struct event_desc d = {0x11, 0, index, 0, 0};
    H e;
    CK(zeEventCreate, p, &d, &e);
    return e;
}
static H event(H c) { return event_of(pool(c), 0); }
static H fence(H q) {
    struct desc d = {0x1f, 0, 0};
    H f;
    CK(zeFenceCreate, q, &d, &f);
    return f;
}
static H module(H c) {
    static const uint32_t image[5] = {0x07230203, 0x00010000, 0, 1, 0};
    struct module_desc d = {27, 0, 0, sizeof image, image, 0, 0};
    H m;
    CK(zeModuleCreate, c, device, &d, &m, NONE);
    return m;
}
static H kernel(H m) {
    struct kernel_desc d = {0x1d, 0, 0, "fcsp_spin"};
    H k;
    CK(zeKernelCreate, m, &d, &k);
    return k;
}
static H memory(H c, size_t size) {
    struct memory_desc d = {0x15, 0, 0, 0};
    H p;
    CK(zeMemAllocDevice, c, &d, size, (size_t)0, device, &p);
    return p;
}
static void append(H l, H signal, H wait) {
    CK(zeCommandListAppendBarrier, l, signal, wait ? 1u : 0u, wait ? &wait : 0);
}

/* Destroyed handles, one kind after another. */
static void dead_queue(void) {
    start();
    H q = queue(context);
    CK(zeCommandQueueDestroy, q);
    ready();
    CALL(zeCommandQueueSynchronize, q, FOREVER);
}
static void dead_list(void) {
    start();
    H l = immediate(context, 2);
    CK(zeCommandListDestroy, l);
    ready();
    CALL(zeCommandListAppendBarrier, l, NONE, 0u, NONE);
}
static void dead_list_executed(void) {
    start();
    H q = queue(context), l = list(context);
    CK(zeCommandListClose, l);
    CK(zeCommandListDestroy, l);
    ready();
    CALL(zeCommandQueueExecuteCommandLists, q, 1u, &l, NONE);
}
static void dead_event(void) {
    start();
    H e = event(context);
    CK(zeEventDestroy, e);
    ready();
    CALL(zeEventQueryStatus, e);
}
static void dead_event_in_list(void) {
    start();
    H l = immediate(context, 2), e = event(context);
    CK(zeEventDestroy, e);
    ready();
    CALL(zeCommandListAppendBarrier, l, e, 0u, NONE);
}
static void dead_event_twice(void) {
    start();
    H e = event(context);
    CK(zeEventDestroy, e);
    ready();
    CALL(zeEventDestroy, e);
}
static void dead_pool(void) {
    start();
    H p = pool(context), e;
    struct event_desc d = {0x11, 0, 0, 0, 0};
    CK(zeEventPoolDestroy, p);
    ready();
    CALL(zeEventCreate, p, &d, &e);
}
static void dead_fence(void) {
    start();
    H f = fence(queue(context));
    CK(zeFenceDestroy, f);
    ready();
    CALL(zeFenceQueryStatus, f);
}
static void dead_module(void) {
    start();
    H m = module(context), k;
    struct kernel_desc d = {0x1d, 0, 0, "fcsp_spin"};
    CK(zeModuleDestroy, m);
    ready();
    CALL(zeKernelCreate, m, &d, &k);
}
static void dead_kernel(void) {
    start();
    uint32_t one[3] = {1, 1, 1};
    H l = immediate(context, 2), k = kernel(module(context));
    CK(zeKernelDestroy, k);
    ready();
    CALL(zeCommandListAppendLaunchKernel, l, k, one, NONE, 0u, NONE);
}
static void dead_physical(void) {
    start();
    struct physical_desc d = {0x1a, 0, 0, 2 << 20};
    H p;
    CK(zePhysicalMemCreate, context, device, &d, &p);
    CK(zePhysicalMemDestroy, context, p);
    ready();
    CALL(zePhysicalMemDestroy, context, p);
}
static void dead_context(void) {
    start();
    H p;
    struct memory_desc d = {0x15, 0, 0, 0};
    CK(zeContextDestroy, context);
    ready();
    CALL(zeMemAllocDevice, context, &d, (size_t)4096, (size_t)0, device, &p);
}
static void never_a_queue(void) {
    start();
    H l = list(context);
    ready();
    CALL(zeCommandQueueSynchronize, l, FOREVER);
}

/* A context's children die with it. */
static void list_after_context(void) {
    start();
    H l = immediate(context, 2);
    CK(zeContextDestroy, context);
    ready();
    CALL(zeCommandListAppendBarrier, l, NONE, 0u, NONE);
}
static void event_after_context(void) {
    start();
    H e = event(context);
    CK(zeContextDestroy, context);
    ready();
    CALL(zeEventQueryStatus, e);
}
static void event_destroyed_after_context(void) {
    start();
    H e = event(context);
    CK(zeContextDestroy, context);
    ready();
    CALL(zeEventDestroy, e);
}
static void kernel_after_context(void) {
    start();
    H k = kernel(module(context));
    CK(zeContextDestroy, context);
    ready();
    CALL(zeKernelSetGroupSize, k, 1u, 1u, 1u);
}

/* What has to be destroyed before what. */
static void pool_with_event(void) {
    start();
    H p = pool(context);
    event_of(p, 1);
    ready();
    CALL(zeEventPoolDestroy, p);
}
static void queue_with_fence(void) {
    start();
    H q = queue(context);
    fence(q);
    ready();
    CALL(zeCommandQueueDestroy, q);
}
static void module_with_kernel(void) {
    start();
    H m = module(context);
    kernel(m);
    ready();
    CALL(zeModuleDestroy, m);
}

/* Another context's. */
static void foreign_event(void) {
    start();
    H other = new_context(), l = immediate(context, 2), e = event(other);
    ready();
    CALL(zeCommandListAppendBarrier, l, e, 0u, NONE);
}
static void foreign_list(void) {
    start();
    H other = new_context(), q = queue(context), l = list(other);
    CK(zeCommandListClose, l);
    ready();
    CALL(zeCommandQueueExecuteCommandLists, q, 1u, &l, NONE);
}
static void foreign_kernel(void) {
    start();
    uint32_t one[3] = {1, 1, 1};
    H other = new_context(), l = immediate(context, 2), k = kernel(module(other));
    ready();
    CALL(zeCommandListAppendLaunchKernel, l, k, one, NONE, 0u, NONE);
}
static void foreign_memory(void) {
    start();
    H other = new_context(), l = immediate(context, 2), a = memory(context, 4096), b = memory(other, 4096);
    ready();
    CALL(zeCommandListAppendMemoryCopy, l, a, b, (size_t)4096, NONE, 0u, NONE);
}

/* Two threads on one list. The first one is inside its call until the event comes, which never does. */
static H both, held;
static void *wait_inside(void *unused) {
    CALL(zeCommandListAppendBarrier, both, NONE, 1u, &held);
    return unused;
}
static void two_threads(void) {
    start();
    pthread_t t;
    both = immediate(context, 1);
    held = event(context);
    ready();
    pthread_create(&t, 0, wait_inside, 0);
    for (;;) CALL(zeCommandListAppendBarrier, both, NONE, 0u, NONE);
}

/* A list that waits for `held`, executed. */
static H waiting_list(H q, H f) {
    H l = list(context);
    held = event(context);
    append(l, 0, held);
    CK(zeCommandListClose, l);
    CK(zeCommandQueueExecuteCommandLists, q, 1u, &l, f);
    return l;
}
static void list_executed_twice(void) {
    start();
    H q = queue(context), l = waiting_list(q, 0);
    ready();
    CALL(zeCommandQueueExecuteCommandLists, q, 1u, &l, NONE);
}
static void list_reset_while_executed(void) {
    start();
    H l = waiting_list(queue(context), 0);
    ready();
    CALL(zeCommandListReset, l);
}
static void list_destroyed_while_executed(void) {
    start();
    H l = waiting_list(queue(context), 0);
    ready();
    CALL(zeCommandListDestroy, l);
}
static void queue_destroyed_while_busy(void) {
    start();
    H q = queue(context);
    waiting_list(q, 0);
    ready();
    CALL(zeCommandQueueDestroy, q);
}
static void immediate_destroyed_while_busy(void) {
    start();
    H l = immediate(context, 2), e = event(context);
    append(l, 0, e);
    ready();
    CALL(zeCommandListDestroy, l);
}
static void event_destroyed_while_awaited(void) {
    start();
    waiting_list(queue(context), 0);
    ready();
    CALL(zeEventDestroy, held);
}
static void fence_destroyed_while_busy(void) {
    start();
    H q = queue(context), f = fence(q);
    waiting_list(q, f);
    ready();
    CALL(zeFenceDestroy, f);
}

/* What is allowed: everything again and again, each end learnt by what the host waits for. */
static void allowed(void) {
    start();
    for (int i = 0; i < 200; i++) {
        H q = queue(context), f = fence(q), l = list(context), p = pool(context), e = event_of(p, 0), done = event_of(p, 1);
        append(l, done, e);
        CK(zeCommandListClose, l);
        for (int again = 0; again < 2; again++) {
            CK(zeCommandQueueExecuteCommandLists, q, 1u, &l, f);
            CK(zeEventHostSignal, e);
            CK(zeFenceHostSynchronize, f, FOREVER);
            CK(zeFenceReset, f);
            CK(zeEventHostReset, e);
        }
        CK(zeCommandQueueExecuteCommandLists, q, 1u, &l, NONE);
        CK(zeEventHostReset, done);
        CK(zeEventHostSignal, e);
        CK(zeEventHostSynchronize, done, FOREVER);
        CK(zeFenceDestroy, f);
        CK(zeCommandQueueDestroy, q);
        CK(zeCommandListDestroy, l);
        l = immediate(context, 2);
        CK(zeEventHostReset, done);
        append(l, done, 0);
        CK(zeEventHostSynchronize, done, FOREVER);
        CK(zeCommandListDestroy, l);
        CK(zeEventDestroy, done);
        CK(zeEventDestroy, e);
        CK(zeEventPoolDestroy, p);
    }
    CK(zeContextDestroy, context);
}

static void reuse(void) {
    start();
    H a = queue(context), b = queue(context);
    CK(zeCommandQueueDestroy, a);
    CK(zeCommandQueueDestroy, b);
    printf("%d ", queue(context) == b);
    printf("%d\n", queue(context) == a);
}
/* Codes: memory freed twice, freed through another context, beyond its end; null handles. */
static void codes(void) {
    start();
    H other = new_context(), p = memory(context, 4096), l = immediate(context, 2);
    printf("%x ", CALL(zeMemFree, other, p));
    CK(zeMemFree, context, p);
    printf("%x ", CALL(zeMemFree, context, p));
    printf("%x ", CALL(zeCommandQueueDestroy, NONE));
    p = memory(context, 64 << 10);
    CK(zeCommandListAppendMemoryCopy, l, p, (char *)p + 1, (size_t)(64 << 10), NONE, 0u, NONE);
    H e = event(context);
    R r = CALL(zeCommandListAppendBarrier, l, e, 0u, NONE);
    printf("%x\n", r ? r : CALL(zeEventHostSynchronize, e, FOREVER));
}
/* A queue that could not be destroyed lives on. */
static void kept(void) {
    start();
    H q = queue(context);
    printf("%x ", CALL(zeCommandQueueDestroy, q));
    printf("%x ", CALL(zeCommandQueueSynchronize, q, FOREVER));
    printf("%x\n", CALL(zeCommandQueueDestroy, q));
}
static void leak(void) {
    start();
    event(context);
    queue(context);
    CK(zeContextDestroy, context);
}

int main(int argc, char **argv) {
    open_library("libze_fcsp_sim.so.1");
    PLAY(argc, argv, S(dead_queue), S(dead_list), S(dead_list_executed), S(dead_event), S(dead_event_in_list),
         S(dead_event_twice), S(dead_pool), S(dead_fence), S(dead_module), S(dead_kernel), S(dead_physical),
         S(dead_context), S(never_a_queue), S(list_after_context), S(event_after_context),
         S(event_destroyed_after_context), S(kernel_after_context), S(pool_with_event), S(queue_with_fence),
         S(module_with_kernel), S(foreign_event), S(foreign_list), S(foreign_kernel), S(foreign_memory), S(two_threads),
         S(list_executed_twice), S(list_reset_while_executed), S(list_destroyed_while_executed),
         S(queue_destroyed_while_busy), S(immediate_destroyed_while_busy), S(event_destroyed_while_awaited),
         S(fence_destroyed_while_busy), S(allowed), S(reuse), S(codes), S(kept), S(leak));
}
