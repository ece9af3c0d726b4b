#!/usr/bin/env bash
# completion_test.sh BUILD: the tab key in bash, after scripts/completion.bash, with the tool of the build.
set -uo pipefail
cd "$(dirname "$0")/../.."
[ -z "${LSRT_EMULATOR:-}" ] || { echo "skipped: the tool is for another machine"; exit 77; }
PATH=$(cd "$1" && pwd):$PATH
. scripts/completion.bash

failures=0
# expect LINE WORD...: what is offered at the end of the line holds all these words.
expect() {
  local line=$1 word
  shift
  read -ra COMP_WORDS <<<"$line"
  [[ $line == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  _lsrt lsrt "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  for word in "$@"; do
    [[ " ${COMPREPLY[*]} " == *" $word "* ]] || { echo "'$line' does not offer $word, but: ${COMPREPLY[*]}"; failures=1; }
  done
}
expect_only() {
  expect "$@"
  [ "${#COMPREPLY[@]}" = $(($# - 1)) ] || { echo "'$1' offers also: ${COMPREPLY[*]}"; failures=1; }
}

complete -p lsrt | grep -q -- '-o default -F _lsrt' || { echo "bash was told nothing of lsrt"; failures=1; }
expect "lsrt " convert inspect generate tokenize score classify run bench verify --help --version
expect_only "lsrt conv" convert
expect_only "lsrt --v" --version
expect "lsrt generate m.lsrt --" --prompt --temperature --threads --save-state --help
expect "lsrt generate -" -n -h
expect_only "lsrt generate m.lsrt --save" --save-state
expect_only "lsrt convert x.pt --o" --output
expect "lsrt convert x.pt --family " lm vil encoder
expect_only "lsrt convert x.pt --family v" vil
expect "lsrt bench --isa " scalar
expect_only "lsrt generate "  # a file
for command in convert inspect generate tokenize score classify run bench verify; do
  mapfile -t options < <(lsrt $command --help | grep -oE '(^ +|,)--[a-z0-9-]+' | grep -oE -- '--.*')
  [ "${#options[@]}" -gt 2 ] || { echo "lsrt $command --help shows no options"; failures=1; }
  expect "lsrt $command -" "${options[@]}"
done
[ $failures = 0 ] || exit 1
echo "completion_test: passed"
