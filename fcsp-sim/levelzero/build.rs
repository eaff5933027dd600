//! Turns the committed list of dispatch tables into code: what is not modelled becomes a function
//! that says so, and each table becomes an exported getter.
//!
//! `tables.txt`: getter, function, and the version of the API since which the function is in the
//! getter's table, in the table's order.

#[path = "../build/link.rs"]
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Names of exported functions that a source file defines.
fn defined(source: &str, out: &mut BTreeSet<String>) {
    for (at, _) in source.match_indices("fn ze") {
        let name: String = source[at + 3..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        out.insert(name);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=tables.txt");
    println!("cargo:rerun-if-changed=src");
    link::arguments("libze_fcsp_sim.so.1");
    let mut modelled = BTreeSet::new();
    for entry in std::fs::read_dir("src")? {
        defined(&std::fs::read_to_string(entry?.path())?, &mut modelled);
    }
    let text = std::fs::read_to_string("tables.txt")?;
    let mut tables: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let [getter, function, since]: [&str; 3] = line
            .split(' ')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| format!("tables.txt: '{line}'"))?;
        tables.entry(getter).or_default().push((function, since));
        names.insert(function);
    }
    let mut code = String::new();
    for name in names.iter().filter(|n| !modelled.contains(**n)) {
        writeln!(
            code,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {name}() -> i32 {{ crate::export::unmodelled(\"{name}\") }}"
        )?;
    }
    writeln!(code, "unsafe extern \"C\" {{")?;
    for name in &names {
        writeln!(code, "    #[link_name = \"{name}\"] fn at_{name}();")?;
    }
    writeln!(
        code,
        "}}\npub static FUNCTIONS: &[(&str, unsafe extern \"C\" fn())] = &["
    )?;
    for name in &names {
        writeln!(code, "    (\"{name}\", at_{name}),")?;
    }
    writeln!(code, "];")?;
    for (getter, entries) in &tables {
        writeln!(
            code,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {getter}(version: u32, table: crate::abi::Out<usize>) -> i32 {{"
        )?;
        writeln!(code, "    static TABLE: &[crate::table::Entry] = &[")?;
        for (name, since) in entries {
            let (major, minor) = since.split_once('.').ok_or("a version is major.minor")?;
            let since: u32 = major.parse::<u32>()? << 16 | minor.parse::<u32>()?;
            writeln!(code, "        ({since}, at_{name}),")?;
        }
        writeln!(
            code,
            "    ];\n    crate::export::run(\"{getter}\", || crate::table::fill(version, table, TABLE))\n}}"
        )?;
    }
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("names.rs"), code)?;
    Ok(())
}
