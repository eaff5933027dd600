//! AMD's headers and a C compiler: what the comparisons need from outside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Compiler option that selects AMD's part of the header.
pub const PLATFORM: &str = "-D__HIP_PLATFORM_AMD__";
/// Names the older form of the properties as newer headers do.
pub const OLD_PROPERTIES: &str = "-DhipDeviceProp_tR0000=hipDeviceProp_t";

/// One header file to compare with.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name of this version in messages.
    pub version: &'static str,
    /// Folder for the compiler's search path.
    pub include: PathBuf,
    /// File name inside.
    pub file: &'static str,
    /// Options that it needs.
    pub options: &'static [&'static str],
}

impl Header {
    fn new(
        version: &'static str,
        include: PathBuf,
        file: &'static str,
        options: &'static [&'static str],
    ) -> Header {
        assert!(
            include.join(file).is_file(),
            "no {file} in {}",
            include.display()
        );
        Header {
            version,
            include,
            file,
            options,
        }
    }

    /// Reads the file, with its comments and macros.
    pub fn text(&self) -> String {
        // The folder's other headers belong to it.
        let dir = self.include.join(self.file);
        let mut text = String::new();
        for entry in std::fs::read_dir(dir.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "h") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
        text
    }

    fn gcc(&self, options: &[&str], source: &Path) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.arg("-I")
            .arg(&self.include)
            .args(self.options)
            .args(options)
            .arg(source);
        gcc
    }

    /// Include of the names that newer headers have moved to a file of their own.
    const DEPRECATED: &'static str =
        "#if __has_include(<hip/hip_deprecated.h>)\n#include <hip/hip_deprecated.h>\n#endif\n";

    fn with_include(&self, source: &str) -> String {
        let deprecated = Self::DEPRECATED;
        format!(
            "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <{}>\n{deprecated}{source}",
            self.file
        )
    }

    /// Returns the text that the compiler sees under some options, without comments and macros.
    pub fn preprocessed(&self, options: &[&str]) -> String {
        let source = scratch("c", &self.with_include(""));
        run(self.gcc(&[options, &["-E", "-P"]].concat(), &source))
    }

    /// Names beginning with one of the prefixes that are declared under some options.
    pub fn functions(&self, prefixes: &[&str], options: &[&str]) -> Vec<String> {
        let text = self.preprocessed(options);
        let mut names = Vec::new();
        for (open, _) in text.match_indices('(') {
            let before = text[..open].trim_end();
            let start = before
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |at| at + 1);
            let name = &before[start..];
            // What follows a declaration's parameters, and is not the rest of a type.
            let typed = text[..start]
                .trim_end()
                .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*');
            if typed && prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Checks the types of a source file that follows the header; the compiler's messages on
    /// failure.
    pub fn check(&self, source: &str) -> Result<(), String> {
        let source = scratch("c", &self.with_include(source));
        let options = [
            "-fsyntax-only",
            "-Wno-deprecated-declarations",
            "-Werror=incompatible-pointer-types",
        ];
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

/// The headers of one run.
#[derive(Debug)]
pub struct Headers {
    /// `hip_runtime_api.h`, newest first.
    pub hip: Vec<Header>,
    /// `rocm_smi.h`.
    pub rocm_smi: Header,
    /// Folder of AMD's Python bindings to AMD SMI.
    pub amd_smi: PathBuf,
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
    if given.is_none() && offline && !dir.join("hip7").is_dir() {
        println!(
            "SKIPPED: FCSP_OFFLINE=1 and no headers in {}",
            dir.display()
        );
        return None;
    }
    if given.is_none() && !offline {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fetch-headers.sh");
        let status = Command::new(&script).arg(&dir).arg("hip").status();
        let status = status.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(
            status.success(),
            "AMD's headers could not be fetched ({status}): set FCSP_HEADERS to a folder that \
             scripts/fetch-headers.sh filled, or FCSP_OFFLINE=1 to go without this test"
        );
    }
    let file = "hip/hip_runtime_api.h";
    let older = &[PLATFORM, OLD_PROPERTIES];
    Some(Headers {
        hip: vec![
            Header::new("HIP 7.1", dir.join("hip7"), file, &[PLATFORM]),
            Header::new("HIP 5.2", dir.join("hip5"), file, older),
        ],
        rocm_smi: Header::new(
            "ROCm SMI 5.2",
            dir.join("rocm_smi"),
            "rocm_smi/rocm_smi.h",
            &[],
        ),
        amd_smi: dir.join("amdsmi"),
    })
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
