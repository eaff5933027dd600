/* Handles of Gaudi's Synapse that come and go. */
#include "lifetimes.h"
#include "../../../fcsp-sim/gaudi/gaudi.h"

static void begin(void) {}

/* A recipe without tensors that does nothing for so long. */
static void compile(uint64_t us, synRecipeHandle *recipe) {
    synGraphHandle graph;
    uint64_t ns = us * 1000;
    OK(synGraphCreate(&graph, synDeviceGaudi2));
    OK(synNodeCreate(graph, NULL, NULL, 0, 0, &ns, sizeof ns, "fcsp_spin", "wait", NULL, NULL));
    OK(synGraphCompile(recipe, graph, "wait", NULL));
    OK(synGraphDestroy(graph));
}

/* The card is acquired, worked on and let go of again and again; every other time with the library itself. */
static void cards(Turn t) {
    synDeviceId card;
    synStreamHandle stream, other;
    synRecipeHandle recipe;
    OK(synInitialize());
    OK(synDeviceAcquireByModuleId(&card, 0));
    OK(synStreamCreateGeneric(&stream, card, 0));
    OK(synStreamCreateGeneric(&other, card, 0));
    for (int i = 0; i < 4; i++) {
        compile(100, &recipe);
        for (int n = 0; n < 10; n++) OK(synLaunch(stream, NULL, 0, 0, recipe, 0));
        OK(synLaunch(other, NULL, 0, 0, recipe, 0));
        OK(synStreamSynchronize(stream));
        OK(synDeviceSynchronize(card));
        OK(synRecipeDestroy(recipe));
    }
    OK(synStreamDestroy(other));
    OK(synStreamDestroy(stream));
    OK(synDeviceRelease(card));
    if (t.turn % 2) OK(synDestroy());
}

const struct scenario SCENARIOS[] = {{"cards", cards, 1}, {0}};
