#!/usr/bin/env bash
# Counts the instructions that one operation of the hook path takes: a figure that repeats to the
# digit where times scatter.
#
#   count-instructions.sh [OPERATION...]     default: all
#
# Each operation runs 1 000 and 11 000 times; the difference, over 10 000, is the operation, with
# start-up and set-up cancelled out. Counted by valgrind's callgrind, or by perf's user-mode
# instruction counter where there is no valgrind. Atomic operations count as one instruction like
# any other: this finds code that grew, not cache lines that move.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly FEW=1000 MANY=11000

program=$(cargo bench --quiet --no-default-features --bench hook_operations --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*hook_operations[^"]*\)".*/\1/p' | tail -1)
[ -x "$program" ] || { echo "count-instructions: cargo built no hook_operations" >&2; exit 1; }

if command -v valgrind >/dev/null; then
    count() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
            sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
    }
    counter=callgrind
elif perf stat -e instructions:u true >/dev/null 2>&1; then
    count() {
        perf stat -x, -e instructions:u "$program" "$1" "$2" 2>&1 >/dev/null | sed -n 's/^\([0-9]*\),.*instructions.*/\1/p'
    }
    counter='perf stat'
else
    echo "count-instructions: needs valgrind (apt-get install valgrind), or perf with access to the counters" >&2
    exit 1
fi

if [ $# -gt 0 ]; then
    operations=("$@")
else
    mapfile -t operations < <("$program")
fi
printf '%-18s %s\n' OPERATION "INSTRUCTIONS ($counter)"
for operation in "${operations[@]}"; do
    few=$(count "$operation" $FEW)
    many=$(count "$operation" $MANY)
    if [ -z "$few" ] || [ -z "$many" ]; then
        echo "count-instructions: no count for $operation" >&2
        exit 1
    fi
    printf '%-18s %s\n' "$operation" "$(awk -v d=$((many - few)) -v n=$((MANY - FEW)) 'BEGIN {printf "%.1f", d / n}')"
done
