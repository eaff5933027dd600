/* Scenarios against a Level Zero driver under the real loader: client SCENARIO [ARGUMENT]. Prints results, or what
 * was not as it should be, and exits with 1 then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <level_zero/ze_api.h>
#include <level_zero/ze_ddi.h>
#include <level_zero/zes_api.h>
#include <level_zero/zes_ddi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                 \
    do {                                                                            \
        if (!(what)) {                                                              \
            printf("line %d: not so: %s\n", __LINE__, #what);                       \
            exit(1);                                                                \
        }                                                                           \
    } while (0)
#define OK(call)                                                                    \
    do {                                                                            \
        ze_result_t code_ = (call);                                                 \
        if (code_ != ZE_RESULT_SUCCESS) {                                           \
            printf("%s = 0x%x\n", #call, (unsigned)code_);                          \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static ze_driver_handle_t driver;
static ze_device_handle_t device;
static ze_context_handle_t context;

static void start(void) {
    uint32_t n = 1;
    ze_context_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    OK(zeInit(0));
    OK(zeDriverGet(&n, &driver));
    n = 1;
    OK(zeDeviceGet(driver, &n, &device));
    OK(zeContextCreate(driver, &desc, &context));
}

static void *device_memory(size_t size) {
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    void *p = NULL;
    OK(zeMemAllocDevice(context, &desc, size, 64, device, &p));
    return p;
}

static ze_command_list_handle_t immediate(ze_command_queue_mode_t mode) {
    ze_command_queue_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC, .mode = mode};
    ze_command_list_handle_t list;
    OK(zeCommandListCreateImmediate(context, device, &desc, &list));
    return list;
}

static ze_module_handle_t module(void) {
    /* A header of the intermediate language and nothing after it: kernels of any name. */
    static const uint32_t words[5] = {0x07230203, 0x00010000, 0, 1, 0};
    ze_module_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .format = ZE_MODULE_FORMAT_IL_SPIRV,
                             .inputSize = sizeof words, .pInputModule = (const uint8_t *)words};
    ze_module_handle_t m;
    OK(zeModuleCreate(context, device, &desc, &m, NULL));
    return m;
}

static ze_kernel_handle_t kernel(ze_module_handle_t m, const char *name) {
    ze_kernel_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = name};
    ze_kernel_handle_t k;
    OK(zeKernelCreate(m, &desc, &k));
    OK(zeKernelSetGroupSize(k, 32, 1, 1));
    return k;
}

static ze_kernel_handle_t spin(ze_module_handle_t m, uint64_t ns) {
    ze_kernel_handle_t k = kernel(m, "fcsp_spin");
    OK(zeKernelSetArgumentValue(k, 0, sizeof ns, &ns));
    return k;
}

static ze_event_handle_t event(ze_event_pool_flags_t flags) {
    ze_event_pool_desc_t pool_desc = {.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                      .flags = flags | ZE_EVENT_POOL_FLAG_HOST_VISIBLE, .count = 1};
    ze_event_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC};
    ze_event_pool_handle_t pool;
    ze_event_handle_t e;
    OK(zeEventPoolCreate(context, &pool_desc, 1, &device, &pool));
    OK(zeEventCreate(pool, &desc, &e));
    CHECK(zeEventCreate(pool, &desc, &e) == ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE);
    return e;
}

static zes_mem_state_t memory_state(void) {
    zes_mem_handle_t memory;
    zes_mem_state_t state = {.stype = ZES_STRUCTURE_TYPE_MEM_STATE};
    uint32_t n = 1;
    OK(zesDeviceEnumMemoryModules(device, &n, &memory));
    OK(zesMemoryGetState(memory, &state));
    return state;
}

static uint64_t own_memory(void) {
    zes_process_state_t list[64];
    uint32_t n = 64;
    for (int i = 0; i < 64; i++)
        list[i] = (zes_process_state_t){.stype = ZES_STRUCTURE_TYPE_PROCESS_STATE};
    OK(zesDeviceProcessesGetState(device, &n, list));
    for (uint32_t i = 0; i < n; i++)
        if (list[i].processId == (uint32_t)getpid())
            return list[i].memSize;
    return 0;
}

