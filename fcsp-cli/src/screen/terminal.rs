//! The terminal while a live picture is on it: raw mode, the alternate screen, input, suspension,
//! and the way back.
//!
//! Input is read here and not by crossterm, whose reader never comes back from a terminal that has
//! been closed.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

use super::keys::{Decoder, Key};
use crate::signals;

const INPUT: libc::c_int = libc::STDIN_FILENO;
const OUTPUT: libc::c_int = libc::STDOUT_FILENO;

/// The alternate screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// No colour, the cursor, the usual screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// Longest time between the bytes of one key.
const KEY_BYTES: Duration = Duration::from_millis(50);

/// The terminal's settings before the first picture.
static ORIGINAL: OnceLock<libc::termios> = OnceLock::new();
/// True while the picture is on the terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Returns whether this process's group may set the terminal. A suspended or background group must
/// leave it to the shell.
fn is_foreground() -> bool {
    // SAFETY: both calls take integers only.
    unsafe { libc::tcgetpgrp(INPUT) == libc::getpgrp() }
}

/// Writes to the terminal if it takes bytes now. Async-signal-safe.
fn write_if_taken(bytes: &[u8]) {
    let mut poll = libc::pollfd {
        fd: OUTPUT,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call; the buffer is as long as said. A terminal that is
    // full or gone loses the bytes.
    unsafe {
        if libc::poll(&raw mut poll, 1, 100) == 1 && poll.revents & libc::POLLOUT != 0 {
            libc::write(OUTPUT, bytes.as_ptr().cast(), bytes.len());
        }
    }
}

/// Gives the terminal back as it was, if a picture is on it. Async-signal-safe.
pub fn abandon() {
    // Relaxed: only this process's threads ask, and a terminal that is restored twice is restored.
    if !SHOWN.swap(false, Ordering::Relaxed) {
        return;
    }
    write_if_taken(LEAVE);
    if let Some(original) = ORIGINAL.get().filter(|_| is_foreground()) {
        // SAFETY: the settings came from tcgetattr and live as long as the process.
        unsafe { libc::tcsetattr(INPUT, libc::TCSANOW, original) };
    }
}

/// Puts the terminal into raw mode and shows the alternate screen. A process in the background
/// stops here until it is brought to the foreground.
fn enter() -> io::Result<()> {
    // SAFETY: termios is plain data for which all zeroes is valid; pointers outlive the calls.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(INPUT, &raw mut settings) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut raw = *ORIGINAL.get_or_init(|| settings);
        libc::cfmakeraw(&raw mut raw);
        while libc::tcsetattr(INPUT, libc::TCSANOW, &raw const raw) != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted || signals::ended().is_some() {
                return Err(error);
            }
        }
    }
    SHOWN.store(true, Ordering::Relaxed);
    let mut out = Out::default();
    out.write_all(ENTER)?;
    out.flush()
}

/// Standard output, a picture at a time. A signal ends a write that the terminal does not take.
#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut left = &bytes[..];
        // Once the terminal is given back nothing more is written to it: the library tidies up when
        // it is dropped.
        while !left.is_empty() && SHOWN.load(Ordering::Relaxed) {
            if let Some(signal) = signals::ended() {
                return Err(io::Error::other(format!("signal {signal}")));
            }
            // SAFETY: the buffer is as long as said.
            let written = unsafe { libc::write(OUTPUT, left.as_ptr().cast(), left.len()) };
            match usize::try_from(written) {
                Ok(written) => left = &left[written..],
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reason why a picture ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A key asked for it.
    Key,
    /// This signal came.
    Signal(libc::c_int),
    /// The terminal was closed.
    Closed,
}

/// Event while the picture is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A key.
    Key(Key),
    /// The picture must be drawn again: the size changed, or another program had the terminal.
    Redraw,
    /// The user suspends the command: call [`Session::suspend`].
    Suspend {
        /// True if the terminal asks, which means the whole process group.
        group: bool,
    },
    /// The picture ends.
    End(End),
}

/// A live picture on the terminal. Dropped, it gives the terminal back.
pub struct Session {
    terminal: Terminal<CrosstermBackend<Out>>,
    decoder: Decoder,
}

