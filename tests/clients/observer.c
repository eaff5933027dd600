/* Watches a device from outside, through the management library, with no preload: the judge of what processes hold.
 *
 * For each line of input: "device bytes-in-use pid bytes pid bytes ..." of that device number. Between lines it keeps
 * sampling, and the input line "peak" is answered with the most that each process was ever seen to hold. */
#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;
struct memory { u64 total, free, used; };
struct process { unsigned pid; u64 bytes; unsigned gpu, compute; };

static int (*processes)(u64, unsigned *, struct process *);
static struct { unsigned pid; u64 bytes; } peak[4096];
static unsigned peaks, devices;

static unsigned sample(unsigned index, struct process *list, int (*by_index)(unsigned, u64 *)) {
    u64 device;
    unsigned n = 4096;
    if (by_index(index, &device) || processes(device, &n, list))
        return 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = 0;
        while (at < peaks && peak[at].pid != list[i].pid)
            at++;
        if (at == peaks && peaks < 4096)
            peak[peaks++].pid = list[i].pid;
        if (at < 4096 && peak[at].bytes < list[i].bytes)
            peak[at].bytes = list[i].bytes;
    }
    return n;
}

int main(void) {
    static struct process list[4096];
    char line[64];
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int (*init)(void) = dlsym(library, "nvmlInit_v2");
    int (*count)(unsigned *) = dlsym(library, "nvmlDeviceGetCount_v2");
    int (*by_index)(unsigned, u64 *) = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    int (*memory)(u64, struct memory *) = dlsym(library, "nvmlDeviceGetMemoryInfo");
    processes = dlsym(library, "nvmlDeviceGetComputeRunningProcesses_v3");
    if (init() || count(&devices))
        return 1;
    /* What poll() says must be all there is. */
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        struct pollfd input = {0, POLLIN, 0};
        if (poll(&input, 1, 1) == 0) {
            for (unsigned i = 0; i < devices; i++)
                sample(i, list, by_index);
            continue;
        }
        if (!fgets(line, sizeof line, stdin))
            return 0;
        if (!strncmp(line, "peak", 4)) {
            for (unsigned i = 0; i < devices; i++)
                sample(i, list, by_index);
            for (unsigned i = 0; i < peaks; i++)
                printf("%s%u %llu", i ? " " : "", peak[i].pid, peak[i].bytes);
        } else {
            struct memory info = {0, 0, 0};
            u64 device;
            unsigned index = (unsigned)atoi(line);
            unsigned n = sample(index, list, by_index);
            if (by_index(index, &device) || memory(device, &info))
                return 1;
            printf("%u %llu", index, info.used);
            for (unsigned i = 0; i < n; i++)
                printf(" %u %llu", list[i].pid, list[i].bytes);
        }
        printf("\n");
        fflush(stdout);
    }
}
