//! The answers that show a tenant its own device.
//!
//! | room | functions |
//! |---|---|
//! | [`memory`] | the core's properties of devices and of the driver |
//! | [`management`] | Sysman's memory and processes |
//! | [`process_memory`] | what the driver says this process holds, for ourselves |

pub mod management;
pub mod memory;
pub mod process_memory;
