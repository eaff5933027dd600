// Fills, churns and watches device memory on request. Run by quota.py.
//
//   memory serve            reads commands: fill BYTES | free | info | quit; answers each with one JSON line
//   memory churn SECONDS SEED LARGEST [FOLDER]    allocates and frees random sizes, keeps to no limit of its own; begins
//                           when two of them have a file in FOLDER
#include "../driver.h"
#include <dirent.h>
#include <time.h>
#include <unistd.h>

static Driver api, direct;
static CUdeviceptr *held;
static size_t *sizes, count, room;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static void keep(CUdeviceptr p, size_t n) {
    if (count == room) {
        room = room ? room * 2 : 1024;
        held = realloc(held, room * sizeof *held); sizes = realloc(sizes, room * sizeof *sizes);
        if (!held || !sizes) exit(5);
    }
    held[count] = p; sizes[count++] = n;
}
static void info(const char *event, size_t bytes) {
    size_t free_ = 0, total = 0; CHECK(api.MemGetInfo(&free_, &total));
    printf("{\"event\":\"%s\",\"blocks\":%zu,\"bytes\":%zu,\"free\":%zu,\"total\":%zu}\n", event, count, bytes, free_, total); fflush(stdout);
}

static int serve(void) {
    char line[128]; info("ready", 0);
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long n;
        if (sscanf(line, "fill %llu", &n) == 1) {
            CUdeviceptr p; CUresult r; size_t bytes = 0;
            while ((r = api.MemAlloc(&p, n)) == CUDA_SUCCESS) { keep(p, n); bytes += n; }
            if (r != CUDA_ERROR_OUT_OF_MEMORY) { fprintf(stderr, "cuMemAlloc returned %d, not out of memory\n", r); return 4; }
            // a sample is written to: what was granted must be real memory
            for (size_t i = 0; i < count; i += count / 16 + 1) CHECK(api.MemsetD8(held[i], 0xa5, sizes[i]));
            CHECK(api.CtxSynchronize()); info("full", bytes);
        } else if (!strncmp(line, "free", 4)) {
            while (count) CHECK(api.MemFree(held[--count]));
            info("freed", 0);
        } else if (!strncmp(line, "info", 4)) info("info", 0);
        else break;
    }
    return 0;
}

// Both racers have their contexts before either fills the quota: a context that comes too late is refused.
static void meet(const char *folder) {
    char path[512]; snprintf(path, sizeof path, "%s/%d", folder, getpid());
    FILE *file = fopen(path, "w"); if (!file) exit(6);
    fclose(file);
    for (double end = now() + 60; now() < end; usleep(1000)) {
        int there = 0; DIR *dir = opendir(folder); if (!dir) exit(6);
        for (struct dirent *entry; (entry = readdir(dir)); ) there += entry->d_name[0] != '.';
        closedir(dir);
        if (there >= 2) return;
    }
    fprintf(stderr, "the other racer did not come\n"); exit(7);
}

static int churn(double seconds, unsigned seed, size_t largest) {
    size_t granted = 0, refused = 0, now_held = 0, most = 0; double end = now() + seconds; info("ready", 0);
    while (now() < end) {
        if (count && rand_r(&seed) % 100 < 35) {
            size_t i = rand_r(&seed) % count; CHECK(api.MemFree(held[i])); now_held -= sizes[i]; held[i] = held[--count]; sizes[i] = sizes[count];
            continue;
        }
        size_t n = 1 + ((size_t)rand_r(&seed) * 4099u) % largest; CUdeviceptr p; CUresult r = api.MemAlloc(&p, n);
        if (r == CUDA_SUCCESS) { keep(p, n); granted++; now_held += n; if (now_held > most) most = now_held; }
        else if (r == CUDA_ERROR_OUT_OF_MEMORY) {
            refused++;
            // at the quota: give back a few, so that both racers keep running into it
            for (int k = 0; k < 4 && count; k++) { count--; CHECK(api.MemFree(held[count])); now_held -= sizes[count]; }
        } else { fprintf(stderr, "cuMemAlloc(%zu) returned %d\n", n, r); return 4; }
    }
    printf("{\"event\":\"done\",\"granted\":%zu,\"refused\":%zu,\"most\":%zu}\n", granted, refused, most);
    return 0;
}

int main(int argc, char **argv) {
    CUdevice device; CUcontext context;
    if (argc < 2) return 2;
    driver_load("proc", &api, &direct);
    CHECK(api.Init(0)); CHECK(api.DeviceGet(&device, 0)); CHECK(api.DevicePrimaryCtxRetain(&context, device)); CHECK(api.CtxSetCurrent(context));
    if (!strcmp(argv[1], "serve")) return serve();
    if (!strcmp(argv[1], "churn") && argc == 6) meet(argv[5]);
    if (!strcmp(argv[1], "churn") && (argc == 5 || argc == 6)) return churn(atof(argv[2]), (unsigned)atoi(argv[3]), strtoull(argv[4], NULL, 10));
    return 2;
}
