# The two commands of the README, `make run` and `make test`, and what they stand on.

# Any Python from 3.11 to 3.13:  make run PYTHON=python3.12
PYTHON ?= python3
# An index of torch wheels, for instance one of CPU builds:  make run TORCH_INDEX=<address>
TORCH_INDEX ?=
# Fewer trainings, steps and episodes:  make run QUICK=1
QUICK ?=
# The networks here are small: a second thread costs more than it brings.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

BIN := .venv/bin
PIP := $(BIN)/python -m pip install
LOCKED := $(PIP) --require-hashes --no-deps -r

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test docs testbed lint lock clean

help:
	@echo "make run    set up .venv, then train and compare on the compression experiment; QUICK=1: in ten minutes"
	@echo "make test   set up .venv, then lint, types, layers, tests and doctests"
	@echo "make docs   build the documentation site into build/site; warnings are errors"
	@echo "make testbed  hold the simulator against real transfers for two minutes, where that is permitted"
	@echo "make lint   the checks of make test that run no code of ours"
	@echo "make lock   write the lock files anew from pyproject.toml"
	@echo "make clean  remove .venv, caches and build products; results stay"

run: .venv/ready
	@echo "== dwcp-gym run experiments/configs/compression.yaml $(if $(QUICK),--quick)"
	@$(BIN)/dwcp-gym run experiments/configs/compression.yaml $(if $(QUICK),--quick)

test: lint
	@echo "== tests and doctests"
	@$(BIN)/python -m pytest -n 2 --dist worksteal

docs: .venv/ready-dev
	@echo "== documentation site: build/site/index.html"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

testbed: .venv/ready-dev
	@echo "== simulator against real transfers"
	@$(BIN)/dwcp-gym testbed validate build/testbed --quick --fastest 100 --or-skip

lint: .venv/ready-dev
	@echo "== format"
	@$(BIN)/ruff format --check .
	@echo "== lint"
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== layers"
	@$(BIN)/lint-imports --no-logo

lock:
	@echo "== lock files"
	@PYTHON="$(PYTHON)" .ci/lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find sim envs agents experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps stand inside .venv: no environment, no stamp. A change of pyproject.toml or of a lock sets up again.
.venv/ready: pyproject.toml requirements.lock requirements-torch.lock | .venv/bin/python
	@echo "== packages of requirements.lock"
	@$(LOCKED) requirements.lock
	@echo "== torch"
	@$(PIP) -r requirements-torch.lock $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)")
	@echo "== dwcp-gym"
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-dev: requirements-dev.lock .venv/ready
	@echo "== packages of requirements-dev.lock"
	@$(LOCKED) requirements-dev.lock
	@touch $@

.venv/bin/python:
	@echo "== .venv"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	    "dwcp-gym needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % v)'
	@$(PYTHON) -m venv .venv
