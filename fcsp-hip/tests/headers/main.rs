//! Compares the FFI and the symbol tables with AMD's own headers.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh DIR hip`); `FCSP_HEADERS`
//! names a folder that holds them already, `FCSP_OFFLINE=1` goes without. A C compiler (`gcc`) is
//! needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use fcsp_headers_check::{
    Header, Spelling, absent, folder, follows_a_type, scalars, signatures, values,
};
use fcsp_hip::ffi::{self, Constant, Function, Layout};
use fcsp_hip::symbols::{self, Role, Symbol};

const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");
/// Compiler option that selects AMD's part of the header.
const PLATFORM: &str = "-D__HIP_PLATFORM_AMD__";
/// Names the older form of the properties as newer headers do.
const OLD_PROPERTIES: &str = "-DhipDeviceProp_tR0000=hipDeviceProp_t";
/// Include of the names that newer headers have moved to a file of their own.
const DEPRECATED: &str =
    "#if __has_include(<hip/hip_deprecated.h>)\n#include <hip/hip_deprecated.h>\n#endif\n";

/// The headers of one run.
struct Headers {
    /// `hip_runtime_api.h`, newest first.
    hip: [Header; 2],
    rocm_smi: Header,
    /// Folder of AMD's Python bindings to AMD SMI.
    amd_smi: PathBuf,
}

/// Returns the headers; `None` where there are none and none may be downloaded.
fn headers() -> Option<&'static Headers> {
    static HEADERS: OnceLock<Option<Headers>> = OnceLock::new();
    let find = || {
        let dir = folder(SCRATCH, "hip", "hip7")?;
        let header = |version, inside: &str, file, options: &[&'static str]| Header {
            options: options.to_vec(),
            prelude: DEPRECATED,
            ..Header::new(version, SCRATCH, dir.join(inside), file)
        };
        let file = "hip/hip_runtime_api.h";
        let older = [PLATFORM, OLD_PROPERTIES];
        Some(Headers {
            hip: [
                header("HIP 7.1", "hip7", file, &[PLATFORM]),
                header("HIP 5.2", "hip5", file, &older),
            ],
            rocm_smi: header("ROCm SMI 5.2", "rocm_smi", "rocm_smi/rocm_smi.h", &[]),
            amd_smi: dir.join("amdsmi"),
        })
    };
    HEADERS.get_or_init(find).as_ref()
}

