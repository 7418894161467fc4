# Every target makes the virtual environment it needs by itself; nothing else has to be installed first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

unexport PYTHONDONTWRITEBYTECODE  # each of the many processes that a test starts would compile everything again

.PHONY: setup demo lint test check bench bench-failover bench-waiting bench-capacity bench-hotpaths bench-prices bench-ledger \
	soak docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q src
	@touch $(STAMP)

demo: setup
	@$(BIN)/python -m spotapp.demo $(ARGS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest -q tests/unit tests/property tests/docs

test: setup
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder tests $(ARGS)

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

bench-failover: setup
	$(BIN)/python -m benchmarks.failover $(ARGS)

bench-waiting: setup
	$(BIN)/python -m benchmarks.waiting $(ARGS)

bench-capacity: setup
	$(BIN)/python -m benchmarks.capacity $(ARGS)

bench-hotpaths: setup
	$(BIN)/python -m benchmarks.hotpaths $(ARGS)

bench-prices: setup
	$(BIN)/python -m benchmarks.cleaning $(ARGS)
	$(BIN)/python -m benchmarks.history $(ARGS)

bench-ledger: setup
	$(BIN)/python -m benchmarks.ledger $(ARGS)

soak: setup
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -q tests/property $(ARGS)

docs: setup
	$(BIN)/python -m spotapp.reference docs/reference

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
