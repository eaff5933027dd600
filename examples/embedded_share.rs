//! Two tenants that share one device's time, limited to their shares without a preload library.
//!
//! A program that submits device work itself asks a rate limiter first. It waits until it is this
//! tenant's turn, and publishes its use of the device to its neighbours on small shared pages. Here
//! both tenants run in one process, each on its own thread, and a clock stands for the device. In
//! production each tenant is one process or many, and the device is an accelerator's stream;
//! nothing else changes.
//!
//!  ```text
//!  cargo run -p fcsp --example embedded_share
//!  ```

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use fcsp::{
    Class, Config, DeviceIdentity, DeviceUuid, Markers, Membership, Position, Share, StateDir,
    Submitter, Tenant, Work,
};
use fcsp_core::share::cost;

/// Time that the tenants run.
const RUN: Duration = Duration::from_secs(2);
/// Device time of one piece of work.
const KERNEL: Duration = Duration::from_micros(500);

/// A device that does one thing after the other.
struct Device {
    free_at: Mutex<Instant>,
}

impl Device {
    /// Queues work; says when it will be done.
    fn run(&self, time: Duration) -> Instant {
        let mut free_at = self
            .free_at
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        *free_at = (*free_at).max(Instant::now()) + time;
        *free_at
    }
}

/// One tenant's queue on the device. A marker is done when the work before it is.
struct Queue<'d> {
    device: &'d Device,
    last: Instant,
    markers: VecDeque<(Instant, Position)>,
    done: u32,
}

impl Markers for Queue<'_> {
    fn put(&mut self, at: Position) {
        self.markers.push_back((self.last, at));
    }

    fn passed(&mut self) -> Option<Position> {
        let now = Instant::now();
        let mut reached = None;
        while let Some(&(at, marker)) = self.markers.front() {
            if at > now {
                break;
            }
            reached = Some(marker);
            self.markers.pop_front();
        }
        reached
    }
}

/// Submits as much as it is let to; gives the device time it had.
fn tenant(submitter: &Submitter<'_>, device: &Device, until: Instant) -> Duration {
    let work = Work {
        key: cost::kernel_key(0x1000, 128),
        blocks: 128,
        class: Class::Gemm,
    };
    // A program that times its work now and then says so; until then a guess is charged.
    submitter.measured(&work, KERNEL, false);
    let mut queue = Queue {
        device,
        last: Instant::now(),
        markers: VecDeque::new(),
        done: 0,
    };
    while Instant::now() < until {
        submitter.submit(&work, &mut queue, |queue| {
            queue.last = queue.device.run(KERNEL);
            queue.done += 1;
        });
    }
    let last = queue.last;
    submitter.synchronise(|| thread::sleep(last.saturating_duration_since(Instant::now())));
    KERNEL * queue.done
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("fcsp-embedded-share-{}", std::process::id()));
    let state = StateDir::at(&folder);
    let identity = DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([7; 16]),
        pci: None,
    };
    let device = Device {
        free_at: Mutex::new(Instant::now()),
    };
    let tenants = [("batch", 250_000), ("serving", 750_000)];
    let mut members = Vec::new();
    for (name, quota) in tenants {
        // What it begins with; `fcsp limit` and `fcsp pause` reach it afterwards.
        let config = Config::builder()
            .tenant(name)?
            .compute(Share::balanced(quota))
            .build();
        // Kept to the end: `fcsp ps` lists the tenant for as long as somebody is its member.
        let tenant = Tenant::join(&state, &config)?;
        members.push(Membership::join(tenant, &identity, 80 << 30)?);
    }
    let mut submitters = Vec::new();
    for member in &members {
        submitters.push(member.submitter()?);
    }

    let until = Instant::now() + RUN;
    let had: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = submitters
            .iter()
            .map(|submitter| scope.spawn(|| tenant(submitter, &device, until)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a tenant's thread"))
            .collect()
    });

    println!(
        "{:<10} {:>8} {:>8} {:>8}",
        "tenant", "share", "had", "waits"
    );
    for (((name, quota), had), submitter) in tenants.iter().zip(&had).zip(&submitters) {
        println!(
            "{name:<10} {:>7.0}% {:>7.1}% {:>8}",
            f64::from(*quota) / 1e4,
            had.as_secs_f64() / RUN.as_secs_f64() * 100.0,
            submitter.counters().waits
        );
        assert!(!had.is_zero(), "{name} never got the device");
    }
    drop(submitters);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
