//! One file of tenants: its tables, and errors with the line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fcsp_core::config::{Config, Parameter, check_tenant_name};
use fcsp_tenancy::Changes;
use serde::Deserialize;
use toml::Spanned;

use super::matcher::{FEWEST_DIGITS, Matcher};

/// A tenant as a file declares it.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// The file that declares it.
    pub file: PathBuf,
    /// The line of its table.
    pub line: usize,
    /// Its processes.
    pub matcher: Matcher,
    /// Its limits.
    pub config: Config,
    /// The group of its processes, by number. They run as other users than the agent and cannot
    /// write their limits. None for a tenant whose folder every process with its key may write.
    pub group: Option<u32>,
    /// True if it may promise more of a device than the device has.
    pub oversubscribe: bool,
}

/// A mistake in a file of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// The reason.
    pub reason: String,
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
            None => write!(f, "{}: {}", self.file.display(), self.reason),
        }
    }
}

type Text = Option<Spanned<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    container: Text,
    pod: Text,
    unit: Text,
    user: Text,
    cgroup: Text,
    group: Text,
    memory: Text,
    compute: Text,
    mode: Text,
    priority: Text,
    floor: Text,
    shared_pool: Text,
    burst: Text,
    #[serde(default)]
    oversubscribe: bool,
}

impl Table {
    /// Returns the value of a parameter. A parameter that this version does not know is refused as
    /// an unknown key.
    fn value(&self, parameter: Parameter) -> Option<&Spanned<String>> {
        let value = match parameter {
            Parameter::Memory => &self.memory,
            Parameter::Compute => &self.compute,
            Parameter::Mode => &self.mode,
            Parameter::Priority => &self.priority,
            Parameter::Floor => &self.floor,
            Parameter::SharedPool => &self.shared_pool,
            Parameter::Burst => &self.burst,
            _ => &None,
        };
        value.as_ref()
    }
}

/// Parses a file of tenants. Every tenant has at least one rule about its processes.
///
/// # Errors
///
/// The first mistake, with its line.
pub fn parse(file: &Path, text: &str) -> Result<Vec<Declaration>, FileError> {
    let reader = Reader { file, text };
    let tables: BTreeMap<String, Spanned<Table>> = toml::from_str(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        reader.error(start, error.message().to_owned())
    })?;
    let mut declarations: Vec<Declaration> = tables
        .iter()
        .map(|(name, table)| reader.declaration(name, table))
        .collect::<Result<_, _>>()?;
    declarations.sort_by_key(|declaration| declaration.line);
    Ok(declarations)
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// Returns the line of a byte.
    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn error(&self, at: Option<usize>, reason: String) -> FileError {
        FileError {
            file: self.file.to_owned(),
            line: at.map(|at| self.line(at)),
            reason,
        }
    }

    fn declaration(&self, name: &str, table: &Spanned<Table>) -> Result<Declaration, FileError> {
        let start = table.span().start;
        let at_table =
            |error: fcsp_core::config::ConfigError| self.error(Some(start), error.to_string());
        check_tenant_name("tenant", name).map_err(at_table)?;
        let table = table.get_ref();
        let mut changes = Changes::new();
        for parameter in Parameter::ALL {
            if let Some(value) = table.value(parameter) {
                changes = changes.with(parameter, parameter.key(), value.get_ref());
            }
        }
        let config = changes.read(std::iter::empty()).map_err(|error| {
            let value = Parameter::ALL
                .into_iter()
                .find(|parameter| parameter.key() == error.field)
                .and_then(|parameter| table.value(parameter));
            let at = value.map_or(start, |value| value.span().start);
            self.error(Some(at), error.to_string())
        })?;
        let matcher = self.matcher(table)?;
        if matcher.is_empty() {
            let reason = format!(
                "[{name}] says of no process that it is the tenant's; \
                 give container, pod, unit, user or cgroup"
            );
            return Err(self.error(Some(start), reason));
        }
        Ok(Declaration {
            name: name.to_owned(),
            file: self.file.to_owned(),
            line: self.line(start),
            matcher,
            config,
            group: self.read(&table.group, "group", |text| {
                group(text).ok_or_else(|| "no such group".to_owned())
            })?,
            oversubscribe: table.oversubscribe,
        })
    }

    fn matcher(&self, table: &Table) -> Result<Matcher, FileError> {
        Ok(Matcher {
            container: self.read(&table.container, "container", |text| {
                let is_id = (FEWEST_DIGITS..=64).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                match is_id {
                    true => Ok(text.to_ascii_lowercase()),
                    false => Err(format!("write {FEWEST_DIGITS} to 64 hexadecimal digits")),
                }
            })?,
            pod: self.read(&table.pod, "pod", |text| Ok(text.to_ascii_lowercase()))?,
            unit: self.read(&table.unit, "unit", |text| {
                match text.ends_with(".service") || text.ends_with(".scope") {
                    true => Ok(text.to_owned()),
                    false => Err("name a .service or a .scope".to_owned()),
                }
            })?,
            user: self.read(&table.user, "user", |text| {
                user(text).ok_or_else(|| "no such user".to_owned())
            })?,
            cgroup: self.read(&table.cgroup, "cgroup", |text| {
                let path = PathBuf::from(text);
                let is_plain = path.is_absolute()
                    && path.parent().is_some()
                    && !text.split('/').any(|name| name == "..");
                match is_plain {
                    true => Ok(path),
                    false => {
                        Err("name a cgroup by its path from the root, such as /lab".to_owned())
                    }
                }
            })?,
        })
    }

    /// Reads a rule. An empty value is a mistake: it would be a rule that always holds.
    fn read<T>(
        &self,
        value: &Text,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FileError> {
        let Some(value) = value else { return Ok(None) };
        let text = value.get_ref().trim();
        let parsed = match text.is_empty() {
            true => Err("is empty".to_owned()),
            false => parse(text),
        };
        parsed.map(Some).map_err(|reason| {
            self.error(
                Some(value.span().start),
                format!("{key} \"{text}\": {reason}"),
            )
        })
    }
}

