/* A program that does what it is told, the same words for every vendor: one command a line on standard input, one
 * answer a line on standard output.
 *
 *   client              commands from standard input
 *   client -c 'a; b'    these commands; the exit status is the code of the last one
 *
 * An answer is the driver's own code (0 is success) and numbers. A file client_<vendor>.c includes this one, then
 * defines `vendor` and `resolve`; it is compiled against that vendor's official headers and linked against its driver
 * library. A word that its vendor has no notion of stays NULL there and answers LACKS. */
#ifndef FCSP_CONFORMANCE_CLIENT_H
#define FCSP_CONFORMANCE_CLIENT_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef unsigned long long u64;

enum {
    LACKS = 9999,  /* the vendor has no such thing */
    MISSING = 9998, /* the library or one of its functions is not there */
    BROKEN = 9997, /* the client itself failed: a pipe, a fork */
};

/* The words. Handles and addresses are numbers; every function returns the driver's code. Called with the device of the
 * last `open`, on the default queue where one is needed. */
struct vendor {
    const char *driver;     /* what the driver library is opened by, for the routes dlsym and dlvsym */
    const char *management; /* the management library, likewise; NULL if there is none */
    const char *version;    /* symbol version for the route dlvsym; NULL if symbols have none */
    int (*open)(int device);                                  /* initialise, make the device current */
    int (*close)(int device);                                 /* let go of what open made */
    int (*alloc)(u64 bytes, u64 *address);
    int (*free)(u64 address);
    int (*fill)(u64 address, u64 bytes);                      /* the device writes, and has finished */
    int (*host)(u64 bytes, u64 *address);                     /* pinned host memory */
    int (*nohost)(u64 address);
    int (*managed)(u64 bytes, u64 *address);                  /* given back by free */
    int (*pitch)(u64 width, u64 height, u64 *address, u64 *pitch); /* given back by free */
    int (*array)(u64 width, u64 height, u64 *handle);         /* four bytes an element */
    int (*noarray)(u64 handle);
    int (*async)(u64 bytes, u64 *address);                    /* stream-ordered, from the default pool */
    int (*freeasync)(u64 address);
    int (*physical)(u64 bytes, u64 *handle);                  /* physical memory of the virtual memory calls */
    int (*nophysical)(u64 handle);
    int (*map)(u64 handle, u64 bytes, u64 *address);          /* at an address of its own, readable and writable */
    int (*unmap)(u64 address, u64 bytes);
    int (*module)(u64 bytes, u64 *handle);                    /* code with one variable of so many bytes */
    int (*nomodule)(u64 handle);
    int (*info)(u64 *free, u64 *total);                       /* the compute API's memory information */
    int (*total)(int device, u64 *bytes);                     /* the device's size by its properties */
    int (*smi)(int device, u64 *used, u64 *total);            /* by the management library */
    int (*processes)(int device, u64 *pairs, int *count);     /* by the management library: number and bytes of each */
    int (*spin)(const char *kernel, u64 ns);                  /* one launch of a kernel of that name; does not wait */
    int (*function)(u64 *handle);                             /* the kernel that was launched last */
    int (*unload)(void);                                      /* its code */
    int (*sync)(void);                                        /* waits for all work */
    int (*record)(int launches, u64 ns, u64 *handle);         /* a graph or command list of so many launches */
    int (*play)(u64 handle);                                  /* submits it; does not wait */
    int (*norecord)(u64 handle);
};

static const struct vendor vendor;

/* The vendor's own look-up of a function by name; NULL if it has none. */
static void *resolve(const char *name);

enum route { LINKED, DLSYM, DLVSYM, RESOLVER };
static enum route route = LINKED;
static u64 out[256];
static int outs;
static char *self;

static u64 give(u64 value) {
    if (outs < (int)(sizeof out / sizeof *out))
        out[outs++] = value;
    return value;
}

