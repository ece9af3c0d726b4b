#!/usr/bin/env bash
# The command line tool as a user calls it. Usage: cli_test.sh BUILD_FOLDER
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1
lsrt=$build/lsrt
golden=$PWD/tests/data/golden
images=$PWD/tests/data/images
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
if [ -n "${LSRT_EMULATOR:-}" ]; then  # the tool was built for another machine
  printf '#!/bin/sh\nexec %s %q "$@"\n' "$LSRT_EMULATOR" "$lsrt" >"$work/lsrt"
  chmod +x "$work/lsrt"
  lsrt=$work/lsrt
fi
"$lsrt" --version >/dev/null 2>&1 || { echo "cli_test: the tool does not run on this machine"; exit 77; }

failures=0
fail() { echo "FAILED: $*" >&2; failures=$((failures + 1)); }

# expect STATUS ARGUMENT...: runs the tool; the outputs are then in $work/out and $work/err. An error is one line.
expect() {
  local status=$1 got=0
  shift
  "$lsrt" "$@" >"$work/out" 2>"$work/err" </dev/null || got=$?
  [ "$got" = "$status" ] || fail "exit status $got, not $status: lsrt $* ($(head -c 300 "$work/err"))"
  if [ "$status" != 0 ]; then
    { [ "$(wc -l <"$work/err")" = 1 ] && grep -q '^lsrt: error: ' "$work/err"; } ||
      fail "not one error line: lsrt $*: $(head -c 300 "$work/err")"
  fi
}
in_err() { grep -qF -- "$1" "$work/err" || fail "stderr lacks '$1': $(head -c 300 "$work/err")"; }
in_out() { grep -qF -- "$1" "$work/out" || fail "stdout lacks '$1': $(head -c 300 "$work/out")"; }
same() { cmp -s "$1" "$2" || fail "$3"; }
# json EXPRESSION: stdout is one JSON object j for which the expression holds.
json() {
  python3 -c "import json, sys; j = json.load(open(sys.argv[1])); sys.exit(not ($1))" "$work/out" ||
    fail "JSON: not true: $1 ($(head -c 300 "$work/out"))"
}

convert_golden() {  # NAME CHECKPOINT: to $work/NAME.lsrt
  expect 0 convert "$golden/$1/$2" --config "$golden/$1/case.json" -o "$work/$1.lsrt"
}
convert_golden vil-4stage checkpoint.pth
convert_golden lra-dual checkpoint.model
convert_golden lra-listops checkpoint.model
convert_golden lm-preln-rank2 checkpoint.pt
small=$work/lm-preln-rank2.lsrt
books=$work/books.lsrt
expect 0 convert demos/data/books-lm.pt -o "$books" --report "$work/report.json"
cp "$work/report.json" "$work/out" && json "len(j) > 3"

# ---- usage ------------------------------------------------------------------------------------------------------------

expect 2
[ "$(grep -c '^  lsrt [a-z]' "$work/out")" = 3 ] || fail "not three commands to try without arguments"
in_out "lsrt convert books-lm.pt"
expect 2 frobnicate
in_err "no command 'frobnicate'"
expect 2 generate
in_err "see lsrt generate --help"
expect 2 generate "$books" --no-such-option
expect 2 bench "$books" --depth -1
in_err "-1 is not a whole number"
for command in convert inspect generate tokenize score classify run bench verify; do
  expect 0 $command --help
  in_out "Usage: lsrt $command"
  if [ ! -e "$build/generated/cuda_image.c" ]; then
    grep -qi cuda "$work/out" && fail "$command --help offers a device that this build has not"
  elif grep -q -e --backend "$work/out"; then
    in_out "Device: cpu, cuda"
  fi
done
expect 0 --version
for options in "--threads -1" "--threads x" "--temperature -1" "--top-p 2" "--min-p -1" "--repeat-penalty 0" "--isa mmx" \
  "--block 7" "--memory 7" "--prompt a --prompt-file $0" "-n -3" "--top-k -1" "--seed 1 --load-state x"; do
  expect 2 generate "$books" $options
done
foreign=neondot
case "$(uname -m) ${LSRT_EMULATOR:-}" in *aarch64* | arm64*) foreign=avx2 ;; esac
expect 1 generate "$books" --isa $foreign
expect 1 generate "$books" --backend abacus
in_err "'abacus'"
LSRT_CUDA_LIBRARY=$work/none.so expect 1 generate "$books" --backend cuda
grep -qi cuda "$work/err" || fail "--backend cuda without a driver: $(head -c 300 "$work/err")"
LSRT_ISA=$foreign expect 1 generate "$books" -n 1

