# Everything a developer needs: `make demo`, `make test`. Each sets up what it needs, from Python 3.11 or newer alone.
# Needs nothing but POSIX sh and GNU make 3.81 (what macOS ships).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The checks of `make test` run in their order even under -j, so that pytest's closing line is the last.
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Processes that run the unit tests side by side: as many as there are cores. JOBS=0 runs them in one, for a debugger.
JOBS ?= auto

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Named after the interpreter: another PYTHON makes the environment anew.
LOCKED := $(VENV)/.locked-$(notdir $(PYTHON))
READY := $(VENV)/.ready
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-emit-find-links

# TLS connections to a server of another process may be closed after the loop that used them.
LATE_SOCKETS := -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning

# A cluster of kind's instead of one made here, only where the command line names it: a variable of the environment may
# be there by accident.
ON_EXISTING := $(if $(findstring command line,$(origin EXISTING)),$(if $(EXISTING),--on-existing=$(EXISTING)))

# Three control planes, each with a part of the files: the tests wait more than they compute, also on two cores. A cluster
# of kind's is but one.
SIDE_BY_SIDE := $(if $(ON_EXISTING),,--numprocesses 3 --dist loadfile)

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Run the real operator on an in-memory Kubernetes API (KEEP=1 leaves the API up)
	$(BIN)/python -m shardwise_sandbox demo $(if $(filter-out 0 no,$(KEEP)),--keep)

.PHONY: test
test: check unit ## Run all checks that CI runs

.PHONY: check
check: lint types contracts fresh ## Check format, lint, types, contracts and generated files: seconds, once warm

.PHONY: setup
setup: $(READY) ## Make the virtual environment, from the lock file

# The locked dependencies; made anew when the lock changes.
$(LOCKED): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name one: make PYTHON=python3.13" % sys.version_info[:2])'
	@echo "Making the virtual environment $(VENV), once: about 500 MB and some minutes"
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) check
	@touch $@

# Shardwise itself, in place; its version and commands stand in pyproject.toml.
$(READY): $(LOCKED) pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --editable .
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
	$(BIN)/python -m shardwise_sandbox pages --check
	$(BIN)/python -m shardwise_sandbox errors --check

.PHONY: unit
unit: $(READY) ## Run the tests, in parallel (JOBS=0: in one process)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(PYTEST_ARGS)

.PHONY: thorough
thorough: $(READY) ## Hold the planner to its oracle and properties on twenty times as many random fleets
	SHARDWISE_EXAMPLES=20 $(BIN)/python -m pytest tests/planner/test_planner_oracle.py \
	  tests/planner/test_planner_target_oracle.py tests/planner/test_planner_deal.py $(PYTEST_ARGS)

.PHONY: same-plans
same-plans: $(READY) ## Hold the plans on a thousand random fleets to those of an older build (BASE=a commit; about 3 minutes)
	$(BIN)/python -m benchmarks.same_plans $(if $(BASE),BASE=$(BASE))

.PHONY: bench
bench: $(READY) ## Measure what needs no GPU, on up to 5,000 nodes (4 minutes), or planning beside an older build (BASE=a commit)
ifeq ($(BASE),)
	$(BIN)/python -m benchmarks.fleet
	$(BIN)/python -m benchmarks.plan
	$(BIN)/python -m benchmarks.reading
else
	$(BIN)/python -m benchmarks.against BASE=$(BASE)
endif

.PHONY: bench-operators
bench-operators: $(READY) ## Measure memory, start and reaction of the operator beside an older build (BASE=a commit; 30 minutes)
	$(BIN)/python -m benchmarks.operators $(if $(BASE),BASE=$(BASE))

.PHONY: bench-commands
bench-commands: $(READY) ## Measure what commands cost beside an older build (BASE=a commit; about 2 minutes)
	$(BIN)/python -m benchmarks.commands $(if $(BASE),BASE=$(BASE))

.PHONY: bench-waiting
bench-waiting: $(READY) ## Measure a long queue, beside an older build (BASE=a commit; about 3 minutes)
	$(BIN)/python -m benchmarks.waiting $(if $(BASE),BASE=$(BASE))

.PHONY: bench-crowd
bench-crowd: testbed ## Measure what 40 hostile objects cost 960 others, on a real API server (about 10 minutes)
	$(BIN)/python -m benchmarks.crowd

.PHONY: bench-metrics
bench-metrics: $(READY) ## Measure what metrics cost the operator among 5,000 nodes (about 10 minutes)
	$(BIN)/python -m benchmarks.metrics

.PHONY: bench-cluster
bench-cluster: testbed ## Measure the operator on API servers, and beside LeaderWorkerSet (about 15 minutes)
	$(BIN)/python -m benchmarks.cluster

