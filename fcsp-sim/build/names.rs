//! Exports for the names that a library's real counterpart has and its simulator does not model.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;

/// Returns the names of exported functions that the files of `src` define: after `fn`, separated by
/// commas, up to the parameters.
fn modelled(prefix: &str) -> Result<BTreeSet<String>, Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir("src")? {
        let source = std::fs::read_to_string(entry?.path())?;
        for (at, _) in source.match_indices(&format!("fn {prefix}")) {
            let head = source[at + 3..]
                .split(['(', '['])
                .next()
                .unwrap_or_default();
            names.extend(head.split(',').map(|n| n.trim().to_string()));
        }
    }
    Ok(names)
}

/// Returns code that exports every name of `symbols.txt` that no source defines. Each function
/// calls `answer`, the path of a Rust function, with its name.
pub fn unmodelled(prefix: &str, answer: &str) -> Result<String, Box<dyn Error>> {
    println!("cargo:rerun-if-changed=symbols.txt");
    let symbols: BTreeSet<String> = std::fs::read_to_string("symbols.txt")?
        .lines()
        .map(str::to_string)
        .collect();
    let mut code = String::new();
    for name in symbols.difference(&modelled(prefix)?) {
        writeln!(
            code,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {name}() -> i32 {{ {answer}(\"{name}\") }}"
        )?;
    }
    Ok(code)
}
