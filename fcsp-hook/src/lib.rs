//! What every backend's interception is made of, whoever the vendor is: a backend adds its tables, its bindings and what
//! its driver alone knows.
//!
//! | room | what is in it |
//! |---|---|
//! | [`library`] | a vendor's libraries and the real functions in them |
//! | [`table`] | the list of wrapped functions; the exports of a preload library |
//! | [`lookup`] | `dlsym`: ask the real one first, then swap what we wrap |
//! | [`symbols`] | tables of every function of a library, with its role |
//! | [`ffi`] | a vendor's types by hand, recorded for comparison with its headers |
//! | [`setup`] | making things once, the shield between our code and the host's, the log |
//!
//! Everything is generic or a macro, so each backend gets code of its own, with its own statics and without indirect
//! calls. Nothing here names a vendor.

pub mod ffi;
pub mod library;
pub mod lookup;
pub mod setup;
pub mod symbols;
pub mod table;
