#!/usr/bin/env bash
# What the README shows works: its commands run, and its C and C++ are compiled and run against an installed lsrt.
# Usage: readme_test.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
# The commands are made for a machine's own speed, and only such a build is installed.
[ -z "${LSRT_EMULATOR:-}" ] && [ -f "$build/lsrtConfig.cmake" ] || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "readme_test: $*" >&2; [ ! -s "$work/log" ] || tail -30 "$work/log" >&2; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || fail "failed: $*"; }

# block LANGUAGE N: the Nth block of that language.
block() {
  awk -v start="\`\`\`$1" -v wanted="$2" '/^```/ { inside = !inside; if ($0 == start) n++; here = inside && $0 == start; next }
    here && n == wanted' README.md >"$work/block"
  [ -s "$work/block" ] || fail "the README has no block $2 of $1"
  cat "$work/block"
}

# ---- commands: the first block names scripts, the second one is run, every line of it

block sh 1 >"$work/scripts"
while read -r script _; do
  [ -x "$script" ] || fail "$script cannot be run"
done <"$work/scripts"

mkdir "$work/files"
cp demos/data/books-lm.pt demos/data/dict.txt "$work/files"
head -c 4000 CONTRIBUTING.md | LC_ALL=C tr -cd 'A-Za-z .,\n' >"$work/files/moby-dick.txt"
cp tests/data/images/colour.jpg "$work/files/photo.jpg"
printf '\1\5\3\7\2' >"$work/files/page.txt"
ln -s "$build" "$work/files/build"
(
  cd "$work/files"
  golden=$OLDPWD/tests/data/golden
  convert() { quietly build/lsrt convert "$golden/$1/$2" --config "$golden/$1/case.json" -o "$3.lsrt"; }
  convert vil-4stage checkpoint.pth cifar10-vil
  convert lra-listops checkpoint.model authors
)
block sh 2 >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 8 ] || fail "the README shows fewer commands than it did"
while read -r command; do
  (cd "$work/files" && bash -c "$command" >"$work/log" 2>&1 </dev/null) || fail "failed: $command"
done <"$work/commands"

# ---- an installed lsrt

quietly cmake --install "$build" --prefix "$work/prefix"
mkdir "$work/user"
# As written, in a function; the last lines hold what the README says of the result.
cat >"$work/user/readme_c.c" <<END
#include <lsrt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) {
$(block c 1)
  double sum = 0;
  for (size_t i = 0; i < lsrt_model_vocabulary(model); ++i) sum += exp(logprobs[i]);
  return lsrt_session_position(session) == count && fabs(sum - 1) < 1e-3 ? 0 : 1;
}
END
cat >"$work/user/readme_cpp.cc" <<END
#include <iostream>
#include <lsrt.hpp>
int main() {
$(block cpp 1)
  return session.position() == 118 ? 0 : 1;
}
END
cat >"$work/user/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C CXX)
find_package(lsrt REQUIRED)
foreach(source readme_c.c readme_cpp.cc)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_compile_options(${name} PRIVATE -Wall -Wextra -Werror)
  target_link_libraries(${name} PRIVATE lsrt::lsrt)
endforeach()
END
quietly cmake -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$work/prefix"
quietly cmake --build "$work/user/build"
cd "$work/files"
quietly "$work/user/build/readme_c"
quietly "$work/user/build/readme_cpp"
echo "readme_test: passed"
