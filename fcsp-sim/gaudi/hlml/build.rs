//! Passes the linker the name that programs load the library by.

#[path = "../../build/link.rs"]
mod link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    link::arguments("libhlml.so");
}
