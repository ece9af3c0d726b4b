#!/usr/bin/env bash
# check_install.sh BUILD_FOLDER: installs a build into an empty folder and builds a program against it, as a user does.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/prefix" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

mkdir "$work/user"
cat >"$work/user/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C CXX)
find_package(lsrt REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE lsrt::lsrt)
END
cat >"$work/user/user.c" <<'END'
#include <lsrt.h>
#include <stdio.h>

int main(void) {
  lsrt_model* model = NULL;
  if (lsrt_model_load("/nonexistent.lsrt", NULL, &model) == LSRT_OK) return 1;
  printf("lsrt %s: %s\n", lsrt_version(), lsrt_last_error());
  return 0;
}
END
{
  cmake -S "$work/user" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" && cmake --build "$work/build"
} >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
"$work/build/user"
"$work/prefix/bin/lsrt" --help >/dev/null
