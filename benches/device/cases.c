// Small programs from the field, one a command. Run by cases.py, natively and under the preload; each prints one JSON object.
//
//   cases first THREADS [BYTES]        threads that begin at once; each looks at free memory, or takes BYTES
//   cases stack BYTES                  raises the stack limit and lowers it again
//   cases pool LEAVE KEEP ASK alloc|create   leaves LEAVE bytes of the device (0: all), has a pool keep KEEP bytes, asks for ASK
//   cases reuse BYTES ROUNDS           takes from a pool, launches and frees in one stream, without waiting
//   cases arrays WIDTH HEIGHT MOST     arrays of four floats until refused, then waits for a line
//   cases export MODE ROUNDS BYTES     physical memory, exported as a descriptor (1), imported (2), retained (3), and let go of
//   cases cycles                       what long-lived servers do again and again
//   cases fill BYTES                   takes blocks until refused
//   cases agree                        total and free memory of each device by CUDA and by NVML
//   cases noise BYTES                  takes and gives back a block for ever, as a neighbour does
//   cases hold BYTES                   takes a block and keeps it until its input ends
//   cases listed                       the processes that NVML lists on the first device
//   cases errors                       wrong arguments together with sizes that nobody has
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef int (*function)(u64, u64, u64, u64, u64, u64);
#define MIB (1ull << 20)
#define GIB (1ull << 30)

// Laid out by hand, as the vendor's headers document them.
struct location { int type, id; };
struct pool_props { int type, handles; struct location location; void *win32; size_t most; char rest[56]; };
struct alloc_props { int type, handles; struct location location; void *win32; unsigned char flags[8]; };
struct access { struct location location; int flags; };
struct array { size_t width, height; int format; unsigned channels; };
struct nvml_memory { u64 total, free, used; };

static void *driver;
static function find(void *library, const char *name) {
    function found = (function)dlsym(library, name);
    if (!found) { fprintf(stderr, "no %s\n", name); exit(3); }
    return found;
}
static int call(const char *name, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) { return find(driver, name)(a, b, c, d, e, f); }
// Arguments are integers or pointers; the calling conventions of x86-64 and aarch64 pass them alike.
#define W(x) ((u64)(x))
#define C0(n) call(n, 0, 0, 0, 0, 0, 0)
#define C1(n, a) call(n, W(a), 0, 0, 0, 0, 0)
#define C2(n, a, b) call(n, W(a), W(b), 0, 0, 0, 0)
#define C3(n, a, b, c) call(n, W(a), W(b), W(c), 0, 0, 0)
#define C4(n, a, b, c, d) call(n, W(a), W(b), W(c), W(d), 0, 0)
#define C5(n, a, b, c, d, e) call(n, W(a), W(b), W(c), W(d), W(e), 0)
#define CHECK(x) do { int r_ = (x); if (r_) { fprintf(stderr, "%s:%d %s -> %d\n", __FILE__, __LINE__, #x, r_); exit(4); } } while (0)

static u64 open_device(void) {
    u64 context = 0;
    CHECK(C2("cuDevicePrimaryCtxRetain", &context, 0));
    CHECK(C1("cuCtxSetCurrent", context));
    return context;
}
static u64 available(void) { size_t f = 0, t = 0; CHECK(C2("cuMemGetInfo_v2", &f, &t)); return f; }

static pthread_barrier_t gate;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static u64 wanted, least = ~0ull, most;
static int granted;
static void *begins(void *unused) {
    (void)unused;
    pthread_barrier_wait(&gate);
    open_device();
    u64 got = 0, address = 0;
    int taken = wanted && C2("cuMemAlloc_v2", &address, wanted) == 0;
    if (!wanted) got = available();
    pthread_mutex_lock(&lock);
    granted += taken;
    if (got < least) least = got;
    if (got > most) most = got;
    pthread_mutex_unlock(&lock);
    return NULL;
}
static void first(int threads, u64 bytes) {
    pthread_t all[256];
    wanted = bytes;
    pthread_barrier_init(&gate, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&all[i], NULL, begins, NULL);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
    printf("{\"granted\":%d,\"least\":%llu,\"most\":%llu}\n", granted, least, most);
}

static void stack(u64 bytes) {
    open_device();
    u64 before = available(), old = 0;
    CHECK(C2("cuCtxGetLimit", &old, 0));
    int code = C2("cuCtxSetLimit", 0, bytes);
    u64 raised = available();
    CHECK(C2("cuCtxSetLimit", 0, old));
    printf("{\"code\":%d,\"before\":%llu,\"raised\":%llu,\"after\":%llu}\n", code, before, raised, available());
}

