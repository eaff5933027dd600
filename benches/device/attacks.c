// A program of a tenant that tries to have more than its share, and says when its kernels ended. Run by attacks.py.
//
//   attacks calibrate [KEY=VALUE...]   ns a launch of one kernel takes, back to back, without a share
//   attacks run [KEY=VALUE...]         gets ready, reads "go T" (CLOCK_MONOTONIC, s), works from T on, and prints what it had
//
//   name=TEXT       the kernel's name (fcsp_spin)
//   turns=N ns=X    a kernel of N turns, which takes X ns when nobody holds it back
//   long=N long_ns=X every=K   one launch in K takes N turns instead; the kernel, its grid and its handle are the same
//   kind=plain      the kernel, launched
//   kind=graph      a graph of it, with a new executable for each launch
//   kind=module     the module is loaded anew for each launch
//   kind=grid       a grid and a block of its own for each launch
//   made=N          so many executable graphs come and go first; the work is then one executable graph
//   sync=N          waits for the stream after every N launches; 0: never waits
//   depth=N         launches that may be under way, as far as the program can count them; 0: any number
//   burst=N         so many launches, and no more
//   pause_us=X      sleeps between two launches
//   counts=1        kernels count themselves (a device); 0: an event after each launch (the simulator runs no code)
//   seconds=X       for so long
//
// A kernel counts its turns where the host can see them, so that nothing of the program itself waits for the device or
// asks about it: that would be a mark by which a library may learn what a kernel costs.
#include "driver.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

typedef struct CUevent_st *CUevent;
static CUresult (*event_create)(CUevent *, unsigned), (*event_record)(CUevent, CUstream), (*event_query)(CUevent);
static CUresult (*module_unload)(CUmodule), (*graph_destroy)(CUgraph), (*exec_destroy)(CUgraphExec);
static CUresult (*host_alloc)(void **, size_t, unsigned), (*host_pointer)(CUdeviceptr *, void *, unsigned);

static Driver api, direct;
static CUcontext context;
static CUmodule module;
static CUfunction kernel;
static CUstream stream;
static volatile unsigned long long *seen; // turns that have ended, written by the device
static unsigned long long before;         // those that had ended when the work began
static CUdeviceptr sum, seen_there;

enum { BLOCKS = 132, THREADS = 256, BINS = 6000, RING = 1 << 16, KEPT = 64 };
static const double BIN = 0.01;

static struct {
    char name[128], kind[16];
    unsigned long long turns, long_turns;
    double ns, long_ns, seconds, pause_us;
    long every, made, sync, depth, burst, count;
    int counts;
} o = {.name = "fcsp_spin", .kind = "plain", .turns = 1000, .ns = 1, .seconds = 1, .sync = 1, .count = 20, .counts = 1};

// 16 dependent multiply-adds a turn; only the first thread counts, when its own turns are done.
static const char *PTX =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".visible .entry %s(.param .u64 turns, .param .u64 sum, .param .u64 seen) {\n"
    " .reg .f32 %%f<4>; .reg .b32 %%r<6>; .reg .b64 %%d<8>; .reg .pred %%p<5>;\n"
    " ld.param.u64 %%d1, [turns]; ld.param.u64 %%d2, [sum]; ld.param.u64 %%d3, [seen];\n"
    " mov.f32 %%f1, 0f3F800000; mov.f32 %%f2, 0f3F7FFFFF; mov.f32 %%f3, 0f33800000; mov.u64 %%d4, 0;\n"
    "again:\n"
    " fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3;\n"
    " fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3;\n"
    " fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3;\n"
    " fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3; fma.rn.f32 %%f1, %%f1, %%f2, %%f3;\n"
    " add.u64 %%d4, %%d4, 1; setp.lt.u64 %%p1, %%d4, %%d1; @%%p1 bra again;\n"
    " setp.lt.f32 %%p2, %%f1, 0fC0000000; @%%p2 st.global.f32 [%%d2], %%f1;\n"
    " mov.u32 %%r1, %%tid.x; mov.u32 %%r2, %%ctaid.x; or.b32 %%r3, %%r1, %%r2; setp.ne.u32 %%p3, %%r3, 0; @%%p3 bra done;\n"
    " atom.global.add.u64 %%d5, [%%d2], %%d1; add.u64 %%d6, %%d5, %%d1; st.volatile.global.u64 [%%d3], %%d6; membar.sys;\n"
    "done:\n ret;\n}\n";

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }

static void load_module(void) {
    static char text[8192];
    if (!text[0]) snprintf(text, sizeof text, PTX, o.name);
    CHECK(api.ModuleLoadData(&module, text));
    CHECK(api.ModuleGetFunction(&kernel, module, o.name));
}

