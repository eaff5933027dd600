/* A C client of the driver library with prototypes of its own. One scenario a run, named by the first argument.
 * Prints what the test reads, one word or line at a time; a failed check prints where and exits 1. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef int R;
typedef void *H;

R cuInit(unsigned);
R cuDeviceGetCount(int *);
R cuDeviceGetUuid_v2(unsigned char *, int);
R cuDevicePrimaryCtxRetain(H *, int);
R cuDevicePrimaryCtxRelease_v2(int);
R cuDevicePrimaryCtxReset_v2(int);
R cuDevicePrimaryCtxGetState(int, unsigned *, int *);
R cuCtxCreate_v2(H *, unsigned, int);
R cuCtxDestroy_v2(H);
R cuCtxSetCurrent(H);
R cuCtxGetCurrent(H *);
R cuCtxPushCurrent_v2(H);
R cuCtxPopCurrent_v2(H *);
R cuCtxSynchronize(void);
R cuCtxSetLimit(int, size_t);
R cuMemGetInfo_v2(size_t *, size_t *);
R cuMemAlloc_v2(u64 *, size_t);
R cuMemFree_v2(u64);
R cuMemAllocPitch_v2(u64 *, size_t *, size_t, size_t, unsigned);
R cuMemAllocManaged(u64 *, size_t, unsigned);
R cuMemcpyHtoD_v2(u64, const void *, size_t);
R cuMemcpyDtoH_v2(void *, u64, size_t);
R cuMemsetD8_v2(u64, unsigned char, size_t);
R cuMemsetD8Async(u64, unsigned char, size_t, H);
R cuMemAllocAsync(u64 *, size_t, H);
R cuMemFreeAsync(u64, H);
R cuModuleLoadData(H *, const void *);
R cuModuleUnload(H);
R cuModuleGetFunction(H *, H, const char *);
R cuLaunchKernel(H, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, H, void **, void **);
R cuStreamCreate(H *, unsigned);
R cuStreamDestroy_v2(H);
R cuStreamSynchronize(H);
R cuStreamQuery(H);
R cuStreamWaitEvent(H, H, unsigned);
R cuStreamBeginCapture_v2(H, int);
R cuStreamEndCapture(H, H *);
R cuStreamWriteValue32_v2(H, u64, uint32_t, unsigned);
R cuStreamWaitValue32_v2(H, u64, uint32_t, unsigned);
R cuLaunchHostFunc(H, void (*)(void *), void *);
R cuEventCreate(H *, unsigned);
R cuEventRecord(H, H);
R cuEventSynchronize(H);
R cuGraphInstantiateWithFlags(H *, H, u64);
R cuGraphLaunch(H, H);
R cuGraphExecDestroy(H);
R cuGraphDestroy(H);
R cuGraphGetNodes(H, H *, size_t *);
R cuDeviceGraphMemTrim(int);
struct ipc { char b[64]; };
R cuIpcOpenMemHandle_v2(u64 *, struct ipc, unsigned);
R cuIpcGetMemHandle(struct ipc *, u64);
R cuIpcCloseMemHandle(u64);
R cuMemHostAlloc(void **, size_t, unsigned);
R cuGetProcAddress_v2(const char *, void **, int, u64, int *);
R cuGetExportTable(const void **, const void *);
R cuTexRefCreate(H *);
struct external { int type; union { int fd; void *p[2]; } handle; u64 size; unsigned flags, reserved[16]; };
struct buffer { u64 offset, size; unsigned flags, reserved[16]; };
R cuImportExternalMemory(H *, const struct external *);
R cuExternalMemoryGetMappedBuffer(u64 *, H, const struct buffer *);
R cuDestroyExternalMemory(H);
R cuMemcpyHtoDAsync_v2(u64, const void *, size_t, H);
R cuMemcpyDtoHAsync_v2(void *, u64, size_t, H);
struct memop { unsigned kind; u64 at, value; unsigned flags; u64 rest[2]; };
R cuStreamBatchMemOp_v2(H, unsigned, struct memop *, unsigned);
R cuLinkCreate_v2(unsigned, void *, void *, H *);
R cuLinkAddData_v2(H, int, const void *, size_t, const char *, unsigned, void *, void *);
R cuLinkComplete(H, void **, size_t *);
R cuLinkDestroy(H);

struct prop { int type, handles, where, id; void *win; u64 flags; };
struct access { int where, id, flags; };
R cuMemCreate(u64 *, size_t, const struct prop *, u64);
R cuMemRelease(u64);
R cuMemAddressReserve(u64 *, size_t, size_t, u64, u64);
R cuMemMap(u64, size_t, size_t, u64, u64);
R cuMemSetAccess(u64, size_t, const struct access *, size_t);
R cuMemExportToShareableHandle(void *, u64, int, u64);
R cuMemImportFromShareableHandle(u64 *, void *, int);

#define OK(x) IS(x, 0)
#define IS(x, want)                                                                     \
    do {                                                                                \
        int r_ = (x);                                                                   \
        if (r_ != (want)) {                                                             \
            fprintf(stderr, "line %d: %s = %d, not %d\n", __LINE__, #x, r_, (int)(want)); \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static H context, module, spin, fill, trap;

static void start(void) {
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
}

static void load(void) {
    OK(cuModuleLoadData(&module, "\x7f" "ELF a binary image of any kind"));
    OK(cuModuleGetFunction(&spin, module, "fcsp_spin"));
    OK(cuModuleGetFunction(&fill, module, "fcsp_fill"));
    OK(cuModuleGetFunction(&trap, module, "fcsp_trap"));
}

static R launch(H f, H stream, void **args) { return cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, stream, args, 0); }

static R spin_for(u64 ns, H stream) {
    void *args[] = {&ns};
    return launch(spin, stream, args);
}

static size_t freebytes(void) {
    size_t f, t;
    OK(cuMemGetInfo_v2(&f, &t));
    return f;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void say(const char *s) {
    puts(s);
    fflush(stdout);
}

static void pause_for_test(void) {
    char line[8];
    if (!fgets(line, sizeof line, stdin)) exit(0);
}

/* When told to, takes pages until refused, says how many, and holds them until told to go on. */
static void hog(void) {
    start();
    say("ready");
    pause_for_test();
    u64 p;
    int n = 0, r;
    while ((r = cuMemAlloc_v2(&p, 2 << 20)) == 0) n++;
    IS(r, 2);
    printf("%d\n", n);
    fflush(stdout);
    pause_for_test();
}

