# Every target does its own set-up: `make serve` and `make test` work on a fresh machine.
# pip's own variables work (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS), so wheels, above all
# torch's, can come from any index.

HOST ?= $(or $(UNMEL_HOST),127.0.0.1)
PORT ?= $(or $(UNMEL_PORT),8000)
DATA ?= examples
# The first interpreter that is new enough; PYTHON=... overrides.
SUPPORTED := 3.14 3.13 3.12 3.11
MINOR_OF = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
NAMED := $(PYTHON)
PYTHON ?= $(firstword $(foreach p,python3 $(SUPPORTED:%=python%),$(if \
	$(filter $(SUPPORTED),$(call MINOR_OF,$(p))),$(p))))
ifneq ($(NAMED),)
ifeq ($(filter $(SUPPORTED),$(call MINOR_OF,$(NAMED))),)
$(error Unmel needs Python 3.11 to 3.14, and $(NAMED) does not run here as one of them)
endif
endif
# With PYTHON=... the environment is .venv-3.x where .venv belongs to another version.
FOUND := $(call MINOR_OF,.venv/bin/python)
VENV := .venv$(if $(and $(NAMED),$(FOUND),$(filter-out $(FOUND),$(call MINOR_OF,$(NAMED)))),-$(call \
	MINOR_OF,$(NAMED)))
BIN := $(VENV)/bin
# An environment whose interpreter no longer exists is deleted and made again.
$(shell test ! -e $(VENV) || $(BIN)/python -c '' 2>/dev/null || rm -rf $(VENV))
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
# Figures of bench-quality whose packages ask for torchaudio, which they only read files with.
JUDGES := --no-deps distillmos==0.9.1 torchcrepe==0.0.24 xls-r-sqa==0.1.0

.PHONY: help serve check test triton test-readme lint types tests fuzz test-containers test-cluster soak format \
	bench-quality bench-speed bench-load bench-stream bench-cluster gpu-check listen search lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Unmel needs Python 3.11 to 3.14 (apt-get install python3)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing; installing it"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
		else sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv >/dev/null; fi; }
	$(PYTHON) -m venv $(VENV)

# A stamp for each installed set of packages.
$(VENV)/base.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PINNED) -e .
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PINNED) -e '.[test]'
	@touch $@ $(VENV)/base.stamp

$(VENV)/bench.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PINNED) -e '.[bench]'
	$(PINNED) $(JUDGES)
	@touch $@ $(VENV)/base.stamp

$(VENV)/cluster.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PINNED) -e '.[test,bench,cluster]'
	$(PINNED) $(JUDGES)
	@touch $@ $(VENV)/base.stamp $(VENV)/test.stamp $(VENV)/bench.stamp

