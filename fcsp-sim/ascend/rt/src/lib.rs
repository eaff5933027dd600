//! The simulated accelerator as `libruntime.so`: the layer under ACL, which compilers' output,
//! collectives and the operator libraries call past it. Its header is not published with the ACL
//! headers; what is here has the prototypes of the published sources of CANN.
//!
//! The device model lives here and nowhere above: `libascendcl.so` only calls this library, so a
//! call of ACL passes both.
//!
//! The modules: [`export`] how a function is exported; [`abi`] what its pointers mean; [`codes`]
//! what it returns; [`driver`] the state behind all of them; then the API, part by part.

mod abi;
mod codes;
mod copy;
mod device;
mod driver;
mod event;
mod export;
mod launch;
mod limits;
mod memory;
mod model;
mod module;
mod stream;
mod vmm;
