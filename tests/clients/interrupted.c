/* A program whose threads are interrupted in the middle of driver calls, or begin them in odd circumstances.
 *
 *   interrupted jump BYTES     a signal handler leaves a call that waits, by siglongjmp. Then memory is taken until it is
 *                              refused, from so many bytes deeper on the stack. Prints the blocks of 64 MiB.
 *   interrupted cancel WHAT US a thread that launches, allocates, or opens the device is cancelled, so many microseconds
 *                              after it has begun. Prints whether it was, and the codes of an allocation within the quota
 *                              and of one beyond it, by another thread.
 *   interrupted stack BYTES    the device is first used, and launched on, by a thread with so small a stack. Prints the
 *                              codes within and beyond the quota and that of the launches.
 *   interrupted clock          launches, under a clock of the C library's that stands still for the preload library.
 *                              Prints how often that library has asked for it or slept by it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;
#define MIB (1ull << 20)
#define BLOCK (64 * MIB)

static int (*init)(unsigned), (*retain)(void **, int), (*set)(void *), (*alloc)(u64 *, size_t), (*release)(u64);
static int (*load)(void **, const void *), (*find)(void **, void *, const char *), (*synchronise)(void);
static int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
static void *context, *kernel;

static int open_device(void) {
    int result = init(0);
    if (!result)
        result = retain(&context, 0);
    return result ? result : set(context);
}

static int spin(u64 nanoseconds) {
    void *module, *parameters[1] = {&nanoseconds};
    const char *image = ".version 7.0\n.target sm_80\n.address_size 64\n"
                        ".visible .entry fcsp_spin(.param .u64 ns) { ret; }\n";
    int result = kernel ? 0 : load(&module, image);
    if (!result && !kernel)
        result = find(&kernel, module, "fcsp_spin");
    return result ? result : launch(kernel, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL);
}

static int within_and_beyond(int *beyond) {
    u64 address;
    int within = alloc(&address, BLOCK);
    *beyond = alloc(&address, 2048 * MIB);
    return within;
}

/* jump */

static sigjmp_buf back;
static void leave(int signal) { (void)signal; siglongjmp(back, 1); }

__attribute__((noinline)) static int fill(size_t bytes) {
    volatile char space[bytes + 1];
    u64 address;
    int blocks = 0;
    space[0] = 1;
    space[bytes] = 1;
    while (blocks < 100 && !alloc(&address, BLOCK))
        blocks++;
    return blocks + space[0] - space[bytes];
}

static int jump(size_t bytes) {
    u64 address;
    int result = open_device();
    if (!result)
        result = alloc(&address, 3 * MIB);
    if (!result)
        result = spin(400000000);
    if (result)
        return result;
    signal(SIGALRM, leave);
    if (!sigsetjmp(back, 1)) {
        struct itimerval soon = {{0, 0}, {0, 50000}};
        setitimer(ITIMER_REAL, &soon, NULL);
        release(address);
        puts("the call came back");
        return 3;
    }
    usleep(500000); /* until the kernel is done */
    printf("%d\n", fill(bytes));
    return 0;
}

/* cancel */

static const char *what;
static volatile int rounds;

static void *cancelled(void *unused) {
    u64 address;
    (void)unused;
    if (strcmp(what, "open") && set(context))
        return NULL;
    for (;;) {
        if (!strcmp(what, "launch"))
            spin(2000000);
        else if (!strcmp(what, "alloc")) {
            if (!alloc(&address, MIB))
                release(address);
        } else
            open_device();
        rounds++;
        pthread_testcancel();
    }
}

static int cancel(unsigned microseconds) {
    pthread_t thread;
    void *result = NULL;
    int beyond;
    if (strcmp(what, "open") && open_device())
        return 3;
    pthread_create(&thread, NULL, cancelled, NULL);
    while (strcmp(what, "open") && rounds < 20)
        usleep(1000);
    usleep(microseconds);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (!strcmp(what, "open") && open_device())
        return 4;
    int within = within_and_beyond(&beyond);
    printf("%d %d %d\n", result == PTHREAD_CANCELED, within, beyond);
    fflush(stdout);
    _exit(0);
}

/* stack */

static int codes[3];

static void *small(void *unused) {
    (void)unused;
    if (retain(&context, 0) || set(context))
        return NULL;
    codes[0] = within_and_beyond(&codes[1]);
    /* Under a share the later ones wait for the device, and some are timed. */
    for (int i = 0; i < 40 && !codes[2]; i++)
        codes[2] = spin(500000);
    if (!codes[2])
        codes[2] = synchronise();
    return NULL;
}

static int stack(size_t bytes) {
    pthread_t thread;
    pthread_attr_t how;
    pthread_attr_init(&how);
    if (pthread_attr_setstacksize(&how, bytes < (size_t)PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : bytes) || init(0) ||
        pthread_create(&thread, &how, small, NULL))
        return 3;
    pthread_join(thread, NULL);
    printf("%d %d %d\n", codes[0], codes[1], codes[2]);
    return 0;
}

/* clock */

static int asked, interposes;

static int is_ours(void *caller) {
    Dl_info about;
    return interposes && dladdr(caller, &about) && about.dli_fname && strstr(about.dli_fname, "libfcsp_cuda");
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (is_ours(__builtin_return_address(0))) {
        asked++;
        now->tv_sec = 1000000000;
        now->tv_nsec = 0;
        return 0;
    }
    return syscall(SYS_clock_gettime, id, now);
}

int nanosleep(const struct timespec *length, struct timespec *left) {
    asked += is_ours(__builtin_return_address(0));
    return syscall(SYS_nanosleep, length, left);
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *until, struct timespec *left) {
    asked += is_ours(__builtin_return_address(0));
    return syscall(SYS_clock_nanosleep, id, flags, until, left);
}

static int clocked(void) {
    interposes = 1;
    int result = open_device();
    for (int i = 0; i < 60 && !result; i++) {
        result = spin(2000000);
        if (!result)
            result = synchronise();
    }
    printf("%d\n", asked);
    return result;
}

int main(int argc, char **argv) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (argc < 2 || !driver)
        return 2;
    init = (int (*)(unsigned))dlsym(driver, "cuInit");
    retain = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
    set = (int (*)(void *))dlsym(driver, "cuCtxSetCurrent");
    alloc = (int (*)(u64 *, size_t))dlsym(driver, "cuMemAlloc_v2");
    release = (int (*)(u64))dlsym(driver, "cuMemFree_v2");
    load = (int (*)(void **, const void *))dlsym(driver, "cuModuleLoadData");
    find = (int (*)(void **, void *, const char *))dlsym(driver, "cuModuleGetFunction");
    synchronise = (int (*)(void))dlsym(driver, "cuCtxSynchronize");
    *(void **)&launch = dlsym(driver, "cuLaunchKernel");
    what = argc > 2 ? argv[2] : "";
    if (!strcmp(argv[1], "jump"))
        return jump(strtoul(what, NULL, 10));
    if (!strcmp(argv[1], "cancel"))
        return cancel(argc > 3 ? atoi(argv[3]) : 0);
    if (!strcmp(argv[1], "stack"))
        return stack(strtoul(what, NULL, 10));
    return clocked();
}