# ---- files that are missing, wrong or cannot be written ---------------------------------------------------------------

for command in inspect verify bench "generate --prompt a" tokenize "score $0" "classify $0" "run --input $0 --output $work/x"; do
  set -- $command
  first=$1
  shift
  case $first in score | classify) files="$work/missing.lsrt $1"; shift ;; *) files=$work/missing.lsrt ;; esac
  expect 1 $first $files "$@"
  in_err missing.lsrt
  expect 1 $first ${files/missing.lsrt/} "$@"
done
expect 1 inspect "$0"
in_err cli_test.sh
head -c 20000 "$books" >"$work/short.lsrt"
expect 1 inspect "$work/short.lsrt"
in_err short.lsrt
expect 1 convert "$work/missing.pt" -o "$work/x.lsrt"
expect 1 convert "$0" -o "$work/x.lsrt"
for output in "$work/no/such/folder" "$work" /dev/full "$0/x"; do
  expect 1 convert demos/data/books-lm.pt -o "$output"
  in_err "$output"
  expect 1 generate "$books" -n 1 --prompt a --save-state "$output"
  in_err "$output"
done
[ ! -e "$work/x.lsrt" ] || fail "a failed conversion left a file"
# What is read is never overwritten, under whatever name.
cp demos/data/books-lm.pt "$work/own.pt" && cp "$small" "$work/own.lsrt" && ln -s own.pt "$work/link.pt"
expect 2 convert "$work/own.pt" --dict demos/data/dict.txt -o "$work/link.pt"
in_err "link.pt: is read"
expect 2 convert "$work/own.pt" --dict demos/data/dict.txt -o "$work/x.lsrt" --report "$work/own.pt"
expect 2 generate "$work/own.lsrt" -n 1 --save-state "$work/own.lsrt"
expect 2 run "$work/own.lsrt" --input "$golden/lm-preln-rank2/io.safetensors" --output "$work/own.lsrt"
cp demos/data/dict.txt "$work/own.txt"
expect 2 convert "$work/own.pt" --dict "$work/own.txt" -o "$work/own.txt"
same "$work/own.txt" demos/data/dict.txt "a dictionary was overwritten"
cp demos/data/dict.txt "$work/dict.txt"  # found beside the checkpoint
expect 2 convert "$work/own.pt" -o "$work/dict.txt"
same "$work/dict.txt" demos/data/dict.txt "a dictionary was overwritten"
rm "$work/dict.txt"
expect 0 convert "$work/own.pt" --dict "$work/own.txt" -o "$work/dict.txt"  # where none is, the name is free
rm "$work/dict.txt"
mkdir "$work/own-folder" && cp "$golden/mamba1-hf/"* "$work/own-folder"
expect 2 convert "$work/own-folder" -o "$work/own-folder/config.json"
same "$work/own-folder/config.json" "$golden/mamba1-hf/config.json" "a file of a folder was overwritten"
same "$work/own.pt" demos/data/books-lm.pt "a checkpoint was overwritten"
same "$work/own.lsrt" "$small" "a model was overwritten"
"$lsrt" generate "$books" -n 5 --prompt a >/dev/full 2>"$work/err" && fail "no error for a full disk"
in_err "standard output: cannot write"
"$lsrt" inspect "$books" --json >/dev/full 2>"$work/err" && fail "no error for a full disk"
mkdir "$work/locked" && chmod 555 "$work/locked"
if [ "$(id -u)" != 0 ]; then
  expect 1 convert demos/data/books-lm.pt -o "$work/locked/x.lsrt"
  in_err locked/x.lsrt
elif mkdir "$work/disk" && mount -t tmpfs -o size=1m none "$work/disk" 2>/dev/null; then
  expect 1 convert demos/data/books-lm.pt -o "$work/disk/x.lsrt"
  in_err disk/x.lsrt
  [ -z "$(ls -A "$work/disk")" ] || fail "a full disk keeps a partial file"
  umount "$work/disk"
fi

# ---- inspect, verify, run, bench ----------------------------------------------------------------------------------------

