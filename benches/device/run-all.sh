#!/usr/bin/env bash
# Every device bench, one after the other: run-all.sh PRELOAD FCSP OUTDIR [--quick]
# PRELOAD: libfcsp_cuda.so. FCSP: the command, or -. Exit code: benches that missed a bound.
set -u
if [ $# -lt 3 ]; then sed -n 2,3p "$0"; exit 2; fi
here=$(cd "$(dirname "$0")" && pwd)
preload=$1 fcsp=$2 out=$3
shift 3
mkdir -p "$out"
extra=()
[ "$fcsp" != - ] && extra=(--fcsp "$fcsp")
failed=0
bench() { # NAME SECONDS SCRIPT [ARGS]
    local name=$1 limit=$2 script=$3
    shift 3
    timeout -k 10 "$limit" python3 "$here/$script" --preload "$preload" ${extra[@]+"${extra[@]}"} --out "$out/$name.json" "$@" 2>&1 | tee "$out/$name.log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed=$((failed + 1))
}
bench overhead 420 overhead.py "$@"
bench quota 420 quota.py "$@"
bench share-strict 420 share.py --part strict "$@"
bench share-balanced 420 share.py --part balanced "$@"
bench share-victims 420 share.py --part victims,live "$@"
bench lifetimes 560 lifetimes.py "$@"
bench turns 120 turns.py "$@"
bench attacks 420 attacks.py "$@"
if [ "$(nvidia-smi -L 2>/dev/null | wc -l)" -ge 2 ]; then bench nccl 420 nccl.py "$@"; fi
echo "$failed benches with a bound that was not met; records in $out"
exit "$failed"
