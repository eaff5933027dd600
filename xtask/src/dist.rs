//! `cargo xtask dist`: the release.
//!
//! ```text
//! cargo xtask dist [cuda|hip|levelzero|ascend|gaudi|command ...] [--out DIR] [--target-dir DIR]
//! ```
//! One tarball a vendor holds its preload library in `lib/fcsp`. One tarball holds the command in
//! `bin`, which carries the libraries in itself. Unpacked into one prefix, the command finds the
//! libraries. Each tarball has a manifest, a bill of materials (CycloneDX 1.5), README, CHANGELOG,
//! the licence and the licences of third-party crates. Its name says the oldest glibc that loads
//! it. `SHA256SUMS` covers all tarballs. Two runs at one commit with one toolchain give the same
//! bytes. Needs `tar`, `sha256sum`, `nm` and `readelf`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{licences, manifest, materials};

/// Lists the vendors: every backend of the repository whose preload library is released.
fn vendors() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_released = |vendor: &String| {
        let manifest = root.join(format!("fcsp-{vendor}/preload/Cargo.toml"));
        let text = std::fs::read_to_string(manifest);
        text.is_ok_and(|text| !text.lines().any(|line| line == "release = false"))
    };
    let mut vendors: Vec<String> = std::fs::read_dir(&root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("fcsp-")?
                    .to_owned(),
            )
        })
        .filter(is_released)
        .collect();
    vendors.sort();
    vendors
}

/// The name of the command's tarball among those of the vendors.
pub const COMMAND: &str = "command";

/// Runs the command in the repository's root.
pub fn run(args: impl Iterator<Item = String>) -> Result<()> {
    Plan::parse(args).and_then(|plan| dist(&plan))
}

/// The things to build, and the folders.
#[derive(Debug)]
struct Plan {
    what: Vec<String>,
    out: PathBuf,
    target: PathBuf,
}

impl Plan {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let (mut what, mut out) = (Vec::new(), PathBuf::from("dist"));
        let mut target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let vendors = vendors();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a folder"));
            match arg.as_str() {
                "--out" => out = value()?.into(),
                "--target-dir" => target = value()?.into(),
                name if vendors.iter().any(|vendor| vendor == name) || name == COMMAND => {
                    what.push(arg)
                }
                _ => bail!(
                    "'{arg}' is none of {}, {COMMAND}, --out and --target-dir",
                    vendors.join(", ")
                ),
            }
        }
        if what.is_empty() {
            what = vendors;
            what.push(COMMAND.to_owned());
        }
        Ok(Self { what, out, target })
    }
}

