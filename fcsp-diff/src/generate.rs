//! From a seed to a program.
//!
//! The generator keeps a list of what would be alive if every call succeeded, so that most
//! operations have something to work on. It need not be right: the worker skips what cannot be
//! done.

use crate::program::{Argument, Code, FIRST_ID, Kind, MOST, OPERATIONS, Operation, Program};
use crate::random::Random;

/// Operations that often come next, with the same object.
const NEXT: &[(Code, Code)] = &[
    (Code::RangeReserve, Code::RangeMap),
    (Code::RangeMap, Code::RangeAccess),
    (Code::RangeAccess, Code::RangeUse),
    (Code::PhysicalCreate, Code::PhysicalImport),
    (Code::GraphCreate, Code::GraphKernel),
    (Code::GraphKernel, Code::GraphInstantiate),
    (Code::GraphMemory, Code::GraphInstantiate),
    (Code::GraphFill, Code::GraphCopy),
    (Code::GraphCopy, Code::GraphInstantiate),
    (Code::GraphInstantiate, Code::GraphLaunch),
    (Code::GraphLaunch, Code::ExecDestroy),
    (Code::CaptureBegin, Code::LaunchFill),
    (Code::CaptureEnd, Code::GraphInstantiate),
    (Code::EventCreate, Code::EventRecord),
    (Code::EventRecord, Code::StreamWait),
    (Code::EventDestroy, Code::CtxSync),
    (Code::StreamCreate, Code::LaunchSpin),
    (Code::LaunchSpin, Code::StreamDestroy),
    (Code::StreamDestroy, Code::CtxSync),
    (Code::PoolCreate, Code::MemPool),
    (Code::LibraryLoad, Code::LaunchLibrary),
    (Code::MemAlloc, Code::FillAsync),
    (Code::MemAsync, Code::LaunchFill),
    (Code::LaunchFill, Code::Read),
    (Code::ModuleLoad, Code::LaunchFill),
    (Code::ModuleUnload, Code::CtxSync),
    (Code::CtxCreate, Code::StreamCreate),
    (Code::LibraryLoad, Code::GreenRun),
    (Code::CtxDestroy, Code::CtxSync),
    (Code::PrimaryReset, Code::ModuleLoad),
];

/// Objects that a thread may use.
#[derive(Clone, Default)]
struct Shelf {
    objects: Vec<(Kind, u64)>,
    /// Captures that were begun and not ended.
    captures: u32,
}

impl Shelf {
    fn of(&self, kind: Kind) -> impl Iterator<Item = u64> + '_ {
        self.objects
            .iter()
            .filter(move |object| object.0 == kind)
            .map(|object| object.1)
    }
}

/// A program while it grows.
struct Growing {
    random: Random,
    next: u64,
    operations: Vec<Operation>,
    /// Number of times that each operation may still be taken.
    most: Vec<u32>,
}

/// Generates the program of a seed: mostly one thread, sometimes up to four.
pub fn generate(seed: u64) -> Program {
    let mut growing = Growing {
        random: Random::new(seed),
        next: u64::from(FIRST_ID),
        operations: Vec::new(),
        most: vec![u32::MAX; OPERATIONS.len()],
    };
    let threads = match growing.random.below(8) {
        0 => 2,
        1 => 4,
        _ => 0u8,
    };
    // Programs differ in what they are about: some operations are taken much more often, others not
    // at all.
    let mut weights: Vec<u64> = OPERATIONS
        .iter()
        .map(|row| {
            let weight = u64::from(row.3) * 4;
            match growing.random.below(8) {
                0 => 0,
                1 => weight * 4,
                _ => weight,
            }
        })
        .collect();
    // A context takes a tenth of a second on a device, a reset as much, a fork four milliseconds:
    // few programs have them, and those have few of them.
    for (codes, often, most) in [
        (
            &[Code::CtxCreate, Code::CtxDestroy][..],
            if threads > 0 { 20 } else { 80 },
            2,
        ),
        (&[Code::PrimaryReset], 200, 2),
        (&[Code::Fork], 20, 3),
        (&[Code::LimitSet], 12, 6),
        (&[Code::Ipc], 200, 2),
        (&[Code::GreenRun], 100, 2),
    ] {
        let chosen = growing.random.one_in(often);
        for &code in codes {
            weights[code as usize] = if chosen {
                u64::from(code.weight()) * 120
            } else {
                0
            };
            growing.most[code as usize] = most;
        }
    }
    let mut shared = Shelf::default();
    let length = 8 + growing.random.below(56) as usize;
    if growing.random.below(4) != 0 {
        growing.add(0, Code::ModuleLoad, &mut shared, None);
    }
    if threads == 0 {
        growing.grow(0, length, &weights, &mut shared);
    } else {
        growing.grow(0, length / 4, &weights, &mut shared);
        let mut shelves = vec![shared; usize::from(threads)];
        for _ in 0..length {
            let thread = 1 + growing.random.below(u64::from(threads)) as u8;
            growing.grow(thread, 1, &weights, &mut shelves[usize::from(thread) - 1]);
        }
    }
    Program {
        operations: growing.operations,
    }
}

