//! Turns the committed lists of names into code: what is exported and not modelled becomes a
//! function that says so, and the table behind `cuGetProcAddress` becomes an array of addresses.
//!
//! `symbols.txt`: every function that the real library exports. `procs.txt`: base name, least
//! version, exported symbol, and `pt` for the variant with a default stream a thread.

#[path = "../build/link.rs"]
mod link;
#[path = "../build/names.rs"]
mod names;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=procs.txt");
    link::arguments("libcuda.so.1");
    let mut code = names::unmodelled("cu", "crate::export::unmodelled")?;
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
