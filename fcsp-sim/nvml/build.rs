//! Exports what is not modelled as functions that say so; see the build script of the `cuda` crate
//! beside this one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=symbols.txt");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvidia-ml.so.1");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    let mut modelled = BTreeSet::new();
    for entry in std::fs::read_dir("src")? {
        let source = std::fs::read_to_string(entry?.path())?;
        // After `fn`, separated by commas, up to the parameters.
        for (at, _) in source.match_indices("fn nvml") {
            let head = source[at + 3..].split('(').next().unwrap_or_default();
            modelled.extend(head.split(',').map(|n| n.trim().to_string()));
        }
    }
    let symbols: BTreeSet<String> = std::fs::read_to_string("symbols.txt")?
        .lines()
        .map(str::to_string)
        .collect();
    let mut code = String::new();
    for name in symbols.difference(&modelled) {
        writeln!(
            code,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {name}() -> i32 {{ crate::unmodelled(\"{name}\") }}"
        )?;
    }
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("names.rs"), code)?;
    Ok(())
}
