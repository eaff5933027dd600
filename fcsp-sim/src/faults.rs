//! Faults and latency on demand, from `FCSP_SIM_FAULTS`.
//!
//! Rules are separated by `;`, each for one exported function: `cuMemAlloc_v2=2@3` (the third call
//! returns code 2), `=2@3+` (the third and later), `=2` (every call), `~50ms` (wait before the
//! effect; `@n` and `@n+` as above), `~~50ms` (wait after it, before returning), `!kill@2` (the
//! process kills itself before the effect of the second call), `!killafter@2` (after it, before
//! returning), `!crash@2` (SIGSEGV within the second call).
//!
//! A text that cannot be read, or a rule for a function that no simulated library has, is said on
//! stderr. The library's initialisation then fails: a fault test that silently tests nothing is
//! worse than a refusal.

use crate::first::First;
use crate::strict;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The environment variable with the rules.
pub const VARIABLE: &str = "FCSP_SIM_FAULTS";

/// Prefixes of each simulated library's functions.
const PREFIXES: [&str; 12] = [
    "cu", "nvml", "hip", "__hip", "rsmi_", "amdsmi_", "ze", "acl", "rt", "dcmi_", "syn", "hlml_",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Return(i32),
    Delay(Duration),
    DelayAfter(Duration),
    Kill,
    KillAfter,
    Crash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    act: Act,
    from: u64,
    onwards: bool,
}

impl Rule {
    fn hits(&self, call: u64) -> bool {
        call == self.from || (self.onwards && call > self.from)
    }
}

#[derive(Debug, Default)]
struct Site {
    calls: AtomicU64,
    rules: Vec<Rule>,
}

/// The fault that a call shows in place of, or after, its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Return this code and have no effect.
    pub code: Option<i32>,
    /// Wait once the effect is there.
    pub delay_after: Duration,
    /// Kill the process once the effect is there.
    pub kill_after: bool,
}

/// The rules of this process.
#[derive(Debug, Default)]
pub struct Faults {
    sites: HashMap<String, Site>,
}

/// The error in a fault text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// A rule of no known form.
    #[error(
        "FCSP_SIM_FAULTS: '{0}' is no rule; write name=code[@n[+]], name~time[@n[+]], name~~time[@n[+]], name!kill@n, name!killafter@n or name!crash@n"
    )]
    Form(String),
    /// A rule for a function that no simulated library exports.
    #[error(
        "FCSP_SIM_FAULTS: no simulated library exports '{0}'; write the name as `nm -D` of the library prints it"
    )]
    Name(String),
}

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let n: u64 = text[..split].parse().ok()?;
    Some(match &text[split..] {
        "ns" => Duration::from_nanos(n),
        "us" => Duration::from_micros(n),
        "ms" => Duration::from_millis(n),
        "s" => Duration::from_secs(n),
        _ => return None,
    })
}

fn rule(text: &str) -> Option<(String, Rule)> {
    let at = text.find(['=', '~', '!'])?;
    let (name, rest) = text.split_at(at);
    let (what, when) = match rest[1..].split_once('@') {
        Some((what, when)) => (what, Some(when)),
        None => (&rest[1..], None),
    };
    let (from, onwards) = match when {
        None => (1, true),
        Some(w) => (
            w.trim_end_matches('+').parse().ok().filter(|n| *n > 0)?,
            w.ends_with('+'),
        ),
    };
    let act = match (&rest[..1], what) {
        ("=", code) => Act::Return(code.parse().ok()?),
        ("~", time) if time.starts_with('~') => Act::DelayAfter(duration(&time[1..])?),
        ("~", time) => Act::Delay(duration(time)?),
        ("!", "kill") => Act::Kill,
        ("!", "killafter") => Act::KillAfter,
        ("!", "crash") => Act::Crash,
        _ => return None,
    };
    (!name.is_empty()).then(|| (name.to_string(), Rule { act, from, onwards }))
}

/// Raises what a wrong address does, in the calling thread. A handler of the program's may run.
fn crash() {
    // SAFETY: an integer.
    unsafe { libc::raise(libc::SIGSEGV) };
}

