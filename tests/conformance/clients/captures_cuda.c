/* What a capture forbids is refused for the capture's sake, however full the quota is: the driver looks at captures first, and
 * ends those that it refuses for. What no capture forbids is refused for the quota's sake, and no capture ends for it.
 *
 *   captures_cuda QUOTA    exit status 0 if all is as it should be under a quota of so many bytes */
#include <cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

static size_t quota;
static CUcontext context;

/* Asks for too much by one function, beside a capture of another thread's. */
static CUresult too_much(int which) {
    CUdeviceptr at;
    size_t pitch;
    CUarray array;
    CUmipmappedArray mipmap;
    CUDA_ARRAY_DESCRIPTOR flat = {32768, 32768, CU_AD_FORMAT_FLOAT, 4};
    CUDA_ARRAY3D_DESCRIPTOR deep = {16384, 16384, 4, CU_AD_FORMAT_FLOAT, 4, 0};
    switch (which) {
    case 0: return cuMemAlloc(&at, 2 * quota);
    case 1: return cuMemAllocManaged(&at, 2 * quota, CU_MEM_ATTACH_GLOBAL);
    case 2: return cuMemAllocPitch(&at, &pitch, 65536, 2 * quota / 65536, 4);
    case 3: return cuArrayCreate(&array, &flat);
    case 4: return cuArray3DCreate(&array, &deep);
    case 5: return cuMipmappedArrayCreate(&mipmap, &deep, 1);
    default: return cuMemAllocAsync(&at, 2 * quota, NULL);
    }
}
enum { FORBIDDEN = 6, ALL = 7 };

static void *asks(void *which) {
    EXPECT(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    return (void *)(size_t)too_much((int)(size_t)which);
}
static CUresult in_another_thread(int which) {
    pthread_t thread;
    void *result;
    EXPECT(!pthread_create(&thread, NULL, asks, (void *)(size_t)which) && !pthread_join(thread, &result));
    return (CUresult)(size_t)result;
}

int main(int argc, char **argv) {
    CUstream stream;
    CUgraph graph;
    quota = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    EXPECT(cuInit(0) == CUDA_SUCCESS && cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    EXPECT(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    EXPECT(cuStreamCreate(&stream, CU_STREAM_DEFAULT) == CUDA_SUCCESS);
    for (int which = 0; which < ALL; which++) {
        EXPECT(in_another_thread(which) == CUDA_ERROR_OUT_OF_MEMORY);
        /* In another thread beside a capture of the mode that forbids, and in the capture's own thread. */
        for (int own = 0; own < 2; own++) {
            CUresult expected =
                which < FORBIDDEN ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            EXPECT(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
            EXPECT((own ? too_much(which) : in_another_thread(which)) == expected);
            EXPECT((cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS) == (which >= FORBIDDEN));
            if (which >= FORBIDDEN) EXPECT(cuGraphDestroy(graph) == CUDA_SUCCESS);
        }
        /* Nothing is forbidden beside a capture in the mode that lets all be. */
        CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
        EXPECT(cuStreamBeginCapture(stream, mode) == CUDA_SUCCESS);
        EXPECT(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
        EXPECT(too_much(which) ==
               (which < FORBIDDEN ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
        EXPECT(cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS);
        EXPECT(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
        EXPECT(cuGraphDestroy(graph) == CUDA_SUCCESS);
    }
    puts("right");
    return 0;
}
