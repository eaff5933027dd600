//! `fcsp top` and `fcsp demo` on a terminal: they end with it, restore it whatever ends them, and
//! can be suspended.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::demo::leftovers;
use crate::{Machine, wait_for};

/// Shows the cursor and leaves the alternate screen.
const RESTORED: &str = "\x1b[?25h\x1b[?1049l";

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    /// End of the terminal that an emulator holds; `None` once it is closed.
    master: Option<File>,
    reader: Option<Reader>,
    slave: OwnedFd,
    /// Output of the program.
    screen: Arc<Mutex<Vec<u8>>>,
    before: Settings,
}

/// The terminal's settings, as far as they can be compared.
type Settings = (u32, u32, u32, u32);

fn settings(terminal: &OwnedFd) -> Settings {
    // SAFETY: termios is plain data for which all zeroes is valid; the descriptor is open.
    unsafe {
        let mut termios: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut termios), 0);
        (
            termios.c_iflag,
            termios.c_oflag,
            termios.c_cflag,
            termios.c_lflag,
        )
    }
}

impl OnTerminal {
    fn start(mut command: Command, ignore_hangup: bool) -> Self {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptors are written before the call returns; name and settings may be
        // null.
        let (master, slave) = unsafe {
            let opened = libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            );
            assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
            for end in [master, slave] {
                libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
        };
        let before = settings(&slave);
        command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap());
        // SAFETY: plain system calls, allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                // A job in the background inherits ignored signals.
                for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                if ignore_hangup {
                    libc::signal(libc::SIGHUP, libc::SIG_IGN);
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("fcsp starts");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let reader = Reader::start(master.try_clone().unwrap(), screen.clone());
        Self {
            child,
            master: Some(master),
            reader: Some(reader),
            slave,
            screen,
            before,
        }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn wait_for(&self, text: &str) {
        let mut seen = String::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !seen.contains(text) {
            assert!(
                std::time::Instant::now() < deadline,
                "no {text:?} in {seen:?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
            seen = self.screen();
        }
    }

    fn press(&mut self, bytes: &[u8]) {
        self.master.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn kill(&self, signal: libc::c_int) {
        // SAFETY: the call takes integers only; the child has not been waited for.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Closes the terminal, as an emulator that ends does.
    fn hang_up(&mut self) {
        let reader = self.reader.take().unwrap();
        reader.closing.store(true, Ordering::Relaxed);
        reader.thread.join().unwrap();
        self.master = None;
    }

    fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the program's end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Fails unless the terminal is as it was before.
    fn is_restored(&self, what: &str) {
        assert_eq!(settings(&self.slave), self.before, "{what}");
        self.wait_for(RESTORED);
        let screen = self.screen();
        let end = screen.rfind(RESTORED).unwrap();
        assert!(!screen[end..].contains("\x1b[?25l"), "{what}: {screen:?}");
    }
}

/// Reader of the program's output from the terminal, until it is told to close.
struct Reader {
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut master: File, screen: Arc<Mutex<Vec<u8>>>) -> Self {
        let closing = Arc::new(AtomicBool::new(false));
        let told = closing.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !told.load(Ordering::Relaxed) {
                let mut poll = libc::pollfd {
                    fd: master.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one entry, which outlives the call.
                if unsafe { libc::poll(&raw mut poll, 1, 20) } != 1 {
                    continue;
                }
                match master.read(&mut bytes) {
                    Ok(read @ 1..) => screen.lock().unwrap().extend_from_slice(&bytes[..read]),
                    _ => return,
                }
            }
        });
        Self { closing, thread }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TOP: (&[&str], &str) = (&["top"], "fcsp top");
const DEMO: (&[&str], &str) = (&["demo", "--seconds", "60"], "fcsp demo");

fn shown(machine: &Machine, (args, title): (&[&str], &str), ignore_hangup: bool) -> OnTerminal {
    let program = OnTerminal::start(machine.command(args), ignore_hangup);
    program.wait_for(title);
    program
}

#[test]
fn whatever_ends_a_picture_restores_the_terminal() {
    let machine = Machine::new();
    for picture in [TOP, DEMO] {
        for signal in [
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGUSR1,
        ] {
            let mut program = shown(&machine, picture, false);
            program.kill(signal);
            let status = program.ends();
            assert_eq!(status.signal(), Some(signal), "{}", picture.1);
            program.is_restored(&format!("{} and signal {signal}", picture.1));
            assert!(!leftovers(program.child.id()));
        }
        for key in [&b"q"[..], b"\x03", b"\x1b"] {
            let mut program = shown(&machine, picture, false);
            program.press(key);
            assert_eq!(program.ends().code(), Some(0), "{}: {key:?}", picture.1);
            program.is_restored(picture.1);
        }
    }
}

#[test]
fn a_picture_ends_with_its_terminal() {
    let machine = Machine::new();
    for picture in [TOP, DEMO] {
        for ignore_hangup in [false, true] {
            let mut program = shown(&machine, picture, ignore_hangup);
            let pid = program.child.id();
            program.hang_up();
            let status = program.ends();
            match ignore_hangup {
                false => assert_eq!(status.signal(), Some(libc::SIGHUP), "{}", picture.1),
                true => assert_eq!(status.code(), Some(125), "{}", picture.1),
            }
            assert!(!leftovers(pid));
        }
    }
}

#[test]
fn a_suspended_picture_gives_the_terminal_back_and_is_drawn_anew() {
    let machine = Machine::new();
    for (args, title) in [TOP, DEMO] {
        let script = format!(
            "set -m; {} {}; echo stopped with $?; fg; echo over with $?",
            env!("CARGO_BIN_EXE_fcsp"),
            args.join(" ")
        );
        let mut command = machine.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        command = shell;
        let mut program = OnTerminal::start(command, false);
        program.wait_for(title);
        program.press(b"\x1a");
        program.wait_for("stopped with 148");
        let screen = program.screen();
        let (before, after) = screen.split_once("stopped with 148").unwrap();
        assert!(before.contains(RESTORED), "{before:?}");
        assert!(!after.starts_with("\x1b[?1049h"));
        wait_for("the picture after the suspension", || {
            let screen = program.screen();
            let after = screen.rsplit("stopped with 148").next().unwrap().to_owned();
            after.contains("\x1b[?1049h") && after.contains(title)
        });
        program.press(b"q");
        program.wait_for("over with 0");
        assert!(program.ends().success());
        program.is_restored(title);
    }
}
