#!/usr/bin/env bash
# check_symbols.sh NM LIST: the kernel objects named in LIST that need special CPU instructions must define no weak
# symbols: of several weak copies the linker keeps any one, and the caller may run on a CPU without the instructions.
set -euo pipefail

nm=$1
checked=0
bad=0
while IFS= read -r object; do
  case $object in
    */scalar.cc.o | */dispatch.cc.o) continue ;;  # compiled for every CPU
  esac
  checked=$((checked + 1))
  weak=$("$nm" --defined-only -C "$object" | awk '$2 ~ /^[WwVvu]$/')
  if [ -n "$weak" ]; then
    bad=1
    printf '%s defines weak symbols (use anonymous namespaces, no std templates):\n%s\n' "$object" "$weak" >&2
  fi
done <"$2"

if [ "$checked" = 0 ]; then
  echo "no kernel objects with special instructions in this build" >&2
  exit 77
fi
echo "$checked objects checked"
exit "$bad"
