//! Names of files and folders in the state folder. No other place spells them.
//!
//! ```text
//! <state>/promises.lock                    held while a new tenant's promises are checked
//! <state>/tenants/<tenant>/control         limits: the control page
//! <state>/tenants/<tenant>/<device>.region memory that the tenant's processes have reserved
//! <state>/tenants/<tenant>/setup.lock      the setup lock
//! <state>/tenants/<tenant>/managed         there if a command or an agent set the tenant up
//! <state>/tenants/<tenant>/outer           the folder of the outer tenant, for a part
//! <state>/tenants/<tenant>/root            programs that `fcsp run` started, one a line
//! <state>/tenants/<tenant>/devices         the device order, one UUID a line
//! <state>/tenants/.<tenant>.<pid>.<n>      a removed tenant's folder
//! <state>/open/<key>/tenants/<tenant>/     a tenant of root's whose programs may change their user
//! <state>/devices/<device>/<tenant>.page   a tenant's claim page
//! <state>/devices/<device>/<tenant>.units  compute units that a tenant has reserved
//! ```

use std::ffi::OsStr;

use crate::device::DeviceUuid;

/// Folder of the tenants' folders, and of their keys' folders.
pub const TENANTS: &str = "tenants";
/// Folder of the files that tenants of one device share.
pub const DEVICES: &str = "devices";
/// Folder of the keys.
pub const OPEN: &str = "open";
/// Lock that is held while a new tenant's promises are checked.
pub const PROMISES_LOCK: &str = "promises.lock";

/// Lock that orders the steps in which a tenant's files are made, checked and removed.
pub const SETUP_LOCK: &str = "setup.lock";
/// The control page.
pub const CONTROL: &str = "control";
/// Mark of a tenant whose control page was written by a command or an agent. Environment variables
/// do not replace such a page.
pub const MANAGED: &str = "managed";
/// File that names the folder of the outer tenant.
pub const OUTER: &str = "outer";
/// File with one line for each program that `fcsp run` started: number and start time.
pub const ROOTS: &str = "root";
/// File that keeps the device order: one UUID a line.
pub const DEVICE_ORDER: &str = "devices";

/// Ending of a region's name.
const REGION: &str = ".region";
/// Ending of a claim page's name, without its dot.
pub const CLAIM_PAGE: &str = "page";
/// Ending of the name of reserved compute units, without its dot.
pub const UNITS: &str = "units";

/// Returns the name of the region of `device` in a tenant's folder.
pub fn region(device: &DeviceUuid) -> String {
    format!("{device}{REGION}")
}

/// Returns the device whose region has this name. Other names are never printed on a terminal.
pub fn device_of_region(name: &OsStr) -> Option<DeviceUuid> {
    name.to_str()?.strip_suffix(REGION)?.parse().ok()
}

/// Returns the name of a tenant's claim page in a device's folder.
pub fn claim_page(tenant: &str) -> String {
    format!("{tenant}.{CLAIM_PAGE}")
}

/// Returns the name of the file with a tenant's reserved compute units in a device's folder.
pub fn units(tenant: &str) -> String {
    format!("{tenant}.{UNITS}")
}
