/* One command a line, one answer: Synapse's code and a number. */
#include "../../../fcsp-sim/gaudi/gaudi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static synDeviceId card;

static int attribute(synModuleId module, uint64_t *value) {
    synDeviceAttribute asked = DEVICE_ATTRIBUTE_DRAM_SIZE;
    return synDeviceGetAttributeByModuleId(value, &asked, 1, module);
}

/* By HLML alone. */
static int looked(unsigned index, uint64_t *total) {
    hlml_device_t device;
    hlml_memory_t memory = {0};
    int result = hlml_init();
    if (result == 0) result = hlml_device_get_handle_by_index(index, &device);
    if (result == 0) result = hlml_device_get_memory_info(device, &memory);
    hlml_shutdown();
    *total = memory.total;
    return result;
}

/* A child that acquires the card and keeps it; its number. */
static int forked(synModuleId module, uint64_t *child) {
    int pipes[2], result = -1;
    if (pipe(pipes)) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        result = synInitialize();
        if (result == 0) result = synDeviceAcquireByModuleId(&card, module);
        if (write(pipes[1], &result, sizeof result) < 0) _exit(1);
        for (;;) pause();
    }
    if (read(pipes[0], &result, sizeof result) < 0) result = -1;
    *child = (uint64_t)pid;
    return result;
}

int main(void) {
    char line[256], word[32], text[64];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t value = 0, free = 0;
        int result = -1;
        text[0] = 0;
        if (sscanf(line, "%31s %63s", word, text) < 1) continue;
        uint64_t number = strtoull(text, NULL, 10);
        if (!strcmp(word, "init")) result = synInitialize();
        if (!strcmp(word, "any")) result = synDeviceAcquireByDeviceType(&card, synDeviceGaudi2);
        if (!strcmp(word, "other")) result = synDeviceAcquireByDeviceType(&card, synDeviceGaudi3);
        if (!strcmp(word, "module")) result = synDeviceAcquireByModuleId(&card, (synModuleId)number);
        if (!strcmp(word, "at")) result = synDeviceAcquire(&card, text);
        if (!strcmp(word, "release")) result = synDeviceRelease(card);
        if (!strcmp(word, "destroy")) result = synDestroy();
        if (!strcmp(word, "alloc")) result = synDeviceMalloc(card, number, 0, 0, &value);
        if (!strcmp(word, "free")) result = synDeviceFree(card, number, 0);
        if (!strcmp(word, "total")) result = synDeviceGetMemoryInfo(card, &free, &value);
        if (!strcmp(word, "left")) result = synDeviceGetMemoryInfo(card, &value, &free);
        if (!strcmp(word, "attribute")) result = attribute((synModuleId)number, &value);
        if (!strcmp(word, "looked")) result = looked((unsigned)number, &value);
        if (!strcmp(word, "forked")) result = forked((synModuleId)number, &value);
        printf("%d %llu\n", result, (unsigned long long)value);
        fflush(stdout);
    }
    return 0;
}
