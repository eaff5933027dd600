//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `synDeviceMalloc`, `synDeviceFree` |
//!
//! A buffer that is not known here always goes to the driver.

pub mod direct;
