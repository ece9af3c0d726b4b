#!/usr/bin/env bash
# From a fresh checkout to text: set-up, build, a PyTorch checkpoint made into an int8 model, 400 bytes written by it.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh release

echo
echo "+ build/lsrt convert demos/data/books-lm.pt --dict demos/data/dict.txt -o build/books-lm.lsrt"
build/lsrt convert demos/data/books-lm.pt --dict demos/data/dict.txt -o build/books-lm.lsrt
echo
echo "+ build/lsrt generate build/books-lm.lsrt --prompt 'It was a dark night' -n 400 --temperature 0.8 --seed 1"
build/lsrt generate build/books-lm.lsrt --prompt "It was a dark night" -n 400 --temperature 0.8 --seed 1
