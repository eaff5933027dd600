/* Looks driver functions up by every route there is and says where each answer lies.
 *
 *   routes addresses        names on standard input; "route name file", one line an answer
 *   routes unrelated FINDER what names that are nobody's business are answered with, for comparing runs
 *   routes procs            "base version flags" -> "base version flags status symbol" by cuGetProcAddress of both ABIs
 *   routes same             lines as `procs` wrote them without a preload: does each route lead to the same function?
 *   routes shim             where the shim's own lookup of its own function leads
 *   routes refuse ROUTE FINDER  allocates 2 GiB by a route; the exit status is the driver's code
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;
typedef int (*resolve2)(const char *, void **, int, u64, int *);
typedef int (*resolve1)(const char *, void **, int, u64);
typedef int (*allocate)(u64 *, size_t);
typedef void *(*find)(const char *);

int twin(void) { return 2; }

#ifdef LINKED
int cuInit(unsigned);
int cuMemAlloc_v2(u64 *, size_t);
int cuMemFree_v2(u64);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuCtxCreate_v2(void **, unsigned, int);
int cuGetProcAddress_v2(const char *, void **, int, u64, int *);
int cuMemAllocAsync(u64 *, size_t, void *);
#endif

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *file_of(void *address) {
    Dl_info info;
    if (!address)
        return "none";
    return dladdr(address, &info) && info.dli_fname ? base_of(info.dli_fname) : "unknown";
}

static void say(const char *route, const char *name, void *address) { printf("%s %s %s\n", route, name, file_of(address)); }

static void addresses(void *driver, void *management) {
    char name[128];
    while (fgets(name, sizeof name, stdin)) {
        name[strcspn(name, "\n")] = 0;
        say("handle", name, dlsym(strncmp(name, "nvml", 4) ? driver : management, name));
        say("default", name, dlsym(RTLD_DEFAULT, name));
        say("next", name, dlsym(RTLD_NEXT, name));
    }
#ifdef LINKED
    say("linked", "cuInit", (void *)cuInit);
    say("linked", "cuMemAlloc_v2", (void *)cuMemAlloc_v2);
    say("linked", "cuMemFree_v2", (void *)cuMemFree_v2);
    say("linked", "cuMemGetInfo_v2", (void *)cuMemGetInfo_v2);
    say("linked", "cuCtxCreate_v2", (void *)cuCtxCreate_v2);
    say("linked", "cuGetProcAddress_v2", (void *)cuGetProcAddress_v2);
    say("linked", "cuMemAllocAsync", (void *)cuMemAllocAsync);
#endif
}

static void tell(const char *who, const char *name, void *address, int error) {
    Dl_info info;
    char *message = dlerror();
    if (address && dladdr(address, &info) && info.dli_fbase)
        printf("%s %s %s+%zx errno %d\n", who, name, base_of(info.dli_fname), (size_t)((char *)address - (char *)info.dli_fbase), error);
    else
        printf("%s %s nothing: %s errno %d\n", who, name, message ? message : "no message", error);
}

static void unrelated(const char *path) {
    static const char *names[] = {"malloc", "free", "printf", "getpid", "dlopen", "dlsym", "twin", "finder_next",
                                  "cuckoo", "cu", "cuMemAllocFromTheFuture", "nvmlikely", "nvm", "n", "c", "", "curl_easy_init"};
    void *local = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!local) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    find next = (find)dlsym(local, "finder_next"), plain = (find)dlsym(local, "finder_default");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        void *found;
        /* What dlsym itself answers for its own name is the library that overrides it. */
        int self = !strcmp(names[i], "dlsym");
#define ASK(who, what) \
        dlerror(); errno = 4242; found = what; \
        if (!self) tell(who, names[i], found, errno)
        ASK("program-next", dlsym(RTLD_NEXT, names[i]));
        ASK("program-default", dlsym(RTLD_DEFAULT, names[i]));
        ASK("program-handle", dlsym(local, names[i]));
        ASK("library-next", next(names[i]));
        ASK("library-default", plain(names[i]));
    }
}

static const char *symbol_of(void *address) {
    Dl_info info;
    return address && dladdr(address, &info) && info.dli_sname && info.dli_saddr == address ? info.dli_sname : "?";
}

static void procs(void *driver) {
    char base[128];
    int version;
    u64 flags;
    resolve2 second = (resolve2)dlsym(driver, "cuGetProcAddress_v2");
    while (scanf("%127s %d %llu", base, &version, &flags) == 3) {
        void *found = NULL;
        int status = -1, result = second(base, &found, version, flags, &status);
        printf("%s %d %llu %d %d %s\n", base, version, flags, result, status, found ? symbol_of(found) : "none");
    }
}

