//! Exports a function for every name of `symbols.txt`; names that are not modelled answer "not
//! supported".

#[path = "../build/link.rs"]
mod link;
#[path = "../build/names.rs"]
mod names;

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../rocm_smi/src/state.rs");
    link::arguments("libamd_smi.so.26");
    let code = names::unmodelled("amdsmi_", "crate::unmodelled")?;
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("names.rs"), code)?;
    Ok(())
}
