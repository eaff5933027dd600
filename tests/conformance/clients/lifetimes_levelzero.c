/* Handles of oneAPI Level Zero that come and go. */
#include "lifetimes.h"
#include <level_zero/ze_api.h>

static ze_driver_handle_t driver;
static ze_device_handle_t device;

/* A context with what is needed to work in it. */
typedef struct {
    ze_context_handle_t context;
    ze_module_handle_t module;
    ze_kernel_handle_t kernel;
    ze_command_list_handle_t list;
    ze_event_pool_handle_t pool;
    ze_event_handle_t done;
} Place;
static Place home;
static __thread Place own;

static void make_list(Place *p, ze_command_list_handle_t *list) {
    ze_command_queue_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC, .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS};
    OK(zeCommandListCreateImmediate(p->context, device, &desc, list));
}
static void make_kernel(Place *p) {
    static const uint32_t code[5] = {0x07230203, 0x00010000, 0, 1, 0};
    ze_module_desc_t module = {.stype = ZE_STRUCTURE_TYPE_MODULE_DESC, .format = ZE_MODULE_FORMAT_IL_SPIRV,
                               .inputSize = sizeof code, .pInputModule = (const uint8_t *)code};
    ze_kernel_desc_t kernel = {.stype = ZE_STRUCTURE_TYPE_KERNEL_DESC, .pKernelName = "fcsp_spin"};
    OK(zeModuleCreate(p->context, device, &module, &p->module, NULL));
    OK(zeKernelCreate(p->module, &kernel, &p->kernel));
}
static void make_rest(Place *p) {
    ze_event_pool_desc_t pool = {.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC, .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE, .count = 1};
    ze_event_desc_t event = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC};
    make_kernel(p);
    make_list(p, &p->list);
    OK(zeEventPoolCreate(p->context, &pool, 1, &device, &p->pool));
    OK(zeEventCreate(p->pool, &event, &p->done));
}
static void make(Place *p) {
    ze_context_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    OK(zeContextCreate(driver, &desc, &p->context));
    make_rest(p);
}
static void destroy_rest(Place *p) {
    OK(zeEventDestroy(p->done));
    OK(zeEventPoolDestroy(p->pool));
    OK(zeCommandListDestroy(p->list));
    OK(zeKernelDestroy(p->kernel));
    OK(zeModuleDestroy(p->module));
}
static void spin(Place *p, ze_command_list_handle_t list, int launches, uint64_t us) {
    ze_group_count_t one = {1, 1, 1};
    uint64_t ns = us * 1000;
    OK(zeKernelSetArgumentValue(p->kernel, 0, sizeof ns, &ns));
    for (int i = 0; i < launches; i++) OK(zeCommandListAppendLaunchKernel(list, p->kernel, &one, NULL, 0, NULL));
}
/* Waits by an event: whoever waits for the list itself names it. */
static void wait(Place *p, ze_command_list_handle_t list) {
    OK(zeCommandListAppendBarrier(list, p->done, 0, NULL));
    OK(zeEventHostSynchronize(p->done, UINT64_MAX));
    OK(zeEventHostReset(p->done));
}
static void start(void) {
    uint32_t one = 1;
    OK(zeInit(0));
    OK(zeDriverGet(&one, &driver));
    OK(zeDeviceGet(driver, &one, &device));
    make(&home);
}
static void begin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    own.context = home.context;
    make_rest(&own);
}

static void lists(Turn t) {
    ze_command_list_handle_t list;
    make_list(&own, &list);
    spin(&own, list, 20, 100);
    usleep(1000);
    wait(&own, list);
    OK(zeCommandListDestroy(list));
    wait(&own, own.list);
    (void)t;
}
/* Each thread fills an immediate list of its own and waits by events: nobody else may append to it. */
static void several(Turn t) {
    spin(&own, own.list, 8, 20);
    wait(&own, own.list);
    (void)t;
}
static void queues(Turn t) {
    ze_command_queue_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC, .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS};
    ze_command_list_desc_t recorded = {.stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC};
    ze_fence_desc_t fenced = {.stype = ZE_STRUCTURE_TYPE_FENCE_DESC};
    ze_command_queue_handle_t queue;
    ze_command_list_handle_t list;
    ze_fence_handle_t fence;
    OK(zeCommandQueueCreate(own.context, device, &desc, &queue));
    OK(zeCommandListCreate(own.context, device, &recorded, &list));
    OK(zeFenceCreate(queue, &fenced, &fence));
    spin(&own, list, 10, 100);
    OK(zeCommandListClose(list));
    OK(zeCommandQueueExecuteCommandLists(queue, 1, &list, fence));
    OK(zeFenceHostSynchronize(fence, UINT64_MAX));
    if (t.turn % 2) OK(zeCommandQueueSynchronize(queue, UINT64_MAX));
    OK(zeFenceDestroy(fence));
    OK(zeCommandListDestroy(list));
    OK(zeCommandQueueDestroy(queue));
}
static void contexts(Turn t) {
    Place other = {0};
    if (t.number % 2) {
        several(t);
        return;
    }
    make(&other);
    spin(&other, other.list, 30, 100);
    wait(&other, other.list);
    destroy_rest(&other);
    OK(zeContextDestroy(other.context));
    spin(&own, own.list, 10, 100);
    wait(&own, own.list);
}
static void kernels(Turn t) {
    Place other = own;
    make_kernel(&other);
    spin(&other, own.list, 4, 40);
    wait(&own, own.list);
    OK(zeKernelDestroy(other.kernel));
    OK(zeModuleDestroy(other.module));
    (void)t;
}

const struct scenario SCENARIOS[] = {
    {"lists", lists, 0}, {"several", several, 0}, {"queues", queues, 0}, {"contexts", contexts, 0}, {"kernels", kernels, 0}, {0},
};
