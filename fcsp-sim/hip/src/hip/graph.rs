//! Graphs.

use crate::abi::{In, Out, Text};
use crate::codes::{INVALID_VALUE, Reply};
use crate::export::{cu, hip_api, same_api};

/// `hipGraphInstantiateParams`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct InstantiateParams {
    node: u64,
    flags: u64,
    result: i32,
    upload: u64,
}

const UPLOAD: u64 = 2;

fn instantiate(place: Out<u64>, graph: u64, params: Out<InstantiateParams>) -> Reply {
    let mut p = params.get()?;
    let reply = cu(crate::graph::cuGraphInstantiateWithFlags(
        place, graph, p.flags,
    ));
    // Success, or simply an error: what a node may be refused for is found when it is added.
    (p.node, p.result) = (0, i32::from(reply.is_err()));
    params.put(p)?;
    reply?;
    if p.flags & UPLOAD != 0 {
        cu(crate::graph::cuGraphUpload(place.get()?, p.upload))?;
    }
    Ok(())
}

hip_api! {
    fn hipGraphInstantiateWithParams(place: Out<u64>, graph: u64, params: Out<InstantiateParams>) {
        instantiate(place, graph, params)
    }
    fn hipGraphChildGraphNodeGetGraph(node: u64, place: Out<u64>) {
        place.need()?;
        let d = crate::driver::driver()?;
        let (g, id) = d.graphs.of(node)?;
        let fcsp_sim::graph::Work::Graph(child) = g.lock().work(id)?.clone() else { return Err(INVALID_VALUE) };
        place.put(d.graphs.add(child))
    }
}

same_api! {
    fn hipGraphCreate = graph::cuGraphCreate(place: Out<u64>, flags: u32);
    fn hipGraphDestroy = graph::cuGraphDestroy(graph: u64);
    fn hipGraphClone = graph::cuGraphClone(place: Out<u64>, graph: u64);
    fn hipGraphNodeFindInClone = graph::cuGraphNodeFindInClone(place: Out<u64>, node: u64, clone: u64);
    fn hipGraphGetNodes = graph::cuGraphGetNodes(graph: u64, list: Out<u64>, n: Out<u64>);
    fn hipGraphGetRootNodes = graph::cuGraphGetRootNodes(graph: u64, list: Out<u64>, n: Out<u64>);
    fn hipGraphGetEdges = graph::cuGraphGetEdges(graph: u64, from: Out<u64>, to: Out<u64>, n: Out<u64>);
    fn hipGraphAddDependencies = graph::cuGraphAddDependencies(graph: u64, from: In<u64>, to: In<u64>, n: u64);
    fn hipGraphRemoveDependencies = graph::cuGraphRemoveDependencies(graph: u64, from: In<u64>, to: In<u64>, n: u64);
    fn hipGraphNodeGetDependencies = graph::cuGraphNodeGetDependencies(node: u64, list: Out<u64>, n: Out<u64>);
    fn hipGraphNodeGetDependentNodes = graph::cuGraphNodeGetDependentNodes(node: u64, list: Out<u64>, n: Out<u64>);
    fn hipGraphDestroyNode = graph::cuGraphDestroyNode(node: u64);
    fn hipGraphInstantiate = graph::cuGraphInstantiate_v2(
        place: Out<u64>, graph: u64, node: Out<u64>, log: Text, len: u64,
    );
    fn hipGraphInstantiateWithFlags = graph::cuGraphInstantiateWithFlags(place: Out<u64>, graph: u64, flags: u64);
    fn hipGraphExecGetFlags = graph::cuGraphExecGetFlags(exec: u64, flags: Out<u64>);
    fn hipGraphExecDestroy = graph::cuGraphExecDestroy(exec: u64);
    fn hipGraphExecUpdate = graph::cuGraphExecUpdate(exec: u64, graph: u64, node: Out<u64>, result: Out<i32>);
    fn hipGraphNodeSetEnabled = graph::cuGraphNodeSetEnabled(exec: u64, node: u64, on: u32);
    fn hipGraphNodeGetEnabled = graph::cuGraphNodeGetEnabled(exec: u64, node: u64, on: Out<u32>);
    fn hipGraphLaunch = graph::cuGraphLaunch(exec: u64, stream: u64);
    fn hipGraphLaunch_spt = graph::cuGraphLaunch_ptsz(exec: u64, stream: u64);
    fn hipGraphUpload = graph::cuGraphUpload(exec: u64, stream: u64);
}
