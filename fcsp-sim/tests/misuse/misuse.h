/* What clients of every vendor have alike: the driver's functions by name, scenarios by name. A scenario sets up, says
 * "ready", and then does what is wrong; whoever comes back from that says "survived". */
#ifndef MISUSE_H
#define MISUSE_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
typedef void *H;
typedef uint64_t U;

static void *library;

static void *find(const char *name) {
    void *f = dlsym(library, name);
    if (!f) {
        printf("no %s\n", name);
        exit(3);
    }
    return f;
}

/* A call by name; arguments must have the widths of the prototype. */
#define CALL(name, ...) (((R (*)())find(#name))(__VA_ARGS__))
/* A call that has to succeed. */
#define CK(name, ...)                                                                                                  \
    do {                                                                                                               \
        R r_ = CALL(name, __VA_ARGS__);                                                                                \
        if (r_) {                                                                                                      \
            printf("%s = %#x\n", #name, (unsigned)r_);                                                                 \
            exit(2);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void ready(void) {
    puts("ready");
    fflush(stdout);
}

struct scenario {
    const char *name;
    void (*run)(void);
};

static int play(const struct scenario *all, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(all[i].name, name)) {
            all[i].run();
            puts("survived");
            return 0;
        }
    }
    printf("no scenario %s\n", name);
    return 4;
}

#define PLAY(argc, argv, ...)                                                                                          \
    do {                                                                                                               \
        static const struct scenario all_[] = {__VA_ARGS__};                                                           \
        return play(all_, sizeof all_ / sizeof *all_, (argc) > 1 ? (argv)[1] : "");                                    \
    } while (0)
#define S(name) {#name, name}

static inline H open_library(const char *name) {
    library = dlopen(name, RTLD_NOW);
    if (!library) {
        puts(dlerror());
        exit(5);
    }
    return library;
}
#endif
