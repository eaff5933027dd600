//! Makes a program that shows a difference smaller: without operations, without threads, with
//! smaller numbers.

use crate::program::{Argument, Code, NULL_STREAM, Program};
use std::time::Instant;

/// Returns the smallest program found within the trials for which `shows` holds. It must hold for
/// `program`.
pub fn shrink(
    program: &Program,
    trials: u32,
    deadline: Option<Instant>,
    mut shows: impl FnMut(&Program) -> bool,
) -> Program {
    let mut best = program.clone();
    let mut left = trials;
    let mut attempt = |best: &mut Program, candidate: Program| -> bool {
        if left == 0
            || candidate == *best
            || deadline.is_some_and(|deadline| Instant::now() > deadline)
        {
            return false;
        }
        left -= 1;
        if shows(&candidate) {
            *best = candidate;
            return true;
        }
        false
    };
    // Runs of operations, from halves down to single ones.
    let mut size = best.operations.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < best.operations.len() {
            let mut candidate = best.clone();
            let end = (at + size).min(candidate.operations.len());
            candidate.operations.drain(at..end);
            if !attempt(&mut best, candidate) {
                at += size;
            }
        }
        size /= 2;
    }
    // One thread less at a time: what the last did is done by the first.
    for thread in (1..=best.threads()).rev() {
        let mut candidate = best.clone();
        for operation in &mut candidate.operations {
            if operation.thread == thread {
                operation.thread = 0;
            }
        }
        attempt(&mut best, candidate);
    }
    // Streams: the null stream instead of one that has to be made, which then goes.
    for at in (0..best.operations.len()).rev() {
        if at >= best.operations.len() {
            continue;
        }
        for (place, argument) in best.operations[at]
            .code
            .arguments()
            .enumerate()
            .collect::<Vec<_>>()
        {
            let mut candidate = best.clone();
            candidate.operations[at].arguments[place] = u64::from(NULL_STREAM);
            if argument == Argument::Use('s') && attempt(&mut best, candidate) {
                for maker in (0..best.operations.len()).rev() {
                    if maker >= best.operations.len() {
                        continue;
                    }
                    let mut candidate = best.clone();
                    if matches!(
                        candidate.operations.remove(maker).code,
                        Code::StreamCreate | Code::StreamCreatePriority
                    ) {
                        attempt(&mut best, candidate);
                    }
                }
                break;
            }
        }
    }
    // Numbers: the simplest first.
    for at in 0..best.operations.len() {
        for (place, argument) in best.operations[at]
            .code
            .arguments()
            .enumerate()
            .collect::<Vec<_>>()
        {
            if !matches!(argument, Argument::Number(_)) {
                continue;
            }
            for value in [0, 1, 4096] {
                if best.operations[at].arguments[place] <= value {
                    break;
                }
                let mut candidate = best.clone();
                candidate.operations[at].arguments[place] = value;
                if attempt(&mut best, candidate) {
                    break;
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let text = "0 stream_create s8 1\n0 mem_alloc m9 77777\n1 event_create e10 0\n1 fill m9 9 9\n2 mem_free m9\n";
        let program = Program::parse(text).unwrap();
        let small = shrink(&program, 1000, None, |program| {
            let text = program.to_string();
            text.contains("mem_alloc m9") && text.contains("fill m9")
        });
        assert_eq!(small.to_string(), "0 mem_alloc m9 0\n0 fill m9 0 0\n");
    }

    #[test]
    fn trials_are_counted() {
        let program = Program::parse("0 ctx_sync\n0 ctx_sync\n0 ctx_sync\n0 ctx_sync").unwrap();
        let mut asked = 0;
        shrink(&program, 3, None, |_| {
            asked += 1;
            false
        });
        assert_eq!(asked, 3);
    }
}
