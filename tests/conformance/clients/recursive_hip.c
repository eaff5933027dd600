/* A HIP runtime whose public functions call each other by their public names, as ROCm 7's do: under a preload library
 * that leads back into its wrappers. What is not here is found in the library that this one needs, which does the work. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

/* The function that does the work, by name: a look-up from inside a driver library. */
static void *worker(const char *name) {
    static void *library;
    if (!library)
        library = dlopen(WORKER, RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        fprintf(stderr, "no %s in %s\n", name, WORKER);
        exit(66);
    }
    return found;
}
#define NEXT(function) ((__typeof__(&function))worker(#function))

hipError_t hipExtMallocWithFlags(void **ptr, size_t bytes, unsigned flags) {
    return NEXT(hipExtMallocWithFlags)(ptr, bytes, flags);
}

hipError_t hipMalloc(void **ptr, size_t bytes) {
    size_t unused, total;
    hipError_t result = hipMemGetInfo(&unused, &total);
    /* What is asked of itself is about the device, not about a tenant. */
    if (result == hipSuccess && total < DEVICE)
        return hipErrorUnknown;
    return result == hipSuccess ? hipExtMallocWithFlags(ptr, bytes, 0) : result;
}

hipError_t hipFree(void *ptr) {
    hipError_t result = hipStreamSynchronize(NULL);
    return result == hipSuccess ? NEXT(hipFree)(ptr) : result;
}

hipError_t hipMemGetInfo(size_t *unused, size_t *total) {
    int device;
    hipError_t result = hipGetDevice(&device);
    return result == hipSuccess ? NEXT(hipMemGetInfo)(unused, total) : result;
}

hipError_t hipDrvLaunchKernelEx(const HIP_LAUNCH_CONFIG *config, hipFunction_t f, void **params, void **extra) {
    return NEXT(hipDrvLaunchKernelEx)(config, f, params, extra);
}

hipError_t hipModuleLaunchKernel(hipFunction_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned shared, hipStream_t stream, void **params, void **extra) {
    HIP_LAUNCH_CONFIG config = {gx, gy, gz, bx, by, bz, shared, stream, NULL, 0};
    return hipDrvLaunchKernelEx(&config, f, params, extra);
}

hipError_t hipGraphLaunch_spt(hipGraphExec_t exec, hipStream_t stream) { return NEXT(hipGraphLaunch_spt)(exec, stream); }

hipError_t hipGraphLaunch(hipGraphExec_t exec, hipStream_t stream) {
    return hipGraphLaunch_spt(exec, stream ? stream : hipStreamLegacy);
}

/* Looks itself up, and is not to be handed a wrapper that it would then call as its own function. */
hipError_t hipGetProcAddress(const char *symbol, void **place, int version, uint64_t flags,
                             hipDriverProcAddressQueryResult *status) {
    (void)version;
    (void)flags;
    *place = dlsym(RTLD_DEFAULT, symbol);
    static void *self;
    if (!self)
        self = dlopen("libamdhip64.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (self)
        *place = dlsym(self, symbol);
    if (status)
        *status = *place ? HIP_GET_PROC_ADDRESS_SUCCESS : HIP_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *place ? hipSuccess : hipErrorNotFound;
}
