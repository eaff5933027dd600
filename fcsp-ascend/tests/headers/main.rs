//! Compares the FFI and the symbol tables with Huawei's own headers of ACL and HCCL.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS` names a
//! folder that holds them already, `FCSP_OFFLINE=1` goes without. A C and a C++ compiler (`gcc`,
//! `g++`) are needed: HCCL's header is C++.

mod toolchain;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fcsp_ascend::ffi::{self, Constant, Function, Layout};
use fcsp_ascend::symbols::{self, Role, Symbol};
use toolchain::{Header, headers};

fn print_counts(what: &str, table: &[Symbol]) {
    println!("{what}: {} symbols", table.len());
    for (role, count) in symbols::counts(table) {
        println!("  {role:<10} {count:>4}");
    }
}

#[test]
fn every_declared_function_has_a_role() {
    let Some(headers) = headers() else { return };
    for (header, table, least) in [
        (&headers.acl, symbols::acl(), 650),
        (&headers.hccl, symbols::hccl(), 40),
    ] {
        let declared = header.functions();
        assert!(
            declared.len() > least,
            "{} declares only {} functions?",
            header.what,
            declared.len()
        );
        print_counts(header.what, table);
        let missing: Vec<_> = declared
            .iter()
            .filter(|name| !table.iter().any(|symbol| symbol.name == **name))
            .collect();
        assert!(
            missing.is_empty(),
            "declared, and in no table: {missing:#?}"
        );
        let misspelt: Vec<_> = table
            .iter()
            .filter(|symbol| !declared.contains(symbol.name))
            .map(|symbol| symbol.name)
            .collect();
        assert!(
            misspelt.is_empty(),
            "in a table, and declared nowhere: {misspelt:#?}"
        );
    }
    // Not comparable with anything published beside these headers.
    print_counts("rt, as far as it is known", symbols::rt());
    print_counts("dcmi", symbols::dcmi());
}

/// Compares sizes, alignments, offsets and values; what differs.
fn compare_values(
    header: &Header,
    layouts: &[Layout],
    constants: &[Constant],
) -> Result<(), String> {
    let mut body = String::new();
    let mut expected = String::new();
    for layout in layouts {
        let name = layout.name;
        let _ = writeln!(
            body,
            r#"printf("{name} %zu %zu\n", sizeof({name}), alignof({name}));"#
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
    let printed = header.printed(&body)?;
    assert_eq!(printed.lines().count(), expected.lines().count());
    let wrong: Vec<_> = printed
        .lines()
        .zip(expected.lines())
        .filter(|(c, rust)| c != rust)
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{} and Rust disagree: {wrong:#?}", header.what))
    }
}

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    compare_values(&headers.acl, ffi::acl::LAYOUTS, ffi::acl::CONSTANTS).unwrap();
    compare_values(&headers.hccl, ffi::hccl::LAYOUTS, ffi::hccl::CONSTANTS).unwrap();
}

/// Compares the sizes of integer and handle aliases, which have no table: the source text lists
/// them.
#[test]
fn scalars_have_the_size_that_c_gives_them() {
    let Some(headers) = headers() else { return };
    let sources = [
        (&headers.acl, include_str!("../../src/ffi/acl.rs"), 20),
        (&headers.hccl, include_str!("../../src/ffi/hccl.rs"), 3),
    ];
    for (header, source, least) in sources {
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
                "i8" => 1,
                "u16" => 2,
                "i32" | "u32" => 4,
                "u64" => 8,
                ty if ty.starts_with('*') || ty.starts_with("Option<unsafe extern") => {
                    size_of::<usize>()
                }
                _ => continue,
            };
            let _ = writeln!(body, r#"printf("{name} %zu\n", sizeof({name}));"#);
            let _ = writeln!(expected, "{name} {size}");
        }
        assert!(
            expected.lines().count() > least,
            "the aliases of {} were not found in the source",
            header.what
        );
        assert_eq!(header.printed(&body).unwrap(), expected, "{}", header.what);
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
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "usize" => "size_t",
        "f32" => "float",
        "c_char" => "char",
        "c_void" => "void",
        name => name,
    }
    .to_owned()
}

/// Assigns each declared function to a pointer of the type that Rust gives it.
fn signatures(lists: &[&[Function]]) -> (String, usize) {
    let mut source = String::new();
    let mut count = 0;
    for function in lists.iter().flat_map(|list| list.iter()) {
        let params: Vec<_> = function.params.iter().map(|param| c_type(param)).collect();
        for name in function.names {
            let _ = writeln!(
                source,
                "{} (*rust_{name})({}) = {name};",
                c_type(function.result),
                params.join(", ")
            );
            count += 1;
        }
    }
    (source, count)
}

#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    for (header, lists, least) in [
        (&headers.acl, ffi::acl::FUNCTIONS, 100),
        (&headers.hccl, ffi::hccl::FUNCTIONS, 15),
    ] {
        let (source, count) = signatures(lists);
        if let Err(messages) = header.check(&source) {
            panic!("{} and Rust disagree:\n{messages}", header.what);
        }
        println!("{}: {count} signatures agree", header.what);
        assert!(count > least);
    }
}

/// Tests the comparison itself with wrong signatures and a wrong value.
#[test]
fn a_wrong_declaration_is_caught() {
    let Some(headers) = headers() else { return };
    let good = "aclError (*p)(void * *, size_t, aclrtMemMallocPolicy) = aclrtMalloc;\n";
    assert!(headers.acl.check(good).is_ok());
    for (right, wrong) in [
        ("size_t", "uint32_t"),
        ("void * *", "void *"),
        ("aclrtMalloc;", "aclrtFree;"),
    ] {
        assert!(
            headers.acl.check(&good.replace(right, wrong)).is_err(),
            "{wrong}"
        );
    }
    let wrong = [Constant {
        name: "ACL_ERROR_INVALID_PARAM",
        value: 3,
    }];
    assert!(compare_values(&headers.acl, &[], &wrong).is_err());
}

/// Checks that each function which the role tables want wrapped has a function type.
#[test]
fn everything_that_matters_has_a_type() {
    let mut typed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (what, lists) in [("acl", ffi::acl::FUNCTIONS), ("hccl", ffi::hccl::FUNCTIONS)] {
        let names = lists
            .iter()
            .flat_map(|list| list.iter())
            .flat_map(|f| f.names);
        typed.entry(what).or_default().extend(names);
    }
    for (what, table) in [("acl", symbols::acl()), ("hccl", symbols::hccl())] {
        let untyped: Vec<_> = table
            .iter()
            .filter(|symbol| !matches!(symbol.role, Role::Copies | Role::Streams | Role::Passes))
            .filter(|symbol| !typed[what].contains(symbol.name))
            .map(|symbol| symbol.name)
            .collect();
        assert_eq!(untyped, Vec::<&str>::new(), "{what}");
    }
}
