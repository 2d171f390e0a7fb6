# make serve: everything from a fresh clone to an answer on the screen.  make test: the tests.
# Both are safe to repeat; what is there already is not done again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Engines may run as users of their own, and the daemon as another one than who installs: whatever
# the umask, they can read what is installed.
OPEN := umask 022;

.PHONY: serve test test-long fuzz test-clients test-slow test-install lint check bench lock install uninstall clean help
.DEFAULT_GOAL := help

# Tests write whatever a file may hold, also under a locale that lacks its letters.
test test-long fuzz test-clients test-slow test-install lint bench: export PYTHONUTF8 := 1

help:
	@echo "make serve    set everything up, start the daemon, ask it one question; Ctrl-C stops it"
	@echo "make test     set everything up and run the tests"
	@echo "make test-long  what make test leaves out for its cost: kills, most of the page, the other engine"
	@echo "make fuzz     random input for what reads strangers' bytes, a minute each (FUZZ_SECONDS=)"
	@echo "make test-clients  run other people's programs (LangChain, LiteLLM, AI SDK, ...) against it"
	@echo "make test-install  build the wheel, install it with pip, pipx and uv, and use it; the container file"
	@echo "make test-slow  kill brokers, stores and workers under load, and count what comes of it"
	@echo "make check    formatting, lint, types, import contracts, then the tests"
	@echo "make bench    measure start-up and relay, beside the bare engine and peers"
	@echo "make lock     renew locks/: every dependency's version and hashes, for releases and CI"
	@echo "make install  install as a systemd service (as root; PREFIX=/opt/runnerd, DESTDIR=)"
	@echo "make uninstall  remove that service; models and settings stay, unless PURGE=1"
	@echo "  ENGINE_FLAGS='--with cpu' and others: see runnerd install --help"
	@echo "make clean    remove what the above made in this folder"

# Asked each time: it costs a moment, and a toolkit or a llama-server may have come to this host.
serve: $(VENV)/.runnerd
	@$(OPEN) $(BIN)/python -m runnerd.backends.llamacpp.install --into-venv --use-found $(ENGINE_FLAGS)
	@$(BIN)/runnerd serve --first-run

# On all cores, up to four: each test file in one process.  PYTEST_FLAGS="-n 0" for one process.
# In their order, not the files with most tests first: those with few have engines and browsers, and
# one of them that is begun last keeps all other cores waiting.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev $(VENV)/.engine
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_FLAGS)

# What costs most and is needed least often while one works; with it, every test of a change is run.
test-long: $(VENV)/.dev $(VENV)/.engine
	@$(BIN)/python -m pytest -m long $(PARALLEL) $(PYTEST_FLAGS)

# Each of the readers of what strangers send, for a minute, on all cores; FUZZ_SECONDS=600 for longer.
fuzz: $(VENV)/.dev
	@$(BIN)/python -m pytest -m fuzz tests/fuzz -n auto --maxprocesses 4 $(PYTEST_FLAGS)

test-clients: $(VENV)/.dev $(VENV)/.engine .venv-clients/.made
	@$(BIN)/python -m pytest -m clients $(PYTEST_FLAGS)

# Loops that kill brokers, stores and workers under load, and count results; CHAOS_SECONDS=600.
test-slow: $(VENV)/.dev $(VENV)/.engine
	@$(BIN)/python -m pytest -m slow -s $(PYTEST_FLAGS)

test-install: $(VENV)/.packages $(VENV)/.engine
	@$(BIN)/python -m pytest -m packages $(PYTEST_FLAGS)

lint: $(VENV)/.dev $(VENV)/.engine
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.rules

check: lint test

bench: $(VENV)/.dev $(VENV)/.engine
	@$(BIN)/python -m bench

# pyproject.toml says what works; these files say what was tested.  LOCKED=1 installs from them.
COMPILE := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --upgrade \
  --generate-hashes --no-annotate --custom-compile-command "make lock"

lock: $(VENV)/.packages
	@$(BIN)/$(COMPILE) --output-file locks/release.txt
	@$(BIN)/$(COMPILE) --group dev --output-file locks/ci.txt

install:
	@sh systemd/install.sh

uninstall:
	@sh systemd/uninstall.sh

clean:
	rm -rf $(VENV) .venv-clients build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "There is no $(PYTHON) here: apt install python3-venv, or name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "runnerd needs Python 3.11 or newer; name one with make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python cannot make environments here: apt install python3-venv"; exit 1; }
	@echo "Making the environment $(VENV)"
	@$(OPEN) $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "It has to be made in this folder: who runs make must be able to write here"; exit 1; }
	@$(OPEN) $(BIN)/pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.runnerd: $(VENV)/.made pyproject.toml
	@echo "Installing runnerd and what it needs"
	@$(OPEN) [ -z "$(LOCKED)" ] || $(BIN)/pip install --quiet --require-hashes --requirement locks/release.txt
	@$(OPEN) PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable .  # setuptools explains what editable means
	@touch $@

$(VENV)/.dev: $(VENV)/.runnerd
	@echo "Installing what the tests and checks need"
	@$(OPEN) [ -z "$(LOCKED)" ] || $(BIN)/pip install --quiet --require-hashes --requirement locks/ci.txt
	@$(OPEN) $(BIN)/pip install --quiet --group dev
	@touch $@

$(VENV)/.packages: $(VENV)/.dev
	@echo "Installing what the ways to install are tried with"
	@$(OPEN) $(BIN)/pip install --quiet --group packages
	@touch $@

$(VENV)/.engine: $(VENV)/.runnerd backends/llamacpp/building/options.py
	@$(OPEN) $(BIN)/python -m runnerd.backends.llamacpp.install --into-venv --with-python-server $(ENGINE_FLAGS)
	@touch $@

.venv-clients/.made: tests/clients/requirements.txt tests/clients/package.json \
  $(wildcard tests/clients/protollm/*.txt)
	@command -v npm >/dev/null || { echo "npm is missing: apt install nodejs npm"; exit 1; }
	@echo "Installing other people's programs"
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/pip install --quiet --requirement tests/clients/requirements.txt
	@for each in 1.0 1.1 langchain; do \
	  $(PYTHON) -m venv .venv-clients/protollm-$$each && \
	  .venv-clients/protollm-$$each/bin/pip install --quiet --no-deps \
	    --requirement tests/clients/protollm/packages-$$each.txt && \
	  .venv-clients/protollm-$$each/bin/pip install --quiet \
	    --requirement tests/clients/protollm/needs-$$each.txt || exit 1; \
	done
	@mkdir -p .venv-clients/node && cp tests/clients/package.json .venv-clients/node/
	@cd .venv-clients/node && npm install --silent --no-fund --no-audit --no-package-lock
	@touch $@
