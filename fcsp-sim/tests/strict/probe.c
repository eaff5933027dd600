/* What a driver does with misuse: each probe runs in a process of its own and prints the code of its last call, or the
   signal that ended it. Runs on a device and on the simulator:

       cc -o probe probe.c -ldl -lpthread && ./probe            all probes, one line each
       ./probe NAME                                             one, in this process
       ./probe -l                                               their names

   After a code, probes of captures print the state of the other thread's capture: 1 active, 2 invalidated. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int R;
typedef void *H;
typedef unsigned long long P;
typedef size_t Z;

static void *lib;
static void *sym(const char *name) {
    void *f = dlsym(lib, name);
    if (!f) {
        printf("no %s\n", name);
        exit(9);
    }
    return f;
}
/* Calls by name. Integers that are 64 bits wide are cast by the caller. */
#define D(name, ...) (((R(*)())sym(#name))(__VA_ARGS__))
#define CK(call) do { R r_ = (call); if (r_) { printf("set-up %s = %d\n", #call, r_); exit(8); } } while (0)
#define L(n) ((unsigned long long)(n))

static H ctx, mod, fun, st, st2, ev, ev2;
static P mem, mem2;
static char host[1 << 22];
static const char *ptx = ".version 6.0\n.target sm_50\n.address_size 64\n.global .align 4 .u32 word;\n"
                         ".visible .entry nothing()\n{\nret;\n}\n";

static H context(void) {
    H c;
    CK(D(cuCtxCreate_v2, &c, 0, 0));
    return c;
}
static H stream(void) {
    H s;
    CK(D(cuStreamCreate, &s, 1));
    return s;
}
static H event(void) {
    H e;
    CK(D(cuEventCreate, &e, 0));
    return e;
}
static P alloc(Z n) {
    P p;
    CK(D(cuMemAlloc_v2, &p, L(n)));
    return p;
}
static void begin(void) {
    CK(D(cuInit, 0));
    ctx = context();
    CK(D(cuModuleLoadData, &mod, ptx));
    CK(D(cuModuleGetFunction, &fun, mod, "nothing"));
    st = stream();
    st2 = stream();
    ev = event();
    ev2 = event();
    mem = alloc(4 << 20);
    mem2 = alloc(4 << 20);
}
static R run(H f, H s) { return D(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 0, s, NULL, NULL); }

struct props { int type, handles; struct { int type, id; } at; void *win; unsigned long long max; char rest[56]; };
static H pool(void) {
    H p;
    struct props x = {.type = 1, .at = {1, 0}};
    CK(D(cuMemPoolCreate, &p, &x));
    return p;
}
struct aprop { int type, handles; struct { int type, id; } at; void *win; unsigned char flags[8]; };
static unsigned long long physical(void) {
    unsigned long long h;
    struct aprop x = {.type = 1, .handles = 1, .at = {1, 0}};
    CK(D(cuMemCreate, &h, L(2 << 20), &x, L(0)));
    return h;
}
struct desc2 { Z w, h; int format; unsigned channels; };
struct desc3 { Z w, h, d; int format; unsigned channels, flags; };
static H array(Z w, Z h) {
    H a;
    struct desc2 d = {w, h, 0x20, 4};
    CK(D(cuArrayCreate_v2, &a, &d));
    return a;
}
static H mipmap(void) {
    H m;
    struct desc3 d = {64, 64, 0, 0x20, 4, 0};
    CK(D(cuMipmappedArrayCreate, &m, &d, 3));
    return m;
}
static H graph(H *node) {
    H g;
    CK(D(cuGraphCreate, &g, 0));
    CK(D(cuGraphAddEmptyNode, node, g, NULL, L(0)));
    return g;
}
static H exec(void) {
    H n, g = graph(&n), e;
    CK(D(cuGraphInstantiateWithFlags, &e, g, L(0)));
    return e;
}
static H library(H *kernel) {
    H l;
    CK(D(cuLibraryLoadData, &l, ptx, NULL, NULL, 0, NULL, NULL, 0));
    CK(D(cuLibraryGetKernel, kernel, l, "nothing"));
    return l;
}

/* --- captures: one thread captures, another (or the same) calls --- */
static R (*body)(void);
static R answer;
static int mode_of_caller = -1;
static void *elsewhere(void *unused) {
    D(cuCtxSetCurrent, ctx);
    if (mode_of_caller >= 0)
        D(cuThreadExchangeStreamCaptureMode, &mode_of_caller);
    answer = body();
    return unused;
}
static void prepare(void);
static R captured(R (*f)(void), int mode, int own, int callers) {
    begin();
    prepare();
    body = f;
    mode_of_caller = callers;
    H c = stream();
    CK(D(cuStreamBeginCapture_v2, c, mode));
    if (own) {
        elsewhere(NULL);
    } else {
        pthread_t t;
        pthread_create(&t, NULL, elsewhere, NULL);
        pthread_join(t, NULL);
    }
    int state = -1;
    R asked = D(cuStreamIsCapturing, c, &state);
    H g;
    R ended = D(cuStreamEndCapture, c, &g);
    printf("%d state %d end %d asked %d ", answer, state, ended, asked);
    return answer;
}

static H obj, obj2;
static P adr;
static unsigned long long phys;
static size_t za, zb;
static H pre_graph, pre_exec, pre_pool, pre_array, pre_lib, pre_kernel, pre_ctx, pre_dead;
static unsigned long long pre_phys;
static P pre_space;
/* Objects that a captured call uses; made before the capture begins. */
static void prepare(void) {
    H n;
    pre_graph = graph(&n);
    pre_exec = exec();
    pre_pool = pool();
    pre_array = array(64, 64);
    pre_lib = library(&pre_kernel);
    pre_phys = physical();
    CK(D(cuMemAddressReserve, &pre_space, L(4 << 20), L(0), L(0), L(0)));
    CK(D(cuEventRecord, ev, st2));
    CK(D(cuEventRecord, ev2, st2));
    CK(D(cuStreamSynchronize, st2));
}

