#!/usr/bin/env bash
# What the documentation shows works: tests/docs/blocks.py says how. Usage: blocks_test.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
# The commands are made for a machine's own speed, and only such a build is installed.
[ -z "${LSRT_EMULATOR:-}" ] && [ -f "$1/lsrtConfig.cmake" ] || exit 77
exec python3 tests/docs/blocks.py "$1"
