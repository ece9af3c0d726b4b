#!/usr/bin/env bash
# Installs and builds what lsrt needs and the machine lacks (Debian, Ubuntu). Safe to run again: does nothing, without
# the network, when all is there. An interrupted run is taken up by the next one.
#
#   scripts/setup.sh            for this machine
#   scripts/setup.sh aarch64    also the cross compiler, emulator and libraries for 64-bit ARM
#   scripts/setup.sh python     also what pip needs to build the package; without XNNPACK
#   scripts/setup.sh fuzz       also clang with its fuzzer; without XNNPACK
#
# LSRT_XNNPACK=OFF in the environment: without XNNPACK, for builds that are configured with -DLSRT_XNNPACK=OFF.
#
# Where nvcc is, the assembler of CUDA 12, whose code JetPack 6 loads, and the disassembler of scripts/cuda_static.py
# come from PyPI, or what pip is configured for.
#
# XNNPACK is built here because the stable releases' own package lacks int8 with dynamic quantization: the sources
# come from the package archive that this machine already uses, of a newer release; apt's own settings stay as they
# are. The result goes to $LSRT_DEPS, else $XDG_CACHE_HOME/lsrt, else ~/.cache/lsrt.
set -euo pipefail
cd "$(dirname "$0")/.."

# Names the folder of the built libraries (CMakeLists.txt reads this line); raise it when what is built changes.
xnnpack_release=20241108

target=${1:-native}
clang=() python=()
if [ "$target" = python ]; then
  target=native python=(python3-venv python3-dev) LSRT_XNNPACK=OFF
fi
if [ "$target" = fuzz ]; then
  target=native clang=(clang llvm libclang-rt-dev) LSRT_XNNPACK=OFF
fi
case $target in native | aarch64) ;; *) echo "usage: scripts/setup.sh [aarch64 | python | fuzz]" >&2; exit 2 ;; esac
machine=$(uname -m)
[ "$machine" != arm64 ] || machine=aarch64
[ "$target" != "$machine" ] || target=native

deps=${LSRT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lsrt}
log=$deps/setup.log

packages=(g++ cmake ninja-build pkg-config git python3 libflatbuffers-dev flatbuffers-compiler doctest-dev libcli11-dev
  nlohmann-json3-dev libjpeg-dev libpng-dev libbenchmark-dev libsimde-dev)
source_packages=(dpkg-dev xz-utils)  # to fetch and unpack sources
[ "$target" != aarch64 ] || packages+=(g++-aarch64-linux-gnu qemu-user)
packages+=("${clang[@]}" "${python[@]}")
has_nvcc() { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null
! has_nvcc || packages+=(liblzma-dev xz-utils)

say() { echo "setup: $*"; }

die() {
  echo "setup: error: $*" >&2
  [ ! -s "$log" ] || echo "setup: the details are in $log" >&2
  exit 1
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    die "not root and no sudo: install by hand: ${packages[*]}"
  fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} != 0 ] || return 0
  say "installing ${missing[*]}"
  as_root apt-get -q -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 || say "apt-get update failed; trying to go on"
  as_root apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
    die "apt-get could not install: ${missing[*]}"
}

# ---- a private view of the package archive --------------------------------------------------------------------------

# The releases to look in, by name. All of them have the same XNNPACK; a mirror may lack a file of one of them.
archive_suites() {
  case $archive_id in
    debian) echo trixie forky sid ;;
    ubuntu) echo plucky questing resolute ;;
  esac
}

# Where this machine gets its own release from: sets archive_id, archive_uri, archive_key.
find_archive() {
  # shellcheck disable=SC1091
  . /etc/os-release
  archive_id=
  for archive_id in $ID ${ID_LIKE:-}; do
    case $archive_id in debian | ubuntu) break ;; esac
  done
  case $archive_id in debian | ubuntu) ;; *) return 1 ;; esac
  archive_uri=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>>"$log" |
    awk -v suite="${VERSION_CODENAME:-}" '$1 == suite { print $2; exit }')
  [ -n "$archive_uri" ] || return 1
  # The archive of all releases is signed with keys in one file, named beside the address or known to apt anyway.
  archive_key=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -nE 's/^Signed-By: *(\/[^ ]*).*/\1/p; s/^deb .*signed-by=(\/[^] ]*).*/\1/p' | grep -m1 "$archive_id" || true)
}

