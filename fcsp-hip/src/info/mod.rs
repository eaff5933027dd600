//! The answers that show a tenant its own device.
//!
//! | room | functions |
//! |---|---|
//! | [`memory`] | `hipMemGetInfo`, `hipDeviceTotalMem`, properties, attributes |
//! | [`management`] | ROCm SMI: memory, process lists |
//! | [`amd_smi`] | AMD SMI: the same |
//! | [`process_memory`] | not an answer but a question: what the driver says this process holds |

pub mod amd_smi;
pub mod management;
pub mod memory;
pub mod process_memory;
