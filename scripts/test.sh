#!/usr/bin/env bash
# Set-up, build and all tests. LSRT_STAGES chooses more builds to test; the native one always comes last, so that the
# output ends with its summary: LSRT_STAGES="asan tsan simde clang shared aarch64 fuzz python docs cuda native" scripts/test.sh
#
# LSRT_MINUTES is how long the stages before the native one may take together. Where the machine is too slow for that, the
# rest of them is left out, and the output says which.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=()
for stage in ${LSRT_STAGES:-native}; do
  [ "$stage" != native ] || continue
  echo "== $stage ($((SECONDS / 60)) min)"
  if [ -z "${LSRT_MINUTES:-}" ]; then
    scripts/stage.sh "$stage"
    continue
  fi
  left=$((LSRT_MINUTES * 60 - SECONDS))
  status=0
  [ "$left" -le 0 ] || timeout --kill-after=10 "$left" scripts/stage.sh "$stage" "$left" || status=$?
  if [ "$SECONDS" -ge $((LSRT_MINUTES * 60)) ] && { [ "$left" -le 0 ] || [ "$status" = 124 ] || [ "$status" = 137 ]; }; then
    left_out+=("$stage")
    echo "== $stage: left out, or not ended: $LSRT_MINUTES minutes are over"
  elif [ "$status" != 0 ]; then
    exit "$status"
  fi
done
echo "== native ($((SECONDS / 60)) min)"
[ ${#left_out[@]} -eq 0 ] || echo "== NOT TESTED HERE, the machine is too slow: ${left_out[*]}"
scripts/stage.sh native
