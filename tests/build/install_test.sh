#!/usr/bin/env bash
# install_test.sh BUILD: lsrt as other projects use it. The build is installed and moved elsewhere; the programs in demos/
# are then built in C and C++ by find_package, by pkg-config and with lsrt as a part of their project, and do their work.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
# What is installed runs on this machine, and comes from such builds only.
[ -z "${LSRT_EMULATOR:-}" ] && [ -f "$build/lsrt.pc" ] || { echo "skipped: this build is not installed"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install_test: $*" >&2; [ ! -s "$work/log" ] || tail -30 "$work/log" >&2; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || fail "failed: $*"; }

quietly cmake --install "$build" --prefix "$work/installed"
mv "$work/installed" "$work/prefix"  # nothing in it may know where it was
prefix=$work/prefix
if grep -rlF "$work/installed" "$prefix"; then fail "these name the folder of the installation"; fi
quietly "$prefix/bin/lsrt" --version

# ---- models, and what each use must say

golden=tests/data/golden
quietly "$prefix/bin/lsrt" convert demos/data/books-lm.pt -o "$work/books.lsrt"
quietly "$prefix/bin/lsrt" convert $golden/vil-4stage/checkpoint.pth --config $golden/vil-4stage/case.json -o "$work/vil.lsrt"
quietly "$prefix/bin/lsrt" convert $golden/lra-listops/checkpoint.model --config $golden/lra-listops/case.json -o "$work/encoder.lsrt"
{ printf 'P6\n64 64\n255\n'; head -c 12288 demos/data/books-lm.pt; } >"$work/image.ppm"
printf '\1\5\3\7\2' >"$work/page.txt"
"$prefix/bin/lsrt" classify "$work/encoder.lsrt" "$work/page.txt" --json --top 1 >"$work/best"
class=$(grep -oE '"class": ?[0-9]+' "$work/best" | grep -oE '[0-9]+$')

use() {  # use FOLDER: the programs there
  local text=$work/text
  "$1/minimal" "$work/books.lsrt" "It was a dark night" 50 >"$text" 2>"$work/log" || fail "$1/minimal failed"
  [[ "$(head -c 19 "$text")" == "It was a dark night" && "$(wc -c <"$text")" = 70 ]] || fail "minimal wrote: $(cat "$text")"
  "$1/minimal" missing.lsrt x 1 >"$work/log" 2>&1 && fail "minimal takes a missing file"
  grep -q 'minimal: error: .*missing.lsrt' "$work/log" || fail "minimal does not name the file"

  "$1/three_uses" "$work/books.lsrt" "It was a dark night" >"$text" 2>"$work/log" || fail "$1/three_uses writes no text"
  [[ "$(head -c 19 "$text")" == "It was a dark night" && "$(wc -c <"$text")" = 220 ]] || fail "three_uses wrote: $(cat "$text")"
  "$1/three_uses" "$work/vil.lsrt" "$work/image.ppm" >"$text" 2>"$work/log" || fail "$1/three_uses classifies no image"
  grep -qE '^class [0-9]' "$text" || fail "three_uses said of an image: $(cat "$text")"
  "$1/three_uses" "$work/encoder.lsrt" "$work/page.txt" >"$text" 2>"$work/log" || fail "$1/three_uses classifies no document"
  grep -qE "^class $class( |\$)" "$text" || fail "three_uses said of a document: $(cat "$text"), the tool: class $class"
  for wrong in "missing.lsrt x" "$work/vil.lsrt $0" "$work/encoder.lsrt missing.txt" "$work/books.lsrt €"; do
    "$1/three_uses" $wrong >"$work/log" 2>&1 && fail "three_uses takes $wrong"
    grep -q 'three_uses: error: ' "$work/log" || fail "three_uses does not say what is wrong with $wrong"
  done
}

# ---- find_package and add_subdirectory: one project each of C alone and of C++ alone

for language in C CXX; do
  mkdir "$work/$language"
  cp demos/*.c demos/*.cc "$work/$language"
  [ $language = C ] && program=minimal.c || program=three_uses.cc
  cat >"$work/$language/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES $language)
if(LSRT_SOURCE)
  add_subdirectory("\${LSRT_SOURCE}" lsrt)
else()
  find_package(lsrt REQUIRED)
endif()
add_executable(${program%.*} $program)
target_compile_options(${program%.*} PRIVATE -Wall -Wextra -Werror)
target_link_libraries(${program%.*} PRIVATE lsrt::lsrt)
END
  quietly cmake -S "$work/$language" -B "$work/cmake-$language" -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  quietly cmake --build "$work/cmake-$language"
done
mv "$work/cmake-CXX/three_uses" "$work/cmake-C"
use "$work/cmake-C"

# As a part of a project the whole library is compiled, which takes minutes: LSRT_WHOLE=1 (scripts/test.sh, stage shared).
xnnpack=$(sed -n 's/^LSRT_XNNPACK:BOOL=//p' "$build/CMakeCache.txt")
quietly cmake -S "$work/CXX" -B "$work/part" -G Ninja -DLSRT_SOURCE="$PWD" -DLSRT_XNNPACK="$xnnpack"
if [ -n "${LSRT_WHOLE:-}" ]; then
  quietly cmake --build "$work/part"
  cp "$work/cmake-C/minimal" "$work/part"
  use "$work/part"
else
  quietly cmake --build "$work/part" --target CMakeFiles/three_uses.dir/three_uses.cc.o
fi

# ---- pkg-config, without CMake; C++ also without exceptions and RTTI

command -v pkg-config >/dev/null || { echo "install_test: passed, without pkg-config"; exit 0; }
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
flags=$(pkg-config --cflags --libs lsrt)
mkdir "$work/plain"
quietly cc -std=c11 -Wall -Wextra -Wpedantic -Werror demos/minimal.c -o "$work/plain/minimal" $flags
quietly c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fno-exceptions -fno-rtti demos/three_uses.cc -o "$work/plain/three_uses" $flags
use "$work/plain"
echo "install_test: passed"
