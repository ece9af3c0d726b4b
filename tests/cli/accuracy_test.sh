#!/usr/bin/env bash
# The accuracies that the README gives, by the trained checkpoints and data beside the repository; skipped without them.
# Usage: accuracy_test.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1 shared=../shared
[ -z "${LSRT_EMULATOR:-}" ] && ! grep -q '^LSRT_SANITIZE:.*=.' "$build/CMakeCache.txt" || exit 77
[ -d "$shared/checkpoints" ] && [ -d "$shared/data" ] || { echo "accuracy_test: no $shared"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect NAME LEAST MOST KEY COMMAND...: a number of the JSON that the command prints.
expect() {
  local value
  value=$("${@:5}" --json | sed -n "s/.*\"$4\": \([0-9.]*\).*/\1/p" | head -1)
  awk -v v="$value" -v least="$2" -v most="$3" 'BEGIN { exit !(v != "" && v >= least && v <= most) }' ||
    { echo "accuracy_test: $1 is '$value', must be $2 to $3"; exit 1; }
  echo "$1: $value"
}
convert() { "$build/lsrt" convert "$shared/checkpoints/$1" -o "$work/$2" "${@:3}" >/dev/null; }

convert books-lm-2.pt books --dict "$shared/data/books/dict.txt"
cmp "$shared/checkpoints/books-lm-2.pt" demos/data/books-lm.pt  # the demo's model is the one of the README
expect "bits per byte, int8" 1.9600 1.9607 bits_per_byte \
  "$build/lsrt" score "$work/books" "$shared/data/books/moby-dick.txt" --limit 300032 --threads 2
convert books-mamba mamba
expect "bits per byte, Mamba, int8" 1.9152 1.9182 bits_per_byte \
  "$build/lsrt" score "$work/mamba" "$shared/data/books/moby-dick.txt" --limit 300032 --threads 2
for precision in int8 float32; do
  convert cifar10-vil.pth images --config "$shared/checkpoints/cifar10-vil.json" --precision $precision
  expect "CIFAR-10, $precision" 66.59 66.71 top1 "$build/lsrt" classify "$work/images" --eval "$shared/data/cifar10/test"
  convert authors.model authors --precision $precision
  expect "novelists, $precision" 22.5 22.5 top1 "$build/lsrt" classify "$work/authors" --eval "$shared/data/authors/test"
done
