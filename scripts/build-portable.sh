#!/usr/bin/env bash
# Builds every preload library, and the simulated CUDA driver, against an old C library. One file
# then serves old container images and new ones.
#
#   build-portable.sh [GLIBC] [FOLDER]     default: 2.17 target/portable
#
# A library built the ordinary way needs the C library of the machine that built it, or a newer one.
# Preloaded in an older image, it keeps every program there from starting. Here zig links, which
# carries the symbol lists of old C libraries. Needs cargo-zigbuild and zig: `cargo install
# cargo-zigbuild --locked` and `pip install ziglang`, the folder of pip's programs and python in
# PATH.
#
# For a command that carries these libraries: FCSP_EMBED_DIR=target/portable cargo build --release
set -euo pipefail

readonly GLIBC=${1:-2.17}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly FOLDER=${2:-target/portable}

command -v cargo-zigbuild >/dev/null || {
    echo "build-portable: cargo-zigbuild is missing (cargo install cargo-zigbuild --locked; pip install ziglang)" >&2
    exit 2
}
host=$(rustc -vV | sed -n 's/^host: //p')

packages=(-p fcsp-sim-cuda -p fcsp-sim-nvml)
for manifest in */preload/Cargo.toml; do
    packages+=(-p "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -1)")
done
# For size throughout: zig links the unwinder in, and the weight of a preload library is paid in
# every process.
cargo zigbuild --locked --profile preload --target "$host.$GLIBC" --target-dir "${CARGO_TARGET_DIR:-target}/zig" "${packages[@]}" \
    --config 'profile.preload.package.fcsp-core.opt-level="s"'

mkdir -p "$FOLDER"
bad=0
for library in "${CARGO_TARGET_DIR:-target}"/zig/"$host"/preload/libfcsp_*.so; do
    newest=$(readelf -VW "$library" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
    newest=${newest#GLIBC_}
    if [ "$(printf '%s\n' "$newest" "$GLIBC" | sort -V | tail -1)" != "$GLIBC" ]; then
        echo "build-portable: $library needs glibc $newest" >&2
        bad=1
    fi
    cp "$library" "$FOLDER/"
    echo "$FOLDER/$(basename "$library"): glibc $newest or later, $(stat -c %s "$library") bytes"
done
exit "$bad"
