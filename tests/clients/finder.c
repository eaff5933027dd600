/* A library that looks functions up on its own behalf: how it was loaded, and where it stands, decides what it finds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

/* Also defined by the program: who finds which one depends on the caller. */
int twin(void) { return 1; }

void *finder_next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    return found;
}

void *finder_default(const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    return found;
}

void *finder_handle(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    return found;
}

#ifdef LINKED
/* Linked against the driver library. */
int cuMemAlloc_v2(unsigned long long *address, size_t bytes);
void *finder_linked(void) { return (void *)cuMemAlloc_v2; }
#endif
