//! Level Zero's headers and a C compiler: what the comparisons need from outside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// One header file to compare with.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name of this version in messages.
    pub version: &'static str,
    /// Folder for the compiler's search path.
    pub include: PathBuf,
    /// File name inside.
    pub file: &'static str,
}

impl Header {
    fn new(version: &'static str, include: PathBuf, file: &'static str) -> Header {
        assert!(
            include.join(file).is_file(),
            "no {file} in {}",
            include.display()
        );
        Header {
            version,
            include,
            file,
        }
    }

    fn gcc(&self, options: &[&str], source: &Path) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.arg("-I").arg(&self.include).args(options).arg(source);
        gcc
    }

    fn with_include(&self, source: &str) -> String {
        format!(
            "#include <stddef.h>\n#include <stdio.h>\n#include <{}>\n{source}",
            self.file
        )
    }

    /// Names of the functions that are declared: a call of one is in no header.
    pub fn functions(&self) -> Vec<String> {
        let source = scratch("c", &format!("#include <{}>\n", self.file));
        let text = run(self.gcc(&["-E", "-P"], &source));
        let mut names: Vec<String> = text
            .match_indices('(')
            .map(|(open, _)| {
                let before = text[..open].trim_end();
                let start = before
                    .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .map_or(0, |at| at + 1);
                before[start..].to_owned()
            })
            .filter(|name| {
                let rest = ["zes", "zet", "ze"]
                    .iter()
                    .find_map(|prefix| name.strip_prefix(prefix));
                rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Checks the types of a source file that follows the header; the compiler's messages on
    /// failure.
    pub fn check(&self, source: &str) -> Result<(), String> {
        let source = scratch("c", &self.with_include(source));
        let options = ["-fsyntax-only", "-Werror=incompatible-pointer-types"];
        let output = self
            .gcc(&options, &source)
            .output()
            .expect("gcc is needed for this test");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Returns the output of a `main` with this body.
    pub fn printed(&self, body: &str) -> String {
        let source = scratch(
            "c",
            &self.with_include(&format!("int main(void) {{\n{body}return 0;\n}}\n")),
        );
        let program = source.with_extension("out");
        run(self.gcc(&["-w", "-o", program.to_str().unwrap()], &source));
        run(Command::new(program))
    }
}

/// Returns the headers, which are fetched on first use.
///
/// Prints a line and returns `None` where `FCSP_OFFLINE=1` and there are none.
///
///  # Panics
///
/// If the headers cannot be had and `FCSP_OFFLINE=1` is not set: a comparison that silently
/// compares nothing would be worse.
pub fn headers() -> Option<&'static [Header]> {
    static HEADERS: OnceLock<Option<Vec<Header>>> = OnceLock::new();
    HEADERS.get_or_init(find).as_deref()
}

/// Finds the core, management and tools headers, each with the getters of its tables.
fn find() -> Option<Vec<Header>> {
    let given = std::env::var_os("FCSP_HEADERS").map(PathBuf::from);
    let offline = std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1");
    let dir = given
        .clone()
        .unwrap_or_else(|| target_dir().join("headers"));
    if given.is_none() && offline && !dir.join("levelzero").is_dir() {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    if given.is_none() && !offline {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-headers.sh");
        let status = Command::new(&script).arg(&dir).arg("levelzero").status();
        let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(
            status.success(),
            "Level Zero's headers could not be fetched ({status}): set FCSP_HEADERS to a folder that \
             scripts/fetch-headers.sh filled, or FCSP_OFFLINE=1 to go without this test"
        );
    }
    let folder = dir.join("levelzero");
    Some(
        [
            "level_zero/ze_ddi.h",
            "level_zero/zes_ddi.h",
            "level_zero/zet_ddi.h",
        ]
        .map(|file| Header::new(file, folder.clone(), file))
        .into(),
    )
}

fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's temporary folder lies in the target folder")
}

/// Writes this text to a new file of this run.
fn scratch(extension: &str, text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only the number itself must be unique.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers-test");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{}-{number}.{extension}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn run(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}
