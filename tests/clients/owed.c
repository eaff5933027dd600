/* owed PROCESSES SECONDS MODE US EVERY: work whose cost is hard to learn, by so many processes of a tenant. Prints the
   device's time that they had together of each second, in parts of it; the simulated kernels take exactly what they say.

   MODE is graph (a new executable graph for each launch), old (one executable graph, after many others have come and gone),
   module (a module loaded anew for each launch), grid (a grid of its own for each launch), vary (10 us, and one of 50 takes
   5 ms) or same. US is a kernel's length; the host waits after every EVERYth launch. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef int result;
typedef void *handle;

static void *library;
static const char *mode;
static uint64_t length;
static long every;

static void *find(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "no %s\n", name);
        _exit(3);
    }
    return found;
}

static void must(result code, const char *what) {
    if (code) {
        fprintf(stderr, "%s: %d\n", what, code);
        _exit(4);
    }
}

#define CALL(name, types, ...) must(((result(*) types)find(#name))(__VA_ARGS__), #name)

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static const char PTX[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";

static handle stream, module, function;

static void load(void) {
    if (module)
        CALL(cuModuleUnload, (handle), module);
    CALL(cuModuleLoadData, (handle *, const void *), &module, PTX);
    CALL(cuModuleGetFunction, (handle *, handle, const char *), &function, module, "fcsp_spin");
}

static void launch(unsigned grid, uint64_t ns) {
    void *arguments[] = {&ns};
    CALL(cuLaunchKernel,
         (handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, handle, void **, void **),
         function, grid, 1, 1, 1, 1, 1, 0, stream, arguments, NULL);
}

static handle record(uint64_t ns) {
    handle graph;
    CALL(cuStreamBeginCapture_v2, (handle, int), stream, 2);
    launch(1, ns);
    CALL(cuStreamEndCapture, (handle, handle *), stream, &graph);
    return graph;
}

static handle executable(handle graph) {
    handle made;
    CALL(cuGraphInstantiateWithFlags, (handle *, handle, unsigned long long), &made, graph, 0);
    return made;
}

static void wait_for_all(void) { CALL(cuStreamSynchronize, (handle), stream); }

static int is(const char *name) { return !strcmp(mode, name); }

static void work(volatile uint64_t *had, double until) {
    handle context, graph = NULL, made = NULL;
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library)
        _exit(3);
    CALL(cuInit, (unsigned), 0);
    CALL(cuDevicePrimaryCtxRetain, (handle *, int), &context, 0);
    CALL(cuCtxSetCurrent, (handle), context);
    CALL(cuStreamCreate, (handle *, unsigned), &stream, 1);
    load();
    if (is("graph") || is("old"))
        graph = record(length);
    if (is("old")) {
        handle small = record(1000);
        for (long i = 0; i < 20000; i++) {
            made = executable(small);
            CALL(cuGraphLaunch, (handle, handle), made, stream);
            if (i % 64 == 0)
                wait_for_all();
            CALL(cuGraphExecDestroy, (handle), made);
        }
        wait_for_all();
        made = executable(graph);
    }
    uint64_t pending = 0;
    for (long i = 0; seconds() < until; i++) {
        uint64_t ns = length;
        if (is("graph")) {
            if (made)
                CALL(cuGraphExecDestroy, (handle), made);
            made = executable(graph);
        }
        if (graph) {
            CALL(cuGraphLaunch, (handle, handle), made, stream);
        } else {
            if (is("module"))
                load();
            if (is("vary"))
                ns = i % 50 == 25 ? 5000000 : 10000;
            launch(is("grid") ? 1 + i % 60000 : 1, ns);
        }
        pending += ns;
        if ((i + 1) % every == 0) {
            wait_for_all();
            *had += pending;
            pending = 0;
        }
    }
    _exit(0);
}

int main(int count, char **arguments) {
    if (count != 6)
        return 2;
    int processes = atoi(arguments[1]), length_s = atoi(arguments[2]), failed = 0, status;
    pid_t children[256];
    mode = arguments[3];
    length = strtod(arguments[4], NULL) * 1000;
    every = atol(arguments[5]);
    volatile uint64_t *had = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double began = seconds();
    for (int i = 0; i < processes; i++)
        if (!(children[i] = fork()))
            work(had + 8 * i, began + length_s);
    uint64_t before = 0;
    double at = began;
    for (int second = 1; second <= length_s; second++) {
        while (seconds() < began + second)
            usleep(1000);
        uint64_t all = 0;
        for (int i = 0; i < processes; i++)
            all += had[8 * i];
        double now = seconds();
        printf("%.4f\n", (all - before) * 1e-9 / (now - at));
        before = all;
        at = now;
    }
    for (int i = 0; i < processes; i++) {
        /* One that waits for its turn may wait for long. */
        kill(children[i], SIGKILL);
        failed |= waitpid(children[i], &status, 0) < 0 || (status && WTERMSIG(status) != SIGKILL);
    }
    return failed;
}
