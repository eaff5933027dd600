//! Recipes: what a graph is compiled to, kept in host memory and in files, the same for every card.

use crate::graph::{Graph, Tensor};
use crate::{
    Handle, INVALID_ARGUMENT, Reply, UNSUPPORTED, api, driver, lock, number, opaque, put, stale,
    text,
};
use std::ffi::c_char;
use std::fmt::Write as _;

/// Everything begins at a multiple of this.
const ALIGNMENT: u64 = 128;
const FIRST_LINE: &str = "fcsp-sim recipe 1";

/// A recipe.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Its tensors; a tensor's id is its place.
    pub tensors: Vec<Place>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Bytes for the tensors that the program has no memory for.
    pub workspace: u64,
}

/// Where a tensor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Where in the workspace; none for one that a launch gives the address of.
    pub workspace: Option<u64>,
}

/// A node's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The tensor that is copied, and where to, by their places.
    pub copies: Option<(usize, usize)>,
    /// How long it takes; none where that hangs on the bytes that it moves.
    pub nanoseconds: Option<u64>,
    /// Bytes read and written.
    pub bytes: u64,
}

impl Recipe {
    fn compile(graph: &Graph) -> Reply<Self> {
        let mut recipe = Self::default();
        let tensors: Vec<Tensor> = graph
            .tensors
            .iter()
            .map(|tensor| lock(tensor).clone())
            .collect();
        for tensor in &tensors {
            if tensor.bytes() == 0 || (tensor.is_persistent() && tensor.name.is_empty()) {
                return Err(INVALID_ARGUMENT);
            }
            let at = (!tensor.is_persistent()).then_some(recipe.workspace);
            if at.is_some() {
                let bytes = tensor.bytes().checked_next_multiple_of(ALIGNMENT);
                recipe.workspace = bytes
                    .and_then(|bytes| recipe.workspace.checked_add(bytes))
                    .ok_or(INVALID_ARGUMENT)?;
            }
            recipe.tensors.push(Place {
                name: tensor.name.clone(),
                bytes: tensor.bytes(),
                workspace: at,
            });
        }
        for node in &graph.nodes {
            let moved =
                |places: &[usize]| places.iter().map(|at| tensors[*at].bytes()).sum::<u64>();
            let parameter = node
                .parameters
                .first_chunk()
                .map(|bytes| u64::from_le_bytes(*bytes));
            let (copies, nanoseconds) =
                match (node.guid.as_str(), &node.inputs[..], &node.outputs[..]) {
                    ("fcsp_spin", ..) => (None, Some(parameter.ok_or(INVALID_ARGUMENT)?)),
                    ("memcpy", &[from], &[to]) if tensors[from].bytes() == tensors[to].bytes() => {
                        (Some((from, to)), None)
                    }
                    ("memcpy", ..) => return Err(INVALID_ARGUMENT),
                    _ => (None, None),
                };
            recipe.steps.push(Step {
                copies,
                nanoseconds,
                bytes: moved(&node.inputs) + moved(&node.outputs),
            });
        }
        if recipe.steps.is_empty() {
            return Err(INVALID_ARGUMENT);
        }
        Ok(recipe)
    }

    fn text(&self) -> String {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let mut out = format!("{FIRST_LINE}\n");
        // Writing to a string does not fail.
        for Place {
            name,
            bytes,
            workspace,
        } in &self.tensors
        {
            let _ = writeln!(out, "tensor {bytes} {} {name}", number(*workspace));
        }
        for step in &self.steps {
            let (from, to) = step.copies.map_or((None, None), |(from, to)| {
                (Some(from as u64), Some(to as u64))
            });
            let _ = writeln!(
                out,
                "step {} {} {} {}",
                step.bytes,
                number(step.nanoseconds),
                number(from),
                number(to)
            );
        }
        let _ = writeln!(out, "workspace {}", self.workspace);
        out
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |word: &str| -> Option<Option<u64>> {
            match word {
                "-" => Some(None),
                word => word.parse().ok().map(Some),
            }
        };
        let mut recipe = Self::default();
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        for line in lines {
            let (kind, rest) = line.split_once(' ')?;
            match kind {
                "tensor" => {
                    let (bytes, rest) = rest.split_once(' ')?;
                    let (workspace, name) = rest.split_once(' ')?;
                    recipe.tensors.push(Place {
                        name: name.to_owned(),
                        bytes: bytes.parse().ok()?,
                        workspace: number(workspace)?,
                    });
                }
                "step" => {
                    let words: Vec<&str> = rest.split(' ').collect();
                    let [bytes, nanoseconds, from, to] = words[..] else {
                        return None;
                    };
                    let place = |word: &str| -> Option<Option<usize>> {
                        let at = number(word)?.map(|at| at as usize);
                        at.is_none_or(|at| at < recipe.tensors.len()).then_some(at)
                    };
                    let (from, to) = (place(from)?, place(to)?);
                    recipe.steps.push(Step {
                        copies: from.zip(to),
                        nanoseconds: number(nanoseconds)?,
                        bytes: bytes.parse().ok()?,
                    });
                }
                "workspace" => {
                    recipe.workspace = rest.parse().ok()?;
                    return Some(recipe);
                }
                _ => return None,
            }
        }
        // Cut short.
        None
    }
}

api! {
    fn synGraphCompile(recipe: *mut Handle, graph: Handle, _name: *const c_char, _log: *const c_char) {
        let driver = driver()?;
        let graph = driver.graphs.get(number(graph)).map_err(stale)?;
        if recipe.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        let made = Recipe::compile(&lock(&graph))?;
        put(recipe, opaque(driver.recipes.add(made)))
    }

    fn synRecipeDestroy(recipe: Handle) {
        if recipe.is_null() {
            return Ok(());
        }
        driver()?.recipes.remove(number(recipe)).map(drop).map_err(stale)
    }

    fn synRecipeSerialize(recipe: Handle, path: *const c_char) {
        let recipe = driver()?.recipes.get(number(recipe)).map_err(stale)?;
        let path = text(path).ok_or(INVALID_ARGUMENT)?;
        std::fs::write(path, recipe.text()).map_err(|_| INVALID_ARGUMENT)
    }

    fn synRecipeDeSerialize(recipe: *mut Handle, path: *const c_char) {
        if recipe.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        let path = text(path).ok_or(INVALID_ARGUMENT)?;
        let read = std::fs::read_to_string(path).map_err(|_| INVALID_ARGUMENT)?;
        put(recipe, opaque(driver()?.recipes.add(Recipe::parse(&read).ok_or(UNSUPPORTED)?)))
    }

    fn synWorkspaceGetSize(bytes: *mut u64, recipe: Handle) {
        put(bytes, driver()?.recipes.get(number(recipe)).map_err(stale)?.workspace)
    }

    fn synTensorRetrieveIds(recipe: Handle, names: *const *const c_char, ids: *mut u64, count: u32) {
        let recipe = driver()?.recipes.get(number(recipe)).map_err(stale)?;
        if names.is_null() || ids.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        for at in 0..count as usize {
            // SAFETY: by the API's contract `count` of them.
            let name = text(unsafe { names.add(at).read_unaligned() }).ok_or(INVALID_ARGUMENT)?;
            let id = recipe.tensors.iter().position(|tensor| tensor.name == name);
            put(ids.wrapping_add(at), id.ok_or(INVALID_ARGUMENT)? as u64)?;
        }
        Ok(())
    }
}
