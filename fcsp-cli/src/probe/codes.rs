//! Codes of NVIDIA's libraries: their meaning on a machine, and the remedy.
//!
//! Names and numbers are those of `cuda.h` (CUresult) and `nvml.h` (nvmlReturn_t).

/// A code that says something of the machine and not of the call.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    number: i32,
    /// Its name in the header.
    pub name: &'static str,
    /// Meaning of the code.
    pub meaning: &'static str,
    /// Advice to the user.
    pub remedy: &'static str,
}

const fn code(
    number: i32,
    name: &'static str,
    meaning: &'static str,
    remedy: &'static str,
) -> Code {
    Code {
        number,
        name,
        meaning,
        remedy,
    }
}

const MISMATCH: &str = "install library and kernel module of one release, or restart the machine after an update; \
     in a container, use the host's libraries";
const MPS: &str = "start the MPS daemon as this user (nvidia-cuda-mps-control -d), or unset CUDA_MPS_PIPE_DIRECTORY";

const CUDA: [Code; 18] = [
    code(
        2,
        "CUDA_ERROR_OUT_OF_MEMORY",
        "a device has no memory left for a context",
        "nvidia-smi says who holds it",
    ),
    code(
        34,
        "CUDA_ERROR_STUB_LIBRARY",
        "this libcuda is the toolkit's stub, for linking only",
        "take the toolkit's stubs folder out of LD_LIBRARY_PATH",
    ),
    code(
        46,
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        "a device is busy in exclusive mode, or not to be had",
        "nvidia-smi -q -d COMPUTE shows the mode; nvidia-smi -c 0 lets several processes use the device",
    ),
    code(
        100,
        "CUDA_ERROR_NO_DEVICE",
        "no device is visible",
        "check CUDA_VISIBLE_DEVICES, and in a container NVIDIA_VISIBLE_DEVICES and the list of devices",
    ),
    code(
        101,
        "CUDA_ERROR_INVALID_DEVICE",
        "a device that was named does not exist",
        "check CUDA_VISIBLE_DEVICES",
    ),
    code(
        103,
        "CUDA_ERROR_DEVICE_NOT_LICENSED",
        "the virtual GPU has no licence",
        "check the vGPU licence server (nvidia-smi -q shows the state)",
    ),
    code(
        209,
        "CUDA_ERROR_NO_BINARY_FOR_GPU",
        "the driver knows no such device",
        "install a newer driver",
    ),
    code(
        304,
        "CUDA_ERROR_OPERATING_SYSTEM",
        "a system call failed",
        "check that this user may open /dev/nvidia*, and the limits on open files and locked memory (ulimit -a)",
    ),
    code(
        800,
        "CUDA_ERROR_NOT_PERMITTED",
        "the system forbids it to this user",
        "check the permissions of /dev/nvidia* and the container's device rules",
    ),
    code(
        802,
        "CUDA_ERROR_SYSTEM_NOT_READY",
        "the fabric between the devices is not set up",
        "start nvidia-fabricmanager, of the driver's release",
    ),
    code(
        803,
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "library and kernel module have different versions",
        MISMATCH,
    ),
    code(
        804,
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        "a forward-compatibility libcuda is in use, which these devices or this driver do not support",
        "take the compat folder (/usr/local/cuda/compat, the package cuda-compat) out of LD_LIBRARY_PATH and \
         ld.so.conf, or update the driver",
    ),
    code(
        805,
        "CUDA_ERROR_MPS_CONNECTION_FAILED",
        "the MPS daemon cannot be reached",
        MPS,
    ),
    code(
        806,
        "CUDA_ERROR_MPS_RPC_FAILURE",
        "the MPS server does not answer",
        MPS,
    ),
    code(
        807,
        "CUDA_ERROR_MPS_SERVER_NOT_READY",
        "the MPS server is not ready",
        MPS,
    ),
    code(
        808,
        "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED",
        "the MPS server has no place for another client",
        MPS,
    ),
    code(
        809,
        "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED",
        "the MPS server has no connection left",
        MPS,
    ),
    code(
        999,
        "CUDA_ERROR_UNKNOWN",
        "the driver failed for a reason that it does not tell",
        "often nvidia_uvm after a suspension or a half-done update: rmmod nvidia_uvm && modprobe nvidia_uvm, or \
         restart; `dmesg | grep -i nvrm` says more",
    ),
];

const NVML: [Code; 8] = [
    code(
        4,
        "NVML_ERROR_NO_PERMISSION",
        "this user may not ask",
        "check the permissions of /dev/nvidia*",
    ),
    code(
        9,
        "NVML_ERROR_DRIVER_NOT_LOADED",
        "the kernel module is not loaded",
        "modprobe nvidia; `dmesg | grep -i nvrm` says why it does not load",
    ),
    code(
        12,
        "NVML_ERROR_LIBRARY_NOT_FOUND",
        "a library that the management library needs is missing",
        "reinstall the driver's user-space part",
    ),
    code(
        15,
        "NVML_ERROR_GPU_IS_LOST",
        "a device has fallen off the bus",
        "restart the machine; `dmesg | grep -i xid` says what happened",
    ),
    code(
        16,
        "NVML_ERROR_RESET_REQUIRED",
        "a device must be reset",
        "nvidia-smi --gpu-reset, with nothing running on it",
    ),
    code(
        17,
        "NVML_ERROR_OPERATING_SYSTEM",
        "the system or a container blocks the device",
        "check the container's device rules and /dev/nvidia*",
    ),
    code(
        18,
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        "library and kernel module have different versions",
        MISMATCH,
    ),
    code(
        999,
        "NVML_ERROR_UNKNOWN",
        "the driver failed for a reason that it does not tell",
        "restart the machine; `dmesg | grep -i nvrm` says more",
    ),
];

/// Finds a code of the compute library.
pub fn cuda(number: i32) -> Option<&'static Code> {
    CUDA.iter().find(|code| code.number == number)
}

/// Finds a code of the management library.
pub fn nvml(number: i32) -> Option<&'static Code> {
    NVML.iter().find(|code| code.number == number)
}

/// Describes a failed call in words.
pub fn sentence(call: &str, number: i32, known: Option<&Code>) -> String {
    match known {
        Some(code) => format!("{call}: {} ({number}, {})", code.meaning, code.name),
        None => format!("{call}: error {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_have_remedies() {
        for table in [&CUDA[..], &NVML[..]] {
            assert!(table.windows(2).all(|pair| pair[0].number < pair[1].number));
            assert!(table.iter().all(|code| code.remedy.len() > 10));
        }
        assert_eq!(
            sentence("cuInit", 804, cuda(804)),
            "cuInit: a forward-compatibility libcuda is in use, which these devices or this driver do not support \
             (804, CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE)"
        );
        assert_eq!(
            sentence("cuInit", 12345, cuda(12345)),
            "cuInit: error 12345"
        );
    }
}
