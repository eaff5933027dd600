// The few driver entry points the benches call, and the ways a program can come by them.
//
// Three routes, because a preload library meets all three in real programs:
//   proc    dlopen + dlsym("cuGetProcAddress_v2"), then everything through it: what the CUDA runtime does (default)
//   dlsym   dlopen + dlsym for every name
//   linked  undefined symbols bound by the loader (compile with -DROUTE_LINKED and link with libcuda)
//
// `real()` finds an address in libcuda's own ELF symbol table, without dlsym or the driver's resolver. Under a
// preload it is therefore the driver's function, so both can be timed in turn inside one process, where neither clocks nor
// the process's luck with its memory layout differ.
#ifndef FCSP_BENCH_DRIVER_H
#define FCSP_BENCH_DRIVER_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUmemPool_st *CUmemoryPool;

enum { CUDA_SUCCESS = 0, CUDA_ERROR_OUT_OF_MEMORY = 2, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4 };

typedef struct {
    int type;                 // 1 = pinned
    int requestedHandleTypes;
    struct { int type, id; } location; // type 1 = device
    void *win32HandleMetaData;
    struct { unsigned char compressionType, gpuDirectRDMACapable; unsigned short usage; unsigned char reserved[4]; } allocFlags;
} CUmemAllocationProp;

typedef struct {
    CUfunction func;
    unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
    void **kernelParams, **extra;
    void *kern;
    CUcontext ctx;
} CUDA_KERNEL_NODE_PARAMS;

// X(field, name asked of cuGetProcAddress, exported name, arguments)
#define DRIVER_FUNCTIONS(X) \
    X(Init, "cuInit", cuInit, (unsigned int)) \
    X(DriverGetVersion, "cuDriverGetVersion", cuDriverGetVersion, (int *)) \
    X(DeviceGet, "cuDeviceGet", cuDeviceGet, (CUdevice *, int)) \
    X(DeviceGetName, "cuDeviceGetName", cuDeviceGetName, (char *, int, CUdevice)) \
    X(DeviceTotalMem, "cuDeviceTotalMem", cuDeviceTotalMem_v2, (size_t *, CUdevice)) \
    X(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice)) \
    X(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2, (CUdevice)) \
    X(DevicePrimaryCtxReset, "cuDevicePrimaryCtxReset", cuDevicePrimaryCtxReset_v2, (CUdevice)) \
    X(DevicePrimaryCtxGetState, "cuDevicePrimaryCtxGetState", cuDevicePrimaryCtxGetState, (CUdevice, unsigned int *, int *)) \
    X(CtxSetCurrent, "cuCtxSetCurrent", cuCtxSetCurrent, (CUcontext)) \
    X(CtxSynchronize, "cuCtxSynchronize", cuCtxSynchronize, (void)) \
    X(ModuleLoadData, "cuModuleLoadData", cuModuleLoadData, (CUmodule *, const void *)) \
    X(ModuleGetFunction, "cuModuleGetFunction", cuModuleGetFunction, (CUfunction *, CUmodule, const char *)) \
    X(LaunchKernel, "cuLaunchKernel", cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **)) \
    X(StreamCreate, "cuStreamCreate", cuStreamCreate, (CUstream *, unsigned int)) \
    X(StreamSynchronize, "cuStreamSynchronize", cuStreamSynchronize, (CUstream)) \
    X(GraphCreate, "cuGraphCreate", cuGraphCreate, (CUgraph *, unsigned int)) \
    X(GraphAddKernelNode, "cuGraphAddKernelNode", cuGraphAddKernelNode_v2, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_KERNEL_NODE_PARAMS *)) \
    X(GraphInstantiate, "cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags, (CUgraphExec *, CUgraph, unsigned long long)) \
    X(GraphLaunch, "cuGraphLaunch", cuGraphLaunch, (CUgraphExec, CUstream)) \
    X(MemGetInfo, "cuMemGetInfo", cuMemGetInfo_v2, (size_t *, size_t *)) \
    X(MemAlloc, "cuMemAlloc", cuMemAlloc_v2, (CUdeviceptr *, size_t)) \
    X(MemFree, "cuMemFree", cuMemFree_v2, (CUdeviceptr)) \
    X(MemsetD8, "cuMemsetD8", cuMemsetD8_v2, (CUdeviceptr, unsigned char, size_t)) \
    X(MemAllocAsync, "cuMemAllocAsync", cuMemAllocAsync, (CUdeviceptr *, size_t, CUstream)) \
    X(MemFreeAsync, "cuMemFreeAsync", cuMemFreeAsync, (CUdeviceptr, CUstream)) \
    X(DeviceGetDefaultMemPool, "cuDeviceGetDefaultMemPool", cuDeviceGetDefaultMemPool, (CUmemoryPool *, CUdevice)) \
    X(MemPoolSetAttribute, "cuMemPoolSetAttribute", cuMemPoolSetAttribute, (CUmemoryPool, int, void *)) \
    X(MemCreate, "cuMemCreate", cuMemCreate, (unsigned long long *, size_t, const CUmemAllocationProp *, unsigned long long)) \
    X(MemRelease, "cuMemRelease", cuMemRelease, (unsigned long long))

#define FIELD(f, asked, exported, args) CUresult (*f) args;
typedef struct { DRIVER_FUNCTIONS(FIELD) } Driver;
#undef FIELD

#ifdef ROUTE_LINKED
#define DECLARE(f, asked, exported, args) extern CUresult exported args;
DRIVER_FUNCTIONS(DECLARE)
#undef DECLARE
#endif

static void *driver_handle(void) {
    static void *handle;
    if (!handle) handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!handle) { fprintf(stderr, "dlopen libcuda.so.1: %s\n", dlerror()); exit(3); }
    return handle;
}

