//! Amounts as people write them: bytes and percentages, with errors that say what would have been
//! accepted.

use std::fmt;

/// Parts per million: the resolution of every share in FCSP. 1 000 000 is the whole.
pub type Ppm = u32;

/// The whole, in parts per million.
pub const WHOLE: Ppm = 1_000_000;

/// Reason why a text is not an amount. It is shown after the name of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" {reason}")]
#[non_exhaustive]
pub struct UnitError {
    /// The text.
    pub text: String,
    /// The error, and what is accepted.
    pub reason: String,
}

fn error(text: &str, reason: impl Into<String>) -> UnitError {
    UnitError {
        text: text.to_owned(),
        reason: reason.into(),
    }
}

const BYTE_FORMS: &str =
    "write a number and a unit: 8GiB, 512MiB, 1.5GiB, 8GB (10^9) or plain bytes";
const PERCENT_FORMS: &str = "write one above 0% and up to 100%, such as 25%, 12.5% or 0.25";

/// Splits "1.5 GiB" into its number and its unit.
fn split(text: &str) -> (&str, &str) {
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(trimmed.len());
    (&trimmed[..end], trimmed[end..].trim_start())
}

/// Parses bytes. `KiB MiB GiB TiB` (also `Ki Mi Gi Ti` and `K M G T`) are powers of 1024; `KB MB GB
/// TB` are powers of 1000; no unit means bytes. Upper and lower case mean the same, except for `Gb`
/// and its like, which are bits. Zero is an error: a quota of nothing is a mistake, and no quota is
/// set by leaving it out.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "kb" | "mb" | "gb" | "tb"
            if unit.starts_with(|c: char| c.is_ascii_uppercase()) && unit.ends_with('b') =>
        {
            return Err(error(
                text,
                format!("counts bits by its unit \"{unit}\"; {BYTE_FORMS}"),
            ));
        }
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ if number.is_empty() => {
            return Err(error(
                text,
                format!("is not an amount of memory; {BYTE_FORMS}"),
            ));
        }
        _ => {
            return Err(error(
                text,
                format!("has the unknown unit \"{unit}\"; {BYTE_FORMS}"),
            ));
        }
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(scale),
        Err(_) => {
            let value = number
                .parse::<f64>()
                .map_err(|_| error(text, format!("is not an amount of memory; {BYTE_FORMS}")))?;
            let bytes = value * scale as f64;
            (bytes < u64::MAX as f64).then_some(bytes as u64)
        }
    };
    match bytes {
        None => Err(error(text, "is more than 64 bits can count")),
        Some(0) => Err(error(
            text,
            "is no memory at all; leave the limit out to have none",
        )),
        Some(bytes) => Ok(bytes),
    }
}

/// Least amount that is accepted without a unit. A smaller one was meant to have one.
const LEAST_BARE: u64 = 1 << 20;

/// Reports a small number without a unit, and its probable meaning: in bytes it is less than any
/// device allocation.
pub fn lacks_its_unit(text: &str) -> Option<UnitError> {
    let number = text.trim().parse::<u64>().ok()?;
    if number == 0 || number >= LEAST_BARE {
        return None;
    }
    let meant = match number {
        1..=100 => format!("{number}GiB or {number}%"),
        101..=999 => format!("{number}MiB or {number}GiB"),
        _ => format!("{number}MiB"),
    };
    Some(error(
        text,
        format!("has no unit, and so few bytes are of no use; did you mean {meant}?"),
    ))
}

/// Parses a share from "25%", or from a fraction of 1 with its point, such as "0.25". Every limit
/// that is a share has this grammar.
///
/// ```
/// use fcsp_core::units::parse_share;
///
/// assert_eq!(parse_share("25%"), parse_share("0.25"));
/// assert!(parse_share("25").is_err() && parse_share("1").is_err());
/// ```
pub fn parse_share(text: &str) -> Result<Ppm, UnitError> {
    match number(text.trim()) {
        Some(value) if text.contains('.') && value > 0.0 && value <= 1.0 => {
            percent(text, value * 100.0)
        }
        _ => parse_percent(text),
    }
}

/// Parses a share that may also be 0, as "0", "0%" or "0.0".
pub fn parse_share_or_zero(text: &str) -> Result<Ppm, UnitError> {
    let bare = text.trim().trim_end_matches('%').trim_end();
    match number(bare) {
        Some(0.0) => Ok(0),
        _ => parse_share(text),
    }
}

/// Returns whether a text without a percent sign is a fraction of 1 with its point.
pub(crate) fn is_fraction(text: &str) -> bool {
    text.contains('.') && number(text.trim()).is_some_and(|value| value > 0.0 && value <= 1.0)
}

/// Parses digits with at most one point: no sign, no exponent, no "inf".
fn number(text: &str) -> Option<f64> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_plain.then(|| text.parse().ok())?
}

