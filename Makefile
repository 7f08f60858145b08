# Set-up and checks. A fresh machine needs Python 3.11 or newer and make; everything goes into .venv and demo/.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV ?= .venv
STORE ?= demo/store
export STORE

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
PINS := pyproject.toml labeler/__init__.py .ci/constraints.txt

.PHONY: demo test test-training lint types format clean

# Label a folder of pictures and audit the labels: make demo, or make demo STORE=path/to/folder
demo: $(VENV)/.demo
	@mkdir -p demo
ifeq ($(STORE),demo/store)
	@$(BIN)/python docs/sample_store.py demo
endif
	$(BIN)/label-images "$$STORE" --out demo/labels.parquet
	$(BIN)/audit-labels report demo/labels.parquet --out demo/audit.html --json demo/audit.json
	@echo "Open the page in a browser: $(CURDIR)/demo/audit.html"

# Every test; those that need torch, a browser or the evaluation data say so where they are skipped.
test: $(VENV)/.dev
	$(BIN)/python -m pytest

# The tests of training/, with torch installed.
test-training: $(VENV)/.train
	$(BIN)/python -m pytest tests/training tests/project/test_doctests.py

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# training/ is checked where torch is installed, since half of its types are torch's.
types: $(VENV)/.dev
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then $(BIN)/mypy; \
	else echo "types: training/ is left out, torch is not installed (make test-training installs it)"; \
	$(BIN)/mypy labeler audit docs tests --exclude '^tests/training/' --follow-imports silent; fi

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; name one: make PYTHON=path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.demo: $(PINS) | $(BIN)/python
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(INSTALL) --editable '.[dev,demo]'
	@touch $(VENV)/.demo $@

$(VENV)/.train: $(PINS) | $(BIN)/python
	$(INSTALL) --editable '.[train,dev,demo]'
	@touch $(VENV)/.demo $(VENV)/.dev $@