// The number of symbols in a GNU hash table: the last index of the longest chain. Needed because that table does not say.
static uint32_t gnu_symbol_count(const uint32_t *table) {
    uint32_t buckets = table[0], offset = table[1], bloom = table[2];
    const uint32_t *bucket = table + 4 + bloom * (sizeof(void *) / 4), *chain = bucket + buckets;
    uint32_t last = 0;
    for (uint32_t i = 0; i < buckets; i++) if (bucket[i] > last) last = bucket[i];
    if (last < offset) return offset;
    while (!(chain[last - offset] & 1)) last++;
    return last + 1;
}

static void *real(const char *name) {
    struct link_map *map = NULL;
    if (dlinfo(driver_handle(), RTLD_DI_LINKMAP, &map) || !map) return NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const uint32_t *gnu = NULL, *sysv = NULL;
    for (ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        // glibc relocates these pointers in place; a loader that does not leaves them below the load address
        uintptr_t at = d->d_un.d_ptr < map->l_addr ? d->d_un.d_ptr + map->l_addr : d->d_un.d_ptr;
        if (d->d_tag == DT_SYMTAB) symbols = (const void *)at;
        if (d->d_tag == DT_STRTAB) strings = (const void *)at;
        if (d->d_tag == DT_GNU_HASH) gnu = (const void *)at;
        if (d->d_tag == DT_HASH) sysv = (const void *)at;
    }
    if (!symbols || !strings || (!gnu && !sysv)) return NULL;
    uint32_t n = sysv ? sysv[1] : gnu_symbol_count(gnu);
    for (uint32_t i = 0; i < n; i++)
        if (symbols[i].st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && !strcmp(strings + symbols[i].st_name, name))
            return (void *)(map->l_addr + symbols[i].st_value);
    return NULL;
}

// Fills `api` by the route under test and `direct` from the driver's own symbol table.
static void driver_load(const char *route, Driver *api, Driver *direct) {
    void *h = driver_handle();
    CUresult (*resolve)(const char *, void **, int, uint64_t, int *) = dlsym(h, "cuGetProcAddress_v2");
    int by_proc = resolve && !strcmp(route, "proc");
#define LOOK(f, asked, exported, args) \
    { void *p = NULL; int status = 0; \
      if (by_proc && resolve(asked, &p, 12000, 0, &status) != CUDA_SUCCESS) p = NULL; \
      if (!p) p = dlsym(h, #exported); \
      *(void **)&api->f = p; \
      void *r = real(#exported); *(void **)&direct->f = r ? r : p; }
    DRIVER_FUNCTIONS(LOOK)
#undef LOOK
#ifdef ROUTE_LINKED
#define BIND(f, asked, exported, args) api->f = exported;
    if (!strcmp(route, "linked")) { DRIVER_FUNCTIONS(BIND) }
#undef BIND
#else
    if (!strcmp(route, "linked")) { fprintf(stderr, "this binary was not linked with libcuda\n"); exit(3); }
#endif
}

#define CHECK(call) do { CUresult r_ = (call); if (r_ != CUDA_SUCCESS) { \
    fprintf(stderr, "%s:%d: %s returned %d\n", __FILE__, __LINE__, #call, r_); exit(4); } } while (0)
#endif
