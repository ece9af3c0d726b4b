#!/usr/bin/env bash
# The tool's --backend cuda on the driver of tests: the words and scores of the CPU; and what it says without a driver.
set -euo pipefail
build=$1
lsrt=$build/lsrt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$lsrt" convert "$(dirname "$0")/../../demos/data/books-lm.pt" --dict "$(dirname "$0")/../../demos/data/dict.txt" \
  -o "$work/m.lsrt" >/dev/null
head -c 300 "$(dirname "$0")/../../README.md" >"$work/text"

if LSRT_CUDA_LIBRARY=/nowhere/libcuda.so "$lsrt" score "$work/m.lsrt" "$work/text" --backend cuda 2>"$work/said"; then
  echo "a driver that is not there was used"; exit 1
fi
grep -q "there is no CUDA driver" "$work/said" || { cat "$work/said"; exit 1; }

if LSRT_CUDA_LIBRARY=$build/liblsrt_old_cuda.so "$lsrt" score "$work/m.lsrt" "$work/text" --backend cuda 2>"$work/said"; then
  echo "a driver that can do nothing was used"; exit 1
fi
grep -q "too old: it is of CUDA 10.2 and has no cuInit" "$work/said" || { cat "$work/said"; exit 1; }

export LSRT_CUDA_LIBRARY=$build/liblsrt_fake_cuda.so
for command in "score $work/m.lsrt $work/text" "generate $work/m.lsrt --prompt Once -n 20 --seed 1" \
  "generate $work/m.lsrt --prompt Once -n 20 --temperature 0 --repeat-penalty 1.3" \
  "generate $work/m.lsrt --prompt Once -n 20 --seed 2 --top-k 12 --top-p 0.9 --min-p 0.02 --repeat-penalty 1.2"; do
  "$lsrt" $command --backend cpu 2>/dev/null | grep -v " s: \|^state" >"$work/cpu"  # but times and memory
  "$lsrt" $command --backend cuda 2>/dev/null | grep -v " s: \|^state" >"$work/cuda"
  [ -s "$work/cpu" ]
  cmp "$work/cpu" "$work/cuda"
done

# The kernels are part of the tool.
strip -o "$work/stripped" "$lsrt"
size=$(stat -c %s "$work/stripped")
packed=$(sed -n 's/.*lsrt_cuda_packed_bytes = \([0-9]*\);/\1/p' "$build/generated/cuda_image.c")
echo "the tool has $size bytes, $packed of them kernels"
[ "$packed" -le 350000 ]
[ "$size" -le 2500000 ]
