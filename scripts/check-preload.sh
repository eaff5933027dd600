#!/usr/bin/env bash
# Checks what the preload library exports, needs and weighs.
#
#   check-preload.sh [LIBRARY]     default: the one of a release build
#
# It is loaded into every process of a tenant, most of which never touch a GPU. So it may define
# vendor entry points and dlsym and nothing else, must not pull in a vendor library, and stays
# small.
set -euo pipefail

# File pages, which all processes share. Half of it is the standard library, with its printing of
# panics, and the parser of the configuration file.
readonly MOST_BYTES=$((5 << 18))

if [ $# -gt 1 ]; then
    echo "usage: $0 [LIBRARY]" >&2
    exit 2
fi
if [ $# -eq 1 ]; then
    library=$1
else
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    cargo build --profile preload --quiet -p fcsp-cuda-preload
    library=${CARGO_TARGET_DIR:-target}/preload/libfcsp_cuda.so
fi
[ -f "$library" ] || { echo "check-preload: no such file: $library" >&2; exit 2; }

bad=0
fail() {
    echo "check-preload: $1" >&2
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/    /' >&2
    bad=1
}

# How a vendor's entry points begin, by the library's name.
case $(basename "$library") in
    libfcsp_empty*) kinds='empty' ;;
    libfcsp_ascend*) kinds='acl(rt|mdl(RI)?)? rts? Hccl dcmi' ;;
    # Two of its functions are exported with the names that C++ gives them.
    libfcsp_hip*) kinds='hip __hip _Z24hip rsmi amdsmi' ;;
    libfcsp_gaudi*) kinds='syn hlml' ;;
    libfcsp_levelzero*) kinds='zes? zet' ;;
    *) kinds='cu nvml' ;;
esac
read -ra words <<<"$kinds"
entries=$(printf '%s[A-Z_][A-Za-z0-9_]*\n' "${words[@]}" | paste -sd'|')

exported=$(nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | sort -u)
# HIP's functions have symbol versions, by which programs can look them up.
loaders=dlsym
[ "${kinds#hip}" = "$kinds" ] || loaders='dlv?sym'
strange=$(printf '%s\n' "$exported" | grep -vE "^($entries|$loaders)\$" || true)
[ -z "$strange" ] || fail "exports more than vendor entry points and dlsym:" "$strange"
counts=()
for kind in $kinds; do
    count=$(printf '%s\n' "$exported" | grep -cE "^${kind}[A-Z_]" || true)
    [ "$count" -gt 0 ] || fail "exports no entry point that begins with $kind"
    counts+=("$count $kind*")
done
printf '%s\n' "$exported" | grep -qx dlsym || fail "does not export dlsym"

# A vendor name left undefined would be bound to whatever the program has, or fail to load without a
# driver.
unbound=$(nm -D --undefined-only "$library" | awk '{print $NF}' | grep -E "^($entries)\$" || true)
[ -z "$unbound" ] || fail "leaves vendor entry points undefined:" "$unbound"

needed=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
foreign=$(printf '%s\n' "$needed" | grep -vE '^(lib(c|m|dl|rt|pthread|gcc_s)\.so\.[0-9]+|ld-linux-[a-z0-9-]+\.so\.[0-9]+)$' || true)
[ -z "$foreign" ] || fail "needs libraries beyond the C library:" "$foreign"

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$library"
bytes=$(stat -c %s "$stripped")
[ "$bytes" -lt "$MOST_BYTES" ] || fail "takes $bytes bytes stripped, which is not below $MOST_BYTES"

glibc=$(readelf -VW "$library" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
echo "$library: ${counts[*]} and dlsym; needs $(echo "$needed" | paste -sd' '); $bytes bytes stripped; ${glibc:-no versioned symbols} or later"
exit "$bad"
