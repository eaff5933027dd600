/* What only Ascend has, one command a line, one answer a line: the code of the last call and a number. ACL's functions are
 * linked against the official headers; those of the runtime, whose header is not published with them, are looked up by
 * name, as programs do that know only the name. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <acl/acl.h>
#include <acl/acl_mdl.h>
#include <acl/acl_op.h>
#include <acl/acl_rt_memory_soma.h>

typedef unsigned long long u64;
static void *runtime, *collectives;
static u64 number;

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "no %s: %s\n", name, dlerror());
        exit(65);
    }
    return found;
}
#define RT(name, ...) ((int (*)(__VA_ARGS__))find(runtime, name))

static u64 now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static const char code[] = "\x7f" "ELF client";
static const char stub;

static int function(aclrtFuncHandle *f) {
    static aclrtFuncHandle known;
    int result = 0;
    if (!known) {
        aclrtBinHandle binary;
        result = aclrtBinaryLoad(aclrtCreateBinary(code, sizeof code), &binary);
        if (result == 0) result = aclrtBinaryGetFunction(binary, "fcsp_spin", &known);
    }
    *f = known;
    return result;
}

/* One kernel of so many nanoseconds, by one of many ways. */
static int launch(const char *way, u64 ns) {
    static aclmdlRI recorded;
    static uint32_t model;
    aclrtFuncHandle f;
    aclrtArgsHandle args;
    aclrtParamHandle placed;
    int result = function(&f);
    if (result) return result;
    if (!strcmp(way, "hostargs")) return aclrtLaunchKernelWithHostArgs(f, 1, NULL, NULL, &ns, sizeof ns, NULL, 0);
    if (!strcmp(way, "config")) {
        result = aclrtKernelArgsInit(f, &args);
        if (result == 0) result = aclrtKernelArgsAppend(args, &ns, sizeof ns, &placed);
        if (result == 0) result = aclrtKernelArgsFinalize(args);
        return result ? result : aclrtLaunchKernelWithConfig(f, 1, NULL, NULL, args, NULL);
    }
    if (!strcmp(way, "devargs")) return aclrtLaunchKernelV2(f, 1, &ns, sizeof ns, NULL, NULL);
    if (!strcmp(way, "plain")) return aclrtLaunchKernel(f, 1, &ns, sizeof ns, NULL);
    if (!strcmp(way, "stub")) {
        static int known;
        if (!known++) {
            struct { uint32_t magic, version; const void *data; uint64_t length; } image = {0, 0, code, sizeof code};
            void *binary;
            result = RT("rtDevBinaryRegister", const void *, void **)(&image, &binary);
            if (result == 0)
                result = RT("rtFunctionRegister", void *, const void *, const char *, const void *, uint32_t)(
                    binary, &stub, "fcsp_spin", NULL, 0);
        }
        return result ? result : RT("rtKernelLaunch", const void *, uint32_t, void *, uint32_t, void *, void *)(
            &stub, 1, &ns, sizeof ns, NULL, NULL);
    }
    /* What the operator libraries (aclnn) end in. */
    if (!strcmp(way, "operator"))
        return RT("rtsLaunchKernelWithHostArgs", void *, uint32_t, void *, void *, void *, uint32_t, void *, uint32_t)(
            f, 1, NULL, NULL, &ns, sizeof ns, NULL, 0);
    if (!strcmp(way, "cpu")) {
        return RT("rtCpuKernelLaunch", const void *, const void *, uint32_t, const void *, uint32_t, void *, void *)(
            "libcpu_kernels.so", "fcsp_spin", 1, &ns, sizeof ns, NULL, NULL);
    }
    if (!strcmp(way, "aclop")) {
        aclopAttr *attributes = aclopCreateAttr();
        aclopSetAttrInt(attributes, "ns", (int64_t)ns);
        result = aclopExecuteV2("fcsp_spin", 0, NULL, NULL, 0, NULL, NULL, attributes, NULL);
        aclopDestroyAttr(attributes);
        return result;
    }
    if (!strcmp(way, "aclmdl")) {
        if (!model) {
            char image[64];
            snprintf(image, sizeof image, "fcsp-model weights=4096 ns=%llu", ns);
            result = aclmdlLoadFromMem(image, strlen(image), &model);
        }
        return result ? result : aclmdlExecuteAsync(model, NULL, NULL, NULL);
    }
    if (!strcmp(way, "recorded")) {
        if (!recorded) {
            aclrtStream stream;
            result = aclrtCreateStream(&stream);
            if (result == 0) result = aclmdlRICaptureBegin(stream, ACL_MODEL_RI_CAPTURE_MODE_RELAXED);
            if (result == 0) result = aclrtLaunchKernelWithHostArgs(f, 1, stream, NULL, &ns, sizeof ns, NULL, 0);
            if (result == 0) result = aclmdlRICaptureEnd(stream, &recorded);
        }
        return result ? result : aclmdlRIExecuteAsync(recorded, NULL);
    }
    if (!strcmp(way, "hccl")) {
        int (*all_reduce)(void *, void *, u64, int, int, void *, void *) = find(collectives, "HcclAllReduce");
        return all_reduce(NULL, NULL, 1, 4, 0, NULL, NULL);
    }
    return 64;
}

