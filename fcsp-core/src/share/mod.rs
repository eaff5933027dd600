//! A share of a device's time.

pub mod params;
