//! The compute share: properties of its parts, and a simulation of the whole.

mod device;
mod sim;
mod traces;
mod scenarios;
