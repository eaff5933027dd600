//! Key-value cache of an inference server, limited to a quota without a preload library.
//!
//! The server hands out cache blocks itself, so it asks a memory tracker before it asks the driver:
//! reserve, call the driver, then keep or release the reservation. Several models share the quota.
//! A request that does not fit evicts the least recently used sequence. One that can never fit is
//! refused, with the bytes that it would need.
//!
//!  ```text
//!  cargo run -p fcsp --example embedded_quota
//!  ```

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::thread;

use fcsp::{Bytes, Denied, LocalLedger, MemoryTracker};

/// Tokens that fit into one block.
const BLOCK_TOKENS: usize = 16;

/// Source of blocks: a driver's allocator in a real server, the heap here.
trait Device: Sync {
    /// Allocates a block of `bytes`; `None` when the device itself is full.
    fn allocate(&self, bytes: usize) -> Option<Box<[u8]>>;
}

/// A device of some bytes, filled by hand.
struct HostDevice {
    free: Mutex<usize>,
}

impl Device for HostDevice {
    fn allocate(&self, bytes: usize) -> Option<Box<[u8]>> {
        let mut free = self
            .free
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        *free = free.checked_sub(bytes)?;
        Some(vec![0; bytes].into_boxed_slice())
    }
}

/// Blocks of every sequence that is being served.
struct Cache<'a, T, D> {
    tracker: &'a T,
    device: &'a D,
    block_bytes: usize,
    sequences: HashMap<u64, Vec<Box<[u8]>>>,
    /// Least recently used first.
    order: VecDeque<u64>,
    evicted: usize,
}

impl<'a, T: MemoryTracker, D: Device> Cache<'a, T, D> {
    fn new(tracker: &'a T, device: &'a D, bytes_per_token: usize) -> Self {
        Self {
            tracker,
            device,
            block_bytes: bytes_per_token * BLOCK_TOKENS,
            sequences: HashMap::new(),
            order: VecDeque::new(),
            evicted: 0,
        }
    }

    /// Makes room for `tokens` of `sequence`, evicting others if need be.
    fn grow(&mut self, sequence: u64, tokens: usize) -> Result<(), Denied> {
        self.order.retain(|&known| known != sequence);
        self.order.push_back(sequence);
        let wanted = tokens.div_ceil(BLOCK_TOKENS);
        while self.sequences.entry(sequence).or_default().len() < wanted {
            match self.block() {
                Ok(block) => self.sequences.entry(sequence).or_default().push(block),
                Err(denied) => match self
                    .order
                    .front()
                    .copied()
                    .filter(|&oldest| oldest != sequence)
                {
                    Some(oldest) => {
                        self.end(oldest);
                        self.evicted += 1;
                    }
                    None => {
                        self.end(sequence);
                        return Err(denied);
                    }
                },
            }
        }
        Ok(())
    }

    fn block(&self) -> Result<Box<[u8]>, Denied> {
        let bytes = self.block_bytes as u64;
        let reservation = self.tracker.try_hold(bytes)?;
        match self.device.allocate(self.block_bytes) {
            Some(block) => {
                reservation.keep();
                Ok(block)
            }
            // The guard gives the reservation back: the device refused, not the quota.
            None => Err(Denied {
                wanted: bytes,
                used: self.tracker.usage().used,
                limit: self.tracker.usage().limit,
            }),
        }
    }

    /// Ends an answered sequence and releases its blocks.
    fn end(&mut self, sequence: u64) {
        self.order.retain(|&known| known != sequence);
        for block in self.sequences.remove(&sequence).unwrap_or_default() {
            self.tracker.release(block.len() as u64);
        }
    }
}

impl<T, D> Drop for Cache<'_, T, D> {
    fn drop(&mut self) {
        assert!(
            self.sequences.is_empty() || thread::panicking(),
            "a server ends its sequences before it ends itself"
        );
    }
}

fn main() {
    const QUOTA: u64 = 8 << 20;
    let device = HostDevice {
        free: Mutex::new(1 << 30),
    };
    // 8 MiB of a device of 1 GiB, shared by two models that are served from threads of their own.
    let tracker = LocalLedger::new(1 << 30, QUOTA);

    thread::scope(|scope| {
        for (model, bytes_per_token) in [("small", 512), ("large", 4096)] {
            let (tracker, device) = (&tracker, &device);
            scope.spawn(move || {
                let mut cache = Cache::new(tracker, device, bytes_per_token);
                for sequence in 0..200 {
                    let tokens = 64 + sequence as usize % 7 * 40;
                    if let Err(denied) = cache.grow(sequence, tokens) {
                        // The other model holds the rest: a real server would queue the request.
                        println!("{model}: sequence {sequence} waits: {denied}");
                    }
                    assert!(tracker.usage().used <= QUOTA);
                }
                println!(
                    "{model}: {} sequences cached, {} evicted",
                    cache.sequences.len(),
                    cache.evicted
                );
                let cached: Vec<u64> = cache.sequences.keys().copied().collect();
                for sequence in cached {
                    cache.end(sequence);
                }
            });
        }
    });

    let mut cache = Cache::new(&tracker, &device, 4096);
    let denied = cache
        .grow(1, 100_000)
        .expect_err("400 MB of cache do not fit into 8 MiB");
    println!(
        "a request of 100000 tokens: refused at {} of {}",
        Bytes(denied.used),
        Bytes(denied.limit)
    );
    assert_eq!(tracker.usage().used, 0, "every block came back");
    println!("in use at the end: {}", Bytes(tracker.usage().used));
}