// The simulated device takes the argument for the kernel's duration.
static const char *SPIN = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry fcsp_spin(.param .u64 ns){ret;}\n";

static u64 keeping_pool(void) {
    struct pool_props props = {.type = 1, .location = {1, 0}};
    u64 pool = 0, threshold = ~0ull;
    CHECK(C2("cuMemPoolCreate", &pool, &props));
    CHECK(C3("cuMemPoolSetAttribute", pool, 4, &threshold));
    return pool;
}
static void pool(u64 leave, u64 keep, u64 ask, const char *how) {
    open_device();
    u64 address = 0, ballast = 0, now = available();
    if (leave && now > leave) CHECK(C2("cuMemAlloc_v2", &ballast, now - leave));
    u64 made = keeping_pool();
    CHECK(C4("cuMemAllocFromPoolAsync", &address, keep, made, 0));
    CHECK(C2("cuMemFreeAsync", address, 0));
    CHECK(C1("cuStreamSynchronize", 0));
    u64 kept = 0, handle = 0;
    CHECK(C3("cuMemPoolGetAttribute", made, 5, &kept));
    struct alloc_props props = {.type = 1, .location = {1, 0}};
    u64 before = available();
    int code = !strcmp(how, "create") ? C4("cuMemCreate", &handle, ask, &props, 0) : C2("cuMemAlloc_v2", &address, ask);
    u64 left = 0;
    CHECK(C3("cuMemPoolGetAttribute", made, 5, &left));
    printf("{\"code\":%d,\"free\":%llu,\"kept\":%llu,\"left\":%llu}\n", code, before, kept, left);
}

static void reuse(u64 bytes, int rounds) {
    typedef int (*launch)(u64, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, u64, void **, void **);
    u64 module = 0, kernel = 0, address = 0, ns = 3000000;
    void *arguments[] = {&ns};
    int refused = 0;
    open_device();
    CHECK(C2("cuModuleLoadData", &module, SPIN));
    CHECK(C3("cuModuleGetFunction", &kernel, module, "fcsp_spin"));
    launch run = (launch)dlsym(driver, "cuLaunchKernel");
    for (int i = 0; i < rounds; i++) {
        if (C3("cuMemAllocAsync", &address, bytes, 0)) { refused++; continue; }
        CHECK(run(kernel, 1, 1, 1, 1, 1, 1, 0, 0, arguments, NULL));
        CHECK(C2("cuMemFreeAsync", address, 0));
    }
    CHECK(C1("cuStreamSynchronize", 0));
    printf("{\"refused\":%d,\"free\":%llu}\n", refused, available());
}

static void arrays(size_t width, size_t height, u64 at_most) {
    open_device();
    struct array shape = {width, height, 0x20, 4};
    u64 count = 0, array;
    int code = 0;
    while (count < at_most && !(code = C2("cuArrayCreate_v2", &array, &shape))) count++;
    printf("{\"code\":%d,\"count\":%llu,\"free\":%llu}\n", code, count, available());
    fflush(stdout);
    char line[8];
    if (!fgets(line, sizeof line, stdin)) exit(0);
}

static void exports(int mode, int rounds, u64 bytes) {
    open_device();
    u64 before = available(), va = 0;
    struct alloc_props props = {.type = 1, .handles = 1, .location = {1, 0}};
    struct access access = {{1, 0}, 3};
    CHECK(C5("cuMemAddressReserve", &va, 4 * bytes, 0, 0, 0));
    int round = 0, code = 0;
    for (; round < rounds; round++) {
        u64 handle = 0, other = 0;
        int fd = -1;
        if ((code = C4("cuMemCreate", &handle, bytes, &props, 0))) break;
        CHECK(C4("cuMemExportToShareableHandle", &fd, handle, 1, 0));
        CHECK(C5("cuMemMap", va, bytes, 0, handle, 0));
        CHECK(C4("cuMemSetAccess", va, bytes, &access, 1));
        if (mode == 2) {
            CHECK(C3("cuMemImportFromShareableHandle", &other, fd, 1));
            CHECK(C5("cuMemMap", va + 2 * bytes, bytes, 0, other, 0));
            CHECK(C2("cuMemUnmap", va + 2 * bytes, bytes));
            CHECK(C1("cuMemRelease", other));
        }
        if (mode == 3) {
            CHECK(C2("cuMemRetainAllocationHandle", &other, va));
            CHECK(C1("cuMemRelease", other));
        }
        CHECK(C2("cuMemUnmap", va, bytes));
        CHECK(C1("cuMemRelease", handle));
        close(fd);
    }
    printf("{\"code\":%d,\"rounds\":%d,\"before\":%llu,\"after\":%llu}\n", code, round, before, available());
}