expect 0 inspect "$books"
in_out "window: 64"
for model in "$books" "$work/vil-4stage.lsrt" "$work/lra-dual.lsrt"; do
  expect 0 inspect "$model" --json
  json 'j["precision"] == "int8" and j["bytes"] > 0 and sum(j["bytes_by_class"].values()) == j["bytes"]'
  expect 0 verify "$model"
  in_out ok
done
expect 0 verify "$books" --json
json 'j["ok"] and any(r["isa"] == "scalar" for r in j["results"])'
python3 - "$books" "$work/changed.lsrt" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2 : len(data) // 2 + 50000 : 7] = bytes(len(data[len(data) // 2 : len(data) // 2 + 50000 : 7]))
open(sys.argv[2], "wb").write(data)
PYTHON
expect 1 verify "$work/changed.lsrt"

expect 0 run "$small" --input "$golden/lm-preln-rank2/io.safetensors" --output "$work/run.safetensors"
grep -aq '"logprobs"' "$work/run.safetensors" || fail "run wrote no logprobs"
expect 1 run "$work/vil-4stage.lsrt" --input "$golden/lm-preln-rank2/io.safetensors" --output "$work/x"
in_err io.safetensors
expect 2 run "$small" --input "$golden/lm-preln-rank2/io.safetensors" --output "$work/x" --block 7
expect 1 run "$small" --input "$0" --output "$work/x"

# Without /proc, which an emulator and sanitizers may need themselves, XNNPACK does not start, int8 models run.
expect 0 convert "$golden/vil-4stage/checkpoint.pth" --config "$golden/vil-4stage/case.json" --precision float32 -o "$work/float.lsrt"
without_proc() { unshare --mount sh -c 'umount -l /proc && exec "$@"' sh "$@"; }
if without_proc "$lsrt" --version >/dev/null 2>&1; then
  without_proc "$lsrt" verify "$work/vil-4stage.lsrt" >"$work/out" 2>&1 || fail "int8 without /proc: $(head -c 300 "$work/out")"
  without_proc "$lsrt" verify "$work/float.lsrt" >"$work/out" 2>"$work/err" ||
    in_err "does not start: either /proc is not mounted or"  # a build without XNNPACK runs it
fi

# A folder without a tokenizer: no text, but all that needs none.
mamba=$work/mamba.lsrt
expect 0 convert "$golden/mamba1-hf/" -o "$mamba"
in_out "remark: the model has no text"
expect 0 run "$mamba" --input "$golden/mamba1-hf/io.safetensors" --output "$work/run.safetensors"
expect 2 run "$mamba" --input "$golden/mamba1-hf/io.safetensors" --output "$work/x" --block 64
in_err "block and memory do not apply"
expect 0 verify "$mamba"
expect 0 inspect "$mamba" --json
json 'j["stream"]["states"] == 16 and j["bytes_by_class"]["scan"] > 0 and "block" not in j["stream"]'
expect 1 generate "$mamba" --prompt a
in_err "the model has no text"
expect 1 score "$mamba" README.md
in_err "the model has no text"
expect 1 tokenize "$mamba" a
in_err "the model has no text"
expect 0 bench "$mamba" --prompt 16 --generate 2 --repetitions 1

# With a tokenizer: the folder with an embedding of 300 rows, enough for all bytes.
cp -r "$golden/mamba1-hf" "$work/texts"
chmod -R u+w "$work/texts"
python3 tests/support/mamba_with_text.py "$work/texts" tests/data/tokenizer/tokenizer.json
texts=$work/texts.lsrt
expect 1 convert "$golden/mamba1-hf" --tokenizer "$work/texts/tokenizer.json" -o "$work/x"
in_err "has ids up to 259, but the embedding has 72 rows"
expect 0 convert "$work/texts" -o "$texts"
grep -q remark "$work/out" && fail "a remark about a model with text"
expect 0 verify "$texts"
expect 0 tokenize "$texts" $'the\x01 "the<|endoftext|>'
printf '258\t"the"\n' | cmp -s - <(head -n 1 "$work/out") || fail "the first token is not the"
in_out '"\x01"'
in_out '"\""'
in_out $'0\t"<|endoftext|>"'
printf 'the the\xc3' >"$work/some"
expect 0 tokenize "$texts" --file "$work/some" --json
json 'b"".join(bytes(t["bytes"]) for t in j["tokens"]) == b"the the\xc3" and j["text_bytes"] == 8'
json '[t["id"] for t in j["tokens"]][:2] == [258, 259] and len(j["tokens"]) == 3'
"$lsrt" tokenize "$texts" <"$work/some" | cmp -s - <("$lsrt" tokenize "$texts" --file -  <"$work/some") || fail "standard input"
expect 1 tokenize "$texts" --file "$work/missing"
expect 2 tokenize "$texts" a --file "$work/some"
expect 0 generate "$texts" --prompt "the the" -n 20 --seed 3 --json
json 'j["prompt_tokens"] == 2 and j["generated_tokens"] <= 20 and (j["ended"] or j["generated_tokens"] == 20)'
expect 0 score "$texts" "$work/some" --json
json 'j["bytes"] == 8 and j["tokens"] == 3'
python3 - "$work/texts/tokenizer.json" <<'PYTHON'
import json, sys
tokenizer = json.load(open(sys.argv[1]))
tokenizer["model"]["type"] = "Unigram"
json.dump(tokenizer, open(sys.argv[1], "w"))
PYTHON
expect 1 convert "$work/texts" -o "$work/x"
in_err "tokenizer.json: model Unigram is not supported"

