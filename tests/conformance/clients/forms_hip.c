/* Launches kernels of a millisecond in every form that HIP has, as compiled programs do: from a fat binary that was
 * registered before main, by host function.
 *
 *   forms_hip FORM COUNT    launches so many and waits for each; then says "done" and waits for the end of its input
 */
#include <hip/hip_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void **__hipRegisterFatBinary(const void *data);
extern void __hipRegisterFunction(void **modules, const void *host, char *device, const char *name, unsigned threads,
                                  void *tid, void *bid, dim3 *block, dim3 *grid, int *size);
/* As C++ declares them, by the names that C++ gives them. */
extern hipError_t ext_launch(hipFunction_t f, uint32_t gx, uint32_t gy, uint32_t gz, uint32_t bx, uint32_t by, uint32_t bz,
                             size_t shared, hipStream_t stream, void **params, void **extra, hipEvent_t start,
                             hipEvent_t stop, uint32_t flags)
    __asm__("_Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j");

/* What a compiler puts into a program: a wrapper around a bundle of code objects. */
static const char bundle[] = "__CLANG_OFFLOAD_BUNDLE__";
static const struct {
    char magic[4];
    uint32_t version;
    const void *data;
    void *unused;
} fat = {{'F', 'P', 'I', 'H'}, 1, bundle, NULL};

/* The host's stand-in for the kernel; never called. */
static void fcsp_spin(void) { abort(); }

__attribute__((constructor)) static void registered(void) {
    void **modules = __hipRegisterFatBinary(&fat);
    __hipRegisterFunction(modules, (const void *)fcsp_spin, (char *)"fcsp_spin", "fcsp_spin", -1, NULL, NULL, NULL, NULL,
                          NULL);
}

static void check(const char *what, hipError_t result) {
    if (result != hipSuccess) {
        fprintf(stderr, "%s: %s\n", what, hipGetErrorName(result));
        exit(3);
    }
}

int main(int argc, char **argv) {
    const char *form = argc == 3 ? argv[1] : "";
    int count = argc == 3 ? atoi(argv[2]) : 0;
    uint64_t ns = 1000000;
    void *params[] = {&ns};
    const void *host = (const void *)fcsp_spin;
    dim3 one = {1, 1, 1};
    hipFunction_t f;
    check("hipGetFuncBySymbol", hipGetFuncBySymbol(&f, host));
    for (int i = 0; i < count; i++) {
        hipError_t result = hipErrorInvalidValue;
        if (!strcmp(form, "host"))
            result = hipLaunchKernel(host, one, one, params, 0, NULL);
        else if (!strcmp(form, "host_spt"))
            result = hipLaunchKernel_spt(host, one, one, params, 0, NULL);
        else if (!strcmp(form, "host_ext"))
            result = hipExtLaunchKernel(host, one, one, params, 0, NULL, NULL, NULL, 0);
        else if (!strcmp(form, "cooperative"))
            result = hipLaunchCooperativeKernel(host, one, one, params, 0, NULL);
        else if (!strcmp(form, "exc")) {
            hipLaunchConfig_t config = {.gridDim = one, .blockDim = one};
            result = hipLaunchKernelExC(&config, host, params);
        } else if (!strcmp(form, "module"))
            result = hipModuleLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL);
        else if (!strcmp(form, "module_cooperative"))
            result = hipModuleLaunchCooperativeKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params);
        else if (!strcmp(form, "module_ext"))
            result = ext_launch(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL, NULL, NULL, 0);
        else if (!strcmp(form, "module_ex")) {
            HIP_LAUNCH_CONFIG config = {1, 1, 1, 1, 1, 1, 0, NULL, NULL, 0};
            result = hipDrvLaunchKernelEx(&config, f, params, NULL);
        } else if (!strcmp(form, "several")) {
            hipLaunchParams launch = {(void *)(uintptr_t)host, one, one, params, 0, NULL};
            result = hipExtLaunchMultiKernelMultiDevice(&launch, 1, 0);
        } else if (!strcmp(form, "chevrons")) {
            /* What `kernel<<<...>>>(...)` becomes. */
            hipStream_t stream;
            size_t shared;
            check("push", __hipPushCallConfiguration(one, one, 0, NULL));
            check("pop", __hipPopCallConfiguration(&one, &one, &shared, &stream));
            result = hipLaunchKernel(host, one, one, params, shared, stream);
        } else if (!strcmp(form, "ptr")) {
            check("configure", hipConfigureCall(one, one, 0, NULL));
            check("argument", hipSetupArgument(&ns, sizeof ns, 0));
            result = hipLaunchByPtr(host);
        }
        check(form, result);
        check("hipDeviceSynchronize", hipDeviceSynchronize());
    }
    printf("done\n");
    fflush(stdout);
    getchar();
    return 0;
}
