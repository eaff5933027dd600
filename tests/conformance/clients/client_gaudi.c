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
static void *resolve(const char *name) { return NULL; }

static const struct vendor vendor = {
    .driver = "libSynapse.so", .management = "libhlml.so",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .info = info, .total = total, .smi = smi, .processes = processes,
};
