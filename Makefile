# Every target sets up what it needs in .venv; a bare Python 3.11 or later is enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help demo test lint bench clean

help:
	@echo "make demo    teach the embedded model a company's facts, examine it, write the report"
	@echo "make test    run the tests"
	@echo "make lint    check style, format and types"
	@echo "make bench   measure speed"
	@echo "make clean   remove .venv and caches (runs/ stays)"

demo: $(VENV)/.runtime
	$(BIN)/lorecraft run examples/company/recipe.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src

bench: $(VENV)/.dev
	@set -e; for benchmark in benchmarks/[a-z]*.py; do $(BIN)/python $$benchmark; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: constraints.txt tools/install_torch.sh | $(BIN)/python
	tools/install_torch.sh $(BIN)/python
	@touch $@

$(VENV)/.runtime: pyproject.toml $(VENV)/.torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	@touch $@