# private_apt SUITE [ARCHITECTURE] COMMAND...: apt-get with lists and cache of its own.
private_apt() {
  local suite=$1 architecture=$2 folder
  shift 2
  folder=$work/apt/$suite-$architecture
  if [ ! -e "$folder/ready" ]; then
    mkdir -p "$folder/sources" "$folder/lists/partial" "$folder/cache/archives/partial"
    {
      echo "Types: deb deb-src"
      echo "URIs: $archive_uri"
      echo "Suites: $suite"
      if [ "$archive_id" = ubuntu ]; then echo "Components: main universe"; else echo "Components: main"; fi
      [ -z "$archive_key" ] || echo "Signed-By: $archive_key"
    } >"$folder/sources/lsrt.sources"
    : >"$folder/status"
    touch "$folder/ready"
    private_apt "$suite" "$architecture" update >>"$log" 2>&1 || return 1
  fi
  apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$folder/sources" \
    -o Dir::State::lists="$folder/lists" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder/cache" \
    -o APT::Architecture="$architecture" -o APT::Architectures::="$architecture" -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Retries=2 "$@"
}

# fetch_source PACKAGE SUITE...: unpacks the package's source into $work/src/PACKAGE, from the first suite that has it.
fetch_source() {
  local package=$1 suite archive
  shift
  mkdir -p "$work/src/$package" "$work/download"
  for suite in "$@"; do
    rm -f "$work/download/$package"_*
    (cd "$work/download" &&
      private_apt "$suite" "$native_architecture" source --download-only --tar-only "$package") >>"$log" 2>&1 || continue
    for archive in "$work/download/$package"_*.orig.tar.*; do
      [ -f "$archive" ] || continue
      tar -C "$work/src/$package" -xf "$archive" >>"$log" 2>&1 || continue 2
      # Some archives have a top folder, some do not.
      if [ ! -e "$work/src/$package/CMakeLists.txt" ]; then
        mv "$work/src/$package"/*/* "$work/src/$package"/
      fi
      echo "$(basename "$archive") $(sha256sum "$archive" | cut -d' ' -f1)" >>"$work/VERSIONS"
      return 0
    done
  done
  return 1
}

# ---- XNNPACK ----------------------------------------------------------------------------------------------------------

build_xnnpack() {  # build_xnnpack ARCH [cmake arguments]
  local arch=$1 package suites
  shift
  work=$deps/tmp
  rm -rf "$work"
  mkdir -p "$work"
  install_packages "${source_packages[@]}"

  say "fetching the sources of XNNPACK"
  find_archive || die "no package archive of Debian or Ubuntu in apt's sources." \
    "Without it, configure with: cmake -B build -DLSRT_FETCH=ON"
  read -r -a suites <<<"$(archive_suites)"
  for package in xnnpack pthreadpool cpuinfo fxdiv; do
    fetch_source "$package" "${suites[@]}" ||
      die "the package archive of this machine gives no source of $package (tried: ${suites[*]})." \
        "Without it, configure with: cmake -B build -DLSRT_FETCH=ON"
  done

  say "building XNNPACK for $arch (2 to 5 minutes on two cores)"
  local flags="-ffunction-sections -fdata-sections"
  cmake -S "$work/src/xnnpack" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" \
    -DXNNPACK_LIBRARY_TYPE=static -DPTHREADPOOL_LIBRARY_TYPE=static -DCPUINFO_LIBRARY_TYPE=static \
    -DXNNPACK_BUILD_TESTS=OFF -DXNNPACK_BUILD_BENCHMARKS=OFF -DXNNPACK_BUILD_ALL_MICROKERNELS=OFF \
    -DXNNPACK_ENABLE_KLEIDIAI=OFF -DCPUINFO_SOURCE_DIR="$work/src/cpuinfo" \
    -DPTHREADPOOL_SOURCE_DIR="$work/src/pthreadpool" -DFXDIV_SOURCE_DIR="$work/src/fxdiv" "$@" >>"$log" 2>&1 ||
    die "XNNPACK could not be configured"
  cmake --build "$work/build" --target XNNPACK microkernels-prod pthreadpool cpuinfo >>"$log" 2>&1 ||
    die "XNNPACK could not be built"

  mkdir -p "$work/result/include" "$work/result/lib" "$work/result/licenses"
  cp "$work"/src/{xnnpack/include/xnnpack,pthreadpool/include/pthreadpool,cpuinfo/include/cpuinfo}.h "$work/result/include"
  cp "$work"/build/{libXNNPACK,libmicrokernels-prod,pthreadpool/libpthreadpool,cpuinfo/libcpuinfo}.a "$work/result/lib"
  # The thread pool's source stays: a build with ThreadSanitizer compiles it anew.
  mkdir -p "$work/result/src"
  cp "$work"/src/pthreadpool/src/*.[ch] "$work/src/fxdiv/include/fxdiv.h" "$work/result/src"
  for package in xnnpack pthreadpool cpuinfo fxdiv; do
    cp "$work/src/$package/LICENSE" "$work/result/licenses/$package"
  done
  cp "$work/VERSIONS" "$work/result/VERSIONS"
  rm -rf "$deps/xnnpack-$xnnpack_release-$arch"
  mv "$work/result" "$deps/xnnpack-$xnnpack_release-$arch"
  rm -rf "$work"
}

# JPEG, PNG and zlib for 64-bit ARM, unpacked beside XNNPACK: the system's own package database knows nothing of them.
build_sysroot() {
  local package
  work=$deps/tmp
  rm -rf "$work"
  mkdir -p "$work/debs" "$work/result"
  say "fetching JPEG and PNG for aarch64"
  find_archive || die "no package archive of Debian or Ubuntu in apt's sources"
  if [ "$archive_id" = ubuntu ]; then archive_uri=http://ports.ubuntu.com/ubuntu-ports/; fi
  # shellcheck disable=SC1091
  local suite; suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  local wanted=(libjpeg62-turbo-dev libpng-dev zlib1g-dev)
  [ "$archive_id" != ubuntu ] || wanted=(libjpeg-turbo8-dev libpng-dev zlib1g-dev)
  (cd "$work/debs" && private_apt "$suite" arm64 download "${wanted[@]}") >>"$log" 2>&1 ||
    die "could not fetch for aarch64: ${wanted[*]}"
  for package in "$work"/debs/*.deb; do
    dpkg-deb -x "$package" "$work/result" >>"$log" 2>&1 || die "could not unpack $package"
  done
  cp -r "$work/result/usr/include/aarch64-linux-gnu/." "$work/result/usr/include/"
  find "$work/result" -name '*.so*' -delete  # links to other packages; the static libraries are enough
  rm -rf "$deps/sysroot-aarch64"
  mv "$work/result" "$deps/sysroot-aarch64"
  rm -rf "$work"
}

# ---- CUDA -----------------------------------------------------------------------------------------------------------

lacks_cuda_tools() {
  [ "$target" = native ] && [ "${LSRT_XNNPACK:-ON}" != OFF ] && [ ! -d "$deps/cuda-tools" ] &&
    has_nvcc && python3 -m pip --version >/dev/null 2>&1
}

fetch_cuda_tools() {
  work=$deps/tmp
  rm -rf "$work"
  mkdir -p "$work/result"
  say "fetching ptxas of CUDA 12.6 and cuobjdump"
  if ! python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" nvidia-cuda-nvcc-cu12==12.6.85 \
    nvidia-cuda-cuobjdump==13.5.37 nvidia-cuda-nvdisasm==13.5.37 >>"$log" 2>&1; then
    say "pip could not fetch them; without them JetPack 6 compiles the kernels itself when a model is loaded first"
    return 0
  fi
  local wheel
  for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/files"; done
  find "$work/files" '(' -name ptxas -o -name cuobjdump -o -name nvdisasm ')' -exec cp {} "$work/result" ';'
  chmod +x "$work/result"/*
  mv "$work/result" "$deps/cuda-tools"
  rm -rf "$work"
}

# ---- what is missing? -------------------------------------------------------------------------------------------------

lacks_xnnpack() {  # lacks_xnnpack ARCH
  [ "${LSRT_XNNPACK:-ON}" != OFF ] && [ ! -d "$deps/xnnpack-$xnnpack_release-$1" ]
}

needs_work() {
  [ -n "$(missing_packages "${packages[@]}")" ] || lacks_xnnpack "$machine" || lacks_cuda_tools ||
    { [ "$target" = aarch64 ] && { lacks_xnnpack aarch64 || [ ! -d "$deps/sysroot-aarch64" ]; }; }
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  die "this is neither Debian nor Ubuntu: install a C++17 compiler, CMake, Ninja, libjpeg and libpng, then configure" \
    "with: cmake -B build -G Ninja -DLSRT_FETCH=ON"
fi
needs_work || exit 0

mkdir -p "$deps" || die "cannot make $deps; set LSRT_DEPS to a folder that can be written"
exec 9>"$deps/lock"
if command -v flock >/dev/null && ! flock -n 9; then
  say "waiting for another setup that is running"
  flock 9
fi
: >"$log"
native_architecture=$(dpkg --print-architecture)

install_packages "${packages[@]}"
if lacks_xnnpack "$machine"; then build_xnnpack "$machine"; fi
if lacks_cuda_tools; then fetch_cuda_tools; fi
if [ "$target" = aarch64 ]; then
  if lacks_xnnpack aarch64; then build_xnnpack aarch64 -DCMAKE_TOOLCHAIN_FILE="$PWD/scripts/aarch64.cmake"; fi
  [ -d "$deps/sysroot-aarch64" ] || build_sysroot
fi
say "done ($deps)"