#define CALLS(X) \
    X(EventQuery, D(cuEventQuery, ev)) \
    X(EventCreate, D(cuEventCreate, &obj, 0)) \
    X(EventDestroy, D(cuEventDestroy_v2, ev)) \
    X(EventRecordOther, D(cuEventRecord, ev, st2)) \
    X(EventSynchronize, D(cuEventSynchronize, ev)) \
    X(EventElapsed, ({ float f; D(cuEventElapsedTime, &f, ev, ev2); })) \
    X(StreamCreate, D(cuStreamCreate, &obj, 1)) \
    X(StreamDestroyOther, D(cuStreamDestroy_v2, st2)) \
    X(StreamQueryOther, D(cuStreamQuery, st2)) \
    X(StreamSynchronizeOther, D(cuStreamSynchronize, st2)) \
    X(StreamWaitEventOther, D(cuStreamWaitEvent, st2, ev, 0)) \
    X(StreamIsCapturing, ({ int s; D(cuStreamIsCapturing, st2, &s); })) \
    X(CtxSynchronize, D(cuCtxSynchronize)) \
    X(MemAlloc, D(cuMemAlloc_v2, &adr, L(1 << 20))) \
    X(MemAllocZero, D(cuMemAlloc_v2, &adr, L(0))) \
    X(MemAllocNull, D(cuMemAlloc_v2, NULL, L(8))) \
    X(MemAllocHuge, D(cuMemAlloc_v2, &adr, L(1) << 50)) \
    X(MemFree, D(cuMemFree_v2, mem)) \
    X(MemFreeBad, D(cuMemFree_v2, L(0x1234))) \
    X(MemAllocPitch, D(cuMemAllocPitch_v2, &adr, &za, L(100), L(100), 4)) \
    X(MemAllocManaged, D(cuMemAllocManaged, &adr, L(1 << 20), 1)) \
    X(MemAllocHost, D(cuMemAllocHost_v2, &obj, L(1 << 20))) \
    X(MemHostAlloc, D(cuMemHostAlloc, &obj, L(1 << 20), 0)) \
    X(MemHostRegister, D(cuMemHostRegister_v2, host, L(1 << 20), 0)) \
    X(MemAllocAsyncOther, D(cuMemAllocAsync, &adr, L(1 << 20), st2)) \
    X(MemGetInfo, D(cuMemGetInfo_v2, &za, &zb)) \
    X(MemcpyHtoD, D(cuMemcpyHtoD_v2, mem, host, L(64))) \
    X(MemcpyHtoDAsyncOther, D(cuMemcpyHtoDAsync_v2, mem, host, L(64), st2)) \
    X(MemsetD8, D(cuMemsetD8_v2, mem, 1, L(64))) \
    X(MemsetD8AsyncOther, D(cuMemsetD8Async, mem, 1, L(64), st2)) \
    X(LaunchOther, run(fun, st2)) \
    X(LaunchLegacy, run(fun, NULL)) \
    X(ModuleLoadData, D(cuModuleLoadData, &obj, ptx)) \
    X(ModuleUnload, D(cuModuleUnload, mod)) \
    X(ModuleGetFunction, D(cuModuleGetFunction, &obj, mod, "nothing")) \
    X(ModuleGetGlobal, D(cuModuleGetGlobal_v2, &adr, &za, mod, "word")) \
    X(LibraryLoadData, D(cuLibraryLoadData, &obj, ptx, NULL, NULL, 0, NULL, NULL, 0)) \
    X(LibraryUnload, D(cuLibraryUnload, pre_lib)) \
    X(KernelGetFunction, D(cuKernelGetFunction, &obj, pre_kernel)) \
    X(FuncGetAttribute, ({ int v; D(cuFuncGetAttribute, &v, 0, fun); })) \
    X(GraphCreate, D(cuGraphCreate, &obj, 0)) \
    X(GraphDestroy, D(cuGraphDestroy, pre_graph)) \
    X(GraphInstantiate, D(cuGraphInstantiateWithFlags, &obj, pre_graph, L(0))) \
    X(GraphLaunchOther, D(cuGraphLaunch, pre_exec, st2)) \
    X(GraphUploadOther, D(cuGraphUpload, pre_exec, st2)) \
    X(GraphExecDestroy, D(cuGraphExecDestroy, pre_exec)) \
    X(GraphMemTrim, D(cuDeviceGraphMemTrim, 0)) \
    X(MemPoolCreate, ({ struct props x = {.type = 1, .at = {1, 0}}; D(cuMemPoolCreate, &obj, &x); })) \
    X(MemPoolDestroy, D(cuMemPoolDestroy, pre_pool)) \
    X(MemPoolTrimTo, D(cuMemPoolTrimTo, pre_pool, L(0))) \
    X(MemPoolGetAttribute, D(cuMemPoolGetAttribute, pre_pool, 5, &phys)) \
    X(MemCreate, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, &phys, L(2 << 20), &x, L(0)); })) \
    X(MemRelease, D(cuMemRelease, pre_phys)) \
    X(MemMap, D(cuMemMap, pre_space, L(2 << 20), L(0), pre_phys, L(0))) \
    X(MemAddressReserve, D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))) \
    X(ArrayCreate, ({ struct desc2 d = {64, 64, 0x20, 4}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(ArrayDestroy, D(cuArrayDestroy, pre_array)) \
    X(CtxCreate, D(cuCtxCreate_v2, &obj, 0, 0)) \
    X(CtxSetLimit, D(cuCtxSetLimit, 0, L(2048))) \
    X(CtxGetLimit, D(cuCtxGetLimit, &za, 0)) \
    X(PrimaryRetain, D(cuDevicePrimaryCtxRetain, &obj, 0)) \
    X(PointerGetAttribute, ({ int v; D(cuPointerGetAttribute, &v, 2, mem); })) \
    X(MemGetAddressRange, D(cuMemGetAddressRange_v2, &adr, &za, mem)) \
    X(IpcGetMemHandle, ({ char h[64]; D(cuIpcGetMemHandle, h, mem); })) \
    X(DeviceGetAttribute, ({ int v; D(cuDeviceGetAttribute, &v, 1, 0); })) \
    X(Occupancy, ({ int v; D(cuOccupancyMaxActiveBlocksPerMultiprocessor, &v, fun, 32, L(0)); }))

#define DEFINE(name, e) static R call_##name(void) { return (e); }
CALLS(DEFINE)
static R with(R (*f)(void), int mode, int own, int callers);

/* --- misuse: each sets up, spoils, and returns the code of the call in question --- */
static R dead_stream(void) { begin(); CK(D(cuStreamDestroy_v2, st)); return 0; }
static R dead_event(void) { begin(); CK(D(cuEventRecord, ev, st)); CK(D(cuStreamSynchronize, st)); CK(D(cuEventDestroy_v2, ev)); return 0; }
static R dead_module(void) { begin(); CK(run(fun, st)); CK(D(cuModuleUnload, mod)); return 0; }
static R dead_library(void) { begin(); obj = library(&obj2); CK(D(cuKernelGetFunction, &pre_kernel, obj2)); CK(D(cuLibraryUnload, obj)); return 0; }
static R dead_graph(void) { begin(); obj = graph(&obj2); CK(D(cuGraphDestroy, obj)); return 0; }
static R dead_exec(void) { begin(); obj = exec(); CK(D(cuGraphExecDestroy, obj)); return 0; }
static R dead_pool(void) { begin(); obj = pool(); CK(D(cuMemPoolDestroy, obj)); return 0; }
static R dead_array(void) { begin(); obj = array(64, 64); CK(D(cuArrayDestroy, obj)); return 0; }
static R dead_mipmap(void) { begin(); obj = mipmap(); CK(D(cuMipmappedArrayGetLevel, &obj2, obj, 0)); CK(D(cuMipmappedArrayDestroy, obj)); return 0; }
static R dead_physical(void) { begin(); phys = physical(); CK(D(cuMemRelease, phys)); return 0; }
static R dead_memory(void) { begin(); CK(D(cuMemFree_v2, mem)); return 0; }
static R dead_context(void) { begin(); H a = ctx; CK(D(cuEventRecord, ev, st)); CK(D(cuStreamSynchronize, st)); pre_ctx = context(); pre_dead = a; CK(D(cuCtxDestroy_v2, a)); return 0; }
static R current_dead(void) {
    begin();
    /* Destroyed by another thread while it is current here. */
    pthread_t t;
    pthread_create(&t, NULL, (void *(*)(void *))sym("cuCtxDestroy_v2"), ctx);
    pthread_join(t, NULL);
    return 0;
}
static H primary;
static R reset(void) {
    CK(D(cuInit, 0));
    CK(D(cuDevicePrimaryCtxRetain, &primary, 0));
    CK(D(cuCtxSetCurrent, primary));
    st = stream(); ev = event(); mem = alloc(4 << 20);
    CK(D(cuModuleLoadData, &mod, ptx)); CK(D(cuModuleGetFunction, &fun, mod, "nothing"));
    CK(D(cuEventRecord, ev, st)); CK(D(cuStreamSynchronize, st));
    CK(D(cuDevicePrimaryCtxReset_v2, 0));
    return 0;
}
static R two_contexts(void) { begin(); pre_dead = ctx; pre_ctx = context(); obj = stream(); obj2 = event(); return 0; }

/* X(name, state before, call) */
#define MISUSE(X) \
    X(stream_destroy_twice, dead_stream, D(cuStreamDestroy_v2, st)) \
    X(stream_synchronize, dead_stream, D(cuStreamSynchronize, st)) \
    X(stream_query, dead_stream, D(cuStreamQuery, st)) \
    X(stream_event_record, dead_stream, D(cuEventRecord, ev, st)) \
    X(stream_wait_event, dead_stream, D(cuStreamWaitEvent, st, ev, 0)) \
    X(stream_launch, dead_stream, run(fun, st)) \
    X(stream_memcpy, dead_stream, D(cuMemcpyHtoDAsync_v2, mem, host, L(64), st)) \
    X(stream_memset, dead_stream, D(cuMemsetD8Async, mem, 1, L(64), st)) \
    X(stream_alloc, dead_stream, D(cuMemAllocAsync, &adr, L(64), st)) \
    X(stream_free, dead_stream, D(cuMemFreeAsync, mem, st)) \
    X(stream_get_ctx, dead_stream, D(cuStreamGetCtx, st, &obj)) \
    X(stream_get_id, dead_stream, D(cuStreamGetId, st, &phys)) \
    X(stream_is_capturing, dead_stream, ({ int s; D(cuStreamIsCapturing, st, &s); })) \
    X(stream_get_priority, dead_stream, ({ int s; D(cuStreamGetPriority, st, &s); })) \
    X(stream_begin_capture, dead_stream, D(cuStreamBeginCapture_v2, st, 0)) \
    X(stream_host_func, dead_stream, D(cuLaunchHostFunc, st, getpid, NULL)) \
    X(stream_graph_launch, dead_stream, ({ H e = exec(); D(cuGraphLaunch, e, st); })) \
    X(stream_write_value, dead_stream, D(cuStreamWriteValue32_v2, st, mem, 1, 0)) \
    X(stream_foreign, begin0, D(cuStreamSynchronize, (H)0x123456789a0)) \
    X(stream_host_memory, begin0, D(cuStreamSynchronize, (H)host)) \
    X(event_destroy_twice, dead_event, D(cuEventDestroy_v2, ev)) \
    X(event_record, dead_event, D(cuEventRecord, ev, st)) \
    X(event_query, dead_event, D(cuEventQuery, ev)) \
    X(event_synchronize, dead_event, D(cuEventSynchronize, ev)) \
    X(event_elapsed, dead_event, ({ float f; D(cuEventElapsedTime, &f, ev, ev); })) \
    X(event_wait, dead_event, D(cuStreamWaitEvent, st, ev, 0)) \
    X(event_null_query, begin0, D(cuEventQuery, NULL)) \
    X(event_null_destroy, begin0, D(cuEventDestroy_v2, NULL)) \
    X(event_null_record, begin0, D(cuEventRecord, NULL, st)) \
    X(event_unrecorded_elapsed, begin0, ({ float f; D(cuEventElapsedTime, &f, ev, ev2); })) \
    X(module_unload_twice, dead_module, D(cuModuleUnload, mod)) \
    X(module_get_function, dead_module, D(cuModuleGetFunction, &obj, mod, "nothing")) \
    X(module_get_global, dead_module, D(cuModuleGetGlobal_v2, &adr, &za, mod, "word")) \
    X(module_null, begin0, D(cuModuleUnload, NULL)) \
    X(function_launch, dead_module, run(fun, st)) \
    X(function_get_attribute, dead_module, ({ int v; D(cuFuncGetAttribute, &v, 0, fun); })) \
    X(function_get_module, dead_module, D(cuFuncGetModule, &obj, fun)) \
    X(function_get_name, dead_module, ({ const char *v; D(cuFuncGetName, &v, fun); })) \
    X(function_null_launch, begin0, run(NULL, st)) \
    X(function_foreign_launch, begin0, run((H)0x123456789a0, st)) \
    X(library_unload_twice, dead_library, D(cuLibraryUnload, obj)) \
    X(library_get_kernel, dead_library, D(cuLibraryGetKernel, &ev, obj, "nothing")) \
    X(library_get_module, dead_library, D(cuLibraryGetModule, &ev, obj)) \
    X(kernel_get_function, dead_library, D(cuKernelGetFunction, &ev, obj2)) \
    X(kernel_get_name, dead_library, ({ const char *v; D(cuKernelGetName, &v, obj2); })) \
    X(kernel_launch, dead_library, run(obj2, st)) \
    X(library_function_launch, dead_library, run(pre_kernel, st)) \
    X(graph_destroy_twice, dead_graph, D(cuGraphDestroy, obj)) \
    X(graph_instantiate, dead_graph, D(cuGraphInstantiateWithFlags, &ev, obj, L(0))) \
    X(graph_get_nodes, dead_graph, D(cuGraphGetNodes, obj, NULL, &za)) \
    X(graph_clone, dead_graph, D(cuGraphClone, &ev, obj)) \
    X(graph_add_node, dead_graph, D(cuGraphAddEmptyNode, &ev, obj, NULL, L(0))) \
    X(graph_null_destroy, begin0, D(cuGraphDestroy, NULL)) \
    X(node_get_type, dead_graph, ({ int v; D(cuGraphNodeGetType, obj2, &v); })) \
    X(node_destroy, dead_graph, D(cuGraphDestroyNode, obj2)) \
    X(exec_destroy_twice, dead_exec, D(cuGraphExecDestroy, obj)) \
    X(exec_launch, dead_exec, D(cuGraphLaunch, obj, st)) \
    X(exec_upload, dead_exec, D(cuGraphUpload, obj, st)) \
    X(exec_get_flags, dead_exec, D(cuGraphExecGetFlags, obj, &phys)) \
    X(exec_null_launch, begin0, D(cuGraphLaunch, NULL, st)) \
    X(pool_destroy_twice, dead_pool, D(cuMemPoolDestroy, obj)) \
    X(pool_get_attribute, dead_pool, D(cuMemPoolGetAttribute, obj, 5, &phys)) \
    X(pool_set_attribute, dead_pool, D(cuMemPoolSetAttribute, obj, 4, &phys)) \
    X(pool_trim, dead_pool, D(cuMemPoolTrimTo, obj, L(0))) \
    X(pool_alloc, dead_pool, D(cuMemAllocFromPoolAsync, &adr, L(64), obj, st)) \
    X(pool_make_current, dead_pool, D(cuDeviceSetMemPool, 0, obj)) \
    X(pool_null_trim, begin0, D(cuMemPoolTrimTo, NULL, L(0))) \
    X(pool_default_destroy, begin0, ({ CK(D(cuDeviceGetDefaultMemPool, &obj, 0)); D(cuMemPoolDestroy, obj); })) \
    X(array_destroy_twice, dead_array, D(cuArrayDestroy, obj)) \
    X(array_get_descriptor, dead_array, ({ struct desc2 d; D(cuArrayGetDescriptor_v2, &d, obj); })) \
    X(array_copy, dead_array, D(cuMemcpyHtoA_v2, obj, L(0), host, L(64))) \
    X(array_null_destroy, begin0, D(cuArrayDestroy, NULL)) \
    X(mipmap_destroy_twice, dead_mipmap, D(cuMipmappedArrayDestroy, obj)) \
    X(mipmap_get_level, dead_mipmap, D(cuMipmappedArrayGetLevel, &ev, obj, 0)) \
    X(mipmap_level_descriptor, dead_mipmap, ({ struct desc2 d; D(cuArrayGetDescriptor_v2, &d, obj2); })) \
    X(physical_release_twice, dead_physical, D(cuMemRelease, phys)) \
    X(physical_properties, dead_physical, ({ struct aprop x; D(cuMemGetAllocationPropertiesFromHandle, &x, phys); })) \
    X(physical_export, dead_physical, ({ int fd; D(cuMemExportToShareableHandle, &fd, phys, 1, L(0)); })) \
    X(physical_map, dead_physical, ({ CK(D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))); D(cuMemMap, adr, L(2 << 20), L(0), phys, L(0)); })) \
    X(physical_foreign, begin0, D(cuMemRelease, L(0x123456789a0))) \
    X(memory_free_twice, dead_memory, D(cuMemFree_v2, mem)) \
    X(memory_free_null, begin0, D(cuMemFree_v2, L(0))) \
    X(memory_free_unknown, begin0, D(cuMemFree_v2, L(0x1234000))) \
    X(memory_free_middle, begin0, D(cuMemFree_v2, mem + 512)) \
    X(memory_free_host, begin0, ({ CK(D(cuMemAllocHost_v2, &obj, L(4096))); D(cuMemFree_v2, obj); })) \
    X(memory_free_heap, begin0, D(cuMemFree_v2, host)) \
    X(memory_free_host_twice, begin0, ({ CK(D(cuMemAllocHost_v2, &obj, L(4096))); CK(D(cuMemFreeHost, obj)); D(cuMemFreeHost, obj); })) \
    X(memory_free_host_device, begin0, D(cuMemFreeHost, mem)) \
    X(memory_free_async_twice, begin0, ({ CK(D(cuMemAllocAsync, &adr, L(64), st)); CK(D(cuMemFreeAsync, adr, st)); D(cuMemFreeAsync, adr, st); })) \
    X(memory_free_async_unknown, begin0, D(cuMemFreeAsync, L(0x1234000), st)) \
    X(memory_free_async_plain, begin0, D(cuMemFreeAsync, mem, st)) \
    X(memory_free_of_pool, begin0, ({ CK(D(cuMemAllocAsync, &adr, L(64), st)); D(cuMemFree_v2, adr); })) \
    X(memory_free_of_pool_twice, begin0, ({ CK(D(cuMemAllocAsync, &adr, L(64), st)); CK(D(cuMemFree_v2, adr)); D(cuMemFree_v2, adr); })) \
    X(memory_write_freed, dead_memory, D(cuMemcpyHtoD_v2, mem, host, L(64))) \
    X(memory_write_beyond, begin0, D(cuMemcpyHtoD_v2, mem + (4 << 20) - 32, host, L(8 << 20))) \
    X(memory_write_just_beyond, begin0, ({ P p = alloc(1000); D(cuMemcpyHtoD_v2, p, host, L(1001)); })) \
    X(memory_write_unknown, begin0, D(cuMemcpyHtoD_v2, L(0x1234000), host, L(64))) \
    X(memory_read_freed, dead_memory, D(cuMemcpyDtoH_v2, host, mem, L(64))) \
    X(memory_copy_freed, dead_memory, D(cuMemcpyDtoD_v2, mem, mem2, L(64))) \
    X(memory_fill_freed, dead_memory, D(cuMemsetD8_v2, mem, 1, L(64))) \
    X(memory_fill_beyond, begin0, D(cuMemsetD8_v2, mem, 1, L(64 << 20))) \
    X(memory_fill_freed_async, dead_memory, D(cuMemsetD8Async, mem, 1, L(64), st)) \
    X(memory_write_freed_async, dead_memory, D(cuMemcpyHtoDAsync_v2, mem, host, L(64), st)) \
    X(memory_copy_freed_async, dead_memory, D(cuMemcpyDtoDAsync_v2, mem, mem2, L(64), st)) \
    X(memory_unified_freed, dead_memory, D(cuMemcpy, mem, mem2, L(64))) \
    X(memory_range_freed, dead_memory, D(cuMemGetAddressRange_v2, &adr, &za, mem)) \
    X(memory_attribute_freed, dead_memory, ({ int v; D(cuPointerGetAttribute, &v, 2, mem); })) \
    X(memory_ipc_freed, dead_memory, ({ char h[64]; D(cuIpcGetMemHandle, h, mem); })) \
    X(memory_unregister_unknown, begin0, D(cuMemHostUnregister, host)) \
    X(memory_unmap_twice, begin0, ({ phys = physical(); CK(D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))); CK(D(cuMemMap, adr, L(2 << 20), L(0), phys, L(0))); CK(D(cuMemUnmap, adr, L(2 << 20))); D(cuMemUnmap, adr, L(2 << 20)); })) \
    X(memory_space_free_twice, begin0, ({ CK(D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))); CK(D(cuMemAddressFree, adr, L(2 << 20))); D(cuMemAddressFree, adr, L(2 << 20)); })) \
    X(memory_space_free_mapped, begin0, ({ phys = physical(); CK(D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))); CK(D(cuMemMap, adr, L(2 << 20), L(0), phys, L(0))); D(cuMemAddressFree, adr, L(2 << 20)); })) \
    X(memory_write_reserved, begin0, ({ CK(D(cuMemAddressReserve, &adr, L(2 << 20), L(0), L(0), L(0))); D(cuMemcpyHtoD_v2, adr, host, L(64)); })) \
    X(context_set_current, dead_context, D(cuCtxSetCurrent, pre_dead)) \
    X(context_push, dead_context, D(cuCtxPushCurrent_v2, pre_dead)) \
    X(context_destroy_twice, dead_context, D(cuCtxDestroy_v2, pre_dead)) \
    X(context_api_version, dead_context, ({ unsigned v; D(cuCtxGetApiVersion, pre_dead, &v); })) \
    X(context_get_id, dead_context, D(cuCtxGetId, pre_dead, &phys)) \
    X(context_foreign, begin0, D(cuCtxSetCurrent, (H)0x123456789a0)) \
    X(context_stream_synchronize, dead_context, D(cuStreamSynchronize, st)) \
    X(context_stream_destroy, dead_context, D(cuStreamDestroy_v2, st)) \
    X(context_event_query, dead_context, D(cuEventQuery, ev)) \
    X(context_event_destroy, dead_context, D(cuEventDestroy_v2, ev)) \
    X(context_event_elapsed, dead_context, ({ float f; D(cuEventElapsedTime, &f, ev, ev); })) \
    X(context_event_record, dead_context, ({ H s = stream(); D(cuEventRecord, ev, s); })) \
    X(context_module_unload, dead_context, D(cuModuleUnload, mod)) \
    X(context_launch, dead_context, ({ H s = stream(); run(fun, s); })) \
    X(context_memory_free, dead_context, D(cuMemFree_v2, mem)) \
    X(context_memory_write, dead_context, D(cuMemcpyHtoD_v2, mem, host, L(64))) \
    X(current_dead_alloc, current_dead, D(cuMemAlloc_v2, &adr, L(64))) \
    X(current_dead_synchronize, current_dead, D(cuCtxSynchronize)) \
    X(current_dead_get_device, current_dead, ({ int v; D(cuCtxGetDevice, &v); })) \
    X(current_dead_stream_create, current_dead, D(cuStreamCreate, &obj, 0)) \
    X(current_dead_legacy, current_dead, D(cuStreamSynchronize, NULL)) \
    X(current_dead_get_current, current_dead, ({ CK(D(cuCtxGetCurrent, &obj)); obj == ctx; })) \
    X(reset_alloc, reset, D(cuMemAlloc_v2, &adr, L(64))) \
    X(reset_get_current, reset, ({ CK(D(cuCtxGetCurrent, &obj)); obj == primary; })) \
    X(reset_event_query, reset, D(cuEventQuery, ev)) \
    X(reset_stream_synchronize, reset, D(cuStreamSynchronize, st)) \
    X(reset_memory_free, reset, D(cuMemFree_v2, mem)) \
    X(reset_set_current, reset, D(cuCtxSetCurrent, primary)) \
    X(reset_again_same_handle, reset, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); obj != primary; })) \
    X(reset_again_alloc, reset, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); D(cuMemAlloc_v2, &adr, L(64)); })) \
    X(reset_again_event_query, reset, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); D(cuEventQuery, ev); })) \
    X(reset_again_launch, reset, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); run(fun, NULL); })) \
    X(primary_destroy, begin0, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); D(cuCtxDestroy_v2, obj); })) \
    X(primary_release_unretained, begin0, D(cuDevicePrimaryCtxRelease_v2, 0)) \
    X(primary_release_too_often, begin0, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); CK(D(cuDevicePrimaryCtxRelease_v2, 0)); D(cuDevicePrimaryCtxRelease_v2, 0); })) \
    X(two_record, two_contexts, D(cuEventRecord, ev, obj)) \
    X(two_record_own_elsewhere, two_contexts, D(cuEventRecord, ev, st)) \
    X(two_wait, two_contexts, ({ CK(D(cuEventRecord, ev, st)); D(cuStreamWaitEvent, obj, ev, 0); })) \
    X(two_elapsed, two_contexts, ({ float f; CK(D(cuEventRecord, ev, st)); CK(D(cuEventRecord, obj2, obj)); CK(D(cuEventSynchronize, ev)); CK(D(cuEventSynchronize, obj2)); D(cuEventElapsedTime, &f, ev, obj2); })) \
    X(two_launch, two_contexts, run(fun, obj)) \
    X(two_launch_own_elsewhere, two_contexts, run(fun, st)) \
    X(two_legacy_launch, two_contexts, run(fun, NULL)) \
    X(two_unload, two_contexts, D(cuModuleUnload, mod)) \
    X(two_get_function, two_contexts, D(cuModuleGetFunction, &obj, mod, "nothing")) \
    X(two_free, two_contexts, D(cuMemFree_v2, mem)) \
    X(two_write, two_contexts, D(cuMemcpyHtoD_v2, mem, host, L(64))) \
    X(two_memset_async, two_contexts, D(cuMemsetD8Async, mem, 1, L(64), obj)) \
    X(two_stream_synchronize, two_contexts, D(cuStreamSynchronize, st)) \
    X(two_event_query, two_contexts, D(cuEventQuery, ev)) \
    X(two_event_destroy, two_contexts, D(cuEventDestroy_v2, ev)) \
    X(two_stream_destroy, two_contexts, D(cuStreamDestroy_v2, st)) \
    X(two_array_destroy, two_contexts, ({ H a = array(64, 64); CK(D(cuCtxSetCurrent, pre_dead)); D(cuArrayDestroy, a); })) \
    X(none_event_query, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuEventQuery, ev); })) \
    X(none_event_destroy, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuEventDestroy_v2, ev); })) \
    X(none_event_record, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuEventRecord, ev, st); })) \
    X(none_stream_synchronize, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuStreamSynchronize, st); })) \
    X(none_launch, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); run(fun, st); })) \
    X(none_free, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuMemFree_v2, mem); })) \
    X(none_unload, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuModuleUnload, mod); })) \
    X(none_write, begin0, ({ CK(D(cuCtxSetCurrent, NULL)); D(cuMemcpyHtoD_v2, mem, host, L(64)); })) \
    X(none_graph_destroy, begin0, ({ H n, g = graph(&n); CK(D(cuCtxSetCurrent, NULL)); D(cuGraphDestroy, g); })) \
    X(none_pool_trim, begin0, ({ H p = pool(); CK(D(cuCtxSetCurrent, NULL)); D(cuMemPoolTrimTo, p, L(0)); })) \
    X(none_array_descriptor, begin0, ({ H a = array(8, 8); struct desc2 d; CK(D(cuCtxSetCurrent, NULL)); D(cuArrayGetDescriptor_v2, &d, a); })) \
    X(order_uninit_null, nothing, D(cuMemAlloc_v2, NULL, L(0))) \
    X(order_uninit_stream, nothing, D(cuStreamSynchronize, NULL)) \
    X(order_noctx_null, init0, D(cuMemAlloc_v2, NULL, L(8))) \
    X(order_noctx_zero, init0, D(cuMemAlloc_v2, &adr, L(0))) \
    X(order_noctx_alloc, init0, D(cuMemAlloc_v2, &adr, L(8))) \
    X(order_noctx_event_flags, init0, D(cuEventCreate, &obj, 999)) \
    X(order_noctx_event_null, init0, D(cuEventCreate, NULL, 0)) \
    X(order_noctx_stream_flags, init0, D(cuStreamCreate, &obj, 999)) \
    X(order_noctx_module, init0, D(cuModuleLoadData, &obj, "garbage")) \
    X(order_noctx_array, init0, ({ struct desc2 d = {0, 0, 0x20, 4}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(order_noctx_info, init0, D(cuMemGetInfo_v2, &za, &zb)) \
    X(order_noctx_async, init0, D(cuMemAllocAsync, &adr, L(8), NULL)) \
    X(order_noctx_limit, init0, D(cuCtxSetLimit, 99, L(8))) \
    X(order_alloc_zero, begin0, D(cuMemAlloc_v2, &adr, L(0))) \
    X(order_alloc_null, begin0, D(cuMemAlloc_v2, NULL, L(8))) \
    X(order_alloc_huge_null, begin0, D(cuMemAlloc_v2, NULL, L(1) << 60)) \
    X(order_alloc_huge, begin0, D(cuMemAlloc_v2, &adr, L(1) << 60)) \
    X(order_alloc_most, begin0, D(cuMemAlloc_v2, &adr, ~L(0))) \
    X(order_async_zero, begin0, D(cuMemAllocAsync, &adr, L(0), st)) \
    X(order_async_null, begin0, D(cuMemAllocAsync, NULL, L(8), st)) \
    X(order_async_huge, begin0, D(cuMemAllocAsync, &adr, L(1) << 50, st)) \
    X(order_pitch_zero, begin0, D(cuMemAllocPitch_v2, &adr, &za, L(0), L(1), 4)) \
    X(order_pitch_element, begin0, D(cuMemAllocPitch_v2, &adr, &za, L(8), L(1), 3)) \
    X(order_managed_flags, begin0, D(cuMemAllocManaged, &adr, L(8), 9)) \
    X(order_managed_zero, begin0, D(cuMemAllocManaged, &adr, L(0), 1)) \
    X(order_managed_huge, begin0, D(cuMemAllocManaged, &adr, L(1) << 60, 1)) \
    X(order_host_zero, begin0, D(cuMemHostAlloc, &obj, L(0), 0)) \
    X(order_host_flags, begin0, D(cuMemHostAlloc, &obj, L(8), 0xff00)) \
    X(order_create_zero, begin0, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, &phys, L(0), &x, L(0)); })) \
    X(order_create_odd, begin0, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, &phys, L(100), &x, L(0)); })) \
    X(order_create_flags, begin0, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, &phys, L(1) << 50, &x, L(7)); })) \
    X(order_create_device, begin0, ({ struct aprop x = {.type = 1, .at = {1, 99}}; D(cuMemCreate, &phys, L(2 << 20), &x, L(0)); })) \
    X(order_create_type, begin0, ({ struct aprop x = {.type = 7, .at = {1, 0}}; D(cuMemCreate, &phys, L(2 << 20), &x, L(0)); })) \
    X(order_create_null_huge, begin0, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, NULL, L(1) << 50, &x, L(0)); })) \
    X(order_create_huge, begin0, ({ struct aprop x = {.type = 1, .at = {1, 0}}; D(cuMemCreate, &phys, L(1) << 50, &x, L(0)); })) \
    X(order_array_zero, begin0, ({ struct desc2 d = {0, 0, 0x20, 4}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(order_array_format, begin0, ({ struct desc2 d = {8, 8, 0x77, 4}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(order_array_channels, begin0, ({ struct desc2 d = {8, 8, 0x20, 3}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(order_array_huge, begin0, ({ struct desc2 d = {1 << 20, 1 << 20, 0x20, 4}; D(cuArrayCreate_v2, &obj, &d); })) \
    X(order_array_null, begin0, ({ struct desc2 d = {8, 8, 0x20, 4}; D(cuArrayCreate_v2, NULL, &d); })) \
    X(order_launch_no_grid, begin0, D(cuLaunchKernel, fun, 0, 1, 1, 1, 1, 1, 0, st, NULL, NULL)) \
    X(order_launch_threads, begin0, D(cuLaunchKernel, fun, 1, 1, 1, 2048, 1, 1, 0, st, NULL, NULL)) \
    X(order_launch_shared, begin0, D(cuLaunchKernel, fun, 1, 1, 1, 1, 1, 1, 1 << 20, st, NULL, NULL)) \
    X(order_limit_unknown, begin0, D(cuCtxSetLimit, 99, L(8))) \
    X(order_limit_huge_stack, begin0, D(cuCtxSetLimit, 0, L(1) << 40)) \
    X(order_limit_printf, begin0, D(cuCtxSetLimit, 1, L(64) << 20)) \
    X(order_stream_flags, begin0, D(cuStreamCreate, &obj, 999)) \
    X(order_event_flags, begin0, D(cuEventCreate, &obj, 999)) \
    X(order_pool_flags, begin0, ({ struct props x = {.type = 9, .at = {1, 0}}; D(cuMemPoolCreate, &obj, &x); })) \
    X(order_pool_device, begin0, ({ struct props x = {.type = 1, .at = {1, 99}}; D(cuMemPoolCreate, &obj, &x); })) \
    X(order_ctx_flags, init0, D(cuCtxCreate_v2, &obj, 0x7777, 0)) \
    X(order_ctx_device, init0, D(cuCtxCreate_v2, &obj, 0, 99)) \
    X(order_ctx_null, init0, D(cuCtxCreate_v2, NULL, 0, 99)) \
    X(attach, begin0, ({ R a = D(cuCtxAttach, &obj, 0); printf("attach %d same %d ", a, obj == ctx); R b = D(cuCtxDetach, ctx); printf("detach %d ", b); R c = D(cuCtxSynchronize); printf("then %d ", c); R d = D(cuCtxDetach, ctx); printf("detach %d ", d); R e = D(cuCtxSynchronize); printf("then %d ", e); D(cuCtxDetach, ctx); })) \
    X(attach_flags, begin0, D(cuCtxAttach, &obj, 5)) \
    X(attach_primary, begin0, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); CK(D(cuCtxSetCurrent, obj)); R a = D(cuCtxAttach, &obj2, 0); printf("attach %d ", a); D(cuCtxDetach, obj); })) \
    X(destroy_attached, begin0, ({ CK(D(cuCtxAttach, &obj, 0)); R d = D(cuCtxDestroy_v2, ctx); printf("destroy %d ", d); D(cuCtxDetach, ctx); })) \
    X(detach_foreign, two_contexts, D(cuCtxDetach, pre_dead)) \
    X(green, init0, green_walk()) \
    X(green_destroy_twice, init0, ({ green_make(); CK(D(cuGreenCtxDestroy, green)); D(cuGreenCtxDestroy, green); })) \
    X(green_stream_after, init0, ({ green_make(); CK(D(cuGreenCtxDestroy, green)); D(cuStreamSynchronize, st); })) \
    X(green_ctx_after, init0, ({ green_make(); CK(D(cuGreenCtxDestroy, green)); D(cuCtxSetCurrent, obj); })) \
    X(green_event_after, init0, ({ green_make(); CK(D(cuCtxSetCurrent, obj)); ev = event(); CK(D(cuEventRecord, ev, st)); CK(D(cuCtxSynchronize)); CK(D(cuGreenCtxDestroy, green)); D(cuEventQuery, ev); })) \
    X(green_ctx_destroy, init0, ({ green_make(); D(cuCtxDestroy_v2, obj); })) \
    X(green_memory_after, init0, ({ green_make(); CK(D(cuCtxSetCurrent, obj)); mem = alloc(4 << 20); CK(D(cuGreenCtxDestroy, green)); H p; CK(D(cuDevicePrimaryCtxRetain, &p, 0)); CK(D(cuCtxSetCurrent, p)); D(cuMemFree_v2, mem); })) \
    X(churned_stream, dead_stream, (churn(), D(cuStreamSynchronize, st))) \
    X(churned_event, dead_event, (churn(), D(cuEventQuery, ev))) \
    X(churned_module_unload, dead_module, (churn(), D(cuModuleUnload, mod))) \
    X(churned_module_get_function, dead_module, (churn(), D(cuModuleGetFunction, &obj, mod, "nothing"))) \
    X(churned_function_launch, dead_module, (churn(), run(fun, st))) \
    X(churned_function_attribute, dead_module, ({ int v; churn(); D(cuFuncGetAttribute, &v, 0, fun); })) \
    X(churned_graph_destroy, dead_graph, (churn(), D(cuGraphDestroy, obj))) \
    X(churned_graph_instantiate, dead_graph, (churn(), D(cuGraphInstantiateWithFlags, &ev, obj, L(0)))) \
    X(churned_exec_launch, dead_exec, (churn(), D(cuGraphLaunch, obj, st))) \
    X(churned_exec_destroy, dead_exec, (churn(), D(cuGraphExecDestroy, obj))) \
    X(churned_pool_attribute, dead_pool, (churn(), D(cuMemPoolGetAttribute, obj, 5, &phys))) \
    X(churned_pool_destroy, dead_pool, (churn(), D(cuMemPoolDestroy, obj))) \
    X(churned_pool_alloc, dead_pool, (churn(), D(cuMemAllocFromPoolAsync, &adr, L(64), obj, st))) \
    X(churned_pool_current, dead_pool, (churn(), D(cuDeviceSetMemPool, 0, obj))) \
    X(churned_physical_release, dead_physical, (churn(), D(cuMemRelease, phys))) \
    X(churned_kernel_name, dead_library, ({ const char *v; churn(); D(cuKernelGetName, &v, obj2); })) \
    X(churned_node_type, dead_graph, ({ int v; churn(); D(cuGraphNodeGetType, obj2, &v); })) \
    X(churned_context_current, dead_context, (churn(), D(cuCtxSetCurrent, pre_dead))) \
    X(churned_context_destroy, dead_context, (churn(), D(cuCtxDestroy_v2, pre_dead))) \
    X(churned_context_stream, dead_context, (churn(), D(cuStreamSynchronize, st))) \
    X(churned_context_event, dead_context, (churn(), D(cuEventQuery, ev))) \
    X(churned_context_event_destroy, dead_context, (churn(), D(cuEventDestroy_v2, ev))) \
    X(churned_context_launch, dead_context, ({ H s = stream(); churn(); run(fun, s); })) \
    X(churned_context_unload, dead_context, (churn(), D(cuModuleUnload, mod))) \
    X(churned_reset_event, reset, (churn(), D(cuEventQuery, ev))) \
    X(churned_reset_elapsed, reset, ({ float f; churn(); D(cuEventElapsedTime, &f, ev, ev); })) \
    X(churned_reset_launch, reset, ({ CK(D(cuDevicePrimaryCtxRetain, &obj, 0)); churn(); run(fun, NULL); })) \
    X(reused_stream_dead, dead_stream, ({ H n = stream(); int same = n == st; D(cuStreamSynchronize, st); same; })) \
    X(reused_event, dead_event, ({ H n = event(); n == ev; })) \
    X(reused_context, begin0, ({ H a = context(); CK(D(cuCtxDestroy_v2, a)); H b = context(); a == b; })) \
    X(foreign_event, begin0, D(cuEventQuery, (H)0x123456789a0)) \
    X(foreign_module, begin0, D(cuModuleUnload, (H)0x123456789a0)) \
    X(foreign_graph, begin0, D(cuGraphDestroy, (H)0x123456789a0)) \
    X(foreign_exec, begin0, D(cuGraphLaunch, (H)0x123456789a0, st)) \
    X(foreign_pool, begin0, D(cuMemPoolTrimTo, (H)0x123456789a0, L(0))) \
    X(foreign_array, begin0, D(cuArrayDestroy, (H)0x123456789a0)) \
    X(foreign_library, begin0, D(cuLibraryUnload, (H)0x123456789a0)) \
    X(foreign_kernel, begin0, D(cuKernelGetFunction, &obj, (H)0x123456789a0)) \
    X(wrong_kind_stream, begin0, D(cuStreamSynchronize, ev)) \
    X(wrong_kind_event, begin0, D(cuEventQuery, st)) \
    X(wrong_kind_graph, begin0, ({ H e = exec(); D(cuGraphDestroy, e); })) \
    X(green_quiet, init0, green_walk()) \
    X(stack_quiet, init0, contexts()) \
    X(keeps, init0, keeps()) \
    X(async_zero_is, begin0, ({ P p = 1, q = 1; R a = D(cuMemAllocAsync, &p, L(0), st), b = D(cuMemAllocAsync, &q, L(0), st); printf("%d %d %llx %llx free ", a, b, p, q); D(cuMemFreeAsync, p, st); })) \
    X(sizes_arrays, begin0, sizes()) \
    X(sizes_more, begin0, shapes(27, 99)) \
    X(sizes_contexts, init0, contexts())

static R begin0(void) { begin(); return 0; }
/* Overwrites what was freed last, whoever freed it. */
static R churn(void) {
    static void *kept[4096];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 4096; i++) {
            Z n = 16 + 24 * (Z)(i % 200);
            kept[i] = malloc(n);
            memset(kept[i], 0xa5, n);
        }
        for (int i = 0; i < 4096; i++) free(kept[i]);
    }
    return 0;
}
static R init0(void) { CK(D(cuInit, 0)); return 0; }
static R nothing(void) { return 0; }

static H green;
struct res { int type; unsigned char pad[92]; unsigned sm, min, cox, flags; unsigned char rest[200]; };
static struct res whole, part, left;
static void green_make(void) {
    H c, desc;
    CK(D(cuDevicePrimaryCtxRetain, &c, 0));
    CK(D(cuDeviceGetDevResource, 0, &whole, 1));
    unsigned n = 1;
    CK(D(cuDevSmResourceSplitByCount, &part, &n, &whole, &left, 0, 16));
    CK(D(cuDevResourceGenerateDesc, &desc, &part, 1));
    CK(D(cuGreenCtxCreate, &green, desc, 0, 1));
    CK(D(cuCtxFromGreenCtx, &obj, green));
    CK(D(cuGreenCtxStreamCreate, &st, green, 1, 0));
}
static Z free_kib(void) {
    Z f, t;
    CK(D(cuMemGetInfo_v2, &f, &t));
    return f >> 10;
}
static R green_walk(void) {
    H c;
    CK(D(cuDevicePrimaryCtxRetain, &c, 0));
    CK(D(cuCtxSetCurrent, c));
    Z before = free_kib();
    green_make();
    unsigned *w = (unsigned *)&whole, *p = (unsigned *)&part, *l = (unsigned *)&left;
    Z after = free_kib();
    H of;
    int dev = -1;
    R gs = D(cuStreamGetGreenCtx, st, &of);
    printf("whole %u part %u left %u (at word 24) takes %zd KiB, stream's green %d %d, is primary %d, ", w[24], p[24], l[24], before - after, gs, of == green, obj == c);
    CK(D(cuCtxSetCurrent, obj));
    D(cuCtxGetDevice, &dev);
    H at;
    D(cuStreamGetCtx, st, &at);
    printf("device %d, stream's context %d, ", dev, at == obj);
    CK(D(cuModuleLoadData, &mod, ptx));
    CK(D(cuModuleGetFunction, &fun, mod, "nothing"));
    printf("launch %d ", run(fun, st));
    mem = alloc(4 << 20);
    printf("sync %d ", D(cuCtxSynchronize));
    printf("destroy %d ", D(cuGreenCtxDestroy, green));
    CK(D(cuCtxSetCurrent, c));
    printf("left taken %zd KiB ", before - free_kib());
    return 0;
}
static R contexts(void) {
    H c;
    CK(D(cuDevicePrimaryCtxRetain, &c, 0));
    CK(D(cuCtxSetCurrent, c));
    Z f = free_kib();
    H s[64];
    for (int i = 0; i < 64; i++) s[i] = stream();
    printf("64 streams %zd ", f - free_kib());
    for (int i = 0; i < 64; i++) CK(D(cuStreamDestroy_v2, s[i]));
    printf("destroyed %zd ", f - free_kib());
    H e[1000];
    for (int i = 0; i < 1000; i++) e[i] = event();
    printf("1000 events %zd ", f - free_kib());
    for (int i = 0; i < 1000; i++) CK(D(cuEventDestroy_v2, e[i]));
    printf("destroyed %zd KiB ", f - free_kib());
    CK(D(cuCtxSetLimit, 0, L(8192)));
    printf("stack 8 KiB %zd ", f - free_kib());
    CK(D(cuCtxSetLimit, 0, L(1024)));
    printf("back %zd KiB ", f - free_kib());
    return 0;
}
/* Free memory that a pool keeps, and who gets it. */
static R keeps(void) {
    begin();
    Z f, t;
    H p;
    CK(D(cuDeviceGetDefaultMemPool, &p, 0));
    unsigned long long all = ~0ull, was[3];
    CK(D(cuMemPoolSetAttribute, p, 4, &all));
    CK(D(cuMemGetInfo_v2, &f, &t));
    P a, b;
    CK(D(cuMemAllocAsync, &a, L(f / 3 * 2), st));
    CK(D(cuMemFreeAsync, a, st));
    CK(D(cuStreamSynchronize, st));
    D(cuMemPoolGetAttribute, p, 5, &was[0]);
    R r = D(cuMemAlloc_v2, &b, L(f / 2));
    D(cuMemPoolGetAttribute, p, 5, &was[1]);
    printf("alloc %d: pool had %llu MiB, has %llu; ", r, was[0] >> 20, was[1] >> 20);
    CK(D(cuMemFree_v2, b));
    CK(D(cuMemAllocAsync, &a, L(f / 3 * 2), st));
    CK(D(cuMemFreeAsync, a, st));
    struct aprop x = {.type = 1, .at = {1, 0}};
    r = D(cuMemCreate, &phys, L(f / 2) >> 21 << 21, &x, L(0));
    D(cuMemPoolGetAttribute, p, 5, &was[2]);
    printf("create without a synchronisation %d, pool has %llu; ", r, was[2] >> 20);
    if (!r) CK(D(cuMemRelease, phys));
    H own = pool();
    CK(D(cuMemPoolSetAttribute, own, 4, &all));
    D(cuMemPoolTrimTo, p, L(0));
    CK(D(cuMemAllocFromPoolAsync, &a, L(f / 3 * 2), own, st));
    CK(D(cuMemFreeAsync, a, st));
    CK(D(cuStreamSynchronize, st));
    printf("async from another pool %d ", D(cuMemAllocAsync, &b, L(f / 2), st));
    D(cuMemPoolGetAttribute, own, 5, &was[0]);
    printf("that one has %llu; ", was[0] >> 20);
    return 0;
}
static R shapes(unsigned from, unsigned to) {
    static const struct { Z w, h, d; unsigned format, channels, flags; int n; } all[] = {
        {1, 0, 0, 0x20, 1, 0, 64}, {1, 1, 0, 0x20, 1, 0, 64}, {64, 64, 0, 0x20, 4, 0, 64}, {65, 64, 0, 0x20, 4, 0, 64},
        {100, 100, 0, 0x20, 4, 0, 64}, {128, 64, 0, 0x20, 4, 0, 64}, {128, 128, 0, 0x20, 4, 0, 64}, {256, 256, 0, 0x20, 4, 0, 16},
        {16, 16, 0, 0x20, 4, 0, 64}, {33, 33, 0, 0x20, 1, 0, 64}, {1000, 10, 0, 1, 1, 0, 64}, {10, 1000, 0, 1, 1, 0, 64}, {64, 1, 0, 0x20, 4, 0, 64},
        {4096, 0, 0, 0x20, 4, 0, 64}, {4097, 0, 0, 0x20, 4, 0, 64}, {362, 362, 0, 0x20, 4, 0, 8}, {363, 363, 0, 0x20, 4, 0, 8}, {512, 512, 0, 0x20, 4, 0, 8},
        {500, 500, 0, 0x20, 4, 0, 8}, {16, 16, 16, 0x20, 4, 0, 64}, {17, 17, 17, 0x20, 4, 0, 64}, {64, 64, 6, 0x20, 4, 5, 16}, {64, 64, 4, 0x20, 4, 1, 16},
        {2048, 1, 0, 0x20, 4, 0, 64}, {1, 2048, 0, 0x20, 4, 0, 64}, {8193, 1, 0, 1, 1, 0, 64}, {129, 129, 0, 0x10, 2, 0, 64},
        {1920, 1080, 0, 0x20, 4, 0, 4}, {1000, 1000, 0, 0x20, 4, 0, 4}, {128, 128, 128, 0x20, 4, 0, 4}, {100, 257, 3, 0x20, 4, 0, 32}};
    for (unsigned i = from; i < to && i < sizeof all / sizeof *all; i++) {
        H a[64];
        Z before = free_kib();
        struct desc3 d = {all[i].w, all[i].h, all[i].d, all[i].format, all[i].channels, all[i].flags};
        R r = 0;
        int n = 0;
        Z first = 0;
        for (; n < all[i].n && !(r = D(cuArray3DCreate_v2, &a[n], &d)); n++)
            if (!n) first = before - free_kib();
        Z used = before - free_kib();
        for (int k = 0; k < n; k++) CK(D(cuArrayDestroy, a[k]));
        printf("\n  %zux%zux%zu format %x x%u flags %u: %d arrays (code %d), first %zd KiB, all %zd KiB, after %zd KiB", all[i].w, all[i].h, all[i].d, all[i].format, all[i].channels, all[i].flags, n, r, first, used, before - free_kib());
    }
    return 0;
}
static R sizes(void) {
    shapes(0, 27);
    /* Arrays and plain memory side by side: do they share a slab? */
    Z before = free_kib();
    P p[8];
    for (int i = 0; i < 8; i++) p[i] = alloc(65536);
    Z plain = before - free_kib();
    H a = array(64, 64);
    printf("\n  8 x 64 KiB plain %zd KiB, and an array %zd KiB", plain, before - free_kib());
    H m = mipmap();
    printf(", and a mipmap %zd KiB\n", before - free_kib());
    (void)a, (void)m, (void)p;
    return 0;
}

struct probe { const char *name; R (*run)(void); };
#define WRAP(name, before, e) static R probe_##name(void) { before(); return (e); }
MISUSE(WRAP)
static R with(R (*f)(void), int mode, int own, int callers) { return captured(f, mode, own, callers); }
#define CAPS(name, e) \
    static R other_##name(void) { return with(call_##name, 0, 0, -1); } \
    static R own_##name(void) { return with(call_##name, 0, 1, -1); } \
    static R local_##name(void) { return with(call_##name, 1, 0, -1); } \
    static R relaxed_##name(void) { return with(call_##name, 0, 0, 2); }
CALLS(CAPS)
static const struct probe probes[] = {
#define ROW(name, before, e) {#name, probe_##name},
    MISUSE(ROW)
#define CROWS(name, e) {"other_" #name, other_##name}, {"own_" #name, own_##name}, {"local_" #name, local_##name}, {"relaxed_" #name, relaxed_##name},
    CALLS(CROWS)
};
enum { N = sizeof probes / sizeof *probes };

static int one(const struct probe *p) {
    alarm(60);
    lib = dlopen("libcuda.so.1", RTLD_NOW);
    if (!lib) {
        printf("%s\n", dlerror());
        return 7;
    }
    R r = p->run();
    printf("= %d\n", r);
    fflush(stdout);
    _exit(0);
}

int main(int n, char **args) {
    if (n > 1 && strcmp(args[1], "-l") == 0) {
        for (int i = 0; i < N; i++) puts(probes[i].name);
        return 0;
    }
    if (n > 1) {
        for (int i = 0; i < N; i++)
            if (!strcmp(args[1], probes[i].name)) return one(&probes[i]);
        return 3;
    }
    enum { AT_ONCE = 12 };
    for (int i = 0; i < N; i += AT_ONCE) {
        int child[AT_ONCE], out[AT_ONCE];
        for (int k = 0; k < AT_ONCE && i + k < N; k++) {
            int ends[2];
            if (pipe(ends)) return 4;
            out[k] = ends[0];
            child[k] = fork();
            if (!child[k]) {
                dup2(ends[1], 1);
                close(ends[0]);
                _exit(one(&probes[i + k]));
            }
            close(ends[1]);
        }
        for (int k = 0; k < AT_ONCE && i + k < N; k++) {
            char text[8192];
            int got = 0, more;
            while (got < (int)sizeof text - 1 && (more = read(out[k], text + got, sizeof text - 1 - got)) > 0) got += more;
            text[got] = 0;
            while (got && text[got - 1] == '\n') text[--got] = 0;
            close(out[k]);
            int status = 0;
            waitpid(child[k], &status, 0);
            if (WIFSIGNALED(status))
                printf("%s %s= signal %d\n", probes[i + k].name, text, WTERMSIG(status));
            else
                printf("%s %s\n", probes[i + k].name, text);
            fflush(stdout);
        }
    }
    return 0;
}
