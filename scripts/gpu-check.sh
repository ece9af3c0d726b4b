#!/usr/bin/env bash
# What a machine with an NVIDIA GPU can tell about the CUDA backend, as a report to send back: kernels and
# goldens against the CPU, compute-sanitizer where it is installed, speed, and what was expected of it.
#
#   scripts/gpu-check.sh [BUILD]     a build folder with the backend (built in build-cuda if none is named)
#
# Writes gpu-report.txt here; exit status 1 if a check fails, with the report written all the same. In the environment:
#   LLAMA_BENCH, GGUF                llama-bench and a model of the base shape, to be timed beside ours
#   LSRT_GPU_TOKENS, LSRT_GPU_DEPTHS tokens of each speed test (512), and of context before it (0,8192)
#   LSRT_CUDA_LIBRARY                another driver than the system's
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-}
if [ -z "$build" ]; then
  build=build-cuda
  scripts/build.sh cuda lsrt_cli cuda_device_test cuda_backend_test
fi
for file in lsrt cuda_device_test cuda_backend_test; do
  [ -x "$build/$file" ] || { echo "gpu-check.sh: $build has no $file: configure with -DLSRT_CUDA=ON and build it" >&2; exit 2; }
done
export LSRT_CUDA_LIBRARY=${LSRT_CUDA_LIBRARY:-libcuda.so.1}
tokens=${LSRT_GPU_TOKENS:-512} depths=${LSRT_GPU_DEPTHS:-0,8192}
report=gpu-report.txt
failed=0
exec > >(tee "$report") 2>&1

section() { echo; echo "== $*"; }
check() {  # check NAME COMMAND...: its last lines, and whether it worked
  section "$1"
  if "${@:2}" >"$report.part" 2>&1; then echo "passed"; else echo "FAILED"; failed=1; fi
  tail -n 15 "$report.part"
}
try() { if command -v "$1" >/dev/null; then "$@" || echo "($1 failed)"; else echo "($1: not here)"; fi; }

section "machine"
uname -srm
tr -d '\0' 2>/dev/null </proc/device-tree/model && echo
try nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv
try nvpmodel -q
# What the driver says of the device (CUdevice_attribute 13, 16, 36, 37, 18).
python3 - <<'EOF' || echo "(python3 or the driver: not here)"
import ctypes, os
cuda = ctypes.CDLL(os.environ["LSRT_CUDA_LIBRARY"])
cuda.cuInit(0)
def attribute(which):
    value = ctypes.c_int(0)
    cuda.cuDeviceGetAttribute(ctypes.byref(value), which, 0)
    return value.value
print(f"{attribute(16)} multiprocessors at {attribute(13) / 1e6:.2f} GHz, memory of {attribute(37)} bits at {attribute(36) / 1e6:.2f} GHz: "
      f"{attribute(36) * attribute(37) / 8 * 2 / 1e6:.0f} GB/s, {'shared with the CPU' if attribute(18) else 'its own'}")
EOF

check "kernels against the scalar definition" "$build/cuda_device_test"
check "goldens and streams against the CPU" "$build/cuda_backend_test" --test-case="goldens,streams*"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    check "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/cuda_device_test"
  done
else
  section "compute-sanitizer"
  echo "SKIPPED: it is not installed"
fi

section "speed"
for arch in enwik8-base mamba-130m; do
  for backend in cpu cuda; do
    echo "-- $arch on $backend"
    try "$build/lsrt" bench --arch "$arch" --backend "$backend" --depth "$depths" --prompt "$tokens" --generate "$tokens" --repetitions 3
  done
done
for backend in cpu cuda; do
  echo "-- vil-ls-medium-224 on $backend"
  try "$build/lsrt" bench --arch vil-ls-medium-224 --backend "$backend" --repetitions 20
done
if [ -n "${LLAMA_BENCH:-}" ] && [ -n "${GGUF:-}" ]; then
  echo "-- llama.cpp"
  try "$LLAMA_BENCH" -m "$GGUF" -p "$tokens" -n "$tokens" -d "$depths" -ngl 99
else
  echo "SKIPPED: llama.cpp: LLAMA_BENCH and GGUF are not set"
fi

section "what the static model expects (docs/cuda.md)"
echo "A decode step of the base shape reads 59.6 MB: tokens a second x 0.0596 GB is its share of the memory's speed."
scripts/cuda_static.py "$build" | sed -n '/^product of/,$p' || true

rm -f "$report.part"
section "result"
[ "$failed" = 0 ] && echo "all checks passed" || echo "a check FAILED"
exit "$failed"
