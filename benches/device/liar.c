// A tenant that lies in the pages by which tenants share a device: writes what it likes into pages of its own, over and over.
// Run by attacks.py, without a device.
//
//   liar SECONDS MICROSECONDS FOLDER COUNT MODEL [OFFSET=VALUE...]
//
// Makes COUNT pages `liar-N.page` in FOLDER, as copies of MODEL (a page that a tenant wrote), and every MICROSECONDS writes the words given: a
// number, `now`, `now+N`, `now-N` (ns of CLOCK_MONOTONIC), or `add+N`, which adds N. `wake=OFFSET` counts a 32-bit word up and wakes who sleeps on it.
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };
static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    uint64_t end = now() + (uint64_t)(atof(argv[1]) * 1e9);
    unsigned pause = atoi(argv[2]);
    int count = atoi(argv[4]), model = open(argv[5], O_RDONLY);
    static char copy[PAGE];
    if (model < 0 || read(model, copy, PAGE) < 256) return 3;
    char **pages = calloc(count, sizeof *pages);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/liar-%d.page", argv[3], i);
        int file = open(path, O_RDWR | O_CREAT, 0644);
        if (file < 0 || write(file, copy, PAGE) != PAGE) return 3;
        pages[i] = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (pages[i] == MAP_FAILED) return 3;
    }
    puts("{\"ready\":1}");
    fflush(stdout);
    for (; now() < end; usleep(pause)) {
        for (int i = 0; i < count; i++) {
            for (int k = 6; k < argc; k++) {
                char *v = strchr(argv[k], '=') + 1;
                if (!strncmp(argv[k], "wake=", 5)) {
                    uint32_t *word = (uint32_t *)(pages[i] + atoi(v));
                    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
                    syscall(SYS_futex, word, FUTEX_WAKE, 1 << 30, 0, 0, 0);
                    continue;
                }
                uint64_t *word = (uint64_t *)(pages[i] + atoi(argv[k]));
                uint64_t value = !strncmp(v, "now", 3) ? now() + (v[3] ? strtoll(v + 3, 0, 10) : 0)
                    : !strncmp(v, "add+", 4) ? __atomic_load_n(word, __ATOMIC_RELAXED) + strtoull(v + 4, 0, 10) : strtoull(v, 0, 0);
                __atomic_store_n(word, value, __ATOMIC_RELAXED);
            }
        }
    }
    return 0;
}