# Image classifiers of other authors: the same commands.
other_images() {  # NAME GOLDEN: from the authors' file
  local model=$work/$1.lsrt
  expect 0 convert "$golden/$2/checkpoint.pth" --config "$golden/$2/case.json" -o "$model"
  in_out "$1"
  expect 0 verify "$model"
  in_out ok
  expect 0 inspect "$model" --json
  json 'j["precision"] == "int8" and j["family"] == "vil"'
  expect 0 run "$model" --input "$golden/$2/io.safetensors" --output "$work/run.safetensors"
  grep -aq '"logits"' "$work/run.safetensors" || fail "run of $1 wrote no logits"
  expect 0 classify "$model" "$images/colour.jpg" --top 2 --json
  json 'len(j["results"][0]["top"]) == 2 and j["failures"] == 0'
}
other_images Longformer longformer-relative
other_images GFNet gfnet-odd-grid
other_images "GFNet pyramid" gfnet-pyramid

for golden_slides in longnet longnet-mean; do
  slides=$work/$golden_slides.lsrt
  expect 0 convert "$golden/$golden_slides/checkpoint.pth" --config "$golden/$golden_slides/case.json" -o "$slides"
  in_out "LongNet encoder of slides: 2 layers, d 32"
  in_out "of the largest value of the embedding"
  expect 0 verify "$slides"
  in_out ok
  expect 0 inspect "$slides" --json
  json 'j["family"] == "slide" and j["input"]["features"] == 12 and j["input"]["cells_on_a_side"] == 20'
  json 'j["input"]["ratios"][:2] == [1, 2] and len(j["input"]["segments"]) == len(j["input"]["ratios"])'
  json 'sum(j["bytes_by_class"].values()) == j["bytes"] and j["bytes_by_class"]["positions"] == 20 * 16 * 4'
  expect 0 run "$slides" --input "$golden/$golden_slides/io.safetensors" --output "$work/run.safetensors"
  grep -aq '"embedding"' "$work/run.safetensors" || fail "run of $golden_slides wrote no embedding"
  expect 1 run "$slides" --input "$golden/vil-4stage/io.safetensors" --output "$work/x"
  in_err "no input is called 'tiles'"
done
expect 2 classify "$slides" "$images/colour.jpg"
in_err "is of family 'slide', which classifies nothing"
expect 0 inspect "$slides"
in_out "ratios: 1 2 4"
expect 2 generate "$slides" --prompt a
in_err "family 'slide'"
expect 2 score "$slides" "$0"
in_err "family 'slide'"
expect 0 bench "$slides" --prompt 300 --repetitions 1 --json
json 'j["results"][0]["test"] == "slide"'

expect 0 bench --depth 0,40,20 --prompt 16 --generate 2 --repetitions 2 --json "$small"
json '[(r["test"], r["depth"]) for r in j["results"]] == [(t, d) for d in (0, 20, 40) for t in ("prompt", "decode")]'
json 'all(0 < r["min_ms"] <= r["median_ms"] and r["per_second"] > 0 for r in j["results"])'
json '{"cpu", "isa", "threads", "results", "peak_rss_bytes", "model_bytes", "state_bytes", "load_ms", "first_result_ms"} <= set(j)'
expect 0 bench "$work/vil-4stage.lsrt" --json
json 'j["results"][0]["test"] == "image"'
expect 0 bench --arch lra --repetitions 1
expect 0 bench --arch gfnet-ti --repetitions 1 --json
json 'j["results"][0]["test"] == "image"'
expect 2 bench --arch no-such-shape
expect 2 bench
expect 2 bench "$small" --depth -5