static void *opened(const char *name) {
    void *library = name ? dlopen(name, RTLD_NOW) : NULL;
    if (name && !library)
        fprintf(stderr, "%s\n", dlerror());
    return library;
}

/* A function by the route asked for. `name` is what documentation calls it, `exported` the symbol (headers rename some). */
static inline void *find_in(const char *library, const char *name, const char *exported, void *linked) {
    void *found = NULL;
    switch (route) {
    case LINKED: return linked;
    case DLSYM: found = dlsym(opened(library), exported); break;
    case DLVSYM: found = vendor.version ? dlvsym(opened(library), exported, vendor.version) : NULL; break;
    case RESOLVER: found = library == vendor.driver ? resolve(name) : dlsym(opened(library), exported); break;
    }
    if (!found) {
        fprintf(stderr, "no %s by route %d\n", name, route);
        exit(65);
    }
    return found;
}
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
/* F(function) and M(function): of the driver and of the management library, by the route asked for, with the type that
 * the official header declares. */
#define F(function) ((__typeof__(&function))find_in(vendor.driver, #function, TEXT(function), (void *)&function))
#define M(function) ((__typeof__(&function))find_in(vendor.management, #function, TEXT(function), (void *)&function))

static int run(char *text);

static int run_all(char *text) {
    int result = 0;
    for (char *save = NULL, *part = strtok_r(text, ";", &save); part; part = strtok_r(NULL, ";", &save))
        result = run(part);
    return result;
}

/* A forked child runs `text`; the answer is its last code. With `keep` it then waits to be killed, and its number is
 * given. */
static int in_child(char *text, int keep) {
    int pipes[2], result = BROKEN;
    if (pipe(pipes))
        return BROKEN;
    pid_t child = fork();
    if (child == 0) {
        result = run_all(text);
        if (write(pipes[1], &result, sizeof result) != sizeof result)
            _exit(1);
        while (keep)
            pause();
        _exit(0);
    }
    close(pipes[1]);
    if (child < 0 || read(pipes[0], &result, sizeof result) != sizeof result)
        result = BROKEN;
    close(pipes[0]);
    if (keep)
        give((u64)child);
    else
        waitpid(child, NULL, 0);
    return result;
}

static int device_open;

/* A program of its own, so with the preload library loaded anew. */
static int in_program(char *text) {
    extern char **environ;
    char *arguments[] = {self, "-c", text, NULL};
    pid_t child;
    int status = -1;
    if (posix_spawn(&child, self, NULL, NULL, arguments, environ))
        return BROKEN;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
}

static int refusal;

/* Allocates and frees; counts answers that are neither success nor the refusal. */
static u64 most; /* bytes at a time */
static void *allocate_and_free(void *rounds) {
    u64 bad = vendor.open(device_open) != 0;
    for (u64 i = 0; i < (u64)(uintptr_t)rounds; i++) {
        u64 address = 0, free, total;
        int result = vendor.alloc((i * 7919) % most + 1, &address);
        /* Which makes the library measure, with the other threads between a call and its entry. */
        if (i % 16 == 5 && vendor.info)
            bad += vendor.info(&free, &total) != 0;
        if (result == 0)
            bad += vendor.free(address) != 0;
        else
            bad += result != refusal;
    }
    return (void *)(uintptr_t)bad;
}

/* Keeps the device busy until killed, a few launches ahead; the file's first word counts launches that are done. */
static int busy(const char *path, u64 ns, u64 handle) {
    enum { BATCH = 8 };
    int file = open(path, O_RDWR), result = 0;
    volatile u64 *words = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || words == MAP_FAILED)
        return BROKEN;
    while (result == 0) {
        for (int i = 0; i < BATCH && result == 0; i++)
            result = handle ? vendor.play(handle) : vendor.spin("fcsp_spin", ns);
        if (result == 0)
            result = vendor.sync();
        words[0] += BATCH;
    }
    return result;
}

