//! Allocator of a program that manages an accelerator itself, as a member of a tenant.
//!
//! It reads requests, one a line, and answers each with a line. Between two lines, `fcsp limit` may
//! change the quota, and the next answer is by the new one:
//!
//!  ```text
//!  cargo run -p fcsp --example allocator -- serving 2GiB
//!  take 1GiB
//!  taken 1 GiB, used 1 GiB of 2 GiB
//!  ```
//!
//! Without arguments it answers requests of its own, in a folder of its own.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use fcsp::{
    Bytes, Config, DeviceIdentity, DeviceUuid, Membership, MemoryTracker, Quota, StateDir, Tenant,
};

/// Device memory, as a driver would report it, bytes.
const TOTAL: u64 = 80 << 30;

/// Allocations of one tenant. It owns its membership, and threads may share it.
struct Allocator {
    quota: Membership<Arc<Tenant>>,
    /// Sizes of the allocations, the newest last, bytes.
    blocks: Vec<u64>,
}

impl Allocator {
    fn join(state: &StateDir, tenant: &str, quota: Quota) -> Result<Self, Error> {
        let config = Config::builder().tenant(tenant)?.memory(quota).build();
        let tenant = Arc::new(Tenant::join(state, &config)?);
        // As the driver gives it.
        let device = DeviceIdentity {
            index: Some(0),
            uuid: DeviceUuid([7; 16]),
            pci: None,
        };
        Ok(Self {
            quota: Membership::join(tenant, &device, TOTAL)?,
            blocks: Vec::new(),
        })
    }

    /// Answers `take AMOUNT`, `free` (the newest allocation) or `usage`.
    fn answer(&mut self, request: &str) -> String {
        let words: Vec<&str> = request.split_whitespace().collect();
        let done = match words[..] {
            ["take", amount] => match amount.parse::<Bytes>() {
                Ok(Bytes(bytes)) => match self.quota.try_hold(bytes) {
                    // The driver is asked here. On an error of its own the reservation is dropped.
                    Ok(reservation) => {
                        reservation.keep();
                        self.blocks.push(bytes);
                        format!("taken {}", Bytes(bytes))
                    }
                    Err(denied) => format!("refused {}", Bytes(denied.wanted)),
                },
                Err(error) => format!("error: {error}"),
            },
            ["free"] => match self.blocks.pop() {
                Some(bytes) => {
                    self.quota.release(bytes);
                    format!("freed {}", Bytes(bytes))
                }
                None => "nothing to free".to_owned(),
            },
            ["usage"] => "usage".to_owned(),
            _ => format!("error: {request:?} is none of: take AMOUNT, free, usage"),
        };
        let usage = self.quota.usage();
        format!(
            "{done}, used {} of {}",
            Bytes(usage.used),
            Bytes(usage.limit)
        )
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        for bytes in self.blocks.drain(..) {
            self.quota.release(bytes);
        }
    }
}

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    match &arguments[..] {
        [] => {
            let folder =
                std::env::temp_dir().join(format!("fcsp-allocator-{}", std::process::id()));
            let state = StateDir::at(&folder);
            let mut allocator = Allocator::join(&state, "serving", Quota::Bytes(2 << 30))?;
            let requests = ["take 1GiB", "take 1GiB", "take 1MiB", "free", "take 1MiB"];
            let mut refused = 0;
            for request in requests {
                let answer = allocator.answer(request);
                refused += usize::from(answer.starts_with("refused"));
                println!("{request}: {answer}");
            }
            assert_eq!(refused, 1, "2 GiB have no space for 1 MiB more");
            drop(allocator);
            std::fs::remove_dir_all(&folder)?;
        }
        [tenant, quota] => {
            let quota = Quota::parse(quota)?;
            let mut allocator = Allocator::join(&StateDir::provide(), tenant, quota)?;
            for request in io::stdin().lock().lines() {
                writeln!(out, "{}", allocator.answer(&request?))?;
                out.flush()?;
            }
        }
        _ => return Err("usage: allocator [TENANT QUOTA]".into()),
    }
    Ok(())
}
