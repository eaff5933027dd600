//! Comparison of two runs of a program.
//!
//! Without refusals, every record must be the same: code, values, contents. Amounts of memory must
//! agree within a tolerance. Under a tight quota, an operation that takes memory may be refused
//! with the driver's own code for it. Operations that depend on a refused one are then not
//! compared. All others are, above all those with wrong arguments.

use crate::program::{Argument, Code, Operation, Program};
use crate::record::{Record, Value, checksum};
use std::collections::HashSet;

/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` to `CUDA_ERROR_CAPTURED_EVENT` and what lies between:
/// what a capture forbids.
const OF_A_CAPTURE: std::ops::RangeInclusive<i32> = 900..=908;
/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: i32 = 2;

/// Rules of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// True if the quota may refuse operations.
    pub refusals: bool,
    /// Bytes that the tenant has left for a program's objects; a refusal of less than that is
    /// false.
    pub room: u64,
    /// Bytes by which amounts of memory may differ; `None` compares none.
    pub tolerance: Option<u64>,
    /// Most bytes that a context takes.
    pub context: u64,
}

/// First difference between two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Index of the operation; `usize::MAX` for the destruction afterwards.
    pub at: usize,
    /// The operation, or nothing for the destruction.
    pub operation: Option<Operation>,
    /// Native result.
    pub native: String,
    /// Result under the preload library.
    pub governed: String,
    /// Kind of difference. Differences with one cause likely have the same kind.
    pub kind: String,
}

/// Returns true if two values agree.
fn agree(native: &Value, governed: &Value, tolerance: Option<u64>) -> bool {
    match (native, governed) {
        (Value::Exact(native), Value::Exact(governed)) => native == governed,
        (Value::Bytes(native), Value::Bytes(governed)) => {
            tolerance.is_none_or(|tolerance| native.abs_diff(*governed) <= tolerance)
        }
        (Value::Shown(_), Value::Shown(_)) => true,
        _ => false,
    }
}

/// Returns true if two records agree.
fn same(native: &Record, governed: &Record, tolerance: Option<u64>) -> bool {
    let (native, governed) = (&native.outcome, &governed.outcome);
    native.code == governed.code
        && native.values.len() == governed.values.len()
        && native
            .values
            .iter()
            .zip(&governed.values)
            .all(|(native, governed)| agree(native, governed, tolerance))
}

fn difference(
    program: &Program,
    native: Option<&Record>,
    governed: Option<&Record>,
    what: &str,
) -> Difference {
    let at = native.or(governed).map_or(usize::MAX, |record| record.at);
    let operation = program.operations.get(at).copied();
    let text = |record: Option<&Record>| record.map_or("nothing".into(), ToString::to_string);
    let code = |record: Option<&Record>| record.map_or(-2, |record| record.outcome.code);
    let name = operation.map_or("end".to_owned(), |operation| operation.label());
    Difference {
        at,
        operation,
        native: text(native),
        governed: text(governed),
        kind: format!("{name}: {what} {} -> {}", code(native), code(governed)),
    }
}

/// Returns the first difference between two runs of a program.
pub fn compare(
    program: &Program,
    native: &[Record],
    governed: &[Record],
    rules: &Rules,
) -> Option<Difference> {
    if rules.refusals {
        return compare_refused(program, native, governed, rules);
    }
    for pair in 0..native.len().max(governed.len()) {
        match (native.get(pair), governed.get(pair)) {
            (Some(one), Some(other)) if one.at == other.at && same(one, other, rules.tolerance) => {
            }
            (one, other) => return Some(difference(program, one, other, "differs")),
        }
    }
    None
}

/// Returns true if the quota can refuse an operation: it, or an operation that it causes, takes
/// device memory.
fn takes_memory(code: Code) -> bool {
    !matches!(
        code,
        Code::Wrong
            | Code::CtxDestroy
            | Code::CtxPush
            | Code::CtxPop
            | Code::CtxSet
            | Code::CtxSync
            | Code::CtxAsk
            | Code::LimitGet
            | Code::DeviceAsk
            | Code::MemInfo
            | Code::Fork
            | Code::StreamDestroy
            | Code::StreamSync
            | Code::StreamQuery
            | Code::StreamAsk
            | Code::StreamWait
            | Code::EventDestroy
            | Code::EventRecord
            | Code::EventQuery
            | Code::EventSync
            | Code::EventElapsed
            | Code::MemFree
            | Code::MemFreeAsync
            | Code::HostFree
            | Code::MemHost
            | Code::MemRange
            | Code::PointerAsk
            | Code::HostWrite
            | Code::HostRead
            | Code::PoolDestroy
            | Code::PoolGet
            | Code::ArrayDestroy
            | Code::MipmapDestroy
            | Code::PhysicalRelease
            | Code::RangeFree
            | Code::RangeUnmap
            | Code::RangeReserve
            | Code::ModuleUnload
            | Code::LibraryUnload
            | Code::GraphDestroy
            | Code::ExecDestroy
            | Code::GraphTrim
            | Code::CaptureAsk
            | Code::CaptureMode
    )
}

/// Returns an upper bound on the bytes of all objects up to and including one operation.
fn at_most(program: &Program, before: usize, governed: &[Record], rules: &Rules) -> u64 {
    const PAGE: u64 = 2 << 20;
    let succeeded = |at: usize| {
        governed
            .iter()
            .any(|record| record.at == at && record.outcome.code == 0)
    };
    let mut sum = 4 * PAGE;
    let mut pooled = false;
    for (at, operation) in program.operations.iter().enumerate() {
        // Of other threads everything may have come before.
        let earlier = at <= before || program.threads() > 0;
        if !earlier || (at != before && !succeeded(at)) {
            continue;
        }
        let [_, b, c, ..] = operation.arguments;
        sum += match operation.code {
            Code::MemAlloc | Code::MemManaged => b.next_multiple_of(PAGE) + PAGE,
            Code::MemPitch => b.next_multiple_of(512) * c + 2 * PAGE,
            Code::MemAsync | Code::MemPool | Code::GraphMemory => {
                pooled = true;
                2 * b.next_multiple_of(PAGE) + 64 * PAGE
            }
            Code::GraphLaunch | Code::CaptureEnd | Code::GraphInstantiate => 16 * PAGE,
            Code::CtxCreate
            | Code::PrimaryReset
            | Code::PrimaryRetain
            | Code::Ipc
            | Code::GreenRun => rules.context,
            Code::LimitSet => 1 << 30,
            Code::PhysicalCreate => 4 * PAGE,
            Code::PhysicalImport => 4 * PAGE,
            Code::ArrayCreate | Code::ArrayCreate3D | Code::MipmapCreate => {
                (b + 64) * (c + 64) * 16 * 16 + PAGE
            }
            _ => PAGE,
        };
    }
    sum + if pooled { 64 * PAGE } else { 0 }
}

fn compare_refused(
    program: &Program,
    native: &[Record],
    governed: &[Record],
    rules: &Rules,
) -> Option<Difference> {
    let mut apart: HashSet<u64> = HashSet::new();
    // Whether one of the runs has begun a capture that the other has not.
    let mut captures_apart = false;
    let objects = |operation: &Operation| -> Vec<u64> {
        operation
            .code
            .arguments()
            .zip(operation.arguments)
            .filter(|(argument, _)| !matches!(argument, Argument::Number(_)))
            .map(|(_, value)| value)
            .filter(|&id| id >= u64::from(crate::program::FIRST_ID))
            .collect()
    };
    // Places whose operations can be told apart from what a refusal has changed.
    for one in native.iter().filter(|record| record.at != usize::MAX) {
        let Some(operation) = program.operations.get(one.at) else {
            continue;
        };
        let Some(other) = governed.iter().find(|record| record.at == one.at) else {
            return Some(difference(program, Some(one), None, "is missing"));
        };
        if same(one, other, None) && objects(operation).iter().all(|id| !apart.contains(id)) {
            continue;
        }
        if captures_apart && (forbidden(one) || forbidden(other)) {
            apart.extend(objects(operation));
            continue;
        }
        if operation.code == Code::Wrong {
            return Some(difference(
                program,
                Some(one),
                Some(other),
                "wrong arguments",
            ));
        }
        let touched = objects(operation).iter().any(|id| apart.contains(id));
        if touched || one.outcome.is_skip() || other.outcome.is_skip() {
            captures_apart |= operation.code == Code::CaptureBegin;
            apart.extend(objects(operation));
            continue;
        }
        if other.outcome.code == OUT_OF_MEMORY
            && one.outcome.code == 0
            && takes_memory(operation.code)
        {
            let most = at_most(program, one.at, governed, rules);
            if most < rules.room {
                return Some(difference(
                    program,
                    Some(one),
                    Some(other),
                    "refused though it fits",
                ));
            }
            apart.extend(objects(operation));
            // Without its context, and with other limits, a thread does other things altogether.
            if matches!(
                operation.code,
                Code::CtxCreate | Code::LimitSet | Code::PrimaryReset | Code::PrimaryRetain
            ) {
                return None;
            }
            continue;
        }
        // A capture that a refusal has kept out of a graph ends otherwise; so does whatever reads
        // contents not written.
        if !apart.is_empty()
            && (disturbed(operation.code)
                || is_open(operation.code, one)
                || is_open(operation.code, other))
        {
            apart.extend(objects(operation));
            continue;
        }
        return Some(difference(program, Some(one), Some(other), "differs"));
    }
    None
}

/// Returns true if a capture has forbidden a call of an operation.
fn forbidden(record: &Record) -> bool {
    let outcome = &record.outcome;
    OF_A_CAPTURE.contains(&outcome.code)
        || outcome.values.iter().any(|value| match value {
            Value::Exact(word) => {
                i32::try_from(*word).is_ok_and(|code| OF_A_CAPTURE.contains(&code))
            }
            Value::Bytes(_) | Value::Shown(_) => false,
        })
}

/// Returns true if the contents that were read are undetermined. They may be determined in the
/// other run: an operation that waits for streams is left out with the object that was refused to
/// it.
fn is_open(code: Code, record: &Record) -> bool {
    let nothing = match code {
        Code::Read | Code::HostRead => checksum(&[]),
        Code::RangeUse => 0,
        _ => return false,
    };
    record.outcome.values.last() == Some(&Value::Exact(nothing))
}

/// Operations whose outcome depends on more than their own objects.
fn disturbed(code: Code) -> bool {
    matches!(
        code,
        Code::CaptureEnd
            | Code::CaptureAsk
            | Code::StreamDestroy
            | Code::PoolDestroy
            | Code::GraphAsk
            | Code::GraphUpdate
            | Code::PoolGet
            | Code::PoolCurrent
            | Code::CtxDestroy
            | Code::LimitGet
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        refusals: false,
        room: 0,
        tolerance: Some(100),
        context: 0,
    };

    fn records(text: &str) -> Vec<Record> {
        text.lines()
            .map(|line| Record::parse(line).unwrap())
            .collect()
    }

    fn program() -> Program {
        Program::parse("0 mem_alloc m8 4194304\n0 read m8\n0 wrong 0\n0 mem_info").unwrap()
    }

    fn differs(native: &str, governed: &str, rules: Rules) -> Option<String> {
        compare(&program(), &records(native), &records(governed), &rules).map(|found| found.kind)
    }

    #[test]
    fn codes_values_and_amounts_are_compared() {
        let native = "0 0 1\n1 0 0 77\n2 1 1\n3 0 1 1 ~500 ?7\nend 0";
        assert_eq!(differs(native, native, RULES), None);
        for (governed, what) in [
            (native.replace("0 0 1", "0 2"), "mem_alloc: differs 0 -> 2"),
            (native.replace("77", "78"), "read: differs 0 -> 0"),
            (native.replace("2 1 1", "2 2 1"), "wrong 0: differs 1 -> 2"),
            (native.replace("~500", "~700"), "mem_info: differs 0 -> 0"),
            (native.replace("end 0", "end 1"), "end: differs 0 -> 1"),
            (native.replace("\nend 0", ""), "end: differs 0 -> -2"),
        ] {
            assert_eq!(differs(native, &governed, RULES).as_deref(), Some(what));
        }
        assert_eq!(
            differs(
                native,
                &native.replace("~500", "~450").replace("?7", "?8"),
                RULES
            ),
            None
        );
    }

    #[test]
    fn a_refusal_excuses_what_depends_on_it_and_nothing_else() {
        let rules = Rules {
            refusals: true,
            ..RULES
        };
        let native = "0 0 1\n1 0 0 77\n2 1 1\n3 0 1 1 ~500 ?7";
        let refused = "0 2\n1 -\n2 1 1\n3 0 1 1 ~500 ?7";
        assert_eq!(differs(native, refused, rules), None);
        // What is read of `m9`, which no refusal touches, is not determined where a wait was left
        // out.
        let program =
            Program::parse("0 mem_alloc m8 4194304\n0 mem_alloc m9 8\n0 read m9").unwrap();
        let kind = |governed: &str| {
            let native = records("0 0 1\n1 0 1\n2 0 0 77");
            compare(&program, &native, &records(governed), &rules).map(|found| found.kind)
        };
        let open = checksum(&[]);
        assert_eq!(kind(&format!("0 2\n1 0 1\n2 0 0 {open}")), None);
        let wrong = Some("read: differs 0 -> 0".to_owned());
        assert_eq!(kind("0 2\n1 0 1\n2 0 0 78"), wrong);
        assert_eq!(kind(&format!("0 0 1\n1 0 1\n2 0 0 {open}")), wrong);
        // Without its stream a capture is not begun: what it forbids natively goes through.
        let program = Program::parse(
            "0 stream_create s8 0\n0 capture_begin s8 0\n0 mem_host h9 8 0\n0 wrong 0\n0 stream_sync s0\n0 ctx_sync",
        )
        .unwrap();
        let kind = |native: &str, governed: &str| {
            compare(&program, &records(native), &records(governed), &rules).map(|found| found.kind)
        };
        let captured = "0 0 1\n1 0\n2 900\n3 900\n4 900\n5 0";
        let refused_stream = "0 2\n1 -\n2 0 1\n3 1\n4 0\n5 0";
        assert_eq!(kind(captured, refused_stream), None);
        let lost = refused_stream.replace("5 0", "5 999");
        assert_eq!(
            kind(captured, &lost).as_deref(),
            Some("ctx_sync: differs 0 -> 999")
        );
        // With the same captures a call is forbidden in both runs or in none.
        let begun = refused_stream.replace("0 2\n1 -", "0 0 1\n1 0");
        assert_eq!(
            kind(captured, &begun).as_deref(),
            Some("mem_host: differs 900 -> 0")
        );
        let argument = refused.replace("2 1 1", "2 2 1");
        assert_eq!(
            differs(native, &argument, rules).as_deref(),
            Some("wrong 0: wrong arguments 1 -> 2")
        );
        let roomy = Rules {
            room: 1 << 30,
            ..rules
        };
        assert_eq!(
            differs(native, refused, roomy).as_deref(),
            Some("mem_alloc: refused though it fits 0 -> 2")
        );
    }
}
