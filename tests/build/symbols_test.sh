#!/usr/bin/env bash
# symbols_test.sh BUILD: a shared library exports the functions of lsrt.h and nothing else; a static one has no name that
# a user's own could meet: all are of the C API or in the namespace lsrt.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
command -v nm >/dev/null || { echo "skipped: no nm"; exit 77; }
grep -q '^LSRT_SANITIZE:STRING=$' "$build/CMakeCache.txt" || { echo "skipped: sanitizers add symbols of their own"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -oE '\blsrt_[a-z_]+\(' runtime/lsrt.h | tr -d '(' | sort -u >"$work/declared"
if [ -e "$build/liblsrt.so" ]; then
  nm -D --defined-only "$build/liblsrt.so" | awk '{ print $3 }' | sort >"$work/exported"
  diff "$work/declared" "$work/exported" || { echo "liblsrt.so does not export what lsrt.h declares"; exit 1; }
else
  nm -g --defined-only "$build/liblsrt.a" 2>/dev/null | awk '$2 == "T" && $3 ~ /^lsrt_/ { print $3 }' | sort >"$work/exported"
  diff "$work/declared" "$work/exported" || { echo "liblsrt.a does not define what lsrt.h declares"; exit 1; }
  # Weak ones are of templates, which may stand in many objects.
  nm -g --defined-only -C "$build/liblsrt.a" "$build/liblsrt_kernels.a" 2>/dev/null |
    awk '$2 ~ /^[TDBRC]$/ { sub(/^[0-9a-f]* . /, ""); print }' |
    grep -vE '^(lsrt_|lsrt::|(typeinfo|typeinfo name|vtable|guard variable) for lsrt::)' >"$work/foreign" || true
  [ ! -s "$work/foreign" ] || { echo "names outside of the namespace lsrt:"; cat "$work/foreign"; exit 1; }
fi
echo "$(wc -l <"$work/exported") functions"
