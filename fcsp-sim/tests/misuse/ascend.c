/* Misuse of Ascend's language over its runtime. */
#include "misuse.h"

static H context;

static void start(void) {
    CK(aclInit, NULL);
    CK(aclrtSetDevice, 0);
    CK(aclrtGetCurrentContext, &context);
}
static H stream(void) {
    H s;
    CK(aclrtCreateStream, &s);
    return s;
}
static H event(void) {
    H e;
    CK(aclrtCreateEventExWithFlag, &e, 9u);
    return e;
}
static H model(void) {
    H m;
    CK(aclmdlRIBuildBegin, &m, 0u);
    return m;
}
static H binary(void) {
    static const char code[] = "\x7f"
                               "ELF misuse";
    H made = ((H(*)(const void *, size_t))find("aclrtCreateBinary"))(code, sizeof code), b;
    CK(aclrtBinaryLoad, made, &b);
    return b;
}
static H function(H b) {
    H f;
    CK(aclrtBinaryGetFunction, b, "fcsp_spin", &f);
    return f;
}
static R launch(H f, H s) {
    U ns = 1000;
    return CALL(aclrtLaunchKernelWithHostArgs, f, 1u, s, NULL, &ns, sizeof ns, NULL, (size_t)0);
}
static H explicit_context(void) {
    H c;
    CK(aclrtCreateContext, &c, 0);
    return c;
}

static void dead_stream(void) {
    start();
    H s = stream();
    CK(aclrtDestroyStream, s);
    ready();
    CALL(aclrtSynchronizeStream, s);
}
static void dead_stream_launch(void) {
    start();
    H f = function(binary()), s = stream();
    CK(aclrtDestroyStream, s);
    ready();
    launch(f, s);
}
static void dead_stream_twice(void) {
    start();
    H s = stream();
    CK(aclrtDestroyStream, s);
    ready();
    CALL(aclrtDestroyStream, s);
}
static void dead_event(void) {
    start();
    H e = event();
    CK(aclrtDestroyEvent, e);
    ready();
    CALL(aclrtRecordEvent, e, NULL);
}
static void dead_event_twice(void) {
    start();
    H e = event();
    CK(aclrtDestroyEvent, e);
    ready();
    CALL(aclrtDestroyEvent, e);
}
static void dead_event_awaited(void) {
    start();
    H e = event(), s = stream();
    CK(aclrtDestroyEvent, e);
    ready();
    CALL(aclrtStreamWaitEvent, s, e);
}
static void dead_model(void) {
    start();
    H m = model();
    CK(aclmdlRIDestroy, m);
    ready();
    CALL(aclmdlRIExecuteAsync, m, NULL);
}
static void dead_binary(void) {
    start();
    H b = binary(), f;
    CK(aclrtBinaryUnLoad, b);
    ready();
    CALL(aclrtBinaryGetFunction, b, "fcsp_spin", &f);
}
static void dead_function(void) {
    start();
    H b = binary(), f = function(b);
    CK(aclrtBinaryUnLoad, b);
    ready();
    launch(f, NULL);
}
static void never_a_stream(void) {
    start();
    H e = event();
    ready();
    CALL(aclrtSynchronizeStream, e);
}

/* The last reset closes the device. It is not opened again: a new default stream would have the old one's handle. */
static void reset(void) { CK(aclrtResetDevice, 0); }
static void stream_after_reset(void) {
    start();
    H s = stream();
    reset();
    ready();
    CALL(aclrtSynchronizeStream, s);
}
static void event_after_reset(void) {
    start();
    H e = event();
    int status;
    reset();
    ready();
    CALL(aclrtQueryEventStatus, e, &status);
}
static void event_destroyed_after_reset(void) {
    start();
    H e = event();
    reset();
    ready();
    CALL(aclrtDestroyEvent, e);
}
static void model_after_reset(void) {
    start();
    H m = model();
    reset();
    ready();
    CALL(aclmdlRIDestroy, m);
}