/// Returns the number of a user, given by name or number.
fn user(text: &str) -> Option<u32> {
    if let Ok(uid) = text.parse() {
        return Some(uid);
    }
    let name = std::ffi::CString::new(text).ok()?;
    // SAFETY: all fields of `passwd` are integers and pointers, for which zeroes are valid.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut buffer = vec![0; 16 << 10];
    let mut found = std::ptr::null_mut();
    // SAFETY: the name ends in zero, `buffer` has its length, and all live during the call.
    let result = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            &mut entry,
            buffer.as_mut_ptr(),
            buffer.len(),
            &mut found,
        )
    };
    (result == 0 && !found.is_null()).then_some(entry.pw_uid)
}

/// Returns the number of a group, given by name or number.
fn group(text: &str) -> Option<u32> {
    if let Ok(gid) = text.parse() {
        return Some(gid);
    }
    let name = std::ffi::CString::new(text).ok()?;
    // SAFETY: all fields of `group` are integers and pointers, for which zeroes are valid.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut buffer = vec![0; 64 << 10];
    let mut found = std::ptr::null_mut();
    // SAFETY: the name ends in zero, `buffer` has its length, and all live during the call.
    let result = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            &mut entry,
            buffer.as_mut_ptr(),
            buffer.len(),
            &mut found,
        )
    };
    (result == 0 && !found.is_null()).then_some(entry.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcsp_core::config::text;

    fn read(contents: &str) -> Result<Vec<Declaration>, FileError> {
        parse(Path::new("/etc/fcsp/tenants.d/a.toml"), contents)
    }

    #[test]
    fn a_table_is_a_tenant() {
        let contents = "[b]\nuser = \"root\"\nmemory = \"8GiB\"\n\n[a]\nunit = \"a.service\"\n\
                        compute = \"25%\"\nmode = \"strict\"\noversubscribe = true\n";
        let declarations = read(contents).unwrap();
        let [b, a] = &declarations[..] else {
            panic!("{declarations:?}")
        };
        assert_eq!((b.name.as_str(), b.line, b.oversubscribe), ("b", 1, false));
        assert_eq!(b.matcher.user, Some(0));
        assert_eq!(text::memory(&b.config.memory), "8 GiB");
        assert_eq!((a.name.as_str(), a.line, a.oversubscribe), ("a", 5, true));
        assert_eq!(a.matcher.unit.as_deref(), Some("a.service"));
        assert!(text::compute(&a.config.compute).contains("25% strict"));
    }

    #[test]
    fn a_mistake_has_its_line() {
        let cases = [
            ("[a]\nuser = \"0\"\nmemory = \"8 GiB of it\"\n", 3, "memory"),
            ("[a]\nuser = \"0\"\n\ncompute = \"250%\"\n", 4, "compute"),
            ("[a]\nuser = \"0\"\nmemry = \"8GiB\"\n", 3, "memry"),
            ("[a]\nuser = \"no such user\"\n", 2, "no such user"),
            ("[a]\nuser = \"\"\n", 2, "is empty"),
            (
                "[a]\nuser = \"0\"\ngroup = \"no such group\"\n",
                3,
                "no such group",
            ),
            ("[a]\ncontainer = \"3f9d\"\n", 2, "hexadecimal"),
            ("[a]\nunit = \"a\"\n", 2, ".service"),
            ("[a]\ncgroup = \"/\"\n", 2, "path from the root"),
            ("[a]\ncgroup = \"/a/../b\"\n", 2, "path from the root"),
            ("\n[a]\nmemory = \"8GiB\"\n", 2, "no process"),
            ("[a]\nuser = \"0\"\n[\"a/b\"]\nuser = \"1\"\n", 3, "tenant"),
            ("[a]\nuser = \"0\"\n[a]\n", 3, "duplicate"),
            ("[a]\nuser = \"0\"\n[b\n", 3, ""),
            ("a = 1\n", 1, ""),
        ];
        for (contents, line, reason) in cases {
            let error = read(contents).unwrap_err();
            assert_eq!(error.line, Some(line), "{contents:?}: {error}");
            assert!(error.reason.contains(reason), "{contents:?}: {error}");
            let place = format!("/etc/fcsp/tenants.d/a.toml:{line}: ");
            assert!(error.to_string().starts_with(&place), "{error}");
        }
    }

    #[test]
    fn an_empty_file_declares_nothing() {
        assert!(read("").unwrap().is_empty());
        assert!(read("# nothing yet\n").unwrap().is_empty());
    }
}
