/* What a program sees of its compute units.
 *
 *   masks_hip [FIRST LAST]    a line for each question: a name and what was answered; masks as words of 32 units. With units
 *                             named, a stream of its own on those as well. Then "ready", and it lives until its input ends */
#include <hip/hip_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

enum { WORDS = 10 };

static void mask_of(const char *name, hipStream_t stream) {
    uint32_t words[WORDS];
    EXPECT(hipExtStreamGetCUMask(stream, WORDS, words) == hipSuccess);
    printf("%s", name);
    for (int i = 0; i < WORDS; i++) printf(" %u", words[i]);
    printf("\n");
}

static hipFunction_t spin(void) {
    static const unsigned char image[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    hipModule_t code;
    hipFunction_t function;
    EXPECT(hipModuleLoadData(&code, image) == hipSuccess);
    EXPECT(hipModuleGetFunction(&function, code, "fcsp_spin") == hipSuccess);
    return function;
}

/* How long a kernel takes that takes a millisecond on the whole device, in microseconds. */
static void time_of(const char *name, hipFunction_t function, hipStream_t stream) {
    hipEvent_t before, after;
    uint64_t ns = 1000000;
    void *parameters[1] = {&ns};
    float ms = 0;
    EXPECT(hipEventCreate(&before) == hipSuccess && hipEventCreate(&after) == hipSuccess);
    /* Twice: what stands before the first event has ended on the device, not just now. */
    for (int i = 0; i < 2; i++) {
        if (i) EXPECT(hipEventRecord(before, stream) == hipSuccess);
        EXPECT(hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL) == hipSuccess);
    }
    EXPECT(hipEventRecord(after, stream) == hipSuccess);
    EXPECT(hipEventSynchronize(after) == hipSuccess);
    EXPECT(hipEventElapsedTime(&ms, before, after) == hipSuccess);
    printf("%s %.0f\n", name, ms * 1000);
}

int main(int argc, char **argv) {
    hipStream_t stream, own, every;
    hipDeviceProp_tR0600 properties;
    uint32_t mask[WORDS];
    int processors = 0;
    EXPECT(hipInit(0) == hipSuccess && hipSetDevice(0) == hipSuccess);
    EXPECT(hipDeviceGetAttribute(&processors, hipDeviceAttributeMultiprocessorCount, 0) == hipSuccess);
    EXPECT(hipGetDevicePropertiesR0600(&properties, 0) == hipSuccess);
    printf("processors %d %d\n", processors, properties.multiProcessorCount);
    EXPECT(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking) == hipSuccess);
    mask_of("null", NULL);
    mask_of("stream", stream);
    memset(mask, 0xff, sizeof mask);
    EXPECT(hipExtStreamCreateWithCUMask(&every, WORDS, mask) == hipSuccess);
    mask_of("every", every);
    memset(mask, 0, sizeof mask);
    printf("none %d\n", hipExtStreamCreateWithCUMask(&own, WORDS, mask));
    hipFunction_t function = spin();
    time_of("time_null", function, NULL);
    time_of("time_stream", function, stream);
    if (argc == 3) {
        for (int unit = atoi(argv[1]); unit <= atoi(argv[2]); unit++) mask[unit / 32] |= 1u << unit % 32;
        EXPECT(hipExtStreamCreateWithCUMask(&own, WORDS, mask) == hipSuccess);
        mask_of("own", own);
        time_of("time_own", function, own);
    }
    printf("ready\n");
    fflush(stdout);
    getchar();
    return 0;
}
