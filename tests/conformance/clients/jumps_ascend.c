/* A signal handler leaves calls of Ascend's libraries by a jump. What FCSP notes of a thread that is inside a call must not stay.
 *
 *   jumps_ascend memory    leaves a call that frees memory and waits. Then memory is taken until it is refused: prints the blocks
 *                          of 64 MiB.
 *   jumps_ascend capture   launches, leaves a call that ends a capture, and ends it by another. Then it launches on that stream;
 *                          then it captures many launches and runs none of them. After each it says a line and waits for one.
 *
 * The simulated driver is told to raise SIGSEGV in the calls that are left. */
#define _GNU_SOURCE
#include <acl/acl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)

static aclrtStream stream;
static aclrtFuncHandle function;
static sigjmp_buf back;
static void leave(int signal) { (void)signal; siglongjmp(back, 1); }

static void spin(void) {
    uint64_t ns = 10000000;
    EXPECT(aclrtLaunchKernelWithHostArgs(function, 1, stream, NULL, &ns, sizeof ns, NULL, 0) == ACL_SUCCESS);
}
static void memory(void) {
    void *at;
    static int blocks;
    EXPECT(aclrtMalloc(&at, 3 << 20, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS);
    if (!sigsetjmp(back, 1)) {
        aclrtFree(at);
        EXPECT(!"the call came back");
    }
    while (blocks < 100 && aclrtMalloc(&at, (64 << 20) - 64, ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS) blocks++;
    printf("%d\n", blocks);
}
static void say(const char *word) {
    char line[8];
    puts(word);
    EXPECT(fgets(line, sizeof line, stdin));
}
static void launch(void) {
    for (int i = 0; i < 50; i++) {
        spin();
        EXPECT(aclrtSynchronizeStream(stream) == ACL_SUCCESS);
    }
}
static void capture(void) {
    aclmdlRI model;
    launch();
    EXPECT(aclmdlRICaptureBegin(stream, ACL_MODEL_RI_CAPTURE_MODE_GLOBAL) == ACL_SUCCESS);
    spin();
    if (!sigsetjmp(back, 1)) {
        aclmdlRICaptureEnd(stream, &model);
        EXPECT(!"the call came back");
    }
    EXPECT(aclmdlRICaptureEnd(stream, &model) == ACL_SUCCESS);
    say("ended");
    launch();
    say("launched");
    EXPECT(aclmdlRICaptureBegin(stream, ACL_MODEL_RI_CAPTURE_MODE_GLOBAL) == ACL_SUCCESS);
    for (int i = 0; i < 200; i++) spin();
    EXPECT(aclmdlRICaptureEnd(stream, &model) == ACL_SUCCESS);
    say("captured");
}

int main(int count, char **words) {
    static const char code[] = "\x7f" "ELF jumps";
    aclrtBinHandle binary;
    setvbuf(stdout, NULL, _IOLBF, 0);
    EXPECT(signal(SIGSEGV, leave) != SIG_ERR);
    EXPECT(aclInit(NULL) == ACL_SUCCESS && aclrtSetDevice(0) == ACL_SUCCESS);
    EXPECT(aclrtCreateStream(&stream) == ACL_SUCCESS);
    EXPECT(aclrtBinaryLoad(aclrtCreateBinary(code, sizeof code), &binary) == ACL_SUCCESS);
    EXPECT(aclrtBinaryGetFunction(binary, "fcsp_spin", &function) == ACL_SUCCESS);
    count == 2 && !strcmp(words[1], "memory") ? memory() : capture();
    return 0;
}
