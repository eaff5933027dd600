/* Memory that descriptors alone keep on the device.
 *
 *   exports_hip QUOTA    exit status 0 if no more than the quota is ever had, and all of it again once they are closed */
#include <hip/hip_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

static const size_t PIECE = 64 << 20;
enum { MANY = 64 };

static hipError_t piece(hipMemGenericAllocationHandle_t *handle) {
    hipMemAllocationProp properties;
    memset(&properties, 0, sizeof properties);
    properties.type = hipMemAllocationTypePinned;
    properties.requestedHandleTypes = hipMemHandleTypePosixFileDescriptor;
    properties.location.type = hipMemLocationTypeDevice;
    return hipMemCreate(handle, PIECE, &properties, 0);
}

/* Makes pieces and lets go of them, keeping a descriptor of each, until one is refused; how many there were. */
static int exported(int descriptors[MANY]) {
    for (int count = 0; count < MANY; count++) {
        hipMemGenericAllocationHandle_t handle;
        hipError_t result = piece(&handle);
        if (result == hipErrorOutOfMemory)
            return count;
        EXPECT(result == hipSuccess);
        EXPECT(hipMemExportToShareableHandle(&descriptors[count], handle, hipMemHandleTypePosixFileDescriptor, 0) == hipSuccess);
        EXPECT(hipMemRelease(handle) == hipSuccess);
    }
    return MANY;
}

int main(int argc, char **argv) {
    size_t quota = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, before, unused, total;
    int descriptors[MANY];
    EXPECT(hipFree(NULL) == hipSuccess);
    EXPECT(hipMemGetInfo(&before, &total) == hipSuccess && total == quota);

    /* With nobody's descriptor open, what is let go of is free at once. */
    for (int time = 0; time < MANY; time++) {
        hipMemGenericAllocationHandle_t handle;
        int descriptor;
        EXPECT(piece(&handle) == hipSuccess);
        EXPECT(hipMemExportToShareableHandle(&descriptor, handle, hipMemHandleTypePosixFileDescriptor, 0) == hipSuccess);
        close(descriptor);
        EXPECT(hipMemRelease(handle) == hipSuccess);
    }

    int count = exported(descriptors);
    EXPECT(count == (int)(before / PIECE));
    /* Imported again it is charged once, and while the descriptor is open it is no more free than before. */
    hipMemGenericAllocationHandle_t again;
    EXPECT(hipMemImportFromShareableHandle(&again, (void *)(uintptr_t)descriptors[0], hipMemHandleTypePosixFileDescriptor) == hipSuccess);
    EXPECT(hipMemGetInfo(&unused, &total) == hipSuccess && unused == before - count * PIECE);
    EXPECT(hipMemRelease(again) == hipSuccess);

    for (int i = 0; i < count; i++)
        close(descriptors[i]);
    EXPECT(hipMemGetInfo(&unused, &total) == hipSuccess && unused == before);
    EXPECT(exported(descriptors) == count);
    return 0;
}
