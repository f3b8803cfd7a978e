# Needs git, make and Python 3.11 or newer; everything else is installed into $(VENV), every byte of it hashed.
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Code is compiled once and not by each of the many processes, nor by the sandbox of workflows for each case.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo dev up test histories chaos lint bench lock
.DEFAULT_GOAL := help

help:
	@echo "make demo    watch ten failed invoices live through their weeks (ARGS=--exit: and end)"
	@echo "make dev     the demo's stack without its cast, to try things (ARGS=--json: one line for programs)"
	@echo "make up      the engine against your Stripe, SendGrid and Twilio accounts"
	@echo "make test    all tests (ARGS=-x tests/dunning: some)"
	@echo "make histories  record what workflows do now, to be replayed for ever"
	@echo "make chaos   a storm of faults over 300 cases, a scan of 10,000 cards (CHAOS_SEED=7: the same storm)"
	@echo "make lint    ruff, strict types, import contracts"
	@echo "make bench   the benchmark"
	@echo "make lock    new locks from pyproject.toml"

demo: $(VENV)/.installed
	@$(BIN)/dunning demo $(ARGS)

dev: $(VENV)/.installed
	@$(BIN)/dunning dev $(ARGS)

up: $(VENV)/.installed
	@$(BIN)/dunning up $(ARGS)

RECORDED = fates card_expiry renewal_reminder

# Two cores have work for three: many tests wait for servers.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

# In one process: a recording is one folder.
histories: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --update-histories $(RECORDED:%=tests/workflows/test_%.py)

# A seed of its own each time; it is printed first, and with whatever goes wrong.
chaos: export CHAOS_SEED ?= $(shell date +%s)
chaos: export CHAOS_CASES ?= 300
chaos: export CHAOS_KILLS ?= 10
chaos: export CHAOS_BRUTAL ?= 1
chaos: export CHAOS_SUBSCRIPTIONS ?= 10000
chaos: $(VENV)/.installed-dev
	@echo "CHAOS_SEED=$$CHAOS_SEED: $$CHAOS_CASES cases, $$CHAOS_KILLS kills, $$CHAOS_SUBSCRIPTIONS subscriptions"
	@$(BIN)/python -m pytest tests/chaos $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench $(ARGS)

lock:
	scripts/lock

$(BIN)/python:
	@python=$$(scripts/find-python) && echo "Making $(VENV) with $$python" && "$$python" -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the engine and the demo into $(VENV)"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The second lock holds everything of the first, in the same versions.
$(VENV)/.installed-dev: requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the engine, its tests and tools into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@scripts/install-browser || echo "Without it the tests in a browser are skipped."
	@touch $(VENV)/.installed $@