/* Keeps the device busy until told to stop, then waits to be read out. */
static volatile int stop;
static void *reader(void *arg) {
    (void)arg;
    pause_for_test();
    stop = 1;
    return 0;
}
static void busy(u64 ns) {
    start();
    load();
    pthread_t t;
    pthread_create(&t, 0, reader, 0);
    say("busy");
    while (!stop) {
        for (int i = 0; i < 8; i++) OK(spin_for(ns, 0));
        OK(cuCtxSynchronize());
    }
    say("stopped");
    pause_for_test();
}

static void sizes(void) {
    start();
    size_t f0 = freebytes();
    u64 p[8];
    size_t want[][2] = {{1, 2 << 20}, {65536, 2 << 20}, {524288, 4 << 20}, {1048576, 8 << 20}, {1048577, 16 << 20}};
    for (unsigned k = 0; k < sizeof want / sizeof *want; k++) {
        for (int i = 0; i < 8; i++) OK(cuMemAlloc_v2(&p[i], want[k][0]));
        IS(f0 - freebytes() == want[k][1], 1);
        for (int i = 0; i < 8; i++) OK(cuMemFree_v2(p[i]));
        IS(f0 == freebytes(), 1);
    }
    size_t pitch;
    OK(cuMemAllocPitch_v2(p, &pitch, 1000, 10, 4));
    IS(pitch, 1024);
    OK(cuMemFree_v2(p[0]));
    IS(cuMemFree_v2(p[0]), 1);
    OK(cuMemAllocManaged(p, 8 << 20, 1));
    IS(f0 - freebytes(), 0);
    OK(cuMemsetD8_v2(p[0], 1, 3 << 20));
    IS(f0 - freebytes(), 4 << 20);
    OK(cuMemFree_v2(p[0]));
    OK(cuCtxSetLimit(0, 2048));
    IS(f0 - freebytes(), 4 * 2048 * 1024);
    OK(cuCtxSetLimit(0, 1024));
    H second;
    OK(cuCtxCreate_v2(&second, 0, 0));
    IS(f0 - freebytes(), 8 << 20);
    OK(cuMemAlloc_v2(p, 5 << 20));
    OK(cuCtxDestroy_v2(second));
    OK(cuCtxSetCurrent(context));
    IS(f0 == freebytes(), 1);
    H m;
    OK(cuModuleLoadData(&m, ".version 7.0\n.target sm_80\n.address_size 64\n.global .align 4 .b8 big[4194304];\n"));
    IS(f0 - freebytes(), 4 << 20);
    OK(cuModuleUnload(m));
    IS(f0 == freebytes(), 1);
    say("done");
}

