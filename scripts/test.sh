#!/usr/bin/env bash
# Set-up, build and all tests. LSRT_STAGES chooses more builds to test; the native one always comes last, so that the
# output ends with its summary: LSRT_STAGES="asan tsan simde aarch64 native" scripts/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

run_stage() {  # run_stage PRESET FOLDER [TEST...]: all tests, or only these
  echo "== $1"
  scripts/build.sh "$1" "${@:3}"
  ctest --test-dir "$2" --output-on-failure --parallel "$(nproc)" --no-tests=error \
    ${3:+-R "^($(IFS='|' && echo "${*:3}"))\$"}
}

release=release
[ "${CI:-}" != true ] || release=ci  # warnings are errors there

for stage in ${LSRT_STAGES:-native}; do
  case $stage in
    native) ;;
    asan | tsan) run_stage "$stage" "build-$stage" ;;
    simde) run_stage simde build-simde kernels_test grouped_attention_test session_test ;;  # what kernels decide
    aarch64) run_stage aarch64-qemu build-aarch64 ;;
    *) echo "test.sh: no such stage: $stage" >&2; exit 2 ;;
  esac
done
run_stage "$release" build
