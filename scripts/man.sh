#!/usr/bin/env bash
# man.sh PAGE LSRT...: writes the manual page, lsrt.1, from what the tool says of itself (where it runs emulated: the
# emulator's words before it).
set -euo pipefail
page=$1
tool=("${@:2}")
exec >"$page.part"
version=$("${tool[@]}" --version)
commands=$("${tool[@]}" --help | awk '/^Subcommands:/ { inside = 1; next } /^$/ { inside = 0 } inside { print $1 }')
[ -n "$commands" ] || { echo "man.sh: ${tool[*]} --help lists no commands" >&2; exit 1; }

# roff: the help of a command on stdin. Terms stand at two columns, their meaning behind them or below at 26.
roff() {
  # What this machine can run is no matter of a manual; nor is how the parser writes types.
  sed -E -e 's/, of this machine.s [a-z0-9, ]+;/;/; s/; this machine can run: .*/; lsrt --help lists those of this machine./' \
    -e '/^  [^ ]/s/ REQUIRED| \.\.\.| (Excludes|Needs): [^ ]+|:(INT|NONNEGATIVE|UINT|FLOAT)( in \[[^]]*\])?|\{false\}//g' |
  awk '
    function text(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s ~ /^[.\x27]/ ? "\\&" s : s }
    /^Usage: / { print ".PP\n.B " text(substr($0, 8)); next }
    /^Subcommands:/ { skip = 1; next }  # each has a section of its own
    /^[A-Z][a-z]+:$/ { next }
    /^$/ { skip = 0; paragraph = 1; next }
    skip { next }
    match($0, /^  [^ ]+( (TEXT|UINT|INT|FLOAT|ENUM)[^ ]*)?/) {
      print ".TP\n.B " text(substr($0, 3, RLENGTH - 2))
      $0 = substr($0, RLENGTH + 1); paragraph = 0
    }
    { sub(/^ +/, ""); gsub(/ +/, " ") }
    $0 == "" { next }
    paragraph { print ".PP" }
    { print text($0); paragraph = 0 }'
}

cat <<END
.TH LSRT 1 "" "lsrt $version" "User Commands"
.SH NAME
lsrt \\- int8 inference of Transformer\\-LS and Mamba models
.SH SYNOPSIS
.B lsrt
.I COMMAND
[\\fIOPTIONS\\fR]
.SH DESCRIPTION
END
"${tool[@]}" --help | roff
echo .SH COMMANDS
for command in $commands; do
  printf '.SS lsrt %s\n' "$command"
  "${tool[@]}" "$command" --help | roff
done
cat <<'END'
.SH EXAMPLES
.nf
END
{ "${tool[@]}" 2>/dev/null || true; } | sed -n '/^  lsrt /{s/-/\\-/g;p}'
cat <<'END'
.fi
.SH SEE ALSO
The C API is described in the header lsrt.h, the C++ one in lsrt.hpp.
END
mv "$page.part" "$page"
