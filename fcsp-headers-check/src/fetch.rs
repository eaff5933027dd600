//! The folder with a vendor's headers.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder with the headers of `vendor`, an argument of `scripts/fetch-headers.sh`. They
/// are downloaded on first use, into the target folder that contains `scratch`, cargo's temporary
/// folder for tests. `FCSP_HEADERS` names a folder that holds them already.
///
/// Prints a line and returns `None` where `FCSP_OFFLINE=1` and the folder lacks `probe`, which the
/// script makes for this vendor.
///
/// # Panics
///
/// If the headers cannot be downloaded and `FCSP_OFFLINE=1` is not set.
pub fn folder(scratch: &str, vendor: &str, probe: &str) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("FCSP_HEADERS") {
        return Some(given.into());
    }
    let target = Path::new(scratch).parent();
    let folder = target
        .expect("cargo's temporary folder lies in the target folder")
        .join("headers");
    if std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1") {
        if folder.join(probe).is_dir() {
            return Some(folder);
        }
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            folder.display()
        );
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-headers.sh");
    let status = Command::new(&script).arg(&folder).arg(vendor).status();
    let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        status.success(),
        "the headers of {vendor} could not be fetched ({status}): set FCSP_HEADERS to a folder that \
         scripts/fetch-headers.sh filled, or FCSP_OFFLINE=1 to go without this test"
    );
    Some(folder)
}
