# Two commands: `make run` and `make test`. Each sets up what it needs in .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
# A worker a core, each with one thread: tests are many and small.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt

.PHONY: run test test-slow check bench-speed clean
.DELETE_ON_ERROR:

run: .venv/.core-ready
	$(BIN)/excise bench --out results

test: .venv/.dev-ready
	$(TESTS)

test-slow: .venv/.dev-ready
	$(BIN)/python -m pytest -m slow

check: .venv/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(TESTS)

bench-speed: .venv/.dev-ready
	$(BIN)/python benchmarks/capture.py
	$(BIN)/python benchmarks/erasers.py
	$(BIN)/python benchmarks/eraser_page.py

clean:
	rm -rf .venv results

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Excise needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

.venv/.core-ready: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing Excise into .venv (PyTorch is the large part)..."
	$(PIP) -e .
	@touch $@

.venv/.dev-ready: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing Excise and its test tools into .venv..."
	$(PIP) -e '.[dev]'
	@touch $@ .venv/.core-ready