static void contexts(void) {
    OK(cuInit(0));
    H a, b, c;
    IS(cuCtxSynchronize(), 201);
    OK(cuDevicePrimaryCtxRetain(&a, 0));
    OK(cuDevicePrimaryCtxRetain(&b, 0));
    IS(a == b, 1);
    OK(cuCtxPushCurrent_v2(a));
    OK(cuCtxCreate_v2(&c, 0, 0));
    H now_;
    OK(cuCtxGetCurrent(&now_));
    IS(now_ == c, 1);
    OK(cuCtxPopCurrent_v2(&now_));
    IS(now_ == c, 1);
    OK(cuCtxGetCurrent(&now_));
    IS(now_ == a, 1);
    OK(cuCtxDestroy_v2(c));
    /* A destroyed context can be made current, and then refuses. */
    OK(cuCtxSetCurrent(c));
    IS(cuCtxSynchronize(), 709);
    OK(cuCtxSetCurrent(a));
    unsigned flags;
    int active;
    OK(cuDevicePrimaryCtxRelease_v2(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    IS(active, 1);
    OK(cuDevicePrimaryCtxReset_v2(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    IS(active, 0);
    u64 p;
    IS(cuMemAlloc_v2(&p, 1), 709);
    OK(cuDevicePrimaryCtxRelease_v2(0));
    IS(cuDevicePrimaryCtxRelease_v2(0), 201);
    OK(cuDevicePrimaryCtxRetain(&a, 0));
    OK(cuCtxSetCurrent(a));
    OK(cuMemAlloc_v2(&p, 1));
    IS(cuTexRefCreate(&now_), 801);
    const void *table;
    IS(cuGetExportTable(&table, "sixteen bytes..."), 500);
    say("done");
}

static void trapped(void) {
    start();
    load();
    OK(launch(trap, 0, 0));
    IS(cuCtxSynchronize(), 700);
    u64 p;
    IS(cuMemAlloc_v2(&p, 1), 700);
    IS(launch(trap, 0, 0), 700);
    H other;
    OK(cuCtxCreate_v2(&other, 0, 0));
    OK(cuMemAlloc_v2(&p, 1));
    say("done");
}

static void forks(void) {
    /* A child made before initialisation is a process like any other. */
    pid_t early = fork();
    if (!early) {
        start();
        u64 p;
        OK(cuMemAlloc_v2(&p, 1 << 20));
        exit(0);
    }
    int st;
    waitpid(early, &st, 0);
    IS(st, 0);
    start();
    load();
    OK(spin_for(300000000, 0));
    pid_t late = fork();
    if (!late) {
        u64 p;
        IS(cuMemAlloc_v2(&p, 1 << 20), 3);
        IS(cuInit(0), 3);
        IS(cuCtxSynchronize(), 3);
        exit(0);
    }
    waitpid(late, &st, 0);
    IS(st, 0);
    OK(cuCtxSynchronize());
    /* A child that outlives its parent must not keep the parent's memory taken. */
    u64 p;
    OK(cuMemAlloc_v2(&p, 64 << 20));
    if (!fork()) {
        fclose(stdout);
        sleep(20);
        _exit(0);
    }
    say("done");
}

static void exits_busy(void) {
    start();
    load();
    OK(spin_for(60000000000ull, 0));
    say("done");
}

static void *churn(void *arg) {
    OK(cuCtxSetCurrent(context));
    H s;
    OK(cuStreamCreate(&s, 1));
    unsigned char tag = (unsigned char)(uintptr_t)arg, got[64];
    for (int i = 0; i < 60; i++) {
        u64 p, q;
        OK(cuMemAlloc_v2(&p, 4096 + i));
        OK(cuMemAllocAsync(&q, 1 << 16, s));
        OK(cuMemsetD8Async(p, tag, 64, s));
        OK(cuMemsetD8Async(q, tag, 64, s));
        OK(spin_for(20000, s));
        OK(cuStreamSynchronize(s));
        OK(cuMemcpyDtoH_v2(got, p, 64));
        for (int k = 0; k < 64; k++) IS(got[k], tag);
        OK(cuMemFreeAsync(q, s));
        OK(cuMemFree_v2(p));
    }
    OK(cuStreamDestroy_v2(s));
    return 0;
}

static void threads(void) {
    start();
    load();
    size_t f0 = freebytes();
    pthread_t t[6];
    for (uintptr_t i = 0; i < 6; i++) pthread_create(&t[i], 0, churn, (void *)(i + 1));
    for (int i = 0; i < 6; i++) pthread_join(t[i], 0);
    OK(cuCtxSynchronize());
    IS(f0 == freebytes(), 1);
    say("done");
}

static void hook(void *data) { *(volatile int *)data += 1; }

static void capture(void) {
    start();
    load();
    H a, b, e, f, g, x;
    OK(cuStreamCreate(&a, 1));
    OK(cuStreamCreate(&b, 1));
    OK(cuEventCreate(&e, 2));
    OK(cuEventCreate(&f, 2));
    u64 p, tmp;
    OK(cuMemAlloc_v2(&p, 4096));
    OK(cuMemsetD8_v2(p, 0, 4096));
    uint32_t value = 5;
    u64 n = 1024;
    void *args[] = {&p, &value, &n};
    volatile int hits = 0;
    size_t f0 = freebytes();
    /* An allocation is refused beside a capture, and ends it. */
    OK(cuStreamBeginCapture_v2(a, 0));
    IS(cuMemAlloc_v2(&tmp, 1), 900);
    IS(cuStreamEndCapture(a, &g), 901);
    OK(cuStreamBeginCapture_v2(a, 0));
    OK(launch(fill, a, args));
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    OK(cuMemAllocAsync(&tmp, 3 << 20, b));
    OK(cuMemsetD8Async(tmp, 1, 3 << 20, b));
    OK(cuMemFreeAsync(tmp, b));
    OK(cuLaunchHostFunc(b, hook, (void *)&hits));
    OK(cuEventRecord(f, b));
    OK(cuStreamWaitEvent(a, f, 0));
    OK(cuStreamEndCapture(a, &g));
    size_t count = 0;
    OK(cuGraphGetNodes(g, 0, &count));
    IS(count, 5);
    IS(f0 == freebytes(), 1);
    OK(cuGraphInstantiateWithFlags(&x, g, 0));
    value = 77; /* Parameters were taken at capture. */
    for (int i = 0; i < 3; i++) OK(cuGraphLaunch(x, a));
    OK(cuStreamSynchronize(a));
    IS(hits, 3);
    IS(f0 - freebytes(), 4 << 20);
    OK(cuDeviceGraphMemTrim(0));
    IS(f0 == freebytes(), 1);
    uint32_t back[1024];
    OK(cuMemcpyDtoH_v2(back, p, 4096));
    IS(back[0], 5);
    IS(back[1023], 5);
    OK(cuGraphExecDestroy(x));
    OK(cuGraphDestroy(g));
    /* A stream that was drawn in and not joined again. */
    OK(cuStreamBeginCapture_v2(a, 0));
    OK(cuEventRecord(e, a));
    OK(cuStreamWaitEvent(b, e, 0));
    OK(launch(fill, b, args));
    IS(cuStreamEndCapture(b, &g), 903);
    IS(cuStreamEndCapture(a, &g), 904);
    /* Waiting spoils a capture. */
    OK(cuStreamBeginCapture_v2(a, 2));
    IS(cuStreamSynchronize(a), 900);
    IS(cuStreamEndCapture(a, &g), 901);
    IS(cuStreamEndCapture(a, &g), 401);
    OK(cuMemFree_v2(p));
    say("done");
}

static void ordering(void) {
    start();
    load();
    H s;
    OK(cuStreamCreate(&s, 1));
    void *word;
    OK(cuMemHostAlloc(&word, 64, 0));
    *(volatile uint32_t *)word = 0;
    volatile int hits = 0;
    OK(cuStreamWaitValue32_v2(s, (u64)word, 1, 1));
    OK(cuLaunchHostFunc(s, hook, (void *)&hits));
    usleep(20000);
    IS(hits, 0);
    IS(cuStreamQuery(s), 600);
    OK(cuStreamWriteValue32_v2(0, (u64)word, 1, 0));
    OK(cuStreamSynchronize(s));
    IS(hits, 1);
    /* Pageable memory is read before the call returns. */
    u64 p;
    char text[] = "before", back[8] = "";
    OK(cuMemAlloc_v2(&p, 16));
    OK(spin_for(20000000, s));
    OK(cuMemcpyHtoDAsync_v2(p, text, 7, s));
    memcpy(text, "after!", 7);
    OK(cuMemcpyDtoHAsync_v2(back, p, 7, s));
    IS(strcmp(back, "before"), 0);
    /* A batch of memory operations is one after the other: wait for 9, then write 10. */
    struct memop ops[2] = {{4, (u64)word, 9, 1, {0}}, {5, (u64)word, 10, 0, {0}}};
    OK(cuStreamBatchMemOp_v2(s, 2, ops, 0));
    usleep(10000);
    IS(*(volatile u64 *)word == 1, 1);
    *(volatile u64 *)word = 9;
    OK(cuStreamSynchronize(s));
    IS(*(volatile u64 *)word == 10, 1);
    /* What the linker makes can be loaded. */
    H link, m, f;
    void *image;
    size_t size;
    const char a[] = ".version 7.0\n.target sm_80\n.visible .entry one() { ret; }";
    const char b[] = ".version 7.0\n.target sm_80\n.visible .entry two(.param .u64 p) { ret; }";
    OK(cuLinkCreate_v2(0, 0, 0, &link));
    OK(cuLinkAddData_v2(link, 1, a, sizeof a, "a", 0, 0, 0));
    OK(cuLinkAddData_v2(link, 1, b, sizeof b, "b", 0, 0, 0));
    OK(cuLinkComplete(link, &image, &size));
    OK(cuModuleLoadData(&m, image));
    OK(cuLinkDestroy(link));
    OK(cuModuleGetFunction(&f, m, "one"));
    OK(cuModuleGetFunction(&f, m, "two"));
    IS(cuModuleGetFunction(&f, m, "three"), 500);
    say("done");
}

static void procs(void) {
    OK(cuInit(0));
    void *self = dlopen("libcuda.so.1", RTLD_NOW);
    struct { const char *name; int version; u64 flags; const char *symbol; } q[] = {
        {"cuMemAlloc", 13000, 0, "cuMemAlloc_v2"},   {"cuMemAlloc", 2000, 0, "cuMemAlloc"},
        {"cuCtxCreate", 13000, 0, "cuCtxCreate_v4"}, {"cuCtxCreate", 12000, 0, "cuCtxCreate_v3"},
        {"cuLaunchKernel", 13000, 1, "cuLaunchKernel"}, {"cuLaunchKernel", 13000, 2, "cuLaunchKernel_ptsz"},
        {"cuMemcpyHtoD", 12000, 2, "cuMemcpyHtoD_v2_ptds"}, {"cuMemFree", 12000, 2, "cuMemFree_v2"},
        {"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"}, {"cuGetProcAddress", 11030, 0, "cuGetProcAddress"},
        {"cuGraphInstantiate", 12000, 0, "cuGraphInstantiateWithFlags"},
        {"cuStreamGetCaptureInfo", 12030, 2, "cuStreamGetCaptureInfo_v3_ptsz"},
    };
    for (unsigned i = 0; i < sizeof q / sizeof *q; i++) {
        void *p = 0;
        int st = -1;
        OK(cuGetProcAddress_v2(q[i].name, &p, q[i].version, q[i].flags, &st));
        IS(st, 0);
        if (p != dlsym(self, q[i].symbol)) {
            fprintf(stderr, "%s is not %s\n", q[i].name, q[i].symbol);
            exit(1);
        }
    }
    void *p = (void *)1;
    int st = -1;
    OK(cuGetProcAddress_v2("cuNoSuchFunction", &p, 13000, 0, &st));
    IS(st, 1);
    IS(p == 0, 1);
    OK(cuGetProcAddress_v2("cuMemAllocAsync", &p, 11000, 0, &st));
    IS(st, 2);
    IS(cuGetProcAddress_v2("cuMemAlloc", &p, 99000, 0, &st), 1);
    say("done");
}

/* Two processes: this one shares memory by ticket and by descriptor, its child uses both. */
static void sharing(void) {
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pid_t child = fork();
    /* Each keeps its own end, so that neither waits for one that has failed. */
    close(pair[child ? 1 : 0]);
    const size_t N = 2 << 20;
    struct prop prop = {1, 1, 1, 0, 0, 0};
    struct access rw = {1, 0, 3};
    struct ipc ticket;
    char cbuf[CMSG_SPACE(sizeof(int))];
    struct iovec io = {&ticket, sizeof ticket};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = cbuf, .msg_controllen = sizeof cbuf};
    u64 at;
    unsigned char got = 0;
    if (child) {
        start();
        u64 p, h;
        OK(cuMemAlloc_v2(&p, 1000));
        OK(cuMemAlloc_v2(&p, 1000));
        OK(cuMemsetD8_v2(p, 11, 1000));
        OK(cuIpcGetMemHandle(&ticket, p));
        IS(cuIpcOpenMemHandle_v2(&at, ticket, 1), 201);
        OK(cuMemCreate(&h, N, &prop, 0));
        int fd;
        OK(cuMemExportToShareableHandle(&fd, h, 1, 0));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        size_t f0 = freebytes();
        IS(sendmsg(pair[0], &msg, 0) == sizeof ticket, 1);
        IS(read(pair[0], &got, 1), 1);
        OK(cuMemcpyDtoH_v2(&got, p + 999, 1));
        IS(got, 22);
        OK(cuMemAddressReserve(&at, N, 0, 0, 0));
        OK(cuMemMap(at, N, 0, h, 0));
        OK(cuMemSetAccess(at, N, &rw, 1));
        OK(cuMemcpyDtoH_v2(&got, at + 12345, 1));
        IS(got, 33);
        IS(f0 - freebytes(), 8 << 20); /* The child's context, and nothing for what it imported. */
        IS(write(pair[0], "x", 1), 1);
        int st;
        waitpid(child, &st, 0);
        IS(st, 0);
        say("done");
        return;
    }
    IS(recvmsg(pair[1], &msg, 0) == sizeof ticket, 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    start();
    OK(cuIpcOpenMemHandle_v2(&at, ticket, 1));
    OK(cuMemcpyDtoH_v2(&got, at + 999, 1));
    IS(got, 11);
    OK(cuMemsetD8_v2(at, 22, 1000));
    /* The descriptor can come in as another API's memory as well. */
    H ext;
    struct external desc = {.type = 1, .handle.fd = dup(fd), .size = N};
    struct buffer part = {.offset = 4096, .size = 4096};
    OK(cuImportExternalMemory(&ext, &desc));
    u64 b;
    OK(cuExternalMemoryGetMappedBuffer(&b, ext, &part));
    OK(cuMemsetD8_v2(b, 44, 4096));
    u64 h, m;
    OK(cuMemImportFromShareableHandle(&h, (void *)(uintptr_t)fd, 1));
    OK(cuMemAddressReserve(&m, N, 0, 0, 0));
    OK(cuMemMap(m, N, 0, h, 0));
    OK(cuMemSetAccess(m, N, &rw, 1));
    OK(cuMemRelease(h));
    OK(cuMemcpyDtoH_v2(&got, m + 4096, 1));
    IS(got, 44);
    OK(cuDestroyExternalMemory(ext));
    OK(cuMemsetD8_v2(m, 33, N));
    IS(write(pair[1], "x", 1), 1);
    IS(read(pair[1], &got, 1), 1);
    OK(cuIpcCloseMemHandle(at));
    exit(0);
}

static void devices(void) {
    int r = cuInit(0), n = 0;
    if (r) {
        printf("%d\n", r);
        return;
    }
    OK(cuDeviceGetCount(&n));
    printf("%d", n);
    for (int i = 0; i < n; i++) {
        unsigned char id[16];
        OK(cuDeviceGetUuid_v2(id, i));
        printf(" %02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
    }
    puts("");
}

static void faults(void) {
    start();
    u64 p;
    for (int i = 0; i < 4; i++) {
        double t = now();
        int r = cuMemAlloc_v2(&p, 2 << 20);
        printf("%d %d ", r, now() - t > 0.03);
        fflush(stdout);
    }
    puts("");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "hog")) hog();
    else if (!strcmp(what, "busy")) busy(strtoull(argv[2], 0, 10));
    else if (!strcmp(what, "sizes")) sizes();
    else if (!strcmp(what, "contexts")) contexts();
    else if (!strcmp(what, "trapped")) trapped();
    else if (!strcmp(what, "forks")) forks();
    else if (!strcmp(what, "exits_busy")) exits_busy();
    else if (!strcmp(what, "threads")) threads();
    else if (!strcmp(what, "capture")) capture();
    else if (!strcmp(what, "ordering")) ordering();
    else if (!strcmp(what, "procs")) procs();
    else if (!strcmp(what, "sharing")) sharing();
    else if (!strcmp(what, "devices")) devices();
    else if (!strcmp(what, "faults")) faults();
    else return 2;
    return 0;
}
