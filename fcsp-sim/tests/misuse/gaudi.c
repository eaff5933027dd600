/* Misuse of Gaudi's Synapse. */
#include "misuse.h"
#include "../../gaudi/gaudi.h"

static synDeviceId device;

static void acquire(void) { CK(synDeviceAcquireByModuleId, &device, 0u); }
static void start(void) {
    CK(synInitialize);
    acquire();
}
static H stream(void) {
    H s;
    CK(synStreamCreateGeneric, &s, device, 0u);
    return s;
}
static H event(void) {
    H e;
    CK(synEventCreate, &e, device, 0u);
    return e;
}
/* A graph of one node that takes no memory of the program's. */
static H graph(void) {
    H g, t;
    U ns = 1000;
    synTensorGeometry geometry = {.sizes = {64}, .dims = 1};
    CK(synGraphCreate, &g, synDeviceGaudi2);
    CK(synTensorHandleCreate, &t, g, DATA_TENSOR, "t");
    CK(synTensorSetGeometry, t, &geometry, synGeometrySizes);
    CK(synTensorSetDeviceDataType, t, syn_type_int8);
    CK(synNodeCreate, g, &t, NULL, 1u, 0u, &ns, 8u, "fcsp_spin", "n", NULL, NULL);
    return g;
}
static H recipe(void) {
    H r;
    CK(synGraphCompile, &r, graph(), "r", NULL);
    return r;
}

static void dead_recipe(void) {
    start();
    H s = stream(), r = recipe();
    CK(synRecipeDestroy, r);
    ready();
    CALL(synLaunch, s, NULL, 0u, (U)0, r, 0u);
}
static void dead_recipe_twice(void) {
    start();
    H r = recipe();
    CK(synRecipeDestroy, r);
    ready();
    CALL(synRecipeDestroy, r);
}
static void dead_graph(void) {
    start();
    H g = graph(), r;
    CK(synGraphDestroy, g);
    ready();
    CALL(synGraphCompile, &r, g, "r", NULL);
}
static void dead_graph_twice(void) {
    start();
    H g = graph();
    CK(synGraphDestroy, g);
    ready();
    CALL(synGraphDestroy, g);
}
static void never_a_recipe(void) {
    start();
    H s = stream();
    ready();
    CALL(synLaunch, s, NULL, 0u, (U)0, s, 0u);
}

/* Streams and events are looked up. */
static void codes(void) {
    start();
    H s = stream(), e = event(), alive = stream();
    U p;
    CK(synStreamDestroy, s);
    CK(synEventDestroy, e);
    printf("%d %d ", CALL(synStreamSynchronize, s), CALL(synStreamDestroy, s));
    printf("%d %d ", CALL(synStreamDestroy, NULL), CALL(synRecipeDestroy, NULL));
    printf("%d %d ", CALL(synEventRecord, e, alive), CALL(synEventQuery, e));
    printf("%d %d ", CALL(synStreamWaitEvent, alive, e, 0u), CALL(synEventDestroy, e));
    CK(synDeviceMalloc, device, (U)4096, (U)0, 0u, &p);
    printf("%d ", CALL(synMemsetD8Async, p, 1, (size_t)8192, alive));
    CK(synDeviceFree, device, p, 0u);
    printf("%d\n", CALL(synDeviceFree, device, p, 0u));
}
/* A card that is released with living streams, events and memory. Recipes are the process's and stay. */
static void released(void) {
    start();
    H s = stream(), e = event(), r = recipe();
    U p, bytes;
    CK(synDeviceMalloc, device, (U)4096, (U)0, 0u, &p);
    CK(synDeviceRelease, device);
    printf("%d %d ", CALL(synStreamSynchronize, s), CALL(synStreamDestroy, s));
    printf("%d %d ", CALL(synEventQuery, e), CALL(synEventDestroy, e));
    printf("%d %d ", CALL(synLaunch, s, NULL, 0u, (U)0, r, 0u), CALL(synDeviceFree, device, p, 0u));
    acquire();
    printf("%d %d ", CALL(synStreamQuery, s), CALL(synEventQuery, e));
    printf("%d ", CALL(synDeviceFree, device, p, 0u));
    /* The next card's handles are the same again. */
    printf("%d %d ", stream() == s, event() == e);
    CK(synWorkspaceGetSize, &bytes, r);
    CK(synDeviceMalloc, device, bytes, (U)0, 0u, &p);
    printf("%d\n", CALL(synLaunch, s, NULL, 0u, p, r, 0u));
}

int main(int argc, char **argv) {
    open_library("libSynapse.so");
    PLAY(argc, argv, S(dead_recipe), S(dead_recipe_twice), S(dead_graph), S(dead_graph_twice), S(never_a_recipe),
         S(codes), S(released));
}
