//! Program images: which kernels and variables they hold.
//!
//! PTX is text and is read for its entries, their parameters and its variables. Any other image
//! (cubin, fat binary) is accepted as it is and has a kernel of every name it is asked for, with
//! parameters unknown.

use crate::error::{Error, Result};

/// A kernel as its image declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Offset and size of each parameter, in bytes; none if the image does not tell.
    pub params: Option<Vec<(usize, usize)>>,
    /// Statically declared shared memory in bytes.
    pub shared: usize,
    /// Local memory a thread, in bytes.
    pub local: usize,
}

/// A variable in device memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: usize,
}

/// The contents of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Kernels that the image declares.
    pub kernels: Vec<Kernel>,
    /// Variables that the image declares.
    pub variables: Vec<Variable>,
    /// True if any other kernel name is accepted.
    pub open: bool,
}

/// First bytes of the binary images that drivers accept.
const BINARY: [[u8; 4]; 3] = [
    *b"\x7fELF",
    [0x50, 0xed, 0x55, 0xba],
    [0xb1, 0x43, 0x62, 0x46],
];

/// Returns the parameters of the kernels that the simulator really runs, for images that do not
/// declare them.
fn built_in(name: &str) -> Option<&'static [usize]> {
    Some(match name {
        "fcsp_fill" => &[8, 4, 8],
        "fcsp_saxpy" => &[8, 8, 4, 8],
        "fcsp_spin" => &[8],
        "fcsp_vary" => &[8, 8, 8],
        "fcsp_trap" => &[],
        _ => return None,
    })
}

fn layout(sizes: &[usize]) -> Vec<(usize, usize)> {
    let mut at = 0usize;
    sizes
        .iter()
        .map(|&n| {
            let offset = at.next_multiple_of(n.max(1));
            at = offset + n;
            (offset, n)
        })
        .collect()
}

impl Program {
    /// Returns true if these first four bytes are those of a binary image.
    pub fn is_binary(first: [u8; 4]) -> bool {
        BINARY.contains(&first)
    }

    /// Makes an image that is not text.
    pub fn binary() -> Self {
        Self {
            kernels: Vec::new(),
            variables: Vec::new(),
            open: true,
        }
    }

    /// Finds the kernel of a name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the image has none.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        if let Some(k) = self.kernels.iter().find(|k| k.name == name) {
            return Ok(k.clone());
        }
        if !self.open || name.is_empty() {
            return Err(Error::NotFound);
        }
        Ok(Kernel {
            name: name.into(),
            params: built_in(name).map(layout),
            shared: 0,
            local: 0,
        })
    }

    /// Reads PTX.
    ///
    /// # Errors
    /// [`Error::InvalidImage`] if it has no `.version`, or a declaration cannot be read.
    pub fn ptx(text: &str) -> Result<Self> {
        let text = strip_comments(text);
        if !text.contains(".version") {
            return Err(Error::InvalidImage);
        }
        let mut out = Self {
            kernels: Vec::new(),
            variables: Vec::new(),
            open: false,
        };
        let mut depth = 0usize;
        let mut rest = text.as_str();
        // Statements end with `;` or a brace; only declarations at the top level and in entry
        // bodies matter.
        while let Some(end) = rest.find([';', '{', '}']) {
            let (statement, stop) = (after_directives(&rest[..end]), rest.as_bytes()[end]);
            rest = &rest[end + 1..];
            match stop {
                b'{' if depth == 0 && statement.contains(".entry") => {
                    out.kernels.push(entry(statement)?);
                    depth = 1;
                }
                b'{' if depth == 0 && is_variable(statement) => {
                    // An initialiser: the size is in the declaration before the equals sign.
                    out.variables.extend(variable(statement)?);
                    let close = rest.find('}').ok_or(Error::InvalidImage)?;
                    rest = &rest[close + 1..];
                }
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ if depth == 0 && is_variable(statement) => {
                    out.variables.extend(variable(statement)?)
                }
                _ => {}
            }
            let body = [".shared", ".local"]
                .into_iter()
                .find(|s| statement.starts_with(s));
            if let (Some(space), true, Some(k)) = (body, depth > 0, out.kernels.last_mut())
                && let Some(v) = variable(statement)?
            {
                *(if space == ".shared" {
                    &mut k.shared
                } else {
                    &mut k.local
                }) += v.size;
            }
        }
        Ok(out)
    }
}

fn strip_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |e| e + 2)
        } else {
            out.push('/');
            1
        };
        rest = &rest[skip..];
    }
    out + rest
}

/// Returns a statement without the directives before it, which end with their line and not with a
/// semicolon.
fn after_directives(statement: &str) -> &str {
    let mut rest = statement.trim();
    while rest.split_whitespace().next().is_some_and(|w| {
        matches!(
            w,
            ".version" | ".target" | ".address_size" | ".file" | ".loc"
        )
    }) {
        rest = rest.split_once('\n').map_or("", |(_, r)| r.trim());
    }
    rest
}

fn width(token: &str) -> Option<usize> {
    let t = token.strip_prefix('.')?;
    Some(match t {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        "b128" => 16,
        _ => return None,
    })
}

