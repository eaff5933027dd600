//! Traces that tenants run: loops of launches, host work and synchronisations, with costs measured
//! on an H100 where available.

/// One thing a host does.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Submits a kernel of so many ns, which costs the host some.
    Launch { gpu: u64, host: u64 },
    /// Computes without the device.
    Host(u64),
    /// Waits until everything submitted is done.
    Sync,
    /// Waits until no more than so many kernels are left: for an event that lies so far back.
    Within(usize),
    /// A unit of work is complete.
    Step,
    /// The next unit is timed from here.
    Due,
    /// Does nothing until this instant.
    SleepUntil(u64),
}

/// A kind of program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trace {
    /// Matrix products of 120 us, back to back.
    Matmul,
    /// Matrix products of 218 us (4096 cubed, bf16).
    BigMatmul,
    /// A decode step as one graph of 515 us, then a synchronisation.
    DecodeGraph,
    /// A decode step as 60 kernels of 8.6 us with host gaps: 2.2 ms, 24 % busy alone.
    DecodeEager,
    /// A training step of 4.5 ms in 150 kernels.
    Train,
    /// Copies of 194 us, back to back.
    Copy,
    /// Matrix products of 203 us by a host that keeps three batches of four in flight, as
    /// `benches/device/share_worker.py` does on an H200.
    HostedMatmul,
    /// Decode steps of 437 us as graphs, three in flight, by such a host.
    HostedGraph,
    /// A decode step as 108 kernels of 4 us by such a host: 1.7 ms, 25 % busy alone.
    HostedEager,
    /// A decode step as a graph, each 3 ms, waited for.
    Periodic,
    /// Kernels of 5 us, back to back.
    Small,
    /// Kernels of 20 ms, back to back.
    Long,
    /// Matrix products, ten at a time, for `on` ns; nothing for `off` ns.
    Bursts { on: u64, off: u64 },
    /// A kernel of 50 us, then a synchronisation, each 2 ms.
    Ping,
    /// Matrix products from this instant on.
    From(u64),
    /// A kernel of 2 us, each 0.5 ms, waited for by nobody.
    Tick,
    /// Kernels of so many ns, `every` so many waited for; 0 for never.
    Each { gpu: u64, every: u64 },
    /// The same with kernels of 10 us, of which one in `of` takes 5 ms.
    Vary { of: u64, every: u64 },
    /// Nothing at all.
    Idle,
}

impl Trace {
    pub fn name(self) -> &'static str {
        match self {
            Self::Matmul => "matmul",
            Self::BigMatmul => "matmul 218",
            Self::DecodeGraph => "decode graph",
            Self::DecodeEager => "decode eager",
            Self::Train => "train",
            Self::Copy => "copy",
            Self::HostedMatmul => "hosted matmul",
            Self::HostedGraph => "hosted decode graph",
            Self::HostedEager => "hosted decode eager",
            Self::Periodic => "decode graph each 3 ms",
            Self::Small => "5 us kernels",
            Self::Long => "20 ms kernels",
            Self::Bursts { .. } => "bursts",
            Self::Ping => "ping",
            Self::From(_) => "matmul later",
            Self::Tick => "tick",
            Self::Each { .. } => "kernels of one length",
            Self::Vary { .. } => "10 us, some 5 ms",
            Self::Idle => "idle",
        }
    }
}

/// Launches among the first `steps` steps of a program that waits after each `every`.
fn launches(steps: u64, every: u64) -> u64 {
    match every {
        0 => steps,
        every => steps / (every + 1) * every + steps % (every + 1),
    }
}

/// A program running.
#[derive(Debug, Clone)]
pub struct Program {
    trace: Trace,
    at: u64,
}

impl Program {
    pub fn new(trace: Trace) -> Self {
        Self { trace, at: 0 }
    }

