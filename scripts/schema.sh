#!/usr/bin/env bash
# Makes schema/lsrt_generated.h from schema/lsrt.fbs. --check only compares (exit status 77: not possible here).
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.0.8  # of the FlatBuffers headers that setup.sh installs; the generated code insists on it
have=$(flatc --version 2>/dev/null | awk '{print $NF}' || true)
if [ "$have" != "$version" ]; then
  echo "schema.sh: flatc $version is needed (found: ${have:-none}); Debian package flatbuffers-compiler" >&2
  exit 77
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flatc --cpp --scoped-enums --reflect-types -o "$out" schema/lsrt.fbs
if [ "${1:-}" != --check ]; then
  cp "$out/lsrt_generated.h" schema/lsrt_generated.h
elif ! diff -u schema/lsrt_generated.h "$out/lsrt_generated.h"; then
  echo "schema.sh: schema/lsrt_generated.h is not what flatc makes of schema/lsrt.fbs; run scripts/schema.sh" >&2
  exit 1
fi
