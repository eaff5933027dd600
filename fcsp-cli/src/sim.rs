//! Simulated machines as the command sees them: their description, and where their shared state is.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fcsp_core::file::{self, SetupLock};
use fcsp_core::state::{StateDir, layout};
use fcsp_sim::region;
use fcsp_sim::spec::Topology;
use fcsp_tenancy::inventory;

/// The variable that says where a simulated machine's state is.
pub const STATE_VARIABLE: &str = "FCSP_SIM_STATE";

/// NVIDIA's models, and one that is small.
const MODELS: [&str; 4] = ["h100", "a100", "l4", "tiny"];

/// Reads a simulated machine's description, naming the option.
pub fn topology(text: &str) -> anyhow::Result<Topology> {
    const FORM: &str = "write MODEL[xCOUNT][,memory=SIZE], such as h100x2,memory=4GiB";
    // The simulator has drivers of every vendor; the command includes NVIDIA's only.
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

/// Returns the machine's state file; `None` where the user chose a place.
///
/// The state folder has one file for each description. Programs started with the same description
/// then share devices, and `fcsp gc` finds the file.
///
/// Programs that root starts may become another user and must still reach the file. It then lies
/// behind a key: in a folder with a random name, inside a folder that only root can list. A
/// tenant's folder is protected in the same way (`fcsp_core::state`).
pub fn state_file(state: &StateDir, topology: &Topology) -> io::Result<Option<PathBuf>> {
    if std::env::var_os(STATE_VARIABLE).is_some_and(|path| !path.is_empty()) {
        return Ok(None);
    }
    // Absolute: the program may change its folder before it looks.
    let folder = std::path::absolute(folder(state))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let name = region::file_name(topology);
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(Some(folder.join(name)));
    }
    let here = fcsp_core::file::Folder::open(&folder)?;
    if here.owner() != 0 || here.is_open() {
        return Ok(Some(folder.join(name)));
    }
    // Two commands at once must not make two machines of one description.
    let _lock = SetupLock::acquire(&folder.join(LOCK))?;
    if let Some(key) = keys(&folder)?.into_iter().next() {
        return Ok(Some(key.join(name)));
    }
    let key = folder.join(fcsp_core::state::random_key()?);
    DirBuilder::new().mode(0o711).create(&key)?;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    mode(&key, 0o711)?;
    mode(&folder, 0o711)?;
    Ok(Some(key.join(name)))
}

/// The lock that is held while the folder of machines gets its key.
const LOCK: &str = layout::SETUP_LOCK;

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the key folders in the folder of machines: one, if there is any.
fn keys(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut keys = entries(folder)?;
    keys.retain(|path| path.file_name().is_some_and(fcsp_core::state::is_key));
    Ok(keys)
}

/// Makes the machine's state file, as its first program would, and says why where it cannot be
/// used: the program itself would only find no device.
pub fn prepare(path: Option<&Path>, topology: &Topology) -> Result<(), region::RegionError> {
    let chosen = path.map_or_else(|| region::path_from_env(topology), Path::to_owned);
    region::Region::open(&chosen, topology)?;
    // Any user who knows the path behind a key may use it.
    if let Some(path) = path.filter(|path| is_behind_key(path)) {
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(|source| {
            region::RegionError::Io {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    Ok(())
}

fn is_behind_key(path: &Path) -> bool {
    let key = path.parent().and_then(Path::file_name);
    key.is_some_and(fcsp_core::state::is_key)
}

/// Removes the state of machines that no process uses; returns how many. While any tenant lives
/// nothing is removed: a program that has just been started holds no lock yet.
pub fn collect(state: &StateDir) -> io::Result<usize> {
    if inventory::all(state)?.iter().any(|tenant| tenant.alive) {
        return Ok(0);
    }
    let folder = folder(state);
    let mut files = entries(&folder)?;
    for key in keys(&folder)? {
        files.extend(entries(&key)?);
    }
    let mut removed = 0;
    for path in files
        .into_iter()
        .filter(|path| !path.ends_with(LOCK) && path.is_file())
    {
        // Every process of a machine keeps a byte of its state file locked until it ends. The file
        // may be every user's to write, its folder is not.
        let free = std::fs::File::open(&path).and_then(|file| file::is_held(&file, 0, 0));
        if matches!(free, Ok(false)) && std::fs::remove_file(&path).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}
