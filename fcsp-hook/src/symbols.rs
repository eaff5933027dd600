//! Tables of every function of a vendor's library, and what each means for a quota or a share.
//!
//! An interposer is only as good as its list: an allocation that it has never heard of passes it
//! by. A backend's tables therefore name everything, also what needs no attention, and its test
//! `headers` fails when the vendor's headers declare a name that they lack.
//!
//! A table is text, one function a line: `symbol role base since note`, separated by tabs, the note
//! optional; lines that begin with `#` are comments.

use core::sync::atomic::{AtomicPtr, Ordering};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;

use crate::setup::SetupOnce;

/// Role of a call for FCSP.
///
/// A symbol has one role, which decides how it is wrapped; notes in the tables contain everything
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Hands out driver entry points, or starts the driver: where wrappers are put in place.
    Resolves,
    /// Creates, destroys or resizes contexts, which hold device memory of their own.
    Contexts,
    /// Loads or unloads device code, which lives in device memory.
    Modules,
    /// Obtains device memory, or a further hold on it, imports included.
    Allocates,
    /// Frees device memory, or releases a handle to it.
    Frees,
    /// Hands memory or driver tables to somebody outside this process's wrappers.
    Exports,
    /// Answers about the device, which must describe the tenant's part of it.
    Informs,
    /// Starts kernels or graphs: what a compute share governs.
    Launches,
    /// Puts device work on a stream that is not a kernel: copies, fills, migrations.
    Copies,
    /// Creates, orders, records or waits for streams and events.
    Streams,
    /// Has no effect on quota or share.
    Passes,
}

impl Role {
    /// Every role, in the order of the tables.
    pub const ALL: [Role; 11] = [
        Role::Resolves,
        Role::Contexts,
        Role::Modules,
        Role::Allocates,
        Role::Frees,
        Role::Exports,
        Role::Informs,
        Role::Launches,
        Role::Copies,
        Role::Streams,
        Role::Passes,
    ];

    /// Returns the word that the tables use.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Resolves => "resolves",
            Role::Contexts => "contexts",
            Role::Modules => "modules",
            Role::Allocates => "allocates",
            Role::Frees => "frees",
            Role::Exports => "exports",
            Role::Informs => "informs",
            Role::Launches => "launches",
            Role::Copies => "copies",
            Role::Streams => "streams",
            Role::Passes => "passes",
        }
    }

    /// Returns the role that a table means by `word`.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Name that the library exports (or that a newer library will).
    pub name: &'static str,
    /// Role for a quota or a share.
    pub role: Role,
    /// Name without what tells its variants apart (versions, kinds of streams).
    pub base: &'static str,
    /// Version, in the vendor's own numbers, from which its resolver answers `base` with this
    /// symbol, or from which the library has it; 0 when unknown.
    pub since: u32,
    /// Note with what the role alone does not say; often empty.
    pub note: &'static str,
}

/// The table of one library; read on first use.
#[derive(Debug)]
pub struct Table {
    text: &'static str,
    /// Null until it is read, then leaked. Without a lock, which a forked child might find taken.
    read: AtomicPtr<Read>,
}

#[derive(Debug)]
struct Read {
    symbols: Vec<Symbol>,
    places: HashMap<&'static str, usize>,
}

