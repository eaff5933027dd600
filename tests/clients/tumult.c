/* Programs of one tenant that are killed while they work: memory by four routes, kernels whose time
 * depends on their data, graphs and modules that come and go, waits of every kind, children.
 *
 *   tumult kills COUNT SEED FAULTS FILE   runs eight processes, kills one at random and starts it
 *                                         anew, COUNT times. Prints the kills, the processes that
 *                                         were refused the device, and those that ended otherwise.
 *   tumult forks COUNT MODE SEED          forks COUNT children. MODE end: they end. MODE kill: they
 *                                         are killed. MODE thread: the parent allocates in four
 *                                         threads, and the driver refuses its children. Prints how
 *                                         many ended with code 0, were refused, were killed.
 *   tumult work SEED FAULTS FILE          is one of the eight
 *
 * FAULTS of a thousand system calls of the preload library fail: open, fcntl, mmap, fallocate,
 * ftruncate, pwrite, rename, mkdir. The time of kernels that a process knows to be done is added to
 * the first word of FILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef int (*function)(u64, u64, u64, u64, u64, u64);
#define MIB (1ull << 20)
enum { PROCESSES = 8, REFUSED = 100, GAVE_UP = 101 };

static uint64_t state;
static unsigned any(void) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 33;
}

/* Faults. */

static unsigned faults;
static _Atomic unsigned drawn;

/* Whether this call of the preload library's is to fail. */
static int fails(void *caller) {
    static const int errors[] = {EMFILE, ENOMEM, ENOSPC, EINTR};
    Dl_info about;
    if (!faults)
        return 0;
    unsigned draw = (drawn++ * 2654435761u + (unsigned)getpid() * 40503u) >> 8;
    if (draw % 1000 >= faults || !dladdr(caller, &about) || !about.dli_fname || !strstr(about.dli_fname, "libfcsp_"))
        return 0;
    errno = errors[draw / 1000 % 3];
    return 1;
}
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);
#define CALLER __builtin_return_address(0)
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); int how = va_arg(rest, int); va_end(rest); \
        REAL(int, name, const char *, int, ...) \
        return fails(CALLER) ? -1 : real(path, flags, how); \
    }
OPENS(open)
OPENS(open64)
#define CONTROLS(name) \
    int name(int fd, int command, ...) { \
        va_list rest; va_start(rest, command); void *what = va_arg(rest, void *); va_end(rest); \
        REAL(int, name, int, int, ...) \
        return fails(CALLER) ? -1 : real(fd, command, what); \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)
#define MAPS(name) \
    void *name(void *at, size_t length, int protection, int flags, int fd, off_t offset) { \
        REAL(void *, name, void *, size_t, int, int, int, off_t) \
        return fails(CALLER) ? MAP_FAILED : real(at, length, protection, flags, fd, offset); \
    }
MAPS(mmap)
MAPS(mmap64)
int fallocate(int fd, int how, off_t from, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t)
    return fails(CALLER) ? -1 : real(fd, how, from, length);
}
int ftruncate64(int fd, off_t length) {
    REAL(int, ftruncate64, int, off_t)
    return fails(CALLER) ? -1 : real(fd, length);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t)
    return fails(CALLER) ? -1 : real(fd, bytes, length, at);
}
int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *)
    return fails(CALLER) ? -1 : real(from, to);
}
int mkdir(const char *path, mode_t how) {
    REAL(int, mkdir, const char *, mode_t)
    return fails(CALLER) ? -1 : real(path, how);
}

/* The driver. */

static void *driver;
static u64 context, streams[2], module, spins;
static uint64_t *had, pending;

#define W(x) ((u64)(x))
static int call(const char *name, u64 a, u64 b, u64 c, u64 d, u64 e) {
    function found = (function)dlsym(driver, name);
    return found ? found(a, b, c, d, e, 0) : 9999;
}
#define C0(n) call(n, 0, 0, 0, 0, 0)
#define C1(n, a) call(n, W(a), 0, 0, 0, 0)
#define C2(n, a, b) call(n, W(a), W(b), 0, 0, 0)
#define C3(n, a, b, c) call(n, W(a), W(b), W(c), 0, 0)
#define C4(n, a, b, c, d) call(n, W(a), W(b), W(c), W(d), 0)

