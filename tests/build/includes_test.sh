#!/usr/bin/env bash
# Who may know whom: every #include "..." of the product against the table below. A folder is listed after all that
# it may include, so no include runs back up and none makes a circle.
set -euo pipefail
cd "$(dirname "$0")/../.."

table='
base:
kernels:
kernels/cuda:        base kernels
schema:
image:               base
runtime:             # lsrt.h and version.h, the face
runtime/model:       base kernels schema
runtime/device:      base kernels runtime/model
runtime/device/cpu:  base kernels runtime/model runtime/device
runtime/device/cuda: base kernels kernels/cuda runtime/model runtime/device
runtime/mixers:      base runtime/model runtime/device
runtime/text:        base runtime/model runtime/device runtime/mixers
runtime/classify:    base runtime/model runtime/device runtime/mixers
runtime/api:         base runtime runtime/model runtime/device runtime/text runtime/classify
converter/source:    base
converter/writer:    base kernels schema runtime/model converter/source
converter/families:  base runtime/model runtime/api converter/source converter/writer
converter:           base runtime runtime/model runtime/api converter/source converter/writer converter/families
cli:                 base kernels image runtime runtime/model runtime/device runtime/text runtime/classify runtime/api converter converter/source
'

# rows FILE...: "folder file included" for each include of a file of ours.
rows() {
  awk 'match($0, /^#include "[^"]+"/) {
    included = substr($0, RSTART + 10, RLENGTH - 11); folder = FILENAME
    sub(/\/[^\/]*$/, "", folder); print folder, FILENAME, included
  }' "$@"
}

check() {  # check: reads rows, prints those that the table forbids
  awk -v table="$table" '
    function room(path) {  # the listed folder that holds the path
      while (!(path in known)) { if (path !~ /\//) return ""; sub(/\/[^\/]*$/, "", path) }
      return path
    }
    BEGIN {
      for (n = split(table, lines, "\n"); ++i <= n;) {
        sub(/ *#.*/, "", lines[i])
        if (!(count = split(lines[i], words, /:? +|:$/))) continue
        known[words[1]] = 1; allowed[words[1], words[1]] = 1
        for (w = 2; w <= count; ++w) {
          if (words[w] == "") continue
          if (!(words[w] in known)) print "the table lists " words[1] " before " words[w]
          allowed[words[1], words[w]] = 1
        }
      }
    }
    {
      from = room($2); to = room($3)
      if (from == "") print $2 ": its folder is not in the table"
      else if (to == "") print $2 " includes " $3 ", which is no folder of the table"
      else if (!((from, to) in allowed)) print $2 " includes " $3 ": " from " may not know " to
    }'
}

# The check itself: these must be found, this must not.
wrong='base base/x.h kernels/dispatch.h
runtime/model runtime/model/x.cc runtime/text/session.h
runtime/device/cpu runtime/device/cpu/x.cc runtime/api/arrays.h
new new/x.cc base/status.h
cli cli/x.cc tests/support/files.h'
[ "$(check <<<"$wrong" | wc -l)" = 5 ] || { echo "includes that must be refused pass"; check <<<"$wrong"; exit 1; }
[ -z "$(check <<<'kernels/gemm kernels/gemm/avx2.cc kernels/simd/vec_avx2.h')" ] || exit 1

mapfile -t files < <(find base cli converter image kernels runtime schema -name '*.h' -o -name '*.cc' -o -name '*.inc' -o -name '*.cu')
[ "${#files[@]}" -gt 100 ] || { echo "found only ${#files[@]} files"; exit 1; }
found=$(rows "${files[@]}" | grep -v ' flatbuffers/' | check)
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "${#files[@]} files include only what the table allows"
