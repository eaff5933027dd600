// Times driver calls one by one and in batches. Run by overhead.py, with and without the preload, in turn.
//
//   overhead [--route proc|dlsym|linked] suite REFUSED_BYTES SCALE   everything that needs one context
//   overhead context N                       N primary contexts, each after a real reset
//   overhead init                            cuInit and nothing else
//   overhead spawn N LIB PROG [ARG...]       start PROG N times with and N times without LD_PRELOAD=LIB, in turn
//
// One JSON object a line. "api" is what the program was given by its route, "real" the same function found in libcuda's
// own symbol table: without a preload they are one address and their difference is this method's noise.
#include "driver.h"
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static Driver api, direct;
static double ns_per_tick = 1.0, tick_cost;

static double now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static inline uint64_t ticks(void) {
#if defined(__x86_64__)
    unsigned lo, hi, aux;
    __asm__ volatile("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi), "=c"(aux) :: "memory");
    return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
    uint64_t v; __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(v) :: "memory"); return v;
#else
    return (uint64_t)now_ns();
#endif
}
static int by_value(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return (x > y) - (x < y); }
static void calibrate(void) {
    double t0 = now_ns(); uint64_t c0 = ticks();
    while (now_ns() - t0 < 5e7) {}
    ns_per_tick = (now_ns() - t0) / (double)(ticks() - c0);
    static double empty[2001];
    for (int i = 0; i < 2001; i++) { uint64_t a = ticks(); empty[i] = (ticks() - a) * ns_per_tick; }
    qsort(empty, 2001, sizeof(double), by_value);
    tick_cost = empty[1000]; // what two readings with nothing between them show
}

