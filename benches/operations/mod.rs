//! The operations of the hook path, for the benchmark that times them and the program that counts
//! their instructions.

use std::sync::atomic::{AtomicU64, Ordering};

use fcsp_core::allocations::Allocations;
use fcsp_core::control::{Control, Limits};
use fcsp_core::device::{DeviceIdentity, DeviceUuid};
use fcsp_core::memory::MemoryTracker;
use fcsp_core::region::Attachment;
use fcsp_core::region::attach::Governed;
use fcsp_core::share::claim_page::{ClaimPage, ClaimView};
use fcsp_core::share::cost::{CostTable, kernel_key};
use fcsp_core::share::gate::{Gate, GateAdmission};
use fcsp_core::share::params::Params;
use fcsp_core::state::SetupGuard;

const LIMIT: u64 = 8 << 30;

/// A process's place in a region file, and the control page that its limit comes from.
pub struct Place {
    attachment: Attachment,
    control: Control,
    generation: u64,
    _dir: tempfile::TempDir,
}

impl Place {
    /// Creates a region with a quota of 8 GiB, in the temporary folder.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let device = DeviceIdentity {
            index: Some(0),
            uuid: DeviceUuid([7; 16]),
            pci: None,
        };
        let setup = SetupGuard::acquire(dir.path()).expect("nobody else has the lock");
        let path = dir.path().join("device.region");
        let attachment =
            Attachment::open(&path, &device, 80 << 30, LIMIT, &setup).expect("a fresh region");
        Control::create(&setup)
            .and_then(|page| page.write(&Limits::default()))
            .expect("a control page");
        let control = Control::open_as_member(dir.path()).expect("the page just written");
        Self {
            generation: control.generation(),
            attachment,
            control,
            _dir: dir,
        }
    }

    /// Does what an allocation and its free add to the driver's work.
    pub fn reserve_and_release(&self, bytes: u64) {
        if self.attachment.reserve(bytes, LIMIT).is_ok() {
            self.attachment.release(bytes);
        }
    }

    /// Makes a request above the quota: counted, and answered without the driver.
    pub fn refuse(&self, bytes: u64) -> bool {
        self.attachment.reserve(LIMIT + bytes, LIMIT).is_err()
    }

    /// Does the same as [`Place::reserve_and_release`] through the trait, as an embedder does.
    pub fn hold_and_roll_back(&self, bytes: u64) -> bool {
        let governed = Governed {
            attachment: &self.attachment,
            limit: LIMIT,
        };
        governed.try_hold(bytes).is_ok()
    }

    /// Checks for a change of the limits, as a backend does.
    pub fn limit_unchanged(&self) -> bool {
        self.control.generation() == self.generation
    }
}

/// The map of live allocations.
pub struct Accounts(Allocations<[u64; 4]>);

impl Accounts {
    /// Creates a map with `live` allocations.
    pub fn new(live: u64) -> Self {
        let map = Allocations::default();
        for index in 0..live {
            map.insert(0x7e00_0000_0000 + index * 512, [index; 4]);
        }
        Self(map)
    }

    /// Does what an allocation and its free do to the map.
    pub fn insert_and_remove(&self, address: u64) -> bool {
        self.0.insert(address, [address; 4]);
        self.0.remove(address).is_some()
    }
}

/// A gate whose device is never busy, under a clock that is told what time it is.
pub struct Launches {
    gate: Gate<'static>,
    costs: CostTable,
    neighbours: Vec<ClaimView>,
    now: AtomicU64,
}

/// A kernel that the table knows.
const KNOWN: u64 = 0x5555_0000_1000;

impl Launches {
    /// Creates a tenant with a quarter of the device and `neighbours` idle neighbours.
    pub fn new(neighbours: usize) -> Self {
        let now = 1_000_000_000;
        let params = Params::balanced(250_000);
        // Leaked: the gate borrows the page for as long as a process lives.
        let page: &'static ClaimPage = Box::leak(Box::new(ClaimPage::new()));
        let gate = Gate::new(page, params, now).expect("a fresh page");
        let costs = CostTable::new(1024);
        costs.learn(kernel_key(KNOWN, 128), 128, 1, false);
        let others: Vec<ClaimPage> = (0..neighbours).map(|_| ClaimPage::new()).collect();
        let views = others.iter().filter_map(|other| {
            other.attach(&params, now).ok()?;
            other.view()
        });
        Self {
            gate,
            costs,
            neighbours: views.collect(),
            now: AtomicU64::new(now),
        }
    }

    /// Looks up what a kernel costs.
    pub fn cost(&self) -> u64 {
        self.costs.cost(kernel_key(KNOWN, 128), 128)
    }

    /// Launches work of 1 ns: nearly always on credit, and on the slow path when the slice is used
    /// up.
    pub fn launch(&self) {
        if !self.gate.admit(1) {
            self.slice();
        }
    }

    /// Takes the slow path: publish, read the neighbours' claims, decide, take a slice. The device
    /// then reports it done.
    pub fn slice(&self) -> bool {
        // Relaxed: one thread keeps the clock. A millisecond a slice: the quota never runs out.
        let now = self.now.fetch_add(1_000_000, Ordering::Relaxed);
        let went = matches!(
            self.gate.acquire(1, now, &self.neighbours),
            GateAdmission::Go { .. } | GateAdmission::Forced
        );
        self.gate.retire(self.gate.mark(), now);
        went
    }
}