/* Every function of every table answers something, and what is not modelled answers that. */
static int properties(void) {
    start();
    ze_device_properties_t p = {.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES};
    OK(zeDeviceGetProperties(device, &p));
    CHECK(p.type == ZE_DEVICE_TYPE_GPU && p.timerResolution == 52 && p.pNext == NULL);
    ze_device_properties_t q = {.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES_1_2};
    OK(zeDeviceGetProperties(device, &q));
    CHECK(q.timerResolution == 19200000);
    ze_device_memory_properties_t m = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES};
    uint32_t n = 0;
    OK(zeDeviceGetMemoryProperties(device, &n, NULL));
    CHECK(n == 1);
    OK(zeDeviceGetMemoryProperties(device, &n, &m));
    CHECK(m.totalSize == p.maxMemAllocSize);
    ze_command_queue_group_properties_t groups[2] = {{.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES},
                                                     {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES}};
    n = 2;
    OK(zeDeviceGetCommandQueueGroupProperties(device, &n, groups));
    CHECK(n == 2 && groups[0].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE);
    CHECK(!(groups[1].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE) && groups[1].maxMemoryFillPatternSize > 1);
    ze_api_version_t version;
    OK(zeDriverGetApiVersion(driver, &version));
    CHECK(version == ZE_API_VERSION_1_4);
    void *address = NULL;
    OK(zeDriverGetExtensionFunctionAddress(driver, "zeMemFreeExt", &address));
    CHECK(address != NULL);
    CHECK(zeDriverGetExtensionFunctionAddress(driver, "zeNothing", &address) == ZE_RESULT_ERROR_INVALID_ARGUMENT);
    CHECK(zeDeviceSetCacheAdviceExt(device, NULL, 0, 0) == ZE_RESULT_ERROR_UNSUPPORTED_FEATURE);
    n = 0;
    OK(zeDeviceGet(driver, &n, NULL));
    printf("%u %s %llu\n", n, p.name, (unsigned long long)m.totalSize);
    return 0;
}

/* A table of an older version is not written past its end, one of a newer version as far as the driver knows it. */
static int tables(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    ze_result_t (*get)(ze_api_version_t, void *) =
        (ze_result_t(*)(ze_api_version_t, void *))dlsym(library, "zeGetDeviceProcAddrTable");
    CHECK(get != NULL);
    static const struct { unsigned version, entries; } sizes[] = {
        {ZE_API_VERSION_1_0, 14}, {ZE_API_VERSION_1_1, 15}, {ZE_API_VERSION_1_2, 17},
        {ZE_API_VERSION_1_3, 18}, {ZE_API_VERSION_1_4, 18}, {ZE_MAKE_VERSION(1, 13), 18},
    };
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *table[32] = {0};
        unsigned n = 0;
        OK(get((ze_api_version_t)sizes[i].version, table));
        while (n < 32 && table[n])
            n++;
        CHECK(n == sizes[i].entries);
    }
    void *table[32];
    CHECK(get((ze_api_version_t)ZE_MAKE_VERSION(2, 0), table) == ZE_RESULT_ERROR_UNSUPPORTED_VERSION);
    CHECK(get(ZE_API_VERSION_1_4, NULL) == ZE_RESULT_ERROR_INVALID_NULL_POINTER);
    get = (ze_result_t(*)(ze_api_version_t, void *))dlsym(library, "zeGetDeviceExpProcAddrTable");
    CHECK(get(ZE_API_VERSION_1_3, table) == ZE_RESULT_ERROR_UNSUPPORTED_VERSION);
    /* The loader's own tables lead to the driver. */
    ze_mem_dditable_t memory;
    OK(zeInit(0));
    OK(zeGetMemProcAddrTable(ZE_API_VERSION_CURRENT, &memory));
    CHECK((void *)memory.pfnAllocDevice == dlsym(library, "zeMemAllocDevice"));
    puts("ok");
    return 0;
}

