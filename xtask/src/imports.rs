//! `cargo xtask check imports`: circles of imports between the files of a backend.
//!
//! A file that imports another, directly or through others, must not be imported by it. Such files
//! can only be read and changed together. Tests do not count, nor do the files of types below
//! `ffi`, which are one module in several files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use crate::duplication::BACKENDS;

/// The modules of one crate: the path of each, and the modules that it imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Runs the check in the repository's root. Returns whether there is no circle.
pub fn run() -> Result<bool> {
    let mut passed = true;
    let all = crate::prose::files(Path::new("."))?;
    for backend in BACKENDS {
        let folder = format!("{backend}src/");
        let mut texts = BTreeMap::new();
        for file in all.iter().filter(|file| Path::new(file).exists()) {
            if let Some(module) = file.strip_prefix(&folder).and_then(module) {
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
                texts.insert(module, text);
            }
        }
        for circle in circles(&graph(&texts)) {
            passed = false;
            eprintln!("FAILED: imports: {folder}: {}", circle.join(" -> "));
        }
    }
    println!("imports: {} backends", BACKENDS.len());
    Ok(passed)
}

/// Returns the module of a file below `src`; `None` for the root, for other files and for tables.
fn module(file: &str) -> Option<String> {
    let path = file.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "ffi" || path.starts_with("ffi/") {
        return None;
    }
    Some(path.replace('/', "::"))
}

/// Finds the imports among modules, given with their texts.
fn graph(texts: &BTreeMap<String, String>) -> Graph {
    let import = |(module, text): (&String, &String)| {
        let imports = paths(module, text).into_iter();
        let imports = imports.filter_map(|path| known(texts, &path));
        let imports = imports.filter(|import| import != module).collect();
        (module.clone(), imports)
    };
    texts.iter().map(import).collect()
}

/// Returns the longest beginning of a path that is a module.
fn known(texts: &BTreeMap<String, String>, path: &[String]) -> Option<String> {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].join("::"))
        .find(|path| texts.contains_key(path))
}

/// Finds the paths into the crate that a module's text names, from the root of the crate.
fn paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let code: String = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n")
        .collect();
    let here: Vec<String> = module.split("::").map(str::to_owned).collect();
    let mut found = Vec::new();
    for (word, start) in [
        ("crate::", &here[..0]),
        ("self::", &here[..]),
        ("super::", &here[..here.len() - 1]),
    ] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back();
            let is_whole = before.is_none_or(|c| !c.is_alphanumeric() && !"_:$".contains(c));
            if is_whole {
                tree(start.to_vec(), &code[at + word.len()..], &mut found);
            }
        }
    }
    found
}

/// Reads a path, or paths in braces, that continue `start`. Returns the rest of the text.
fn tree<'a>(mut start: Vec<String>, text: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = text.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            rest = tree(start.clone(), rest, found).trim_start();
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => return &rest[1..],
                // Not a list of imports.
                _ => return rest,
            }
        }
    }
    let length = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let (word, after) = rest.split_at(length);
    match word {
        "" | "self" => {}
        "super" => _ = start.pop(),
        _ => start.push(word.to_owned()),
    }
    if let Some(after) = after.strip_prefix("::")
        && !word.is_empty()
    {
        return tree(start, after, found);
    }
    found.push(start);
    let after = after.trim_start();
    let named = after.strip_prefix("as ").map(str::trim_start);
    named.map_or(after, |named| {
        named.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Finds the circles of a graph: for each module that reaches itself, the shortest way, told once.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let mut told: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        if let Some(circle) = way_back(graph, module)
            && told.insert(circle.iter().cloned().collect())
        {
            found.push(circle);
        }
    }
    found
}

/// Returns the shortest way from a module back to itself, with the module at both ends.
fn way_back(graph: &Graph, module: &String) -> Option<Vec<String>> {
    let mut ways = vec![vec![module.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &graph[way.last()?] {
                let mut way = way.clone();
                way.push(next.clone());
                if next == module {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[(&str, &str)]) -> Vec<String> {
        let texts = list
            .iter()
            .map(|&(module, text)| (module.to_owned(), text.to_owned()))
            .collect();
        let circles = circles(&graph(&texts));
        circles.iter().map(|circle| circle.join(" ")).collect()
    }

    #[test]
    fn circles_are_found_through_every_kind_of_path() {
        for back in [
            "use crate::a;",
            "use crate::{b, a::{self, f as g}};",
            "fn f() { crate::a::f() }",
            "use self::x::y::super::super::super::a::f;",
            "fn f() { super::a::f() }",
        ] {
            let found = of(&[("a", "use crate::b::c::f;"), ("b", ""), ("b::c", "")]);
            assert!(found.is_empty(), "{found:?}");
            assert_eq!(
                of(&[("a", "use crate::b;"), ("b", back)]),
                ["a b a"],
                "{back}"
            );
        }
        let three = [
            ("a", "use crate::b;"),
            ("b", "use crate::b::c;"),
            ("b::c", "use crate::a;"),
        ];
        assert_eq!(of(&three), ["a b b::c a"]);
        let parent = [("b", "use self::c::X;"), ("b::c", "use super::pages;")];
        assert_eq!(of(&parent), ["b b::c b"]);
    }

    #[test]
    fn tests_comments_and_other_crates_do_not_count() {
        for text in [
            "// use crate::a;",
            "#[cfg(test)]\nmod tests {\n    use crate::a;\n}",
            "use fcsp_hook::a;",
            "fn f() { $crate::a::f() }",
        ] {
            assert!(
                of(&[("a", "use crate::b;"), ("b", text)]).is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn modules_are_files_below_src() {
        for (file, expected) in [
            ("memory/mod.rs", Some("memory")),
            ("memory/pool.rs", Some("memory::pool")),
            ("launch.rs", Some("launch")),
            ("lib.rs", None),
            ("ffi/cuda/structs.rs", None),
            ("symbols/cuda.tsv", None),
        ] {
            assert_eq!(module(file).as_deref(), expected, "{file}");
        }
    }
}