static const char PTX[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";

static int load(u64 *into) {
    int result = C2("cuModuleLoadData", into, PTX);
    return result ? result : C3("cuModuleGetFunction", &spins, *into, "fcsp_spin");
}
static int open_device(void) {
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    int result = driver ? C1("cuInit", 0) : 9998;
    if (!result) result = C2("cuDevicePrimaryCtxRetain", &context, 0);
    return result ? result : C1("cuCtxSetCurrent", context);
}
static int launch(u64 kernel, unsigned grid, u64 stream, void **parameters) {
    static int (*found)(u64, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, u64, void **, void **);
    if (!found) found = dlsym(driver, "cuLaunchKernel");
    return found(kernel, grid, 1, 1, 1, 1, 1, 0, stream, parameters, NULL);
}
/* One launch in 50 takes 200 times as long, and some have a grid of their own. */
static int work_on(u64 stream) {
    u64 ns = any() % 50 ? 10000 : 2000000;
    void *parameters[] = {&ns};
    int result = launch(spins, any() % 3 ? 1 : 1 + any() % 5000, stream, parameters);
    if (!result) pending += ns;
    return result;
}
static void waited(void) {
    __atomic_add_fetch(had, pending, __ATOMIC_RELAXED);
    pending = 0;
}

static void graph_on(u64 stream) {
    u64 graph = 0, executable = 0;
    if (C2("cuStreamBeginCapture_v2", stream, 2)) return;
    for (unsigned i = any() % 4 + 1; i; i--) work_on(stream);
    if (C2("cuStreamEndCapture", stream, &graph)) return;
    if (!C3("cuGraphInstantiateWithFlags", &executable, graph, 0)) {
        C2("cuGraphLaunch", executable, stream);
        C1("cuGraphExecDestroy", executable);
    }
    C1("cuGraphDestroy", graph);
}
static void memory(void) {
    static u64 kept[16];
    static int kind[16];
    struct { int type, handles, location, device; void *win32; unsigned char flags[8]; } prop = {1, 0, 1, 0, NULL, {0}};
    struct { size_t width, height; int format; unsigned channels; } array;
    unsigned at = any() % 16, what = any() % 4;
    u64 bytes = any() % (24 * MIB) + 1;
    if (kept[at]) {
        switch (kind[at]) {
        case 0: C1("cuMemFree_v2", kept[at]); break;
        case 1: C2("cuMemFreeAsync", kept[at], streams[0]); break;
        case 2: C1("cuMemRelease", kept[at]); break;
        default: C1("cuArrayDestroy", kept[at]);
        }
        kept[at] = 0;
        return;
    }
    array.width = bytes / 64 + 1, array.height = 16, array.format = 0x20, array.channels = 1;
    int result = 0;
    switch (kind[at] = what) {
    case 0: result = C2("cuMemAlloc_v2", &kept[at], bytes); break;
    case 1: result = C3("cuMemAllocAsync", &kept[at], bytes, streams[0]); break;
    case 2: result = C4("cuMemCreate", &kept[at], (bytes / (2 * MIB) + 1) * 2 * MIB, &prop, 0); break;
    default: result = C2("cuArrayCreate_v2", &kept[at], &array);
    }
    if (result) kept[at] = 0;
}
static void child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        u64 address;
        C2("cuMemAlloc_v2", &address, MIB);
        _exit(0);
    }
    if (pid > 0) waitpid(pid, NULL, 0);
}
/* Does something at random until it is killed. A refusal of memory is an answer. */
static int work(const char *path) {
    int fd = open(path, O_RDWR);
    had = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || had == MAP_FAILED) return GAVE_UP;
    if (open_device() || load(&module)) return REFUSED;
    for (int i = 0; i < 2; i++) if (C2("cuStreamCreate", &streams[i], 1)) return REFUSED;
    for (;;) {
        u64 other, event, free, all, stream = streams[any() % 2];
        switch (any() % 12) {
        case 0: case 1: case 2: case 3: for (unsigned i = any() % 8; i; i--) work_on(stream); break;
        case 4: case 5: case 6: memory(); break;
        case 7: if (!C1("cuStreamSynchronize", stream) && !C1("cuCtxSynchronize", 0)) waited(); break;
        case 8: graph_on(stream); break;
        case 9:
            if (!C2("cuEventCreate", &event, 2)) {
                C2("cuEventRecord", event, stream);
                C1("cuEventSynchronize", event);
                C1("cuEventDestroy_v2", event);
            }
            break;
        case 10: if (any() % 4 == 0) child(); else C2("cuMemGetInfo_v2", &free, &all); break;
        default:
            other = module;
            if (!load(&module)) C1("cuModuleUnload", other);
            else return REFUSED;
        }
    }
}

