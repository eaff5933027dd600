//! Says in one sentence that interception needs glibc, before the compiler says it in many.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let environment = std::env::var("CARGO_CFG_TARGET_ENV").unwrap_or_default();
    if environment != "gnu" {
        println!(
            "cargo::error=fcsp-hook intercepts drivers that need glibc and cannot be built for {environment}: build for \
             a -linux-gnu target, or use fcsp-core alone"
        );
        std::process::exit(1);
    }
}