# Compiled once, so that no start has to; on another kind of processor the start compiles.
$(VENV)/loops.stamp: $(wildcard models/backends/*.py models/backends/cpu/*.py) $(VENV)/base.stamp
	@$(BIN)/python -m unmel.models.backends.cpu.compiled || echo "the loops cannot be compiled here: the torch backend serves, several times slower"
	@touch $@

serve: $(VENV)/base.stamp $(VENV)/loops.stamp ## Install what is missing and serve on HOST:PORT
	UNMEL_HOST=$(HOST) UNMEL_PORT=$(PORT) exec $(BIN)/python -m unmel.service

check: lint types ## Install what is missing; lint, types and the unit tests: for the edit loop
	$(PYTEST) -m "not loops and not process and not slow"

test: lint types tests ## Install what is missing; lint, types and the whole test suite

lint: $(VENV)/test.stamp ## Check style and the order of imports between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/test.stamp ## Check types
	$(BIN)/mypy

tests: $(VENV)/test.stamp $(VENV)/loops.stamp ## Run only the tests; ONLY="not slow" selects by marker
	$(PYTEST) $(if $(ONLY),-m "$(ONLY)")

triton: $(VENV)/test.stamp ## Install Triton, whose interpreter tests the GPU kernels without a GPU
	$(PINNED) -e '.[triton]'

test-readme: ## Run every command of the README in a clean clone; WITHOUT='make test' omits matching ones
	$(or $(PYTHON),python3) -m tests.readme $(if $(WITHOUT),--without '$(WITHOUT)')

fuzz: $(VENV)/test.stamp ## Send thousands of requests generated from the OpenAPI document; EXAMPLES=300
	$(BIN)/python -m tests.service.fuzz --examples $(or $(EXAMPLES),300)

test-containers: $(VENV)/test.stamp ## Build the image and test it; needs a container engine
	@docker info >/dev/null 2>&1 || { echo "No container engine answers (docker info):" \
		"nothing was tested"; exit 1; }
	$(BIN)/python -m pytest tests/containers

test-cluster: $(VENV)/cluster.stamp ## Test two simulated Ray nodes: promises, a node killed, a node added
	$(BIN)/python -m pytest -s -W default tests/cluster # Ray's own code warns

bench-cluster: $(VENV)/cluster.stamp ## Compare one process with Ray of 1 and 2 replicas, on draft requests
	$(BIN)/python -m benchmarks.cluster

format: $(VENV)/test.stamp ## Rewrite the style of the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-quality: $(VENV)/bench.stamp ## Compare methods, presets and voices with librosa over HTTP; DATA="name=dir ..."
	$(BIN)/python -m benchmarks.quality $(DATA:%=--data %) --picture docs/quality.svg

bench-speed: $(VENV)/bench.stamp ## Measure iterations, other implementations, lanes and start-up; DATA=dir, PAGE=file to write to
	$(BIN)/python -m benchmarks.speed --data $(DATA) $(if $(PAGE),--page $(PAGE))

bench-stream: $(VENV)/bench.stamp ## Measure streams by look-ahead beside RTISI-LA, seams, latency; DATA=dir
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.streaming --data $(DATA)

bench-load: $(VENV)/bench.stamp ## Measure throughput, latency and overload on loopback; SECONDS=60
	$(BIN)/python -m benchmarks.load --seconds $(or $(SECONDS),60)

soak: $(VENV)/bench.stamp ## Run ten minutes of load, lost clients, bad bodies, failing lanes; SECONDS=600
	$(BIN)/python -m benchmarks.soak --seconds $(or $(SECONDS),600)

gpu-check: $(VENV)/test.stamp ## Check a GPU: is it right, how fast, what under load; DATA=dir, PARTS=card,loops,...
	$(BIN)/python -m benchmarks.gpu --data $(DATA) $(if $(PARTS),--parts $(PARTS))

listen: $(VENV)/bench.stamp ## Write a blind test for ears to listen/; DATA="name=dir ..." PRESET= QUALITY= CLIPS= LOW_PASS=1 OUT=
	$(BIN)/python -m benchmarks.listen $(DATA:%=--data %) --preset $(or $(PRESET),hifigan-22k) \
		--quality $(or $(QUALITY),standard) --clips $(or $(CLIPS),16) --out $(or $(OUT),listen) \
		$(if $(LOW_PASS),--low-pass)

search: $(VENV)/bench.stamp ## Search for a better schedule; DATA="name=dir ..." QUALITY=high POWER=1 PRESETS=a,b MINUTES=30
	$(BIN)/python -m benchmarks.search $(DATA:%=--data %) --quality $(or $(QUALITY),high) \
		--power $(or $(POWER),1) $(if $(PRESETS),--presets $(PRESETS)) --minutes $(or $(MINUTES),30)

lock: | $(BIN)/python ## Rewrite constraints.txt from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	{ echo '# Every version that `make` installs: one set for every Python. Written by `make lock`,'; \
	echo '# where torch is pinned by hand.'; \
	echo 'torch==2.13.0' | $(BIN)/uv pip compile pyproject.toml --all-extras --universal \
		--fork-strategy fewest --python-version 3.11 --no-emit-index-url --no-header --no-annotate --quiet --constraint -; } > constraints.new
	mv constraints.new constraints.txt

clean: ## Remove what was installed and cached
	rm -rf .venv .venv-3.* .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
