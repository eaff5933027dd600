//! Operations on graphs and executable graphs.

use super::launches::{FillArguments, blocks};
use super::objects::{Form, Object};
use super::transfers::WINDOW;
use super::{Done, Thread, code};
use crate::kernels::BLOCK;
use crate::record::{Outcome, Value};
use fcsp_cuda::ffi::cuda::{
    CUDA_HOST_NODE_PARAMS, CUDA_KERNEL_NODE_PARAMS_v2, CUDA_MEM_ALLOC_NODE_PARAMS_v1,
    CUDA_MEMCPY3D, CUDA_MEMSET_NODE_PARAMS_v1, CUgraphExecUpdateResultInfo, CUmemLocation,
    CUmemPoolProps,
};

/// A part that no object has: the graph's nodes have no order among them, so what they write is not
/// determined.
const UNORDERED: u32 = u32::MAX;

impl Thread<'_> {
    pub(super) fn graph_create(&mut self, id: u64) -> Done {
        let mut handle = 0u64;
        let made = self.call("cuGraphCreate", &[&raw mut handle as u64, 0]);
        let object = self.of_here('g', handle);
        self.keep(id, made, object)
    }

    pub(super) fn graph_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'g')?;
        let ended = self.call("cuGraphDestroy", &[object.handle]);
        self.end(id, ended)
    }

    /// Returns a graph whose nodes the driver may read: it follows them to functions, events and
    /// memory.
    fn readable(&self, id: u64) -> Option<Object> {
        self.ending(id, 'g').filter(|graph| self.alive(graph))
    }

    /// Returns a graph to which this thread may add a node, and the node's dependencies.
    fn growing(&self, id: u64) -> Option<(Object, [u64; 1], u64)> {
        let graph = self.readable(id)?;
        let count = u64::from(graph.extra != 0);
        let dependencies = [graph.extra];
        Some((graph, dependencies, count))
    }

    /// Notes that a node was added, and what it needs.
    fn grown(&mut self, id: u64, added: i32, node: u64, parts: &[u64]) -> Done {
        if added == 0 {
            let mut graph = self.world.objects.lock(id as u32);
            if graph.more == 1 && graph.extra == 0 {
                graph.parts.push(UNORDERED);
            }
            graph.extra = node;
            graph.parts.extend(parts.iter().map(|&part| part as u32));
        }
        code(added)
    }

    pub(super) fn graph_empty(&mut self, id: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let mut node = 0u64;
        let added = self.call(
            "cuGraphAddEmptyNode",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
            ],
        );
        self.grown(id, added, node, &[])
    }

    pub(super) fn graph_kernel(&mut self, id: u64, module: u64, memory: u64, value: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let function = self.function(module, c"fcsp_fill")?;
        let object = self
            .memory(memory)
            .filter(|object| self.fits(object, false) && object.bytes >= 4)?;
        let arguments = FillArguments {
            address: object.handle,
            value: value as u32,
            words: object.bytes.min(WINDOW) / 4,
        };
        let mut pointers = arguments.pointers();
        let parameters = CUDA_KERNEL_NODE_PARAMS_v2 {
            func: function as *mut _,
            gridDimX: blocks(arguments.words) as u32,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: BLOCK as u32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            kernelParams: pointers.as_mut_ptr().cast(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        };
        let mut node = 0u64;
        let added = self.call(
            "cuGraphAddKernelNode_v2",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                &raw const parameters as u64,
            ],
        );
        self.grown(id, added, node, &[module, memory])
    }

    fn add_fill(
        &self,
        graph: &Object,
        dependency: u64,
        address: u64,
        value: u64,
        words: u64,
    ) -> (i32, u64) {
        let parameters = CUDA_MEMSET_NODE_PARAMS_v1 {
            dst: address,
            pitch: 0,
            value: value as u32,
            elementSize: 4,
            width: words as usize,
            height: 1,
        };
        let context = self.current().map_or(0, |id| self.context_handle(id));
        let (mut node, dependencies) = (0u64, [dependency]);
        let added = self.call(
            "cuGraphAddMemsetNode",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                u64::from(dependency != 0),
                &raw const parameters as u64,
                context,
            ],
        );
        (added, node)
    }

    pub(super) fn graph_fill(&mut self, id: u64, memory: u64, value: u64) -> Done {
        let (graph, ..) = self.growing(id)?;
        let object = self
            .memory(memory)
            .filter(|object| self.fits(object, false) && object.bytes >= 4)?;
        let words = object.bytes.min(WINDOW) / 4;
        let (added, node) = self.add_fill(&graph, graph.extra, object.handle, value, words);
        self.grown(id, added, node, &[memory])
    }

    pub(super) fn graph_copy(&mut self, id: u64, to: u64, from: u64, bytes: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let target = self.memory(to).filter(|object| self.fits(object, false))?;
        let source = self
            .memory(from)
            .filter(|object| self.fits(object, false))?;
        if to == from {
            return None;
        }
        // SAFETY: a struct of integers and addresses, for which zero is a value.
        let mut copy: CUDA_MEMCPY3D = unsafe { std::mem::zeroed() };
        (copy.srcMemoryType, copy.srcDevice) = (2, source.handle);
        (copy.dstMemoryType, copy.dstDevice) = (2, target.handle);
        copy.WidthInBytes = bytes.min(WINDOW).min(target.bytes).min(source.bytes) as usize;
        (copy.Height, copy.Depth) = (1, 1);
        let context = self.current().map_or(0, |id| self.context_handle(id));
        let mut node = 0u64;
        let added = self.call(
            "cuGraphAddMemcpyNode",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                &raw const copy as u64,
                context,
            ],
        );
        self.grown(id, added, node, &[to, from])
    }

    pub(super) fn graph_host(&mut self, id: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let parameters = CUDA_HOST_NODE_PARAMS {
            func: Some(super::streams::count),
            userData: std::ptr::null_mut(),
        };
        let mut node = 0u64;
        let added = self.call(
            "cuGraphAddHostNode",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                &raw const parameters as u64,
            ],
        );
        self.grown(id, added, node, &[])
    }

    pub(super) fn graph_event(&mut self, id: u64, event: u64, record: bool) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let object = self.ending(event, 'e')?;
        let mut node = 0u64;
        let name = if record {
            "cuGraphAddEventRecordNode"
        } else {
            "cuGraphAddEventWaitNode"
        };
        let added = self.call(
            name,
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                object.handle,
            ],
        );
        self.grown(id, added, node, &[event])
    }

    pub(super) fn graph_child(&mut self, id: u64, child: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let inner = self.readable(child)?;
        if id == child {
            return None;
        }
        let mut node = 0u64;
        let added = self.call(
            "cuGraphAddChildGraphNode",
            &[
                &raw mut node as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                inner.handle,
            ],
        );
        let parts: Vec<u64> = inner.parts.iter().map(|&part| u64::from(part)).collect();
        if added == 0 && inner.form == Form::Leaking {
            self.world.objects.lock(id as u32).form = Form::Leaking;
        }
        self.grown(id, added, node, &parts)
    }

    /// Adds an allocation, a fill of it and its free, one after the other.
    pub(super) fn graph_memory(&mut self, id: u64, bytes: u64, value: u64) -> Done {
        let (graph, dependencies, count) = self.growing(id)?;
        let mut parameters = CUDA_MEM_ALLOC_NODE_PARAMS_v1 {
            poolProps: CUmemPoolProps {
                allocType: 1,
                handleTypes: 0,
                location: CUmemLocation {
                    type_: 1,
                    id: self.device() as i32,
                },
                win32SecurityAttributes: std::ptr::null_mut(),
                maxSize: 0,
                usage: 0,
                gpuDirectRDMACapable: 0,
                reserved: [0; 53],
            },
            accessDescs: std::ptr::null(),
            accessDescCount: 0,
            bytesize: bytes as usize,
            dptr: 0,
        };
        let mut allocation = 0u64;
        let added = self.call(
            "cuGraphAddMemAllocNode",
            &[
                &raw mut allocation as u64,
                graph.handle,
                dependencies.as_ptr() as u64,
                count,
                &raw mut parameters as u64,
            ],
        );
        if added != 0 {
            return code(added);
        }
        let words = (bytes / 4).clamp(1, WINDOW / 4);
        let (filled, fill) = if bytes >= 4 {
            self.add_fill(&graph, allocation, parameters.dptr, value, words)
        } else {
            (0, allocation)
        };
        let (mut free, after) = (0u64, [if filled == 0 { fill } else { allocation }]);
        let freed = self.call(
            "cuGraphAddMemFreeNode",
            &[
                &raw mut free as u64,
                graph.handle,
                after.as_ptr() as u64,
                1,
                parameters.dptr,
            ],
        );
        if freed != 0 {
            self.world.objects.lock(id as u32).form = Form::Leaking;
        }
        let outcome = self.grown(id, added, if freed == 0 { free } else { allocation }, &[])?;
        Some(outcome.and(filled).and(freed))
    }

    pub(super) fn graph_clone(&mut self, id: u64, from: u64) -> Done {
        let source = self.readable(from)?;
        let mut handle = 0u64;
        let made = self.call("cuGraphClone", &[&raw mut handle as u64, source.handle]);
        let object = Object {
            handle,
            // The clone's nodes are others: what is added to it has no order with them.
            extra: 0,
            more: 1,
            ..source
        };
        self.keep(id, made, object)
    }

    pub(super) fn graph_ask(&mut self, id: u64) -> Done {
        let graph = self.usable(id, 'g')?;
        let (mut nodes, mut edges) = (0u64, 0u64);
        let got = self.call("cuGraphGetNodes", &[graph.handle, 0, &raw mut nodes as u64]);
        let more = self.call(
            "cuGraphGetEdges",
            &[graph.handle, 0, 0, &raw mut edges as u64],
        );
        Some(Outcome::new(got).exact(nodes).and(more).exact(edges))
    }

    pub(super) fn graph_instantiate(&mut self, id: u64, from: u64, choice: u64) -> Done {
        let graph = self.readable(from)?;
        let flags = [0, 0, 0, 1, 8, 64][choice as usize % 6];
        let mut handle = 0u64;
        let made = self.call(
            "cuGraphInstantiateWithFlags",
            &[&raw mut handle as u64, graph.handle, flags],
        );
        let object = Object {
            kind: 'x',
            handle,
            extra: 0,
            more: 0,
            ..graph
        };
        self.keep(id, made, object)
    }

    /// Returns true if a live graph or executable uses an object.
    pub(super) fn in_graph(&self, id: u64) -> bool {
        self.world.objects.alive().into_iter().any(|other| {
            let other = self.world.objects.lock(other);
            matches!(other.kind, 'g' | 'x') && other.parts.contains(&(id as u32))
        })
    }

    /// Returns true if all objects that a graph's nodes use exist.
    fn alive(&self, graph: &Object) -> bool {
        graph
            .parts
            .iter()
            .all(|&part| part == UNORDERED || self.world.objects.lock(part).live)
    }

    /// Returns an executable that may be launched.
    fn launchable(&self, id: u64) -> Option<Object> {
        self.ending(id, 'x')
            .filter(|object| object.form != Form::Leaking && self.alive(object))
    }

    pub(super) fn graph_launch(&mut self, id: u64, stream: u64) -> Done {
        let object = self.launchable(id)?;
        let handle = self.stream(stream)?;
        let recorded = self.recording(stream, handle);
        let early = object.parts.iter().any(|&part| {
            part != UNORDERED && {
                let memory = self.world.objects.get(part);
                memory.kind == 'm' && !self.reaches(&memory, recorded, stream)
            }
        });
        if early {
            return None;
        }
        let done = self.call("cuGraphLaunch", &[object.handle, handle]);
        if done != 0 {
            return code(done);
        }
        let memory: Vec<u32> = object
            .parts
            .iter()
            .copied()
            .filter(|&part| part != UNORDERED && self.world.objects.lock(part).kind == 'm')
            .collect();
        let mut determined = !object.parts.contains(&UNORDERED);
        for &part in &memory {
            determined &= self.used(u64::from(part), u64::from(stream as u32), recorded);
            let memory = self.world.objects.lock(part);
            determined &= !memory.tainted && memory.known >= memory.bytes.min(WINDOW);
        }
        if recorded {
            for part in object.parts {
                if part != UNORDERED && !memory.contains(&part) {
                    self.needs(u64::from(part), true);
                }
            }
        } else if !determined {
            for part in memory {
                self.world.objects.lock(part).known = 0;
            }
        }
        code(done)
    }

    pub(super) fn graph_upload(&mut self, id: u64, stream: u64) -> Done {
        let object = self.launchable(id)?;
        let handle = self.stream(stream)?;
        code(self.call("cuGraphUpload", &[object.handle, handle]))
    }

    pub(super) fn graph_update(&mut self, id: u64, from: u64) -> Done {
        let object = self.launchable(id)?;
        let graph = self.readable(from)?;
        let mut information = CUgraphExecUpdateResultInfo {
            result: 0,
            errorNode: std::ptr::null_mut(),
            errorFromNode: std::ptr::null_mut(),
        };
        let done = self.call(
            "cuGraphExecUpdate_v2",
            &[object.handle, graph.handle, &raw mut information as u64],
        );
        let mut object = self.world.objects.lock(id as u32);
        if done == 0 {
            object.parts.clone_from(&graph.parts);
            object.form = graph.form;
        } else {
            // Some nodes may have been changed: it is not launched any more.
            object.form = Form::Leaking;
        }
        Some(Outcome::new(done).exact(information.result))
    }

    pub(super) fn exec_destroy(&mut self, id: u64) -> Done {
        let object = self.ending(id, 'x')?;
        let ended = self.call("cuGraphExecDestroy", &[object.handle]);
        self.end(id, ended)
    }

    pub(super) fn graph_memory_ask(&mut self, choice: u64) -> Done {
        let mut value = 0u64;
        let attribute = [0, 1, 2, 3, 9][choice as usize % 5];
        let got = self.call(
            "cuDeviceGetGraphMemAttribute",
            &[self.device(), attribute, &raw mut value as u64],
        );
        Some(Outcome::new(got).with(Value::Shown(value)))
    }
}
