//! Everything that starts work on the device.

use crate::call_real;
use crate::ffi::cuda::*;
use crate::memory::graph;
use crate::process::{Inside, shielded};

macro_rules! graph_launch {
    ($($name:ident),*) => {$(
        #[doc = concat!("`", stringify!($name), "`: memory nodes take their memory here.")]
        pub unsafe extern "C" fn $name(hGraph: CUgraphExec, hStream: CUstream) -> CUresult {
            if !graph::any() {
                return call_real!($name(hGraph, hStream));
            }
            shielded(CUDA_ERROR_UNKNOWN, || launch_graph(hGraph, || call_real!($name(hGraph, hStream))))
        }
    )*};
}
graph_launch!(
    cuGraphLaunch,
    cuGraphLaunch_ptsz,
    cuGraphUpload,
    cuGraphUpload_ptsz
);

fn launch_graph(executable: CUgraphExec, call: impl Fn() -> CUresult) -> CUresult {
    match graph::before_launch(executable) {
        Err(refusal) => refusal,
        Ok(None) => call(),
        Ok(Some((device, ahead))) => {
            let _inside = Inside::enter();
            let change = device.change();
            let result = call();
            graph::settle(device, ahead);
            drop(change);
            result
        }
    }
}

/// An executable graph is gone; its address may name another later.
pub fn graph_destroyed(_executable: CUgraphExec) {}