/* An explicit context's streams, events and models. */
static void stream_after_context(void) {
    start();
    H c = explicit_context(), s = stream();
    CK(aclrtDestroyContext, c);
    CK(aclrtSetCurrentContext, context);
    ready();
    CALL(aclrtSynchronizeStream, s);
}
static void default_stream_after_context(void) {
    start();
    H c = explicit_context(), s;
    CK(aclrtCtxGetCurrentDefaultStream, &s);
    CK(aclrtDestroyContext, c);
    CK(aclrtSetCurrentContext, context);
    ready();
    CALL(aclrtSynchronizeStream, s);
}
static void event_after_context(void) {
    start();
    H c = explicit_context(), e = event();
    CK(aclrtDestroyContext, c);
    CK(aclrtSetCurrentContext, context);
    ready();
    CALL(aclrtRecordEvent, e, NULL);
}
static void model_after_context(void) {
    start();
    H c = explicit_context(), m = model();
    CK(aclrtDestroyContext, c);
    CK(aclrtSetCurrentContext, context);
    ready();
    CALL(aclmdlRIExecuteAsync, m, NULL);
}
static void primary_stream_beside_explicit(void) {
    start();
    H s = stream(), c = explicit_context();
    CK(aclrtResetDevice, 0);
    CK(aclrtSetCurrentContext, c);
    ready();
    CALL(aclrtSynchronizeStream, s);
}

/* What has a code: calls with another context's stream or model, contexts that are gone, memory. */
static void codes(void) {
    start();
    H s = stream(), m = model(), e = event(), f = function(binary());
    H c = explicit_context(), mine = stream(), orphan = event(), p;
    char host[8192] = {0};
    printf("%d %d ", CALL(aclrtRecordEvent, e, s), launch(f, s));
    printf("%d ", CALL(aclrtStreamWaitEvent, s, e));
    printf("%d ", CALL(aclrtDestroyStream, s));
    printf("%d ", CALL(aclrtSynchronizeStream, s));
    printf("%d ", CALL(aclmdlRIExecuteAsync, m, mine));
    CK(aclrtDestroyContext, c);
    printf("%d ", CALL(aclrtDestroyContext, c));
    printf("%d ", CALL(aclrtSetCurrentContext, c));
    CK(aclrtSetCurrentContext, context);
    printf("%d ", CALL(aclrtDestroyContext, context));
    printf("%d ", CALL(aclrtDestroyEvent, orphan));
    CK(aclmdlRIBindStream, m, s, 0u);
    printf("%d ", CALL(aclrtDestroyStream, s));
    CK(aclmdlRIDestroy, m);
    printf("%d ", CALL(aclrtDestroyStream, s));
    CK(aclrtMallocAlign32, &p, (size_t)4096, 0);
    printf("%d ", CALL(aclrtMemcpy, p, (size_t)8192, host, (size_t)8192, 1));
    CK(aclrtFree, p);
    printf("%d\n", CALL(aclrtFree, p));
}
/* An explicit context keeps its device, and the memory of it, when the primary context goes. */
static void explicit_stays(void) {
    start();
    H p, c = explicit_context();
    char host[4096] = {0};
    uint32_t flags;
    int active = -1;
    CK(aclrtMallocAlign32, &p, (size_t)4096, 0);
    CK(aclrtResetDevice, 0);
    CK(aclrtGetPrimaryCtxState, 0, &flags, &active);
    CK(aclrtMemcpy, p, (size_t)4096, host, (size_t)4096, 1);
    printf("%d %d ", active, CALL(aclrtFree, p));
    CK(aclrtMallocAlign32, &p, (size_t)4096, 0);
    CK(aclrtDestroyContext, c);
    CK(aclrtSetDevice, 0);
    printf("%d\n", CALL(aclrtFree, p));
}
static void reuse(void) {
    start();
    H a = stream(), b = stream();
    CK(aclrtDestroyStream, a);
    CK(aclrtDestroyStream, b);
    printf("%d ", stream() == b);
    printf("%d\n", stream() == a);
}

int main(int argc, char **argv) {
    open_library("libascendcl.so");
    PLAY(argc, argv, S(dead_stream), S(dead_stream_launch), S(dead_stream_twice), S(dead_event), S(dead_event_twice),
         S(dead_event_awaited), S(dead_model), S(dead_binary), S(dead_function), S(never_a_stream),
         S(stream_after_reset), S(event_after_reset), S(event_destroyed_after_reset), S(model_after_reset),
         S(stream_after_context), S(default_stream_after_context), S(event_after_context), S(model_after_context),
         S(primary_stream_beside_explicit), S(codes), S(explicit_stays), S(reuse));
}
