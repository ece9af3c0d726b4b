#!/usr/bin/env bash
# Builds packages, lsrt_*.deb, lsrt-dev_*.deb and lsrt-*.tar.gz, and tries them.
#
#   scripts/package.sh            of this machine's kind, in build/packages
#   scripts/package.sh aarch64    of 64-bit ARM, in build-aarch64/packages, tried under qemu
#
# As root with debootstrap they are installed in a bare Debian, else unpacked in a folder, where what they depend on is this
# machine's. For 64-bit ARM the kernel must start its programs, too: qemu-user-static, registered with binfmt_misc.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-native} in
  native) preset=release build=build cc=cc emulator=() ;;
  aarch64)
    preset=aarch64-qemu build=build-aarch64 cc=aarch64-linux-gnu-gcc
    read -ra emulator < <(sed -n 's/^set(CMAKE_CROSSCOMPILING_EMULATOR \(.*\))$/\1/p' scripts/aarch64.cmake) ;;
  *) echo "usage: scripts/package.sh [aarch64]" >&2; exit 2 ;;
esac
command -v dpkg-shlibdeps >/dev/null || { echo "package.sh: needs dpkg-shlibdeps: install dpkg-dev" >&2; exit 1; }
scripts/build.sh $preset lsrt_cli lsrt lsrt_manual
rm -rf $build/packages
(cd $build && cpack) >$build/package.log 2>&1 || { tail -30 $build/package.log >&2; exit 1; }
rm -rf $build/packages/_CPack_Packages
tool=$(echo $build/packages/lsrt_*.deb)
dev=$(echo $build/packages/lsrt-dev_*.deb)
archive=$(echo $build/packages/lsrt-*.tar.gz)
ls -l "$tool" "$dev" "$archive"

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
needs=$(dpkg-deb -f "$tool" Depends)
starts_programs() { [ $preset = release ] || grep -qs '^flags:.*F' /proc/sys/fs/binfmt_misc/qemu-aarch64; }  # F: in a chroot
if [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null && starts_programs; then
  # shellcheck disable=SC1091
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  architecture=$(dpkg-deb -f "$tool" Architecture)
  # The names of the packages that the tool depends on.
  needed=$(sed 's/ *([^)]*)//g; s/ *|[^,]*//g; s/, */,/g' <<<"$needs")
  debootstrap --arch="$architecture" --variant=minbase --include="$needed" "$suite" "$place/root" >$build/package.log 2>&1 ||
    { tail -5 $build/package.log "$place/root/debootstrap/debootstrap.log" >&2; exit 1; }
  cp "$tool" "$dev" "$place/root/tmp"
  inside() { chroot "$place/root" "$@"; }
  inside sh -c 'dpkg -i /tmp/lsrt*.deb' >$build/package.log 2>&1 || { cat $build/package.log >&2; exit 1; }
  how="installed in a bare $suite of $architecture with $needed" lsrt=lsrt files=$place/root/tmp folder=/tmp
else
  dpkg-deb -x "$tool" "$place"
  inside() { "${emulator[@]}" "$@"; }
  how="but unpacked in a folder, not installed (head of $0); it depends on $needs"
  lsrt=$place/usr/bin/lsrt files=$place folder=$place
fi
"${emulator[@]}" $build/lsrt convert demos/data/books-lm.pt -o "$files/books-lm.lsrt" >/dev/null
inside "$lsrt" --version
inside "$lsrt" verify "$folder/books-lm.lsrt"
inside "$lsrt" generate "$folder/books-lm.lsrt" --prompt "It was a dark night" -n 60 --seed 1
echo "package.sh: the tool runs, $how"

mkdir "$place/archive"
tar -C "$place/archive" --strip-components=1 -xf "$archive"
"${emulator[@]}" "$place/archive/bin/lsrt" --version
read -ra flags < <(PKG_CONFIG_PATH=$place/archive/lib/pkgconfig pkg-config --cflags --libs lsrt)
$cc demos/minimal.c -o "$place/minimal" "${flags[@]}"
"${emulator[@]}" "$place/minimal" "$files/books-lm.lsrt" "It was a dark night" 60
echo "package.sh: the archive's tool runs and its library links, unpacked in a folder"
