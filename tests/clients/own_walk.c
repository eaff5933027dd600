/* Ways around every function that a preload library can override.
 *
 *   own_walk walk      reads the driver library's symbol table in memory
 *   own_walk dlmopen   loads the driver library in a namespace of its own
 *   own_walk loaded    0 if a preload library of FCSP is in this process, 1 if not
 *
 * The first two allocate 2 GiB; the exit status is the driver's code. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long u64;

static void *walk(struct link_map *map, const char *name) {
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    size_t bytes = 0;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB) symbols = (const ElfW(Sym) *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRTAB) names = (const char *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRSZ) bytes = entry->d_un.d_val;
    }
    /* The names follow the symbols in every library that a linker makes. */
    for (const ElfW(Sym) *symbol = symbols; (const char *)symbol < names; symbol++)
        if (symbol->st_name < bytes && symbol->st_value && !strcmp(names + symbol->st_name, name))
            return (void *)(map->l_addr + symbol->st_value);
    return NULL;
}

static int visit(struct dl_phdr_info *info, size_t size, void *found) {
    (void)size;
    if (info->dlpi_name && strstr(info->dlpi_name, "libfcsp_"))
        *(int *)found = 1;
    return 0;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "loaded")) {
        int found = 0;
        dl_iterate_phdr(visit, &found);
        return !found;
    }
#ifndef STATIC
    void *driver = !strcmp(how, "walk") ? dlopen("libcuda.so.1", RTLD_NOW) : dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW);
    struct link_map *map = NULL;
    if (!driver || dlinfo(driver, RTLD_DI_LINKMAP, &map)) {
        fprintf(stderr, "%s\n", dlerror());
        return 100;
    }
    int (*init)(unsigned) = (int (*)(unsigned))walk(map, "cuInit");
    int (*create)(void **, unsigned, int) = (int (*)(void **, unsigned, int))walk(map, "cuCtxCreate_v2");
    int (*alloc)(u64 *, size_t) = (int (*)(u64 *, size_t))walk(map, "cuMemAlloc_v2");
    void *context;
    u64 address;
    if (!init || init(0) || create(&context, 0, 0))
        return 101;
    return alloc(&address, 2ul << 30);
#else
    return 102;
#endif
}
