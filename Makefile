# `make` lists what can be made. Nothing is written outside this folder, but for pip's own cache.

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
endif

VENV := .venv
DEMO_VENV := .venv-demo
GLAP_VENV := .venv-glap
SONAR_VENV := .venv-sonar
HTSAT_VENV := .venv-htsat
BIN := $(VENV)/bin
PACKAGES := atri_cli train export
SOURCES := $(shell find $(PACKAGES) -type f ! -name '*.pyc')
TEST_SOUNDS := .eval/gcompris

# A wheel of hnswlib that is tuned to this machine's processor would fail on another one that
# shares pip's cache or this folder.
export HNSWLIB_NO_NATIVE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help test lint demo bench bench-large eval page test-glap test-sonar train-mini docs clean \
	check-machine

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

test: lint ## environment, ruff, mypy, all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict $(PACKAGES)

demo: $(DEMO_VENV)/.installed ## index real sounds, search them in eight languages; SOUNDS=DIR for yours
	@$(DEMO_VENV)/bin/python demo/demo.py $(if $(SOUNDS),--sounds "$(SOUNDS)")

bench: $(VENV)/.installed ## speed and memory, about half an hour; ARGS="--small" for a quick look
	$(BIN)/python -m benchmarks $(ARGS)

bench-large: $(VENV)/.installed $(HTSAT_VENV)/.installed ## towers of the paper's sizes beside LAION-CLAP's: 9 GB of disk
	$(BIN)/python -m benchmarks.large --work .large --htsat $(HTSAT_VENV)/bin/python $(ARGS)

eval: $(VENV)/.installed $(TEST_SOUNDS) ## quality on the test sounds (fetched with apt-get); fails if it fell
	$(BIN)/python -m benchmarks.evaluate $(TEST_SOUNDS) $(or $(ARGS),--recorded benchmarks/recorded.json)

page: $(VENV)/.installed ## the page of atri consistency in a headless Chromium; ARGS="--pictures DIR"
	$(BIN)/python -m benchmarks.browser $(ARGS)

test-glap: $(GLAP_VENV)/.installed ## the towers against GLAP's public code, 6 GB of packages; ARGS="--ml-clap DIR"
	$(GLAP_VENV)/bin/python -W ignore -m benchmarks.glap_parity $(ARGS)

test-sonar: $(SONAR_VENV)/.installed ## SONAR against the real sonar-space, 6 GB of packages; ARGS="--full"
	$(SONAR_VENV)/bin/python -W ignore -m benchmarks.sonar_parity $(ARGS)

train-mini: $(VENV)/.installed ## train the embedded model, some hours; DATA=DIR SOUNDS=DIR
	$(BIN)/python -m train --work .train $(if $(DATA),--data "$(DATA)") $(if $(SOUNDS),--sounds "$(SOUNDS)") $(ARGS)

docs: $(VENV)/.installed ## write docs/commands.md and the vocabulary's look-up from the program
	$(BIN)/python -m atri_cli.commands.reference
	$(BIN)/python -m atri_cli.vocabulary.lookup

clean: ## remove environments, demo, caches
	rm -rf $(VENV) $(DEMO_VENV) $(GLAP_VENV) $(HTSAT_VENV) .demo .eval .large build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps are written last: an environment whose making was interrupted is made again.

$(VENV)/.installed: pyproject.toml constraints.txt | check-machine
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -qq -c constraints.txt -e ".[cpu,dev,train,export]"
	@touch $@

# Installed as a user does it, without torch and not editable.
$(DEMO_VENV)/.installed: pyproject.toml constraints.txt README.md $(SOURCES) | check-machine
	test -x $(DEMO_VENV)/bin/pip || $(PYTHON) -m venv --clear $(DEMO_VENV)
	rm -rf build
	$(DEMO_VENV)/bin/pip install -qq -c constraints.txt ".[cpu]"
	@touch $@

# Its packages pin another torch than the project's.
$(GLAP_VENV)/.installed: benchmarks/glap.txt
	$(PYTHON) -m venv --clear $(GLAP_VENV)
	$(GLAP_VENV)/bin/pip install -qq -r benchmarks/glap.txt
	@touch $@

$(SONAR_VENV)/.installed: benchmarks/sonar.txt
	$(PYTHON) -m venv --clear $(SONAR_VENV)
	$(SONAR_VENV)/bin/pip install -qq -r benchmarks/sonar.txt
	@touch $@

# Its package wants numpy 1.
$(HTSAT_VENV)/.installed: benchmarks/htsat.txt
	$(PYTHON) -m venv --clear $(HTSAT_VENV)
	$(HTSAT_VENV)/bin/pip install -qq -r benchmarks/htsat.txt
	@touch $@

$(TEST_SOUNDS): | $(VENV)/.installed
	rm -rf $@.part
	$(BIN)/python -m benchmarks.testset $@.part
	mv $@.part $@

check-machine:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer was not found. Name yours: make test PYTHON=/path/to/python3.11"; \
	  exit 1; } >&2
	@$(PYTHON) -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
	  && command -v $${CXX:-c++} >/dev/null || { \
	  echo "hnswlib is compiled: a C++ compiler and Python's headers are needed."; \
	  echo "On Debian and Ubuntu: apt-get install g++ python3-dev"; \
	  exit 1; } >&2
