#include "again.h"
#include "../../../fcsp-sim/gaudi/gaudi.h"

static int has;

static void figures(uint64_t *unused, uint64_t *total) { EXPECT(synDeviceGetMemoryInfo(0, unused, total) == synSuccess); }
/* A card belongs to the process, not to the thread. */
static void open_again(void) {
    synDeviceId card;
    if (__atomic_load_n(&has, __ATOMIC_SEQ_CST)) return;
    while (synDeviceAcquireByModuleId(&card, 0) != synSuccess) sched_yield();
    __atomic_store_n(&has, 1, __ATOMIC_SEQ_CST);
}
static void open_first(void) {
    EXPECT(synInitialize() == synSuccess);
    open_again();
}
static int take(uint64_t bytes) {
    uint64_t at;
    return synDeviceMalloc(0, bytes, 0, 0, &at) == synSuccess;
}
static void let_go(void) {
    __atomic_store_n(&has, 0, __ATOMIC_SEQ_CST);
    EXPECT(synDeviceRelease(0) == synSuccess);
}
static void until_gone(void) {
    while (__atomic_load_n(&has, __ATOMIC_SEQ_CST)) sched_yield();
}
