//! Configuration from a root-owned file, which overrides every variable. A container's owner mounts
//! it read-only.
//!
//! ```toml
//! tenant = "team-a"
//! memory = "8GiB"            # or "0=8GiB,1=40%"
//! compute = "25%"            # or "0=25%,1=50%"
//! mode = "strict"            # none, strict, balanced, adaptive
//! priority = "high"          # high, normal, low
//! floor = "20%"
//! shared_pool = "40%"
//! burst = "60%"
//! state_dir = "/run/fcsp"    # a folder that the owner has made: see `crate::places` for what is taken otherwise
//! ```

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::{Config, ConfigError, Parameter, Source, env};

/// Path of the file that overrides every variable, if root owns it and only root may write it.
pub const AUTHORITY: &str = "/etc/fcsp/tenant.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    tenant: Option<String>,
    memory: Option<String>,
    compute: Option<String>,
    mode: Option<String>,
    priority: Option<String>,
    floor: Option<String>,
    shared_pool: Option<String>,
    burst: Option<String>,
    state_dir: Option<std::path::PathBuf>,
}

impl Text {
    fn value(&self, parameter: Parameter) -> &Option<String> {
        match parameter {
            Parameter::Memory => &self.memory,
            Parameter::Compute => &self.compute,
            Parameter::Mode => &self.mode,
            Parameter::Priority => &self.priority,
            Parameter::Floor => &self.floor,
            Parameter::SharedPool => &self.shared_pool,
            Parameter::Burst => &self.burst,
        }
    }
}

/// Variable of the tenant's name.
const TENANT: &str = "FCSP_TENANT";

/// Reads a configuration from TOML text. Errors name `name`.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
    let text: Text =
        toml::from_str(text).map_err(|error| ConfigError::new(name, error.message()))?;
    // The keys are the variables' short names, so the same reader serves both and they cannot
    // diverge.
    let values = Parameter::ALL
        .into_iter()
        .map(|parameter| (parameter.variable(), text.value(parameter)))
        .chain([(TENANT, &text.tenant)]);
    let variables = values.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let mut config = env::read(variables).map_err(|error| {
        let key = Parameter::ALL
            .into_iter()
            .find(|parameter| parameter.variable() == error.field)
            .map(Parameter::key);
        let key = key.or((error.field == TENANT).then_some("tenant"));
        ConfigError::new(format!("{name}: {}", key.unwrap_or("")), error.reason)
    })?;
    if let Some(path) = text.state_dir {
        if !path.is_absolute() {
            return Err(ConfigError::new(
                format!("{name}: state_dir"),
                format!(
                    "\"{}\" is relative; name the folder from the root",
                    path.display()
                ),
            ));
        }
        config.state_dir = Some(path.into_boxed_path());
    }
    config.source = Source::File;
    Ok(config)
}

/// Returns the name of the tenant that a file without a name makes: one for all processes that see
/// the file, whatever their user. It depends on the folder of the file. The folder stays the same
/// when the file is rewritten, and differs between containers.
pub fn tenant_name() -> String {
    let folder = Path::new(AUTHORITY).parent().unwrap_or(Path::new("/"));
    match std::fs::metadata(folder) {
        Ok(meta) => format!("container-{:x}-{:x}", meta.dev(), meta.ino()),
        // The folder cannot be read any more: still one name for all.
        Err(_) => "container".to_owned(),
    }
}

/// Reads the authority's configuration. Returns `None` if there is no such file, or if it is
/// ignored because others than root may write it.
pub fn read_authority() -> Result<Option<Config>, ConfigError> {
    read_if_owned(Path::new(AUTHORITY))
}

fn is_roots_alone(meta: &Metadata) -> bool {
    meta.uid() == 0 && meta.mode() & 0o022 == 0
}

/// Returns the reason why an existing file is ignored: it is not root's, or others may write it.
pub fn passed_over() -> Option<String> {
    let meta = std::fs::metadata(AUTHORITY).ok()?;
    (!is_roots_alone(&meta)).then(|| {
        format!(
            "{AUTHORITY} says nothing: it must belong to root and be writable by nobody else (owner {}, mode {:03o})",
            meta.uid(),
            meta.mode() & 0o7777
        )
    })
}

fn read_if_owned(path: &Path) -> Result<Option<Config>, ConfigError> {
    let name = path.display().to_string();
    match std::fs::metadata(path) {
        Ok(meta) if is_roots_alone(&meta) => {}
        Ok(_) => return Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        // The file may exist, in a folder that this user may not enter.
        Err(error) => return Err(ConfigError::new(&name, error)),
    }
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::new(&name, error))?;
    parse(&name, &text).map(Some)
}

/// Returns the configuration in force for this process: the authority's, else the environment's.
pub fn in_force() -> Result<Config, ConfigError> {
    match read_authority()? {
        Some(config) => Ok(config),
        None => env::read_own(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Quota, Rules};

    #[test]
    fn reads_every_key() {
        let config = parse(
            "f",
            "tenant = \"a\"\nmemory = \"0=8GiB\"\ncompute = \"25%\"\nmode = \"strict\"",
        )
        .unwrap();
        assert_eq!(config.tenant.as_deref(), Some("a"));
        assert_eq!(
            config.memory,
            Rules::parse("m", "0=8GiB", Quota::parse).unwrap()
        );
        assert_eq!(config.source, Source::File);
        assert!(!config.compute.is_empty());
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        for (text, key) in [
            ("memory = \"101%\"", "f: memory"),
            ("memroy = \"1GiB\"", "f"),
            ("memory = 8", "f"),
            ("state_dir = \"here\"", "f: state_dir"),
        ] {
            let error = parse("f", text).unwrap_err();
            assert_eq!(error.field, key, "{error}");
        }
        assert!(
            parse("f", "memroy = \"1GiB\"")
                .unwrap_err()
                .to_string()
                .contains("memroy")
        );
    }

    #[test]
    fn a_file_others_may_write_says_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tenant.toml");
        std::fs::write(&path, "memory = \"1GiB\"").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read_if_owned(&path).unwrap(), None);
    }
}
