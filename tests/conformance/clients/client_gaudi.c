/* The conformance client on Gaudi's Synapse and HLML. */
#include "client.h"
#include "../../../fcsp-sim/gaudi/gaudi.h"
#include <dirent.h>

static synDeviceId acquired;
static synStreamHandle stream;
static int held;

static int open_device(int device) {
    int result = F(synInitialize)();
    if (result == 0) result = F(synDeviceAcquireByModuleId)(&acquired, (synModuleId)device);
    /* Threads open it again; the process has it already. */
    if (result == synDeviceAlreadyAcquired && held) return 0;
    if (result == 0) result = F(synStreamCreateGeneric)(&stream, acquired, 0);
    held = result == 0;
    return result;
}
static int close_device(int device) {
    held = 0;
    return F(synDeviceRelease)(acquired);
}
static int alloc(u64 bytes, u64 *address) { return F(synDeviceMalloc)(acquired, bytes, 0, 0, (uint64_t *)address); }
static int release(u64 address) { return F(synDeviceFree)(acquired, address, 0); }
static int fill(u64 address, u64 bytes) {
    int result = F(synMemsetD8Async)(address, 1, bytes, stream);
    return result ? result : F(synStreamSynchronize)(stream);
}
static int host(u64 bytes, u64 *address) { return F(synHostMalloc)(acquired, bytes, 0, (void **)address); }
static int nohost(u64 address) { return F(synHostFree)(acquired, (void *)address, 0); }
static int info(u64 *unused, u64 *total) {
    return F(synDeviceGetMemoryInfo)(acquired, (uint64_t *)unused, (uint64_t *)total);
}
static int total(int device, u64 *bytes) {
    synDeviceAttribute attribute = DEVICE_ATTRIBUTE_DRAM_SIZE;
    uint64_t by_module = 0, by_info = 0;
    synDeviceInfoV2 about;
    int result = F(synDeviceGetAttribute)((uint64_t *)bytes, &attribute, 1, acquired);
    if (result == 0) result = F(synDeviceGetAttributeByModuleId)(&by_module, &attribute, 1, (synModuleId)device);
    if (result == 0) result = F(synDeviceGetInfoV2)(acquired, &about);
    by_info = about.dramSize;
    return result == 0 && (by_module != *bytes || by_info != *bytes) ? BROKEN : result;
}

static int managed(int device, hlml_memory_t *memory, hlml_pci_info_t *pci) {
    hlml_device_t card;
    int result = M(hlml_init)();
    if (result == HLML_ERROR_ALREADY_INITIALIZED) result = 0;
    if (result == 0) result = M(hlml_device_get_handle_by_index)((unsigned)device, &card);
    if (result == 0) result = M(hlml_device_get_pci_info)(card, pci);
    return result ? result : M(hlml_device_get_memory_info)(card, memory);
}
static int smi(int device, u64 *used, u64 *bytes) {
    hlml_memory_t memory;
    hlml_pci_info_t pci;
    int result = managed(device, &memory, &pci);
    *used = memory.used;
    *bytes = memory.total;
    return result;
}

/* HLML lists no processes. Whoever has the card has its file open; what is used beyond the firmware's part is its own. */
static int processes(int device, u64 *pairs, int *count) {
    hlml_memory_t memory;
    hlml_pci_info_t pci;
    char name[64], path[600], link[600];
    int result = managed(device, &memory, &pci);
    *count = 0;
    int suffix = snprintf(name, sizeof name, ".accel%d", device);
    DIR *all = opendir("/proc");
    for (struct dirent *process; result == 0 && all && (process = readdir(all));) {
        snprintf(path, sizeof path, "/proc/%s/fd", process->d_name);
        DIR *files = atoi(process->d_name) > 0 ? opendir(path) : NULL;
        for (struct dirent *file; files && (file = readdir(files));) {
            snprintf(path, sizeof path, "/proc/%s/fd/%s", process->d_name, file->d_name);
            ssize_t length = readlink(path, link, sizeof link);
            const char *state = getenv("FCSP_SIM_STATE");
            size_t folder = state ? strlen(state) : 0;
            if (*count == 0 && length == (ssize_t)folder + suffix && !memcmp(link, state, folder) &&
                !memcmp(link + folder, name, (size_t)suffix)) {
                pairs[0] = (u64)atoi(process->d_name);
                pairs[1] = memory.used - (768u << 20);
                *count = 1;
            }
        }
        if (files) closedir(files);
    }
    if (all) closedir(all);
    return result;
}
/* A recipe with memory for its one persistent tensor and for its workspace. */
struct work {
    synRecipeHandle recipe;
    uint64_t out, workspace;
    synLaunchTensorInfo tensor;
};

