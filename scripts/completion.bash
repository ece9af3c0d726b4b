# bash completion of lsrt. Commands, options and what an option takes are asked from the tool's own --help.
_lsrt() {
  local tool=$1 word=$2 previous=$3 command=${COMP_WORDS[1]} words
  if [ "$COMP_CWORD" = 1 ]; then
    words="$("$tool" --help 2>/dev/null | awk '/^Subcommands:/ { inside = 1; next } /^$/ { inside = 0 } inside { print $1 }')
      --help --version"
  elif [[ $word == -* ]]; then
    words=$("$tool" "$command" --help 2>/dev/null | grep -oE '^  -[^ {]+' | tr , ' ')
  elif [ "$previous" = --isa ]; then
    words=$("$tool" --help 2>/dev/null | sed -n 's/.*this machine can run: \(.*\)\.$/\1/p' | tr -d ,)
  else  # of an option that takes one of {some, words}; other words are names of files
    words=$("$tool" "$command" --help 2>/dev/null | sed -nE "s/^  (-.,)?$previous [A-Z]+:\{([^}]*)\}.*/\2/p" | tr , ' ')
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _lsrt lsrt