# ---- generate -----------------------------------------------------------------------------------------------------------

generate() { expect 0 generate "$books" "$@"; }
generate --prompt "It was a dark night" -n 40 --temperature 0
[ "$(wc -c <"$work/out")" = 40 ] || fail "not 40 bytes"
in_err "prompt 19 tokens"
cp "$work/out" "$work/greedy"
generate --prompt "It was a dark night" -n 40 --temperature 0 --threads 2 --isa scalar --seed 9
same "$work/out" "$work/greedy" "greedy text depends on threads, kernel set or seed"
printf 'It was a dark night' >"$work/prompt"
generate --prompt "It was a dark night" -n 40 --temperature 0 --threads 0
same "$work/out" "$work/greedy" "greedy text depends on --threads 0"
generate --prompt-file "$work/prompt" -n 40 --temperature 0
same "$work/out" "$work/greedy" "--prompt-file differs from --prompt"
"$lsrt" generate "$books" -n 40 --temperature 0 <"$work/prompt" >"$work/out" 2>/dev/null
same "$work/out" "$work/greedy" "standard input differs from --prompt"
generate --prompt a -n 60
seed=$(sed -n 's/^lsrt: seed \([0-9]*\);.*/\1/p' "$work/err")
cp "$work/out" "$work/random"
generate --prompt a -n 60 --seed "$seed"
same "$work/out" "$work/random" "the printed seed $seed does not reproduce the text"
generate --prompt a -n 60 --seed "$seed" --threads 2 --isa scalar
same "$work/out" "$work/random" "drawn text depends on threads or kernel set"
generate --prompt a -n 20 --json
json 'len(j["text"]) == 20 and j["prompt_tokens"] == 1 and j["seed"] >= 0 and j["state_bytes"] > 0'
generate -n 5
generate --prompt a -n 0
[ ! -s "$work/out" ] || fail "-n 0 wrote text"
expect 1 generate "$books" --prompt $'ab\xffcd'
in_err "byte 0xFF at position 2"
in_err "replace such characters"
expect 1 generate "$books" --prompt-file "$work/missing"
in_err "$work/missing"

# ---- states: going on is as if never stopped ----------------------------------------------------------------------------

sampling="--temperature 0.9 --repeat-penalty 1.1 --top-p 0.95 --block 32 --memory 64"
generate --prompt a -n 90 --seed 4 $sampling
cp "$work/out" "$work/whole"
for n in 0 1 14 15 16 17 18 30 31 32 33 34 63 64 65 89 90; do  # the chunk is 16, the block 32
  generate --prompt a -n $n --seed 4 $sampling --save-state "$work/state"
  cp "$work/out" "$work/parts"
  generate -n $((90 - n)) $sampling --load-state "$work/state"
  cat "$work/out" >>"$work/parts"
  same "$work/parts" "$work/whole" "the text differs when saved after $n tokens"
done
expect 1 generate "$books" --load-state "$work/missing"
expect 1 generate "$books" --load-state "$0"
in_err "is not a saved state"
expect 1 generate "$books" --load-state "$work/state"
in_err "block 32"
expect 1 generate "$small" --load-state "$work/state" --block 32 --memory 64
in_err "another model"
size=$(wc -c <"$work/state")
for cut in 1 8 9 100 $((size / 2)); do
  head -c $((size - cut)) "$work/state" >"$work/cut"
  expect 1 generate "$books" --block 32 --memory 64 --load-state "$work/cut"
done
for at in 0 8 12 16 24 40 50 60 64 $((size / 2)) $((size - 40)) $((size - 1)); do
  cp "$work/state" "$work/flipped"
  printf '\xa5' | dd of="$work/flipped" bs=1 seek="$at" conv=notrunc status=none
  cmp -s "$work/state" "$work/flipped" || expect 1 generate "$books" --block 32 --memory 64 --load-state "$work/flipped"
done

# ---- a closed pipe, Ctrl-C ------------------------------------------------------------------------------------------------