.PHONY: testbed
testbed: $(READY) ## Build the real control plane that test-cluster runs on, once: needs Go
	$(BIN)/python -m tests.cluster.binaries

.PHONY: test-cluster
test-cluster: testbed ## Run the operator on a real control plane (EXISTING=kind-x: on that context)
	$(BIN)/python -m pytest -m cluster tests/cluster $(SIDE_BY_SIDE) $(LATE_SOCKETS) $(ON_EXISTING) $(PYTEST_ARGS)

.PHONY: testbed-queue
testbed-queue: testbed ## Build Kueue for test-queue, once: needs Go (about 8 minutes of CPU)
	$(BIN)/python -m tests.cluster.binaries queues

.PHONY: test-queue
test-queue: testbed-queue ## Run the operator beside the real Kueue; as root, because Kueue reads fixed folders
	$(BIN)/python -m pytest -m queue tests/cluster_queue $(LATE_SOCKETS) $(PYTEST_ARGS)

# Needs torch and transformers, 6 GB of them, in an environment of its own: never part of `make test`.
CHECK_VENV ?= .venv-transformers
$(CHECK_VENV)/.ready: tests/transformers_check/requirements.txt
	$(PYTHON) -m venv --clear $(CHECK_VENV)
	$(CHECK_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	$(CHECK_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --editable .
	@touch $@

.PHONY: check-transformers
check-transformers: $(CHECK_VENV)/.ready ## Count every architecture transformers knows, anew: needs 6 GB, minutes
	$(CHECK_VENV)/bin/python tests/transformers_check/count.py

# Needs the engines' wheels and torch, 10 GB of them, in environments of their own: never part of `make test`.
# HISTORY=1 also reads the sources of the older releases, which fetches 10 GB more.
ENGINES ?= .venv-engines

.PHONY: check-engines
check-engines: $(READY) ## Ask the real engines for what the tables say: needs 10 GB, minutes (HISTORY=1: older releases)
	$(BIN)/python tests/engines_check/check.py --cache $(ENGINES) $(if $(filter-out 0 no,$(HISTORY)),--history)

# Needs root, gcc, Python 3.12 and vLLM for CPUs, 3 GB, in an environment of its own: never part of `make test`.
STORY ?= .venv-story
STORY_PYTHON ?= python3.12

.PHONY: test-engine
test-engine: $(READY) ## Serve tokens by a real vLLM on CPUs; kill, hang, edit, scale, pair roles: needs root, 3 GB (about 10 minutes)
	$(BIN)/python -m tests.engine_story --engine $(STORY) --python $(STORY_PYTHON) \
	  $(if $(OPERATOR),--operator $(OPERATOR)) $(STEPS)

.PHONY: crds
crds: $(READY) ## Write the CustomResourceDefinition from the models
	$(BIN)/shardwise crds

.PHONY: errors
errors: $(READY) ## Hold the estimates of speed against measurements, and write how far they are off
	$(BIN)/python -m shardwise_sandbox errors

.PHONY: pages
pages: $(READY) ## Write the generated pages: engines, fields, command line, reasons, metrics
	$(BIN)/python -m shardwise_sandbox pages

# An environment of its own: no check and no test needs mkdocs.
SITE := .venv-site/.ready
$(SITE): requirements-site.lock
	$(PYTHON) -m venv --clear .venv-site
	.venv-site/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	@touch $@

.PHONY: site
site: $(SITE) ## Build the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet

.PHONY: golden
golden: $(READY) ## Accept the golden files as they now come out; read the difference before you commit it
	$(BIN)/python -m pytest --snapshot-update $(PYTEST_ARGS)

.PHONY: lock
lock: $(READY) ## Resolve the newest versions pyproject.toml allows, with their hashes
	$(PIP) install uv
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	$(COMPILE) --group build --output-file requirements-build.lock
	$(COMPILE) --group site --output-file requirements-site.lock

VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
IMAGE ?= shardwise:$(VERSION)

.PHONY: image
image: ## Build the operator's image with Docker (IMAGE=name:tag, PLATFORM=linux/arm64)
	docker build $(if $(PLATFORM),--platform $(PLATFORM)) --tag $(IMAGE) .

REPOSITORY ?= shardwise

.PHONY: chart
chart: $(READY) ## Package the chart into dist (REPOSITORY=where its image is; needs Helm)
	$(BIN)/python -m tests.release_check.release chart --repository $(REPOSITORY)

.PHONY: release-dry-run
release-dry-run: $(READY) ## Do what a release does, but for the registry: image steps, both platforms, chart
	$(BIN)/python -m tests.release_check.release dry-run

.PHONY: release-tag
release-tag: $(READY) ## Check that TAG is the version of the package
	$(BIN)/python -m tests.release_check.release tag $(TAG)

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(VENV) .venv-* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
