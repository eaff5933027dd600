/* The conformance client on oneAPI Level Zero and its management functions. */
#include "client.h"
#include <level_zero/ze_api.h>
#include <level_zero/ze_ddi.h>
#include <level_zero/zes_api.h>
#include <level_zero/zes_ddi.h>

static ze_driver_handle_t driver;
static ze_device_handle_t devices[16], device;
static ze_context_handle_t context;
static ze_command_list_handle_t now, later; /* immediate: one that waits, one that does not */
static ze_command_queue_handle_t queue;
static ze_event_handle_t done;

/* Looking on needs a driver and no context. */
static int look(void) {
    uint32_t one = 1, all = 16;
    int result = F(zeInit)(0);
    if (result == 0) result = F(zeDriverGet)(&one, &driver);
    if (result == 0) result = F(zeDeviceGet)(driver, &all, devices);
    return result;
}

static int open_device(int ordinal) {
    ze_context_desc_t context_desc = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    ze_command_queue_desc_t queue_desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                          .mode = ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS};
    ze_event_pool_desc_t pool_desc = {.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                      .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE, .count = 1};
    ze_event_desc_t event_desc = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC};
    ze_event_pool_handle_t pool;
    if (context) /* other threads open what is open */
        return 0;
    int result = look();
    device = devices[ordinal];
    if (result == 0) result = F(zeContextCreate)(driver, &context_desc, &context);
    if (result == 0) result = F(zeCommandListCreateImmediate)(context, device, &queue_desc, &now);
    queue_desc.mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS;
    if (result == 0) result = F(zeCommandListCreateImmediate)(context, device, &queue_desc, &later);
    if (result == 0) result = F(zeCommandQueueCreate)(context, device, &queue_desc, &queue);
    if (result == 0) result = F(zeEventPoolCreate)(context, &pool_desc, 1, &device, &pool);
    if (result == 0) result = F(zeEventCreate)(pool, &event_desc, &done);
    return result;
}

static int close_device(int ordinal) {
    int result = F(zeContextDestroy)(context);
    context = NULL;
    return result;
}
static int alloc(u64 bytes, u64 *address) {
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    return F(zeMemAllocDevice)(context, &desc, bytes, 0, device, (void **)address);
}
static int release(u64 address) { return F(zeMemFree)(context, (void *)address); }
static int fill(u64 address, u64 bytes) {
    unsigned char one = 1;
    return F(zeCommandListAppendMemoryFill)(now, (void *)address, &one, 1, bytes, NULL, 0, NULL);
}
static int host(u64 bytes, u64 *address) {
    ze_host_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC};
    return F(zeMemAllocHost)(context, &desc, bytes, 0, (void **)address);
}
static int managed(u64 bytes, u64 *address) {
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    ze_host_mem_alloc_desc_t host_desc = {.stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC};
    return F(zeMemAllocShared)(context, &desc, &host_desc, bytes, 0, device, (void **)address);
}
static int array(u64 width, u64 height, u64 *handle) {
    ze_image_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_IMAGE_DESC, .type = ZE_IMAGE_TYPE_2D,
                            .format = {.layout = ZE_IMAGE_FORMAT_LAYOUT_32, .type = ZE_IMAGE_FORMAT_TYPE_FLOAT},
                            .width = width, .height = (uint32_t)height};
    return F(zeImageCreate)(context, device, &desc, (ze_image_handle_t *)handle);
}
static int noarray(u64 handle) { return F(zeImageDestroy)((ze_image_handle_t)handle); }
static int physical(u64 bytes, u64 *handle) {
    ze_physical_mem_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC, .size = bytes};
    return F(zePhysicalMemCreate)(context, device, &desc, (ze_physical_mem_handle_t *)handle);
}
static int nophysical(u64 handle) { return F(zePhysicalMemDestroy)(context, (ze_physical_mem_handle_t)handle); }
static int map(u64 handle, u64 bytes, u64 *address) {
    int result = F(zeVirtualMemReserve)(context, NULL, bytes, (void **)address);
    return result ? result
                  : F(zeVirtualMemMap)(context, (void *)*address, bytes, (ze_physical_mem_handle_t)handle, 0,
                                       ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE);
}
static int unmap(u64 address, u64 bytes) { return F(zeVirtualMemUnmap)(context, (void *)address, bytes); }

