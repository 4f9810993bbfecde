# Everything a developer does here. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
# The first Python that is new enough.
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Tests of servers mostly wait; each worker starts a pair of its own (about 1 GB).
WORKERS ?= 3
# File by file, in the order of tests/conftest.py: the slow ones first.
SPREAD := --dist loadfile --no-loadscope-reorder
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Microsoft's emulator of Azure's storage, for tests; without npm, or without its registry, they are skipped by name.
AZURITE := tests/support/services/azurite
# Of Debian; an S3 service as people run it.
CEPH := ceph-mon ceph-osd radosgw ceph-common

# What the benchmarks are held against, in an environment of its own; some names with commas between run those alone.
PEERS := $(VENV)/benchmarks
BENCH_ONLY ?=

.PHONY: help setup demo test check unit contract e2e e2e-rgw browser ceph rclone chromium faults bench bench-smoke golden \
  schemas lock pictures docs clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make the virtual environment from the lock

$(STAMP): requirements.lock requirements-older.lock pyproject.toml $(AZURITE)/package-lock.json
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found; set PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@mkdir -p $(VENV)/azurite && cp $(AZURITE)/package*.json $(VENV)/azurite
	@npm ci --prefix $(VENV)/azurite --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null \
	  || echo "Azurite was not installed: tests of Azure storage need npm and its registry" >&2 & azurite=$$!; \
	$(PIP) --require-hashes -r requirements.lock && \
	$(PIP) --require-hashes --no-deps --target $(VENV)/milvus-2.2.16 -r requirements-older.lock && \
	$(PIP) --no-deps --no-build-isolation --editable . && wait $$azurite
	@touch $@

demo: $(STAMP)  ## Two real Milvus servers, a migration, another one killed and resumed, every row compared (three minutes)
	$(BIN)/migrator demo

check: $(STAMP)  ## Format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## Everything CI runs: the checks, then all tests, on servers started for them
	$(BIN)/pytest -n $(WORKERS) $(SPREAD)

unit: $(STAMP)  ## Tests that need no server, in seconds
	$(BIN)/pytest tests/unit

contract: $(STAMP)  ## One suite per port, on every adapter
	$(BIN)/pytest tests/contract -n $(WORKERS) $(SPREAD)

e2e: $(STAMP)  ## Whole commands on two real Milvus servers and an S3 server
	$(BIN)/pytest tests/e2e -n $(WORKERS) $(SPREAD)

e2e-rgw: $(STAMP) ceph  ## Whole migrations and the suite of stores on Ceph's RADOS gateway (three minutes)
	$(BIN)/pytest tests/contract tests/e2e -m rgw

ceph:  ## Install Debian's packages of Ceph, for its RADOS gateway; needs root
	@command -v radosgw >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends $(CEPH) >/dev/null; } \
	  || { echo "only root, on Debian, can do it: apt-get install $(CEPH)" >&2; exit 1; }

browser: $(STAMP) chromium  ## Reports and the documentation in a headless Chromium (half a minute)
	$(BIN)/pytest tests/browser

chromium:  ## Install Debian's Chromium, for the tests of pages; needs root
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || { echo "only root, on Debian, can do it: apt-get install chromium fonts-dejavu-core" >&2; exit 1; }

faults: $(STAMP)  ## Everything that can break on the way, the slow ones too (half an hour)
	$(BIN)/pytest tests/faults tests/e2e/test_busy_*.py tests/e2e/test_demo.py -m "" -n $(WORKERS) $(SPREAD)

bench: $(STAMP) $(PEERS)/bin/aws ceph rclone  ## Measure everything beside other programs, and write docs/performance.md (half an hour; BENCH_ONLY=name)
	$(BIN)/python -m benchmarks --only "$(BENCH_ONLY)"

bench-smoke: $(STAMP)  ## Run every benchmark with the smallest sizes, which proves that they run (one minute)
	$(BIN)/python -m benchmarks --smoke --only "$(BENCH_ONLY)"

$(PEERS)/bin/aws: benchmarks/requirements.txt | $(STAMP)
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<

rclone:  ## Install Debian's rclone, for the benchmarks; needs root
	@command -v rclone >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends rclone >/dev/null; } \
	  || echo "rclone is not installed, and not measured: only root, on Debian, can do it" >&2

golden: $(STAMP)  ## Write tests/golden/ anew: how plans look in every format, for a reviewer to read
	$(BIN)/python -m tests.support.golden

schemas: $(STAMP)  ## Write schemas/, docs/cli.md and the tables of docs/compatibility.md anew from the program
	$(BIN)/python -m migrator.schemas
	$(BIN)/python -m migrator.cli.reference
	$(BIN)/python -m migrator.version_tables

lock: $(STAMP)  ## Resolve requirements.lock anew (needs uv in the environment)
	$(BIN)/uv pip compile pyproject.toml --extra binlogs --extra dev --extra lab --extra s3 --extra dask \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

pictures: $(STAMP)  ## The pictures of the documentation, of the runs that make demo left (needs Chromium)
	PYTHONPATH=. $(BIN)/python docs/pictures.py .lab/demo/state

docs: $(STAMP)  ## The documentation as a site in .site/; a broken link fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:  ## Stop the demo's servers and remove what was made here
	-test -x $(BIN)/migrator && $(BIN)/migrator lab down --folder .lab/demo
	rm -rf $(VENV) .lab .migrator .site .mypy_cache .ruff_cache .pytest_cache .hypothesis