enum { WAITS_FOR_EACH, RECORDS_EACH, NEVER_WAITS, STEPS };

/* Works until killed. The file's first word counts the ns of completed work, or of submitted work if it never waits.
 * Kernels of 10 us of which one in 50 takes 5 ms; or a recording made anew for each launch; or steps of 0.5 ms. */
static int owed(const char *path, int kind) {
    int file = open(path, O_RDWR), result = 0;
    volatile u64 *words = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || words == MAP_FAILED)
        return BROKEN;
    for (u64 i = 0; result == 0; i++) {
        u64 handle = 0, ns = kind == RECORDS_EACH ? 1000000 : kind == STEPS ? 500000 : i % 50 == 25 ? 5000000 : 10000;
        if (kind == RECORDS_EACH) {
            result = vendor.record(1, ns, &handle);
            if (result == 0) result = vendor.play(handle);
        } else {
            result = vendor.spin("fcsp_spin", ns);
        }
        if (result == 0 && kind != NEVER_WAITS)
            result = vendor.sync();
        if (result == 0 && kind == RECORDS_EACH)
            result = vendor.norecord(handle);
        words[0] += ns;
    }
    return result;
}

static sigjmp_buf back;
static void leave(int signal) { (void)signal; siglongjmp(back, 1); }

/* Frees memory, and leaves the driver by a jump out of a handler for SIGSEGV. The simulated driver is told to raise
 * that signal inside the call. */
static int jump(u64 address) {
    struct sigaction jumps, before;
    volatile int result = 0;
    memset(&jumps, 0, sizeof jumps);
    jumps.sa_handler = leave;
    if (sigaction(SIGSEGV, &jumps, &before))
        return BROKEN;
    if (!sigsetjmp(back, 1)) {
        vendor.free(address);
        result = BROKEN; /* the call came back */
    }
    sigaction(SIGSEGV, &before, NULL);
    return result;
}

#include "timing.h"

#define IS(word) (!strcmp(name, word))
#define NEED(member) do { if (!vendor.member) return LACKS; } while (0)
/* A word that answers one number. */
#define ONE(member, ...) do { NEED(member); result = vendor.member(__VA_ARGS__, &h); give(h); return result; } while (0)
#define NONE(member, ...) do { NEED(member); return vendor.member(__VA_ARGS__); } while (0)

