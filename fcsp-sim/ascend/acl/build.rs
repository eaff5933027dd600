//! Exports what is not modelled as functions that say so, and links against `libruntime.so`.
//!
//! `symbols.txt`: every function that the ACL headers declare. The runtime library is another
//! crate's product, which cargo cannot hand to the linker of this one; an empty library of the same
//! name stands in for it, and the loader finds the true one beside this library.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=symbols.txt");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-env-changed=CC");
    let out = std::env::var("OUT_DIR")?;
    let mut modelled = BTreeSet::new();
    for entry in std::fs::read_dir("src")? {
        let source = std::fs::read_to_string(entry?.path())?;
        for (at, _) in source.match_indices("fn acl") {
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
    std::fs::write(Path::new(&out).join("names.rs"), code)?;

    let empty = Path::new(&out).join("empty.c");
    std::fs::write(&empty, "")?;
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let made = Command::new(&cc)
        .args(["-shared", "-nostdlib", "-Wl,-soname,libruntime.so", "-o"])
        .arg(Path::new(&out).join("libruntime.so"))
        .arg(&empty)
        .status()?;
    if !made.success() {
        return Err(format!("{cc} cannot make an empty library").into());
    }
    for arg in [
        "-Wl,-soname,libascendcl.so",
        "-Wl,-Bsymbolic",
        "-Wl,-z,nodelete",
        "-Wl,-rpath,$ORIGIN",
        "-Wl,--no-as-needed",
        &format!("-L{out}"),
        "-l:libruntime.so",
        "-Wl,--as-needed",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    Ok(())
}
