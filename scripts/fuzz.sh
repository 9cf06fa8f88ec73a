#!/usr/bin/env bash
# Builds the fuzz targets and lets each search, two at a time. Ends non-zero with the inputs that did harm, if any did.
#   scripts/fuzz.sh [seconds] [targets...]     60 s each, all of cpp/fuzz
# What a search finds worth keeping stays in build/fuzz/corpus, so that the next one goes on from there.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
if (($#)); then shift; fi
targets=("$@")
if ((${#targets[@]} == 0)); then
  for source in cpp/fuzz/*_fuzz.cc; do
    name=$(basename "$source" _fuzz.cc)
    targets+=("${name//_/-}")
  done
fi

if ! command -v clang++-19 > /dev/null; then
  echo "fuzz: clang++-19 is missing; expected it with its sanitizers; apt-get install clang-19 libclang-rt-19-dev" >&2
  exit 1
fi
scripts/build.sh fuzz "${targets[@]/#/fuzz-}"

# Arrow's own allocator is not instrumented; malloc is.
export ARROW_DEFAULT_MEMORY_POOL=system
# With it, what is found has names; Debian's llvm-19 has it.
if symbolizer=$(command -v llvm-symbolizer-19); then export ASAN_SYMBOLIZER_PATH="$symbolizer"; fi
export crashes=build/fuzz/crashes seconds
mkdir -p "$crashes"

search() {
  local name="$1" program="build/fuzz/bin/fuzz-$1"
  local seeds="build/fuzz/seeds/$name" corpus="build/fuzz/corpus/$name" found="cpp/fuzz/found/${name//-/_}"
  local log="build/fuzz/$name.log" inputs
  rm -rf "$seeds"
  mkdir -p "$seeds" "$corpus"
  "$program" --seeds="$seeds"
  inputs=("$corpus" "$seeds")
  [[ -d "$found" ]] && inputs+=("$found")
  [[ -e "cpp/fuzz/${name//-/_}.dict" ]] && inputs+=(-dict="cpp/fuzz/${name//-/_}.dict")
  # An input that takes a second is one that hangs others; memory is that of the sanitizers for the most part.
  if "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -report_slow_units=1 -print_final_stats=1 \
    -artifact_prefix="$crashes/$name-" "${inputs[@]}" &> "$log"; then
    printf 'fuzz: %-10s %s\n' "$name" "$(sed -n 's/^Done \(.*\)/\1/p' "$log")"
    # An input is not slow because the machine was busy when it ran: a second of the processor's time counts.
    local slow took
    for slow in "$crashes/$name-slow-unit-"*; do
      [[ -e "$slow" ]] || continue
      took=$(TIMEFORMAT=%U; { time "$program" "$slow" &> /dev/null; } 2>&1)
      if [[ "${took%.*}" == 0 ]]; then rm "$slow"; fi
    done
  else
    printf 'fuzz: %-10s FAILED: %s\n' "$name" "$(grep -m 1 -E '^fuzz: |ERROR|runtime error' "$log" || tail -n 1 "$log")"
    return 1
  fi
}
export -f search

started=$(mktemp)
failed=0
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'search {}' || failed=1
mapfile -t harmful < <(find "$crashes" -type f -newer "$started")
rm -f "$started"
if ((failed || ${#harmful[@]})); then
  printf 'fuzz: harmful: %s\n' "${harmful[@]}"
  echo "fuzz: mend it, and keep the input in cpp/fuzz/found/<target>"
  exit 1
fi
echo "fuzz: ${#targets[@]} targets, $seconds s each, nothing found"
