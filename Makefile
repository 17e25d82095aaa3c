# Every target builds its own environment from nothing: Python 3.11 or newer, make and a C compiler
# are enough. A stamp file beside each environment rebuilds it when pyproject.toml changes.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
CORE := .venv-core
BIN := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-core lint format bench bench-quick clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## train a network on handwritten digits, pictures into out/
	$(BIN)/chainrule train digits --out out

test: $(VENV)/.dev ## all tests, with JAX and PyTorch as oracles
	$(BIN)/python -m pytest -n $(WORKERS)

test-core: $(CORE)/.core ## the tests that need no optional package, in a bare environment
	$(CORE)/bin/python -m pytest -n $(WORKERS)

lint: $(VENV)/.dev ## format, lint, types, and imports between the rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the sources in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench ## time chainrule against hand-written NumPy, JAX and PyTorch
	$(BIN)/python bench/run.py

bench-quick: $(VENV)/.bench ## some of the cases, in two minutes
	$(BIN)/python bench/run.py --quick

clean: ## remove the environments and everything generated
	rm -rf $(VENV) $(CORE) out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The full environment serves the demo and the benchmarks too: where it is, nothing is installed anew.
$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(VENV)/.demo $(VENV)/.bench $@

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[plot,data]'
	touch $@

$(VENV)/.bench: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

$(CORE)/.core: pyproject.toml
	$(PYTHON) -m venv --clear $(CORE)
	$(CORE)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@
