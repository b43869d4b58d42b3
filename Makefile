# Every verb of this project. A fresh clone needs GNU make and a Python >= 3.11; `make` alone lists the verbs.
# PYTHON=… chooses the interpreter, ARGS=… goes to the command, e.g. make test ARGS="-k pull -x".

.DEFAULT_GOAL := help
.PHONY: help setup run demo test unit clients check soak kills fuzz bench docs pictures lock clean

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c "$(IS_NEW_ENOUGH)" 2>/dev/null && { echo "$$python"; break; }; done)
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
VENV := .venv
IN_VENV := $(VENV)/bin/python
READY := $(VENV)/.ready
UV := uv==0.13.9
UPGRADE := $(if $(upgrade),--upgrade)
ARGS ?=

help: ## list these verbs
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | while IFS='	' read -r verb does; do \
		printf '  make %-8s %s\n' "$$verb" "$$does"; done

setup: $(READY) ## the virtual environment .venv with the locked dependencies, nothing else

run: setup ## the gateway on 127.0.0.1:9000
	$(IN_VENV) -m gateway serve $(ARGS)

demo: setup ## the main job in one terminal, without internet
	$(IN_VENV) -m gateway demo $(ARGS)

test: setup clients ## all tests, with real clients (built or installed first, where that is possible)
	$(IN_VENV) -m pytest $(ARGS)

unit: setup ## the quick tests only
	$(IN_VENV) -m pytest --ignore tests/e2e -m "not slow" $(ARGS)

clients: setup ## helm 3 and 4, crane, oras, skopeo, distribution's registries, PostgreSQL and Chromium for the tests
	$(IN_VENV) -m tests.install_clients

check: setup ## formatting, lint, types, and whether the locks hold what pyproject.toml asks
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m mypy
	$(IN_VENV) -m pip check
	$(IN_VENV) -m pytest -q tests/test_locks.py

soak: setup ## a long mixed load on a cache too small for it, before failing upstreams; minutes=20
	$(IN_VENV) -m bench.soak $(or $(minutes),20)

kills: setup ## kill -9 and a full disk at every system call (an hour and more), and 200 random kills
	CRASH_POINTS=all RANDOM_KILLS=200 $(IN_VENV) -m pytest \
		tests/e2e/test_kills.py tests/e2e/test_full_at_any_write.py tests/e2e/test_failing_disk.py \
		tests/e2e/test_random_kills.py $(ARGS)

fuzz: setup ## hostile input for every parser, guided by what it reaches, then whole caches; minutes=10 for each target
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock || { \
		echo "atheris comes built for Linux on x86-64 alone; what it found is in \`make test\` everywhere" >&2; exit 1; }
	$(IN_VENV) -m tests.fuzz --seconds $(or $(seconds),$$((60 * $(or $(minutes),10)))) $(ARGS)
	CACHE_MACHINE_EXAMPLES=$(or $(examples),2000) $(IN_VENV) -m pytest tests/test_cache_machine.py

bench: setup ## the figures that docs and issues speak of, as ratios of one run
	$(IN_VENV) -m bench $(ARGS)

docs: setup ## check the pages: their links, their length, their commands (they are read as they lie: nothing is built)
	$(IN_VENV) -m pytest -q tests/test_docs.py $(ARGS)

pictures: setup ## docs/screenshots anew (every page of the admin desk in Chromium), and docs/air-gap-run.md
	$(IN_VENV) -m tests.e2e.desk_pictures docs/screenshots
	$(IN_VENV) -m tests.e2e.air_gap_story docs/air-gap-run.md

lock: ## resolve the locks again after a change of pyproject.toml; upgrade=1 takes the newest of everything
	$(check_python)
	tools=$$(mktemp -d) && trap 'rm -rf "$$tools"' EXIT && \
	"$(PYTHON)" -m venv "$$tools" && "$$tools/bin/pip" install --quiet $(UV) && \
	lock() { "$$tools/bin/uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		$(UPGRADE) "$$@" pyproject.toml; } && \
	lock --extra postgres --output-file requirements.lock && \
	lock --extra dev --output-file requirements-dev.lock && \
	"$$tools/bin/uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		$(UPGRADE) --group fuzz --output-file requirements-fuzz.lock

clean: ## remove the virtual environment and every cache inside this folder, never ./data
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define check_python
@"$(PYTHON)" -c "$(IS_NEW_ENOUGH)" 2>/dev/null || { \
	echo "no Python >= 3.11 found$(if $(PYTHON), (tried $(PYTHON))): install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1; }
endef

$(READY): pyproject.toml requirements-dev.lock
	$(check_python)
	@$(IN_VENV) -c "$(IS_NEW_ENOUGH)" 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: python3-venv)" >&2; exit 1; }
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
