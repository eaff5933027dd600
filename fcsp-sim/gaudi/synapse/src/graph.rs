//! Graphs as programs describe them: tensors, the sections that they lie in, nodes.

use crate::{
    Handle, INVALID_ARGUMENT, NAME_IS_ALREADY_USED, Reply, UNSUPPORTED, api, driver, lock, number,
    opaque, put, stale, text,
};
use core::ffi::c_void;
use std::ffi::c_char;
use std::sync::{Arc, Mutex};

/// `HABANA_DIM_MAX`.
pub const MOST_DIMENSIONS: usize = 25;

/// A graph that is being described.
#[derive(Debug, Default)]
pub struct Graph {
    /// Its tensors, in the order of their making.
    pub tensors: Vec<Arc<Mutex<Tensor>>>,
    /// Its nodes, likewise, which is the order they run in.
    pub nodes: Vec<Node>,
}

/// Where tensors lie that the program has memory for; the others lie in the workspace.
#[derive(Debug, Default)]
pub struct Section {
    persistent: Mutex<bool>,
}

/// A tensor.
#[derive(Debug, Clone, Default)]
pub struct Tensor {
    /// Its name, by which launches find it.
    pub name: String,
    /// Elements.
    pub elements: u64,
    /// Bytes of an element; 0 until it is said.
    pub element: u64,
    section: Option<Arc<Section>>,
    /// Where in its section.
    pub offset: u64,
}

impl Tensor {
    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.elements.saturating_mul(self.element)
    }

    /// Returns true if the program has memory for it.
    pub fn is_persistent(&self) -> bool {
        self.section
            .as_ref()
            .is_some_and(|section| *lock(&section.persistent))
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its work.
    pub guid: String,
    /// Its parameters.
    pub parameters: Vec<u8>,
    /// What it reads and writes, by their places in the graph.
    pub inputs: Vec<usize>,
    /// As above.
    pub outputs: Vec<usize>,
}

/// `synTensorGeometry`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    sizes: [u64; MOST_DIMENSIONS],
    dims: u32,
}

/// Returns the bytes of an element of a `synDataType`.
fn bytes_of(kind: i32) -> Reply<u64> {
    match kind {
        // syn_type_int8, _bf16, _single, _int16
        1 => Ok(1),
        2 | 8 => Ok(2),
        4 => Ok(4),
        _ => Err(UNSUPPORTED),
    }
}

/// Returns the places of tensors in a graph.
fn places(graph: &Graph, list: *const Handle, count: u32) -> Reply<Vec<usize>> {
    if list.is_null() && count > 0 {
        return Err(INVALID_ARGUMENT);
    }
    let mut places = Vec::new();
    for at in 0..count as usize {
        // SAFETY: by the API's contract `count` of them.
        let handle = unsafe { list.add(at).read_unaligned() };
        let tensor = driver()?.tensors.look_up(number(handle)).map_err(stale)?;
        let own = graph
            .tensors
            .iter()
            .position(|own| Arc::ptr_eq(own, &tensor));
        places.push(own.ok_or(INVALID_ARGUMENT)?);
    }
    Ok(places)
}

api! {
    fn synGraphCreate(graph: *mut Handle, _device_type: i32) {
        if graph.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        put(graph, opaque(driver()?.graphs.add(Mutex::default())))
    }

    fn synGraphDestroy(graph: Handle) {
        driver()?.graphs.remove(number(graph)).map(drop).map_err(stale)
    }

    fn synSectionCreate(section: *mut Handle, _descriptor: u64, graph: Handle) {
        let driver = driver()?;
        driver.graphs.get(number(graph)).map_err(stale)?;
        if section.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        put(section, opaque(driver.sections.add(Section::default())))
    }

    fn synSectionSetPersistent(section: Handle, persistent: bool) {
        *lock(&driver()?.sections.look_up(number(section)).map_err(stale)?.persistent) = persistent;
        Ok(())
    }

    fn synSectionDestroy(section: Handle) {
        // One that is gone is none to complain of (`synSingleton::sectionDestroy`).
        let _ = driver()?.sections.take(number(section));
        Ok(())
    }

    fn synTensorHandleCreate(tensor: *mut Handle, graph: Handle, kind: i32, name: *const c_char) {
        let driver = driver()?;
        let graph = driver.graphs.get(number(graph)).map_err(stale)?;
        // DATA_TENSOR
        if tensor.is_null() || kind != 0 {
            return Err(INVALID_ARGUMENT);
        }
        let name = text(name).unwrap_or_default();
        let mut graph = lock(&graph);
        if !name.is_empty() && graph.tensors.iter().any(|other| lock(other).name == name) {
            return Err(NAME_IS_ALREADY_USED);
        }
        let (handle, made) = driver.tensors.add_with(|_| Mutex::new(Tensor { name, ..Tensor::default() }));
        graph.tensors.push(made);
        put(tensor, opaque(handle))
    }

    fn synTensorSetGeometry(tensor: Handle, geometry: *const Geometry, _kind: i32) {
        let tensor = driver()?.tensors.look_up(number(tensor)).map_err(stale)?;
        // SAFETY: null or a geometry, by the API's contract.
        let geometry = unsafe { geometry.as_ref() }.ok_or(INVALID_ARGUMENT)?;
        let sizes = geometry.sizes.get(..geometry.dims as usize).ok_or(INVALID_ARGUMENT)?;
        lock(&tensor).elements = sizes.iter().fold(1, |all, size| size.saturating_mul(all));
        Ok(())
    }

    fn synTensorSetDeviceDataType(tensor: Handle, kind: i32) {
        let tensor = driver()?.tensors.look_up(number(tensor)).map_err(stale)?;
        lock(&tensor).element = bytes_of(kind)?;
        Ok(())
    }

    fn synTensorAssignToSection(tensor: Handle, section: Handle, offset: u64) {
        let driver = driver()?;
        let (tensor, section) = (driver.tensors.look_up(number(tensor)).map_err(stale)?, driver.sections.look_up(number(section)).map_err(stale)?);
        let mut tensor = lock(&tensor);
        (tensor.section, tensor.offset) = (Some(section), offset);
        Ok(())
    }

    fn synTensorDestroy(tensor: Handle) {
        driver()?.tensors.take(number(tensor)).map(drop).map_err(stale)
    }

    fn synNodeCreate(
        graph: Handle, inputs: *const Handle, outputs: *const Handle, input_count: u32, output_count: u32,
        parameters: *const c_void, parameter_bytes: u32, guid: *const c_char, _name: *const c_char,
        _input_layouts: *const *const c_char, _output_layouts: *const *const c_char,
    ) {
        let graph = driver()?.graphs.get(number(graph)).map_err(stale)?;
        let mut graph = lock(&graph);
        let guid = text(guid).filter(|guid| !guid.is_empty()).ok_or(INVALID_ARGUMENT)?;
        let parameters = match parameters.is_null() {
            true => Vec::new(),
            // SAFETY: by the API's contract so many bytes.
            false => unsafe { core::slice::from_raw_parts(parameters.cast::<u8>(), parameter_bytes as usize) }.to_vec(),
        };
        let node = Node {
            inputs: places(&graph, inputs, input_count)?,
            outputs: places(&graph, outputs, output_count)?,
            guid,
            parameters,
        };
        graph.nodes.push(node);
        Ok(())
    }
}
