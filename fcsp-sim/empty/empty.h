/* The driver of a vendor that does not exist: just enough of one to show how a vendor is added. It has memory and
 * kernels that take time; it has no streams, events, graphs or pools. Made by fcsp-sim/empty. */
#ifndef EMPTY_H
#define EMPTY_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef int emptyStatus;
#define EMPTY_SUCCESS 0
#define EMPTY_NOT_INITIALIZED 1
#define EMPTY_OUT_OF_MEMORY 2
#define EMPTY_INVALID_VALUE 3
#define EMPTY_NOT_FOUND 4
#define EMPTY_UNKNOWN 5

/* Before anything else. */
emptyStatus emptyInit(void);
emptyStatus emptyDeviceCount(int *count);
emptyStatus emptyDeviceUuid(int device, unsigned char uuid[16]);
/* Each thread has a current device, at first none. The first to choose a device in a process makes the driver's own
 * state there, which takes device memory until it is released; by then the process has freed its memory on it. */
emptyStatus emptySetDevice(int device);
emptyStatus emptyGetDevice(int *device);
emptyStatus emptyReleaseDevice(int device);

/* Device memory comes in whole pages of 4096 bytes. */
emptyStatus emptyAlloc(void **address, size_t bytes);
emptyStatus emptyFree(void *address);
emptyStatus emptyFill(void *address, int value, size_t bytes);
emptyStatus emptyAllocHost(void **address, size_t bytes);
emptyStatus emptyFreeHost(void *address);
emptyStatus emptyDeviceMemory(int device, size_t *unused, size_t *total);

/* Processes with memory on the device. `count` says how many fit, and then how many there were. */
emptyStatus emptyDeviceProcesses(int device, unsigned *pids, size_t *bytes, int *count);

/* Runs a kernel that takes `ns` nanoseconds; does not wait. */
emptyStatus emptyLaunch(const char *kernel, unsigned long long ns);
/* Waits for all work of the process. */
emptyStatus emptySynchronize(void);

#ifdef __cplusplus
}
#endif
#endif
