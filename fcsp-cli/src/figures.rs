//! Parts of the time, lengths of time and mixes, for tables.

use std::collections::BTreeMap;

/// Writes the largest parts of a mix for people, the greatest first, in at most `most` words.
pub fn mostly(mix: &BTreeMap<&'static str, f64>, most: usize) -> String {
    let mut parts: Vec<_> = mix.iter().filter(|&(_, &part)| part >= 0.01).collect();
    parts.sort_by(|a, b| b.1.total_cmp(a.1));
    let words: Vec<String> = parts
        .into_iter()
        .take(most)
        .map(|(name, part)| format!("{} {:.0}%", name.replace('_', "-"), part * 100.0))
        .collect();
    if words.is_empty() {
        "-".into()
    } else {
        words.join(" ")
    }
}

/// Writes a part of the time for people; "-" of nothing.
pub fn percent(part: Option<f64>) -> String {
    part.map_or("-".into(), |part| format!("{:.0}%", part * 100.0))
}

/// Writes a length of device time for people, in at most six characters.
pub fn time(ns: u64) -> String {
    match ns {
        0 => "-".into(),
        1..1_000 => "<1us".into(),
        1_000..1_000_000 => format!("{}us", ns / 1_000),
        1_000_000..100_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        100_000_000..10_000_000_000 => format!("{}ms", ns / 1_000_000),
        _ => format!("{}s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_parts_come_first() {
        assert_eq!(
            mostly(&BTreeMap::from([("attention", 1.0)]), 2),
            "attention 100%"
        );
        assert_eq!(mostly(&BTreeMap::new(), 2), "-");
        let three = BTreeMap::from([("gemm", 0.6), ("memory_bound", 0.3), ("copy", 0.1)]);
        assert_eq!(mostly(&three, 2), "gemm 60% memory-bound 30%");
    }

    #[test]
    fn times_are_short() {
        for (ns, text) in [
            (0, "-"),
            (900, "<1us"),
            (42_000, "42us"),
            (1_500_000, "1.5ms"),
            (250_000_000, "250ms"),
            (9_999_000_000, "9999ms"),
            (61_000_000_000, "61s"),
        ] {
            assert_eq!(time(ns), text);
            assert!(text.len() <= 6);
        }
    }
}
