//! Memory that another process opens: an executable of its own, started for it, under the same
//! library.

use super::objects::Form;
use super::transfers::{WINDOW, pattern};
use super::{Done, Thread, code};
use crate::driver::{Driver, IpcHandle, Route};
use crate::record::{Outcome, checksum};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set for the process that opens memory: what it is to do.
pub const TASK: &str = "DIFF_IPC";
/// Reported for a process that gave no answer.
const NO_ANSWER: i32 = 9_996;

/// Runs the other process. It opens the handle on stdin, reads, writes, closes, and prints the
/// codes and a checksum of the contents. `task` is bytes and a value, separated by a space.
///
/// # Errors
/// The input or the driver cannot be read or loaded.
pub fn other_process(route: Route, task: &str) -> Result<(), String> {
    let mut words = task.split(' ').map(|word| word.parse::<u64>().unwrap_or(0));
    let (bytes, value) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    let mut handle = IpcHandle([0; 64]);
    std::io::stdin()
        .read_exact(&mut handle.0)
        .map_err(|error| error.to_string())?;
    let driver = Driver::load(route)?;
    let (mut context, mut address) = (0u64, 0u64);
    let mut contents = vec![0u8; bytes as usize];
    let source = pattern(value, bytes);
    let call = |name, arguments: &[u64]| {
        // SAFETY: places that live on, of the sizes given, and handles that the driver has just
        // made.
        unsafe { driver.call(name, arguments) }
    };
    let mut codes = vec![
        call("cuInit", &[0]),
        call("cuDevicePrimaryCtxRetain", &[&raw mut context as u64, 0]),
        call("cuCtxSetCurrent", &[context]),
    ];
    if codes.iter().all(|&code| code == 0) {
        // SAFETY: a place that lives on.
        codes.push(unsafe { driver.open_memory(&raw mut address as u64, handle, 1) });
    }
    if address != 0 {
        codes.extend([
            call(
                "cuMemcpyDtoH_v2",
                &[contents.as_mut_ptr() as u64, address, bytes],
            ),
            call("cuMemcpyHtoD_v2", &[address, source.as_ptr() as u64, bytes]),
            call("cuCtxSynchronize", &[]),
            call("cuIpcCloseMemHandle", &[address]),
        ]);
    }
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    println!("{} {}", checksum(&contents), codes.join(" "));
    Ok(())
}

impl Thread<'_> {
    pub(super) fn ipc(&mut self, id: u64, value: u64) -> Done {
        self.memory(id)
            .filter(|object| self.fits(object, false) && object.form == Form::Plain)?;
        if !self.captures.is_empty() || self.quiet() != 0 {
            return None;
        }
        let object = self.world.objects.get(id as u32);
        let mut handle = [0u8; 64];
        let got = self.call(
            "cuIpcGetMemHandle",
            &[handle.as_mut_ptr() as u64, object.handle],
        );
        if got != 0 {
            return code(got);
        }
        let known = if object.tainted { 0 } else { object.known };
        let bytes = if known > 0 {
            known
        } else {
            object.bytes.min(WINDOW)
        };
        let answer = self.answer_of_other_process(&handle, bytes, value);
        // The library looks at the device every 20 ms at most: a dead process's context may show
        // until then.
        std::thread::sleep(Duration::from_millis(25));
        let mut numbers = answer
            .split_ascii_whitespace()
            .map_while(|word| word.parse::<u64>().ok());
        let Some(sum) = numbers.next() else {
            return code(NO_ANSWER);
        };
        let codes: Vec<u64> = numbers.collect();
        let all_well = codes.len() == 8 && codes.iter().all(|&code| code == 0);
        let failed = codes.iter().find(|&&code| code != 0).copied().unwrap_or(0);
        let mut outcome = Outcome::new(failed as i32);
        for code in codes {
            outcome = outcome.exact(code);
        }
        let mut written = self.world.objects.lock(id as u32);
        if all_well {
            (written.known, written.tainted) = (bytes, false);
        } else {
            (written.known, written.tainted) = (0, true);
        }
        Some(outcome.exact(if known > 0 { sum } else { 0 }))
    }

    fn answer_of_other_process(&self, handle: &[u8; 64], bytes: u64, value: u64) -> String {
        let Ok(me) = std::env::current_exe() else {
            return String::new();
        };
        let child = Command::new(me)
            .args([
                "worker",
                "--route",
                crate::place::word(self.world.session.driver.route),
            ])
            .env(TASK, format!("{bytes} {value}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            return String::new();
        };
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(handle);
        }
        child
            .wait_with_output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }
}