impl Growing {
    fn grow(&mut self, thread: u8, count: usize, weights: &[u64], shelf: &mut Shelf) {
        let all: u64 = weights.iter().sum();
        for _ in 0..count {
            // An operation without objects to work on gives way to another; a program may turn out
            // shorter.
            for _ in 0..8 {
                let mut at = self.random.below(all);
                let row = OPERATIONS.iter().zip(weights).find(|(_, weight)| {
                    match at.checked_sub(**weight) {
                        Some(rest) => {
                            at = rest;
                            false
                        }
                        None => true,
                    }
                });
                let Some((row, _)) = row else { continue };
                if let Some(mut last) = self.add(thread, row.0, shelf, None) {
                    // One thing leads to another.
                    while let Some(&(_, next)) = NEXT.iter().find(|pair| pair.0 == last.code)
                        && self.random.one_in(2)
                        && weights[next as usize] > 0
                    {
                        match self.add(thread, next, shelf, Some(last)) {
                            Some(added) => last = added,
                            None => break,
                        }
                    }
                    break;
                }
            }
        }
    }

    /// Adds an operation, with objects of the one before it where it takes their kind; nothing if
    /// there are none for it.
    fn add(
        &mut self,
        thread: u8,
        code: Code,
        shelf: &mut Shelf,
        last: Option<Operation>,
    ) -> Option<Operation> {
        if code == Code::CaptureEnd && shelf.captures == 0 || self.most[code as usize] == 0 {
            return None;
        }
        let mut arguments = [0; MOST];
        for (place, argument) in code.arguments().enumerate() {
            arguments[place] = match argument {
                Argument::Number(class) => self.number(class),
                Argument::New(_) => self.next,
                Argument::End(kind) | Argument::Use(kind) => {
                    let before: Vec<u64> = code
                        .arguments()
                        .zip(arguments)
                        .take(place)
                        .filter(|(other, _)| *other == Argument::Use(kind))
                        .map(|(_, value)| value)
                        .collect();
                    self.object(code, kind, argument, shelf, last, &before)?
                }
            };
        }
        for (argument, value) in code.arguments().zip(arguments) {
            match argument {
                Argument::New(kind) => {
                    shelf.objects.push((kind, value));
                    self.next += 1;
                }
                Argument::End(kind) => shelf.objects.retain(|object| *object != (kind, value)),
                _ => {}
            }
        }
        match code {
            Code::CaptureBegin => shelf.captures += 1,
            Code::CaptureEnd => shelf.captures -= 1,
            _ => {}
        }
        self.most[code as usize] -= 1;
        let operation = Operation {
            thread,
            code,
            arguments,
        };
        self.operations.push(operation);
        Some(operation)
    }

    /// Chooses an object: that of the previous operation, or mostly one of the youngest. Kinds with
    /// objects that always exist use one of those now and then. Avoids the objects of `before` if
    /// there is another.
    fn object(
        &mut self,
        code: Code,
        kind: Kind,
        argument: Argument,
        shelf: &Shelf,
        last: Option<Operation>,
        before: &[u64],
    ) -> Option<u64> {
        let same = last.and_then(|last| {
            last.code
                .arguments()
                .zip(last.arguments)
                .find_map(|(argument, value)| match argument {
                    Argument::New(other) | Argument::Use(other) if other == kind => Some(value),
                    _ => None,
                })
        });
        if let Some(same) =
            same.filter(|same| !before.contains(same) && shelf.objects.contains(&(kind, *same)))
        {
            return Some(same);
        }
        let always = match (kind, argument, code) {
            (_, Argument::End(_), _)
            | (_, _, Code::CaptureBegin | Code::PoolSet | Code::PoolAccess) => 0,
            ('s', ..) => 3,
            ('p' | 'c', ..) => 1,
            _ => 0,
        };
        let mut all: Vec<u64> = shelf.of(kind).collect();
        if all.iter().any(|id| !before.contains(id)) {
            all.retain(|id| !before.contains(id));
        }
        if always > 0 && (all.is_empty() || self.random.one_in(4)) {
            return Some(self.random.below(always));
        }
        if all.is_empty() {
            return None;
        }
        let reach = if self.random.one_in(2) {
            all.len().min(3)
        } else {
            all.len()
        };
        Some(all[all.len() - 1 - self.random.below(reach as u64) as usize])
    }

    fn number(&mut self, class: char) -> u64 {
        match class {
            'z' => match self.random.below(40) {
                0 => 0,
                1 => (8 << 20) + self.random.below(24 << 20),
                2..8 => 1 + self.random.below(4 << 20),
                8..12 => 2 << 20 << self.random.below(2),
                _ => 1 << self.random.below(21),
            },
            'q' => match self.random.below(8) {
                0 => 0,
                1 | 2 => 1 + self.random.below(64 << 10),
                _ => 4 << self.random.below(15),
            },
            'f' => self.random.below(4) * self.random.below(2),
            'w' => match self.random.below(8) {
                0 => 1,
                1 => 1 + self.random.below(2048),
                _ => 1 + self.random.below(256),
            },
            'v' => self.random.below(1 << 32),
            _ => self.random.below(1 << 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_program_for_ever_and_its_text_can_be_read() {
        for seed in 0..500 {
            let program = generate(seed);
            assert_eq!(generate(seed), program);
            assert_eq!(Program::parse(&program.to_string()).unwrap(), program);
        }
    }

    #[test]
    fn every_operation_occurs() {
        let mut seen = vec![0u32; OPERATIONS.len()];
        for seed in 0..5_000 {
            for operation in generate(seed).operations {
                seen[operation.code as usize] += 1;
            }
        }
        for (row, count) in OPERATIONS.iter().zip(seen) {
            assert!(count > 0, "{} never occurs", row.1);
        }
    }
}
