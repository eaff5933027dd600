//! The answers that show a tenant its own device.
//!
//! | room | whose answers |
//! |---|---|
//! | [`memory`] | ACL's and the runtime's memory information |
//! | [`management`] | DCMI, which `npu-smi` and exporters ask |
//! | [`process_memory`] | not an answer: what DCMI says this process holds |

pub mod management;
pub mod memory;
pub mod process_memory;
