/* What a refused HIP program finds out: the last error, both forms of the properties, and graphs that hold memory.
 *
 *   errors_hip QUOTA    exit status 0 if all is as it should be under a quota of so many bytes */
#include <hip/hip_runtime_api.h>
#include <hip/hip_deprecated.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

/* A graph with one memory node of so many bytes. */
static hipGraphExec_t with_memory(size_t bytes) {
    hipGraph_t graph;
    hipGraphNode_t node, freed;
    hipGraphExec_t exec;
    hipMemAllocNodeParams params;
    memset(&params, 0, sizeof params);
    params.poolProps.allocType = hipMemAllocationTypePinned;
    params.poolProps.location.type = hipMemLocationTypeDevice;
    params.bytesize = bytes;
    EXPECT(hipGraphCreate(&graph, 0) == hipSuccess);
    EXPECT(hipGraphAddMemAllocNode(&node, graph, NULL, 0, &params) == hipSuccess);
    EXPECT(hipGraphAddMemFreeNode(&freed, graph, &node, 1, params.dptr) == hipSuccess);
    EXPECT(hipGraphInstantiateWithFlags(&exec, graph, 0) == hipSuccess);
    return exec;
}

int main(int argc, char **argv) {
    size_t quota = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, unused, total;
    void *block = NULL;
    EXPECT(hipFree(NULL) == hipSuccess);
    EXPECT(hipMemGetInfo(&unused, &total) == hipSuccess && total == quota && unused < quota);

    /* A refusal is the thread's last error until it is asked for. */
    EXPECT(hipGetLastError() == hipSuccess);
    EXPECT(hipMalloc(&block, 2 * quota) == hipErrorOutOfMemory);
    EXPECT(hipPeekAtLastError() == hipErrorOutOfMemory);
    EXPECT(hipGetLastError() == hipErrorOutOfMemory);
    EXPECT(hipGetLastError() == hipSuccess);
    /* The runtime's own errors stay what they are. */
    EXPECT(hipMemset((void *)64, 0, 1) == hipErrorInvalidValue);
    EXPECT(hipGetLastError() == hipErrorInvalidValue);
    /* Nothing is had for nothing. */
    block = (void *)1;
    EXPECT(hipMalloc(&block, 0) == hipSuccess && block == NULL);

    hipDeviceProp_tR0000 older;
    hipDeviceProp_tR0600 newer;
    EXPECT(hipGetDevicePropertiesR0000(&older, 0) == hipSuccess && older.totalGlobalMem == quota);
    EXPECT(hipGetDevicePropertiesR0600(&newer, 0) == hipSuccess && newer.totalGlobalMem == quota);
    EXPECT(!strcmp(older.name, newer.name) && newer.warpSize == 64);

    hipGraphExec_t small = with_memory(quota / 4), large = with_memory(quota);
    EXPECT(hipGraphLaunch(small, NULL) == hipSuccess);
    EXPECT(hipDeviceSynchronize() == hipSuccess);
    EXPECT(hipGraphLaunch(large, NULL) == hipErrorOutOfMemory);
    /* What the first had left was given back to make room; launched again it holds its memory until that is trimmed. */
    EXPECT(hipGraphLaunch(small, NULL) == hipSuccess);
    EXPECT(hipDeviceSynchronize() == hipSuccess);
    EXPECT(hipMalloc(&block, quota - quota / 4) == hipErrorOutOfMemory);
    EXPECT(hipDeviceGraphMemTrim(0) == hipSuccess);
    EXPECT(hipMalloc(&block, quota / 2) == hipSuccess);
    EXPECT(hipFree(block) == hipSuccess);

    /* Everything goes with the device's context. */
    EXPECT(hipMalloc(&block, quota / 2) == hipSuccess);
    EXPECT(hipDeviceReset() == hipSuccess);
    EXPECT(hipMalloc(&block, quota / 2 + quota / 4) == hipSuccess);
    return 0;
}