/// Returns the names beginning with one of the prefixes that are declared.
fn functions(header: &Header, prefixes: &[&str]) -> BTreeSet<String> {
    header.functions(&[], |before, name, _| {
        follows_a_type(before) && prefixes.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Values that HIP 5 had otherwise; wrappers of what they concern say so.
const CHANGED_VALUES: &[&str] = &[
    "hipMemoryTypeHost",
    "hipMemoryTypeDevice",
    "hipMemoryTypeArray",
    "hipMemoryTypeUnified",
    "hipGraphNodeTypeGraph",
];

/// Structs and fields that HIP 5 had otherwise.
const CHANGED_STRUCTS: &[&str] = &[
    "HIP_MEMCPY3D",
    "hipPointerAttribute_t",
    "hipMemPoolProps",
    "hipMemAllocationProp",
];

/// Functions whose declared types have changed since HIP 5 without a change of what crosses the
/// boundary (constness, handles that were pointers to what they name).
const CHANGED_TYPES: &[&str] = &[
    "hipArrayCreate",
    "hipArray3DCreate",
    "hipArrayDestroy",
    "hipFreeArray",
    "hipMalloc3DArray",
    "hipMallocArray",
    "hipMemcpy2DToArray",
    "hipMemcpy2DToArrayAsync",
    "hipMemcpy2DToArray_spt",
    "hipMemcpyAtoH",
    "hipMemcpyHtoD",
    "hipMemcpyHtoDAsync",
    "hipMemcpyHtoA",
    "hipMemcpyToArray",
    "hipMipmappedArrayCreate",
    "hipMipmappedArrayDestroy",
    "hipPointerGetAttributes",
    "hipStreamGetCaptureInfo_v2",
    "hipExternalMemoryGetMappedBuffer",
];

/// Names that the libraries export and these headers do not declare.
///
/// They are older revisions under their true names, mangled C++ names, functions that compilers
/// call and a tool's callbacks. The rest belongs to the run-time compiler, to graphics or to newer
/// headers.
const ELSEWHERE: &[&str] = &[
    "__hip",
    "_Z",
    "hipRegister",
    "hipRemove",
    "hipInitActivityCallback",
    "hipEnableActivityCallback",
    "hipGetCmdName",
    "hiprtc",
    "hipGLGetDevices",
    "hipGraphicsGL",
    "hipStreamCopyAttributes",
    "hipOccupancyAvailableDynamicSMemPerBlock",
    "rsmi_compute_process_info_by_device_get",
];

const HIP: &[&str] = &["hip", "__hip"];
const RSMI: &[&str] = &["rsmi_"];

fn print_counts(what: &str, table: &[Symbol]) {
    println!("{what}: {} symbols", table.len());
    for (role, count) in symbols::counts(table) {
        println!("  {role:<10} {count:>4}");
    }
}

#[test]
fn every_declared_function_has_a_role() {
    let Some(headers) = headers() else { return };
    let mut declared: BTreeMap<String, &str> = BTreeMap::new();
    for header in &headers.hip {
        let names = functions(header, HIP);
        assert!(
            names.len() > 350,
            "{} declares only {} functions?",
            header.version,
            names.len()
        );
        declared.extend(names.into_iter().map(|name| (name, header.version)));
    }
    let names = functions(&headers.rocm_smi, RSMI);
    assert!(
        names.len() > 90,
        "rocm_smi.h declares only {} functions?",
        names.len()
    );
    declared.extend(
        names
            .into_iter()
            .map(|name| (name, headers.rocm_smi.version)),
    );

    print_counts("hip", symbols::hip());
    print_counts("rocm_smi", symbols::rocm_smi());
    print_counts("amd_smi", symbols::amd_smi());
    let missing: Vec<_> = declared
        .iter()
        .filter(|(name, _)| symbols::find(name).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "declared, and in no table: {missing:#?}"
    );

    let misspelt: Vec<_> = symbols::hip()
        .iter()
        .chain(symbols::rocm_smi())
        .filter(|symbol| !declared.contains_key(symbol.name))
        .filter(|symbol| {
            !ELSEWHERE
                .iter()
                .any(|beginning| symbol.name.starts_with(beginning))
        })
        .map(|symbol| symbol.name)
        .collect();
    assert!(
        misspelt.is_empty(),
        "in a table, and declared nowhere: {misspelt:#?}"
    );
}

/// Compares sizes, alignments, offsets and values: the names that the header lacks, or what
/// differs.
fn compare_values(
    header: &Header,
    layouts: &[Layout],
    constants: &[Constant],
    changed: bool,
) -> Result<BTreeSet<&'static str>, String> {
    // The folder's other headers belong to it.
    let mut absent = absent(&header.text_of_folder(), layouts, constants);
    absent.retain(|name| !(changed && *name == "hipDeviceProp_tR0000"));
    let is_changed = |name: &str| {
        let ty = name.split('.').next().unwrap_or(name);
        changed && (CHANGED_VALUES.contains(&name) || CHANGED_STRUCTS.contains(&ty))
    };
    absent.retain(|name| !is_changed(name));
    values(header, layouts, constants, |name| {
        !absent.contains(name) && !is_changed(name)
    })?;
    Ok(absent)
}

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    let newest = &headers.hip[0];
    let absent = compare_values(newest, ffi::hip::LAYOUTS, ffi::hip::CONSTANTS, false).unwrap();
    assert!(absent.is_empty(), "not in the newest header: {absent:?}");
    let absent = compare_values(
        &headers.hip[1],
        ffi::hip::LAYOUTS,
        ffi::hip::CONSTANTS,
        true,
    )
    .unwrap();
    println!("newer than {}: {absent:?}", headers.hip[1].version);
    assert!(absent.len() < 16, "too many to be new: {absent:?}");
    let absent = compare_values(
        &headers.rocm_smi,
        ffi::rocm_smi::LAYOUTS,
        ffi::rocm_smi::CONSTANTS,
        false,
    )
    .unwrap();
    assert!(absent.is_empty(), "not in rocm_smi.h: {absent:?}");
}

/// Scalars and handles are as wide as C's.
#[test]
fn scalars_and_handles_have_their_width() {
    let Some(headers) = headers() else { return };
    for (header, source) in [
        (&headers.hip[0], include_str!("../../src/ffi/hip.rs")),
        (&headers.rocm_smi, include_str!("../../src/ffi/rocm_smi.rs")),
    ] {
        scalars(header, Spelling::PLAIN, source, 2);
    }
}

/// Compares the types of the functions that the header declares, but for some; the names compared.
fn compare_signatures(
    header: &Header,
    prefixes: &[&str],
    lists: &[&'static [Function]],
    but: &[&str],
) -> BTreeSet<&'static str> {
    let declared = functions(header, prefixes);
    let all = lists.iter().flat_map(|list| list.iter());
    signatures(header, Spelling::PLAIN, all, |name| {
        declared.contains(name) && !but.contains(&name)
    })
}

#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    let mut compared = compare_signatures(&headers.hip[0], HIP, ffi::hip::FUNCTIONS, &[]);
    println!(
        "{}: {} signatures agree",
        headers.hip[0].version,
        compared.len()
    );
    let older = compare_signatures(&headers.hip[1], HIP, ffi::hip::FUNCTIONS, CHANGED_TYPES);
    println!(
        "{}: {} signatures agree",
        headers.hip[1].version,
        older.len()
    );
    compared.extend(older);
    let all: BTreeSet<&str> = ffi::hip::FUNCTIONS
        .iter()
        .flat_map(|list| list.iter())
        .flat_map(|f| f.names)
        .copied()
        .collect();
    let alone: Vec<_> = all
        .difference(&compared)
        .filter(|name| {
            !ELSEWHERE
                .iter()
                .any(|beginning| name.starts_with(beginning))
        })
        .collect();
    assert!(
        alone.is_empty(),
        "aliases that no header declares: {alone:?}"
    );

    let compared = compare_signatures(&headers.rocm_smi, RSMI, ffi::rocm_smi::FUNCTIONS, &[]);
    println!(
        "{}: {} signatures agree",
        headers.rocm_smi.version,
        compared.len()
    );
    assert_eq!(compared.len() + 1, ffi::rocm_smi::FUNCTIONS[0].len());
}

