//! The vendors whose preload libraries go into a program.

use std::str::FromStr;

use fcsp_tenancy::{UnknownVendor, Vendor};

/// Checks the variables that only one vendor's library reads. Returns one sentence for each wrong
/// one, which begins with its name.
pub fn wrong_settings() -> Vec<String> {
    let value = |name| {
        std::env::var_os(name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let cores = fcsp_ascend::cores::setting().map(drop);
    let wait = fcsp_gaudi::context::read_wait(&value(fcsp_gaudi::context::WAIT_VARIABLE)).map(drop);
    [cores, wait].into_iter().filter_map(Result::err).collect()
}

/// Value of `fcsp run --vendor`: one vendor, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    One(Vendor),
    /// Every one.
    All,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Choice::All),
            text => text
                .parse()
                .map(Choice::One)
                .map_err(|error: UnknownVendor| format!("{error}, all")),
        }
    }
}

/// A vendor whose library goes into a program, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// The vendor.
    pub vendor: Vendor,
    /// Asked for by name.
    pub named: bool,
    /// Its driver is installed.
    pub installed: bool,
}

/// Picks CUDA, every installed vendor, and every named vendor.
///
/// Each library answers look-ups for its own vendor and passes others to the next, so any order
/// works. The most likely ones come first: vendors whose driver is installed, then named ones, and
/// CUDA among equals.
pub fn pick(chosen: &[Choice], installed: impl Fn(Vendor) -> bool) -> Vec<Picked> {
    let mut picked: Vec<Picked> = Vendor::ALL
        .into_iter()
        .map(|vendor| Picked {
            vendor,
            named: chosen.contains(&Choice::All) || chosen.contains(&Choice::One(vendor)),
            installed: installed(vendor),
        })
        .filter(|picked| picked.vendor == Vendor::Cuda || picked.named || picked.installed)
        .collect();
    picked.sort_by_key(|picked| (!picked.installed, !picked.named));
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(chosen: &[&str], installed: &[Vendor]) -> Vec<&'static str> {
        let chosen: Vec<Choice> = chosen.iter().map(|text| text.parse().unwrap()).collect();
        pick(&chosen, |vendor| installed.contains(&vendor))
            .into_iter()
            .map(|picked| picked.vendor.name())
            .collect()
    }

    #[test]
    fn the_vendor_that_is_there_answers_look_ups() {
        assert_eq!(order(&[], &[]), ["cuda"]);
        assert_eq!(order(&[], &[Vendor::Hip]), ["hip", "cuda"]);
        assert_eq!(order(&["hip"], &[Vendor::Cuda]), ["cuda", "hip"]);
        assert_eq!(order(&["hip"], &[]), ["hip", "cuda"]);
        assert_eq!(
            order(&["gaudi", "hip"], &[Vendor::Gaudi]),
            ["gaudi", "hip", "cuda"]
        );
        assert_eq!(order(&["all"], &[]), Vendor::ALL.map(Vendor::name));
        assert!(
            "nvidia"
                .parse::<Choice>()
                .unwrap_err()
                .contains("gaudi, all")
        );
    }
}