"$lsrt" generate "$books" --prompt a -n 100000000 2>"$work/err" | head -c 20 >/dev/null
[ "${PIPESTATUS[0]}" = 0 ] || fail "a closed pipe ends with ${PIPESTATUS[0]}"
[ ! -s "$work/err" ] || fail "a closed pipe is not quiet"
"$lsrt" generate "$books" --prompt a -n 100000000 --seed 4 $sampling --save-state "$work/stopped" >"$work/out" 2>"$work/err" &
until [ "$(wc -c <"$work/out")" -gt 30 ]; do sleep 0.05; done
kill -INT $!
wait $! || fail "Ctrl-C ends with status $?"
in_err "generated at"
head -c 31 "$work/whole" | cmp -s - <(head -c 31 "$work/out") || fail "the text before Ctrl-C differs"
generate -n 5 $sampling --load-state "$work/stopped"

# A file that is shortened while it is mapped is an error, too. (An emulator catches the signal itself.)
if [ -z "${LSRT_EMULATOR:-}" ]; then
  mkfifo "$work/never"
  exec 9<>"$work/never"
  "$lsrt" generate "$small" <&9 >/dev/null 2>"$work/err" 9>&- &
  printf a >&9
  for _ in $(seq 200); do  # until it reads its prompt: the runtime of a sanitizer catches the signal before the tool does
    read -t 0 -u 9 || break
    sleep 0.05
  done
  kill -BUS $!
  got=0
  wait $! || got=$?
  exec 9>&-
  [ "$got" = 1 ] || fail "SIGBUS ends with $got"
  in_err "lsrt: error: a file was shortened while it was read"
fi

# SIGTERM ends as Ctrl-C does; a conversion that is killed leaves nothing.
"$lsrt" generate "$books" --prompt a -n 100000000 >"$work/out" 2>"$work/err" &
until [ "$(wc -c <"$work/out")" -gt 30 ]; do sleep 0.05; done
kill -TERM $!
wait $! || fail "SIGTERM ends with status $?"
in_err "generated at"
mkdir "$work/killed"
for signal in TERM HUP KILL; do
  "$lsrt" convert demos/data/books-lm.pt -o "$work/killed/x.lsrt" >/dev/null 2>&1 &
  sleep 0.1
  kill -$signal $! 2>/dev/null
  wait $! 2>/dev/null
  rm -f "$work/killed/x.lsrt"  # on a fast machine it was done
  [ -z "$(ls -A "$work/killed")" ] || fail "SIG$signal leaves $(ls -A "$work/killed")"
done

# ---- a terminal ---------------------------------------------------------------------------------------------------------

# A vocabulary with characters that terminals act on: escape, carriage return, bell, and the bytes of U+009B (C1).
{ for byte in 27 13 7 194 155 226 130 172; do echo "$byte 9"; done; seq -f '%g 1' 97 124; } >"$work/controls.txt"
expect 0 convert "$golden/lm-preln-rank2/checkpoint.pt" --config "$golden/lm-preln-rank2/case.json" \
  --dict "$work/controls.txt" -o "$work/controls.lsrt"
expect 0 generate "$work/controls.lsrt" -n 400 --seed 1 --temperature 3 --prompt abc
grep -q "$(printf '\033')" "$work/out" || fail "the test has no escape characters"
cat >"$work/terminal.py" <<'PYTHON'
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)  # progress bars
    os.execvp(sys.argv[1], sys.argv[1:])
out = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    out += piece
status = os.waitpid(pid, 0)[1]
text = out.decode("utf-8")  # fails where a character is cut
text = text.replace("\r\n", "\n")  # the terminal's own
bad = sorted({c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160})
sys.exit("status %d, control characters %s" % (status, bad) if status or bad or len(text) < 200 else 0)
PYTHON
python3 "$work/terminal.py" "$lsrt" generate "$work/controls.lsrt" -n 400 --seed 1 --temperature 3 --prompt abc ||
  fail "generated text acts on the terminal"
expect 0 generate "$work/controls.lsrt" -n 400 --seed 1 --temperature 3 --prompt abc --json
python3 -c 'import sys; sys.exit(any(b in range(127, 128) or b < 10 for b in open(sys.argv[1], "rb").read()))' "$work/out" ||
  fail "control characters in JSON"

# ---- score ------------------------------------------------------------------------------------------------------------------

