#!/usr/bin/env bash
# Formats all C++ and Python in the tree.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files -z --cached --others --exclude-standard '*.h' '*.cc' | xargs -0 -r -P "$(nproc)" -n 40 clang-format-19 -i
.venv/bin/ruff check --quiet --fix . || true
.venv/bin/ruff format --quiet .
