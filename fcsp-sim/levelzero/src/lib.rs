//! The simulated accelerator as a oneAPI Level Zero driver, for the loader to load.
//!
//! The loader (Debian's `libze_loader.so.1`, or another) opens this library by
//! `ZE_ENABLE_ALT_DRIVERS`, asks for its dispatch tables and calls what they hold. Every function
//! of the API's version 1.4 is in its table and exported by name. What is modelled is defined in
//! the rooms below, one a part of the API; the rest answers "unsupported feature" from functions
//! that the build script writes. A device pointer is a host address.
//!
//! The modules: [`export`] how a function is exported; [`table`] how a dispatch table is filled;
//! [`abi`] what pointers mean; [`structs`] the API's structures; [`codes`] what is returned;
//! [`driver`] the state behind all of them; then the API, part by part.

mod abi;
mod append;
mod codes;
mod context;
mod device;
mod driver;
mod event;
mod export;
mod image;
mod in_use;
mod kernel;
mod layout;
mod list;
mod memory;
mod module;
mod properties;
mod queue;
mod structs;
mod sysman;
mod table;
mod vmm;

/// What the build script made of the list of tables.
mod names {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}
