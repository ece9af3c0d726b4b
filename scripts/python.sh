#!/usr/bin/env bash
# Builds the Python package's wheel, as pip does, installs it into a fresh environment and runs its tests there.
#
#   scripts/python.sh [PYTHON]     the interpreter (python3)
#
# LSRT_TORCH=1 in the environment: with PyTorch, which takes gigabytes, so that the tests of lsrt.torch run, too.
# The wheel is then in build-python/dist.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
scripts/setup.sh python
. scripts/ccache.sh
rm -rf build-python/dist build-python/venv
"$python" -m venv build-python/venv
build-python/venv/bin/pip --quiet --disable-pip-version-check wheel . --no-deps --wheel-dir build-python/dist
wheel=$(echo build-python/dist/lsrt-*.whl)
size=$(stat -c %s "$wheel")
echo "$wheel: $size bytes"
[ "$size" -le 3000000 ] || { echo "python.sh: the wheel is over 3 MB" >&2; exit 1; }
build-python/venv/bin/pip --quiet --disable-pip-version-check install "$wheel[test${LSRT_TORCH:+,torch}]"
build-python/venv/bin/pytest --quiet -rs python/tests
