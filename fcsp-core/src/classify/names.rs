//! Classes of kernels by their names.
//!
//! Names may be mangled, and their template arguments mention anything, so the order of the rules
//! matters. The rule whose error costs most comes first. A collective with another class may be
//! delayed while another rank waits for it. Other work with the class of a collective is not
//! charged in time. Both directions are tested on `labelled.tsv`.

use super::Class;

/// Parts of names, in lower case, that only collectives have.
const COLLECTIVE: &[&str] = &[
    "nccl",
    "rccl",
    "mscclpp",
    "msccl",
    "nvshmem",
    "roc_shmem",
    "rocshmem",
    "ishmem",
    "oneccl",
    "hccl",
    "cross_device_reduce",
    "allreduce",
    "all_reduce",
    "allgather",
    "all_gather",
    "reducescatter",
    "reduce_scatter",
    "alltoall",
    "all_to_all",
    "all2all",
    "symmetric_memory",
    "multimem_",
    "deep_ep",
    "deepep",
    "lamport",
    "quickreduce",
    "quick_reduce",
    "barrier_on_stream",
    "sync_on_stream",
    "sendrecv",
    "ibgda",
    "eplb_comm",
    // Expert-parallel dispatch and combine: each rank waits for its peers' tokens.
    "hybrid_ep",
    "nixl_ep",
    "uccl",
    "internode",
    "intranode",
    "moea2a",
    "a2a_dispatch",
    "a2a_combine",
    "a2a_kernels",
    "epdispatchintra",
    "epdispatchinter",
    "epcombineintra",
    "epcombineinter",
    "dispatch_token",
    "combine_token",
    "moedistribute",
    "moe_distribute",
    "mnnvl",
    // One-sided libraries: puts, and waits for a peer's flag.
    "shmem_",
    "signal_wait",
    "wait_signal",
    "barrier_all",
    "symm_mem",
    "userbuff",
    "push_pull_halo",
    "all_scatter",
    "collectivepermute",
    "collective_permute",
    "collectivebroadcast",
    "collective_broadcast",
];

const ATTENTION: &[&str] = &[
    "flash_fwd",
    "flash_bwd",
    "flash_attn",
    "flashattn",
    "flash_attention",
    "flashattention",
    "flashmla",
    "flash_mla",
    "fmha",
    "multihead_attention",
    "multihead",
    "attention",
    "attn",
    "sdpa",
    "pagedkv",
    "paged_kv",
    "withkvcache",
    "mergestate",
    "variablelengthmerge",
    "mmha",
    "xqa",
    "flash::",
    "flash_",
    "_fa_",
    "paged_decode",
    "paged_prefill",
];

/// Work around attention that moves memory. It is checked before [`ATTENTION`].
const AROUND_ATTENTION: &[&str] = &[
    "reshape_and_cache",
    "concat_and_cache",
    "rotary",
    "softmax",
    "soft_max",
];

const COPY: &[&str] = &[
    "memcpy",
    "memset",
    "direct_copy",
    "copy_device_to_device",
    "_copy_kernel_cuda",
    "fillfunctor",
    "fill_kernel",
    "catarraybatchedcopy",
    "copybuffer",
    "copy_f",
    "fillbuffer",
    "copy_fusion",
    "wrapped_copy",
    "copy_blocks",
    "swap_blocks",
    "cpy_",
    "copy_kernel",
    "copykernel",
];

const GEMM: &[&str] = &[
    "gemm",
    "gemv",
    "nvjet",
    "splitkreduce",
    "splitk_reduce",
    "cijk_",
    "xmma",
    "cutlass",
    "wgmma",
    "matmul",
    "mat_mul",
    "mul_mat",
    "mulmat",
    "bmm_",
    "marlin",
    "machete",
    "fused_moe_kernel",
    "fused_moe_gptq",
    "convolve",
    "convolution",
    "conv_depthwise",
    "depthwise_conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "implicit_conv",
    "fprop",
    "dgrad",
    "wgrad",
    "winograd",
    "cudnn_128x",
    "cudnn_256x",
    "s884cudnn",
    "s1688cudnn",
    "s16816cudnn",
    "scudnn",
    "hcudnn",
    "triton_mm",
    "fusion_dot",
    "gridwise",
    "wmma",
    "w8a8",
    "grouped_mm",
    "_mm_kernel",
    "matrixmul",
    "matrix_mul",
];

