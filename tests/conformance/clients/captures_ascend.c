/* A capture forbids no allocation on Ascend: what passes the quota is refused for the quota's sake, what fits is granted, and the
 * capture goes on.
 *
 *   captures_ascend QUOTA    exit status 0 if all is as it should be under a quota of so many bytes */
#include <acl/acl.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

int main(int argc, char **argv) {
    size_t quota = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    aclrtStream stream;
    aclmdlRI model;
    aclrtDrvMemHandle physical;
    aclrtPhysicalMemProp shape = {0};
    void *at;
    EXPECT(aclInit(NULL) == ACL_SUCCESS && aclrtSetDevice(0) == ACL_SUCCESS);
    EXPECT(aclrtCreateStream(&stream) == ACL_SUCCESS);
    shape.handleType = ACL_MEM_HANDLE_TYPE_NONE;
    shape.allocationType = ACL_MEM_ALLOCATION_TYPE_PINNED;
    shape.memAttr = ACL_HBM_MEM_HUGE;
    shape.location.type = ACL_MEM_LOCATION_TYPE_DEVICE;
    for (int mode = ACL_MODEL_RI_CAPTURE_MODE_GLOBAL; mode <= ACL_MODEL_RI_CAPTURE_MODE_RELAXED; mode++) {
        EXPECT(aclmdlRICaptureBegin(stream, (aclmdlRICaptureMode)mode) == ACL_SUCCESS);
        EXPECT(aclrtMalloc(&at, 2 * quota, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_ERROR_RT_MEMORY_ALLOCATION);
        EXPECT(aclrtMallocPhysical(&physical, 2 * quota, &shape, 0) == ACL_ERROR_RT_MEMORY_ALLOCATION);
        EXPECT(aclrtMalloc(&at, quota / 4, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS);
        EXPECT(aclrtFree(at) == ACL_SUCCESS);
        EXPECT(aclmdlRICaptureEnd(stream, &model) == ACL_SUCCESS);
        EXPECT(aclmdlRIDestroy(model) == ACL_SUCCESS);
    }
    puts("right");
    return 0;
}
