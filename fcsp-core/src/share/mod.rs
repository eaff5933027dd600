//! A share of a device's time.

pub mod bucket;
pub mod gate;
pub mod loss;
pub mod page;
pub mod params;
pub mod policy;