/// Ends this process as an outside `kill -9` would: no handler, no exit code, no clean-up.
pub fn kill_self() -> ! {
    // SAFETY: both calls take integers only; SIGKILL cannot be handled, so the loop is never run
    // for long.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

impl Faults {
    /// Reads a text of rules; empty for none.
    ///
    /// # Errors
    /// The first rule that cannot be read. A fault test that silently tests nothing is worse than a
    /// refusal.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        let mut sites: HashMap<String, Site> = HashMap::new();
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, r) = rule(part).ok_or_else(|| FaultError::Form(part.to_string()))?;
            sites.entry(name).or_default().rules.push(r);
        }
        Ok(Self { sites })
    }

    /// Refuses rules for functions that no simulated library has.
    ///
    /// # Errors
    /// The first name, in alphabetical order, that begins as one of `mine` and is not `known`, or
    /// as no library's names do. Names of other libraries are theirs to refuse.
    pub fn check(&self, mine: &[&str], known: impl Fn(&str) -> bool) -> Result<(), FaultError> {
        let mut names: Vec<&String> = self.sites.keys().collect();
        names.sort();
        for name in names {
            let prefix = PREFIXES.iter().filter(|p| name.starts_with(**p));
            let others = prefix
                .max_by_key(|p| p.len())
                .is_some_and(|p| !mine.contains(p));
            if !others && !known(name) {
                return Err(FaultError::Name(name.clone()));
            }
        }
        Ok(())
    }

    /// Returns true if there are no rules, which lets callers skip [`Faults::enter`] entirely.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Counts one call of `name`, waits or kills as its rules say, and tells the caller what else
    /// to do.
    pub fn enter(&self, name: &str) -> Verdict {
        let Some(site) = self.sites.get(name) else {
            return Verdict::default();
        };
        // Relaxed: a count, ordered with nothing; racing calls get distinct numbers, which is all
        // that is promised.
        let call = site.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let mut verdict = Verdict::default();
        for r in site.rules.iter().filter(|r| r.hits(call)) {
            match r.act {
                Act::Return(code) => verdict.code = Some(code),
                Act::Delay(d) => std::thread::sleep(d),
                Act::DelayAfter(d) => verdict.delay_after = d,
                Act::Kill => kill_self(),
                Act::KillAfter => verdict.kill_after = true,
                Act::Crash => crash(),
            }
        }
        verdict
    }
}

type Parsed = Result<Faults, FaultError>;

/// The rules of this process, as the environment had them at the first call.
static PARSED: First<Parsed> = First::new();

fn from_env() -> &'static Parsed {
    PARSED.get_or(|| Faults::parse(&std::env::var(VARIABLE).unwrap_or_default()))
}

/// Checks what the environment says of faults and strictness, for a library's initialisation. What
/// cannot be read is said on stderr.
///
/// # Errors
/// The sentence that was written.
pub fn check_environment(mine: &[&str], known: impl Fn(&str) -> bool) -> Result<(), String> {
    let faults = match from_env() {
        Ok(faults) => faults.check(mine, known).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    faults
        .and_then(|()| strict::check())
        .inspect_err(|text| strict::say(text))
}

/// Runs an exported function's body, which returns its code, with the faults asked for before and
/// after it. Messages name the function meanwhile.
pub fn around(name: &'static str, body: impl FnOnce() -> i32) -> i32 {
    let _call = strict::enter(name);
    let faults = match from_env() {
        Ok(faults) if !faults.is_empty() => faults,
        _ => return body(),
    };
    let verdict = faults.enter(name);
    if let Some(code) = verdict.code {
        return code;
    }
    let code = body();
    std::thread::sleep(verdict.delay_after);
    if verdict.kill_after {
        kill_self();
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_and_ranges() {
        let f = Faults::parse("a=2@3; b=700@2+ ;c=5;a=9@5").unwrap();
        let codes = |n: &str, k: usize| (0..k).map(|_| f.enter(n).code).collect::<Vec<_>>();
        assert_eq!(codes("a", 5), [None, None, Some(2), None, Some(9)]);
        assert_eq!(codes("b", 4), [None, Some(700), Some(700), Some(700)]);
        assert_eq!(codes("c", 2), [Some(5), Some(5)]);
        assert_eq!(codes("unknown", 1), [None]);
    }

    #[test]
    fn latency_is_waited_out() {
        let f = Faults::parse("a~20ms@1").unwrap();
        let t = std::time::Instant::now();
        f.enter("a");
        assert!(t.elapsed() >= Duration::from_millis(20));
        assert!(f.enter("a").code.is_none());
        let after = Faults::parse("a~~20ms@2").unwrap();
        assert_eq!(after.enter("a"), Verdict::default());
        assert_eq!(after.enter("a").delay_after, Duration::from_millis(20));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for bad in [
            "a",
            "a=x",
            "a=2@0",
            "a~5",
            "a~5weeks",
            "a~~",
            "a!explode@1",
            "=2",
            "a=2@",
        ] {
            assert!(Faults::parse(bad).is_err(), "{bad}");
        }
        assert!(Faults::parse(" ; ").unwrap().is_empty());
        let own = |name: &str| name == "cuInit";
        for (text, wrong) in [
            ("cuInit=2;nvmlInit=3;hipInit=1", None),
            ("cuInt=2;nvmlInit=3", Some("cuInt")),
            ("malloc=2", Some("malloc")),
        ] {
            let refused = Faults::parse(text).unwrap().check(&["cu"], own);
            assert_eq!(
                refused.err(),
                wrong.map(|w| FaultError::Name(w.into())),
                "{text}"
            );
        }
        assert!(Faults::parse("a!crash@2").unwrap().enter("a") == Verdict::default());
        assert!(Faults::parse("a!killafter@2").unwrap().enter("a") == Verdict::default());
    }
}