/// Tests the comparison itself with wrong signatures and a wrong value.
#[test]
fn a_wrong_declaration_is_caught() {
    let Some(headers) = headers() else { return };
    let header = &headers.hip[0];
    assert!(
        header
            .check("hipError_t (*p)(void **, size_t) = hipMalloc;\n")
            .is_ok()
    );
    assert!(
        header
            .check("hipError_t (*p)(void **, unsigned int) = hipMalloc;\n")
            .is_err()
    );
    assert!(
        header
            .check("hipError_t (*p)(void *) = hipMalloc;\n")
            .is_err()
    );
    let wrong = [Constant {
        name: "hipErrorOutOfMemory",
        value: 3,
    }];
    assert!(compare_values(header, &[], &wrong, false).is_err());
}

/// Checks that each function which the role tables want wrapped has a function type.
#[test]
fn everything_that_matters_has_a_type() {
    let Some(headers) = headers() else { return };
    let typed: BTreeSet<&str> = ffi::hip::FUNCTIONS
        .iter()
        .flat_map(|list| list.iter())
        .flat_map(|f| f.names)
        .copied()
        .collect();
    let declared: BTreeSet<_> = functions(&headers.hip[0], HIP);
    let untyped: Vec<_> = symbols::hip()
        .iter()
        .filter(|symbol| !matches!(symbol.role, Role::Streams | Role::Passes))
        .filter(|symbol| declared.contains(symbol.name) && !typed.contains(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    assert!(untyped.is_empty(), "{untyped:?}");
}

/// Compares functions, argument widths, structures and values with AMD's own bindings to AMD SMI.
/// The bindings are loaded without the library.
#[test]
fn amd_smi_agrees_with_amds_bindings() {
    let Some(headers) = headers() else { return };
    let mut script = String::from(
        "import ctypes, sys, types\n\
         class Anything:\n    \
             def __init__(self): self.names = {}\n    \
             def __getattr__(self, name): return self.names.setdefault(name, types.SimpleNamespace())\n\
         library = Anything()\n\
         ctypes.CDLL = lambda *arguments, **named: library\n\
         sys.dont_write_bytecode = True\n\
         sys.path.insert(0, sys.argv[1])\n\
         import amdsmi_wrapper as w\n\
         for name in sorted(library.names): print('function', name)\n",
    );
    let mut expected = Vec::new();
    for layout in ffi::amd_smi::LAYOUTS {
        let name = layout.name;
        let _ = writeln!(script, "print('{name}', ctypes.sizeof(w.{name}))");
        expected.push(format!("{name} {}", layout.size));
        for field in layout.fields {
            let path = field.name;
            let _ = writeln!(
                script,
                "print('{name}.{path}', w.{name}.{path}.offset, w.{name}.{path}.size)"
            );
            expected.push(format!("{name}.{path} {} {}", field.offset, field.size));
        }
    }
    for constant in ffi::amd_smi::CONSTANTS {
        let _ = writeln!(script, "print('{0}', w.{0})", constant.name);
        expected.push(format!("{} {}", constant.name, constant.value));
    }
    for function in ffi::amd_smi::FUNCTIONS.iter().flat_map(|list| list.iter()) {
        let name = function.names[0];
        let _ = writeln!(
            script,
            "print('{name}', *[ctypes.sizeof(t) for t in library.names['{name}'].argtypes])"
        );
        let widths: Vec<&str> = function
            .params
            .iter()
            .map(|param| match *param {
                "u32" | "amdsmi_memory_type_t" => "4",
                _ => "8",
            })
            .collect();
        expected.push(format!("{name} {}", widths.join(" ")));
    }
    let output = std::process::Command::new("python3")
        .args(["-c", &script])
        .arg(&headers.amd_smi)
        .output()
        .expect("python3 is needed for this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (functions, values): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("function "));
    let declared: BTreeSet<&str> = functions
        .iter()
        .map(|line| line.trim_start_matches("function "))
        .collect();
    assert!(
        declared.len() > 150,
        "the bindings know only {} functions?",
        declared.len()
    );
    let known: BTreeSet<&str> = symbols::amd_smi()
        .iter()
        .map(|symbol| symbol.name)
        .collect();
    assert_eq!(known, declared);
    assert_eq!(values, expected);
}