fn is_variable(statement: &str) -> bool {
    let mut words = statement
        .split_whitespace()
        .skip_while(|w| matches!(*w, ".visible" | ".extern" | ".weak" | ".common"));
    words.next().is_some_and(|w| w == ".global")
}

/// `.space [.align n] [.v2|.v4] .type name[n]...`: name and bytes. Nothing for a declaration of a
/// variable elsewhere.
fn variable(statement: &str) -> Result<Option<Variable>> {
    if statement.contains(".extern") {
        return Ok(None);
    }
    let declaration = statement.split('=').next().unwrap_or(statement);
    let mut words = declaration.split_whitespace().peekable();
    let (mut size, mut vector) = (None, 1);
    let mut name = String::new();
    while let Some(w) = words.next() {
        match w {
            ".align" => {
                words.next();
            }
            ".v2" => vector = 2,
            ".v4" => vector = 4,
            _ if w.starts_with('.') => size = size.or(width(w)),
            _ => name.push_str(w),
        }
    }
    let mut parts = name.split('[');
    let base = parts.next().unwrap_or_default().to_string();
    let mut count = 1usize;
    for p in parts {
        let n = p.trim_end_matches(']');
        // An array sized by its initialiser.
        count = if n.is_empty() {
            statement
                .split('=')
                .nth(1)
                .map_or(0, |i| i.split(',').count())
        } else {
            count
                .checked_mul(n.parse().map_err(|_| Error::InvalidImage)?)
                .ok_or(Error::InvalidImage)?
        };
    }
    match size {
        Some(n) if !base.is_empty() => Ok(Some(Variable {
            name: base,
            size: n * vector * count,
        })),
        _ => Ok(None),
    }
}

fn entry(statement: &str) -> Result<Kernel> {
    let after = statement
        .split_once(".entry")
        .map(|(_, a)| a.trim())
        .ok_or(Error::InvalidImage)?;
    let (name, list) = match after.split_once('(') {
        Some((name, list)) => (
            name.trim(),
            list.split_once(')').ok_or(Error::InvalidImage)?.0,
        ),
        None => (after.split_whitespace().next().unwrap_or_default(), ""),
    };
    if name.is_empty() {
        return Err(Error::InvalidImage);
    }
    let mut params = Vec::new();
    let mut at = 0usize;
    for p in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let words: Vec<&str> = p.split_whitespace().collect();
        let align = words
            .iter()
            .position(|w| *w == ".align")
            .and_then(|i| words.get(i + 1))
            .and_then(|n| n.parse().ok());
        let unit = words
            .iter()
            .find_map(|w| width(w))
            .ok_or(Error::InvalidImage)?;
        let count = match p.split_once('[') {
            Some((_, n)) => n
                .trim_end()
                .trim_end_matches(']')
                .trim()
                .parse()
                .map_err(|_| Error::InvalidImage)?,
            None => 1usize,
        };
        // `.ptr .align n` speaks of what a pointer points to, not of the parameter.
        let align = if p.contains(".ptr") {
            unit
        } else {
            align.unwrap_or(unit)
        };
        let offset = at.next_multiple_of(align.max(1));
        params.push((offset, unit * count));
        at = offset + unit * count;
    }
    Ok(Kernel {
        name: name.into(),
        params: Some(params),
        shared: 0,
        local: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_entries_parameters_and_variables() {
        let p = Program::ptx(
            "// comment .entry nothing(\n.version 7.0\n.target sm_80\n.address_size 64\n\
             .global .align 4 .b8 big[67108864];\n.visible .global .v4 .f32 quad;\n\
             .global .align 4 .u32 table[3] = {1, 2, 3};\n.extern .global .b8 other[9];\n\
             .visible .entry k(\n.param .u64 .ptr .global .align 16 p,\n .param .u32 n, .param .align 8 .b8 s[24])\n{\n\
             .shared .align 4 .b8 tile[1024]; .local .align 4 .b8 loc[4096]; { .reg .b32 %r<3>; } ret;\n}\n\
             .visible .entry empty()\n{ ret; }\n.func f(.param .b32 a) { ret; }",
        )
        .unwrap();
        let names: Vec<_> = p
            .variables
            .iter()
            .map(|v| (v.name.as_str(), v.size))
            .collect();
        assert_eq!(names, [("big", 67_108_864), ("quad", 16), ("table", 12)]);
        let k = p.kernel("k").unwrap();
        assert_eq!(k.params.as_deref(), Some(&[(0, 8), (8, 4), (16, 24)][..]));
        assert_eq!((k.shared, k.local), (1024, 4096));
        assert_eq!(p.kernel("empty").unwrap().params.as_deref(), Some(&[][..]));
        assert_eq!(p.kernel("f"), Err(Error::NotFound));
    }

    #[test]
    fn refuses_what_is_not_ptx_and_takes_any_name_from_binaries() {
        assert_eq!(Program::ptx("int main() {}"), Err(Error::InvalidImage));
        assert!(Program::is_binary(*b"\x7fELF") && !Program::is_binary(*b".ver"));
        let b = Program::binary();
        assert_eq!(b.kernel("whatever").unwrap().params, None);
        assert_eq!(
            b.kernel("fcsp_fill").unwrap().params.as_deref(),
            Some(&[(0, 8), (8, 4), (16, 8)][..])
        );
    }
}
