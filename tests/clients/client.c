/* A CUDA program that does what it is told: one command a line on standard input, one answer a line on standard output.
 *
 *   client              commands from standard input
 *   client -c 'a; b'    these commands; the exit status is the code of the last one
 *
 * A command is a name and numbers; an answer is the driver's code and numbers. Every driver function is looked up with
 * dlsym on the driver's handle. Arguments of driver functions are all integers or pointers, so one function type with
 * six of them serves for each: the calling conventions of x86-64 and aarch64 pass them alike. Written without the
 * vendor's headers; the few structures are laid out by hand, as documented. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef int (*function)(u64, u64, u64, u64, u64, u64);

struct location { int type, id; };
struct pool_props { int alloc_type, handle_types; struct location location; void *win32; size_t max_size; char rest[56]; };
struct alloc_prop { int type, handle_types; struct location location; void *win32; unsigned char flags[8]; };
struct access_desc { struct location location; int flags; };
struct array_desc { size_t width, height; int format; unsigned channels; };
struct array3d_desc { size_t width, height, depth; int format; unsigned channels, flags; };
struct node_alloc { struct pool_props props; struct access_desc *access; size_t count, bytes; u64 address; };
struct node_params { int type, reserved[3]; union { long long pad[29]; struct node_alloc alloc; } value; long long reserved2; };
struct nvml_memory { u64 total, free, used; };
struct nvml_memory2 { unsigned version; u64 total, reserved, free, used; };
struct nvml_process { unsigned pid; u64 bytes; unsigned gpu, compute; };
struct nvml_process1 { unsigned pid; u64 bytes; };

static void *driver, *management;
static u64 stream, context;
static int ordinal;
static char *self;
static int holds[64];
static u64 held;
static u64 out[256];
static int outs;

static int call6(void *library, const char *name, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    function found = library ? (function)dlsym(library, name) : NULL;
    return found ? found(a, b, c, d, e, f) : 9999;
}
#define PICK(_1, _2, _3, _4, _5, _6, N, ...) N
#define W(x) ((u64)(x))
#define C0(n) call6(driver, n, 0, 0, 0, 0, 0, 0)
#define C1(n, a) call6(driver, n, W(a), 0, 0, 0, 0, 0)
#define C2(n, a, b) call6(driver, n, W(a), W(b), 0, 0, 0, 0)
#define C3(n, a, b, c) call6(driver, n, W(a), W(b), W(c), 0, 0, 0)
#define C4(n, a, b, c, d) call6(driver, n, W(a), W(b), W(c), W(d), 0, 0)
#define C5(n, a, b, c, d, e) call6(driver, n, W(a), W(b), W(c), W(d), W(e), 0)
#define C6(n, a, b, c, d, e, f) call6(driver, n, W(a), W(b), W(c), W(d), W(e), W(f))
#define N3(n, a, b, c) call6(management, n, W(a), W(b), W(c), 0, 0, 0)

static u64 give(u64 value) { return out[outs++] = value; }

static int start(void) {
    const char *other = getenv("CLIENT_DRIVER");
    driver = dlopen(other ? other : "libcuda.so.1", RTLD_NOW);
    return driver ? C1("cuInit", 0) : 9998;
}

static int use(int device) {
    int result = C2("cuDevicePrimaryCtxRetain", &context, device);
    ordinal = device;
    if (result == 0)
        result = C1("cuCtxSetCurrent", context);
    return result;
}

static int with_stream(void) { return stream ? 0 : C2("cuStreamCreate", &stream, 1); }

static struct pool_props props(void) {
    struct pool_props p;
    memset(&p, 0, sizeof p);
    p.alloc_type = 1;
    p.location.type = 1;
    p.location.id = ordinal;
    return p;
}

static struct node_alloc node(u64 bytes) {
    struct node_alloc n;
    memset(&n, 0, sizeof n);
    n.props = props();
    n.bytes = bytes;
    return n;
}

/* A module whose one variable takes `bytes`. */
static char *image(u64 bytes) {
    static char text[512];
    snprintf(text, sizeof text,
             ".version 7.0\n.target sm_80\n.address_size 64\n.global .align 4 .b8 room[%llu];\n"
             ".visible .entry fcsp_spin(.param .u64 ns) { ret; }\n", bytes);
    return text;
}

