//! Instructions that the library adds to a call, counted by single steps: no clock decides.

use crate::{Machine, OUT_OF_MEMORY, compiled, stderr, stdout};

/// Calls, the code of each, and the most that the library does in it far from the quota:
/// instructions and locked instructions. The bound on instructions holds in any build; one without
/// link-time optimisation takes half as many again.
const CALLS: [(&str, i32, u32, u32); 7] = [
    ("alloc 4K", 0, 400, 1),
    ("free 4K", 0, 300, 2),
    ("alloc 2M", 0, 750, 3),
    ("free 2M", 0, 600, 4),
    ("create 2M", 0, 700, 5),
    ("release 2M", 0, 600, 7),
    ("too large", OUT_OF_MEMORY, 500, 2),
];

#[test]
fn allocations_take_few_instructions_and_locks() {
    let machine = Machine::new();
    let program = compiled("stepped.c", "stepped", &[]);
    let output = machine.governed(program, "t", "4GiB").output().unwrap();
    let said = stdout(&output);
    if output.status.code() == Some(77) {
        println!("SKIPPED: this needs ptrace");
        return;
    }
    assert!(output.status.success(), "{said} {}", stderr(&output));
    assert_eq!(said.lines().count(), CALLS.len(), "{said}");
    for (line, (name, code, instructions, locked)) in said.lines().zip(CALLS) {
        let (call, numbers) = line.split_once(": ").unwrap();
        let numbers: Vec<i64> = numbers
            .split(' ')
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!((call, numbers[0]), (name, i64::from(code)));
        let counted = 1..=i64::from(instructions);
        assert!(counted.contains(&numbers[1]), "{line}");
        assert!(numbers[2] <= i64::from(locked), "{line}");
        assert_eq!(numbers[3], 0, "no system call: {line}");
    }
}
