//! Result of an operation, and the text in which workers report it.

use std::fmt;

/// Something that an operation reads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Must be the same in every run.
    Exact(u64),
    /// An amount of memory, compared with a tolerance.
    Bytes(i64),
    /// Value that is not compared, for a reader of the record.
    Shown(u64),
}

/// The code of an operation's last call, and what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The driver's code; negative if nothing was done.
    pub code: i32,
    /// Values in the order in which they were read.
    pub values: Vec<Value>,
}

impl Outcome {
    /// Nothing was done: an object of the operation was not there.
    pub const SKIP: Self = Self {
        code: -1,
        values: Vec::new(),
    };

    /// Creates an outcome of a code alone.
    pub fn new(code: i32) -> Self {
        Self {
            code,
            values: Vec::new(),
        }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, value: Value) -> Self {
        self.values.push(value);
        self
    }

    /// Adds a value that must be the same in every run.
    #[must_use]
    pub fn exact(self, value: impl Into<u64>) -> Self {
        self.with(Value::Exact(value.into()))
    }

    /// Adds a code of another call.
    #[must_use]
    pub fn and(self, code: i32) -> Self {
        self.with(Value::Exact(code as u64))
    }

    /// Returns true if the operation was skipped.
    pub fn is_skip(&self) -> bool {
        self.code < 0
    }
}

/// The outcome of the operation at a place of the program, or of the destruction after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Index of the operation; `usize::MAX` for what follows the program.
    pub at: usize,
    /// Outcome of the operation.
    pub outcome: Outcome,
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            usize::MAX => write!(out, "end")?,
            at => write!(out, "{at}")?,
        }
        if self.outcome.is_skip() {
            return write!(out, " -");
        }
        write!(out, " {}", self.outcome.code)?;
        for value in &self.outcome.values {
            match value {
                Value::Exact(value) => write!(out, " {value}")?,
                Value::Bytes(value) => write!(out, " ~{value}")?,
                Value::Shown(value) => write!(out, " ?{value}")?,
            }
        }
        Ok(())
    }
}

impl Record {
    /// Reads a line of a report.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let at = match words.next()? {
            "end" => usize::MAX,
            number => number.parse().ok()?,
        };
        let code = match words.next()? {
            "-" => {
                return words.next().is_none().then_some(Self {
                    at,
                    outcome: Outcome::SKIP,
                });
            }
            number => number.parse().ok()?,
        };
        let values = words
            .map(|word| {
                Some(if let Some(bytes) = word.strip_prefix('~') {
                    Value::Bytes(bytes.parse().ok()?)
                } else if let Some(shown) = word.strip_prefix('?') {
                    Value::Shown(shown.parse().ok()?)
                } else {
                    Value::Exact(word.parse().ok()?)
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            at,
            outcome: Outcome { code, values },
        })
    }
}

/// Computes FNV-1a over bytes, which stands for contents in a record.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_text() {
        let outcome = Outcome::new(2)
            .exact(u64::MAX)
            .with(Value::Bytes(-5))
            .with(Value::Shown(9));
        for record in [
            Record { at: 7, outcome },
            Record {
                at: usize::MAX,
                outcome: Outcome::SKIP,
            },
        ] {
            assert_eq!(Record::parse(&record.to_string()), Some(record));
        }
        assert_eq!(Record::parse("7 x"), None);
        assert_eq!(Record::parse("7 - 1"), None);
    }
}
