//! The answers that show a tenant its own device.
//!
//! | room | functions |
//! |---|---|
//! | [`memory`] | Synapse: `synDeviceGetMemoryInfo`, a card's properties and attributes |
//! | [`management`] | HLML: memory |
//! | [`process_memory`] | not an answer but a question: what the driver says this process holds |

pub mod management;
pub mod memory;
pub mod process_memory;