static int state(int ordinal, u64 *unused, u64 *total) {
    zes_mem_handle_t memory;
    zes_mem_state_t s = {.stype = ZES_STRUCTURE_TYPE_MEM_STATE};
    uint32_t one = 1;
    int result = M(zesDeviceEnumMemoryModules)((zes_device_handle_t)devices[ordinal], &one, &memory);
    if (result == 0) result = M(zesMemoryGetState)(memory, &s);
    *unused = s.free;
    *total = s.size;
    return result;
}
static int info(u64 *unused, u64 *total) {
    for (int i = 0; i < 16; i++)
        if (devices[i] == device)
            return state(i, unused, total);
    return BROKEN;
}
static int total(int ordinal, u64 *bytes) {
    ze_device_memory_properties_t p = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES};
    uint32_t one = 1;
    int result = look();
    if (result == 0) result = F(zeDeviceGetMemoryProperties)(devices[ordinal], &one, &p);
    *bytes = p.totalSize;
    return result;
}
static int smi(int ordinal, u64 *used, u64 *bytes) {
    int result = look();
    if (result == 0) result = state(ordinal, used, bytes);
    *used = *bytes - *used;
    return result;
}
static int processes(int ordinal, u64 *pairs, int *count) {
    zes_process_state_t list[64];
    uint32_t n = 64;
    int result = look();
    for (int i = 0; i < 64; i++)
        list[i] = (zes_process_state_t){.stype = ZES_STRUCTURE_TYPE_PROCESS_STATE};
    if (result == 0) result = M(zesDeviceProcessesGetState)((zes_device_handle_t)devices[ordinal], &n, list);
    for (uint32_t i = 0; result == 0 && i < n; i++) {
        pairs[2 * i] = list[i].processId;
        pairs[2 * i + 1] = list[i].memSize;
    }
    *count = (int)n;
    return result;
}

/* The kernel of a name, made once. Its module is a header of the intermediate language and nothing after it. */
static int kernel_of(const char *name, ze_kernel_handle_t *found) {
    static const uint32_t words[5] = {0x07230203, 0x00010000, 0, 1, 0};
    static char known[64];
    static ze_kernel_handle_t last;
    ze_module_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .format = ZE_MODULE_FORMAT_IL_SPIRV,
                             .inputSize = sizeof words, .pInputModule = (const uint8_t *)words};
    ze_kernel_desc_t kernel_desc = {.stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = name};
    ze_module_handle_t module;
    int result = 0;
    if (strcmp(known, name)) {
        result = F(zeModuleCreate)(context, device, &desc, &module, NULL);
        if (result == 0) result = F(zeKernelCreate)(module, &kernel_desc, &last);
        if (result == 0) snprintf(known, sizeof known, "%s", name);
    }
    *found = last;
    return result;
}

static int launch(ze_command_list_handle_t list, const char *name, u64 ns) {
    ze_kernel_handle_t kernel;
    ze_group_count_t one = {1, 1, 1};
    int result = kernel_of(name, &kernel);
    if (result == 0) result = F(zeKernelSetArgumentValue)(kernel, 0, sizeof ns, &ns);
    if (result == 0) result = F(zeCommandListAppendLaunchKernel)(list, kernel, &one, NULL, 0, NULL);
    return result;
}
static int spin(const char *name, u64 ns) { return launch(later, name, ns); }

static int sync_all(void) {
    int result = F(zeCommandListAppendBarrier)(later, done, 0, NULL);
    if (result == 0) result = F(zeEventHostSynchronize)(done, UINT64_MAX);
    if (result == 0) result = F(zeEventHostReset)(done);
    return result ? result : F(zeCommandQueueSynchronize)(queue, UINT64_MAX);
}

/* Recorded work, in several lists that are alike: a list may be executed again only once the device has done with it. */
enum { COPIES = 8 };
struct recording {
    ze_command_list_handle_t list[COPIES];
    ze_fence_handle_t fence[COPIES];
    int played;
};
static int record(int launches, u64 ns, u64 *handle) {
    ze_command_list_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC};
    ze_fence_desc_t fence_desc = {.stype = ZE_STRUCTURE_TYPE_FENCE_DESC};
    struct recording *r = calloc(1, sizeof *r);
    int result = 0;
    for (int copy = 0; result == 0 && copy < COPIES; copy++) {
        result = F(zeCommandListCreate)(context, device, &desc, &r->list[copy]);
        for (int i = 0; result == 0 && i < launches; i++)
            result = launch(r->list[copy], "fcsp_spin", ns);
        if (result == 0) result = F(zeCommandListClose)(r->list[copy]);
        if (result == 0) result = F(zeFenceCreate)(queue, &fence_desc, &r->fence[copy]);
    }
    *handle = (u64)r;
    return result;
}
static int play(u64 handle) {
    struct recording *r = (struct recording *)handle;
    int copy = r->played % COPIES, result = 0;
    if (r->played++ >= COPIES) result = F(zeFenceHostSynchronize)(r->fence[copy], UINT64_MAX);
    if (result == 0) result = F(zeFenceReset)(r->fence[copy]);
    return result ? result : F(zeCommandQueueExecuteCommandLists)(queue, 1, &r->list[copy], r->fence[copy]);
}
static int norecord(u64 handle) {
    struct recording *r = (struct recording *)handle;
    int result = 0;
    for (int copy = 0; result == 0 && copy < COPIES; copy++) {
        if (copy < r->played) result = F(zeFenceHostSynchronize)(r->fence[copy], UINT64_MAX);
        if (result == 0) result = F(zeFenceDestroy)(r->fence[copy]);
        if (result == 0) result = F(zeCommandListDestroy)(r->list[copy]);
    }
    free(r);
    return result;
}

