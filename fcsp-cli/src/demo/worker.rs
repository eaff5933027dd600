//! One simulated workload of the demo: a process that loads the driver library by name, as any CUDA
//! program does, and takes and gives back memory. It knows nothing of its quota and finds out by
//! being refused.

use std::ffi::{CStr, c_int, c_void};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fcsp_cuda::ffi::cuda;
use serde::{Deserialize, Serialize};

use crate::output;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Options of the hidden worker.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Workload to run.
    #[arg(value_enum)]
    plan: Plan,
    /// Seed of its choices. It ends when its standard input is closed.
    #[arg(long)]
    seed: u64,
}

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plan {
    /// An inference server: weights, then a cache that grows until it is refused and then evicts.
    Serve,
    /// A training step over and over: activations up, activations down, now and then too large a
    /// batch.
    Train,
    /// Asks for more than there is, always.
    Greedy,
    /// Grows slowly and is killed.
    Notebook,
    /// Takes nearly its whole quota at once: shows that what a killed process held is there again.
    Restart,
}

/// Report of a worker to the demo, one JSON document a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The context is there; what the program sees as its device.
    Ready {
        /// Total bytes by the driver API.
        total: u64,
    },
    /// A request was refused.
    Refused {
        /// Bytes asked for.
        asked: u64,
        /// Bytes it holds.
        held: u64,
    },
    /// A large request was granted.
    Granted {
        /// Bytes asked for.
        asked: u64,
    },
}

struct Driver {
    alloc: cuda::cuMemAlloc_v2,
    free: cuda::cuMemFree_v2,
    blocks: Vec<(u64, u64)>,
    random: u64,
}

fn tell(event: Event) -> anyhow::Result<()> {
    output::line(&serde_json::to_string(&event)?)
}

/// Looks a function up under its own name, with its own type.
macro_rules! function {
    ($handle:expr, $name:ident) => {{
        let name = concat!(stringify!($name), "\0");
        // SAFETY: the handle is open and the name ends with a zero byte.
        let address = unsafe { libc::dlsym($handle, name.as_ptr().cast()) };
        if address.is_null() {
            bail!("libcuda.so.1 has no {}", stringify!($name));
        }
        // SAFETY: the alias in the FFI module has the name and the type of the symbol.
        unsafe { std::mem::transmute::<*mut c_void, cuda::$name>(address) }
    }};
}

fn check(what: &str, code: c_int) -> anyhow::Result<()> {
    if code != 0 {
        bail!("{what} failed with {code}");
    }
    Ok(())
}

