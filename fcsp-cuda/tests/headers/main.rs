//! Compares the FFI and the symbol tables with NVIDIA's own headers.
//!
//! The headers are downloaded on first use (`scripts/fetch-headers.sh`); `FCSP_HEADERS` names a
//! folder that holds them already, `FCSP_OFFLINE=1` goes without. A C compiler (`gcc`) is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use fcsp_cuda::ffi::{self, Constant, Function, Layout};
use fcsp_cuda::symbols::{self, Role, Symbol};
use fcsp_headers_check::{Header, Spelling, absent, folder, scalars, signatures, values};

const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");
/// Asks `cuda.h` for the real names, legacy ABIs included, instead of renaming today's to their
/// versions.
const REAL_NAMES: &str = "-D__CUDA_API_VERSION_INTERNAL";
/// Asks `nvml.h` for the same.
const REAL_NVML_NAMES: &str = "-DNVML_NO_UNVERSIONED_FUNC_DEFS";

/// The headers of one run.
struct Headers {
    /// `cuda.h`, newest first.
    cuda: [Header; 2],
    nvml: Header,
}

/// Returns the headers; `None` where there are none and none may be downloaded.
fn headers() -> Option<&'static Headers> {
    static HEADERS: OnceLock<Option<Headers>> = OnceLock::new();
    let find = || {
        let dir = folder(SCRATCH, "cuda", "nvml")?;
        let header = |version, inside: &str, file, real_names| Header {
            real_names: vec![real_names],
            ..Header::new(version, SCRATCH, dir.join(inside), file)
        };
        Some(Headers {
            cuda: [
                header("cuda.h 13.5", "cuda13", "cuda.h", REAL_NAMES),
                header("cuda.h 12.9", "cuda12", "cuda.h", REAL_NAMES),
            ],
            nvml: header("nvml.h 13.5", "nvml", "nvml.h", REAL_NVML_NAMES),
        })
    };
    HEADERS.get_or_init(find).as_ref()
}

