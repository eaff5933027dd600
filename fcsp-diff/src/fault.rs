//! Deaths in the driver's own code beneath a wrapper that passes the call on: repeated natively,
//! they say whose fault it is.

use crate::desk::Desk;
use crate::driver::Route;
use crate::place::Place;
use crate::program::Program;
use std::time::Instant;

/// The driver's file name, and the standard library's.
const DRIVER: &str = "libcuda.so";
const STANDARD: &str = "libc.so";
/// Most native runs of one death.
const RUNS: u32 = 20;
/// Native deaths alike that are enough.
const ENOUGH: u32 = 3;

/// Native runs of a program that died under the preload library, with its predecessors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Natively {
    /// Number of runs.
    pub runs: u32,
    /// Number of runs that died in the same frames of the driver.
    pub alike: u32,
    /// Those frames, the innermost first.
    pub frames: Vec<String>,
}

/// Returns the driver's innermost frames on the stack of the thread that died, from a worker's last
/// words. The last frame is the entry of the call that the tester made: frames below only pass it
/// on. Returns `None` for other deaths, and for hangs.
pub fn drivers_frames(words: &str) -> Option<Vec<String>> {
    let mut lines = words.lines();
    let first = lines.find(|line| line.contains("signal ") && line.contains(" code "))?;
    let (before, place) = first.rsplit_once("; at ")?;
    let (_, call) = before.rsplit_once(" in ")?;
    let stack = lines
        .map(str::trim_start)
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(' ')?.1));
    // Above the interrupted place are the handler's own frames.
    let inner: Vec<&str> = stack.skip_while(|frame| *frame != place).collect();
    let outside = inner
        .iter()
        .position(|frame| !frame.starts_with(STANDARD))?;
    let end = outside
        + inner[outside..]
            .iter()
            .take_while(|frame| frame.starts_with(DRIVER))
            .count();
    let entry = inner[outside..end].last()?;
    let name = entry.split_once('(')?.1.split('+').next()?;
    (base(name) == base(call)).then(|| {
        inner[..end]
            .iter()
            .map(|frame| (*frame).to_owned())
            .collect()
    })
}

/// Returns the name of a driver function without its version and its kind of stream 0.
fn base(name: &str) -> &str {
    let name = name.strip_suffix("_ptsz").unwrap_or(name);
    let name = name.strip_suffix("_ptds").unwrap_or(name);
    match name.rsplit_once("_v") {
        Some((base, version)) if version.parse::<u32>().is_ok() => base,
        _ => name,
    }
}

/// Runs a program, after `before`, in native workers, and counts those workers which die in
/// `frames`. Ends early once they are enough.
pub fn natively(
    place: &Place,
    route: Route,
    before: &[Program],
    program: &Program,
    frames: Vec<String>,
    deadline: Option<Instant>,
) -> Natively {
    let (mut runs, mut alike) = (0, 0);
    let over = || deadline.is_some_and(|deadline| Instant::now() > deadline);
    while runs < RUNS && alike < ENOUGH && !over() {
        let mut desk = Desk::new(place, None, route);
        let mut death = desk
            .run_all(before, deadline)
            .into_iter()
            .find_map(Result::err);
        if death.is_none() {
            death = desk.run(program).err();
        }
        runs += 1;
        let same = |words: &str| drivers_frames(words).as_ref() == Some(&frames);
        alike += u32::from(death.is_some_and(|death| same(&death.stderr)));
    }
    Natively {
        runs,
        alike,
        frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "signal: 11 (SIGSEGV) over module_unload; signal 11 code 1 address 0x58 in cuCtxSynchronize; at \
         libcuda.so.1+0x2eb7d4
  #0 fcsp-diff+0xf10df
  #1 fcsp-diff+0xf0d22
  #2 libc.so.6+0x45330
  #3 libcuda.so.1+0x2eb7d4
  #4 libcuda.so.1+0x25d9e2
  #5 libcuda.so.1+0x329370 (cuCtxSynchronize+0x20)
  #6 libfcsp_cuda.so+0xa547e
  #7 fcsp-diff+0xc6ab3
thread 7405 in no driver call; at libc.so.6+0x98e4f
  #0 libc.so.6+0x98e4f
";

    #[test]
    fn the_drivers_frames_are_those_above_the_call_itself() {
        let frames = drivers_frames(WORDS).unwrap();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[0], "libcuda.so.1+0x2eb7d4");
        assert_eq!(frames[2], "libcuda.so.1+0x329370 (cuCtxSynchronize+0x20)");
        // The same natively, by another file of the tester's.
        let native = WORDS
            .replace("  #6 libfcsp_cuda.so+0xa547e\n", "")
            .replace("0xc6ab3", "0x1");
        assert_eq!(drivers_frames(&native), Some(frames));
        // An abort of the driver's comes by way of the standard library.
        let aborted = WORDS
            .replace("at libcuda.so.1+0x2eb7d4", "at libc.so.6+0x9")
            .replace("#3 ", "#3 libc.so.6+0x9\n  #3 ");
        assert_eq!(drivers_frames(&aborted).unwrap().len(), 4);
    }

    #[test]
    fn a_death_of_another_kind_has_none() {
        // A call that the library made by itself, or in its own code, or that is not known.
        for (from, to) in [
            ("in cuCtxSynchronize;", "in cuMemAlloc_v2;"),
            ("#3 libcuda.so.1+0x2eb7d4", "#3 libfcsp_cuda.so+0x1"),
            ("at libcuda", "at libfcsp_cuda"),
            (" (cuCtxSynchronize+0x20)", ""),
        ] {
            let words = WORDS.replace("         ", "").replace(from, to);
            assert_ne!(words, WORDS, "{from}");
            assert_eq!(drivers_frames(&words), None, "{from}");
        }
        assert_eq!(
            drivers_frames("hangs over end; asked at 5 s\n  #0 libcuda.so.1+0x1"),
            None
        );
        assert_eq!(base("cuStreamSynchronize_ptsz"), "cuStreamSynchronize");
        assert_eq!(base("cuMemAlloc_v2"), "cuMemAlloc");
        assert_eq!(base("cuMemcpy2D_v2_ptds"), "cuMemcpy2D");
    }
}
