# The commands of this project; `make help` lists them.
SHELL := /bin/bash
PRESET ?= release
RANKS ?= 4
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-long fuzz bench bench-peers bench-comm bench-nat chaos lint format clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf 'make %-11s %s\n' "$$name" "$$what"; done

demo: build ## join a year of flights on 4 ranks of this machine, and check the answer with pandas
	.venv/bin/cylon run -n $(RANKS) --trace build/flights/trace examples/flights/flights.py --verify $(ARGS)

test: ## build everything and run all C++ and Python tests
	@scripts/test.sh

test-long: ## sanitizer builds, long property and simulation runs, every lint check, the 8 GiB shuffle
	@scripts/test.sh --long

fuzz: setup ## search with each fuzz target for SECONDS=60, two at a time (ARGS="batch lanes" for some of them)
	@scripts/fuzz.sh $(or $(SECONDS),60) $(ARGS)

bench: build ## time join, sort and group-by against the raw network (ARGS="--help" for the choices)
	.venv/bin/python benchmarks/bench.py $(ARGS)

bench-peers: build ## time pycylon against pandas, polars, duckdb, datafusion and pyarrow (ARGS="--help" for the choices)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	.venv/bin/python benchmarks/bench_peers.py $(ARGS)

bench-comm: build ## time communication against plain sockets and memory copies (ARGS="--quick" for a minute)
	.venv/bin/python benchmarks/bench_comm.py $(ARGS)

bench-nat: build ## time jobs behind gateways, as root (ARGS="--job flights --job join" for whole jobs by each way)
	.venv/bin/python benchmarks/bench_nat.py $(ARGS)

chaos: build ## kill, stop and cut jobs and count what goes wrong (ARGS="--runs 1000 --seed 1 --transport tcp,shm")
	.venv/bin/python tests/chaos/run.py $(ARGS)

lint: ## check layers, formats, types and common mistakes
	@scripts/setup.sh lint && scripts/lint.sh $(ARGS)

format: ## format all C++ and Python
	@scripts/setup.sh lint && scripts/format.sh

setup: ## install what is missing: system packages, .venv, the flight data
	@scripts/setup.sh

build: setup ## build library, programs and Python module (PRESET=release, debug, asan-ubsan, tsan)
	@scripts/build.sh $(PRESET)

clean: ## remove what was built, but not .venv
	rm -rf build dist
