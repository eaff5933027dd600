//! Sizes of the API's structures on a 64-bit host, checked when this crate is built: a structure
//! that is read or written with the wrong size is found here and not by an application.

use std::mem::size_of;

macro_rules! sizes {
    ($($t:ty = $n:literal;)*) => { $( const _: () = assert!(size_of::<$t>() == $n); )* };
}

sizes! {
    crate::array::Desc2 = 24;
    crate::array::Desc3 = 40;
    crate::context::CreateParams = 24;
    crate::copy::Copy2 = 128;
    crate::copy::Copy3 = 200;
    crate::device::Properties = 56;
    crate::graph::InstantiateParams = 32;
    crate::graph::UpdateResult = 24;
    crate::ipc::Handle = 64;
    crate::launch::Config = 56;
    crate::memory::Location = 8;
    crate::node::AllocParams = 120;
    crate::node::AnyParams = 256;
    crate::node::FillParams = 40;
    crate::node::HostParams = 16;
    crate::node::KernelParams = 72;
    crate::node::KernelParams1 = 56;
    crate::pool::Props = 88;
    crate::stream::MemOp = 48;
    crate::vmm::AccessDesc = 12;
    crate::vmm::BufferDesc = 88;
    crate::vmm::ExternalDesc = 104;
    crate::vmm::Prop = 32;
}
