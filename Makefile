# `make demo` scores the samples; `make test` runs all that must pass. Both work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/pdl1quant score sample_slides/ihc sample_slides/phantoms --mpp 0.5 -o demo_result --overwrite
	@echo "Look at demo_result/overlays/*.png, then at demo_result/scores.csv (docs/columns.md explains each column)."

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo_result .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