static pid_t begin(char *self, char *seed, char *thousandths, char *path) {
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, self, "work", seed, thousandths, path, (char *)NULL);
        _exit(GAVE_UP);
    }
    return pid;
}
static int kills(char *self, long count, char *thousandths, char *path) {
    pid_t pids[PROCESSES];
    long killed = 0, refused = 0, other = 0;
    char seed[32];
    for (int i = 0; i < PROCESSES; i++) {
        snprintf(seed, sizeof seed, "%u", any());
        pids[i] = begin(self, seed, thousandths, path);
    }
    while (killed < count) {
        unsigned kind = any() % 100;
        usleep(kind < 50 ? any() % 3000 : kind < 90 ? any() % 30000 : any() % 200000);
        int at = any() % PROCESSES, status;
        kill(pids[at], SIGKILL);
        if (waitpid(pids[at], &status, 0) != pids[at]) return 1;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) killed++;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED) refused++;
        else { other++; fprintf(stderr, "a process ended with status %#x\n", status); }
        snprintf(seed, sizeof seed, "%u", any());
        pids[at] = begin(self, seed, thousandths, path);
    }
    for (int i = 0; i < PROCESSES; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    printf("%ld %ld %ld\n", killed, refused, other);
    return 0;
}

static volatile int over;
static void *allocates(void *unused) {
    u64 address, free, all;
    C1("cuCtxSetCurrent", context);
    while (!over) {
        if (!C2("cuMemAlloc_v2", &address, MIB)) C1("cuMemFree_v2", address);
        C2("cuMemGetInfo_v2", &free, &all);
    }
    return unused;
}
static int one_of_a_storm(const char *mode) {
    u64 blocks[16], count = 0;
    alarm(60);
    int result = open_device();
    for (int i = 0; !result && i < 30; i++) {
        if (count < 16 && !C2("cuMemAlloc_v2", &blocks[count], (any() % 8 + 1) * MIB / 4)) count++;
        else if (count) C1("cuMemFree_v2", blocks[--count]);
    }
    while (!strcmp(mode, "kill")) pause();
    return result ? REFUSED : 0;
}
static int forks(long count, const char *mode) {
    static pid_t pids[4096];
    pthread_t threads[4];
    int with_threads = !strcmp(mode, "thread"), status;
    long right = 0, refused = 0, killed = 0;
    if (with_threads) {
        if (open_device()) return 1;
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, allocates, NULL);
    }
    for (long i = 0; i < count; i++) {
        state += 7;
        pids[i] = fork();
        if (pids[i] == 0) _exit(one_of_a_storm(mode));
    }
    for (long i = 0; i < count; i++) {
        if (!strcmp(mode, "kill")) {
            usleep(any() % 2000);
            kill(pids[i], SIGKILL);
        }
        waitpid(pids[i], &status, 0);
        right += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        refused += WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
        killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    over = 1;
    for (int i = 0; with_threads && i < 4; i++) pthread_join(threads[i], NULL);
    printf("%ld %ld %ld\n", right, refused, killed);
    return 0;
}

int main(int count, char **words) {
    if (count == 6 && !strcmp(words[1], "kills")) {
        state = strtoull(words[3], NULL, 0);
        return kills(words[0], atol(words[2]), words[4], words[5]);
    }
    if (count == 5 && !strcmp(words[1], "forks")) {
        state = strtoull(words[4], NULL, 0);
        return forks(atol(words[2]) < 4096 ? atol(words[2]) : 4096, words[3]);
    }
    if (count == 5 && !strcmp(words[1], "work")) {
        state = strtoull(words[2], NULL, 0);
        faults = atoi(words[3]);
        return work(words[4]);
    }
    return 64;
}
