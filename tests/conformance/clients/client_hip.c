/* The conformance client on AMD's HIP runtime and ROCm SMI. */
#include "client.h"
#include <hip/hip_runtime_api.h>
#include <rocm_smi/rocm_smi.h>

static int ordinal;

/* Room for a variable, and kernels by the names that are asked for: the text that simulated drivers read. */
static char *image(u64 bytes, const char *kernel) {
    static char text[1024];
    snprintf(text, sizeof text,
             ".version 7.0\n.target sm_80\n.address_size 64\n.global .align 4 .b8 room[%llu];\n"
             ".visible .entry %s(.param .u64 ns) { ret; }\n", bytes, kernel);
    return text;
}

static int open_device(int device) {
    int result = F(hipInit)(0);
    ordinal = device;
    if (result == 0) result = F(hipSetDevice)(device);
    /* The first call that needs a context makes it. */
    if (result == 0) result = F(hipDeviceSynchronize)();
    return result;
}

static int close_device(int device) {
    (void)device;
    return F(hipDeviceReset)();
}
static int alloc(u64 bytes, u64 *address) { return F(hipMalloc)((void **)address, bytes); }
static int release(u64 address) { return F(hipFree)((void *)address); }
static int fill(u64 address, u64 bytes) { return F(hipMemset)((void *)address, 1, bytes); }
static int host(u64 bytes, u64 *address) { return F(hipHostMalloc)((void **)address, bytes, hipHostMallocDefault); }
static int nohost(u64 address) { return F(hipHostFree)((void *)address); }
static int managed(u64 bytes, u64 *address) {
    return F(hipMallocManaged)((void **)address, bytes, hipMemAttachGlobal);
}
static int pitched(u64 width, u64 height, u64 *address, u64 *pitch) {
    return F(hipMallocPitch)((void **)address, (size_t *)pitch, width, height);
}
static int array(u64 width, u64 height, u64 *handle) {
    hipChannelFormatDesc d = {32, 0, 0, 0, hipChannelFormatKindFloat};
    return F(hipMallocArray)((hipArray_t *)handle, &d, width, height, hipArrayDefault);
}
static int noarray(u64 handle) { return F(hipFreeArray)((hipArray_t)handle); }
static int async(u64 bytes, u64 *address) { return F(hipMallocAsync)((void **)address, bytes, NULL); }
static int freeasync(u64 address) { return F(hipFreeAsync)((void *)address, NULL); }
static hipMemAllocationProp properties(void) {
    hipMemAllocationProp p;
    memset(&p, 0, sizeof p);
    p.type = hipMemAllocationTypePinned;
    p.location.type = hipMemLocationTypeDevice;
    p.location.id = ordinal;
    return p;
}
static int physical(u64 bytes, u64 *handle) {
    hipMemAllocationProp p = properties();
    return F(hipMemCreate)((hipMemGenericAllocationHandle_t *)handle, bytes, &p, 0);
}
static int nophysical(u64 handle) { return F(hipMemRelease)((hipMemGenericAllocationHandle_t)handle); }
static int map(u64 handle, u64 bytes, u64 *address) {
    hipMemAccessDesc d = {.location = properties().location, .flags = hipMemAccessFlagsProtReadWrite};
    int result = F(hipMemAddressReserve)((void **)address, bytes, 0, NULL, 0);
    if (result == 0) result = F(hipMemMap)((void *)*address, bytes, 0, (hipMemGenericAllocationHandle_t)handle, 0);
    if (result == 0) result = F(hipMemSetAccess)((void *)*address, bytes, &d, 1);
    return result;
}
static int unmap(u64 address, u64 bytes) { return F(hipMemUnmap)((void *)address, bytes); }
static int module(u64 bytes, u64 *handle) { return F(hipModuleLoadData)((hipModule_t *)handle, image(bytes, "fcsp_spin")); }
static int nomodule(u64 handle) { return F(hipModuleUnload)((hipModule_t)handle); }
static int info(u64 *unused, u64 *total) { return F(hipMemGetInfo)((size_t *)unused, (size_t *)total); }

