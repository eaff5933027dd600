/* The conformance client on Ascend's compute language and its management library. */
#include "client.h"
#include <acl/acl.h>
#include <acl/acl_mdl.h>

/* The management library's header is not published with the others; these are its prototypes as documented. */
struct dcmi_hbm_info {
    unsigned long long memory_size, pad_freq, memory_usage;
    int temp;
    unsigned int bandwith_util_rate;
};
_Static_assert(sizeof(struct dcmi_hbm_info) == 32, "freq has padding after it");
struct dcmi_proc_mem_info {
    int proc_id;
    unsigned long proc_mem_usage;
};
int dcmi_init(void);
int dcmi_get_device_hbm_info(int card, int device, struct dcmi_hbm_info *info);
int dcmi_get_device_resource_info(int card, int device, struct dcmi_proc_mem_info *list, int *count);

static int opened_once;
static aclrtStream stream;

static int open_device(int device) {
    int result = opened_once++ ? 0 : F(aclInit)(NULL);
    if (result == 0) result = F(aclrtSetDevice)(device);
    return result;
}
static int close_device(int device) { return F(aclrtResetDevice)(device); }
/* What frameworks call: without the bytes behind that would take one page more. */
static int alloc(u64 bytes, u64 *address) {
    return F(aclrtMallocAlign32)((void **)address, bytes, ACL_MEM_MALLOC_HUGE_FIRST);
}
static int release(u64 address) { return F(aclrtFree)((void *)address); }
static int fill(u64 address, u64 bytes) { return F(aclrtMemset)((void *)address, bytes, 1, bytes); }
static int host(u64 bytes, u64 *address) { return F(aclrtMallocHost)((void **)address, bytes); }
static int nohost(u64 address) { return F(aclrtFreeHost)((void *)address); }
static int managed(u64 bytes, u64 *address) {
    return F(aclrtMemAllocManaged)((void **)address, bytes, ACL_RT_MEM_ATTACH_GLOBAL);
}
static int physical(u64 bytes, u64 *handle) {
    int device = 0;
    int result = F(aclrtGetDevice)(&device);
    aclrtPhysicalMemProp p = {.handleType = ACL_MEM_HANDLE_TYPE_NONE, .allocationType = ACL_MEM_ALLOCATION_TYPE_PINNED,
                              .memAttr = ACL_HBM_MEM_HUGE,
                              .location = {.id = (uint32_t)device, .type = ACL_MEM_LOCATION_TYPE_DEVICE}};
    if (result == 0) result = F(aclrtMallocPhysical)((aclrtDrvMemHandle *)handle, bytes, &p, 0);
    return result;
}
static int nophysical(u64 handle) { return F(aclrtFreePhysical)((aclrtDrvMemHandle)handle); }
static int map(u64 handle, u64 bytes, u64 *address) {
    int result = F(aclrtReserveMemAddress)((void **)address, bytes, 0, NULL, 1);
    if (result == 0) result = F(aclrtMapMem)((void *)*address, bytes, 0, (aclrtDrvMemHandle)handle, 0);
    return result;
}
static int unmap(u64 address, u64 bytes) {
    (void)bytes;
    return F(aclrtUnmapMem)((void *)address);
}
static int info(u64 *unused, u64 *total) { return F(aclrtGetMemInfo)(ACL_HBM_MEM, (size_t *)unused, (size_t *)total); }
static int total(int device, u64 *bytes) {
    return F(aclrtGetDeviceInfo)((uint32_t)device, ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE, (int64_t *)bytes);
}
static int smi(int device, u64 *used, u64 *total) {
    struct dcmi_hbm_info memory = {0};
    int result = M(dcmi_init)();
    if (result == 0) result = M(dcmi_get_device_hbm_info)(device, 0, &memory);
    *used = memory.memory_usage << 20;
    *total = memory.memory_size << 20;
    return result;
}
static int processes(int device, u64 *pairs, int *count) {
    struct dcmi_proc_mem_info list[64];
    int result = M(dcmi_init)();
    if (result == 0) result = M(dcmi_get_device_resource_info)(device, 0, list, count);
    for (int i = 0; result == 0 && i < *count; i++) {
        pairs[2 * i] = (u64)list[i].proc_id;
        pairs[2 * i + 1] = list[i].proc_mem_usage;
    }
    return result;
}

/* The kernel that was loaded last, its name and its code. */
static aclrtFuncHandle last;
static char known[64];
static aclrtBinHandle loaded;

/* The function of a name, loaded once. */
static int function(const char *kernel, aclrtFuncHandle *found) {
    static const char code[] = "\x7f" "ELF conformance";
    aclrtBinary image;
    int result = 0;
    if (strcmp(known, kernel)) {
        image = F(aclrtCreateBinary)(code, sizeof code);
        result = F(aclrtBinaryLoad)(image, &loaded);
        if (result == 0) result = F(aclrtBinaryGetFunction)(loaded, kernel, &last);
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
    return F(aclrtBinaryUnLoad)(loaded);
}
static int launch(const char *kernel, u64 ns, aclrtStream queue) {
    aclrtFuncHandle found;
    int result = function(kernel, &found);
    if (result == 0) result = F(aclrtLaunchKernelWithHostArgs)(found, 1, queue, NULL, &ns, sizeof ns, NULL, 0);
    return result;
}
static int spin(const char *kernel, u64 ns) { return launch(kernel, ns, NULL); }
static int sync_all(void) { return F(aclrtSynchronizeDevice)(); }
static int record(int launches, u64 ns, u64 *handle) {
    aclrtFuncHandle found;
    int result = function("fcsp_spin", &found);
    if (result == 0 && !stream) result = F(aclrtCreateStream)(&stream);
    if (result == 0) result = F(aclmdlRICaptureBegin)(stream, ACL_MODEL_RI_CAPTURE_MODE_RELAXED);
    for (int i = 0; result == 0 && i < launches; i++)
        result = launch("fcsp_spin", ns, stream);
    if (result == 0) result = F(aclmdlRICaptureEnd)(stream, (aclmdlRI *)handle);
    return result;
}
static int play(u64 handle) { return F(aclmdlRIExecuteAsync)((aclmdlRI)handle, NULL); }
static int norecord(u64 handle) { return F(aclmdlRIDestroy)((aclmdlRI)handle); }

static void *resolve(const char *name) {
    (void)name;
    return NULL;
}

static const struct vendor vendor = {
    .driver = "libascendcl.so", .management = "libdcmi.so",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .managed = managed, .physical = physical, .nophysical = nophysical,
    .map = map, .unmap = unmap, .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .function = last_function, .unload = unload, .sync = sync_all, .record = record, .play = play, .norecord = norecord,
};
