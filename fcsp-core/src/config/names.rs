//! Names of the variables that FCSP reads, and the probable meaning of an unknown name.
//!
//! A misspelt limit is no limit: `FCSP_MEMORY=1GiB` once left a program with the whole device.
//! `fcsp run` refuses such a name, and the preload library reports it under `FCSP_LOG`.

/// Name that FCSP reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: &'static str,
    /// Separator between the name and a device's number, for variables that may have a number.
    pub per_device: Option<&'static str>,
    /// True for a variable that sets a limit or names the tenant.
    pub setting: bool,
}

const fn setting(name: &'static str) -> Known {
    Known {
        name,
        per_device: None,
        setting: true,
    }
}

const fn by_device(name: &'static str, per_device: &'static str) -> Known {
    Known {
        name,
        per_device: Some(per_device),
        setting: true,
    }
}

const fn other(name: &'static str) -> Known {
    Known {
        name,
        per_device: None,
        setting: false,
    }
}

/// Every variable that any part of FCSP reads, including those of other products.
pub const KNOWN: [Known; 37] = [
    by_device("FCSP_MEMORY_LIMIT", "_"),
    by_device("FCSP_COMPUTE_LIMIT", "_"),
    setting("FCSP_MODE"),
    setting("FCSP_PRIORITY"),
    setting("FCSP_FLOOR"),
    setting("FCSP_SHARED_POOL"),
    setting("FCSP_BURST"),
    setting("FCSP_SPATIAL"),
    setting("FCSP_TENANT"),
    by_device("BUD_MEMORY_LIMIT", "_DEV"),
    by_device("BUD_SM_LIMIT", "_DEV"),
    by_device("BUD_COMPUTE_LIMIT", "_DEV"),
    setting("BUD_ISOLATION_MODE"),
    setting("BUD_TENANT_FLOOR_PCT"),
    setting("BUD_SHARED_POOL_PCT"),
    setting("BUD_BURST_MAX_PCT"),
    by_device("CUDA_DEVICE_MEMORY_LIMIT", "_"),
    by_device("CUDA_DEVICE_SM_LIMIT", "_"),
    setting("CUDA_TASK_PRIORITY"),
    other("FCSP_ACCOUNT_TIME"),
    other("FCSP_ASCEND_CORES"),
    other("FCSP_EMBED_DIR"),
    other("FCSP_GAUDI_WAIT"),
    other("FCSP_HEADERS"),
    other("FCSP_LEVELZERO_DRIVER"),
    other("FCSP_LIB_DIR"),
    other("FCSP_LOG"),
    other("FCSP_OFFLINE"),
    other("FCSP_OUTER"),
    other("FCSP_SIM"),
    other("FCSP_SIM_FAULTS"),
    other("FCSP_SIM_KERNELS"),
    other("FCSP_SIM_LOG"),
    other("FCSP_SIM_STATE"),
    other("FCSP_STATE_DIR"),
    other("FCSP_TEST_PROCESSES"),
    other("FCSP_TREE"),
];

impl Known {
    /// Returns true if `name` is this variable, or its form for one device.
    pub fn is(&self, name: &str) -> bool {
        name.strip_prefix(self.name).is_some_and(|rest| {
            rest.is_empty()
                || self.per_device.is_some_and(|between| {
                    rest.strip_prefix(between)
                        .is_some_and(|number| number.parse::<u32>().is_ok())
                })
        })
    }
}

/// Returns true if the variable sets a limit or names the tenant.
pub fn is_setting(name: &str) -> bool {
    KNOWN.iter().any(|known| known.setting && known.is(name))
}

/// Variable that is set, that no part of FCSP reads, and that was meant for FCSP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: is not a variable of FCSP, and sets nothing; {}", advice(.meant))]
pub struct Unknown {
    /// Name of the variable.
    pub name: String,
    /// Variable that was probably meant.
    pub meant: Option<&'static str>,
}

fn advice(meant: &Option<&'static str>) -> String {
    match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => "unset it, or correct its name (README.md lists them all)".to_owned(),
    }
}