impl Session {
    /// Takes the terminal, and restores it whatever ends this process but SIGKILL.
    pub fn open() -> anyhow::Result<Self> {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                abandon();
                next(panic);
            }));
        });
        signals::catch_screen()?;
        enter()?;
        Ok(Self {
            terminal: Terminal::new(CrosstermBackend::new(Out::default()))?,
            decoder: Decoder::default(),
        })
    }

    /// Draws a picture. Where a signal cuts it short the next [`Session::wait`] says so.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame)) -> anyhow::Result<()> {
        match self.terminal.draw(picture) {
            Ok(_) => Ok(()),
            Err(_) if signals::ended().is_some() || is_closed() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the terminal again after another program had it: everything is drawn anew.
    fn take_again(&mut self) -> anyhow::Result<()> {
        enter()?;
        self.terminal = Terminal::new(CrosstermBackend::new(Out::default()))?;
        Ok(())
    }

    /// Gives the terminal back, stops until the process is continued, and takes the terminal again.
    /// Returns how long that was.
    pub fn suspend(&mut self, group: bool) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        abandon();
        signals::stop(group);
        self.take_again()?;
        Ok(begun.elapsed())
    }

    /// Waits up to `patience` for something to happen; `None` if nothing did.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<Option<Event>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(signal) = signals::ended() {
                return Ok(Some(Event::End(End::Signal(signal))));
            }
            if signals::take_suspended() {
                return Ok(Some(Event::Suspend { group: false }));
            }
            if signals::take_continued() {
                self.take_again()?;
                return Ok(Some(Event::Redraw));
            }
            if signals::take_resized() {
                return Ok(Some(Event::Redraw));
            }
            if let Some(key) = self.decoder.next() {
                return Ok(Some(event_of(key)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let waiting = self.decoder.is_waiting();
            match ready(if waiting { KEY_BYTES } else { left })? {
                Ready::Nothing if waiting => {
                    if let Some(key) = self.decoder.give_up() {
                        return Ok(Some(event_of(key)));
                    }
                }
                Ready::Nothing => return Ok(None),
                Ready::Signal => signals::empty(),
                Ready::Closed => return Ok(Some(Event::End(End::Closed))),
                Ready::Input => {
                    let mut bytes = [0u8; 256];
                    // SAFETY: the buffer is as long as said.
                    let read = unsafe { libc::read(INPUT, bytes.as_mut_ptr().cast(), bytes.len()) };
                    match usize::try_from(read) {
                        // In raw mode a read that gives nothing means that the terminal is gone.
                        Ok(0) => return Ok(Some(Event::End(End::Closed))),
                        Ok(read) => self.decoder.feed(&bytes[..read]),
                        Err(_) => match io::Error::last_os_error().kind() {
                            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                            _ => return Ok(Some(Event::End(End::Closed))),
                        },
                    }
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        abandon();
    }
}

fn event_of(key: Key) -> Event {
    match key {
        Key::Quit => Event::End(End::Key),
        Key::Abort => Event::End(End::Signal(libc::SIGQUIT)),
        Key::Suspend => Event::Suspend { group: true },
        key => Event::Key(key),
    }
}

/// Result of poll(2).
enum Ready {
    Nothing,
    Signal,
    Input,
    Closed,
}

fn ready(patience: Duration) -> io::Result<Ready> {
    let of = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polls = [of(INPUT), of(signals::wake_end())];
    // A part of a millisecond is waited for as a whole one: a wait of 0 would spin until the
    // deadline.
    let millis = patience.as_micros().div_ceil(1000).min(60_000) as libc::c_int;
    // SAFETY: two entries, which outlive the call.
    match unsafe { libc::poll(polls.as_mut_ptr(), 2, millis) } {
        0 => Ok(Ready::Nothing),
        found if found > 0 => Ok(if polls[1].revents != 0 {
            Ready::Signal
        } else if polls[0].revents & libc::POLLIN != 0 {
            Ready::Input
        } else {
            Ready::Closed
        }),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::Signal),
            error => Err(error),
        },
    }
}

/// Returns whether the terminal has been closed.
fn is_closed() -> bool {
    let mut poll = libc::pollfd {
        fd: INPUT,
        events: 0,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    unsafe {
        libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & (libc::POLLHUP | libc::POLLERR) != 0
    }
}

/// Leaves the command as the end of its picture asks: by the signal that came, or with an error
/// where the terminal is gone. The terminal has been given back before.
pub fn finish(end: End) -> anyhow::Result<()> {
    match end {
        End::Key => Ok(()),
        End::Signal(signal) => {
            signals::end_by(signal);
            bail!("ended by signal {signal}")
        }
        // The kernel wakes readers before it sends the signal that says the same.
        End::Closed if !signals::is_ignored(libc::SIGHUP) => finish(End::Signal(libc::SIGHUP)),
        End::Closed => bail!("the terminal was closed"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs only on the terminal that the next test makes.
    #[test]
    #[ignore = "a part of the next test"]
    fn panics_with_a_picture() {
        let mut session = Session::open().unwrap();
        session
            .draw(|frame| frame.render_widget("drawn", frame.area()))
            .unwrap();
        panic!("on purpose");
    }

    #[test]
    fn a_panic_restores_the_terminal_before_it_speaks() {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptors are written before the call returns; name and settings may be
        // null.
        let (mut master, slave) = unsafe {
            let null = std::ptr::null_mut::<u8>();
            let opened = libc::openpty(
                &raw mut master,
                &raw mut slave,
                null.cast(),
                null.cast(),
                &raw const size,
            );
            assert_eq!(opened, 0);
            (
                std::fs::File::from_raw_fd(master),
                OwnedFd::from_raw_fd(slave),
            )
        };
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "screen::terminal::tests::panics_with_a_picture"])
            .args(["--ignored", "--nocapture"])
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .status()
            .unwrap();
        drop(slave);
        assert!(!status.success());
        let mut screen = Vec::new();
        // Ends with an error once nobody has the other end.
        let _ = master.read_to_end(&mut screen);
        let screen = String::from_utf8_lossy(&screen).into_owned();
        let picture = screen.find("drawn").expect("a picture");
        let restored = screen.find("\x1b[?1049l").expect("the usual screen again");
        let said = screen.find("on purpose").expect("the panic's message");
        assert!(picture < restored && restored < said, "{screen:?}");
    }
}
