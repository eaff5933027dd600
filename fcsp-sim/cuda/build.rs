//! Turns the committed lists of names into code: what is exported and not modelled becomes a
//! function that says so, and the table behind `cuGetProcAddress` becomes an array of addresses.
//!
//! `symbols.txt`: every function that the real library exports. `procs.txt`: base name, least
//! version, exported symbol, and `pt` for the variant with a default stream a thread.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// Names of exported functions that a source file defines: after `fn`, separated by commas, up to
/// the parameters.
fn defined(source: &str, prefix: &str, out: &mut BTreeSet<String>) {
    for (at, _) in source.match_indices(&format!("fn {prefix}")) {
        let head = source[at + 3..]
            .split(['(', '['])
            .next()
            .unwrap_or_default();
        out.extend(head.split(',').map(|n| n.trim().to_string()));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=symbols.txt");
    println!("cargo:rerun-if-changed=procs.txt");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // The addresses that cuGetProcAddress returns must be this library's own whatever is preloaded
    // before it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // Threads of the library may run while somebody closes it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    let mut modelled = BTreeSet::new();
    for entry in std::fs::read_dir("src")? {
        defined(
            &std::fs::read_to_string(entry?.path())?,
            "cu",
            &mut modelled,
        );
    }
    let symbols: BTreeSet<String> = std::fs::read_to_string("symbols.txt")?
        .lines()
        .map(str::to_string)
        .collect();
    let mut code = String::new();
    for name in symbols.difference(&modelled) {
        writeln!(
            code,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {name}() -> i32 {{ crate::export::unmodelled(\"{name}\") }}"
        )?;
    }
    let procs = std::fs::read_to_string("procs.txt")?;
    let targets: BTreeSet<&str> = procs.lines().filter_map(|l| l.split(' ').nth(2)).collect();
    writeln!(code, "unsafe extern \"C\" {{")?;
    for name in targets {
        writeln!(code, "    #[link_name = \"{name}\"] fn at_{name}();")?;
    }
    writeln!(
        code,
        "}}\npub static PROCS: &[(&str, i32, bool, unsafe extern \"C\" fn())] = &["
    )?;
    for line in procs.lines() {
        let w: Vec<&str> = line.split(' ').collect();
        writeln!(
            code,
            "    (\"{}\", {}, {}, at_{}),",
            w[0],
            w[1],
            w.len() > 3,
            w[2]
        )?;
    }
    writeln!(code, "];")?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("names.rs"), code)?;
    Ok(())
}
