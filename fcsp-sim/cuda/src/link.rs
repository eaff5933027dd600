//! The linker: PTX in, one image out. What comes out is what went in, one text after the other,
//! which the loader reads; a binary among the inputs makes the whole a binary image of which
//! nothing is known.

use crate::abi::{In, Out, Text};
use crate::codes::{INVALID_VALUE, Reply};
use crate::driver::{current, driver};
use crate::export::api;
use fcsp_sim::program::Program;
use std::sync::{Mutex, PoisonError};

/// A link under way.
#[derive(Debug)]
pub struct Link {
    /// The context it belongs to.
    pub context: u64,
    image: Mutex<Vec<u8>>,
}

const BINARY: &[u8] = b"\x7fELF";

fn append(state: u64, bytes: &[u8]) -> Reply {
    let l = driver()?.links.get(state)?;
    let mut image = l.image.lock().unwrap_or_else(PoisonError::into_inner);
    if image.starts_with(BINARY) {
        return Ok(());
    }
    match bytes.first_chunk::<4>() {
        Some(first) if Program::is_binary(*first) => *image = BINARY.to_vec(),
        _ => {
            let text = String::from_utf8_lossy(bytes);
            let text = text.trim_end_matches('\0');
            Program::ptx(text)?;
            image.extend_from_slice(text.as_bytes());
            image.push(b'\n');
        }
    }
    Ok(())
}

api! {
    fn cuLinkCreate, cuLinkCreate_v2(_n: u32, _options: u64, _values: u64, place: Out<u64>) {
        place.need()?;
        let context = current()?.handle;
        place.put(driver()?.links.add(Link { context, image: Mutex::default() }))
    }
    fn cuLinkAddData, cuLinkAddData_v2(
        state: u64, _kind: i32, data: In<u8>, size: u64, _name: Text, _n: u32, _options: u64, _values: u64,
    ) {
        append(state, &data.list(size as usize)?)
    }
    fn cuLinkAddFile, cuLinkAddFile_v2(
        state: u64, _kind: i32, name: Text, _n: u32, _options: u64, _values: u64,
    ) {
        append(state, &std::fs::read(name.get()?).map_err(|_| crate::codes::FILE_NOT_FOUND)?)
    }
    fn cuLinkComplete(state: u64, image: Out<u64>, size: Out<u64>) {
        image.need()?;
        let l = driver()?.links.get(state)?;
        let mut bytes = l.image.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            return Err(INVALID_VALUE);
        }
        // The text must end where the loader stops reading; it stays in place until the link is
        // destroyed.
        if bytes.last() != Some(&0) {
            bytes.push(0);
        }
        image.set(bytes.as_ptr() as u64);
        size.set(bytes.len() as u64);
        Ok(())
    }
    fn cuLinkDestroy(state: u64) {
        driver()?.links.remove(state)?;
        Ok(())
    }
}