/// Parses a share from "25%" or "25 %", more than 0 and at most 100, with up to four decimals.
pub fn parse_percent(text: &str) -> Result<Ppm, UnitError> {
    let number = text.trim();
    let (number, signed) = match number.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (number, false),
    };
    let reason = match self::number(number) {
        Some(value) if signed => return percent(text, value),
        Some(_) => "lacks its percent sign",
        None => "is not a percentage",
    };
    Err(error(text, format!("{reason}; {PERCENT_FORMS}")))
}

fn percent(text: &str, value: f64) -> Result<Ppm, UnitError> {
    let ppm = (value * 10_000.0).round();
    if !(1.0..=f64::from(WHOLE)).contains(&ppm) {
        return Err(error(text, format!("is out of range; {PERCENT_FORMS}")));
    }
    Ok(ppm as Ppm)
}

/// Bytes as people read them, "8.00 GiB", and write them ([`parse_bytes`]).
///
/// ```
/// use fcsp_core::units::Bytes;
///
/// let Bytes(bytes) = "8GiB".parse()?;
/// assert_eq!(bytes, 8 << 30);
/// # Ok::<(), fcsp_core::units::UnitError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl std::str::FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_bytes(text).map(Self)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        for (name, shift) in UNITS {
            if self.0 >= 1 << shift {
                let text = if self.0.is_multiple_of(1 << shift) {
                    format!("{} {name}", self.0 >> shift)
                } else {
                    format!("{:.2} {name}", self.0 as f64 / (1u64 << shift) as f64)
                };
                return f.pad(&text);
            }
        }
        f.pad(&format!("{} B", self.0))
    }
}

/// Display of a share for people: "25%", "12.5%".
///
/// ```
/// use fcsp_core::units::Percent;
///
/// assert_eq!(Percent(125_000).to_string(), "12.5%");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Percent(pub Ppm);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", f64::from(self.0) / 10_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_what_people_write() {
        for (text, bytes) in [
            ("8GiB", 8 << 30),
            ("8 GiB", 8 << 30),
            ("8Gi", 8 << 30),
            ("8g", 8 << 30),
            ("8GB", 8_000_000_000),
            ("1.5GiB", 3 << 29),
            ("4096", 4096),
            ("512m", 512 << 20),
            ("8gib", 8 << 30),
            ("8GIB", 8 << 30),
            ("8 Gib", 8 << 30),
            ("8gI", 8 << 30),
            ("8gb", 8_000_000_000),
            ("8kB", 8_000),
            ("2097152b", 2 << 20),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_percent("40%"), Ok(400_000));
        assert_eq!(parse_percent(" 12.5 %"), Ok(125_000));
        assert_eq!(parse_share("0.25"), Ok(250_000));
        assert_eq!(parse_share("25%"), Ok(250_000));
        assert_eq!(parse_share("1.0"), Ok(1_000_000));
    }

    #[test]
    fn refuses_and_names_the_accepted_form() {
        for text in [
            "8 gigs",
            "8Gb",
            "8Mb",
            "",
            "GiB",
            "-1",
            "8GiB!",
            "0",
            "0GiB",
            "1e9",
            "99999999999TiB",
        ] {
            let message = parse_bytes(text).expect_err(text).to_string();
            assert!(message.contains(&format!("\"{text}\"")), "{message}");
        }
        assert!(
            parse_bytes("8 gigs")
                .unwrap_err()
                .to_string()
                .contains("8GiB")
        );
        for text in ["101%", "0%", "40", "%", "-5%", "nan%", "inf%"] {
            let message = parse_percent(text).expect_err(text).to_string();
            assert!(message.contains("100%"), "{message}");
        }
        for text in ["25", "1", "0.0", "1.5", "0"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        for text in ["8", "40", "512", "81920", "1048575"] {
            assert!(lacks_its_unit(text).is_some(), "{text}");
        }
        for text in ["0", "1048576", "8GiB", "8B", "x"] {
            assert!(lacks_its_unit(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_units_round_trip(n in 1u64..1 << 20) {
            prop_assert_eq!(parse_bytes(&format!("{n}MiB")), Ok(n << 20));
            prop_assert_eq!(parse_bytes(&Bytes(n << 20).to_string()).unwrap() >> 20 , {
                // "1.23 GiB" is rounded for people: within half a percent.
                let shown = parse_bytes(&Bytes(n << 20).to_string()).unwrap();
                prop_assert!(shown.abs_diff(n << 20) * 200 <= n << 20);
                shown >> 20
            });
        }

        #[test]
        fn never_panics(text in ".{0,24}") {
            let _ = parse_bytes(&text);
            let _ = parse_percent(&text);
            let _ = parse_share(&text);
            let _ = lacks_its_unit(&text);
        }
    }
}