/* Asked in three ways, which must agree. */
static int total(int device, u64 *bytes) {
    hipDeviceProp_tR0600 p;
    size_t plain = 0;
    int attribute = 0, result = F(hipDeviceTotalMem)(&plain, device);
    if (result == 0) result = F(hipGetDevicePropertiesR0600)(&p, device);
    if (result == 0) result = F(hipDeviceGetAttribute)(&attribute, hipDeviceAttributeTotalGlobalMem, device);
    if (result == 0 && (p.totalGlobalMem != plain || attribute != (int)plain)) {
        fprintf(stderr, "sizes %zu, %zu, %d\n", plain, p.totalGlobalMem, attribute);
        return BROKEN;
    }
    *bytes = plain;
    return result;
}

static int smi(int device, u64 *used, u64 *total) {
    uint64_t all = 0, taken = 0;
    int result = M(rsmi_init)(0);
    if (result == 0) result = M(rsmi_dev_memory_total_get)(device, RSMI_MEM_TYPE_VRAM, &all);
    if (result == 0) result = M(rsmi_dev_memory_usage_get)(device, RSMI_MEM_TYPE_VRAM, &taken);
    *total = all;
    *used = taken;
    return result;
}

/* Only of one device does the library tell who has what. */
static int processes(int device, u64 *pairs, int *count) {
    rsmi_process_info_t list[64];
    uint32_t n = 64;
    int result = M(rsmi_init)(0);
    (void)device;
    if (result == 0) result = M(rsmi_compute_process_info_get)(list, &n);
    for (uint32_t i = 0; result == 0 && i < n; i++) {
        pairs[2 * i] = list[i].process_id;
        pairs[2 * i + 1] = list[i].vram_usage;
    }
    *count = (int)n;
    return result;
}

/* The kernel that was loaded last, its name and its code. */
static hipFunction_t last;
static char known[64];
static hipModule_t code;

/* The function of a name, loaded once. */
static int function(const char *kernel, hipFunction_t *found) {
    int result = 0;
    if (strcmp(known, kernel)) {
        result = F(hipModuleLoadData)(&code, image(4, kernel));
        if (result == 0) result = F(hipModuleGetFunction)(&last, code, kernel);
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
    return F(hipModuleUnload)(code);
}

static int launch(const char *kernel, u64 ns, hipStream_t stream) {
    hipFunction_t found;
    void *parameters[1] = {&ns};
    int result = function(kernel, &found);
    return result ? result : F(hipModuleLaunchKernel)(found, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}
static int spin(const char *kernel, u64 ns) { return launch(kernel, ns, NULL); }
static int sync_all(void) { return F(hipDeviceSynchronize)(); }

static int record(int launches, u64 ns, u64 *handle) {
    hipStream_t stream;
    hipGraph_t graph;
    hipFunction_t loaded;
    int result = function("fcsp_spin", &loaded);
    if (result == 0) result = F(hipStreamCreateWithFlags)(&stream, hipStreamNonBlocking);
    if (result == 0) result = F(hipStreamBeginCapture)(stream, hipStreamCaptureModeRelaxed);
    for (int i = 0; result == 0 && i < launches; i++)
        result = launch("fcsp_spin", ns, stream);
    if (result == 0) result = F(hipStreamEndCapture)(stream, &graph);
    if (result == 0) result = F(hipGraphInstantiateWithFlags)((hipGraphExec_t *)handle, graph, 0);
    return result;
}
static int play(u64 handle) { return F(hipGraphLaunch)((hipGraphExec_t)handle, NULL); }
static int norecord(u64 handle) { return F(hipGraphExecDestroy)((hipGraphExec_t)handle); }

static void *resolve(const char *name) {
    void *found = NULL;
    hipDriverProcAddressQueryResult status;
    hipGetProcAddress(name ? name : "hipInit", &found, HIP_VERSION, 0, &status);
    return found;
}

static const struct vendor vendor = {
    .driver = "libamdhip64.so.6", .management = "librocm_smi64.so.7", .version = "hip_4.2",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .managed = managed, .pitch = pitched, .array = array, .noarray = noarray,
    .async = async, .freeasync = freeasync, .physical = physical, .nophysical = nophysical, .map = map, .unmap = unmap,
    .module = module, .nomodule = nomodule, .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .function = last_function, .unload = unload, .sync = sync_all, .record = record, .play = play, .norecord = norecord,
};
