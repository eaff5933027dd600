//! The devices of this machine, as the command `fcsp devices` reports them.
//!
//! The command asks each driver in a child process. A driver that hangs or crashes does not reach
//! the agent.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};

use fcsp_core::device::DeviceIdentity;
use fcsp_tenancy::VisibleDevice;
use serde::Deserialize;

/// The version of the report that is understood.
const SCHEMA: &str = "fcsp.devices/2";

#[derive(Deserialize)]
struct Report {
    schema: String,
    devices: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    /// The vendor; none for a device that only a tenant's files tell of.
    vendor: Option<String>,
    number: Option<u32>,
    name: Option<String>,
    uuid: String,
    pci: Option<String>,
    total_bytes: Option<u64>,
}

/// Asks a command for the devices of this machine, or for those of a simulated one.
///
/// # Errors
///
/// The command cannot be started or fails, or its report cannot be understood.
pub fn ask(fcsp: &OsStr, sim: Option<&str>) -> io::Result<Vec<VisibleDevice>> {
    let mut command = Command::new(fcsp);
    command.args(["devices", "--json"]).stdin(Stdio::null());
    if let Some(spec) = sim {
        command.args(["--sim", spec]);
    }
    let output = command.output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "{} devices: {}: {}",
            fcsp.display(),
            output.status,
            reason.trim()
        )));
    }
    parse(&output.stdout)
}

/// Parses the report of `fcsp devices --json`.
fn parse(report: &[u8]) -> io::Result<Vec<VisibleDevice>> {
    let report: Report = serde_json::from_slice(report)?;
    if report.schema != SCHEMA {
        let reason = format!("the report is {}, and not {SCHEMA}", report.schema);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let rows = report.devices.into_iter();
    rows.filter(|row| row.vendor.is_some())
        .map(|row| row.device())
        .collect()
}

impl Row {
    fn device(self) -> io::Result<VisibleDevice> {
        let wrong = |what: &str| {
            let reason = format!("the report has a wrong {what}");
            io::Error::new(io::ErrorKind::InvalidData, reason)
        };
        let uuid = self.uuid.parse().map_err(|_| wrong("uuid"))?;
        let pci = match self.pci {
            Some(pci) => Some(pci.parse().map_err(|_| wrong("pci"))?),
            None => None,
        };
        let label = self.name.unwrap_or_else(|| "device".to_owned());
        Ok(VisibleDevice {
            identity: DeviceIdentity {
                index: self.number,
                uuid,
                pci,
            },
            label: format!("{label} ({uuid})"),
            total_bytes: self.total_bytes.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_devices_of_drivers() {
        let report = br#"{"schema":"fcsp.devices/2","state_dir":"/x","devices":[
            {"vendor":"cuda","number":0,"index":0,"name":"NVIDIA H100","pci":"0000:3b:00.0",
             "uuid":"GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778","total_bytes":85899345920},
            {"vendor":null,"number":null,"index":null,"name":null,"pci":null,
             "uuid":"GPU-b04154c4-0b88-4afd-81e5-c47e2fe78778","total_bytes":null}],
            "problems":[]}"#;
        let devices = parse(report).unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].total_bytes, 80 << 30);
        assert_eq!(devices[0].identity.index, Some(0));
        let label = "NVIDIA H100 (GPU-a04154c4-0b88-4afd-81e5-c47e2fe78778)";
        assert_eq!(devices[0].label, label);
    }

    #[test]
    fn another_report_is_refused() {
        for report in [
            &br#"{"schema":"fcsp.devices/3","devices":[]}"#[..],
            br#"{"schema":"fcsp.devices/2","devices":[{"vendor":"cuda","uuid":"x"}]}"#,
            b"",
        ] {
            assert!(parse(report).is_err());
        }
        assert!(ask(OsStr::new("/nonexistent/fcsp"), None).is_err());
        assert!(ask(OsStr::new("false"), None).is_err());
    }
}
