#!/usr/bin/env bash
# Sets up, builds, and runs every suite; ends with one line that counts.
#   scripts/test.sh           the release build: C++ suites, then the Python ones
#   scripts/test.sh --long    the same with longer runs, both sanitizer builds, and every lint check
set -uo pipefail
cd "$(dirname "$0")/.."

results=build/test-results
jobs=$(nproc)
began=$SECONDS
broken=()

# ctest <preset>: its C++ suites. Programs write what they ran in detail beside ctest's own report.
run_ctest() {
  local preset="$1"
  mkdir -p "$results/$preset"
  GTEST_OUTPUT="xml:$PWD/$results/$preset/" ctest --test-dir "build/$preset" --parallel "$jobs" --output-on-failure \
    --no-tests=error --output-junit "$PWD/$results/$preset-ctest.xml" || broken+=("C++ ($preset)")
}

run_pytest() {
  .venv/bin/python -m pytest -q --junit-xml "$results/pytest.xml" python/tests tests || broken+=("Python")
}

long=0
if [[ "${1:-}" == --long ]]; then
  long=1
  export CYLON_TEST_LONG=1
  scripts/setup.sh lint || exit 1
else
  scripts/setup.sh || exit 1
fi
rm -rf "$results"
mkdir -p "$results"

scripts/build.sh release || exit 1
if ((long)); then
  cmake -DCYLON_TEST_TIMEOUT=7200 build/release > /dev/null || exit 1
fi
run_ctest release
if ((long)); then
  cmake -DCYLON_TEST_TIMEOUT=600 build/release > /dev/null || exit 1
fi
run_pytest

if ((long)); then
  # Eight times what both ranks may take: rows and checksum stay, and so does the bound on memory.
  CYLON_MEMORY=1G build/release/bin/cylon run -n 2 build/release/bin/shuffle-spill --gib 8 --growth-gib 1.1 ||
    broken+=("the 8 GiB shuffle")
  # Sanitizers take ten times as long, and find by what code runs, not by how often: suites in their usual length.
  unset CYLON_TEST_LONG
  export ASAN_OPTIONS="${ASAN_OPTIONS:-strict_string_checks=1:detect_stack_use_after_return=1}"
  export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=$PWD/tests/sanitizers/leaks.supp}"
  export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"
  export TSAN_OPTIONS="${TSAN_OPTIONS:-second_deadlock_stack=1:suppressions=$PWD/tests/sanitizers/races.supp}"
  for preset in asan-ubsan tsan; do
    if scripts/build.sh "$preset"; then
      run_ctest "$preset"
    else
      broken+=("the build of $preset")
    fi
  done
  scripts/lint.sh --full || broken+=("lint")
fi

.venv/bin/python scripts/summarize_tests.py "$results" || broken+=("tests")
if ((${#broken[@]})); then
  printf 'failed: %s (%d s)\n' "$(IFS=,; echo "${broken[*]}" | sed 's/,/, /g')" $((SECONDS - began))
  exit 1
fi
printf 'all suites passed (%d s)\n' $((SECONDS - began))
