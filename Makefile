# Everything a developer needs: `make demo`, `make test`. Each sets up what it needs, from Python 3.11 or newer alone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Run the real operator on an in-memory Kubernetes API (KEEP=1 leaves the API up)
	$(BIN)/shardwise demo $(if $(KEEP),--keep)

.PHONY: test
test: lint types contracts fresh unit ## Run all checks that CI runs

.PHONY: setup
setup: $(READY) ## Make the virtual environment, from the lock file

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version 2>&1) found; name one: make PYTHON=python3.13" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: lint
lint: $(READY) ## Check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: fmt
fmt: $(READY) ## Format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: types
types: $(READY) ## Check types, strictly
	$(BIN)/mypy

.PHONY: contracts
contracts: $(READY) ## Check that every layer imports only what it may
	PYTHONPATH=operator $(BIN)/lint-imports

.PHONY: fresh
fresh: $(READY) ## Check that generated files are what would be generated now
	$(BIN)/shardwise crds --check

.PHONY: unit
unit: $(READY) ## Run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: crds
crds: $(READY) ## Write the CustomResourceDefinition from the models
	$(BIN)/shardwise crds

.PHONY: golden
golden: $(READY) ## Accept the golden files as they now come out; read the difference before you commit it
	$(BIN)/python -m pytest --snapshot-update $(PYTEST_ARGS)

.PHONY: lock
lock: ## Resolve the newest versions pyproject.toml allows, with their hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  pyproject.toml --group dev --output-file requirements-dev.lock

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