/// Most changes of one letter between a name and the variable that was meant.
const NEAR: usize = 2;
/// The same for a name that begins with `FCSP_`, which can only be meant for FCSP.
const NEAR_OWN: usize = 4;

/// Returns the error in the name of a variable that is set, if there is one. A foreign name is an
/// error if it is nearly the name of a setting, such as `FSCP_MEMORY_LIMIT`.
pub fn wrong(name: &str) -> Option<Unknown> {
    if KNOWN.iter().any(|known| known.is(name)) || name.starts_with("FCSP_SIM_") {
        return None;
    }
    // Variables have short names: a long one is no slip, and the comparison below takes time.
    if name.len() > 64 || !name.is_ascii() {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let own = upper.starts_with("FCSP_");
    // A name that stops early: FCSP_MEMORY.
    let begun = KNOWN
        .iter()
        .find(|known| own && upper.len() > "FCSP_".len() && known.name.starts_with(&upper));
    let nearest = KNOWN
        .iter()
        .filter(|known| known.setting || own)
        .map(|known| (distance(&upper, known.name), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= if own { NEAR_OWN } else { NEAR })
        .map(|(_, known)| known);
    let meant = begun.or(nearest).map(|known| known.name);
    (own || meant.is_some()).then(|| Unknown {
        name: name.to_owned(),
        meant,
    })
}

/// Returns the number of letters to insert, remove, replace or swap with the next one to turn `a`
/// into `b`. Both are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            row[j + 1] = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exact_names_and_their_numbers_are_settings() {
        for name in [
            "FCSP_MEMORY_LIMIT",
            "FCSP_MEMORY_LIMIT_3",
            "BUD_MEMORY_LIMIT_DEV0",
            "CUDA_TASK_PRIORITY",
            "FCSP_TENANT",
        ] {
            assert!(is_setting(name), "{name}");
            assert_eq!(wrong(name), None);
        }
        for name in [
            "FCSP_MODE_X",
            "FCSP_MEMORY_LIMIT_x",
            "FCSP_LOG",
            "FCSP_SIM",
            "PATH",
        ] {
            assert!(!is_setting(name), "{name}");
        }
    }

    #[test]
    fn a_slip_is_told_what_it_was_meant_to_be() {
        for (name, meant) in [
            ("FCSP_MEMORY", Some("FCSP_MEMORY_LIMIT")),
            ("FCSP_MEMORY_LIMT", Some("FCSP_MEMORY_LIMIT")),
            ("FCSP_MEM_LIMIT", Some("FCSP_MEMORY_LIMIT")),
            ("FCSP_COMPUTE", Some("FCSP_COMPUTE_LIMIT")),
            ("FCSP_MODES", Some("FCSP_MODE")),
            ("FSCP_MEMORY_LIMIT", Some("FCSP_MEMORY_LIMIT")),
            ("fcsp_memory_limit", Some("FCSP_MEMORY_LIMIT")),
            ("FCSP_MEMORY_LIMIT_X", Some("FCSP_MEMORY_LIMIT")),
            (
                "CUDA_DEVICE_MEMORY_LIMITS",
                Some("CUDA_DEVICE_MEMORY_LIMIT"),
            ),
            ("FCSP_WHATEVER", None),
        ] {
            let found = wrong(name).unwrap_or_else(|| panic!("{name} was taken for right"));
            assert_eq!(found.meant, meant, "{name}");
            assert!(
                found.to_string().starts_with(&format!("{name}: ")),
                "{found}"
            );
        }
        for name in [
            "PATH",
            "HOME",
            "CUDA_VISIBLE_DEVICES",
            "CUDA_DEVICE_ORDER",
            "CUDA_DEVICE_MAX_CONNECTIONS",
            "CUDA_DEVICE_MEMORY_SHARED_CACHE",
            "FCSP_LOG",
            "FCSP_SIM_FAULTS",
            "FCSP_SIM_ANYTHING",
            "MODE",
        ] {
            assert_eq!(wrong(name), None);
        }
    }

    proptest! {
        #[test]
        fn any_name_has_an_answer(name in "[A-Z_a-z0-9]{0,80}") {
            let _ = wrong(&name);
        }
    }
}