head -c 6000 LICENSE >"$work/text" 2>/dev/null || head -c 6000 "$0" | tr -cd 'a-z \n' >"$work/text"
tr -cd 'a-z .\n' <"$work/text" | head -c 5000 >"$work/plain"
bytes=$(wc -c <"$work/plain")
expect 0 score "$books" "$work/plain" --json
json "j['bytes'] == j['tokens'] == $bytes and 0.5 < j['bits_per_byte'] < 8"
json '{"tokens_per_second", "state_bytes", "peak_rss_bytes"} <= set(j)'
cp "$work/out" "$work/score"
expect 0 score "$books" "$work/plain" --json --threads 2 --isa scalar --limit "$bytes"
json "j['bits_per_byte'] == json.load(open('$work/score'))['bits_per_byte']"
expect 0 score "$books" "$work/plain" --limit 100 --block 32 --memory 64 --json
json 'j["bytes"] == 100'
expect 0 score "$books" "$work/plain"
in_out "bits per byte"
{ cat "$work/plain" "$work/plain" | head -c 4999; printf '\xfe'; } >"$work/bad"
expect 1 score "$books" "$work/bad"
in_err "byte 0xFE at position $(($(wc -c <"$work/bad") - 1))"
in_err "--skip-unknown"
expect 0 score "$books" "$work/bad" --skip-unknown --json
json "j['skipped_bytes'] == 1 and j['bytes'] == j['tokens'] == $(($(wc -c <"$work/bad") - 1))"
cp "$work/out" "$work/score"
head -c $(($(wc -c <"$work/bad") - 1)) "$work/bad" >"$work/good"
expect 0 score "$books" "$work/good" --json
json "j['bits_per_byte'] == json.load(open('$work/score'))['bits_per_byte'] and j['skipped_bytes'] == 0"
{ printf '\xfe\xff'; cat "$work/good"; printf '\xfe'; cat "$work/good"; } >"$work/bad"
expect 0 score "$books" "$work/bad" --skip-unknown --json
json "j['skipped_bytes'] == 3 and j['bytes'] == 2 * $(wc -c <"$work/good")"
cp "$work/out" "$work/score"
cat "$work/good" "$work/good" >"$work/twice"
expect 0 score "$books" "$work/twice" --json
json "j['bits_per_byte'] == json.load(open('$work/score'))['bits_per_byte']"
# In pieces: what lies across their ends is a token or an unknown byte all the same.
if [ -z "${LSRT_EMULATOR:-}" ]; then  # an emulator scores slowly
  { printf '%s 9\n' the_ he_ e_ _ € t h e; seq -f 'x%g 1' 28; } >"$work/words.txt"
  expect 0 convert "$golden/lm-preln-rank2/checkpoint.pt" --config "$golden/lm-preln-rank2/case.json" \
    --dict "$work/words.txt" -o "$work/words.lsrt"
  for start in tt ttttt; do  # a piece ends in a character, in a word
    { printf %s "$start"; for ((i = 0; i < 8400; ++i)); do printf 'the_€Q'; done; } >"$work/long"
    expect 0 score "$work/words.lsrt" "$work/long" --skip-unknown --json
    json "j['bytes'] == 8400 * 7 + ${#start} and j['skipped_bytes'] == 8400"
    json "j['tokens'] == 8400 * 2 + ${#start}"
  done
  cp "$work/out" "$work/score"
  "$lsrt" score "$work/words.lsrt" <(cat "$work/long") --skip-unknown --json >"$work/out"
  json "j['bits_per_byte'] == json.load(open('$work/score'))['bits_per_byte']"
  expect 0 score "$work/words.lsrt" "$work/long" --skip-unknown --limit 66001 --json
  json "j['bytes'] + j['skipped_bytes'] == 66001"
  expect 1 score "$work/words.lsrt" "$work/long"
  in_err "byte 0x51 at position 12"
fi
expect 1 score "$books" "$work/missing"
: >"$work/empty"
expect 1 score "$books" "$work/empty"
expect 2 score "$books" "$work/plain" --block 7
expect 2 score "$books" "$work/plain" --limit -1
for model in vil-4stage lra-listops; do
  expect 2 score "$work/$model.lsrt" "$work/plain"
  in_err "$model.lsrt: is of family"
  expect 2 tokenize "$work/$model.lsrt" a
  in_err "a language model is needed"
done

# ---- classify ---------------------------------------------------------------------------------------------------------------

