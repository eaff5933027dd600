//! Linker arguments: the library's own name, and its own addresses whatever is preloaded before it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libruntime.so");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // Threads of the library may run while somebody closes it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
