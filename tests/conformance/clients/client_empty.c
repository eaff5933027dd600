/* The conformance client on the driver of a vendor that does not exist. */
#include "client.h"
#include "../../../fcsp-sim/empty/empty.h"

static int open_device(int device) {
    int result = F(emptyInit)();
    return result ? result : F(emptySetDevice)(device);
}
static int close_device(int device) { return F(emptyReleaseDevice)(device); }
static int alloc(u64 bytes, u64 *address) { return F(emptyAlloc)((void **)address, bytes); }
static int release(u64 address) { return F(emptyFree)((void *)address); }
static int fill(u64 address, u64 bytes) { return F(emptyFill)((void *)address, 1, bytes); }
static int host(u64 bytes, u64 *address) { return F(emptyAllocHost)((void **)address, bytes); }
static int nohost(u64 address) { return F(emptyFreeHost)((void *)address); }
static int memory(int device, u64 *unused, u64 *total) {
    return F(emptyDeviceMemory)(device, (size_t *)unused, (size_t *)total);
}
static int info(u64 *unused, u64 *total) {
    int device = 0, result = F(emptyGetDevice)(&device);
    return result ? result : memory(device, unused, total);
}
static int total(int device, u64 *bytes) {
    u64 unused;
    return memory(device, &unused, bytes);
}
static int smi(int device, u64 *used, u64 *bytes) {
    u64 unused;
    int result = F(emptyInit)();
    if (result == 0) result = memory(device, &unused, bytes);
    *used = *bytes - unused;
    return result;
}
static int processes(int device, u64 *pairs, int *count) {
    unsigned pids[64];
    size_t bytes[64];
    int result = F(emptyInit)();
    *count = 64;
    if (result == 0) result = F(emptyDeviceProcesses)(device, pids, bytes, count);
    for (int i = 0; result == 0 && i < *count; i++) {
        pairs[2 * i] = pids[i];
        pairs[2 * i + 1] = bytes[i];
    }
    return result;
}
static int spin(const char *kernel, u64 ns) { return F(emptyLaunch)(kernel, ns); }
static int sync_all(void) { return F(emptySynchronize)(); }
static void *resolve(const char *name) { return NULL; }

static const struct vendor vendor = {
    .driver = "libempty.so.1", .management = "libempty.so.1",
    .open = open_device, .close = close_device, .alloc = alloc, .free = release, .fill = fill,
    .host = host, .nohost = nohost, .info = info, .total = total, .smi = smi, .processes = processes,
    .spin = spin, .sync = sync_all,
};
