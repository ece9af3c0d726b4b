#!/usr/bin/env bash
# Builds the Python package as its users do: a source distribution, of that alone a wheel, which is installed into a
# fresh environment and runs the package's tests there.
#
#   scripts/python.sh [PYTHON]     the interpreter (python3)
#
# LSRT_TORCH=1 in the environment: with PyTorch, which takes gigabytes, so that the tests of lsrt.torch run, too, and the notebook.
# LSRT_RAY=1: with Ray, half a gigabyte, for the tests of lsrt.ray.
# Both distributions are then in build-python/dist.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-python3}
scripts/setup.sh python
rm -rf build-python/dist build-python/source build-python/venv
"$python" -m venv build-python/venv
pip() { build-python/venv/bin/pip --quiet --disable-pip-version-check "$@"; }

pip install build
build-python/venv/bin/python -m build --sdist --outdir build-python/dist . >build-python/sdist.log 2>&1 ||
  { cat build-python/sdist.log >&2; exit 1; }
mkdir build-python/source
tar -C build-python/source --strip-components=1 -xf build-python/dist/lsrt-*.tar.gz
. scripts/ccache.sh
CCACHE_BASEDIR=$PWD/build-python/source pip wheel ./build-python/source --no-deps --wheel-dir build-python/dist
for file in build-python/dist/*; do echo "$file: $(stat -c %s "$file") bytes"; done
wheel=$(echo build-python/dist/lsrt-*.whl)
[ "$(stat -c %s "$wheel")" -le 3000000 ] || { echo "python.sh: the wheel is over 3 MB" >&2; exit 1; }

pip install "$wheel[test${LSRT_TORCH:+,pictures}${LSRT_RAY:+,ray}]"
build-python/venv/bin/pytest --quiet -rs python/tests