fn dist(plan: &Plan) -> Result<()> {
    std::fs::create_dir_all(&plan.out)
        .with_context(|| format!("cannot make {}", plan.out.display()))?;
    let metadata = materials::metadata()?;
    let mut tarballs = Vec::new();
    for what in &plan.what {
        let tarball = one(plan, what, &metadata)?;
        println!("{}", tarball.display());
        tarballs.push(tarball);
    }
    let mut sums = String::new();
    for tarball in &tarballs {
        let name = tarball.file_name().unwrap_or_default().to_string_lossy();
        sums += &format!("{}  {name}\n", manifest::sha256(tarball)?);
    }
    let path = plan.out.join("SHA256SUMS");
    std::fs::write(&path, sums).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// Builds one thing and packs it.
fn one(plan: &Plan, what: &str, metadata: &serde_json::Value) -> Result<PathBuf> {
    let (package, built) = build(plan, what)?;
    let version = env!("CARGO_PKG_VERSION");
    let about = manifest::of(what, version, &built)?;
    let name = name_of(what, version, about["glibc"].as_str());
    let stage = plan.out.join(&name);
    if stage.exists() {
        std::fs::remove_dir_all(&stage)?;
    }
    // Where the command looks: `lib/fcsp` beside its own `bin`.
    let place = stage.join(if what == COMMAND { "bin" } else { "lib/fcsp" });
    std::fs::create_dir_all(&place)?;
    let file = place.join(built.file_name().context("a built file has a name")?);
    std::fs::copy(&built, &file).with_context(|| format!("cargo built no {}", built.display()))?;
    // Vendor tarballs share a prefix with the command's: texts lie in a folder of their own.
    let texts = stage.join("share/doc/fcsp").join(what);
    std::fs::create_dir_all(&texts)?;
    for text in ["LICENSE", "README.md", "CHANGELOG.md"] {
        std::fs::copy(text, texts.join(text)).with_context(|| format!("cannot copy {text}"))?;
    }
    let third_party = texts.join("THIRD-PARTY-LICENCES.txt");
    std::fs::write(third_party, licences::of(&package, metadata)?)?;
    let pretty = |value: &serde_json::Value| -> Result<String> {
        Ok(serde_json::to_string_pretty(value)? + "\n")
    };
    std::fs::write(texts.join("manifest.json"), pretty(&about)?)?;
    std::fs::write(
        texts.join("sbom.cdx.json"),
        pretty(&materials::of(&package, metadata)?)?,
    )?;
    let tarball = plan.out.join(format!("{name}.tar.gz"));
    pack(&plan.out, &name, &tarball)?;
    std::fs::remove_dir_all(&stage)?;
    Ok(tarball)
}

/// Returns the name of a tarball without its ending: what, version, machine, and the oldest glibc
/// that loads it.
fn name_of(what: &str, version: &str, glibc: Option<&str>) -> String {
    let vendor = if what == COMMAND {
        String::new()
    } else {
        format!("{what}-")
    };
    let glibc = glibc.map_or_else(String::new, |version| {
        format!("-glibc{}", version.trim_start_matches("GLIBC_"))
    });
    format!(
        "fcsp-{vendor}{version}-{}-linux{glibc}",
        std::env::consts::ARCH
    )
}

/// Builds the package that `what` stands for; returns its name and the file.
fn build(plan: &Plan, what: &str) -> Result<(String, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet"]);
    let (package, built) = if what == COMMAND {
        command.args([
            "--release",
            "--package",
            "fcsp-cli",
            "--bin",
            "fcsp",
            "--target-dir",
        ]);
        command.arg(&plan.target);
        ("fcsp-cli".to_owned(), plan.target.join("release/fcsp"))
    } else {
        // Where the command's own build has built them already.
        let target = plan.target.join("embed");
        let triple = materials::triple();
        let package = format!("fcsp-{what}-preload");
        command.args([
            "--profile",
            "preload",
            "--package",
            &package,
            "--target",
            &triple,
        ]);
        command.arg("--target-dir").arg(&target);
        (
            package,
            target
                .join(triple)
                .join(format!("preload/libfcsp_{what}.so")),
        )
    };
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo could not build {package}");
    }
    if what != COMMAND {
        let status = Command::new("scripts/check-preload.sh")
            .arg(&built)
            .status()
            .context("cannot run scripts/check-preload.sh")?;
        if !status.success() {
            bail!("{} is not fit to be preloaded", built.display());
        }
    }
    Ok((package, built))
}

/// Packs a folder so that the same files give the same bytes.
fn pack(folder: &Path, name: &str, tarball: &Path) -> Result<()> {
    let time = manifest::commit_time().unwrap_or_else(|| "0".to_owned());
    let file = tarball.file_name().context("a tarball has a name")?;
    let status = Command::new("tar")
        .current_dir(folder)
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=u+w,go-w,a+rX",
        ])
        .arg(format!("--mtime=@{time}"))
        // Without the time of day in the header.
        .args(["--use-compress-program", "gzip -n"])
        .arg("-cf")
        .arg(file)
        .arg(name)
        .status()
        .context("cannot run tar")?;
    if !status.success() {
        bail!("tar could not pack {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: &[&str]) -> Result<Plan> {
        Plan::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn everything_unless_something_is_named() {
        assert_eq!(plan(&[]).unwrap().what.len(), vendors().len() + 1);
        let some = plan(&["hip", "--out", "there", "cuda"]).unwrap();
        assert_eq!(
            (some.what, some.out),
            (vec!["hip".into(), "cuda".into()], "there".into())
        );
    }

    #[test]
    fn a_tarball_says_the_glibc_that_it_needs() {
        let name = name_of("hip", "1.2.3", Some("GLIBC_2.34"));
        assert!(
            name.starts_with("fcsp-hip-1.2.3-") && name.ends_with("-linux-glibc2.34"),
            "{name}"
        );
        assert!(name_of(COMMAND, "1.2.3", None).starts_with("fcsp-1.2.3-"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (args, said) in [
            (["metal"], "'metal' is none of ascend, cuda"),
            (["--out"], "--out needs a folder"),
        ] {
            assert!(plan(&args).unwrap_err().to_string().contains(said));
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let (a, b) = (
            folder.path().join("a.tar.gz"),
            folder.path().join("b.tar.gz"),
        );
        for (tarball, content) in [(&a, "one"), (&b, "one")] {
            std::fs::write(folder.path().join("x/file"), content).unwrap();
            pack(folder.path(), "x", tarball).unwrap();
        }
        assert_eq!(manifest::sha256(&a).unwrap(), manifest::sha256(&b).unwrap());
        std::fs::write(folder.path().join("x/file"), "two").unwrap();
        pack(folder.path(), "x", &b).unwrap();
        assert_ne!(manifest::sha256(&a).unwrap(), manifest::sha256(&b).unwrap());
    }
}
