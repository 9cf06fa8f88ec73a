#!/usr/bin/env bash
# Builds one preset (release unless told otherwise), and lets .venv find what was built:
#   scripts/build.sh [preset] [targets...]
set -euo pipefail
cd "$(dirname "$0")/.."

preset="${1:-release}"
build="build/$preset"
shift || true

[[ -e "$build/build.ninja" ]] || cmake --preset "$preset" > /dev/null
cmake --build "$build" -- "$@"

# `.venv/bin/python` imports pycylon from this build and `.venv/bin/cylon` runs its programs, as an installed package
# would; nothing is copied, so the next build is the one that is used.
if [[ -d "$build/python/pycylon" ]]; then
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$PWD/$build/python" > "$site/cylon-build.pth"
  # Replaced at once: another shell may be reading the old one.
  cat > .venv/bin/.cylon.$$ << EOF
#!/bin/sh
CYLON_PYTHON="\${CYLON_PYTHON:-$PWD/.venv/bin/python}" exec "$PWD/$build/bin/cylon" "\$@"
EOF
  chmod +x .venv/bin/.cylon.$$
  mv .venv/bin/.cylon.$$ .venv/bin/cylon
fi
