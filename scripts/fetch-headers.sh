#!/bin/sh
# Fetches NVIDIA's public headers for the header test, which compares our FFI and our symbol tables with them.
#
#   fetch-headers.sh DIR     fills DIR/cuda13, DIR/cuda12 and DIR/nvml
#
# The headers are proprietary: they are downloaded where they are needed and never committed. They come from the
# wheels that NVIDIA publishes, at pinned versions, so that a failing test means a change here and not there.
# Running it again does nothing. Exit status 3: no pip, or no network.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)

work=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# fetch NAME REQUIREMENT...: unpacks the headers of some wheels into DIR/NAME.
fetch() {
    name=$1
    shift
    # The stamp carries the versions, so a new pin replaces what an old one left.
    if [ "$(cat "$dir/$name/.fetched" 2>/dev/null)" = "$*" ]; then
        return
    fi
    if ! python3 -m pip --version >/dev/null 2>&1; then
        echo "fetch-headers: python3 with pip is needed to download NVIDIA's headers" >&2
        exit 3
    fi
    mkdir -p "$work/$name"
    # Headers do not differ between machines; a fixed platform lets any machine fetch them.
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform any \
        --dest "$work/$name/wheels" "$@"; then
        echo "fetch-headers: cannot download $*; is there a network?" >&2
        exit 3
    fi
    python3 - "$work/$name/wheels" "$work/$name/include" <<'EOF'
import pathlib, sys, zipfile

wheels, include = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            # nvidia/<package>/include/...: keep what is below include.
            head, found, tail = name.partition("/include/")
            if found and tail and not name.endswith("/"):
                target = include / tail
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
EOF
    printf '%s\n' "$*" >"$work/$name/include/.fetched"
    rm -rf "${dir:?}/$name"
    # One rename, so that a reader beside us sees the whole folder or none of it.
    mv "$work/$name/include" "$dir/$name"
}

fetch cuda13 nvidia-cuda-runtime==13.5.37 nvidia-cuda-crt==13.5.37
fetch cuda12 nvidia-cuda-runtime-cu12==12.9.79
fetch nvml nvidia-nvml-dev==13.5.37
