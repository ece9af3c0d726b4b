#!/usr/bin/env bash
# hardening_test.sh BUILD: the tool is what SECURITY.md says: at no fixed address, its relocations read-only, no
# executable stack, the stack and libc calls checked, functions marked for control flow protection.
set -euo pipefail
build=$1
grep -q '^LSRT_SANITIZE:STRING=$' "$build/CMakeCache.txt" || { echo "skipped: a sanitizer checks more"; exit 77; }
grep -q '^LSRT_HARDEN:BOOL=ON$' "$build/CMakeCache.txt" || { echo "skipped: LSRT_HARDEN is off"; exit 77; }
command -v readelf >/dev/null || { echo "skipped: no readelf"; exit 77; }
tool=$build/lsrt

has() {  # has WHAT OPTION PATTERN
  readelf -W "$2" "$tool" | grep -E "$3" >/dev/null || { echo "no $1: readelf $2 shows no '$3'"; exit 1; }
}
has "position-independent program" -h 'Type: +DYN'
has "read-only relocations" -l 'GNU_RELRO'
has "immediate binding" -d 'BIND_NOW|FLAGS_1.*NOW'
has "stack without execution" -l 'GNU_STACK .* RW '
has "stack protector" --dyn-syms '__stack_chk_fail'
has "checked libc calls" --dyn-syms '_chk(@|$| )'
if readelf -W -l "$tool" | grep -E 'LOAD.* RWE '; then echo "a segment is writable and executable"; exit 1; fi
if readelf -W -d "$tool" | grep TEXTREL; then echo "relocations in code"; exit 1; fi

# Marks of the program are those that all of its objects have, and XNNPACK has assembly without: ask ours.
all=0
for library in "$build"/liblsrt.a "$build"/liblsrt_{internal,kernels,converter,image}.a; do
  [ -e "$library" ] || continue
  members=$(readelf -W -h "$library" | grep -c '^File:')
  marked=$(readelf -W -n "$library" | grep -cE 'IBT, SHSTK|BTI, PAC' || true)
  [ "$members" = "$marked" ] || { echo "$library: control flow protection in $marked of $members objects"; exit 1; }
  all=$((all + members))
done
[ "$all" -ge 50 ] || { echo "only $all objects in the libraries of $build"; exit 1; }
echo "the tool and $all objects"
