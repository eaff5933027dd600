//! Compares the FFI and the symbol tables with Huawei's own headers of ACL and HCCL.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS` names a
//! folder that holds them already, `FCSP_OFFLINE=1` goes without. A C and a C++ compiler (`gcc`,
//! `g++`) are needed: HCCL's header is C++.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use fcsp_ascend::ffi::{self, Constant};
use fcsp_ascend::symbols::{self, Role, Symbol};
use fcsp_headers_check::{Header, Spelling, folder, follows_a_type, scalars, signatures, values};

const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// The headers of one run. Both are compiled as C++, which compares types more strictly and is what
/// HCCL's header is written in.
struct Headers {
    /// ACL, all files.
    acl: Header,
    hccl: Header,
}

/// Returns the headers; `None` where there are none and none may be downloaded.
fn headers() -> Option<&'static Headers> {
    static HEADERS: OnceLock<Option<Headers>> = OnceLock::new();
    let find = || {
        let root = folder(SCRATCH, "ascend", "ascend")?.join("ascend");
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
        let cpp = |header| Header {
            is_cpp: true,
            // Weak references in one of the headers are not called here.
            options: vec!["-std=c++17", "-w"],
            ..header
        };
        let whole_acl = Header::new("acl/*.h 1.17", SCRATCH, acl.clone(), &files[0]);
        let whole_hccl = Header::new("hccl.h", SCRATCH, hccl.clone(), "hccl/hccl.h");
        Some(Headers {
            acl: cpp(Header { files, ..whole_acl }),
            hccl: cpp(Header {
                include: vec![hccl, acl, root],
                ..whole_hccl
            }),
        })
    };
    HEADERS.get_or_init(find).as_ref()
}

/// Returns the names of the functions that are declared.
fn functions(header: &Header, prefix: &str) -> BTreeSet<String> {
    header.functions(&[], |before, name, behind| {
        // A type of functions has a star behind the bracket.
        !behind.trim_start().starts_with('*')
            && follows_a_type(before)
            && name.starts_with(prefix)
            && !name.ends_with("_t")
            // Defined in the header itself: no library exports it.
            && name != "HcclCommConfigInit"
    })
}

fn print_counts(what: &str, table: &[Symbol]) {
    println!("{what}: {} symbols", table.len());
    for (role, count) in symbols::counts(table) {
        println!("  {role:<10} {count:>4}");
    }
}

#[test]
fn every_declared_function_has_a_role() {
    let Some(headers) = headers() else { return };
    for (header, prefix, table, least) in [
        (&headers.acl, "acl", symbols::acl(), 650),
        (&headers.hccl, "Hccl", symbols::hccl(), 40),
    ] {
        let declared = functions(header, prefix);
        assert!(
            declared.len() > least,
            "{} declares only {} functions?",
            header.version,
            declared.len()
        );
        print_counts(header.version, table);
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

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    values(&headers.acl, ffi::acl::LAYOUTS, ffi::acl::CONSTANTS, |_| {
        true
    })
    .unwrap();
    values(
        &headers.hccl,
        ffi::hccl::LAYOUTS,
        ffi::hccl::CONSTANTS,
        |_| true,
    )
    .unwrap();
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
        scalars(header, Spelling::STDINT, source, least);
    }
}

#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    for (header, lists, least) in [
        (&headers.acl, ffi::acl::FUNCTIONS, 100),
        (&headers.hccl, ffi::hccl::FUNCTIONS, 15),
    ] {
        let all = lists.iter().flat_map(|list| list.iter());
        let count = signatures(header, Spelling::STDINT, all, |_| true).len();
        println!("{}: {count} signatures agree", header.version);
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
    assert!(values(&headers.acl, &[], &wrong, |_| true).is_err());
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