static void get_ready(void) {
    CUdevice device;
    driver_load("proc", &api, &direct);
    void *h = driver_handle();
#define MORE(f, exported) if (!(*(void **)&f = dlsym(h, exported))) { fprintf(stderr, "no %s\n", exported); exit(3); }
    MORE(event_create, "cuEventCreate") MORE(event_record, "cuEventRecord") MORE(event_query, "cuEventQuery") MORE(module_unload, "cuModuleUnload")
    MORE(graph_destroy, "cuGraphDestroy") MORE(exec_destroy, "cuGraphExecDestroy") MORE(host_alloc, "cuMemHostAlloc") MORE(host_pointer, "cuMemHostGetDevicePointer_v2")
    CHECK(api.Init(0)); CHECK(api.DeviceGet(&device, 0)); CHECK(api.DevicePrimaryCtxRetain(&context, device)); CHECK(api.CtxSetCurrent(context));
    CHECK(api.StreamCreate(&stream, 1));
    CHECK(api.MemAlloc(&sum, 4096));
    CHECK(host_alloc((void **)&seen, 4096, 2));
    CHECK(host_pointer(&seen_there, (void *)seen, 0));
    *seen = 0;
    CHECK(api.MemsetD8(sum, 0, 4096));
    load_module();
}

static void launch(unsigned long long turns, unsigned blocks, unsigned threads) {
    void *arguments[] = {&turns, &sum, &seen_there};
    CHECK(api.LaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, NULL));
}

// ---- what has ended -------------------------------------------------------------------------------------------------

static double begins;               // when the work begins
static double had[BINS];            // ns of kernels that ran in each bin
static double ended_ns;
static _Atomic long launched, ended; // with events: launches, and those whose event has come
static struct { CUevent event; double ns; } ring[RING];
static _Atomic int over;

// Kernels of `ns` ended at `at`, one after the other: they ran until then.
static void ran(double ns, double at) {
    double from = at - begins - ns * 1e-9, to = at - begins;
    ended_ns += ns;
    for (long i = from < 0 ? 0 : (long)(from / BIN); i < BINS && i * BIN < to; i++) {
        double a = i * BIN > from ? i * BIN : from, b = (i + 1) * BIN < to ? (i + 1) * BIN : to;
        if (b > a) had[i] += (b - a) * 1e9;
    }
}

// How many ns the turns are worth that ended since the last look. A long launch has a price of its own.
static double worth(unsigned long long turns) {
    if (o.every && turns >= o.long_turns) {
        unsigned long long many = turns / o.long_turns;
        return many * o.long_ns + (double)(turns - many * o.long_turns) / o.turns * o.ns;
    }
    return (double)turns / o.turns * o.ns;
}

static void *look(void *unused) {
    (void)unused;
    unsigned long long last = before;
    CHECK(api.CtxSetCurrent(context));
    while (!over) {
        struct timespec nap = {0, 200000};
        nanosleep(&nap, NULL);
        if (o.counts) {
            unsigned long long turns = *seen;
            double at = now();
            if (turns != last) ran(worth(turns - last), at);
            last = turns;
        } else {
            double ns = 0, at = now();
            while (ended < launched && event_query(ring[ended % RING].event) == CUDA_SUCCESS) ns += ring[ended++ % RING].ns;
            if (ns > 0) ran(ns, at);
        }
    }
    return NULL;
}

// ---- the work -------------------------------------------------------------------------------------------------------

static CUgraph one_kernel(unsigned long long turns) {
    CUgraph graph; CUgraphNode node;
    void *arguments[] = {&turns, &sum, &seen_there};
    CUDA_KERNEL_NODE_PARAMS p = {.func = kernel, .gridDimX = BLOCKS, .gridDimY = 1, .gridDimZ = 1, .blockDimX = THREADS, .blockDimY = 1, .blockDimZ = 1, .kernelParams = arguments};
    CHECK(api.GraphCreate(&graph, 0));
    CHECK(api.GraphAddKernelNode(&node, graph, NULL, 0, &p));
    return graph;
}

