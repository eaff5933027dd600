//! A worker that hangs: what the system says of its threads, and their frames. It is told apart
//! whether it waits in the driver, in the library or in the tester.

use crate::crash::{DRIVERS, NO_ANSWER, TELL};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time for a thread to take the request.
const ANSWER: Duration = Duration::from_secs(2);
/// Time for it to write its frames then.
const FRAMES: Duration = Duration::from_millis(100);
/// Time limit of a debugger.
const DEBUGGER: Duration = Duration::from_secs(20);

/// Collects the system's record of each thread of a process, and a debugger's if there is one. Asks
/// each thread to write its frames to stderr.
pub fn threads(process: u32) -> String {
    let mut text = String::new();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let _ = writeln!(text, "asked at {} s", now.as_secs());
    let folder = format!("/proc/{process}/task");
    let mut numbers: Vec<i32> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let file = |number: i32, name: &str| {
        let path = Path::new(&folder).join(number.to_string()).join(name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    for &number in &numbers {
        let word = |name| file(number, name);
        let _ = writeln!(
            text,
            "task {number} ({}): waits in {}, syscall {}, stack {}",
            word("comm"),
            word("wchan"),
            word("syscall"),
            word("stack")
        );
    }
    text += &by_debugger(process);
    for number in numbers {
        // SAFETY: three integers. The process is this one's child and has not been waited for: its
        // number is its own.
        unsafe { libc::syscall(libc::SYS_tgkill, process as i32, number, TELL) };
        // The driver's own threads block all signals. They have its name.
        if file(number, "comm").starts_with(DRIVERS) {
            continue;
        }
        let deadline = Instant::now() + ANSWER;
        while is_pending(&file(number, "status")) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(FRAMES);
        if is_pending(&file(number, "status")) {
            let _ = writeln!(text, "{NO_ANSWER} {number}");
        }
    }
    text
}

/// Returns true if the signal that asks a thread is pending for it, by its status.
fn is_pending(status: &str) -> bool {
    let set = status.split("SigPnd: ").nth(1).and_then(|rest| {
        let word = rest.split(' ').next()?;
        u64::from_str_radix(word, 16).ok()
    });
    // One that has ended meanwhile waits for nothing.
    !status.is_empty() && set.is_none_or(|set| set >> (TELL - 1) & 1 == 1)
}

/// Returns the stacks of all threads from gdb; empty without it.
fn by_debugger(process: u32) -> String {
    let child = Command::new("gdb")
        .args([
            "-nx",
            "-batch",
            "-ex",
            "thread apply all backtrace 32",
            "-p",
        ])
        .arg(process.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return String::new();
    };
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut output) = output {
            let _ = std::io::Read::read_to_string(&mut output, &mut text);
        }
        text
    });
    let deadline = Instant::now() + DEBUGGER;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.wait();
    reader.join().unwrap_or_default()
}

/// Returns true if a frame of `library`, a file's name, is in the stacks that a worker has left.
/// Returns `None` if some stack is unknown.
pub fn has_frame(text: &str, library: &str) -> Option<bool> {
    let mut frames = text
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('#'));
    if frames.clone().any(|line| line.contains(library)) {
        return Some(true);
    }
    let known = frames.next().is_some() && !text.contains(NO_ANSWER);
    known.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_is_not_known_excuses_nobody() {
        let driver = "thread 7 in cuCtxSynchronize; at libcuda.so.1+0x1\n  #0 libcuda.so.1+0x1\n";
        let ours = "thread 8 in no driver call\n  #3 libfcsp_cuda.so+0x9 (cuMemAlloc_v2+0x8)\n";
        assert_eq!(has_frame(driver, "libfcsp_cuda.so"), Some(false));
        assert_eq!(
            has_frame(&[driver, ours].concat(), "libfcsp_cuda.so"),
            Some(true)
        );
        let silent = format!("{driver}{NO_ANSWER} 9\n");
        assert_eq!(has_frame(&silent, "libfcsp_cuda.so"), None);
        assert_eq!(
            has_frame("libfcsp_cuda.so refused", "libfcsp_cuda.so"),
            None
        );
    }
}
