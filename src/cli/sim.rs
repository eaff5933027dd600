//! Simulated machines as the command sees them: their description, and where their shared state is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fcsp::file;
use fcsp::state::StateDir;
use fcsp_sim::region;
use fcsp_sim::spec::Topology;

use super::tenants;

/// The variable that says where a simulated machine's state is.
pub const STATE_VARIABLE: &str = "FCSP_SIM_STATE";

/// NVIDIA's models, and one that is small.
const MODELS: [&str; 4] = ["h100", "a100", "l4", "tiny"];

/// Reads a simulated machine's description, naming the option.
pub fn topology(text: &str) -> anyhow::Result<Topology> {
    const FORM: &str = "write MODEL[xCOUNT][,memory=SIZE], such as h100x2,memory=4GiB";
    // The simulator has drivers of every vendor; the one that the command brings along is NVIDIA's.
    let head = text.split(',').next().unwrap_or_default().trim();
    let model = match head.rsplit_once('x') {
        Some((model, count)) if count.starts_with(|c: char| c.is_ascii_digit()) => model,
        _ => head,
    };
    if !MODELS.contains(&model) {
        anyhow::bail!(
            "--sim: \"{head}\" is not a model; there are {}; {FORM}",
            MODELS.join(", ")
        );
    }
    text.parse::<Topology>().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.strip_prefix("FCSP_SIM: ").unwrap_or(&reason);
        anyhow::anyhow!("--sim: {reason}; {FORM}")
    })
}

fn folder(state: &StateDir) -> PathBuf {
    state.path().join("sim")
}

/// The machine's state file: in the state folder, one a description, so that programs started with the same one share
/// devices and `fcsp gc` finds it. `None` where the user chose a place.
pub fn state_file(state: &StateDir, topology: &Topology) -> io::Result<Option<PathBuf>> {
    if std::env::var_os(STATE_VARIABLE).is_some_and(|path| !path.is_empty()) {
        return Ok(None);
    }
    let folder = folder(state);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    // Absolute: the program may change its folder before it looks.
    let path = std::path::absolute(folder)?.join(region::file_name(topology));
    Ok(Some(path))
}

/// Makes the machine's state file, as its first program would, and says why where it cannot be used: the program itself would
/// only find no device.
pub fn prepare(path: Option<&Path>, topology: &Topology) -> Result<(), region::RegionError> {
    let path = path.map_or_else(|| region::path_from_env(topology), Path::to_owned);
    region::Region::open(&path, topology).map(drop)
}

/// Removes the state of machines that no process uses; returns how many. While any tenant lives nothing is removed: a
/// program that has just been started holds no lock yet.
pub fn collect(state: &StateDir) -> io::Result<usize> {
    if tenants::all(state)?.iter().any(|tenant| tenant.alive) {
        return Ok(0);
    }
    let entries = match std::fs::read_dir(folder(state)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for path in entries.flatten().map(|entry| entry.path()) {
        // Every process of a machine keeps a byte of its state file locked until it ends.
        let free = file::open_ro(&path).and_then(|file| file::is_held(&file, 0, 0));
        if matches!(free, Ok(false)) && std::fs::remove_file(&path).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}
