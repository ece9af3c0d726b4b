#!/usr/bin/env bash
# The kernels' code has the instructions that it should have, and no more than it had; growth is noticed.
set -euo pipefail
build=$1
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count() { "$here/../../scripts/cuda_static.py" "$build" --cubins "$work" "$@"; }
count | tee "$work/said"
! grep -q SKIPPED "$work/said" || exit 77  # no disassembler here, or another toolkit than what was counted with

# As if a kernel had had fewer instructions before.
awk '/^sm_87 gemv / { --$3 } { print }' "$here/instructions.txt" >"$work/counts"
if count --counts "$work/counts" >"$work/said" 2>&1; then
  echo "a kernel that has grown was not noticed"; exit 1
fi
[ "$(grep -c error: "$work/said")" = 1 ]
grep -q "error: sm_87 gemv: code, path, loop, registers are" "$work/said"