typedef struct { double *v; size_t n, cap; } Samples;
static void add(Samples *s, double x) {
    if (s->n == s->cap) { s->cap = s->cap ? s->cap * 2 : 4096; s->v = realloc(s->v, s->cap * sizeof(double)); if (!s->v) exit(5); }
    s->v[s->n++] = x;
}
static void summary(const char *label, Samples *s) {
    if (!s->n) { printf("\"%s\":null", label); return; }
    qsort(s->v, s->n, sizeof(double), by_value);
    double sum = 0; for (size_t i = 0; i < s->n; i++) sum += s->v[i];
#define Q(p) s->v[(size_t)((s->n - 1) * (p))]
    printf("\"%s\":{\"n\":%zu,\"mean\":%.2f,\"min\":%.2f,\"p25\":%.2f,\"p50\":%.2f,\"p75\":%.2f,\"p95\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}",
           label, s->n, sum / s->n, Q(0), Q(.25), Q(.5), Q(.75), Q(.95), Q(.99), Q(.999), Q(1));
#undef Q
}
static void report(const char *bench, int hooked, Samples *a, Samples *r) {
    printf("{\"bench\":\"%s\",\"unit\":\"ns\",\"hooked\":%s,", bench, hooked ? "true" : "false");
    summary("api", a); printf(","); summary("real", r); printf("}\n"); fflush(stdout);
    free(a->v); free(r->v); memset(a, 0, sizeof *a); memset(r, 0, sizeof *r);
}
// One single call, its own cost of being timed taken off.
#define TIMED(out, call) do { uint64_t a_ = ticks(); CUresult r_ = (call); uint64_t b_ = ticks(); \
    add(out, (b_ - a_) * ns_per_tick - tick_cost); if (r_) { fprintf(stderr, "%s returned %d\n", #call, r_); exit(4); } } while (0)

static CUdevice device; static CUcontext context; static CUstream stream; static CUfunction empty;
static const char *PTX = ".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry empty() { ret; }\n";

static void set_up(void) {
    CUmodule module;
    CHECK(api.Init(0)); CHECK(api.DeviceGet(&device, 0)); CHECK(api.DevicePrimaryCtxRetain(&context, device)); CHECK(api.CtxSetCurrent(context));
    CHECK(api.StreamCreate(&stream, 1)); CHECK(api.ModuleLoadData(&module, PTX)); CHECK(api.ModuleGetFunction(&empty, module, "empty"));
}

enum { BATCH = 128 }; // far below the driver's queue of about a thousand launches, and drained after each: no call waits for room

static void launches(int rounds) {
    Samples a = {0}, r = {0}, ta = {0}, tr = {0};
    Driver *both[2] = {&api, &direct};
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = both[which];
        double t0 = now_ns();
        for (int j = 0; j < BATCH; j++) CHECK(d->LaunchKernel(empty, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
        double t1 = now_ns(); CHECK(api.StreamSynchronize(stream));
        if (i >= rounds / 10) add(which ? &r : &a, (t1 - t0) / BATCH);
    }
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = both[which];
        for (int j = 0; j < BATCH; j++) TIMED(which ? &tr : &ta, d->LaunchKernel(empty, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
        CHECK(api.StreamSynchronize(stream));
    }
    report("launch", api.LaunchKernel != direct.LaunchKernel, &a, &r);
    report("launch_single", api.LaunchKernel != direct.LaunchKernel, &ta, &tr);
}

static void graphs(int rounds, int nodes) {
    Samples a = {0}, r = {0}, ta = {0}, tr = {0};
    CUgraph graph; CUgraphExec exec; CUgraphNode node, previous = NULL; char name[64];
    CUDA_KERNEL_NODE_PARAMS p = {.func = empty, .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 32, .blockDimY = 1, .blockDimZ = 1};
    CHECK(api.GraphCreate(&graph, 0));
    for (int i = 0; i < nodes; i++) { CHECK(api.GraphAddKernelNode(&node, graph, i ? &previous : NULL, i ? 1 : 0, &p)); previous = node; }
    CHECK(api.GraphInstantiate(&exec, graph, 0));
    CHECK(api.GraphLaunch(exec, stream)); CHECK(api.StreamSynchronize(stream));
    Driver *both[2] = {&api, &direct}; int batch = 32;
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = both[which];
        double t0 = now_ns();
        for (int j = 0; j < batch; j++) CHECK(d->GraphLaunch(exec, stream));
        double t1 = now_ns(); CHECK(api.StreamSynchronize(stream));
        if (i >= rounds / 10) add(which ? &r : &a, (t1 - t0) / batch);
        for (int j = 0; j < batch; j++) TIMED(which ? &tr : &ta, d->GraphLaunch(exec, stream));
        CHECK(api.StreamSynchronize(stream));
    }
    snprintf(name, sizeof name, "graph_launch_%d", nodes); report(name, api.GraphLaunch != direct.GraphLaunch, &a, &r);
    snprintf(name, sizeof name, "graph_launch_%d_single", nodes); report(name, api.GraphLaunch != direct.GraphLaunch, &ta, &tr);
}

static void allocations(const char *label, size_t bytes, int rounds) {
    Samples aa = {0}, ar = {0}, fa = {0}, fr = {0}; char name[64]; CUdeviceptr anchor, p;
    CHECK(api.MemAlloc(&anchor, bytes)); // keeps a small size's slab: otherwise each call would take and return 2 MiB
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = which ? &direct : &api; Samples skip = {0};
        int warm = i < rounds / 10;
        TIMED(warm ? &skip : which ? &ar : &aa, d->MemAlloc(&p, bytes));
        TIMED(warm ? &skip : which ? &fr : &fa, d->MemFree(p));
        free(skip.v);
    }
    CHECK(api.MemFree(anchor));
    snprintf(name, sizeof name, "alloc_%s", label); report(name, api.MemAlloc != direct.MemAlloc, &aa, &ar);
    snprintf(name, sizeof name, "free_%s", label); report(name, api.MemFree != direct.MemFree, &fa, &fr);
}

static void async_pairs(int rounds) {
    Samples a = {0}, r = {0}, aa = {0}, ar = {0}, fa = {0}, fr = {0}; CUmemoryPool pool; uint64_t keep = UINT64_MAX; CUdeviceptr p;
    CHECK(api.DeviceGetDefaultMemPool(&pool, device)); CHECK(api.MemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = which ? &direct : &api;
        double t0 = now_ns();
        for (int j = 0; j < 64; j++) { CHECK(d->MemAllocAsync(&p, 4096, stream)); CHECK(d->MemFreeAsync(p, stream)); }
        double t1 = now_ns(); CHECK(api.StreamSynchronize(stream));
        if (i >= rounds / 10) add(which ? &r : &a, (t1 - t0) / 64);
        for (int j = 0; j < 64; j++) { TIMED(which ? &ar : &aa, d->MemAllocAsync(&p, 4096, stream)); TIMED(which ? &fr : &fa, d->MemFreeAsync(p, stream)); }
        CHECK(api.StreamSynchronize(stream));
    }
    uint64_t drop = 0; CHECK(api.MemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &drop)); CHECK(api.StreamSynchronize(stream));
    report("async_pair_4K", api.MemAllocAsync != direct.MemAllocAsync, &a, &r);
    report("async_alloc_4K_single", api.MemAllocAsync != direct.MemAllocAsync, &aa, &ar);
    report("async_free_4K_single", api.MemFreeAsync != direct.MemFreeAsync, &fa, &fr);
}

static void handles(size_t bytes, int rounds) {
    Samples aa = {0}, ar = {0}, fa = {0}, fr = {0}; unsigned long long h;
    CUmemAllocationProp prop = {.type = 1, .location = {1, device}};
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = which ? &direct : &api; Samples skip = {0}; int warm = i < rounds / 10;
        TIMED(warm ? &skip : which ? &ar : &aa, d->MemCreate(&h, bytes, &prop, 0));
        TIMED(warm ? &skip : which ? &fr : &fa, d->MemRelease(h));
        free(skip.v);
    }
    report("mem_create_2M", api.MemCreate != direct.MemCreate, &aa, &ar);
    report("mem_release_2M", api.MemRelease != direct.MemRelease, &fa, &fr);
}

