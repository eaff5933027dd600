//! Misuse of the simulated drivers of HIP, Level Zero, Ascend and Gaudi: what a real driver answers
//! with a code, and what it would crash on, where the simulated one ends the program with a line
//! that says why.
//!
//! A C client a vendor, which loads the vendor's library by name and needs nobody's headers. Each
//! scenario is a process on a machine of its own.

mod ascend;
mod bench;
mod gaudi;
mod hip;
mod levelzero;
