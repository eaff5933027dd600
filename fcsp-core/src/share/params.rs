//! Compute parameters: a tenant's share of a device's time, and the mode in which it is enforced.

use std::fmt;
use std::str::FromStr;

use crate::units::{self, Percent, Ppm, WHOLE};

/// Parameter that could not be understood or does not fit the others. The message starts with the
/// field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
#[non_exhaustive]
pub struct ParamError {
    /// Name of the field, as a user writes it.
    pub field: &'static str,
    /// The error, and what is accepted.
    pub reason: String,
}

fn error(field: &'static str, reason: impl Into<String>) -> ParamError {
    ParamError {
        field,
        reason: reason.into(),
    }
}

/// Mode in which a share is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// No launch is delayed, and no neighbour yields. A backend may leave such a tenant's time
    /// uncounted.
    None,
    /// The share and no more, whatever the neighbours do: a hard cap.
    Strict,
    /// The guarantee, and idle time in addition (work-conserving).
    #[default]
    Balanced,
    /// Balanced. In addition, the bound on work in flight follows the measured contention, and
    /// yielding follows the sensitivity of the work ([`crate::share::mix`]).
    Adaptive,
}

impl Mode {
    /// Returns the mode's number in claim pages.
    pub const fn code(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Strict => 1,
            Self::Balanced => 2,
            Self::Adaptive => 3,
        }
    }

    /// Returns the mode with this number.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::None,
            1 => Self::Strict,
            2 => Self::Balanced,
            3 => Self::Adaptive,
            _ => return None,
        })
    }
}

impl FromStr for Mode {
    type Err = ParamError;

    fn from_str(text: &str) -> Result<Self, ParamError> {
        match text.trim() {
            "none" => Ok(Self::None),
            "strict" => Ok(Self::Strict),
            "balanced" => Ok(Self::Balanced),
            "adaptive" => Ok(Self::Adaptive),
            other => Err(error(
                "mode",
                format!("\"{other}\" is not a mode; write none, strict, balanced or adaptive"),
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Strict => "strict",
            Self::Balanced => "balanced",
            Self::Adaptive => "adaptive",
        })
    }
}

/// Class that orders tenants. A greater value goes before a lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Stops while a tenant of a higher class has work, down to its floor.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Never waits; other tenants stop at their next launch.
    High,
}

impl Priority {
    /// Returns the class's number in claim pages.
    pub const fn code(self) -> u32 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
        }
    }

    /// Returns the class with this number.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Low,
            1 => Self::Normal,
            2 => Self::High,
            _ => return None,
        })
    }
}

impl FromStr for Priority {
    type Err = ParamError;

