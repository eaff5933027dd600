//! The manifest beside a library: its identity, its sources, its exports and its needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Returns the standard output of a program that must succeed.
fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Computes the SHA-256 of a file, in hexadecimal digits.
pub fn sha256(file: &Path) -> Result<String> {
    let said = output("sha256sum", &["--", &file.to_string_lossy()])?;
    // A name with odd characters makes the line begin with a backslash.
    let digest = said.trim_start_matches('\\').split_whitespace().next();
    digest.map(str::to_owned).context("sha256sum said nothing")
}

/// Returns the time in seconds of the commit that is checked out; `None` outside a repository.
pub fn commit_time() -> Option<String> {
    Some(
        output("git", &["log", "-1", "--format=%ct"])
            .ok()?
            .trim()
            .to_owned(),
    )
}

/// Lists the names that `file` exports.
fn exports(file: &str) -> Result<Vec<String>> {
    let said = output(
        "nm",
        &["--dynamic", "--defined-only", "--format=posix", file],
    )?;
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        // A version node is no function.
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Lists the libraries that the loader must find for it, and the newest version of the C library's
/// symbols among them.
fn needs(file: &str) -> Result<(Vec<String>, Option<String>)> {
    let dynamic = output("readelf", &["--dynamic", "--wide", file])?;
    let libraries = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned()))
        .collect();
    let versions = output("readelf", &["--version-info", "--wide", file])?;
    let number = |name: &str| -> Option<Vec<u32>> {
        name.strip_prefix("GLIBC_")?
            .split('.')
            .map(|part| part.parse().ok())
            .collect()
    };
    let newest = versions
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .filter_map(|word| Some((number(word)?, word.to_owned())))
        .max()
        .map(|(_, word)| word);
    Ok((libraries, newest))
}

/// Returns the manifest of a built file.
pub fn of(what: &str, version: &str, file: &Path) -> Result<Value> {
    let path = file.to_string_lossy();
    let (needs, glibc) = needs(&path)?;
    let trimmed = |text: String| text.trim().to_owned();
    Ok(json!({
        "schema": "fcsp.dist.1",
        "name": file.file_name().map(|name| name.to_string_lossy()),
        "what": what,
        "version": version,
        "commit": output("git", &["rev-parse", "HEAD"]).ok().map(trimmed),
        "changed_since": output("git", &["status", "--porcelain", "--untracked-files=no"]).ok().map(|said| !said.trim().is_empty()),
        "architecture": std::env::consts::ARCH,
        "rustc": output("rustc", &["--version"]).ok().map(trimmed),
        "bytes": std::fs::metadata(file)?.len(),
        "sha256": sha256(file)?,
        "needs": needs,
        "glibc": glibc,
        "exports": if what == crate::dist::COMMAND { Vec::new() } else { exports(&path)? },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            sha256(&file).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(sha256(&folder.path().join("none")).is_err());
    }

    #[test]
    fn this_program_needs_the_c_library() {
        let own = std::env::current_exe().unwrap();
        let (libraries, glibc) = needs(&own.to_string_lossy()).unwrap();
        assert!(
            libraries.iter().any(|name| name.starts_with("libc.so")),
            "{libraries:?}"
        );
        assert!(glibc.unwrap().starts_with("GLIBC_2."));
        let manifest = of(crate::dist::COMMAND, "1", &own).unwrap();
        assert_eq!(manifest["bytes"], std::fs::metadata(&own).unwrap().len());
    }
}