static int memory(void) {
    start();
    OK(zesDeviceGetState(device, &(zes_device_state_t){.stype = ZES_STRUCTURE_TYPE_DEVICE_STATE}));
    uint64_t before = own_memory();
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    ze_host_mem_alloc_desc_t host_desc = {.stype = ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC};
    void *p = device_memory(100), *host = NULL, *shared = NULL, *none = NULL;
    uint64_t context_bytes = own_memory() - before - (64 << 10);
    void *q = device_memory((2 << 20) + 1);
    CHECK(own_memory() == before + context_bytes + (64 << 10) + (4 << 20));
    OK(zeMemAllocHost(context, &host_desc, 1 << 20, 0, &host));
    OK(zeMemAllocShared(context, &desc, &host_desc, 8 << 20, 0, device, &shared));
    CHECK(own_memory() == before + context_bytes + (64 << 10) + (4 << 20));
    ze_memory_allocation_properties_t a = {.stype = ZE_STRUCTURE_TYPE_MEMORY_ALLOCATION_PROPERTIES};
    ze_device_handle_t on = NULL;
    OK(zeMemGetAllocProperties(context, (char *)q + 5, &a, &on));
    CHECK(a.type == ZE_MEMORY_TYPE_DEVICE && on == device && a.pageSize == 2 << 20);
    OK(zeMemGetAllocProperties(context, host, &a, &on));
    CHECK(a.type == ZE_MEMORY_TYPE_HOST && on == NULL);
    OK(zeMemGetAllocProperties(context, shared, &a, &on));
    CHECK(a.type == ZE_MEMORY_TYPE_SHARED);
    OK(zeMemGetAllocProperties(context, &a, &a, &on));
    CHECK(a.type == ZE_MEMORY_TYPE_UNKNOWN);
    void *base;
    size_t size;
    OK(zeMemGetAddressRange(context, (char *)q + 99, &base, &size));
    CHECK(base == q && size == (2 << 20) + 1);
    CHECK(zeMemAllocDevice(context, &desc, 0, 0, device, &none) == ZE_RESULT_ERROR_INVALID_SIZE);
    CHECK(zeMemAllocDevice(context, &desc, 1, 3, device, &none) == ZE_RESULT_ERROR_UNSUPPORTED_ALIGNMENT);
    CHECK(zeMemAllocDevice(context, &desc, 1ull << 50, 0, device, &none) == ZE_RESULT_ERROR_UNSUPPORTED_SIZE);
    zes_mem_state_t state = memory_state();
    CHECK(zeMemAllocDevice(context, &desc, state.free + 1, 0, device, &none) == ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY);
    CHECK(zeMemFree(context, (char *)q + 1) == ZE_RESULT_ERROR_INVALID_ARGUMENT);
    ze_memory_free_ext_desc_t blocking = {.stype = ZE_STRUCTURE_TYPE_MEMORY_FREE_EXT_DESC,
                                          .freePolicy = ZE_DRIVER_MEMORY_FREE_POLICY_EXT_FLAG_BLOCKING_FREE};
    OK(zeMemFreeExt(context, &blocking, p));
    OK(zeMemFree(context, q));
    OK(zeMemFree(context, host));
    OK(zeMemFree(context, shared));
    CHECK(own_memory() == before + context_bytes);

    /* Physical memory and addresses have lives of their own. */
    ze_physical_mem_desc_t physical_desc = {.stype = ZE_STRUCTURE_TYPE_PHYSICAL_MEM_DESC, .size = 4 << 20};
    ze_physical_mem_handle_t physical;
    OK(zePhysicalMemCreate(context, device, &physical_desc, &physical));
    CHECK(own_memory() == before + context_bytes + (4 << 20));
    OK(zeVirtualMemReserve(context, NULL, 8 << 20, &p));
    OK(zeVirtualMemMap(context, p, 4 << 20, physical, 0, ZE_MEMORY_ACCESS_ATTRIBUTE_READWRITE));
    ((char *)p)[17] = 3;
    OK(zePhysicalMemDestroy(context, physical));
    CHECK(own_memory() == before + context_bytes + (4 << 20));
    OK(zeVirtualMemUnmap(context, p, 4 << 20));
    CHECK(own_memory() == before + context_bytes);
    OK(zeVirtualMemFree(context, p, 8 << 20));

    /* Images take their rows. */
    ze_image_desc_t image_desc = {.stype = ZE_STRUCTURE_TYPE_IMAGE_DESC, .type = ZE_IMAGE_TYPE_2D,
                                  .format = {.layout = ZE_IMAGE_FORMAT_LAYOUT_32}, .width = 1000, .height = 1000};
    ze_image_handle_t image;
    OK(zeImageCreate(context, device, &image_desc, &image));
    CHECK(own_memory() == before + context_bytes + (4 << 20));
    uint32_t *rows = malloc(4000 * 1000), *back = calloc(1000, 4000);
    for (int i = 0; i < 1000 * 1000; i++)
        rows[i] = (uint32_t)i * 7;
    ze_command_list_handle_t list = immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    OK(zeCommandListAppendImageCopyFromMemory(list, image, rows, NULL, NULL, 0, NULL));
    ze_image_region_t part = {.originX = 10, .originY = 20, .width = 30, .height = 40, .depth = 1};
    OK(zeCommandListAppendImageCopyToMemory(list, back, image, &part, NULL, 0, NULL));
    CHECK(back[0] == rows[20010] && back[30 * 40 - 1] == rows[59 * 1000 + 39]);
    OK(zeImageDestroy(image));
    OK(zeCommandListDestroy(list));
    OK(zeContextDestroy(context));
    CHECK(own_memory() == 0);
    puts("ok");
    return 0;
}