    /// Returns the next operation at `now`.
    pub fn next(&mut self, now: u64) -> Op {
        let i = self.at;
        self.at += 1;
        let alternate = |gpu, host| {
            if i.is_multiple_of(2) {
                Op::Launch { gpu, host }
            } else {
                Op::Step
            }
        };
        match self.trace {
            Trace::Matmul => alternate(120_000, 5_000),
            Trace::BigMatmul => alternate(218_000, 5_000),
            Trace::Copy => alternate(194_000, 5_000),
            Trace::Small => alternate(5_000, 4_000),
            Trace::Long => alternate(20_000_000, 5_000),
            Trace::DecodeGraph => match i % 4 {
                0 => Op::Launch {
                    gpu: 515_000,
                    host: 7_000,
                },
                1 => Op::Sync,
                2 => Op::Step,
                _ => Op::Host(5_000),
            },
            Trace::HostedMatmul => match i % 7 {
                0..4 => Op::Launch {
                    gpu: 203_000,
                    host: 11_000,
                },
                4 => Op::Step,
                5 => Op::Within(8),
                // The host comes back from its wait, and some interpreter later the next batch
                // begins.
                _ => Op::Host(60_000),
            },
            Trace::HostedGraph => match i % 4 {
                0 => Op::Launch {
                    gpu: 437_000,
                    host: 12_000,
                },
                1 => Op::Within(2),
                2 => Op::Step,
                _ => Op::Host(15_000),
            },
            Trace::HostedEager => match i % 111 {
                108 => Op::Sync,
                109 => Op::Step,
                110 => Op::Host(20_000),
                _ => Op::Launch {
                    gpu: 4_050,
                    host: 15_300,
                },
            },
            Trace::Periodic => match i % 5 {
                0 => Op::SleepUntil((now / 3_000_000 + 1) * 3_000_000),
                1 => Op::Due,
                2 => Op::Launch {
                    gpu: 437_000,
                    host: 12_000,
                },
                3 => Op::Sync,
                _ => Op::Step,
            },
            Trace::DecodeEager => match i % 63 {
                60 => Op::Sync,
                61 => Op::Step,
                62 => Op::Host(15_000),
                _ => Op::Launch {
                    gpu: 8_600,
                    host: 35_700,
                },
            },
            Trace::Train => match i % 151 {
                150 => Op::Step,
                k => Op::Launch {
                    gpu: if k % 3 == 0 { 60_000 } else { 15_000 },
                    host: 7_000,
                },
            },
            Trace::Bursts { on, off } => {
                // Ten products, a synchronisation, and on with it while the burst lasts.
                let phase = now % (on + off);
                match i % 12 {
                    0 if phase >= on => {
                        self.at -= 1;
                        Op::SleepUntil(now - phase + on + off)
                    }
                    10 => Op::Sync,
                    11 => Op::Step,
                    _ => Op::Launch {
                        gpu: 120_000,
                        host: 5_000,
                    },
                }
            }
            Trace::Ping => match i % 4 {
                0 => Op::Launch {
                    gpu: 50_000,
                    host: 5_000,
                },
                1 => Op::Sync,
                2 => Op::Step,
                _ => Op::Host(2_000_000),
            },
            Trace::Each { every, .. } | Trace::Vary { every, .. }
                if every > 0 && i % (every + 1) == every =>
            {
                Op::Sync
            }
            Trace::Each { gpu, .. } => Op::Launch { gpu, host: 5_000 },
            Trace::Vary { of, every } => Op::Launch {
                gpu: if launches(i, every) % of == of / 2 {
                    5_000_000
                } else {
                    10_000
                },
                host: 5_000,
            },
            Trace::From(start) if now < start => Op::SleepUntil(start),
            Trace::From(_) => alternate(120_000, 5_000),
            Trace::Tick => match i % 2 {
                0 => Op::Launch {
                    gpu: 2_000,
                    host: 5_000,
                },
                _ => Op::Host(500_000),
            },
            Trace::Idle => Op::SleepUntil(u64::MAX),
        }
    }
}
