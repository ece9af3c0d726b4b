#!/usr/bin/env bash
# Set-up, build and all tests. LSRT_STAGES chooses more builds to test; the native one always comes last, so that the
# output ends with its summary: LSRT_STAGES="asan tsan simde clang shared aarch64 fuzz python docs cuda native" scripts/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

heading() { echo "== $1 ($((SECONDS / 60)) min)"; }

run_stage() {  # run_stage PRESET FOLDER [TEST...]: all tests, or only these
  heading "$1"
  scripts/build.sh "$1" "${@:3}"
  ctest --test-dir "$2" --output-on-failure --parallel "$(nproc)" --no-tests=error \
    ${3:+-R "^($(IFS='|' && echo "${*:3}"))\$"}
}

release=release
[ "${CI:-}" != true ] || release=ci  # warnings are errors there

for stage in ${LSRT_STAGES:-native}; do
  case $stage in
    native) ;;
    asan) run_stage asan build-asan ;;
    tsan) run_stage tsan build-tsan thread_pool_test concurrent_test session_test vision_test encoder_test ;;  # what has threads
    simde)  # what kernels decide
      run_stage simde build-simde kernels_test grouped_attention_test session_test encoder_test vision_test mixture_test \
        pinned_results_test ;;
    clang)  # the same bits as of GCC, and float32 without XNNPACK
      run_stage clang build-clang kernels_test scan_test determinism_test pinned_results_test session_test encoder_test \
        vision_test ;;
    shared)  # a shared library, and the library whole as a part of another project
      heading shared
      scripts/build.sh shared lsrt lsrt_cli lsrt_manual c_api_test
      LSRT_WHOLE=1 ctest --test-dir build-shared --output-on-failure --parallel "$(nproc)" --no-tests=error \
        -R '^(c_api|symbols|install|hardening)_test$' ;;
    fuzz) heading fuzz; scripts/fuzz.sh 120 ;;  # each target
    python) heading python; scripts/python.sh ;;
    docs) heading docs; scripts/docs.sh ;;
    cuda)  # with the image of nvcc in it, on the driver of tests
      heading cuda
      scripts/build.sh cuda
      ctest --test-dir build-cuda --output-on-failure --parallel "$(nproc)" --no-tests=error -R '^cuda_' ;;
    aarch64) run_stage aarch64-qemu build-aarch64 ;;
    *) echo "test.sh: no such stage: $stage" >&2; exit 2 ;;
  esac
done
run_stage "$release" build