static int run(char *text) {
    char word[64] = "", way[256] = "";
    u64 a = 0, b = 0;
    int used = 0, result = 0;
    sscanf(text, "%63s %n", word, &used);
    char *rest = text + used;
    sscanf(rest, "%llu", &a);
    number = 0;
#define IS(w) (!strcmp(word, w))
    if (IS("open")) {
        result = aclInit(NULL);
        return result ? result : aclrtSetDevice((int)a);
    }
    if (IS("close")) return aclrtResetDevice((int)a);
    if (IS("acl")) return aclrtMallocAlign32((void **)&number, a, ACL_MEM_MALLOC_HUGE_FIRST);
    if (IS("padded")) return aclrtMalloc((void **)&number, a, ACL_MEM_MALLOC_HUGE_FIRST);
    if (IS("cfg")) return aclrtMallocWithCfg((void **)&number, a, ACL_MEM_MALLOC_HUGE_FIRST, NULL);
    if (IS("rt")) return RT("rtMalloc", void **, u64, uint32_t, uint16_t)((void **)&number, a, 0, 33);
    if (IS("dvpp")) return RT("rtDvppMalloc", void **, u64, uint16_t)((void **)&number, a, 33);
    if (IS("aclfree")) return aclrtFree((void *)a);
    if (IS("rtfree")) return RT("rtFree", void *)((void *)a);
    if (IS("free")) { size_t f, t; result = aclrtGetMemInfo(ACL_HBM_MEM, &f, &t); number = f; return result; }
    if (IS("rttotal")) {
        size_t f, t;
        result = RT("rtMemGetInfoEx", int, size_t *, size_t *)(1, &f, &t);
        number = t;
        return result;
    }
    if (IS("pool")) {
        aclrtMemPoolProps props = {0};
        return aclrtMemPoolCreate((aclrtMemPool *)&number, &props);
    }
    if (IS("load")) {
        uint32_t id = 0;
        result = aclmdlLoadFromMem(rest, strlen(rest), &id);
        number = id;
        return result;
    }
    if (IS("unload")) return aclmdlUnload((uint32_t)a);
    if (IS("hccl")) {
        collectives = dlopen("libhccl.so", RTLD_NOW | RTLD_GLOBAL);
        return collectives == NULL;
    }
    if (IS("cores")) {
        uint32_t cores = 0;
        result = aclrtGetDeviceResLimit(0, a ? ACL_RT_DEV_RES_VECTOR_CORE : ACL_RT_DEV_RES_CUBE_CORE, &cores);
        number = cores;
        return result;
    }
    /* launch WAY COUNT NS: launches and waits after each; the nanoseconds that took. */
    if (IS("launch")) {
        u64 begun = now();
        sscanf(rest, "%255s %llu %llu", way, &a, &b);
        for (u64 i = 0; i < a && result == 0; i++) {
            result = launch(way, b);
            if (result == 0) result = aclrtSynchronizeDevice();
        }
        number = now() - begun;
        return result;
    }
    if (IS("sync")) return aclrtSynchronizeDevice();
    fprintf(stderr, "no command %s\n", word);
    exit(64);
}

int main(void) {
    char line[4096];
    runtime = dlopen("libruntime.so", RTLD_NOW);
    while (fgets(line, sizeof line, stdin)) {
        int result = run(line);
        printf("%d %llu\n", result, number);
        fflush(stdout);
    }
    return 0;
}