static const char *CODE = ".version 7.0\n.target sm_70\n.address_size 64\n.global .align 4 .b8 big[67108864];\n.visible .entry spin(.param .u64 ns){ret;}\n";
static u64 at_first;
static void cycle(const char *what) { printf("%s\"%s\":%lld", at_first ? "," : "", what, (long long)(available() >> 20)); at_first = 1; }
static void cycles(void) {
    enum { ROUNDS = 50 };
    u64 x, y, z;
    // Whatever the driver takes once and keeps is taken first.
    u64 context = open_device();
    struct pool_props props = {.type = 1, .location = {1, 0}};
    struct alloc_props physical = {.type = 1, .location = {1, 0}};
    struct array shape = {4096, 2048, 0x20, 4};
    u64 streams[64];
    for (int warm = 1; warm >= 0; warm--) {
        int rounds = warm ? 1 : ROUNDS;
        if (!warm) { printf("{"); cycle("begin"); }
        for (int i = 0; i < rounds; i++) { CHECK(C3("cuCtxCreate_v2", &x, 0, 0)); CHECK(C2("cuMemAlloc_v2", &y, 50 * MIB)); CHECK(C2("cuMemAlloc_v2", &z, 1000)); CHECK(C1("cuCtxDestroy_v2", x)); CHECK(C1("cuCtxSetCurrent", context)); if (i == 9) break; }
        if (!warm) cycle("contexts");
        for (int i = 0; i < rounds; i++) { CHECK(C2("cuModuleLoadData", &x, CODE)); CHECK(C1("cuModuleUnload", x)); }
        if (!warm) cycle("modules");
        for (int i = 0; i < rounds; i++) { for (int j = 0; j < 64; j++) CHECK(C2("cuStreamCreate", &streams[j], 1)); for (int j = 0; j < 64; j++) CHECK(C1("cuStreamDestroy_v2", streams[j])); }
        if (!warm) cycle("streams");
        for (int i = 0; i < rounds; i++) { CHECK(C3("cuMemAllocAsync", &x, 100 * MIB, 0)); CHECK(C2("cuMemFreeAsync", x, 0)); CHECK(C1("cuStreamSynchronize", 0)); }
        if (!warm) cycle("async");
        for (int i = 0; i < rounds; i++) { CHECK(C2("cuMemPoolCreate", &x, &props)); CHECK(C4("cuMemAllocFromPoolAsync", &y, 60 * MIB, x, 0)); CHECK(C2("cuMemFreeAsync", y, 0)); CHECK(C1("cuStreamSynchronize", 0)); CHECK(C1("cuMemPoolDestroy", x)); }
        if (!warm) cycle("pools");
        for (int i = 0; i < rounds; i++) { CHECK(C5("cuMemAddressReserve", &x, GIB, 0, 0, 0)); CHECK(C4("cuMemCreate", &y, 100 * MIB, &physical, 0)); CHECK(C5("cuMemMap", x, 100 * MIB, 0, y, 0)); CHECK(C1("cuMemRelease", y)); CHECK(C2("cuMemUnmap", x, 100 * MIB)); CHECK(C2("cuMemAddressFree", x, GIB)); }
        if (!warm) cycle("physical");
        for (int i = 0; i < rounds; i++) { CHECK(C2("cuArrayCreate_v2", &x, &shape)); CHECK(C1("cuArrayDestroy", x)); }
        if (!warm) cycle("arrays");
        for (int i = 0; i < rounds; i++) { u64 p[200]; for (int j = 0; j < 200; j++) CHECK(C2("cuMemAlloc_v2", &p[j], 1 + j * 300)); for (int j = 199; j >= 0; j--) CHECK(C1("cuMemFree_v2", p[j])); }
        if (!warm) cycle("small");
        for (int i = 0; i < rounds; i++) { CHECK(C3("cuMemAllocManaged", &x, 100 * MIB, 1)); CHECK(C3("cuMemsetD8_v2", x, 1, 100 * MIB)); CHECK(C1("cuMemFree_v2", x)); }
        if (!warm) cycle("managed");
        CHECK(C2("cuCtxSetLimit", 0, 2048)); CHECK(C2("cuCtxSetLimit", 0, 1024));
        if (!warm) { cycle("stack"); printf("}\n"); }
    }
}