impl Table {
    /// Creates the table of `text`.
    pub const fn new(text: &'static str) -> Self {
        Self {
            text,
            read: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    fn read(&self) -> &Read {
        // SAFETY: leaked by `publish`, never freed. Acquire: read before its address was published.
        if let Some(read) = unsafe { self.read.load(Ordering::Acquire).as_ref() } {
            return read;
        }
        SetupOnce::publish(&self.read, || {
            let symbols = parse(self.text);
            let places = symbols
                .iter()
                .enumerate()
                .map(|(at, symbol)| (symbol.name, at));
            Read {
                places: places.collect(),
                symbols,
            }
        })
    }

    /// Finds the entry of an exported name; `None` for a name that the table lacks.
    pub fn find(&self, name: &str) -> Option<&Symbol> {
        let read = self.read();
        read.places.get(name).map(|&at| &read.symbols[at])
    }
}

impl Deref for Table {
    type Target = [Symbol];

    fn deref(&self) -> &[Symbol] {
        &self.read().symbols
    }
}

/// Returns the number of symbols of a table with each role, in the order of [`Role::ALL`].
pub fn counts(table: &[Symbol]) -> [(Role, usize); Role::ALL.len()] {
    Role::ALL.map(|role| {
        (
            role,
            table.iter().filter(|symbol| symbol.role == role).count(),
        )
    })
}

/// Returns the errors in the tables of a backend, in words, for unit tests. Every name must be
/// there once, and begin with its table's prefix and its own base. Variants of one function must
/// share its role, since a forgotten one would be a bypass.
pub fn faults(tables: &[(&[Symbol], &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen: HashMap<&str, Role> = HashMap::new();
    let mut bases: HashMap<&str, Role> = HashMap::new();
    for (table, prefix) in tables {
        for symbol in *table {
            let name = symbol.name;
            if !name.starts_with(prefix) {
                faults.push(format!("{name} does not begin with {prefix}"));
            }
            if !name.starts_with(symbol.base) {
                faults.push(format!("{name} is not a variant of {}", symbol.base));
            }
            if seen.insert(name, symbol.role).is_some() {
                faults.push(format!("{name} stands twice"));
            }
            let role = *bases.entry(symbol.base).or_insert(symbol.role);
            if role != symbol.role {
                faults.push(format!("{name} {} and another variant {role}", symbol.role));
            }
        }
    }
    faults
}

/// Returns the table of one library for people: the number of functions with each role, and how
/// many of them are wrapped.
pub fn summary(library: &str, table: &[Symbol], wrapped: &dyn Fn(&str) -> bool) -> String {
    let mut lines = vec![format!("{library}: {} functions", table.len())];
    for (role, count) in counts(table) {
        let these = table.iter().filter(|symbol| symbol.role == role);
        let inside = these.filter(|symbol| wrapped(symbol.name)).count();
        lines.push(format!("  {role:<10} {count:>4}, {inside:>3} wrapped"));
    }
    lines.join("\n")
}

/// Returns the exceptions of a list `unwrapped.tsv`: a name, or a base name with a star for all its
/// variants, and the reason.
pub fn exceptions(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('\t').unwrap_or((line, "")))
}

/// Returns true if an exception is about this function.
pub fn covers(exception: &str, symbol: &Symbol) -> bool {
    match exception.strip_suffix('*') {
        Some(base) => symbol.base == base,
        None => symbol.name == exception,
    }
}

/// Returns the contradictions between the tables of a backend, its wrappers, and its list of
/// exceptions (`unwrapped.tsv`), in words, for its test `coverage`. Every function with a role that
/// matters must be wrapped or excepted, not both. An exception must have a reason, be there once
/// and be about something.
pub fn gaps(
    tables: &[&[Symbol]],
    wrapped: &dyn Fn(&str) -> bool,
    unwrapped: &'static str,
) -> Vec<String> {
    let mut gaps = Vec::new();
    let matter = || {
        tables
            .iter()
            .flat_map(|table| table.iter())
            .filter(|symbol| symbol.role != Role::Passes)
    };
    for symbol in matter().filter(|symbol| !wrapped(symbol.name)) {
        if !exceptions(unwrapped).any(|(name, _)| covers(name, symbol)) {
            gaps.push(format!(
                "{} ({}) is neither wrapped nor excepted",
                symbol.name, symbol.role
            ));
        }
    }
    let mut seen = HashMap::new();
    for (name, reason) in exceptions(unwrapped) {
        if reason.len() < 10 {
            gaps.push(format!("{name} has no reason to speak of"));
        }
        if seen.insert(name, ()).is_some() {
            gaps.push(format!("{name} stands twice"));
        }
        if !matter().any(|symbol| covers(name, symbol)) {
            gaps.push(format!("{name} excepts nothing"));
        }
        if let Some(symbol) = matter().find(|symbol| covers(name, symbol) && wrapped(symbol.name)) {
            gaps.push(format!("{} is wrapped by now", symbol.name));
        }
    }
    gaps
}

/// Reads a table.
///
/// # Panics
///
/// On a malformed line. Tables are part of their crates, whose unit tests read them, so a release
/// cannot.
fn parse(text: &'static str) -> Vec<Symbol> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(parse_line)
        .collect()
}

fn parse_line(line: &'static str) -> Symbol {
    let mut columns = line.split('\t');
    let mut column = |what: &str| {
        columns
            .next()
            .unwrap_or_else(|| panic!("no {what} in {line:?}"))
    };
    let name = column("symbol");
    let role = column("role");
    let base = column("base");
    let since = column("since");
    Symbol {
        name,
        role: Role::from_word(role).unwrap_or_else(|| panic!("no role {role:?} in {line:?}")),
        base,
        since: since
            .parse()
            .unwrap_or_else(|_| panic!("no version {since:?} in {line:?}")),
        note: columns.next().unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GOOD: Table = Table::new(
        "# comment\nxAlloc\tallocates\txAlloc\t10\nxAlloc_v2\tallocates\txAlloc\t20\ta note\n",
    );

    #[test]
    fn tables_are_read_and_searched() {
        assert_eq!(GOOD.len(), 2);
        let symbol = GOOD.find("xAlloc_v2").unwrap();
        assert_eq!(
            (symbol.role, symbol.since, symbol.note),
            (Role::Allocates, 20, "a note")
        );
        assert!(GOOD.find("xFree").is_none());
        assert_eq!(
            counts(&GOOD).iter().map(|(_, n)| n).sum::<usize>(),
            GOOD.len()
        );
        assert_eq!(faults(&[(&GOOD, "x")]), Vec::<String>::new());
    }

    #[test]
    fn faults_are_found() {
        static BAD: Table = Table::new(
            "xAlloc\tallocates\txAlloc\t0\nxAlloc_v2\tpasses\txAlloc\t0\nyFree\tfrees\txFree\t0\n",
        );
        assert_eq!(faults(&[(&GOOD, "x"), (&BAD, "x")]).len(), 5);
    }

    #[test]
    fn gaps_between_tables_hooks_and_exceptions_are_found() {
        let none = |_: &str| false;
        let first = |name: &str| name == "xAlloc";
        let all = |_: &str| true;
        let tables: [&[Symbol]; 1] = [&GOOD];
        assert_eq!(gaps(&tables, &none, "").len(), 2);
        assert_eq!(gaps(&tables, &all, "# comment\n"), Vec::<String>::new());
        assert_eq!(
            gaps(&tables, &first, "xAlloc_v2\ta reason to speak of\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            gaps(&tables, &none, "xAlloc*\ta reason to speak of\n"),
            Vec::<String>::new()
        );
        // Wrapped by now; without a reason; twice; about nothing.
        let wrong = "xAlloc\ta reason to speak of\nxAlloc_v2\tno\nxAlloc_v2\ta reason to speak of\nxOther\ta reason to speak of\n";
        assert_eq!(gaps(&tables, &first, wrong).len(), 4);
        assert!(summary("x", &GOOD, &first).contains("allocates     2,   1 wrapped"));
    }

    #[test]
    fn words_and_roles_belong_together() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
    }
}
