//! Linker arguments: the library's own name, and its own addresses whatever is preloaded before it.

#[path = "../../build/link.rs"]
mod link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    link::arguments("libruntime.so");
}
