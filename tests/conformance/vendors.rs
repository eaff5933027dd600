//! The vendors: what to build, what to compile, what their words mean.

/// One vendor.
#[derive(Debug)]
pub struct Vendor {
    /// Short name, which its folder and files carry.
    pub name: &'static str,
    /// File in `clients/`.
    pub client: &'static str,
    /// Packages that make the libraries below.
    pub packages: &'static [&'static str],
    /// The preload library, as cargo names it.
    pub preload: &'static str,
    /// The simulated libraries: as cargo names them, and as programs load them.
    pub sim: &'static [(&'static str, &'static str)],
    /// Libraries that are not simulated: the folder that `scripts/fetch-headers.sh` fills,
    /// somewhere below which they are, and their names.
    pub fetched: &'static [(&'static str, &'static str)],
    /// Libraries of both that the client is linked against.
    pub linked: &'static [&'static str],
    /// Argument for `scripts/fetch-headers.sh`.
    pub fetch: &'static str,
    /// Folders for the compiler's search path, which that fills.
    pub headers: &'static [&'static str],
    /// Further options for the compiler.
    pub options: &'static [&'static str],
    /// Variables of the client's environment; `{sim}` stands for the folder of the simulated
    /// libraries.
    pub environment: &'static [(&'static str, &'static str)],
    /// The simulated machine.
    pub spec: &'static str,
    /// Bytes that a process with the device open holds there before it asks for any.
    pub context: u64,
    /// The code with which a request beyond the quota is refused.
    pub out_of_memory: i32,
    /// Routes by which its functions are found; see `clients/client.h`.
    pub routes: &'static [&'static str],
    /// A kernel of the vendor's library for collectives; empty where clients launch none.
    pub collective: &'static str,
}

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// NVIDIA.
pub static CUDA: Vendor = Vendor {
    name: "cuda",
    client: "client_cuda.c",
    packages: &["fcsp-cuda-preload", "fcsp-sim-cuda", "fcsp-sim-nvml"],
    preload: "libfcsp_cuda.so",
    sim: &[
        ("libfcsp_sim_cuda.so", "libcuda.so.1"),
        ("libfcsp_sim_nvml.so", "libnvidia-ml.so.1"),
    ],
    fetched: &[],
    linked: &["libcuda.so.1", "libnvidia-ml.so.1"],
    fetch: "cuda",
    headers: &["cuda13", "nvml"],
    options: &[],
    environment: &[],
    spec: "h100,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 2,
    routes: &["linked", "dlsym", "resolver"],
    collective: "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
};

/// Intel, and every other vendor with a driver for oneAPI Level Zero. The loader is the real one.
pub static LEVELZERO: Vendor = Vendor {
    name: "levelzero",
    client: "client_levelzero.c",
    packages: &["fcsp-levelzero-preload", "fcsp-sim-levelzero"],
    preload: "libfcsp_levelzero.so",
    sim: &[("libfcsp_sim_levelzero.so", "libze_fcsp_sim.so.1")],
    fetched: &[("levelzero-loader", "libze_loader.so.1")],
    linked: &["libze_loader.so.1"],
    fetch: "levelzero",
    headers: &["levelzero"],
    options: &[],
    environment: &[
        ("ZE_ENABLE_ALT_DRIVERS", "{sim}/libze_fcsp_sim.so.1"),
        ("ZES_ENABLE_SYSMAN", "1"),
    ],
    spec: "pvc,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 0x7000_0003,
    routes: &["linked", "dlsym", "resolver"],
    collective: "oneccl_allreduce_large_kernel",
};

/// Intel Gaudi. Its headers come with its driver only; the simulator declares what it has.
pub static GAUDI: Vendor = Vendor {
    name: "gaudi",
    client: "client_gaudi.c",
    packages: &[
        "fcsp-gaudi-preload",
        "fcsp-sim-gaudi-hlml",
        "fcsp-sim-gaudi-synapse",
    ],
    preload: "libfcsp_gaudi.so",
    sim: &[
        ("libfcsp_sim_gaudi_synapse.so", "libSynapse.so"),
        ("libfcsp_sim_gaudi_hlml.so", "libhlml.so"),
    ],
    fetched: &[],
    linked: &["libSynapse.so", "libhlml.so"],
    fetch: "",
    headers: &[],
    options: &[],
    environment: &[],
    spec: "gaudi2,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 14,
    routes: &["linked", "dlsym"],
    collective: "",
};

/// Nobody: the smallest backend, whose driver has memory and little else.
pub static EMPTY: Vendor = Vendor {
    name: "empty",
    client: "client_empty.c",
    packages: &["fcsp-empty-preload", "fcsp-sim-empty"],
    preload: "libfcsp_empty.so",
    sim: &[("libfcsp_sim_empty.so", "libempty.so.1")],
    fetched: &[],
    linked: &["libempty.so.1"],
    fetch: "",
    headers: &[],
    options: &[],
    environment: &[],
    spec: "tiny,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 2,
    routes: &["linked", "dlsym"],
    collective: "",
};

/// Huawei Ascend.
pub static ASCEND: Vendor = Vendor {
    name: "ascend",
    client: "client_ascend.c",
    packages: &[
        "fcsp-ascend-preload",
        "fcsp-sim-ascend-acl",
        "fcsp-sim-ascend-dcmi",
        "fcsp-sim-ascend-rt",
    ],
    preload: "libfcsp_ascend.so",
    sim: &[
        ("libfcsp_sim_ascend_rt.so", "libruntime.so"),
        ("libfcsp_sim_ascend_acl.so", "libascendcl.so"),
        ("libfcsp_sim_ascend_dcmi.so", "libdcmi.so"),
    ],
    fetched: &[],
    linked: &["libascendcl.so", "libruntime.so", "libdcmi.so"],
    fetch: "ascend",
    headers: &["ascend/third_party/acl/inc"],
    options: &["-Wno-deprecated-declarations"],
    environment: &[],
    spec: "910b,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 207_001,
    routes: &["linked", "dlsym"],
    collective: "",
};

/// AMD.
pub static HIP: Vendor = Vendor {
    name: "hip",
    client: "client_hip.c",
    packages: &[
        "fcsp-hip-preload",
        "fcsp-sim-amd-smi",
        "fcsp-sim-hip",
        "fcsp-sim-rocm-smi",
    ],
    preload: "libfcsp_hip.so",
    sim: &[
        ("libfcsp_sim_hip.so", "libamdhip64.so.6"),
        ("libfcsp_sim_rocm_smi.so", "librocm_smi64.so.7"),
        ("libfcsp_sim_amd_smi.so", "libamd_smi.so"),
    ],
    fetched: &[],
    linked: &["libamdhip64.so.6", "librocm_smi64.so.7"],
    fetch: "hip",
    headers: &["hip7", "rocm_smi", "amdsmi"],
    options: &["-D__HIP_PLATFORM_AMD__"],
    environment: &[],
    spec: "mi300x,memory=8GiB,context=64MiB",
    context: 64 * MIB,
    out_of_memory: 2,
    routes: &["linked", "dlsym", "dlvsym", "resolver"],
    collective: "ncclDevKernel_Generic_4",
};
