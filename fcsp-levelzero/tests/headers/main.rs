//! Compares the FFI and the symbol tables with the official headers.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS` names a
//! folder that holds them already, `FCSP_OFFLINE=1` goes without. A C compiler (`gcc`) is needed.

mod toolchain;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fcsp_levelzero::ffi::{Constant, Function, Layout};
use fcsp_levelzero::ffi::{ddi, ze, zes, zet};
use fcsp_levelzero::loader;
use fcsp_levelzero::symbols::{self, Symbol};
use toolchain::{Header, headers};

/// The version of the headers, as the tables count.
const VERSION: u32 = 1_004;

fn tables() -> [(&'static str, &'static [Symbol]); 3] {
    [
        ("ze", symbols::ze()),
        ("zes", symbols::zes()),
        ("zet", symbols::zet()),
    ]
}

fn all_functions() -> impl Iterator<Item = &'static Function> {
    [
        ze::FUNCTIONS,
        zes::FUNCTIONS,
        zet::FUNCTIONS,
        ddi::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .flat_map(|list| list.iter())
}

#[test]
fn every_declared_function_has_a_role_and_a_type() {
    let Some(headers) = headers() else { return };
    let declared: BTreeSet<String> = headers.iter().flat_map(Header::functions).collect();
    assert!(
        declared.len() >= 289 + 53,
        "only {} functions?",
        declared.len()
    );
    for (what, table) in tables() {
        println!("{what}: {} symbols", table.len());
        for (role, count) in symbols::counts(table) {
            println!("  {role:<10} {count:>4}");
        }
    }
    let missing: Vec<_> = declared
        .iter()
        .filter(|name| symbols::find(name).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "declared, and in no table: {missing:#?}"
    );
    let misspelt: Vec<_> = tables()
        .iter()
        .flat_map(|(_, table)| table.iter())
        .filter(|symbol| symbol.since <= VERSION && !declared.contains(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    assert!(
        misspelt.is_empty(),
        "in a table, and declared nowhere: {misspelt:#?}"
    );
    let typed: BTreeSet<&str> = all_functions()
        .flat_map(|function| function.names)
        .copied()
        .collect();
    let untyped: Vec<_> = declared
        .iter()
        .filter(|name| !typed.contains(name.as_str()))
        .collect();
    assert!(
        untyped.is_empty(),
        "declared, and without a type: {untyped:#?}"
    );
}

/// Compares sizes, alignments, offsets and values: what differs.
fn compare_values(
    header: &Header,
    layouts: &[Layout],
    constants: &[Constant],
) -> Vec<(String, String)> {
    let mut body = String::new();
    let mut expected = String::new();
    for layout in layouts {
        let name = layout.name;
        let _ = writeln!(
            body,
            r#"printf("{name} %zu %zu\n", sizeof({name}), _Alignof({name}));"#
        );
        let _ = writeln!(expected, "{name} {} {}", layout.size, layout.align);
        for field in layout.fields {
            let path = field.name;
            let _ = writeln!(
                body,
                r#"printf("{name}.{path} %zu %zu\n", offsetof({name}, {path}), sizeof((({name} *)0)->{path}));"#
            );
            let _ = writeln!(expected, "{name}.{path} {} {}", field.offset, field.size);
        }
    }
    for constant in constants {
        let _ = writeln!(
            body,
            r#"printf("{0} %lld\n", (long long){0});"#,
            constant.name
        );
        let _ = writeln!(expected, "{} {}", constant.name, constant.value);
    }
    let printed = header.printed(&body);
    assert_eq!(printed.lines().count(), expected.lines().count());
    printed
        .lines()
        .zip(expected.lines())
        .filter(|(c, rust)| c != rust)
        .map(|(c, rust)| (c.to_owned(), rust.to_owned()))
        .collect()
}

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    let [core, management, _] = headers else {
        panic!("three headers")
    };
    assert_eq!(compare_values(core, ze::LAYOUTS, ze::CONSTANTS), []);
    assert_eq!(compare_values(management, zes::LAYOUTS, zes::CONSTANTS), []);
}

/// Compares the sizes of integer and handle aliases, which have no table: the source text lists
/// them.
#[test]
fn scalars_have_the_size_that_c_gives_them() {
    let Some(headers) = headers() else { return };
    let sources = [
        include_str!("../../src/ffi/ze.rs"),
        include_str!("../../src/ffi/zes.rs"),
        include_str!("../../src/ffi/zet.rs"),
    ];
    for (header, source) in headers.iter().zip(sources) {
        let mut body = String::new();
        let mut expected = String::new();
        for line in source.lines() {
            let Some((name, ty)) = line
                .strip_prefix("pub type ")
                .and_then(|rest| rest.split_once(" = "))
            else {
                continue;
            };
            let size = match ty.trim_end_matches(';') {
                "u8" => 1,
                "u32" => 4,
                ty if ty.starts_with('*') => size_of::<usize>(),
                _ => continue,
            };
            let _ = writeln!(body, r#"printf("{name} %zu\n", sizeof({name}));"#);
            let _ = writeln!(expected, "{name} {size}");
        }
        assert!(
            expected.lines().count() > 8,
            "the aliases of {} were not found in the source",
            header.file
        );
        assert_eq!(header.printed(&body), expected, "{}", header.version);
    }
}

/// Returns a Rust type as C writes it. Names stay as they are: they are C's own.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(target) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(target));
    }
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("{} const *", c_type(target));
    }
    match rust {
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "usize" => "size_t",
        "f64" => "double",
        "c_char" => "char",
        "c_void" => "void",
        name => name,
    }
    .to_owned()
}