// The direct route would reach the real device's limit, which is another question; "real" is therefore empty here.
static void refusals(size_t bytes, int rounds) {
    Samples a = {0}, b = {0}, none = {0}; CUdeviceptr p;
    for (int i = 0; i < rounds; i++) {
        uint64_t t0 = ticks(); CUresult r = api.MemAlloc(&p, bytes); uint64_t t1 = ticks();
        if (r != CUDA_ERROR_OUT_OF_MEMORY) { fprintf(stderr, "an allocation of %zu bytes returned %d, not out of memory\n", bytes, r); exit(4); }
        if (i >= rounds / 10) add(&a, (t1 - t0) * ns_per_tick - tick_cost);
    }
    for (int i = 0; i < (rounds > 1000 ? rounds / 100 : 2); i++) {
        int n = rounds > 1000 ? 100 : 1; double t0 = now_ns();
        for (int j = 0; j < n; j++) if (api.MemAlloc(&p, bytes) != CUDA_ERROR_OUT_OF_MEMORY) exit(4);
        add(&b, (now_ns() - t0) / n);
    }
    report("refused", api.MemAlloc != direct.MemAlloc, &a, &none);
    report("refused_batch", api.MemAlloc != direct.MemAlloc, &b, &none);
}

static void queries(int rounds) {
    Samples a = {0}, r = {0}, m = {0}, h = {0}, none = {0}; size_t f, t; void *sink;
    for (int i = 0; i < rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; TIMED(which ? &r : &a, (which ? &direct : &api)->MemGetInfo(&f, &t));
    }
    report("mem_get_info", api.MemGetInfo != direct.MemGetInfo, &a, &r);
    for (int i = 0; i < rounds; i++) {
        double t0 = now_ns(); for (int j = 0; j < 16; j++) { sink = dlsym(driver_handle(), "fcsp_no_such_symbol"); __asm__ volatile("" :: "r"(sink)); }
        double t1 = now_ns(); for (int j = 0; j < 16; j++) { sink = dlsym(RTLD_DEFAULT, "malloc"); __asm__ volatile("" :: "r"(sink)); }
        add(&m, (t1 - t0) / 16); add(&h, (now_ns() - t1) / 16);
    }
    report("dlsym_miss", 0, &m, &none); report("dlsym_other", 0, &h, &none);
}

enum { THREADS = 8, EACH = 64 };
static pthread_barrier_t gate; static int thread_rounds;
typedef struct { Samples alloc[2], free_[2]; } Lane;
static void *lane(void *arg) {
    Lane *l = arg; CUdeviceptr p[EACH]; CHECK(api.CtxSetCurrent(context));
    for (int i = 0; i < thread_rounds; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1; Driver *d = which ? &direct : &api;
        pthread_barrier_wait(&gate); for (int j = 0; j < EACH; j++) TIMED(&l->alloc[which], d->MemAlloc(&p[j], 1 << 20));
        pthread_barrier_wait(&gate); for (int j = 0; j < EACH; j++) TIMED(&l->free_[which], d->MemFree(p[j]));
    }
    return NULL;
}
static void threads(int rounds) {
    pthread_t t[THREADS]; static Lane lanes[THREADS]; Samples out[4] = {{0}};
    thread_rounds = rounds; pthread_barrier_init(&gate, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) if (pthread_create(&t[i], NULL, lane, &lanes[i])) exit(5);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++) for (int w = 0; w < 2; w++) {
        for (size_t j = 0; j < lanes[i].alloc[w].n; j++) add(&out[w], lanes[i].alloc[w].v[j]);
        for (size_t j = 0; j < lanes[i].free_[w].n; j++) add(&out[2 + w], lanes[i].free_[w].v[j]);
    }
    report("threads8_alloc_1M", api.MemAlloc != direct.MemAlloc, &out[0], &out[1]);
    report("threads8_free_1M", api.MemFree != direct.MemFree, &out[2], &out[3]);
}