static void same(void *driver) {
    char base[128], symbol[128];
    int version, result, status;
    u64 flags;
    resolve2 second = (resolve2)dlsym(driver, "cuGetProcAddress_v2");
    resolve1 first = (resolve1)dlsym(driver, "cuGetProcAddress");
    /* The resolver found by the resolver. */
    void *again = NULL;
    if (second("cuGetProcAddress", &again, 12000, 0, &status) || again != (void *)second)
        printf("cuGetProcAddress does not lead to itself\n");
    unsigned count = 0;
    while (scanf("%127s %d %llu %d %d %127s", base, &version, &flags, &result, &status, symbol) == 6) {
        void *a = NULL, *b = NULL, *expected = strcmp(symbol, "none") ? dlsym(driver, symbol) : NULL;
        int told = -1, code = second(base, &a, version, flags, &told), older = first(base, &b, version, flags);
        count++;
        if (code != result || told != status || a != expected)
            printf("second %s %d %llu: %d %d %p, not %d %d %p (%s)\n", base, version, flags, code, told, a, result, status, expected, symbol);
        if ((older == 0) != (b != NULL) || (b && b != expected))
            printf("first %s %d %llu: %d %p, not %p (%s)\n", base, version, flags, older, b, expected, symbol);
        if (expected)
            printf("at %s %s\n", symbol, file_of(expected));
    }
    printf("count %u\n", count);
}

static int refuse(void *driver, const char *route, const char *path) {
    int (*init)(unsigned) = (int (*)(unsigned))dlsym(driver, "cuInit");
    int (*create)(void **, unsigned, int) = (int (*)(void **, unsigned, int))dlsym(driver, "cuCtxCreate_v2");
    void *context, *found = NULL;
    u64 address = 0;
    int status;
    if (init(0) || create(&context, 0, 0))
        return 100;
    int flags = !strncmp(route, "deep-", 5) ? RTLD_DEEPBIND : 0;
    void *local = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL | flags) : NULL;
    if (path && !local) {
        fprintf(stderr, "%s\n", dlerror());
        return 101;
    }
    if (!strcmp(route, "handle")) found = dlsym(driver, "cuMemAlloc_v2");
    if (!strcmp(route, "default")) found = dlsym(RTLD_DEFAULT, "cuMemAlloc_v2");
    if (!strcmp(route, "next")) found = dlsym(RTLD_NEXT, "cuMemAlloc_v2");
    if (!strcmp(route, "proc")) ((resolve2)dlsym(driver, "cuGetProcAddress_v2"))("cuMemAlloc", &found, 13000, 0, &status);
    if (!strcmp(route, "proc1")) ((resolve1)dlsym(driver, "cuGetProcAddress"))("cuMemAlloc", &found, 11080, 0);
    if (!strcmp(route, "library-next")) found = ((find)dlsym(local, "finder_next"))("cuMemAlloc_v2");
    if (!strcmp(route, "library-default")) found = ((find)dlsym(local, "finder_default"))("cuMemAlloc_v2");
    if (!strcmp(route, "library-linked") || !strcmp(route, "deep-linked")) found = ((void *(*)(void))dlsym(local, "finder_linked"))();
    if (!strcmp(route, "deep-handle-of-its-own")) found = ((void *(*)(void *, const char *))dlsym(local, "finder_handle"))(driver, "cuMemAlloc_v2");
    if (!strcmp(route, "dlvsym")) {
        /* The driver's functions have no versions; dlsym itself has. */
        static const char *versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
        void *(*real)(void *, const char *) = NULL;
        for (int i = 0; i < 3 && !real; i++)
            real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[i]);
        found = real ? real(driver, "cuMemAlloc_v2") : NULL;
    }
    if (!strcmp(route, "export-table")) {
        const void *table = NULL;
        static const unsigned char id[16] = {0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a};
        int (*get)(const void **, const void *) = (int (*)(const void **, const void *))dlsym(driver, "cuGetExportTable");
        return get(&table, id) == 0 ? 103 : 104;
    }
    if (!found)
        return 102;
    return ((allocate)found)(&address, 2ul << 30);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "unrelated")) {
        unrelated(argv[2]);
        return 0;
    }
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *management = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver || !management) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (!strcmp(what, "addresses")) addresses(driver, management);
    if (!strcmp(what, "procs")) procs(driver);
    if (!strcmp(what, "same")) same(driver);
    if (!strcmp(what, "shim")) {
        void *(*own)(void) = (void *(*)(void))dlsym(driver, "shim_own_alloc");
        printf("%s\n", file_of(own()));
    }
    if (!strcmp(what, "refuse")) return refuse(driver, argv[2], argc > 3 ? argv[3] : NULL);
    return 0;
}