/// Assigns each declared function to a pointer of the type that Rust gives it.
#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    for header in headers {
        let declared: BTreeSet<_> = header.functions().into_iter().collect();
        let mut source = String::new();
        for function in all_functions() {
            let params: Vec<_> = function.params.iter().map(|param| c_type(param)).collect();
            let params = if params.is_empty() {
                "void".to_owned()
            } else {
                params.join(", ")
            };
            for name in function
                .names
                .iter()
                .filter(|name| declared.contains(**name))
            {
                let _ = writeln!(
                    source,
                    "{} (*rust_{name})({params}) = {name};",
                    c_type(function.result)
                );
            }
        }
        println!("{}: {} signatures", header.version, source.lines().count());
        assert_eq!(source.lines().count(), declared.len(), "{}", header.version);
        if let Err(messages) = header.check(&source) {
            panic!("{} and Rust disagree:\n{messages}", header.version);
        }
    }
}

/// `CommandList` as the names of C's tables write it: `command_list`.
fn snake(class: &str) -> String {
    let mut out = String::new();
    for letter in class.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// Checks that each wrapper goes to the table entry that the headers give its function.
#[test]
fn wrappers_are_put_where_their_functions_are() {
    let Some(headers) = headers() else { return };
    let mut compared = 0;
    for (prefix, header) in ["ze", "zes"].iter().zip(headers) {
        let (mut body, mut expected) = (String::new(), String::new());
        for (getter, place, minor, name) in loader::PLACES {
            let class = getter
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix("Get"))
                .and_then(|rest| rest.strip_suffix("ProcAddrTable"));
            let Some(class) = class.filter(|_| *minor <= VERSION % 1_000) else {
                continue;
            };
            let rest = &name[prefix.len()..];
            let member = rest.strip_prefix(class).unwrap_or(rest);
            let table = snake(class);
            let _ = writeln!(
                body,
                r#"printf("{name} %zu\n", offsetof({prefix}_{table}_dditable_t, pfn{member}) / sizeof(void *));"#
            );
            let _ = writeln!(expected, "{name} {place}");
            compared += 1;
        }
        assert_eq!(header.printed(&body), expected, "{}", header.version);
    }
    assert!(compared > 40, "only {compared} places?");
}

/// Tests the comparison itself with one wrong signature and one wrong value.
#[test]
fn a_wrong_declaration_is_caught() {
    let Some(headers) = headers() else { return };
    let header = &headers[0];
    assert!(
        header
            .check("ze_result_t (*p)(ze_context_handle_t, void *) = zeMemFree;\n")
            .is_ok()
    );
    assert!(
        header
            .check("ze_result_t (*p)(ze_device_handle_t, void *) = zeMemFree;\n")
            .is_err()
    );
    let wrong = [Constant {
        name: "ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
        value: 3,
    }];
    assert_eq!(compare_values(header, &[], &wrong).len(), 1);
}