static void work(void) {
    CUgraph graph = NULL; CUgraphExec exec = NULL;
    int fresh = !strcmp(o.kind, "graph"), reload = !strcmp(o.kind, "module"), grids = !strcmp(o.kind, "grid");
    if (fresh || o.made) {
        graph = one_kernel(o.turns);
        CHECK(api.GraphInstantiate(&exec, graph, 0));
    }
    static CUmodule kept[KEPT];
    double end = begins + o.seconds;
    for (long n = 0; now() < end && (!o.burst || n < o.burst); n++) {
        int is_long = o.every && n % o.every == o.every / 2;
        unsigned long long turns = is_long ? o.long_turns : o.turns;
        unsigned blocks = BLOCKS, threads = THREADS;
        if (reload && n) {
            // Not at once: the next one would have the same handles.
            if (kept[n % KEPT]) CHECK(module_unload(kept[n % KEPT]));
            kept[n % KEPT] = module;
            load_module();
        }
        // Never so many threads that they get in each other's way: each has the time that it has alone.
        if (grids) { blocks = 1 + n % (2 * BLOCKS); threads = 32 * (1 + n / (2 * BLOCKS) % 8); }
        if (fresh && n) { CHECK(exec_destroy(exec)); CHECK(api.GraphInstantiate(&exec, graph, 0)); }
        if (exec) CHECK(api.GraphLaunch(exec, stream)); else launch(turns, blocks, threads);
        if (!o.counts) {
            while (launched - ended >= RING - 1) usleep(100);
            CHECK(event_record(ring[launched % RING].event, stream));
            ring[launched % RING].ns = is_long ? o.long_ns : o.ns;
        }
        launched++;
        if (o.sync && (n + 1) % o.sync == 0) CHECK(api.StreamSynchronize(stream));
        while (o.depth && now() < end) {
            long done = o.counts ? (long)((*seen - before) / o.turns) : ended;
            if (launched - done < o.depth) break;
            usleep(20);
        }
        if (o.pause_us) usleep(o.pause_us);
    }
}

// Executable graphs that come and go, of a kernel that is over at once.
static void come_and_go(void) {
    CUgraph graph = one_kernel(1);
    for (long i = 0; i < o.made; i++) {
        CUgraphExec exec;
        CHECK(api.GraphInstantiate(&exec, graph, 0));
        CHECK(api.GraphLaunch(exec, stream));
        if (i % 64 == 0) CHECK(api.StreamSynchronize(stream));
        CHECK(exec_destroy(exec));
    }
    CHECK(api.StreamSynchronize(stream));
    CHECK(graph_destroy(graph));
}

static void read_options(int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        char *v = strchr(argv[i], '=');
        if (!v) exit(2);
        *v++ = 0;
#define TEXT(k, f) if (!strcmp(argv[i], k)) { snprintf(f, sizeof f, "%s", v); continue; }
#define NUMBER(k, f, read) if (!strcmp(argv[i], k)) { f = read; continue; }
        TEXT("name", o.name) TEXT("kind", o.kind)
        NUMBER("turns", o.turns, strtoull(v, 0, 10)) NUMBER("long", o.long_turns, strtoull(v, 0, 10)) NUMBER("ns", o.ns, atof(v)) NUMBER("long_ns", o.long_ns, atof(v))
        NUMBER("every", o.every, atol(v)) NUMBER("made", o.made, atol(v)) NUMBER("sync", o.sync, atol(v)) NUMBER("depth", o.depth, atol(v)) NUMBER("burst", o.burst, atol(v))
        NUMBER("count", o.count, atol(v)) NUMBER("counts", o.counts, atoi(v)) NUMBER("seconds", o.seconds, atof(v)) NUMBER("pause_us", o.pause_us, atof(v))
        fprintf(stderr, "%s?\n", argv[i]);
        exit(2);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    read_options(argc, argv);
    get_ready();
    if (!strcmp(argv[1], "calibrate")) {
        launch(o.turns, BLOCKS, THREADS); CHECK(api.StreamSynchronize(stream));
        double best = 1e99;
        for (int round = 0; round < 3; round++) {
            double t = now();
            for (long i = 0; i < o.count; i++) launch(o.turns, BLOCKS, THREADS);
            CHECK(api.StreamSynchronize(stream));
            t = (now() - t) / o.count;
            if (t < best) best = t;
        }
        printf("{\"ns\":%.1f,\"counts\":%d}\n", best * 1e9, *seen == o.turns * (3 * o.count + 1));
        return 0;
    }
    for (long i = 0; i < RING && !o.counts; i++) CHECK(event_create(&ring[i].event, 2));
    if (o.made) come_and_go();
    printf("{\"ready\":%d}\n", getpid());
    fflush(stdout);
    char line[64];
    if (!fgets(line, sizeof line, stdin) || sscanf(line, "go %lf", &begins) != 1) return 2;
    before = *seen;
    pthread_t looker;
    while (now() < begins) usleep(100);
    if (pthread_create(&looker, NULL, look, NULL)) return 2;
    work();
    double end = begins + o.seconds;
    while (now() < end) usleep(1000);
    over = 1;
    pthread_join(looker, NULL);
    printf("{\"launched\":%ld,\"ended_ns\":%.0f,\"had_ns\":[", (long)launched, ended_ns);
    for (long i = 0; i < BINS && i * BIN < o.seconds; i++) printf("%s%.0f", i ? "," : "", had[i]);
    printf("]}\n");
    fflush(stdout);
    _exit(0); // what is still queued is nobody's to wait for
}
