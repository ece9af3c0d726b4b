#!/usr/bin/env bash
# hostile_corpus_test.sh BUILD: files that were made to crash, hang or exhaust their readers (beside the project, where
# they are) end with an error of one line, or with a result; in bounded memory and time. Those in fuzz/corpus are
# replayed by tests of their own.
set -euo pipefail
lsrt=$1/lsrt
here=$(cd "$(dirname "$0")" && pwd)
makers=$here/../../../shared/hostile
[ -d "$makers" ] || { echo "skipped: no ../shared/hostile"; exit 77; }
[ -z "${LSRT_EMULATOR:-}" ] || { echo "skipped: bounds are of the machine itself"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cases"
for maker in gen_models gen_images gen_checkpoints; do
  (cd "$makers" && CASES=$work/cases PYTHONDONTWRITEBYTECODE=1 python3 $maker.py >/dev/null)
done

# LSRT_SHOW=1: time and memory of every run. A session or classifier may take 4 GiB before the plan refuses it; readers
# stay far below.
python3 - "$lsrt" "$work" <<'PYTHON'
import os, pathlib, resource, subprocess, sys, time
lsrt, work = sys.argv[1], pathlib.Path(sys.argv[2])
sanitized = b'__asan_init' in open(lsrt, 'rb').read() or b'__tsan_init' in open(lsrt, 'rb').read()
text = work / 'text.txt'
text.write_text('It was a dark and stormy night; the rain fell in torrents. ' * 4)

def run(*arguments, most_seconds, most_megabytes):
    """Runs the tool on a case: what is wrong with how it ended or None, seconds, megabytes."""
    start = time.monotonic()
    with open(work / 'output', 'wb+') as file:
        process = subprocess.Popen([lsrt, *map(str, arguments)], stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        ended = 0
        while not ended and time.monotonic() - start < most_seconds:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0 if ended else 0.005)
        if not ended:
            process.kill()
            return f'did not end in {most_seconds} s', most_seconds, 0
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        output = file.read()
    seconds, megabytes = time.monotonic() - start, usage.ru_maxrss / 1024
    wrong = None
    if process.returncode not in (0, 1, 2):
        wrong = f'exit status {process.returncode}: {output[-300:]!r}'
    elif process.returncode and not any(line.startswith(b'lsrt: error: ') for line in output.splitlines()):
        wrong = f'no error of one line: {output[-300:]!r}'
    elif megabytes > most_megabytes and not sanitized:
        wrong = f'{megabytes:.0f} MB'
    return wrong, seconds, megabytes

bad = count = 0
slowest = most = 0
for case in sorted((work / 'cases').iterdir(), key=lambda path: path.stat().st_size):
    # What a reader may take: 64 times the file and 256 MB. Running a model may take what its plan says.
    reading = 256 + 64 * case.stat().st_size / 2**20
    commands = []
    if case.suffix == '.lsrt':
        commands += [('inspect', case), ('generate', case, '-n', 3, '--prompt', 'a'), ('classify', case, text), ('verify', case)]
    elif case.suffix in ('.pt', '.safetensors'):
        commands += [('convert', case, '-o', work / 'out.lsrt')]
        commands += [('convert', case, '-o', work / 'out.lsrt', '--config', work / 'cases' / name) for name in ('p04-ok.json', 'p04-chunk-65536.json')]
    elif case.suffix == '.json':
        commands += [('convert', work / 'cases' / 'p04-chunk.safetensors', '-o', work / 'out.lsrt', '--config', case)]
    elif case.suffix == '.png':
        commands += [('classify', work / 'cases' / 'ok-vil.lsrt', case)]
    for command in commands:
        reads = command[0] in ('inspect', 'convert')
        wrong, seconds, megabytes = run(*command, most_seconds=600 if sanitized else 60, most_megabytes=reading if reads else 4500)
        count, slowest, most = count + 1, max(slowest, seconds), max(most, megabytes)
        if os.environ.get('LSRT_SHOW'):
            print(f'{seconds:6.2f} s, {megabytes:6.0f} MB: {command[0]} {case.name} ({case.stat().st_size} bytes)')
        if wrong:
            bad += 1
            print(f'{command[0]} {case.name}: {wrong}')
print(f'{count} runs, the slowest {slowest:.1f} s, the largest {most:.0f} MB')
sys.exit(bad > 0 or count < 80)
PYTHON
