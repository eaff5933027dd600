//! Virtual memory calls, and external memory imported from a file descriptor.

use crate::abi::{In, Out};
use crate::export::{handle_api, same_api};
use crate::memory::Location;
use crate::vmm::{AccessDesc, BufferDesc, ExternalDesc, Prop};

handle_api! {
    fn hipMemRelease[physical handle] = vmm::cuMemRelease(handle: u64);
}

same_api! {
    fn hipMemGetAllocationGranularity = vmm::cuMemGetAllocationGranularity(size: Out<u64>, prop: In<Prop>, option: i32);
    fn hipMemAddressReserve = vmm::cuMemAddressReserve(place: Out<u64>, size: u64, align: u64, hint: u64, flags: u64);
    fn hipMemAddressFree = vmm::cuMemAddressFree(at: u64, size: u64);
    fn hipMemCreate = vmm::cuMemCreate(place: Out<u64>, size: u64, prop: In<Prop>, flags: u64);
    fn hipMemMap = vmm::cuMemMap(at: u64, size: u64, offset: u64, handle: u64, flags: u64);
    fn hipMemUnmap = vmm::cuMemUnmap(at: u64, size: u64);
    fn hipMemSetAccess = vmm::cuMemSetAccess(at: u64, size: u64, list: In<AccessDesc>, n: u64);
    fn hipMemGetAccess = vmm::cuMemGetAccess(flags: Out<u64>, location: In<Location>, at: u64);
    fn hipMemRetainAllocationHandle = vmm::cuMemRetainAllocationHandle(place: Out<u64>, at: u64);
    fn hipMemGetAllocationPropertiesFromHandle = vmm::cuMemGetAllocationPropertiesFromHandle(
        prop: Out<Prop>, handle: u64,
    );
    fn hipMemExportToShareableHandle = vmm::cuMemExportToShareableHandle(
        place: Out<i32>, handle: u64, kind: i32, flags: u64,
    );
    fn hipMemImportFromShareableHandle = vmm::cuMemImportFromShareableHandle(place: Out<u64>, fd: u64, kind: i32);
    fn hipMemMapArrayAsync = memory::cuMemMapArrayAsync(list: u64, n: u32, stream: u64);
    fn hipImportExternalMemory = vmm::cuImportExternalMemory(place: Out<u64>, desc: In<ExternalDesc>);
    fn hipExternalMemoryGetMappedBuffer = vmm::cuExternalMemoryGetMappedBuffer(
        place: Out<u64>, external: u64, desc: In<BufferDesc>,
    );
    fn hipDestroyExternalMemory = vmm::cuDestroyExternalMemory(external: u64);
}
