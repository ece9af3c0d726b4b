#!/usr/bin/env bash
# stage.sh STAGE [SECONDS]: set-up, build and tests of one stage of scripts/test.sh. The fuzz targets share what SECONDS
# leave after their build, at most two minutes each.
set -euo pipefail
cd "$(dirname "$0")/.."

run_tests() { ctest --test-dir "$1" --output-on-failure --parallel "$(nproc)" --no-tests=error "${@:2}"; }

run_stage() {  # run_stage PRESET FOLDER [TEST...]: all tests, or only these
  scripts/build.sh "$1" "${@:3}"
  run_tests "$2" ${3:+-R "^($(IFS='|' && echo "${*:3}"))\$"}
}

case ${1:-} in
  native)
    release=release
    [ "${CI:-}" != true ] || release=ci  # warnings are errors there
    run_stage "$release" build ;;
  asan) run_stage asan build-asan ;;
  tsan) run_stage tsan build-tsan thread_pool_test concurrent_test session_test vision_test encoder_test ;;  # what has threads
  simde)  # what kernels decide
    run_stage simde build-simde kernels_test grouped_attention_test session_test encoder_test vision_test mixture_test \
      pinned_results_test ;;
  clang)  # the same bits as of GCC, and float32 without XNNPACK
    run_stage clang build-clang kernels_test scan_test determinism_test pinned_results_test session_test encoder_test \
      vision_test ;;
  shared)  # a shared library, and the library whole as a part of another project
    scripts/build.sh shared lsrt lsrt_cli lsrt_manual c_api_test
    LSRT_WHOLE=1 run_tests build-shared -R '^(c_api|symbols|install|hardening)_test$' ;;
  aarch64) run_stage aarch64-qemu build-aarch64 ;;
  fuzz)
    mapfile -t targets < <(basename -s .cc fuzz/*_fuzz.cc)
    scripts/build.sh fuzz "${targets[@]}"
    each=120
    if [ -n "${2:-}" ]; then  # two run at a time; a tenth is for what they run over
      left=$((($2 - SECONDS) * 18 / 10 / ${#targets[@]}))
      each=$((left > 120 ? 120 : left < 5 ? 5 : left))
    fi
    echo "-- $each seconds of each target"
    scripts/fuzz.sh "$each" ;;
  python) scripts/python.sh ;;
  docs) scripts/docs.sh ;;
  cuda)  # with the image of nvcc in it, on the driver of tests
    scripts/build.sh cuda
    run_tests build-cuda -R '^cuda_' ;;
  *) echo "stage.sh: no such stage: ${1:-none is named}" >&2; exit 2 ;;
esac