static int run(char *text) {
    char name[64] = "", path[512] = "";
    u64 a[4] = {0}, h = 0, x = 0;
    int used = 0, result = 0;
    outs = 0;
    sscanf(text, " %63s %n", name, &used);
    char *rest = text + used;
    sscanf(rest, "%llu %llu %llu %llu", &a[0], &a[1], &a[2], &a[3]);

    if (IS("route")) {
        static const char *names[] = {"linked", "dlsym", "dlvsym", "resolver"};
        for (int i = 0; i < 4; i++)
            if (!strncmp(rest, names[i], strlen(names[i]))) {
                if (i == DLVSYM && !vendor.version)
                    return LACKS;
                route = (enum route)i;
                return i == RESOLVER && !resolve(NULL) ? LACKS : 0;
            }
        return BROKEN;
    }
    if (IS("open")) { NEED(open); device_open = (int)a[0]; return vendor.open((int)a[0]); }
    if (IS("close")) NONE(close, (int)a[0]);
    if (IS("alloc")) ONE(alloc, a[0]);
    if (IS("free")) NONE(free, a[0]);
    if (IS("fill")) NONE(fill, a[0], a[1]);
    if (IS("host")) ONE(host, a[0]);
    if (IS("nohost")) NONE(nohost, a[0]);
    if (IS("managed")) ONE(managed, a[0]);
    if (IS("pitch")) { NEED(pitch); result = vendor.pitch(a[0], a[1], &h, &x); give(h); give(x); return result; }
    if (IS("array")) ONE(array, a[0], a[1]);
    if (IS("noarray")) NONE(noarray, a[0]);
    if (IS("async")) ONE(async, a[0]);
    if (IS("freeasync")) NONE(freeasync, a[0]);
    if (IS("physical")) ONE(physical, a[0]);
    if (IS("nophysical")) NONE(nophysical, a[0]);
    if (IS("map")) ONE(map, a[0], a[1]);
    if (IS("unmap")) NONE(unmap, a[0], a[1]);
    if (IS("module")) ONE(module, a[0]);
    if (IS("nomodule")) NONE(nomodule, a[0]);
    if (IS("info")) { NEED(info); result = vendor.info(&h, &x); give(h); give(x); return result; }
    if (IS("total")) ONE(total, (int)a[0]);
    if (IS("smi")) { NEED(smi); result = vendor.smi((int)a[0], &h, &x); give(h); give(x); return result; }
    if (IS("processes")) {
        static u64 pairs[128];
        int count = 64;
        NEED(processes);
        result = vendor.processes((int)a[0], pairs, &count);
        for (int i = 0; result == 0 && i < 2 * count; i++)
            give(pairs[i]);
        return result;
    }
    if (IS("spin")) NONE(spin, "fcsp_spin", a[0]);
    /* A kernel of any name, such as a collective's. */
    if (IS("kernel")) { sscanf(rest, "%511s %llu", path, &h); NONE(spin, path, h); }
    if (IS("function")) { NEED(function); result = vendor.function(&h); give(h); return result; }
    if (IS("unload")) NONE(unload);
    if (IS("jump")) { NEED(free); return jump(a[0]); }
    if (IS("sync")) { NEED(sync); return vendor.sync(); }
    if (IS("record")) ONE(record, (int)a[0], a[1]);
    if (IS("play")) NONE(play, a[0]);
    if (IS("norecord")) NONE(norecord, a[0]);
    if (IS("busy")) { NEED(spin); sscanf(rest, "%511s %llu %llu", path, &a[0], &a[1]); return busy(path, a[0], a[1]); }

    if (IS("owed")) { NEED(spin); sscanf(rest, "%511s %llu", path, &a[0]); return owed(path, (int)a[0]); }

    /* timeall WHAT COUNT BYTES and timeeach WHAT COUNT BYTES */
    if (IS("pin")) return pin((int)a[0]);
    if (IS("timeall") || IS("timeeach")) {
        sscanf(rest, "%511s %llu %llu", path, &a[0], &a[1]);
        result = IS("timeall") ? time_all(path, a[0], a[1], &h) : time_each(path, a[0], a[1], &h, &x);
        give(h);
        give(x);
        return result;
    }

    if (IS("fork")) return in_child(strdup(rest), 0);
    if (IS("forkkeep")) return in_child(strdup(rest), 1);
    if (IS("spawn")) return in_program(rest);
    /* threads COUNT ROUNDS REFUSAL [MOST] */
    if (IS("threads")) {
        pthread_t threads[64];
        u64 bad = 0, n = a[0] < 64 ? a[0] : 64;
        refusal = (int)a[2];
        most = a[3] ? a[3] : 6u << 20;
        for (u64 i = 0; i < n; i++)
            pthread_create(&threads[i], NULL, allocate_and_free, (void *)(uintptr_t)a[1]);
        for (u64 i = 0; i < n; i++) {
            void *each;
            pthread_join(threads[i], &each);
            bad += (u64)(uintptr_t)each;
        }
        return bad != 0;
    }
    if (IS("exit")) exit((int)a[0]);
    fprintf(stderr, "no command %s\n", name);
    exit(64);
}

int main(int argc, char **argv) {
    static char line[4096], path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    self = length > 0 ? path : argv[0];
    if (argc > 2 && !strcmp(argv[1], "-c"))
        return run_all(argv[2]) & 0xff;
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
#endif
