#!/usr/bin/env bash
# Everything that is checked without running the program. Goes on after a failure, so that one run shows them all.
set -uo pipefail
cd "$(dirname "$0")/.."

bin=.venv/bin
failed=()
began=$SECONDS

check() {
  local name="$1"
  shift
  "$@" || failed+=("$name")
}

clang_format() {
  git ls-files -z --cached --others --exclude-standard '*.h' '*.cc' | xargs -0 -r -P "$(nproc)" -n 40 clang-format-19 --dry-run -Werror
}

check layers "$bin/python" scripts/check_layers.py
check clang-format clang_format
check ruff "$bin/ruff" check --quiet .
check ruff-format "$bin/ruff" format --quiet --diff .
check mypy "$bin/mypy"
check clang-tidy "$bin/python" scripts/tidy.py "$@"

if ((${#failed[@]})); then
  echo "lint: FAILED: ${failed[*]} ($((SECONDS - began)) s)"
  exit 1
fi
echo "lint: all passed ($((SECONDS - began)) s)"
