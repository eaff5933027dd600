/* Counts what the preload library does in one driver call: runs itself as a child, steps through single calls of it, and
 * prints a line for each: its name, the code that it gave, and the library's instructions, locked instructions and system
 * calls in it. Instructions of the driver and of the C library are not the library's. For x86-64. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long u64;
#define MIB (1ull << 20)
#define ROUNDS 200

/* The child. */

static const char *const NAMES[] = {"alloc 4K", "free 4K", "alloc 2M", "free 2M", "create 2M", "release 2M", "too large"};
#define CALLS (sizeof NAMES / sizeof *NAMES)

static int (*init)(unsigned), (*retain)(void **, int), (*set)(void *), (*alloc)(u64 *, size_t), (*release)(u64);
static int (*create)(u64 *, size_t, const void *, u64), (*let_go)(u64);

struct properties {
    int type, handle_types, location_type, location;
    void *meta;
    unsigned char flags[8];
};

static int call(unsigned which) {
    static const struct properties device = {1, 0, 1, 0, NULL, {0}};
    static u64 at[3];
    switch (which) {
    case 0: return alloc(&at[0], 4096);
    case 1: return release(at[0]);
    case 2: return alloc(&at[1], 2 * MIB);
    case 3: return release(at[1]);
    case 4: return create(&at[2], 2 * MIB, &device, 0);
    case 5: return let_go(at[2]);
    default: return alloc(&at[1], 1ull << 40);
    }
}

static int child(void) {
    void *context, *driver = dlopen("libcuda.so.1", RTLD_NOW);
    u64 slab;
    if (!driver)
        return 2;
    init = (int (*)(unsigned))dlsym(driver, "cuInit");
    retain = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
    set = (int (*)(void *))dlsym(driver, "cuCtxSetCurrent");
    alloc = (int (*)(u64 *, size_t))dlsym(driver, "cuMemAlloc_v2");
    release = (int (*)(u64))dlsym(driver, "cuMemFree_v2");
    create = (int (*)(u64 *, size_t, const void *, u64))dlsym(driver, "cuMemCreate");
    let_go = (int (*)(u64))dlsym(driver, "cuMemRelease");
    if (init(0) || retain(&context, 0) || set(context) || alloc(&slab, 4096))
        return 3;
    for (int round = 0; round < ROUNDS; round++)
        for (unsigned which = 0; which < CALLS; which++)
            call(which);
    for (unsigned which = 0; which < CALLS; which++) {
        __asm__ volatile("int3");
        int code = call(which);
        __asm__ volatile("int3" : : "a"(code));
    }
    return 0;
}

/* The parent. */

static u64 first, last; /* where the library's code lies in the child */

static void find_library(pid_t pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        u64 begins, ends;
        char rights[8];
        if (sscanf(line, "%llx-%llx %7s", &begins, &ends, rights) == 3 && rights[2] == 'x' && strstr(line, "libfcsp_cuda")) {
            first = begins;
            last = ends;
        }
    }
    if (maps)
        fclose(maps);
}

/* A lock prefix, or an exchange with memory, which locks without one. */
static int is_locked(const uint8_t *code) {
    int at = 0;
    while (code[at] == 0x66 || code[at] == 0x64 || code[at] == 0x65 || code[at] == 0xf2 || code[at] == 0xf3)
        at++;
    if (code[at] == 0xf0)
        return 1;
    at += (code[at] & 0xf0) == 0x40;
    return (code[at] == 0x86 || code[at] == 0x87) && (code[at + 1] & 0xc0) != 0xc0;
}

/* Lets the child run to its next trap. */
static int resume(pid_t pid) {
    int status = 0, signal = 0;
    do {
        if (ptrace(PTRACE_CONT, pid, 0, signal) || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
            return 0;
        signal = WSTOPSIG(status);
    } while (signal != SIGTRAP);
    return 1;
}

/* Steps from behind the opening trap to the closing one. */
static int step_through(pid_t pid, long counts[3]) {
    for (;;) {
        struct user_regs_struct registers;
        uint8_t code[16] = {0};
        int status;
        if (ptrace(PTRACE_GETREGS, pid, 0, &registers))
            return 0;
        struct iovec here = {code, sizeof code}, there = {(void *)registers.rip, sizeof code};
        if (process_vm_readv(pid, &here, 1, &there, 1, 0) < 3)
            return 0;
        if (code[0] == 0xcc)
            return 1;
        if (registers.rip >= first && registers.rip < last) {
            counts[0]++;
            counts[1] += is_locked(code);
            counts[2] += code[0] == 0x0f && code[1] == 0x05;
        }
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
            return 0;
    }
}

int main(int argc, char **argv) {
    (void)argc;
    if (getenv("STEPPED"))
        return child();
    int status;
    pid_t pid = fork();
    if (!pid) {
        setenv("STEPPED", "1", 1);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(77);
        execv(argv[0], argv);
        _exit(5);
    }
    waitpid(pid, &status, 0); /* begins its program */
    if (!WIFSTOPPED(status))
        return WEXITSTATUS(status);
    for (unsigned which = 0; which < CALLS; which++) {
        long counts[3] = {0, 0, 0};
        struct user_regs_struct registers;
        if (!resume(pid))
            return 6;
        find_library(pid);
        if (!step_through(pid, counts) || !resume(pid) || ptrace(PTRACE_GETREGS, pid, 0, &registers))
            return 7;
        printf("%s: %d %ld %ld %ld\n", NAMES[which], (int)registers.rax, counts[0], counts[1], counts[2]);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return 0;
}