enum { ELEMENTS = 1024 };

static int tensor(synGraphHandle graph, const char *name, synSectionHandle section, synTensor *made) {
    synTensorGeometry geometry = {.sizes = {ELEMENTS}, .dims = 1};
    int result = F(synTensorHandleCreate)(made, graph, DATA_TENSOR, name);
    if (result == 0) result = F(synTensorSetGeometry)(*made, &geometry, synGeometrySizes);
    if (result == 0) result = F(synTensorSetDeviceDataType)(*made, syn_type_int8);
    if (result == 0 && section) result = F(synTensorAssignToSection)(*made, section, 0);
    return result;
}

/* So many nodes of one kind, each from the workspace to the persistent tensor. */
static int compile(const char *guid, int nodes, u64 ns, synRecipeHandle *recipe) {
    synGraphHandle graph;
    synSectionHandle section;
    synTensor in, persistent;
    uint64_t parameter = ns;
    int result = F(synGraphCreate)(&graph, synDeviceGaudi2);
    if (result == 0) result = F(synSectionCreate)(&section, 0, graph);
    if (result == 0) result = F(synSectionSetPersistent)(section, true);
    if (result == 0) result = tensor(graph, "in", NULL, &in);
    if (result == 0) result = tensor(graph, "out", section, &persistent);
    for (int i = 0; i < nodes && result == 0; i++)
        result = F(synNodeCreate)(graph, &in, &persistent, 1, 1, &parameter, sizeof parameter, guid, "node", NULL, NULL);
    if (result == 0) result = F(synGraphCompile)(recipe, graph, "recipe", NULL);
    if (result == 0) result = F(synTensorDestroy)(in);
    if (result == 0) result = F(synTensorDestroy)(persistent);
    if (result == 0) result = F(synSectionDestroy)(section);
    if (result == 0) result = F(synGraphDestroy)(graph);
    return result;
}

static int load(struct work *work) {
    const char *name = "out";
    uint64_t bytes = 0;
    work->tensor = (synLaunchTensorInfo){.tensorName = name, .tensorType = DATA_TENSOR, .tensorSize = {ELEMENTS}};
    int result = F(synTensorRetrieveIds)(work->recipe, &name, &work->tensor.tensorId, 1);
    if (result == 0) result = F(synWorkspaceGetSize)(&bytes, work->recipe);
    if (result == 0 && bytes < ELEMENTS) return BROKEN;
    if (result == 0) result = F(synDeviceMalloc)(acquired, bytes, 0, 0, &work->workspace);
    if (result == 0) result = F(synDeviceMalloc)(acquired, ELEMENTS, 0, 0, &work->out);
    work->tensor.pTensorAddress = work->out;
    return result;
}

static int play(u64 handle) {
    struct work *work = (struct work *)handle;
    return F(synLaunch)(stream, &work->tensor, 1, work->workspace, work->recipe, 0);
}
static int norecord(u64 handle) {
    struct work *work = (struct work *)handle;
    int result = F(synStreamSynchronize)(stream);
    if (result == 0) result = F(synRecipeDestroy)(work->recipe);
    if (result == 0) result = F(synDeviceFree)(acquired, work->out, 0);
    if (result == 0) result = F(synDeviceFree)(acquired, work->workspace, 0);
    free(work);
    return result;
}
static int record(int launches, u64 ns, u64 *handle) {
    struct work *work = calloc(1, sizeof *work);
    int result = compile("fcsp_spin", launches, ns, &work->recipe);
    if (result == 0) result = load(work);
    *handle = (u64)work;
    return result;
}
/* One recipe is kept: launches of the same kernel for the same time are the same recipe. */
static int spin(const char *kernel, u64 ns) {
    static u64 known, last;
    int result = 0;
    if (!known || last != ns) {
        if (known) result = norecord(known);
        if (result == 0) result = record(1, ns, &known);
        last = ns;
    }
    return result ? result : play(known);
}
static int sync_all(void) { return F(synDeviceSynchronize)(acquired); }
static void *resolve(const char *name) { return NULL; }

static const struct vendor vendor = {
    .driver = "libSynapse.so", .management = "libhlml.so",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .sync = sync_all, .record = record, .play = play, .norecord = norecord,
};