/// Layout conversions and statistics that carry a library's name in theirs. They are checked before
/// [`GEMM`].
const AROUND_GEMM: &[&str] = &[
    "nchwtonhwc",
    "nhwctonchw",
    "transpose",
    "im2col",
    "col2im",
    "bn_fw",
    "bn_bw",
    "pooling",
    "op_tensor",
];

const OTHER: &[&str] = &[
    "radixsort",
    "mergesort",
    "segmentedsort",
    "bitonic",
    "moe_align",
    "and_sort",
    "fft",
];

const MEMORY_BOUND: &[&str] = &[
    "elementwise",
    "reduce",
    "reduction",
    "norm",
    "softmax",
    "soft_max",
    "silu",
    "gelu",
    "relu",
    "swiglu",
    "act_and",
    "activation",
    "rope",
    "rotary",
    "embedding",
    "gather",
    "scatter",
    "index",
    "topk",
    "top_k",
    "argmax",
    "transpose",
    "permute",
    "pool",
    "bn_fw",
    "bn_bw",
    "batch_norm",
    "dropout",
    "quant",
    "cast",
    "convert",
    "reshape_and_cache",
    "concat_and_cache",
    "adam",
    "multi_tensor",
    "scan",
    "cumsum",
    "fusion",
    "wrapped_",
    "get_rows",
    "bin_bcast",
    "im2col",
    "col2im",
    "nchwtonhwc",
    "nhwctonchw",
    "op_tensor",
    "upsample",
    "concat",
    "broadcast",
    "axpy",
    "scal_",
    "cross_entropy",
    "nll_loss",
    "penalty",
    "top_p",
    "sample",
    "sampling",
    "softplus",
    "sigmoid",
    "tanh",
    "vectoradd",
    "vector_add",
    "eigenmetakernel",
    "sgd",
    "lerp",
    "pad_",
];

fn any(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.contains(part))
}

/// Returns the class of a kernel of PyTorch's inductor, whose name's prefix says its kind.
fn inductor(name: &str) -> Option<Class> {
    let rest = name.strip_prefix("triton_")?;
    let (kind, fused) = rest.split_once('_').unwrap_or((rest, ""));
    match kind {
        "poi" | "red" | "per" | "for" | "spl" => Some(Class::MemoryBound),
        "tem" if any(fused, ATTENTION) => Some(Class::Attention),
        "tem" => Some(Class::Gemm),
        _ => None,
    }
}

/// Returns the class of a kernel by its name alone. Call it once for each function handle, since it
/// reads the whole name several times.
pub fn by_name(name: &str) -> Class {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    if let Some(class) = inductor(name) {
        return class;
    }
    if any(name, COLLECTIVE) {
        return Class::Collective;
    }
    let native = name.contains("at::native") || name.contains("2at6native");
    // "prefill_kernel" is attention and no fill.
    if any(name, COPY) && !name.contains("prefill") {
        return Class::Copy;
    }
    if any(name, OTHER) {
        return Class::Other;
    }
    if any(name, ATTENTION) && !any(name, AROUND_ATTENTION) {
        return Class::Attention;
    }
    if any(name, AROUND_GEMM) {
        return Class::MemoryBound;
    }
    // PyTorch's own kernels name functors and types in their arguments. Its matrix products are in
    // libraries.
    let product = if native {
        any(name, &["conv_depthwise", "gemm"])
    } else {
        any(name, GEMM)
    };
    if product {
        return Class::Gemm;
    }
    if native || any(name, MEMORY_BOUND) {
        return Class::MemoryBound;
    }
    Class::Other
}
