//! Compares the FFI and the symbol tables with the official headers.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS` names a
//! folder that holds them already, `FCSP_OFFLINE=1` goes without. A C compiler (`gcc`) is needed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::OnceLock;

use fcsp_headers_check::{Header, Spelling, folder, scalars, signatures, values};
use fcsp_levelzero::ffi::{Constant, Function};
use fcsp_levelzero::ffi::{ddi, ze, zes, zet};
use fcsp_levelzero::loader;
use fcsp_levelzero::symbols::{self, Symbol};

const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// Returns the core, management and tools headers, each with the getters of its tables. `None`
/// where there are none and none may be downloaded.
fn headers() -> Option<&'static [Header; 3]> {
    static HEADERS: OnceLock<Option<[Header; 3]>> = OnceLock::new();
    let find = || {
        let dir = folder(SCRATCH, "levelzero", "levelzero")?.join("levelzero");
        let files = [
            "level_zero/ze_ddi.h",
            "level_zero/zes_ddi.h",
            "level_zero/zet_ddi.h",
        ];
        Some(files.map(|file| Header::new(file, SCRATCH, dir.clone(), file)))
    };
    HEADERS.get_or_init(find).as_ref()
}

/// Returns the names of the functions that are declared: a call of one is in no header.
fn functions(header: &Header) -> BTreeSet<String> {
    header.functions(&[], |_, name, _| {
        let prefixes = ["zes", "zet", "ze"];
        let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

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
    let declared: BTreeSet<String> = headers.iter().flat_map(functions).collect();
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

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    let [core, management, _] = headers;
    values(core, ze::LAYOUTS, ze::CONSTANTS, |_| true).unwrap();
    values(management, zes::LAYOUTS, zes::CONSTANTS, |_| true).unwrap();
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
        scalars(header, Spelling::STDINT, source, 8);
    }
}

/// Assigns each declared function to a pointer of the type that Rust gives it.
#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    for header in headers {
        let declared = functions(header);
        let compared = signatures(header, Spelling::STDINT, all_functions(), |name| {
            declared.contains(name)
        });
        println!("{}: {} signatures", header.version, compared.len());
        assert_eq!(compared.len(), declared.len(), "{}", header.version);
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
    assert!(values(header, &[], &wrong, |_| true).is_err());
}
