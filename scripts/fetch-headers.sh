#!/bin/sh
# Fetches vendors' public headers for the header tests, which compare our FFI and our symbol tables
# with them, and for the conformance clients, which are compiled against them.
#
#   fetch-headers.sh DIR [VENDOR...]
#
#   cuda (the default)   fills DIR/cuda13, DIR/cuda12 and DIR/nvml
#   hip                  fills DIR/hip7, DIR/hip5, DIR/rocm_smi, and DIR/amdsmi with a Python package
#   ascend               fills DIR/ascend; third_party/acl/inc and third_party/hccl/inc are used
#   levelzero            fills DIR/levelzero, and DIR/levelzero-loader with Debian's loader
#
# Headers are downloaded where they are needed and never committed: NVIDIA's are proprietary, and
# the others are theirs to publish. They come from wheels and Debian packages, wheels at pinned
# versions, so that a failing test means a change here and not there. Running it again does nothing.
# Exit status 3: no pip, no apt, or no network.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: $0 DIR [VENDOR...]" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- cuda

# Tests of several packages may ask at once.
exec 9>"$dir/.lock"
flock 9

work=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# fetch NAME INSIDE REQUIREMENT...: unpacks the headers of some wheels into DIR/NAME: what lies
# below a folder of that name (the first in the path) inside them.
fetch() {
    name=$1
    inside=$2
    shift 2
    # The stamp carries the versions, so a new pin replaces what an old one left.
    if [ "$(cat "$dir/$name/.fetched" 2>/dev/null)" = "$*" ]; then
        return
    fi
    if ! python3 -m pip --version >/dev/null 2>&1; then
        echo "fetch-headers: python3 with pip is needed to download headers" >&2
        exit 3
    fi
    mkdir -p "$work/$name"
    # Headers do not differ between machines; a fixed platform lets any machine fetch them.
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux_2_27_x86_64 \
        --platform manylinux_2_28_x86_64 --platform any --python-version 3.12 \
        --dest "$work/$name/wheels" "$@"; then
        echo "fetch-headers: cannot download $*; is there a network?" >&2
        exit 3
    fi
    python3 - "$work/$name/wheels" "$work/$name/include" "$inside" <<'EOF'
import pathlib, sys, zipfile

wheels, include = map(pathlib.Path, sys.argv[1:3])
inside = "/" + sys.argv[3] + "/"
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            head, found, tail = ("/" + name).partition(inside)
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

# debian NAME INSIDE PACKAGE...: the same from Debian packages, unpacked without installing them.
debian() {
    name=$1
    inside=$2
    shift 2
    if [ "$(cat "$dir/$name/.fetched" 2>/dev/null)" = "$*" ]; then
        return
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "fetch-headers: apt-get and dpkg are needed to download $*" >&2
        exit 3
    fi
    mkdir -p "$work/$name/files"
    if ! (cd "$work/$name" && apt-get download -qq "$@" >/dev/null 2>&1); then
        # A machine without package lists, such as a fresh container.
        if ! apt-get update -qq >/dev/null 2>&1 || ! (cd "$work/$name" && apt-get download -qq "$@" >/dev/null); then
            echo "fetch-headers: cannot download $*; is there a network?" >&2
            exit 3
        fi
    fi
    for package in "$work/$name"/*.deb; do
        dpkg-deb -x "$package" "$work/$name/files"
    done
    printf '%s\n' "$*" >"$work/$name/files/$inside/.fetched"
    rm -rf "${dir:?}/$name"
    mv "$work/$name/files/$inside" "$dir/$name"
}

for vendor in "$@"; do
    case $vendor in
        cuda)
            fetch cuda13 include nvidia-cuda-runtime==13.5.37 nvidia-cuda-crt==13.5.37
            fetch cuda12 include nvidia-cuda-runtime-cu12==12.9.79
            fetch nvml include nvidia-nvml-dev==13.5.37
            ;;
        hip)
            # The only wheel that carries HIP 7's headers is a large one.
            fetch hip7 amd/include triton==3.9.0
            debian hip5 usr/include libamdhip64-dev
            debian rocm_smi usr/include librocm-smi-dev
            # AMD publishes no header of the newer management library, only Python bindings.
            fetch amdsmi amdsmi amdsmi==7.0.2
            ;;
        ascend)
            # ACL and HCCL, with the folder above them that HCCL's header names.
            fetch ascend include torch-npu==2.14.0
            ;;
        levelzero)
            debian levelzero usr/include libze-dev
            # The loader itself, which programs are linked against and which loads the driver.
            debian levelzero-loader usr/lib libze1
            ;;
        *)
            echo "fetch-headers: no headers are known of vendor $vendor" >&2
            exit 2
            ;;
    esac
done
