/* A signal handler leaves calls of HIP by a jump. The notes of a thread that is inside a call must not
 * stay.
 *
 *   jumps_hip memory   leaves a call that frees memory and waits. Then memory is taken until it is
 *                      refused: prints the blocks of 64 MiB.
 *   jumps_hip launch   launches 50 kernels of 10 ms, leaves a launch, and launches 50 more. After each
 *                      it says a line and waits for one.
 *
 * The simulated driver is told to raise SIGSEGV in the calls that are left. */
#define _GNU_SOURCE
#include <hip/hip_runtime_api.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

static const char IMAGE[] = ".version 7.0\n.target sm_80\n.address_size 64\n"
                            ".visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";
static hipFunction_t function;
static sigjmp_buf back;
static void leave(int signal) { (void)signal; siglongjmp(back, 1); }

static hipError_t spin(void) {
    uint64_t ns = 10000000;
    void *parameters[1] = {&ns};
    return hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL);
}
static void memory(void) {
    void *at;
    int blocks;
    EXPECT(hipMalloc(&at, 3 << 20) == hipSuccess);
    if (!sigsetjmp(back, 1)) {
        (void)hipFree(at);
        EXPECT(!"the call came back");
    }
    for (blocks = 0; blocks < 100 && hipMalloc(&at, 64 << 20) == hipSuccess;) blocks++;
    printf("%d\n", blocks);
}
static void work(const char *word) {
    char line[8];
    for (int i = 0; i < 50; i++) {
        EXPECT(spin() == hipSuccess);
        EXPECT(hipDeviceSynchronize() == hipSuccess);
    }
    puts(word);
    EXPECT(fgets(line, sizeof line, stdin));
}
static void launch(void) {
    hipModule_t module;
    EXPECT(hipModuleLoadData(&module, IMAGE) == hipSuccess);
    EXPECT(hipModuleGetFunction(&function, module, "fcsp_spin") == hipSuccess);
    work("before");
    if (!sigsetjmp(back, 1)) {
        (void)spin();
        EXPECT(!"the call came back");
    }
    work("after");
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    EXPECT(signal(SIGSEGV, leave) != SIG_ERR);
    EXPECT(hipInit(0) == hipSuccess && hipSetDevice(0) == hipSuccess);
    count == 2 && !strcmp(words[1], "memory") ? memory() : launch();
    return 0;
}