/// Returns the names beginning with `prefix` and a capital that are declared (or called) under some
/// options.
fn functions(header: &Header, prefix: &str, options: &[&str]) -> BTreeSet<String> {
    header.functions(options, |_, name, _| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

/// Fields that older headers have not, or have in another size: (version, type, field).
const CHANGED: &[(&str, &str, &str)] = &[
    // Two bytes of 12.9's `reserved[54]` have since got a name.
    ("cuda.h 12.9", "CUmemPoolProps", "gpuDirectRDMACapable"),
    ("cuda.h 12.9", "CUmemPoolProps", "reserved"),
];

/// Beginnings of names that libraries export and these headers do not declare: graphics
/// interoperation, profiler and debugger have headers of their own, or none.
const ELSEWHERE: &[&str] = &[
    "cuEGL",
    "cuGL",
    "cuGraphicsEGL",
    "cuGraphicsGL",
    "cuGraphicsResourceGetMappedEglFrame",
    "cuGraphicsVDPAU",
    "cuVDPAU",
    "cuProfiler",
    "cudbg",
    "cuMemGetAttribute",
    "nvmlInternalGetExportTable",
    "nvmlGetBlacklistDevice",
];

fn declared_cuda(header: &Header) -> BTreeSet<String> {
    let per_thread = "-DCUDA_API_PER_THREAD_DEFAULT_STREAM";
    [&[][..], &[per_thread], &[REAL_NAMES]]
        .iter()
        .flat_map(|options| functions(header, "cu", options))
        .collect()
}

fn declared_nvml(header: &Header) -> BTreeSet<String> {
    [&[][..], &[REAL_NVML_NAMES]]
        .iter()
        .flat_map(|options| functions(header, "nvml", options))
        .collect()
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
    let mut declared: BTreeMap<String, &str> = BTreeMap::new();
    for header in &headers.cuda {
        let names = declared_cuda(header);
        assert!(
            names.len() > 600,
            "{} declares only {} functions?",
            header.version,
            names.len()
        );
        declared.extend(names.into_iter().map(|name| (name, header.version)));
    }
    let names = declared_nvml(&headers.nvml);
    assert!(
        names.len() > 400,
        "{} declares only {} functions?",
        headers.nvml.version,
        names.len()
    );
    declared.extend(names.into_iter().map(|name| (name, headers.nvml.version)));

    print_counts("cuda", symbols::cuda());
    print_counts("nvml", symbols::nvml());
    let missing: Vec<_> = declared
        .iter()
        .filter(|(name, _)| symbols::find(name).is_none())
        .collect();
    assert!(
        missing.is_empty(),
        "declared, and in no table: {missing:#?}"
    );

    let misspelt: Vec<_> = symbols::cuda()
        .iter()
        .chain(symbols::nvml())
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

/// `PFN_<base>_v<version>[_ptsz]` in the typedef headers says what `cuGetProcAddress` answers from
/// which version on.
#[test]
fn versions_are_those_of_the_typedefs() {
    let Some(headers) = headers() else { return };
    let mut published = BTreeSet::new();
    for header in &headers.cuda {
        for entry in std::fs::read_dir(&header.include[0]).unwrap() {
            let path = entry.unwrap().path();
            if !path.to_str().unwrap().ends_with("Typedefs.h") {
                continue;
            }
            for piece in std::fs::read_to_string(&path)
                .unwrap()
                .split("*PFN_cu")
                .skip(1)
            {
                let name = piece.split(')').next().unwrap();
                let Some((base, version)) = name.rsplit_once("_v") else {
                    continue;
                };
                let (version, suffix) = version.split_once('_').unwrap_or((version, ""));
                published.insert((
                    format!("cu{base}"),
                    version.parse::<u32>().unwrap(),
                    suffix.to_owned(),
                ));
            }
        }
    }
    assert!(published.len() > 600, "only {} typedefs?", published.len());
    let ours: BTreeSet<_> = symbols::cuda()
        .iter()
        .filter(|symbol| symbol.since != 0)
        .map(|symbol| {
            let suffix = if symbols::per_thread_stream(symbol) {
                &symbol.name[symbol.name.len() - 4..]
            } else {
                ""
            };
            (symbol.base.to_owned(), symbol.since, suffix.to_owned())
        })
        .collect();
    // Windows and Tegra only.
    let foreign = ["cuWGLGetDevice", "cuEventCreateFromEGLSync"];
    published.retain(|(base, _, _)| !foreign.contains(&base.as_str()));
    let wrong: Vec<_> = published.symmetric_difference(&ours).collect();
    assert!(wrong.is_empty(), "published or ours, not both: {wrong:#?}");
}

/// Compares sizes, alignments, offsets and values: the names that the header lacks, or what
/// differs.
fn compare_values(
    header: &Header,
    layouts: &[Layout],
    constants: &[Constant],
) -> Result<BTreeSet<&'static str>, String> {
    let absent = absent(&header.text(), layouts, constants);
    let is_changed = |name: &str| {
        CHANGED.iter().any(|(version, ty, field)| {
            *version == header.version && name.split_once('.') == Some((*ty, *field))
        })
    };
    values(header, layouts, constants, |name| {
        !absent.contains(name) && !is_changed(name)
    })?;
    Ok(absent)
}

#[test]
fn structs_and_constants_agree() {
    let Some(headers) = headers() else { return };
    let absent =
        compare_values(&headers.cuda[0], ffi::cuda::LAYOUTS, ffi::cuda::CONSTANTS).unwrap();
    assert!(absent.is_empty(), "not in the newest cuda.h: {absent:?}");
    let absent =
        compare_values(&headers.cuda[1], ffi::cuda::LAYOUTS, ffi::cuda::CONSTANTS).unwrap();
    println!("newer than {}: {absent:?}", headers.cuda[1].version);
    assert!(absent.len() < 5, "too many to be new: {absent:?}");
    let absent = compare_values(&headers.nvml, ffi::nvml::LAYOUTS, ffi::nvml::CONSTANTS).unwrap();
    assert!(absent.is_empty(), "not in nvml.h: {absent:?}");
}

/// Compares the sizes of integer and handle aliases, which have no table: the source text lists
/// them.
#[test]
fn scalars_have_the_size_that_c_gives_them() {
    let Some(headers) = headers() else { return };
    for (header, source) in [
        (&headers.cuda[0], include_str!("../../src/ffi/cuda.rs")),
        (&headers.nvml, include_str!("../../src/ffi/nvml.rs")),
    ] {
        scalars(header, Spelling::PLAIN, source, 8);
    }
}

/// Compares the types of the functions that the header declares; the names compared.
fn compare_signatures(
    header: &Header,
    prefix: &str,
    lists: &[&'static [Function]],
) -> BTreeSet<&'static str> {
    let options: Vec<&str> = header.real_names.clone();
    let declared = functions(header, prefix, &options);
    let all = lists.iter().flat_map(|list| list.iter());
    signatures(header, Spelling::PLAIN, all, |name| declared.contains(name))
}

#[test]
fn signatures_agree() {
    let Some(headers) = headers() else { return };
    let all = |lists: &[&[Function]]| {
        lists
            .iter()
            .flat_map(|list| list.iter())
            .flat_map(|f| f.names)
            .count()
    };
    for header in &headers.cuda {
        let compared = compare_signatures(header, "cu", ffi::cuda::FUNCTIONS);
        println!("{}: {} signatures agree", header.version, compared.len());
        if header.version == headers.cuda[0].version {
            assert_eq!(
                compared.len(),
                all(ffi::cuda::FUNCTIONS),
                "an alias that the newest cuda.h does not declare"
            );
        }
    }
    let compared = compare_signatures(&headers.nvml, "nvml", ffi::nvml::FUNCTIONS);
    println!(
        "{}: {} signatures agree",
        headers.nvml.version,
        compared.len()
    );
    assert_eq!(
        compared.len(),
        all(ffi::nvml::FUNCTIONS),
        "an alias that nvml.h does not declare"
    );
}

/// Tests the comparison itself with one wrong signature and one wrong size.
#[test]
fn a_wrong_declaration_is_caught() {
    let Some(headers) = headers() else { return };
    let header = &headers.cuda[0];
    assert!(
        header
            .check("CUresult (*p)(CUdeviceptr *, size_t) = cuMemAlloc_v2;\n")
            .is_ok()
    );
    assert!(
        header
            .check("CUresult (*p)(CUdeviceptr *, unsigned int) = cuMemAlloc_v2;\n")
            .is_err()
    );
    assert!(
        header
            .check("CUresult (*p)(CUdeviceptr *, size_t) = cuMemAlloc;\n")
            .is_err()
    );
    let wrong = [Constant {
        name: "CUDA_ERROR_OUT_OF_MEMORY",
        value: 3,
    }];
    assert!(compare_values(header, &[], &wrong).is_err());
}

/// Checks that each function which the role tables want wrapped has a function type.
#[test]
fn everything_that_matters_has_a_type() {
    let Some(headers) = headers() else { return };
    let typed: BTreeSet<&str> = ffi::cuda::FUNCTIONS
        .iter()
        .flat_map(|list| list.iter())
        .flat_map(|f| f.names)
        .copied()
        .collect();
    let declared = declared_cuda(&headers.cuda[0]);
    let untyped: Vec<_> = symbols::cuda()
        .iter()
        .filter(|symbol| !matches!(symbol.role, Role::Copies | Role::Streams | Role::Passes))
        .filter(|symbol| declared.contains(symbol.name) && !typed.contains(symbol.name))
        .map(|symbol| symbol.name)
        .collect();
    // Declared by a macro only: no library exports it.
    assert_eq!(untyped, ["cuGetProcAddress_v2_ptsz"]);
}
