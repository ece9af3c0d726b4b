#!/usr/bin/env bash
# From a fresh checkout to text: set-up, the tool alone in its light build (nothing is built that int8 text does not need),
# a PyTorch checkpoint made into an int8 model, 400 bytes written by it.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh light lsrt_cli

show() {
  echo
  echo "+ $(printf '%q ' "$@")"
  "$@"
}
show build-light/lsrt convert demos/data/books-lm.pt --dict demos/data/dict.txt -o build-light/books-lm.lsrt
show build-light/lsrt generate build-light/books-lm.lsrt --prompt "It was a dark night" -n 400 --temperature 0.8 --seed 1
