//! The compute share: properties of its parts, and a simulation of the whole. And the stream
//! classifier on labelled names.
#![cfg(not(loom))]

mod beside;
mod claims;
mod device;
mod floors;
mod guarantees;
mod hostile;
mod hosts;
mod labels;
mod owed;
mod parts;
mod priorities;
mod ranks;
mod scenarios;
mod sim;
mod surplus;
mod traces;
