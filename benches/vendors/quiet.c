/* Answers for the simulated driver what it would ask the kernel for each piece of memory: a lock that keeps processes of
 * one simulated machine apart, where there is one process, and address space. Those are eight system calls for a piece and
 * back, microseconds that scatter by more than a hook adds. Loaded into both programs that are compared, so that what is
 * left differs by the hook.
 *
 *   cc -shared -fPIC -o quiet.so quiet.c */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the simulator's lock lies in its state file (fcsp-sim/src/region.rs); no other lock of anybody's is there. */
enum { LARGE = 4096, STEP = 2 << 20 };
static const off_t LOCK = (off_t)1 << 40;
static const uintptr_t ROOM = (uintptr_t)1 << 34;

/* One range of addresses, given out from its start; what is given back at its end is given out again. The client that
 * is timed has one thread that asks for memory. */
static uintptr_t start, top;

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
    const int ours = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (flags == ours && address == NULL && length >= LARGE && protection == (PROT_READ | PROT_WRITE)) {
        if (!start) {
            long range = syscall(SYS_mmap, NULL, ROOM, protection, ours, -1, 0);
            if (range == -1)
                return MAP_FAILED;
            start = top = ((uintptr_t)range + STEP - 1) / STEP * STEP;
        }
        uintptr_t given = (top + STEP - 1) / STEP * STEP;
        if (given + length < start + ROOM - STEP) {
            top = given + length;
            return (void *)given;
        }
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

int munmap(void *address, size_t length) {
    uintptr_t at = (uintptr_t)address;
    if (start && at >= start && at < start + ROOM - STEP) {
        if (at + length == top)
            top = at;
        return 0;
    }
    return (int)syscall(SYS_munmap, address, length);
}

int fcntl(int file, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (command == F_OFD_SETLK || command == F_OFD_SETLKW) {
        const struct flock *lock = argument;
        if (lock->l_start == LOCK && lock->l_len == 1)
            return 0;
    }
    return (int)syscall(SYS_fcntl, file, command, argument);
}
