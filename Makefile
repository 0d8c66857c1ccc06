# Everything here works in a private environment, .venv, which is made once and reused until pyproject.toml or
# constraints.txt changes.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
BIN := $(VENV)/bin
DEMO := build/demo
COUNT ?= 2000
# Test files run side by side; one thread each, because torch would otherwise use every core in each of them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help setup simulators postgresql ray demo docs lint test nightly fuzz clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv and install everything into it

$(READY): pyproject.toml constraints.txt scripts/make_venv.sh
	scripts/make_venv.sh $(PYTHON) $(VENV)
	touch $@

simulators: $(READY)  ## install Icarus Verilog and GHDL if they are missing
	scripts/get_simulators.sh $(BIN)/python

postgresql:  ## install PostgreSQL if it is missing: nightly tests start a server of their own
	scripts/get_postgresql.sh

ray: $(READY)  ## install Ray: nightly tests start a cluster of their own
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[ray]"

demo: simulators  ## train a digit classifier, compile it to Verilog and VHDL
	$(BIN)/difflut-train examples/digits.yaml -o $(DEMO)/model
	$(BIN)/difflut-compile $(DEMO)/model/model.pth --target verilog --data digits -o $(DEMO)/verilog
	$(BIN)/difflut-compile $(DEMO)/model/model.pth --target vhdl --data digits -o $(DEMO)/vhdl
	@printf '\nModel:   %s\nVerilog: %s\nVHDL:    %s\n' $(DEMO)/model $(DEMO)/verilog $(DEMO)/vhdl
	@printf 'What was proven, and what was not, is in certificate.json in each of the last two.\n'

docs: $(READY)  ## build the documentation site into build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@printf 'Open build/site/index.html.\n'

lint: $(READY)  ## check style and types
	$(BIN)/ruff check
	$(BIN)/mypy

test: simulators lint  ## style, types, unit tests and simulations
	$(PYTEST) -m "not slow and not gpu"

nightly: simulators postgresql ray lint  ## the same, with the tests that take minutes
	$(PYTEST) -m "not gpu"
	$(MAKE) fuzz

fuzz: simulators  ## compile COUNT random models (2000) and compare them with PyTorch; SEED is that of the first
	PYTHONPATH=. $(BIN)/python rtl_tests/fuzz.py --count $(COUNT) --everything --jobs $(shell nproc) $(if $(SEED),--seed $(SEED))

clean:  ## remove what the targets above made, .venv included
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
