# Everything a person does with a checkout; `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
PIN := --constraint config/constraints.txt
JOBS ?= 3
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help run test lint types layers tests bench faults soak conformance reference install-systemd uninstall-systemd clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: $(VENV)/.run  ## Guard the configured environments; with none configured, run the demo
	@if [ -f .env ]; then exec $(BIN)/queuewarden run --config .env; \
	elif env | grep -qiE '^QUEUEWARDEN_(DSN|CONFIG_FILE|ENV__)'; then exec $(BIN)/queuewarden run; \
	else exec $(BIN)/queuewarden demo; fi

test: lint types layers tests  ## The whole gate: lint, format, types, layers, tests

lint: $(VENV)/.dev  ## Ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev  ## mypy and basedpyright, both strict
	$(BIN)/mypy
	$(BIN)/basedpyright

layers: $(VENV)/.dev  ## Imports run one way through the layers
	$(BIN)/lint-imports

tests: $(VENV)/.dev  ## The tests alone, JOBS at a time, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(JOBS) --dist loadgroup
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV)/.dev  ## Measure, as ratios against bare SQL in the same run; never fails on time
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

soak: $(VENV)/.dev  ## Watch the daemon at work for MINUTES (30); fails where memory or descriptors grow or a ping is late
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES)

faults: $(VENV)/.dev  ## A campaign of faults on real processes (FAULTS=1000 SEED=7); fails on a broken promise
	$(BIN)/python tests/faults/run.py $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

conformance: $(VENV)/.conformance  ## Presets against the real libraries, with their workers; fails where one is not proven
	$(BIN)/python tests/conformance/run.py $(CONFORMANCE)

reference: $(VENV)/.run  ## Write config/queuewarden.env.example and config/queues.md anew
	$(BIN)/queuewarden config reference > config/queuewarden.env.example
	$(BIN)/python tests/queues_guide.py

install-systemd:  ## Install under /opt/queuewarden, with unit, group and configuration (as root)
	systemd/install.sh

uninstall-systemd:  ## Remove program and unit; the configuration stays (as root)
	systemd/uninstall.sh

clean:  ## Remove what the targets above made in this folder
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "queuewarden needs Python 3.11 or newer: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "this Python cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml config/constraints.txt
	$(PIP) $(PIN) --editable '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) 'pip>=25.1'
	$(PIP) $(PIN) --group dev
	@touch $@

$(VENV)/.conformance: $(VENV)/.dev
	$(PIP) $(PIN) --group conformance
	@touch $@