    fn from_str(text: &str) -> Result<Self, ParamError> {
        match text.trim() {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            other => Err(error(
                "priority",
                format!("\"{other}\" is not a priority; write low, normal or high"),
            )),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

/// Parses a share above 0, such as "25%" or "0.25", by [`units::parse_share`]. `field` is named in
/// the error.
pub fn parse_share(field: &'static str, text: &str) -> Result<Ppm, ParamError> {
    units::parse_share(text).map_err(|reason| error(field, reason.to_string()))
}

fn share_or_zero(field: &'static str, text: &str) -> Result<Ppm, ParamError> {
    units::parse_share_or_zero(text).map_err(|reason| error(field, reason.to_string()))
}

/// Time over which a saved burst may be spent, ns.
pub const BURST_WINDOW_NS: u64 = 100_000_000;
/// Cap of a token bucket without a burst, ns of GPU time.
pub const DEFAULT_CAP_NS: u64 = 10_000_000;
/// Default floor, unless the share is smaller.
pub const DEFAULT_FLOOR: Ppm = 50_000;
/// Greatest weight.
pub const MAX_WEIGHT: u32 = 1_000_000;

/// Tenant's share of one device.
///
/// ```
/// use fcsp_core::share::params::{Params, Priority};
///
/// // A quarter of the device's time and no more.
/// let strict = Params::strict_percent(25)?;
/// assert_eq!(strict, Params::strict(250_000));
/// // Half of it, and idle time in addition.
/// let mut balanced = Params::balanced_percent(50)?;
/// balanced.priority = Priority::High;
/// balanced.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Mode in which the share is enforced.
    pub mode: Mode,
    /// Guaranteed part of the device's time (the guarantee).
    pub guarantee: Ppm,
    /// Part of the device's time that stays while tenants of a higher priority have work. At most
    /// the share.
    pub floor: Ppm,
    /// Pool limit: the most surplus that the tenant may use, as a part of the device's time.
    /// [`WHOLE`] is no limit.
    pub pool: Ppm,
    /// Share at which saved tokens may be spent for [`BURST_WINDOW_NS`]. It is 0 for no burst, else
    /// at least the guarantee.
    pub burst: Ppm,
    /// Class that orders tenants.
    pub priority: Priority,
    /// Weight in the surplus, 1 to [`MAX_WEIGHT`]. The default is the share.
    pub weight: u32,
}

impl Default for Params {
    /// Returns the whole device, counted and not limited.
    fn default() -> Self {
        Self {
            mode: Mode::None,
            ..Self::balanced(WHOLE)
        }
    }
}

impl Params {
    /// Returns a balanced share of `guarantee`, with defaults for the rest.
    pub const fn balanced(guarantee: Ppm) -> Self {
        Self {
            mode: Mode::Balanced,
            guarantee,
            floor: if guarantee < DEFAULT_FLOOR {
                guarantee
            } else {
                DEFAULT_FLOOR
            },
            pool: WHOLE,
            burst: 0,
            priority: Priority::Normal,
            weight: guarantee,
        }
    }

    /// Returns a strict share of `guarantee`.
    pub const fn strict(guarantee: Ppm) -> Self {
        Self {
            mode: Mode::Strict,
            ..Self::balanced(guarantee)
        }
    }

    /// Returns a strict share of this many hundredths of a device's time.
    ///
    /// # Errors
    ///
    /// The number is not from 1 to 100.
    pub fn strict_percent(percent: u32) -> Result<Self, ParamError> {
        parse_share("compute", &format!("{percent}%")).map(Self::strict)
    }

    /// Returns a balanced share of this many hundredths of a device's time.
    ///
    /// # Errors
    ///
    /// As for [`Params::strict_percent`].
    pub fn balanced_percent(percent: u32) -> Result<Self, ParamError> {
        parse_share("compute", &format!("{percent}%")).map(Self::balanced)
    }

    /// Returns the parameters with another mode.
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Returns the parameters with another priority.
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Returns the share for a tenant whose work runs only on `part` of the device's compute units.
    /// Time there is worth only that part of the device, so the shares grow accordingly. If the
    /// reserved units are no more than the share, all of their time is guaranteed. A hard cap then
    /// gains nothing, since the tenant cannot use more than its units.
    pub fn within(self, part: Ppm) -> Self {
        if part >= WHOLE || part == 0 || self.mode == Mode::None {
            return self;
        }
        let scaled = |share: Ppm| {
            let scaled = u64::from(share) * u64::from(WHOLE) / u64::from(part);
            scaled.min(u64::from(WHOLE)) as Ppm
        };
        let guarantee = scaled(self.guarantee);
        Self {
            mode: match self.mode {
                Mode::Strict if guarantee == WHOLE => Mode::Balanced,
                mode => mode,
            },
            guarantee,
            floor: scaled(self.floor),
            pool: scaled(self.pool),
            burst: scaled(self.burst),
            ..self
        }
    }

    /// Returns true if nothing is guaranteed and nothing limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Sets one parameter from text: `compute`, `mode`, `priority`, `floor`, `shared_pool`, `burst`
    /// or `weight`. `compute` also sets the weight and lowers the floor, if they followed the old
    /// share.
    pub fn set(&mut self, field: &str, text: &str) -> Result<(), ParamError> {
        match field {
            "compute" => {
                let guarantee = parse_share("compute", text)?;
                let follows = self.weight == self.guarantee;
                let floor_follows =
                    self.floor == self.guarantee.min(DEFAULT_FLOOR) || self.floor > guarantee;
                self.guarantee = guarantee;
                if follows {
                    self.weight = guarantee;
                }
                if floor_follows {
                    self.floor = guarantee.min(DEFAULT_FLOOR);
                }
            }
            "mode" => self.mode = text.parse()?,
            "priority" => self.priority = text.parse()?,
            "floor" => self.floor = share_or_zero("floor", text)?,
            "shared_pool" => self.pool = share_or_zero("shared_pool", text)?,
            "burst" => self.burst = share_or_zero("burst", text)?,
            "weight" => {
                self.weight = text.trim().parse().map_err(|_| {
                    error(
                        "weight",
                        format!("\"{text}\" is not a weight; write a whole number from 1"),
                    )
                })?;
            }
            other => {
                return Err(error(
                    "compute",
                    format!(
                        "has no parameter \"{other}\"; there are compute, mode, priority, floor, shared_pool, burst, weight"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Checks the parameters against each other.
    pub fn validate(&self) -> Result<(), ParamError> {
        let percent = |ppm| Percent(ppm).to_string();
        if self.guarantee == 0 || self.guarantee > WHOLE {
            return Err(error(
                "compute",
                format!("{} is not above 0 and up to 100%", percent(self.guarantee)),
            ));
        }
        if self.floor > self.guarantee {
            return Err(error(
                "floor",
                format!(
                    "{} is more than the guarantee of {}",
                    percent(self.floor),
                    percent(self.guarantee)
                ),
            ));
        }
        if self.pool > WHOLE {
            return Err(error(
                "shared_pool",
                format!("{} is more than the device", percent(self.pool)),
            ));
        }
        if self.burst > WHOLE || (self.burst != 0 && self.burst < self.guarantee) {
            return Err(error(
                "burst",
                format!(
                    "{} is not between the guarantee of {} and 100%; leave it out for no burst",
                    percent(self.burst),
                    percent(self.guarantee)
                ),
            ));
        }
        if self.weight == 0 || self.weight > MAX_WEIGHT {
            return Err(error(
                "weight",
                format!("{} is not from 1 to {MAX_WEIGHT}", self.weight),
            ));
        }
        Ok(())
    }

    /// Returns the cap of the tenant's token bucket, ns of GPU time.
    pub const fn cap_ns(&self) -> u64 {
        // The burst and the share are at most a million: the product stays below 10^14.
        DEFAULT_CAP_NS
            + self.burst.saturating_sub(self.guarantee) as u64 * BURST_WINDOW_NS / WHOLE as u64
    }

    /// Returns the parameters as words of a control page.
    pub const fn to_words(&self) -> [u64; 8] {
        [
            self.mode.code() as u64 | ((self.priority.code() as u64) << 8),
            self.guarantee as u64,
            self.floor as u64,
            self.pool as u64,
            self.burst as u64,
            self.weight as u64,
            0,
            0,
        ]
    }

    /// Reads the parameters from words of a control page. Returns `None` unless they are valid.
    pub fn from_words(words: &[u64; 8]) -> Option<Self> {
        let small = |word: u64| u32::try_from(word).ok();
        let params = Self {
            mode: Mode::from_code((words[0] & 0xff) as u32)?,
            priority: Priority::from_code(small(words[0] >> 8)?)?,
            guarantee: small(words[1])?,
            floor: small(words[2])?,
            pool: small(words[3])?,
            burst: small(words[4])?,
            weight: small(words[5])?,
        };
        params.validate().ok().map(|()| params)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Percent(self.guarantee), self.mode)?;
        if self.priority != Priority::Normal {
            write!(f, ", priority {}", self.priority)?;
        }
        if self.floor != self.guarantee.min(DEFAULT_FLOOR) {
            write!(f, ", floor {}", Percent(self.floor))?;
        }
        if self.burst != 0 {
            write!(f, ", burst {}", Percent(self.burst))?;
        }
        if self.pool != WHOLE {
            write!(f, ", shared pool {}", Percent(self.pool))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_a_part_is_worth_that_part() {
        let quarter = Params::strict(250_000);
        assert_eq!(quarter.within(WHOLE), quarter);
        let on_half = quarter.within(500_000);
        assert_eq!(
            (on_half.mode, on_half.guarantee, on_half.floor),
            (Mode::Strict, 500_000, 100_000)
        );
        on_half.validate().unwrap();
        // Reserved units that are less than the share enforce it by themselves.
        let on_less = quarter.within(236_842);
        assert_eq!((on_less.mode, on_less.guarantee), (Mode::Balanced, WHOLE));
        on_less.validate().unwrap();
        let mut burst = quarter;
        burst.burst = 600_000;
        burst.within(300_000).validate().unwrap();
    }
}
