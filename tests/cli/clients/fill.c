/* Takes device memory in blocks of 64 MiB until the driver says that there is none left, and prints what it saw.
 *
 *   fill dlsym|proc [device] [hold|grow]
 *
 * dlsym looks functions up by name, proc asks cuGetProcAddress as the CUDA runtime does. hold keeps the memory until
 * the process is ended; grow goes on asking. Written without the vendor's headers: the few types it needs are here. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int CUresult;
typedef int CUdevice;
typedef void *CUcontext;
typedef unsigned long long CUdeviceptr;
enum { OUT_OF_MEMORY = 2 };
static const size_t BLOCK = 64u << 20;

static void *library;
static CUresult (*get_proc_address)(const char *, void **, int, unsigned long long, int *);

static void *look_up(const char *name, const char *base, int version) {
    void *found = NULL;
    if (get_proc_address) {
        int status = 0;
        if (get_proc_address(base, &found, version, 0, &status) != 0)
            found = NULL;
    } else {
        found = dlsym(library, name);
    }
    if (!found) {
        fprintf(stderr, "no %s\n", name);
        exit(3);
    }
    return found;
}

static void check(const char *what, CUresult result) {
    if (result != 0) {
        fprintf(stderr, "%s: %d\n", what, result);
        exit(result == OUT_OF_MEMORY ? 2 : 3);
    }
}

int main(int argc, char **argv) {
    const char *route = argc > 1 ? argv[1] : "dlsym";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    const char *then = argc > 3 ? argv[3] : "";
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    if (!strcmp(route, "proc"))
        get_proc_address = dlsym(library, "cuGetProcAddress_v2");

    CUresult (*init)(unsigned) = look_up("cuInit", "cuInit", 2000);
    CUresult (*device_get)(CUdevice *, int) = look_up("cuDeviceGet", "cuDeviceGet", 2000);
    CUresult (*retain)(CUcontext *, CUdevice) = look_up("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain", 7000);
    CUresult (*current)(CUcontext) = look_up("cuCtxSetCurrent", "cuCtxSetCurrent", 4000);
    CUresult (*info)(size_t *, size_t *) = look_up("cuMemGetInfo_v2", "cuMemGetInfo", 3020);
    CUresult (*alloc)(CUdeviceptr *, size_t) = look_up("cuMemAlloc_v2", "cuMemAlloc", 3020);

    CUdevice device;
    CUcontext context;
    size_t free_bytes, total, got = 0;
    check("cuInit", init(0));
    check("cuDeviceGet", device_get(&device, number));
    check("cuDevicePrimaryCtxRetain", retain(&context, device));
    check("cuCtxSetCurrent", current(context));
    check("cuMemGetInfo", info(&free_bytes, &total));
    for (;;) {
        CUdeviceptr block;
        CUresult result = alloc(&block, BLOCK);
        if (result == OUT_OF_MEMORY) {
            if (strcmp(then, "grow"))
                break;
            usleep(10000);
            continue;
        }
        check("cuMemAlloc", result);
        got += BLOCK;
    }
    printf("total %zu\nfree %zu\ngot %zu\n", total, free_bytes, got);
    fflush(stdout);
    if (!strcmp(then, "hold"))
        for (;;)
            pause();
    return 0;
}
