//! One header, and a compiler that answers questions about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Headers that programs include together.
#[derive(Clone, Debug)]
pub struct Header {
    /// Name of this version in messages.
    pub version: &'static str,
    /// Folders for the compiler's search path.
    pub include: Vec<PathBuf>,
    /// The files, as programs include them.
    pub files: Vec<String>,
    /// True if they are C++.
    pub is_cpp: bool,
    /// Options of every run of the compiler.
    pub options: Vec<&'static str>,
    /// Options that make the header declare exported names as they are. Used for types and values.
    pub real_names: Vec<&'static str>,
    /// Lines after the includes.
    pub prelude: &'static str,
    /// Folder for temporary files.
    pub scratch: PathBuf,
}

impl Header {
    /// Describes a header in C in the folder `include`. `scratch` is cargo's temporary folder for
    /// tests.
    ///
    /// # Panics
    ///
    /// If the file is not there.
    pub fn new(version: &'static str, scratch: &str, include: PathBuf, file: &str) -> Self {
        assert!(
            include.join(file).is_file(),
            "no {file} in {}",
            include.display()
        );
        Self {
            version,
            include: vec![include],
            files: vec![file.to_owned()],
            is_cpp: false,
            options: Vec::new(),
            real_names: Vec::new(),
            prelude: "",
            scratch: Path::new(scratch).join("headers-test"),
        }
    }

    /// Reads the files, with their comments and macros.
    pub fn text(&self) -> String {
        self.files
            .iter()
            .map(|file| read(&self.include[0].join(file)))
            .collect()
    }

    /// Reads all headers in the folder of the first file.
    pub fn text_of_folder(&self) -> String {
        let file = self.include[0].join(&self.files[0]);
        let folder = file.parent().expect("a file is in a folder");
        let entries = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "h"))
            .map(|path| read(&path))
            .collect()
    }

    fn compiler(&self, options: &[&str], source: &Path) -> Command {
        let mut compiler = Command::new(if self.is_cpp { "g++" } else { "gcc" });
        for folder in &self.include {
            compiler.arg("-I").arg(folder);
        }
        compiler.args(&self.options).args(options).arg(source);
        compiler
    }

    /// Writes a source that includes the header, to a new file of this run.
    fn source(&self, text: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only the number itself must be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir_all(&self.scratch).unwrap();
        let extension = if self.is_cpp { "cpp" } else { "c" };
        let name = format!("{}-{number}.{extension}", std::process::id());
        let path = self.scratch.join(name);
        let mut source =
            String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
        for file in &self.files {
            source.push_str(&format!("#include <{file}>\n"));
        }
        source.push_str(self.prelude);
        source.push_str(text);
        std::fs::write(&path, source).unwrap();
        path
    }

    /// Returns the text that the compiler sees under some options, without comments and macros.
    pub fn preprocessed(&self, options: &[&str]) -> String {
        run(self.compiler(&[options, &["-E", "-P"]].concat(), &self.source("")))
    }

    /// Returns the names before an opening bracket, under some options. `is_function` is passed the
    /// text before a name, the name, and the text behind the bracket.
    pub fn functions(
        &self,
        options: &[&str],
        is_function: impl Fn(&str, &str, &str) -> bool,
    ) -> BTreeSet<String> {
        let text = self.preprocessed(options);
        let mut names = BTreeSet::new();
        for (open, _) in text.match_indices('(') {
            let before = text[..open].trim_end();
            let start = before
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |at| at + 1);
            let name = &before[start..];
            if is_function(&before[..start], name, &text[open + 1..]) {
                names.insert(name.to_owned());
            }
        }
        names
    }

    /// Checks the types of a source that follows the header.
    ///
    /// # Errors
    ///
    /// The compiler's messages.
    pub fn check(&self, source: &str) -> Result<(), String> {
        let source = self.source(source);
        let mut options = self.real_names.clone();
        options.extend(["-fsyntax-only", "-Wno-deprecated-declarations"]);
        if !self.is_cpp {
            options.push("-Werror=incompatible-pointer-types");
        }
        let mut compiler = self.compiler(&options, &source);
        let output = compiler
            .output()
            .expect("a C compiler is needed for this test");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Returns the output of a `main` with this body.
    pub fn printed(&self, body: &str) -> String {
        let source = self.source(&format!("int main(void) {{\n{body}return 0;\n}}\n"));
        let program = source.with_extension("out");
        let output = program.to_str().expect("the path is UTF-8");
        let options = [&self.real_names[..], &["-w", "-o", output]].concat();
        run(self.compiler(&options, &source));
        run(Command::new(program))
    }
}

/// Returns true if a name at the end of `before` is preceded by a type: it is then declared there
/// and not called.
pub fn follows_a_type(before: &str) -> bool {
    before
        .trim_end()
        .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*')
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}
