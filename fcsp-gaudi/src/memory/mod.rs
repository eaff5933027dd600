//! Everything that takes or gives back device memory.
//!
//! | room | functions |
//! |---|---|
//! | [`direct`] | `synDeviceMalloc`, `synDeviceFree` |
//!
//! A buffer that is not known here always goes to the driver.

pub mod direct;

use core::convert::Infallible;

use fcsp_hook::backend::DriverMemory;
use fcsp_hook::memory::Freed;

use crate::vendor::{Gaudi, Record};

impl DriverMemory for Gaudi {
    type Origin = Infallible;

    fn leaves(_record: &Record, origin: &Infallible) -> Freed {
        match *origin {}
    }

    fn stays(_record: &Record, origin: &Infallible, _given: Freed) {
        match *origin {}
    }
}