impl Driver {
    fn start(args: &Args) -> anyhow::Result<Self> {
        // SAFETY: the library's initialisers run here, as in any CUDA program.
        let handle = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            // SAFETY: after a failure dlerror returns a string that lives until this thread's next
            // call.
            let reason = unsafe { CStr::from_ptr(libc::dlerror()) };
            bail!("{}", reason.to_string_lossy());
        }
        let init = function!(handle, cuInit);
        let retain = function!(handle, cuDevicePrimaryCtxRetain);
        let current = function!(handle, cuCtxSetCurrent);
        let info = function!(handle, cuMemGetInfo_v2);
        let (mut free, mut total) = (0, 0);
        // SAFETY: every function has its header's type, results outlive the calls, device 0 exists
        // or cuInit fails.
        unsafe {
            check("cuInit", init(0))?;
            let mut context = std::mem::zeroed();
            check("cuDevicePrimaryCtxRetain", retain(&mut context, 0))?;
            check("cuCtxSetCurrent", current(context))?;
            check("cuMemGetInfo", info(&mut free, &mut total))?;
        }
        tell(Event::Ready {
            total: total as u64,
        })?;
        Ok(Self {
            alloc: function!(handle, cuMemAlloc_v2),
            free: function!(handle, cuMemFree_v2),
            blocks: Vec::new(),
            random: args.seed | 1,
        })
    }

    fn held(&self) -> u64 {
        self.blocks.iter().map(|&(_, bytes)| bytes).sum()
    }

    /// Takes `bytes`; false when refused.
    fn take(&mut self, bytes: u64) -> anyhow::Result<bool> {
        let mut address = 0;
        // SAFETY: the type is the header's, the result outlives the call, a context is current.
        match unsafe { (self.alloc)(&mut address, bytes as usize) } {
            0 => {
                self.blocks.push((address, bytes));
                Ok(true)
            }
            2 => {
                tell(Event::Refused {
                    asked: bytes,
                    held: self.held(),
                })?;
                Ok(false)
            }
            code => bail!("cuMemAlloc failed with {code}"),
        }
    }

    fn give(&mut self, index: usize) -> anyhow::Result<()> {
        let (address, _) = self.blocks.swap_remove(index);
        // SAFETY: the address came from cuMemAlloc and is given back once.
        check("cuMemFree", unsafe { (self.free)(address) })
    }

    /// Gives back all but the first `keep` blocks.
    fn trim(&mut self, keep: usize) -> anyhow::Result<()> {
        while self.blocks.len() > keep {
            self.give(self.blocks.len() - 1)?;
        }
        Ok(())
    }

    /// Returns a random number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*: the same sequence for the same seed on every machine.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    /// Waits; false when it is time to end, which a closed standard input says.
    fn pause(&self, millis: u64) -> bool {
        let until = Instant::now() + Duration::from_millis(millis);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut poll = libc::pollfd {
                fd: libc::STDIN_FILENO,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one entry, which outlives the call.
            let found =
                unsafe { libc::poll(&raw mut poll, 1, left.as_micros().div_ceil(1000) as c_int) };
            // Nobody writes into the pipe: whatever there is to hear is its end. A signal ends a
            // wait too soon.
            match found {
                1.. => return false,
                _ if left.is_zero() => return true,
                _ => {}
            }
        }
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        for _ in 0..14 {
            self.take(GIB)?;
            if !self.pause(50) {
                return Ok(());
            }
        }
        let weights = self.blocks.len();
        while self.pause(40) {
            if !self.take(256 * MIB)? {
                // Evicts some of the cache, never the weights.
                for _ in 0..8 + self.below(16) {
                    if self.blocks.len() > weights {
                        let index =
                            weights + self.below((self.blocks.len() - weights) as u64) as usize;
                        self.give(index)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn train(&mut self) -> anyhow::Result<()> {
        self.take(4 * GIB)?;
        let mut step = 0u64;
        loop {
            for _ in 0..6 {
                let activations = 768 * MIB + self.below(256) * MIB;
                self.take(activations)?;
                if !self.pause(60) {
                    return Ok(());
                }
            }
            step += 1;
            if step.is_multiple_of(3) {
                self.take(24 * GIB)?;
            }
            for _ in 0..6 {
                self.trim(self.blocks.len().saturating_sub(1).max(1))?;
                if !self.pause(20) {
                    return Ok(());
                }
            }
        }
    }

    fn greedy(&mut self) -> anyhow::Result<()> {
        loop {
            while self.take(512 * MIB)? {
                if !self.pause(70) {
                    return Ok(());
                }
            }
            self.take(64 * GIB)?;
            if !self.pause(300) {
                return Ok(());
            }
            self.trim(self.blocks.len() / 2)?;
        }
    }

    fn notebook(&mut self) -> anyhow::Result<()> {
        while self.pause(150) {
            if self.held() < 10 * GIB {
                let grown = 512 * MIB + self.below(512) * MIB;
                self.take(grown)?;
            }
        }
        Ok(())
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        let asked = 11 * GIB;
        if self.take(asked)? {
            tell(Event::Granted { asked })?;
        }
        while self.pause(100) {}
        Ok(())
    }
}

/// Runs the hidden worker.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut driver = Driver::start(args).context("demo worker")?;
    match args.plan {
        Plan::Serve => driver.serve()?,
        Plan::Train => driver.train()?,
        Plan::Greedy => driver.greedy()?,
        Plan::Notebook => driver.notebook()?,
        Plan::Restart => driver.restart()?,
    }
    driver.trim(0)?;
    Ok(ExitCode::SUCCESS)
}