static int spin(u64 nanoseconds) {
    static u64 function_handle;
    u64 module;
    void *parameters[1] = {&nanoseconds};
    int (*launch)(u64, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, u64, void **, void **) =
        dlsym(driver, "cuLaunchKernel");
    int result = function_handle ? 0 : C2("cuModuleLoadData", &module, image(4));
    if (result == 0 && !function_handle)
        result = C3("cuModuleGetFunction", &function_handle, module, "fcsp_spin");
    if (result != 0)
        return result;
    give(function_handle);
    return launch(function_handle, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}

/* Launches a kernel of this name, once. */
static int named(const char *name) {
    char text[512];
    u64 module, handle, ns = 1000;
    void *parameters[1] = {&ns};
    int (*launch)(u64, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, u64, void **, void **) =
        dlsym(driver, "cuLaunchKernel");
    snprintf(text, sizeof text,
             ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry %.200s(.param .u64 ns) { ret; }\n", name);
    int result = C2("cuModuleLoadData", &module, text);
    if (result == 0)
        result = C3("cuModuleGetFunction", &handle, module, name);
    return result ? result : launch(handle, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}

static int nvml(void) {
    management = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    return management ? N3("nvmlInit_v2", 0, 0, 0) : 9998;
}

static u64 nvml_device(int index) {
    u64 handle = 0;
    N3("nvmlDeviceGetHandleByIndex_v2", index, &handle, 0);
    return handle;
}

/* Takes and gives back until killed, by the routes whose bits are set: plain, stream-ordered, by handle, arrays. */
static void storm(u64 seed, u64 routes) {
    u64 kept[16] = {0};
    int kind[16] = {0};
    for (;;) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        unsigned at = seed >> 60, what = (seed >> 40) % 4, result = 1;
        u64 bytes = (seed >> 33) % (24u << 20) + 1;
        struct array_desc array = {bytes / 64 + 1, 16, 0x20, 1};
        if (!kept[at] && !(routes >> what & 1))
            continue;
        struct alloc_prop prop = {1, 0, {1, ordinal}, NULL, {0}};
        if (kept[at]) {
            switch (kind[at]) {
            case 0: C1("cuMemFree_v2", kept[at]); break;
            case 1: C2("cuMemFreeAsync", kept[at], 0); break;
            case 2: C1("cuMemRelease", kept[at]); break;
            default: C1("cuArrayDestroy", kept[at]); break;
            }
            kept[at] = 0;
            if (what == 1)
                C1("cuStreamSynchronize", 0);
            continue;
        }
        switch (what) {
        case 0: result = C2("cuMemAlloc_v2", &kept[at], bytes); break;
        case 1: result = C3("cuMemAllocAsync", &kept[at], bytes, 0); break;
        case 2: result = C4("cuMemCreate", &kept[at], bytes / (2u << 20) * (2u << 20) + (2u << 20), &prop, 0); break;
        default: result = C2("cuArrayCreate_v2", &kept[at], &array); break;
        }
        kind[at] = what;
        if (result != 0)
            kept[at] = 0;
    }
}

static void *allocate_and_free(void *rounds) {
    u64 bad = 0;
    C1("cuCtxSetCurrent", context);
    for (u64 i = 0; i < (u64)rounds; i++) {
        u64 address = 0;
        int result = C2("cuMemAlloc_v2", &address, ((i * 7919) % (6u << 20)) + 1);
        if (result == 0)
            result = C1("cuMemFree_v2", address);
        else if (result == 2)
            result = 0;
        bad += result != 0;
        /* A question measures, and another thread's call may be under way. */
        if (i % 16 == 7) {
            u64 free_bytes = 0, total = 0;
            bad += C2("cuMemGetInfo_v2", &free_bytes, &total) != 0;
        }
    }
    return (void *)bad;
}

static int run(char *text);

static void *run_apart(void *command) { return (void *)(long)run(command); }

static int run(char *text);

/* A forked child runs `text`; the answer is its last code. With `keep`, it then waits to be killed, and its number is
 * given too. */
static int in_child(char *text, int keep) {
    int pipes[2];
    if (pipe(pipes))
        return 9997;
    pid_t child = fork();
    if (child == 0) {
        int result = 0;
        for (char *save = NULL, *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save))
            result = run(part);
        if (write(pipes[1], &result, sizeof result) != sizeof result)
            _exit(1);
        while (keep)
            pause();
        _exit(0);
    }
    int result = 9996;
    close(pipes[1]);
    if (read(pipes[0], &result, sizeof result) != sizeof result)
        result = 9996;
    close(pipes[0]);
    if (keep)
        give(child);
    else
        waitpid(child, NULL, 0);
    return result;
}

/* Any driver function with up to nine integers or pointers: "call NAME 1 2 3". */
static int any(const char *text) {
    char symbol[64] = "";
    int used = 0;
    u64 a[9] = {0};
    sscanf(text, " %63s %n", symbol, &used);
    char *next = (char *)text + used;
    for (int i = 0; i < 9; i++)
        a[i] = strtoull(next, &next, 0);
    int (*found)(u64, u64, u64, u64, u64, u64, u64, u64, u64) = dlsym(driver, symbol);
    return found ? found(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]) : 9999;
}

