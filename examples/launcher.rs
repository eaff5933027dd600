//! Launcher of a program that submits an accelerator's work itself, as a member of a tenant.
//!
//! It reads requests, one a line, and answers each with a line. `fcsp limit` and `fcsp pause` reach
//! it between two lines:
//!
//!  ```text
//!  cargo run -p fcsp --example launcher -- serving 50%
//!  launch
//!  admitted under 50%
//!  ```
//!
//! A device that completes each kernel at once stands in for the accelerator. Without arguments the
//! program answers requests of its own, in a folder of its own.

use std::io::{self, BufRead, Write};

use fcsp::{
    Admission, Class, Config, DeviceIdentity, DeviceUuid, Membership, Ppm, Share, StateDir,
    Submitter, Tenant, Work,
};
use fcsp_core::share::cost::kernel_key;
use fcsp_core::share::params::parse_share;

/// Device memory, as a driver would report it, bytes.
const TOTAL: u64 = 80 << 30;

type Error = Box<dyn std::error::Error>;

/// Joins `tenant` with a share of `quota`, which `fcsp limit` may change later.
fn join(state: &StateDir, tenant: &str, quota: Ppm) -> Result<Membership<Tenant>, Error> {
    let config = Config::builder()
        .tenant(tenant)?
        .compute(Share::balanced(quota))
        .build();
    // As the driver gives it.
    let device = DeviceIdentity {
        index: Some(0),
        uuid: DeviceUuid([7; 16]),
        pci: None,
    };
    let tenant = Tenant::join(state, &config)?;
    Ok(Membership::join(tenant, &device, TOTAL)?)
}

/// Answers `launch`: asks the limiter once, and does not wait.
fn answer(submitter: &Submitter<'_>, request: &str) -> String {
    if request.trim() != "launch" {
        return format!("error: {request:?} is not: launch");
    }
    let work = Work {
        key: kernel_key(0x7000, 64),
        blocks: 64,
        class: Class::Gemm,
    };
    let admission = submitter.admit(&work);
    let share = f64::from(submitter.params().guarantee) / 10_000.0;
    match admission {
        Admission::Go { .. } => {
            // The driver is asked here. The device is done with the kernel at once.
            submitter.passed(submitter.position());
            format!("admitted under {share}%")
        }
        // Asked again later: a real program calls `Submitter::submit`, which waits.
        Admission::Drain { .. } | Admission::Wait(_) => format!("delayed under {share}%"),
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    match &arguments[..] {
        [] => {
            let folder = std::env::temp_dir().join(format!("fcsp-launcher-{}", std::process::id()));
            let member = join(&StateDir::at(&folder), "serving", 500_000)?;
            let submitter = member.submitter()?;
            let said = answer(&submitter, "launch");
            println!("launch: {said}");
            assert_eq!(said, "admitted under 50%");
            drop(submitter);
            drop(member);
            std::fs::remove_dir_all(&folder)?;
        }
        [tenant, share] => {
            let member = join(&StateDir::provide(), tenant, parse_share("share", share)?)?;
            let submitter = member.submitter()?;
            for request in io::stdin().lock().lines() {
                writeln!(out, "{}", answer(&submitter, &request?))?;
                out.flush()?;
            }
        }
        _ => return Err("usage: launcher [TENANT SHARE]".into()),
    }
    Ok(())
}
