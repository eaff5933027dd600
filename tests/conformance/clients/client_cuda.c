/* The conformance client on NVIDIA's driver API and NVML. */
#include "client.h"
#include <cuda.h>
#include <nvml.h>

static CUcontext context;
static int ordinal;

/* Room for a variable, and kernels by the names that are asked for. */
static char *image(u64 bytes, const char *kernel) {
    static char text[1024];
    snprintf(text, sizeof text,
             ".version 7.0\n.target sm_80\n.address_size 64\n.global .align 4 .b8 room[%llu];\n"
             ".visible .entry %s(.param .u64 ns) { ret; }\n", bytes, kernel);
    return text;
}

static int open_device(int device) {
    int result = F(cuInit)(0);
    ordinal = device;
    if (result == 0) result = F(cuDevicePrimaryCtxRetain)(&context, device);
    if (result == 0) result = F(cuCtxSetCurrent)(context);
    return result;
}

static int close_device(int device) { return F(cuDevicePrimaryCtxRelease)(device); }
static int alloc(u64 bytes, u64 *address) { return F(cuMemAlloc)((CUdeviceptr *)address, bytes); }
static int release(u64 address) { return F(cuMemFree)(address); }
static int fill(u64 address, u64 bytes) { return F(cuMemsetD8)(address, 1, bytes); }
static int host(u64 bytes, u64 *address) { return F(cuMemAllocHost)((void **)address, bytes); }
static int nohost(u64 address) { return F(cuMemFreeHost)((void *)address); }
static int managed(u64 bytes, u64 *address) {
    return F(cuMemAllocManaged)((CUdeviceptr *)address, bytes, CU_MEM_ATTACH_GLOBAL);
}
static int pitched(u64 width, u64 height, u64 *address, u64 *pitch) {
    return F(cuMemAllocPitch)((CUdeviceptr *)address, (size_t *)pitch, width, height, 4);
}
static int array(u64 width, u64 height, u64 *handle) {
    CUDA_ARRAY_DESCRIPTOR d = {.Width = width, .Height = height, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    return F(cuArrayCreate)((CUarray *)handle, &d);
}
static int noarray(u64 handle) { return F(cuArrayDestroy)((CUarray)handle); }
static int async(u64 bytes, u64 *address) { return F(cuMemAllocAsync)((CUdeviceptr *)address, bytes, NULL); }
static int freeasync(u64 address) { return F(cuMemFreeAsync)(address, NULL); }
static CUmemAllocationProp properties(void) {
    CUmemAllocationProp p;
    memset(&p, 0, sizeof p);
    p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p.location.id = ordinal;
    return p;
}
static int physical(u64 bytes, u64 *handle) {
    CUmemAllocationProp p = properties();
    return F(cuMemCreate)((CUmemGenericAllocationHandle *)handle, bytes, &p, 0);
}
static int nophysical(u64 handle) { return F(cuMemRelease)(handle); }
static int map(u64 handle, u64 bytes, u64 *address) {
    CUmemAccessDesc d = {.location = properties().location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    int result = F(cuMemAddressReserve)((CUdeviceptr *)address, bytes, 0, 0, 0);
    if (result == 0) result = F(cuMemMap)(*address, bytes, 0, handle, 0);
    if (result == 0) result = F(cuMemSetAccess)(*address, bytes, &d, 1);
    return result;
}
static int unmap(u64 address, u64 bytes) { return F(cuMemUnmap)(address, bytes); }
static int module(u64 bytes, u64 *handle) { return F(cuModuleLoadData)((CUmodule *)handle, image(bytes, "fcsp_spin")); }
static int nomodule(u64 handle) { return F(cuModuleUnload)((CUmodule)handle); }
static int info(u64 *unused, u64 *total) { return F(cuMemGetInfo)((size_t *)unused, (size_t *)total); }
static int total(int device, u64 *bytes) { return F(cuDeviceTotalMem)((size_t *)bytes, device); }

static int smi(int device, u64 *used, u64 *total) {
    nvmlDevice_t handle;
    nvmlMemory_t memory = {0};
    int result = M(nvmlInit)();
    if (result == 0) result = M(nvmlDeviceGetHandleByIndex)(device, &handle);
    if (result == 0) result = M(nvmlDeviceGetMemoryInfo)(handle, &memory);
    *used = memory.used;
    *total = memory.total;
    return result;
}

static int processes(int device, u64 *pairs, int *count) {
    nvmlDevice_t handle;
    nvmlProcessInfo_t list[64];
    unsigned n = 64;
    int result = M(nvmlInit)();
    if (result == 0) result = M(nvmlDeviceGetHandleByIndex)(device, &handle);
    if (result == 0) result = M(nvmlDeviceGetComputeRunningProcesses)(handle, &n, list);
    for (unsigned i = 0; result == 0 && i < n; i++) {
        pairs[2 * i] = list[i].pid;
        pairs[2 * i + 1] = list[i].usedGpuMemory;
    }
    *count = (int)n;
    return result;
}

/* The kernel that was loaded last, its name and its code. */
static CUfunction last;
static char known[64];
static CUmodule code;

/* The function of a name, loaded once. */
static int function(const char *kernel, CUfunction *found) {
    int result = 0;
    if (strcmp(known, kernel)) {
        result = F(cuModuleLoadData)(&code, image(4, kernel));
        if (result == 0) result = F(cuModuleGetFunction)(&last, code, kernel);
        if (result == 0) snprintf(known, sizeof known, "%s", kernel);
    }
    *found = last;
    return result;
}
static int last_function(u64 *handle) {
    *handle = (u64)last;
    return 0;
}
static int unload(void) {
    *known = 0;
    return F(cuModuleUnload)(code);
}

static int launch(const char *kernel, u64 ns, CUstream stream) {
    CUfunction found;
    void *parameters[1] = {&ns};
    int result = function(kernel, &found);
    return result ? result : F(cuLaunchKernel)(found, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}
static int spin(const char *kernel, u64 ns) { return launch(kernel, ns, NULL); }
static int sync_all(void) { return F(cuCtxSynchronize)(); }

static int record(int launches, u64 ns, u64 *handle) {
    CUstream stream;
    CUgraph graph;
    CUfunction loaded;
    int result = function("fcsp_spin", &loaded);
    if (result == 0) result = F(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING);
    if (result == 0) result = F(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    for (int i = 0; result == 0 && i < launches; i++)
        result = launch("fcsp_spin", ns, stream);
    if (result == 0) result = F(cuStreamEndCapture)(stream, &graph);
    if (result == 0) result = F(cuGraphInstantiateWithFlags)((CUgraphExec *)handle, graph, 0);
    return result;
}
static int play(u64 handle) { return F(cuGraphLaunch)((CUgraphExec)handle, NULL); }
static int norecord(u64 handle) { return F(cuGraphExecDestroy)((CUgraphExec)handle); }

static void *resolve(const char *name) {
    void *found = NULL;
    CUdriverProcAddressQueryResult status;
    cuGetProcAddress(name ? name : "cuInit", &found, CUDA_VERSION < 13000 ? CUDA_VERSION : 13000, 0, &status);
    return found;
}

static const struct vendor vendor = {
    .driver = "libcuda.so.1", .management = "libnvidia-ml.so.1",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .managed = managed, .pitch = pitched, .array = array, .noarray = noarray,
    .async = async, .freeasync = freeasync, .physical = physical, .nophysical = nophysical, .map = map, .unmap = unmap,
    .module = module, .nomodule = nomodule, .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .function = last_function, .unload = unload, .sync = sync_all, .record = record, .play = play, .norecord = norecord,
};