static void fill(u64 bytes) {
    open_device();
    u64 address, count = 0, before = available();
    int code;
    while (!(code = C2("cuMemAlloc_v2", &address, bytes))) count++;
    printf("{\"code\":%d,\"count\":%llu,\"before\":%llu,\"free\":%llu}\n", code, count, before, available());
}

static void noise(u64 bytes) {
    open_device();
    printf("{\"begun\":1}\n");
    fflush(stdout);
    for (u64 address = 0;;) {
        CHECK(C2("cuMemAlloc_v2", &address, bytes));
        CHECK(C1("cuMemFree_v2", address));
    }
}

static void hold(u64 bytes) {
    open_device();
    u64 address = 0;
    CHECK(C2("cuMemAlloc_v2", &address, bytes));
    printf("{\"begun\":1}\n");
    fflush(stdout);
    while (getchar() != EOF) {}
}

static void listed(void) {
    struct { unsigned pid; u64 bytes; unsigned gpu, compute; } entries[64];
    unsigned count = 64;
    u64 handle = 0;
    void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml) { fprintf(stderr, "no NVML\n"); exit(3); }
    open_device();
    find(nvml, "nvmlInit_v2")(0, 0, 0, 0, 0, 0);
    CHECK(find(nvml, "nvmlDeviceGetHandleByIndex_v2")(0, W(&handle), 0, 0, 0, 0));
    CHECK(find(nvml, "nvmlDeviceGetComputeRunningProcesses_v3")(handle, W(&count), W(entries), 0, 0, 0));
    printf("{\"pid\":%d,\"listed\":[", getpid());
    for (unsigned i = 0; i < count; i++) printf("%s%u", i ? "," : "", entries[i].pid);
    printf("]}\n");
}

static void agree(void) {
    void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml) { fprintf(stderr, "no NVML\n"); exit(3); }
    find(nvml, "nvmlInit_v2")(0, 0, 0, 0, 0, 0);
    int devices = 0;
    CHECK(C1("cuDeviceGetCount", &devices));
    printf("{\"devices\":[");
    for (int i = 0; i < devices; i++) {
        unsigned char b[16];
        char text[48];
        u64 handle = 0, context = 0, address = 0;
        size_t f = 0, t = 0;
        struct nvml_memory before = {0}, after = {0};
        CHECK(C2("cuDeviceGetUuid", b, i));
        snprintf(text, sizeof text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
        CHECK(find(nvml, "nvmlDeviceGetHandleByUUID")(W(text), W(&handle), 0, 0, 0, 0));
        CHECK(find(nvml, "nvmlDeviceGetMemoryInfo")(handle, W(&before), 0, 0, 0, 0));
        CHECK(C2("cuDevicePrimaryCtxRetain", &context, i));
        CHECK(C1("cuCtxSetCurrent", context));
        CHECK(C2("cuMemAlloc_v2", &address, 100 * MIB));
        CHECK(C2("cuMemGetInfo_v2", &f, &t));
        CHECK(find(nvml, "nvmlDeviceGetMemoryInfo")(handle, W(&after), 0, 0, 0, 0));
        printf("%s{\"uuid\":\"%s\",\"total\":%zu,\"nvml_before\":%llu,\"nvml_after\":%llu,\"free\":%zu,\"nvml_free\":%llu}", i ? "," : "", text, t, before.total, after.total, f, after.free);
    }
    printf("]}\n");
}

