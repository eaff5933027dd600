//! Exports what is not modelled as functions that say so, and links against `libruntime.so`.
//!
//! `symbols.txt`: every function that the ACL headers declare. The runtime library is another
//! crate's product, which cargo cannot hand to the linker of this one; an empty library of the same
//! name stands in for it, and the loader finds the true one beside this library.

#[path = "../../build/link.rs"]
mod link;
#[path = "../../build/names.rs"]
mod names;

use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=CC");
    let out = std::env::var("OUT_DIR")?;
    let code = names::unmodelled("acl", "crate::unmodelled")?;
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
    link::arguments("libascendcl.so");
    for arg in [
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
