//! Huawei's headers and a compiler: what the comparisons need from outside. Everything is compiled
//! as C++, which compares types more strictly and is what HCCL's header is written in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Some header files to compare with.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name of these headers in messages.
    pub what: &'static str,
    /// Folders for the compiler's search path.
    include: Vec<PathBuf>,
    /// The files, as programs include them.
    files: Vec<String>,
    /// Prefix of their functions' names.
    prefix: &'static str,
}

impl Header {
    fn gcc(&self, options: &[&str], source: &Path) -> Command {
        let mut gcc = Command::new("g++");
        for folder in &self.include {
            gcc.arg("-I").arg(folder);
        }
        // Weak references in one of the headers are not called here.
        gcc.args(["-std=c++17", "-w"]).args(options).arg(source);
        gcc
    }

    fn with_includes(&self, source: &str) -> String {
        let mut text =
            String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
        for file in &self.files {
            text.push_str(&format!("#include <{file}>\n"));
        }
        text + source
    }

    /// Names of functions that are declared.
    pub fn functions(&self) -> BTreeSet<String> {
        let source = scratch(&self.with_includes(""));
        let text = run(self.gcc(&["-E", "-P"], &source)).unwrap();
        let mut names = BTreeSet::new();
        for (open, _) in text.match_indices('(') {
            let before = text[..open].trim_end();
            let start = before
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |at| at + 1);
            let name = &before[start..];
            // A type of functions has a star behind the bracket.
            if text[open + 1..].trim_start().starts_with('*') {
                continue;
            }
            // A declaration has a type before the name; a call comes first in its statement.
            let declares = before[..start]
                .trim_end()
                .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*');
            if declares && name.starts_with(self.prefix) && !name.ends_with("_t") {
                names.insert(name.to_owned());
            }
        }
        // Defined in the header itself: no library exports it.
        names.remove("HcclCommConfigInit");
        names
    }

    /// Checks the types of a source file that follows the headers; the compiler's messages on
    /// failure.
    pub fn check(&self, source: &str) -> Result<(), String> {
        let source = scratch(&self.with_includes(source));
        run(self.gcc(&["-fsyntax-only"], &source)).map(|_| ())
    }

    /// Returns the output of a `main` with this body.
    pub fn printed(&self, body: &str) -> Result<String, String> {
        let source = scratch(&self.with_includes(&format!("int main() {{\n{body}return 0;\n}}\n")));
        let program = source.with_extension("out");
        run(self.gcc(&["-o", program.to_str().unwrap()], &source))?;
        run(Command::new(program))
    }
}

/// The headers of one run.
#[derive(Debug)]
pub struct Headers {
    /// ACL, all files.
    pub acl: Header,
    /// HCCL.
    pub hccl: Header,
}

/// Returns the headers, which are fetched on first use.
///
/// Prints a line and returns `None` where `FCSP_OFFLINE=1` and there are none.
///
///  # Panics
///
/// If the headers cannot be had and `FCSP_OFFLINE=1` is not set: a comparison that silently
/// compares nothing would be worse.
pub fn headers() -> Option<&'static Headers> {
    static HEADERS: OnceLock<Option<Headers>> = OnceLock::new();
    HEADERS.get_or_init(find).as_ref()
}

fn find() -> Option<Headers> {
    let given = std::env::var_os("FCSP_HEADERS").map(PathBuf::from);
    let offline = std::env::var_os("FCSP_OFFLINE").is_some_and(|value| value == "1");
    let dir = given
        .clone()
        .unwrap_or_else(|| target_dir().join("headers"));
    if given.is_none() && offline && !dir.join("ascend").is_dir() {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    if given.is_none() && !offline {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-headers.sh");
        let status = Command::new(&script).arg(&dir).arg("ascend").status();
        let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(
            status.success(),
            "Huawei's headers could not be fetched ({status}): set FCSP_HEADERS to a folder that \
             scripts/fetch-headers.sh filled, or FCSP_OFFLINE=1 to go without this test"
        );
    }
    let root = dir.join("ascend");
    let acl = root.join("third_party/acl/inc");
    let hccl = root.join("third_party/hccl/inc");
    // Every file, so that one which is added is compared as well.
    let mut files = Vec::new();
    for folder in ["acl", "acl/ops"] {
        for entry in std::fs::read_dir(acl.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".h") {
                files.push(format!("{folder}/{name}"));
            }
        }
    }
    files.sort();
    Some(Headers {
        acl: Header {
            what: "acl/*.h 1.17",
            include: vec![acl.clone()],
            files,
            prefix: "acl",
        },
        hccl: Header {
            what: "hccl.h",
            include: vec![hccl, acl, root.clone()],
            files: vec!["hccl/hccl.h".to_owned()],
            prefix: "Hccl",
        },
    })
}

fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's temporary folder lies in the target folder")
}

/// Writes this text to a new file of this run.
fn scratch(text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only the number itself must be unique.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headers-test-ascend");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{}-{number}.cpp", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn run(mut command: Command) -> Result<String, String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
