#!/usr/bin/env bash
# Builds the documentation's site into build-docs/site; a warning, such as a link that leads nowhere, is an error.
#
#   scripts/docs.sh [PYTHON]     the interpreter (python3)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=build-docs/venv
if ! cmp -s docs/requirements.txt "$venv/requirements.txt"; then
  rm -rf "$venv"
  "${1:-python3}" -m venv "$venv"
  "$venv/bin/pip" --quiet --disable-pip-version-check install -r docs/requirements.txt
  cp docs/requirements.txt "$venv/requirements.txt"
fi
python3 scripts/draw_how.py --check
NO_MKDOCS_2_WARNING=1 "$venv/bin/mkdocs" --quiet build --strict
echo "docs.sh: $(find build-docs/site -name '*.html' | wc -l) pages in build-docs/site"
