#!/usr/bin/env bash
# build.sh PRESET [TARGET...]: set-up, configuration and build of a preset of CMakePresets.json, with a short output.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?a preset of CMakePresets.json, as release}
case $preset in
  -*) sed -n 2p "$0" | cut -c3-; exit 2 ;;
  release | ci) folder=build ;;
  aarch64-qemu) folder=build-aarch64 ;;
  *) folder=build-$preset ;;
esac

case $preset in
  aarch64-qemu) scripts/setup.sh aarch64 ;;
  fuzz | clang) scripts/setup.sh fuzz ;;
  light) LSRT_XNNPACK=OFF scripts/setup.sh ;;
  *) scripts/setup.sh ;;
esac
. scripts/ccache.sh
mkdir -p "$folder"
cmake --preset "$preset" >"$folder/configure.log" 2>&1 || { cat "$folder/configure.log" >&2; exit 1; }
cmake --build "$folder" ${2:+--target} "${@:2}"
