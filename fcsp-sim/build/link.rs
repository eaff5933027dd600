//! Linker arguments that every simulated driver has.

/// Gives the library its name, and its own addresses whatever is preloaded before it. The library
/// stays loaded after `dlclose`, since its threads may still run.
pub fn arguments(soname: &str) {
    for arg in [&format!("-soname,{soname}"), "-Bsymbolic", "-z,nodelete"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{arg}");
    }
}
