/* A program whose first driver calls are interrupted at one step: something fails there, or the process is forked.
 *
 *   steps count              how many steps there are
 *   steps fail STEP ERRNO    the system call of that step fails
 *   steps sleep STEP         another thread forks at that step; the child sleeps until it is killed
 *   steps use STEP           the child makes driver calls of its own
 *   steps raw STEP           the same, forked by the system call itself, of which the C library learns nothing
 *
 * A step is a call that the preload library makes to one of the functions below, which this program interposes. They are
 * counted in one thread, from its first driver call to its last. Prints the steps seen; the codes of opening the device,
 * of an allocation within the quota and of one beyond it; the child's number, or how its calls went (0 to 255; 999 when they
 * never came back); and how many files of the state folder are still open here. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long u64;
#define MIB (1ull << 20)

static const char *mode = "count";
static long wanted, seen;
static int error;
static __thread int counted;
static sem_t reached, go_on;

/* Whether the call with this return address is the preload library's. */
static int is_ours(void *caller) {
    Dl_info about;
    return dladdr(caller, &about) && about.dli_fname && strstr(about.dli_fname, "libfcsp_");
}

/* Counts a step; true if it is to fail. */
static int step(void *caller, int can_fail) {
    if (!counted || !is_ours(caller))
        return 0;
    counted = 0; /* Whatever is called from here is no step. */
    int hit = ++seen == wanted, fails = hit && can_fail && !strcmp(mode, "fail");
    if (hit && !fails && strcmp(mode, "count") && strcmp(mode, "fail")) {
        sem_post(&reached);
        sem_wait(&go_on);
    }
    counted = 1;
    if (fails)
        errno = error;
    return fails;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) { int on = counted; counted = 0; real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name); counted = on; }
#define CALLER __builtin_return_address(0)
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); int how = va_arg(rest, int); va_end(rest); \
        REAL(int, name, const char *, int, ...) \
        return step(CALLER, 1) ? -1 : real(path, flags, how); \
    }
OPENS(open)
OPENS(open64)
#define CONTROLS(name) \
    int name(int fd, int command, ...) { \
        va_list rest; va_start(rest, command); void *what = va_arg(rest, void *); va_end(rest); \
        REAL(int, name, int, int, ...) \
        return step(CALLER, 1) ? -1 : real(fd, command, what); \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)
#define MAPS(name) \
    void *name(void *at, size_t length, int protection, int flags, int fd, off_t offset) { \
        REAL(void *, name, void *, size_t, int, int, int, off_t) \
        return step(CALLER, 1) ? MAP_FAILED : real(at, length, protection, flags, fd, offset); \
    }
MAPS(mmap)
MAPS(mmap64)
int fallocate(int fd, int how, off_t from, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t)
    return step(CALLER, 1) ? -1 : real(fd, how, from, length);
}
int ftruncate64(int fd, off_t length) {
    REAL(int, ftruncate64, int, off_t)
    return step(CALLER, 1) ? -1 : real(fd, length);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t)
    return step(CALLER, 1) ? -1 : real(fd, bytes, length, at);
}
int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *)
    return step(CALLER, 1) ? -1 : real(from, to);
}
int mkdir(const char *path, mode_t how) {
    REAL(int, mkdir, const char *, mode_t)
    return step(CALLER, 1) ? -1 : real(path, how);
}
int madvise(void *at, size_t length, int advice) {
    REAL(int, madvise, void *, size_t, int)
    return step(CALLER, 1) ? -1 : real(at, length, advice);
}
int munmap(void *at, size_t length) {
    REAL(int, munmap, void *, size_t)
    step(CALLER, 0);
    return real(at, length);
}
int close(int fd) {
    REAL(int, close, int)
    step(CALLER, 0);
    return real(fd);
}

static int (*init)(unsigned), (*retain)(void **, int), (*set)(void *), (*alloc)(u64 *, size_t), (*info)(size_t *, size_t *);

static int codes[3] = {-1, -1, -1};

static int open_device(void) {
    void *context;
    int result = init(0);
    if (!result)
        result = retain(&context, 0);
    return result ? result : set(context);
}

static void *opener(void *unused) {
    u64 address;
    (void)unused;
    counted = 1;
    codes[0] = open_device();
    codes[1] = alloc(&address, 256 * MIB);
    codes[2] = alloc(&address, 2048 * MIB);
    counted = 0;
    sem_post(&reached);
    return NULL;
}

/* In the child: ends with 0 or the code that it got, as the driver may refuse it for its parent's sake. */
static void use(void) {
    u64 address;
    size_t left, all;
    alarm(20);
    int result = open_device();
    if (!result)
        result = alloc(&address, 64 * MIB);
    if (!result && alloc(&address, 2048 * MIB) == 0)
        _exit(77); /* beyond the quota */
    if (!result)
        result = info(&left, &all);
    _exit(result > 254 ? 254 : result);
}

/* Descriptors of this process that lead into the state folder. */
static int left_open(void) {
    char link[64], path[4096];
    const char *state = getenv("FCSP_STATE_DIR");
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0 && state)
            count += !strncmp(path, state, strlen(state) < (size_t)length ? strlen(state) : (size_t)length);
    }
    return count;
}

int main(int argc, char **argv) {
    pthread_t thread;
    long child = 0;
    if (argc > 1)
        mode = argv[1];
    wanted = argc > 2 ? atol(argv[2]) : -1;
    error = argc > 3 ? atoi(argv[3]) : 0;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver)
        return 2;
    init = (int (*)(unsigned))dlsym(driver, "cuInit");
    retain = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
    set = (int (*)(void *))dlsym(driver, "cuCtxSetCurrent");
    alloc = (int (*)(u64 *, size_t))dlsym(driver, "cuMemAlloc_v2");
    info = (int (*)(size_t *, size_t *))dlsym(driver, "cuMemGetInfo_v2");
    sem_init(&reached, 0, 0);
    sem_init(&go_on, 0, 0);
    pthread_create(&thread, NULL, opener, NULL);
    sem_wait(&reached);
    if (codes[2] == -1) { /* at the step */
        int raw = !strcmp(mode, "raw");
        child = raw ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        if (child == 0) {
            if (strcmp(mode, "sleep"))
                use();
            for (int fd = 0; fd < 3; fd++)
                close(fd);
            for (;;)
                pause();
        }
        if (strcmp(mode, "sleep")) {
            /* The child's calls and ours go on side by side. */
            sem_post(&go_on);
            int status;
            waitpid(child, &status, 0);
            child = WIFEXITED(status) ? WEXITSTATUS(status) : 999;
        } else
            sem_post(&go_on);
        sem_wait(&reached);
    }
    pthread_join(thread, NULL);
    printf("%ld %d %d %d %ld %d\n", seen, codes[0], codes[1], codes[2], child, left_open());
    return 0;
}
