#!/usr/bin/env bash
# Fuzzes what reads files, with libFuzzer and the address and undefined behaviour sanitizers.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]   each target of fuzz/, or these, for so long (120); two at a time
#   scripts/fuzz.sh coverage [TARGET...]    lines of each reader that its inputs in the repository reach
#
# What is found interesting is kept in build-fuzz/corpus/TARGET, where the next run goes on. An input that crashes,
# hangs, leaks or takes over 2 GB is kept in build-fuzz/findings and makes the exit status 1: mend it, then add the input
# to fuzz/corpus/TARGET, which every test run replays.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=120
coverage=
case ${1:-} in
  coverage) coverage=1; shift ;;
  [0-9]*) seconds=$1; shift ;;
esac
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s _fuzz.cc fuzz/*_fuzz.cc)
for target in "${targets[@]}"; do
  [ -e "fuzz/${target}_fuzz.cc" ] || { echo "fuzz.sh: no such target: $target (there are: $(basename -s _fuzz.cc fuzz/*_fuzz.cc | xargs))" >&2; exit 2; }
done

# The files that a target is to cover.
sources() {
  case $1 in
    pickle) echo converter/source/pickle*.cc ;;
    torch) echo converter/source/{torch_file,torch_state,torch_tensor,zip_archive}.cc ;;
    safetensors) echo converter/source/{safetensors,json_text}.cc ;;
    folder) echo converter/source/{folder,tensor_source}.cc ;;
    vocabulary) echo converter/families/dictionary.cc runtime/text/tokenizer.cc ;;
    tokenizer) echo converter/families/tokenizer_json.cc runtime/text/{bpe_tokenizer,unicode,tokenizer}.cc ;;
    config) echo converter/families/{config,family,mixture,names_*,vil_*,positions}.cc ;;
    jpeg) echo image/image_jpeg.cc ;;
    png) echo image/image_png.cc ;;
    model) echo runtime/model/{model,weights,reader,reader_io,reader_layers}.cc ;;
    snapshot) echo runtime/text/{snapshot,session_state}.cc ;;
    differential) echo runtime/mixers/*.cc ;;
  esac
}

seeds() {  # what fuzz.cmake replays
  local folder
  [ ! -d "fuzz/corpus/$1" ] || echo "fuzz/corpus/$1"
  case $1 in
    torch) folder="tests/data/readers tests/data/golden/lra-dual" ;;
    safetensors) folder=tests/data/readers ;;
    jpeg | png) folder=tests/data/images ;;
    *) return 0 ;;
  esac
  echo $folder
}

if [ -n "$coverage" ]; then
  cmake -S . -B build-cover -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DLSRT_XNNPACK=OFF -DLSRT_BENCH=OFF \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS="-O1 -fprofile-instr-generate -fcoverage-mapping" >build-cover.log 2>&1 \
    || { cat build-cover.log >&2; exit 1; }
  mv build-cover.log build-cover/configure.log
  cmake --build build-cover --target "${targets[@]/%/_replay}"
  for target in "${targets[@]}"; do
    LLVM_PROFILE_FILE=build-cover/$target.profraw "build-cover/${target}_replay" $(seeds "$target") >/dev/null
    llvm-profdata merge -o "build-cover/$target.profdata" "build-cover/$target.profraw"
    # Its own choice of files does not find them where a compiler's cache made the paths relative.
    llvm-cov report "build-cover/${target}_replay" -instr-profile="build-cover/$target.profdata" |
      awk -v target="$target" -v wanted="$(echo $(sources "$target"))" '
        BEGIN { count = split(wanted, names, " ") }
        { for (i = 1; i <= count; ++i) if ($1 ~ "(^|/)" names[i] "$") { lines += $8; missed += $9 } }
        END { printf "%-13s %5d of %5d lines, %.1f %%\n", target, lines - missed, lines, lines ? 100 * (lines - missed) / lines : 0 }'
  done
  exit
fi

scripts/build.sh fuzz "${targets[@]/%/_fuzz}"
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm  # where a target writes files; a disk would be what it waits for
mkdir -p build-fuzz/findings build-fuzz/logs
fuzz_one() {
  local target=$1 dictionary=fuzz/dictionaries/$1.dict status=0
  [ "$target" != torch ] || dictionary=fuzz/dictionaries/pickle.dict
  mkdir -p "build-fuzz/corpus/$target"
  "build-fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
    $([ ! -e "$dictionary" ] || echo "-dict=$dictionary") -artifact_prefix="build-fuzz/findings/$target-" \
    "build-fuzz/corpus/$target" $(seeds "$target") >"build-fuzz/logs/$target.log" 2>&1 || status=1
  awk -v target="$target" -v status="$status" '
    /^stat::number_of_executed_units/ { runs = $2 }
    /^stat::peak_rss_mb/ { rss = $2 }
    / cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") edges = $(i + 1) }
    END { printf "%-13s %10d executions, %6d edges, peak %d MB%s\n", target, runs, edges, rss, status ? ": A FINDING" : "" }' \
    "build-fuzz/logs/$target.log"
  [ "$status" = 0 ] || tail -n 40 "build-fuzz/logs/$target.log" | cut -c 1-200
  return "$status"
}
failed=0
running=0
for target in "${targets[@]}"; do
  fuzz_one "$target" &
  if [ $((++running)) -ge 2 ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