/* Writes 64-bit words into one of eight rooms and gives its address: any structure or list for "call". */
static int words(const char *text) {
    static u64 rooms[8][64];
    char *next = (char *)text;
    u64 *room = rooms[strtoull(next, &next, 0) % 8];
    give(W(room));
    for (int i = 0; i < 64; i++)
        room[i] = strtoull(next, &next, 0);
    return 0;
}

static int run(char *text) {
    char name[64] = "";
    u64 a[4] = {0};
    int used = 0;
    u64 h = 0;
    size_t x = 0, y = 0;
    unsigned s = 0, t = 0;
    int result;
    outs = 0;
    sscanf(text, " %63s %n", name, &used);
    char *rest = text + used;
    sscanf(rest, "%llu %llu %llu %llu", &a[0], &a[1], &a[2], &a[3]);
#define IS(word) (!strcmp(name, word))
    if (IS("call")) return any(rest);
    if (IS("words")) return words(rest);
    if (IS("init")) return start();
    if (IS("use")) return use(a[0]);
    if (IS("open")) return (result = start()) ? result : use(a[0]);
    if (IS("current")) return C1("cuCtxSetCurrent", a[0]);
    if (IS("release")) return C1("cuDevicePrimaryCtxRelease_v2", a[0]);
    if (IS("reset")) return C1("cuDevicePrimaryCtxReset_v2", a[0]);
    if (IS("ctx")) { result = C3("cuCtxCreate_v2", &h, 0, a[0]); give(h); return result; }
    if (IS("destroy")) return C1("cuCtxDestroy_v2", a[0]);

    if (IS("alloc")) { result = C2("cuMemAlloc_v2", &h, a[0]); give(h); return result; }
    if (IS("alloc1")) { result = C2("cuMemAlloc", &s, a[0]); give(s); return result; }
    if (IS("pitch")) { result = C5("cuMemAllocPitch_v2", &h, &x, a[0], a[1], 4); give(h); give(x); return result; }
    if (IS("managed")) { result = C3("cuMemAllocManaged", &h, a[0], 1); give(h); return result; }
    if (IS("free")) return C1("cuMemFree_v2", a[0]);
    if (IS("fill")) return C3("cuMemsetD8_v2", a[0], 1, a[1]);

    if (IS("async")) { result = C3("cuMemAllocAsync", &h, a[0], stream); give(h); return result; }
    if (IS("async_ptsz")) { result = C3("cuMemAllocAsync_ptsz", &h, a[0], stream); give(h); return result; }
    if (IS("freeasync")) return C2("cuMemFreeAsync", a[0], stream);
    if (IS("sync")) return C1("cuStreamSynchronize", stream);
    if (IS("pool")) { struct pool_props p = props(); result = C2("cuMemPoolCreate", &h, &p); give(h); return result; }
    if (IS("threshold")) return C3("cuMemPoolSetAttribute", a[0], 4, &a[1]);
    if (IS("pooled")) { result = C4("cuMemAllocFromPoolAsync", &h, a[0], a[1], stream); give(h); return result; }
    if (IS("pooled_ptsz")) { result = C4("cuMemAllocFromPoolAsync_ptsz", &h, a[0], a[1], stream); give(h); return result; }
    if (IS("reservedhigh")) { result = C3("cuMemPoolGetAttribute", a[0], 6, &h); give(h); return result; }
    if (IS("trim")) return C2("cuMemPoolTrimTo", a[0], a[1]);
    if (IS("nopool")) return C1("cuMemPoolDestroy", a[0]);

    if (IS("create")) {
        struct alloc_prop prop = {1, 0, {1, a[1]}, NULL, {0}};
        result = C4("cuMemCreate", &h, a[0], &prop, 0);
        give(h);
        return result;
    }
    /* As create, to be exported as a descriptor. */
    if (IS("createx")) {
        struct alloc_prop prop = {1, 1, {1, a[1]}, NULL, {0}};
        result = C4("cuMemCreate", &h, a[0], &prop, 0);
        give(h);
        return result;
    }
    if (IS("export")) { int fd = -1; result = C4("cuMemExportToShareableHandle", &fd, a[0], 1, 0); give(fd); return result; }
    if (IS("import")) { result = C3("cuMemImportFromShareableHandle", &h, a[0], 1); give(h); return result; }
    if (IS("closefd")) return close((int)a[0]);
    /* A descriptor of another process, as if it had been handed over. */
    if (IS("takefd")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%llu/fd/%llu", a[0], a[1]);
        int fd = open(path, O_RDWR);
        give(fd);
        return fd < 0;
    }
    if (IS("reserve")) { result = C5("cuMemAddressReserve", &h, a[0], 0, 0, 0); give(h); return result; }
    /* Maps a handle at an address of its own, and gives the handle again. */
    if (IS("maphandle")) {
        result = C5("cuMemAddressReserve", &h, a[0], 0, 0, 0);
        if (result == 0) result = C5("cuMemMap", h, a[0], 0, a[1], 0);
        give(a[1]);
        return result;
    }
    if (IS("map")) return C5("cuMemMap", a[0], a[1], 0, a[2], 0);
    if (IS("access")) { struct access_desc d = {{1, ordinal}, 3}; return C4("cuMemSetAccess", a[0], a[1], &d, 1); }
    if (IS("unmap")) return C2("cuMemUnmap", a[0], a[1]);
    if (IS("hrelease")) return C1("cuMemRelease", a[0]);
    if (IS("retain")) { result = C2("cuMemRetainAllocationHandle", &h, a[0]); give(h); return result; }

    if (IS("array")) {
        struct array_desc d = {a[0], a[1], 0x20, 4};
        result = C2("cuArrayCreate_v2", &h, &d); give(h); return result;
    }
    if (IS("array3d")) {
        struct array3d_desc d = {a[0], a[1], a[2], 0x20, 4, a[3]};
        result = C2("cuArray3DCreate_v2", &h, &d); give(h); return result;
    }
    if (IS("mipmap")) {
        struct array3d_desc d = {a[0], a[1], 0, 0x20, 4, 0};
        result = C3("cuMipmappedArrayCreate", &h, &d, a[2]); give(h); return result;
    }
    if (IS("noarray")) return C1("cuArrayDestroy", a[0]);
    if (IS("nomipmap")) return C1("cuMipmappedArrayDestroy", a[0]);

    if (IS("graph")) { result = C2("cuGraphCreate", &h, 0); give(h); return result; }
    if (IS("node")) {
        struct node_alloc n = node(a[1]);
        result = C5("cuGraphAddMemAllocNode", &h, a[0], 0, 0, &n);
        give(n.address);
        return result;
    }
    if (IS("node2") || IS("node2_v2")) {
        struct node_params n;
        memset(&n, 0, sizeof n);
        n.type = 10;
        n.value.alloc = node(a[1]);
        result = IS("node2") ? C5("cuGraphAddNode", &h, a[0], 0, 0, &n) : C6("cuGraphAddNode_v2", &h, a[0], 0, 0, 0, &n);
        give(n.value.alloc.address);
        return result;
    }
    if (!strncmp(name, "graphnode_", 10)) {
        char line[128];
        u64 graph = 0;
        result = C2("cuGraphCreate", &graph, 0);
        snprintf(line, sizeof line, "%s %llu %llu", name + 10, graph, a[0]);
        if (result == 0) result = run(line);
        outs = 0;
        give(graph);
        return result;
    }
    if (IS("capture")) {
        result = (result = with_stream()) ? result : C2("cuStreamBeginCapture_v2", stream, a[0] ? a[0] - 1 : 2);
        give(stream);
        return result;
    }
    if (IS("captured")) { result = C2("cuStreamEndCapture", stream, &h); give(h); return result; }
    if (IS("instantiate")) { result = C3("cuGraphInstantiateWithFlags", &h, a[0], 0); give(h); return result; }
    if (IS("launch")) return C2("cuGraphLaunch", a[0], stream);
    if (IS("launch_ptsz")) return C2("cuGraphLaunch_ptsz", a[0], stream);
    if (IS("nograph")) return C1("cuGraphDestroy", a[0]);
    if (IS("noexec")) return C1("cuGraphExecDestroy", a[0]);
    if (IS("graphtrim")) return C1("cuDeviceGraphMemTrim", ordinal);

    if (IS("heap")) return C2("cuCtxSetLimit", 2, a[0]);
    if (IS("stack")) return C2("cuCtxSetLimit", 0, a[0]);
    if (IS("module")) { result = C2("cuModuleLoadData", &h, image(a[0])); give(h); return result; }
    if (IS("nomodule")) return C1("cuModuleUnload", a[0]);
    if (IS("library")) {
        int (*load)(u64 *, void *, void *, void *, unsigned, void *, void *, unsigned) = dlsym(driver, "cuLibraryLoadData");
        result = load(&h, image(a[0]), 0, 0, 0, 0, 0, 0); give(h); return result;
    }
    /* Its variables are there with the first use. */
    if (IS("libload")) { result = C2("cuLibraryGetModule", &h, a[0]); give(h); return result;
    }
    if (IS("nolibrary")) return C1("cuLibraryUnload", a[0]);
    if (IS("spin")) return spin(a[0]);
    if (IS("named")) { char kernel[256] = ""; sscanf(rest, "%255s", kernel); return named(kernel); }
    if (IS("stream")) { result = C2("cuStreamCreate", &h, 1); give(h); return result; }

    if (IS("ipc")) {
        u64 handle[8] = {0};
        result = C2("cuIpcGetMemHandle", handle, a[0]);
        for (int i = 0; i < 8; i++) give(handle[i]);
        return result;
    }
    if (IS("unipc")) {
        struct handle { u64 words[8]; } handle = {{0}};
        int (*open_handle)(u64 *, struct handle, unsigned) = dlsym(driver, "cuIpcOpenMemHandle_v2");
        u64 *w = handle.words;
        sscanf(rest, "%llu %llu %llu %llu %llu %llu %llu %llu", w, w + 1, w + 2, w + 3, w + 4, w + 5, w + 6, w + 7);
        result = open_handle(&h, handle, 1); give(h); return result;
    }
    if (IS("ipcclose")) return C1("cuIpcCloseMemHandle", a[0]);
    if (IS("info")) { result = C2("cuMemGetInfo_v2", &x, &y); give(x); give(y); return result; }
    if (IS("info1")) { result = C2("cuMemGetInfo", &s, &t); give(s); give(t); return result; }
    if (IS("half")) { result = C2("cuMemGetInfo_v2", 0, &y); give(y); return result; }
    if (IS("total")) { result = C2("cuDeviceTotalMem_v2", &x, a[0]); give(x); return result; }
    if (IS("total1")) { result = C2("cuDeviceTotalMem", &s, a[0]); give(s); return result; }
    if (IS("nvml")) return nvml();
    if (IS("nvmlmem")) {
        struct nvml_memory m = {0};
        result = N3("nvmlDeviceGetMemoryInfo", nvml_device(a[0]), &m, 0);
        give(m.total); give(m.free); give(m.used);
        return result;
    }
    if (IS("nvmlmem2")) {
        struct nvml_memory2 m = {sizeof m | 2u << 24, 0, 0, 0, 0};
        result = N3("nvmlDeviceGetMemoryInfo_v2", nvml_device(a[0]), &m, 0);
        give(m.total); give(m.free); give(m.used); give(m.reserved);
        return result;
    }
    if (IS("pids1") || IS("pids2") || IS("pids3")) {
        struct nvml_process list[64];
        struct nvml_process1 old[64];
        char symbol[64] = "nvmlDeviceGetComputeRunningProcesses";
        unsigned n = 64;
        if (!IS("pids1"))
            strcat(symbol, IS("pids2") ? "_v2" : "_v3");
        result = N3(symbol, nvml_device(a[0]), &n, IS("pids1") ? (void *)old : (void *)list);
        for (unsigned i = 0; result == 0 && i < n; i++)
            give(IS("pids1") ? old[i].pid : list[i].pid);
        return result;
    }

    /* What daemons do: every descriptor but the standard ones. */
    if (IS("closeall")) return close_range(3, ~0u, 0);
    /* Opens files of its own, under whatever numbers are free. */
    if (IS("hold")) {
        for (held = 0; held < a[0] && held < 64; held++)
            holds[held] = memfd_create("held", 0);
        return 0;
    }
    /* How many of them are not open any more. */
    if (IS("lost")) {
        result = 0;
        for (u64 i = 0; i < held; i++)
            result += fcntl(holds[i], F_GETFD) < 0;
        return result;
    }
    /* How many of them somebody has put a lock on. */
    if (IS("locked")) {
        result = 0;
        for (u64 i = 0; i < held; i++) {
            char path[64];
            struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
            snprintf(path, sizeof path, "/proc/self/fd/%d", holds[i]);
            int fd = open(path, O_RDWR);
            result += fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
            close(fd);
        }
        return result;
    }
    if (IS("filesize")) {
        struct rlimit limit = {a[0], a[0]};
        return setrlimit(RLIMIT_FSIZE, &limit);
    }

    if (IS("fork")) return in_child(strdup(rest), 0);
    if (IS("forkkeep")) return in_child(strdup(rest), 1);
    if (IS("vfork")) {
        int status = -1;
        pid_t child = vfork();
        if (child == 0) {
            execl(self, self, "-c", rest, (char *)NULL);
            _exit(127);
        }
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 9995;
    }
    if (IS("spawn")) {
        extern char **environ;
        char *arguments[] = {self, "-c", rest, NULL};
        pid_t child;
        int status = -1;
        if (posix_spawn(&child, self, NULL, NULL, arguments, environ))
            return 9995;
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 9995;
    }
    if (IS("threads")) {
        pthread_t threads[64];
        u64 bad = 0;
        for (u64 i = 0; i < a[0] && i < 64; i++)
            pthread_create(&threads[i], NULL, allocate_and_free, (void *)a[1]);
        for (u64 i = 0; i < a[0] && i < 64; i++) {
            void *each;
            pthread_join(threads[i], &each);
            bad += (u64)each;
        }
        return (int)bad;
    }
    /* Daemons clear their environment before they do anything else. */
    if (IS("clearenv")) {
        /* But for the simulated machine, which a device would not find in there. */
        static char machine[2][4096];
        const char *names[] = { "FCSP_SIM", "FCSP_SIM_STATE" };
        for (int i = 0; i < 2; i++)
            snprintf(machine[i], sizeof machine[i], "%s=%s", names[i], getenv(names[i]) ? getenv(names[i]) : "");
        clearenv();
        return putenv(machine[0]) | putenv(machine[1]);
    }
    /* From here on no file can be opened. */
    if (IS("nofile")) {
        struct rlimit none = { 0, 0 };
        return setrlimit(RLIMIT_NOFILE, &none);
    }
    /* small KIB COMMAND: the command on a thread whose stack has so many KiB. */
    if (IS("small")) {
        pthread_attr_t attributes;
        pthread_t thread;
        void *answer = NULL;
        char *command = rest + strspn(rest, "0123456789 ");
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, a[0] << 10) || pthread_create(&thread, &attributes, run_apart, command))
            return 9994;
        pthread_join(thread, &answer);
        return (int)(long)answer;
    }
    if (IS("storm")) storm(a[0], a[1] ? a[1] : 15);
    if (IS("exit")) exit((int)a[0]);
    fprintf(stderr, "no command %s\n", name);
    exit(64);
}

int main(int argc, char **argv) {
    static char line[4096], path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    self = length > 0 ? path : argv[0];
    if (argc > 2 && !strcmp(argv[1], "-c")) {
        int result = 0;
        for (char *save = NULL, *part = strtok_r(argv[2], ";", &save); part; part = strtok_r(NULL, ";", &save))
            result = run(part);
        return result & 0xff;
    }
    while (fgets(line, sizeof line, stdin)) {
        int result = run(line);
        printf("%d", result);
        for (int i = 0; i < outs; i++)
            printf(" %llu", out[i]);
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
