#!/usr/bin/env bash
# Files stay of a size to be read: the median of the product's files, and none over the limit (generated code aside).
set -euo pipefail
cd "$(dirname "$0")/../.."

find base cli converter image kernels runtime \( -name '*.h' -o -name '*.cc' -o -name '*.inc' -o -name '*.cu' \) \
  -exec awk 'END { print FNR, FILENAME }' {} \; | sort -n | awk '
  { lines[NR] = $1 }
  $1 > 350 { print $2 " has " $1 " lines, more than 350"; bad = 1 }
  END {
    median = lines[int((NR + 1) / 2)]
    print NR " files, median " median " lines, longest " lines[NR]
    exit bad || NR < 100 || median > 120
  }'
