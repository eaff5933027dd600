// Says in which file each function is that dlsym finds by a library's handle: several LIBRARY FUNCTION ...
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        void *driver = dlopen(argv[i], RTLD_NOW);
        void *found = driver ? dlsym(driver, argv[i + 1]) : NULL;
        Dl_info about = {0};
        if (!found || !dladdr(found, &about)) { printf("nothing: %s\n", dlerror()); continue; }
        printf("%s\n", strrchr(about.dli_fname, '/') ? strrchr(about.dli_fname, '/') + 1 : about.dli_fname);
    }
    return 0;
}
