//! Attributes of a pointer.

use crate::abi::{In, Out};
use crate::driver::driver;
use crate::export::{hip_api, same_api};
use fcsp_sim::memory::Kind;

/// `hipPointerAttribute_t`, in the form since version 6.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    kind: i32,
    device: i32,
    device_pointer: u64,
    host_pointer: u64,
    managed: i32,
    flags: u32,
}

const UNREGISTERED: i32 = 0;
const HOST: i32 = 1;
const DEVICE: i32 = 2;
const MANAGED: i32 = 3;
const ARRAY: i32 = 10;

hip_api! {
    /// Memory that nobody registered is no error since version 6.
    fn hipPointerGetAttributes(place: Out<Attributes>, at: u64) {
        place.need()?;
        let d = driver()?;
        let none = Attributes {
            kind: UNREGISTERED, device: -2, device_pointer: 0, host_pointer: 0, managed: 0, flags: 0,
        };
        let Some(r) = d.memory.find(at) else { return place.put(none) };
        let (kind, flags) = match r.kind {
            Kind::Host(f) | Kind::Registered(f) => (HOST, f),
            Kind::Managed => (MANAGED, 0),
            Kind::Array => (ARRAY, 0),
            _ => (DEVICE, 0),
        };
        let seen_by_host = matches!(kind, HOST | MANAGED);
        place.put(Attributes {
            kind,
            device: d.ordinal(r.device),
            device_pointer: at,
            host_pointer: if seen_by_host { at } else { 0 },
            managed: i32::from(kind == MANAGED),
            flags,
        })
    }
}

same_api! {
    fn hipPointerGetAttribute = pointer::cuPointerGetAttribute(place: Out<u8>, which: i32, at: u64);
    fn hipDrvPointerGetAttributes = pointer::cuPointerGetAttributes(n: u32, which: In<i32>, places: In<Out<u8>>, at: u64);
    fn hipPointerSetAttribute = pointer::cuPointerSetAttribute(value: u64, which: i32, at: u64);
}