/* The loader's tables, as a static loader reads them, which finds the getters by name: entries that this file uses. */
#define ENTRY(prefix, class, member)                                    \
    if (!strcmp(name, #prefix #class #member)) return (void *)table.pfn##member;
#define TABLE(prefix, class, type, ...)                                                           \
    if (!strncmp(name, #prefix #class, strlen(#prefix #class))) {                                 \
        type table;                                                                               \
        ze_result_t (*get)(ze_api_version_t, type *) = (ze_result_t(*)(ze_api_version_t, type *)) \
            dlsym(opened(vendor.driver), #prefix "Get" #class "ProcAddrTable");                   \
        if (get && !get(ZE_API_VERSION_CURRENT, &table)) { __VA_ARGS__ }                          \
    }
static void *resolve(const char *name) {
    if (!name)
        return (void *)&resolve;
    /* The loader has no tables before it has found its drivers, which is what starting it does. */
    if (!strcmp(name, "zeInit"))
        return (void *)&zeInit;
    TABLE(ze, Device, ze_device_dditable_t, ENTRY(ze, Device, Get) ENTRY(ze, Device, GetMemoryProperties))
    TABLE(ze, Driver, ze_driver_dditable_t, ENTRY(ze, Driver, Get))
    TABLE(ze, Context, ze_context_dditable_t, ENTRY(ze, Context, Create) ENTRY(ze, Context, Destroy))
    TABLE(ze, Mem, ze_mem_dditable_t, ENTRY(ze, Mem, AllocDevice) ENTRY(ze, Mem, AllocShared)
          ENTRY(ze, Mem, AllocHost) ENTRY(ze, Mem, Free))
    TABLE(ze, CommandQueue, ze_command_queue_dditable_t, ENTRY(ze, CommandQueue, Create)
          ENTRY(ze, CommandQueue, ExecuteCommandLists) ENTRY(ze, CommandQueue, Synchronize))
    TABLE(ze, CommandList, ze_command_list_dditable_t, ENTRY(ze, CommandList, Create)
          ENTRY(ze, CommandList, CreateImmediate) ENTRY(ze, CommandList, Close) ENTRY(ze, CommandList, Destroy)
          ENTRY(ze, CommandList, AppendMemoryFill) ENTRY(ze, CommandList, AppendBarrier)
          ENTRY(ze, CommandList, AppendLaunchKernel))
    TABLE(ze, Event, ze_event_dditable_t, ENTRY(ze, Event, Create) ENTRY(ze, Event, HostSynchronize)
          ENTRY(ze, Event, HostReset))
    TABLE(ze, Fence, ze_fence_dditable_t, ENTRY(ze, Fence, Create) ENTRY(ze, Fence, Destroy)
          ENTRY(ze, Fence, HostSynchronize) ENTRY(ze, Fence, Reset))
    TABLE(ze, Module, ze_module_dditable_t, ENTRY(ze, Module, Create))
    TABLE(ze, Kernel, ze_kernel_dditable_t, ENTRY(ze, Kernel, Create) ENTRY(ze, Kernel, SetArgumentValue))
    TABLE(ze, Image, ze_image_dditable_t, ENTRY(ze, Image, Create) ENTRY(ze, Image, Destroy))
    TABLE(ze, PhysicalMem, ze_physical_mem_dditable_t, ENTRY(ze, PhysicalMem, Create) ENTRY(ze, PhysicalMem, Destroy))
    TABLE(ze, VirtualMem, ze_virtual_mem_dditable_t, ENTRY(ze, VirtualMem, Reserve) ENTRY(ze, VirtualMem, Map)
          ENTRY(ze, VirtualMem, Unmap))
    TABLE(ze, EventPool, ze_event_pool_dditable_t, ENTRY(ze, EventPool, Create))
    TABLE(zes, Device, zes_device_dditable_t, ENTRY(zes, Device, EnumMemoryModules)
          ENTRY(zes, Device, ProcessesGetState))
    TABLE(zes, Memory, zes_memory_dditable_t, ENTRY(zes, Memory, GetState))
    return NULL;
}

static const struct vendor vendor = {
    .driver = "libze_loader.so.1", .management = "libze_loader.so.1",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = release, .managed = managed, .array = array, .noarray = noarray,
    .physical = physical, .nophysical = nophysical, .map = map, .unmap = unmap,
    .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .sync = sync_all, .record = record, .play = play, .norecord = norecord,
};
