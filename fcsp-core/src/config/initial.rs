//! The environment that this process was started with, for use if the present one sets nothing.
//!
//! Daemons clear or rewrite their environment early. The kernel keeps the first one in
//! `/proc/self/environ`, as long as the program does not overwrite that memory. `setproctitle` does
//! overwrite it, but keeps a copy in the environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use super::names;

/// Parses variables in the form of the kernel: `NAME=value`, each with a zero byte after it.
pub fn parse(environ: &[u8]) -> Vec<(OsString, OsString)> {
    environ
        .split(|&byte| byte == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|&byte| byte == b'=')?;
            let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            (at > 0).then(|| (part(&entry[..at]), part(&entry[at + 1..])))
        })
        .collect()
}

fn at_start() -> Vec<(OsString, OsString)> {
    // Unreadable without /proc: only the present environment is left.
    std::fs::read("/proc/self/environ")
        .map(|environ| parse(&environ))
        .unwrap_or_default()
}

fn is_setting(name: &OsStr) -> bool {
    name.to_str().is_some_and(names::is_setting)
}

/// Returns this process's variables as text. They come from the present environment if it sets
/// limits or names a tenant, else from the one at its start. A value that is not text is kept: it
/// fails to parse, and the error names its variable.
pub fn settings() -> Vec<(String, String)> {
    let text = |variables: Vec<(OsString, OsString)>| {
        variables
            .into_iter()
            .filter_map(|(name, value)| {
                Some((
                    name.into_string().ok()?,
                    value.to_string_lossy().into_owned(),
                ))
            })
            .collect()
    };
    let present: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    if present
        .iter()
        .any(|(name, value)| !value.is_empty() && is_setting(name))
    {
        return text(present);
    }
    let first = at_start();
    match first.iter().any(|(name, _)| is_setting(name)) {
        true => text(first),
        false => text(present),
    }
}

/// Returns a variable of the present environment, or else of the one at the process's start. An
/// empty value counts as not set.
pub fn variable(name: &str) -> Option<OsString> {
    let set = |value: &OsString| !value.is_empty();
    std::env::var_os(name).filter(set).or_else(|| {
        at_start()
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
            .filter(set)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let read = parse(b"A=1\0B=x=y\0\0=odd\0title of a process\0C=\0");
        let expected = [("A", "1"), ("B", "x=y"), ("C", "")];
        assert_eq!(read.len(), expected.len());
        for ((name, value), (n, v)) in read.iter().zip(expected) {
            assert_eq!(
                (name.as_os_str(), value.as_os_str()),
                (OsStr::new(n), OsStr::new(v))
            );
        }
    }

    #[test]
    fn a_variable_that_is_gone_is_found_in_the_first_environment() {
        // The test runner's own environment is complete.
        assert_eq!(variable("PATH"), std::env::var_os("PATH"));
        assert_eq!(variable("FCSP_NO_SUCH_VARIABLE"), None);
    }
}
