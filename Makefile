# Every target sets itself up in .venv from PyPI; only python3, git and make have to be there.
PYTHON ?= python3
PYTEST_ARGS ?=

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo fixtures docs test test-oracles test-heavy test-lowest lint bench lab-setup lab-fuzz lab-fuzz-loader lab-verify lab-record lab-release lab-linux lab-blind lab-peers clean
# Two pip runs in one environment would race.
.NOTPARALLEL:

help:
	@echo 'make demo          boot one UKI on three machines'
	@echo 'make test          the tests that need nothing but PyPI'
	@echo 'make test-oracles  the tests that compare with Debian tools (installs them)'
	@echo 'make test-heavy    the tests that take minutes: fresh Debians, ... (as root)'
	@echo 'make test-lowest   the tests with the lowest versions that pyproject.toml allows'
	@echo 'make lint          ruff and mypy --strict'
	@echo 'make bench         start-up, speed and memory as ratios'
	@echo 'make fixtures      build the fixture UKIs into build/fixtures'
	@echo 'make docs          run the worked examples of docs/handover anew'
	@echo 'make lab-setup     install what the lab needs; all of the lab: docs/lab.md'
	@echo 'make lab-verify    the standard set by real stubs, compared: STUB="trixie sid" BY="efirun qemu"'
	@echo 'make lab-release   the same for one STUB, row by row of the table of releases'
	@echo 'make lab-record    a CASE by QEMU on STUB, kept in build/lab'
	@echo 'make lab-fuzz      random boots by real stubs, compared: N=1000 SEED=1'
	@echo 'make lab-fuzz-loader   systemd-boot on random partitions, compared: N=1000 SEED=1'
	@echo 'make lab-linux     scenarios with a real Linux in QEMU (CASE, default all), kept in build/lab-linux'
	@echo 'make lab-blind     the same, each log predicted before the boot (CASE)'
	@echo 'make lab-peers     who predicts the registers of those boots: stubsim, systemd-pcrlock, systemd-measure'
	@echo 'make clean         remove .venv, build, dist and the caches'

# The extra that a target needs; "demo" is the bare package.
.venv/.ready-%: pyproject.toml scripts/setup-venv.sh
	@PYTHON='$(PYTHON)' scripts/setup-venv.sh $*
	@touch $@
.PRECIOUS: .venv/.ready-%

demo: .venv/.ready-demo
	@scripts/demo.sh

fixtures: .venv/.ready-demo
	@$(BIN)/python scripts/build_fixtures.py

docs: fixtures
	@$(BIN)/python scripts/worked_examples.py

# A process for each processor.
test: .venv/.ready-test
	@$(PYTEST) -m 'not oracle and not heavy' -n auto --dist worksteal $(PYTEST_ARGS)

test-oracles: .venv/.ready-test
	@scripts/oracles.sh
	@$(PYTEST) -m 'oracle and not heavy' $(PYTEST_ARGS)

test-heavy: .venv/.ready-test
	@scripts/oracles.sh heavy
	@$(BIN)/python -m pip install --quiet 'pyspark>=4' 'pandas>=2.2' 'adbc-driver-postgresql>=1.0'
	@$(PYTEST) -m heavy $(PYTEST_ARGS)

test-lowest: .venv/.ready-test
	@$(BIN)/python scripts/lowest.py build/lowest
	@build/lowest/bin/python -m pytest -m 'not oracle and not heavy' -n auto --dist worksteal $(PYTEST_ARGS)

lint: .venv/.ready-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: fixtures
	@$(BIN)/python scripts/bench.py

# Real stubs beside the simulator: docs/lab.md.
N ?= 1000
SEED ?= 1
STUB ?= trixie sid
ARCHITECTURE ?= x64 aa64
BY ?= efirun qemu
CASE ?=
LAB_VERIFY = $(BIN)/python -m scripts.lab.verify $(STUB:%=--stub %) $(BY:%=--by %) $(ARCHITECTURE:%=--architecture %)

lab-setup: .venv/.ready-demo
	@scripts/lab/setup.sh

lab-fuzz: lab-setup
	@$(BIN)/python -m scripts.lab.fuzz --count $(N) --seed $(SEED) --by $(firstword $(BY)) $(ARCHITECTURE:%=--architecture %) $(STUB:%=--stub %)

lab-fuzz-loader: lab-setup
	@$(BIN)/python -m scripts.lab.fuzz --loader --count $(N) --seed $(SEED) $(ARCHITECTURE:%=--architecture %) $(STUB:%=--stub %)

lab-verify: lab-setup
	@$(LAB_VERIFY) $(CASE)

lab-release: lab-setup
	@$(LAB_VERIFY) --table --record build/lab $(CASE)

lab-record: BY := qemu
lab-record: lab-setup
	@$(LAB_VERIFY) --record build/lab $(CASE)

lab-linux: lab-setup .venv/.ready-test
	@$(BIN)/python -m scripts.lab_linux.verify $(CASE)

lab-blind: lab-setup .venv/.ready-test
	@$(BIN)/python -m scripts.lab_linux.verify --blind $(CASE)

# From the boots that lab-linux kept.
lab-peers: .venv/.ready-test
	@$(BIN)/python -m scripts.lab_linux.peers build/lab-linux/*/ > build/peers.md
	@mv build/peers.md docs/peers.md

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
