/* What a capture forbids is refused for the capture's sake, however full the quota is: the runtime looks at captures first, and
 * ends those that it refuses for. What no capture forbids is refused for the quota's sake, and no capture ends for it.
 *
 *   captures_hip QUOTA    exit status 0 if all is as it should be under a quota of so many bytes */
#include <hip/hip_runtime_api.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

static size_t quota;

/* Asks for too much by one function, beside a capture of another thread's. */
static hipError_t too_much(int which) {
    void *at;
    size_t pitch;
    hipArray_t array;
    hipMipmappedArray_t mipmap;
    hipPitchedPtr pitched;
    hipChannelFormatDesc plain = {32, 32, 32, 32, hipChannelFormatKindFloat};
    HIP_ARRAY_DESCRIPTOR flat = {32768, 32768, HIP_AD_FORMAT_FLOAT, 4};
    HIP_ARRAY3D_DESCRIPTOR deep = {16384, 16384, 4, HIP_AD_FORMAT_FLOAT, 4, 0};
    hipExtent extent = {16384, 16384, 4};
    switch (which) {
    case 0: return hipMalloc(&at, 2 * quota);
    case 1: return hipMallocManaged(&at, 2 * quota, hipMemAttachGlobal);
    case 2: return hipMallocPitch(&at, &pitch, 65536, 2 * quota / 65536);
    case 3: return hipMemAllocPitch(&at, &pitch, 65536, 2 * quota / 65536, 4);
    case 4: return hipMalloc3D(&pitched, make_hipExtent(65536, 2 * quota / 65536, 1));
    case 5: return hipArrayCreate(&array, &flat);
    case 6: return hipArray3DCreate(&array, &deep);
    case 7: return hipMallocArray(&array, &plain, 32768, 32768, 0);
    case 8: return hipMalloc3DArray(&array, &plain, extent, 0);
    case 9: return hipMipmappedArrayCreate(&mipmap, &deep, 1);
    case 10: return hipMallocMipmappedArray(&mipmap, &plain, extent, 1, 0);
    case 11: return hipMallocAsync(&at, 2 * quota, NULL);
    default: return hipExtMallocWithFlags(&at, 2 * quota, hipDeviceMallocDefault);
    }
}
enum { FORBIDDEN = 11, FORBIDDEN_BY_STREAM = 12, ALL = 13 };

static void *asks(void *which) { return (void *)(size_t)too_much((int)(size_t)which); }
static hipError_t in_another_thread(int which) {
    pthread_t thread;
    void *result;
    EXPECT(!pthread_create(&thread, NULL, asks, (void *)(size_t)which) && !pthread_join(thread, &result));
    return (hipError_t)(size_t)result;
}

int main(int argc, char **argv) {
    hipStream_t stream;
    hipGraph_t graph;
    quota = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    EXPECT(hipFree(NULL) == hipSuccess);
    EXPECT(hipStreamCreate(&stream) == hipSuccess);
    for (int which = 0; which < ALL; which++) {
        EXPECT(in_another_thread(which) == hipErrorOutOfMemory);
        /* In another thread beside a capture of the mode that forbids, and in the capture's own thread. */
        for (int own = 0; own < 2; own++) {
            hipError_t expected = which < FORBIDDEN_BY_STREAM ? hipErrorStreamCaptureUnsupported : hipErrorOutOfMemory;
            EXPECT(hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal) == hipSuccess);
            EXPECT((own ? too_much(which) : in_another_thread(which)) == expected);
            EXPECT((hipStreamEndCapture(stream, &graph) == hipSuccess) == (which >= FORBIDDEN));
            if (which >= FORBIDDEN) EXPECT(hipGraphDestroy(graph) == hipSuccess);
            hipGetLastError();
        }
        /* Nothing is forbidden beside a capture in the mode that lets all be. */
        EXPECT(hipStreamBeginCapture(stream, hipStreamCaptureModeRelaxed) == hipSuccess);
        hipStreamCaptureMode mode = hipStreamCaptureModeRelaxed;
        EXPECT(hipThreadExchangeStreamCaptureMode(&mode) == hipSuccess);
        EXPECT(too_much(which) == (which == FORBIDDEN ? hipErrorStreamCaptureUnsupported : hipErrorOutOfMemory));
        EXPECT(hipThreadExchangeStreamCaptureMode(&mode) == hipSuccess);
        EXPECT(hipStreamEndCapture(stream, &graph) == hipSuccess);
        EXPECT(hipGraphDestroy(graph) == hipSuccess);
        hipGetLastError();
    }
    puts("right");
    return 0;
}