// A wrong argument is the driver's to refuse, in its own words, whatever the size beside it is.
static void errors(void) {
    u64 huge = 1ull << 45, x = 0, y = 0;
    struct array shape = {1 << 20, 1 << 20, 0x20, 4}, odd = {1 << 16, 1 << 15, 0x20, 3}, wide = {~0ull >> 8, 1, 0x20, 4};
    struct alloc_props physical = {.type = 1, .location = {1, 0}}, kind = {.type = 77, .location = {1, 0}}, nowhere = {.type = 1, .location = {1, 99}};
    open_device();
    u64 cases = 0;
    printf("{");
#define CASE(name, x) printf("%s\"%s\":%d", cases++ ? "," : "", name, x)
    CASE("alloc null", C2("cuMemAlloc_v2", 0, huge));
    CASE("alloc nothing", C2("cuMemAlloc_v2", &x, 0));
    CASE("pitch null", C5("cuMemAllocPitch_v2", 0, &y, huge, 1, 4));
    CASE("pitch null pitch", C5("cuMemAllocPitch_v2", &x, 0, huge, 1, 4));
    CASE("pitch element 3", C5("cuMemAllocPitch_v2", &x, &y, huge, 1, 3));
    CASE("pitch nothing", C5("cuMemAllocPitch_v2", &x, &y, 0, huge, 4));
    CASE("managed null", C3("cuMemAllocManaged", 0, huge, 1));
    CASE("managed nothing", C3("cuMemAllocManaged", &x, 0, 1));
    CASE("managed flags", C3("cuMemAllocManaged", &x, huge, 77));
    CASE("async null", C3("cuMemAllocAsync", 0, huge, 0));
    CASE("async nothing", C3("cuMemAllocAsync", &x, 0, 0));
    CASE("create null", C4("cuMemCreate", 0, huge, &physical, 0));
    CASE("create nothing", C4("cuMemCreate", &x, 0, &physical, 0));
    CASE("create odd size", C4("cuMemCreate", &x, huge + 1, &physical, 0));
    CASE("create flags", C4("cuMemCreate", &x, huge, &physical, 77));
    CASE("create kind", C4("cuMemCreate", &x, huge, &kind, 0));
    CASE("create nowhere", C4("cuMemCreate", &x, huge, &nowhere, 0));
    CASE("array null", C2("cuArrayCreate_v2", 0, &shape));
    CASE("array no shape", C2("cuArrayCreate_v2", &x, 0));
    CASE("array three channels", C2("cuArrayCreate_v2", &x, &odd));
    CASE("array too wide", C2("cuArrayCreate_v2", &x, &wide));
    CASE("array too large", C2("cuArrayCreate_v2", &x, &shape));
    CASE("stack too large", C2("cuCtxSetLimit", 0, 1ull << 30));
    CASE("limit unknown", C2("cuCtxSetLimit", 77, huge));
    CASE("module null", C2("cuModuleLoadData", 0, CODE));
    CASE("stream null", C2("cuStreamCreate", 0, 1));
    CASE("context null", C3("cuCtxCreate_v2", 0, 0, 0));
    // Where there is no memory, a null address is left in the place of it.
    CASE("address of alloc", (x = 7, C2("cuMemAlloc_v2", &x, huge), (int)x));
    CASE("address of pitch", (x = 7, C5("cuMemAllocPitch_v2", &x, &y, 1 << 30, 1 << 20, 4), (int)x));
    CASE("address of async", (x = 7, C3("cuMemAllocAsync", &x, huge, 0), (int)x));
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
#define NUMBER(i) (argc > (i) ? strtoull(argv[i], NULL, 0) : 0)
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) { fprintf(stderr, "%s\n", dlerror()); return 3; }
    CHECK(C1("cuInit", 0));
    if (!strcmp(argv[1], "first")) first((int)NUMBER(2), NUMBER(3));
    else if (!strcmp(argv[1], "stack")) stack(NUMBER(2));
    else if (!strcmp(argv[1], "pool")) pool(NUMBER(2), NUMBER(3), NUMBER(4), argc > 5 ? argv[5] : "alloc");
    else if (!strcmp(argv[1], "reuse")) reuse(NUMBER(2), (int)NUMBER(3));
    else if (!strcmp(argv[1], "arrays")) arrays(NUMBER(2), NUMBER(3), NUMBER(4));
    else if (!strcmp(argv[1], "export")) exports((int)NUMBER(2), (int)NUMBER(3), NUMBER(4));
    else if (!strcmp(argv[1], "cycles")) cycles();
    else if (!strcmp(argv[1], "fill")) fill(NUMBER(2));
    else if (!strcmp(argv[1], "noise")) noise(NUMBER(2));
    else if (!strcmp(argv[1], "hold")) hold(NUMBER(2));
    else if (!strcmp(argv[1], "listed")) listed();
    else if (!strcmp(argv[1], "agree")) agree();
    else if (!strcmp(argv[1], "errors")) errors();
    else return 2;
    return 0;
}
