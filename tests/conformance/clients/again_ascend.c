#include "again.h"
#include <acl/acl.h>

static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(aclrtGetMemInfo(ACL_HBM_MEM, &u, &t) == ACL_SUCCESS);
    *unused = u;
    *total = t;
}
static void open_again(void) { EXPECT(aclrtSetDevice(0) == ACL_SUCCESS); }
static void open_first(void) {
    EXPECT(aclInit(NULL) == ACL_SUCCESS);
    open_again();
}
static int take(uint64_t bytes) {
    void *at;
    /* With what the library puts behind it. */
    return aclrtMalloc(&at, bytes - 64, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS;
}
/* Every thread that has said that it uses the device counts. */
static void let_go(void) { EXPECT(aclrtResetDeviceForce(0) == ACL_SUCCESS); }
static void until_gone(void) {
    uint32_t flags;
    int32_t active = 1;
    while (aclrtGetPrimaryCtxState(0, &flags, &active) == ACL_SUCCESS && active) sched_yield();
}
