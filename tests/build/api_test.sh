#!/usr/bin/env bash
# Every function of the C API is in the test that calls them all with null pointers, and in the C++ layer.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t functions < <(grep -oE '\blsrt_[a-z_]+\(' runtime/lsrt.h | tr -d '(' | sort -u)
[ ${#functions[@]} -ge 42 ] || { echo "found only ${#functions[@]} functions in lsrt.h"; exit 1; }
for function in "${functions[@]}"; do
  grep -qE "(EVERY_WAY|call_with_null)\($function\)" tests/runtime/null_arguments_test.cc ||
    { echo "$function is not in null_arguments_test.cc"; exit 1; }
  case $function in lsrt_version | lsrt_status_string) continue ;; esac  # as they are
  grep -qw "$function" runtime/lsrt.hpp || { echo "$function is not in lsrt.hpp"; exit 1; }
done
echo "${#functions[@]} functions"
