//! Turns the committed list of names into code: a jump with its symbol version for every name that
//! the real library exports, a function that says so for what is not modelled, and the table behind
//! `hipGetProcAddress`.
//!
//! `symbols.txt`: exported symbol, symbol version; names that C++ has mangled are those of
//! functions of the same name with C arguments.

#[path = "../build/link.rs"]
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Names of functions that a room defines, with the room: after `fn`, up to the parameters. Pairs
/// stand with a comma.
fn defined(source: &str, room: &str, out: &mut BTreeMap<String, String>) {
    for prefix in ["fn hip", "fn __hip"] {
        for (at, _) in source.match_indices(prefix) {
            let head = source[at + 3..]
                .split(['(', '[', '='])
                .next()
                .unwrap_or_default();
            for name in head.split(',') {
                out.insert(name.trim().to_string(), room.to_string());
            }
        }
    }
}

/// Returns the function that a symbol names: itself, or what was mangled as `_Z<length><name>...`.
fn plain(symbol: &str) -> &str {
    let Some(rest) = symbol.strip_prefix("_Z") else {
        return symbol;
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let length: usize = rest[..digits].parse().unwrap_or(0);
    rest.get(digits..digits + length).unwrap_or(symbol)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=symbols.txt");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=../cuda/src");
    let out = std::env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let mut modelled = BTreeMap::new();
    for entry in std::fs::read_dir("src/hip")? {
        let path = entry?.path();
        let room = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_string();
        defined(&std::fs::read_to_string(&path)?, &room, &mut modelled);
    }
    let list = std::fs::read_to_string("symbols.txt")?;
    let (mut code, mut lines, mut operands, mut table) =
        (String::new(), String::new(), String::new(), String::new());
    let mut versions = BTreeSet::new();
    let mut externs = String::new();
    for (i, line) in list.lines().enumerate() {
        let (symbol, version) = line
            .split_once(' ')
            .ok_or("symbols.txt: name and version")?;
        versions.insert(version.to_string());
        let name = plain(symbol);
        let target = match modelled.get(name) {
            Some(room) => format!("crate::hip::{room}::{name}"),
            None => {
                writeln!(
                    code,
                    "pub extern \"C\" fn unmodelled_{i}() -> i32 {{ crate::export::unmodelled(\"{name}\") }}"
                )?;
                format!("unmodelled_{i}")
            }
        };
        writeln!(
            lines,
            "    \"exported {symbol}, {version}, {i}, {{f{i}}}\","
        )?;
        writeln!(operands, "    f{i} = sym {target},")?;
        writeln!(
            externs,
            "    #[link_name = \"fcsp_sim_hip_{i}\"] fn at_{i}();"
        )?;
        let (major, minor) = version
            .trim_start_matches("hip_")
            .split_once('.')
            .ok_or("a version is hip_<major>.<minor>")?;
        let number: i32 = major.parse::<i32>()? * 100 + minor.parse::<i32>()?;
        writeln!(table, "    (\"{name}\", {number}, at_{i}),")?;
    }
    // Two labels: the one that the linker exports under its version, and a hidden one for the
    // table. The addresses in the table must be this library's own whatever is preloaded before it.
    writeln!(
        code,
        r#"
#[cfg(target_arch = "x86_64")]
macro_rules! jump {{ () => {{ "jmp \\target" }}; }}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {{ () => {{ "b \\target" }}; }}
core::arch::global_asm!(
    ".text",
    ".macro exported name, version, number, target",
    ".p2align 4",
    ".globl fcsp_sim_hip_\\number",
    ".hidden fcsp_sim_hip_\\number",
    ".globl fcsp_sim_hip_exported_\\number",
    ".type fcsp_sim_hip_exported_\\number, %function",
    "fcsp_sim_hip_\\number:",
    "fcsp_sim_hip_exported_\\number:",
    jump!(),
    ".size fcsp_sim_hip_exported_\\number, . - fcsp_sim_hip_exported_\\number",
    ".symver fcsp_sim_hip_exported_\\number, \\name@@\\version",
    ".endm",
{lines}    ".purgem exported",
{operands});
unsafe extern "C" {{
{externs}}}
pub static PROCS: &[(&str, i32, unsafe extern "C" fn())] = &[
{table}];"#
    )?;
    std::fs::write(out.join("names.rs"), code)?;

    // Versions in order, each after the one before it.
    let mut script = String::new();
    let mut versions: Vec<String> = versions.into_iter().collect();
    versions.sort();
    for (i, version) in versions.iter().enumerate() {
        let before = if i == 0 { "" } else { &versions[i - 1] };
        writeln!(script, "{version} {{ }} {before};")?;
    }
    let script_path = out.join("versions.map");
    std::fs::write(&script_path, script)?;
    println!(
        "cargo:rustc-cdylib-link-arg=-Wl,--version-script={}",
        script_path.display()
    );
    link::arguments("libamdhip64.so.6");
    Ok(())
}
