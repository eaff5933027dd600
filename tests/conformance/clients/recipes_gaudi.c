/* What becomes of recipes on the simulated card.
 *
 *   recipes_gaudi FOLDER    exit status 0 if graphs become recipes, recipes files and recipes again, and launches do what
 *                           they are to do in the order they are told, and are refused where they cannot */
#include "../../../fcsp-sim/gaudi/gaudi.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPECT(condition) do { if (!(condition)) { \
    fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(4); } } while (0)
#define OK(call) EXPECT((call) == synSuccess)

enum { BYTES = 4096 };

static synTensor tensor(synGraphHandle graph, const char *name, synSectionHandle section) {
    synTensorGeometry geometry = {.sizes = {64, 64}, .dims = 2};
    synTensor made;
    OK(synTensorHandleCreate(&made, graph, DATA_TENSOR, name));
    OK(synTensorSetGeometry(made, &geometry, synGeometrySizes));
    OK(synTensorSetDeviceDataType(made, syn_type_int8));
    if (section) OK(synTensorAssignToSection(made, section, 0));
    return made;
}

static synSectionHandle section(synGraphHandle graph) {
    synSectionHandle made;
    OK(synSectionCreate(&made, 0, graph));
    OK(synSectionSetPersistent(made, true));
    return made;
}

int main(int argc, char **argv) {
    synDeviceId card;
    synStreamHandle compute, copies;
    synGraphHandle graph;
    synRecipeHandle compiled, recipe;
    synEventHandle before, after, plain, mapped;
    uint64_t in, out, workspace, size = 0, ids[2], ns = 0, slow = 20000000;
    unsigned char *host;
    char path[600];
    EXPECT(argc == 2);
    OK(synInitialize());

    /* in, then 20 ms of nothing, then to what is in between, then to out. */
    OK(synGraphCreate(&graph, synDeviceGaudi2));
    synTensor a = tensor(graph, "in", section(graph)), b = tensor(graph, "between", NULL), c = tensor(graph, "out", section(graph));
    OK(synNodeCreate(graph, NULL, NULL, 0, 0, &slow, sizeof slow, "fcsp_spin", "wait", NULL, NULL));
    OK(synNodeCreate(graph, &a, &b, 1, 1, NULL, 0, "memcpy", "first", NULL, NULL));
    OK(synNodeCreate(graph, &b, &c, 1, 1, NULL, 0, "memcpy", "second", NULL, NULL));
    EXPECT(synTensorHandleCreate(&b, graph, DATA_TENSOR, "in") == synNameIsAlreadyUsed);
    OK(synGraphCompile(&compiled, graph, "copy", NULL));
    OK(synGraphDestroy(graph));

    /* By way of a file; a damaged one is none. */
    snprintf(path, sizeof path, "%s/recipe", argv[1]);
    OK(synRecipeSerialize(compiled, path));
    OK(synRecipeDestroy(compiled));
    OK(synRecipeDeSerialize(&recipe, path));
    EXPECT(truncate(path, 40) == 0);
    EXPECT(synRecipeDeSerialize(&compiled, path) == synUnsupported);
    OK(synWorkspaceGetSize(&size, recipe));
    EXPECT(size == BYTES);
    const char *names[] = {"in", "out"}, *unknown = "elsewhere";
    OK(synTensorRetrieveIds(recipe, names, ids, 2));
    EXPECT(synTensorRetrieveIds(recipe, &unknown, ids, 1) == synInvalidArgument);

    OK(synDeviceAcquireByDeviceType(&card, synDeviceGaudi2));
    OK(synStreamCreateGeneric(&compute, card, 0));
    OK(synStreamCreateGeneric(&copies, card, 0));
    OK(synDeviceMalloc(card, BYTES, 0, 0, &in));
    OK(synDeviceMalloc(card, BYTES, 0, 0, &out));
    OK(synDeviceMalloc(card, size, 0, 0, &workspace));
    OK(synHostMalloc(card, BYTES, 0, (void **)&host));
    OK(synMemsetD8Async(in, 7, BYTES, compute));
    synLaunchTensorInfo tensors[] = {
        {.tensorName = "in", .pTensorAddress = in, .tensorId = ids[0]},
        {.tensorName = "out", .pTensorAddress = out, .tensorId = ids[1]},
    };

    /* Refused: tensors without memory, memory that is not the card's, no workspace, flags and streams that are none. */
    EXPECT(synLaunch(compute, tensors, 1, workspace, recipe, 0) == synInvalidArgument);
    tensors[1].pTensorAddress = out + 1;
    EXPECT(synLaunch(compute, tensors, 2, workspace, recipe, 0) == synInvalidArgument);
    tensors[1].pTensorAddress = out;
    EXPECT(synLaunch(compute, tensors, 2, 0, recipe, 0) == synInvalidArgument);
    EXPECT(synLaunch(compute, tensors, 2, workspace, recipe, 2) == synInvalidArgument);
    EXPECT(synLaunch((synStreamHandle)&size, tensors, 2, workspace, recipe, 0) == synInvalidArgument);

    /* Queued, in order, timed; the other stream waits for it. */
    OK(synEventCreate(&before, card, EVENT_COLLECT_TIME));
    OK(synEventCreate(&after, card, EVENT_COLLECT_TIME));
    OK(synEventCreate(&plain, card, 0));
    OK(synEventCreate(&mapped, card, 0));
    EXPECT(synEventElapsedTime(&ns, before, after) == synObjectNotInitialized);
    OK(synEventQuery(plain));
    OK(synEventRecord(before, compute));
    OK(synLaunch(compute, tensors, 2, workspace, recipe, 0));
    EXPECT(synStreamQuery(compute) == synBusy);
    OK(synLaunchWithExternalEvents(compute, tensors, 2, workspace, recipe, &mapped, 1, SYN_FLAGS_TENSOR_NAME));
    OK(synEventRecord(after, compute));
    EXPECT(synEventQuery(after) == synBusy && synEventQuery(mapped) == synBusy);
    EXPECT(synEventElapsedTime(&ns, before, after) == synBusy);
    OK(synStreamWaitEvent(copies, mapped, 0));
    OK(synMemCopyAsync(copies, out, BYTES, (uint64_t)(uintptr_t)host, DRAM_TO_HOST));
    OK(synStreamSynchronize(copies));
    for (int i = 0; i < BYTES; i++) EXPECT(host[i] == 7);
    OK(synEventSynchronize(after));
    OK(synEventElapsedTime(&ns, before, after));
    EXPECT(ns >= 2 * slow);
    EXPECT(synEventElapsedTime(&ns, before, plain) == synInvalidArgument);
    OK(synStreamQuery(compute));

    /* What is queued is done before the card is let go of, and is of no other. */
    OK(synLaunchExt(compute, tensors, 2, workspace, recipe, 0));
    OK(synDeviceRelease(card));
    OK(synDeviceAcquireByDeviceType(&card, synDeviceGaudi2));
    EXPECT(synLaunch(compute, tensors, 2, workspace, recipe, 0) == synInvalidArgument);
    OK(synRecipeDestroy(recipe));
    OK(synDeviceRelease(card));
    OK(synDestroy());
    return 0;
}
