/* What the simulated driver refuses, and what it ends a program for. Each scenario prints what it saw. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int R;
typedef void *H;
typedef unsigned long long P;

R cuInit(unsigned);
R cuDeviceGetCount(int *);
R cuDevicePrimaryCtxRetain(H *, int);
R cuCtxSetCurrent(H);
R cuMemAlloc_v2(P *, size_t);
R cuStreamCreate(H *, unsigned);
R cuStreamDestroy_v2(H);
R cuStreamSynchronize(H);
R cuEventCreate(H *, unsigned);
R cuEventRecord(H, H);
R cuMemGetInfo_v2(size_t *, size_t *);

#define CK(call) do { R r_ = (call); if (r_) { printf("%s = %d\n", #call, r_); exit(2); } } while (0)

static void begin(void) {
    H c;
    CK(cuInit(0));
    CK(cuDevicePrimaryCtxRetain(&c, 0));
    CK(cuCtxSetCurrent(c));
}

static void *nvml;
#define NVML(name, ...) ((R (*)())dlsym(nvml, #name))(__VA_ARGS__)
struct listed { unsigned pid; unsigned long long bytes; unsigned gi, ci; };

/* The lists of processes: own number's distance and MiB, then the code for the device's memory. */
static void nvml_lists(void) {
    begin();
    nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    R ready = NVML(nvmlInit_v2);
    if (ready) {
        printf("nvmlInit_v2 = %d\n", ready);
        return;
    }
    H device;
    CK(NVML(nvmlDeviceGetHandleByIndex_v2, 0u, &device));
    const char *names[] = {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3"};
    for (int i = 0; i < 2; i++) {
        struct listed all[4];
        unsigned n = 4;
        CK(((R (*)())dlsym(nvml, names[i]))(device, &n, all));
        printf("%u:", n);
        for (unsigned k = 0; k < n; k++)
            printf("+%d=%lld", (int)(all[k].pid - getpid()), all[k].bytes == ~0ull ? -1 : (long long)(all[k].bytes >> 20));
        printf(" ");
    }
    unsigned long long memory[3];
    printf("%d\n", NVML(nvmlDeviceGetMemoryInfo, device, memory));
}

/* A child by the given kind of fork: what cuMemAlloc says there, and in its parent afterwards. */
static void forked(const char *kind) {
    begin();
    P p;
    fflush(stdout);
    int child = !strcmp(kind, "fork")    ? fork()
                : !strcmp(kind, "_Fork") ? _Fork()
                : !strcmp(kind, "clone") ? (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                                         : -1;
    if (child == 0) {
        int n;
        R alloc = cuMemAlloc_v2(&p, 1 << 21), count = cuDeviceGetCount(&n), init = cuInit(0);
        _exit(alloc == 3 && count == 3 && init == 3 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d %d\n", status, cuMemAlloc_v2(&p, 1 << 21));
}

static volatile int initialising;

static void *initialises(void *unused) {
    initialising = (int)syscall(SYS_gettid);
    cuInit(0);
    return unused;
}

/* Whether a thread of this process is inside a system call. */
static int is_in(int thread, long number) {
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
    FILE *f = fopen(path, "r");
    if (f && !fgets(text, sizeof text, f))
        text[0] = 0;
    if (f)
        fclose(f);
    return atol(text) == number && text[0] != 'r';
}

/* A child forked while another thread is in cuInit, which waits for a lock that the caller of this program holds: how
   the child ends. Then the caller lets go. */
static void forks_in_init(void) {
    pthread_t t;
    alarm(60);
    pthread_create(&t, NULL, initialises, NULL);
    while (!initialising || !is_in(initialising, SYS_fcntl))
        usleep(1000);
    int child = fork();
    if (child == 0) {
        int n;
        alarm(20);
        _exit(cuDeviceGetCount(&n) == 3 && cuInit(0) == 3 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d\n", status);
    fflush(stdout);
    pthread_join(t, NULL);
    printf("%d\n", cuInit(0));
}

static void handler(int number) {
    (void)number;
    if (write(2, "handled\n", 8) != 8)
        _exit(5);
}

/* Uses a stream that is dead or never was one. */
static void crash(const char *what) {
    H s, e;
    begin();
    CK(cuStreamCreate(&s, 0));
    CK(cuEventCreate(&e, 0));
    CK(cuStreamDestroy_v2(s));
    if (!strcmp(what, "handled"))
        signal(SIGSEGV, handler);
    if (!strcmp(what, "foreign"))
        cuStreamSynchronize((H)0x123450);
    else
        cuEventRecord(e, s);
}

int main(int n, char **args) {
    const char *what = n > 1 ? args[1] : "";
    if (!strcmp(what, "nvml"))
        nvml_lists();
    else if (!strcmp(what, "forked"))
        forked(args[2]);
    else if (!strcmp(what, "forks_in_init"))
        forks_in_init();
    else if (!strcmp(what, "crash"))
        crash(args[2]);
    else if (!strcmp(what, "init"))
        printf("%d\n", cuInit(0));
    else
        return 3;
    return 0;
}
