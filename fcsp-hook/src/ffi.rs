//! A vendor's types, written by hand: integers, `#[repr(C)]` structs and function pointer types,
//! each list with a record of its C spelling.
//!
//! Values that cross this boundary come from the driver or from the application, and either may be
//! newer than the backend. A Rust enum would make an unknown value undefined behaviour. Every C
//! enum is therefore an integer alias with named constants. C names are kept, with one Rust alias
//! for each exported symbol. Nothing is linked: addresses come from the driver at run time.
//!
//! A backend's test `headers` compiles the records ([`Function`], [`Layout`], [`Constant`]) against
//! the vendor's headers. A wrong width, offset or value thus fails there and not in an application.

/// One function pointer alias, as text, for comparison with its C declaration.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Exported symbols of this signature; the first is the alias, the rest name the same type.
    pub names: &'static [&'static str],
    /// Result type in Rust spelling.
    pub result: &'static str,
    /// Parameter types in Rust spelling, in order.
    pub params: &'static [&'static str],
}

/// One field of a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// C spelling, with a path where C nests an unnamed struct that Rust has flattened.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// Size, alignment and fields of one struct, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// C name of the type.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// In declaration order.
    pub fields: &'static [Field],
}

/// One constant and its value.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// C name.
    pub name: &'static str,
    /// Value, widened.
    pub value: i64,
}

/// Declares function pointer types and the table of their spellings.
///
/// `name, alias, ...(argument: type, ...);` gives every name the same type, as variants of one
/// function have that differ in meaning and not in form.
#[macro_export]
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident -> $result:ty;
     $($name:ident $(, $same:ident)* ($($arg:ident: $ty:ty),* $(,)?);)*) => {
        $(
            pub type $name = unsafe extern "C" fn($($arg: $ty),*) -> $result;
            $(pub type $same = $name;)*
        )*
        $(#[$doc])*
        pub const $table: &[$crate::ffi::Function] = &[$(
            $crate::ffi::Function {
                names: &[stringify!($name) $(, stringify!($same))*],
                result: stringify!($result),
                params: &[$(stringify!($ty)),*],
            },
        )*];
    };
}

/// Declares `#[repr(C)]` structs and the table of their layouts.
///
/// `field: Type = "path"` says what C calls the field, where Rust cannot (a keyword) or where C
/// nests an unnamed struct or union. Every field type must be valid when all its bytes are zero:
/// integers, raw pointers, optional function pointers, arrays and unions of those.
#[macro_export]
macro_rules! layouts {
    ($(#[$table_doc:meta])* $table:ident;
     $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty $(= $c:literal)?,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }

            impl $name {
                /// Creates the struct with every byte zero, padding included: the state that the
                /// headers ask callers to start from.
                pub const fn zeroed() -> Self {
                    // SAFETY: `layouts!` is only given fields for which all-zero bytes are a valid
                    // value.
                    unsafe { ::core::mem::zeroed() }
                }
            }
        )*
        $(#[$table_doc])*
        pub const $table: &[$crate::ffi::Layout] = &[$(
            $crate::ffi::Layout {
                name: stringify!($name),
                size: ::core::mem::size_of::<$name>(),
                align: ::core::mem::align_of::<$name>(),
                fields: &[$(
                    $crate::ffi::Field {
                        name: [$($c,)? stringify!($field)][0],
                        offset: ::core::mem::offset_of!($name, $field),
                        size: ::core::mem::size_of::<$ty>(),
                    },
                )*],
            },
        )*];
    };
}

/// Declares constants, grouped by type, and the table of their values.
#[macro_export]
macro_rules! constants {
    ($(#[$doc:meta])* $table:ident; $($ty:ty { $($name:ident = $value:expr;)* })*) => {
        $($(pub const $name: $ty = $value;)*)*
        $(#[$doc])*
        pub const $table: &[$crate::ffi::Constant] = &[$($(
            $crate::ffi::Constant { name: stringify!($name), value: $name as i64 },
        )*)*];
    };
}
