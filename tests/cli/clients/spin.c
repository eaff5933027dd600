/* Keeps a device busy, or watches its size, and says in a file how far it is: 64-bit words that the caller maps.
 *
 *   spin FILE busy MICROSECONDS    kernels that take so long, always some queued; word 0 counts those that are done
 *   spin FILE watch BYTES          word 0 counts looks, word 1 is the total that cuMemGetInfo tells, word 2 is 1 if a
 *                                  request of so many bytes is granted and 2 if not
 *
 * Written without the vendor's headers: the few types it needs are here. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int CUresult;
typedef void *Handle;
enum { BATCH = 4, BATCHES = 2 };
static const char PTX[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";

static void *library;

static void *look_up(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "no %s\n", name);
        exit(3);
    }
    return found;
}

static void check(const char *what, CUresult result) {
    if (result != 0) {
        fprintf(stderr, "%s: %d\n", what, result);
        exit(3);
    }
}

static void busy(volatile uint64_t *words, uint64_t ns) {
    CUresult (*load)(Handle *, const void *) = look_up("cuModuleLoadData");
    CUresult (*function)(Handle *, Handle, const char *) = look_up("cuModuleGetFunction");
    CUresult (*stream_create)(Handle *, unsigned) = look_up("cuStreamCreate");
    CUresult (*event_create)(Handle *, unsigned) = look_up("cuEventCreate");
    CUresult (*record)(Handle, Handle) = look_up("cuEventRecord");
    CUresult (*synchronise)(Handle) = look_up("cuEventSynchronize");
    CUresult (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **,
                       void **) = look_up("cuLaunchKernel");
    Handle module, spin, stream, done[BATCHES];
    void *arguments[] = {&ns};
    check("cuModuleLoadData", load(&module, PTX));
    check("cuModuleGetFunction", function(&spin, module, "fcsp_spin"));
    check("cuStreamCreate", stream_create(&stream, 1));
    for (int i = 0; i < BATCHES; i++)
        check("cuEventCreate", event_create(&done[i], 2));
    for (uint64_t round = 0;; round++) {
        Handle event = done[round % BATCHES];
        if (round >= BATCHES) {
            check("cuEventSynchronize", synchronise(event));
            words[0] += BATCH;
        }
        for (int i = 0; i < BATCH; i++)
            check("cuLaunchKernel", launch(spin, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
        check("cuEventRecord", record(event, stream));
    }
}

static void watch(volatile uint64_t *words, size_t bytes) {
    CUresult (*info)(size_t *, size_t *) = look_up("cuMemGetInfo_v2");
    CUresult (*alloc)(unsigned long long *, size_t) = look_up("cuMemAlloc_v2");
    CUresult (*release)(unsigned long long) = look_up("cuMemFree_v2");
    for (;; usleep(1000)) {
        size_t unused, total;
        unsigned long long block;
        check("cuMemGetInfo", info(&unused, &total));
        CUresult result = alloc(&block, bytes);
        if (result == 0)
            check("cuMemFree", release(block));
        else if (result != 2)
            check("cuMemAlloc", result);
        words[1] = total;
        words[2] = result == 0 ? 1 : 2;
        words[0]++;
    }
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 3;
    int file = open(argv[1], O_RDWR);
    uint64_t *words = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || words == MAP_FAILED) {
        perror(argv[1]);
        return 3;
    }
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    CUresult (*init)(unsigned) = look_up("cuInit");
    CUresult (*retain)(Handle *, int) = look_up("cuDevicePrimaryCtxRetain");
    CUresult (*current)(Handle) = look_up("cuCtxSetCurrent");
    Handle context;
    check("cuInit", init(0));
    check("cuDevicePrimaryCtxRetain", retain(&context, 0));
    check("cuCtxSetCurrent", current(context));
    if (!strcmp(argv[2], "busy"))
        busy(words, strtoull(argv[3], NULL, 10) * 1000);
    watch(words, strtoull(argv[3], NULL, 10));
}
