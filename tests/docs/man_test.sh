#!/usr/bin/env bash
# man_test.sh BUILD: the manual page names every command with every option of its --help, and is as roff wants it.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
page=$build/lsrt.1
[ -z "${LSRT_EMULATOR:-}" ] && [ -f "$page" ] || { echo "skipped: this build has no manual page"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "man_test: $*" >&2; exit 1; }

mapfile -t commands < <("$build/lsrt" --help | awk '/^Subcommands:/ { inside = 1; next } /^$/ { inside = 0 } inside { print $1 }')
[ ${#commands[@]} -ge 8 ] || fail "the tool lists only: ${commands[*]}"
count=0
for command in "${commands[@]}"; do
  awk -v start=".SS lsrt $command" '/^\.S[SH]/ { inside = $0 == start } inside' "$page" | sed 's/\\-/-/g' >"$work/section"
  [ -s "$work/section" ] || fail "no section of lsrt $command"
  # An option, "  -n UINT=256" or "  -o,--output TEXT", is the start of an entry.
  mapfile -t options < <("$build/lsrt" "$command" --help | grep -oE '^  -[^ {]+')
  [ ${#options[@]} -ge 2 ] || fail "lsrt $command --help shows no options"
  for option in "${options[@]}"; do
    grep -A1 -x -F .TP "$work/section" | grep -qE "^\.B ${option#  }( |\$)" || fail "lsrt $command: no entry of ${option#  }"
    count=$((count + 1))
  done
done
grep -q "this machine.s [a-z]*avx\|can run:" "$page" && fail "the page speaks of the machine that it was made on"
if command -v groff >/dev/null; then
  groff -man -ww -Tutf8 "$page" >"$work/text" 2>"$work/warnings" || fail "groff cannot read the page"
  [ ! -s "$work/warnings" ] || fail "groff: $(cat "$work/warnings")"
  grep -q 'lsrt convert books-lm.pt' "$work/text" || fail "the page has no examples"
fi
echo "man_test: ${#commands[@]} commands, $count options"
