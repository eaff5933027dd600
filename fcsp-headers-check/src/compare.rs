//! Layouts, values, widths and signatures against a header.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fcsp_hook::ffi::{Constant, Function, Layout};

use crate::header::Header;

/// The spelling of Rust types in a vendor's headers: pairs of Rust and C. Other names are C's own.
#[derive(Debug, Clone, Copy)]
pub struct Spelling(pub &'static [(&'static str, &'static str)]);

impl Spelling {
    /// Types of the language: `unsigned int`.
    pub const PLAIN: Self = Self(&[
        ("u8", "unsigned char"),
        ("u16", "unsigned short"),
        ("u32", "unsigned int"),
        ("i32", "int"),
        ("u64", "unsigned long long"),
        ("usize", "size_t"),
        ("f32", "float"),
        ("c_char", "char"),
        ("c_ulong", "unsigned long"),
        ("c_void", "void"),
        // An enumeration of HIP without a type name.
        ("hipLimit_t", "enum hipLimit_t"),
    ]);
    /// Types of `stdint.h`: `uint32_t`.
    pub const STDINT: Self = Self(&[
        ("u8", "uint8_t"),
        ("u16", "uint16_t"),
        ("u32", "uint32_t"),
        ("i32", "int32_t"),
        ("u64", "uint64_t"),
        ("i64", "int64_t"),
        ("usize", "size_t"),
        ("f32", "float"),
        ("f64", "double"),
        ("c_char", "char"),
        ("c_void", "void"),
    ]);

    /// Returns a Rust type as C writes it.
    pub fn of(self, rust: &str) -> String {
        let rust = rust.trim();
        if let Some(target) = rust.strip_prefix("*mut ") {
            return format!("{} *", self.of(target));
        }
        if let Some(target) = rust.strip_prefix("*const ") {
            return format!("{} const *", self.of(target));
        }
        let spelt = self.0.iter().find(|(name, _)| *name == rust);
        spelt.map_or(rust, |(_, c)| c).to_owned()
    }
}

/// Returns the names of types and constants that are not in a header's text.
pub fn absent(text: &str, layouts: &[Layout], constants: &[Constant]) -> BTreeSet<&'static str> {
    let words: BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let types = layouts.iter().map(|layout| layout.name);
    let names = types.chain(constants.iter().map(|constant| constant.name));
    names.filter(|name| !words.contains(name)).collect()
}

/// Compares sizes, alignments, offsets and values. Only names for which `is_compared` returns true
/// are compared: those of types, of constants, and of fields as `type.field`.
///
/// # Errors
///
/// The pairs of lines, C's and Rust's, that differ.
pub fn values(
    header: &Header,
    layouts: &[Layout],
    constants: &[Constant],
    is_compared: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let align = if header.is_cpp { "alignof" } else { "_Alignof" };
    let (mut body, mut expected) = (String::new(), String::new());
    for layout in layouts.iter().filter(|layout| is_compared(layout.name)) {
        let name = layout.name;
        let _ = writeln!(
            body,
            r#"printf("{name} %zu %zu\n", sizeof({name}), {align}({name}));"#
        );
        let _ = writeln!(expected, "{name} {} {}", layout.size, layout.align);
        for field in layout.fields {
            let path = field.name;
            if !is_compared(&format!("{name}.{path}")) {
                continue;
            }
            let _ = writeln!(
                body,
                r#"printf("{name}.{path} %zu %zu\n", offsetof({name}, {path}), sizeof((({name} *)0)->{path}));"#
            );
            let _ = writeln!(expected, "{name}.{path} {} {}", field.offset, field.size);
        }
    }
    for constant in constants.iter().filter(|one| is_compared(one.name)) {
        let name = constant.name;
        let _ = writeln!(body, r#"printf("{name} %lld\n", (long long){name});"#);
        let _ = writeln!(expected, "{name} {}", constant.value);
    }
    let printed = header.printed(&body);
    assert_eq!(printed.lines().count(), expected.lines().count());
    let wrong: Vec<_> = printed
        .lines()
        .zip(expected.lines())
        .filter(|(c, rust)| c != rust)
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{} and Rust disagree: {wrong:#?}", header.version))
    }
}

/// Compares the sizes of integer and handle aliases, which have no table: the text of the Rust
/// `source` lists them.
///
/// # Panics
///
/// If a size differs, or if there are no more than `least` aliases in the source.
pub fn scalars(header: &Header, spelling: Spelling, source: &str, least: usize) {
    let (mut body, mut expected) = (String::new(), String::new());
    for line in source.lines() {
        let Some((name, ty)) = line
            .strip_prefix("pub type ")
            .and_then(|rest| rest.split_once(" = "))
        else {
            continue;
        };
        let size = match ty.trim_end_matches(';') {
            "i8" | "u8" => 1,
            "u16" => 2,
            "i32" | "u32" => 4,
            "u64" => 8,
            ty if ty.starts_with('*') || ty.starts_with("Option<unsafe extern") => {
                size_of::<usize>()
            }
            _ => continue,
        };
        let c = spelling.of(name);
        let _ = writeln!(body, r#"printf("{name} %zu\n", sizeof({c}));"#);
        let _ = writeln!(expected, "{name} {size}");
    }
    assert!(
        expected.lines().count() > least,
        "the aliases of {} were not found in the source",
        header.version
    );
    assert_eq!(header.printed(&body), expected, "{}", header.version);
}

/// Assigns each function to a pointer of the type that Rust gives it. Only names for which
/// `is_compared` returns true are compared. Returns them.
///
/// # Panics
///
/// If a type differs.
pub fn signatures(
    header: &Header,
    spelling: Spelling,
    functions: impl IntoIterator<Item = &'static Function>,
    is_compared: impl Fn(&str) -> bool,
) -> BTreeSet<&'static str> {
    let mut source = String::new();
    let mut compared = BTreeSet::new();
    for function in functions {
        let params: Vec<_> = function.params.iter().map(|ty| spelling.of(ty)).collect();
        let params = match &params[..] {
            [] => "void".to_owned(),
            params => params.join(", "),
        };
        let result = spelling.of(function.result);
        for &name in function.names.iter().filter(|name| is_compared(name)) {
            let _ = writeln!(source, "{result} (*rust_{name})({params}) = {name};");
            compared.insert(name);
        }
    }
    if let Err(messages) = header.check(&source) {
        panic!("{} and Rust disagree:\n{messages}", header.version);
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_spelt_as_in_the_headers() {
        for (rust, plain, stdint) in [
            ("u32", "unsigned int", "uint32_t"),
            ("*mut *const c_void", "void const * *", "void const * *"),
            ("CUresult", "CUresult", "CUresult"),
        ] {
            assert_eq!(Spelling::PLAIN.of(rust), plain);
            assert_eq!(Spelling::STDINT.of(rust), stdint);
        }
    }
}