static int work(void) {
    start();
    uint32_t *p = device_memory(4096), value = 77;
    uint64_t n = 1024;
    ze_module_handle_t m = module();
    ze_kernel_handle_t fill = kernel(m, "fcsp_fill");
    OK(zeKernelSetArgumentValue(fill, 0, sizeof p, &p));
    OK(zeKernelSetArgumentValue(fill, 1, sizeof value, &value));
    OK(zeKernelSetArgumentValue(fill, 2, sizeof n, &n));
    CHECK(zeKernelSetArgumentValue(fill, 3, 4, &n) == ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_INDEX);
    CHECK(zeKernelSetArgumentValue(fill, 1, 8, &n) == ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE);
    ze_group_count_t one = {1, 1, 1};

    /* Immediate lists, one synchronous, one not. */
    ze_command_list_handle_t now = immediate(ZE_COMMAND_QUEUE_MODE_SYNCHRONOUS);
    OK(zeCommandListAppendLaunchKernel(now, fill, &one, NULL, 0, NULL));
    uint32_t back[1024] = {0};
    OK(zeCommandListAppendMemoryCopy(now, back, p, sizeof back, NULL, 0, NULL));
    CHECK(back[0] == 77 && back[1023] == 77);
    static const uint8_t pattern[4] = {1, 2, 3, 4};
    OK(zeCommandListAppendMemoryFill(now, p, pattern, 4, 4096, NULL, 0, NULL));
    OK(zeCommandListAppendMemoryCopy(now, back, p, sizeof back, NULL, 0, NULL));
    CHECK(back[500] == 0x04030201);

    /* Events with times: 2 ms of device time. */
    ze_event_handle_t done = event(ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP), first = event(0);
    ze_command_list_handle_t later = immediate(ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS);
    ze_kernel_handle_t two = spin(m, 2000000);
    OK(zeCommandListAppendLaunchKernel(later, two, &one, done, 1, &first));
    CHECK(zeEventQueryStatus(done) == ZE_RESULT_NOT_READY);
    CHECK(zeEventHostSynchronize(done, 10000000) == ZE_RESULT_NOT_READY);
    OK(zeEventHostSignal(first));
    OK(zeEventHostSynchronize(done, UINT64_MAX));
    ze_kernel_timestamp_result_t times;
    OK(zeEventQueryKernelTimestamp(done, &times));
    uint64_t ran = (times.context.kernelEnd - times.context.kernelStart) & 0xffffffff;
    CHECK(ran >= 38399 && ran <= 38401);
    CHECK(zeEventQueryKernelTimestamp(first, &times) != ZE_RESULT_SUCCESS);
    OK(zeEventHostReset(done));
    CHECK(zeEventQueryStatus(done) == ZE_RESULT_NOT_READY);

    /* Regular lists, a queue, a fence. */
    ze_command_list_desc_t list_desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC};
    ze_command_queue_desc_t queue_desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                          .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS};
    ze_fence_desc_t fence_desc = {.stype = ZE_STRUCTURE_TYPE_FENCE_DESC};
    ze_command_list_handle_t list;
    ze_command_queue_handle_t queue;
    ze_fence_handle_t fence;
    OK(zeCommandListCreate(context, device, &list_desc, &list));
    OK(zeCommandQueueCreate(context, device, &queue_desc, &queue));
    OK(zeFenceCreate(queue, &fence_desc, &fence));
    value = 5;
    OK(zeKernelSetArgumentValue(fill, 1, sizeof value, &value));
    OK(zeCommandListAppendLaunchKernel(list, fill, &one, NULL, 0, NULL));
    /* Arguments are taken when a launch is appended. */
    value = 6;
    OK(zeKernelSetArgumentValue(fill, 1, sizeof value, &value));
    OK(zeCommandListAppendBarrier(list, NULL, 0, NULL));
    OK(zeCommandListAppendLaunchKernel(list, two, &one, done, 0, NULL));
    OK(zeCommandListAppendMemoryCopy(list, back, p, sizeof back, NULL, 1, &done));
    CHECK(zeCommandQueueExecuteCommandLists(queue, 1, &list, NULL) == ZE_RESULT_ERROR_INVALID_ARGUMENT);
    OK(zeCommandListClose(list));
    CHECK(zeCommandListAppendBarrier(list, NULL, 0, NULL) == ZE_RESULT_ERROR_INVALID_ARGUMENT);
    CHECK(zeCommandQueueExecuteCommandLists(queue, 1, &now, NULL) == ZE_RESULT_ERROR_INVALID_COMMAND_LIST_TYPE);
    OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, fence));
    CHECK(zeFenceQueryStatus(fence) == ZE_RESULT_NOT_READY);
    OK(zeFenceHostSynchronize(fence, UINT64_MAX));
    CHECK(back[3] == 5);
    OK(zeFenceReset(fence));
    for (int i = 0; i < 3; i++) {
        /* A list may be submitted again once the device has done with it. */
        OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, i == 2 ? fence : NULL));
        CHECK(zeCommandQueueSynchronize(queue, 0) == ZE_RESULT_NOT_READY);
        OK(zeCommandQueueSynchronize(queue, UINT64_MAX));
    }
    OK(zeFenceQueryStatus(fence));

    /* An illegal address loses the context. */
    ze_kernel_handle_t trap = kernel(m, "fcsp_trap");
    CHECK(zeCommandListAppendLaunchKernel(now, trap, &one, NULL, 0, NULL) == ZE_RESULT_ERROR_DEVICE_LOST);
    CHECK(zeContextGetStatus(context) == ZE_RESULT_ERROR_DEVICE_LOST);
    puts("ok");
    return 0;
}

/* Memory until there is none, then a line, then a death or an end. */
static int hog(void) {
    start();
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    int n = 0;
    void *p;
    ze_result_t code;
    while ((code = zeMemAllocDevice(context, &desc, 2 << 20, 0, device, &p)) == ZE_RESULT_SUCCESS)
        n++;
    CHECK(code == ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY);
    printf("%d\n", n);
    fflush(stdout);
    return getchar() == EOF;
}

static int forked(void) {
    start();
    pid_t child = fork();
    if (child == 0) {
        uint32_t n = 0;
        _exit(zeInit(0) == ZE_RESULT_ERROR_UNINITIALIZED && zeDriverGet(&n, NULL) == ZE_RESULT_ERROR_UNINITIALIZED);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    device_memory(1);
    puts("ok");
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "properties")) return properties();
    if (!strcmp(what, "tables")) return tables(argv[2]);
    if (!strcmp(what, "memory")) return memory();
    if (!strcmp(what, "work")) return work();
    if (!strcmp(what, "hog")) return hog();
    if (!strcmp(what, "forked")) return forked();
    fprintf(stderr, "no scenario %s\n", what);
    return 64;
}