vil=$work/vil-4stage.lsrt
expect 0 classify "$vil" "$images/colour.jpg" "$images/pixel.png" --top 3 --json
json 'len(j["results"]) == 2 and len(j["results"][0]["top"]) == 3 and j["failures"] == 0'
expect 0 classify "$vil" "$images/colour.jpg"
in_out " %"
seq -f 'name %g' 10 >"$work/labels"
expect 0 classify "$vil" "$images/colour.jpg" --labels "$work/labels" --top 10
in_out "name 7"
expect 1 classify "$vil" "$images/colour.jpg" --labels "$0"
head -c 500 "$images/colour.jpg" >"$work/broken.jpg"
"$lsrt" classify "$vil" "$work/broken.jpg" "$images/colour.png" >"$work/out" 2>"$work/err" && fail "no error for a broken image"
in_err broken.jpg
in_out colour.png
mkdir "$work/pictures" && cp "$images/colour.jpg" "$images/grey.png" "$images/colour.png" "$work/pictures"
expect 0 classify "$vil" "$work/pictures" --json
json 'len(j["results"]) == 3 and j["images_per_second"] > 0 and j["results"][0]["input"].endswith("colour.jpg")'
# Side by side as one after the other, in the order given.
pictures="$images/colour.jpg $images/pixel.png $images/alpha.png $images/grey.jpg $images/line.png $images/palette.png"
expect 0 classify "$vil" $pictures $pictures --json --threads 1
cp "$work/out" "$work/one"
for threads in 0 2 5 30; do
  expect 0 classify "$vil" $pictures $pictures --json --threads $threads
  json "j['results'] == json.load(open('$work/one'))['results']"
done
"$lsrt" classify "$vil" $pictures >/dev/null 2>"$work/err" && in_err " a second"
mkdir "$work/folders" && cp -r "$work/pictures" "$work/folders"
expect 2 classify "$vil" "$work/folders"
in_err "--eval"
in_err "files that end in .jpg, .jpeg or .png"
expect 1 classify "$vil" --eval "$work/pictures"
in_err "no folders with files that end in .jpg, .jpeg or .png"
expect 2 classify "$vil"
expect 2 classify "$books" "$images/colour.jpg"
in_err "books.lsrt: is of family 'lm'"
expect 2 classify "$vil" "$0" --tokens
mkdir -p "$work/eval/b" "$work/eval/a" && cp "$images/colour.jpg" "$images/alpha.png" "$work/eval/a"
cp "$images/grey.png" "$work/broken.jpg" "$work/eval/b"
"$lsrt" classify "$vil" --eval "$work/eval" --json >"$work/out" 2>"$work/err" || fail "one broken image ends an evaluation"
in_err broken.jpg
json 'j["images"] == 3 and j["failures"] == 1 and 0 <= j["top1"] <= j["top5"] <= 100 and j["ms_per_image"] > 0'
ln -s loop "$work/eval/loop"  # a link to itself is no folder, and ends nothing
"$lsrt" classify "$vil" --eval "$work/eval" --json >"$work/out" 2>"$work/err" || fail "a link to itself ends an evaluation"
json 'j["images"] == 3'
mkdir -p "$work/none/a" && cp "$work/broken.jpg" "$work/none/a"
"$lsrt" classify "$vil" --eval "$work/none" >/dev/null 2>&1 && fail "no error where all images are broken"
expect 1 classify "$vil" --eval "$work/missing"
expect 1 classify "$vil" --eval "$work/locked"

encoder=$work/lra-listops.lsrt
echo "3, 1 4 1 5" >"$work/numbers.txt"
expect 0 classify "$encoder" --tokens "$work/numbers.txt" --json
json 'j["images"] == 1'
echo "3 1 x" >"$work/wrong.txt"
"$lsrt" classify "$encoder" --tokens "$work/wrong.txt" 2>"$work/err" >/dev/null && fail "no error for a wrong number"
in_err "byte 4"
echo "3 1 99999" >"$work/wrong.txt"
"$lsrt" classify "$encoder" --tokens "$work/wrong.txt" 2>"$work/err" >/dev/null && fail "no error for an unknown token"
in_err 99999
expect 0 classify "$work/lra-dual.lsrt" --tokens "$work/numbers.txt" "$work/numbers.txt"
expect 2 classify "$work/lra-dual.lsrt" --tokens "$work/numbers.txt"

[ "$failures" = 0 ] || { echo "cli_test: $failures failures" >&2; exit 1; }
echo "cli_test: passed"
