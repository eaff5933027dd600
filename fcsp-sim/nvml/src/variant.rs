//! How management libraries differ from one system to another, chosen by `FCSP_SIM_NVML`.

use fcsp_sim::process::HOST_NUMBERS;

/// The environment variable: words separated by commas.
const VARIABLE: &str = "FCSP_SIM_NVML";

/// Differences from a plain system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variant {
    /// `na`: a process's memory is "not available", as on WSL2, GB10 and in guests with virtual
    /// GPUs.
    pub not_available: bool,
    /// `hostpid`: processes are listed by numbers of another PID namespace than the reader's.
    pub host_numbers: bool,
    /// `mps`: processes are in the list of MPS clients alone.
    pub mps: bool,
    /// `unlisted`: no process is listed.
    pub unlisted: bool,
    /// `uma`: the device's memory is not told, as where it is the host's.
    pub unified: bool,
}

impl Variant {
    /// Reads the environment.
    ///
    /// # Errors
    /// A sentence that names the variable, the word and the accepted words.
    pub fn from_env() -> Result<Self, String> {
        Self::parse(&std::env::var(VARIABLE).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut v = Self::default();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let switch = match word {
                "na" => &mut v.not_available,
                "hostpid" => &mut v.host_numbers,
                "mps" => &mut v.mps,
                "unlisted" => &mut v.unlisted,
                "uma" => &mut v.unified,
                _ => {
                    return Err(format!(
                        "{VARIABLE}: '{word}' is not one of na, hostpid, mps, unlisted, uma"
                    ));
                }
            };
            *switch = true;
        }
        Ok(v)
    }

    /// Returns a process's number as this system lists it.
    pub fn number(&self, pid: u32) -> u32 {
        if self.host_numbers {
            pid + HOST_NUMBERS
        } else {
            pid
        }
    }

    /// Returns a process's memory as this system tells it.
    pub fn bytes(&self, bytes: u64) -> u64 {
        // NVML_VALUE_NOT_AVAILABLE of nvml.h.
        if self.not_available { u64::MAX } else { bytes }
    }
}
