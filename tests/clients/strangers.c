/* A handle of a collective kernel comes again for a kernel that is none.
 *
 *   strangers module|context SECONDS    launches a kernel with the name of a collective, ends its module or its context, loads another
 *                                       kernel and launches that for so long. Prints whether the two have one handle (0 or 1), and
 *                                       how much of the time the second kept the device busy, in thousandths. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int R;
typedef void *H;

static void *library;
static void *find(const char *name) {
    void *found = dlsym(library, name);
    if (!found) { fprintf(stderr, "no %s\n", name); exit(3); }
    return found;
}
#define OK(call) do { R r_ = (call); if (r_) { fprintf(stderr, "line %d: %s returned %d\n", __LINE__, #call, r_); exit(1); } } while (0)

static R (*load)(H *, const void *), (*function)(H *, H, const char *), (*unload)(H), (*synchronise)(void);
static R (*launch)(H, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, H, void **, void **);

static H kernel(const char *name, H *module) {
    char text[512];
    H found;
    snprintf(text, sizeof text, ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry %s(.param .u64 ns) { ret; }\n", name);
    OK(load(module, text));
    OK(function(&found, *module, name));
    return found;
}
static void spin(H f, uint64_t us) {
    uint64_t ns = us * 1000;
    void *parameters[] = {&ns};
    OK(launch(f, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int count, char **words) {
    H context, module, first, second;
    if (count != 3 || !(library = dlopen("libcuda.so.1", RTLD_NOW))) return 2;
    R (*init)(unsigned) = find("cuInit"), (*create)(H *, unsigned, int) = find("cuCtxCreate_v2"), (*destroy)(H) = find("cuCtxDestroy_v2");
    load = find("cuModuleLoadData");
    function = find("cuModuleGetFunction");
    unload = find("cuModuleUnload");
    launch = find("cuLaunchKernel");
    synchronise = find("cuCtxSynchronize");
    OK(init(0));
    OK(create(&context, 0, 0));
    first = kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", &module);
    for (int i = 0; i < 100; i++) spin(first, 10);
    OK(synchronise());
    if (!strcmp(words[1], "module")) {
        OK(unload(module));
    } else {
        OK(destroy(context));
        OK(create(&context, 0, 0));
    }
    second = kernel("fcsp_spin", &module);
    /* So that its cost is known, and what is let by is let by for another reason. */
    for (int i = 0; i < 20; i++) { spin(second, 1000); OK(synchronise()); }
    double begun = now(), seconds = atof(words[2]);
    long done = 0;
    while (now() - begun < seconds) {
        for (int i = 0; i < 4; i++, done++) spin(second, 1000);
        OK(synchronise());
    }
    printf("%d %ld\n", first == second, (long)((double)done / (now() - begun)));
    return 0;
}
