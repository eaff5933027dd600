//! Compares the FFI of a backend with the vendor's own headers. The tests `headers` of the backends
//! are made of this.
//!
//! | module | contents |
//! |---|---|
//! | [`fetch`] | the folder with a vendor's headers, which are downloaded on first use |
//! | [`header`] | one header, and a compiler that answers questions about it |
//! | [`compare`] | layouts, values, widths and signatures against a header |
//!
//! A C compiler (`gcc`) is needed, and `g++` for headers in C++. Everything panics where a
//! comparison cannot be made: one that silently compares nothing would be worse.

pub mod compare;
pub mod fetch;
pub mod header;

pub use compare::{Spelling, absent, scalars, signatures, values};
pub use fetch::folder;
pub use header::{Header, follows_a_type};