// A context is only created if the last one is gone, so the state is read before each: a reset that something swallowed would
// make every later creation free and the average flattering.
static void contexts(int n) {
    CHECK(api.Init(0)); CHECK(api.DeviceGet(&device, 0));
    printf("{\"bench\":\"context\",\"unit\":\"ns\",\"hooked\":%s,\"series\":[", api.DevicePrimaryCtxRetain != direct.DevicePrimaryCtxRetain ? "true" : "false");
    int swallowed = 0;
    for (int i = 0; i < n; i++) for (int k = 0; k < 2; k++) {
        int which = (i + k) & 1, active = 0; unsigned flags; Driver *d = which ? &direct : &api;
        CHECK(direct.DevicePrimaryCtxGetState(device, &flags, &active)); swallowed += active != 0;
        double t0 = now_ns(); CHECK(d->DevicePrimaryCtxRetain(&context, device)); double t1 = now_ns();
        CHECK(d->DevicePrimaryCtxReset(device)); double t2 = now_ns();
        // a reset leaves the reference; the release that matches the retain may say the context is gone already (201)
        CUresult r = d->DevicePrimaryCtxRelease(device); if (r != CUDA_SUCCESS && r != 201) CHECK(r);
        printf("%s[\"%s\",%.0f,%.0f]", i + k ? "," : "", which ? "real" : "api", t1 - t0, t2 - t1);
    }
    printf("],\"active_before_create\":%d}\n", swallowed);
}

static double run_once(char **argv, char **env) {
    pid_t pid; int status; double t0 = now_ns(); int e = posix_spawnp(&pid, argv[0], NULL, NULL, argv, env);
    if (e) { fprintf(stderr, "%s: %s\n", argv[0], strerror(e)); exit(5); }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    double t1 = now_ns();
    if (!WIFEXITED(status) || WEXITSTATUS(status)) { fprintf(stderr, "%s ended with status 0x%x\n", argv[0], status); exit(4); }
    return t1 - t0;
}
static void spawn(int n, const char *lib, char **argv) {
    static char preload[4096]; int count = 0; while (environ[count]) count++;
    char **with = calloc(count + 2, sizeof *with); snprintf(preload, sizeof preload, "LD_PRELOAD=%s", lib);
    memcpy(with, environ, count * sizeof *with); with[count] = preload;
    Samples w = {0}, o = {0}, diff = {0}; run_once(argv, environ); run_once(argv, with);
    for (int i = 0; i < n; i++) {
        double a, b;
        if (i & 1) { a = run_once(argv, with); b = run_once(argv, environ); } else { b = run_once(argv, environ); a = run_once(argv, with); }
        add(&w, a); add(&o, b); add(&diff, a - b);
    }
    printf("{\"bench\":\"spawn\",\"unit\":\"ns\",\"program\":\"%s\",", argv[0]);
    summary("with", &w); printf(","); summary("without", &o); printf(","); summary("difference", &diff); printf("}\n");
}

int main(int argc, char **argv) {
    const char *route = "proc"; int at = 1;
    if (argc > 2 && !strcmp(argv[1], "--route")) { route = argv[2]; at = 3; }
    if (argc <= at) { fprintf(stderr, "overhead [--route proc|dlsym|linked] suite|context|init|spawn ...\n"); return 2; }
    const char *what = argv[at];
    calibrate();
    if (!strcmp(what, "spawn") && argc > at + 3) { spawn(atoi(argv[at + 1]), argv[at + 2], argv + at + 3); return 0; }
    driver_load(route, &api, &direct);
    if (!strcmp(what, "init")) {
        int version = 0; double t0 = now_ns(); CHECK(api.Init(0)); double t1 = now_ns(); CHECK(api.DriverGetVersion(&version));
        printf("{\"bench\":\"init\",\"unit\":\"ns\",\"value\":%.0f,\"cuda\":%d}\n", t1 - t0, version); return 0;
    }
    if (!strcmp(what, "context") && argc > at + 1) { contexts(atoi(argv[at + 1])); return 0; }
    if (!strcmp(what, "suite") && argc > at + 2) {
        size_t refused = strtoull(argv[at + 1], NULL, 10); double scale = atof(argv[at + 2]);
        char name[128] = ""; set_up(); CHECK(api.DeviceGetName(name, sizeof name, device));
        printf("{\"bench\":\"setup\",\"device\":\"%s\",\"ns_per_tick\":%.5f,\"tick_cost_ns\":%.1f,\"route\":\"%s\"}\n", name, ns_per_tick, tick_cost, route);
        launches(400 * scale); graphs(200 * scale, 1); graphs(100 * scale, 32);
        allocations("4K", 4096, 2000 * scale); allocations("2M", 2 << 20, 800 * scale); allocations("64M", 64 << 20, 300 * scale);
        async_pairs(200 * scale); handles(2 << 20, 500 * scale);
        // a native refusal takes milliseconds, one at the quota should take a tenth of a microsecond
        refusals(refused, api.MemAlloc != direct.MemAlloc ? 100000 * scale : 20);
        queries(2000 * scale); threads(20 * scale > 2 ? 20 * scale : 2);
        return 0;
    }
    fprintf(stderr, "unknown or incomplete: %s\n", what);
    return 2;
}
