/* A driver library that is built as the real one may be: some exported functions call others through the dynamic linker,
 * and it looks its own functions up by name. The rest it leaves to the library that it is linked against. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

typedef unsigned long long u64;

int cuMemAlloc_v2(u64 *, size_t);
int cuMemFree_v2(u64);
int cuCtxGetCurrent(void **);

/* What every driver library has of its own. */
int cuInit(unsigned flags) {
    void *rest = dlopen("libcudb.so.1", RTLD_NOW | RTLD_NOLOAD);
    int (*init)(unsigned) = (int (*)(unsigned))dlsym(rest, "cuInit");
    return init(flags);
}

/* Through the linker: a preload library sees this call. */
int cuMemAllocPitch_v2(u64 *address, size_t *pitch, size_t width, size_t height, unsigned element) {
    (void)element;
    *pitch = (width + 511) / 512 * 512;
    return cuMemAlloc_v2(address, *pitch * height);
}

/* By name: a preload library's dlsym sees this one. */
int cuMemAllocManaged(u64 *address, size_t bytes, unsigned flags) {
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    int (*alloc)(u64 *, size_t) = (int (*)(u64 *, size_t))dlsym(self, "cuMemAlloc_v2");
    (void)flags;
    return alloc(address, bytes);
}

/* Asks for its own address. */
void *shim_own_alloc(void) {
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *found = dlsym(self, "cuMemAlloc_v2");
    return found;
}
