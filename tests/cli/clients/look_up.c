/* Opens a library, looks a function up in it, and prints the file that the answer is in. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **words)
{
    Dl_info info;
    void *library, *function;
    if (count != 3)
        return 2;
    library = dlopen(words[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    function = dlsym(library, words[2]);
    if (!function || !dladdr(function, &info))
        return 1;
    puts(info.dli_fname);
    return 0;
}
