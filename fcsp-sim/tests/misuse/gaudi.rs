//! Gaudi. What the published sources of Synapse do: recipes and graphs are pointers that it follows
//! without a look; streams and events are looked up, and go with their card.

use crate::bench::Vendor;
use std::sync::OnceLock;

static GAUDI: Vendor = Vendor {
    name: "gaudi",
    spec: "gaudi2,memory=1GiB,context=8MiB",
    packages: &["fcsp-sim-gaudi-synapse"],
    libraries: &[("libfcsp_sim_gaudi_synapse.so", "libSynapse.so")],
    folder: OnceLock::new(),
};

#[test]
fn gaudi_destroyed_recipes_and_graphs_end_the_program() {
    for (scenario, call, kind, end) in [
        ("dead_recipe", "synLaunch", "recipe", "synRecipeDestroy"),
        (
            "dead_recipe_twice",
            "synRecipeDestroy",
            "recipe",
            "synRecipeDestroy",
        ),
        ("dead_graph", "synGraphCompile", "graph", "synGraphDestroy"),
        (
            "dead_graph_twice",
            "synGraphDestroy",
            "graph",
            "synGraphDestroy",
        ),
    ] {
        let (kind, end) = (
            format!("{call}: {kind} 0x"),
            format!(" was destroyed by {end} in thread "),
        );
        GAUDI.dies(scenario, call, &[&kind, &end, "; called from client+0x"]);
    }
    GAUDI.dies(
        "never_a_recipe",
        "synLaunch",
        &[" never was a handle of a recipe in this process"],
    );
}

#[test]
fn gaudi_streams_and_events_are_looked_up() {
    // A dead stream is an invalid argument (1), a dead event an invalid event handle (33), to
    // destroy one twice fails (26); a fill beyond its memory (1), memory freed twice (15).
    assert_eq!(GAUDI.says("codes", &[]), "1 1 0 0 33 33 33 26 1 15");
}

#[test]
fn gaudi_streams_and_events_go_with_their_card() {
    let without = "26 26 26 26 26 0";
    assert_eq!(
        GAUDI.says("released", &[]),
        format!("{without} 1 33 15 1 1 0")
    );
}
