#include "first.h"
#include <acl/acl.h>

static void before(void) { EXPECT(aclInit(NULL) == ACL_SUCCESS); }
static void use(void) { EXPECT(aclrtSetDevice(0) == ACL_SUCCESS); }
static int take(uint64_t bytes) {
    void *at;
    /* With what the library puts behind it. */
    return aclrtMalloc(&at, bytes - 64, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS;
}
static void figures(uint64_t *unused, uint64_t *total) {
    size_t u, t;
    EXPECT(aclrtGetMemInfo(ACL_HBM_MEM, &u, &t) == ACL_SUCCESS);
    *unused = u;
    *total = t;
}
